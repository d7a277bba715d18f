//! Arithmetic with numpy broadcasting.

use super::super::fail::{bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use super::Values;
use super::conv::floats;
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
    let (a, b) = (cx.value(0)?, cx.value(1)?);
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
        let b = cx.value(i)?;
        let last = done + 1 == n && !mean;
        acc = node(cx, &if last { String::new() } else { done.to_string() }, op, acc, b)?;
    }
    if mean {
        let count = cx.number(n as f32);
        acc = node(cx, "", BinaryOp::Div, acc, count)?;
    }
    Ok(vec![acc])
}

/// Powers that are products, a root or a quotient.
pub(super) fn pow(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let Some(c) = cx.constant(1)?.cloned() else { return bad("the exponent is missing") };
    cx.b.charge(c.len())?;
    if shape::broadcast(&xs, &c.dims)? != xs {
        return unsupported(format!("an exponent of shape {:?}", c.dims), "use one exponent");
    }
    let values: Vec<f32> = match &c.data {
        super::super::tensor::Data::Int(v) => v.iter().map(|&v| v as f32).collect(),
        super::super::tensor::Data::Float(_) => floats(&c)?.to_vec(),
    };
    let e = values.first().copied().unwrap_or(f32::NAN);
    if values.iter().any(|&v| v != e) {
        return unsupported("exponents that differ", "use one exponent");
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
    } else if e == -1.0 {
        let one = cx.number(1.0);
        Ok(vec![node(cx, "", BinaryOp::Div, one, x)?])
    } else {
        unsupported(format!("exponent {e}"), "only -1, 0.5, 1, 2 and 3 are supported")
    }
}

pub(super) fn unary(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    Ok(vec![match cx.node.op_type {
        "Reciprocal" => {
            let one = cx.number(1.0);
            node(cx, "", BinaryOp::Div, one, x)?
        }
        "Neg" => {
            let minus = cx.number(-1.0);
            node(cx, "", BinaryOp::Mul, x, minus)?
        }
        _ => {
            let minus = cx.number(-1.0);
            let negated = node(cx, "negated", BinaryOp::Mul, x, minus)?;
            node(cx, "", BinaryOp::Max, x, negated)?
        }
    }])
}
