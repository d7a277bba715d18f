//! Reductions over all pixels of an image.

use super::element::{each, get, set};
use crate::ops::reduce::ReduceKind;
use crate::{View, ViewMut};

/// [`crate::ops::reduce::reduce_hw`].
pub fn reduce_hw(kind: ReduceKind, input: View, mut out: ViewMut) {
    each(out.shape, |[n, _, _, c]| {
        let mut acc = if kind == ReduceKind::Max { f32::NEG_INFINITY } else { 0.0 };
        for y in 0..input.shape.h {
            for x in 0..input.shape.w {
                let v = get(&input, [n, y, x, c]);
                acc = match kind {
                    ReduceKind::Mean | ReduceKind::Sum => acc + v,
                    ReduceKind::Max if v > acc => v,
                    ReduceKind::Max => acc,
                };
            }
        }
        if kind == ReduceKind::Mean {
            acc *= 1.0 / (input.shape.h * input.shape.w) as f32;
        }
        set(&mut out, [n, 0, 0, c], acc);
    });
}
