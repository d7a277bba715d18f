//! Normalisation of the channels of each pixel.

use super::element::{each, get, set};
use crate::ops::layer_norm::{LayerNorm, factor};
use crate::simd::{Scalar, Simd};
use crate::{Shape, View, ViewMut};

/// [`crate::ops::layer_norm::layer_norm`].
pub fn layer_norm(args: &LayerNorm, input: View, mut out: ViewMut) {
    let channels = out.shape.c;
    each(Shape { c: 1, ..out.shape }, |[n, y, x, _]| {
        let value = |c: usize| get(&input, [n, y, x, c]);
        let mut lanes = [0.0f32; 16];
        (0..channels).for_each(|c| lanes[c % 16] += value(c));
        let mean = lanes.iter().fold(0.0, |sum, lane| sum + lane) * (1.0 / channels as f32);
        let off = |c: usize| if args.centred { value(c) - mean } else { value(c) };
        let mut lanes = [0.0f32; 16];
        (0..channels).for_each(|c| lanes[c % 16] = Scalar.fma(off(c), off(c), lanes[c % 16]));
        let factor = factor(lanes.iter().fold(0.0, |sum, lane| sum + lane), channels, args.epsilon);
        for c in 0..channels {
            set(&mut out, [n, y, x, c], Scalar.fma(off(c) * factor, args.scale[c], args.shift[c]));
        }
    });
}
