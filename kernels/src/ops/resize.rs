//! Enlarging and reducing of images.
//!
//! ```text
//! for each output pixel (y, x):
//!     (y0, y1, dy) = between(y);  (x0, x1, dx) = between(x)
//!     top = lerp(in[y0, x0], in[y0, x1], dx);  bottom = lerp(in[y1, x0], in[y1, x1], dx);  out = lerp(top, bottom, dy)
//! ```
//!
//! A place is computed in f32, each operation rounded, so that every host and the converter choose the same pixels.

use super::activation::{blocks, blocks_mut, grain};
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::BLOCK;

/// How a value is made of the pixels around its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeKind {
    /// The pixel there: the one that the place lies in, or for [`Places::Corners`], whose pixels are points, the nearest.
    Nearest,
    /// Linear between the two around it, down and across.
    Bilinear,
}

/// Where output `i` of `m` lies among `n` pixels. Places before the first pixel are taken for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// `i * n / m`: left edges meet.
    Edges,
    /// `(i + 1/2) * n / m - 1/2`: pixels are areas. A nearest pixel is the one in which their middle lies.
    Middles,
    /// `i * (n - 1) / (m - 1)`: first meets first and last meets last.
    Corners,
}

impl Places {
    fn scale(self, n: usize, m: usize) -> f32 {
        if self == Places::Corners && m > 1 { (n - 1) as f32 / (m - 1) as f32 } else { n as f32 / m as f32 }
    }

    /// The pixel for [`ResizeKind::Nearest`].
    pub fn nearest(self, i: usize, n: usize, m: usize) -> usize {
        let middle = if self == Places::Middles { 0.5 } else { 0.0 };
        let at = (i as f32 + middle) * self.scale(n, m);
        let below = at as usize;
        let up = self == Places::Corners && at - below as f32 >= 0.5;
        (below + usize::from(up)).min(n - 1)
    }

    /// The two pixels for [`ResizeKind::Bilinear`], and how far the place is on the way from the first to the second.
    pub fn between(self, i: usize, n: usize, m: usize) -> (usize, usize, f32) {
        let scale = self.scale(n, m);
        let at = if self == Places::Middles { (i as f32 + 0.5) * scale - 0.5 } else { i as f32 * scale };
        let at = at.max(0.0);
        let first = (at as usize).min(n - 1);
        let share = at - first as f32;
        // On a pixel the next one does not matter, whatever it holds.
        if share > 0.0 && first + 1 < n { (first, first + 1, share) } else { (first, first, 0.0) }
    }
}

/// Runs a resizing step.
pub fn resize(isa: Isa, par: &dyn Parallel, kind: ResizeKind, places: Places, input: View, out: ViewMut) {
    assert!(input.shape.n == out.shape.n && input.shape.c == out.shape.c, "resize: shapes do not match");
    assert!(input.shape.h > 0 && input.shape.w > 0, "resize: no pixels");
    let (shape, pixel) = (out.shape, out.pixel);
    let row = shape.w * pixel;
    par::split(par, out.data, shape.n * shape.h, row, grain(row), &mut [], 0, &|rows, part, _| {
        let (out, step) = (blocks_mut(part), pixel / BLOCK);
        isa.run(Rows { kind, places, input, shape, rows, out, step, nb: shape.c.div_ceil(BLOCK) });
    });
}

struct Rows<'a> {
    kind: ResizeKind,
    places: Places,
    input: View<'a>,
    /// Of the whole output.
    shape: Shape,
    rows: Range<usize>,
    out: &'a mut [Block],
    /// Blocks between pixels of the output.
    step: usize,
    /// Blocks of a pixel.
    nb: usize,
}

/// `a` at share 0, `b` at 1.
#[inline(always)]
pub(crate) fn lerp<S: Simd>(s: S, a: S::V, b: S::V, share: S::V) -> S::V {
    s.fma(share, s.sub(b, a), a)
}

impl Kernel for Rows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { kind, places, input, shape, rows, out, step, nb } = self;
        let (size, in_step, data) = (input.shape, input.pixel / BLOCK, blocks(input.data));
        for (i, row) in rows.enumerate() {
            let (image, y) = (row / shape.h, row % shape.h);
            let pixel = |y: usize, x: usize| &data[((image * size.h + y) * size.w + x) * in_step..][..nb];
            let (y0, y1, dy) = places.between(y, size.h, shape.h);
            let dy = s.splat(dy);
            for x in 0..shape.w {
                let out = &mut out[(i * shape.w + x) * step..][..nb];
                if kind == ResizeKind::Nearest {
                    out.copy_from_slice(pixel(places.nearest(y, size.h, shape.h), places.nearest(x, size.w, shape.w)));
                    continue;
                }
                let (x0, x1, dx) = places.between(x, size.w, shape.w);
                let dx = s.splat(dx);
                let (a, b, c, d) = (pixel(y0, x0), pixel(y0, x1), pixel(y1, x0), pixel(y1, x1));
                for cb in 0..nb {
                    for j in 0..S::PARTS {
                        let top = lerp(s, s.load(&a[cb], j), s.load(&b[cb], j), dx);
                        let bottom = lerp(s, s.load(&c[cb], j), s.load(&d[cb], j), dx);
                        s.store(lerp(s, top, bottom, dy), &mut out[cb], j);
                    }
                }
            }
        }
    }
}
