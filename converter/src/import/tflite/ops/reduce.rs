//! Reductions over constant axes.

use super::arithmetic::node;
use super::fail::{Res, bad, unsupported};
use super::schema::options::REDUCER_KEEP_DIMS;
use super::{Ctx, Values, shape};
use crate::ir::{BinaryOp, Op, ReduceKind, ValueId};

pub(super) fn reduce(cx: &mut Ctx<'_, '_>, kind: ReduceKind) -> Values {
    let x = cx.value(0)?;
    Ok(vec![over(cx, "", kind, x)?])
}

fn over(cx: &mut Ctx<'_, '_>, suffix: &str, kind: ReduceKind, x: ValueId) -> Res<ValueId> {
    let dims = cx.shape(x);
    let mut axes = cx.list(1)?.into_iter().map(|a| shape::axis(a, dims.len())).collect::<Res<Vec<usize>>>()?;
    axes.sort_unstable();
    axes.dedup();
    let keep_dims = cx.flag(REDUCER_KEEP_DIMS)?;
    let out: Vec<usize> =
        (0..dims.len()).filter(|i| keep_dims || !axes.contains(i)).map(|i| if axes.contains(&i) { 1 } else { dims[i] }).collect();
    if axes.is_empty() { Ok(x) } else { cx.emit(suffix, Op::Reduce { kind, axes, keep_dims }, &[x], &out) }
}

/// The negated maximum of what is negated.
pub(super) fn min(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let minus = cx.number(-1.0);
    let negated = node(cx, "negated", BinaryOp::Mul, x, minus)?;
    let max = over(cx, "max", ReduceKind::Max, negated)?;
    Ok(vec![node(cx, "", BinaryOp::Mul, max, minus)?])
}

/// The product of all of a few constants, as the arithmetic of shapes has it.
pub(super) fn product(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let data = match cx.b.graph.data(x) {
        Some(data) if data.len() <= 4096 => data.clone(),
        _ => return unsupported("a product that is computed at run time", "make the model with a fixed shape"),
    };
    if cx.shape(x).len() != 1 || cx.list(1)?.iter().any(|a| ![0, -1].contains(a)) {
        return bad("a product over something else than a list");
    }
    let product = cx.number(data.iter().product());
    let dims = if cx.flag(REDUCER_KEEP_DIMS)? { vec![1] } else { vec![] };
    Ok(vec![cx.emit("", Op::Reshape, &[product], &dims)?])
}
