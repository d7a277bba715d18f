//! Reductions over all pixels of an image, or over the channels of each pixel.
//!
//! Over pixels each channel is reduced in the order of pixels, eight blocks of channels side by side to hide the latency of the additions;
//! threads share channel blocks, so that no sum is split among them. What is added is so in runs of [`RUN`] pixels, whose sums are added in
//! turn: a sum of thousands of values, one after the other, is off by ten times as much. Over channels there are sixteen partial results, block by block, and then one
//! of them in order.

use super::activation::{blocks, blocks_mut, grain};
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::BLOCK;

/// What is taken over the pixels of an image, in row order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceKind {
    /// The sum times the correctly rounded reciprocal of the number of values.
    Mean,
    /// The sum.
    Sum,
    /// The largest value; NaN is skipped.
    Max,
    /// The smallest value; NaN is skipped.
    Min,
    /// The product.
    Product,
}

impl ReduceKind {
    /// What nothing is reduced to.
    pub fn start(self) -> f32 {
        match self {
            ReduceKind::Mean | ReduceKind::Sum => 0.0,
            ReduceKind::Max => f32::NEG_INFINITY,
            ReduceKind::Min => f32::INFINITY,
            ReduceKind::Product => 1.0,
        }
    }

    /// One more value.
    #[inline(always)]
    fn add<S: Simd>(self, s: S, acc: S::V, x: S::V) -> S::V {
        match self {
            ReduceKind::Mean | ReduceKind::Sum => s.add(acc, x),
            ReduceKind::Max => s.max(x, acc),
            ReduceKind::Min => s.min(x, acc),
            ReduceKind::Product => s.mul(acc, x),
        }
    }
}

/// Floats of input below which a part is not worth a thread.
const GRAIN: usize = 16384;

/// `out[n, 0, 0, c] = reduce over y, x of input[n, y, x, c]`.
pub fn reduce_hw(isa: Isa, par: &dyn Parallel, kind: ReduceKind, input: View, out: ViewMut) {
    let (i, o) = (input.shape, out.shape);
    assert_eq!(o, Shape::new(i.n, 1, 1, i.c), "reduce: shapes do not match");
    if o.n == 0 {
        return;
    }
    let (nb, step) = (o.c.div_ceil(BLOCK), out.pixel / BLOCK);
    // In units of blocks, gaps between the images included.
    let units = (o.n - 1) * step + nb;
    let grain = (GRAIN / (i.h * i.w * BLOCK).max(1)).max(1);
    par::split(par, out.data, units, BLOCK, grain, &mut [], 0, &|units, part, _| {
        let out = blocks_mut(part);
        let mut at = units.start;
        while at < units.end {
            let (image, first) = (at / step, at % step);
            let end = ((image + 1) * step).min(units.end);
            let channels = first.min(nb)..(end - image * step).min(nb);
            let start = at - units.start;
            if !channels.is_empty() {
                isa.run(Reduce { kind, input, image, out: &mut out[start..][..channels.len()], channels });
            }
            at = end;
        }
    });
}

struct Reduce<'a> {
    kind: ReduceKind,
    input: View<'a>,
    image: usize,
    /// Channel blocks, as many as `out` holds.
    channels: Range<usize>,
    out: &'a mut [Block],
}

impl Kernel for Reduce<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let pixels = self.input.shape.h * self.input.shape.w;
        let step = self.input.pixel / BLOCK;
        let data = &blocks(self.input.data)[self.image * pixels * step..];
        let (wide, narrow) = self.out.as_chunks_mut::<WIDE>();
        let mut at = self.channels.start;
        for out in wide {
            self.kind.blocks(s, pixels, step, &data[at..], out);
            at += WIDE;
        }
        for out in narrow {
            self.kind.blocks(s, pixels, step, &data[at..], core::array::from_mut(out));
            at += 1;
        }
    }
}

/// Pixels whose sum begins anew.
pub const RUN: usize = 256;

/// Blocks side by side.
const WIDE: usize = 8;

impl ReduceKind {
    /// `N` neighbouring blocks of `pixels` pixels that lie `step` blocks apart.
    #[inline(always)]
    fn blocks<S: Simd, const N: usize>(self, s: S, pixels: usize, step: usize, data: &[Block], out: &mut [Block; N]) {
        let scale = s.splat(1.0 / pixels as f32);
        for j in 0..S::PARTS {
            let mut acc = [s.splat(self.start()); N];
            // One loop for each: the match inside folds away.
            macro_rules! each {
                ($kind:expr) => {
                    for from in (0..pixels).step_by(RUN) {
                        let mut run = [s.splat(self.start()); N];
                        for p in from..pixels.min(from + RUN) {
                            let pixel = &data[p * step..][..N];
                            for i in 0..N {
                                run[i] = $kind.add(s, run[i], s.load(&pixel[i], j));
                            }
                        }
                        for i in 0..N {
                            // A run of its own stays as it is, even a negative zero.
                            acc[i] = if from == 0 { run[i] } else { $kind.add(s, acc[i], run[i]) };
                        }
                    }
                };
            }
            match self {
                ReduceKind::Mean | ReduceKind::Sum => each!(ReduceKind::Sum),
                ReduceKind::Max => each!(ReduceKind::Max),
                ReduceKind::Min => each!(ReduceKind::Min),
                ReduceKind::Product => each!(ReduceKind::Product),
            }
            for i in 0..N {
                s.store(if self == ReduceKind::Mean { s.mul(acc[i], scale) } else { acc[i] }, &mut out[i], j);
            }
        }
    }
}

/// `out[n, y, x, 0] = reduce over c of input[n, y, x, c]`.
pub fn reduce_channels(isa: Isa, par: &dyn Parallel, kind: ReduceKind, input: View, out: ViewMut) {
    assert_eq!(out.shape, Shape { c: 1, ..input.shape }, "reduce: shapes do not match");
    let (step, out_step) = (input.pixel / BLOCK, out.pixel / BLOCK);
    par::split(par, out.data, out.shape.pixels(), out.pixel, grain(input.pixel), &mut [], 0, &|units, part, _| {
        let x = &blocks(input.data)[units.start * step..];
        isa.run(Channels { kind, channels: input.shape.c, x, step, out: blocks_mut(part), out_step, pixels: units.len() });
    });
}

struct Channels<'a> {
    kind: ReduceKind,
    channels: usize,
    x: &'a [Block],
    /// Blocks between pixels.
    step: usize,
    out: &'a mut [Block],
    out_step: usize,
    pixels: usize,
}

impl Kernel for Channels<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Channels { kind, channels, x, step, out, out_step, pixels } = self;
        let (whole, used) = (channels / BLOCK, channels % BLOCK);
        for i in 0..pixels {
            let row = &x[i * step..];
            let mut last = [kind.start(); BLOCK];
            if used > 0 {
                last[..used].copy_from_slice(&row[whole][..used]);
            }
            let mut lanes = [kind.start(); BLOCK];
            for j in 0..S::PARTS {
                let mut acc = s.load(&lanes, j);
                for b in &row[..whole] {
                    acc = kind.add(s, acc, s.load(b, j));
                }
                if used > 0 {
                    acc = kind.add(s, acc, s.load(&last, j));
                }
                s.store(acc, &mut lanes, j);
            }
            let all = lanes.iter().fold(kind.start(), |acc, &lane| kind.add(crate::simd::Scalar, acc, lane));
            out[i * out_step][0] = if kind == ReduceKind::Mean { all * (1.0 / channels as f32) } else { all };
        }
    }
}
