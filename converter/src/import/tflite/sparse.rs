//! Sparse constants.
//!
//! A tensor of n axes is stored as a tree of n + k levels, the last k of them axes inside of blocks. `order` says which axis a level
//! walks. A dense level has every index; a sparse one lists those that are there: node `p` of the level above has the indices from
//! `segments[p]` to `segments[p + 1]`. Leaves are the stored elements, in order.

use super::schema::{Level, Sparsity};
use crate::import::fail::{Res, bad};
use crate::import::shape::MAX_RANK;

/// All elements of a tensor of shape `dims`; what is not stored is zero.
pub(super) fn densify<T: Copy + Default>(s: &Sparsity, dims: &[usize], stored: &[T]) -> Res<Vec<T>> {
    let strides = strides(s, dims)?;
    let mut out = vec![T::default(); dims.iter().product()];
    // Where the nodes of a level lie. Each is met once, so a level has no more nodes than the tensor has elements.
    let mut nodes = vec![0usize];
    for (level, &stride) in s.levels.iter().zip(&strides) {
        let mut next = vec![];
        match level {
            Level::Dense(n) => {
                let n = usize::try_from(*n).unwrap_or(0);
                if nodes.len().saturating_mul(n) > out.len() {
                    return bad("a sparse constant has more elements than its shape");
                }
                next.extend(nodes.iter().flat_map(|&at| (0..n).map(move |i| at + i * stride)));
            }
            Level::Sparse { segments, indices } => {
                if segments.len() != nodes.len() + 1 || indices.len() > out.len() {
                    return bad("the segments of a sparse constant do not fit");
                }
                for (at, ends) in nodes.iter().zip(segments.windows(2)) {
                    let range = usize::try_from(ends[0]).ok().zip(usize::try_from(ends[1]).ok());
                    // Segments follow each other, so that no index is read twice.
                    let run = range.filter(|r| r.0 == next.len()).and_then(|(a, b)| indices.get(a..b));
                    let Some(run) = run else { return bad("the segments of a sparse constant do not follow each other") };
                    for &i in run {
                        let place = usize::try_from(i).ok().and_then(|i| i.checked_mul(stride)?.checked_add(*at));
                        let Some(place) = place.filter(|&p| p < out.len()) else {
                            return bad("an index lies outside a sparse constant");
                        };
                        next.push(place);
                    }
                }
            }
        }
        nodes = next;
    }
    if nodes.len() != stored.len() {
        return bad(format!("a sparse constant stores {} elements and places {}", stored.len(), nodes.len()));
    }
    for (at, &v) in nodes.into_iter().zip(stored) {
        match out.get_mut(at) {
            Some(place) => *place = v,
            None => return bad("an index lies outside a sparse constant"),
        }
    }
    Ok(out)
}

/// How far apart the indices of each level lie in the dense tensor.
fn strides(s: &Sparsity, dims: &[usize]) -> Res<Vec<usize>> {
    let (n, k) = (dims.len(), s.blocks.len());
    let unfit = || bad(format!("the sparsity of a constant does not fit its shape {dims:?}"));
    if n > MAX_RANK || k > n || s.order.len() != n + k || s.levels.len() != n + k {
        return unfit();
    }
    let mut element = vec![1usize; n];
    for i in (1..n).rev() {
        element[i - 1] = element[i] * dims[i];
    }
    // The block of each axis, from the levels inside of blocks, which are dense.
    let mut block = vec![1usize; n];
    let axis_of = |walked: usize| s.blocks.get(walked - n).and_then(|&a| usize::try_from(a).ok()).filter(|&a| a < n);
    let mut seen = vec![false; n + k];
    let mut walked = vec![];
    for (level, &axis) in s.order.iter().enumerate() {
        let Some(axis) = usize::try_from(axis).ok().filter(|&a| a < n + k && (a < n) == (level < n)) else { return unfit() };
        if std::mem::replace(&mut seen[axis], true) {
            return unfit();
        }
        walked.push(axis);
    }
    for (level, &axis) in walked.iter().enumerate().skip(n) {
        let (Some(of), Level::Dense(size)) = (axis_of(axis), &s.levels[level]) else { return unfit() };
        let Some(size) = usize::try_from(*size).ok().filter(|&b| b > 0) else { return unfit() };
        if block[of] != 1 || !dims[of].is_multiple_of(size) {
            return unfit();
        }
        block[of] = size;
    }
    for (level, &axis) in walked.iter().enumerate().take(n) {
        if let Level::Dense(size) = s.levels[level]
            && usize::try_from(size).ok() != Some(dims[axis] / block[axis])
        {
            return unfit();
        }
    }
    Ok(walked.iter().map(|&w| if w < n { element[w] * block[w] } else { element[axis_of(w).unwrap_or(0)] }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns() {
        // [[0, 5, 0], [0, 0, 0], [6, 0, 7]], by rows and by columns.
        let rows = Sparsity {
            order: vec![0, 1],
            blocks: vec![],
            levels: vec![Level::Dense(3), Level::Sparse { segments: vec![0, 1, 1, 3], indices: vec![1, 0, 2] }],
        };
        let want = [0, 5, 0, 0, 0, 0, 6, 0, 7];
        assert_eq!(densify(&rows, &[3, 3], &[5, 6, 7]).unwrap(), want);
        let columns = Sparsity {
            order: vec![1, 0],
            blocks: vec![],
            levels: vec![Level::Dense(3), Level::Sparse { segments: vec![0, 1, 2, 3], indices: vec![2, 0, 2] }],
        };
        assert_eq!(densify(&columns, &[3, 3], &[6, 5, 7]).unwrap(), want);
    }

    /// The example of the schema: a 4 x 4 matrix in blocks of 2 x 2, of which two are there.
    fn blocks() -> Sparsity {
        Sparsity {
            order: vec![0, 1, 2, 3],
            blocks: vec![0, 1],
            levels: vec![
                Level::Dense(2),
                Level::Sparse { segments: vec![0, 1, 2], indices: vec![0, 1] },
                Level::Dense(2),
                Level::Dense(2),
            ],
        }
    }

    #[test]
    fn blocks_are_placed() {
        let got = densify(&blocks(), &[4, 4], &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(got, [1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 5, 6, 0, 0, 7, 8]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let stored = [0u8; 8];
        type Breaker = fn(&mut Sparsity);
        let breakers: [Breaker; 9] = [
            |s| s.order = vec![0, 1, 2],
            |s| s.order = vec![0, 0, 2, 3],
            |s| s.order = vec![0, 2, 1, 3],
            |s| s.blocks = vec![0, 9],
            |s| s.blocks = vec![0, 0],
            |s| s.levels[0] = Level::Dense(i32::MAX),
            |s| s.levels[1] = Level::Sparse { segments: vec![0, 1, 2], indices: vec![0, 9] },
            |s| s.levels[1] = Level::Sparse { segments: vec![0, 2, 1], indices: vec![0, 1] },
            |s| s.levels[3] = Level::Dense(3),
        ];
        for (i, f) in breakers.into_iter().enumerate() {
            let mut s = blocks();
            f(&mut s);
            assert!(densify(&s, &[4, 4], &stored).is_err(), "{i}");
        }
        assert!(densify(&blocks(), &[4, 4], &stored[..7]).is_err());
        assert!(densify(&blocks(), &[], &stored).is_err());
    }
}
