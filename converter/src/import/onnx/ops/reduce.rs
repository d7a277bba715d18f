//! Reductions.

use super::super::fail::bad;
use super::super::node::Ctx;
use super::super::shape;
use super::Values;
use crate::ir::{Op, ReduceKind};

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
        _ if noop => return Ok(vec![x]),
        _ => (0..xs.len()).collect(),
    };
    axes.sort_unstable();
    if axes.is_empty() {
        return Ok(vec![x]);
    }
    let dims: Vec<usize> =
        (0..xs.len()).filter(|i| keep_dims || !axes.contains(i)).map(|i| if axes.contains(&i) { 1 } else { xs[i] }).collect();
    let kind = match cx.node.op_type {
        "ReduceMean" => ReduceKind::Mean,
        "ReduceSum" => ReduceKind::Sum,
        _ => ReduceKind::Max,
    };
    Ok(vec![cx.emit("", Op::Reduce { kind, axes, keep_dims }, &[x], &dims)?])
}
