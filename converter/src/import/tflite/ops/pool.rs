//! Pooling. Padding never counts.

use super::fail::Res;
use super::schema::options::pool as field;
use super::window::{padding, pair, window};
use super::{Ctx, Values};
use crate::ir::{Act, BinaryOp, Op, PoolKind, ValueId};

pub(super) fn max(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    pooled(cx, PoolKind::Max, x)
}

pub(super) fn average(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    pooled(cx, PoolKind::Average, x)
}

/// The root of the mean square.
pub(super) fn l2(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    let square = cx.emit("square", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[x, x], &dims)?;
    let mean = pool(cx, "mean", PoolKind::Average, square)?;
    let act = cx.activation(field::ACTIVATION)?;
    let root = cx.act(if act == Act::None { "" } else { "root" }, mean, Act::Sqrt)?;
    Ok(vec![cx.act("", root, act)?])
}

fn pooled(cx: &mut Ctx<'_, '_>, kind: PoolKind, x: ValueId) -> Values {
    let act = cx.activation(field::ACTIVATION)?;
    let y = pool(cx, if act == Act::None { "" } else { "pool" }, kind, x)?;
    Ok(vec![cx.act("", y, act)?])
}

fn pool(cx: &mut Ctx<'_, '_>, suffix: &str, kind: PoolKind, x: ValueId) -> Res<ValueId> {
    let [n, h, w, c] = cx.image(x)?;
    let (kernel, stride) = (pair(cx, "filter", field::KERNEL, 0)?, pair(cx, "stride", field::STRIDE, 0)?);
    let (window, out) = window(padding(cx, field::PADDING)?, [h, w], kernel, stride, [1, 1])?;
    cx.emit(suffix, Op::Pool { kind, window, residual: false }, &[x], &[n, out[0], out[1], c])
}
