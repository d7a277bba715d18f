//! A depthwise and a pointwise convolution as one step: rows of the depthwise output stay in the cache and feed the GEMM.

use super::{conv::Conv, depthwise::Depthwise};
use crate::par::Parallel;
use crate::{Isa, Shape, View, ViewMut};

/// Floats of scratch that [`separable`] needs for each part of [`Parallel::parts`]. `input` is the depthwise input.
pub fn separable_scratch(_depthwise: super::conv::Window, _input: Shape, _output: Shape) -> usize {
    todo!()
}

/// Runs `pointwise(depthwise(input))`, to the bit what the two steps give. `pointwise` has a 1x1 window and one group.
pub fn separable<P: Parallel + ?Sized>(
    _isa: Isa,
    _par: &P,
    _depthwise: &Depthwise,
    _pointwise: &Conv,
    _input: View,
    _residual: Option<View>,
    _out: ViewMut,
    _scratch: &mut [f32],
) {
    todo!()
}
