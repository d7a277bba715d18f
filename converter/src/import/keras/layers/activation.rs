//! Activations: layers of their own, and the `activation` attribute of others.

use super::cfg::{Cfg, short};
use super::{Emit, Layer, Operands, Var};
use crate::error::Result;
use crate::import::keras::config::{full_class, refuse_dtype};
use crate::ir::{Act, BinaryOp, Op, Unary, ValueId};
use serde_json::{Map, Value};
use std::f32::consts::{FRAC_2_SQRT_PI, SQRT_2};

/// One step of an activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// Element by element.
    Act(Act),
    /// A function.
    Unary(Unary),
    /// A factor.
    Scale(f32),
    /// A sum.
    Shift(f32),
    /// With what further steps make of it: `x op steps(x)`.
    With(BinaryOp, &'static [Step]),
    /// Softmax along an axis, negative ones from the end, or its logarithm.
    Softmax { axis: i64, log: bool },
}

/// An activation as the steps that it takes; none for `linear`.
pub(super) type Steps = Vec<Step>;

const HARD_SIGMOID_2: Act = Act::HardSigmoid { alpha: 0.2, beta: 0.5 };
const HARD_SIGMOID_3: Act = Act::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };

const SOFTSIGN: &[Step] = &[Step::Unary(Unary::Abs), Step::Shift(1.0)];
const MISH: &[Step] = &[Step::Unary(Unary::Softplus), Step::Act(Act::Tanh)];
/// `2 sqrt(2 / pi)`.
const TWICE: f32 = SQRT_2 * FRAC_2_SQRT_PI;
const SLOPE: &[Step] = &[Step::With(BinaryOp::Mul, &[]), Step::Scale(0.044_715 * TWICE), Step::Shift(TWICE)];
/// `(1 + tanh(u)) / 2 = sigmoid(2 u)`, `u = sqrt(2 / pi) (x + 0.044715 x^3)` (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016).
const GELU_BY_TANH: &[Step] = &[Step::With(BinaryOp::Mul, SLOPE), Step::Act(Act::Sigmoid)];

/// Exactly, or by the formula with tanh.
pub(super) fn gelu(by_tanh: bool) -> Steps {
    vec![if by_tanh { Step::With(BinaryOp::Mul, GELU_BY_TANH) } else { Step::Unary(Unary::Gelu) }]
}

/// The activation of a name; `None` if it is not known. Keras 2 and 3 mean different things by `hard_sigmoid`.
pub(super) fn named(name: &str, keras: u32) -> Option<Steps> {
    let act = match name {
        "linear" => return Some(Vec::new()),
        "relu" => Act::RELU,
        "relu6" => Act::Clamp { lo: 0.0, hi: 6.0 },
        "sigmoid" => Act::Sigmoid,
        "hard_sigmoid" if keras < 3 => HARD_SIGMOID_2,
        "hard_sigmoid" => HARD_SIGMOID_3,
        "hard_silu" | "hard_swish" => Act::HardSwish,
        "silu" | "swish" => Act::Silu,
        "tanh" => Act::Tanh,
        "elu" => Act::Elu(1.0),
        "leaky_relu" => Act::Leaky(0.2),
        "exponential" | "exp" => Act::Exp,
        "softmax" => return Some(vec![Step::Softmax { axis: -1, log: false }]),
        "log_softmax" => return Some(vec![Step::Softmax { axis: -1, log: true }]),
        "gelu" => return Some(gelu(false)),
        "softplus" => return Some(vec![Step::Unary(Unary::Softplus)]),
        "softsign" => return Some(vec![Step::With(BinaryOp::Div, SOFTSIGN)]),
        "mish" => return Some(vec![Step::With(BinaryOp::Mul, MISH)]),
        "log_sigmoid" if keras >= 3 => return Some(vec![Step::Scale(-1.0), Step::Unary(Unary::Softplus), Step::Scale(-1.0)]),
        "tanh_shrink" if keras >= 3 => return Some(vec![Step::With(BinaryOp::Sub, &[Step::Act(Act::Tanh)])]),
        "hard_shrink" if keras >= 3 => return Some(vec![Step::Unary(Unary::Shrink { lambda: 0.5, bias: 0.0 })]),
        "soft_shrink" if keras >= 3 => return Some(vec![Step::Unary(Unary::Shrink { lambda: 0.5, bias: 0.5 })]),
        "hard_tanh" if keras >= 3 => Act::Clamp { lo: -1.0, hi: 1.0 },
        "celu" if keras >= 3 => Act::Elu(1.0),
        "selu" => return Some(vec![Step::Act(Act::Elu(1.673_263_2)), Step::Scale(1.050_701)]),
        _ => return None,
    };
    Some(vec![Step::Act(act)])
}

/// Whether a function of this name, which [`named`] knows, can only be the user's.
fn is_own(name: &str, keras: u32) -> bool {
    // Keras 3 has `swish` and `hard_swish` only as other names, under which it does not write functions.
    let own = if keras < 3 { ["hard_swish", "hard_silu", "log_softmax"].as_slice() } else { &["hard_swish", "swish"] };
    name == "exp" || own.contains(&name)
}

/// The `activation` attribute: a name, a serialized function or a serialized layer.
///
/// # Errors
/// [`crate::Error::Invalid`] if an attribute of an activation layer makes no sense.
pub(super) fn attribute(cfg: &Cfg<'_>) -> Result<Steps> {
    let Some(value) = cfg.get("activation") else { return Ok(Vec::new()) };
    let name = match value {
        // Keras 2 writes functions of programs by their bare names, too.
        Value::String(name) => Some(name.as_str()).filter(|name| cfg.keras >= 3 || !is_own(name, cfg.keras)),
        Value::Object(o) => match (o.get("class_name").and_then(Value::as_str), o.get("config")) {
            // So are functions written that Keras does not know by their names alone.
            (Some("function"), Some(Value::String(name))) => Some(name.as_str()).filter(|name| !is_own(name, cfg.keras)),
            (Some(class), Some(Value::Object(map))) => return of_layer(cfg, &full_class(value, class), map),
            _ => None,
        },
        _ => None,
    };
    let known = name.and_then(super::builtin).and_then(|n| named(n, cfg.keras));
    Ok(known.unwrap_or_else(|| {
        let remedy = "use relu, relu6, leaky_relu, elu, selu, gelu, sigmoid, hard_sigmoid, silu, hard_silu, mish, softplus, tanh, \
                      exponential or softmax";
        cfg.refuse(format!("activation = {}", short(value)), remedy);
        Vec::new()
    }))
}

/// An activation layer as the value of an `activation` attribute.
fn of_layer(cfg: &Cfg<'_>, class: &str, map: &Map<String, Value>) -> Result<Steps> {
    let inner = Cfg::new(cfg.path, class, "", cfg.keras, map);
    refuse_dtype(&inner);
    let steps = steps(&inner)?;
    for fault in inner.into_faults() {
        cfg.refuse(format!("activation = {class}: {}", fault.what), fault.remedy);
    }
    Ok(steps)
}

fn steps(cfg: &Cfg<'_>) -> Result<Steps> {
    Ok(match cfg.class {
        "Activation" => attribute(cfg)?,
        "ReLU" => {
            let slope = cfg.number("negative_slope")?.unwrap_or(0.0) as f32;
            let max = cfg.number("max_value")?.map_or(f32::INFINITY, |m| m as f32);
            if cfg.number("threshold")?.unwrap_or(0.0) != 0.0 {
                cfg.refuse("threshold other than 0", "use threshold=0");
            }
            if max < 0.0 {
                return Err(cfg.bad("max_value"));
            }
            match (slope, max) {
                (0.0, hi) => vec![Step::Act(Act::Clamp { lo: 0.0, hi })],
                (a, f32::INFINITY) => vec![Step::Act(Act::Leaky(a))],
                (a, hi) => vec![Step::Act(Act::Leaky(a)), Step::Act(Act::Clamp { lo: f32::NEG_INFINITY, hi })],
            }
        }
        "LeakyReLU" => {
            let slope = cfg.number("alpha")?.or(cfg.number("negative_slope")?).unwrap_or(0.3);
            vec![Step::Act(Act::Leaky(slope as f32))]
        }
        "ELU" => vec![Step::Act(Act::Elu(cfg.number("alpha")?.unwrap_or(1.0) as f32))],
        "Softmax" => {
            let axis = match cfg.get("axis") {
                None if cfg.map.contains_key("axis") => {
                    cfg.refuse("softmax over all axes, those of other samples, too (axis = null)", "give an axis");
                    Some(-1)
                }
                None => Some(-1),
                Some(Value::Array(a)) if a.len() == 1 => a[0].as_i64(),
                Some(Value::Array(_)) => {
                    cfg.refuse("softmax over several axes", "reshape so that it is one axis");
                    Some(-1)
                }
                Some(v) => v.as_i64(),
            };
            vec![Step::Softmax { axis: axis.ok_or_else(|| cfg.bad("axis"))?, log: false }]
        }
        _ => {
            cfg.refuse("this class is not known as an activation", "use a name such as \"relu\"");
            Vec::new()
        }
    })
}

/// The activation that an operator can apply itself; otherwise what [`apply`] must append.
pub(super) fn fused(steps: &Steps) -> (Act, &[Step]) {
    match steps[..] {
        [Step::Act(act), ref rest @ ..] => (act, rest),
        ref rest => (Act::None, rest),
    }
}

/// The part names of a layer with an activation after it: the layer's node keeps the path of the layer, and so does the last
/// node of an activation layer.
pub(super) fn apply(e: &mut Emit<'_>, x: ValueId, steps: &[Step], last_is_layer: bool) -> Result<ValueId> {
    let mut x = x;
    for (i, step) in steps.iter().enumerate() {
        let shape = e.shape(x);
        let part = match step {
            _ if last_is_layer && i + 1 == steps.len() => "",
            Step::Act(_) | Step::Unary(_) => "activation",
            Step::Scale(_) => "scale",
            Step::Shift(_) => "shift",
            Step::With(..) => "with",
            Step::Softmax { .. } => "softmax",
        };
        x = match *step {
            Step::Act(act) => e.node(part, Op::Act(act), &[x], &shape)?,
            Step::Unary(f) => e.node(part, Op::Unary(f), &[x], &shape)?,
            Step::Scale(by) | Step::Shift(by) => {
                let op = if let Step::Scale(_) = step { BinaryOp::Mul } else { BinaryOp::Add };
                let by = e.constant("factor", &[1], vec![by])?;
                e.node(part, Op::Binary { op, act: Act::None }, &[x, by], &shape)?
            }
            Step::With(op, steps) => {
                let with = apply(e, x, steps, false)?;
                e.node(part, Op::Binary { op, act: Act::None }, &[x, with], &shape)?
            }
            Step::Softmax { axis, log } => {
                let axis = axis_of(e, axis, shape.len())?;
                e.node(part, Op::Softmax { axis, log }, &[x], &shape)?
            }
        };
    }
    Ok(x)
}

/// An axis counted from the start.
pub(super) fn axis_of(e: &Emit<'_>, axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let found = from_start.and_then(|a| usize::try_from(a).ok()).filter(|&a| a < rank);
    found.ok_or_else(|| e.invalid(format!("there is no axis {axis} in {rank} axes")))
}

/// An activation as a layer.
pub(super) struct Activation(pub Steps);

impl Layer for Activation {
    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        apply(e, x, &self.0, true)
    }
}

/// `Activation`, `ReLU`, `LeakyReLU`, `ELU`, `Softmax`.
pub(super) fn layer(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    Ok(Box::new(Activation(steps(cfg)?)))
}

struct PRelu {
    /// Axes of the input, the batch being axis 0, along which one slope serves all.
    shared: Vec<u64>,
}

/// `PReLU`.
pub(super) fn prelu(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let shared = match cfg.get("shared_axes") {
        None => Vec::new(),
        Some(v) => {
            let list = v.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(v));
            list.iter().map(Value::as_u64).collect::<Option<_>>().ok_or_else(|| cfg.bad("shared_axes"))?
        }
    };
    Ok(Box::new(PRelu { shared }))
}

impl Layer for PRelu {
    fn vars(&self) -> Vec<Var> {
        vec![Var::trained("alpha")]
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        let x = e.single(inputs)?;
        let shape = e.shape(x);
        let slope: Vec<usize> =
            shape.iter().enumerate().skip(1).map(|(i, &d)| if self.shared.contains(&(i as u64)) { 1 } else { d }).collect();
        let slope = e.weight("alpha", &slope, &slope)?;
        e.node("", Op::PRelu, &[x, slope], &shape)
    }
}
