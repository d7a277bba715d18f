//! Lists of tensors, where it is known which elements they have: SplitToSequence and the like.

use super::consts::data;
use super::fail::{Res, bad, unsupported};
use super::node::{Ctx, Operand};
use super::ops::pieces;
use super::shape;
use super::tensor::{Const, Data};
use crate::import::parts::{cut, whole};
use crate::interp;
use crate::ir::Op;
use std::sync::Arc;

/// What an element of a list takes, in elements of constants.
const ELEMENT: usize = 16;

/// How an operator about sequences is computed; `None` for another.
pub(super) fn find(op: &str) -> Option<fn(&mut Ctx<'_, '_, '_>) -> Res<Operand>> {
    Some(match op {
        "SplitToSequence" => |cx| split(cx).map(list),
        "SequenceConstruct" => |cx| flat(cx.inputs.clone()),
        "SequenceEmpty" => |cx| {
            cx.ignore(&["dtype"]);
            Ok(list(vec![]))
        },
        "SequenceLength" => |cx| {
            let n = elements(cx)?.len() as i64;
            Ok(Operand::constant(Const::ints(vec![], vec![n]), "length"))
        },
        "SequenceAt" => at,
        "SequenceInsert" => insert,
        "SequenceErase" => erase,
        "ConcatFromSequence" => concat,
        _ => return None,
    })
}

/// The results of an operator about sequences; `None` for another.
pub(super) fn evaluate(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Operand>>> {
    let op = cx.node.op_type;
    if op == "Identity" && matches!(cx.operand(0), Operand::Sequence(_)) {
        return Ok(Some(vec![cx.operand(0).clone()]));
    }
    find(op).map(|f| f(cx).map(|one| vec![one])).transpose()
}

fn at(cx: &mut Ctx<'_, '_, '_>) -> Res<Operand> {
    let all = elements(cx)?;
    let i = index(cx, 1, all.len())?;
    match all.get(i) {
        None => bad(format!("element {i} of {}", all.len())),
        Some(Operand::None) => unsupported(format!("element {i}, which is empty"), "leave it out"),
        Some(o) => Ok(o.clone()),
    }
}

fn insert(cx: &mut Ctx<'_, '_, '_>) -> Res<Operand> {
    let mut all = copied(cx)?;
    let at = if cx.is_present(2) { index(cx, 2, all.len())? } else { all.len() };
    if at > all.len() {
        return bad(format!("element {at} of {}", all.len()));
    }
    all.insert(at, cx.operand(1).clone());
    // A file of n nodes could make n lists of n elements.
    cx.b.charge(all.len() * ELEMENT)?;
    flat(all)
}

fn erase(cx: &mut Ctx<'_, '_, '_>) -> Res<Operand> {
    let mut all = copied(cx)?;
    let at = if cx.is_present(1) { index(cx, 1, all.len())? } else { all.len().saturating_sub(1) };
    if at >= all.len() {
        return bad(format!("element {at} of {}", all.len()));
    }
    all.remove(at);
    cx.b.charge(all.len() * ELEMENT)?;
    Ok(list(all))
}

/// A list of tensors. Lists within lists could be as deep as the file is long, or mean 2^n tensors.
fn flat(all: Vec<Operand>) -> Res<Operand> {
    if all.iter().any(|o| matches!(o, Operand::Sequence(_))) {
        return unsupported("a sequence of sequences", "read its elements one by one");
    }
    Ok(list(all))
}

fn list(all: Vec<Operand>) -> Operand {
    Operand::Sequence(Arc::new(all))
}

fn elements(cx: &Ctx<'_, '_, '_>) -> Res<Arc<Vec<Operand>>> {
    match cx.operand(0) {
        Operand::Sequence(all) => Ok(all.clone()),
        _ => bad("input 0 is no sequence"),
    }
}

/// A list of one's own.
fn copied(cx: &mut Ctx<'_, '_, '_>) -> Res<Vec<Operand>> {
    let all = elements(cx)?;
    cx.b.spend((all.len() as u64).saturating_mul(16 * interp::ELEMENT))?;
    Ok(all.to_vec())
}

/// A place that may count from the end.
fn index(cx: &Ctx<'_, '_, '_>, input: usize, len: usize) -> Res<usize> {
    let Some([i]) = cx.ints(input)?.as_deref().map(|v| [v.first().copied().unwrap_or(i64::MAX)]) else {
        return bad(format!("input {input} is missing"));
    };
    let own = if i < 0 { i.saturating_add(len as i64) } else { i };
    usize::try_from(own).or_else(|_| bad(format!("element {i} of {len}")))
}

fn dims_of(cx: &Ctx<'_, '_, '_>, o: &Operand) -> Res<Vec<usize>> {
    match o {
        Operand::Runtime(v) => Ok(cx.shape(*v)),
        Operand::Const { value, .. } => Ok(value.dims.clone()),
        Operand::None | Operand::Sequence(_) => bad("an element is no tensor, or empty"),
    }
}

/// The same elements under other extents.
fn reshaped(cx: &mut Ctx<'_, '_, '_>, o: Operand, dims: &[usize], suffix: &str) -> Res<Operand> {
    Ok(match o {
        Operand::Runtime(v) => Operand::Runtime(cx.emit(suffix, Op::Reshape, &[v], dims)?),
        Operand::Const { value, name } => Operand::Const { value: Const { dims: dims.to_vec(), ..value }, name },
        other => other,
    })
}

fn split(cx: &mut Ctx<'_, '_, '_>) -> Res<Vec<Operand>> {
    let x = cx.operand(0).clone();
    let dims = dims_of(cx, &x)?;
    let axis = shape::axis(cx.int("axis", 0)?, dims.len())?;
    let keep = cx.flag("keepdims", true)? || cx.is_present(1);
    let extent = dims[axis];
    let name = if let Operand::Const { name, .. } = &x { name.len() / 8 } else { 0 };
    let given = match cx.constant(1)? {
        None => Some(1),
        Some(Const { dims, data: Data::Int(v), .. }) if dims.is_empty() && v.len() == 1 => {
            match usize::try_from(v[0]).ok().filter(|&n| n > 0) {
                Some(each) => Some(each),
                None => return bad(format!("parts of {}", v[0])),
            }
        }
        Some(_) => None,
    };
    let pay = |cx: &mut Ctx<'_, '_, '_>, parts: usize| {
        cx.b.charge(parts.saturating_mul(ELEMENT + name))?;
        // A part is a handful of lists and a name.
        cx.b.spend((parts as u64).saturating_mul(128 * interp::ELEMENT))
    };
    let lens: Vec<usize> = match given {
        Some(each) => {
            // An extent costs a file nothing.
            pay(cx, extent.div_ceil(each))?;
            (0..extent.div_ceil(each)).map(|i| each.min(extent - i * each)).collect()
        }
        None => {
            let lens = shape::from_many(&cx.ints(1)?.unwrap_or_default())?;
            pay(cx, lens.len())?;
            lens
        }
    };
    if lens.iter().try_fold(0usize, |n, &l| n.checked_add(l)) != Some(extent) {
        return bad(format!("parts of {lens:?} and an extent of {extent}"));
    }
    let parts: Vec<Operand> = match &x {
        Operand::Const { value, name } => {
            let parts = data::parts(cx, value, axis, &lens)?;
            parts.into_iter().enumerate().map(|(i, c)| Operand::constant(c, &format!("{name}/{i}"))).collect()
        }
        Operand::Runtime(v) => {
            let mut at = 0;
            let mut parts = vec![];
            for (i, &len) in lens.iter().enumerate() {
                if len == 0 {
                    // torch.chunk is exported with as many parts as were asked for, the last ones empty.
                    parts.push(Operand::None);
                    continue;
                }
                let mut part = whole(&dims);
                part[axis] = (at, len, 1);
                at += len as i64;
                parts.push(Operand::Runtime(cut(cx, &i.to_string(), *v, &part)?));
            }
            parts
        }
        _ => return bad("input 0 is no tensor"),
    };
    if keep {
        return Ok(parts);
    }
    let mut rest = dims;
    rest.remove(axis);
    parts.into_iter().enumerate().map(|(i, p)| reshaped(cx, p, &rest, &format!("{i}/axis"))).collect()
}

fn concat(cx: &mut Ctx<'_, '_, '_>) -> Res<Operand> {
    let mut all = copied(cx)?;
    all.retain(|o| !matches!(o, Operand::None));
    let axis = cx.int("axis", 0)?;
    if cx.flag("new_axis", false)? {
        cx.b.spend((all.len() as u64).saturating_mul(64 * interp::ELEMENT))?;
        for (i, o) in all.iter_mut().enumerate() {
            let mut dims = dims_of(cx, o)?;
            dims.insert(shape::axis(axis, dims.len() + 1)?, 1);
            *o = reshaped(cx, o.clone(), &dims, &format!("{i}/axis"))?;
        }
    }
    let parts: Vec<&Const> =
        all.iter().filter_map(|o| if let Operand::Const { value, .. } = o { Some(value) } else { None }).collect();
    if parts.len() == all.len() {
        return Ok(Operand::constant(data::concat(cx, &parts)?, cx.node.outputs.first().unwrap_or(&"")));
    }
    cx.inputs = all;
    Ok(Operand::Runtime(pieces::concat(cx)?[0]))
}
