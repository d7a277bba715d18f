//! Functions of one element, comparisons, and what is chosen by them. A truth value is 1 or 0.

use super::arithmetic::node;
use super::fail::{Res, bad};
use super::schema::options as field;
use super::{Ctx, Values, shape};
use crate::ir::{BinaryOp, Op, Unary, ValueId};

/// One that is a step.
pub(super) fn unary(cx: &mut Ctx<'_, '_>, function: Unary) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    Ok(vec![cx.emit("", Op::Unary(function), &[x], &dims)?])
}

/// The quotient, rounded down.
pub(super) fn floor_div(cx: &mut Ctx<'_, '_>) -> Values {
    let (a, b) = (cx.value(0)?, cx.value(1)?);
    let quotient = node(cx, "quotient", BinaryOp::Div, a, b)?;
    let dims = cx.shape(quotient);
    Ok(vec![cx.emit("", Op::Unary(Unary::Floor), &[quotient], &dims)?])
}

/// Whether `op` holds; `swapped` exchanges the operands.
pub(super) fn compare(cx: &mut Ctx<'_, '_>, op: BinaryOp, swapped: bool) -> Values {
    let (a, b) = (cx.value(0)?, cx.value(1)?);
    let (a, b) = if swapped { (b, a) } else { (a, b) };
    Ok(vec![node(cx, "", op, a, b)?])
}

pub(super) fn not_equal(cx: &mut Ctx<'_, '_>) -> Values {
    let (a, b) = (cx.value(0)?, cx.value(1)?);
    let same = node(cx, "same", BinaryOp::Equal, a, b)?;
    Ok(vec![not(cx, "", same)?])
}

pub(super) fn negate(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    Ok(vec![not(cx, "", x)?])
}

fn not(cx: &mut Ctx<'_, '_>, suffix: &str, x: ValueId) -> Res<ValueId> {
    let one = cx.number(1.0);
    node(cx, suffix, BinaryOp::Sub, one, x)
}

/// `a` where the condition holds and 0 elsewhere, plus `b` where it does not: exact, whatever the two are. A condition that is the same
/// everywhere takes one of them. SELECT lets a list choose among rows, which no broadcast does.
pub(super) fn select(cx: &mut Ctx<'_, '_>, rows: bool) -> Values {
    let (mut c, a, b) = (cx.value(0)?, cx.value(1)?, cx.value(2)?);
    let rank = cx.shape(a).len();
    if rows && cx.shape(c).len() == 1 && rank > 1 {
        let mut dims = vec![1; rank];
        dims[0] = cx.shape(c)[0];
        c = cx.emit("rows", Op::Reshape, &[c], &dims)?;
    }
    let both = shape::broadcast(cx.b.graph.shape(a), cx.b.graph.shape(b))?;
    let dims = shape::broadcast(&both, cx.b.graph.shape(c))?;
    if let Some(data) = cx.b.graph.data(c).cloned() {
        cx.b.budget.pay(data.len())?;
        let Some(&first) = data.first() else { return bad("an empty condition") };
        if data.iter().all(|&v| (v != 0.0) == (first != 0.0)) {
            let x = if first != 0.0 { a } else { b };
            return Ok(vec![if cx.shape(x) == dims { x } else { cx.emit("", Op::Broadcast, &[x], &dims)? }]);
        }
    }
    let other = not(cx, "not", c)?;
    let first = node(cx, "then", BinaryOp::Where, a, c)?;
    let second = node(cx, "else", BinaryOp::Where, b, other)?;
    Ok(vec![node(cx, "", BinaryOp::Add, first, second)?])
}

pub(super) fn gelu(cx: &mut Ctx<'_, '_>) -> Values {
    if cx.flag(field::GELU_APPROXIMATE)? { super::activation::gelu(cx) } else { unary(cx, Unary::Gelu) }
}
