//! Activations on whole tensors and, for the other operators, on rows that were just written.
//!
//! ```text
//! exp(x)     n = round(x / ln 2);  r = x - n ln 2 (two steps);  2^n (1 + r + r^2 q(r)),  q of degree 4
//! expm1(x)   2^n (r + r^2 q(r)) + (2^n - 1)
//! sigmoid    1 / (1 + exp(-x)),  exp(-x) = 2^n p(r),  n = round(-x / ln 2),  p of degree 5
//! silu       x / (1 + exp(-x))
//! tanh(|x|)  -e / (e + 2),  e = expm1(-2 |x|)
//! ```
//!
//! 1. Nothing but the operations of [`Simd`], so every instruction set gives the same bits and the one-lane
//!    instantiation ([`scalar`]) is the reference; its accuracy is tested against f64.
//! 2. NaN comes through: the value is always the second operand of `min` and `max`.
//! 3. Sigmoid and SiLU saturate short of the denormals, which would slow down whoever reads them: sigmoid(-inf) is 1.6e-38.

use super::wide::Wide;
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Scalar, Simd};
use crate::{Act, Isa, View, ViewMut};
use sepal_format::layout::BLOCK;

const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// ln 2 in two parts; the first has ten bits, so that its product with n is exact.
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -0.000_212_194_44;
/// q, lowest power first: (exp(r) - 1 - r) / r^2 on |r| <= 0.347, the error of exp at most 3.2e-9 before rounding.
const Q: [f32; 5] = [0.5, 0.166_665_18, 0.041_666_202, 0.008_368_97, 0.001_395_063];
/// (2^-r - 1) / r, lowest power first, on |r| <= 1/2; the error of 2^-r is at most 1.1e-7.
#[expect(clippy::approx_constant, reason = "fitted together with the other coefficients; not ln 2")]
const P: [f32; 5] = [-0.693_147, 0.240_222_41, -0.055_507_35, 0.009_671_619, -0.001_326_459_1];
/// Where 2^n is still normal: n = -126 and n = 127.
const EXP_LO: f32 = -87.3;
const EXP_HI: f32 = 88.3;

/// n and exp(r) - 1 with x = n ln 2 + r, for |x| of at most a few hundred.
#[inline(always)]
pub(super) fn reduce<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let n = s.round(s.mul(x, s.splat(LOG2_E)));
    let r = s.fma(n, s.splat(-LN2_HI), x);
    let r = s.fma(n, s.splat(-LN2_LO), r);
    let mut q = s.splat(Q[4]);
    q = s.fma(q, r, s.splat(Q[3]));
    q = s.fma(q, r, s.splat(Q[2]));
    q = s.fma(q, r, s.splat(Q[1]));
    q = s.fma(q, r, s.splat(Q[0]));
    (n, s.fma(s.mul(r, r), q, r))
}

/// `max(x, lo)` and then `min(.., hi)`; NaN stays NaN.
#[inline(always)]
pub(crate) fn clamp<S: Simd>(s: S, x: S::V, lo: S::V, hi: S::V) -> S::V {
    s.min(hi, s.max(lo, x))
}

/// exp(x): 0 below -104, denormals right, +inf from 88.73.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let (n, e) = reduce(s, clamp(s, x, s.splat(-104.0), s.splat(89.0)));
    // 2^n in two steps: n from -150 to 128 is beyond the exponents of one f32.
    let half = s.round(s.mul(n, s.splat(0.5)));
    let rest = s.sub(n, half);
    s.mul(s.mul(s.add(e, s.splat(1.0)), s.pow2(half)), s.pow2(rest))
}

/// exp(x) - 1 for x <= 0 or NaN.
#[inline(always)]
fn expm1_negative<S: Simd>(s: S, x: S::V) -> S::V {
    let (n, e) = reduce(s, s.max(s.splat(EXP_LO), x));
    let p = s.pow2(n);
    s.fma(e, p, s.sub(p, s.splat(1.0)))
}

/// 1 + exp(-x) for x up to any size and not below `-EXP_HI`: 1 + 2^n 2^-r with n + r = -x / ln 2.
///
/// The reduction takes log2(e) as one f32, which costs |x| / 6 units in the last place of the exponential.
#[inline(always)]
fn logistic<S: Simd>(s: S, x: S::V) -> S::V {
    let x = s.min(s.splat(-EXP_LO), x);
    let n = s.round(s.mul(x, s.splat(-LOG2_E)));
    let r = s.fma(x, s.splat(LOG2_E), n);
    let mut p = s.splat(P[4]);
    p = s.fma(p, r, s.splat(P[3]));
    p = s.fma(p, r, s.splat(P[2]));
    p = s.fma(p, r, s.splat(P[1]));
    p = s.fma(p, r, s.splat(P[0]));
    p = s.fma(p, r, s.splat(1.0));
    s.fma(p, s.pow2(n), s.splat(1.0))
}

#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    s.div(s.splat(1.0), logistic(s, s.max(s.splat(-EXP_HI), x)))
}

#[inline(always)]
fn silu<S: Simd>(s: S, x: S::V) -> S::V {
    // Makes silu(-inf) -4e-37 rather than NaN.
    let x = s.max(s.splat(-EXP_HI), x);
    s.div(x, logistic(s, x))
}

#[inline(always)]
fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let negative = s.mul(x, s.splat(-1.0));
    let magnitude = s.max(negative, x);
    let e = expm1_negative(s, s.mul(magnitude, s.splat(-2.0)));
    let minus_e = s.sub(s.splat(0.0), e);
    let t = s.div(minus_e, s.add(e, s.splat(2.0)));
    s.select_gt(s.splat(0.0), x, s.mul(t, s.splat(-1.0)), t)
}

#[inline(always)]
fn elu<S: Simd>(s: S, a: S::V, x: S::V) -> S::V {
    let zero = s.splat(0.0);
    s.select_gt(x, zero, x, s.mul(a, expm1_negative(s, s.min(zero, x))))
}

#[inline(always)]
pub(crate) fn leaky<S: Simd>(s: S, a: S::V, x: S::V) -> S::V {
    s.select_gt(x, s.splat(0.0), x, s.mul(a, x))
}

#[inline(always)]
fn unit_ramp<S: Simd>(s: S, alpha: f32, beta: f32, x: S::V) -> S::V {
    clamp(s, s.fma(x, s.splat(alpha), s.splat(beta)), s.splat(0.0), s.splat(1.0))
}

/// An activation of a vector. In a loop, use [`act_row`], which looks at `act` once.
#[inline(always)]
pub(crate) fn apply<S: Simd>(s: S, act: Act, x: S::V) -> S::V {
    match act {
        Act::None => x,
        Act::Clamp { lo, hi } => clamp(s, x, s.splat(lo), s.splat(hi)),
        Act::Leaky(a) => leaky(s, s.splat(a), x),
        Act::Elu(a) => elu(s, s.splat(a), x),
        Act::HardSigmoid { alpha, beta } => unit_ramp(s, alpha, beta, x),
        Act::HardSwish => s.mul(x, unit_ramp(s, 1.0 / 6.0, 0.5, x)),
        Act::Sigmoid => sigmoid(s, x),
        Act::Silu => silu(s, x),
        Act::Tanh => tanh(s, x),
        Act::Exp => exp(s, x),
        Act::Sqrt => s.sqrt(x),
    }
}

/// An activation of one value: the meaning of [`Act`], to the bit.
pub fn scalar(act: Act, x: f32) -> f32 {
    apply(Scalar, act, x)
}

/// Vectors side by side in the loops of activations that are long chains of operations.
const SIDE: usize = 4;

/// Whether an activation is a chain of operations so long that vectors have to be interleaved.
const fn is_long(act: Act) -> bool {
    cfg!(feature = "exp") && matches!(act, Act::Elu(_) | Act::Sigmoid | Act::Silu | Act::Tanh | Act::Exp)
}

/// A long activation on `nb` blocks of each of some pixels `pb` blocks apart, [`SIDE`] blocks at a time, of several pixels where
/// one has too few.
#[inline(always)]
fn act_across<S: Simd>(s: S, act: Act, x: &mut [Block], pixels: usize, nb: usize, pb: usize) {
    let (mut next, mut column) = (0, 0);
    let mut place = || {
        let here = next;
        (next, column) = if column + 1 == nb { (next + 1 + pb - nb, 0) } else { (next + 1, column + 1) };
        here
    };
    let total = pixels * nb;
    macro_rules! long {
        ($act:expr) => {{
            for _ in 0..total / SIDE {
                let at: [usize; SIDE] = core::array::from_fn(|_| place());
                for j in 0..S::PARTS {
                    let mut v = [s.splat(0.0); SIDE];
                    for i in 0..SIDE {
                        v[i] = s.load(&x[at[i]], j);
                    }
                    let y = apply(Wide(s), $act, v);
                    for i in 0..SIDE {
                        s.store(y[i], &mut x[at[i]], j);
                    }
                }
            }
            for _ in 0..total % SIDE {
                let block = &mut x[place()];
                for j in 0..S::PARTS {
                    let y = apply(s, $act, s.load(block, j));
                    s.store(y, block, j);
                }
            }
        }};
    }
    match act {
        Act::Elu(a) => long!(Act::Elu(a)),
        Act::Sigmoid => long!(Act::Sigmoid),
        Act::Silu => long!(Act::Silu),
        Act::Tanh => long!(Act::Tanh),
        Act::Exp => long!(Act::Exp),
        _ => unreachable!("not a long activation"),
    }
}

/// Applies an activation to whole blocks in place, by a call: what all activations take is too much to be there wherever one may follow.
#[inline(always)]
pub(crate) fn act_row<S: Simd>(s: S, act: Act, row: &mut [Block]) {
    if act != Act::None {
        let blocks = row.len();
        s.vectorize(InPlace { act, x: row, pixels: 1, nb: blocks, pb: blocks });
    }
}

/// The code of that.
#[inline(always)]
fn act_blocks<S: Simd>(s: S, act: Act, row: &mut [Block]) {
    // One loop per activation: the match inside `apply` folds away where its argument is one literal variant.
    macro_rules! short {
        ($act:expr, $row:expr) => {
            for b in $row {
                for j in 0..S::PARTS {
                    let y = apply(s, $act, s.load(b, j));
                    s.store(y, b, j);
                }
            }
        };
    }
    macro_rules! long {
        ($act:expr) => {{
            if !cfg!(feature = "exp") {
                panic!("this build has no exponential");
            }
            let (wide, rest) = row.as_chunks_mut::<SIDE>();
            for blocks in wide {
                for j in 0..S::PARTS {
                    let mut x = [s.splat(0.0); SIDE];
                    for i in 0..SIDE {
                        x[i] = s.load(&blocks[i], j);
                    }
                    let y = apply(Wide(s), $act, x);
                    for i in 0..SIDE {
                        s.store(y[i], &mut blocks[i], j);
                    }
                }
            }
            short!($act, rest)
        }};
    }
    match act {
        Act::None => {}
        Act::Clamp { lo, hi } => short!(Act::Clamp { lo, hi }, row),
        Act::Leaky(a) => short!(Act::Leaky(a), row),
        Act::Elu(a) => long!(Act::Elu(a)),
        Act::HardSigmoid { alpha, beta } => short!(Act::HardSigmoid { alpha, beta }, row),
        Act::HardSwish => short!(Act::HardSwish, row),
        Act::Sigmoid => long!(Act::Sigmoid),
        Act::Silu => long!(Act::Silu),
        Act::Tanh => long!(Act::Tanh),
        Act::Exp => long!(Act::Exp),
        Act::Sqrt => short!(Act::Sqrt, row),
    }
}

/// Floats below which a part is not worth a thread.
const GRAIN: usize = 4096;

/// Pixels (or rows) of `floats` each that make a part worth a thread.
pub(crate) fn grain(floats: usize) -> usize {
    (GRAIN / floats.max(1)).max(1)
}

/// The whole blocks of a slice.
#[inline(always)]
pub(crate) fn blocks(x: &[f32]) -> &[Block] {
    x.as_chunks::<BLOCK>().0
}

/// The whole blocks of a slice, to write.
#[inline(always)]
pub(crate) fn blocks_mut(x: &mut [f32]) -> &mut [Block] {
    x.as_chunks_mut::<BLOCK>().0
}

/// Blocks of a piece: two tensors of so much fit the L1 cache.
const PIECE: usize = 128;

/// How some pixels are walked for work that is the same for all channels. Where no tensor has a gap between its pixels they are
/// one run, cut into pieces that fit the cache; else each pixel is a piece.
#[derive(Clone, Copy)]
pub(crate) struct Pieces {
    total: usize,
    len: usize,
    steps: [usize; 2],
}

impl Pieces {
    /// Of `pixels` pixels of `nb` blocks, which lie `steps` blocks apart in two tensors.
    #[inline(always)]
    pub fn new(pixels: usize, nb: usize, steps: [usize; 2]) -> Self {
        if steps == [nb, nb] {
            Pieces { total: pixels * nb, len: PIECE, steps: [PIECE, PIECE] }
        } else {
            Pieces { total: pixels * nb, len: nb, steps }
        }
    }

    /// Starts in the two tensors and lengths of the pieces, in blocks.
    #[inline(always)]
    pub fn iter(self) -> impl Iterator<Item = ([usize; 2], usize)> {
        let count = if self.total == 0 { 0 } else { self.total.div_ceil(self.len) };
        (0..count).map(move |i| (self.steps.map(|s| i * s), self.len.min(self.total - i * self.len)))
    }
}

/// `act` on `nb` blocks of each of `pixels` pixels that lie `pb` blocks apart.
pub(crate) struct InPlace<'a> {
    pub act: Act,
    pub x: &'a mut [Block],
    pub pixels: usize,
    pub nb: usize,
    pub pb: usize,
}

impl Kernel for InPlace<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let InPlace { act, x, pixels, nb, pb } = self;
        if is_long(act) && nb != pb && !nb.is_multiple_of(SIDE) {
            return act_across(s, act, x, pixels, nb, pb);
        }
        for ([at, _], len) in Pieces::new(pixels, nb, [pb; 2]).iter() {
            act_blocks(s, act, &mut x[at..][..len]);
        }
    }
}

/// `out = act(x)` for [`Pieces`] of x and out.
struct Apply<'a> {
    act: Act,
    pieces: Pieces,
    x: &'a [Block],
    out: &'a mut [Block],
}

impl Kernel for Apply<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for ([x, out], len) in self.pieces.iter() {
            let out = &mut self.out[out..][..len];
            out.copy_from_slice(&self.x[x..][..len]);
            act_row(s, self.act, out);
        }
    }
}

/// `out = act(x)`.
pub fn activation(isa: Isa, par: &dyn Parallel, act: Act, input: View, out: ViewMut) {
    assert_eq!(input.shape, out.shape, "activation: shapes differ");
    let (nb, steps) = (out.shape.c.div_ceil(BLOCK), [input.pixel / BLOCK, out.pixel / BLOCK]);
    par::split(par, out.data, out.shape.pixels(), out.pixel, grain(out.pixel), &mut [], 0, &|units, part, _| {
        let x = &blocks(input.data)[units.start * steps[0]..];
        isa.run(Apply { act, pieces: Pieces::new(units.len(), nb, steps), x, out: blocks_mut(part) });
    });
}

/// `x = act(x)`.
pub fn activation_in_place(isa: Isa, par: &dyn Parallel, act: Act, x: ViewMut) {
    let (nb, pb) = (x.shape.c.div_ceil(BLOCK), x.pixel / BLOCK);
    par::split(par, x.data, x.shape.pixels(), x.pixel, grain(x.pixel), &mut [], 0, &|units, part, _| {
        isa.run(InPlace { act, x: blocks_mut(part), pixels: units.len(), nb, pb });
    });
}

struct Prelu<'a> {
    slope: &'a [Block],
    /// Copied to `x` first, pixel by pixel, so many blocks apart.
    source: Option<(&'a [Block], usize)>,
    x: &'a mut [Block],
    pixels: usize,
    pb: usize,
}

impl Kernel for Prelu<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let nb = self.slope.len();
        for i in 0..self.pixels {
            let x = &mut self.x[i * self.pb..][..nb];
            if let Some((source, step)) = self.source {
                x.copy_from_slice(&source[i * step..][..nb]);
            }
            for (x, a) in x.iter_mut().zip(self.slope) {
                for j in 0..S::PARTS {
                    let y = leaky(s, s.load(a, j), s.load(x, j));
                    s.store(y, x, j);
                }
            }
        }
    }
}

/// `out = x > 0 ? x : slope[c] * x`; `slope` is padded to blocks.
pub fn prelu(isa: Isa, par: &dyn Parallel, slope: &[f32], input: View, out: ViewMut) {
    assert_eq!(input.shape, out.shape, "prelu: shapes differ");
    prelu_from(isa, par, slope, Some(input), out);
}

/// The same in place.
pub fn prelu_in_place(isa: Isa, par: &dyn Parallel, slope: &[f32], x: ViewMut) {
    prelu_from(isa, par, slope, None, x);
}

fn prelu_from(isa: Isa, par: &dyn Parallel, slope: &[f32], source: Option<View>, x: ViewMut) {
    let (nb, pb) = (x.shape.c.div_ceil(BLOCK), x.pixel / BLOCK);
    let slope = &blocks(slope)[..nb];
    par::split(par, x.data, x.shape.pixels(), x.pixel, grain(x.pixel), &mut [], 0, &|units, part, _| {
        let source = source.map(|v| (&blocks(v.data)[units.start * (v.pixel / BLOCK)..], v.pixel / BLOCK));
        isa.run(Prelu { slope, source, x: blocks_mut(part), pixels: units.len(), pb });
    });
}
