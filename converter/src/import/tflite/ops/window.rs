//! Windows: strides, dilation, and the padding that SAME and VALID mean.

use super::fail::{Res, bad};
use super::{Ctx, shape};
use crate::ir::{Pads, Window};

/// Padding of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// As many outputs as strides begin inside the input; the odd pixel of padding at the end.
    Same,
    /// None.
    Valid,
}

pub(super) fn padding(cx: &Ctx<'_, '_>, field: usize) -> Res<Padding> {
    match cx.choice(field)? {
        0 => Ok(Padding::Same),
        1 => Ok(Padding::Valid),
        other => bad(format!("padding is {other}")),
    }
}

/// Two options, down and across, at least 1.
pub(super) fn pair(cx: &Ctx<'_, '_>, what: &str, fields: [usize; 2], default: i32) -> Res<[usize; 2]> {
    shape::pair(what, &[cx.int(fields[0], default)?, cx.int(fields[1], default)?], 2, 1, 1)
}

/// Pixels that a dilated kernel spans.
pub(super) fn span(kernel: usize, dilation: usize) -> usize {
    (kernel - 1) * dilation + 1
}

/// Outputs along an axis and the padding before and after it.
pub(super) fn along(padding: Padding, input: usize, span: usize, stride: usize) -> Res<(usize, usize, usize)> {
    match padding {
        Padding::Same => {
            let out = input.div_ceil(stride);
            let total = ((out - 1) * stride + span).saturating_sub(input);
            Ok((out, total / 2, total - total / 2))
        }
        Padding::Valid => match input.checked_sub(span) {
            Some(room) => Ok((room / stride + 1, 0, 0)),
            None => bad(format!("a window of {span} pixels does not fit into {input}")),
        },
    }
}

/// A window on an image of `input` rows and columns, and the rows and columns that it gives.
pub(super) fn window(
    padding: Padding,
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
) -> Res<(Window, [usize; 2])> {
    let at = |i: usize| along(padding, input[i], span(kernel[i], dilation[i]), stride[i]);
    let ((rows, top, bottom), (columns, left, right)) = (at(0)?, at(1)?);
    Ok((Window { kernel, stride, dilation, pads: Pads { top, left, bottom, right } }, [rows, columns]))
}
