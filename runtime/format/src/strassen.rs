//! The code of [`ConvParams::algorithm`](crate::record::ConvParams::algorithm) for a pointwise convolution by Strassen's algorithm:
//! halves of the input channels times halves of the output channels, of pixels in pairs. Its weights are
//! `[2][N/16][C of the half][16]`: the panels of the first half of the input channels before those of the second.

use crate::layout::BLOCK;

/// No code of [`winograd`](crate::winograd): a tile has rows.
pub const CODE: u32 = 1;

/// The input channels of each half, and the output channels of either, padded; `None` if there are too few for halves, or blocks of
/// output channels that are odd in number.
pub const fn halves(c: u64, n: u64) -> Option<([u64; 2], u64)> {
    let block = BLOCK as u64;
    let (k, n) = (c.div_ceil(2).next_multiple_of(block), n.div_ceil(block));
    if k >= c || n == 0 || !n.is_multiple_of(2) { None } else { Some(([k, c - k], n / 2 * block)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_of_whole_blocks_but_for_the_last() {
        assert_eq!(halves(728, 728), Some(([368, 360], 368)));
        assert_eq!(halves(64, 32), Some(([32, 32], 16)));
        assert_eq!(halves(17, 17), Some(([16, 1], 16)));
        assert_eq!(halves(33, 32), Some(([32, 1], 16)));
        assert_eq!(halves(16, 32), None);
        assert_eq!(halves(64, 48), None);
        assert_eq!(halves(64, 0), None);
        assert_eq!(halves(0, 32), None);
    }
}
