//! BatchNormalization and Softmax.

use super::super::fail::{bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use super::Values;
use crate::ir::{Op, ValueId};

/// Inference form: `x`, scale, bias, mean, variance.
pub(super) fn batch_norm(cx: &mut Ctx<'_, '_, '_>) -> Values {
    cx.ignore(&["momentum"]);
    let epsilon = cx.float("epsilon", 1e-5)?;
    if epsilon < 0.0 {
        return bad(format!("epsilon is {epsilon}"));
    }
    if cx.flag("training_mode", false)? {
        return unsupported("training_mode 1", "export the model in inference mode");
    }
    // Until there was that attribute, further outputs said the same.
    if cx.opset() < 14 && cx.node.outputs.iter().skip(1).any(|o| !o.is_empty()) {
        return unsupported("outputs of statistics, which mean training", "export the model in inference mode");
    }
    if cx.opset() < 9 && !cx.flag("spatial", true)? {
        return unsupported("spatial 0", "normalise per channel");
    }
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let Some(&c) = xs.get(1) else { return bad("the input has no channel axis") };
    let mut inputs = vec![x];
    for i in 1..5 {
        inputs.push(cx.weight(i, &format!("channels {c}"), i < 3, |_| Ok((vec![c], None)))?);
    }
    Ok(vec![cx.emit("", Op::BatchNorm { axis: 1, epsilon }, &inputs, &xs)?])
}

/// Along an axis since opset 13; before that over all axes from one on, taken as one.
pub(super) fn softmax(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let log = cx.node.op_type == "LogSoftmax";
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    if cx.opset() >= 13 {
        let axis = shape::axis(cx.int("axis", -1)?, xs.len())?;
        return Ok(vec![cx.emit("", Op::Softmax { axis, log }, &[x], &xs)?]);
    }
    let axis = cx.int("axis", 1)?;
    // The axis after the last means that every row has one element.
    let axis = if axis == xs.len() as i64 { xs.len() } else { shape::axis(axis, xs.len())? };
    let mut long = (axis..xs.len()).filter(|&i| xs[i] != 1);
    match (long.next(), long.next()) {
        (Some(only), None) => Ok(vec![cx.emit("", Op::Softmax { axis: only, log }, &[x], &xs)?]),
        _ => {
            let flat = [xs[..axis].iter().product(), xs[axis..].iter().product()];
            let rows: ValueId = cx.emit("rows", Op::Reshape, &[x], &flat)?;
            let y = cx.emit("", Op::Softmax { axis: 1, log }, &[rows], &flat)?;
            Ok(vec![cx.emit("shape", Op::Reshape, &[y], &xs)?])
        }
    }
}
