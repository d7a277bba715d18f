//! Reductions over all pixels of an image, or over the channels of each pixel.

use super::element::{each, get, set};
use crate::ops::reduce::{RUN, ReduceKind};
use crate::{View, ViewMut};

fn add(kind: ReduceKind, acc: f32, v: f32) -> f32 {
    match kind {
        ReduceKind::Mean | ReduceKind::Sum => acc + v,
        ReduceKind::Max if v > acc => v,
        ReduceKind::Min if v < acc => v,
        ReduceKind::Max | ReduceKind::Min => acc,
        ReduceKind::Product => acc * v,
    }
}

fn finish(kind: ReduceKind, acc: f32, count: usize) -> f32 {
    if kind == ReduceKind::Mean { acc * (1.0 / count as f32) } else { acc }
}

/// [`crate::ops::reduce::reduce_hw`].
pub fn reduce_hw(kind: ReduceKind, input: View, mut out: ViewMut) {
    each(out.shape, |[n, _, _, c]| {
        let (pixels, w) = (input.shape.h * input.shape.w, input.shape.w);
        let run = |from: usize| {
            let run = from..pixels.min(from + RUN);
            run.fold(kind.start(), |acc, p| add(kind, acc, get(&input, [n, p / w, p % w, c])))
        };
        let acc = (0..pixels).step_by(RUN).map(run).reduce(|acc, run| add(kind, acc, run)).unwrap_or(kind.start());
        set(&mut out, [n, 0, 0, c], finish(kind, acc, input.shape.h * input.shape.w));
    });
}

/// [`crate::ops::reduce::reduce_channels`].
pub fn reduce_channels(kind: ReduceKind, input: View, mut out: ViewMut) {
    each(out.shape, |[n, y, x, _]| {
        let mut lanes = [kind.start(); 16];
        for c in 0..input.shape.c {
            lanes[c % 16] = add(kind, lanes[c % 16], get(&input, [n, y, x, c]));
        }
        let acc = lanes.iter().fold(kind.start(), |acc, &lane| add(kind, acc, lane));
        set(&mut out, [n, y, x, 0], finish(kind, acc, input.shape.c));
    });
}
