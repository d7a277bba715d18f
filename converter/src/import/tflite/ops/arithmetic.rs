//! Arithmetic with broadcasting.

use super::fail::{Res, bad, unsupported};
use super::schema::options as field;
use super::{Ctx, Values, shape};
use crate::ir::{Act, BinaryOp, Op, ReduceKind, ValueId};
use std::sync::Arc;

/// One operation.
pub(super) fn node(cx: &mut Ctx<'_, '_>, suffix: &str, op: BinaryOp, a: ValueId, b: ValueId) -> Res<ValueId> {
    let dims = shape::broadcast(cx.b.graph.shape(a), cx.b.graph.shape(b))?;
    cx.emit(suffix, Op::Binary { op, act: Act::None }, &[a, b], &dims)
}

/// With an activation.
pub(super) fn fused(cx: &mut Ctx<'_, '_>, op: BinaryOp) -> Values {
    let (a, b) = (cx.value(0)?, cx.value(1)?);
    let act = cx.activation(field::ARITHMETIC_ACTIVATION)?;
    let dims = shape::broadcast(cx.b.graph.shape(a), cx.b.graph.shape(b))?;
    Ok(vec![cx.emit("", Op::Binary { op, act }, &[a, b], &dims)?])
}

/// Without.
pub(super) fn plain(cx: &mut Ctx<'_, '_>, op: BinaryOp) -> Values {
    let (a, b) = (cx.value(0)?, cx.value(1)?);
    Ok(vec![node(cx, "", op, a, b)?])
}

pub(super) fn add_n(cx: &mut Ctx<'_, '_>) -> Values {
    let n = cx.op.inputs.len();
    let mut sum = cx.value(0)?;
    for i in 1..n {
        let x = cx.value(i)?;
        let suffix = if i + 1 == n { String::new() } else { i.to_string() };
        sum = node(cx, &suffix, BinaryOp::Add, sum, x)?;
    }
    Ok(vec![sum])
}

pub(super) fn squared_difference(cx: &mut Ctx<'_, '_>) -> Values {
    let (a, b) = (cx.value(0)?, cx.value(1)?);
    let d = node(cx, "difference", BinaryOp::Sub, a, b)?;
    Ok(vec![node(cx, "", BinaryOp::Mul, d, d)?])
}

/// Powers: products, a root or a quotient where the exponent is one number of those, otherwise a step of its own.
pub(super) fn pow(cx: &mut Ctx<'_, '_>) -> Values {
    let (x, e) = (cx.value(0)?, cx.value(1)?);
    let exponents = cx.b.graph.data(e).cloned().unwrap_or_default();
    cx.b.budget.pay(exponents.len())?;
    let first = exponents.first().copied().unwrap_or(f32::NAN);
    let dims = cx.shape(x);
    let one_for_all = exponents.iter().all(|&e| e == first) && shape::broadcast(&dims, &cx.shape(e))? == dims;
    Ok(vec![if one_for_all && first == 1.0 {
        x
    } else if one_for_all && first == 2.0 {
        node(cx, "", BinaryOp::Mul, x, x)?
    } else if one_for_all && first == 3.0 {
        let square = node(cx, "square", BinaryOp::Mul, x, x)?;
        node(cx, "", BinaryOp::Mul, square, x)?
    } else if one_for_all && first == 0.5 {
        cx.act("", x, Act::Sqrt)?
    } else if one_for_all && first == -1.0 {
        let one = cx.number(1.0);
        node(cx, "", BinaryOp::Div, one, x)?
    } else {
        node(cx, "", BinaryOp::Pow, x, e)?
    }])
}

pub(super) fn square(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    Ok(vec![node(cx, "", BinaryOp::Mul, x, x)?])
}

pub(super) fn neg(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let minus = cx.number(-1.0);
    Ok(vec![node(cx, "", BinaryOp::Mul, x, minus)?])
}

pub(super) fn rsqrt(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let root = cx.act("root", x, Act::Sqrt)?;
    let one = cx.number(1.0);
    Ok(vec![node(cx, "", BinaryOp::Div, one, root)?])
}

/// `x / max(sqrt(sum of squares), 1e-6)` along the last axis. The schema has an activation that nobody applies.
pub(super) fn l2_normalisation(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let square = node(cx, "square", BinaryOp::Mul, x, x)?;
    let mut dims = cx.shape(x);
    let Some(axis) = dims.len().checked_sub(1) else { return bad("an input without axes") };
    dims[axis] = 1;
    let op = Op::Reduce { kind: ReduceKind::Sum, axes: vec![axis], keep_dims: true };
    let sum = cx.emit("sum", op, &[square], &dims)?;
    let root = cx.act("root", sum, Act::Sqrt)?;
    let least = cx.act("least", root, Act::Clamp { lo: 1e-6, hi: f32::INFINITY })?;
    Ok(vec![node(cx, "", BinaryOp::Div, x, least)?])
}

/// Most channels of a local response normalisation, whose sums are a product with a matrix.
const MAX_LRN: usize = 4096;

/// `x / (bias + alpha * sum of squares)^beta`, the sum over so many channels on either side.
pub(super) fn local_response(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    let radius = cx.int(field::LRN_RADIUS, 0)?;
    let (bias, alpha, beta) = (cx.float(field::LRN_BIAS, 0.0)?, cx.float(field::LRN_ALPHA, 0.0)?, cx.float(field::LRN_BETA, 0.0)?);
    let Some(&c) = dims.last().filter(|_| radius >= 0) else { return bad(format!("radius {radius} of {dims:?}")) };
    if c > MAX_LRN {
        return unsupported(format!("{c} channels"), format!("use at most {MAX_LRN}"));
    }
    cx.b.budget.pay(c * c)?;
    let near = |i: usize| (i / c).abs_diff(i % c) as i64 <= radius;
    let matrix = (0..c * c).map(|i| if near(i) { alpha } else { 0.0 }).collect();
    let matrix = cx.b.graph.constant("neighbours", &[c, c], Arc::new(matrix));
    let offset = cx.b.graph.constant("bias", &[c], Arc::new(vec![bias; c]));
    let square = node(cx, "square", BinaryOp::Mul, x, x)?;
    let sum = cx.emit("sum", Op::Dense { bias: true, act: Act::None }, &[square, matrix, offset], &dims)?;
    let beta = cx.number(beta);
    let power = node(cx, "power", BinaryOp::Pow, sum, beta)?;
    Ok(vec![node(cx, "", BinaryOp::Div, x, power)?])
}
