//! `x * scale[c] + shift[c]`: a batch normalisation that could not be folded.

use super::activation::{act_row, blocks, blocks_mut, grain};
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Act, Isa, View, ViewMut};
use sepal_format::layout::BLOCK;

/// `out = act(fma(x, scale[c], shift[c]))`; `scale` and `shift` are padded to blocks.
pub fn scale_shift(isa: Isa, par: &dyn Parallel, scale: &[f32], shift: &[f32], act: Act, input: View, out: ViewMut) {
    assert_eq!(input.shape, out.shape, "scale_shift: shapes differ");
    from(isa, par, scale, shift, act, Some(input), out);
}

/// The same in place.
pub fn scale_shift_in_place(isa: Isa, par: &dyn Parallel, scale: &[f32], shift: &[f32], act: Act, x: ViewMut) {
    from(isa, par, scale, shift, act, None, x);
}

fn from(isa: Isa, par: &dyn Parallel, scale: &[f32], shift: &[f32], act: Act, source: Option<View>, x: ViewMut) {
    let (nb, pb) = (x.shape.c.div_ceil(BLOCK), x.pixel / BLOCK);
    let (scale, shift) = (&blocks(scale)[..nb], &blocks(shift)[..nb]);
    par::split(par, x.data, x.shape.pixels(), x.pixel, grain(x.pixel), &mut [], 0, &|units, part, _| {
        let source = source.map(|v| (&blocks(v.data)[units.start * (v.pixel / BLOCK)..], v.pixel / BLOCK));
        isa.run(ScaleShift { scale, shift, act, source, x: blocks_mut(part), pixels: units.len(), pb });
    });
}

struct ScaleShift<'a> {
    scale: &'a [Block],
    shift: &'a [Block],
    act: Act,
    /// Copied to `x` first, pixel by pixel, so many blocks apart.
    source: Option<(&'a [Block], usize)>,
    x: &'a mut [Block],
    pixels: usize,
    pb: usize,
}

impl Kernel for ScaleShift<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let nb = self.scale.len();
        for i in 0..self.pixels {
            let x = &mut self.x[i * self.pb..][..nb];
            if let Some((source, step)) = self.source {
                x.copy_from_slice(&source[i * step..][..nb]);
            }
            for ((x, a), b) in x.iter_mut().zip(self.scale).zip(self.shift) {
                for j in 0..S::PARTS {
                    let y = s.fma(s.load(x, j), s.load(a, j), s.load(b, j));
                    s.store(y, x, j);
                }
            }
            act_row(s, self.act, x);
        }
    }
}
