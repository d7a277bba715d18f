//! Comparisons, and what is chosen by them. A truth value is 1 or 0.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::{Ctx, Operand};
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::Values;
use crate::ir::{Act, BinaryOp, Op, ValueId};
use std::sync::Arc;

pub(super) fn node(cx: &mut Ctx<'_, '_, '_>, suffix: &str, op: BinaryOp, a: ValueId, b: ValueId) -> Res<ValueId> {
    let shape = shape::broadcast(cx.b.graph.shape(a), cx.b.graph.shape(b))?;
    cx.emit(suffix, Op::Binary { op, act: Act::None }, &[a, b], &shape)
}

/// A tensor of numbers or truth values; constants become floats.
fn value(cx: &mut Ctx<'_, '_, '_>, i: usize) -> Res<ValueId> {
    match cx.operand(i).clone() {
        Operand::Const { value: Const { dims, data: Data::Int(v), .. }, name } => {
            cx.b.charge(v.len())?;
            if v.is_empty() || v.iter().any(|v| v.unsigned_abs() > 1 << 24) {
                return unsupported(format!("integers in input {i}"), "use floats");
            }
            let data = v.iter().map(|&v| v as f32).collect();
            Ok(cx.b.graph.constant(&*name, &dims, Arc::new(data)))
        }
        _ => cx.runtime(i),
    }
}

pub(super) fn compare(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let (a, b) = (value(cx, 0)?, value(cx, 1)?);
    let y = match cx.node.op_type {
        "Greater" => node(cx, "", BinaryOp::Greater, a, b)?,
        "Less" => node(cx, "", BinaryOp::Greater, b, a)?,
        "GreaterOrEqual" => node(cx, "", BinaryOp::AtLeast, a, b)?,
        "LessOrEqual" => node(cx, "", BinaryOp::AtLeast, b, a)?,
        "Equal" => node(cx, "", BinaryOp::Equal, a, b)?,
        "And" => node(cx, "", BinaryOp::Min, a, b)?,
        "Or" => node(cx, "", BinaryOp::Max, a, b)?,
        // Xor.
        _ => {
            let same = node(cx, "same", BinaryOp::Equal, a, b)?;
            not(cx, "", same)?
        }
    };
    cx.b.truths.insert(y);
    Ok(vec![y])
}

pub(super) fn negate(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let y = not(cx, "", x)?;
    cx.b.truths.insert(y);
    Ok(vec![y])
}

/// Whether elements are other than 0.
pub(super) fn truth(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    if cx.b.truths.contains(&x) {
        return Ok(vec![x]);
    }
    let zero = cx.number(0.0);
    let same = node(cx, "zero", BinaryOp::Equal, x, zero)?;
    let y = not(cx, "", same)?;
    cx.b.truths.insert(y);
    Ok(vec![y])
}

fn not(cx: &mut Ctx<'_, '_, '_>, suffix: &str, x: ValueId) -> Res<ValueId> {
    let one = cx.number(1.0);
    node(cx, suffix, BinaryOp::Sub, one, x)
}

/// `a` where the condition holds and 0 elsewhere, plus `b` where it does not: exact, whatever the two are.
pub(super) fn select(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let same = match cx.operand(0) {
        Operand::Const { value: Const { data: Data::Int(v), .. }, .. } if !v.is_empty() => {
            v.iter().all(|&c| (c != 0) == (v[0] != 0)).then_some(v[0] != 0)
        }
        _ => None,
    };
    if let Some(first) = same {
        let dim = |o: &Operand| match o {
            Operand::Runtime(v) => Ok(cx.shape(*v)),
            Operand::Const { value, .. } => Ok(value.dims.clone()),
            Operand::None | Operand::Sequence(_) => bad("an input is no tensor"),
        };
        let (a, b) = (dim(cx.operand(1))?, dim(cx.operand(2))?);
        let dims = shape::broadcast(&shape::broadcast(&a, &b)?, &dim(cx.operand(0))?)?;
        let x = cx.runtime(if first { 1 } else { 2 })?;
        if cx.b.graph.shape(x) == dims {
            return Ok(vec![x]);
        }
        return Ok(vec![cx.emit("", Op::Broadcast, &[x], &dims)?]);
    }
    let (c, a, b) = (value(cx, 0)?, cx.runtime(1)?, cx.runtime(2)?);
    Ok(vec![either(cx, c, a, b)?])
}

/// `a` where `c` is 1, otherwise `b`.
pub(super) fn either(cx: &mut Ctx<'_, '_, '_>, c: ValueId, a: ValueId, b: ValueId) -> Res<ValueId> {
    let other = not(cx, "not", c)?;
    let first = node(cx, "then", BinaryOp::Where, a, c)?;
    let second = node(cx, "else", BinaryOp::Where, b, other)?;
    node(cx, "", BinaryOp::Add, first, second)
}
