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
