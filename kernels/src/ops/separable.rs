//! A depthwise and a pointwise convolution as one step: rows of the depthwise output stay in the cache and feed the GEMM.

use super::conv::{Conv, Window, pointwise};
use super::depthwise::{Depthwise, depthwise_rows};
use super::gemm::A_BLOCK;
use crate::par::{Parallel, split, uneven};
use crate::{Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::pixel_stride;

/// Pixels of a tile of every instruction set: parts should not tear them more than needed.
const TILE: usize = 6;

/// Floats between pixels of the depthwise rows.
fn middle_pixel(c: usize) -> usize {
    pixel_stride(c).expect("a slice of so many channels exists")
}

/// Output rows that are made at a time.
fn block_rows(c: usize, output: Shape) -> usize {
    let rows = (A_BLOCK / (output.w * middle_pixel(c)).max(1)).clamp(1, output.h);
    output.h.div_ceil(output.h.div_ceil(rows))
}

/// Floats of scratch that [`separable`] needs for each part of [`Parallel::parts`] with weights in f32; for halves see
/// [`widened`](super::panels::widened). `input` is the depthwise input.
pub fn separable_scratch(_depthwise: Window, input: Shape, output: Shape) -> usize {
    block_rows(input.c, output) * output.w * middle_pixel(input.c)
}

/// Runs `pointwise(depthwise(input))`, to the bit what the two steps give. `pointwise` has a 1x1 window and one group.
pub fn separable(
    isa: Isa,
    par: &dyn Parallel,
    depthwise: &Depthwise,
    second: &Conv,
    input: View,
    residual: Option<View>,
    out: ViewMut,
    scratch: &mut [f32],
) {
    let (shape, pixel, c) = (out.shape, out.pixel, input.shape.c);
    let (rows, mid) = (block_rows(c, shape), middle_pixel(c));
    let middle = Shape { c, ..shape };
    let floats = separable_scratch(depthwise.window, input.shape, shape);
    let wide = second.weights.scratch(1, shape.c);
    // A row in which one part ends and the next begins is made by both, which costs less than parts of uneven numbers of rows.
    let grain = if uneven(shape.n * shape.h, par.parts()) { TILE } else { shape.w };
    split(par, out.data, shape.pixels(), pixel, grain, scratch, floats + wide, &|r: Range<usize>, out, scratch| {
        let (between, wide) = scratch.split_at_mut(floats);
        let width = shape.w.max(1);
        let (mut row, last) = (r.start / width, r.end.div_ceil(width));
        while row < last {
            let count = rows.min(last - row);
            depthwise_rows(isa, depthwise, &input, middle, row..row + count, between, mid);
            let (first, end) = (r.start.max(row * shape.w), r.end.min((row + count) * shape.w));
            let data = &between[(first - row * shape.w) * mid..];
            let view = View { data, shape: Shape::new(1, 1, end - first, c), pixel: mid };
            let residual = residual.map(|v| (&v.data[first * v.pixel..], v.pixel));
            pointwise(isa, second, &view, shape.c, residual, &mut out[(first - r.start) * pixel..], pixel, wide);
            row += count;
        }
    });
}
