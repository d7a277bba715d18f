//! Reductions over all pixels of an image.

use crate::par::Parallel;
use crate::{Isa, View, ViewMut};

/// What is taken over the pixels of an image, in row order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceKind {
    /// The sum times the correctly rounded `1 / (h * w)`.
    Mean,
    /// The sum.
    Sum,
    /// The largest value.
    Max,
}

/// `out[n, 0, 0, c] = reduce over y, x of input[n, y, x, c]`.
pub fn reduce_hw<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _kind: ReduceKind, _input: View, _out: ViewMut) {
    todo!()
}
