//! Winograd convolution: fewer multiplications for windows of stride 1, by transforms of tiles.
//!
//! ```text
//! for each block of tiles:
//!   V[p] = B^T d B       of every tile, for each of its points p: tiles x C
//!   M[p] = V[p] * U[p]   the pointwise multiplication, with weights transformed offline
//!   out  = act(A^T M A + bias (+ residual))
//! ```
//!
//! 1. A block has so many tiles that V and M of it stay in L2.
//! 2. Which tile a step has is written in the file, so every host computes the same bits.
//! 3. Points lie a block more than their extent apart: otherwise all stores of a tile fall into one set of the cache.

use super::activation::{InPlace, blocks, blocks_mut};
use super::conv::{Conv, Take, Window, pointwise};
use crate::par::{Grid, Parallel, Tiles, split_tiles};
use crate::simd::{Block, Kernel, Simd};
use crate::{Act, Isa, Shape, View, ViewMut};
use core::marker::PhantomData;
use core::ops::Range;
use sepal_format::layout::BLOCK;
use sepal_format::winograd::TILES;
use transform::{F23, F43, F47, One, Transform};

pub(crate) mod transform;

/// Floats that V and M of a block of tiles may have: 768 KB, most of L2.
const SCRATCH: usize = 192 * 1024;
/// Most tiles of a block.
const MAX_TILES: usize = 96;

/// Outputs of a tile, down and across.
pub type Tile = [usize; 2];

/// Whether there is such an algorithm for a window.
pub fn exists(window: &Window, tile: Tile) -> bool {
    let known = TILES.iter().any(|(k, t)| k.map(|n| n as usize) == window.kernel && t.map(|n| n as usize) == tile);
    known && window.stride == [1, 1] && window.dilation == [1, 1]
}

/// Points of a tile, down and across.
pub fn points(window: &Window, tile: Tile) -> [usize; 2] {
    [0, 1].map(|d| tile[d] + window.kernel[d] - 1)
}

/// How a convolution is cut into tiles.
struct Plan {
    tile: Tile,
    /// Points of a tile.
    points: usize,
    /// Tiles down and across an image.
    grid: [usize; 2],
    /// Tiles of a block.
    block: usize,
    /// Padded channels in and out.
    channels: [usize; 2],
}

impl Plan {
    fn new(window: &Window, tile: Tile, input: Shape, output: Shape) -> Plan {
        let [ay, ax] = points(window, tile);
        let channels = [input.c, output.c].map(|c| c.next_multiple_of(BLOCK));
        let grid = [output.h.div_ceil(tile[0]), output.w.div_ceil(tile[1])];
        let most = SCRATCH / (ay * ax * (channels[0] + channels[1])).max(1);
        let tiles = grid[0] * grid[1];
        let most = most.clamp(12, MAX_TILES).min(tiles.max(1));
        // Even blocks, of whole GEMM tiles.
        let block = tiles.div_ceil(tiles.div_ceil(most).max(1)).next_multiple_of(6);
        Plan { tile, points: ay * ax, grid, block, channels }
    }

    /// Floats between the points of V (0) and of M (1).
    fn apart(&self, which: usize) -> usize {
        self.block * self.channels[which] + BLOCK
    }

    fn scratch(&self) -> usize {
        self.points * (self.apart(0) + self.apart(1)) + self.channels[1]
    }
}

/// Floats of scratch that [`winograd`] needs for each part of [`Parallel::parts`] with weights in f32; for halves see
/// [`widened`](super::panels::widened).
pub fn winograd_scratch(window: Window, tile: Tile, input: Shape, output: Shape) -> usize {
    Plan::new(&window, tile, input, output).scratch()
}

/// Runs a convolution by tiles of `tile` outputs; `args.weights` are transformed: see [`crate::pack::winograd`]. `input` has
/// whole blocks, and there are no groups.
///
/// # Panics
/// If there is no such algorithm, which a verified file rules out: see [`exists`].
pub fn winograd(
    isa: Isa,
    par: &dyn Parallel,
    args: &Conv,
    tile: Tile,
    input: View,
    residual: Option<View>,
    out: ViewMut,
    scratch: &mut [f32],
) {
    assert!(exists(&args.window, tile) && args.groups == 1, "winograd: no such algorithm");
    let (shape, pixel) = (out.shape, out.pixel);
    let plan = Plan::new(&args.window, tile, input.shape, shape);
    let (in_image, out_image) = (input.shape.h * input.shape.w * input.pixel, shape.h * shape.w * pixel);
    let floats = plan.scratch() + args.weights.scratch(plan.points, shape.c);
    let mut rest = out.data;
    for n in 0..shape.n {
        let image = if n + 1 < shape.n { out_image } else { rest.len() };
        let (mine, next) = rest.split_at_mut(image);
        rest = next;
        let from = View { data: &input.data[n * in_image..], shape: Shape { n: 1, ..input.shape }, pixel: input.pixel };
        let residual = residual.map(|r| (&r.data[n * shape.h * shape.w * r.pixel..], r.pixel));
        let image = Image { args, plan: &plan, input: from, residual, shape, pixel };
        let grid = Grid { size: [shape.h, shape.w], tile, pixel };
        split_tiles(par, &grid, mine, scratch, floats, &|tiles, scratch| image.run(isa, tiles, scratch));
    }
}

/// An image.
struct Image<'a> {
    args: &'a Conv<'a>,
    plan: &'a Plan,
    input: View<'a>,
    /// And its floats between pixels.
    residual: Option<(&'a [f32], usize)>,
    /// Of the output.
    shape: Shape,
    pixel: usize,
}

impl Image<'_> {
    /// Some of its tiles.
    fn run(&self, isa: Isa, out: &mut Tiles, scratch: &mut [f32]) {
        let Plan { points, block, channels: [c, n], .. } = *self.plan;
        let (zeros, scratch) = scratch.split_at_mut(n);
        zeros.fill(0.0);
        let [v_apart, m_apart] = [0, 1].map(|i| self.plan.apart(i));
        let (v, scratch) = scratch.split_at_mut(points * v_apart);
        let (m, wide) = scratch.split_at_mut(points * m_apart);
        let Range { start: mut at, end } = out.range;
        while at < end {
            // Even blocks here, too: a part need not have all rows.
            let left = (end - at).div_ceil(block);
            let count = (end - at).div_ceil(left);
            let tiles = at..at + count;
            self.transform(isa, Way::In { v }, tiles.clone());
            for p in 0..points {
                let shape = Shape::new(1, 1, count, self.input.shape.c);
                let view = View { data: &v[p * v_apart..], shape, pixel: c };
                let weights = self.args.weights.part(p * n * shape.c..(p + 1) * n * shape.c);
                let args = Conv { window: Window::ONE, groups: 1, weights, bias: zeros, take: Take::Plain, act: Act::None };
                pointwise(isa, &args, &view, self.shape.c, None, &mut m[p * m_apart..], n, wide);
            }
            self.transform(isa, Way::Out { m, out }, tiles);
            at += count;
        }
    }

    fn transform(&self, isa: Isa, way: Way, tiles: Range<usize>) {
        macro_rules! run {
            ($y:ty, $x:ty) => {
                isa.run(Step::<'_, '_, '_, $y, $x, _, _, _, _> { image: self, way, tiles, transforms: PhantomData })
            };
        }
        let line = cfg!(feature = "winograd-1d");
        match (self.args.window.kernel, self.plan.tile) {
            ([3, 3], [2, 2]) => run!(F23, F23),
            ([3, 3], [4, 4]) => run!(F43, F43),
            ([1, 3], [1, 2]) if line => run!(One, F23),
            ([3, 1], [2, 1]) if line => run!(F23, One),
            ([1, 3], [1, 4]) if line => run!(One, F43),
            ([3, 1], [4, 1]) if line => run!(F43, One),
            ([1, 7], [1, 4]) if line => run!(One, F47),
            ([7, 1], [4, 1]) if line => run!(F47, One),
            _ => unreachable!("checked by `exists`, and the features when a model is loaded"),
        }
    }
}

/// From the input to V, or from M to the output.
enum Way<'a, 't, 'o> {
    In { v: &'a mut [f32] },
    Out { m: &'a [f32], out: &'a mut Tiles<'t, 'o> },
}

/// One of the transforms of a block of tiles.
struct Step<'a, 't, 'o, Y, X, const AY: usize, const MY: usize, const AX: usize, const MX: usize>
where
    Y: Transform<AY, MY>,
    X: Transform<AX, MX>,
{
    image: &'a Image<'a>,
    way: Way<'a, 't, 'o>,
    tiles: Range<usize>,
    transforms: PhantomData<(Y, X)>,
}

impl<Y, X, const AY: usize, const MY: usize, const AX: usize, const MX: usize> Kernel for Step<'_, '_, '_, Y, X, AY, MY, AX, MX>
where
    Y: Transform<AY, MY>,
    X: Transform<AX, MX>,
{
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Step { image, way, tiles, .. } = self;
        let across = image.plan.grid[1];
        match way {
            Way::In { v } => {
                let v = blocks_mut(v);
                for (i, t) in tiles.enumerate() {
                    image.tile_in::<S, Y, X, AY, MY, AX, MX>(s, [t / across, t % across], v, i);
                }
            }
            Way::Out { m, out } => {
                let m = blocks(m);
                for (i, t) in tiles.enumerate() {
                    let at = [t / across, t % across];
                    image.tile_out::<S, Y, X, AY, MY, AX, MX>(s, m, i, at, out.lines(at));
                }
            }
        }
    }
}

impl Image<'_> {
    /// A tile of the input to tile `i` of V.
    #[inline(always)]
    fn tile_in<S: Simd, Y, X, const AY: usize, const MY: usize, const AX: usize, const MX: usize>(
        &self,
        s: S,
        [ty, tx]: [usize; 2],
        v: &mut [Block],
        i: usize,
    ) where
        Y: Transform<AY, MY>,
        X: Transform<AX, MX>,
    {
        let Shape { h, w, .. } = self.input.shape;
        let [top, left] = self.args.window.pad;
        let (y0, x0) = ((ty * MY) as isize - top as isize, (tx * MX) as isize - left as isize);
        let (nb, step) = (self.plan.channels[0] / BLOCK, self.input.pixel / BLOCK);
        let apart = self.plan.apart(0) / BLOCK;
        let data = blocks(self.input.data);
        // The pixels of the tile; an empty one lies outside.
        let pixels: [[&[Block]; AX]; AY] = core::array::from_fn(|y| {
            core::array::from_fn(|x| {
                let (y, x) = (y0 + y as isize, x0 + x as isize);
                let inside = y >= 0 && (y as usize) < h && x >= 0 && (x as usize) < w;
                if inside { &data[(y as usize * w + x as usize) * step..][..nb] } else { &[] }
            })
        });
        let v = &mut v[i * nb..];
        for cb in 0..nb {
            for j in 0..S::PARTS {
                let mut rows = [[s.splat(0.0); AX]; AY];
                for y in 0..AY {
                    let d: [S::V; AX] =
                        core::array::from_fn(|x| pixels[y][x].get(cb).map_or_else(|| s.splat(0.0), |b| s.load(b, j)));
                    rows[y] = X::input(s, d);
                }
                for x in 0..AX {
                    let column = Y::input(s, core::array::from_fn(|y| rows[y][x]));
                    for y in 0..AY {
                        s.store(column[y], &mut v[(y * AX + x) * apart + cb], j);
                    }
                }
            }
        }
    }

    /// Tile `i` of M to a tile of the output, whose lines begin with its first pixels.
    #[inline(always)]
    fn tile_out<S: Simd, Y, X, const AY: usize, const MY: usize, const AX: usize, const MX: usize>(
        &self,
        s: S,
        m: &[Block],
        i: usize,
        [ty, tx]: [usize; 2],
        lines: [&mut [f32]; MY],
    ) where
        Y: Transform<AY, MY>,
        X: Transform<AX, MX>,
    {
        let (nb, step) = (self.plan.channels[1] / BLOCK, self.pixel / BLOCK);
        let apart = self.plan.apart(1) / BLOCK;
        let (y0, x0) = (ty * MY, tx * MX);
        let (height, width) = (MY.min(self.shape.h - y0), MX.min(self.shape.w - x0));
        let lines = lines.map(blocks_mut);
        let bias = blocks(self.args.bias);
        let (m, bias) = (&m[i * nb..], &bias[..nb]);
        let (lo, hi) = self.args.act.clamp().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (lo, hi) = (s.splat(lo), s.splat(hi));
        for b in 0..nb {
            for j in 0..S::PARTS {
                let mut rows = [[s.splat(0.0); MX]; AY];
                for y in 0..AY {
                    rows[y] = X::output(s, core::array::from_fn(|x| s.load(&m[(y * AX + x) * apart + b], j)));
                }
                let bias = s.load(&bias[b], j);
                let columns: [[S::V; MY]; MX] = core::array::from_fn(|x| Y::output(s, core::array::from_fn(|y| rows[y][x])));
                for (x, column) in columns.iter().enumerate().take(width) {
                    for (y, &v) in column.iter().enumerate() {
                        if y < height {
                            let mut v = s.add(v, bias);
                            if let Some((r, r_pixel)) = self.residual {
                                let pixel = (y0 + y) * self.shape.w + x0 + x;
                                v = s.add(v, s.load(&blocks(&r[pixel * r_pixel..])[b], j));
                            }
                            s.store(s.min(hi, s.max(lo, v)), &mut lines[y][x * step + b], j);
                        }
                    }
                }
            }
        }
        if self.args.act.clamp().is_none() {
            for x in lines.into_iter().take(height) {
                // A function of its own for all tiles: activations are large.
                s.vectorize(InPlace { act: self.args.act, x, pixels: width, nb, pb: step });
            }
        }
    }
}
