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

/// What `add` makes of each run of blocks of channels and `join` of the runs, for each of sixteen lanes.
pub(super) fn lanes(start: f32, channels: usize, add: impl Fn(f32, usize) -> f32, join: impl Fn(f32, f32) -> f32) -> [f32; 16] {
    let mut all = [start; 16];
    for run in (0..channels).step_by(16 * RUN) {
        let mut lanes = [start; 16];
        (run..channels.min(run + 16 * RUN)).for_each(|c| lanes[c % 16] = add(lanes[c % 16], c));
        (0..16).for_each(|i| all[i] = join(all[i], lanes[i]));
    }
    all
}

/// [`crate::ops::reduce::reduce_channels`].
pub fn reduce_channels(kind: ReduceKind, input: View, mut out: ViewMut) {
    each(out.shape, |[n, y, x, _]| {
        let lanes =
            lanes(kind.start(), input.shape.c, |acc, c| add(kind, acc, get(&input, [n, y, x, c])), |a, run| add(kind, a, run));
        let acc = lanes.iter().fold(kind.start(), |acc, &lane| add(kind, acc, lane));
        set(&mut out, [n, y, x, 0], finish(kind, acc, input.shape.c));
    });
}
