//! Reductions over constant axes, and running sums.

use super::arithmetic::node;
use super::fail::{Res, bad};
use super::pieces::cut;
use super::schema::options::{CUMSUM_EXCLUSIVE, CUMSUM_REVERSE, REDUCER_KEEP_DIMS};
use super::{Ctx, Values, shape};
use crate::import::parts::whole;
use crate::ir::{BinaryOp, Op, ReduceKind, ValueId};

pub(super) fn reduce(cx: &mut Ctx<'_, '_>, kind: ReduceKind) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    let mut axes = cx.list(1)?.into_iter().map(|a| shape::axis(a, dims.len())).collect::<Res<Vec<usize>>>()?;
    axes.sort_unstable();
    axes.dedup();
    let keep_dims = cx.flag(REDUCER_KEEP_DIMS)?;
    let out: Vec<usize> =
        (0..dims.len()).filter(|i| keep_dims || !axes.contains(i)).map(|i| if axes.contains(&i) { 1 } else { dims[i] }).collect();
    Ok(vec![if axes.is_empty() { x } else { cx.emit("", Op::Reduce { kind, axes, keep_dims }, &[x], &out)? }])
}

/// To each element the one before it is added, then the sums of two before that, of four, and so on.
pub(super) fn running(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let [axis] = cx.list(1)?[..] else { return bad("the axis is not one number") };
    let dims = cx.shape(x);
    let axis = shape::axis(axis, dims.len())?;
    let (exclusive, reverse) = (cx.flag(CUMSUM_EXCLUSIVE)?, cx.flag(CUMSUM_REVERSE)?);
    let mut y = if exclusive { moved(cx, "before", x, axis, 1, reverse)? } else { x };
    let mut by = 1;
    while by < dims[axis] {
        let earlier = moved(cx, &format!("by {by}"), y, axis, by, reverse)?;
        by *= 2;
        let suffix = if by < dims[axis] { format!("sums of {by}") } else { String::new() };
        y = node(cx, &suffix, BinaryOp::Add, y, earlier)?;
    }
    Ok(vec![y])
}

/// A tensor moved by some elements along an axis, to the end or to the start, zeros behind it.
fn moved(cx: &mut Ctx<'_, '_>, suffix: &str, x: ValueId, axis: usize, by: usize, back: bool) -> Res<ValueId> {
    let dims = cx.shape(x);
    if by >= dims[axis] {
        let zero = cx.number(0.0);
        return cx.emit(suffix, Op::Broadcast, &[zero], &dims);
    }
    let mut parts = whole(&dims);
    parts[axis] = (if back { by as i64 } else { 0 }, dims[axis] - by, 1);
    let rest = cut(cx, &format!("{suffix}/rest"), x, &parts)?;
    let mut pads = vec![(0, 0); dims.len()];
    pads[axis] = if back { (0, by) } else { (by, 0) };
    cx.emit(suffix, Op::Pad { pads, value: 0.0 }, &[rest], &dims)
}
