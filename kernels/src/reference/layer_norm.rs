//! Normalisation of the channels of each pixel.

use super::element::{each, get, set};
use super::reduce::lanes;
use crate::ops::layer_norm::{LayerNorm, factor};
use crate::simd::{Scalar, Simd};
use crate::{Shape, View, ViewMut};

/// [`crate::ops::layer_norm::layer_norm`].
pub fn layer_norm(args: &LayerNorm, input: View, mut out: ViewMut) {
    let channels = out.shape.c;
    each(Shape { c: 1, ..out.shape }, |[n, y, x, _]| {
        let value = |c: usize| get(&input, [n, y, x, c]);
        let sum =
            |add: &dyn Fn(f32, usize) -> f32| lanes(0.0, channels, add, |a, run| a + run).iter().fold(0.0, |sum, lane| sum + lane);
        let mean = sum(&|acc, c| acc + value(c)) * (1.0 / channels as f32);
        let off = |c: usize| if args.centred { value(c) - mean } else { value(c) };
        let factor = factor(sum(&|acc, c| Scalar.fma(off(c), off(c), acc)), channels, args.epsilon);
        for c in 0..channels {
            set(&mut out, [n, y, x, c], Scalar.fma(off(c) * factor, args.scale[c], args.shift[c]));
        }
    });
}
