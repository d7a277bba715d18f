//! Parts of tensors: what every importer makes of slices and of gathers by constant indices.

use super::fail::{Res, unsupported};
use crate::ir::Op;

/// Start, length and step along an axis.
pub(super) type Part = (i64, usize, i64);

/// More pieces than this make no sense.
pub(super) const MAX_PIECES: usize = 64;

/// All of a tensor.
pub(super) fn whole(dims: &[usize]) -> Vec<Part> {
    dims.iter().map(|&d| (0, d, 1)).collect()
}

/// The operator that takes a part, and the part's extents.
pub(super) fn slice(parts: &[Part]) -> (Op, Vec<usize>) {
    let start = parts.iter().map(|p| usize::try_from(p.0).unwrap_or(usize::MAX)).collect();
    // The step does not matter where one element is taken.
    let step = parts.iter().map(|p| if p.1 > 1 { p.2 as usize } else { 1 }).collect();
    (Op::Slice { start, step }, parts.iter().map(|p| p.1).collect())
}

/// The stretches of indices, each with one positive step.
pub(super) fn runs(indices: &[i64]) -> Res<Vec<Part>> {
    let mut runs: Vec<Part> = vec![];
    for &i in indices {
        match runs.last_mut() {
            Some((start, len @ 1, step)) if i > *start => (*len, *step) = (2, i - *start),
            Some((start, len, step)) if *len > 1 && i == *start + *len as i64 * *step => *len += 1,
            _ => runs.push((i, 1, 1)),
        }
    }
    if runs.len() > MAX_PIECES {
        return unsupported(format!("{} indices in no order", indices.len()), "order the channels in the weights");
    }
    Ok(runs)
}
