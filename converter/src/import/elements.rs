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
    match order(dims, strides) {
        Order::Apart { tile: true, axes } => Ok(tiled(from, &axes, n, start)),
        _ => Ok(walk(dims, n, start, strides).map(|i| from[i]).collect()),
    }
}

/// How far apart what is taken one by one lies.
pub(super) enum Order {
    /// Mostly side by side.
    Near,
    /// Each element, or each few of them, in a line of its own. The axes of more than one element, extent and step; taken tile by tile,
    /// they share lines.
    Apart { tile: bool, axes: Vec<(usize, i64)> },
}

/// What [`strided`] meets by these extents and steps.
pub(super) fn order(dims: &[usize], strides: &[i64]) -> Order {
    // Along axes of one element there is nowhere to go.
    let axes: Vec<(usize, i64)> = dims.iter().zip(strides).filter(|(d, _)| **d > 1).map(|(&d, &step)| (d, step)).collect();
    // The last axes are a run of elements side by side, in either direction.
    let (mut run, mut outer) = (1, &axes[..]);
    while let [before @ .., (extent, step)] = outer
        && step.unsigned_abs() == run
    {
        (run, outer) = (run * *extent as u64, before);
    }
    let [before @ .., (_, next)] = outer else { return Order::Near };
    if run >= LINE || *next == 0 {
        return Order::Near;
    }
    // An axis before the next one has neighbours that are nearer.
    let tile = before.iter().any(|axis| (1..next.unsigned_abs()).contains(&axis.1.unsigned_abs()));
    Order::Apart { tile, axes }
}

/// Elements of a line of the cache: the smallest are of 4 bytes.
const LINE: u64 = 16;

/// Elements side by side of a tile: in the result as many as there are ways in a set of the nearest cache, and a line's worth where they
/// come from.
const TILE: [usize; 2] = [8, LINE as usize];

/// [`strided`] by axes of more than one element, extent and step, where neighbours in the result come from far apart: tile by tile, so
/// that what is fetched at once is used at once.
fn tiled<T: Copy + Default>(from: &[T], axes: &[(usize, i64)], n: usize, start: i64) -> Vec<T> {
    let extents: Vec<usize> = axes.iter().map(|axis| axis.0).collect();
    let steps: [Vec<i64>; 2] = [axes.iter().map(|axis| axis.1).collect(), strides(&extents)];
    // Of the last axes, and of those that are the last ones there.
    let mut there: Vec<usize> = (0..axes.len()).filter(|&a| axes[a].1 != 0).collect();
    there.sort_by_key(|&a| axes[a].1.unsigned_abs());
    let mut tile = vec![1; axes.len()];
    for (order, wanted) in [((0..axes.len()).rev().collect(), TILE[0]), (there, TILE[1])] {
        let mut side = 1;
        for a in order {
            if side >= wanted {
                break;
            }
            tile[a] = extents[a].min(tile[a].max(wanted.div_ceil(side)));
            side *= tile[a];
        }
    }
    let mut out = vec![T::default(); n];
    let tiles: Vec<usize> = extents.iter().zip(&tile).map(|(d, t)| d.div_ceil(*t)).collect();
    let mut number = vec![0; axes.len()];
    let mut side = tile.clone();
    for _ in 0..tiles.iter().product() {
        // The last of an axis may be smaller.
        (0..axes.len()).for_each(|a| side[a] = tile[a].min(extents[a] - number[a] * tile[a]));
        let within: usize = side.iter().product();
        let [places, targets] = [(start, &steps[0]), (0, &steps[1])].map(|(first, steps)| {
            let corner = (0..axes.len()).map(|a| (number[a] * tile[a]) as i64 * steps[a]).sum::<i64>();
            walk(&side, within, first + corner, steps)
        });
        targets.zip(places).for_each(|(target, place)| out[target] = from[place]);
        for a in (0..axes.len()).rev() {
            number[a] += 1;
            if number[a] < tiles[a] {
                break;
            }
            number[a] = 0;
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
        let shapes = [
            vec![5, 1, 7],
            vec![33, 17],
            vec![2, 40, 3, 19],
            vec![16, 8],
            vec![3, 1, 1, 2],
            vec![1, 9],
            vec![2; 10],
            vec![20, 30, 2],
            vec![9, 4, 20, 3],
        ];
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

    #[test]
    fn neighbours_that_lie_apart_are_tiled() {
        let said = |dims: &[usize], perm: &[usize]| {
            let own = strides(dims);
            let pick = |of: &dyn Fn(usize) -> i64| perm.iter().map(|&a| of(a)).collect::<Vec<_>>();
            let to: Vec<usize> = perm.iter().map(|&a| dims[a]).collect();
            match order(&to, &pick(&|a| own[a])) {
                Order::Near => "near",
                Order::Apart { tile: false, .. } => "apart",
                Order::Apart { tile: true, .. } => "tiles",
            }
        };
        assert_eq!(said(&[64, 64], &[0, 1]), "near");
        assert_eq!(said(&[64, 64], &[1, 0]), "tiles");
        // The last axis stays, and is shorter or longer than a line; so do the last two.
        assert_eq!(said(&[64, 64, 2], &[1, 0, 2]), "tiles");
        assert_eq!(said(&[64, 64, 2, 1, 4], &[1, 0, 2, 3, 4]), "tiles");
        assert_eq!(said(&[64, 64, 16], &[1, 0, 2]), "near");
        assert_eq!(said(&[64, 64, 2, 8], &[1, 0, 2, 3]), "near");
        let kind = |dims: &[usize], steps: &[i64]| match order(dims, steps) {
            Order::Near => "near",
            Order::Apart { tile, .. } => ["apart", "tiles"][usize::from(tile)],
        };
        // One of each line, backwards, and repeated.
        assert_eq!(kind(&[64], &[1024]), "apart");
        assert_eq!(kind(&[64, 64], &[-64, -1]), "near");
        assert_eq!(kind(&[64, 64, 3], &[0, 0, 1]), "near");
    }
}
