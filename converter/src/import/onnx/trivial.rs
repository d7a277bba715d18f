//! Operators that do nothing, or give what does not depend on the values of their inputs: along an axis of one element, of optional
//! tensors that are there, of loops that nobody enters.

use super::fail::{Res, unsupported};
use super::node::{Ctx, Operand};
use super::shape;
use super::tensor::{Const, Data};
use crate::ir::{Op, ValueId};

/// The results, or none where the operator has something to do.
type Trivial = fn(&mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>>;

/// How an operator is looked at; `None` for one that always does something.
pub(super) fn find(op: &str) -> Option<Trivial> {
    Some(match op {
        "Optional" | "OptionalGetElement" => optional,
        "OptionalHasElement" => |cx| {
            let there = !matches!(cx.operand(0), Operand::None);
            Ok(Some(vec![Operand::constant(Const::truths(vec![], [there].into_iter()), "there")]))
        },
        "ArgMax" | "ArgMin" => arg,
        "Hardmax" => hardmax,
        "TopK" => top,
        "CumProd" => cum_prod,
        "Det" => det,
        "Loop" => never,
        _ => return None,
    })
}

/// [`find`] and what it says of a node.
pub(super) fn evaluate(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    find(cx.node.op_type).map_or(Ok(None), |look| look(cx))
}

fn optional(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    cx.ignore(&["type"]);
    match cx.operand(0) {
        Operand::None => unsupported("an optional tensor that is not there", "leave out what reads it"),
        there => Ok(Some(vec![there.clone()])),
    }
}

/// A tensor that the network computes, its shape and an axis of one element.
fn single(cx: &Ctx<'_, '_, '_>, axis: i64) -> Res<Option<(ValueId, Vec<usize>, usize)>> {
    let &Operand::Runtime(x) = cx.operand(0) else { return Ok(None) };
    let dims = cx.shape(x);
    let axis = shape::axis(axis, dims.len())?;
    Ok((dims[axis] == 1).then_some((x, dims, axis)))
}

/// A constant of one number for an operator.
fn filled(cx: &mut Ctx<'_, '_, '_>, dims: Vec<usize>, value: i64, whole: bool) -> Res<Operand> {
    let n: usize = dims.iter().product();
    cx.b.charge(n)?;
    let made = if whole { Const::ints(dims, vec![value; n]) } else { Const::floats(dims, vec![value as f32; n]) };
    Ok(Operand::constant(made, cx.node.op_type))
}

/// The first of one.
fn arg(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    let (axis, keep) = (cx.int("axis", 0)?, cx.flag("keepdims", true)?);
    cx.ignore(&["select_last_index"]);
    let Some((_, mut dims, axis)) = single(cx, axis)? else { return Ok(None) };
    if !keep {
        dims.remove(axis);
    }
    Ok(Some(vec![filled(cx, dims, 0, true)?]))
}

/// The one element is the largest. Before opset 13 all axes from the one that is named count as one.
fn hardmax(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    let flat = cx.opset() < 13;
    let axis = cx.int("axis", if flat { 1 } else { -1 })?;
    let Some((_, dims, axis)) = single(cx, axis)? else { return Ok(None) };
    if flat && dims[axis..].iter().any(|&d| d != 1) {
        return Ok(None);
    }
    Ok(Some(vec![filled(cx, dims, 1, false)?]))
}

fn top(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    let axis = cx.int("axis", -1)?;
    let one = match cx.operand(1) {
        Operand::Const { value: Const { data: Data::Int(k), .. }, .. } => k[..] == [1],
        _ => cx.has("k") && cx.int("k", 0)? == 1,
    };
    cx.ignore(&["largest", "sorted"]);
    match single(cx, axis)? {
        Some((x, dims, _)) if one => Ok(Some(vec![Operand::Runtime(x), filled(cx, dims, 0, true)?])),
        _ => Ok(None),
    }
}

fn cum_prod(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    let exclusive = cx.flag("exclusive", false)?;
    cx.ignore(&["reverse"]);
    let axis = match cx.operand(1) {
        Operand::Const { value: Const { data: Data::Int(axis), .. }, .. } if axis.len() == 1 => axis[0],
        _ => return Ok(None),
    };
    Ok(single(cx, axis)?.filter(|_| !exclusive).map(|(x, ..)| vec![Operand::Runtime(x)]))
}

/// The determinant of one number is that number.
fn det(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    let &Operand::Runtime(x) = cx.operand(0) else { return Ok(None) };
    match &cx.shape(x)[..] {
        [lead @ .., 1, 1] => Ok(Some(vec![Operand::Runtime(cx.emit("", Op::Reshape, &[x], lead)?)])),
        _ => Ok(None),
    }
}

/// A loop of no rounds gives what it was given.
fn never(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    cx.ignore(&["body"]);
    let is = |i: usize, least: i64| match cx.operand(i) {
        Operand::Const { value: Const { data: Data::Int(v), .. }, .. } => v.len() == 1 && v[0] < least,
        _ => false,
    };
    let carried = cx.inputs.get(2..).unwrap_or(&[]);
    if !(is(0, 1) || is(1, 1)) || cx.node.outputs.len() > carried.len() {
        return unsupported("the operator is not supported", super::ops::remedy("Loop"));
    }
    Ok(Some(carried.to_vec()))
}
