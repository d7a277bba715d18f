//! Operators that cut tensors and put them together.

use super::fail::{Res, bad, unsupported};
use super::schema::options as field;
use super::{Ctx, Values, shape};
use crate::import::parts::{self, Part, cut, turned, whole};
use crate::ir::{Op, ValueId};

/// Joins tensors of which only `axis` may differ.
pub(super) fn join(cx: &mut Ctx<'_, '_>, suffix: &str, parts: &[ValueId], axis: usize) -> Res<ValueId> {
    if let [only] = parts {
        return Ok(*only);
    }
    let Some(&first) = parts.first() else { return bad("there is nothing to join") };
    let mut dims = cx.shape(first);
    let extents = parts.iter().map(|&v| cx.b.graph.shape(v).get(axis).copied().unwrap_or(0));
    dims[axis] = extents.fold(0, usize::saturating_add);
    cx.emit(suffix, Op::Concat { axis }, parts, &dims)
}

pub(super) fn concatenation(cx: &mut Ctx<'_, '_>) -> Values {
    let parts = (0..cx.op.inputs.len()).map(|i| cx.value(i)).collect::<Res<Vec<ValueId>>>()?;
    let Some(&first) = parts.first() else { return bad("there are no inputs") };
    let axis = shape::axis(cx.int(field::axis::CONCATENATION, 0)?, cx.shape(first).len())?;
    let act = cx.activation(field::CONCATENATION_ACTIVATION)?;
    let y = join(cx, "", &parts, axis)?;
    Ok(vec![cx.act("act", y, act)?])
}

/// Joins tensors along a new axis.
pub(super) fn pack(cx: &mut Ctx<'_, '_>) -> Values {
    let n = cx.op.inputs.len();
    let first = cx.value(0)?;
    let mut dims = cx.shape(first);
    let axis = shape::axis(cx.int(field::axis::PACK, 0)?, dims.len() + 1)?;
    dims.insert(axis, 1);
    let mut parts = vec![];
    for i in 0..n {
        let x = cx.value(i)?;
        let suffix = if n == 1 { String::new() } else { i.to_string() };
        parts.push(cx.emit(&suffix, Op::Reshape, &[x], &dims)?);
    }
    Ok(vec![join(cx, "", &parts, axis)?])
}

/// One Slice per output that somebody reads.
fn divided(cx: &mut Ctx<'_, '_>, x: ValueId, axis: usize, lens: &[usize]) -> Values {
    let dims = cx.shape(x);
    let total = lens.iter().try_fold(0usize, |n, &l| n.checked_add(l));
    if total != Some(dims[axis]) || lens.len() != cx.outputs.len() {
        return bad(format!("parts of {lens:?} of {dims:?} for {} outputs", cx.outputs.len()));
    }
    parts::split(cx, x, axis, lens, |cx, i| cx.is_used(i))
}

pub(super) fn split(cx: &mut Ctx<'_, '_>) -> Values {
    let (x, n) = (cx.value(1)?, cx.outputs.len());
    let dims = cx.shape(x);
    let axis = shape::axis(cx.scalar(0)?, dims.len())?;
    if !dims[axis].is_multiple_of(n.max(1)) {
        return bad(format!("{n} equal parts of axis {axis} of {dims:?}"));
    }
    divided(cx, x, axis, &vec![dims[axis] / n.max(1); n])
}

pub(super) fn split_v(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let (dims, mut lens) = (cx.shape(x), cx.list(1)?);
    let axis = shape::axis(cx.scalar(2)?, dims.len())?;
    // One part may take what is left.
    let known = lens.iter().filter(|&&l| l >= 0).fold(0i64, |n, &l| n.saturating_add(l));
    if let Some(rest) = lens.iter_mut().find(|l| **l == -1) {
        *rest = dims[axis] as i64 - known;
    }
    let lens = shape::from_i64(&lens).or_else(|_| bad(format!("parts of {lens:?}")));
    divided(cx, x, axis, &lens?)
}

/// Pieces of 1 along an axis, without it.
pub(super) fn unpack(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    let axis = shape::axis(cx.int(field::axis::PACK, 0)?, dims.len())?;
    let pieces = divided(cx, x, axis, &vec![1; dims[axis].min(cx.outputs.len() + 1)])?;
    let mut rest = dims;
    rest.remove(axis);
    let flat =
        |(i, v): (usize, ValueId)| if cx.is_used(i) { cx.emit(&format!("{i}/axis"), Op::Reshape, &[v], &rest) } else { Ok(v) };
    pieces.into_iter().enumerate().map(flat).collect()
}

/// Begin and size per axis; a size of -1 is all that is left.
pub(super) fn slice(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let (dims, begin, size) = (cx.shape(x), cx.list(1)?, cx.list(2)?);
    if begin.len() != dims.len() || size.len() != dims.len() {
        return bad(format!("begin {begin:?} and size {size:?} of {dims:?}"));
    }
    let mut parts = vec![];
    for (i, &d) in dims.iter().enumerate() {
        let left = (d as i64).saturating_sub(begin[i]);
        let len = if size[i] == -1 { left } else { size[i] };
        if begin[i] < 0 || len <= 0 || len > left {
            return bad(format!("begin {begin:?} and size {size:?} of {dims:?}"));
        }
        parts.push((begin[i], len as usize, 1));
    }
    Ok(vec![cut(cx, "", x, &parts)?])
}

/// Numpy's `x[begin:end:stride, ...]`. Bit `i` of a mask is about entry `i` of the lists: no begin, no end, all axes that are not
/// named otherwise, a new axis of 1, a single element whose axis goes.
pub(super) fn strided_slice(cx: &mut Ctx<'_, '_>) -> Values {
    use field::strided_slice as f;
    let x = cx.value(0)?;
    let (dims, begin, end, stride) = (cx.shape(x), cx.list(1)?, cx.list(2)?, cx.list(3)?);
    let n = begin.len();
    if end.len() != n || stride.len() != n || n > 2 * shape::MAX_RANK {
        return bad(format!("begin {begin:?}, end {end:?} and strides {stride:?}"));
    }
    let offset = cx.flag(f::OFFSET)?;
    let mask = |field: usize| -> Res<Vec<bool>> {
        let bits = cx.int(field, 0)?;
        Ok((0..n).map(|i| bits >> i & 1 != 0).collect())
    };
    let (no_begin, no_end, new, shrink) =
        (mask(f::BEGIN_MASK)?, mask(f::END_MASK)?, mask(f::NEW_AXIS_MASK)?, mask(f::SHRINK_AXIS_MASK)?);
    let ellipsis = mask(f::ELLIPSIS_MASK)?.iter().position(|&e| e);
    let named = (0..n).filter(|&i| Some(i) != ellipsis && !new[i]).count();
    let Some(unnamed) = dims.len().checked_sub(named) else { return bad(format!("{named} ranges for {dims:?}")) };
    if ellipsis.is_some_and(|at| at + 1 < n) && unnamed == 0 {
        // LiteRT takes the entries behind it for other axes than numpy does.
        return unsupported("an ellipsis that stands for no axis", "leave it out");
    }
    if ellipsis.is_some() && offset {
        // LiteRT counts the ends of other axes from the beginning of this one.
        return unsupported("an ellipsis and ends that count from the beginnings", "name all axes");
    }
    let (mut parts, mut out): (Vec<Part>, Vec<usize>) = (vec![], vec![]);
    for i in 0..n {
        if Some(i) == ellipsis {
            let rest = &dims[parts.len()..parts.len() + unnamed];
            parts.extend(whole(rest));
            out.extend(rest);
        } else if new[i] {
            out.push(1);
        } else {
            let d = dims[parts.len()];
            if shrink[i] && no_begin[i] {
                return unsupported("begin_mask and shrink_axis_mask for one axis", "give the index that stays");
            }
            if shrink[i] {
                parts.push((shape::index(begin[i], d)? as i64, 1, 1));
                continue;
            }
            let inside = no_begin[i] || shape::index(begin[i], d).is_ok();
            let begin = if no_begin[i] { if stride[i] > 0 { 0 } else { i64::MAX } } else { begin[i] };
            let last = if stride[i] > 0 { i64::MAX } else { i64::MIN };
            let end = if !offset {
                if no_end[i] { last } else { end[i] }
            } else if !inside {
                // The end counts from where it begins, whatever says where that is. Outside of the tensor, runtimes disagree on it.
                return unsupported(format!("a beginning at {begin} of {d}, from which the end counts"), "let it begin inside");
            } else {
                let end = shape::slice(d, begin, last, stride[i])?.0.saturating_add(end[i]);
                if no_end[i] && end != d as i64 {
                    // Of the runtimes, one takes the mask and another the end.
                    return unsupported("an end that counts from the beginning and end_mask for one axis", "leave one of them out");
                }
                if !(0..=d as i64).contains(&end) {
                    return unsupported(format!("an end at {end} of {d}, counted from the beginning"), "let it end inside");
                }
                end
            };
            let (start, len) = shape::slice(d, begin, end, stride[i])?;
            parts.push((start, len, stride[i]));
            out.push(len);
        }
    }
    let rest = &dims[parts.len()..];
    out.extend(rest);
    parts.extend(whole(rest));
    let same = parts.iter().map(|part| &part.1).eq(&out);
    let y = turned(cx, if same { "" } else { "range" }, x, parts)?;
    Ok(vec![if same { y } else { cx.emit("", Op::Reshape, &[y], &out)? }])
}

/// `[rank, 2]` extents before and after.
pub(super) fn edges(cx: &mut Ctx<'_, '_>, rank: usize) -> Res<Vec<(usize, usize)>> {
    let (dims, list) = cx.ints(1)?;
    if dims != [rank, 2] {
        return bad(format!("paddings of shape {dims:?} for {rank} axes"));
    }
    // Pairs, so that no rank is too large for the list.
    list.as_chunks::<2>().0.iter().map(|p| shape::from_i64(p).map(|p| (p[0], p[1]))).collect()
}

/// A border of zeros, or of the constant that PADV2 names.
pub(super) fn pad(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    let pads = edges(cx, dims.len())?;
    let value = if cx.is_present(2) {
        let v = cx.value(2)?;
        match cx.data(v, 2)?[..] {
            [value] => value,
            _ => return bad("the value to pad with is not one number"),
        }
    } else {
        0.0
    };
    if pads.iter().all(|&p| p == (0, 0)) {
        return Ok(vec![x]);
    }
    let dims: Vec<usize> = dims.iter().zip(&pads).map(|(d, p)| d + p.0 + p.1).collect();
    Ok(vec![cx.emit("", Op::Pad { pads, value }, &[x], &dims)?])
}
