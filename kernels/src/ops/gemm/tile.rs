//! The micro-kernel: a tile of MR pixels by NV vectors of columns whose accumulators stay in registers, and the choice of
//! MR and NV for what there is to compute.

use super::{Gemm, Source};
use crate::par::Band;
use crate::simd::{Block, Kernel, Simd};
use core::ops::Range;
use sepal_format::layout::BLOCK;

/// Some columns of a product, at most 64 of them; an odd number of half blocks only where there are one or three. For a range of its pixels.
#[derive(Clone)]
pub(super) struct Columns<'a> {
    pub gemm: &'a Gemm<'a>,
    /// Bounds of the activation.
    pub clamp: (f32, f32),
    pub pixels: Range<usize>,
    /// First column, a multiple of [`BLOCK`].
    pub from: usize,
    pub columns: usize,
    /// Row of the output where pixel 0 of the product goes.
    pub row: usize,
    /// Column of the output where column `from` goes.
    pub column: usize,
}

/// Tiles of the given number of vectors over `blocks` of `columns`, MR chosen among the literals, which count from 1.
macro_rules! tiles {
    ($enter:expr, $columns:expr, $out:expr, $blocks:expr, $nv:literal: $($mr:literal)+) => {
        for (mr, pixels) in balanced(&$columns.pixels, [$($mr),+].len()) {
            match mr {
                $($mr => $enter(Strip::<$mr, $nv> { columns: $columns, pixels, blocks: $blocks, out: &mut *$out }),)+
                _ => {}
            }
        }
    };
}

impl Columns<'_> {
    /// Computes whole blocks of `out`.
    #[inline(always)]
    pub fn run<S: Simd>(&self, s: S, out: &mut Band) {
        let units = self.columns.div_ceil(BLOCK / 2);
        // Blocks that are needed in full, and the last of which only one half is.
        let (full, last) = (units / 2, units.div_ceil(2));
        match S::LANES {
            16 => {
                // Where half a vector would be wasted, all columns go by half vectors, of which the 32 registers hold tiles of
                // three by eight.
                match units {
                    1 => tiles!(|k| s.vectorize_half(k), self, out, 0..1, 1: 1 2 3 4 5 6 7 8),
                    2 => tiles!(|k| s.vectorize(k), self, out, 0..1, 1: 1 2 3 4 5 6 7 8),
                    3 => tiles!(|k| s.vectorize_half(k), self, out, 0..2, 3: 1 2 3 4 5 6 7 8),
                    4 => tiles!(|k| s.vectorize(k), self, out, 0..2, 2: 1 2 3 4 5 6 7 8),
                    6 => tiles!(|k| s.vectorize(k), self, out, 0..3, 3: 1 2 3 4 5 6 7 8),
                    8 => tiles!(|k| s.vectorize(k), self, out, 0..4, 4: 1 2 3 4 5 6),
                    _ => unreachable!("columns come in such groups only"),
                }
            }
            8 => {
                // One or two pixels do not fill the pipeline by themselves: more panels at a time.
                match (self.pixels.len(), full) {
                    (1, 4) => tiles!(|k| s.vectorize(k), self, out, 0..4, 8: 1),
                    (1..3, 2 | 4) => tiles!(|k| s.vectorize(k), self, out, 0..full, 4: 1 2),
                    _ => tiles!(|k| s.vectorize(k), self, out, 0..full, 2: 1 2 3 4 5 6),
                }
                if full < last {
                    tiles!(|k| s.vectorize(k), self, out, full..last, 1: 1 2 3 4 5 6 7 8)
                }
            }
            4 => {
                match (self.pixels.len(), full) {
                    (1, 4) => tiles!(|k| s.vectorize(k), self, out, 0..4, 16: 1),
                    (1..3, 2 | 4) => tiles!(|k| s.vectorize(k), self, out, 0..full, 8: 1 2),
                    _ => tiles!(|k| s.vectorize(k), self, out, 0..full, 4: 1 2 3 4 5 6),
                }
                if full < last {
                    tiles!(|k| s.vectorize(k), self, out, full..last, 2: 1 2 3 4 5 6 7 8)
                }
            }
            _ => {
                tiles!(|k| s.vectorize(k), self, out, 0..full, 16: 1);
                if full < last {
                    tiles!(|k| s.vectorize(k), self, out, full..last, 8: 1 2);
                }
            }
        }
    }
}

/// `pixels` in tiles of at most `most`, none much smaller than the others: two runs of equal tiles, with their size.
#[inline(always)]
fn balanced(pixels: &Range<usize>, most: usize) -> [(usize, Range<usize>); 2] {
    let tiles = pixels.len().div_ceil(most).max(1);
    let size = pixels.len() / tiles;
    let middle = pixels.start + pixels.len() % tiles * (size + 1);
    [(size + 1, pixels.start..middle), (size, middle..pixels.end)]
}

/// Tiles of MR pixels, one after the other; for each, tiles of NV vectors over `blocks`, counted from the first column.
/// The number of pixels is a multiple of MR.
///
/// Each strip is a kernel of its own so that it becomes a function of its own, with all registers to itself.
struct Strip<'a, 'b, 'c, const MR: usize, const NV: usize> {
    columns: &'a Columns<'a>,
    pixels: Range<usize>,
    blocks: Range<usize>,
    out: &'b mut Band<'c>,
}

impl<const MR: usize, const NV: usize> Kernel for Strip<'_, '_, '_, MR, NV> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Copies: what is behind a reference would be read anew after each store.
        let columns = self.columns.clone();
        let gemm = *columns.gemm;
        let source = gemm.source;
        let (reach, depth) = (source.reach(), source.depth());
        let width = NV.div_ceil(S::PARTS);
        let (lo, hi) = (s.splat(columns.clamp.0), s.splat(columns.clamp.1));
        let mut walk = source.walk(gemm.first + self.pixels.start);
        let mut m = self.pixels.start;
        while m < self.pixels.end {
            let mut windows: [&[f32]; MR] = [&[]; MR];
            for window in &mut windows {
                *window = &source.data[walk.next(&source)..][..reach];
            }
            let mut block = self.blocks.start;
            while block < self.blocks.end {
                let first = columns.from / BLOCK + block;
                let bias = &gemm.bias[first..][..width];
                let mut panels: [&[Block]; NV] = [&[]; NV];
                let mut acc = [[s.splat(0.0); NV]; MR];
                for j in 0..NV {
                    panels[j] = &gemm.panels[(first + j / S::PARTS) * depth..][..depth];
                    let bias = s.load(&bias[j / S::PARTS], j % S::PARTS);
                    for i in 0..MR {
                        acc[i][j] = bias;
                    }
                }
                multiply(s, &mut acc, &source, windows, panels);
                if let Some(residual) = gemm.residual {
                    for i in 0..MR {
                        let row = &residual.data[(m + i) * residual.step + first * BLOCK..][..width * BLOCK];
                        let (row, _) = row.as_chunks::<BLOCK>();
                        for j in 0..NV {
                            acc[i][j] = s.add(acc[i][j], s.load(&row[j / S::PARTS], j % S::PARTS));
                        }
                    }
                }
                for i in 0..MR {
                    let row = &mut self.out.row(columns.row + m + i)[columns.column + block * BLOCK..][..width * BLOCK];
                    let (row, _) = row.as_chunks_mut::<BLOCK>();
                    for j in 0..NV {
                        s.store(s.min(hi, s.max(lo, acc[i][j])), &mut row[j / S::PARTS], j % S::PARTS);
                    }
                }
                block += width;
            }
            m += MR;
        }
    }
}

/// All of K, run by run.
#[inline(always)]
fn multiply<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    acc: &mut [[S::V; NV]; MR],
    source: &Source,
    windows: [&[f32]; MR],
    panels: [&[Block]; NV],
) {
    if source.runs == [1, 1] {
        return s.mac(acc, windows, panels);
    }
    let mut k = 0;
    for y in 0..source.runs[0] {
        for x in 0..source.runs[1] {
            let at = y * source.run_steps[0] + x * source.run_steps[1];
            let (mut a, mut b) = (windows, panels);
            for row in &mut a {
                *row = &row[at..][..source.run];
            }
            for panel in &mut b {
                *panel = &panel[k..][..source.run];
            }
            s.mac(acc, a, b);
            k += source.run;
        }
    }
}
