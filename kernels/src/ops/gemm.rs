//! The micro-kernel under every convolution that is not depthwise: pixels x channels times panels of weights.
//!
//! ```text
//! for each block of pixels that fits L2:            for each group of NB panels (16 output channels each):
//!   for each tile of MR pixels:                     (one function: see `Plain`)
//!     acc[MR][NB] = bias
//!     for k in 0..K, over the segments of the window:   acc[i][j] += a[i][k] * panel[j][k]
//!       after every CHUNK of k:                         sum[i][j] += acc[i][j], acc = 0
//!     acc += sum; acc += residual; clamp; store; other activations while the tile is in L1
//! ```
//! Chunks keep the rounding error of long sums small: it grows with the length of a chain of additions.
//!
//! How the real loop differs, and why:
//! 1. A is the tensor itself. A tile has few rows, so that they fit the ways of one L1 set and need neither packing nor copying;
//!    each row is a slice that starts where its pixel's window starts.
//! 2. Slices are cut to the length of the segment before the loop: then no index in it needs a check.
//! 3. Pixels are spread evenly over tiles (13 rows are 5 + 4 + 4, not 6 + 6 + 1).
//! 4. With 16 registers a tile has one panel, and four panels go by for each tile of A (which stays in L1).
//! 5. While a tile multiplies, the panels of the next group are brought to L2. They lie right behind, across steps too, since a file
//!    has its weights in the order of use.
//! 6. Where a window is several short runs, each term is taken from a list of taps: to begin a run would cost as much as to sum it.

use super::activation::{InPlace, act_row, blocks_mut};
use crate::simd::{Block, Kernel, Simd};
use crate::{Act, View};
use sepal_format::layout::BLOCK;

/// Most pixels whose offsets are kept at hand.
const MAX_PIXELS: usize = 512;
/// Terms that are summed up in one chain; a part of the meaning of every convolution, see [`mod@crate::reference`].
pub(crate) const CHUNK: usize = 512;
/// Most terms of a sum whose places are listed one by one; less than [`CHUNK`].
pub(crate) const MAX_TAPS: usize = 256;
/// Floats of A that a block of pixels should not exceed: 384 KB, a good part of L2.
pub(crate) const A_BLOCK: usize = 96 * 1024;

/// Where the windows of consecutive output pixels begin in A.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pixels {
    /// Output pixels in a row.
    pub width: usize,
    /// Output rows in an image.
    pub height: usize,
    /// Floats from one pixel's window to the next one's in the row.
    pub dx: usize,
    /// Floats from one row's windows to the next row's.
    pub dy: usize,
    /// Floats from one image to the next.
    pub dn: usize,
}

impl Pixels {
    /// Where the windows of pixels `m..` begin. One division for many pixels: for small sums it would take half of the time.
    #[inline(always)]
    fn offsets(&self, m: usize, to: &mut [usize]) {
        let (row, mut x) = (m / self.width, m % self.width);
        let (mut n, mut y) = (row / self.height, row % self.height);
        let mut at = n * self.dn + y * self.dy + x * self.dx;
        for to in to {
            *to = at;
            (x, at) = (x + 1, at + self.dx);
            if x == self.width {
                (x, y) = (0, y + 1);
                if y == self.height {
                    (y, n) = (0, n + 1);
                }
                at = n * self.dn + y * self.dy;
            }
        }
    }
}

/// The contiguous runs of A under one window: `ny * nx` runs of `len` floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments {
    /// Runs down.
    pub ny: usize,
    /// Floats between those.
    pub dy: usize,
    /// Runs across.
    pub nx: usize,
    /// Floats between those.
    pub dx: usize,
    /// Floats of a run.
    pub len: usize,
}

/// Runs shorter than this are taken term by term: what it costs to begin one would be a good part of its time.
const SHORT: usize = 32;

impl Segments {
    /// The terms one by one, where there are several short runs of few terms in all; otherwise none.
    pub(crate) fn list<'t>(&self, to: &'t mut [u32; MAX_TAPS]) -> &'t [u32] {
        let Segments { ny, dy, nx, dx, len } = *self;
        let terms = ny * nx * len;
        let far = (ny.max(1) - 1) * dy + (nx.max(1) - 1) * dx + len;
        if ny * nx == 1 || len >= SHORT || terms > MAX_TAPS || far > u32::MAX as usize {
            return &[];
        }
        for (i, to) in to[..terms].iter_mut().enumerate() {
            let (run, x) = (i / len, i % len);
            *to = (run / nx * dy + run % nx * dx + x) as u32;
        }
        &to[..terms]
    }
}

/// One multiplication. Pixel `m` of the output, counted from `first`, is at `out[m * out_pixel]`.
pub(crate) struct Gemm<'a> {
    /// The input, from the first channel that is read of the first window's first tap.
    pub a: &'a [f32],
    pub pixels: Pixels,
    pub segments: Segments,
    /// Where each term lies in a window, in the order of the sum; empty where `segments` says it. At most [`MAX_TAPS`].
    pub taps: &'a [u32],
    /// Index of the first output pixel among `pixels`.
    pub first: usize,
    /// Output pixels.
    pub m: usize,
    /// Panels `[blocks][K]`.
    pub panels: &'a [f32],
    /// `[blocks]`.
    pub bias: &'a [f32],
    /// Output channels.
    pub n: usize,
    /// Whether the lanes after the last channel may be written.
    pub whole_blocks: bool,
    /// The residual and its floats between pixels, from pixel `first`, channel 0 of the output.
    pub residual: Option<(&'a [f32], usize)>,
    pub act: Act,
    pub out: &'a mut [f32],
    pub out_pixel: usize,
}

impl<'a> Gemm<'a> {
    /// Whether it is a product of one pixel with one run of A.
    pub(crate) fn is_one_pixel(&self) -> bool {
        let Segments { ny, nx, .. } = self.segments;
        self.m == 1 && self.first == 0 && self.whole_blocks && ny * nx == 1
    }

    /// A 1x1 window over pixels that follow each other every `pixel` floats.
    pub(crate) fn linear(a: &View<'a>) -> (Pixels, Segments) {
        let pixels = Pixels { width: usize::MAX, height: usize::MAX, dx: a.pixel, dy: 0, dn: 0 };
        (pixels, Segments { ny: 1, dy: 0, nx: 1, dx: 0, len: a.shape.c })
    }
}

/// The sum of a tile's chunks that are over: in memory, since the inner loop needs all registers.
type Sums = [Block; MAX_BLOCKS];

/// Most blocks of a tile: 6 pixels x 4 panels.
const MAX_BLOCKS: usize = 24;

/// Tiles of the same extents, one pixel after the other, as a function of its own: there the loop over k has all registers.
struct Tiles<'a, const MR: usize, const NB: usize, const NV: usize> {
    tile: &'a Tile<'a>,
    /// Of `MR` pixels a tile.
    offsets: &'a [usize],
    /// First block, and how many times `NB` of them go by for each tile.
    block: usize,
    passes: usize,
    /// First pixel in the residual.
    m: usize,
    out: &'a mut [f32],
    sums: &'a mut Sums,
}

impl<const MR: usize, const NB: usize, const NV: usize> Kernel for Tiles<'_, MR, NB, NV> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Tiles { offsets, passes, m, out, sums, .. } = self;
        for (i, offsets) in offsets.as_chunks::<MR>().0.iter().enumerate() {
            // Read anew for each tile: a constant that stays in a register takes it from the accumulators.
            let tile = core::hint::black_box(self.tile);
            let out = &mut out[i * MR * tile.out_pixel..];
            for pass in 0..passes {
                let block = self.block + pass * NB;
                tile.run::<S, MR, NB, NV>(s, offsets, block, passes * NB * tile.k, m + i * MR, out, sums);
            }
        }
    }
}

/// The usual case of [`Tiles`], with as few instructions between the loops over k as can be, since these may be short: sums of one
/// run of A and one chunk, whole blocks of output.
struct Plain<'a, const MR: usize, const NB: usize, const NV: usize> {
    a: &'a [f32],
    /// Of `MR` pixels a tile.
    offsets: &'a [usize],
    /// Terms of a sum.
    k: usize,
    /// `NB` panels for each time that some go by.
    panels: &'a [Block],
    bias: &'a [Block],
    /// The same channels of the residual, and its floats between pixels.
    residual: Option<(&'a [f32], usize)>,
    lo: f32,
    hi: f32,
    /// From the first channel of the first panel on.
    out: &'a mut [f32],
    out_pixel: usize,
}

impl<const MR: usize, const NB: usize, const NV: usize> Kernel for Plain<'_, MR, NB, NV> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Plain { a, offsets, k, panels, bias, residual, lo, hi, out, out_pixel } = self;
        let (biases, _) = bias.as_chunks::<NB>();
        let ahead = panels.len();
        let mut pixels = out.chunks_mut(out_pixel);
        for (i, offsets) in offsets.as_chunks::<MR>().0.iter().enumerate() {
            let rows: [&[f32]; MR] = core::array::from_fn(|i| &a[offsets[i]..][..k]);
            let mut targets: [&mut [f32]; MR] = core::array::from_fn(|_| pixels.next().unwrap_or_default());
            let mut left = panels;
            for (pass, bias) in biases.iter().enumerate() {
                let mut acc = [[s.splat(0.0); NV]; MR];
                for j in 0..NV {
                    let v = s.load(&bias[j / S::PARTS], j % S::PARTS);
                    for row in &mut acc {
                        row[j] = v;
                    }
                }
                let panels: [&[Block]; NB] = core::array::from_fn(|_| {
                    let (panel, rest) = left.split_at(k);
                    left = rest;
                    panel
                });
                s.multiply::<MR, NB, NV>(k, ahead, rows, panels, &mut acc);
                let at = pass * NB * BLOCK;
                if let Some((r, pixel)) = residual {
                    // Not `zip`, which would divide by the length of a chunk.
                    let mut pixels = r[i * MR * pixel..].chunks(pixel);
                    for row in &mut acc {
                        let (r, _) = pixels.next().unwrap_or_default()[at..][..NB * BLOCK].as_chunks::<BLOCK>();
                        for (j, v) in row.iter_mut().enumerate() {
                            *v = s.add(*v, s.load(&r[j / S::PARTS], j % S::PARTS));
                        }
                    }
                }
                if lo > f32::NEG_INFINITY {
                    let lo = s.splat(lo);
                    acc.as_flattened_mut().iter_mut().for_each(|v| *v = s.max(lo, *v));
                }
                if hi < f32::INFINITY {
                    let hi = s.splat(hi);
                    acc.as_flattened_mut().iter_mut().for_each(|v| *v = s.min(hi, *v));
                }
                for (row, target) in acc.iter().zip(&mut targets) {
                    let (o, _) = target[at..][..NB * BLOCK].as_chunks_mut::<BLOCK>();
                    for (j, v) in row.iter().enumerate() {
                        s.store(*v, &mut o[j / S::PARTS], j % S::PARTS);
                    }
                }
            }
        }
    }
}

/// What a tile needs besides its place.
struct Tile<'a> {
    a: &'a [f32],
    segments: Segments,
    /// Where the terms lie in a window, if they are few, and the floats that the window spans.
    taps: &'a [u32],
    span: usize,
    /// Terms of a sum.
    k: usize,
    /// Whether they are one run of A and one chunk.
    simple: bool,
    panels: &'a [Block],
    bias: &'a [Block],
    /// Whether the result is limited to `lo..=hi`.
    clamps: bool,
    lo: f32,
    hi: f32,
    residual: Option<(&'a [f32], usize)>,
    out_pixel: usize,
    /// Channels that may be written.
    channels: usize,
}

impl Tile<'_> {
    /// Computes `MR` pixels x `NV` vectors at `out`; pixel i is `offsets[i]` into A and number `m + i` of the residual, `block`
    /// the tile's first panel, `ahead` blocks before those that come next.
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NB: usize, const NV: usize>(
        &self,
        s: S,
        offsets: &[usize; MR],
        block: usize,
        ahead: usize,
        m: usize,
        out: &mut [f32],
        sums: &mut Sums,
    ) {
        let mut acc = [[s.splat(0.0); NV]; MR];
        let bias = &self.bias[block..][..NB];
        for j in 0..NV {
            let v = s.load(&bias[j / S::PARTS], j % S::PARTS);
            for row in &mut acc {
                row[j] = v;
            }
        }
        let panels: [&[Block]; NB] = core::array::from_fn(|j| &self.panels[(block + j) * self.k..][..self.k]);
        // Not with four panels of whole vectors: that loop needs all registers, and one more for the tap. Their runs are as good.
        if (NB < 4 || S::PARTS > 1) && !self.taps.is_empty() {
            let rows: [&[f32]; MR] = core::array::from_fn(|i| &self.a[offsets[i]..][..self.span]);
            s.multiply_taps::<MR, NB, NV>(self.taps, self.span, rows, panels, &mut acc);
        } else {
            self.sum_runs::<S, MR, NB, NV>(s, offsets, panels, ahead, &mut acc, sums);
        }
        self.finish::<S, MR, NB, NV>(s, acc, block * BLOCK, m, out, sums);
    }

    /// The sums over the runs of the window, in chunks, for which `sums` is room.
    #[inline(always)]
    fn sum_runs<S: Simd, const MR: usize, const NB: usize, const NV: usize>(
        &self,
        s: S,
        offsets: &[usize; MR],
        panels: [&[Block]; NB],
        ahead: usize,
        acc: &mut [[S::V; NV]; MR],
        sums: &mut Sums,
    ) {
        let Tile { a, segments, .. } = *self;
        let (mut k, mut chunk_end) = (0, CHUNK);
        for sy in 0..segments.ny {
            for sx in 0..segments.nx {
                let mut at = sy * segments.dy + sx * segments.dx;
                let mut left = segments.len;
                while left > 0 {
                    if k == chunk_end {
                        for (i, row) in acc.iter_mut().enumerate() {
                            for (j, v) in row.iter_mut().enumerate() {
                                let sum = &mut sums[i * NB + j / S::PARTS];
                                let all = if k == CHUNK { *v } else { s.add(s.load(sum, j % S::PARTS), *v) };
                                s.store(all, sum, j % S::PARTS);
                                *v = s.splat(0.0);
                            }
                        }
                        chunk_end += CHUNK;
                    }
                    let run = left.min(chunk_end - k);
                    let rows: [&[f32]; MR] = core::array::from_fn(|i| &a[offsets[i] + at..][..run]);
                    let parts: [&[Block]; NB] = core::array::from_fn(|j| &panels[j][k..][..run]);
                    s.multiply::<MR, NB, NV>(run, ahead, rows, parts, acc);
                    k += run;
                    at += run;
                    left -= run;
                }
            }
        }
        if k > CHUNK {
            for (i, row) in acc.iter_mut().enumerate() {
                for (j, v) in row.iter_mut().enumerate() {
                    *v = s.add(s.load(&sums[i * NB + j / S::PARTS], j % S::PARTS), *v);
                }
            }
        }
    }

    /// The end of a tile: residual, clamp, store.
    #[inline(always)]
    fn finish<S: Simd, const MR: usize, const NB: usize, const NV: usize>(
        &self,
        s: S,
        mut acc: [[S::V; NV]; MR],
        channel: usize,
        m: usize,
        out: &mut [f32],
        sums: &mut Sums,
    ) {
        let room = self.channels - channel;
        if room < NB * BLOCK {
            for (i, row) in acc.iter().enumerate() {
                for (j, v) in row.iter().enumerate() {
                    s.store(*v, &mut sums[i * NB + j / S::PARTS], j % S::PARTS);
                }
            }
            let residual = self.residual.map(|(r, pixel)| (&r[m * pixel + channel..], pixel));
            let (sums, out) = (&mut sums[..MR * NB], &mut out[channel..]);
            return s.vectorize(Partial { sums, nb: NB, room, residual, lo: self.lo, hi: self.hi, out, out_pixel: self.out_pixel });
        }
        if let Some((r, pixel)) = self.residual {
            for (i, row) in acc.iter_mut().enumerate() {
                let (r, _) = r[(m + i) * pixel + channel..][..NB * BLOCK].as_chunks::<BLOCK>();
                for (j, v) in row.iter_mut().enumerate() {
                    *v = s.add(*v, s.load(&r[j / S::PARTS], j % S::PARTS));
                }
            }
        }
        if self.clamps {
            let (lo, hi) = (s.splat(self.lo), s.splat(self.hi));
            for v in acc.as_flattened_mut() {
                *v = s.min(hi, s.max(lo, *v));
            }
        }
        for (i, row) in acc.iter().enumerate() {
            let (o, _) = out[i * self.out_pixel + channel..][..NB * BLOCK].as_chunks_mut::<BLOCK>();
            for (j, v) in row.iter().enumerate() {
                s.store(*v, &mut o[j / S::PARTS], j % S::PARTS);
            }
        }
    }
}

/// The end of a tile whose last block belongs in part to another group, `room` channels of it: all sizes of tiles share this one.
struct Partial<'a> {
    /// `nb` blocks for each pixel of the tile: residual, clamp, store are still to come.
    sums: &'a mut [Block],
    nb: usize,
    room: usize,
    residual: Option<(&'a [f32], usize)>,
    lo: f32,
    hi: f32,
    out: &'a mut [f32],
    out_pixel: usize,
}

impl Kernel for Partial<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (lo, hi) = (s.splat(self.lo), s.splat(self.hi));
        let clamps = self.lo > f32::NEG_INFINITY || self.hi < f32::INFINITY;
        for (i, sums) in self.sums.chunks_mut(self.nb).enumerate() {
            if let Some((r, pixel)) = self.residual {
                let r = &r[i * pixel..][..self.room];
                for (sum, r) in sums.as_flattened_mut().iter_mut().zip(r) {
                    *sum += r;
                }
            }
            if clamps {
                for sum in &mut *sums {
                    for j in 0..S::PARTS {
                        s.store(s.min(hi, s.max(lo, s.load(sum, j))), sum, j);
                    }
                }
            }
            self.out[i * self.out_pixel..][..self.room].copy_from_slice(&sums.as_flattened()[..self.room]);
        }
    }
}

impl Kernel for Gemm<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Gemm { a, pixels, segments, taps, first, m, n, out, out_pixel, residual, act, .. } = self;
        let k = segments.ny * segments.nx * segments.len;
        let (panels, _) = self.panels.as_chunks::<BLOCK>();
        let (bias, _) = self.bias.as_chunks::<BLOCK>();
        let blocks = n.div_ceil(BLOCK);
        let (lo, hi) = act.clamp().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let clamps = lo > f32::NEG_INFINITY || hi < f32::INFINITY;
        let channels = if self.whole_blocks { blocks * BLOCK } else { n };
        let simple = segments.ny * segments.nx == 1 && k <= CHUNK;
        let span = taps.iter().max().map_or(0, |&t| t as usize + 1);
        let tile = Tile { a, segments, taps, span, k, simple, panels, bias, clamps, lo, hi, residual, out_pixel, channels };
        // Blocks of pixels: their part of A stays in L2 while all panels go by.
        let per_pixel = (segments.len * segments.nx).max(1);
        let group = if S::PARTS == 1 { S::NB } else { 4 };
        // A last panel that is half empty goes with the one before it in vectors of half the width, where there are pixels enough.
        let halves = S::PARTS == 1 && S::Half::PARTS == 2 && blocks > 1 && half_empty(n) && self.whole_blocks && simple;
        let narrow_blocks = if halves && m >= 4 * S::MR { 2 } else { 0 };
        let mut sums: Sums = [[0.0; BLOCK]; MAX_BLOCKS];
        let mut offsets = [0usize; MAX_PIXELS];
        let mut m0 = 0;
        while m0 < m {
            let want = (A_BLOCK / per_pixel).clamp(4 * S::MR, MAX_PIXELS);
            // Even blocks: no short one at the end.
            let left = (m - m0).div_ceil(want);
            let rows = (m - m0).div_ceil(left);
            pixels.offsets(first + m0, &mut offsets[..rows]);
            let strip = Strip { tile: &tile, offsets: &offsets[..rows], m: m0, n, act, whole_blocks: self.whole_blocks };
            let out = &mut out[m0 * out_pixel..];
            let whole = blocks - narrow_blocks;
            for b0 in (0..whole).step_by(group) {
                strip.run(s, s, b0, group.min(whole - b0), out, &mut sums);
            }
            if narrow_blocks > 0 {
                strip.run(s.half(), s, blocks - narrow_blocks, narrow_blocks, out, &mut sums);
            }
            m0 += rows;
        }
    }
}

/// Whether the upper half of the last of so many channels' blocks is empty.
const fn half_empty(n: usize) -> bool {
    !n.is_multiple_of(BLOCK) && n % BLOCK <= BLOCK / 2
}

/// Pixels whose part of A stays in L2.
struct Strip<'a> {
    tile: &'a Tile<'a>,
    offsets: &'a [usize],
    /// Their first one, in the residual.
    m: usize,
    /// Output channels.
    n: usize,
    act: Act,
    whole_blocks: bool,
}

impl Strip<'_> {
    /// `nb` panels from `block` on, for all pixels; activations that are not a clamp by the vectors of `whole`.
    #[inline(always)]
    fn run<S: Simd, W: Simd>(&self, s: S, whole: W, block: usize, nb: usize, out: &mut [f32], sums: &mut Sums) {
        let Strip { tile, offsets, act, n, whole_blocks, .. } = *self;
        let end_channel = (block + nb) * BLOCK;
        let half = S::PARTS == 2 && whole_blocks && end_channel > n && half_empty(n);
        // `longer` tiles of `mr + 1` pixels, then tiles of `mr`.
        let tiles = offsets.len().div_ceil(S::MR);
        let (mr, longer) = (offsets.len() / tiles, offsets.len() % tiles);
        let mut t = 0;
        while t < tiles {
            let (size, end) = if t < longer { (mr + 1, longer) } else { (mr, tiles) };
            // Other activations follow while the tiles are in L1.
            let count = if act.clamp().is_some() { end - t } else { (end - t).min(16) };
            let at = t * mr + t.min(longer);
            let here = &offsets[at..][..count * size];
            let target = &mut out[at * tile.out_pixel..];
            // Constants, so that nothing is compiled for sets that do not use it.
            if S::PARTS == 1 {
                wide(s, tile, size, nb, here, block, self.m + at, target, sums);
            } else if S::IS_HALF {
                one_and_a_half(s, tile, size, here, block, self.m + at, target, sums);
            } else {
                narrow(s, tile, size, nb, half, here, block, self.m + at, target, sums);
            }
            if act.clamp().is_none() {
                let rows = count * size;
                if whole_blocks {
                    let x = &mut blocks_mut(target)[block..];
                    whole.vectorize(InPlace { act, x, pixels: rows, nb, pb: tile.out_pixel / BLOCK });
                } else {
                    let channels = (n - block * BLOCK).min(nb * BLOCK);
                    for row in target.chunks_mut(tile.out_pixel).take(rows) {
                        act_channels(whole, act, &mut row[block * BLOCK..][..channels]);
                    }
                }
            }
            t += count;
        }
    }
}

/// Applies an activation to some channels of a pixel whose last block belongs in part to another group.
#[inline(always)]
fn act_channels<S: Simd>(s: S, act: Act, channels: &mut [f32]) {
    for part in channels.chunks_mut(BLOCK) {
        let mut block = [0.0; BLOCK];
        block[..part.len()].copy_from_slice(part);
        act_row(s, act, core::slice::from_mut(&mut block));
        part.copy_from_slice(&block[..part.len()]);
    }
}

/// Tiles of `MR` pixels x `NB` panels, which go by `passes` times.
#[inline(always)]
fn group<S: Simd, const MR: usize, const NB: usize, const NV: usize>(
    s: S,
    tile: &Tile,
    offsets: &[usize],
    block: usize,
    passes: usize,
    m: usize,
    out: &mut [f32],
    sums: &mut Sums,
) {
    let (channel, blocks) = (block * BLOCK, passes * NB);
    // Half vectors are for the usual case only: nothing else is compiled for them.
    if !S::IS_HALF && (!tile.simple || tile.channels - channel < blocks * BLOCK) {
        return s.vectorize(Tiles::<MR, NB, NV> { tile, offsets, block, passes, m, out, sums });
    }
    s.vectorize(Plain::<MR, NB, NV> {
        a: tile.a,
        offsets,
        k: tile.k,
        panels: &tile.panels[block * tile.k..][..blocks * tile.k],
        bias: &tile.bias[block..][..blocks],
        residual: tile.residual.map(|(r, pixel)| (&r[m * pixel + channel..], pixel)),
        lo: tile.lo,
        hi: tile.hi,
        out: &mut out[channel..],
        out_pixel: tile.out_pixel,
    });
}

/// Tiles of up to 6 pixels x 4 panels, for sets whose vector is a whole block. Few pixels are those of images that are smaller than 5x5:
/// two or three panels that are left there go by one after the other, and have no code of their own.
#[inline(always)]
fn wide<S: Simd>(
    s: S,
    tile: &Tile,
    mr: usize,
    nb: usize,
    offsets: &[usize],
    block: usize,
    m: usize,
    out: &mut [f32],
    sums: &mut Sums,
) {
    macro_rules! tiles {
        (few: $($few:literal)*, many: $($many:literal)*) => {
            match (mr, nb) {
                $(
                    ($few, 4) => group::<S, $few, 4, 4>(s, tile, offsets, block, 1, m, out, sums),
                    ($few, _) => group::<S, $few, 1, 1>(s, tile, offsets, block, nb, m, out, sums),
                )*
                $(
                    ($many, 4) => group::<S, $many, 4, 4>(s, tile, offsets, block, 1, m, out, sums),
                    ($many, 3) => group::<S, $many, 3, 3>(s, tile, offsets, block, 1, m, out, sums),
                    ($many, 2) => group::<S, $many, 2, 2>(s, tile, offsets, block, 1, m, out, sums),
                    ($many, _) => group::<S, $many, 1, 1>(s, tile, offsets, block, 1, m, out, sums),
                )*
                _ => unreachable!("a tile has 1 to MR pixels"),
            }
        };
    }
    tiles!(few: 1 2 3 4, many: 5 6)
}

/// Tiles of 5 to 8 pixels x 1 1/2 panels, for sets that have 32 registers of half a block.
#[inline(always)]
fn one_and_a_half<S: Simd>(
    s: S,
    tile: &Tile,
    mr: usize,
    offsets: &[usize],
    block: usize,
    m: usize,
    out: &mut [f32],
    sums: &mut Sums,
) {
    macro_rules! tiles {
        ($($mr:literal)*) => {
            match mr {
                $($mr => group::<S, $mr, 2, 3>(s, tile, offsets, block, 1, m, out, sums),)*
                // A dozen pixels or more make no such tiles.
                _ => group::<S, 1, 2, 3>(s, tile, offsets, block, 1, m, out, sums),
            }
        };
    }
    tiles!(5 6 7 8)
}

/// Tiles of up to 6 pixels x 1 panel, for sets with narrower vectors; `nb` panels go by for each tile, and `half` leaves out the
/// upper half of the last one.
#[inline(always)]
fn narrow<S: Simd>(
    s: S,
    tile: &Tile,
    mr: usize,
    nb: usize,
    half: bool,
    offsets: &[usize],
    block: usize,
    m: usize,
    out: &mut [f32],
    sums: &mut Sums,
) {
    macro_rules! tiles {
        ($nv:literal, $block:expr, $passes:expr, $($mr:literal)*) => {
            match mr {
                $($mr => group::<S, $mr, 1, $nv>(s, tile, offsets, $block, $passes, m, out, sums),)*
                _ => unreachable!("a tile has 1 to MR pixels"),
            }
        };
    }
    match S::PARTS {
        2 => {
            let whole = nb - usize::from(half);
            if whole > 0 {
                tiles!(2, block, whole, 1 2 3 4 5 6);
            }
            if half {
                tiles!(1, block + whole, 1, 1 2 3 4 5 6);
            }
        }
        4 => tiles!(4, block, nb, 1 2 3 4 5 6),
        _ => tiles!(16, block, nb, 1 2),
    }
}
