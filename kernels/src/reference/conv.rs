//! Convolution.

use super::element::{each, get, set, tap};
use crate::ops::activation;
use crate::ops::conv::Window;
use crate::ops::gemm::CHUNK;
use crate::simd::{Scalar, Simd};
use crate::{Act, View, ViewMut};

/// [`crate::ops::conv::conv`] with logical weights `[kh][kw][C/g][N]` and bias `[N]`.
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
    let n = out.shape.c;
    let (c_per, n_per) = (input.shape.c / groups, n / groups);
    each(out.shape, |[image, y, x, o]| {
        // Chains of CHUNK terms, the first of which begins with the bias, added up in order.
        let (mut total, mut sum, mut k) = (None, bias[o], 0);
        for ky in 0..kernel[0] {
            for kx in 0..kernel[1] {
                let iy = tap(y, stride[0], ky, dilation[0], pad[0], input.shape.h);
                let ix = tap(x, stride[1], kx, dilation[1], pad[1], input.shape.w);
                for ci in 0..c_per {
                    let v = match (iy, ix) {
                        (Some(iy), Some(ix)) => get(&input, [image, iy, ix, o / n_per * c_per + ci]),
                        _ => 0.0,
                    };
                    if k > 0 && k % CHUNK == 0 {
                        total = Some(total.map_or(sum, |t: f32| t + sum));
                        sum = 0.0;
                    }
                    k += 1;
                    sum = Scalar.fma(v, weights[((ky * kernel[1] + kx) * c_per + ci) * n + o], sum);
                }
            }
        }
        if let Some(t) = total {
            sum += t;
        }
        if let Some(r) = &residual {
            sum += get(r, [image, y, x, o]);
        }
        set(&mut out, [image, y, x, o], activation::scalar(act, sum));
    });
}
