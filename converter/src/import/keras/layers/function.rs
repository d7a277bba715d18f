//! Functions that were called on tensors outside of any layer: `TFOpLambda` and `TensorFlowOpLayer` of Keras 2, the
//! operations of `keras.ops` of Keras 3.

use super::activation::{Activation, Step, Steps, apply, axis_of, named};
use super::cfg::short;
use super::merge::{Concatenate, pair};
use super::shape::{Nothing, reshape_to, transpose};
use super::{Cfg, Emit, Layer, Operand, Operands};
use crate::error::Result;
use crate::import::keras::config::MAX_CLASS;
use crate::import::keras::parse_json;
use crate::ir::{Act, BinaryOp, Op, ReduceKind, ValueId};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Most operands of a function that are constants of the configuration.
const MAX_FIXED: usize = 16;

/// What a function computes.
#[derive(Clone, Debug, PartialEq)]
enum Function {
    Nothing,
    Binary(BinaryOp),
    Activation(Steps),
    LeakyRelu,
    Elu,
    Softmax { log: bool },
    Negative,
    Square,
    Clip,
    Reduce(ReduceKind),
    Reshape,
    Transpose,
    Concat,
    Squeeze,
    ExpandDims,
    Pad,
}

/// The function of a name in snake case, without its module.
fn function(name: &str, keras: u32) -> Option<Function> {
    Some(match name {
        "identity" | "stop_gradient" | "ensure_shape" => Function::Nothing,
        "add" | "add_v2" => Function::Binary(BinaryOp::Add),
        "subtract" | "sub" => Function::Binary(BinaryOp::Sub),
        "multiply" | "mul" => Function::Binary(BinaryOp::Mul),
        "divide" | "truediv" | "true_divide" | "realdiv" | "real_div" | "div" => Function::Binary(BinaryOp::Div),
        "maximum" => Function::Binary(BinaryOp::Max),
        "minimum" => Function::Binary(BinaryOp::Min),
        "negative" | "neg" => Function::Negative,
        "square" => Function::Square,
        "sqrt" => Function::Activation(vec![Step::Act(Act::Sqrt)]),
        "leaky_relu" => Function::LeakyRelu,
        "elu" => Function::Elu,
        "softmax" => Function::Softmax { log: false },
        "log_softmax" => Function::Softmax { log: true },
        "clip" | "clip_by_value" => Function::Clip,
        "mean" | "reduce_mean" => Function::Reduce(ReduceKind::Mean),
        "sum" | "reduce_sum" => Function::Reduce(ReduceKind::Sum),
        "max" | "amax" | "reduce_max" => Function::Reduce(ReduceKind::Max),
        "reshape" => Function::Reshape,
        "transpose" => Function::Transpose,
        "concat" | "concatenate" => Function::Concat,
        "squeeze" => Function::Squeeze,
        "expand_dims" => Function::ExpandDims,
        "pad" => Function::Pad,
        other => Function::Activation(named(other, keras)?),
    })
}

struct Call {
    function: Function,
    /// What the configuration fixes, by name.
    config: Map<String, Value>,
    /// What the configuration fixes, by position among all operands.
    fixed: Vec<(usize, Arc<Value>)>,
}

fn call(cfg: &Cfg<'_>, name: &str, shown: &str) -> Box<dyn Layer> {
    match function(name, cfg.keras) {
        Some(function) => Box::new(Call { function, config: cfg.map.clone(), fixed: Vec::new() }),
        None => {
            cfg.refuse(format!("function `{shown}`"), "replace it by built-in layers, or cut the graph before it with `--outputs`");
            Box::new(Nothing)
        }
    }
}

/// A class of `keras.ops`.
pub(super) fn operation(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    Ok(call(cfg, &crate::import::keras::weights::snake_case(cfg.class), cfg.class))
}

/// `TFOpLambda`.
pub(super) fn lambda(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let shown = cfg.text("function")?.filter(|name| name.len() <= MAX_CLASS).ok_or_else(|| cfg.bad("function"))?;
    Ok(call(cfg, shown.rsplit('.').next().unwrap_or(shown), shown))
}

/// `TensorFlowOpLayer` of TensorFlow 2.0 to 2.3: a node of a TensorFlow graph, whose constant operands are listed by position.
pub(super) fn graph_op(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let node = cfg.get("node_def").ok_or_else(|| cfg.bad("node_def"))?;
    let parsed: Option<Value> = node.as_str().and_then(|text| parse_json(text.as_bytes(), "node_def", 0).ok());
    let shown = parsed.as_ref().unwrap_or(node).get("op").and_then(Value::as_str);
    let shown = shown.filter(|op| op.len() <= MAX_CLASS).ok_or_else(|| cfg.bad("node_def"))?.to_string();
    let name = crate::import::keras::weights::snake_case(&shown);
    let Some(function) = function(&name, cfg.keras) else { return Ok(call(cfg, &name, &shown)) };
    let mut fixed = Vec::new();
    let constants = cfg.get("constants").and_then(Value::as_object);
    // Each moves the operands behind it.
    if constants.is_some_and(|all| all.len() > MAX_FIXED) {
        return Err(cfg.bad("constants"));
    }
    for (key, value) in cfg.get("constants").and_then(Value::as_object).into_iter().flatten() {
        fixed.push((key.parse().map_err(|_| cfg.bad("constants"))?, Arc::new(value.clone())));
    }
    fixed.sort_by_key(|(i, _)| *i);
    Ok(Box::new(Call { function, config: Map::new(), fixed }))
}

/// One call's operands together with what the configuration fixes.
struct Bound<'a> {
    operands: Operands,
    config: &'a Map<String, Value>,
}

impl Bound<'_> {
    fn value(&self, names: &[&str], position: usize) -> Option<&Value> {
        let found = match self.operands.get(names, position) {
            Some(Operand::Value(v)) => Some(&**v),
            Some(Operand::Tensor(_)) => None,
            None => names.iter().find_map(|n| self.config.get(*n)),
        };
        found.filter(|v| !v.is_null())
    }

    fn integers(&self, e: &Emit<'_>, names: &[&str], position: usize) -> Result<Option<Vec<i64>>> {
        let Some(v) = self.value(names, position) else { return Ok(None) };
        let list = v.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(v));
        let list = list.iter().map(Value::as_i64).collect::<Option<_>>();
        list.map(Some).ok_or_else(|| e.invalid(format!("`{}` is {}", names[0], short(v))))
    }

    fn number(&self, e: &Emit<'_>, names: &[&str], position: usize) -> Result<Option<f32>> {
        let Some(v) = self.value(names, position) else { return Ok(None) };
        v.as_f64().map(|v| Some(v as f32)).ok_or_else(|| e.invalid(format!("`{}` is {}", names[0], short(v))))
    }

    /// An operand of a computation: a tensor or a constant.
    fn term(&self, e: &mut Emit<'_>, names: &[&str], position: usize) -> Result<ValueId> {
        match self.operands.get(names, position) {
            Some(Operand::Tensor(v)) => Ok(*v),
            Some(Operand::Value(v)) => e.constant_of(names[0], v),
            None => Err(e.invalid(format!("is called without `{}`", names[0]))),
        }
    }
}

/// Names of the first operand.
const X: &[&str] = &["x", "x1", "input", "inputs", "tensor", "features", "input_tensor", "t", "a", "value", "values"];
/// Names of the second operand.
const Y: &[&str] = &["y", "x2"];

impl Layer for Call {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let mut operands = inputs.clone();
        for (i, value) in &self.fixed {
            if *i > operands.args.len() {
                return Err(e.invalid(format!("a constant for operand {i} of {}", operands.args.len())));
            }
            operands.args.insert(*i, Operand::Value(value.clone()));
        }
        let b = Bound { operands, config: &self.config };
        if let Function::Concat = self.function {
            let axis = b.operands.named.iter().find(|(n, _)| n == "axis").map(|(_, o)| o);
            let axis = match (axis, b.operands.args.iter().rev().find(|o| matches!(o, Operand::Value(_))), self.config.get("axis"))
            {
                (Some(Operand::Value(v)), _, _) | (None, Some(Operand::Value(v)), _) => v.as_i64(),
                (None, None, Some(v)) => v.as_i64(),
                _ => Some(if e.kind == "TFOpLambda" { 0 } else { -1 }),
            };
            let axis = axis.ok_or_else(|| e.invalid("`axis` is not a number"))?;
            return Concatenate(axis).emit(e, &b.operands);
        }
        if let Function::Binary(op) = self.function {
            let (x, y) = (b.term(e, X, 0)?, b.term(e, Y, 1)?);
            return pair(e, "", op, x, y);
        }
        let x = b.term(e, X, 0)?;
        if e.graph.data(x).is_some() {
            return Err(e.unsupported("a function of a constant", "compute it before the network"));
        }
        let shape = e.shape(x);
        let one = |act| [Step::Act(act)];
        match &self.function {
            Function::Nothing => Ok(x),
            Function::Activation(steps) => {
                Activation(steps.clone()).emit(e, &Operands { args: vec![Operand::Tensor(x)], named: vec![] })
            }
            Function::LeakyRelu => {
                let slope = b.number(e, &["negative_slope", "alpha"], 1)?.unwrap_or(0.2);
                apply(e, x, &one(Act::Leaky(slope)), true)
            }
            Function::Elu => {
                let alpha = b.number(e, &["alpha"], 1)?.unwrap_or(1.0);
                apply(e, x, &one(Act::Elu(alpha)), true)
            }
            Function::Softmax { log } => {
                let axis = b.integers(e, &["axis"], 1)?.and_then(|a| a.first().copied()).unwrap_or(-1);
                apply(e, x, &[Step::Softmax { axis, log: *log }], true)
            }
            Function::Negative => apply(e, x, &[Step::Scale(-1.0)], true),
            Function::Square => pair(e, "", BinaryOp::Mul, x, x),
            Function::Clip => {
                let lo = b.number(e, &["x_min", "clip_value_min"], 1)?.unwrap_or(f32::NEG_INFINITY);
                let hi = b.number(e, &["x_max", "clip_value_max"], 2)?.unwrap_or(f32::INFINITY);
                if lo > hi {
                    return Err(e.invalid(format!("clips to [{lo}, {hi}]")));
                }
                apply(e, x, &one(Act::Clamp { lo, hi }), true)
            }
            Function::Reduce(kind) => {
                let all = || (0..shape.len() as i64).collect();
                let list = b.integers(e, &["axis", "axes"], 1)?.unwrap_or_else(all);
                let mut axes = list.into_iter().map(|a| axis_of(e, a, shape.len())).collect::<Result<Vec<_>>>()?;
                axes.sort_unstable();
                axes.dedup();
                let keep_dims = b.value(&["keepdims", "keep_dims"], 2).and_then(Value::as_bool).unwrap_or(false);
                let extents =
                    shape.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { keep_dims.then_some(1) } else { Some(d) });
                let out: Vec<usize> = extents.flatten().collect();
                e.node("", Op::Reduce { kind: *kind, axes, keep_dims }, &[x], &out)
            }
            Function::Reshape => match b.integers(e, &["newshape", "shape"], 1)? {
                Some(target) => reshape_to(e, x, &target),
                None => Err(e.unsupported("a target shape that is computed", "give it as numbers")),
            },
            Function::Transpose => {
                let all = || (0..shape.len() as i64).rev().collect();
                let list = b.integers(e, &["axes", "perm"], 1)?.unwrap_or_else(all);
                let perm = list.into_iter().map(|a| axis_of(e, a, shape.len())).collect::<Result<Vec<_>>>()?;
                transpose(e, x, perm)
            }
            Function::Squeeze => {
                let list = b.integers(e, &["axis", "squeeze_dims"], 1)?.filter(|a| !a.is_empty());
                let gone = match list {
                    Some(list) => list.into_iter().map(|a| axis_of(e, a, shape.len())).collect::<Result<Vec<_>>>()?,
                    None => (0..shape.len()).filter(|&i| shape[i] == 1).collect(),
                };
                if let Some(&i) = gone.iter().find(|&&i| shape[i] != 1) {
                    return Err(e.invalid(format!("axis {i} of {shape:?} is not 1")));
                }
                let out: Vec<usize> = (0..shape.len()).filter(|i| !gone.contains(i)).map(|i| shape[i]).collect();
                e.node("", Op::Reshape, &[x], &out)
            }
            Function::ExpandDims => {
                let Some([axis]) = b.integers(e, &["axis"], 1)?.as_deref().and_then(|a| <[i64; 1]>::try_from(a).ok()) else {
                    return Err(e.unsupported("expand_dims with several axes", "use Reshape"));
                };
                let at = axis_of(e, axis, shape.len() + 1)?;
                let mut out = shape;
                out.insert(at, 1);
                e.node("", Op::Reshape, &[x], &out)
            }
            Function::Pad => pad(e, &b, x, &shape),
            Function::Binary(_) | Function::Concat => Err(e.invalid("is called without operands")),
        }
    }
}

fn pad(e: &mut Emit<'_>, b: &Bound<'_>, x: ValueId, shape: &[usize]) -> Result<ValueId> {
    let mode = b.value(&["mode"], 2).and_then(Value::as_str).unwrap_or("constant");
    if !mode.eq_ignore_ascii_case("constant") {
        return Err(e.unsupported(format!("padding mode {}", short(format_args!("{mode:?}"))), "pad with a constant"));
    }
    let value = b.number(e, &["constant_values"], 3)?.unwrap_or(0.0);
    let pads = b.value(&["paddings", "pad_width"], 1).and_then(Value::as_array).and_then(|list| {
        let count = |v: Option<&Value>| v?.as_u64().filter(|&n| n <= 1 << 30).map(|n| n as usize);
        list.iter().map(|p| Some((count(p.get(0))?, count(p.get(1))?))).collect::<Option<Vec<_>>>()
    });
    match pads {
        Some(pads) if pads.len() == shape.len() => {
            let out: Vec<usize> = shape.iter().zip(&pads).map(|(&d, &(a, b))| d.saturating_add(a + b)).collect();
            e.node("", Op::Pad { pads, value }, &[x], &out)
        }
        _ => Err(e.unsupported("padding that is not one pair per axis", "use ZeroPadding2D")),
    }
}
