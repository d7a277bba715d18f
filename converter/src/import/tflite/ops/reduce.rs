//! Reductions over constant axes.

use super::fail::Res;
use super::schema::options::REDUCER_KEEP_DIMS;
use super::{Ctx, Values, shape};
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
