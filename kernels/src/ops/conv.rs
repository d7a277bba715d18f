//! Convolution of any kernel, stride, dilation and group count; with a 1x1 kernel it is the pointwise convolution, on a
//! 1x1 image the fully connected layer.
//!
//! Where every window lies inside the input, the input's own memory is what the multiplication reads. Otherwise the rows that a
//! block of output rows needs are copied to scratch with a border of zeros first, and so are they where the input has planes.

use super::copy::pixels_of_planes;
use super::gemm::{A_BLOCK, Gemm, MAX_TAPS, Pixels, Segments};
use super::panels::{Panels, multiply, widened};
use crate::par::{Parallel, split};
use crate::view::span;
use crate::{Act, Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::BLOCK;

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

    /// Rows (axis 0) or columns (axis 1) that `count` neighbouring windows cover.
    pub(crate) const fn cover(&self, axis: usize, count: usize) -> usize {
        (count - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }

    /// Whether every window lies inside the input.
    const fn inside(&self, input: Shape, output: Shape) -> bool {
        self.pad[0] == 0 && self.pad[1] == 0 && self.cover(0, output.h) <= input.h && self.cover(1, output.w) <= input.w
    }
}

/// A convolution, with `v` the input at `[n, y*sy + ky*dy - py, x*sx + kx*dx - px, ci]`:
///
/// `out[n, y, x, o] = act(bias[o] + sum over ky, kx, ci of v * w[ky, kx, ci, o] (+ residual[n, y, x, o]))`
///
/// The sum is taken in that order by FMA, in chains of 512 terms whose sums are then added up; taps outside the input count as 0.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// The window.
    pub window: Window,
    /// Groups; input and output channels are both divided into as many.
    pub groups: usize,
    /// Panels, per group `[N/16][kh * kw * C/g][16]`: see [`crate::pack::conv`].
    pub weights: Panels<'a>,
    /// Bias per group, padded to blocks: `[g][N/16][16]`.
    pub bias: &'a [f32],
    /// How the input is taken.
    pub take: Take<'a>,
    /// Applied last.
    pub act: Act,
}

/// How a convolution takes its input.
#[derive(Clone, Copy, Debug)]
pub enum Take<'a> {
    /// As it is.
    Plain,
    /// With a factor for each channel of each image, `[n, 1, 1, c]`: the weights of that channel are multiplied by it, and rounded,
    /// before they are used. For one group.
    Gated(View<'a>),
    /// A plane of so many floats for each channel of each image, as NCHW has them: element (n, y, x, c) of the input, whose `pixel` is
    /// 1, is `data[(n * C + c) * planes + y * w + x]`.
    Planes(usize),
}

impl<'a> Take<'a> {
    fn gate(self) -> Option<View<'a>> {
        if let Take::Gated(gate) = self { Some(gate) } else { None }
    }
}

/// Output rows for which a bordered copy is made at a time, and the floats of that copy.
fn bordered_rows(window: &Window, input: Shape, output: Shape) -> (usize, usize) {
    let row = window.cover(1, output.w) * input.c;
    let rows = (A_BLOCK / row.max(1)).saturating_sub(window.cover(0, 1)) / window.stride[0] + 1;
    let rows = rows.clamp(1, output.h);
    // Even blocks: no short one at the end of an image.
    let rows = output.h.div_ceil(output.h.div_ceil(rows));
    (rows, window.cover(0, rows) * row)
}

/// Floats of scratch that [`conv`] needs for each part of [`Parallel::parts`], besides what [`conv_widened`] says, or with a
/// gate [`widened`] of all weights.
/// `planes`: whether the input has them.
pub fn conv_scratch(window: Window, planes: bool, input: Shape, output: Shape) -> usize {
    if window.inside(input, output) && !planes { 0 } else { bordered_rows(&window, input, output).1 }
}

/// Floats of scratch in which [`conv`] widens weights that are so many halves.
pub fn conv_widened(window: Window, groups: usize, output: Shape, halves: usize) -> usize {
    let fully_connected = output.pixels() == 1 && groups == 1 && window.kernel == [1, 1];
    if fully_connected { 0 } else { widened(halves / groups, output.c / groups) }
}

/// Runs a convolution. `input` may have any pixel stride; `residual` has the shape of `out`.
pub fn conv(isa: Isa, par: &dyn Parallel, args: &Conv, input: View, residual: Option<View>, out: ViewMut, scratch: &mut [f32]) {
    let (shape, pixel) = (out.shape, out.pixel);
    if let Some(gate) = args.take.gate().filter(|_| shape.n > 1) {
        return image_by_image(isa, par, args, gate, input, residual, out, scratch);
    }
    let w = &args.window;
    let wide = match args.weights {
        weights if args.take.gate().is_some() => widened(weights.weights(), shape.c),
        Panels::F32(_) => 0,
        Panels::F16(halves) => conv_widened(*w, args.groups, shape, halves.len()),
    };
    if w.inside(input.shape, shape) && !matches!(args.take, Take::Planes(_)) {
        if shape.pixels() == 1 && args.groups == 1 && args.take.gate().is_none() {
            return fully_connected(isa, par, args, input, residual, out, scratch, wide);
        }
        // One grain is a tile of every set, so that parts do not tear tiles more than needed.
        return split(par, out.data, shape.pixels(), pixel, 6, scratch, wide, &|r: Range<usize>, out, scratch| {
            let base = Pixels {
                width: shape.w,
                height: shape.h,
                dx: w.stride[1] * input.pixel,
                dy: w.stride[0] * input.shape.w * input.pixel,
                dn: input.shape.h * input.shape.w * input.pixel,
            };
            groups(isa, args, &input, base, r.start, r.len(), shape.c, residual, r.start, out, pixel, scratch);
        });
    }
    let (rows, floats) = bordered_rows(w, input.shape, shape);
    split(par, out.data, shape.n * shape.h, shape.w * pixel, 1, scratch, floats + wide, &|r: Range<usize>, out, scratch| {
        let (copied, wide) = scratch.split_at_mut(floats);
        let mut row = r.start;
        while row < r.end {
            let (n, y) = (row / shape.h, row % shape.h);
            let count = rows.min(r.end - row).min(shape.h - y);
            let copy = Shape::new(1, w.cover(0, count), w.cover(1, shape.w), input.shape.c);
            bordered_copy(args, &input, n, y, copy, copied);
            let view = View { data: copied, shape: copy, pixel: copy.c };
            let base = Pixels { width: shape.w, height: count, dx: w.stride[1] * copy.c, dy: w.stride[0] * copy.w * copy.c, dn: 0 };
            let first = row * shape.w;
            let part = &mut out[(row - r.start) * shape.w * pixel..];
            groups(isa, args, &view, base, 0, count * shape.w, shape.c, residual, first, part, pixel, wide);
            row += count;
        }
    });
}

/// A convolution whose images have different weights.
fn image_by_image(
    isa: Isa,
    par: &dyn Parallel,
    args: &Conv,
    gate: View,
    input: View,
    residual: Option<View>,
    out: ViewMut,
    scratch: &mut [f32],
) {
    fn one(v: View<'_>, i: usize) -> View<'_> {
        let shape = Shape { n: 1, ..v.shape };
        View { data: &v.data[i * shape.pixels() * v.pixel..], shape, ..v }
    }
    let shape = Shape { n: 1, ..out.shape };
    for i in 0..out.shape.n {
        let at = i * shape.pixels() * out.pixel;
        let data = &mut out.data[at..][..span(shape, out.pixel)];
        let args = Conv { take: Take::Gated(one(gate, i)), ..*args };
        let out = ViewMut { data, shape, pixel: out.pixel };
        conv(isa, par, &args, one(input, i), residual.map(|r| one(r, i)), out, scratch);
    }
}

/// Copies the input rows under output rows `y..` of image `n` to `to`, with zeros where they lie outside.
fn bordered_copy(args: &Conv, input: &View, n: usize, y: usize, copy: Shape, to: &mut [f32]) {
    let w = &args.window;
    let Shape { h, w: width, c, .. } = input.shape;
    let left = w.pad[1];
    let inside = (left + width).min(copy.w).saturating_sub(left);
    for (i, row) in to.chunks_exact_mut(copy.w * c).take(copy.h).enumerate() {
        let Some(iy) = (y * w.stride[0] + i).checked_sub(w.pad[0]).filter(|&iy| iy < h && inside > 0) else {
            row.fill(0.0);
            continue;
        };
        let (before, rest) = row.split_at_mut(left * c);
        let (middle, after) = rest.split_at_mut(inside * c);
        before.fill(0.0);
        after.fill(0.0);
        if let Take::Planes(apart) = args.take {
            pixels_of_planes(&input.data[n * c * apart + iy * width..], apart, c, middle);
            continue;
        }
        let from = &input.data[(n * h + iy) * width * input.pixel..];
        if input.pixel == c {
            middle.copy_from_slice(&from[..inside * c]);
        } else {
            for (to, from) in middle.chunks_exact_mut(c).zip(from.chunks(input.pixel)) {
                to.copy_from_slice(&from[..c]);
            }
        }
    }
}

/// All groups of `m` output pixels; `first` is the first one's index among `base`, `residual_first` in the residual.
fn groups(
    isa: Isa,
    args: &Conv,
    input: &View,
    base: Pixels,
    first: usize,
    m: usize,
    out_channels: usize,
    residual: Option<View>,
    residual_first: usize,
    out: &mut [f32],
    out_pixel: usize,
    scratch: &mut [f32],
) {
    let w = &args.window;
    let (c, n) = (input.shape.c / args.groups, out_channels / args.groups);
    let row = w.dilation[0] * input.shape.w * input.pixel;
    let together = args.groups == 1 && input.pixel == c && (w.dilation[1] == 1 || w.kernel[1] == 1);
    let segments = if together {
        Segments { ny: w.kernel[0], dy: row, nx: 1, dx: 0, len: w.kernel[1] * c }
    } else {
        Segments { ny: w.kernel[0], dy: row, nx: w.kernel[1], dx: w.dilation[1] * input.pixel, len: c }
    };
    let mut list = [0; MAX_TAPS];
    let taps = segments.list(&mut list);
    let (panels, biases) = (args.weights.weights() / args.groups, args.bias.len() / args.groups);
    for g in 0..args.groups {
        let gemm = Gemm {
            a: &input.data[g * c..],
            pixels: base,
            segments,
            taps,
            first,
            m,
            panels: &[],
            bias: &args.bias[g * biases..][..biases],
            n,
            whole_blocks: args.groups == 1 || n.is_multiple_of(BLOCK),
            residual: residual.map(|r| (&r.data[residual_first * r.pixel + g * n..], r.pixel)),
            act: args.act,
            out: &mut out[g * n..],
            out_pixel,
        };
        let gate = args.take.gate().map(|gate| &gate.data[..c]);
        multiply(isa, args.weights.part(g * panels..(g + 1) * panels), gate, gemm, scratch);
    }
}

/// One pixel: the work is shared by output channels.
fn fully_connected(
    isa: Isa,
    par: &dyn Parallel,
    args: &Conv,
    input: View,
    residual: Option<View>,
    out: ViewMut,
    scratch: &mut [f32],
    wide: usize,
) {
    let n = out.shape.c;
    let blocks = n.div_ceil(BLOCK);
    let k = args.weights.weights() / (blocks * BLOCK);
    let pixel = out.pixel;
    split(par, out.data, blocks, BLOCK, 4, scratch, wide, &|r: Range<usize>, out, scratch| {
        let (start, end) = (r.start * BLOCK, (r.end * BLOCK).min(n));
        let part = Conv {
            weights: args.weights.part(r.start * BLOCK * k..r.end * BLOCK * k),
            bias: &args.bias[r.start * BLOCK..r.end * BLOCK],
            ..*args
        };
        let residual = residual.map(|v| View { data: &v.data[start..], ..v });
        let base = Pixels { width: 1, height: 1, dx: 0, dy: 0, dn: 0 };
        groups(isa, &part, &input, base, 0, 1, end - start, residual, 0, out, pixel, scratch);
    });
}

/// A multiplication of pixels that follow each other, for other operators.
pub(crate) fn pointwise(
    isa: Isa,
    args: &Conv,
    input: &View,
    n: usize,
    residual: Option<(&[f32], usize)>,
    out: &mut [f32],
    out_pixel: usize,
    scratch: &mut [f32],
) {
    let (pixels, segments) = Gemm::linear(input);
    let gemm = Gemm {
        a: input.data,
        pixels,
        segments,
        taps: &[],
        first: 0,
        m: input.shape.pixels(),
        panels: &[],
        bias: args.bias,
        n,
        whole_blocks: true,
        residual,
        act: args.act,
        out,
        out_pixel,
    };
    multiply(isa, args.weights, None, gemm, scratch);
}
