//! Normalisation of the channels of each pixel.
//!
//! ```text
//! mean = sum(x) / C;  d = x - mean (or x);  out = d / sqrt(sum(d^2) / C + epsilon) * scale + shift
//! ```
//!
//! Sums are taken in sixteen lanes, block by block in runs, and then over the lanes in order, on every instruction set.

use super::activation::{blocks, blocks_mut, grain};
use super::reduce::in_runs;
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Scalar, Simd};
use crate::{Isa, View, ViewMut};
use sepal_format::layout::BLOCK;

/// The parameters; `scale` and `shift` are padded to blocks.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// Factor of each channel.
    pub scale: &'a [f32],
    /// Added to each channel.
    pub shift: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether the mean is taken off.
    pub centred: bool,
}

/// Runs a step.
pub fn layer_norm(isa: Isa, par: &dyn Parallel, args: &LayerNorm, input: View, out: ViewMut) {
    assert_eq!(input.shape, out.shape, "layer_norm: shapes differ");
    let (channels, step, out_step) = (out.shape.c, input.pixel / BLOCK, out.pixel / BLOCK);
    par::split(par, out.data, out.shape.pixels(), out.pixel, grain(out.pixel), &mut [], 0, &|units, part, _| {
        let x = &blocks(input.data)[units.start * step..];
        isa.run(Pixels { args, channels, x, step, out: blocks_mut(part), out_step, pixels: units.len() });
    });
}

/// `1 / sqrt(mean square + epsilon)`.
pub fn factor(sum: f32, channels: usize, epsilon: f32) -> f32 {
    1.0 / Scalar.sqrt(sum * (1.0 / channels as f32) + epsilon)
}

struct Pixels<'a> {
    args: &'a LayerNorm<'a>,
    channels: usize,
    x: &'a [Block],
    /// Blocks between pixels.
    step: usize,
    out: &'a mut [Block],
    out_step: usize,
    pixels: usize,
}

/// The sum over `row` of what `f` makes of the sum so far and a vector.
#[inline(always)]
fn sum<S: Simd>(s: S, row: &[Block], f: impl Fn(S::V, S::V) -> S::V) -> f32 {
    let mut lanes = [0.0; BLOCK];
    for j in 0..S::PARTS {
        let acc = in_runs(s, 0.0, row, None, j, &f, |acc, run| s.add(acc, run));
        s.store(acc, &mut lanes, j);
    }
    lanes.iter().fold(0.0, |sum, lane| sum + lane)
}

impl Kernel for Pixels<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let nb = self.channels.div_ceil(BLOCK);
        if nb == 0 {
            return;
        }
        let used = self.channels - (nb - 1) * BLOCK;
        let (scale, shift) = (&blocks(self.args.scale)[..nb], &blocks(self.args.shift)[..nb]);
        for i in 0..self.pixels {
            let out = &mut self.out[i * self.out_step..][..nb];
            out.copy_from_slice(&self.x[i * self.step..][..nb]);
            // What lies past the last channel adds nothing to the sums.
            out[nb - 1][used..].fill(0.0);
            if self.args.centred {
                let mean = sum(s, out, |acc, x| s.add(acc, x)) * (1.0 / self.channels as f32);
                out[nb - 1][used..].fill(mean);
                let mean = s.splat(mean);
                for b in out.iter_mut() {
                    for j in 0..S::PARTS {
                        let d = s.sub(s.load(b, j), mean);
                        s.store(d, b, j);
                    }
                }
            }
            let squares = sum(s, out, |acc, d| s.fma(d, d, acc));
            let factor = s.splat(factor(squares, self.channels, self.args.epsilon));
            for (b, (scale, shift)) in out.iter_mut().zip(scale.iter().zip(shift)) {
                for j in 0..S::PARTS {
                    let y = s.fma(s.mul(s.load(b, j), factor), s.load(scale, j), s.load(shift, j));
                    s.store(y, b, j);
                }
            }
        }
    }
}
