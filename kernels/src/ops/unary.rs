//! Functions of one element.
//!
//! ```text
//! ln(x)       e ln 2 + ln(1 + f),  x = 2^e (1 + f),  1 + f in 1/sqrt(2)..sqrt(2);  ln(1 + f) = f - s (f - R(s^2)),  s = f / (2 + f)
//! erf(|x|)    x (1 + p(x^2)) below 0.92,  1 - exp(q(|x|)) above
//! gelu(x)     x / 2 (1 + erf(x / sqrt(2))), its tail by exp(q) itself, which does not cancel
//! softplus    max(x, 0) + ln(1 + exp(-|x|)) = max(x, 0) + 2 atanh(e / (2 + e))
//! sin, cos    r = x - n pi/2 (three steps), |r| <= pi/4;  sine or cosine of r, by n modulo 4;  beyond 65536 radians of what is left
//!             of x after whole turns, by integers and 96 bits of 2/pi (Payne and Hanek, 1983)
//! atan(|x|)   x + x^3 p(x^2) up to 1,  pi/2 - atan(1 / x) above
//! x^y         2^(y log2 x), the exponent of x apart, so that its product with y is exact enough
//! ```
//!
//! 1. As in [`super::activation`], nothing but the operations of [`Simd`], so that every instruction set gives the same bits.
//! 2. One vector at a time: these are steps of their own, and none is in the networks that the benchmarks know.

use super::activation::{blocks, blocks_mut, exp, grain, reduce};
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Scalar, Simd};
use crate::{Isa, View, ViewMut};
use core::f32::consts::{FRAC_1_SQRT_2, FRAC_PI_2, LOG2_E};
use sepal_format::layout::BLOCK;
pub use sepal_format::unary::Unary;

/// ln 2 in two parts; the first has ten bits, so that its product with an exponent is exact.
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -0.000_212_194_44;
/// From here on a number has no fraction.
const INTEGRAL: f32 = 8_388_608.0;
/// Where erf goes over from the one form to the other.
const ERF_KNEE: f32 = 0.92;
/// (erf(x) / x - 1) by powers of x^2.
const ERF: [f32; 6] = [0.128_379_15, -0.376_124_95, 0.112_818_025, -0.026_765_568, 0.004_990_981, -0.000_597_689_65];
/// ln(1 - erf(x)) by powers of x on 0.92..4.3, falling beyond.
const ERFC: [f32; 8] = [
    -1.198_959_1e-6,
    -1.128_708_1,
    -0.634_884_83,
    -0.106_704_81,
    0.024_185_313,
    -0.003_851_111_7,
    0.000_375_957_46,
    -0.000_016_692_877,
];
/// (atan(x) / x - 1) / x^2 by powers of x^2 on 0..1.
const ATAN: [f32; 9] = [
    -0.333_333_02,
    0.199_986_38,
    -0.142_652_45,
    0.109_575_76,
    -0.084_194_59,
    0.058_234_554,
    -0.031_455_703,
    0.011_064_442,
    -0.001_827_213_1,
];
/// pi / 2 in three parts, the first two of so few bits that their products with n are exact.
const PI_2: [f32; 3] = [1.570_312_5, 0.000_483_751_3, 7.549_789_4e-8];
/// Radians beyond which whole turns are taken off first.
const MOST_RADIANS: f32 = 65536.0;
/// Binary digits of 2 / pi behind the point.
const TWO_OVER_PI: [u32; 8] =
    [0xa2f9_836e, 0x4e44_1529, 0xfc27_57d1, 0xf534_ddc0, 0xdb62_9599, 0x3c43_9041, 0xfe51_63ab, 0xdebb_c561];

/// Powers of `x`, lowest first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, p: [f32; N], x: S::V) -> S::V {
    let mut sum = s.splat(p[N - 1]);
    for c in p.iter().rev().skip(1) {
        sum = s.fma(sum, x, s.splat(*c));
    }
    sum
}

#[inline(always)]
fn abs<S: Simd>(s: S, x: S::V) -> S::V {
    // The sum makes -0 of a zero 0.
    s.add(s.max(s.mul(x, s.splat(-1.0)), x), s.splat(0.0))
}

/// `magnitude` with the sign of `x`.
#[inline(always)]
fn with_sign<S: Simd>(s: S, x: S::V, magnitude: S::V) -> S::V {
    s.select_gt(s.splat(0.0), x, s.mul(magnitude, s.splat(-1.0)), magnitude)
}

/// NaN where `x` is not finite, else 0.
#[inline(always)]
fn nothing<S: Simd>(s: S, x: S::V) -> S::V {
    s.sub(x, x)
}

/// Exponent and mantissa in 1/sqrt(2)..sqrt(2), less 1, of a positive number.
#[inline(always)]
fn split<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    let tiny = s.splat(f32::MIN_POSITIVE);
    let normal = s.select_gt(tiny, x, s.mul(x, s.splat(16_777_216.0)), x);
    let shift = s.select_gt(tiny, x, s.splat(24.0), s.splat(0.0));
    let e = s.exponent(normal);
    // 2^-e in two steps, since e may be 127.
    let half = s.round(s.mul(e, s.splat(-0.5)));
    let rest = s.sub(s.mul(e, s.splat(-1.0)), half);
    let m = s.mul(s.mul(normal, s.pow2(half)), s.pow2(rest));
    let root = s.splat(core::f32::consts::SQRT_2);
    let e = s.select_gt(m, root, s.add(e, s.splat(1.0)), e);
    let m = s.select_gt(m, root, s.mul(m, s.splat(0.5)), m);
    (s.sub(e, shift), s.sub(m, s.splat(1.0)))
}

/// f - ln(1 + f) for 1 + f in 1/sqrt(2)..sqrt(2).
#[inline(always)]
fn f_less_log<S: Simd>(s: S, f: S::V) -> S::V {
    let q = s.div(f, s.add(f, s.splat(2.0)));
    let z = s.mul(q, q);
    let r = polynomial(s, [2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0], z);
    s.mul(q, s.sub(f, s.mul(z, r)))
}

#[inline(always)]
fn log<S: Simd>(s: S, x: S::V) -> S::V {
    let (e, f) = split(s, x);
    let low = s.sub(f_less_log(s, f), s.mul(e, s.splat(LN2_LO)));
    let y = s.fma(e, s.splat(LN2_HI), s.sub(f, low));
    // Infinity and NaN as they are; NaN below 0.
    let y = s.select_gt(s.splat(f32::INFINITY), x, y, x);
    let zero = s.splat(0.0);
    s.select_gt(x, zero, y, s.select_gt(zero, x, s.splat(f32::NAN), s.add(x, s.splat(f32::NEG_INFINITY))))
}

/// `erf(|x|)` and, beyond the knee, `1 - erf(|x|)`.
#[inline(always)]
fn erf_parts<S: Simd>(s: S, t: S::V) -> (S::V, S::V) {
    let inner = s.fma(t, polynomial(s, ERF, s.mul(t, t)), t);
    let tail = exp(s, polynomial(s, ERFC, s.min(s.splat(10.0), t)));
    (s.select_gt(t, s.splat(ERF_KNEE), s.sub(s.splat(1.0), tail), inner), tail)
}

#[inline(always)]
fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    with_sign(s, x, erf_parts(s, abs(s, x)).0)
}

#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    // Makes gelu(-inf) -0 rather than NaN.
    let x = s.max(s.splat(-1e4), x);
    let t = abs(s, s.mul(x, s.splat(FRAC_1_SQRT_2)));
    let (erf, tail) = erf_parts(s, t);
    let below = s.select_gt(t, s.splat(ERF_KNEE), tail, s.sub(s.splat(1.0), erf));
    let twice = s.select_gt(s.splat(0.0), x, below, s.add(s.splat(1.0), erf));
    s.mul(s.mul(x, s.splat(0.5)), twice)
}

#[inline(always)]
fn softplus<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.mul(abs(s, x), s.splat(-1.0)));
    let q = s.div(e, s.add(e, s.splat(2.0)));
    let atanh = [1.0, 1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0];
    let log = s.mul(s.mul(q, s.splat(2.0)), polynomial(s, atanh, s.mul(q, q)));
    s.add(s.max(s.splat(0.0), x), log)
}

/// What is left of more than [`MOST_RADIANS`] without whole turns; other values as they are.
fn without_turns(x: f32) -> f32 {
    if !(MOST_RADIANS < x.abs() && x.is_finite()) {
        return x;
    }
    // |x| = m 2^(e + 2), and x has m 2^e 2/pi turns.
    let (m, e) = (u128::from(x.to_bits() & 0x7f_ffff | 0x80_0000), (x.to_bits() >> 23 & 0xff) as i32 - 152);
    // 96 digits from digit e on: those before it make whole turns.
    let skip = e.max(0) as usize;
    let words = &TWO_OVER_PI[skip / 32..][..4];
    let digits = words.iter().fold(0, |all, &w| all << 32 | u128::from(w)) << (skip % 32);
    let digits = digits >> 32 >> (-e).max(0);
    // Two's complement: at most half a turn, either way.
    let turns = ((m * digits) << 32) as i128 >> 32;
    let radians = turns as f64 * (core::f64::consts::TAU / (1u128 << 96) as f64);
    radians as f32 * x.signum()
}

/// sin(x + quarters pi / 2), of less than [`MOST_RADIANS`].
#[inline(always)]
fn sine<S: Simd>(s: S, x: S::V, quarters: f32) -> S::V {
    let most = s.splat(MOST_RADIANS);
    let inside = s.min(most, s.max(s.splat(-MOST_RADIANS), x));
    let n = s.round(s.mul(inside, s.splat(1.0 / FRAC_PI_2)));
    let mut r = inside;
    for part in PI_2 {
        r = s.fma(n, s.splat(-part), r);
    }
    // The quarter, 0 to 3.
    let n = s.add(n, s.splat(quarters));
    let quarter = s.sub(n, s.mul(s.splat(4.0), floor(s, s.mul(n, s.splat(0.25)))));
    let z = s.mul(r, r);
    let sin = s.fma(s.mul(r, z), polynomial(s, [-1.0 / 6.0, 1.0 / 120.0, -1.0 / 5040.0, 1.0 / 362_880.0], z), r);
    let cos = s.fma(z, polynomial(s, [-0.5, 1.0 / 24.0, -1.0 / 720.0, 1.0 / 40320.0, -1.0 / 3_628_800.0], z), s.splat(1.0));
    let odd = s.sub(quarter, s.mul(s.splat(2.0), floor(s, s.mul(quarter, s.splat(0.5)))));
    let y = s.select_gt(odd, s.splat(0.5), cos, sin);
    let y = s.select_gt(quarter, s.splat(1.5), s.mul(y, s.splat(-1.0)), y);
    s.add(y, nothing(s, x))
}

#[inline(always)]
fn atan<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    let t = abs(s, x);
    let inner = s.select_gt(t, one, s.div(one, t), t);
    let z = s.mul(inner, inner);
    let y = s.fma(s.mul(inner, z), polynomial(s, ATAN, z), inner);
    with_sign(s, x, s.select_gt(t, one, s.sub(s.splat(FRAC_PI_2), y), y))
}

/// The nearest integral magnitude, ties to even, of one below [`INTEGRAL`].
#[inline(always)]
fn nearest<S: Simd>(s: S, magnitude: S::V) -> S::V {
    s.sub(s.add(magnitude, s.splat(INTEGRAL)), s.splat(INTEGRAL))
}

#[inline(always)]
fn round<S: Simd>(s: S, x: S::V) -> S::V {
    let t = abs(s, x);
    s.select_gt(s.splat(INTEGRAL), t, with_sign(s, x, nearest(s, t)), x)
}

#[inline(always)]
fn floor<S: Simd>(s: S, x: S::V) -> S::V {
    let r = round(s, x);
    s.select_gt(r, x, s.sub(r, s.splat(1.0)), r)
}

#[inline(always)]
fn ceil<S: Simd>(s: S, x: S::V) -> S::V {
    let r = round(s, x);
    s.select_gt(x, r, s.add(r, s.splat(1.0)), r)
}

#[inline(always)]
fn sign<S: Simd>(s: S, x: S::V) -> S::V {
    let zero = s.splat(0.0);
    s.select_gt(x, zero, s.splat(1.0), s.select_gt(zero, x, s.splat(-1.0), x))
}

#[inline(always)]
fn shrink<S: Simd>(s: S, lambda: f32, bias: f32, x: S::V) -> S::V {
    let (above, below) = (s.sub(x, s.splat(bias)), s.add(x, s.splat(bias)));
    // A NaN is neither and stays one.
    let inside = s.mul(x, s.splat(0.0));
    s.select_gt(x, s.splat(lambda), above, s.select_gt(s.splat(-lambda), x, below, inside))
}

/// x^y.
#[inline(always)]
pub(super) fn pow<S: Simd>(s: S, x: S::V, y: S::V) -> S::V {
    let (zero, one, infinity) = (s.splat(0.0), s.splat(1.0), s.splat(f32::INFINITY));
    let t = abs(s, x);
    let (e, f) = split(s, t);
    // log2(1 + f): the largest part, f, times 1.44269504 as 1 + 0.44269504.
    let less = f_less_log(s, f);
    let log2 = s.add(f, s.fma(f, s.splat(LOG2_E - 1.0), s.mul(less, s.splat(-LOG2_E))));
    // y (e + log2), its integral part apart. Beyond the bounds the power overflows or vanishes in any case.
    let bounded = s.min(s.splat(1e5), s.max(s.splat(-1e5), y));
    let whole = s.fma(bounded, e, s.mul(bounded, log2));
    let n = s.round(s.min(s.splat(400.0), s.max(s.splat(-400.0), whole)));
    let r = s.fma(bounded, log2, s.fma(bounded, e, s.mul(n, s.splat(-1.0))));
    let r = s.min(s.splat(1.0), s.max(s.splat(-1.0), r));
    let (more, rest) = reduce(s, s.mul(r, s.splat(core::f32::consts::LN_2)));
    let n = s.min(s.splat(252.0), s.max(s.splat(-252.0), s.add(n, more)));
    let half = s.round(s.mul(n, s.splat(0.5)));
    let mut p = s.mul(s.mul(s.add(rest, one), s.pow2(half)), s.pow2(s.sub(n, half)));
    // Of 0 and infinity: 0 or infinity by the sign of y.
    let of_infinity = s.select_gt(y, zero, infinity, zero);
    let of_zero = s.select_gt(y, zero, zero, infinity);
    p = s.select_gt(t, zero, s.select_gt(infinity, t, p, of_infinity), of_zero);
    // Negative bases: only whole exponents have a power, odd ones a negative one.
    let ty = abs(s, y);
    let is_whole = |v: S::V| {
        let near = nearest(s, v);
        let apart = s.max(s.sub(near, v), s.sub(v, near));
        s.select_gt(s.splat(INTEGRAL), v, apart, zero)
    };
    let odd = is_whole(s.mul(ty, s.splat(0.5)));
    let signed = s.select_gt(odd, zero, s.mul(p, s.splat(-1.0)), p);
    let signed = s.select_gt(is_whole(ty), zero, s.splat(f32::NAN), signed);
    p = s.select_gt(zero, x, signed, p);
    // NaN comes through, but anything to the power 0 is 1.
    let of_nan = |v: S::V| s.mul(zero, s.min(one, s.max(s.splat(-1.0), v)));
    s.select_gt(ty, zero, s.add(p, s.add(of_nan(x), of_nan(y))), s.add(one, of_nan(y)))
}

#[inline(always)]
fn apply<S: Simd>(s: S, function: Unary, x: S::V) -> S::V {
    match function {
        Unary::Erf => erf(s, x),
        Unary::Gelu => gelu(s, x),
        Unary::Log => log(s, x),
        Unary::Softplus => softplus(s, x),
        Unary::Sin => sine(s, x, 0.0),
        Unary::Cos => sine(s, x, 1.0),
        Unary::Atan => atan(s, x),
        Unary::Abs => abs(s, x),
        Unary::Sign => sign(s, x),
        Unary::Floor => floor(s, x),
        Unary::Ceil => ceil(s, x),
        Unary::Round => round(s, x),
        Unary::Threshold(a) => s.select_gt(x, s.splat(a), x, s.splat(0.0)),
        Unary::Shrink { lambda, bias } => shrink(s, lambda, bias, x),
    }
}

/// A function of one value: the meaning of [`Unary`], to the bit.
pub fn scalar(function: Unary, x: f32) -> f32 {
    let x = if matches!(function, Unary::Sin | Unary::Cos) { without_turns(x) } else { x };
    apply(Scalar, function, x)
}

/// x^y: the meaning of [`super::binary::BinaryOp::Pow`], to the bit.
pub fn scalar_pow(x: f32, y: f32) -> f32 {
    pow(Scalar, x, y)
}

/// `nb` blocks of each of `pixels` pixels, `steps` blocks apart, from `source` or in place.
struct Map<'a> {
    function: Unary,
    source: Option<(&'a [Block], usize)>,
    out: &'a mut [Block],
    pixels: usize,
    nb: usize,
    step: usize,
}

impl Kernel for Map<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Map { function, source, out, pixels, nb, step } = self;
        macro_rules! each {
            ($($pattern:pat => $function:expr;)+) => {
                match function {
                    $($pattern => {
                        for i in 0..pixels {
                            let row = &mut out[i * step..][..nb];
                            if let Some((x, step)) = source {
                                row.copy_from_slice(&x[i * step..][..nb]);
                            }
                            for b in row {
                                if matches!($function, Unary::Sin | Unary::Cos) && b.iter().any(|x| x.abs() > MOST_RADIANS) {
                                    *b = b.map(without_turns);
                                }
                                for j in 0..S::PARTS {
                                    let y = apply(s, $function, s.load(b, j));
                                    s.store(y, b, j);
                                }
                            }
                        }
                    })+
                }
            };
        }
        each! {
            Unary::Erf => Unary::Erf;
            Unary::Gelu => Unary::Gelu;
            Unary::Log => Unary::Log;
            Unary::Softplus => Unary::Softplus;
            Unary::Sin => Unary::Sin;
            Unary::Cos => Unary::Cos;
            Unary::Atan => Unary::Atan;
            Unary::Abs => Unary::Abs;
            Unary::Sign => Unary::Sign;
            Unary::Floor => Unary::Floor;
            Unary::Ceil => Unary::Ceil;
            Unary::Round => Unary::Round;
            Unary::Threshold(a) => Unary::Threshold(a);
            Unary::Shrink { lambda, bias } => Unary::Shrink { lambda, bias };
        }
    }
}

/// `out = f(x)`.
pub fn unary(isa: Isa, par: &dyn Parallel, function: Unary, input: View, out: ViewMut) {
    assert_eq!(input.shape, out.shape, "unary: shapes differ");
    run(isa, par, function, Some(input), out);
}

/// `x = f(x)`.
pub fn unary_in_place(isa: Isa, par: &dyn Parallel, function: Unary, x: ViewMut) {
    run(isa, par, function, None, x);
}

fn run(isa: Isa, par: &dyn Parallel, function: Unary, source: Option<View>, out: ViewMut) {
    let (nb, step) = (out.shape.c.div_ceil(BLOCK), out.pixel / BLOCK);
    par::split(par, out.data, out.shape.pixels(), out.pixel, grain(out.pixel), &mut [], 0, &|units, part, _| {
        let source = source.map(|v| (&blocks(v.data)[units.start * (v.pixel / BLOCK)..], v.pixel / BLOCK));
        isa.run(Map { function, source, out: blocks_mut(part), pixels: units.len(), nb, step });
    });
}
