//! Single elements of views.

use crate::{View, ViewMut};

fn index(shape: crate::Shape, pixel: usize, [n, y, x, c]: [usize; 4]) -> usize {
    ((n * shape.h + y) * shape.w + x) * pixel + c
}

/// An element.
pub(super) fn get(view: &View, at: [usize; 4]) -> f32 {
    view.data[index(view.shape, view.pixel, at)]
}

/// Writes an element.
pub(super) fn set(view: &mut ViewMut, at: [usize; 4], value: f32) {
    view.data[index(view.shape, view.pixel, at)] = value;
}

/// Calls `f` with the index of every element of a shape, channels fastest.
pub(super) fn each(shape: crate::Shape, mut f: impl FnMut([usize; 4])) {
    for n in 0..shape.n {
        for y in 0..shape.h {
            for x in 0..shape.w {
                for c in 0..shape.c {
                    f([n, y, x, c]);
                }
            }
        }
    }
}

/// Where a tap of a window falls, if inside `len`: output `out`, stride, tap, dilation, padding in front.
pub(super) fn tap(out: usize, stride: usize, k: usize, dilation: usize, pad: usize, len: usize) -> Option<usize> {
    (out * stride + k * dilation).checked_sub(pad).filter(|&i| i < len)
}
