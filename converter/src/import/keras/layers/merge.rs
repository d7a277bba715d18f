//! Layers with several inputs.

use super::activation::axis_of;
use super::slicing::own;
use super::{Cfg, Emit, Integers, Layer, Operands, short};
use crate::error::Result;
use crate::import::shape::broadcast;
use crate::ir::{Act, BinaryOp, Op, ValueId};

/// Appends an operation on two values.
pub(super) fn pair(e: &mut Emit<'_>, part: &str, op: BinaryOp, a: ValueId, b: ValueId) -> Result<ValueId> {
    let shape = broadcast(e.graph.shape(a), e.graph.shape(b)).map_err(|fail| own(e, fail))?;
    e.node(part, Op::Binary { op, act: Act::None }, &[a, b], &shape)
}

struct Merge {
    op: BinaryOp,
    average: bool,
}

/// `Add`, `Subtract`, `Multiply`, `Average`, `Maximum`, `Minimum`.
pub(super) fn layer(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let op = match cfg.class {
        "Subtract" => BinaryOp::Sub,
        "Multiply" => BinaryOp::Mul,
        "Maximum" => BinaryOp::Max,
        "Minimum" => BinaryOp::Min,
        _ => BinaryOp::Add,
    };
    Ok(Box::new(Merge { op, average: cfg.class == "Average" }))
}

impl Layer for Merge {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let mut all = e.terms(inputs)?;
        if all.len() < 2 || (self.op == BinaryOp::Sub && all.len() != 2) {
            return Err(e.invalid(format!("cannot be called with {} inputs", all.len())));
        }
        // Keras gives inputs of fewer axes their missing ones after the batch.
        let rank = all.iter().map(|&v| e.graph.shape(v).len()).max().unwrap_or(0);
        for (i, v) in all.iter_mut().enumerate() {
            let mut shape = e.shape(*v);
            if e.graph.data(*v).is_some() && (shape.len() != rank || shape[0] != 1) {
                let what = format!("a constant of the shape {shape:?}");
                return Err(e.unsupported(what, "give it as many axes as the tensors have, the first of extent 1"));
            }
            if shape.len() < rank && !shape.is_empty() {
                while shape.len() < rank {
                    shape.insert(1, 1);
                }
                *v = e.node(&format!("widened{i}"), Op::Reshape, &[*v], &shape)?;
            }
        }
        if self.op != BinaryOp::Sub {
            // Constants last, so that no two of them are combined.
            all.sort_by_key(|&v| e.graph.data(v).is_some());
        }
        let (mut y, rest) = (all[0], &all[1..]);
        for (i, &v) in rest.iter().enumerate() {
            let last = i + 1 == rest.len() && !self.average;
            y = pair(e, if last { String::new() } else { format!("sum{i}") }.as_str(), self.op, y, v)?;
        }
        if self.average {
            let count = e.constant("count", &[1], vec![all.len() as f32])?;
            y = pair(e, "", BinaryOp::Div, y, count)?;
        }
        Ok(y)
    }
}

struct ScaledAdd(f32);

/// `CustomScaleLayer` of Keras's own InceptionResNetV2: the first input plus the second one times a number.
pub(super) fn scaled_add(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    if let Some(other) = cfg.map.keys().find(|key| !["name", "trainable", "dtype", "scale"].contains(&key.as_str())) {
        cfg.refuse(format!("`{}`, which Keras's own has not", short(other)), "replace it by Rescaling and Add");
    }
    Ok(Box::new(ScaledAdd(cfg.number("scale")?.ok_or_else(|| cfg.bad("scale"))? as f32)))
}

impl Layer for ScaledAdd {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let [a, b] = e.tensors(inputs)?[..] else { return Err(e.invalid("takes two inputs")) };
        let scale = e.constant("scale", &[1], vec![self.0])?;
        let b = pair(e, "scaled", BinaryOp::Mul, b, scale)?;
        pair(e, "", BinaryOp::Add, a, b)
    }
}

/// Concatenation along an axis.
pub(super) struct Concatenate(pub i64);

/// `Concatenate`.
pub(super) fn concatenate(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let axis = if cfg.get("axis").is_some() { cfg.get("axis").and_then(|v| v.as_i64()) } else { Some(-1) };
    Ok(Box::new(Concatenate(axis.ok_or_else(|| cfg.bad("axis"))?)))
}

/// `Merge` of Keras 1.
pub(super) fn old(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let merge = |op, average| Ok(Box::new(Merge { op, average }) as Box<dyn Layer>);
    match cfg.text("mode")? {
        Some("sum") => merge(BinaryOp::Add, false),
        Some("mul") => merge(BinaryOp::Mul, false),
        Some("max") => merge(BinaryOp::Max, false),
        Some("ave") => merge(BinaryOp::Add, true),
        Some("concat") => Ok(Box::new(Concatenate(cfg.get("concat_axis").and_then(|v| v.as_i64()).unwrap_or(-1)))),
        other => {
            cfg.refuse(
                format!("mode = {}", short(format_args!("{other:?}"))),
                "use Add, Multiply, Maximum, Average or Concatenate",
            );
            merge(BinaryOp::Add, false)
        }
    }
}

impl Layer for Concatenate {
    fn integers(&self, inputs: &Operands) -> Integers {
        if inputs.any_constant() { Integers::Computed } else { Integers::Kept }
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let all = e.terms(inputs)?;
        let Some(&first) = all.first() else { return Err(e.invalid("is called without inputs")) };
        let mut shape = e.shape(first);
        let axis = axis_of(e, self.0, shape.len())?;
        for &v in &all[1..] {
            let other = e.shape(v);
            let mut fits = other.clone();
            if other.len() == shape.len() {
                fits[axis] = shape[axis];
            }
            if fits != shape {
                return Err(e.invalid(format!("shapes {shape:?} and {other:?} cannot be joined along axis {axis}")));
            }
            shape[axis] = shape[axis].checked_add(other[axis]).ok_or_else(|| e.invalid("the result is too large"))?;
        }
        if all.len() == 1 {
            return Ok(first);
        }
        e.node("", Op::Concat { axis }, &all, &shape)
    }
}
