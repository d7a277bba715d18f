//! Moving elements without arithmetic: reshape between padded layouts, transpose, concat, slice, pad, repeat.

use crate::par::Parallel;

/// Most nested loops of a [`Copy`].
pub const DIMS: usize = 6;

/// `out[sum of i_d * out_strides[d]] = in[sum of i_d * in_strides[d]]` over all `i` in `dims`; strides in floats.
/// Where `fill` is given, all of `out` is set to it first.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// Extents, outermost first; unused ones are 1.
    pub dims: [usize; DIMS],
    /// Strides of the source; 0 repeats.
    pub in_strides: [usize; DIMS],
    /// Strides of the target.
    pub out_strides: [usize; DIMS],
    /// Value of the elements that are not copied to.
    pub fill: Option<f32>,
}

/// Runs a copy.
pub fn copy<P: Parallel + ?Sized>(_par: &P, _args: &Copy, _input: &[f32], _out: &mut [f32]) {
    todo!()
}
