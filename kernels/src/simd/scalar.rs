//! The portable set: one lane, and a correctly rounded `fma` of our own, so that a CPU without FMA gives the same bits.

use super::{Block, HalfBlock, Kernel, Simd};

/// Plain f32 arithmetic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scalar;

/// `a * b + c` rounded once, without an FMA instruction.
///
/// The product of two f32 is exact in f64. The sum is rounded to odd in f64 (Boldo and Melquiond, "Emulation of FMA and
/// correctly rounded sums", 2008), after which the rounding to f32 is the only one that counts, since 53 >= 24 + 2.
// A function in builds for tests: inlined in every unrolled kernel it makes up more than half of the compile time of all of them.
#[cfg_attr(debug_assertions, inline(never))]
#[cfg_attr(not(debug_assertions), inline(always))]
pub fn fma(a: f32, b: f32, c: f32) -> f32 {
    #[cfg(target_feature = "fma")]
    #[cfg(feature = "std")]
    {
        return a.mul_add(b, c);
    }
    #[allow(unreachable_code)]
    {
        let p = a as f64 * b as f64;
        let c = c as f64;
        let s = p + c;
        // TwoSum (Knuth): e is the exact error of s.
        let z = s - p;
        let e = (p - (s - z)) + (c - z);
        let bits = s.to_bits();
        let inexact = e != 0.0 && !e.is_nan() && bits & 1 == 0;
        // Rounded to even by the hardware: step one ulp towards the exact value, onto the odd neighbour.
        let up = (e > 0.0) == (s > 0.0);
        let odd = if up { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
        (if inexact { f64::from_bits(odd) } else { s }) as f32
    }
}

/// A half as f32, exactly.
///
/// Its bits without the sign, 13 places up, are an f32 of the same mantissa whose exponent is too small by 112, also where it is
/// denormal; but infinity and NaN have an exponent of their own, and a NaN becomes quiet.
#[inline(always)]
pub fn widen(half: u16) -> f32 {
    let (sign, rest) = (u32::from(half & 0x8000) << 16, u32::from(half & 0x7fff));
    let magnitude = match rest {
        0x7c00 => 0x7f80_0000,
        0x7c01.. => 0x7fc0_0000 | rest << 13,
        _ => (f32::from_bits(rest << 13) * f32::from_bits((127 + 112) << 23)).to_bits(),
    };
    f32::from_bits(sign | magnitude)
}

/// 2^23 * 1.5: adding and taking it away rounds to nearest even in the default mode.
const ROUND: f32 = 12_582_912.0;

impl Simd for Scalar {
    type V = f32;
    const LANES: usize = 1;
    const NB: usize = 1;
    const MR: usize = 2;
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    // A call, as it is for the other sets: inlined into all that end with them, activations made up most of this one.
    #[inline(never)]
    fn vectorize<K: Kernel>(self, k: K) -> K::Out {
        k.run(self)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn load(self, b: &Block, j: usize) -> f32 {
        b[j]
    }
    #[inline(always)]
    fn widen(self, b: &HalfBlock, j: usize) -> f32 {
        widen(b[j])
    }
    #[inline(always)]
    fn store(self, v: f32, b: &mut Block, j: usize) {
        b[j] = v;
    }
    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }
    #[inline(always)]
    fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        fma(a, b, c)
    }
    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn select_gt(self, a: f32, b: f32, x: f32, y: f32) -> f32 {
        if a > b { x } else { y }
    }
    #[inline(always)]
    fn sqrt(self, a: f32) -> f32 {
        sqrt(a)
    }
    #[inline(always)]
    fn round(self, a: f32) -> f32 {
        // The sign of the argument also where the result is 0.
        f32::from_bits(((a + ROUND) - ROUND).to_bits() | a.to_bits() & 0x8000_0000)
    }
    #[inline(always)]
    fn pow2(self, n: f32) -> f32 {
        f32::from_bits(((n as i32 + 127) as u32) << 23)
    }
    #[inline(always)]
    fn exponent(self, a: f32) -> f32 {
        (a.to_bits() as i32 >> 23 & 0xff) as f32 - 127.0
    }
}

/// Correctly rounded square root; `core` has none, so without `std` Newton's iteration in f64 does it.
#[inline(always)]
pub fn sqrt(a: f32) -> f32 {
    #[cfg(feature = "std")]
    {
        a.sqrt()
    }
    #[cfg(not(feature = "std"))]
    {
        if a.is_nan() || a <= 0.0 || a == f32::INFINITY {
            return if a < 0.0 { f32::NAN } else { a };
        }
        let x = a as f64;
        let mut y = f64::from_bits((x.to_bits() >> 1) + (511 << 52));
        for _ in 0..6 {
            y = 0.5 * (y + x / y);
        }
        y as f32
    }
}
