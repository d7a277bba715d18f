//! Softmax over the channels of each pixel.

use super::element::{each, get, set};
use crate::ops::activation::scalar;
use crate::ops::softmax::ln;
use crate::{Act, Shape, View, ViewMut};

/// [`crate::ops::softmax::softmax`].
pub fn softmax(log: bool, input: View, mut out: ViewMut) {
    let channels = out.shape.c;
    each(Shape { c: 1, ..out.shape }, |[n, y, x, _]| {
        let value = |c: usize| get(&input, [n, y, x, c]);
        let max = (0..channels).map(value).fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m });
        let mut lanes = [0.0f32; 16];
        for c in 0..channels {
            lanes[c % 16] += scalar(Act::Exp, value(c) - max);
        }
        let sum = lanes.iter().fold(0.0, |sum, lane| sum + lane);
        for c in 0..channels {
            let shifted = value(c) - max;
            let v = if log { shifted - ln(sum) } else { scalar(Act::Exp, shifted) / sum };
            set(&mut out, [n, y, x, c], v);
        }
    });
}
