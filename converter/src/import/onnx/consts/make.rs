//! Tensors that are made from little.

use super::super::fail::{Res, bad};
use super::super::node::Ctx;
use super::super::shape;
use super::super::tensor::{Const, Data, Type};
use super::number::fit;
use super::{Args, around, casted, dims_of, pick, room};
use crate::interp::ELEMENT;
use std::f64::consts::TAU;

pub(super) fn range(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    cx.ignore(&["stash_type"]);
    let [start, limit, delta] = [args.get(0)?, args.get(1)?, args.get(2)?];
    match (&start.data, &limit.data, &delta.data) {
        (Data::Int(s), Data::Int(l), Data::Int(d)) if s.len() == 1 && l.len() == 1 && d.len() == 1 && d[0] != 0 => {
            let span = i128::from(l[0]) - i128::from(s[0]);
            let delta = i128::from(d[0]);
            let n = if span.signum() == delta.signum() { (span.abs() - 1) / delta.abs() + 1 } else { 0 };
            let n = usize::try_from(n).ok().map_or_else(|| bad("the range is too long"), Ok)?;
            room(cx, &[n])?;
            let all = (0..n as i64).map(|i| fit(start.ty, i128::from(s[0]) + i128::from(i) * delta)).collect::<Res<_>>()?;
            Ok(Const::of_type(start.ty, vec![n], all))
        }
        (Data::Float(s), Data::Float(l), Data::Float(d)) if s.len() == 1 && l.len() == 1 && d.len() == 1 => {
            let n = ((f64::from(l[0]) - f64::from(s[0])) / f64::from(d[0])).ceil().max(0.0);
            if !n.is_finite() {
                return bad("the range is too long");
            }
            room(cx, &[n as usize])?;
            Ok(Const::floats(vec![n as usize], (0..n as usize).map(|i| s[0] + i as f32 * d[0]).collect()))
        }
        _ => bad("the inputs are not three numbers of one type"),
    }
}

pub(super) fn eye(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let dims = dims_of(cx)?;
    let (&[rows, columns], k) = (&dims[..], cx.int("k", 0)?) else {
        return bad(format!("a diagonal of a tensor of shape {dims:?}"));
    };
    let ty = if cx.has("dtype") { Type::from_onnx(cx.int("dtype", 1)?)? } else { args.maybe(0).map_or(Type::Float, |c| c.ty) };
    room(cx, &dims)?;
    let on = (0..rows).flat_map(|r| (0..columns).map(move |c| c as i64 == k.saturating_add(r as i64)));
    casted(cx, &Const::truths(dims.clone(), on), ty)
}

pub(super) fn one_hot(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let (indices, values) = (args.get(0)?, args.get(2)?);
    let depth = args.int(1)?;
    let Some(extent) = usize::try_from(depth).ok().filter(|&d| d > 0 && d <= shape::MAX_ELEMENTS) else {
        return bad(format!("a depth of {depth}"));
    };
    if values.len() != 2 {
        return bad("there should be two values: off and on");
    }
    let axis = shape::axis(cx.int("axis", -1)?, indices.dims.len() + 1)?;
    let mut dims = indices.dims.clone();
    dims.insert(axis, extent);
    let n = room(cx, &dims)?;
    cx.b.spend((n as u64).saturating_mul(ELEMENT))?;
    let [_, _, inner] = around(&dims, axis);
    let at = casted(cx, indices, Type::Int64)?;
    let Data::Int(at) = &at.data else { return bad("the indices are not numbers") };
    // What lies outside is on nowhere.
    let wrapped = |i: i64| if i < 0 { i.saturating_add(depth) } else { i };
    let on = |i: usize| usize::from(wrapped(at[i / inner / extent * inner + i % inner]) == (i / inner % extent) as i64);
    pick(values, dims, (0..n).map(on))
}

/// Sums of cosines.
pub(super) fn window(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let size = args.int(0)?;
    let Some(n) = usize::try_from(size).ok().filter(|&n| n > 0) else { return bad(format!("a window of {size}")) };
    room(cx, &[n])?;
    // Two cosines.
    cx.b.spend((n as u64).saturating_mul(16 * ELEMENT))?;
    let turns = if cx.flag("periodic", true)? { n } else { n - 1 };
    let to = Type::from_onnx(cx.int("output_datatype", 1)?)?;
    let weights: [f64; 3] = match cx.node.op_type {
        "HannWindow" => [0.5, 0.5, 0.0],
        "HammingWindow" => [25.0 / 46.0, 21.0 / 46.0, 0.0],
        _ => [0.42, 0.5, 0.08],
    };
    let value = |i: usize| {
        let angle = TAU * i as f64 / turns.max(1) as f64;
        (weights[0] - weights[1] * angle.cos() + weights[2] * (2.0 * angle).cos()) as f32
    };
    casted(cx, &Const::floats(vec![n], (0..n).map(value).collect()), to)
}
