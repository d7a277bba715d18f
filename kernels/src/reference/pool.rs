//! Maximum and average over windows.

use super::element::{each, get, set, tap};
use crate::ops::conv::Window;
use crate::ops::pool::PoolKind;
use crate::{View, ViewMut};

/// [`crate::ops::pool::pool`].
pub fn pool(kind: PoolKind, window: Window, input: View, residual: Option<View>, mut out: ViewMut) {
    let Window { kernel, stride, dilation, pad } = window;
    let size = [input.shape.h, input.shape.w];
    each(out.shape, |[n, y, x, c]| {
        let mut result = if kind == PoolKind::Max { f32::NEG_INFINITY } else { 0.0 };
        let mut count = 0;
        for ky in 0..kernel[0] {
            for kx in 0..kernel[1] {
                let iy = tap(y, stride[0], ky, dilation[0], pad[0], size[0]);
                let ix = tap(x, stride[1], kx, dilation[1], pad[1], size[1]);
                if let (Some(iy), Some(ix)) = (iy, ix) {
                    let v = get(&input, [n, iy, ix, c]);
                    result = if kind != PoolKind::Max {
                        result + v
                    } else if v > result {
                        v
                    } else {
                        result
                    };
                }
                count += match kind {
                    PoolKind::AverageWithPad { pad_end } => {
                        let within = |d: usize, o: usize, k: usize| o * stride[d] + k * dilation[d] < pad[d] + size[d] + pad_end[d];
                        (within(0, y, ky) && within(1, x, kx)) as usize
                    }
                    _ => (iy.is_some() && ix.is_some()) as usize,
                };
            }
        }
        if kind != PoolKind::Max && count > 0 {
            result *= 1.0 / count as f32;
        }
        if let Some(residual) = &residual {
            result += get(residual, [n, y, x, c]);
        }
        set(&mut out, [n, y, x, c], result);
    });
}
