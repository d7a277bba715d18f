//! A depthwise and a pointwise convolution as one step: rows of the depthwise output stay in the cache and feed the GEMM.
//!
//! ```text
//! for blocks of rows { scratch = depthwise(input); out = pointwise(scratch) }
//! ```

use super::conv::{Conv, Product, Window, balance, blocks_of_rows, cut};
use super::depthwise::{Depthwise, depthwise_rows};
use super::gemm::{self, Source};
use crate::par::{self, Band, Parallel};
use crate::{Isa, Shape, View, ViewMut};
use sepal_format::layout::{BLOCK, pixel_stride};

/// Floats between pixels of the depthwise output.
fn pixel(channels: usize) -> usize {
    pixel_stride(channels).unwrap_or(0)
}

/// Rows of the depthwise output that fit the cache.
fn rows(input: Shape, output: Shape) -> usize {
    balance(output.h, gemm::CACHE / (output.w * pixel(input.c)).max(1))
}

/// Floats of scratch that [`separable`] needs for each part of [`Parallel::parts`]. `input` is the depthwise input.
pub fn separable_scratch(_depthwise: Window, input: Shape, output: Shape) -> usize {
    rows(input, output) * output.w * pixel(input.c)
}

/// Runs `pointwise(depthwise(input))`, to the bit what the two steps give. `pointwise` has a 1x1 window and one group.
///
/// # Panics
/// If shapes, panels or scratch do not match, which a verified file rules out.
pub fn separable<P: Parallel + ?Sized>(
    isa: Isa,
    par: &P,
    depthwise: &Depthwise,
    pointwise: &Conv,
    input: View,
    residual: Option<View>,
    out: ViewMut,
    scratch: &mut [f32],
) {
    let (shape, depth) = (out.shape, input.shape.c);
    let blocks = shape.c.div_ceil(BLOCK);
    assert!(pointwise.window == Window::ONE && pointwise.groups == 1, "separable: not pointwise");
    assert!(input.shape.n == shape.n && out.pixel.is_multiple_of(BLOCK), "separable: output does not match");
    assert!(pointwise.weights.len() >= blocks * depth * BLOCK, "separable: too few weights");
    assert!(pointwise.bias.len() >= blocks * BLOCK, "separable: too few biases");
    assert!(residual.is_none_or(|r| r.shape == shape && r.pixel.is_multiple_of(BLOCK)), "separable: residual does not match");
    if shape.pixels() == 0 || shape.c == 0 {
        return;
    }
    let (rows, pixel) = (rows(input.shape, shape), pixel(depth));
    let between = Shape { c: depth, ..shape };
    let scratch_len = separable_scratch(depthwise.window, input.shape, shape);
    let band = Band::new(out.data, shape.pixels(), out.pixel, shape.c.next_multiple_of(BLOCK));
    // Only by pixels: each part computes the depthwise rows that it needs.
    let cut = cut(par.parts(), shape, depth, usize::MAX);
    par::split_band(par, band, cut, scratch, scratch_len, &|mut part| {
        let product = Product { isa, args: pointwise, shape, residual, columns: part.columns, start: part.rows.start };
        blocks_of_rows(shape, part.rows, rows, |n, rows, pixels| {
            let (from, until) = (n * shape.h + rows.start, n * shape.h + rows.end);
            depthwise_rows(isa, depthwise, &input, between, from..until, part.scratch, pixel);
            let source = Source {
                data: part.scratch,
                extent: [rows.len(), shape.w],
                steps: [rows.len() * shape.w * pixel, shape.w * pixel, pixel],
                runs: [1, 1],
                run_steps: [0, 0],
                run: depth,
            };
            product.run(source, from * shape.w, pixels, &mut part.out);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::conv::conv;
    use crate::ops::depthwise::depthwise;
    use crate::ops::testing::{Image, Rng, Threads, assert_same, each_isa};
    use crate::{Act, pack, reference};
    use std::vec;

    /// Output rows and columns, channels in and out, stride, batch.
    fn check([h, w]: [usize; 2], c: usize, n: usize, stride: usize, batch: usize, residual: bool, act: Act) {
        let mut rng = Rng(11);
        let window = Window { kernel: [3, 3], stride: [stride; 2], dilation: [1, 1], pad: [1, 1] };
        let input = Image::random(batch, (h - 1) * stride + 1, (w - 1) * stride + 1, c, 16, 1);
        let residual = residual.then(|| Image::random(batch, h, w, n, 32, 2));
        let view = || residual.as_ref().map(Image::view);
        let (dw, dw_bias, pw, pw_bias) = (rng.values(9 * c), rng.values(c), rng.values(c * n), rng.values(n));
        let mut between = Image::new(batch, h, w, c, 0);
        reference::depthwise::depthwise(window, &dw, &dw_bias, true, Act::RELU, input.view(), between.view_mut());
        let mut want = Image::new(batch, h, w, n, 0);
        reference::conv::conv(Window::ONE, 1, &pw, &pw_bias, act, between.view(), view(), want.view_mut());

        let (cp, np) = (c.next_multiple_of(16), n.next_multiple_of(16));
        let [mut a, mut b, mut d, mut e] = [9 * cp, cp, c * np, np].map(|len| vec![f32::NAN; len]);
        pack::depthwise([3, 3], c, &dw, &mut a);
        pack::channels(1, &dw_bias, &mut b);
        pack::conv([1, 1], c, n, 1, &pw, &mut d);
        pack::channels(1, &pw_bias, &mut e);
        let first = Depthwise { window, weights: &a, bias: &b, pre_relu: true, act: Act::RELU };
        let second = Conv { window: Window::ONE, groups: 1, weights: &d, bias: &e, act };
        each_isa(|isa| {
            for parts in [1, 2, 4] {
                let par = Threads(parts);
                let mut got = Image::new(batch, h, w, n, 16);
                let mut scratch = vec![f32::NAN; parts * separable_scratch(window, input.shape, got.shape)];
                separable(isa, &par, &first, &second, input.view(), view(), got.view_mut(), &mut scratch);
                assert_same(&got, &want, (isa, parts, c, n));
                got.assert_gaps_untouched();

                let mut middle = Image::new(batch, h, w, c, 0);
                depthwise(isa, &par, &first, input.view(), middle.view_mut());
                let mut two = Image::new(batch, h, w, n, 16);
                conv(isa, &par, &second, middle.view(), view(), two.view_mut(), &mut []);
                assert_same(&got, &two, ("two steps", isa, parts));
            }
        });
    }

    #[test]
    fn small() {
        for (c, n) in [(1, 1), (3, 16), (16, 24), (17, 33), (33, 70), (256, 8)] {
            for stride in [1, 2, 3] {
                check([1, 1], c, n, stride, 1, false, Act::None);
                check([5, 4], c, n, stride, 2, true, Act::RELU);
                check([3, 7], c, n, stride, 1, true, Act::HardSwish);
            }
        }
    }

    #[test]
    fn several_blocks_of_rows() {
        check([30, 30], 250, 20, 1, 1, true, Act::RELU);
        check([17, 61], 200, 24, 2, 2, false, Act::Silu);
    }
}
