//! Evaluation of nodes whose inputs are known: shape arithmetic as exporters write it, and expressions of weights.
//!
//! Floats are computed in f32 as the source would; integers in i64, whatever their type, with overflow an error.

mod data;
mod math;

use super::fail::{Res, bad, unsupported};
use super::node::{Ctx, Operand};
use super::shape;
use super::tensor::{Const, Data, Type};

/// The results of a node when they do not depend on the network's inputs; `None` when they do, or when the operator is one
/// that we do not evaluate.
pub(super) fn evaluate(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Const>>> {
    let op = cx.node.op_type;
    match op {
        "Constant" => return Ok(Some(vec![constant(cx)?])),
        "Shape" => return shape_of(cx).map(|c| Some(vec![c])),
        "Size" => {
            let n = dims_of(cx)?.iter().product::<usize>();
            return Ok(Some(vec![Const::ints(vec![], vec![n as i64])]));
        }
        _ => {}
    }
    // Only the type of the second counts, and what is computed are floats.
    if let ("CastLike", [Operand::Const { value, .. }, Operand::Runtime(_)]) = (op, &cx.inputs[..]) {
        cx.ignore(&["saturate", "round_mode"]);
        return Ok(Some(vec![cast(value, 1)?]));
    }
    let mut args: Vec<Option<Const>> = vec![];
    for i in &cx.inputs {
        args.push(match i {
            Operand::None => None,
            Operand::Const { value, .. } => Some(value.clone()),
            Operand::Runtime(_) => return Ok(None),
        });
    }
    let Some(Some(x)) = args.first().cloned() else { return Ok(None) };
    // These share the data; everything else pays for what it reads and writes.
    match op {
        "Identity" => return Ok(Some(vec![x])),
        "Dropout" => {
            cx.ignore(&["ratio", "seed"]);
            return Ok(Some(vec![x]));
        }
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => return data::reshaped(cx, &x).map(|c| Some(vec![c])),
        _ => {}
    }
    cx.b.charge(args.iter().flatten().map(Const::len).sum())?;
    if let Some(results) = data::evaluate(cx, op, &x, &args)? {
        return Ok(Some(results));
    }
    Ok(math::evaluate(cx, op, &x, &args)?.map(|c| vec![c]))
}

fn constant(cx: &mut Ctx<'_, '_, '_>) -> Res<Const> {
    if let Some(t) = cx.tensor("value")? {
        return Ok(t);
    }
    if cx.has("value_float") {
        return Ok(Const::floats(vec![], vec![cx.bound("value_float", 0.0)?]));
    }
    if cx.has("value_int") {
        return Ok(Const::ints(vec![], vec![cx.int("value_int", 0)?]));
    }
    if let Some(v) = cx.float_list("value_floats")? {
        return Ok(Const::floats(vec![v.len()], v));
    }
    if let Some(v) = cx.int_list("value_ints")? {
        return Ok(Const::ints(vec![v.len()], v));
    }
    unsupported("a constant that is neither numbers nor a dense tensor", "store it as a dense tensor")
}

fn dims_of(cx: &Ctx<'_, '_, '_>) -> Res<Vec<usize>> {
    match cx.operand(0) {
        Operand::Runtime(v) => Ok(cx.shape(*v)),
        Operand::Const { value, .. } => Ok(value.dims.clone()),
        Operand::None => bad("input 0 is missing"),
    }
}

fn shape_of(cx: &Ctx<'_, '_, '_>) -> Res<Const> {
    let dims: Vec<i64> = dims_of(cx)?.iter().map(|&d| d as i64).collect();
    let rank = dims.len() as i64;
    let at = |v: i64| if v < 0 { v.saturating_add(rank) } else { v }.clamp(0, rank);
    let (start, end) = (at(cx.int("start", 0)?), at(cx.int("end", i64::MAX)?));
    let part = dims.get(start as usize..end as usize).unwrap_or(&[]).to_vec();
    Ok(Const::ints(vec![part.len()], part))
}

/// Elements of `c` under `dims`, where axis i steps by `strides[i]` elements from `start`. Every index must lie inside.
fn strided(cx: &mut Ctx<'_, '_, '_>, c: &Const, dims: &[usize], start: i64, strides: &[i64]) -> Res<Const> {
    let Some(n) = shape::count(dims) else { return bad(format!("a constant of shape {dims:?} is too large")) };
    cx.b.charge(n)?;
    let mut index = vec![0usize; dims.len()];
    let mut at = start;
    let mut picked = Vec::with_capacity(n);
    for _ in 0..n {
        picked.push(at as usize);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < dims[axis] {
                break;
            }
            at -= strides[axis] * dims[axis] as i64;
            index[axis] = 0;
        }
    }
    pick(c, dims.to_vec(), &picked)
}

/// The elements at `indices`.
fn pick(c: &Const, dims: Vec<usize>, indices: &[usize]) -> Res<Const> {
    fn take<T: Copy>(from: &[T], indices: &[usize]) -> Res<Vec<T>> {
        indices.iter().map(|&i| from.get(i).copied().map_or_else(|| bad("an index lies outside a constant"), Ok)).collect()
    }
    Ok(match &c.data {
        Data::Float(v) => Const::floats(dims, take(v, indices)?),
        Data::Int(v) => Const::ints(dims, take(v, indices)?),
    })
}

/// Elements between neighbours along each axis.
fn strides(dims: &[usize]) -> Vec<i64> {
    let mut out = vec![1i64; dims.len()];
    for i in (1..dims.len()).rev() {
        out[i - 1] = out[i].saturating_mul(dims[i] as i64);
    }
    out
}

/// Numpy broadcasting to a shape.
fn expand(cx: &mut Ctx<'_, '_, '_>, c: &Const, dims: &[usize]) -> Res<Const> {
    if c.dims == dims {
        return Ok(c.clone());
    }
    let lead = dims.len().checked_sub(c.dims.len()).map_or_else(|| bad("a constant has too many axes"), Ok)?;
    let own = strides(&c.dims);
    let steps: Vec<i64> = (0..dims.len()).map(|i| if i < lead || c.dims[i - lead] == 1 { 0 } else { own[i - lead] }).collect();
    strided(cx, c, dims, 0, &steps)
}

/// [`expand`] for operators.
pub(super) fn expanded(cx: &mut Ctx<'_, '_, '_>, c: &Const, dims: &[usize]) -> Res<Const> {
    expand(cx, c, dims)
}

/// The float or integer kind of a type's number.
fn cast(c: &Const, to: i64) -> Res<Const> {
    let ty = Type::from_onnx(to)?;
    let dims = c.dims.clone();
    Ok(match &c.data {
        Data::Float(_) if ty == Type::Float || ty == Type::Double => c.clone(),
        Data::Float(v) if ty == Type::Float16 => Const::floats(dims, v.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect()),
        Data::Float(v) if ty == Type::Bfloat16 => {
            Const::floats(dims, v.iter().map(|&v| half::bf16::from_f32(v).to_f32()).collect())
        }
        Data::Float(v) if ty == Type::Bool => Const::ints(dims, v.iter().map(|&v| i64::from(v != 0.0)).collect()),
        Data::Float(v) => Const::ints(dims, v.iter().map(|&v| v as i64).collect()),
        Data::Int(v) if ty.is_float() => Const::floats(dims, v.iter().map(|&v| v as f32).collect()),
        Data::Int(v) if ty == Type::Bool => Const::ints(dims, v.iter().map(|&v| i64::from(v != 0)).collect()),
        Data::Int(_) => c.clone(),
    })
}
