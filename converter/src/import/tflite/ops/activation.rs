//! Activations.

use super::arithmetic::node;
use super::fail::bad;
use super::schema::options as field;
use super::{Ctx, Values};
use crate::ir::{Act, BinaryOp, Op};

pub(super) fn unary(cx: &mut Ctx<'_, '_>, act: Act) -> Values {
    let x = cx.value(0)?;
    Ok(vec![cx.act("", x, act)?])
}

pub(super) fn leaky(cx: &mut Ctx<'_, '_>) -> Values {
    let alpha = cx.float(field::LEAKY_RELU_ALPHA, 0.0)?;
    unary(cx, Act::Leaky(alpha))
}

/// The approximate one, `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`.
pub(super) fn gelu(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let square = node(cx, "square", BinaryOp::Mul, x, x)?;
    let factor = cx.number(0.044_715);
    let scaled = node(cx, "scaled", BinaryOp::Mul, square, factor)?;
    let one = cx.number(1.0);
    let sum = node(cx, "sum", BinaryOp::Add, scaled, one)?;
    let cubic = node(cx, "cubic", BinaryOp::Mul, sum, x)?;
    let factor = cx.number((2.0 / std::f32::consts::PI).sqrt());
    let inner = node(cx, "inner", BinaryOp::Mul, cubic, factor)?;
    let tanh = cx.act("tanh", inner, Act::Tanh)?;
    let gate = node(cx, "gate", BinaryOp::Add, tanh, one)?;
    let half = cx.number(0.5);
    let half = node(cx, "half", BinaryOp::Mul, x, half)?;
    Ok(vec![node(cx, "", BinaryOp::Mul, half, gate)?])
}

pub(super) fn prelu(cx: &mut Ctx<'_, '_>) -> Values {
    let (x, slope) = (cx.value(0)?, cx.value(1)?);
    let dims = cx.shape(x);
    cx.data(slope, 1)?;
    Ok(vec![cx.emit("", Op::PRelu, &[x, slope], &dims)?])
}

/// `softmax(beta * x)` along the last axis.
pub(super) fn softmax(cx: &mut Ctx<'_, '_>) -> Values {
    let mut x = cx.value(0)?;
    let beta = cx.float(field::SOFTMAX_BETA, 0.0)?;
    if beta != 1.0 {
        let factor = cx.number(beta);
        x = node(cx, "beta", BinaryOp::Mul, x, factor)?;
    }
    last(cx, x, false)
}

pub(super) fn log_softmax(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    last(cx, x, true)
}

fn last(cx: &mut Ctx<'_, '_>, x: crate::ir::ValueId, log: bool) -> Values {
    let dims = cx.shape(x);
    let Some(axis) = dims.len().checked_sub(1) else { return bad("an input without axes") };
    Ok(vec![cx.emit("", Op::Softmax { axis, log }, &[x], &dims)?])
}
