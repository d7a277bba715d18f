//! The product of matrices that every convolution comes down to.
//!
//! ```text
//! out[m][n] = act(bias[n] + sum over k of a[m][k] * b[k][n] (+ residual[m][n]))      summed in the order of k, by FMA
//! ```
//!
//! 1. A is the NHWC tensor itself: row m is the window of output pixel m, as runs of contiguous floats. Nothing is packed.
//! 2. B comes in panels `[N/16][K][16]`, made by the converter, and is read in place.
//! 3. K is never split: the accumulators of a tile stay in registers from the bias to the store.
//! 4. `for blocks of pixels that fit the L2 cache { for 64 columns { for tiles of pixels { for panels of a tile } } }`.

mod tile;

use super::activation::{act_row, blocks_mut};
use crate::Act;
use crate::par::{Band, range};
use crate::simd::{Block, Kernel, Simd};
use sepal_format::layout::BLOCK;
use tile::Columns;

/// Floats of A that a block of pixels may cover: they stay in the L2 cache while all of B goes by.
pub(crate) const CACHE: usize = 96 * 1024;

/// Columns that are computed before going on to the next pixels.
const GROUP: usize = 64;

/// Pixels in a block when an activation follows: what was just written should still be in the L1 cache.
const ACT_PIXELS: usize = 96;

/// Rows of A: the windows of consecutive output pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    /// Memory of the input.
    pub data: &'a [f32],
    /// Rows and columns of an image of output pixels.
    pub extent: [usize; 2],
    /// Floats from the window of a pixel to that of the next image, row, pixel.
    pub steps: [usize; 3],
    /// Runs that make up a window, down and across.
    pub runs: [usize; 2],
    /// Floats between runs, down and across.
    pub run_steps: [usize; 2],
    /// Floats in a run.
    pub run: usize,
}

impl Source<'_> {
    /// K.
    pub fn depth(&self) -> usize {
        self.runs[0] * self.runs[1] * self.run
    }

    /// Floats from the begin of a window to its end.
    fn reach(&self) -> usize {
        let [y, x] = [0, 1].map(|i| (self.runs[i] - 1) * self.run_steps[i]);
        y + x + self.run
    }

    /// Offsets of the windows from pixel `m` on.
    #[inline(always)]
    fn walk(&self, m: usize) -> Walk {
        let [height, width] = self.extent;
        let (row, x) = (m / width, m % width);
        let (n, y) = (row / height, row % height);
        Walk {
            at: n * self.steps[0] + y * self.steps[1] + x * self.steps[2],
            left: [height - y, width - x],
            // What is left over at the end of a row, of an image: may be negative where windows overlap.
            carry: [self.steps[0].wrapping_sub(height * self.steps[1]), self.steps[1].wrapping_sub(width * self.steps[2])],
        }
    }
}

/// Walks over the windows of consecutive pixels.
struct Walk {
    at: usize,
    /// Rows left in this image, pixels left in this row.
    left: [usize; 2],
    carry: [usize; 2],
}

impl Walk {
    /// The offset of this pixel's window; goes on to the next.
    #[inline(always)]
    fn next(&mut self, source: &Source) -> usize {
        let at = self.at;
        self.at += source.steps[2];
        self.left[1] -= 1;
        if self.left[1] == 0 {
            self.left[1] = source.extent[1];
            self.at = self.at.wrapping_add(self.carry[1]);
            self.left[0] -= 1;
            if self.left[0] == 0 {
                self.left[0] = source.extent[0];
                self.at = self.at.wrapping_add(self.carry[0]);
            }
        }
        at
    }
}

/// A tensor that is added to the result: `data[m * step + n]` for pixel m and column n of the product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Residual<'a> {
    /// Begins at pixel 0, column 0 of the product.
    pub data: &'a [f32],
    /// Floats between pixels.
    pub step: usize,
}

/// A product: `pixels` rows of A from row `first` on, `columns` columns of B.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gemm<'a> {
    /// A.
    pub source: Source<'a>,
    /// First row of A.
    pub first: usize,
    /// Rows of A.
    pub pixels: usize,
    /// B: panels of [`Source::depth`] blocks each, from the first column on.
    pub panels: &'a [Block],
    /// From the first column on.
    pub bias: &'a [Block],
    /// N.
    pub columns: usize,
    /// Added before the activation.
    pub residual: Option<Residual<'a>>,
    /// Applied last.
    pub act: Act,
}

/// [`Gemm`] with where its result goes.
pub(crate) struct Run<'a, 'b, 'c> {
    pub gemm: Gemm<'a>,
    /// Row m is pixel m of the product.
    pub out: &'b mut Band<'c>,
    /// First row of `out`.
    pub row: usize,
    /// Column of `out` where column 0 of the product goes.
    pub column: usize,
    /// Whether the lanes of `out` up to a multiple of 16 columns may be written.
    pub whole: bool,
}

impl Kernel for Run<'_, '_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Run { gemm, out, row, column, whole } = self;
        if gemm.pixels == 0 || gemm.columns == 0 {
            return;
        }
        // Bounds of a clamp are applied in registers, all else to rows just written.
        let (clamp, act) = match gemm.act.clamp() {
            Some(bounds) => (bounds, None),
            None => ((f32::NEG_INFINITY, f32::INFINITY), Some(gemm.act)),
        };
        // What a pixel reads and writes.
        let footprint = gemm.source.steps[2].min(gemm.source.depth()) + gemm.columns;
        let most = (CACHE / footprint).max(8 * S::MR);
        let most = if act.is_some() { most.min(ACT_PIXELS) } else { most };
        let blocks = gemm.pixels.div_ceil(most);
        for i in 0..blocks {
            let pixels = range(gemm.pixels, S::MR, blocks, i);
            let mut next = 0;
            while next < gemm.columns {
                let (from, columns) = (next, group(gemm.columns - next));
                next += columns;
                if !whole && columns % BLOCK != 0 {
                    edge(s, &gemm, from, pixels.clone(), out, row, column);
                    continue;
                }
                let column = column + from;
                Columns { gemm: &gemm, clamp, pixels: pixels.clone(), from, columns, row, column }.run(s, out);
                if let Some(act) = act {
                    let rows = row + pixels.start..row + pixels.end;
                    let columns = column..column + columns.next_multiple_of(BLOCK);
                    s.vectorize(ActRows { act, out, rows, columns });
                }
            }
        }
    }
}

/// How many of the `left` columns are computed at once: up to 64, all groups of about the same width, except that an odd
/// number of half blocks leaves the last three to themselves, which suit vectors of half a block.
#[inline(always)]
fn group(left: usize) -> usize {
    let halves = left.div_ceil(BLOCK / 2);
    let tail = if halves.is_multiple_of(2) { 0 } else { 3 };
    if halves <= tail {
        return left;
    }
    let blocks = (halves - tail) / 2;
    left.min(blocks.div_ceil(blocks.div_ceil(GROUP / BLOCK)) * BLOCK)
}

/// Applies an activation to a rectangle.
struct ActRows<'a, 'b> {
    act: Act,
    out: &'b mut Band<'a>,
    rows: core::ops::Range<usize>,
    columns: core::ops::Range<usize>,
}

impl Kernel for ActRows<'_, '_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for i in self.rows {
            act_row(s, self.act, blocks_mut(&mut self.out.row(i)[self.columns.clone()]));
        }
    }
}

/// Pixels that [`edge`] computes at once.
const EDGE: usize = 12;

/// The last columns of a group of channels that does not end at a block: computed beside `out` and copied, since the lanes
/// that follow belong to the next group.
#[inline(always)]
fn edge<S: Simd>(s: S, gemm: &Gemm, from: usize, pixels: core::ops::Range<usize>, out: &mut Band, row: usize, column: usize) {
    let columns = gemm.columns - from;
    let padded = columns.next_multiple_of(BLOCK);
    let plain = Gemm { residual: None, ..*gemm };
    let mut tile = [0.0; EDGE * GROUP];
    for start in pixels.clone().step_by(EDGE) {
        let end = pixels.end.min(start + EDGE);
        let clamp = (f32::NEG_INFINITY, f32::INFINITY);
        let mut beside = Band::new(&mut tile, EDGE, GROUP, GROUP);
        let first = Gemm { first: gemm.first + start, pixels: end - start, ..plain };
        Columns { gemm: &first, clamp, pixels: 0..end - start, from, columns, row: 0, column: 0 }.run(s, &mut beside);
        if let Some(residual) = gemm.residual {
            for (i, m) in (start..end).enumerate() {
                let add = &residual.data[m * residual.step + from..][..columns];
                tile[i * GROUP..][..columns].iter_mut().zip(add).for_each(|(v, r)| *v += r);
            }
        }
        let out_of_registers = &mut Band::new(&mut tile, EDGE, GROUP, GROUP);
        s.vectorize(ActRows { act: gemm.act, out: out_of_registers, rows: 0..end - start, columns: 0..padded });
        for (i, m) in (start..end).enumerate() {
            out.row(row + m)[column + from..][..columns].copy_from_slice(&tile[i * GROUP..][..columns]);
        }
    }
}
