//! Elements at constant places: joins of slices.

use super::fail::{Res, bad, unsupported};
use super::places::flat;
use super::schema::options as field;
use super::{Ctx, Values, constant, shape};
use crate::import::parts::{self, Emit, MAX_PIECES};
use crate::ir::{Op, ValueId};

impl Emit for Ctx<'_, '_> {
    fn emit(&mut self, suffix: &str, op: Op, inputs: &[ValueId], dims: &[usize]) -> Res<ValueId> {
        Ctx::emit(self, suffix, op, inputs, dims)
    }
    fn number(&mut self, value: f32) -> ValueId {
        Ctx::number(self, value)
    }
    fn shape(&self, v: ValueId) -> Vec<usize> {
        Ctx::shape(self, v)
    }
    fn reversed(&mut self, suffix: &str, x: ValueId, axis: usize) -> Res<ValueId> {
        turned(self, suffix, x, axis)
    }
}

/// The elements at some indices along an axis.
pub(super) fn take(cx: &mut Ctx<'_, '_>, suffix: &str, x: ValueId, axis: usize, indices: &[i64]) -> Res<ValueId> {
    let dims = cx.shape(x);
    if let Some(i) = indices.iter().find(|&&i| !(0..dims[axis] as i64).contains(&i)) {
        return bad(format!("index {i} of {}", dims[axis]));
    }
    cx.b.budget.pay(indices.len())?;
    if cx.b.graph.data(x).is_some() {
        return constant::take(cx, x, axis, indices);
    }
    parts::take(cx, suffix, x, axis, indices)
}

/// The last element of an axis first.
fn turned(cx: &mut Ctx<'_, '_>, suffix: &str, x: ValueId, axis: usize) -> Res<ValueId> {
    let len = cx.shape(x)[axis];
    if len > MAX_PIECES && cx.b.graph.data(x).is_none() {
        return unsupported(format!("{len} elements backwards"), "turn the order of the channels in the weights");
    }
    cx.b.budget.pay(len)?;
    take(cx, suffix, x, axis, &(0..len as i64).rev().collect::<Vec<_>>())
}

pub(super) fn reverse(cx: &mut Ctx<'_, '_>) -> Values {
    let mut x = cx.value(0)?;
    let rank = cx.shape(x).len();
    let axes = shape::axes(&cx.list(1)?, rank)?;
    for (i, &axis) in axes.iter().enumerate() {
        let suffix = if i + 1 == axes.len() { String::new() } else { axis.to_string() };
        x = turned(cx, &suffix, x, axis)?;
    }
    Ok(vec![x])
}

/// Indices of any shape, in place of the axis; of none for a single one.
pub(super) fn gather(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    let axis = shape::axis(cx.int(field::axis::GATHER, 0)?, dims.len())?;
    let (list, indices) = cx.ints(1)?;
    if cx.int(field::GATHER_BATCH_DIMS, 0)? != 0 {
        return unsupported("option batch_dims", "gather along one axis for all batches");
    }
    let y = take(cx, if list.len() == 1 { "" } else { "list" }, x, axis, &indices)?;
    let out = [&dims[..axis], &list, &dims[axis + 1..]].concat();
    Ok(vec![if list.len() == 1 { y } else { cx.emit("", Op::Reshape, &[y], &out)? }])
}

/// Each row of the indices names a place along the first axes: one along all of them together.
pub(super) fn gather_nd(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    let (list, indices) = cx.ints(1)?;
    let Some((&named, lead)) = list.split_last().filter(|(n, _)| (1..=dims.len()).contains(*n)) else {
        return bad(format!("indices of shape {list:?} for {dims:?}"));
    };
    let mut places = vec![];
    for row in indices.chunks_exact(named) {
        places.push(flat(row, &dims)? as i64);
    }
    let first = dims[..named].iter().product();
    let rows = cx.emit("flat", Op::Reshape, &[x], &[&[first], &dims[named..]].concat())?;
    let y = take(cx, "list", rows, 0, &places)?;
    Ok(vec![cx.emit("", Op::Reshape, &[y], &[lead, &dims[named..]].concat())?])
}
