//! Operators that cut tensors and put them together.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::{Ctx, Operand};
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::{Values, layout};
use crate::ir::{Op, ValueId};

/// More pieces than this make no sense for a Gather.
const MAX_PIECES: usize = 64;

pub(super) fn concat(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let parts = (0..cx.inputs.len()).map(|i| cx.value(i)).collect::<Res<Vec<ValueId>>>()?;
    let shapes: Vec<Vec<usize>> = parts.iter().map(|&v| cx.shape(v)).collect();
    let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    let (axis, dims) = layout::concat_shape(cx, &shapes)?;
    if let [only] = parts[..] {
        return Ok(vec![only]);
    }
    Ok(vec![cx.emit("", Op::Concat { axis }, &parts, &dims)?])
}

pub(super) fn slice(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let parts = layout::slices(cx, &xs)?;
    if let Some(p) = parts.iter().find(|p| p.2 < 0) {
        return unsupported(format!("a step of {}", p.2), "only positive steps are supported");
    }
    Ok(vec![cut(cx, "", x, &parts)?])
}

/// One Slice, or nothing where everything is taken.
fn cut(cx: &mut Ctx<'_, '_, '_>, suffix: &str, x: ValueId, parts: &[(i64, usize, i64)]) -> Res<ValueId> {
    let dims: Vec<usize> = parts.iter().map(|p| p.1).collect();
    if cx.b.graph.shape(x) == dims {
        return Ok(x);
    }
    let start = parts.iter().map(|p| p.0 as usize).collect();
    // The step does not matter where one element is taken.
    let step = parts.iter().map(|p| if p.1 > 1 { p.2 as usize } else { 1 }).collect();
    cx.emit(suffix, Op::Slice { start, step }, &[x], &dims)
}

fn whole(dims: &[usize]) -> Vec<(i64, usize, i64)> {
    dims.iter().map(|&d| (0, d, 1)).collect()
}

/// One Slice per output that somebody reads.
pub(super) fn split(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let (axis, lens) = layout::splits(cx, &xs)?;
    let mut out = vec![];
    let mut at = 0;
    for (i, len) in lens.into_iter().enumerate() {
        let mut parts = whole(&xs);
        parts[axis] = (at, len, 1);
        at += len as i64;
        let name = cx.node.outputs[i];
        let read = !name.is_empty() && cx.b.used.contains(name);
        // What nobody reads may be anything, even empty.
        out.push(if read { cut(cx, &i.to_string(), x, &parts)? } else { x });
    }
    Ok(out)
}

/// Constant indices: a scalar takes one element and drops the axis, a list is a join of slices.
pub(super) fn gather(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let axis = shape::axis(cx.int("axis", 0)?, xs.len())?;
    let Some(Const { dims, data: Data::Int(indices) }) = cx.constant(1)?.cloned() else { return bad("the indices are missing") };
    if dims.len() > 1 {
        return unsupported(format!("indices of shape {dims:?}"), "use a list of indices");
    }
    cx.b.charge(indices.len())?;
    let extent = xs[axis] as i64;
    let indices: Vec<i64> = indices
        .iter()
        .map(|&i| if i < 0 { i.saturating_add(extent) } else { i })
        .map(|i| if (0..extent).contains(&i) { Ok(i) } else { bad(format!("index {i} of {extent}")) })
        .collect::<Res<_>>()?;
    let runs = runs(&indices);
    if runs.len() > MAX_PIECES {
        return unsupported(format!("{} indices in no order", indices.len()), "order the channels in the weights");
    }
    let mut pieces = vec![];
    for (i, run) in runs.iter().enumerate() {
        let mut parts = whole(&xs);
        parts[axis] = *run;
        let suffix = if runs.len() == 1 && !dims.is_empty() { String::new() } else { i.to_string() };
        pieces.push(cut(cx, &suffix, x, &parts)?);
    }
    let mut shape = xs;
    if dims.is_empty() {
        shape.remove(axis);
        return Ok(vec![cx.emit("", Op::Reshape, &pieces, &shape)?]);
    }
    shape[axis] = indices.len();
    match pieces[..] {
        [] => unsupported("no indices", "the result is empty"),
        [only] => Ok(vec![only]),
        _ => Ok(vec![cx.emit("", Op::Concat { axis }, &pieces, &shape)?]),
    }
}

/// Start, length and step of stretches with one positive step.
fn runs(indices: &[i64]) -> Vec<(i64, usize, i64)> {
    let mut runs: Vec<(i64, usize, i64)> = vec![];
    for &i in indices {
        match runs.last_mut() {
            Some((start, len @ 1, step)) if i > *start => (*len, *step) = (2, i - *start),
            Some((start, len, step)) if *len > 1 && i == *start + *len as i64 * *step => *len += 1,
            _ => runs.push((i, 1, 1)),
        }
    }
    runs
}

/// Zeros or another constant around; a negative pad cuts.
pub(super) fn pad(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let rank = xs.len();
    let (list, value, axes) = if cx.opset() < 11 {
        (cx.int_list("pads")?, cx.bound("value", 0.0)?, None)
    } else {
        (cx.ints(1)?, cx.scalar_float(2)?.unwrap_or(0.0), cx.ints(3)?)
    };
    let axes = match axes {
        Some(a) => shape::axes(&a, rank)?,
        None => (0..rank).collect(),
    };
    let Some(list) = list.filter(|l| l.len() == 2 * axes.len()) else {
        return bad(format!("pads are missing or do not fit {xs:?}"));
    };
    let mut pads = vec![(0i64, 0i64); rank];
    for (i, &a) in axes.iter().enumerate() {
        pads[a] = (list[i], list[axes.len() + i]);
    }
    if pads.iter().all(|&p| p == (0, 0)) {
        cx.ignore(&["mode"]);
        return Ok(vec![x]);
    }
    match cx.string("mode", "constant")? {
        "constant" => {}
        other => return unsupported(format!("mode {other:?}"), "only constant padding is supported"),
    }
    if pads.iter().any(|p| p.0.max(p.1) > shape::MAX_ELEMENTS as i64) {
        return bad(format!("pads are {pads:?}"));
    }
    let mut parts = whole(&xs);
    for (part, &(before, after)) in parts.iter_mut().zip(&pads) {
        let (cut_before, cut_after) = (before.min(0).saturating_neg(), after.min(0).saturating_neg());
        let left = (part.1 as i64).saturating_sub(cut_before).saturating_sub(cut_after);
        if left <= 0 {
            return unsupported(format!("pads {pads:?} of {xs:?}"), "the result is empty");
        }
        (part.0, part.1) = (cut_before, left as usize);
    }
    let grow: Vec<(usize, usize)> = pads.iter().map(|p| (p.0.max(0) as usize, p.1.max(0) as usize)).collect();
    let grows = grow.iter().any(|&g| g != (0, 0));
    let x = cut(cx, if grows { "cut" } else { "" }, x, &parts)?;
    if !grows {
        return Ok(vec![x]);
    }
    let dims: Vec<usize> = cx.shape(x).iter().zip(&grow).map(|(d, g)| d + g.0 + g.1).collect();
    Ok(vec![cx.emit("", Op::Pad { pads: grow, value }, &[x], &dims)?])
}

pub(super) fn expand(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let target = shape::from_i64(&cx.ints(1)?.unwrap_or_default())?;
    let dims = shape::broadcast(&cx.shape(x), &target)?;
    Ok(vec![broadcast(cx, x, &dims)?])
}

fn broadcast(cx: &mut Ctx<'_, '_, '_>, x: ValueId, dims: &[usize]) -> Res<ValueId> {
    if cx.b.graph.shape(x) == dims {
        return Ok(x);
    }
    cx.emit("", Op::Broadcast, &[x], dims)
}

/// Repetition of extents of 1; longer ones are joined with themselves.
pub(super) fn tile(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let mut x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let repeats = shape::from_i64(&cx.ints(1)?.unwrap_or_default())?;
    if repeats.len() != xs.len() {
        return bad(format!("{} repeats for {} axes", repeats.len(), xs.len()));
    }
    let mut dims = xs.clone();
    for axis in 0..xs.len() {
        if xs[axis] == 1 || repeats[axis] == 1 {
            continue;
        }
        if repeats[axis] > MAX_PIECES || repeats[axis] == 0 {
            return unsupported(format!("{} repeats", repeats[axis]), format!("repeat at most {MAX_PIECES} times"));
        }
        dims[axis] = xs[axis].saturating_mul(repeats[axis]);
        x = cx.emit(&axis.to_string(), Op::Concat { axis }, &vec![x; repeats[axis]], &dims)?;
    }
    for (d, r) in dims.iter_mut().zip(&repeats).filter(|(d, _)| **d == 1) {
        *d = *r;
    }
    Ok(vec![broadcast(cx, x, &dims)?])
}

/// Where with a condition that is the same everywhere.
pub(super) fn select(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let (condition, cs) = match cx.operand(0) {
        Operand::Const { value: Const { dims, data: Data::Int(v) }, .. } if !v.is_empty() => (v.clone(), dims.clone()),
        _ => return unsupported("a condition computed at run time", "make it a constant"),
    };
    cx.b.charge(condition.len())?;
    if condition.iter().any(|&c| (c != 0) != (condition[0] != 0)) {
        return unsupported("a condition that differs by element", "replace it by a product with a mask");
    }
    let dim = |o: &Operand| match o {
        Operand::Runtime(v) => Ok(cx.shape(*v)),
        Operand::Const { value, .. } => Ok(value.dims.clone()),
        Operand::None => bad("an input is missing"),
    };
    let dims = shape::broadcast(&shape::broadcast(&dim(cx.operand(1))?, &dim(cx.operand(2))?)?, &cs)?;
    let x = cx.runtime(if condition[0] != 0 { 1 } else { 2 })?;
    Ok(vec![broadcast(cx, x, &dims)?])
}
