//! Products with constant matrices.

use super::conv::{bias, transposed_matrix};
use super::fail::{Res, bad, unsupported};
use super::schema::options as field;
use super::{Ctx, Values, shape};
use crate::ir::{Act, Op, ValueId};

/// Weights `[O, K]`. The input counts as rows of K elements; only with `keep_num_dims` does the output have as many axes.
pub(super) fn fully_connected(cx: &mut Ctx<'_, '_>) -> Values {
    let mut x = cx.value(0)?;
    let w = cx.value(1)?;
    cx.data(w, 1)?;
    let [o, k] = cx.shape(w)[..] else { return bad(format!("weights of shape {:?}", cx.shape(w))) };
    if cx.choice(field::fully_connected::WEIGHTS_FORMAT)? != 0 {
        return unsupported("shuffled weights", "convert the float32 network that it was made from");
    }
    let mut dims = cx.shape(x);
    let len: usize = dims.iter().product();
    if k == 0 || !len.is_multiple_of(k) {
        return bad(format!("weights of {k} columns do not fit {dims:?}"));
    }
    if cx.flag(field::fully_connected::KEEP_NUM_DIMS)? && dims.last() == Some(&k) {
        dims.pop();
    } else {
        dims = vec![len / k];
        if cx.shape(x) != [len / k, k] {
            x = cx.emit("rows", Op::Reshape, &[x], &[len / k, k])?;
        }
    }
    dims.push(o);
    let act = cx.activation(field::fully_connected::ACTIVATION)?;
    let weight = cx.weight(1, "io", &[k, o], |d| transposed_matrix(d, o))?;
    let bias = bias(cx, 2, o)?;
    let inputs: Vec<ValueId> = [x, weight].into_iter().chain(bias).collect();
    Ok(vec![cx.emit("", Op::Dense { bias: bias.is_some(), act }, &inputs, &dims)?])
}

/// `x [.., M, K]` times one constant matrix, or two tensors whose leading axes repeat; `adj` says that a matrix is stored with its axes
/// exchanged.
pub(super) fn batch_matmul(cx: &mut Ctx<'_, '_>) -> Values {
    let (mut x, y) = (cx.value(0)?, cx.value(1)?);
    let (rank, ones) = (cx.shape(x).len(), cx.shape(y).iter().rev().skip(2).all(|&d| d == 1));
    if cx.b.graph.data(y).is_none() || cx.b.graph.data(x).is_some() || !ones || cx.shape(y).len() > rank {
        return of_two(cx, x, y);
    }
    let dims = cx.shape(y);
    let &[.., a, b] = &dims[..] else { return bad(format!("a matrix of shape {dims:?}")) };
    if cx.flag(field::batch_matmul::ADJ_X)? {
        x = exchanged(cx, "x", x)?;
    }
    let turn = cx.flag(field::batch_matmul::ADJ_Y)?;
    let [k, n] = if turn { [b, a] } else { [a, b] };
    let form = if turn { "io" } else { "matrix" };
    let weight = cx.weight(1, form, &[k, n], |d| if turn { transposed_matrix(d, a) } else { d.to_vec() })?;
    let mut out = cx.shape(x);
    out[rank - 1] = n;
    Ok(vec![cx.emit("", Op::Dense { bias: false, act: Act::None }, &[x, weight], &out)?])
}

/// A tensor with its last two axes exchanged.
fn exchanged(cx: &mut Ctx<'_, '_>, suffix: &str, x: ValueId) -> Res<ValueId> {
    let mut dims = cx.shape(x);
    let rank = dims.len();
    if rank < 2 {
        return bad(format!("a matrix of shape {dims:?}"));
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    dims.swap(rank - 2, rank - 1);
    cx.emit(suffix, Op::Transpose { perm }, &[x], &dims)
}

/// Products of matrices that are computed, or of many that are weights.
fn of_two(cx: &mut Ctx<'_, '_>, mut x: ValueId, mut y: ValueId) -> Values {
    if cx.flag(field::batch_matmul::ADJ_X)? {
        x = exchanged(cx, "x", x)?;
    }
    if cx.flag(field::batch_matmul::ADJ_Y)? {
        y = exchanged(cx, "y", y)?;
    }
    let (xs, ys) = (cx.shape(x), cx.shape(y));
    let ([lead_x @ .., m, k], [lead_y @ .., ky, n]) = (&xs[..], &ys[..]) else {
        return bad(format!("matrices of shape {xs:?} and {ys:?}"));
    };
    if k != ky {
        return bad(format!("{xs:?} and {ys:?} cannot be multiplied"));
    }
    let lead = shape::broadcast(lead_x, lead_y)?;
    let mut whole = |suffix: &str, v: ValueId, own: &[usize], tail: [usize; 2]| {
        let full = [&lead[..], &tail].concat();
        if own == full { Ok(v) } else { cx.emit(suffix, Op::Broadcast, &[v], &full) }
    };
    let (x, y) = (whole("a", x, &xs, [*m, *k])?, whole("b", y, &ys, [*k, *n])?);
    Ok(vec![cx.emit("", Op::Matmul, &[x, y], &[&lead[..], &[*m, *n]].concat())?])
}
