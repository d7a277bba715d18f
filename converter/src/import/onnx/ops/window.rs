//! What convolutions and pooling share: attributes of the window, output extents, NCHW to NHWC and back.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use crate::ir::{Op, Pads, ValueId, Window};

/// A window and what it makes of its input.
pub(super) struct Geometry {
    /// With padding up to what the last window covers.
    pub window: Window,
    /// Rows and columns of the output.
    pub out: [usize; 2],
    /// The padding that the source asks for, without what `ceil_mode` adds.
    pub explicit: Pads,
}

/// How `auto_pad` shares the padding out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AutoPad {
    NotSet,
    Valid,
    /// The odd pixel at the end.
    SameUpper,
    /// The odd pixel at the start.
    SameLower,
}

pub(super) fn auto_pad(cx: &Ctx<'_, '_, '_>) -> Res<AutoPad> {
    Ok(match cx.string("auto_pad", "NOTSET")? {
        "NOTSET" | "" => AutoPad::NotSet,
        "VALID" => AutoPad::Valid,
        "SAME_UPPER" => AutoPad::SameUpper,
        "SAME_LOWER" => AutoPad::SameLower,
        other => return bad(format!("auto_pad is {other:?}")),
    })
}

/// The spatial attributes, 1-d as 2-d with one row.
pub(super) struct Spatial {
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Top and left.
    pub before: [usize; 2],
    /// Bottom and right.
    pub after: [usize; 2],
    pub auto: AutoPad,
}

pub(super) fn spatial(cx: &Ctx<'_, '_, '_>, axes: usize) -> Res<Spatial> {
    let ones = vec![1; axes];
    let stride = shape::pair("strides", &cx.int_list("strides")?.unwrap_or(ones.clone()), axes, 1, 1)?;
    let dilation = shape::pair("dilations", &cx.int_list("dilations")?.unwrap_or(ones), axes, 1, 1)?;
    let pads = cx.int_list("pads")?.unwrap_or(vec![0; 2 * axes]);
    if pads.len() != 2 * axes {
        return bad(format!("pads are {pads:?} for {axes} spatial axes"));
    }
    if pads.iter().any(|&p| p < 0) {
        return unsupported(format!("negative pads {pads:?}"), "crop with a Slice instead");
    }
    let before = shape::pair("pads", &pads[..axes], axes, 0, 0)?;
    let after = shape::pair("pads", &pads[axes..], axes, 0, 0)?;
    let auto = auto_pad(cx)?;
    let (before, after) = if auto == AutoPad::NotSet { (before, after) } else { ([0; 2], [0; 2]) };
    Ok(Spatial { stride, dilation, before, after, auto })
}

/// Pixels that a dilated kernel spans.
pub(super) fn span(kernel: usize, dilation: usize) -> usize {
    (kernel - 1) * dilation + 1
}

/// The kernel's extents: an attribute, or what the weights say.
pub(super) fn kernel(cx: &Ctx<'_, '_, '_>, axes: usize, weights: Option<&[usize]>) -> Res<[usize; 2]> {
    let list: Vec<i64> = match (cx.int_list("kernel_shape")?, weights) {
        (Some(k), Some(w)) if k.iter().zip(w).any(|(&k, &w)| k != w as i64) || k.len() != w.len() => {
            return bad(format!("kernel_shape is {k:?}, the weights have {w:?}"));
        }
        (Some(k), _) => k,
        (None, Some(w)) => w.iter().map(|&d| d as i64).collect(),
        (None, None) => return bad("attribute kernel_shape is missing"),
    };
    shape::pair("kernel_shape", &list, axes, 1, 1)
}

/// Output extents and padding of a convolution or a pool.
pub(super) fn geometry(s: &Spatial, input: [usize; 2], kernel: [usize; 2], ceil: bool) -> Res<Geometry> {
    let (mut out, mut before, mut after, mut covered) = ([0; 2], s.before, s.after, s.after);
    for i in 0..2 {
        let span = span(kernel[i], s.dilation[i]);
        let stride = s.stride[i];
        if matches!(s.auto, AutoPad::SameUpper | AutoPad::SameLower) {
            let n = input[i].div_ceil(stride);
            let total = ((n - 1) * stride + span).saturating_sub(input[i]);
            let (less, more) = (total / 2, total - total / 2);
            (before[i], after[i]) = if s.auto == AutoPad::SameUpper { (less, more) } else { (more, less) };
        }
        let total = input[i] + before[i] + after[i];
        match total.checked_sub(span) {
            Some(room) => {
                out[i] = room / stride + 1;
                // A window may hang over the end, but must begin before it.
                if ceil && !room.is_multiple_of(stride) && out[i] * stride < input[i] + before[i] {
                    out[i] += 1;
                }
            }
            // Rounding up, one window hangs over.
            None if ceil && span - total < stride => out[i] = 1,
            None => return bad(format!("a window of {span} pixels does not fit into {}", input[i])),
        }
        covered[i] = after[i].max(((out[i] - 1) * stride + span).saturating_sub(input[i] + before[i]));
    }
    let pads = |after: [usize; 2]| Pads { top: before[0], left: before[1], bottom: after[0], right: after[1] };
    let window = Window { kernel, stride: s.stride, dilation: s.dilation, pads: pads(covered) };
    Ok(Geometry { window, out, explicit: pads(after) })
}

/// `[N,C,H,W]` or `[N,C,L]`: its images, channels, and rows and columns, with the number of spatial axes.
pub(super) fn image(shape: &[usize]) -> Res<(usize, usize, [usize; 2], usize)> {
    match *shape {
        [n, c, l] => Ok((n, c, [1, l], 1)),
        [n, c, h, w] => Ok((n, c, [h, w], 2)),
        _ => unsupported(format!("an input of {} axes", shape.len()), "only 1-d and 2-d windows are supported"),
    }
}

/// The input of a windowed operator as NHWC.
pub(super) fn to_nhwc(cx: &mut Ctx<'_, '_, '_>, x: ValueId) -> Res<ValueId> {
    let (n, c, [h, w], axes) = image(&cx.shape(x))?;
    let x = if axes == 1 { cx.emit("rows", Op::Reshape, &[x], &[n, c, h, w])? } else { x };
    cx.emit("nhwc", Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x], &[n, h, w, c])
}

/// The result of a windowed operator in the layout of the source.
pub(super) fn from_nhwc(cx: &mut Ctx<'_, '_, '_>, y: ValueId, axes: usize) -> Res<ValueId> {
    let [n, h, w, c] = cx.shape(y)[..] else { return bad("a window's result has four axes") };
    let y = cx.emit("nchw", Op::Transpose { perm: vec![0, 3, 1, 2] }, &[y], &[n, c, h, w])?;
    if axes == 1 { cx.emit("line", Op::Reshape, &[y], &[n, c, w]) } else { Ok(y) }
}
