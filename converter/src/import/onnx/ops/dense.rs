//! Gemm and MatMul, of weights and of two tensors that are computed.

use super::super::fail::{bad, unsupported};
use super::super::node::{Ctx, Operand};
use super::Values;
use super::conv::{floats, permuted};
use crate::ir::{Act, BinaryOp, Op, ValueId};

/// `alpha * A * B + beta * C`, the factors folded into the constants.
pub(super) fn gemm(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let (alpha, beta) = (cx.float("alpha", 1.0)?, cx.float("beta", 1.0)?);
    let (trans_a, trans_b) = (cx.flag("transA", false)?, cx.flag("transB", false)?);
    let mut a = cx.runtime(0)?;
    let [rows, cols] = cx.shape(a)[..] else { return bad("Gemm wants matrices") };
    let [m, k] = if trans_a { [cols, rows] } else { [rows, cols] };
    if trans_a {
        a = cx.emit("a", Op::Transpose { perm: vec![1, 0] }, &[a], &[m, k])?;
    }
    let weights = cx.is_const(1);
    let dims = if let Operand::Const { value, .. } = cx.operand(1) {
        value.dims.clone()
    } else {
        let b = cx.runtime(1)?;
        cx.shape(b)
    };
    let [rows, cols] = dims[..] else { return bad("Gemm wants matrices") };
    let [kb, n] = if trans_b { [cols, rows] } else { [rows, cols] };
    if kb != k {
        return bad(format!("weights of shape {dims:?} do not fit {k} inputs"));
    }
    let b = if weights {
        cx.weight(1, &format!("gemm {trans_b} {alpha}"), true, |c| {
            if !trans_b && alpha == 1.0 {
                return Ok((vec![k, n], None));
            }
            let mut v = if trans_b { permuted(floats(c)?, [1, n, k], [0, 2, 1]) } else { floats(c)?.to_vec() };
            v.iter_mut().for_each(|v| *v *= alpha);
            Ok((vec![k, n], Some(v)))
        })?
    } else {
        let b = cx.runtime(1)?;
        if trans_b { cx.emit("b", Op::Transpose { perm: vec![1, 0] }, &[b], &[k, n])? } else { b }
    };
    let product = |cx: &mut Ctx<'_, '_, '_>, suffix: &str, bias: Option<ValueId>| {
        if weights {
            let inputs: Vec<ValueId> = [a, b].into_iter().chain(bias).collect();
            return cx.emit(suffix, Op::Dense { bias: bias.is_some(), act: Act::None }, &inputs, &[m, n]);
        }
        if alpha == 1.0 {
            return cx.emit(suffix, Op::Matmul, &[a, b], &[m, n]);
        }
        let (y, factor) = (cx.emit("ab", Op::Matmul, &[a, b], &[m, n])?, cx.number(alpha));
        cx.emit(suffix, Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[y, factor], &[m, n])
    };
    let c = match cx.operand(2).clone() {
        Operand::None | Operand::Sequence(_) => return Ok(vec![product(cx, "", None)?]),
        _ if beta == 0.0 => return Ok(vec![product(cx, "", None)?]),
        Operand::Const { value, .. } => {
            let dims = value.dims.clone();
            if super::super::shape::broadcast(&dims, &[m, n])? != [m, n] {
                return bad(format!("C of shape {dims:?} does not fit {m} by {n}"));
            }
            // One row that holds for all, or one number.
            if weights && (dims.len() < 2 || dims[0] == 1) {
                let bias = cx.weight(2, &format!("bias {n} {beta}"), true, |c| {
                    let v = floats(c)?;
                    if v.len() == n && beta == 1.0 {
                        return Ok((vec![n], None));
                    }
                    Ok((vec![n], Some((0..n).map(|i| v[i % v.len()] * beta).collect())))
                })?;
                return Ok(vec![product(cx, "", Some(bias))?]);
            }
            cx.weight(2, &format!("scaled {beta}"), true, |c| {
                Ok((dims, if beta == 1.0 { None } else { Some(floats(c)?.iter().map(|v| v * beta).collect()) }))
            })?
        }
        Operand::Runtime(c) if beta == 1.0 => c,
        Operand::Runtime(c) => {
            let (shape, factor) = (cx.shape(c), cx.number(beta));
            cx.emit("beta", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[c, factor], &shape)?
        }
    };
    if super::super::shape::broadcast(cx.b.graph.shape(c), &[m, n])? != [m, n] {
        return bad(format!("C of shape {:?} does not fit {m} by {n}", cx.shape(c)));
    }
    let y = product(cx, "", None)?;
    Ok(vec![cx.emit("c", Op::Binary { op: BinaryOp::Add, act: Act::None }, &[y, c], &[m, n])?])
}

/// `x [.., K]` times a constant `[K, N]`, or a constant `[M, K]` times `x [.., K, N]`.
pub(super) fn matmul(cx: &mut Ctx<'_, '_, '_>) -> Values {
    if cx.is_const(0) {
        return from_left(cx);
    }
    let matrix = |dims: &[usize]| dims.iter().rev().skip(2).all(|&d| d == 1);
    if !cx.constant(1).is_ok_and(|b| b.is_some_and(|b| matrix(&b.dims))) {
        return of_two(cx);
    }
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let (Some(&k), Some(b)) = (xs.last(), cx.constant(1)?) else { return bad("MatMul wants two tensors") };
    let dims = b.dims.clone();
    // A vector gives a column whose axis goes away again.
    let (kb, n, lead) = match dims[..] {
        [k] => (k, 1, 0),
        [ref lead @ .., k, n] if lead.iter().all(|&d| d == 1) => (k, n, lead.len()),
        _ => return unsupported(format!("weights of shape {dims:?}"), "only one matrix of weights is supported"),
    };
    if kb != k {
        return bad(format!("weights of shape {dims:?} do not fit {k} inputs"));
    }
    let weight = cx.weight(1, "matrix", true, |_| Ok((vec![k, n], None)))?;
    let mut shape = xs[..xs.len() - 1].to_vec();
    shape.push(n);
    let y = cx.emit("", Op::Dense { bias: false, act: Act::None }, &[x, weight], &shape)?;
    // Axes of 1 that only the weights have come in front.
    let missing = if dims.len() > 1 { (lead + 2).saturating_sub(xs.len().max(2)) } else { 0 };
    if dims.len() == 1 {
        shape.pop();
    }
    if missing > 0 {
        shape.splice(0..0, vec![1; missing]);
    }
    if dims.len() == 1 || missing > 0 {
        return Ok(vec![cx.emit("axes", Op::Reshape, &[y], &shape)?]);
    }
    Ok(vec![y])
}

/// Two tensors that are computed, or many matrices of weights. Leading axes repeat; a vector is a row or a column whose axis goes
/// away again.
fn of_two(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let (a, b) = (cx.runtime(0)?, cx.runtime(1)?);
    let (own_a, own_b) = (cx.shape(a), cx.shape(b));
    let row = if own_a.len() == 1 { [&[1], &own_a[..]].concat() } else { own_a.clone() };
    let column = if own_b.len() == 1 { [&own_b[..], &[1]].concat() } else { own_b.clone() };
    let ([lead_a @ .., m, k], [lead_b @ .., kb, n]) = (&row[..], &column[..]) else { return bad("MatMul wants two tensors") };
    if k != kb {
        return bad(format!("{own_a:?} and {own_b:?} cannot be multiplied"));
    }
    let lead = super::super::shape::broadcast(lead_a, lead_b)?;
    let whole = |cx: &mut Ctx<'_, '_, '_>, suffix: &str, x: ValueId, own: &[usize], wanted: &[usize], tail: [usize; 2]| {
        let x = if own == wanted { x } else { cx.emit(&format!("{suffix} matrix"), Op::Reshape, &[x], wanted)? };
        let full = [&lead[..], &tail].concat();
        if wanted == full { Ok(x) } else { cx.emit(suffix, Op::Broadcast, &[x], &full) }
    };
    let a = whole(cx, "a", a, &own_a, &row, [*m, *k])?;
    let b = whole(cx, "b", b, &own_b, &column, [*k, *n])?;
    let y = cx.emit("", Op::Matmul, &[a, b], &[&lead[..], &[*m, *n]].concat())?;
    if own_a.len() > 1 && own_b.len() > 1 {
        return Ok(vec![y]);
    }
    let kept = [(own_a.len() > 1).then_some(*m), (own_b.len() > 1).then_some(*n)];
    let shape: Vec<usize> = lead.iter().copied().chain(kept.into_iter().flatten()).collect();
    Ok(vec![cx.emit("axes", Op::Reshape, &[y], &shape)?])
}

/// `A x = (x' A')'`.
fn from_left(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(1)?;
    let xs = cx.shape(x);
    let Some(a) = cx.constant(0)? else { return bad("MatMul wants two tensors") };
    let ([m, k], [lead @ .., kx, n]) = (&a.dims[..], &xs[..]) else { return of_two(cx) };
    let (m, k, kx, n) = (*m, *k, *kx, *n);
    if k != kx {
        return bad(format!("weights of shape {:?} do not fit {xs:?}", a.dims));
    }
    let weight = cx.weight(0, "transposed", true, |c| Ok((vec![k, m], Some(permuted(floats(c)?, [1, m, k], [0, 2, 1])))))?;
    let mut perm: Vec<usize> = (0..xs.len()).collect();
    perm.swap(xs.len() - 2, xs.len() - 1);
    let with = |tail: [usize; 2]| [lead, &tail].concat();
    let t = cx.emit("x", Op::Transpose { perm: perm.clone() }, &[x], &with([n, k]))?;
    let y = cx.emit("", Op::Dense { bias: false, act: Act::None }, &[t, weight], &with([n, m]))?;
    Ok(vec![cx.emit("y", Op::Transpose { perm }, &[y], &with([m, n]))?])
}
