//! Maximum and average over windows.
//!
//! ```text
//! for each output pixel, for each channel block:
//!     acc = first;  for ky, kx inside the input:  acc = max(tap, acc)  or  acc += tap
//!     out = acc * 1/count + residual
//! ```
//!
//! 1. Windows of four and nine taps that lie inside the input are unrolled: their taps are so many slices of equal length.
//! 2. Other windows go tap by tap over all channels of the pixel, with the output in the L1 cache as accumulator.

use super::activation::{blocks, blocks_mut, grain};
use super::conv::Window;
use super::depthwise::taps;
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::BLOCK;

/// What is taken over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value inside the input; taps outside, and NaN, are skipped. -inf if there is none.
    Max,
    /// The sum in the order of rows and columns, times the correctly rounded `1 / count` of taps inside the input. 0 if there is
    /// none.
    Average,
    /// The sum, divided likewise by the taps inside the input *and its explicit padding*: `pad_end` is the padding below and to
    /// the right (ONNX `count_include_pad`).
    AverageWithPad {
        /// Rows below, columns to the right.
        pad_end: [usize; 2],
    },
}

/// Runs a pooling step, with an optional tensor added to its result (Xception's `maxpool(x) + shortcut`).
pub fn pool(isa: Isa, par: &dyn Parallel, kind: PoolKind, window: Window, input: View, residual: Option<View>, out: ViewMut) {
    assert!(input.shape.n == out.shape.n && input.shape.c == out.shape.c, "pool: shapes do not match");
    assert!(residual.is_none_or(|r| r.shape == out.shape), "pool: the residual has another shape");
    let (shape, pixel) = (out.shape, out.pixel);
    let row = shape.w * pixel;
    par::split(par, out.data, shape.n * shape.h, row, grain(row), &mut [], 0, &|rows, part, _| {
        let (out, step) = (blocks_mut(part), pixel / BLOCK);
        let nb = shape.c.div_ceil(BLOCK);
        isa.run(Rows { kind, window, input, residual, shape, rows, out, step, nb });
    });
}

struct Rows<'a> {
    kind: PoolKind,
    window: Window,
    input: View<'a>,
    residual: Option<View<'a>>,
    /// Of the whole output.
    shape: Shape,
    rows: Range<usize>,
    out: &'a mut [Block],
    /// Blocks between pixels of the output.
    step: usize,
    /// Blocks of a pixel.
    nb: usize,
}

impl Kernel for Rows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let max = self.kind == PoolKind::Max;
        match (max, self.window.kernel) {
            (true, [3, 3]) => s.vectorize(Walk::<9, true>(self)),
            (true, [2, 2]) => s.vectorize(Walk::<4, true>(self)),
            (true, _) => s.vectorize(Walk::<0, true>(self)),
            (false, [3, 3]) => s.vectorize(Walk::<9, false>(self)),
            (false, [2, 2]) => s.vectorize(Walk::<4, false>(self)),
            (false, _) => s.vectorize(Walk::<0, false>(self)),
        }
    }
}

/// A window of `TAPS` taps, or of any number where that is 0.
struct Walk<'a, const TAPS: usize, const MAX: bool>(Rows<'a>);

/// The next tap into the accumulator.
#[inline(always)]
fn take<S: Simd, const MAX: bool>(s: S, acc: S::V, v: S::V) -> S::V {
    if MAX { s.max(v, acc) } else { s.add(acc, v) }
}

impl<const TAPS: usize, const MAX: bool> Kernel for Walk<'_, TAPS, MAX> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { kind, window, input, residual, shape, rows, out, step, nb } = self.0;
        let Window { kernel, stride, dilation, pad } = window;
        let (size, in_step, data) = (input.shape, input.pixel / BLOCK, blocks(input.data));
        for (i, row) in rows.enumerate() {
            let (image, y) = (row / shape.h, row % shape.h);
            let iy = (y * stride[0]) as isize - pad[0] as isize;
            let ky = taps(iy, kernel[0], dilation[0], size.h);
            for x in 0..shape.w {
                let ix = (x * stride[1]) as isize - pad[1] as isize;
                let kx = taps(ix, kernel[1], dilation[1], size.w);
                let inside = ky.len() * kx.len();
                let count = match kind {
                    PoolKind::Max | PoolKind::Average => inside,
                    PoolKind::AverageWithPad { pad_end } => {
                        let covered = |d: usize, first: isize, len: usize| {
                            taps(first + pad[d] as isize, kernel[d], dilation[d], pad[d] + len + pad_end[d]).len()
                        };
                        covered(0, iy, size.h) * covered(1, ix, size.w)
                    }
                };
                let scale = s.splat(if MAX || count == 0 { 1.0 } else { 1.0 / count as f32 });
                let tap = |ky: usize, kx: usize| {
                    let (y, x) = (iy + (ky * dilation[0]) as isize, ix + (kx * dilation[1]) as isize);
                    &data[((image * size.h + y as usize) * size.w + x as usize) * in_step..][..nb]
                };
                let out = &mut out[(i * shape.w + x) * step..][..nb];
                if TAPS > 0 && inside == TAPS {
                    let side = kernel[1];
                    let taps: [&[Block]; TAPS] = core::array::from_fn(|t| tap(t / side, t % side));
                    for cb in 0..nb {
                        for j in 0..S::PARTS {
                            let mut acc = s.splat(if MAX { f32::NEG_INFINITY } else { 0.0 });
                            for tap in taps {
                                acc = take::<S, MAX>(s, acc, s.load(&tap[cb], j));
                            }
                            s.store(if MAX { acc } else { s.mul(acc, scale) }, &mut out[cb], j);
                        }
                    }
                } else {
                    out.fill([if MAX { f32::NEG_INFINITY } else { 0.0 }; BLOCK]);
                    for ky in ky.clone() {
                        for kx in kx.clone() {
                            for (out, tap) in out.iter_mut().zip(tap(ky, kx)) {
                                for j in 0..S::PARTS {
                                    s.store(take::<S, MAX>(s, s.load(out, j), s.load(tap, j)), out, j);
                                }
                            }
                        }
                    }
                    if !MAX {
                        for out in out.iter_mut() {
                            for j in 0..S::PARTS {
                                s.store(s.mul(s.load(out, j), scale), out, j);
                            }
                        }
                    }
                }
                if let Some(residual) = &residual {
                    let r = &blocks(residual.data)[(row * shape.w + x) * (residual.pixel / BLOCK)..][..nb];
                    for (out, r) in out.iter_mut().zip(r) {
                        for j in 0..S::PARTS {
                            s.store(s.add(s.load(out, j), s.load(r, j)), out, j);
                        }
                    }
                }
            }
        }
    }
}
