//! Pointwise convolution by Strassen's algorithm, one level deep, in Winograd's form: seven multiplications of halves instead of eight.
//!
//! ```text
//! A = even pixels: (A11 A12), odd pixels: (A21 A22)      halves of the input channels
//! B = first half of the input channels: (B11 B12)        halves of the output channels
//!     second half:                      (B21 B22)
//!
//! S1 = A21 + A22    S2 = S1 - A11    S3 = A11 - A21    S4 = A12 - S2
//! T1 = B12 - B11    T2 = B22 - T1    T3 = B22 - B12    T4 = B21 - T2
//!
//! P = A11 B11       U = P + S2 T2    V = U + S3 T3     W = S1 T1
//! C11 = A12 B21 + P    C12 = S4 B22 + (U + W)    C21 = A22 T4 + V    C22 = V + W
//! ```
//!
//! 1. Pixels are taken in pairs, so that any number of pairs can be computed by itself: by threads, and by pipelines. Which pixels are
//!    a pair follows from their places in the image alone, so every host computes the same bits.
//! 2. All seven products of four panels of either half of the output channels are made one after the other: what lies between them
//!    stays in L1 or L2, and so do the sums of panels, which are made anew for each band of pixels. In the file they would take three
//!    quarters of the weights once more.
//! 3. Each product is a multiplication as any other; what has been added up so far goes in as its residual.
//!
//! V. Strassen, "Gaussian elimination is not optimal", 1969; the form of seven multiplications and fifteen additions is
//! S. Winograd's, "On multiplication of 2x2 matrices", 1971.

use super::activation::{InPlace, blocks, blocks_mut};
use super::conv::Conv;
use super::gemm::{Gemm, Pixels, Segments};
use super::panels::Panels;
use crate::par::{Parallel, split};
use crate::simd::{Block, Kernel, Simd};
use crate::{Act, Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::{BLOCK, pixel_stride};
use sepal_format::strassen::halves;

/// Most pairs of pixels of a band. Sums of panels are made for each, those of pixels stay in L2 beside them.
const MAX_PAIRS: usize = 256;
/// Panels of either half of the output channels that go together.
const GROUP: usize = 4;
/// A tile of every instruction set, in pairs.
const GRAIN: usize = 6;

/// How a convolution is cut.
struct Plan {
    /// Input channels of each half, not padded.
    k: [usize; 2],
    /// Blocks of output channels of each half.
    blocks: usize,
    /// Most pairs that go together.
    pairs: usize,
    /// Floats from one pair's sum to the next one's.
    row: usize,
}

impl Plan {
    fn new(input: Shape, output: Shape) -> Plan {
        let (k, n) = halves(input.c as u64, output.c as u64).expect("a verified step has halves");
        let k = k.map(|k| k as usize);
        let pairs = (output.h * output.w).div_ceil(2);
        let bands = pairs.div_ceil(MAX_PAIRS).max(1);
        let row = pixel_stride(k[0]).expect("a slice of so many channels exists");
        Plan { k, blocks: n as usize / BLOCK, pairs: pairs.div_ceil(bands), row }
    }

    /// Panels of a half that go together.
    fn group(&self) -> usize {
        GROUP.min(self.blocks)
    }

    /// Floats of a half of the channels of those, for all pairs.
    fn part(&self) -> usize {
        self.pairs * self.group() * BLOCK
    }

    /// Floats of those panels, and some more: sums that lie whole pages apart would be stored to one set of the cache.
    fn panels(&self, k: usize) -> usize {
        (self.group() * k + GROUP) * BLOCK
    }

    fn scratch(&self) -> usize {
        4 * self.pairs * self.row + 3 * self.part() + 3 * self.panels(self.k[0]) + self.panels(self.k[1])
    }
}

/// Floats of scratch that [`strassen`] needs for each part of [`Parallel::parts`].
pub fn strassen_scratch(input: Shape, output: Shape) -> usize {
    Plan::new(input, output).scratch()
}

/// Runs a pointwise convolution of one group, whose window is [`Window::ONE`](super::conv::Window::ONE). `args.weights` are f32, the
/// panels of the first half of the input channels before those of the second: see [`crate::pack::strassen`]. `input` has whole blocks.
///
/// # Panics
/// If the channels have no [`halves`], which a verified file rules out.
pub fn strassen(isa: Isa, par: &dyn Parallel, args: &Conv, input: View, residual: Option<View>, out: ViewMut, scratch: &mut [f32]) {
    let Panels::F32(weights) = args.weights else { panic!("strassen: weights are f32") };
    let (shape, pixel) = (out.shape, out.pixel);
    let plan = Plan::new(input.shape, shape);
    let image = shape.h * shape.w;
    let mut rest = out.data;
    for n in 0..shape.n {
        let floats = if n + 1 < shape.n { image * pixel } else { rest.len() };
        let (mine, next) = rest.split_at_mut(floats);
        rest = next;
        let part = Part {
            isa,
            plan: &plan,
            weights,
            bias: args.bias,
            act: args.act,
            channels: shape.c,
            input: &input.data[n * image * input.pixel..],
            step: input.pixel,
            residual: residual.map(|r| (&r.data[n * image * r.pixel..], r.pixel)),
            pixels: image,
            out_step: pixel,
        };
        split(par, mine, image.div_ceil(2), 2 * pixel, GRAIN, scratch, plan.scratch(), &|pairs: Range<usize>, out, scratch| {
            // Even bands here, too: a part need not have all pairs.
            let bands = pairs.len().div_ceil(plan.pairs).max(1);
            let count = pairs.len().div_ceil(bands);
            let mut at = pairs.start;
            while at < pairs.end {
                let end = pairs.end.min(at + count);
                part.band(at..end, &mut out[(at - pairs.start) * 2 * pixel..], scratch);
                at = end;
            }
        });
    }
}

/// One image.
struct Part<'a> {
    isa: Isa,
    plan: &'a Plan,
    weights: &'a [f32],
    bias: &'a [f32],
    act: Act,
    /// Of the output.
    channels: usize,
    input: &'a [f32],
    /// Floats between its pixels.
    step: usize,
    residual: Option<(&'a [f32], usize)>,
    /// Of the image.
    pixels: usize,
    /// Floats between those of the output.
    out_step: usize,
}

/// Some rows of A.
#[derive(Clone, Copy)]
struct Rows<'a> {
    a: &'a [f32],
    /// Floats between them.
    step: usize,
    /// Terms of each.
    k: usize,
    count: usize,
}

/// Where a product goes: the value of its pixel i is at `out[i * step]`.
struct Target<'a> {
    out: &'a mut [f32],
    step: usize,
    /// Channels.
    n: usize,
    bias: &'a [f32],
    act: Act,
}

/// Where a term of outputs goes.
fn between(out: &mut [f32], wide: usize) -> Target<'_> {
    Target { out, step: wide, n: wide, bias: &NO_BIAS, act: Act::None }
}

/// The bias of what is not an output yet.
static NO_BIAS: [f32; GROUP * BLOCK] = [0.0; GROUP * BLOCK];

impl Part<'_> {
    /// Some pairs; `out` begins with the first.
    fn band(&self, pairs: Range<usize>, out: &mut [f32], scratch: &mut [f32]) {
        let Part { isa, plan, step, out_step, .. } = *self;
        let [k1, k2] = plan.k;
        let first = 2 * pairs.start;
        // A last pixel may have no other.
        let (even, odd) = (pairs.len(), (self.pixels - first).min(2 * pairs.len()) / 2);
        let input = &self.input[first * step..];
        let (sums, scratch) = scratch.split_at_mut(4 * plan.pairs * plan.row);
        let (terms, panels) = scratch.split_at_mut(3 * plan.part());
        {
            let mut parts = sums.chunks_mut(plan.pairs * plan.row);
            let to = core::array::from_fn(|_| blocks_mut(parts.next().unwrap_or_default()));
            isa.run(Sums { input: blocks(input), step: step / BLOCK, k: plan.k, even, odd, to, row: plan.row / BLOCK });
        }
        let sum = |i: usize, k: usize, count: usize| {
            let a = &sums[(i - 1) * plan.pairs * plan.row..];
            Rows { a, step: plan.row, k, count }
        };
        let a = |at: usize, k: usize, count: usize| Rows { a: input.get(at..).unwrap_or(&[]), step: 2 * step, k, count };
        let (a11, a12, a22) = (a(0, k1, even), a(k1, k2, even), a(step + k1, k2, odd));
        let (s1, s2, s3, s4) = (sum(1, k1, even), sum(2, k1, even), sum(3, k1, odd), sum(4, k2, even));
        let (mut u, rest) = terms.split_at_mut(plan.part());
        let (mut v, w) = rest.split_at_mut(plan.part());
        let (t1, rest) = panels.split_at_mut(plan.panels(k1));
        let (t2, rest) = rest.split_at_mut(plan.panels(k1));
        let (t3, t4) = rest.split_at_mut(plan.panels(k1));
        let residual = self.residual.map(|(r, pixel)| (&r[first * pixel..], pixel));
        for block in (0..plan.blocks).step_by(GROUP) {
            let count = GROUP.min(plan.blocks - block);
            let wide = count * BLOCK;
            let [low, high] = [block, plan.blocks + block].map(|b| b * BLOCK);
            let [b11, b12] = [low, high].map(|at| &self.weights[at * k1..][..wide * k1]);
            let [b21, b22] = [low, high].map(|at| &self.weights[2 * plan.blocks * BLOCK * k1 + at * k2..][..wide * k2]);
            // The residual of the even pixels (0) or the odd ones (1).
            let beside = |parity: usize, channel: usize| {
                residual.and_then(|(r, pixel)| Some((blocks(r.get(parity * pixel + channel..)?), 2 * pixel / BLOCK)))
            };
            let add = |to: &mut [f32], other: Option<&[f32]>, more: Option<(&[Block], usize)>, pixels: usize| {
                let x = &mut blocks_mut(to)[..pixels * count];
                isa.run(Add { x, other: other.map(blocks), more, count });
            };
            let (t1, t2) = (&mut t1[..wide * k1], &mut t2[..wide * k1]);
            let (t3, t4) = (&mut t3[..wide * k1], &mut t4[..wide * k2]);
            {
                let to = [&mut *t1, &mut *t2, &mut *t3, &mut *t4].map(blocks_mut);
                isa.run(Differences { low: [b11, b12].map(blocks), high: [b21, b22].map(blocks), to, k: plan.k });
            }

            self.product(a11, b11, None, between(u, wide));
            if residual.is_some() {
                v[..even * wide].copy_from_slice(&u[..even * wide]);
                add(v, None, beside(0, low), even);
            }
            let term = if residual.is_some() { &*v } else { &*u };
            self.product(a12, b21, Some((term, wide)), self.last(&mut *out, 0, low, wide));
            self.product(s1, t1, None, between(w, wide));
            self.product(s2, t2, Some((u, wide)), between(v, wide));
            // P is needed no more.
            core::mem::swap(&mut u, &mut v);
            self.product(s3, t3, Some((u, wide)), between(v, wide));
            let (bias, act) = (blocks(&self.bias[high..]), self.act);
            if odd > 0 {
                isa.run(Last {
                    v: blocks(v),
                    w: blocks(w),
                    bias: &bias[..count],
                    residual: beside(1, high),
                    act,
                    out: blocks_mut(Self::at(&mut *out, out_step + high)),
                    step: 2 * out_step / BLOCK,
                    pixels: odd,
                });
                add(v, None, beside(1, low), odd);
                self.product(a22, t4, Some((v, wide)), self.last(&mut *out, 1, low, wide));
            }
            add(u, Some(w), beside(0, high), even);
            self.product(s4, b22, Some((u, wide)), self.last(&mut *out, 0, high, wide));
        }
    }

    /// Where the outputs of the even pixels (0) or the odd ones (1) go, `wide` channels of each.
    fn last<'o>(&'o self, out: &'o mut [f32], parity: usize, channel: usize, wide: usize) -> Target<'o> {
        let out = Self::at(out, parity * self.out_step + channel);
        let n = wide.min(self.channels - channel);
        Target { out, step: 2 * self.out_step, n, bias: &self.bias[channel..], act: self.act }
    }

    /// What begins `at` floats later, if there is as much.
    fn at(out: &mut [f32], at: usize) -> &mut [f32] {
        out.get_mut(at..).unwrap_or_default()
    }

    /// A product, with `term` added to it.
    fn product(&self, rows: Rows, panels: &[f32], term: Option<(&[f32], usize)>, to: Target) {
        let Rows { a, step, k, count } = rows;
        if count == 0 {
            return;
        }
        self.isa.run(Gemm {
            a,
            pixels: Pixels { width: usize::MAX, height: usize::MAX, dx: step, dy: 0, dn: 0 },
            segments: Segments { ny: 1, dy: 0, nx: 1, dx: 0, len: k },
            taps: &[],
            first: 0,
            m: count,
            panels,
            bias: to.bias,
            n: to.n,
            whole_blocks: true,
            residual: term,
            act: to.act,
            out: to.out,
            out_pixel: to.step,
        });
    }
}

/// S1 to S4 of some pairs.
struct Sums<'a> {
    input: &'a [Block],
    /// Blocks between its pixels.
    step: usize,
    /// Channels of each half.
    k: [usize; 2],
    /// Pixels of each kind.
    even: usize,
    odd: usize,
    to: [&'a mut [Block]; 4],
    /// Blocks between the sums of pairs.
    row: usize,
}

impl Kernel for Sums<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Sums { input, step, k: [k1, k2], even, odd, to: [s1, s2, s3, s4], row } = self;
        let nb = k1 / BLOCK;
        for i in 0..even {
            let e = &input[2 * i * step..];
            let o = if i < odd { &input[(2 * i + 1) * step..] } else { &[] };
            for b in 0..nb {
                // What lies after the last channel is anybody's.
                let left = k2.saturating_sub(b * BLOCK).min(BLOCK);
                let high = |pixel: &[Block]| match pixel.get(nb + b) {
                    Some(block) if left == BLOCK => *block,
                    Some(block) => core::array::from_fn(|i| if i < left { block[i] } else { 0.0 }),
                    None => [0.0; BLOCK],
                };
                let (e_high, o_high) = (high(e), high(o));
                let zero = [0.0; BLOCK];
                let (e_low, o_low) = (&e[b], o.get(b).unwrap_or(&zero));
                let at = i * row + b;
                for j in 0..S::PARTS {
                    let (el, ol) = (s.load(e_low, j), s.load(o_low, j));
                    let a = s.add(ol, s.load(&o_high, j));
                    let less = s.sub(a, el);
                    s.store(a, &mut s1[at], j);
                    s.store(less, &mut s2[at], j);
                    s.store(s.sub(el, ol), &mut s3[at], j);
                    s.store(s.sub(s.load(&e_high, j), less), &mut s4[at], j);
                }
            }
        }
    }
}

/// T1 to T4 of some panels.
struct Differences<'a> {
    /// B11 and B12, B21 and B22.
    low: [&'a [Block]; 2],
    high: [&'a [Block]; 2],
    to: [&'a mut [Block]; 4],
    /// Rows of a panel of either.
    k: [usize; 2],
}

impl Kernel for Differences<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Differences { low: [b11, b12], high: [b21, b22], to: [t1, t2, t3, t4], k: [k1, k2] } = self;
        let zero = [0.0; BLOCK];
        let ahead = b12.len();
        for panel in 0..b11.len() / k1 {
            let [b11, b12] = [b11, b12].map(|b| &b[panel * k1..][..k1]);
            let [b21, b22] = [b21, b22].map(|b| &b[panel * k2..][..k2]);
            let t1 = &mut t1[panel * k1..][..k1];
            let t2 = &mut t2[panel * k1..][..k1];
            let t3 = &mut t3[panel * k1..][..k1];
            let t4 = &mut t4[panel * k2..][..k2];
            for i in 0..k1 {
                // No product reads B12, so that none brings that of the next panels.
                s.prefetch(&b12[i], ahead);
                for j in 0..S::PARTS {
                    let (low, high) = (s.load(&b11[i], j), s.load(&b12[i], j));
                    let below = s.load(b22.get(i).unwrap_or(&zero), j);
                    let one = s.sub(high, low);
                    let two = s.sub(below, one);
                    s.store(one, &mut t1[i], j);
                    s.store(two, &mut t2[i], j);
                    s.store(s.sub(below, high), &mut t3[i], j);
                    if let (Some(b21), Some(t4)) = (b21.get(i), t4.get_mut(i)) {
                        s.store(s.sub(s.load(b21, j), two), t4, j);
                    }
                }
            }
        }
    }
}

/// `(x + other) + more`, of which each may be missing.
struct Add<'a> {
    x: &'a mut [Block],
    other: Option<&'a [Block]>,
    /// And the blocks between its pixels.
    more: Option<(&'a [Block], usize)>,
    /// Blocks of a pixel.
    count: usize,
}

impl Kernel for Add<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Add { x, other, more, count } = self;
        let add = |x: &mut [Block], other: &[Block]| {
            for (x, other) in x.iter_mut().zip(other) {
                (0..S::PARTS).for_each(|j| s.store(s.add(s.load(x, j), s.load(other, j)), x, j));
            }
        };
        if let Some(other) = other {
            add(x, &other[..x.len()]);
        }
        if let Some((more, step)) = more {
            for (i, x) in x.chunks_exact_mut(count).enumerate() {
                add(x, &more[i * step..][..count]);
            }
        }
    }
}

/// `act(((v + w) + bias) + residual)`: the output that has no product of its own.
struct Last<'a> {
    v: &'a [Block],
    w: &'a [Block],
    bias: &'a [Block],
    residual: Option<(&'a [Block], usize)>,
    act: Act,
    out: &'a mut [Block],
    /// Blocks between its pixels.
    step: usize,
    pixels: usize,
}

impl Kernel for Last<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Last { v, w, bias, residual, act, out, step, pixels } = self;
        let nb = bias.len();
        let (lo, hi) = act.clamp().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (lo, hi) = (s.splat(lo), s.splat(hi));
        for i in 0..pixels {
            let (v, w, out) = (&v[i * nb..][..nb], &w[i * nb..][..nb], &mut out[i * step..][..nb]);
            let residual = residual.map(|(r, step)| &r[i * step..][..nb]);
            for b in 0..nb {
                for j in 0..S::PARTS {
                    let mut x = s.add(s.add(s.load(&v[b], j), s.load(&w[b], j)), s.load(&bias[b], j));
                    if let Some(r) = residual {
                        x = s.add(x, s.load(&r[b], j));
                    }
                    s.store(s.min(hi, s.max(lo, x)), &mut out[b], j);
                }
            }
        }
        if act.clamp().is_none() {
            s.vectorize(InPlace { act, x: out, pixels, nb, pb: step });
        }
    }
}
