//! The weights of convolutions in the types that a file may store them in.

use crate::exec::window;
use crate::features;
use sepal_format::op::OpRef;
use sepal_format::record::{Range, dtype, take};
use sepal_format::{ModelView, winograd};
use sepal_kernels::Shape;
use sepal_kernels::ops::conv::conv_widened;
use sepal_kernels::ops::panels::{Panels, widened};

/// The weights of a verified step.
pub(crate) fn bind<'m>(view: &ModelView<'m>, range: Range, weight_dtype: u32) -> Option<Panels<'m>> {
    match weight_dtype {
        dtype::F32 => Some(Panels::F32(view.floats(range))),
        dtype::F16 => {
            features::F16?;
            Some(Panels::F16(view.halves(range)))
        }
        _ => None,
    }
}

/// Floats of scratch in which each thread widens or gates an operator's weights, besides what the operator needs in any case.
pub(crate) fn scratch(op: &OpRef, output: Shape) -> usize {
    let halves = |r: Range| (r.len / 2) as usize;
    match op {
        OpRef::Conv(p) if p.weight_dtype == dtype::F16 => match winograd::points(p.window.kernel, p.algorithm) {
            Some([rows, columns]) => widened(halves(p.weights) / (rows * columns) as usize, output.c),
            None if p.take == take::GATED => widened(halves(p.weights), output.c),
            None => conv_widened(window(&p.window), p.groups as usize, output, halves(p.weights)),
        },
        OpRef::Conv(p) if p.take == take::GATED => widened(halves(p.weights) / 2, output.c),
        OpRef::Separable(p) if p.weight_dtype == dtype::F16 => widened(halves(p.weights), output.c),
        _ => 0,
    }
}
