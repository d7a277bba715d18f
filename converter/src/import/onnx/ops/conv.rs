//! Conv, its fused form, ConvTranspose.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::window::{AutoPad, Spatial, from_nhwc, geometry, image, kernel, spatial, to_nhwc};
use super::{Values, activation};
use crate::ir::{Act, Op, Pads, ValueId, Window};

/// Conv of constant weights [O, C/groups, kh, kw].
pub(super) fn conv(cx: &mut Ctx<'_, '_, '_>) -> Values {
    convolve(cx, Act::None)
}

/// onnxruntime's Conv with an activation.
pub(super) fn fused(cx: &mut Ctx<'_, '_, '_>) -> Values {
    if cx.is_present(3) {
        return unsupported("input 3 (a summand)", "export the model without onnxruntime's optimisations");
    }
    let act = activation::of_fused(cx)?;
    convolve(cx, act)
}

fn convolve(cx: &mut Ctx<'_, '_, '_>, act: Act) -> Values {
    let x = cx.runtime(0)?;
    let (n, c, hw, axes) = image(&cx.shape(x))?;
    let w = weights(cx, axes)?;
    let groups = groups(cx)?;
    let (o, per_group) = (w[0], w[1]);
    if per_group.checked_mul(groups) != Some(c) || o % groups != 0 {
        return bad(format!("weights of shape {w:?} in {groups} groups do not fit {c} channels"));
    }
    let k = kernel(cx, axes, Some(&w[2..]))?;
    let g = geometry(&spatial(cx, axes)?, hw, k, false)?;
    let weight = cx.weight(1, "hwio", true, |v| {
        // [O, I, kh * kw] to [kh * kw, I, O].
        let dims = vec![k[0], k[1], per_group, o];
        Ok((dims, Some(permuted(floats(v)?, [o, per_group, k[0] * k[1]], [2, 1, 0]))))
    })?;
    let bias = bias(cx, o)?;
    let nhwc = to_nhwc(cx, x)?;
    let op = Op::Conv { window: g.window, groups, bias: bias.is_some(), residual: false, pre_relu: false, act };
    let inputs: Vec<ValueId> = [nhwc, weight].into_iter().chain(bias).collect();
    let y = cx.emit("", op, &inputs, &[n, g.out[0], g.out[1], o])?;
    Ok(vec![from_nhwc(cx, y, axes)?])
}

/// ConvTranspose of constant weights [C, O/groups, kh, kw].
pub(super) fn transposed(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let (n, c, hw, axes) = image(&cx.shape(x))?;
    let w = weights(cx, axes)?;
    let groups = groups(cx)?;
    let (per_group, o) = (w[1], w[1].saturating_mul(groups));
    if w[0] != c || c % groups != 0 {
        return bad(format!("weights of shape {w:?} in {groups} groups do not fit {c} channels"));
    }
    let k = kernel(cx, axes, Some(&w[2..]))?;
    let (mut window, out) = transposed_window(cx, axes, hw, k)?;
    // What is to be cut off beyond the reach of a pixel's kernel is cut by a step of its own.
    let reach = [0, 1].map(|i| (k[i] - 1) * window.dilation[i]);
    let mut beyond = |pad: fn(&mut Pads) -> &mut usize, reach: usize| {
        let pad = pad(&mut window.pads);
        let more = pad.saturating_sub(reach);
        *pad -= more;
        more
    };
    let (above, left) = (beyond(|p| &mut p.top, reach[0]), beyond(|p| &mut p.left, reach[1]));
    let (below, right) = (beyond(|p| &mut p.bottom, reach[0]), beyond(|p| &mut p.right, reach[1]));
    let uncut = [n, out[0] + above + below, out[1] + left + right, o];
    let weight = cx.weight(1, "hwoi", true, |v| {
        // [C, O, kh * kw] to [kh * kw, O, C].
        Ok((vec![k[0], k[1], per_group, c], Some(permuted(floats(v)?, [c, per_group, k[0] * k[1]], [2, 1, 0]))))
    })?;
    let bias = bias(cx, o)?;
    let nhwc = to_nhwc(cx, x)?;
    let op = Op::ConvTranspose { window, groups, bias: bias.is_some(), act: Act::None };
    let inputs: Vec<ValueId> = [nhwc, weight].into_iter().chain(bias).collect();
    let cut = [n, out[0], out[1], o];
    let y = cx.emit(if uncut == cut { "" } else { "uncut" }, op, &inputs, &uncut)?;
    let slice = Op::Slice { start: vec![0, above, left, 0], step: vec![1; 4] };
    let y = if uncut == cut { y } else { cx.emit("", slice, &[y], &cut)? };
    Ok(vec![from_nhwc(cx, y, axes)?])
}

/// The window of a transposed convolution, and the output's extents.
fn transposed_window(cx: &Ctx<'_, '_, '_>, axes: usize, input: [usize; 2], k: [usize; 2]) -> Res<(Window, [usize; 2])> {
    let Spatial { stride, dilation, mut before, mut after, auto } = spatial(cx, axes)?;
    let extra = shape::pair("output_padding", &cx.int_list("output_padding")?.unwrap_or(vec![0; axes]), axes, 0, 0)?;
    let target = match cx.int_list("output_shape")? {
        // Some exporters write all axes.
        Some(s) if s.len() == axes + 2 => Some(shape::pair("output_shape", &s[2..], axes, 1, 1)?),
        Some(s) => Some(shape::pair("output_shape", &s, axes, 1, 1)?),
        None => None,
    };
    let mut out = [0; 2];
    for i in 0..2 {
        let full = (input[i] - 1) * stride[i] + super::window::span(k[i], dilation[i]);
        let same = matches!(auto, AutoPad::SameUpper | AutoPad::SameLower);
        let wanted = match target {
            Some(t) => Some(t[i]),
            None if same => Some(input[i] * stride[i]),
            None => None,
        };
        out[i] = match wanted {
            Some(wanted) => {
                // The operator's text makes the padding negative then, and forbids that of pads: ONNX Runtime gives fewer pixels or puts
                // zeros behind them, ONNX's reference puts some before.
                if same && full + extra[i] < wanted {
                    return unsupported(
                        format!(
                            "auto_pad {:?} for {wanted} pixels, of which the windows give {}",
                            cx.string("auto_pad", "")?,
                            full + extra[i]
                        ),
                        "say the pads and output_padding that are meant",
                    );
                }
                let total = (full + extra[i]).saturating_sub(wanted);
                let (less, more) = (total / 2, total - total / 2);
                (before[i], after[i]) = if auto == AutoPad::SameUpper { (less, more) } else { (more, less) };
                wanted
            }
            None => match (full + extra[i]).checked_sub(before[i] + after[i]) {
                Some(out) if out > 0 => out,
                _ => return bad("the pads leave nothing of the output"),
            },
        };
        // More than a stride would be pixels that no window reaches.
        if out[i] + before[i] > full + stride[i].max(dilation[i]) {
            return unsupported(format!("an output of {} pixels", out[i]), "ask for no more than the windows give");
        }
        // Output padding is not padded by zeros: it cuts less off, and beyond that only the bias is left.
        after[i] = (full - before[i].min(full)).saturating_sub(out[i]);
    }
    let pads = Pads { top: before[0], left: before[1], bottom: after[0], right: after[1] };
    Ok((Window { kernel: k, stride, dilation, pads }, out))
}

/// The shape of the weights, which must have as many spatial axes as the input.
fn weights(cx: &Ctx<'_, '_, '_>, axes: usize) -> Res<Vec<usize>> {
    let Some(w) = cx.constant(1)? else { return bad("the weights are missing") };
    if w.dims.len() != axes + 2 || w.len() == 0 {
        return bad(format!("weights of shape {:?} for {axes} spatial axes", w.dims));
    }
    Ok(w.dims.clone())
}

fn groups(cx: &Ctx<'_, '_, '_>) -> Res<usize> {
    let g = cx.int("group", 1)?;
    usize::try_from(g).ok().filter(|&g| g > 0).map_or_else(|| bad(format!("group is {g}")), Ok)
}

fn bias(cx: &mut Ctx<'_, '_, '_>, o: usize) -> Res<Option<ValueId>> {
    if !cx.is_present(2) {
        return Ok(None);
    }
    cx.weight(2, &format!("bias {o}"), true, |_| Ok((vec![o], None))).map(Some)
}

/// The elements of a constant of floats.
pub(super) fn floats(c: &Const) -> Res<&[f32]> {
    match &c.data {
        Data::Float(v) => Ok(v),
        Data::Int(_) | Data::Double(_) => bad("integers where floats belong"),
    }
}

/// A tensor of three axes with its axes in another order.
pub(super) fn permuted(data: &[f32], dims: [usize; 3], perm: [usize; 3]) -> Vec<f32> {
    let strides = [dims[1] * dims[2], dims[2], 1];
    let (n, s) = (perm.map(|p| dims[p]), perm.map(|p| strides[p]));
    let mut out = Vec::with_capacity(data.len());
    for i in 0..n[0] {
        for j in 0..n[1] {
            out.extend((0..n[2]).map(|k| data[i * s[0] + j * s[1] + k * s[2]]));
        }
    }
    out
}
