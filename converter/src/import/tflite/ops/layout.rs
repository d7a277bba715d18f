//! Shapes and orders of axes.

use super::fail::{Res, bad, unsupported};
use super::schema::options as field;
use super::{Ctx, Values, shape};
use crate::import::parts::{MAX_PIECES, cut, shuffled};
use crate::import::tflite::tensor::is_narrow;
use crate::ir::{Op, ValueId};
use std::sync::Arc;

/// What was done when the constant was read, or changes only the type.
pub(super) fn nothing(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    // A cast to halves; the report is to say that it rounds nothing.
    if cx.b.graph.data(x).is_none() && cx.outputs.iter().any(|&t| is_narrow(cx.b.model.tensors[t].element)) {
        cx.b.graph.leave_unrounded(cx.name);
    }
    Ok(vec![x])
}

/// The same elements under another shape.
fn shaped(cx: &mut Ctx<'_, '_>, x: ValueId, dims: &[usize]) -> Values {
    let from = cx.shape(x);
    if from == dims {
        return Ok(vec![x]);
    }
    if shape::count(&from) != shape::count(dims) {
        return bad(format!("{from:?} cannot become {dims:?}"));
    }
    Ok(vec![cx.emit("", Op::Reshape, &[x], dims)?])
}

/// The shape is an input, or in older files an option.
pub(super) fn reshape(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let target = if cx.is_present(1) { cx.list(1)? } else { cx.int_list(field::RESHAPE_NEW_SHAPE)? };
    let from = cx.shape(x);
    // Old files write the shape of a single number so.
    let target = if target == [0] && from.iter().all(|&d| d == 1) { vec![] } else { target };
    let dims = shape::reshape(&from, &target, true)?;
    shaped(cx, x, &dims)
}

pub(super) fn squeeze(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let from = cx.shape(x);
    let named = cx.int_list(field::SQUEEZE_DIMS)?;
    let axes =
        if named.is_empty() { (0..from.len()).filter(|&i| from[i] == 1).collect() } else { shape::axes(&named, from.len())? };
    if let Some(a) = axes.iter().find(|&&a| from[a] != 1) {
        return bad(format!("axis {a} of {from:?} is not 1"));
    }
    let dims: Vec<usize> = (0..from.len()).filter(|i| !axes.contains(i)).map(|i| from[i]).collect();
    shaped(cx, x, &dims)
}

pub(super) fn expand_dims(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let mut dims = cx.shape(x);
    let axis = shape::axis(cx.scalar(1)?, dims.len() + 1)?;
    dims.insert(axis, 1);
    shaped(cx, x, &dims)
}

pub(super) fn transpose(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let from = cx.shape(x);
    let perm = shape::axes(&cx.list(1)?, from.len())?;
    if perm.len() != from.len() {
        return bad(format!("an order of {} axes for {from:?}", perm.len()));
    }
    if perm.is_sorted() {
        return Ok(vec![x]);
    }
    let dims: Vec<usize> = perm.iter().map(|&p| from[p]).collect();
    Ok(vec![cx.emit("", Op::Transpose { perm }, &[x], &dims)?])
}

pub(super) fn shape_of(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims: Vec<f32> = cx.shape(x).iter().map(|&d| d as f32).collect();
    if cx.shape(x).iter().any(|&d| d > 1 << f32::MANTISSA_DIGITS) {
        return unsupported(format!("the shape {:?}", cx.shape(x)), "it is too large");
    }
    Ok(vec![cx.b.graph.constant("shape", &[dims.len()], Arc::new(dims))])
}

pub(super) fn rank_of(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let rank = cx.shape(x).len() as f32;
    Ok(vec![cx.b.graph.constant("rank", &[], Arc::new(vec![rank]))])
}

/// Start, limit, step: constant integers.
pub(super) fn range(cx: &mut Ctx<'_, '_>) -> Values {
    let (start, limit, step) = (cx.scalar(0)?, cx.scalar(1)?, cx.scalar(2)?);
    let len = match i128::from(step) {
        0 => return bad("a step of 0"),
        s => (i128::from(limit) - i128::from(start) + s - s.signum()) / s,
    };
    match usize::try_from(len) {
        Ok(len) if (1..=1 << 16).contains(&len) && start.unsigned_abs().max(limit.unsigned_abs()) <= 1 << f32::MANTISSA_DIGITS => {
            cx.b.budget.pay(len)?;
            let data = (0..len as i64).map(|i| (start + i * step) as f32).collect();
            Ok(vec![cx.b.graph.constant("range", &[len], Arc::new(data))])
        }
        _ => unsupported(format!("{start} to {limit} by {step}"), "it is empty or too long"),
    }
}

pub(super) fn zeros_like(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    let zero = cx.number(0.0);
    broadcast(cx, zero, &dims)
}

/// The shape that two shapes are broadcast to.
pub(super) fn broadcast_args(cx: &mut Ctx<'_, '_>) -> Values {
    let (a, b) = (shape::from_i64(&cx.list(0)?)?, shape::from_i64(&cx.list(1)?)?);
    let dims: Vec<f32> = shape::broadcast(&a, &b)?.iter().map(|&d| d as f32).collect();
    Ok(vec![cx.b.graph.constant("shape", &[dims.len()], Arc::new(dims))])
}

fn broadcast(cx: &mut Ctx<'_, '_>, x: ValueId, dims: &[usize]) -> Values {
    if cx.shape(x) == dims {
        return Ok(vec![x]);
    }
    Ok(vec![cx.emit("", Op::Broadcast, &[x], dims)?])
}

pub(super) fn broadcast_to(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = shape::from_i64(&cx.list(1)?)?;
    broadcast(cx, x, &dims)
}

pub(super) fn fill(cx: &mut Ctx<'_, '_>) -> Values {
    let dims = shape::from_i64(&cx.list(0)?)?;
    let x = cx.value(1)?;
    broadcast(cx, x, &dims)
}

/// Extents of 1 are broadcast, longer ones are joined with themselves.
pub(super) fn tile(cx: &mut Ctx<'_, '_>) -> Values {
    let mut x = cx.value(0)?;
    let mut dims = cx.shape(x);
    let repeats = shape::from_i64(&cx.list(1)?)?;
    if repeats.len() != dims.len() {
        return bad(format!("{} repeats for {} axes", repeats.len(), dims.len()));
    }
    for axis in 0..dims.len() {
        if dims[axis] == 1 || repeats[axis] == 1 {
            continue;
        }
        let most = if cx.b.graph.data(x).is_some() { shape::MAX_ELEMENTS } else { MAX_PIECES };
        if repeats[axis] > most || repeats[axis] == 0 {
            return unsupported(format!("{} repeats", repeats[axis]), format!("repeat at most {MAX_PIECES} times"));
        }
        dims[axis] = dims[axis].saturating_mul(repeats[axis]);
        cx.b.budget.pay(repeats[axis])?;
        x = cx.emit(&axis.to_string(), Op::Concat { axis }, &vec![x; repeats[axis]], &dims)?;
    }
    for (d, r) in dims.iter_mut().zip(&repeats).filter(|(d, _)| **d == 1) {
        *d = *r;
    }
    broadcast(cx, x, &dims)
}

fn block(cx: &Ctx<'_, '_>) -> Res<usize> {
    let b = cx.int(field::BLOCK_SIZE, 0)?;
    usize::try_from(b).ok().filter(|b| (1..=1 << 12).contains(b)).map_or_else(|| bad(format!("block size {b}")), Ok)
}

pub(super) fn depth_to_space(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let ([n, h, w, c], b) = (cx.image(x)?, block(cx)?);
    if c % (b * b) != 0 {
        return bad(format!("{c} channels do not make blocks of {b} by {b}"));
    }
    let o = c / (b * b);
    Ok(vec![shuffled(cx, x, &[n, h, w, b, b, o], vec![0, 1, 3, 2, 4, 5], &[n, h * b, w * b, o])?])
}

pub(super) fn space_to_depth(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let ([n, h, w, c], b) = (cx.image(x)?, block(cx)?);
    if h % b != 0 || w % b != 0 {
        return bad(format!("{h} by {w} pixels do not make blocks of {b} by {b}"));
    }
    let joined = [n, h / b, w / b, c * b * b];
    Ok(vec![shuffled(cx, x, &[n, h / b, b, w / b, b, c], vec![0, 1, 3, 2, 4, 5], &joined)?])
}

/// What an operator of blocks does to rows and columns.
struct Blocks {
    /// Block extents.
    by: [usize; 2],
    /// What is padded or cropped.
    edges: [(usize, usize); 2],
    /// The tensor has rows alone, as of a Conv1D: it is an image of one column.
    rows_alone: bool,
}

/// Block extents (input 1) and what is padded or cropped (input 2); nothing for blocks of single elements that stay as they are.
fn batches(cx: &mut Ctx<'_, '_>) -> Res<Option<Blocks>> {
    let x = cx.value(0)?;
    let blocks = shape::from_i64(&cx.list(1)?)?;
    let (_, edges) = cx.ints(2)?;
    let rank = cx.shape(x).len();
    if blocks.iter().all(|&b| b == 1) && edges.iter().all(|&e| e == 0) && edges.len() == 2 * blocks.len() && blocks.len() < rank {
        return Ok(None);
    }
    let edges = if edges.len() <= 4 { shape::from_i64(&edges)? } else { vec![] };
    let (by, edges, rows_alone) = match (rank, &blocks[..], &edges[..]) {
        (4, &[by, bx], &[t, b, l, r]) => ([by, bx], [(t, b), (l, r)], false),
        (3, &[by], &[t, b]) => ([by, 1], [(t, b), (0, 0)], true),
        (3 | 4, ..) => return bad(format!("blocks of {blocks:?}, edges of {edges:?} for {:?}", cx.shape(x))),
        _ => return unsupported(format!("blocks of shape {:?}", cx.shape(x)), "only images of four axes, or three, are supported"),
    };
    if by.iter().any(|b| !(1..=1 << 12).contains(b)) {
        return bad(format!("blocks of {blocks:?}"));
    }
    Ok(Some(Blocks { by, edges, rows_alone }))
}

/// Rows alone as an image of one column.
fn as_image(cx: &mut Ctx<'_, '_>, x: ValueId, rows_alone: bool) -> Res<ValueId> {
    match cx.shape(x)[..] {
        [n, l, c] if rows_alone => cx.emit("column", Op::Reshape, &[x], &[n, l, 1, c]),
        _ => Ok(x),
    }
}

/// An image of one column as rows alone.
fn as_rows(cx: &mut Ctx<'_, '_>, y: ValueId, rows_alone: bool) -> Values {
    match cx.shape(y)[..] {
        [n, l, 1, c] if rows_alone => Ok(vec![cx.emit("rows", Op::Reshape, &[y], &[n, l, c])?]),
        _ => Ok(vec![y]),
    }
}

pub(super) fn space_to_batch(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let Some(Blocks { by: [by, bx], edges: [rows, columns], rows_alone }) = batches(cx)? else { return Ok(vec![x]) };
    let x = as_image(cx, x, rows_alone)?;
    let [n, h, w, c] = cx.image(x)?;
    let (h, w) = (h + rows.0 + rows.1, w + columns.0 + columns.1);
    if h % by != 0 || w % bx != 0 {
        return bad(format!("{h} by {w} pixels do not make blocks of {by} by {bx}"));
    }
    let pads = vec![(0, 0), rows, columns, (0, 0)];
    let x = cx.emit("pad", Op::Pad { pads, value: 0.0 }, &[x], &[n, h, w, c])?;
    let joined = [n.saturating_mul(by * bx), h / by, w / bx, c];
    let y = shuffled(cx, x, &[n, h / by, by, w / bx, bx, c], vec![2, 4, 0, 1, 3, 5], &joined)?;
    as_rows(cx, y, rows_alone)
}

pub(super) fn batch_to_space(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let Some(Blocks { by: [by, bx], edges: [rows, columns], rows_alone }) = batches(cx)? else { return Ok(vec![x]) };
    let x = as_image(cx, x, rows_alone)?;
    let [n, h, w, c] = cx.image(x)?;
    if n % (by * bx) != 0 {
        return bad(format!("{n} images do not make blocks of {by} by {bx}"));
    }
    let n = n / (by * bx);
    let whole = [n, h.saturating_mul(by), w.saturating_mul(bx), c];
    let y = shuffled(cx, x, &[by, bx, n, h, w, c], vec![2, 3, 0, 4, 1, 5], &whole)?;
    let left = |extent: usize, (a, b): (usize, usize)| extent.checked_sub(a)?.checked_sub(b).filter(|&d| d > 0);
    let (Some(h), Some(w)) = (left(whole[1], rows), left(whole[2], columns)) else {
        return bad(format!("nothing is left of {whole:?}"));
    };
    let parts = [(0, n, 1), (rows.0 as i64, h, 1), (columns.0 as i64, w, 1), (0, c, 1)];
    let y = cut(cx, "crop", y, &parts)?;
    as_rows(cx, y, rows_alone)
}
