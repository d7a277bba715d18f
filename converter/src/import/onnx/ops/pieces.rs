//! Operators that cut tensors and put them together.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::{Ctx, Operand};
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::{Values, layout};
use crate::import::parts::{self, MAX_PIECES, cut, take, turned, whole};
use crate::ir::{Op, ValueId};

pub(in super::super) fn concat(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let is_empty = |o: &Operand| matches!(o, Operand::Const { value, .. } if value.len() == 0);
    cx.inputs.retain(|o| !is_empty(o));
    let parts = (0..cx.inputs.len()).map(|i| cx.runtime(i)).collect::<Res<Vec<ValueId>>>()?;
    let shapes: Vec<Vec<usize>> = parts.iter().map(|&v| cx.shape(v)).collect();
    let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
    let (axis, dims) = layout::concat_shape(cx, &shapes)?;
    if let [only] = parts[..] {
        return Ok(vec![only]);
    }
    Ok(vec![cx.emit("", Op::Concat { axis }, &parts, &dims)?])
}

/// What a Slice or a Split of the network's own data has no elements in: constants, which a Concat leaves out. `None` for others.
pub(in super::super) fn without_elements(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    let Operand::Runtime(x) = *cx.operand(0) else { return Ok(None) };
    let mut dims = cx.shape(x);
    match cx.node.op_type {
        "Slice" => {
            let parts = layout::slices(cx, &dims)?;
            if parts.iter().all(|p| p.1 > 0) {
                return Ok(None);
            }
            let dims = parts.iter().map(|p| p.1).collect();
            Ok(Some(vec![Operand::constant(Const::floats(dims, vec![]), cx.name)]))
        }
        "Split" => {
            let (axis, lens) = layout::splits(cx, &dims)?;
            if !lens.contains(&0) {
                return Ok(None);
            }
            let parts = split(cx)?.into_iter().zip(lens);
            let part = |(v, len)| {
                dims[axis] = 0;
                if len > 0 { Operand::Runtime(v) } else { Operand::constant(Const::floats(dims.clone(), vec![]), cx.name) }
            };
            Ok(Some(parts.map(part).collect()))
        }
        _ => Ok(None),
    }
}

pub(super) fn slice(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let parts = layout::slices(cx, &xs)?;
    Ok(vec![turned(cx, "", x, parts)?])
}

/// One Slice per output that somebody reads.
pub(super) fn split(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let (axis, lens) = layout::splits(cx, &xs)?;
    // What is empty becomes a constant.
    parts::split(cx, x, axis, &lens, |cx, i| {
        let name = cx.node.outputs[i];
        lens[i] > 0 && !name.is_empty() && cx.b.used.contains(name)
    })
}

/// Constant indices: a scalar takes one element and drops the axis, others are a join of slices.
pub(super) fn gather(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let axis = shape::axis(cx.int("axis", 0)?, xs.len())?;
    let Some(Const { dims, data: Data::Int(indices), .. }) = cx.constant(1)?.cloned() else {
        return bad("the indices are missing");
    };
    cx.b.charge(indices.len())?;
    let indices = indices.iter().map(|&i| Ok(shape::index(i, xs[axis])? as i64)).collect::<Res<Vec<_>>>()?;
    let list = take(cx, if dims.len() == 1 { "" } else { "list" }, x, axis, &indices)?;
    if dims.len() == 1 {
        return Ok(vec![list]);
    }
    let shape = [&xs[..axis], &dims, &xs[axis + 1..]].concat();
    Ok(vec![cx.emit("", Op::Reshape, &[list], &shape)?])
}

/// Zeros or another constant around, or the tensor's own elements; a negative pad cuts.
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
    let mode = cx.string("mode", "constant")?.to_string();
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
    if mode != "constant" {
        return mirrored(cx, x, &grow, &mode);
    }
    let dims: Vec<usize> = cx.shape(x).iter().zip(&grow).map(|(d, g)| d + g.0 + g.1).collect();
    Ok(vec![cx.emit("", Op::Pad { pads: grow, value }, &[x], &dims)?])
}

/// A border of elements of the tensor, axis by axis.
fn mirrored(cx: &mut Ctx<'_, '_, '_>, mut x: ValueId, grow: &[(usize, usize)], mode: &str) -> Values {
    for (axis, &(before, after)) in grow.iter().enumerate().filter(|(_, g)| **g != (0, 0)) {
        let n = cx.shape(x)[axis] as i64;
        if before + after > MAX_PIECES {
            return unsupported(
                format!("mode {mode:?} with pads {before} and {after}"),
                format!("pad at most {MAX_PIECES} elements"),
            );
        }
        cx.b.charge(n as usize + before + after)?;
        let range = -(before as i64)..n + after as i64;
        let indices: Vec<i64> = match mode {
            "edge" => range.map(|i| i.clamp(0, n - 1)).collect(),
            "wrap" => range.map(|i| i.rem_euclid(n)).collect(),
            // Without the first and last element twice.
            "reflect" => {
                let period = (2 * (n - 1)).max(1);
                range.map(|i| i.rem_euclid(period)).map(|i| i.min(period - i)).map(|i| i.min(n - 1)).collect()
            }
            other => return bad(format!("mode is {other:?}")),
        };
        x = take(cx, &format!("border {axis}"), x, axis, &indices)?;
    }
    Ok(vec![x])
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

/// The middle of each axis, or the tensor in the middle of zeros.
pub(super) fn center(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let Some(target) = cx.ints(1)? else { return bad("the shape is missing") };
    let target = shape::from_i64(&target)?;
    let axes = match cx.int_list("axes")? {
        Some(a) => shape::axes(&a, xs.len())?,
        None => (0..xs.len()).collect(),
    };
    if axes.len() != target.len() {
        return bad(format!("a shape of {target:?} for axes {axes:?}"));
    }
    let (mut parts, mut pads, mut dims) = (whole(&xs), vec![(0, 0); xs.len()], xs.clone());
    for (&a, &to) in axes.iter().zip(&target) {
        let (less, more) = (xs[a].saturating_sub(to), to.saturating_sub(xs[a]));
        (parts[a].0, parts[a].1) = ((less / 2) as i64, xs[a].min(to));
        (pads[a], dims[a]) = ((more / 2, more - more / 2), to);
    }
    let grows = pads.iter().any(|&p| p != (0, 0));
    let x = cut(cx, if grows { "cut" } else { "" }, x, &parts)?;
    if !grows {
        return Ok(vec![x]);
    }
    Ok(vec![cx.emit("", Op::Pad { pads, value: 0.0 }, &[x], &dims)?])
}
