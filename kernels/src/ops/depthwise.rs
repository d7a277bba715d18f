//! Depthwise convolution, one filter per channel.

use super::conv::Window;
use crate::par::Parallel;
use crate::{Act, Isa, View, ViewMut};

/// A depthwise convolution: `out[n, y, x, c] = act(bias[c] + sum over ky, kx of pre(in[n, .., .., c]) * w[ky, kx, c])`, summed
/// in that order by FMA, taps outside the input skipped.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise<'a> {
    /// The window.
    pub window: Window,
    /// `[C/16][kh * kw][16]`: see [`crate::pack::depthwise`].
    pub weights: &'a [f32],
    /// Bias padded to blocks: `[C/16][16]`.
    pub bias: &'a [f32],
    /// Clamp the input to at least 0 on the way in (a ReLU before the convolution).
    pub pre_relu: bool,
    /// Applied last.
    pub act: Act,
}

/// Runs a depthwise convolution.
pub fn depthwise<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _args: &Depthwise, _input: View, _out: ViewMut) {
    todo!()
}
