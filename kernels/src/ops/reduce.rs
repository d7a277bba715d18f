//! Reductions over all pixels of an image.
//!
//! Each channel is reduced in the order of pixels, eight blocks of channels side by side to hide the latency of the additions;
//! threads share channel blocks, so that no sum is split.

use super::activation::{blocks, blocks_mut};
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Isa, Shape, View, ViewMut};
use core::ops::Range;
use sepal_format::layout::BLOCK;

/// What is taken over the pixels of an image, in row order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceKind {
    /// The sum times the correctly rounded `1 / (h * w)`.
    Mean,
    /// The sum.
    Sum,
    /// The largest value; NaN is skipped.
    Max,
}

/// Floats of input below which a part is not worth a thread.
const GRAIN: usize = 16384;

/// `out[n, 0, 0, c] = reduce over y, x of input[n, y, x, c]`.
pub fn reduce_hw(isa: Isa, par: &dyn Parallel, kind: ReduceKind, input: View, out: ViewMut) {
    let (i, o) = (input.shape, out.shape);
    assert_eq!(o, Shape::new(i.n, 1, 1, i.c), "reduce: shapes do not match");
    if o.n == 0 {
        return;
    }
    let (nb, step) = (o.c.div_ceil(BLOCK), out.pixel / BLOCK);
    // In units of blocks, gaps between the images included.
    let units = (o.n - 1) * step + nb;
    let grain = (GRAIN / (i.h * i.w * BLOCK).max(1)).max(1);
    par::split(par, out.data, units, BLOCK, grain, &mut [], 0, &|units, part, _| {
        let out = blocks_mut(part);
        let mut at = units.start;
        while at < units.end {
            let (image, first) = (at / step, at % step);
            let end = ((image + 1) * step).min(units.end);
            let channels = first.min(nb)..(end - image * step).min(nb);
            let start = at - units.start;
            if !channels.is_empty() {
                isa.run(Reduce { kind, input, image, out: &mut out[start..][..channels.len()], channels });
            }
            at = end;
        }
    });
}

struct Reduce<'a> {
    kind: ReduceKind,
    input: View<'a>,
    image: usize,
    /// Channel blocks, as many as `out` holds.
    channels: Range<usize>,
    out: &'a mut [Block],
}

impl Kernel for Reduce<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let pixels = self.input.shape.h * self.input.shape.w;
        let step = self.input.pixel / BLOCK;
        let data = &blocks(self.input.data)[self.image * pixels * step..];
        let (wide, narrow) = self.out.as_chunks_mut::<WIDE>();
        let mut at = self.channels.start;
        for out in wide {
            self.kind.blocks(s, pixels, step, &data[at..], out);
            at += WIDE;
        }
        for out in narrow {
            self.kind.blocks(s, pixels, step, &data[at..], core::array::from_mut(out));
            at += 1;
        }
    }
}

/// Blocks side by side.
const WIDE: usize = 8;

impl ReduceKind {
    /// `N` neighbouring blocks of `pixels` pixels that lie `step` blocks apart.
    #[inline(always)]
    fn blocks<S: Simd, const N: usize>(self, s: S, pixels: usize, step: usize, data: &[Block], out: &mut [Block; N]) {
        let scale = s.splat(1.0 / pixels as f32);
        for j in 0..S::PARTS {
            let mut acc = [s.splat(if self == ReduceKind::Max { f32::NEG_INFINITY } else { 0.0 }); N];
            if self == ReduceKind::Max {
                for p in 0..pixels {
                    let pixel = &data[p * step..][..N];
                    for i in 0..N {
                        acc[i] = s.max(s.load(&pixel[i], j), acc[i]);
                    }
                }
            } else {
                for p in 0..pixels {
                    let pixel = &data[p * step..][..N];
                    for i in 0..N {
                        acc[i] = s.add(acc[i], s.load(&pixel[i], j));
                    }
                }
            }
            for i in 0..N {
                s.store(if self == ReduceKind::Mean { s.mul(acc[i], scale) } else { acc[i] }, &mut out[i], j);
            }
        }
    }
}
