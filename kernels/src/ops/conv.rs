//! Convolution of any kernel, stride, dilation and group count; with a 1x1 kernel it is the pointwise convolution, on a
//! 1x1 image the fully connected layer.

use crate::par::Parallel;
use crate::{Act, Isa, View, ViewMut};

/// Where a window lies on its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns.
    pub kernel: [usize; 2],
    /// Steps between outputs, down and across.
    pub stride: [usize; 2],
    /// Steps between taps, down and across.
    pub dilation: [usize; 2],
    /// Rows above, columns to the left of the input that the first window covers. What lies below and to the right
    /// follows from the output's extent.
    pub pad: [usize; 2],
}

impl Window {
    /// A 1x1 window.
    pub const ONE: Window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0, 0] };
}

/// A convolution: `out[n, y, x, o] = act(bias[o] + sum over ky, kx, ci of in[n, y*sy + ky*dy - py, x*sx + kx*dx - px, ci]
/// * w[ky, kx, ci, o] (+ residual[n, y, x, o]))`, summed in that order by FMA, taps outside the input counting as 0.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// The window.
    pub window: Window,
    /// Groups; input and output channels are both divided into as many.
    pub groups: usize,
    /// Panels, per group `[N/16][kh * kw * C/g][16]`: see [`crate::pack::conv`].
    pub weights: &'a [f32],
    /// Bias per group, padded to blocks: `[g][N/16][16]`.
    pub bias: &'a [f32],
    /// Applied last.
    pub act: Act,
}

/// Floats of scratch that [`conv`] needs for each part of [`Parallel::parts`].
pub fn conv_scratch(_window: Window, _groups: usize, _input: crate::Shape, _output: crate::Shape) -> usize {
    todo!()
}

/// Runs a convolution. `input` may have any pixel stride; `residual` has the shape of `out`.
pub fn conv<P: Parallel + ?Sized>(
    _isa: Isa,
    _par: &P,
    _args: &Conv,
    _input: View,
    _residual: Option<View>,
    _out: ViewMut,
    _scratch: &mut [f32],
) {
    todo!()
}
