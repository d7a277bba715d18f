//! Parts of tensors: what every importer makes of slices, of gathers by constant indices and of running sums.

use super::fail::{Res, unsupported};
use crate::ir::{Act, BinaryOp, Op, ReduceKind, Unary, ValueId};

/// An importer's view of a node of the source, which writes nodes of the IR. The one that stands for the source's has no suffix.
pub(super) trait Emit {
    /// Appends a node.
    fn emit(&mut self, suffix: &str, op: Op, inputs: &[ValueId], dims: &[usize]) -> Res<ValueId>;
    /// A constant that the source does not have.
    fn number(&mut self, value: f32) -> ValueId;
    /// Extents of a value.
    fn shape(&self, v: ValueId) -> Vec<usize>;

    /// The last element of an axis first.
    fn reversed(&mut self, suffix: &str, x: ValueId, axis: usize) -> Res<ValueId>
    where
        Self: Sized,
    {
        let len = self.shape(x)[axis];
        if len > MAX_PIECES {
            return unsupported(format!("{len} elements backwards"), "turn the order of the channels in the weights");
        }
        take(self, suffix, x, axis, &(0..len as i64).rev().collect::<Vec<_>>())
    }
}

/// Start, length and step along an axis.
pub(super) type Part = (i64, usize, i64);

/// Slices that one node of the source becomes at most: each is a step of the file, and where more are needed another order of the weights
/// is the better way.
pub const MAX_PIECES: usize = 64;

/// All of a tensor.
pub(super) fn whole(dims: &[usize]) -> Vec<Part> {
    dims.iter().map(|&d| (0, d, 1)).collect()
}

/// The operator that takes a part, and the part's extents.
fn slice(parts: &[Part]) -> (Op, Vec<usize>) {
    let start = parts.iter().map(|p| usize::try_from(p.0).unwrap_or(usize::MAX)).collect();
    // The step does not matter where one element is taken.
    let step = parts.iter().map(|p| if p.1 > 1 { p.2 as usize } else { 1 }).collect();
    (Op::Slice { start, step }, parts.iter().map(|p| p.1).collect())
}

/// The stretches of indices, each with one positive step.
fn runs(indices: &[i64]) -> Res<Vec<Part>> {
    let mut runs: Vec<Part> = vec![];
    for &i in indices {
        match runs.last_mut() {
            Some((start, len @ 1, step)) if i > *start => (*len, *step) = (2, i - *start),
            Some((start, len, step)) if *len > 1 && i == *start + *len as i64 * *step => *len += 1,
            _ => runs.push((i, 1, 1)),
        }
    }
    if runs.len() > MAX_PIECES {
        return unsupported(format!("{} indices in no order", indices.len()), "order the channels in the weights");
    }
    Ok(runs)
}

/// One Slice, or nothing where everything is taken.
pub(super) fn cut(cx: &mut impl Emit, suffix: &str, x: ValueId, parts: &[Part]) -> Res<ValueId> {
    let (op, dims) = slice(parts);
    if cx.shape(x) == dims { Ok(x) } else { cx.emit(suffix, op, &[x], &dims) }
}

/// Parts of some extents along an axis, one behind the other. In place of those that nobody reads, which may be empty, there is all of it.
pub(super) fn split<E: Emit>(
    cx: &mut E,
    x: ValueId,
    axis: usize,
    lens: &[usize],
    is_read: impl Fn(&E, usize) -> bool,
) -> Res<Vec<ValueId>> {
    let (mut parts, mut all, mut start) = (whole(&cx.shape(x)), vec![], 0);
    for (i, &len) in lens.iter().enumerate() {
        parts[axis] = (start, len, 1);
        start += len as i64;
        all.push(if is_read(cx, i) { cut(cx, &i.to_string(), x, &parts)? } else { x });
    }
    Ok(all)
}

/// [`cut`] by steps that may be negative: the same elements forwards, then turned round.
pub(super) fn turned(cx: &mut impl Emit, suffix: &str, x: ValueId, mut parts: Vec<Part>) -> Res<ValueId> {
    let backwards: Vec<usize> = (0..parts.len()).filter(|&i| parts[i].2 < 0 && parts[i].1 > 1).collect();
    for &axis in &backwards {
        let (start, len, step) = parts[axis];
        parts[axis] = (start + (len as i64 - 1) * step, len, -step);
    }
    let mut y = cut(cx, if backwards.is_empty() { suffix } else { "forwards" }, x, &parts)?;
    for &axis in &backwards {
        let own = if backwards.last() == Some(&axis) { suffix.to_string() } else { format!("backwards {axis}") };
        y = cx.reversed(&own, y, axis)?;
    }
    Ok(y)
}

/// The elements at indices along an axis, all of which it has: a join of slices.
pub(super) fn take(cx: &mut impl Emit, suffix: &str, x: ValueId, axis: usize, indices: &[i64]) -> Res<ValueId> {
    let mut dims = cx.shape(x);
    let runs = runs(indices)?;
    let mut pieces = vec![];
    for (i, run) in runs.iter().enumerate() {
        let mut parts = whole(&dims);
        parts[axis] = *run;
        let own = if runs.len() == 1 { suffix.to_string() } else { format!("{suffix}{axis}.{i}") };
        pieces.push(cut(cx, &own, x, &parts)?);
    }
    dims[axis] = indices.len();
    match pieces[..] {
        [] => unsupported("no indices", "the result is empty"),
        [only] => Ok(only),
        _ => cx.emit(suffix, Op::Concat { axis }, &pieces, &dims),
    }
}

/// Pixels to channels or back, or to images: the axes split, in another order, and joined.
pub(super) fn shuffled(cx: &mut impl Emit, x: ValueId, split: &[usize], perm: Vec<usize>, joined: &[usize]) -> Res<ValueId> {
    let blocks = cx.emit("blocks", Op::Reshape, &[x], split)?;
    let turned: Vec<usize> = perm.iter().map(|&p| split[p]).collect();
    let moved = cx.emit("turned", Op::Transpose { perm }, &[blocks], &turned)?;
    cx.emit("", Op::Reshape, &[moved], joined)
}

/// The logarithm of the sum of exponentials along axes, of which there is at least one; the largest apart, so that none overflows.
pub(super) fn log_sum_exp(cx: &mut impl Emit, x: ValueId, axes: &[usize], keep_dims: bool) -> Res<ValueId> {
    let dims = cx.shape(x);
    let kept: Vec<usize> = (0..dims.len()).map(|i| if axes.contains(&i) { 1 } else { dims[i] }).collect();
    let left: Vec<usize> = (0..dims.len()).filter(|i| keep_dims || !axes.contains(i)).map(|i| kept[i]).collect();
    let reduce = |kind, keep_dims| Op::Reduce { kind, axes: axes.to_vec(), keep_dims };
    let binary = |op| Op::Binary { op, act: Act::None };
    let largest = cx.emit("largest", reduce(ReduceKind::Max, true), &[x], &kept)?;
    // Less a number even where the largest is none.
    let finite = Op::Act(Act::Clamp { lo: f32::MIN, hi: f32::MAX });
    let largest = cx.emit("finite", finite, &[largest], &kept)?;
    let shifted = cx.emit("shifted", binary(BinaryOp::Sub), &[x, largest], &dims)?;
    let powers = cx.emit("powers", Op::Act(Act::Exp), &[shifted], &dims)?;
    let sum = cx.emit("sum", reduce(ReduceKind::Sum, keep_dims), &[powers], &left)?;
    let log = cx.emit("log", Op::Unary(Unary::Log), &[sum], &left)?;
    let largest = if kept == left { largest } else { cx.emit("axes", Op::Reshape, &[largest], &left)? };
    cx.emit("", binary(BinaryOp::Add), &[log, largest], &left)
}

/// A running sum: to each element the one before it is added, then the sums of two before that, of four, and so on. Of an exclusive
/// one an element is no part itself; a reverse one begins at the end.
pub(super) fn running_sum(cx: &mut impl Emit, x: ValueId, axis: usize, exclusive: bool, reverse: bool) -> Res<ValueId> {
    let dims = cx.shape(x);
    let mut y = if exclusive { moved(cx, "before", x, axis, 1, reverse)? } else { x };
    let mut by = 1;
    while by < dims[axis] {
        let earlier = moved(cx, &format!("by {by}"), y, axis, by, reverse)?;
        by *= 2;
        let suffix = if by < dims[axis] { format!("sums of {by}") } else { String::new() };
        y = cx.emit(&suffix, Op::Binary { op: BinaryOp::Add, act: Act::None }, &[y, earlier], &dims)?;
    }
    Ok(y)
}

/// A tensor moved by some elements along an axis, to the end or to the start, zeros behind it.
fn moved(cx: &mut impl Emit, suffix: &str, x: ValueId, axis: usize, by: usize, back: bool) -> Res<ValueId> {
    let dims = cx.shape(x);
    if by >= dims[axis] {
        let zero = cx.number(0.0);
        return cx.emit(suffix, Op::Broadcast, &[zero], &dims);
    }
    let mut parts = whole(&dims);
    parts[axis] = (if back { by as i64 } else { 0 }, dims[axis] - by, 1);
    let rest = cut(cx, &format!("{suffix}/rest"), x, &parts)?;
    let mut pads = vec![(0, 0); dims.len()];
    pads[axis] = if back { (0, by) } else { (by, 0) };
    cx.emit(suffix, Op::Pad { pads, value: 0.0 }, &[rest], &dims)
}
