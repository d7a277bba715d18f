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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Image, Rng, Threads, assert_same, each_isa};
    use crate::reference;

    #[test]
    fn both_forms() {
        for (n, h, w, c) in [(1, 1, 1, 1), (4, 3, 5, 15), (1, 7, 9, 16), (2, 6, 6, 33)] {
            for act in [Act::None, Act::RELU, Act::Silu] {
                for gap in [0, 16] {
                    let x = Image::random(n, h, w, c, gap, 3);
                    let (mut scale, mut shift) = (Rng(4).values(c), Rng(5).values(c));
                    let mut want = Image::new(n, h, w, c, 0);
                    reference::scale_shift::scale_shift(&scale, &shift, act, x.view(), want.view_mut());
                    scale.resize(c.next_multiple_of(BLOCK), f32::NAN);
                    shift.resize(c.next_multiple_of(BLOCK), f32::NAN);
                    each_isa(|isa| {
                        for parts in [1, 2, 4] {
                            let mut got = Image::new(n, h, w, c, 16 - gap);
                            scale_shift(isa, &Threads(parts), &scale, &shift, act, x.view(), got.view_mut());
                            assert_same(&got, &want, (isa, parts, act));
                            got.assert_gaps_untouched();
                            let mut got = x.clone();
                            scale_shift_in_place(isa, &Threads(parts), &scale, &shift, act, got.view_mut());
                            assert_same(&got, &want, (isa, parts, act));
                            got.assert_gaps_untouched();
                        }
                    });
                }
            }
        }
    }
}
