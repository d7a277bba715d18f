//! Operators that move elements of constants.

use super::super::fail::{Res, bad};
use super::super::node::Ctx;
use super::super::ops::layout;
use super::super::shape;
use super::super::tensor::{Const, Data, Type};
use super::{Args, around, expand, pick, room, strided, strides};
use crate::interp::ELEMENT;
use std::sync::Arc;

/// Reshape, Flatten, Squeeze and Unsqueeze share the data.
pub(super) fn reshaped(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Const> {
    let dims = layout::new_shape(cx, &x.dims)?;
    if shape::count(&dims) != Some(x.len()) {
        return bad(format!("{:?} cannot become {dims:?}", x.dims));
    }
    Ok(Const { dims, data: x.data.clone(), ty: x.ty })
}

pub(super) fn transpose(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Const> {
    let perm = layout::permutation(cx, x.dims.len())?;
    let own = strides(&x.dims);
    let dims: Vec<usize> = perm.iter().map(|&p| x.dims[p]).collect();
    let steps: Vec<i64> = perm.iter().map(|&p| own[p]).collect();
    strided(cx, x, &dims, 0, &steps)
}

pub(super) fn expanded(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Const> {
    let target = shape::from_i64(&cx.ints(1)?.unwrap_or_default())?;
    let dims = shape::broadcast(&x.dims, &target)?;
    expand(cx, x, &dims)
}

pub(super) fn of_shape(cx: &mut Ctx<'_, '_, '_>) -> Res<Const> {
    let dims = shape::from_i64(&cx.ints(0)?.unwrap_or_default())?;
    let value = cx.tensor("value")?.unwrap_or_else(|| Const::floats(vec![1], vec![0.0]));
    if value.len() != 1 {
        return bad("attribute value should have one element");
    }
    strided(cx, &value, &dims, 0, &vec![0; dims.len()])
}

pub(super) fn slice(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Const> {
    let parts = layout::slices(cx, &x.dims)?;
    sliced(cx, x, &parts)
}

pub(super) fn split(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Vec<Const>> {
    let (axis, lens) = layout::splits(cx, &x.dims)?;
    parts(cx, x, axis, &lens)
}

/// The parts of some extents along an axis.
pub(in super::super) fn parts(cx: &mut Ctx<'_, '_, '_>, x: &Const, axis: usize, lens: &[usize]) -> Res<Vec<Const>> {
    let mut out = vec![];
    let mut start = 0;
    for &len in lens {
        let mut parts: Vec<(i64, usize, i64)> = x.dims.iter().map(|&d| (0, d, 1)).collect();
        parts[axis] = (start, len, 1);
        start += len as i64;
        out.push(sliced(cx, x, &parts)?);
    }
    Ok(out)
}

pub(super) fn select(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let (x, a, b) = (args.get(0)?, args.get(1)?, args.get(2)?);
    let dims = shape::broadcast(&shape::broadcast(&x.dims, &a.dims)?, &b.dims)?;
    let (c, a, b) = (expand(cx, x, &dims)?, expand(cx, a, &dims)?, expand(cx, b, &dims)?);
    let Data::Int(c) = c.data else { return bad("the condition is not boolean") };
    let data = match (a.data, b.data) {
        (Data::Float(a), Data::Float(b)) => Data::Float(Arc::new(choose(&c, &a, &b))),
        (Data::Double(a), Data::Double(b)) => Data::Double(Arc::new(choose(&c, &a, &b))),
        (Data::Int(a), Data::Int(b)) => Data::Int(Arc::new(choose(&c, &a, &b))),
        _ => return bad("the inputs are of different types"),
    };
    Ok(Const { dims, data, ty: a.ty })
}

/// The first elements of each line, as many as it has of them, in the other order.
pub(super) fn reverse(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let rank = x.dims.len();
    let (time, batch) = (shape::axis(cx.int("time_axis", 0)?, rank)?, shape::axis(cx.int("batch_axis", 1)?, rank)?);
    let lens = args.ints(1)?;
    if time == batch || lens.len() != x.dims[batch] || lens.iter().any(|&l| l < 0 || l as usize > x.dims[time]) {
        return bad(format!("lengths {lens:?} along axis {time} of {:?}, one for each of axis {batch}", x.dims));
    }
    let n = room(cx, &x.dims)?;
    let [_, extent, inner] = around(&x.dims, time);
    let [_, batches, below] = around(&x.dims, batch);
    let picked = |i: usize| {
        let (t, len) = (i / inner % extent, lens[i / below % batches] as usize);
        if t < len { i - t * inner + (len - 1 - t) * inner } else { i }
    };
    pick(x, x.dims.clone(), (0..n).map(picked))
}

/// Which elements of a matrix of this size the upper or lower triangle has, row by row. Diagonal 0 is the main one.
pub(in super::super) fn in_triangle(rows: usize, columns: usize, upper: bool, diagonal: i64) -> impl Iterator<Item = bool> {
    let from = move |row: usize| diagonal.saturating_add(row as i64);
    let inside = move |row, c| if upper { c >= from(row) } else { c <= from(row) };
    (0..rows).flat_map(move |row| (0..columns as i64).map(move |c| inside(row, c)))
}

/// Rows, columns, whether it is the upper triangle, and its diagonal.
pub(in super::super) fn triangle_of(cx: &Ctx<'_, '_, '_>, dims: &[usize]) -> Res<(usize, usize, bool, i64)> {
    let &[.., rows, columns] = dims else { return bad(format!("a triangle of a tensor of shape {dims:?}")) };
    let diagonal = match cx.ints(1)?.as_deref() {
        None => 0,
        Some(&[k]) => k,
        Some(k) => return bad(format!("diagonals {k:?}")),
    };
    Ok((rows, columns, cx.flag("upper", true)?, diagonal))
}

pub(super) fn triangle(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let (rows, columns, upper, diagonal) = triangle_of(cx, &x.dims)?;
    room(cx, &x.dims)?;
    let mask: Vec<bool> = in_triangle(rows, columns, upper, diagonal).collect();
    fn masked<T: Copy + Default>(v: &[T], mask: &[bool]) -> Vec<T> {
        v.iter().zip(mask.iter().cycle()).map(|(&v, &m)| if m { v } else { T::default() }).collect()
    }
    let data = match &x.data {
        Data::Float(v) => Data::Float(Arc::new(masked(v, &mask))),
        Data::Double(v) => Data::Double(Arc::new(masked(v, &mask))),
        Data::Int(v) => Data::Int(Arc::new(masked(v, &mask))),
    };
    Ok(Const { dims: x.dims.clone(), data, ty: x.ty })
}

fn choose<T: Copy>(c: &[i64], a: &[T], b: &[T]) -> Vec<T> {
    c.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c != 0 { a } else { b }).collect()
}

fn sliced(cx: &mut Ctx<'_, '_, '_>, x: &Const, parts: &[(i64, usize, i64)]) -> Res<Const> {
    let own = strides(&x.dims);
    let dims: Vec<usize> = parts.iter().map(|p| p.1).collect();
    let start = parts.iter().zip(&own).map(|(p, s)| p.0 * s).sum();
    // A step may be longer than the axis when only one element is taken.
    let steps: Vec<i64> = parts.iter().zip(&own).map(|(p, s)| if p.1 > 1 { p.2 * s } else { 0 }).collect();
    strided(cx, x, &dims, start, &steps)
}

pub(super) fn tile(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Const> {
    let repeats = shape::from_i64(&cx.ints(1)?.unwrap_or_default())?;
    if repeats.len() != x.dims.len() {
        return bad(format!("{} repeats for {} axes", repeats.len(), x.dims.len()));
    }
    let own = strides(&x.dims);
    let (mut dims, mut steps, mut result) = (vec![], vec![], vec![]);
    for i in 0..repeats.len() {
        dims.extend([repeats[i], x.dims[i]]);
        steps.extend([0, own[i]]);
        result.push(repeats[i].saturating_mul(x.dims[i]));
    }
    let data = strided(cx, x, &dims, 0, &steps)?.data;
    Ok(Const { dims: result, data, ty: x.ty })
}

pub(in super::super) fn concat(cx: &mut Ctx<'_, '_, '_>, parts: &[&Const]) -> Res<Const> {
    cx.b.spend((parts.len() as u64).saturating_mul(16 * ELEMENT))?;
    let shapes: Vec<&[usize]> = parts.iter().map(|c| c.dims.as_slice()).collect();
    let (axis, dims) = layout::concat_shape(cx, &shapes)?;
    join(cx, parts, axis, dims)
}

/// Tensors one behind the other along an axis.
fn join(cx: &mut Ctx<'_, '_, '_>, parts: &[&Const], axis: usize, dims: Vec<usize>) -> Res<Const> {
    let n = room(cx, &dims)?;
    let ty = parts.first().map_or(Type::Float, |c| c.ty);
    let outer: usize = if n == 0 { 0 } else { dims[..axis].iter().product() };
    // What is empty would be met as often as there is something else.
    let filled = parts.iter().filter(|c| c.len() > 0).count();
    cx.b.spend((outer as u64).saturating_mul(filled as u64).saturating_mul(ELEMENT / 2))?;
    fn joined<'t, T: Copy + 't>(outer: usize, n: usize, parts: impl Iterator<Item = &'t [T]>) -> Vec<T> {
        let parts: Vec<&[T]> = parts.filter(|p| !p.is_empty()).collect();
        let mut out = Vec::with_capacity(n);
        for o in 0..outer {
            for p in &parts {
                let inner = p.len() / outer;
                out.extend_from_slice(&p[o * inner..(o + 1) * inner]);
            }
        }
        out
    }
    if parts.iter().any(|c| matches!(c.data, Data::Double(_))) {
        let wide: Vec<Const> = parts.iter().map(|&c| c.clone().double()).collect();
        let data = wide.iter().filter_map(|c| if let Data::Double(v) = &c.data { Some(v.as_slice()) } else { None });
        return if data.clone().count() == parts.len() {
            Ok(Const::doubles(dims, joined(outer, n, data)))
        } else {
            bad("the inputs are of different types")
        };
    }
    let float = parts.iter().filter(|c| matches!(c.data, Data::Float(_))).count();
    if float == parts.len() {
        let data = parts.iter().filter_map(|c| if let Data::Float(v) = &c.data { Some(v.as_slice()) } else { None });
        Ok(Const::floats(dims, joined(outer, n, data)))
    } else if float == 0 {
        let data = parts.iter().filter_map(|c| if let Data::Int(v) = &c.data { Some(v.as_slice()) } else { None });
        Ok(Const::of_type(ty, dims, joined(outer, n, data)))
    } else {
        bad("the inputs are of different types")
    }
}
