//! Convolution.

use super::element::{each, get, set, tap};
use crate::ops::activation;
use crate::ops::conv::Window;
use crate::simd::{Scalar, Simd};
use crate::{Act, View, ViewMut};

/// [`crate::ops::conv::conv`] with logical weights `[kh][kw][C/g][N]` (output channels of group 0 first) and bias `[N]`.
pub fn conv(
    window: Window,
    groups: usize,
    weights: &[f32],
    bias: &[f32],
    act: Act,
    input: View,
    residual: Option<View>,
    mut out: ViewMut,
) {
    let Window { kernel, stride, dilation, pad } = window;
    let (channels, inputs) = (out.shape.c, input.shape.c / groups);
    each(out.shape, |[n, y, x, c]| {
        let group = c / (channels / groups);
        let mut sum = bias[c];
        for ky in 0..kernel[0] {
            for kx in 0..kernel[1] {
                let iy = tap(y, stride[0], ky, dilation[0], pad[0], input.shape.h);
                let ix = tap(x, stride[1], kx, dilation[1], pad[1], input.shape.w);
                for ci in 0..inputs {
                    let v = match (iy, ix) {
                        (Some(iy), Some(ix)) => get(&input, [n, iy, ix, group * inputs + ci]),
                        _ => 0.0,
                    };
                    sum = Scalar.fma(v, weights[((ky * kernel[1] + kx) * inputs + ci) * channels + c], sum);
                }
            }
        }
        if let Some(residual) = &residual {
            sum += get(residual, [n, y, x, c]);
        }
        set(&mut out, [n, y, x, c], activation::scalar(act, sum));
    });
}
