//! Depthwise convolution, one filter per channel.
//!
//! ```text
//! for each chunk of channel blocks, for each strip of COLS output columns, for each output row:
//!     for each channel block of the chunk:
//!         acc[COLS] = bias
//!         for ky, for each input column ix that the strip touches:
//!             v = in[ky][ix]                                          one load
//!             for kx with ix = o * stride + kx:  acc[o] += v * w[ky][kx]     up to kernel width uses
//!         out[x .. x + COLS] = clamp(acc)
//! ```
//!
//! 1. Channels are the inner loop: the columns of a strip are so many contiguous streams.
//! 2. An accumulator meets its taps in the order ky, kx whatever the strip, so strips may have any width.
//! 3. A chunk is so small that the input rows of a strip stay in the L1 cache until the last window that covers them, and
//!    the pixel slices of a row are cut once and handed from window row to window row.
//! 4. Rows outside the input are skipped; columns outside are empty slices, and the test for their end, which only the edge
//!    variant keeps, is what skips them.
//! 5. 3x3 and 5x5 windows of stride 1 and 2 are unrolled; anything else takes its taps in a loop, four columns at a time.
//! 6. Activations that are not a clamp run over each piece of a row just after it is written.

use super::activation::{InPlace, blocks, blocks_mut, clamp, grain};
use super::conv::Window;
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Act, Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::BLOCK;

/// A depthwise convolution: `out[n, y, x, c] = act(bias[c] + sum over ky, kx of pre(in[n, .., .., c]) * w[ky, kx, c])`, summed
/// in that order by FMA, taps outside the input skipped.
#[derive(Clone, Copy, Debug)]
pub struct Depthwise<'a> {
    /// The window.
    pub window: Window,
    /// `[C/16][kh * kw][16]`: see [`crate::pack::depthwise`].
    pub weights: &'a [f32],
    /// Bias padded to blocks: `[C/16][16]`.
    pub bias: &'a [f32],
    /// Clamp the input to at least 0 on the way in (a ReLU before the convolution).
    pub pre_relu: bool,
    /// Applied last.
    pub act: Act,
}

impl Depthwise<'_> {
    /// The feature beyond `depthwise` that holds the code of a window, if it has code of its own there.
    pub fn feature(window: &Window, pre_relu: bool) -> Option<&'static str> {
        match (window.kernel, window.stride, window.dilation, pre_relu) {
            ([3, 3], [1, 1], [1, 1], true) => Some("depthwise-relu"),
            ([3, 3], [2, 2], [1, 1], false) => Some("depthwise-stride2"),
            ([5, 5], [1, 1] | [2, 2], [1, 1], false) => Some("depthwise-5x5"),
            _ => None,
        }
    }
}

/// Runs a depthwise convolution.
pub fn depthwise(isa: Isa, par: &dyn Parallel, args: &Depthwise, input: View, out: ViewMut) {
    assert!(input.shape.n == out.shape.n && input.shape.c == out.shape.c, "depthwise: shapes do not match");
    let (shape, pixel) = (out.shape, out.pixel);
    let row = shape.w * pixel;
    par::split(par, out.data, shape.n * shape.h, row, grain(row), &mut [], 0, &|rows, part, _| {
        depthwise_rows(isa, args, &input, shape, rows, part, pixel);
    });
}

/// Rows `rows` (counted through all images) of a depthwise convolution whose whole output has `out_shape`. `out` starts with
/// the first of them.
pub(crate) fn depthwise_rows(
    isa: Isa,
    args: &Depthwise,
    input: &View,
    out_shape: Shape,
    rows: Range<usize>,
    out: &mut [f32],
    out_pixel: usize,
) {
    if out_shape.w == 0 || input.shape.w == 0 || out_shape.c == 0 {
        return;
    }
    isa.run(Rows {
        args,
        input: blocks(input.data),
        in_shape: input.shape,
        in_step: input.pixel / BLOCK,
        out_shape,
        rows,
        out: blocks_mut(out),
        out_step: out_pixel / BLOCK,
        nb: out_shape.c.div_ceil(BLOCK),
    });
}

struct Rows<'a> {
    args: &'a Depthwise<'a>,
    input: &'a [Block],
    in_shape: Shape,
    /// Blocks between neighbouring pixels.
    in_step: usize,
    out_shape: Shape,
    rows: Range<usize>,
    out: &'a mut [Block],
    out_step: usize,
    /// Blocks of a pixel.
    nb: usize,
}

impl Kernel for Rows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Window { kernel, stride, dilation, .. } = self.args.window;
        let unrolled = dilation == [1, 1] && S::LANES > 1;
        // What is behind these is what `Depthwise::feature` tells.
        let five = unrolled && cfg!(feature = "depthwise-5x5");
        let relu = unrolled && cfg!(feature = "depthwise-relu");
        let stride2 = unrolled && cfg!(feature = "depthwise-stride2");
        match (kernel, stride, self.args.pre_relu) {
            ([3, 3], [1, 1], false) if unrolled => s.vectorize(Sweep::<3, 1, false>(self)),
            ([3, 3], [1, 1], true) if relu => s.vectorize(Sweep::<3, 1, true>(self)),
            ([3, 3], [2, 2], false) if stride2 => s.vectorize(Sweep::<3, 2, false>(self)),
            ([5, 5], [1, 1], false) if five => s.vectorize(Sweep::<5, 1, false>(self)),
            ([5, 5], [2, 2], false) if five => s.vectorize(Sweep::<5, 2, false>(self)),
            _ => s.vectorize(AnyWindow(self)),
        }
    }
}

impl Rows<'_> {
    /// The bounds of a clamping activation, or none.
    #[inline(always)]
    fn bounds<S: Simd>(&self, s: S) -> (S::V, S::V) {
        let (lo, hi) = self.args.act.clamp().unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        (s.splat(lo), s.splat(hi))
    }

    /// Activations that are not a clamp, on an output row.
    #[inline(always)]
    fn finish_row<S: Simd>(&mut self, s: S, row: usize) {
        if self.args.act.clamp().is_none() {
            let x = &mut self.out[row * self.out_shape.w * self.out_step..];
            s.vectorize(InPlace { act: self.args.act, x, pixels: self.out_shape.w, nb: self.nb, pb: self.out_step });
        }
    }

    /// The first input row of output row `row`, if inside an image of `in_shape`, else how far outside: (image, row).
    #[inline(always)]
    fn origin(&self, row: usize) -> (usize, isize) {
        let (image, y) = (row / self.out_shape.h, row % self.out_shape.h);
        (image * self.in_shape.h, (y * self.args.window.stride[0]) as isize - self.args.window.pad[0] as isize)
    }
}

/// A square window without dilation, unrolled.
struct Sweep<'a, const K: usize, const STRIDE: usize, const PRE: bool>(Rows<'a>);

/// Room for the input columns of the widest tile: 7 columns of 5x5, stride 1, or 4 of stride 2.
const COLUMNS: usize = 11;

/// Input rows under a window times channel blocks of a chunk: with 9 columns or so, half of a 32 KB cache.
const CHUNK_ROWS: usize = 36;

impl<const K: usize, const STRIDE: usize, const PRE: bool> Kernel for Sweep<'_, K, STRIDE, PRE> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (w, nb) = (self.0.out_shape.w, self.0.nb);
        let chunk = nb.div_ceil(nb.div_ceil(CHUNK_ROWS / K));
        for c0 in (0..nb).step_by(chunk) {
            let channels = c0..(c0 + chunk).min(nb);
            let mut x = 0;
            while x < w {
                // Widths chosen so that little is left for the narrow tiles, which load more than they compute.
                x += match w - x {
                    1 => self.tile::<S, 1>(s, x, &channels),
                    2 | 3 => self.tile::<S, 2>(s, x, &channels),
                    5 | 9 | 10 | 13 if K == 3 && STRIDE == 1 => self.tile::<S, 5>(s, x, &channels),
                    7 | 11.. if STRIDE == 1 => self.tile::<S, 7>(s, x, &channels),
                    _ => self.tile::<S, 4>(s, x, &channels),
                };
            }
        }
    }
}

impl<const K: usize, const STRIDE: usize, const PRE: bool> Sweep<'_, K, STRIDE, PRE> {
    /// `COLS` output columns from `x` on, of all rows. Returns `COLS`.
    #[inline(always)]
    fn tile<S: Simd, const COLS: usize>(&mut self, s: S, x: usize, channels: &Range<usize>) -> usize {
        let left = (x * STRIDE) as isize - self.0.args.window.pad[1] as isize;
        let inside = left >= 0 && left as usize + (COLS - 1) * STRIDE + K <= self.0.in_shape.w;
        let mut row = self.0.rows.start;
        while row < self.0.rows.end {
            let image_end = (row / self.0.out_shape.h + 1) * self.0.out_shape.h;
            let rows = row..image_end.min(self.0.rows.end);
            row = rows.end;
            if inside {
                self.columns::<S, COLS, false>(s, rows, x, left, channels);
            } else {
                self.columns::<S, COLS, true>(s, rows, x, left, channels);
            }
        }
        COLS
    }

    /// A strip `COLS` columns wide, through rows of one image.
    #[inline(always)]
    fn columns<S: Simd, const COLS: usize, const EDGE: bool>(
        &mut self,
        s: S,
        rows: Range<usize>,
        x: usize,
        left: isize,
        channels: &Range<usize>,
    ) {
        let touched = (COLS - 1) * STRIDE + K;
        let (c0, nb) = (channels.start, channels.len());
        let r = &mut self.0;
        let (lo, hi) = r.bounds(s);
        let clamps = matches!(r.args.act, Act::Clamp { .. });
        let bias = &blocks(r.args.bias)[c0..][..nb];
        let weights = &blocks(r.args.weights).as_chunks::<K>().0.as_chunks::<K>().0[c0..][..nb];
        // The pixels under the window of the current row. Without EDGE all slices are `nb` long, which removes the checks below;
        // a row outside gets any such slice.
        let mut input: [[&[Block]; COLUMNS]; K] = [[bias; COLUMNS]; K];
        let mut inside = [false; K];
        let (first, mut iy) = r.origin(rows.start);
        macro_rules! fetch {
            ($ky:expr) => {
                let y = iy + $ky as isize;
                inside[$ky] = y >= 0 && (y as usize) < r.in_shape.h;
                if inside[$ky] {
                    let line = (first + y as usize) * r.in_shape.w;
                    for ix in 0..touched {
                        let column = left + ix as isize;
                        input[$ky][ix] = if EDGE && (column as usize) >= r.in_shape.w {
                            &[]
                        } else {
                            &r.input[(line + column as usize) * r.in_step + c0..][..nb]
                        };
                    }
                }
            };
        }
        for ky in 0..K - STRIDE {
            fetch!(ky);
        }
        let start = (rows.start - r.rows.start) * r.out_shape.w + x;
        for i in 0..rows.len() {
            for ky in K - STRIDE..K {
                fetch!(ky);
            }
            iy += STRIDE as isize;
            let first_pixel = (start + i * r.out_shape.w) * r.out_step + c0;
            let mut pixels = r.out[first_pixel..].chunks_mut(r.out_step);
            let out: [&mut [Block]; COLS] = core::array::from_fn(|_| &mut pixels.next().unwrap_or_default()[..nb]);
            macro_rules! pixels {
                ($inside:expr) => {
                    for cb in 0..nb {
                        for j in 0..S::PARTS {
                            let mut acc = [s.load(&bias[cb], j); COLS];
                            macro_rules! line {
                                ($ky:expr) => {
                                    if $inside[$ky] {
                                        Self::line::<S, COLS, EDGE>(s, &mut acc, &weights[cb][$ky], &input[$ky], cb, j);
                                    }
                                };
                            }
                            line!(0);
                            line!(1);
                            line!(2);
                            if K > 3 {
                                line!(3);
                                line!(4);
                            }
                            if clamps {
                                for a in &mut acc {
                                    *a = clamp(s, *a, lo, hi);
                                }
                            }
                            for o in 0..COLS {
                                s.store(acc[o], &mut out[o][cb], j);
                            }
                        }
                    }
                };
            }
            // Where no branch joins them, sums stay in their registers: worth its code where a block is four vectors.
            if !EDGE && S::LANES == 4 && inside == [true; K] {
                pixels!([true; K]);
            } else {
                pixels!(inside);
            }
            for ky in 0..K - STRIDE {
                input[ky] = input[ky + STRIDE];
                inside[ky] = inside[ky + STRIDE];
            }
            if r.args.act.clamp().is_none() {
                s.vectorize(InPlace { act: r.args.act, x: &mut r.out[first_pixel..], pixels: COLS, nb, pb: r.out_step });
            }
        }
    }

    /// Adds row `line` of the input by a row of the window to the sums of `COLS` pixels: vector `j` of channel block `cb`.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "the indices are of several arrays at once")]
    fn line<S: Simd, const COLS: usize, const EDGE: bool>(
        s: S,
        acc: &mut [S::V; COLS],
        weights: &[Block; K],
        line: &[&[Block]; COLUMNS],
        cb: usize,
        j: usize,
    ) {
        let mut w = [s.splat(0.0); K];
        for kx in 0..K {
            w[kx] = s.load(&weights[kx], j);
        }
        for ix in 0..(COLS - 1) * STRIDE + K {
            let v = if EDGE {
                match line[ix].get(cb) {
                    Some(v) => v,
                    None => continue,
                }
            } else {
                &line[ix][cb]
            };
            let mut v = s.load(v, j);
            if PRE {
                v = s.max(s.splat(0.0), v);
            }
            for kx in 0..K {
                if ix >= kx && (ix - kx) % STRIDE == 0 && (ix - kx) / STRIDE < COLS {
                    let o = (ix - kx) / STRIDE;
                    acc[o] = s.fma(v, w[kx], acc[o]);
                }
            }
        }
    }
}

/// Any kernel, stride and dilation.
struct AnyWindow<'a>(Rows<'a>);

/// The taps of 0..kernel that fall inside 0..len when tap 0 lies at `first`.
pub(super) fn taps(first: isize, kernel: usize, dilation: usize, len: usize) -> Range<usize> {
    let (dilation, len) = (dilation as isize, len as isize);
    let lo = if first < 0 { (-first + dilation - 1) / dilation } else { 0 };
    let hi = if len > first { (len - first + dilation - 1) / dilation } else { 0 };
    let hi = (hi as usize).min(kernel);
    (lo as usize).min(hi)..hi
}

impl Kernel for AnyWindow<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Window { kernel, stride, dilation, pad } = self.0.args.window;
        let (w, in_w) = (self.0.out_shape.w, self.0.in_shape.w);
        for (i, row) in self.0.rows.clone().enumerate() {
            let (first, iy) = self.0.origin(row);
            let ky = taps(iy, kernel[0], dilation[0], self.0.in_shape.h);
            let mut x = 0;
            while x < w {
                let left = |x: usize| (x * stride[1]) as isize - pad[1] as isize;
                let kx = taps(left(x), kernel[1], dilation[1], in_w);
                let whole = |x| taps(left(x), kernel[1], dilation[1], in_w) == (0..kernel[1]);
                // The input pixel of tap (0, 0), where inside; wraps consistently where not.
                let origin = ((first as isize + iy) * in_w as isize + left(x)) as usize;
                let (ky, pixel) = (ky.clone(), i * w + x);
                if x + 4 <= w && whole(x) && whole(x + 3) {
                    self.columns::<S, 4>(s, origin, ky, kx, pixel);
                    x += 4;
                } else {
                    self.columns::<S, 1>(s, origin, ky, kx, pixel);
                    x += 1;
                }
            }
            self.0.finish_row(s, i);
        }
    }
}

impl AnyWindow<'_> {
    /// `COLS` outputs from `pixel` on, all with the taps `ky`, `kx`, of which tap (0, 0) of the first lies on input pixel `origin`.
    #[inline(always)]
    fn columns<S: Simd, const COLS: usize>(&mut self, s: S, origin: usize, ky: Range<usize>, kx: Range<usize>, pixel: usize) {
        let r = &mut self.0;
        let Window { kernel, stride, dilation, .. } = r.args.window;
        let (lo, hi) = r.bounds(s);
        let bias = blocks(r.args.bias);
        let floor = s.splat(if r.args.pre_relu { 0.0 } else { f32::NEG_INFINITY });
        let area = kernel[0] * kernel[1];
        let weights = blocks(r.args.weights);
        for cb in 0..r.nb {
            let weights = &weights[cb * area..][..area];
            for j in 0..S::PARTS {
                let mut acc = [s.load(&bias[cb], j); COLS];
                for ky in ky.clone() {
                    for kx in kx.clone() {
                        let w = s.load(&weights[ky * kernel[1] + kx], j);
                        let tap = origin.wrapping_add(ky * dilation[0] * r.in_shape.w + kx * dilation[1]);
                        for (o, a) in acc.iter_mut().enumerate() {
                            let v = s.load(&r.input[(tap + o * stride[1]) * r.in_step + cb], j);
                            *a = s.fma(s.max(floor, v), w, *a);
                        }
                    }
                }
                for (o, a) in acc.into_iter().enumerate() {
                    s.store(clamp(s, a, lo, hi), &mut r.out[(pixel + o) * r.out_step + cb], j);
                }
            }
        }
    }
}
