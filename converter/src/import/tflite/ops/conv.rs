//! Convolutions.

use super::fail::{Res, bad, unsupported};
use super::schema::options as field;
use super::window::{Padding, along, padding, pair, span, window};
use super::{Ctx, Values};
use crate::ir::{Act, Op, Pads, ValueId, Window};

/// Weights `[O, kh, kw, C / groups]`; how many groups there are follows from the shapes.
pub(super) fn conv(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let [n, h, w, c] = cx.image(x)?;
    let [o, kh, kw, per_group] = weights(cx, 1)?;
    if c % per_group != 0 || o % (c / per_group) != 0 {
        return bad(format!("weights of {o} by {per_group} channels do not fit {c}"));
    }
    let stride = pair(cx, "stride", field::conv::STRIDE, 0)?;
    let dilation = pair(cx, "dilation", field::conv::DILATION, 1)?;
    let (window, out) = window(padding(cx, field::conv::PADDING)?, [h, w], [kh, kw], stride, dilation)?;
    let act = cx.activation(field::conv::ACTIVATION)?;
    let weight = cx.weight(1, "hwio", &[kh, kw, per_group, o], |d| transposed_matrix(d, o))?;
    convolve(cx, x, weight, window, c / per_group, act, &[n, out[0], out[1], o])
}

/// Weights `[1, kh, kw, C * multiplier]`, channel `c * multiplier + i`.
pub(super) fn depthwise(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let [n, h, w, c] = cx.image(x)?;
    let [one, kh, kw, o] = weights(cx, 1)?;
    if one != 1 || o % c != 0 {
        return bad(format!("depthwise weights for {o} channels do not fit {c}"));
    }
    let stride = pair(cx, "stride", field::depthwise::STRIDE, 0)?;
    let dilation = pair(cx, "dilation", field::depthwise::DILATION, 1)?;
    let (window, out) = window(padding(cx, field::depthwise::PADDING)?, [h, w], [kh, kw], stride, dilation)?;
    let act = cx.activation(field::depthwise::ACTIVATION)?;
    let weight = cx.weight(1, "hw1o", &[kh, kw, 1, o], <[f32]>::to_vec)?;
    convolve(cx, x, weight, window, c, act, &[n, out[0], out[1], o])
}

fn convolve(cx: &mut Ctx<'_, '_>, x: ValueId, weight: ValueId, window: Window, groups: usize, act: Act, dims: &[usize]) -> Values {
    let bias = bias(cx, 2, dims[3])?;
    let op = Op::Conv { window, groups, bias: bias.is_some(), residual: false, pre_relu: false, act };
    let inputs: Vec<ValueId> = [x, weight].into_iter().chain(bias).collect();
    Ok(vec![cx.emit("", op, &inputs, dims)?])
}

/// The output's shape, weights `[O, kh, kw, C]`, the input, optionally a bias.
pub(super) fn transposed(cx: &mut Ctx<'_, '_>) -> Values {
    let target = cx.list(0)?;
    let x = cx.value(2)?;
    let [n, _, _, c] = cx.image(x)?;
    let [o, _, _, cw] = weights(cx, 1)?;
    let dims = super::shape::from_i64(&target)?;
    let &[tn, th, tw, to] = &dims[..] else { return bad(format!("an output of shape {dims:?}")) };
    if (tn, to, cw) != (n, o, c) || th == 0 || tw == 0 {
        return bad(format!("an output of shape {dims:?} from {c} channels with weights of {o} by {cw}"));
    }
    let stride = pair(cx, "stride", field::transpose_conv::STRIDE, 0)?;
    let padding = padding(cx, field::transpose_conv::PADDING)?;
    let act = cx.activation(field::transpose_conv::ACTIVATION)?;
    transpose(cx, x, &dims, stride, padding, act, 3)
}

/// The input, weights `[O, kh, kw, C]`, a bias. Its options are three numbers of 32 bits: the padding (1 is SAME, 2 VALID), the stride
/// across and down. Source: `transpose_conv_bias.cc` of MediaPipe, whose SAME makes `stride * (n - 1) + k` less
/// `max(0, k - (n - 1) % stride - 1)` pixels; others make `stride * n`, and where it is not the same they disagree.
pub(super) fn transposed_with_bias(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let [n, h, w, c] = cx.image(x)?;
    let [o, kh, kw, cw] = weights(cx, 1)?;
    if cw != c {
        return bad(format!("weights for {cw} channels of an image that has {c}"));
    }
    let number = |i: usize| cx.op.custom.get(4 * i..4 * i + 4).and_then(|b| b.try_into().ok()).map(i32::from_le_bytes);
    let (padding, across, down) = match (number(0), number(1), number(2)) {
        (Some(1), Some(across), Some(down)) => (Padding::Same, across, down),
        (Some(2), Some(across), Some(down)) => (Padding::Valid, across, down),
        _ => return bad("options that are no padding and two strides"),
    };
    let mut dims = [n, 0, 0, o];
    let mut strides = [0; 2];
    for (i, (stride, pixels, k)) in [(down, h, kh), (across, w, kw)].into_iter().enumerate() {
        let stride = match usize::try_from(stride) {
            Ok(s) if s > 0 && s <= super::shape::MAX_STEP as usize => s,
            _ => return bad(format!("a stride of {stride}")),
        };
        let left = if padding == Padding::Same { k.saturating_sub((pixels - 1) % stride + 1) } else { 0 };
        let made = stride * (pixels - 1) + k - left;
        if padding == Padding::Same && made != stride * pixels {
            return unsupported(
                format!("SAME for {pixels} pixels, a stride of {stride} and a kernel of {k}"),
                "make the input a multiple of the stride",
            );
        }
        (dims[i + 1], strides[i]) = (made, stride);
    }
    transpose(cx, x, &dims, strides, padding, Act::None, 2)
}

/// A transposed convolution by weights `[O, kh, kw, C]`, input 1, to an output of these extents.
fn transpose(
    cx: &mut Ctx<'_, '_>,
    x: ValueId,
    dims: &[usize],
    stride: [usize; 2],
    padding: Padding,
    act: Act,
    bias_input: usize,
) -> Values {
    let [_, h, w, _] = cx.image(x)?;
    let [o, kh, kw, c] = weights(cx, 1)?;
    let (top, bottom) = cut(padding, dims[1], h, kh, stride[0])?;
    let (left, right) = cut(padding, dims[2], w, kw, stride[1])?;
    let window = Window { kernel: [kh, kw], stride, dilation: [1, 1], pads: Pads { top, left, bottom, right } };
    let weight = cx.weight(1, "hwoi", &[kh, kw, o, c], |d| swapped(d, o, kh * kw, c))?;
    let bias = bias(cx, bias_input, o)?;
    let inputs: Vec<ValueId> = [x, weight].into_iter().chain(bias).collect();
    Ok(vec![cx.emit("", Op::ConvTranspose { window, groups: 1, bias: bias.is_some(), act }, &inputs, dims)?])
}

/// What is cut off the full output before and after it: the padding of the convolution that goes the other way.
fn cut(padding: Padding, output: usize, input: usize, kernel: usize, stride: usize) -> Res<(usize, usize)> {
    let (back, before, _) = along(padding, output, span(kernel, 1), stride)?;
    if back != input {
        let what = format!("{output} pixels with a stride of {stride} from {input} pixels, where a convolution makes {back}");
        return unsupported(what, "make the output as large as the input of the convolution that goes the other way");
    }
    let full = (input - 1) * stride + kernel;
    Ok((before, full.saturating_sub(before + output)))
}

/// The shape of constant weights of four axes.
fn weights(cx: &mut Ctx<'_, '_>, i: usize) -> Res<[usize; 4]> {
    let v = cx.value(i)?;
    cx.data(v, i)?;
    match cx.image(v)? {
        dims if dims.contains(&0) => bad(format!("weights of shape {dims:?}")),
        dims => Ok(dims),
    }
}

/// A bias of `o` channels, if there is one.
pub(super) fn bias(cx: &mut Ctx<'_, '_>, i: usize, o: usize) -> Res<Option<ValueId>> {
    if !cx.is_present(i) {
        return Ok(None);
    }
    cx.weight(i, "bias", &[o], <[f32]>::to_vec).map(Some)
}

/// A matrix of `rows` with rows and columns exchanged.
pub(super) fn transposed_matrix(data: &[f32], rows: usize) -> Vec<f32> {
    swapped(data, rows, data.len() / rows.max(1), 1)
}

/// `[a, b, c]` as `[b, a, c]`.
fn swapped(data: &[f32], a: usize, b: usize, c: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(data.len());
    for j in 0..b {
        for i in 0..a {
            out.extend_from_slice(&data[(i * b + j) * c..][..c]);
        }
    }
    out
}
