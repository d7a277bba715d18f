//! Products of two computed matrices, one for each image.
//!
//! ```text
//! for each row m and block of columns:  for k in order:  sum += a[m][k] * b[k]
//! ```
//!
//! Rows of `b` are pixels, so a block of its columns is contiguous as it lies. Some rows of `a` share each load of `b`; no sum is
//! split, so every instruction set and number of threads gives the same bits.

use super::activation::{blocks, blocks_mut, grain};
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::BLOCK;

/// Rows of `a` side by side.
const ROWS: usize = 4;

/// `out[n, 0, m, c] = sum over k of a[n, 0, m, k] * b[n, 0, k, c]`.
pub fn matmul(isa: Isa, par: &dyn Parallel, a: View, b: View, out: ViewMut) {
    let (x, y, z) = (a.shape, b.shape, out.shape);
    assert!(x == Shape::new(z.n, 1, z.w, x.c) && y == Shape::new(z.n, 1, x.c, z.c) && z.h == 1, "matmul: shapes do not match");
    let grain = (grain(out.pixel) / x.c.max(1)).max(1);
    par::split(par, out.data, z.n * z.w, out.pixel, grain, &mut [], 0, &|rows, part, _| {
        isa.run(Rows { a, b, rows, out: blocks_mut(part), step: out.pixel / BLOCK });
    });
}

struct Rows<'a> {
    a: View<'a>,
    b: View<'a>,
    /// Counted through all images; `out` begins with the first.
    rows: Range<usize>,
    out: &'a mut [Block],
    /// Blocks between rows of the output.
    step: usize,
}

impl Kernel for Rows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let height = self.a.shape.w;
        let (mut at, first) = (self.rows.start, self.rows.start);
        while at < self.rows.end {
            let image = at / height;
            let end = ((image + 1) * height).min(self.rows.end);
            while at + ROWS <= end {
                self.some::<S, ROWS>(s, image, at, at - first);
                at += ROWS;
            }
            while at < end {
                self.some::<S, 1>(s, image, at, at - first);
                at += 1;
            }
        }
    }
}

impl Rows<'_> {
    /// `N` rows of one image, to row `to` of the output.
    #[inline(always)]
    fn some<S: Simd, const N: usize>(&mut self, s: S, image: usize, at: usize, to: usize) {
        let (k, nb, b_step) = (self.a.shape.c, self.b.shape.c.div_ceil(BLOCK), self.b.pixel / BLOCK);
        let a: [&[f32]; N] = core::array::from_fn(|i| &self.a.data[(at + i) * self.a.pixel..][..k]);
        let b = &blocks(self.b.data)[image * k * b_step..];
        for block in 0..nb {
            for j in 0..S::PARTS {
                let mut sums = [s.splat(0.0); N];
                for k in 0..k {
                    let w = s.load(&b[k * b_step + block], j);
                    for i in 0..N {
                        sums[i] = s.fma(s.splat(a[i][k]), w, sums[i]);
                    }
                }
                for (i, sum) in sums.into_iter().enumerate() {
                    s.store(sum, &mut self.out[(to + i) * self.step + block], j);
                }
            }
        }
    }
}
