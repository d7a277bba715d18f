//! `x[...]`, the index of Python as Keras writes it down, `take`, `split` and `unstack`.

use super::Emit;
use super::cfg::{short, values};
use crate::error::{Error, Result};
use crate::import::fail::{Fail, Res};
use crate::import::parts::{self, turned, whole};
use crate::import::shape;
use crate::ir::{Op, ValueId};
use serde_json::Value;
use std::sync::Arc;

/// One entry of an index.
pub(super) enum Entry {
    /// One element, and the axis goes.
    At(i64),
    /// A new axis of one element.
    New,
    /// All axes that no other entry is for.
    Rest,
    /// Some elements: the first, the one behind the last, the step.
    Range([i64; 3]),
}

/// `{"class_name": "__slice__", "config": {"start", "stop", "step"}}`, in Keras 2 `{"start", "stop", "step"}`; `{"class_name":
/// "__ellipsis__"}`; null; a number. Nothing for what is none of these, as a tensor.
pub(super) fn entry(v: &Value) -> Option<Entry> {
    let range = |v: &Value| {
        let bound = |key: &str| match v.get(key)? {
            Value::Null => Some(None),
            v => v.as_i64().map(Some),
        };
        let step = bound("step")?.unwrap_or(1);
        let all = if step > 0 { (0, i64::MAX) } else { (i64::MAX, i64::MIN) };
        Some(Entry::Range([bound("start")?.unwrap_or(all.0), bound("stop")?.unwrap_or(all.1), step]))
    };
    match v {
        Value::Null => Some(Entry::New),
        Value::Object(map) => match map.get("class_name").map(Value::as_str) {
            None => range(v),
            Some(Some("__slice__")) => range(map.get("config")?),
            Some(Some("__ellipsis__")) => Some(Entry::Rest),
            Some(_) => None,
        },
        v => v.as_i64().map(Entry::At),
    }
}

/// Appends `x[index]`.
pub(super) fn slice(e: &mut Emit<'_>, x: ValueId, index: &Value) -> Result<ValueId> {
    let list = index.as_array().map_or(std::slice::from_ref(index), |list| list);
    let Some(mut entries) = list.iter().map(entry).collect::<Option<Vec<_>>>() else {
        return Err(e.unsupported(format!("the index {}", short(index)), "use whole numbers and ranges of them"));
    };
    let from = e.shape(x);
    let named = entries.iter().filter(|one| matches!(one, Entry::At(_) | Entry::Range(_))).count();
    let rests = entries.iter().filter(|one| matches!(one, Entry::Rest)).count();
    if named > from.len() || rests > 1 {
        return Err(e.invalid(format!("the index {} does not fit the shape {from:?}", short(index))));
    }
    if rests == 0 {
        entries.push(Entry::Rest);
    }

    let mut parts = whole(&from);
    // What is left of the axes, and those that are new.
    let (mut axis, mut to) = (0, Vec::new());
    for one in entries {
        match one {
            Entry::New => to.push(1),
            Entry::Rest => {
                let behind = axis + from.len() - named;
                to.extend(&from[axis..behind]);
                axis = behind;
            }
            Entry::At(i) => {
                parts[axis] = (place(e, i, axis, from[axis])?, 1, 1);
                axis += 1;
            }
            Entry::Range([first, end, step]) => {
                let (start, len) = shape::slice(from[axis], first, end, step).map_err(|fail| own(e, fail))?;
                parts[axis] = (start, len, step);
                to.push(len);
                axis += 1;
            }
        }
    }
    let same = parts.iter().map(|part| &part.1).eq(&to);
    let y = turned(e, if same { "" } else { "cut" }, x, parts).map_err(|fail| own(e, fail))?;
    if same { Ok(y) } else { e.node("", Op::Reshape, &[y], &to) }
}

/// Appends what takes the elements at indices along an axis; one index without a list drops the axis.
pub(super) fn take(e: &mut Emit<'_>, x: ValueId, axis: usize, indices: &Value) -> Result<ValueId> {
    let from = e.shape(x);
    let whole = |n: f64| (n.fract() == 0.0 && n.abs() < 9e15).then_some(n as i64);
    let list = values(indices).and_then(|(shape, data)| Some((shape, data.into_iter().map(whole).collect::<Option<Vec<_>>>()?)));
    let (shape, list) = list.ok_or_else(|| e.invalid(format!("`indices` is {}", short(indices))))?;
    let list = list.into_iter().map(|i| place(e, i, axis, from[axis])).collect::<Result<Vec<_>>>()?;
    let same = shape.len() == 1;
    let y = parts::take(e, if same { "" } else { "list" }, x, axis, &list).map_err(|fail| own(e, fail))?;
    if same { Ok(y) } else { e.node("", Op::Reshape, &[y], &[&from[..axis], &shape, &from[axis + 1..]].concat()) }
}

/// Appends what takes a part of a tensor.
pub(super) fn part(e: &mut Emit<'_>, suffix: &str, x: ValueId, parts: Vec<parts::Part>) -> Result<ValueId> {
    turned(e, suffix, x, parts).map_err(|fail| own(e, fail))
}

/// Appends what takes the elements at indices along an axis, all of which it has.
pub(super) fn listed(e: &mut Emit<'_>, x: ValueId, axis: usize, indices: &[i64]) -> Result<ValueId> {
    parts::take(e, "", x, axis, indices).map_err(|fail| own(e, fail))
}

/// Appends a running sum.
pub(super) fn running_sum(e: &mut Emit<'_>, x: ValueId, axis: usize, exclusive: bool, reverse: bool) -> Result<ValueId> {
    parts::running_sum(e, x, axis, exclusive, reverse).map_err(|fail| own(e, fail))
}

/// Appends what moves the elements of an axis by some places, those at its end to the start.
pub(super) fn roll(e: &mut Emit<'_>, suffix: &str, x: ValueId, axis: usize, by: i64) -> Result<ValueId> {
    let shape = e.shape(x);
    let by = by.rem_euclid(shape[axis].max(1) as i64) as usize;
    if by == 0 {
        return Ok(x);
    }
    let kept = shape[axis] - by;
    let mut cut = |name: &str, start: usize, len: usize| {
        let mut parts = whole(&shape);
        parts[axis] = (start as i64, len, 1);
        part(e, &format!("{suffix}/{name}"), x, parts)
    };
    let both = [cut("end", kept, by)?, cut("start", 0, kept)?];
    e.node(suffix, Op::Concat { axis }, &both, &shape)
}

/// So many parts of one length.
pub(super) fn equal(extent: usize, count: i64) -> Option<Vec<usize>> {
    let count = usize::try_from(count).ok().filter(|&n| n > 0 && n <= extent && extent.is_multiple_of(n))?;
    Some(vec![extent / count; count])
}

/// So many parts, the first of which are longer by one where that does not come out even.
pub(super) fn nearly_equal(extent: usize, count: i64) -> Option<Vec<usize>> {
    let count = usize::try_from(count).ok().filter(|&n| n > 0)?;
    Some((0..count).map(|i| extent / count + usize::from(i < extent % count)).collect())
}

/// Parts of these lengths, one of which may be -1: what is left.
pub(super) fn sizes(extent: usize, sizes: &[i64]) -> Option<Vec<usize>> {
    let known = sizes.iter().filter(|&&n| n != -1).try_fold(0i64, |sum, &n| sum.checked_add(n))?;
    let rest = (extent as i64).checked_sub(known)?;
    let open = sizes.iter().filter(|&&n| n == -1).count();
    let lens = sizes.iter().map(|&n| usize::try_from(if n == -1 { rest } else { n }).ok());
    lens.collect::<Option<Vec<_>>>().filter(|_| open == 1 || (open == 0 && rest == 0))
}

/// Parts that begin at these places, but for the first.
pub(super) fn between(extent: usize, places: &[i64]) -> Option<Vec<usize>> {
    let ends = places.iter().copied().chain([extent as i64]);
    let starts = [0].into_iter().chain(places.iter().copied());
    starts.zip(ends).map(|(start, end)| usize::try_from(end.checked_sub(start)?).ok()).collect()
}

/// Appends what cuts a tensor into parts of these lengths along an axis, which add up to its extent.
pub(super) fn split(e: &mut Emit<'_>, x: ValueId, axis: usize, lens: &[usize]) -> Result<Vec<ValueId>> {
    if lens.contains(&0) {
        return Err(e.unsupported("a part without elements", "leave it out"));
    }
    parts::split(e, x, axis, lens, |_, _| true).map_err(|fail| own(e, fail))
}

/// Appends what gives each element of an axis, without it.
pub(super) fn unstack(e: &mut Emit<'_>, x: ValueId, axis: usize) -> Result<Vec<ValueId>> {
    let mut rest = e.shape(x);
    let extent = rest.remove(axis);
    let all = split(e, x, axis, &vec![1; extent])?;
    all.into_iter().enumerate().map(|(i, v)| e.node(&format!("{i}/axis"), Op::Reshape, &[v], &rest)).collect()
}

/// The place of an element, which may be counted from the end.
fn place(e: &Emit<'_>, i: i64, axis: usize, extent: usize) -> Result<i64> {
    let wrong = |_| e.invalid(format!("element {i} of the {extent} of axis {axis}"));
    shape::index(i, extent).map(|at| at as i64).map_err(wrong)
}

/// The error of a layer.
pub(super) fn own(e: &Emit<'_>, fail: Fail) -> Error {
    match fail {
        Fail::Invalid(why) => e.invalid(why),
        Fail::Unsupported { what, remedy } => e.unsupported(what, remedy),
        Fail::Exhausted(why) => e.invalid(why),
        Fail::Error(error) => error,
    }
}

impl parts::Emit for Emit<'_> {
    fn emit(&mut self, suffix: &str, op: Op, inputs: &[ValueId], dims: &[usize]) -> Res<ValueId> {
        self.node(suffix, op, inputs, dims).map_err(Fail::Error)
    }

    fn number(&mut self, value: f32) -> ValueId {
        self.graph.constant(format!("{}/{value}", self.path), &[1], Arc::new(vec![value]))
    }

    fn shape(&self, v: ValueId) -> Vec<usize> {
        Emit::shape(self, v)
    }
}
