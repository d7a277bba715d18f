//! What is chosen by values: where they are not zero, which is the largest, which are different.

use super::super::fail::{Res, bad};
use super::super::node::Ctx;
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::{Args, around, index, pick, room, strides};
use crate::interp;
use std::cmp::Ordering;

/// How two elements compare; what is not a number is larger than all.
fn order(c: &Const, a: usize, b: usize) -> Ordering {
    match &c.data {
        Data::Float(v) => v[a].partial_cmp(&v[b]).unwrap_or_else(|| v[a].is_nan().cmp(&v[b].is_nan())),
        Data::Double(v) => v[a].partial_cmp(&v[b]).unwrap_or_else(|| v[a].is_nan().cmp(&v[b].is_nan())),
        Data::Int(v) => c.ty.wide(v[a]).cmp(&c.ty.wide(v[b])),
    }
}

fn is_set(c: &Const, i: usize) -> bool {
    match &c.data {
        Data::Float(v) => v[i] != 0.0,
        Data::Double(v) => v[i] != 0.0,
        Data::Int(v) => v[i] != 0,
    }
}

/// A row of places for each axis.
pub(super) fn non_zero(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let found: Vec<usize> = (0..x.len()).filter(|&i| is_set(x, i)).collect();
    // A scalar counts as a tensor of one element.
    let dims = if x.dims.is_empty() { &[1][..] } else { &x.dims };
    let own = strides(dims);
    room(cx, &[dims.len(), found.len()])?;
    let row = |a: usize| found.iter().map(|i| i / own[a].max(1) as usize % dims[a]).collect::<Vec<_>>();
    let places = (0..dims.len()).map(row).collect::<Vec<_>>().concat();
    Ok(Const::ints(vec![dims.len(), found.len()], places.into_iter().map(|i| i as i64).collect()))
}

pub(super) fn compress(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let (x, condition) = (args.get(0)?, args.get(1)?);
    let mut dims = if cx.has("axis") { x.dims.clone() } else { vec![x.len()] };
    let axis = shape::axis(cx.int("axis", 0)?, dims.len())?;
    let around = around(&dims, axis);
    let kept: Vec<usize> = (0..condition.len()).filter(|&i| is_set(condition, i)).collect();
    if condition.len() > dims[axis] {
        return bad(format!("a condition of {} elements for an extent of {}", condition.len(), dims[axis]));
    }
    dims[axis] = kept.len();
    index::along(cx, x, around, &kept, dims)
}

/// The elements of each line along an axis.
fn lines(dims: &[usize], axis: usize) -> impl Iterator<Item = Vec<usize>> {
    let [outer, extent, inner] = around(dims, axis);
    (0..outer * inner).map(move |l| (0..extent).map(|i| (l / inner * extent + i) * inner + l % inner).collect())
}

pub(super) fn top(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Vec<Const>> {
    let x = args.get(0)?;
    let axis = shape::axis(cx.int("axis", -1)?, x.dims.len())?;
    let k = if cx.has("k") { cx.int("k", 0)? } else { args.int(1)? };
    cx.ignore(&["sorted"]);
    let largest = cx.flag("largest", true)?;
    let [outer, extent, inner] = around(&x.dims, axis);
    let Some(k) = usize::try_from(k).ok().filter(|&k| k <= extent) else { return bad(format!("{k} of {extent} elements")) };
    let mut dims = x.dims.clone();
    dims[axis] = k;
    let n = room(cx, &dims)?;
    cx.b.spend(interp::sorting(x.len(), extent))?;
    let (mut picked, mut places) = (vec![0; n], vec![0i64; n]);
    for (l, line) in lines(&x.dims, axis).enumerate().take(outer * inner) {
        let mut by: Vec<usize> = (0..extent).collect();
        by.sort_by(|&a, &b| if largest { order(x, line[b], line[a]) } else { order(x, line[a], line[b]) });
        for (i, &j) in by.iter().take(k).enumerate() {
            let to = (l / inner * k + i) * inner + l % inner;
            (picked[to], places[to]) = (line[j], j as i64);
        }
    }
    Ok(vec![pick(x, dims.clone(), picked)?, Const::ints(dims, places)])
}

/// The largest (or smallest) element of a line, the first or the last of equal ones.
fn best(x: &Const, line: &[usize], smallest: bool, last: bool) -> usize {
    (1..line.len()).fold(0, |best, i| match order(x, line[i], line[best]) {
        Ordering::Equal if last => i,
        Ordering::Greater if !smallest => i,
        Ordering::Less if smallest => i,
        _ => best,
    })
}

pub(super) fn arg(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let axis = shape::axis(cx.int("axis", 0)?, x.dims.len())?;
    let (keep, last) = (cx.flag("keepdims", true)?, cx.flag("select_last_index", false)?);
    if x.dims[axis] == 0 {
        return bad("there is nothing to choose from");
    }
    let mut dims = x.dims.clone();
    if keep {
        dims[axis] = 1
    } else {
        dims.remove(axis);
    }
    room(cx, &dims)?;
    let smallest = cx.node.op_type == "ArgMin";
    Ok(Const::ints(dims, lines(&x.dims, axis).map(|line| best(x, &line, smallest, last) as i64).collect()))
}

pub(super) fn hardmax(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let rank = x.dims.len();
    let old = cx.opset() < 13;
    let axis = shape::axis(cx.int("axis", if old { 1 } else { -1 })?, rank)?;
    // Until opset 12 all axes from this one on were one.
    let flat = [x.dims[..axis].iter().product(), x.dims[axis..].iter().product()];
    let (dims, axis) = if old { (&flat[..], 1) } else { (&x.dims[..], axis) };
    let n = room(cx, &x.dims)?;
    let mut y = vec![0.0; n];
    for line in lines(dims, axis).filter(|line| !line.is_empty()) {
        y[line[best(x, &line, false, false)]] = 1.0;
    }
    Ok(Const::floats(x.dims.clone(), y))
}

/// What is different, along an axis or one by one: sorted or in order of appearance; where each appears first, which one each is,
/// and how often it appears.
pub(super) fn unique(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Vec<Const>> {
    let x = args.get(0)?;
    let mut dims = if cx.has("axis") { x.dims.clone() } else { vec![x.len()] };
    let axis = shape::axis(cx.int("axis", 0)?, dims.len())?;
    let sorted = cx.flag("sorted", true)?;
    let [outer, extent, inner] = around(&dims, axis);
    cx.b.charge(3 * extent)?;
    cx.b.spend(interp::sorting(x.len(), extent))?;
    let part = |i: usize| (0..outer).flat_map(move |o| (o * extent + i) * inner..(o * extent + i + 1) * inner);
    let compare = |&a: &usize, &b: &usize| {
        let by = part(a).zip(part(b)).map(|(a, b)| order(x, a, b));
        by.into_iter().find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    };
    let mut by: Vec<usize> = (0..extent).collect();
    by.sort_by(compare);
    let mut groups: Vec<Vec<usize>> = vec![];
    for i in by {
        match groups.last_mut() {
            Some(g) if compare(&g[0], &i).is_eq() => g.push(i),
            _ => groups.push(vec![i]),
        }
    }
    if !sorted {
        groups.sort_by_key(|g| g[0]);
    }
    let mut inverse = vec![0; extent];
    groups.iter().enumerate().for_each(|(k, g)| g.iter().for_each(|&i| inverse[i] = k as i64));
    dims[axis] = groups.len();
    room(cx, &dims)?;
    let firsts: Vec<usize> = groups.iter().map(|g| g[0]).collect();
    let picked: Vec<usize> =
        (0..outer).flat_map(|o| firsts.iter().flat_map(move |&i| (o * extent + i) * inner..(o * extent + i + 1) * inner)).collect();
    let list = |v: Vec<i64>| Const::ints(vec![v.len()], v);
    Ok(vec![
        pick(x, dims, picked)?,
        list(firsts.into_iter().map(|i| i as i64).collect()),
        list(inverse),
        list(groups.iter().map(|g| g.len() as i64).collect()),
    ])
}
