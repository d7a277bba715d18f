//! Softmax over the channels of each pixel.

use super::activation::{blocks, blocks_mut, exp, grain};
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Isa, View, ViewMut};
use sepal_format::layout::BLOCK;

/// `out[c] = exp(x[c] - max) / sum`, or with `log` `x[c] - max - ln(sum)`, over the channels of each pixel. The sum is taken in
/// sixteen lanes, block by block, and then over the lanes in order, on every instruction set.
pub fn softmax(isa: Isa, par: &dyn Parallel, log: bool, input: View, out: ViewMut) {
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
pub fn ln(x: f32) -> f32 {
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
