//! Normalisations by what is computed of the tensor itself.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use super::Values;
use super::conv::floats;
use crate::ir::{Act, BinaryOp, Op, ReduceKind, Unary, ValueId};
use std::sync::Arc;

/// Most channels among which a local response is summed up by a matrix.
const MAX_LRN: usize = 4096;

fn binary(cx: &mut Ctx<'_, '_, '_>, suffix: &str, op: BinaryOp, a: ValueId, b: ValueId) -> Res<ValueId> {
    let shape = shape::broadcast(cx.b.graph.shape(a), cx.b.graph.shape(b))?;
    cx.emit(suffix, Op::Binary { op, act: Act::None }, &[a, b], &shape)
}

fn mean(cx: &mut Ctx<'_, '_, '_>, suffix: &str, x: ValueId, axes: &[usize]) -> Res<ValueId> {
    let mut dims = cx.shape(x);
    axes.iter().for_each(|&a| dims[a] = 1);
    cx.emit(suffix, Op::Reduce { kind: ReduceKind::Mean, axes: axes.to_vec(), keep_dims: true }, &[x], &dims)
}

/// What differs from the mean over some axes, and the root of its mean square.
fn centred(cx: &mut Ctx<'_, '_, '_>, x: ValueId, axes: &[usize], epsilon: f32) -> Res<(ValueId, ValueId, ValueId)> {
    let m = mean(cx, "mean", x, axes)?;
    let d = binary(cx, "difference", BinaryOp::Sub, x, m)?;
    let square = binary(cx, "square", BinaryOp::Mul, d, d)?;
    let mut variance = mean(cx, "variance", square, axes)?;
    if epsilon != 0.0 {
        let epsilon = cx.number(epsilon);
        variance = binary(cx, "epsilon", BinaryOp::Add, variance, epsilon)?;
    }
    let dims = cx.shape(variance);
    let deviation = cx.emit("deviation", Op::Act(Act::Sqrt), &[variance], &dims)?;
    Ok((m, d, deviation))
}

fn epsilon(cx: &Ctx<'_, '_, '_>) -> Res<f32> {
    let e = cx.float("epsilon", 1e-5)?;
    if e < 0.0 { bad(format!("epsilon is {e}")) } else { Ok(e) }
}

/// A weight that is repeated to `dims`, as one vector.
fn vector(cx: &mut Ctx<'_, '_, '_>, i: usize, dims: &[usize]) -> Res<ValueId> {
    let n: usize = dims.iter().product();
    let Some(c) = cx.constant(i)?.cloned() else { return bad(format!("input {i} is missing")) };
    if shape::broadcast(dims, &c.dims)? != dims {
        return bad(format!("input {i} of shape {:?} does not fit {dims:?}", c.dims));
    }
    let whole = super::super::consts::expanded(cx, &c, dims)?;
    cx.weight(i, &format!("vector {dims:?}"), true, |_| Ok((vec![n], Some(floats(&whole)?.to_vec()))))
}

fn constant(cx: &mut Ctx<'_, '_, '_>, name: &str, n: usize, value: f32) -> Res<ValueId> {
    cx.b.charge(n)?;
    Ok(cx.b.graph.constant(format!("{}/{name}", cx.name), &[n], Arc::new(vec![value; n])))
}

/// LayerNormalization and RMSNormalization: over all axes from one on.
pub(super) fn layer(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let centred_on_mean = cx.node.op_type == "LayerNormalization";
    cx.ignore(&["stash_type"]);
    let epsilon = epsilon(cx)?;
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let axis = shape::axis(cx.int("axis", -1)?, xs.len())?;
    let inner = xs[axis..].to_vec();
    let n = inner.iter().product();
    let scale = vector(cx, 1, &inner)?;
    let shift = if cx.is_present(2) { vector(cx, 2, &inner)? } else { constant(cx, "zeros", n, 0.0)? };
    let flat = [&xs[..axis], &[n]].concat();
    let rows = if inner.len() > 1 { cx.emit("rows", Op::Reshape, &[x], &flat)? } else { x };
    let mut y = cx.emit("", Op::LayerNorm { epsilon, centred: centred_on_mean }, &[rows, scale, shift], &flat)?;
    if inner.len() > 1 {
        y = cx.emit("shape", Op::Reshape, &[y], &xs)?;
    }
    let used = |cx: &Ctx<'_, '_, '_>, i: usize| cx.node.outputs.get(i).is_some_and(|o| !o.is_empty() && cx.b.used.contains(o));
    if !centred_on_mean || !(used(cx, 1) || used(cx, 2)) {
        return Ok(vec![y]);
    }
    // What training would want to know.
    let axes: Vec<usize> = (axis..xs.len()).collect();
    let (mean, _, deviation) = centred(cx, x, &axes, epsilon)?;
    let one = cx.number(1.0);
    let inverse = binary(cx, "inverse", BinaryOp::Div, one, deviation)?;
    Ok(vec![y, mean, inverse])
}

/// A value of each channel along axis 1 of a tensor of this rank.
fn by_channel(cx: &mut Ctx<'_, '_, '_>, i: usize, channels: usize, rank: usize) -> Res<ValueId> {
    let mut dims = vec![1; rank - 1];
    dims[0] = channels;
    cx.weight(i, &format!("channels {dims:?}"), true, |c| {
        if c.dims == [channels] {
            Ok((dims, None))
        } else {
            bad(format!("input {i} of shape {:?} for {channels} channels", c.dims))
        }
    })
}

/// Over the positions of each channel of each image.
pub(super) fn instance(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let epsilon = epsilon(cx)?;
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    if xs.len() < 3 {
        return bad(format!("an input of shape {xs:?} has no spatial axes"));
    }
    let (scale, shift) = (by_channel(cx, 1, xs[1], xs.len())?, by_channel(cx, 2, xs[1], xs.len())?);
    let axes: Vec<usize> = (2..xs.len()).collect();
    let (_, d, deviation) = centred(cx, x, &axes, epsilon)?;
    let y = binary(cx, "normal", BinaryOp::Div, d, deviation)?;
    let y = binary(cx, "scaled", BinaryOp::Mul, y, scale)?;
    Ok(vec![binary(cx, "", BinaryOp::Add, y, shift)?])
}

/// Over groups of channels of each image.
pub(super) fn group(cx: &mut Ctx<'_, '_, '_>) -> Values {
    cx.ignore(&["stash_type"]);
    let epsilon = epsilon(cx)?;
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let groups = usize::try_from(cx.int("num_groups", 0)?).unwrap_or(0);
    let Some(&c) = xs.get(1) else { return bad("the input has no channel axis") };
    if groups == 0 || c % groups != 0 || xs.len() < 3 {
        return bad(format!("{groups} groups of {xs:?}"));
    }
    // Until opset 20 there was one value for each group.
    let per_group = cx.opset() < 21;
    let values = |cx: &mut Ctx<'_, '_, '_>, i: usize| {
        if !per_group {
            return by_channel(cx, i, c, xs.len());
        }
        let mut dims = vec![1; xs.len() - 1];
        dims[0] = c;
        cx.b.charge(c)?;
        cx.weight(i, &format!("groups {dims:?}"), true, |v| {
            let v = floats(v)?;
            if v.len() != groups {
                return bad(format!("input {i} has {} values for {groups} groups", v.len()));
            }
            Ok((dims, Some((0..c).map(|k| v[k / (c / groups)]).collect())))
        })
    };
    let (scale, shift) = (values(cx, 1)?, values(cx, 2)?);
    let n = xs[1..].iter().product::<usize>() / groups;
    let runs = cx.emit("groups", Op::Reshape, &[x], &[xs[0], groups, n])?;
    let (_, d, deviation) = centred(cx, runs, &[2], epsilon)?;
    let y = binary(cx, "normal", BinaryOp::Div, d, deviation)?;
    let y = cx.emit("shape", Op::Reshape, &[y], &xs)?;
    let y = binary(cx, "scaled", BinaryOp::Mul, y, scale)?;
    Ok(vec![binary(cx, "", BinaryOp::Add, y, shift)?])
}

/// `(x - mean) / (deviation + 1e-9)`.
pub(super) fn mean_variance(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let rank = cx.shape(x).len();
    let mut axes = shape::axes(&cx.int_list("axes")?.unwrap_or(vec![0, 2, 3]), rank)?;
    axes.sort_unstable();
    let (_, d, deviation) = centred(cx, x, &axes, 0.0)?;
    let little = cx.number(1e-9);
    let deviation = binary(cx, "little", BinaryOp::Add, deviation, little)?;
    Ok(vec![binary(cx, "", BinaryOp::Div, d, deviation)?])
}

/// By the sum of magnitudes, or the root of the sum of squares. Of zeros: zeros.
pub(super) fn lp(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let axis = shape::axis(cx.int("axis", -1)?, xs.len())?;
    let p = cx.int("p", 2)?;
    let mut dims = xs.clone();
    dims[axis] = 1;
    let part = match p {
        1 => cx.emit("magnitude", Op::Unary(Unary::Abs), &[x], &xs)?,
        2 => binary(cx, "square", BinaryOp::Mul, x, x)?,
        _ => return bad(format!("p is {p}")),
    };
    let mut sum = cx.emit("sum", Op::Reduce { kind: ReduceKind::Sum, axes: vec![axis], keep_dims: true }, &[part], &dims)?;
    if p == 2 {
        sum = cx.emit("root", Op::Act(Act::Sqrt), &[sum], &dims)?;
    }
    let least = cx.number(f32::MIN_POSITIVE);
    let sum = binary(cx, "least", BinaryOp::Max, sum, least)?;
    Ok(vec![binary(cx, "", BinaryOp::Div, x, sum)?])
}

/// `x / (bias + alpha / size * sum of squares of neighbouring channels)^beta`.
pub(super) fn local_response(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let (alpha, beta, bias) = (cx.float("alpha", 1e-4)?, cx.float("beta", 0.75)?, cx.float("bias", 1.0)?);
    let size = cx.int("size", 0)?;
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let Some(&c) = xs.get(1).filter(|_| size > 0) else { return bad(format!("size {size} of {xs:?}")) };
    if c > MAX_LRN {
        return unsupported(format!("{c} channels"), format!("use at most {MAX_LRN}"));
    }
    cx.b.charge(c * c)?;
    let (before, after) = ((size - 1) / 2, size / 2);
    let near = |from: usize, to: usize| (to as i64 - before..=to as i64 + after).contains(&(from as i64));
    let matrix = (0..c * c).map(|i| if near(i / c, i % c) { alpha / size as f32 } else { 0.0 }).collect();
    let matrix = cx.b.graph.constant(format!("{}/neighbours", cx.name), &[c, c], Arc::new(matrix));
    let offset = constant(cx, "bias", c, bias)?;
    let square = binary(cx, "square", BinaryOp::Mul, x, x)?;
    // Channels last, and back.
    let mut perm: Vec<usize> = (0..xs.len()).filter(|&i| i != 1).collect();
    perm.push(1);
    let mut back = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(i, &p)| back[p] = i);
    let turned: Vec<usize> = perm.iter().map(|&p| xs[p]).collect();
    let y = cx.emit("last", Op::Transpose { perm }, &[square], &turned)?;
    let y = cx.emit("sum", Op::Dense { bias: true, act: Act::None }, &[y, matrix, offset], &turned)?;
    let y = cx.emit("first", Op::Transpose { perm: back }, &[y], &xs)?;
    let beta = cx.number(beta);
    let y = binary(cx, "power", BinaryOp::Pow, y, beta)?;
    Ok(vec![binary(cx, "", BinaryOp::Div, x, y)?])
}
