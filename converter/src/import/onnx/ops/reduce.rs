//! Reductions.

use super::super::fail::{Res, bad};
use super::super::node::Ctx;
use super::super::shape;
use super::Values;
use crate::ir::{Act, BinaryOp, Op, ReduceKind, Unary, ValueId};

pub(super) fn global(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let mut dims = cx.shape(x);
    if dims.len() < 3 {
        return bad(format!("an input of shape {dims:?} has no spatial axes"));
    }
    dims[2..].fill(1);
    let kind = if cx.node.op_type == "GlobalMaxPool" { ReduceKind::Max } else { ReduceKind::Mean };
    let op = Op::Reduce { kind, axes: (2..dims.len()).collect(), keep_dims: true };
    Ok(vec![cx.emit("", op, &[x], &dims)?])
}

/// Axes are an attribute, or since opset 13 (sum) and 18 (the others) an input; none means all.
pub(super) fn reduce(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let keep_dims = cx.flag("keepdims", true)?;
    let noop = cx.flag("noop_with_empty_axes", false)?;
    let mut axes = match cx.axes(1)? {
        Some(a) if !a.is_empty() => shape::axes(&a, xs.len())?,
        _ if noop => vec![],
        _ => (0..xs.len()).collect(),
    };
    axes.sort_unstable();
    let dims: Vec<usize> =
        (0..xs.len()).filter(|i| keep_dims || !axes.contains(i)).map(|i| if axes.contains(&i) { 1 } else { xs[i] }).collect();
    let op = cx.node.op_type;
    let fold = |cx: &mut Ctx<'_, '_, '_>, suffix: &str, kind: ReduceKind, x: ValueId, keep_dims: bool, dims: &[usize]| {
        if axes.is_empty() { Ok(x) } else { cx.emit(suffix, Op::Reduce { kind, axes: axes.clone(), keep_dims }, &[x], dims) }
    };
    let sum = |cx: &mut Ctx<'_, '_, '_>, x: ValueId| fold(cx, "sum", ReduceKind::Sum, x, keep_dims, &dims);
    let y = match op {
        "ReduceMean" => fold(cx, "", ReduceKind::Mean, x, keep_dims, &dims)?,
        "ReduceSum" => fold(cx, "", ReduceKind::Sum, x, keep_dims, &dims)?,
        "ReduceMax" => fold(cx, "", ReduceKind::Max, x, keep_dims, &dims)?,
        "ReduceMin" => fold(cx, "", ReduceKind::Min, x, keep_dims, &dims)?,
        "ReduceProd" => fold(cx, "", ReduceKind::Product, x, keep_dims, &dims)?,
        "ReduceL1" => {
            let magnitude = cx.emit("magnitude", Op::Unary(Unary::Abs), &[x], &xs)?;
            sum(cx, magnitude)?
        }
        "ReduceL2" | "ReduceSumSquare" => {
            let square = binary(cx, "square", BinaryOp::Mul, x, x, &xs)?;
            let total = sum(cx, square)?;
            if op == "ReduceL2" { cx.emit("", Op::Act(Act::Sqrt), &[total], &dims)? } else { total }
        }
        "ReduceLogSum" => {
            let total = sum(cx, x)?;
            cx.emit("", Op::Unary(Unary::Log), &[total], &dims)?
        }
        // The largest apart, so that no exponential overflows.
        _ => {
            let kept: Vec<usize> = (0..xs.len()).map(|i| if axes.contains(&i) { 1 } else { xs[i] }).collect();
            let largest = fold(cx, "largest", ReduceKind::Max, x, true, &kept)?;
            // Less a number even where the largest is none.
            let finite = Op::Act(Act::Clamp { lo: f32::MIN, hi: f32::MAX });
            let largest = cx.emit("finite", finite, &[largest], &kept)?;
            let shifted = binary(cx, "shifted", BinaryOp::Sub, x, largest, &xs)?;
            let powers = cx.emit("powers", Op::Act(Act::Exp), &[shifted], &xs)?;
            let total = sum(cx, powers)?;
            let log = cx.emit("log", Op::Unary(Unary::Log), &[total], &dims)?;
            let largest = if kept == dims { largest } else { cx.emit("axes", Op::Reshape, &[largest], &dims)? };
            binary(cx, "", BinaryOp::Add, log, largest, &dims)?
        }
    };
    Ok(vec![y])
}

fn binary(cx: &mut Ctx<'_, '_, '_>, suffix: &str, op: BinaryOp, a: ValueId, b: ValueId, shape: &[usize]) -> Res<ValueId> {
    cx.emit(suffix, Op::Binary { op, act: Act::None }, &[a, b], shape)
}
