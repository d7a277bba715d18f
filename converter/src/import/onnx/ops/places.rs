//! Gather and Scatter by constant indices, and triangles: what moves is known, so that slices, borders and constant masks do it.

use super::super::consts::{data, index};
use super::super::fail::{Res, bad, unsupported};
use super::super::node::{Ctx, Operand};
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::{Values, logic};
use crate::import::parts::{MAX_PIECES, cut, running_sum, take, whole};
use crate::ir::{BinaryOp, Op, ValueId};
use std::sync::Arc;

/// The indices, which must be known.
fn indices(cx: &mut Ctx<'_, '_, '_>) -> Res<(Const, Arc<Vec<i64>>)> {
    match cx.constant(1)?.cloned() {
        Some(c) => match c.data.clone() {
            Data::Int(v) => {
                cx.b.charge(shape::span(&c.dims))?;
                Ok((c, v))
            }
            Data::Float(_) | Data::Double(_) => bad("the indices are not integers"),
        },
        None => bad("the indices are missing"),
    }
}

/// Elements one by one, as a join of slices of all in a row.
fn picked(cx: &mut Ctx<'_, '_, '_>, x: ValueId, places: &[usize], dims: &[usize]) -> Values {
    let n = cx.shape(x).iter().product();
    let flat = cx.emit("flat", Op::Reshape, &[x], &[n])?;
    let places: Vec<i64> = places.iter().map(|&p| p as i64).collect();
    let list = take(cx, "list", flat, 0, &places)?;
    Ok(vec![cx.emit("", Op::Reshape, &[list], dims)?])
}

pub(super) fn gather_elements(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let (c, values) = indices(cx)?;
    let axis = shape::axis(cx.int("axis", 0)?, xs.len())?;
    let places = index::elements(&xs, axis, &c, &values)?;
    picked(cx, x, &places, &c.dims)
}

pub(super) fn gather_nd(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let (c, values) = indices(cx)?;
    let batch = shape::from_i64(&[cx.int("batch_dims", 0)?])?[0];
    let rows = index::rows(&xs, &c, &values, batch)?;
    cx.b.charge(shape::span(&rows.dims))?;
    picked(cx, x, &rows.places(), &rows.dims)
}

/// A mask, or other numbers that are known.
fn known(cx: &mut Ctx<'_, '_, '_>, suffix: &str, dims: &[usize], data: Vec<f32>) -> Res<ValueId> {
    cx.b.charge(data.len())?;
    let name = format!("{}/{suffix}", cx.name);
    Ok(cx.b.graph.constant(name, dims, Arc::new(data)))
}

/// Updates at places that are known, as torch writes `y[:, 0:2] = z`.
pub(super) fn scatter(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let (c, values) = indices(cx)?;
    let (places, dims) = if cx.node.op_type == "ScatterND" {
        index::scattered(cx, &xs, &c, &values)?
    } else {
        let axis = shape::axis(cx.int("axis", 0)?, xs.len())?;
        (index::elements(&xs, axis, &c, &values)?, c.dims.clone())
    };
    let add = match cx.string("reduction", "none")? {
        "none" => false,
        "add" => true,
        other => return unsupported(format!("reduction {other:?}"), "scatter without it, or with \"add\""),
    };
    let n: usize = xs.iter().product();
    cx.b.charge(n)?;
    let mut mask = vec![0f32; n];
    for &p in &places {
        mask[p] += 1.0;
    }
    // Which of several updates of one place wins is nobody's promise; the last does if they are known.
    let spread = match cx.operand(2).clone() {
        Operand::Const { value: Const { data: Data::Float(u), dims: own, .. }, .. } => {
            if own != dims {
                return bad(format!("updates of shape {own:?}, the indices take {dims:?}"));
            }
            cx.b.charge(n)?;
            let mut all = vec![0f32; n];
            for (&p, &u) in places.iter().zip(u.iter()) {
                all[p] = if add { all[p] + u } else { u };
            }
            known(cx, "updates", &xs, all)?
        }
        Operand::Runtime(u) => {
            if cx.shape(u) != dims {
                return bad(format!("updates of shape {:?}, the indices take {dims:?}", cx.shape(u)));
            }
            match cuboid(&places, &xs) {
                Some((start, own)) => spread(cx, u, &xs, &start, &own)?,
                None => return unsupported("indices that are no block of the tensor", "write to slices without steps"),
            }
        }
        _ => return bad("the updates are no tensor of floats"),
    };
    if add {
        return Ok(vec![logic::node(cx, "", BinaryOp::Add, x, spread)?]);
    }
    mask.iter_mut().for_each(|m| *m = if *m > 0.0 { 0.0 } else { 1.0 });
    if mask.iter().all(|&m| m == 0.0) {
        return Ok(vec![spread]);
    }
    let mask = known(cx, "mask", &xs, mask)?;
    let kept = logic::node(cx, "kept", BinaryOp::Where, x, mask)?;
    Ok(vec![logic::node(cx, "", BinaryOp::Add, kept, spread)?])
}

/// Start and extents of the block that places are, in order, if they are one.
fn cuboid(places: &[usize], dims: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    let at = |mut p: usize| {
        let mut out = vec![0; dims.len()];
        for a in (0..dims.len()).rev() {
            out[a] = p % dims[a];
            p /= dims[a];
        }
        out
    };
    let (first, last) = (at(*places.first()?), at(*places.last()?));
    let own: Vec<usize> = first.iter().zip(&last).map(|(f, l)| (l + 1).checked_sub(*f)).collect::<Option<_>>()?;
    if own.iter().product::<usize>() != places.len() {
        return None;
    }
    let expected = (0..places.len()).map(|mut k| {
        let (mut p, mut step) = (0, 1);
        for a in (0..dims.len()).rev() {
            p += (first[a] + k % own[a]) * step;
            k /= own[a];
            step *= dims[a];
        }
        p
    });
    expected.eq(places.iter().copied()).then_some((first, own))
}

/// A block in the middle of zeros.
fn spread(cx: &mut Ctx<'_, '_, '_>, x: ValueId, dims: &[usize], start: &[usize], own: &[usize]) -> Res<ValueId> {
    let block = if cx.shape(x) == own { x } else { cx.emit("block", Op::Reshape, &[x], own)? };
    if own == dims {
        return Ok(block);
    }
    let pads = (0..dims.len()).map(|a| (start[a], dims[a] - start[a] - own[a])).collect();
    cx.emit("updates", Op::Pad { pads, value: 0.0 }, &[block], dims)
}

pub(super) fn triangle(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let (rows, columns, upper, diagonal) = data::triangle_of(cx, &cx.shape(x))?;
    cx.b.charge(rows.saturating_mul(columns))?;
    let mask = data::in_triangle(rows, columns, upper, diagonal).map(|m| f32::from(u8::from(m))).collect();
    let mask = known(cx, "mask", &[rows, columns], mask)?;
    Ok(vec![logic::node(cx, "", BinaryOp::Where, x, mask)?])
}

pub(super) fn running(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let Some(Operand::Const { .. }) = cx.inputs.get(1) else { return unsupported("an axis that is not constant", "make it one") };
    let Some(&[axis]) = cx.ints(1)?.as_deref() else { return bad("the axis is not one number") };
    let axis = shape::axis(axis, cx.shape(x).len())?;
    let (exclusive, reverse) = (cx.flag("exclusive", false)?, cx.flag("reverse", false)?);
    Ok(vec![running_sum(cx, x, axis, exclusive, reverse)?])
}

/// The elements along an axis, or of all in a row, that a constant condition names.
pub(super) fn compress(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let mut x = cx.runtime(0)?;
    let Some(Const { data: Data::Int(condition), .. }) = cx.constant(1)?.cloned() else { return bad("the condition is missing") };
    let mut axis = 0;
    if cx.has("axis") {
        axis = shape::axis(cx.int("axis", 0)?, cx.shape(x).len())?;
    } else {
        let n = cx.shape(x).iter().product();
        x = cx.emit("flat", Op::Reshape, &[x], &[n])?;
    }
    let extent = cx.shape(x)[axis];
    if condition.len() > extent {
        return bad(format!("a condition of {} elements for an extent of {extent}", condition.len()));
    }
    cx.b.charge(condition.len())?;
    let kept: Vec<i64> = (0..condition.len()).filter(|&i| condition[i] != 0).map(|i| i as i64).collect();
    Ok(vec![take(cx, "", x, axis, &kept)?])
}

/// The first elements of each sequence of a batch, as many as is known, in the opposite order.
pub(super) fn reverse(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let dims = cx.shape(x);
    let (time, batch) = (shape::axis(cx.int("time_axis", 0)?, dims.len())?, shape::axis(cx.int("batch_axis", 1)?, dims.len())?);
    let lens = cx.ints(1)?.unwrap_or_default();
    if time == batch || lens.len() != dims[batch] || lens.iter().any(|&l| l < 0 || l as usize > dims[time]) {
        return bad(format!("lengths {lens:?} along axis {time} of {dims:?}, one for each of axis {batch}"));
    }
    if lens.len() > MAX_PIECES {
        return unsupported(format!("{} sequences", lens.len()), format!("take batches of at most {MAX_PIECES}"));
    }
    cx.b.charge(lens.len().saturating_mul(dims[time]))?;
    let mut lines = vec![];
    for (i, &len) in lens.iter().enumerate() {
        let mut parts = whole(&dims);
        parts[batch] = (i as i64, 1, 1);
        let one = cut(cx, &i.to_string(), x, &parts)?;
        let order: Vec<i64> = (0..len).rev().chain(len..dims[time] as i64).collect();
        lines.push(take(cx, &format!("{i}/turned"), one, time, &order)?);
    }
    match lines[..] {
        [only] => Ok(vec![only]),
        _ => Ok(vec![cx.emit("", Op::Concat { axis: batch }, &lines, &dims)?]),
    }
}
