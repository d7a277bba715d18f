//! Where the elements of a tensor lie, in C order, and what is taken from there.

use super::fail::{Res, bad};

/// A tensor as `outer` times `extent` times `inner` elements, around an axis.
pub(super) fn around(dims: &[usize], axis: usize) -> [usize; 3] {
    [dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product()]
}

/// Elements between neighbours along each axis.
pub(super) fn strides(dims: &[usize]) -> Vec<i64> {
    let mut out = vec![1i64; dims.len()];
    for i in (1..dims.len()).rev() {
        out[i - 1] = out[i].saturating_mul(dims[i] as i64);
    }
    out
}

/// Where the first `n` elements of a tensor of these extents lie, in their order, where axis i steps by `strides[i]` from `start`.
pub(super) fn walk(dims: &[usize], n: usize, start: i64, strides: &[i64]) -> impl Iterator<Item = usize> + use<> {
    // The last axis first. Along those of one element, which every step would pass, there is nowhere to go.
    let mut axes: Vec<(usize, usize, i64)> =
        dims.iter().zip(strides).rev().filter(|(d, _)| **d != 1).map(|(&d, &step)| (d, 0, step)).collect();
    let mut at = start;
    (0..n).map(move |_| {
        let here = at as usize;
        for (extent, index, step) in &mut axes {
            *index += 1;
            at += *step;
            if *index < *extent {
                break;
            }
            at -= *step * *extent as i64;
            *index = 0;
        }
        here
    })
}

/// The elements of a tensor of these extents, whose axis i steps by `strides[i]` from `start` in `from`, all of which it has.
pub(super) fn strided<T: Copy + Default>(from: &[T], dims: &[usize], start: i64, strides: &[i64]) -> Res<Vec<T>> {
    let n: usize = dims.iter().product();
    if n == 0 {
        return Ok(vec![]);
    }
    // The first and the last place of each axis; the farthest are sums of those.
    let ends = dims.iter().zip(strides).map(|(&d, &step)| step.saturating_mul(d as i64 - 1));
    let (least, most) = ends.fold((start, start), |(l, m), e| (l.saturating_add(e.min(0)), m.saturating_add(e.max(0))));
    if least < 0 || most >= from.len() as i64 {
        return bad("an index lies outside a constant");
    }
    let last = (0..dims.len()).rev().find(|&a| dims[a] > 1);
    let near = (0..dims.len()).find(|&a| dims[a] > 1 && strides[a] == 1);
    match (last, near) {
        // What lies side by side there comes from far apart: by tiles, so that what is fetched at once is used at once.
        (Some(last), Some(near)) if near != last && strides[last].unsigned_abs() > 1 => {
            Ok(tiled(from, dims, n, start, strides, [near, last]))
        }
        _ => Ok(walk(dims, n, start, strides).map(|i| from[i]).collect()),
    }
}

/// Rows and columns of a tile: as many places as there are ways in a set of the nearest cache, a line's worth of elements from each.
const TILE: [usize; 2] = [16, 8];

/// [`strided`], tile by tile of two axes: `near`, along which elements lie side by side in `from`, and `last`, along which they shall.
fn tiled<T: Copy + Default>(from: &[T], dims: &[usize], n: usize, start: i64, strides: &[i64], [near, last]: [usize; 2]) -> Vec<T> {
    let own = self::strides(dims);
    let rest: Vec<usize> = (0..dims.len()).filter(|a| ![near, last].contains(a)).collect();
    let of = |all: &[i64]| rest.iter().map(|&a| all[a]).collect::<Vec<i64>>();
    let (extents, count): (Vec<usize>, usize) = (rest.iter().map(|&a| dims[a]).collect(), n / dims[near] / dims[last]);
    let (rows, columns, far, row) = (dims[near], dims[last], strides[last], own[near] as usize);
    let mut out = vec![T::default(); n];
    for (to, at) in walk(&extents, count, 0, &of(&own)).zip(walk(&extents, count, start, &of(strides))) {
        for top in (0..rows).step_by(TILE[0]) {
            for left in (0..columns).step_by(TILE[1]) {
                for i in top..rows.min(top + TILE[0]) {
                    for j in left..columns.min(left + TILE[1]) {
                        out[to + i * row + j] = from[(at as i64 + i as i64 + j as i64 * far) as usize];
                    }
                }
            }
        }
    }
    out
}

/// Runs of `len` elements, one behind the other, `n` elements altogether.
pub(super) fn runs<T: Copy>(from: &[T], starts: impl Iterator<Item = usize>, len: usize, n: usize) -> Vec<T> {
    let mut all = Vec::with_capacity(n);
    starts.for_each(|start| all.extend_from_slice(&from[start..start + len]));
    all
}

/// Where the elements at `indices` along an axis begin, for each of the `outer` tensors before it.
pub(super) fn starts([outer, extent, inner]: [usize; 3], indices: &[usize]) -> impl Iterator<Item = usize> {
    (0..outer).flat_map(move |o| indices.iter().map(move |&i| (o * extent + i) * inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_what_a_walk_finds() {
        let shapes = [vec![5, 1, 7], vec![33, 17], vec![2, 40, 3, 19], vec![16, 8], vec![3, 1, 1, 2], vec![1, 9], vec![2; 10]];
        for dims in shapes {
            let n: usize = dims.iter().product();
            let from: Vec<i32> = (0..n as i32).collect();
            let own = strides(&dims);
            // Every turn of the axes, and the last two the other way round.
            for turn in 0..dims.len() {
                for swap in [false, true] {
                    let mut perm: Vec<usize> = (0..dims.len()).map(|a| (a + turn) % dims.len()).collect();
                    let rank = perm.len();
                    if swap {
                        perm.swap(rank - 1, rank - 2);
                    }
                    let to: Vec<usize> = perm.iter().map(|&a| dims[a]).collect();
                    let steps: Vec<i64> = perm.iter().map(|&a| own[a]).collect();
                    let want: Vec<i32> = (0..n)
                        .map(|mut i| {
                            (0..rank).rev().fold(0, |at, a| {
                                let place = i % to[a];
                                i /= to[a];
                                at + place as i32 * steps[a] as i32
                            })
                        })
                        .collect();
                    assert_eq!(strided(&from, &to, 0, &steps).unwrap(), want, "{dims:?} {perm:?}");
                    assert_eq!(walk(&to, n, 0, &steps).map(|i| i as i32).collect::<Vec<_>>(), want, "{dims:?} {perm:?}");
                }
            }
        }
        // Backwards and repeated.
        let from: Vec<i32> = (0..12).collect();
        assert_eq!(strided(&from, &[3, 2], 11, &[-4, -1]).unwrap(), [11, 10, 7, 6, 3, 2]);
        assert_eq!(strided(&from, &[2, 2, 2], 1, &[0, 1, 5]).unwrap(), [1, 6, 2, 7, 1, 6, 2, 7]);
        assert!(strided(&from, &[0, 99], 0, &[1, 1]).unwrap().is_empty());
        for (dims, start, step) in [([13], 0, 1), ([2], 11, 1), ([2], 0, -1), ([2], i64::MAX, 1)] {
            assert!(strided(&from, &dims, start, &[step]).is_err());
        }
    }
}
