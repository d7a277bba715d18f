//! Convolution of any kernel, stride, dilation and group count; with a 1x1 kernel it is the pointwise convolution, on a
//! 1x1 image the fully connected layer.

use super::activation::blocks;
use super::gemm::{self, Gemm, Residual, Run, Source};
use crate::par::{self, Band, Cut, Parallel};
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

/// How a convolution finds its input.
enum Input {
    /// As it lies there.
    Direct,
    /// From a copy with zeros around it and no gaps between pixels, of the rows that so many output rows need.
    Copied { rows: usize },
}

/// Extents of a window on the input: 1 + (kernel - 1) * dilation.
fn reach(window: &Window) -> [usize; 2] {
    [0, 1].map(|i| (window.kernel[i] - 1) * window.dilation[i] + 1)
}

/// Rows and columns that `out` output rows and columns cover.
fn covered(window: &Window, out: [usize; 2]) -> [usize; 2] {
    let reach = reach(window);
    [0, 1].map(|i| (out[i].max(1) - 1) * window.stride[i] + reach[i])
}

/// Whether some window lies partly outside the input.
fn leaves(window: &Window, input: Shape, output: Shape) -> bool {
    let covered = covered(window, [output.h, output.w]);
    window.pad != [0, 0] || covered[0] > input.h || covered[1] > input.w
}

/// Whether the input should be copied so that windows become long runs, if there are gaps between its pixels.
fn short(window: &Window, groups: usize, input: Shape) -> bool {
    window.kernel[1] > 1 && window.dilation[1] == 1 && groups == 1 && input.c < 64 && !input.c.is_multiple_of(BLOCK)
}

/// Output rows whose copied input fits the cache, all blocks of an image about equal.
fn copied_rows(window: &Window, input: Shape, output: Shape) -> usize {
    let [reach, width] = [reach(window)[0], covered(window, [1, output.w])[1]];
    let rows = (gemm::CACHE / (width * input.c).max(1)).saturating_sub(reach) / window.stride[0] + 1;
    balance(output.h, rows)
}

/// `rows` in nearly equal blocks of at most `most`: the size of the first.
pub(crate) fn balance(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most.max(1)).max(1)).max(1)
}

/// Floats of scratch that [`conv`] needs for each part of [`Parallel::parts`].
pub fn conv_scratch(window: Window, groups: usize, input: Shape, output: Shape) -> usize {
    if !leaves(&window, input, output) && !short(&window, groups, input) {
        return 0;
    }
    let rows = copied_rows(&window, input, output);
    let [height, width] = covered(&window, [rows, output.w]);
    height * width * input.c
}

/// Runs a convolution. `input` may have any pixel stride; `residual` has the shape of `out`. The pixel strides of `out`
/// and `residual` are multiples of 16.
///
/// # Panics
/// If shapes, panels or scratch do not match, which a verified file rules out.
pub fn conv<P: Parallel + ?Sized>(
    isa: Isa,
    par: &P,
    args: &Conv,
    input: View,
    residual: Option<View>,
    out: ViewMut,
    scratch: &mut [f32],
) {
    let (window, shape) = (&args.window, out.shape);
    let per_group = shape.c / args.groups;
    let depth = window.kernel[0] * window.kernel[1] * (input.shape.c / args.groups);
    let blocks = per_group.div_ceil(BLOCK);
    assert!(input.shape.n == shape.n && out.pixel.is_multiple_of(BLOCK), "conv: output does not match");
    assert!(per_group * args.groups == shape.c && input.shape.c.is_multiple_of(args.groups), "conv: groups do not divide");
    assert!(args.weights.len() >= args.groups * blocks * depth * BLOCK, "conv: too few weights");
    assert!(args.bias.len() >= args.groups * blocks * BLOCK, "conv: too few biases");
    assert!(residual.is_none_or(|r| r.shape == shape && r.pixel.is_multiple_of(BLOCK)), "conv: residual does not match");
    if shape.pixels() == 0 || shape.c == 0 {
        return;
    }
    let copied = leaves(window, input.shape, shape) || (short(window, args.groups, input.shape) && input.pixel != input.shape.c);
    let route = match copied {
        true => Input::Copied { rows: copied_rows(window, input.shape, shape) },
        false => Input::Direct,
    };
    let scratch_len = if copied { conv_scratch(*window, args.groups, input.shape, shape) } else { 0 };
    let band = Band::new(out.data, shape.pixels(), out.pixel, shape.c.next_multiple_of(BLOCK));
    let cut = cut(par.parts(), shape, depth, args.groups);
    par::split_band(par, band, cut, scratch, scratch_len, &|mut part| {
        let product = Product { isa, args, shape, residual, columns: part.columns.clone(), start: part.rows.start };
        match route {
            Input::Direct => product.run(direct(window, args.groups, &input, shape), 0, part.rows, &mut part.out),
            Input::Copied { rows } => blocks_of_rows(shape, part.rows, rows, |n, rows, pixels| {
                let source = copy(window, args.groups, &input, n, rows.clone(), shape.w, part.scratch);
                product.run(source, (n * shape.h + rows.start) * shape.w, pixels, &mut part.out);
            }),
        }
    });
}

/// How the output is cut among threads: by pixels, or by columns where pixels are few, so that each weight is read once.
pub(crate) fn cut(parts: usize, shape: Shape, depth: usize, groups: usize) -> Cut {
    let (pixels, blocks) = (shape.pixels(), shape.c.div_ceil(BLOCK));
    if groups == 1 && pixels <= 64 && blocks >= 4 * parts {
        // Whole tiles where there are enough of them.
        let worth = GRAIN.div_ceil(depth * pixels).next_multiple_of(BLOCK);
        return Cut::Columns(if blocks >= 16 * parts { worth.next_multiple_of(64) } else { worth });
    }
    Cut::Rows(GRAIN.div_ceil(depth * shape.c).max(6))
}

/// Products of a part that are worth a thread.
const GRAIN: usize = 1 << 16;

/// Calls `f(image, rows of it, pixels)` for blocks of at most `most` rows that together cover `pixels`, which are counted
/// through all images. Only the first and the last row of a block may be covered in part.
pub(crate) fn blocks_of_rows(
    shape: Shape,
    pixels: Range<usize>,
    most: usize,
    mut f: impl FnMut(usize, Range<usize>, Range<usize>),
) {
    let mut m = pixels.start;
    while m < pixels.end {
        let row = m / shape.w;
        let (n, y) = (row / shape.h, row % shape.h);
        let until = (y / most + 1) * most;
        let end = pixels.end.min((n * shape.h + until.min(shape.h)) * shape.w);
        f(n, y..end.div_ceil(shape.w) - n * shape.h, m..end);
        m = end;
    }
}

/// Windows as they lie in the input.
fn direct<'a>(window: &Window, groups: usize, input: &View<'a>, out: Shape) -> Source<'a> {
    let Window { kernel, stride, dilation, .. } = *window;
    let (pixel, row) = (input.pixel, input.shape.w * input.pixel);
    let steps = [input.shape.h * row, stride[0] * row, stride[1] * pixel];
    let joined = groups == 1 && dilation[1] == 1 && pixel == input.shape.c;
    Source {
        data: input.data,
        extent: [out.h, out.w],
        steps,
        runs: if joined { [kernel[0], 1] } else { kernel },
        run_steps: [dilation[0] * row, dilation[1] * pixel],
        run: if joined { kernel[1] * pixel } else { input.shape.c / groups },
    }
}

/// Copies what output rows `rows` of image `n` need to `to`, zeros around it; the windows there.
fn copy<'a>(
    window: &Window,
    groups: usize,
    input: &View,
    n: usize,
    rows: Range<usize>,
    out_w: usize,
    to: &'a mut [f32],
) -> Source<'a> {
    let [height, width] = covered(window, [rows.len(), out_w]);
    let Shape { h, w, c, .. } = input.shape;
    let left = window.pad[1].min(width);
    let inside = w.min(width - left);
    for (i, to) in to.chunks_exact_mut(width * c).take(height).enumerate() {
        let Some(y) = (rows.start * window.stride[0] + i).checked_sub(window.pad[0]).filter(|&y| y < h) else {
            to.fill(0.0);
            continue;
        };
        let (before, rest) = to.split_at_mut(left * c);
        let (to, after) = rest.split_at_mut(inside * c);
        before.fill(0.0);
        after.fill(0.0);
        let from = &input.data[(n * h + y) * w * input.pixel..];
        if input.pixel == c {
            to.copy_from_slice(&from[..to.len()]);
        } else {
            for (to, from) in to.chunks_exact_mut(c).zip(from.chunks(input.pixel)) {
                to.copy_from_slice(&from[..c]);
            }
        }
    }
    let shape = Shape::new(1, height, width, c);
    let unpadded = Window { pad: [0, 0], ..*window };
    direct(&unpadded, groups, &View { data: to, shape, pixel: c }, Shape::new(1, rows.len(), out_w, 0))
}

/// The products of one part of a convolution.
pub(crate) struct Product<'a> {
    pub isa: Isa,
    pub args: &'a Conv<'a>,
    /// Of the whole output.
    pub shape: Shape,
    pub residual: Option<View<'a>>,
    /// Columns that this part computes: all of them where there are several groups.
    pub columns: Range<usize>,
    /// Pixel of the whole output that is row 0 of this part's.
    pub start: usize,
}

impl Product<'_> {
    /// Computes `pixels` of the whole output from `source`, whose row 0 belongs to pixel `origin`.
    pub fn run(&self, source: Source, origin: usize, pixels: Range<usize>, out: &mut Band) {
        let Conv { window, groups, weights, bias, act } = *self.args;
        let ([panels, bias], inputs) = ([blocks(weights), blocks(bias)], source.run);
        let per_group = self.shape.c / groups;
        let blocks = per_group.div_ceil(BLOCK);
        // Columns are cut at blocks, and not at all where there are several groups.
        let (from, until) = (self.columns.start, self.columns.end.min(self.shape.c));
        for group in 0..groups {
            let block = group * blocks + from / BLOCK;
            let column = group * per_group;
            let residual =
                self.residual.map(|r| Residual { data: &r.data[pixels.start * r.pixel + from + column..], step: r.pixel });
            let gemm = Gemm {
                source: Source { data: &source.data[if groups > 1 { group * inputs } else { 0 }..], ..source },
                first: pixels.start - origin,
                pixels: pixels.len(),
                panels: &panels[block * source.depth()..],
                bias: &bias[block..],
                columns: if groups > 1 { per_group } else { until - from },
                residual,
                act,
            };
            let whole = groups == 1 || per_group.is_multiple_of(BLOCK);
            self.isa.run(Run { gemm, out: &mut *out, row: pixels.start - self.start, column, whole });
        }
        debug_assert_eq!(source.runs[0], window.kernel[0]);
    }
}

#[cfg(test)]
mod tests;
