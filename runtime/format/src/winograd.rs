//! Codes of [`ConvParams::algorithm`](crate::record::ConvParams::algorithm): 0 is the direct sum, 1 [`strassen`](crate::strassen)'s; any
//! other is a Winograd convolution by tiles of `code >> 8` rows and `code & 255` columns of outputs, whose weights lie transformed in the file.

/// All of them: kernel and tile, rows and columns.
pub const TILES: [([u32; 2], [u32; 2]); 8] = [
    ([3, 3], [2, 2]),
    ([3, 3], [4, 4]),
    ([1, 3], [1, 2]),
    ([3, 1], [2, 1]),
    ([1, 3], [1, 4]),
    ([3, 1], [4, 1]),
    ([1, 7], [1, 4]),
    ([7, 1], [4, 1]),
];

/// The tile of a code.
pub const fn tile(code: u32) -> [u32; 2] {
    [code >> 8, code & 255]
}

/// The code of a tile.
pub const fn code([rows, columns]: [u32; 2]) -> u32 {
    rows << 8 | columns
}

/// Rows and columns of a tile's points, for each of which there is a matrix of weights; `None` if the code means nothing for the
/// kernel.
pub fn points(kernel: [u32; 2], code: u32) -> Option<[u32; 2]> {
    let [rows, columns] = tile(code);
    TILES.contains(&(kernel, [rows, columns])).then(|| [rows + kernel[0] - 1, columns + kernel[1] - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_table() {
        for (kernel, t) in TILES {
            assert_eq!(tile(code(t)), t);
            assert_eq!(points(kernel, code(t)), Some([t[0] + kernel[0] - 1, t[1] + kernel[1] - 1]));
        }
        assert_eq!(points([3, 3], 0), None);
        assert_eq!(points([3, 3], code([3, 3])), None);
        assert_eq!(points([5, 5], code([2, 2])), None);
    }
}
