//! Softmax over the channels of each pixel.

use super::activation::{blocks, blocks_mut, exp, grain};
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Isa, View, ViewMut};
use sepal_format::layout::BLOCK;

/// `out[c] = exp(x[c] - max) / sum`, or with `log` `x[c] - max - ln(sum)`, over the channels of each pixel. The sum is taken in
/// sixteen lanes, block by block, and then over the lanes in order, on every instruction set.
pub fn softmax<P: Parallel + ?Sized>(isa: Isa, par: &P, log: bool, input: View, out: ViewMut) {
    assert_eq!(input.shape, out.shape, "softmax: shapes differ");
    let (channels, step, out_step) = (out.shape.c, input.pixel / BLOCK, out.pixel / BLOCK);
    par::split(par, out.data, out.shape.pixels(), out.pixel, grain(out.pixel), &mut [], 0, &|units, part, _| {
        let x = &blocks(input.data)[units.start * step..];
        isa.run(Softmax { log, channels, x, step, out: blocks_mut(part), out_step, pixels: units.len() });
    });
}

/// The natural logarithm of a sum of exponentials, that is, of a value of at least 1 (or NaN), rounded from f64.
///
/// ln(2^e m) = e ln 2 + 2 atanh((m - 1) / (m + 1)), m in 1/sqrt(2)..sqrt(2), by the series of atanh.
pub(crate) fn ln(x: f32) -> f32 {
    if x.is_nan() || x == f32::INFINITY {
        return x;
    }
    let bits = (x as f64).to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if m > core::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let t = (m - 1.0) / (m + 1.0);
    // |t| < 0.172: the first term left out is below 1e-17.
    let mut series = 0.0;
    for k in (0..10).rev() {
        series = series * t * t + 1.0 / (2 * k + 1) as f64;
    }
    (exponent as f64 * core::f64::consts::LN_2 + 2.0 * t * series) as f32
}

struct Softmax<'a> {
    log: bool,
    channels: usize,
    x: &'a [Block],
    /// Blocks between pixels.
    step: usize,
    out: &'a mut [Block],
    out_step: usize,
    pixels: usize,
}

impl Kernel for Softmax<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let nb = self.channels.div_ceil(BLOCK);
        if nb == 0 {
            return;
        }
        let used = self.channels - (nb - 1) * BLOCK;
        for i in 0..self.pixels {
            let out = &mut self.out[i * self.out_step..][..nb];
            out.copy_from_slice(&self.x[i * self.step..][..nb]);
            // What lies past the last channel: never the largest, and its exponential is 0.
            out[nb - 1][used..].fill(f32::NEG_INFINITY);

            let mut lanes = [f32::NEG_INFINITY; BLOCK];
            for j in 0..S::PARTS {
                let mut acc = s.load(&lanes, j);
                for b in out.iter() {
                    acc = s.max(s.load(b, j), acc);
                }
                s.store(acc, &mut lanes, j);
            }
            let max = s.splat(lanes.iter().fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m }));

            let mut lanes = [0.0; BLOCK];
            for j in 0..S::PARTS {
                let mut acc = s.load(&lanes, j);
                for b in out.iter_mut() {
                    let shifted = s.sub(s.load(b, j), max);
                    let e = exp(s, shifted);
                    s.store(if self.log { shifted } else { e }, b, j);
                    acc = s.add(acc, e);
                }
                s.store(acc, &mut lanes, j);
            }
            let sum = lanes.iter().fold(0.0, |sum, lane| sum + lane);

            let divisor = s.splat(if self.log { ln(sum) } else { sum });
            for b in out {
                for j in 0..S::PARTS {
                    let v = s.load(b, j);
                    s.store(if self.log { s.sub(v, divisor) } else { s.div(v, divisor) }, b, j);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Image, Threads, assert_same, each_isa};
    use crate::reference;

    #[test]
    fn both_forms() {
        for c in [1, 2, 3, 15, 16, 17, 33, 1000] {
            for (n, h, w, gaps) in [(1, 1, 1, [0, 0]), (4, 3, 5, [16, 32])] {
                for scale in [1.0, 60.0] {
                    let x = Image::random(n, h, w, c, gaps[0], 9).map(|v| v * scale);
                    for log in [false, true] {
                        let mut want = Image::new(n, h, w, c, 0);
                        reference::softmax::softmax(log, x.view(), want.view_mut());
                        each_isa(|isa| {
                            for parts in [1, 2, 4] {
                                let mut got = Image::new(n, h, w, c, gaps[1]);
                                softmax(isa, &Threads(parts), log, x.view(), got.view_mut());
                                assert_same(&got, &want, (isa, parts, log));
                                got.assert_gaps_untouched();
                            }
                        });
                    }
                }
            }
        }
    }

    #[test]
    fn against_f64() {
        let x = Image::random(1, 1, 1, 1000, 0, 5).map(|v| v * 10.0);
        let sum: f64 = (0..1000).map(|c| (x.get(0, 0, 0, c) as f64).exp()).sum();
        let (mut soft, mut log) = (Image::new(1, 1, 1, 1000, 0), Image::new(1, 1, 1, 1000, 0));
        softmax(Isa::detect(), &Threads(1), false, x.view(), soft.view_mut());
        softmax(Isa::detect(), &Threads(1), true, x.view(), log.view_mut());
        for c in 0..1000 {
            let exact = (x.get(0, 0, 0, c) as f64).exp() / sum;
            assert!((soft.get(0, 0, 0, c) as f64 / exact - 1.0).abs() < 3e-6);
            assert!((log.get(0, 0, 0, c) as f64 - exact.ln()).abs() < 5e-6);
        }
    }

    #[test]
    fn masked_logits() {
        let mut x = Image::new(1, 1, 1, 3, 0);
        x.set(0, 0, 0, 1, f32::NEG_INFINITY);
        let mut y = Image::new(1, 1, 1, 3, 0);
        softmax(Isa::detect(), &Threads(1), false, x.view(), y.view_mut());
        assert_eq!([y.get(0, 0, 0, 0), y.get(0, 0, 0, 1), y.get(0, 0, 0, 2)], [0.5, 0.0, 0.5]);
    }

    #[test]
    fn logarithm_is_correctly_rounded() {
        for i in 0..100_000u32 {
            let x = 1.0 + i as f32 * 0.37;
            assert_eq!(ln(x), (x as f64).ln() as f32, "{x}");
        }
        assert!(ln(f32::NAN).is_nan());
    }
}
