//! Reductions over constant axes, and running sums.

use super::fail::{Res, bad};
use super::schema::options::{CUMSUM_EXCLUSIVE, CUMSUM_REVERSE, REDUCER_KEEP_DIMS};
use super::{Ctx, Values, shape};
use crate::import::parts::running_sum;
use crate::ir::{Op, ReduceKind};

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

pub(super) fn running(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let [axis] = cx.list(1)?[..] else { return bad("the axis is not one number") };
    let axis = shape::axis(axis, cx.shape(x).len())?;
    let (exclusive, reverse) = (cx.flag(CUMSUM_EXCLUSIVE)?, cx.flag(CUMSUM_REVERSE)?);
    Ok(vec![running_sum(cx, x, axis, exclusive, reverse)?])
}
