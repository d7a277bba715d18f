//! Depthwise convolution.

use super::element::{each, get, set, tap};
use crate::ops::activation;
use crate::ops::conv::Window;
use crate::simd::{Scalar, Simd};
use crate::{Act, View, ViewMut};

/// [`crate::ops::depthwise::depthwise`] with logical weights `[kh][kw][C]` and bias `[C]`.
pub fn depthwise(window: Window, weights: &[f32], bias: &[f32], pre_relu: bool, act: Act, input: View, mut out: ViewMut) {
    let Window { kernel, stride, dilation, pad } = window;
    let channels = out.shape.c;
    each(out.shape, |[n, y, x, c]| {
        let mut sum = bias[c];
        for ky in 0..kernel[0] {
            for kx in 0..kernel[1] {
                let iy = tap(y, stride[0], ky, dilation[0], pad[0], input.shape.h);
                let ix = tap(x, stride[1], kx, dilation[1], pad[1], input.shape.w);
                if let (Some(iy), Some(ix)) = (iy, ix) {
                    let v = get(&input, [n, iy, ix, c]);
                    let v = if pre_relu && v < 0.0 { 0.0 } else { v };
                    sum = Scalar.fma(v, weights[(ky * kernel[1] + kx) * channels + c], sum);
                }
            }
        }
        set(&mut out, [n, y, x, c], activation::scalar(act, sum));
    });
}
