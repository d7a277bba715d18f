//! A depthwise and a pointwise convolution as one step: rows of the depthwise output stay in the cache and feed the GEMM.

use super::conv::{Conv, Window, pointwise};
use super::depthwise::{Depthwise, depthwise_rows};
use super::gemm::A_BLOCK;
use crate::par::{Parallel, split};
use crate::{Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::pixel_stride;

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
    split(par, out.data, shape.n * shape.h, shape.w * pixel, 1, scratch, floats + wide, &|r: Range<usize>, out, scratch| {
        let (between, wide) = scratch.split_at_mut(floats);
        let mut row = r.start;
        while row < r.end {
            let count = rows.min(r.end - row);
            depthwise_rows(isa, depthwise, &input, middle, row..row + count, between, mid);
            let view = View { data: between, shape: Shape::new(1, count, shape.w, c), pixel: mid };
            let residual = residual.map(|v| (&v.data[row * shape.w * v.pixel..], v.pixel));
            let part = &mut out[(row - r.start) * shape.w * pixel..];
            pointwise(isa, second, &view, shape.c, residual, part, pixel, wide);
            row += count;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::panels::Panels;
    use crate::ops::testing::{Image, Rng, Threads, assert_same, each_isa};
    use crate::{Act, pack, reference};
    use sepal_format::layout::BLOCK;
    use std::vec;

    fn check(n: usize, size: [usize; 2], c: usize, o: usize, window: Window, pre_relu: bool, residual: bool) {
        let extent = |d: usize| (size[d] + 2 * window.pad[d] - window.cover(d, 1)) / window.stride[d] + 1;
        let (h, w) = (extent(0), extent(1));
        let input = Image::random(n, size[0], size[1], c, 0, 3);
        let taps = window.kernel[0] * window.kernel[1];
        let (dw, db) = (Rng(1).values(taps * c), Rng(2).values(c));
        let (pw, pb) = (Rng(4).values(c * o), Rng(5).values(o));
        let extra = Image::random(n, h, w, o, 16, 9);
        let extra = residual.then(|| extra.view());
        let mut middle = Image::new(n, h, w, c, 0);
        reference::depthwise::depthwise(window, &dw, &db, pre_relu, Act::RELU, input.view(), middle.view_mut());
        let mut want = Image::new(n, h, w, o, 16);
        reference::conv::conv(Window::ONE, 1, &pw, &pb, Act::Silu, middle.view(), extra, want.view_mut());

        let mut dw_panels = vec![0.0; c.next_multiple_of(BLOCK) * taps];
        pack::depthwise(window.kernel, c, &dw, &mut dw_panels);
        let mut dw_bias = vec![0.0; c.next_multiple_of(BLOCK)];
        pack::channels(1, &db, &mut dw_bias);
        let mut panels = vec![0.0; pack::conv_len([1, 1], c, o, 1).unwrap()];
        pack::conv([1, 1], c, o, 1, &pw, &mut panels);
        let mut bias = vec![0.0; o.next_multiple_of(BLOCK)];
        pack::channels(1, &pb, &mut bias);
        let first = Depthwise { window, weights: &dw_panels, bias: &dw_bias, pre_relu, act: Act::RELU };
        let second = Conv { window: Window::ONE, groups: 1, weights: Panels::F32(&panels), bias: &bias, act: Act::Silu };
        each_isa(|isa| {
            for parts in [1, 2, 4] {
                let mut scratch = vec![f32::NAN; parts * separable_scratch(window, input.shape, want.shape)];
                let mut got = Image::new(n, h, w, o, 16);
                separable(isa, &Threads(parts), &first, &second, input.view(), extra, got.view_mut(), &mut scratch);
                assert_same(&got, &want, (isa, parts, n, size, c, o, window));
                got.assert_gaps_untouched();
            }
        });
    }

    #[test]
    fn equals_its_two_halves() {
        for (c, o) in [(1, 1), (16, 16), (24, 40), (33, 7), (256, 20)] {
            for (k, stride) in [(3, 1), (3, 2), (5, 1)] {
                let window = Window { kernel: [k, k], stride: [stride; 2], dilation: [1, 1], pad: [k / 2; 2] };
                check(1, [9, 7], c, o, window, false, false);
                check(2, [6, 5], c, o, window, true, true);
            }
        }
        let window = Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad: [1, 1] };
        check(1, [1, 1], 20, 20, window, true, false);
        check(1, [60, 50], 130, 3, window, true, true);
    }
}
