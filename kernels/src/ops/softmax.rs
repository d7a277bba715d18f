//! Softmax over the channels of each pixel.

use crate::par::Parallel;
use crate::{Isa, View, ViewMut};

/// `out[c] = exp(x[c] - max) / sum`, or with `log` `x[c] - max - ln(sum)`, over the channels of each pixel. The sum is taken in
/// sixteen lanes, block by block, and then over the lanes in order, on every instruction set.
pub fn softmax<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _log: bool, _input: View, _out: ViewMut) {
    todo!()
}
