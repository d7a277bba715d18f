//! Products with constant matrices.

use super::conv::{bias, transposed_matrix};
use super::fail::{bad, unsupported};
use super::schema::options as field;
use super::{Ctx, Values};
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

/// `x [.., M, K]` times one constant matrix; `adj` says that a matrix is stored with its axes exchanged.
pub(super) fn batch_matmul(cx: &mut Ctx<'_, '_>) -> Values {
    let (mut x, y) = (cx.value(0)?, cx.value(1)?);
    if cx.b.graph.data(y).is_none() {
        return unsupported("input 1 is computed at run time", "only products with constant matrices are supported");
    }
    let dims = cx.shape(y);
    let &[ref lead @ .., a, b] = &dims[..] else { return bad(format!("a matrix of shape {dims:?}")) };
    let rank = cx.shape(x).len();
    if lead.iter().any(|&d| d != 1) || dims.len() > rank || rank < 2 {
        return unsupported(format!("matrices of shape {dims:?}"), "only one matrix of weights is supported");
    }
    if cx.flag(field::batch_matmul::ADJ_X)? {
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank - 2, rank - 1);
        let turned: Vec<usize> = perm.iter().map(|&p| cx.shape(x)[p]).collect();
        x = cx.emit("x", Op::Transpose { perm }, &[x], &turned)?;
    }
    let turn = cx.flag(field::batch_matmul::ADJ_Y)?;
    let [k, n] = if turn { [b, a] } else { [a, b] };
    let form = if turn { "io" } else { "matrix" };
    let weight = cx.weight(1, form, &[k, n], |d| if turn { transposed_matrix(d, a) } else { d.to_vec() })?;
    let mut out = cx.shape(x);
    out[rank - 1] = n;
    Ok(vec![cx.emit("", Op::Dense { bias: false, act: Act::None }, &[x, weight], &out)?])
}
