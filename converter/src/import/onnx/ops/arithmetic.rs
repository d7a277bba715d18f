//! Arithmetic with numpy broadcasting.

use super::super::fail::bad;
use super::super::node::{Ctx, Operand};
use super::super::shape;
use super::super::tensor::Data;
use super::Values;
use crate::ir::{Act, BinaryOp, Op, ValueId};

fn node(cx: &mut Ctx<'_, '_, '_>, suffix: &str, op: BinaryOp, a: ValueId, b: ValueId) -> super::super::fail::Res<ValueId> {
    let shape = shape::broadcast(cx.b.graph.shape(a), cx.b.graph.shape(b))?;
    cx.emit(suffix, Op::Binary { op, act: Act::None }, &[a, b], &shape)
}

pub(super) fn binary(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let op = match cx.node.op_type {
        "Add" => BinaryOp::Add,
        "Sub" => BinaryOp::Sub,
        "Mul" => BinaryOp::Mul,
        _ => BinaryOp::Div,
    };
    let (a, b) = (cx.runtime(0)?, cx.runtime(1)?);
    Ok(vec![node(cx, "", op, a, b)?])
}

/// Min, Max, Sum and Mean of any number of tensors. What is computed comes first, so that no node has only constants.
pub(super) fn variadic(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let op = match cx.node.op_type {
        "Min" => BinaryOp::Min,
        "Max" => BinaryOp::Max,
        _ => BinaryOp::Add,
    };
    let n = cx.inputs.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&i| cx.is_const(i));
    let mean = cx.node.op_type == "Mean" && n > 1;
    let Some(&first) = order.first() else { return bad("there are no inputs") };
    let mut acc = cx.runtime(first)?;
    for (done, &i) in order.iter().enumerate().skip(1) {
        let b = cx.runtime(i)?;
        let last = done + 1 == n && !mean;
        acc = node(cx, &if last { String::new() } else { done.to_string() }, op, acc, b)?;
    }
    if mean {
        let count = cx.number(n as f32);
        acc = node(cx, "", BinaryOp::Div, acc, count)?;
    }
    Ok(vec![acc])
}

/// Powers: products, a root or a quotient where the exponent is one number of those, otherwise a step of its own.
pub(super) fn pow(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let exponent = match cx.operand(1).clone() {
        Operand::None | Operand::Sequence(_) => return bad("the exponent is missing"),
        Operand::Runtime(v) => return general(cx, v),
        Operand::Const { value, .. } => value,
    };
    cx.b.charge(exponent.len())?;
    let values: Vec<f32> = match &exponent.data {
        Data::Int(v) => v.iter().map(|&v| v as f32).collect(),
        Data::Float(v) => v.to_vec(),
        Data::Double(v) => v.iter().map(|&v| v as f32).collect(),
    };
    let e = values.first().copied().unwrap_or(f32::NAN);
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let known = [-1.0, 0.5, 1.0, 2.0, 3.0].contains(&e) && !cx.is_const(0);
    if !known || values.iter().any(|&v| v != e) || shape::broadcast(&xs, &exponent.dims)? != xs {
        if values.is_empty() {
            return bad("there is no exponent");
        }
        let v = cx.b.graph.constant(format!("{}/exponent", cx.name), &exponent.dims, std::sync::Arc::new(values));
        return general(cx, v);
    }
    if e == 1.0 {
        Ok(vec![x])
    } else if e == 2.0 {
        Ok(vec![node(cx, "", BinaryOp::Mul, x, x)?])
    } else if e == 3.0 {
        let square = node(cx, "square", BinaryOp::Mul, x, x)?;
        Ok(vec![node(cx, "", BinaryOp::Mul, square, x)?])
    } else if e == 0.5 {
        Ok(vec![cx.emit("", Op::Act(Act::Sqrt), &[x], &xs)?])
    } else {
        let one = cx.number(1.0);
        Ok(vec![node(cx, "", BinaryOp::Div, one, x)?])
    }
}

fn general(cx: &mut Ctx<'_, '_, '_>, exponent: ValueId) -> Values {
    let x = cx.runtime(0)?;
    Ok(vec![node(cx, "", BinaryOp::Pow, x, exponent)?])
}

pub(super) fn unary(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    Ok(vec![match cx.node.op_type {
        "Reciprocal" => {
            let one = cx.number(1.0);
            node(cx, "", BinaryOp::Div, one, x)?
        }
        _ => {
            let minus = cx.number(-1.0);
            node(cx, "", BinaryOp::Mul, x, minus)?
        }
    }])
}
