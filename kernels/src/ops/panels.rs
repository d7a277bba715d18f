//! Panels of weights as a file has them, and the multiplication by them.
//!
//! The multiplication itself knows f32 only. Halves are widened before, some panels at a time, to scratch that stays in L2 while
//! all pixels of the call go by: a load, a conversion and a store for each sixteen weights and call. Every output channel is a sum of
//! its own, so how many panels go together changes no bit.
//!
//! For a single pixel that would be to write each weight and to read it again, for one multiplication. There halves become floats in
//! registers, and the time is that of reading them from memory: half as long as for f32.
//!
//! A gate, a factor for each channel of the input, is multiplied into the panels on the same way: there are fewer weights than
//! elements of an input of many pixels.

use super::activation::{InPlace, blocks, blocks_mut};
use super::gemm::{CHUNK, Gemm};
use crate::simd::{Block, HalfBlock, Kernel, Simd};
use crate::{Act, Isa};
use core::ops::Range;
use sepal_format::layout::BLOCK;

/// Floats that panels which are widened together should not exceed: 128 KB, a part of L2.
const WIDE: usize = 32 * 1024;
/// Panels that go together in any case: as many as the widest tile has.
const GROUP: usize = 4;

/// Weights of a multiplication, in panels of 16 output channels: see [`crate::pack`].
#[derive(Clone, Copy, Debug)]
pub enum Panels<'a> {
    /// As they are used.
    F32(&'a [f32]),
    /// The bits of IEEE halves; any are welcome.
    F16(&'a [u16]),
}

impl Panels<'_> {
    /// How many weights there are.
    pub(crate) fn weights(self) -> usize {
        match self {
            Panels::F32(w) => w.len(),
            Panels::F16(w) => w.len(),
        }
    }

    /// Some of the weights.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        match self {
            Panels::F32(w) => Panels::F32(&w[range]),
            Panels::F16(w) => Panels::F16(&w[range]),
        }
    }

    /// Floats of scratch in which these `matrices` of `n` channels are widened.
    pub(crate) fn scratch(self, matrices: usize, n: usize) -> usize {
        match self {
            Panels::F32(_) => 0,
            Panels::F16(w) => widened(w.len() / matrices, n),
        }
    }
}

/// Floats of scratch that a multiplication by so many weights that are halves or have a gate, those of `n` channels, needs for each
/// part of [`Parallel::parts`](crate::par::Parallel::parts), besides what its operator needs with weights as they are used.
pub fn widened(weights: usize, n: usize) -> usize {
    let blocks = n.div_ceil(BLOCK).max(1);
    let panel = weights / blocks;
    together(panel).min(blocks) * panel
}

/// Panels of so many weights that are widened together.
fn together(panel: usize) -> usize {
    (WIDE / panel.max(1) / GROUP * GROUP).max(GROUP)
}

/// Multiplies by `panels`, which take the place of those of `gemm`, with `gate` as a factor of each term's weight, if there is one.
/// `scratch` is as long as [`Panels::scratch`] says, with a gate as [`widened`] does.
pub(crate) fn multiply(isa: Isa, panels: Panels, gate: Option<&[f32]>, gemm: Gemm, scratch: &mut [f32]) {
    match (panels, gate) {
        (Panels::F32(panels), None) => return isa.run(Gemm { panels, ..gemm }),
        (Panels::F16(_), _) if !cfg!(feature = "f16") => panic!("this build has no weights in halves"),
        (Panels::F16(halves), None) if gemm.is_one_pixel() => {
            let (residual, bias) = (gemm.residual.map(|(r, _)| blocks(r)), blocks(gemm.bias));
            let out = &mut blocks_mut(gemm.out)[..gemm.n.div_ceil(BLOCK)];
            let a = &gemm.a[..gemm.segments.len];
            return isa.run(OnePixel { a, panels: halves.as_chunks().0, bias, residual, act: gemm.act, out });
        }
        _ => (),
    }
    let blocks = gemm.n.div_ceil(BLOCK);
    let panel = panels.weights() / blocks.max(1);
    let together = together(panel);
    for block in (0..blocks).step_by(together) {
        let (channel, count) = (block * BLOCK, together.min(blocks - block));
        let wide = &mut scratch[..count * panel];
        let to = wide.as_chunks_mut().0;
        match panels.part(block * panel..(block + count) * panel) {
            Panels::F32(panels) => to.copy_from_slice(panels.as_chunks().0),
            Panels::F16(halves) => isa.run(Widen { halves: halves.as_chunks().0, to }),
        }
        if let Some(gate) = gate {
            isa.run(Gated { gate, panels: to });
        }
        isa.run(Gemm {
            panels: wide,
            bias: &gemm.bias[channel..],
            n: (gemm.n - channel).min(count * BLOCK),
            residual: gemm.residual.map(|(r, pixel)| (&r[channel..], pixel)),
            out: &mut gemm.out[channel..],
            ..gemm
        });
    }
}

/// The first halves as f32, as many as there is room for.
struct Widen<'a> {
    halves: &'a [HalfBlock],
    to: &'a mut [Block],
}

impl Kernel for Widen<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (half, block) in self.halves.iter().zip(self.to) {
            for j in 0..S::PARTS {
                s.store(s.widen(half, j), block, j);
            }
        }
    }
}

/// Multiplies the weight of each term by the gate of its channel; terms go through the channels again and again.
struct Gated<'a> {
    /// `[C]`.
    gate: &'a [f32],
    panels: &'a mut [Block],
}

impl Kernel for Gated<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for panels in self.panels.chunks_mut(self.gate.len().max(1)) {
            for (block, &g) in panels.iter_mut().zip(self.gate) {
                for j in 0..S::PARTS {
                    s.store(s.mul(s.splat(g), s.load(block, j)), block, j);
                }
            }
        }
    }
}

/// The product of one pixel, to the bit that of [`Gemm`].
struct OnePixel<'a> {
    a: &'a [f32],
    /// `[blocks][K]`.
    panels: &'a [HalfBlock],
    bias: &'a [Block],
    residual: Option<&'a [Block]>,
    act: Act,
    out: &'a mut [Block],
}

impl Kernel for OnePixel<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let nb = self.out.len();
        let whole = nb / GROUP * GROUP;
        for block in (0..whole).step_by(GROUP) {
            match S::PARTS {
                1 => self.panels::<S, GROUP, GROUP>(s, block),
                2 => self.panels::<S, GROUP, { 2 * GROUP }>(s, block),
                4 => self.panels::<S, GROUP, { 4 * GROUP }>(s, block),
                _ => (block..block + GROUP).for_each(|block| self.panels::<S, 1, BLOCK>(s, block)),
            }
        }
        for block in whole..nb {
            match S::PARTS {
                1 => self.panels::<S, 1, 1>(s, block),
                2 => self.panels::<S, 1, 2>(s, block),
                4 => self.panels::<S, 1, 4>(s, block),
                _ => self.panels::<S, 1, BLOCK>(s, block),
            }
        }
        if self.act.clamp().is_none() {
            s.vectorize(InPlace { act: self.act, x: self.out, pixels: 1, nb, pb: nb });
        }
    }
}

impl OnePixel<'_> {
    /// `NB` panels from `block` on, in `NV` vectors: so many sums at a time hide how long a multiply-add takes.
    #[inline(always)]
    fn panels<S: Simd, const NB: usize, const NV: usize>(&mut self, s: S, block: usize) {
        let k = self.a.len();
        let bias = &self.bias[block..][..NB];
        let mut sums: [S::V; NV] = core::array::from_fn(|j| s.load(&bias[j / S::PARTS], j % S::PARTS));
        for start in (0..k).step_by(CHUNK) {
            let a = &self.a[start..k.min(start + CHUNK)];
            let panels: [&[HalfBlock]; NB] = core::array::from_fn(|i| &self.panels[(block + i) * k + start..][..a.len()]);
            let mut acc = if start == 0 { sums } else { [s.splat(0.0); NV] };
            for (k, &x) in a.iter().enumerate() {
                let x = s.splat(x);
                for (j, sum) in acc.iter_mut().enumerate() {
                    *sum = s.fma(x, s.widen(&panels[j / S::PARTS][k], j % S::PARTS), *sum);
                }
            }
            sums = if start == 0 { acc } else { core::array::from_fn(|j| s.add(sums[j], acc[j])) };
        }
        let (lo, hi) = self.act.clamp().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (lo, hi) = (s.splat(lo), s.splat(hi));
        for (j, mut v) in sums.into_iter().enumerate() {
            let (block, part) = (block + j / S::PARTS, j % S::PARTS);
            if let Some(r) = self.residual {
                v = s.add(v, s.load(&r[block], part));
            }
            s.store(s.min(hi, s.max(lo, v)), &mut self.out[block], part);
        }
    }
}
