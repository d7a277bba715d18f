//! Reductions over all pixels of an image, or over the channels of each pixel.
//!
//! Over pixels each channel is reduced in runs of [`RUN`] pixels, in order, and then their results in turn: a sum of thousands of values,
//! one after the other, is off by ten times as much. Eight chains of additions go side by side to hide their latency: so many blocks of
//! channels or, where these are fewer, as many times more runs. Threads share channel blocks, so that no sum is split among them. Over
//! channels there are sixteen partial results, block by block in runs of [`RUN`] blocks, and then one of them in order.

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
        let mut at = self.channels.start;
        let mut rest = self.out;
        macro_rules! side_by_side {
            ($blocks:literal, $runs:literal) => {
                let (wide, narrow) = rest.as_chunks_mut::<$blocks>();
                for out in wide {
                    self.kind.blocks::<S, $blocks, $runs>(s, pixels, step, &data[at..], out);
                    at += $blocks;
                }
                rest = narrow;
            };
        }
        // What is not a sum is rare, and gets by with less code.
        if matches!(self.kind, ReduceKind::Mean | ReduceKind::Sum) {
            side_by_side!(8, 1);
            side_by_side!(4, 2);
            side_by_side!(2, 4);
        }
        side_by_side!(1, 8);
        debug_assert!(rest.is_empty());
    }
}

/// Pixels, or blocks of channels, after which a sum begins anew.
pub const RUN: usize = 256;

impl ReduceKind {
    /// `N` neighbouring blocks of `pixels` pixels that lie `step` blocks apart, `R` runs at a time while there are so many whole ones.
    #[inline(always)]
    fn blocks<S: Simd, const N: usize, const R: usize>(
        self,
        s: S,
        pixels: usize,
        step: usize,
        data: &[Block],
        out: &mut [Block; N],
    ) {
        let scale = s.splat(1.0 / pixels as f32);
        for j in 0..S::PARTS {
            let acc = match self {
                // One loop for each: the match inside `add` folds away. Several blocks are always sums.
                ReduceKind::Max if N == 1 => ReduceKind::Max.runs::<S, N, R>(s, pixels, step, data, j),
                ReduceKind::Min if N == 1 => ReduceKind::Min.runs::<S, N, R>(s, pixels, step, data, j),
                ReduceKind::Product if N == 1 => ReduceKind::Product.runs::<S, N, R>(s, pixels, step, data, j),
                _ => ReduceKind::Sum.runs::<S, N, R>(s, pixels, step, data, j),
            };
            for i in 0..N {
                s.store(if self == ReduceKind::Mean { s.mul(acc[i], scale) } else { acc[i] }, &mut out[i], j);
            }
        }
    }

    /// Vector `j` of each of those blocks.
    #[inline(always)]
    fn runs<S: Simd, const N: usize, const R: usize>(
        self,
        s: S,
        pixels: usize,
        step: usize,
        data: &[Block],
        j: usize,
    ) -> [S::V; N] {
        let mut acc = [s.splat(self.start()); N];
        let mut from = 0;
        if R > 1 {
            while pixels - from >= R * RUN {
                for run in self.some_runs::<S, N, R>(s, from, RUN, step, data, j) {
                    acc = self.join(s, from == 0, acc, run);
                    from += RUN;
                }
            }
        }
        while from < pixels {
            let len = RUN.min(pixels - from);
            let [run] = self.some_runs::<S, N, 1>(s, from, len, step, data, j);
            acc = self.join(s, from == 0, acc, run);
            from += len;
        }
        acc
    }

    /// The results of `R` runs of `len` pixels, the first from pixel `from` on.
    #[inline(always)]
    fn some_runs<S: Simd, const N: usize, const R: usize>(
        self,
        s: S,
        from: usize,
        len: usize,
        step: usize,
        data: &[Block],
        j: usize,
    ) -> [[S::V; N]; R] {
        let runs: [&[Block]; R] = core::array::from_fn(|r| &data[(from + r * len) * step..]);
        let mut acc = [[s.splat(self.start()); N]; R];
        for p in 0..len {
            for r in 0..R {
                let pixel = &runs[r][p * step..][..N];
                for i in 0..N {
                    acc[r][i] = self.add(s, acc[r][i], s.load(&pixel[i], j));
                }
            }
        }
        acc
    }

    /// What came before and a run; the first stays as it is, even a negative zero.
    #[inline(always)]
    fn join<S: Simd, const N: usize>(self, s: S, first: bool, acc: [S::V; N], run: [S::V; N]) -> [S::V; N] {
        core::array::from_fn(|i| if first { run[i] } else { self.add(s, acc[i], run[i]) })
    }
}

/// Vector `j` of what `add` makes of each run of [`RUN`] blocks of `row`, after which comes `last`, and `join` of the runs in order, all
/// from `start` on, which changes nothing.
#[inline(always)]
pub(super) fn in_runs<S: Simd>(
    s: S,
    start: f32,
    row: &[Block],
    last: Option<&Block>,
    j: usize,
    add: impl Fn(S::V, S::V) -> S::V,
    join: impl Fn(S::V, S::V) -> S::V,
) -> S::V {
    let run = |blocks: &[Block]| blocks.iter().fold(s.splat(start), |acc, b| add(acc, s.load(b, j)));
    let (whole, rest) = row.as_chunks::<RUN>();
    let acc = whole.iter().fold(s.splat(start), |acc, blocks| join(acc, run(blocks)));
    let rest = run(rest);
    join(acc, last.map_or(rest, |b| add(rest, s.load(b, j))))
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
                let add = |acc, x| kind.add(s, acc, x);
                let acc = in_runs(s, kind.start(), &row[..whole], (used > 0).then_some(&last), j, add, add);
                s.store(acc, &mut lanes, j);
            }
            let all = lanes.iter().fold(kind.start(), |acc, &lane| kind.add(crate::simd::Scalar, acc, lane));
            out[i * out_step][0] = if kind == ReduceKind::Mean { all * (1.0 / channels as f32) } else { all };
        }
    }
}
