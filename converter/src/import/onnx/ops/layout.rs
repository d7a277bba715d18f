//! Shapes: Reshape and its kin, Transpose; and what the constant evaluation needs of them.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::{Ctx, Operand};
use super::super::shape;
use super::super::tensor::{Const, Data, Type, type_name};
use super::Values;
use crate::ir::Op;

/// Identity; Dropout, which does nothing in inference; Cast between floating point types.
pub(super) fn nothing(cx: &mut Ctx<'_, '_, '_>) -> Values {
    match cx.node.op_type {
        "Dropout" => {
            drops_nothing(cx)?;
        }
        "Cast" => {
            cx.ignore(&["saturate", "round_mode"]);
            let to = cx.int("to", 0)?;
            if Type::from_onnx(to)? == Type::Bool {
                return super::logic::truth(cx);
            }
            if !Type::from_onnx(to)?.is_float() {
                return unsupported(format!("a cast to {}", type_name(to)), "keep activations in floating point");
            }
            note_rounding(cx, Type::from_onnx(to)?);
        }
        "CastLike" => {
            cx.ignore(&["saturate", "round_mode"]);
            if let Operand::Const { value: Const { data: Data::Int(_), .. }, .. } = cx.operand(1) {
                return unsupported("a cast to integers", "keep activations in floating point");
            }
            if let Operand::Const { value: Const { ty, .. }, .. } = *cx.operand(1) {
                note_rounding(cx, ty);
            }
        }
        _ => {}
    }
    Ok(vec![cx.runtime(0)?])
}

/// The report is to say of a cast that it would round.
fn note_rounding(cx: &mut Ctx<'_, '_, '_>, to: Type) {
    if matches!(to, Type::Float16 | Type::Bfloat16) {
        cx.b.graph.leave_unrounded(cx.name);
    }
}

/// Refuses a Dropout that trains.
pub(in super::super) fn drops_nothing(cx: &Ctx<'_, '_, '_>) -> Res<()> {
    cx.ignore(&["ratio", "seed", "is_test"]);
    // Both inputs may be there since opset 12.
    let trains = cx.ints(2)?.is_some_and(|v| v.iter().any(|&v| v != 0));
    if trains && cx.scalar_float(1)? != Some(0.0) {
        return unsupported("training mode", "export the model in inference mode");
    }
    Ok(())
}

pub(super) fn reshape(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let from = cx.shape(x);
    let to = new_shape(cx, &from)?;
    if to == from {
        return Ok(vec![x]);
    }
    if shape::count(&to) != shape::count(&from) {
        return bad(format!("{from:?} cannot become {to:?}"));
    }
    Ok(vec![cx.emit("", Op::Reshape, &[x], &to)?])
}

pub(super) fn transpose(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let perm = permutation(cx, xs.len())?;
    if perm.iter().enumerate().all(|(i, &p)| i == p) {
        return Ok(vec![x]);
    }
    let dims: Vec<usize> = perm.iter().map(|&p| xs[p]).collect();
    Ok(vec![cx.emit("", Op::Transpose { perm }, &[x], &dims)?])
}

/// What Reshape, Flatten, Squeeze and Unsqueeze make of a shape.
pub(in super::super) fn new_shape(cx: &mut Ctx<'_, '_, '_>, from: &[usize]) -> Res<Vec<usize>> {
    let rank = from.len();
    match cx.node.op_type {
        "Reshape" => {
            let allow_zero = cx.flag("allowzero", false)?;
            let Some(target) = cx.ints(1)? else { return bad("the shape is missing") };
            shape::reshape(from, &target, allow_zero)
        }
        "Flatten" => {
            let axis = cx.int("axis", 1)?;
            let axis = if axis == rank as i64 { rank } else { shape::axis(axis, rank)? };
            Ok(vec![from[..axis].iter().product(), from[axis..].iter().product()])
        }
        "Squeeze" => {
            let axes = match cx.axes(1)? {
                Some(a) => shape::axes(&a, rank)?,
                None => (0..rank).filter(|&i| from[i] == 1).collect(),
            };
            if let Some(a) = axes.iter().find(|&&a| from[a] != 1) {
                return bad(format!("axis {a} of {from:?} is not 1"));
            }
            Ok((0..rank).filter(|i| !axes.contains(i)).map(|i| from[i]).collect())
        }
        _ => {
            let Some(axes) = cx.axes(1)? else { return bad("the axes are missing") };
            let rank = rank + axes.len();
            if rank > shape::MAX_RANK {
                return unsupported(format!("a tensor of {rank} axes"), "use fewer");
            }
            let axes = shape::axes(&axes, rank)?;
            let mut rest = from.iter();
            Ok((0..rank).map(|i| if axes.contains(&i) { 1 } else { rest.next().copied().unwrap_or(1) }).collect())
        }
    }
}

/// The order of the axes, reversed if nothing is said.
pub(in super::super) fn permutation(cx: &mut Ctx<'_, '_, '_>, rank: usize) -> Res<Vec<usize>> {
    match cx.int_list("perm")? {
        None => Ok((0..rank).rev().collect()),
        Some(p) => {
            let perm = shape::axes(&p, rank)?;
            if perm.len() != rank { bad(format!("perm {p:?} for {rank} axes")) } else { Ok(perm) }
        }
    }
}

/// The axis of a Concat and the shape of its result.
pub(in super::super) fn concat_shape(cx: &Ctx<'_, '_, '_>, shapes: &[&[usize]]) -> Res<(usize, Vec<usize>)> {
    let Some(first) = shapes.first() else { return bad("there are no inputs") };
    if !cx.has("axis") {
        return bad("attribute axis is missing");
    }
    let axis = shape::axis(cx.int("axis", 0)?, first.len())?;
    let mut dims = first.to_vec();
    for s in &shapes[1..] {
        if s.len() != dims.len() || (0..dims.len()).any(|i| i != axis && s[i] != dims[i]) {
            return bad(format!("{first:?} and {s:?} cannot be joined along axis {axis}"));
        }
        dims[axis] = dims[axis].saturating_add(s[axis]);
    }
    Ok((axis, dims))
}

/// Start, length and step of a Slice along every axis. Attributes until opset 9, inputs since.
pub(in super::super) fn slices(cx: &mut Ctx<'_, '_, '_>, dims: &[usize]) -> Res<Vec<(i64, usize, i64)>> {
    let (starts, ends, axes, steps) = if cx.opset() < 10 {
        (cx.int_list("starts")?, cx.int_list("ends")?, cx.int_list("axes")?, None)
    } else {
        (cx.ints(1)?, cx.ints(2)?, cx.ints(3)?, cx.ints(4)?)
    };
    let (Some(starts), Some(ends)) = (starts, ends) else { return bad("starts or ends are missing") };
    let axes = match axes {
        Some(a) => shape::axes(&a, dims.len())?,
        None => (0..starts.len()).collect(),
    };
    let steps = steps.unwrap_or(vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || axes.iter().any(|&a| a >= dims.len()) {
        return bad(format!("starts {starts:?}, ends {ends:?}, axes {axes:?} and steps {steps:?} do not fit {dims:?}"));
    }
    let mut parts: Vec<(i64, usize, i64)> = dims.iter().map(|&d| (0, d, 1)).collect();
    for (i, &a) in axes.iter().enumerate() {
        // Backwards, the operator's text clamps a start before the first element to it, as ONNX Runtime does; numpy, and so ONNX's reference,
        // takes nothing.
        let first = if steps[i] < 0 { starts[i].max(-(dims[a] as i64)) } else { starts[i] };
        let (start, len) = shape::slice(dims[a], first, ends[i], steps[i])?;
        parts[a] = (start, len, steps[i]);
    }
    Ok(parts)
}

/// The axis of a Split and the extents of its parts, one per output.
pub(in super::super) fn splits(cx: &mut Ctx<'_, '_, '_>, dims: &[usize]) -> Res<(usize, Vec<usize>)> {
    let axis = shape::axis(cx.int("axis", 0)?, dims.len())?;
    let outputs = cx.node.outputs.len();
    let given = match cx.int_list("split")? {
        Some(s) => Some(s),
        None => cx.ints(1)?,
    };
    let declared = cx.int("num_outputs", outputs as i64)?;
    if declared != outputs as i64 {
        return bad(format!("num_outputs is {declared}, there are {outputs}"));
    }
    let extent = dims[axis];
    let lens = match given {
        Some(list) => shape::from_i64(&list)?,
        None => {
            // The last part may be shorter.
            let each = extent.div_ceil(outputs.max(1));
            (0..outputs).map(|i| each.min(extent.saturating_sub(i * each))).collect()
        }
    };
    let total = lens.iter().try_fold(0usize, |n, &l| n.checked_add(l));
    if lens.len() != outputs || total != Some(extent) {
        return bad(format!("parts of {lens:?} for {outputs} outputs and an extent of {extent}"));
    }
    Ok((axis, lens))
}
