//! Operators that move elements to where indices say.

use super::super::fail::{Res, bad};
use super::super::node::Ctx;
use super::super::shape::{self, index};
use super::super::tensor::{Const, Data, Type};
use super::number::integer;
use super::number::single::float;
use super::{Args, around, pick, room, strides, walk};
use crate::import::elements::{runs, starts};
use crate::interp::ELEMENT;
use std::sync::Arc;

pub(super) fn gather(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let axis = shape::axis(cx.int("axis", 0)?, x.dims.len())?;
    let indices = args.ints(1)?.iter().map(|&i| index(i, x.dims[axis])).collect::<Res<Vec<_>>>()?;
    let dims = [&x.dims[..axis], &args.get(1)?.dims, &x.dims[axis + 1..]].concat();
    along(cx, x, around(&x.dims, axis), &indices, dims)
}

/// What lies at `indices` along an axis, under another shape.
pub(super) fn along(cx: &mut Ctx<'_, '_, '_>, x: &Const, around: [usize; 3], indices: &[usize], dims: Vec<usize>) -> Res<Const> {
    let n = room(cx, &dims)?;
    // Memory is waited for with each run of elements.
    cx.b.spend((around[0] as u64).saturating_mul(indices.len() as u64).saturating_mul(ELEMENT))?;
    // Of nothing there may be many.
    let around = if n > 0 { around } else { [0; 3] };
    let (starts, len) = (starts(around, indices), around[2]);
    let data = match &x.data {
        Data::Float(v) => Data::Float(Arc::new(runs(v, starts, len, n))),
        Data::Double(v) => Data::Double(Arc::new(runs(v, starts, len, n))),
        Data::Int(v) => Data::Int(Arc::new(runs(v, starts, len, n))),
    };
    Ok(Const { dims, data, ty: x.ty })
}

/// For each element of `indices`, of a shape that is within `dims` but for `axis`, where it points.
pub(in super::super) fn elements(dims: &[usize], axis: usize, indices: &Const, values: &[i64]) -> Res<Vec<usize>> {
    let within = |i: usize| i == axis || indices.dims[i] <= dims[i];
    if indices.dims.len() != dims.len() || !(0..dims.len()).all(within) {
        return bad(format!("indices of shape {:?} into {dims:?}", indices.dims));
    }
    // Along the axis, the index says where.
    let mut steps = strides(dims);
    let own = std::mem::take(&mut steps[axis]) as usize;
    let bases = walk(&indices.dims, values.len(), 0, &steps);
    values.iter().zip(bases).map(|(&value, base)| Ok(base + index(value, dims[axis])? * own)).collect()
}

pub(super) fn gather_elements(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let (x, indices) = (args.get(0)?, args.get(1)?);
    let axis = shape::axis(cx.int("axis", 0)?, x.dims.len())?;
    room(cx, &indices.dims)?;
    pick(x, indices.dims.clone(), elements(&x.dims, axis, indices, args.ints(1)?)?)
}

/// Where rows of indices point, `inner` elements each.
pub(in super::super) struct Rows {
    starts: Vec<usize>,
    inner: usize,
    /// Shape of all that they point at.
    pub dims: Vec<usize>,
}

impl Rows {
    /// All the elements, one by one.
    pub(in super::super) fn places(&self) -> Vec<usize> {
        self.starts.iter().flat_map(|&s| s..s + self.inner).collect()
    }
}

/// The last axis of `indices` holds places along the axes of `dims` from `batch` on.
pub(in super::super) fn rows(dims: &[usize], indices: &Const, values: &[i64], batch: usize) -> Res<Rows> {
    let wrong = || bad(format!("indices of shape {:?} into {dims:?}", indices.dims));
    let Some((&depth, lead)) = indices.dims.split_last() else { return wrong() };
    if batch > lead.len() || batch + depth > dims.len() || dims[..batch] != lead[..batch] {
        return wrong();
    }
    let steps = strides(dims);
    let per_batch: usize = lead[batch..].iter().product();
    let count: usize = lead.iter().product();
    let whole: usize = dims[batch..].iter().product();
    let start = |r: usize| {
        let row = values.get(r * depth..(r + 1) * depth).unwrap_or(&[]);
        let places = row.iter().enumerate().map(|(k, &i)| Ok(index(i, dims[batch + k])? * steps[batch + k] as usize));
        Ok(r / per_batch.max(1) * whole + places.sum::<Res<usize>>()?)
    };
    let starts = (0..count).map(start).collect::<Res<_>>()?;
    let rest = &dims[batch + depth..];
    Ok(Rows { starts, inner: rest.iter().product(), dims: [lead, rest].concat() })
}

pub(super) fn gather_nd(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let (x, indices) = (args.get(0)?, args.get(1)?);
    let batch = shape::from_i64(&[cx.int("batch_dims", 0)?])?[0];
    let rows = rows(&x.dims, indices, args.ints(1)?, batch)?;
    room(cx, &rows.dims)?;
    let picked = rows.places();
    pick(x, rows.dims, picked)
}

pub(super) fn scatter_elements(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let (x, indices) = (args.get(0)?, args.get(1)?);
    let axis = shape::axis(cx.int("axis", 0)?, x.dims.len())?;
    let places = elements(&x.dims, axis, indices, args.ints(1)?)?;
    put(cx, x, args.get(2)?, &indices.dims, &places)
}

pub(super) fn scatter_nd(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let (x, indices) = (args.get(0)?, args.get(1)?);
    let (places, dims) = scattered(cx, &x.dims, indices, args.ints(1)?)?;
    put(cx, x, args.get(2)?, &dims, &places)
}

/// Where the updates of a ScatterND go, one by one, and their shape.
pub(in super::super) fn scattered(
    cx: &mut Ctx<'_, '_, '_>,
    dims: &[usize],
    indices: &Const,
    values: &[i64],
) -> Res<(Vec<usize>, Vec<usize>)> {
    let rows = rows(dims, indices, values, 0)?;
    room(cx, &rows.dims)?;
    Ok((rows.places(), rows.dims))
}

/// `x` with updates at their places.
fn put(cx: &mut Ctx<'_, '_, '_>, x: &Const, updates: &Const, dims: &[usize], places: &[usize]) -> Res<Const> {
    if updates.dims != dims || updates.ty != x.ty {
        return bad(format!("updates of shape {:?}, the indices take {dims:?} of the data's type", updates.dims));
    }
    room(cx, &x.dims)?;
    let op = match cx.string("reduction", "none")? {
        "none" => None,
        "add" => Some("Add"),
        "mul" => Some("Mul"),
        "min" => Some("Min"),
        "max" => Some("Max"),
        other => return bad(format!("attribute reduction is {other:?}")),
    };
    // In truth values, adding is Or and multiplying is And.
    let op = match op {
        Some("Add" | "Max") if x.ty == Type::Bool => Some("Or"),
        Some(_) if x.ty == Type::Bool => Some("And"),
        op => op,
    };
    let data = match (&x.data, &updates.data) {
        (Data::Float(x), Data::Float(u)) => {
            let f = op.map(float).transpose()?;
            let mut y = x.to_vec();
            for (&p, &u) in places.iter().zip(u.iter()) {
                y[p] = f.map_or(u, |f| f(y[p], u));
            }
            Data::Float(Arc::new(y))
        }
        (Data::Int(v), Data::Int(u)) => {
            let mut y = v.to_vec();
            for (&p, &u) in places.iter().zip(u.iter()) {
                y[p] = op.map_or(Ok(u), |op| integer(op, x.ty, y[p], u))?;
            }
            Data::Int(Arc::new(y))
        }
        _ => return bad("the inputs are of different types"),
    };
    Ok(Const { dims: x.dims.clone(), data, ty: x.ty })
}
