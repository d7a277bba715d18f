//! Reductions.

use super::super::fail::bad;
use super::super::node::Ctx;
use super::super::shape;
use super::Values;
use crate::import::parts;
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
    let fold = |cx: &mut Ctx<'_, '_, '_>, suffix: &str, kind: ReduceKind, x: ValueId| {
        if axes.is_empty() { Ok(x) } else { cx.emit(suffix, Op::Reduce { kind, axes: axes.clone(), keep_dims }, &[x], &dims) }
    };
    let sum = |cx: &mut Ctx<'_, '_, '_>, x: ValueId| fold(cx, "sum", ReduceKind::Sum, x);
    let y = match op {
        "ReduceMean" => fold(cx, "", ReduceKind::Mean, x)?,
        "ReduceSum" => fold(cx, "", ReduceKind::Sum, x)?,
        "ReduceMax" => fold(cx, "", ReduceKind::Max, x)?,
        "ReduceMin" => fold(cx, "", ReduceKind::Min, x)?,
        "ReduceProd" => fold(cx, "", ReduceKind::Product, x)?,
        "ReduceL1" => {
            let magnitude = cx.emit("magnitude", Op::Unary(Unary::Abs), &[x], &xs)?;
            sum(cx, magnitude)?
        }
        "ReduceL2" | "ReduceSumSquare" => {
            let square = cx.emit("square", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[x, x], &xs)?;
            let total = sum(cx, square)?;
            if op == "ReduceL2" { cx.emit("", Op::Act(Act::Sqrt), &[total], &dims)? } else { total }
        }
        "ReduceLogSum" => {
            let total = sum(cx, x)?;
            cx.emit("", Op::Unary(Unary::Log), &[total], &dims)?
        }
        // Of each element alone it is what it was.
        _ if axes.is_empty() => x,
        _ => parts::log_sum_exp(cx, x, &axes, keep_dims)?,
    };
    Ok(vec![y])
}
