//! Functions that were called on tensors outside of any layer: `TFOpLambda` and `TensorFlowOpLayer` of Keras 2, the
//! operations of `keras.ops` of Keras 3.

use super::activation::{Step, Steps, apply, axis_of, gelu, named};
use super::cfg::{flag, short, values};
use super::derived;
use super::known;
use super::merge::{Concatenate, pair};
use super::moving::{self, Way};
use super::shape::{reshape_to, transpose};
use super::{Cfg, Emit, Integers, Layer, Made, Operand, Operands, builtin, products, resizing, slicing};
use crate::error::Result;
use crate::import::keras::config::MAX_CLASS;
use crate::import::keras::parse_json;
use crate::import::shape;
use crate::ir::{Act, BinaryOp, Op, ReduceKind, Unary, ValueId};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::HashSet;
use std::f32::consts::{LN_2, LOG2_E, LOG10_E, PI};
use std::sync::Arc;

/// Most operands of a function that are constants of the configuration.
const MAX_FIXED: usize = 16;

/// Most results of a function, each of which is a node.
const MAX_PARTS: usize = 1024;

/// What a function computes.
#[derive(Clone, Debug, PartialEq)]
enum Function {
    Nothing,
    /// In training and otherwise, so that only a rate of 0 does nothing.
    Dropout,
    Cast,
    /// A cast, if a type is said.
    Convert,
    /// Nothing, if it is said to give what it is given.
    View,
    Binary(BinaryOp),
    Activation(Steps),
    LeakyRelu,
    Elu,
    Gelu,
    Celu,
    Shrink {
        soft: bool,
    },
    Softmax {
        log: bool,
    },
    Negative,
    Square,
    Round,
    Clip,
    Reduce(ReduceKind),
    Reshape,
    Transpose,
    Concat,
    Stack,
    Split {
        /// Of an extent that is no multiple of them the first parts are longer by one.
        uneven: bool,
    },
    Unstack,
    TopK,
    Squeeze,
    ExpandDims,
    Pad,
    GetItem,
    Take,
    Move(Way),
    Derived(derived::Way),
    Resize,
    Border {
        larger: bool,
    },
    /// By an equation.
    Einsum,
    /// Nothing but of numbers that are known, by the name that the file has for it.
    Known(String),
}

/// The function of a name in snake case, without its module.
fn function(name: &str, keras: u32) -> Option<Function> {
    Some(match name {
        "identity" | "stop_gradient" | "ensure_shape" => Function::Nothing,
        "copy" | "real" | "conj" | "conjugate" if keras >= 3 => Function::Nothing,
        "view" | "saturate_cast" if keras >= 3 => Function::View,
        "check_numerics" if keras < 3 => Function::Nothing,
        "dropout" if keras < 3 => Function::Dropout,
        "cast" => Function::Cast,
        "convert_to_tensor" if keras >= 3 => Function::Convert,
        "add" | "add_v2" => Function::Binary(BinaryOp::Add),
        "bias_add" if keras < 3 => Function::Binary(BinaryOp::Add),
        "subtract" | "sub" => Function::Binary(BinaryOp::Sub),
        "multiply" | "mul" => Function::Binary(BinaryOp::Mul),
        "divide" | "truediv" | "true_divide" | "realdiv" | "real_div" | "div" => Function::Binary(BinaryOp::Div),
        "power" | "pow" => Function::Binary(BinaryOp::Pow),
        "maximum" => Function::Binary(BinaryOp::Max),
        "minimum" => Function::Binary(BinaryOp::Min),
        "negative" | "neg" => Function::Negative,
        "square" => Function::Square,
        "sqrt" => Function::Activation(vec![Step::Act(Act::Sqrt)]),
        "abs" | "absolute" | "fabs" => Function::Activation(vec![Step::Unary(Unary::Abs)]),
        "log" => Function::Activation(vec![Step::Unary(Unary::Log)]),
        "erf" => Function::Activation(vec![Step::Unary(Unary::Erf)]),
        "erfc" => Function::Activation(vec![Step::Unary(Unary::Erf), Step::Scale(-1.0), Step::Shift(1.0)]),
        "log1p" => Function::Activation(vec![Step::Shift(1.0), Step::Unary(Unary::Log)]),
        "log2" if keras >= 3 => Function::Activation(vec![Step::Unary(Unary::Log), Step::Scale(LOG2_E)]),
        "log10" if keras >= 3 => Function::Activation(vec![Step::Unary(Unary::Log), Step::Scale(LOG10_E)]),
        "exp2" if keras >= 3 => Function::Activation(vec![Step::Scale(LN_2), Step::Act(Act::Exp)]),
        "deg2rad" if keras >= 3 => Function::Activation(vec![Step::Scale(PI / 180.0)]),
        "rad2deg" if keras >= 3 => Function::Activation(vec![Step::Scale(180.0 / PI)]),
        "expm1" => Function::Activation(vec![Step::Act(Act::Exp), Step::Shift(-1.0)]),
        "atan" | "arctan" => Function::Activation(vec![Step::Unary(Unary::Atan)]),
        "round" | "rint" => Function::Round,
        "sin" => Function::Activation(vec![Step::Unary(Unary::Sin)]),
        "cos" => Function::Activation(vec![Step::Unary(Unary::Cos)]),
        "floor" => Function::Activation(vec![Step::Unary(Unary::Floor)]),
        "ceil" => Function::Activation(vec![Step::Unary(Unary::Ceil)]),
        "sign" => Function::Activation(vec![Step::Unary(Unary::Sign)]),
        "leaky_relu" => Function::LeakyRelu,
        "elu" => Function::Elu,
        "gelu" => Function::Gelu,
        "celu" if keras >= 3 => Function::Celu,
        "hard_shrink" if keras >= 3 => Function::Shrink { soft: false },
        "soft_shrink" if keras >= 3 => Function::Shrink { soft: true },
        "softmax" => Function::Softmax { log: false },
        "log_softmax" => Function::Softmax { log: true },
        "clip" | "clip_by_value" => Function::Clip,
        "mean" | "reduce_mean" | "average" => Function::Reduce(ReduceKind::Mean),
        "sum" | "reduce_sum" => Function::Reduce(ReduceKind::Sum),
        "max" | "amax" | "reduce_max" => Function::Reduce(ReduceKind::Max),
        "min" | "amin" | "reduce_min" => Function::Reduce(ReduceKind::Min),
        "prod" | "reduce_prod" => Function::Reduce(ReduceKind::Product),
        "reshape" => Function::Reshape,
        "transpose" => Function::Transpose,
        "concat" | "concatenate" => Function::Concat,
        "stack" => Function::Stack,
        "split" => Function::Split { uneven: false },
        "array_split" if keras >= 3 => Function::Split { uneven: true },
        "unstack" => Function::Unstack,
        "top_k" => Function::TopK,
        "squeeze" => Function::Squeeze,
        "expand_dims" => Function::ExpandDims,
        "pad" => Function::Pad,
        // Of Keras 3, and of TensorFlow.
        "get_item" | "getitem" => Function::GetItem,
        "take" if keras >= 3 => Function::Take,
        "einsum" if keras >= 3 => Function::Einsum,
        "resize" if keras >= 3 => Function::Resize,
        IMAGE_RESIZE => Function::Resize,
        "crop_images" if keras >= 3 => Function::Border { larger: false },
        "pad_images" if keras >= 3 => Function::Border { larger: true },
        other => match (moving::named(other, keras), derived::named(other, keras)) {
            (Some(way), _) => Function::Move(way),
            (None, Some(way)) => Function::Derived(way),
            (None, None) => Function::Activation(named(other, keras)?),
        },
    })
}

struct Call {
    function: Function,
    /// The same of numbers that follow from shapes.
    known: Option<known::Way>,
    /// What the configuration fixes, by name.
    config: Map<String, Value>,
    /// What the configuration fixes, by position among all operands.
    fixed: Vec<(usize, Arc<Value>)>,
    /// Whether integers become floats, and whether a float among the operands makes them so.
    floats: [bool; 2],
}

fn call(cfg: &Cfg<'_>, name: &str, shown: &str, config: Map<String, Value>, fixed: Vec<(usize, Arc<Value>)>) -> Box<dyn Layer> {
    let known = Some(name).filter(|_| matches!(cfg.class, "TFOpLambda" | "SlicingOpLambda")).and_then(known::named);
    match function(name, cfg.keras).or_else(|| known.map(|_| Function::Known(short(shown)))) {
        Some(function) => {
            let floats = [matches!(name, "cast" | "divide" | "truediv" | "true_divide"), cfg.keras >= 3];
            Box::new(Call { function, known, config, fixed, floats })
        }
        None => {
            cfg.refuse(format!("function `{shown}`"), "replace it by built-in layers, or cut the graph before it with `--outputs`");
            super::nothing()
        }
    }
}

/// A class of `keras.ops`.
pub(super) fn operation(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let mut config = cfg.map.clone();
    config.remove("name");
    // A class that a program registered is none of Keras's, however it is called.
    let name = builtin(cfg.class).map_or_else(|| cfg.class.to_owned(), crate::import::keras::weights::snake_case);
    Ok(call(cfg, &name, cfg.class, config, Vec::new()))
}

/// The modules of TensorFlow whose functions are known by their names.
const MODULES: [&str; 10] = ["tf", "math", "nn", "linalg", "debugging", "__operators__", "v1", "v2", "backend", "activations"];

/// TensorFlow's second way to resize; the first one's pixels lie elsewhere.
const IMAGE_RESIZE: &str = "image.resize";

/// `TFOpLambda`.
pub(super) fn lambda(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let shown = cfg.text("function")?.filter(|name| name.len() <= MAX_CLASS).ok_or_else(|| cfg.bad("function"))?;
    // Functions of one name are others in other modules: `image.transpose` leaves the channels where they are.
    let known = |(module, name): (&'_ str, _)| MODULES.contains(&module.rsplit('.').next().unwrap_or(module)).then_some(name);
    let name = shown.rsplit_once('.').filter(|_| shown != IMAGE_RESIZE).map_or(Some(shown), known).unwrap_or(shown);
    // The configuration is the layer's; the arguments of the function are with the call.
    Ok(call(cfg, name, shown, Map::new(), Vec::new()))
}

/// The attributes of a TensorFlow node, as plain values. Types of elements are not kept: they are floats, or refused.
fn attributes(cfg: &Cfg<'_>, node: &Value) -> Map<String, Value> {
    let mut plain = Map::new();
    let number = |v: &Value| v.as_str().and_then(|text| text.parse::<i64>().ok()).map_or_else(|| v.clone(), Value::from);
    for (key, tagged) in node.get("attr").and_then(Value::as_object).into_iter().flatten() {
        let tag = |tag: &str| tagged.get(tag);
        let value = match (key.as_str(), tag("type").and_then(Value::as_str)) {
            // The count of operands, and what TensorFlow notes for itself.
            ("N", _) => continue,
            (name, _) if name.starts_with('_') => continue,
            ("T", Some("DT_FLOAT" | "DT_HALF" | "DT_BFLOAT16" | "DT_DOUBLE")) => continue,
            ("T" | "SrcT", Some(other)) => {
                cfg.refuse(format!("elements of type {}", short(other)), "compute in float32");
                continue;
            }
            ("DstT", Some("DT_FLOAT")) => {
                plain.insert("dtype".into(), "float32".into());
                continue;
            }
            ("Tidx" | "Tshape" | "Tperm" | "Tdim" | "Tpaddings", Some(_)) => continue,
            _ => match (tag("i"), tag("list").and_then(|l| l.get("i")).and_then(Value::as_array)) {
                (Some(i), _) => number(i),
                (None, Some(list)) => list.iter().map(number).collect(),
                _ if tag("list").and_then(Value::as_object).is_some_and(Map::is_empty) => Value::Null,
                _ => tag("f").or(tag("b")).unwrap_or(tagged).clone(),
            },
        };
        plain.insert(key.clone(), value);
    }
    plain
}

/// `TensorFlowOpLayer` of TensorFlow 2.0 to 2.3: a node of a TensorFlow graph, whose constant operands are listed by position.
pub(super) fn graph_op(cfg: &Cfg<'_>) -> Result<Box<dyn Layer>> {
    let node = cfg.get("node_def").ok_or_else(|| cfg.bad("node_def"))?;
    let parsed: Option<Value> = node.as_str().and_then(|text| parse_json(text.as_bytes(), "node_def", 0).ok());
    let node = parsed.as_ref().unwrap_or(node);
    let shown = node.get("op").and_then(Value::as_str);
    let shown = shown.filter(|op| op.len() <= MAX_CLASS).ok_or_else(|| cfg.bad("node_def"))?.to_string();
    let name = crate::import::keras::weights::snake_case(&shown);
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
    Ok(call(cfg, &name, &shown, attributes(cfg, node), fixed))
}

/// One call's operands together with what the configuration fixes, and what of both has been read.
pub(super) struct Bound<'a> {
    operands: Operands,
    config: &'a Map<String, Value>,
    names: RefCell<HashSet<String>>,
    positions: RefCell<HashSet<usize>>,
}

impl Bound<'_> {
    /// The operand of a name, or else at a position.
    pub(super) fn get(&self, names: &[&str], position: usize) -> Option<&Operand> {
        // Nobody asks for them where nothing has a name.
        if !self.operands.named.is_empty() || !self.config.is_empty() {
            self.names.borrow_mut().extend(names.iter().map(|n| (*n).to_owned()));
        }
        if !self.operands.named.iter().any(|(n, _)| names.contains(&n.as_str())) {
            self.positions.borrow_mut().insert(position);
        }
        self.operands.get(names, position)
    }

    /// All operands, as read.
    pub(super) fn all(&self) -> &Operands {
        self.positions.borrow_mut().extend(0..self.operands.args.len());
        &self.operands
    }

    pub(super) fn value(&self, e: &Emit<'_>, names: &[&str], position: usize) -> Result<Option<&Value>> {
        let found = match self.get(names, position) {
            Some(Operand::Value(v)) => Some(&**v),
            Some(Operand::Tensor(_)) => {
                let given = self.operands.named.iter().map(|(n, _)| n.as_str()).find(|n| names.contains(n));
                return Err(e.unsupported(format!("`{}` is computed", given.unwrap_or(names[0])), "give it as numbers"));
            }
            None => names.iter().find_map(|n| self.config.get(*n)),
        };
        Ok(found.filter(|v| !v.is_null()))
    }

    pub(super) fn integers(&self, e: &Emit<'_>, names: &[&str], position: usize) -> Result<Option<Vec<i64>>> {
        let Some(v) = self.value(e, names, position)? else { return Ok(None) };
        // A tensor among numbers is written as its layer's name.
        if v.as_array().is_some_and(|list| list.iter().any(|item| item.is_array() || item.is_string() || item.is_object()))
            && values(v).is_none()
        {
            return Err(e.unsupported(format!("`{}` is computed", names[0]), "give it as numbers"));
        }
        let whole = |n: f64| (n.fract() == 0.0 && n.abs() < 9e15).then_some(n as i64);
        let list = match v.as_i64() {
            Some(n) => Some(vec![n]),
            None if v.as_array().is_some_and(Vec::is_empty) => Some(Vec::new()),
            None => values(v).filter(|(shape, _)| shape.len() <= 1).and_then(|(_, data)| data.into_iter().map(whole).collect()),
        };
        list.map(Some).ok_or_else(|| e.invalid(format!("`{}` is {}", names[0], short(v))))
    }

    /// A whole number; without a word the `default`.
    pub(super) fn whole(&self, e: &Emit<'_>, names: &[&str], position: usize, default: i64) -> Result<i64> {
        match self.integers(e, names, position)?.as_deref() {
            None => Ok(default),
            Some(&[n]) => Ok(n),
            Some(other) => Err(e.invalid(format!("`{}` is {other:?}, not a number", names[0]))),
        }
    }

    pub(super) fn number(&self, e: &Emit<'_>, names: &[&str], position: usize) -> Result<Option<f32>> {
        let Some(v) = self.value(e, names, position)? else { return Ok(None) };
        match values(v) {
            Some((_, data)) if data.len() == 1 => Ok(Some(data[0] as f32)),
            _ => Err(e.invalid(format!("`{}` is {}", names[0], short(v)))),
        }
    }

    pub(super) fn text(&self, e: &Emit<'_>, names: &[&str], position: usize) -> Result<Option<&str>> {
        let Some(v) = self.value(e, names, position)? else { return Ok(None) };
        v.as_str().map(Some).ok_or_else(|| e.invalid(format!("`{}` is {}", names[0], short(v))))
    }

    /// Refuses a type of elements that is none of floats.
    pub(super) fn floats(&self, e: &mut Emit<'_>, position: usize) -> Result<()> {
        match self.text(e, &["dtype"], position)? {
            None | Some("float32" | "float64") => Ok(()),
            Some("float16" | "bfloat16") => {
                e.graph.leave_unrounded(&e.path);
                Ok(())
            }
            Some(other) => Err(e.unsupported(format!("cast to {}", short(other)), "cast to float32, or not at all")),
        }
    }

    /// Refuses a layout other than channels last.
    pub(super) fn channels_last(&self, e: &Emit<'_>, position: usize) -> Result<()> {
        match self.text(e, &["data_format"], position)? {
            None | Some("channels_last" | "NHWC") => Ok(()),
            Some(_) => Err(e.unsupported("channels first", "build the network with data_format=\"channels_last\"")),
        }
    }

    /// Whether an argument is said to be nothing, which may be another thing than not to say it.
    pub(super) fn is_null(&self, name: &str) -> bool {
        let null = |o: &Operand| matches!(o, Operand::Value(v) if v.is_null());
        self.config.get(name).is_some_and(Value::is_null) || self.operands.named.iter().any(|(n, o)| n == name && null(o))
    }

    /// What makes no difference.
    pub(super) fn ignore(&self, names: &[&str]) {
        self.names.borrow_mut().extend(names.iter().map(|n| (*n).to_owned()));
    }

    pub(super) fn flag(&self, e: &Emit<'_>, names: &[&str], position: usize) -> Result<bool> {
        let Some(v) = self.value(e, names, position)? else { return Ok(false) };
        flag(v).ok_or_else(|| e.invalid(format!("`{}` is {}", names[0], short(v))))
    }

    /// An operand of a computation: a tensor or a constant.
    pub(super) fn term(&self, e: &mut Emit<'_>, names: &[&str], position: usize) -> Result<ValueId> {
        match self.get(names, position) {
            Some(Operand::Tensor(made)) => Ok(made.value),
            Some(Operand::Value(v)) => e.constant_of(names[0], v),
            None => Err(e.invalid(format!("is called without `{}`", names[0]))),
        }
    }

    /// The operands of what joins tensors, and its axis: a number, which is no operand, may come last.
    fn joined(&self, e: &Emit<'_>, default: i64) -> Result<(i64, Operands)> {
        let number = |o: &Operand| matches!(o, Operand::Value(v) if values(v).is_some_and(|(shape, _)| shape.is_empty()));
        let last = self.operands.args.len().wrapping_sub(1);
        let at = if self.operands.args.last().is_some_and(number) { last } else { usize::MAX };
        let axis = self.whole(e, &["axis"], at, default)?;
        let mut all = self.operands.clone();
        all.args.truncate(if at == last { at } else { all.args.len() });
        all.named.retain(|(n, _)| n != "axis" && n != "name");
        self.positions.borrow_mut().extend(0..all.args.len());
        self.names.borrow_mut().extend(all.named.iter().map(|(n, _)| n.clone()));
        Ok((axis, all))
    }

    /// Refuses what has been given and not been read, unless it is what holds without it.
    fn all_read(&self, e: &Emit<'_>) -> Result<()> {
        let (names, positions) = (self.names.borrow(), self.positions.borrow());
        let default = |name: &str, v: &Value| {
            let off = *v == Value::Bool(false) && !["initial", "beta"].contains(&name);
            v.is_null() || off || name == "name" || (name == "beta" && v.as_f64() == Some(1.0))
        };
        let unread = |name: &str, o: &Operand| !names.contains(name) && !matches!(o, Operand::Value(v) if default(name, v));
        let named = self.operands.named.iter().find(|(n, o)| unread(n, o)).map(|(n, _)| n);
        let fixed = self.config.iter().find(|(n, v)| !names.contains(*n) && !default(n, v)).map(|(n, _)| n);
        let other = match named.or(fixed) {
            Some(name) => format!("argument `{}`", short(name)),
            None => {
                let null = |o: &Operand| matches!(o, Operand::Value(v) if v.is_null());
                let rest = self.operands.args.iter().enumerate().find(|(i, o)| !positions.contains(i) && !null(o));
                let Some((at, _)) = rest else { return Ok(()) };
                format!("argument {}", at + 1)
            }
        };
        Err(e.unsupported(format!("{other} of the function"), "leave it out, or replace the function by built-in layers"))
    }
}

/// Names of the first operand.
pub(super) const X: &[&str] = &["x", "x1", "input", "inputs", "tensor", "features", "input_tensor", "t", "a", "value", "values"];
/// Names of the second operand.
pub(super) const Y: &[&str] = &["y", "x2", "bias"];

impl Layer for Call {
    fn integers(&self, inputs: &Operands) -> Integers {
        let float = |o: &Operand| matches!(o, Operand::Value(v) if v.is_f64());
        match self.function {
            _ if self.floats[0] => Integers::Floats,
            Function::Concat if inputs.any_constant() => Integers::Computed,
            Function::Convert if self.config.get("dtype").is_none_or(Value::is_null) => Integers::Kept,
            Function::Convert => Integers::Floats,
            Function::Binary(_) if self.floats[1] && inputs.args.iter().any(float) => Integers::Floats,
            Function::Nothing
            | Function::Reshape
            | Function::Transpose
            | Function::Concat
            | Function::Split { .. }
            | Function::Unstack
            | Function::Squeeze
            | Function::GetItem
            | Function::Take
            | Function::Border { .. }
            | Function::ExpandDims => Integers::Kept,
            Function::Move(way) if way.keeps() => Integers::Kept,
            Function::Derived(way) if way.keeps() => Integers::Kept,
            _ => Integers::Computed,
        }
    }

    fn emit(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<ValueId> {
        match self.results(e, inputs)?[..] {
            [only] => Ok(only),
            _ => Err(e.invalid("has several results")),
        }
    }

    fn known(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<Option<Vec<Value>>> {
        let Some(way) = self.known.filter(|&way| known::asks_shape(way) || inputs.any().is_none()) else { return Ok(None) };
        let b = self.bound(e, inputs)?;
        let found = known::compute(way, e, &b)?;
        let what = "something that follows from shapes and is not computed here";
        let found = found.ok_or_else(|| e.unsupported(what, "build the network with the number itself"))?;
        b.all_read(e)?;
        Ok(Some(found))
    }

    fn results(&self, e: &mut Emit<'_>, inputs: &Operands) -> Result<Vec<ValueId>> {
        let b = self.bound(e, inputs)?;
        let all = match self.function {
            Function::Split { .. } | Function::Unstack | Function::TopK => self.pieces(e, &b)?,
            _ => vec![self.compute(e, &b)?],
        };
        b.all_read(e)?;
        Ok(all)
    }
}

impl Call {
    /// The operands of one call, with those that the configuration fixes.
    fn bound(&self, e: &Emit<'_>, inputs: &Operands) -> Result<Bound<'_>> {
        let mut operands = inputs.clone();
        for (i, value) in &self.fixed {
            if *i > operands.args.len() {
                return Err(e.invalid(format!("a constant for operand {i} of {}", operands.args.len())));
            }
            operands.args.insert(*i, Operand::Value(value.clone()));
        }
        Ok(Bound { operands, config: &self.config, names: RefCell::default(), positions: RefCell::default() })
    }

    fn compute(&self, e: &mut Emit<'_>, b: &Bound<'_>) -> Result<ValueId> {
        if let Function::Concat = self.function {
            let (axis, all) = b.joined(e, if e.kind == "TFOpLambda" { 0 } else { -1 })?;
            return Concatenate(axis).emit(e, &all);
        }
        if let Function::Stack = self.function {
            let (axis, all) = b.joined(e, 0)?;
            let mut turned = Vec::new();
            for (i, v) in e.tensors(&all)?.into_iter().enumerate() {
                let mut out = e.shape(v);
                out.insert(axis_of(e, axis, out.len() + 1)?, 1);
                let value = e.node(&i.to_string(), Op::Reshape, &[v], &out)?;
                turned.push(Operand::Tensor(Made { value, integer: None }));
            }
            return Concatenate(axis).emit(e, &Operands { args: turned, named: Vec::new() });
        }
        if let Function::Einsum = self.function {
            return products::by_equation(e, b);
        }
        if let Function::Binary(op) = self.function {
            // Of `bias_add`, which adds along the channels.
            b.channels_last(e, 2)?;
            let (x, y) = (b.term(e, X, 0)?, b.term(e, Y, 1)?);
            return pair(e, "", op, x, y);
        }
        if let Function::Known(name) = &self.function {
            return Err(e.unsupported(format!("function `{name}` of what the network computes"), "replace it by built-in layers"));
        }
        let x = b.term(e, X, 0)?;
        if e.graph.data(x).is_some() {
            return Err(e.unsupported("a function of a constant", "compute it before the network"));
        }
        let shape = e.shape(x);
        let one = |act| [Step::Act(act)];
        match &self.function {
            Function::Nothing => {
                // What `ensure_shape` and `check_numerics` would complain about.
                b.value(e, &["shape", "message"], 1)?;
                Ok(x)
            }
            Function::Dropout => match b.number(e, &["rate", "level"], 1)? {
                Some(0.0) => Ok(x),
                _ => Err(e.unsupported("dropout outside of training, which is random", "use the layer Dropout")),
            },
            Function::Cast if b.text(e, &["dtype"], 1)?.is_none() => {
                Err(e.unsupported("cast to ?", "cast to float32, or not at all"))
            }
            Function::Cast | Function::Convert => {
                b.floats(e, 1)?;
                Ok(x)
            }
            Function::View => match b.text(e, &["dtype"], 1)? {
                None | Some("float32") => Ok(x),
                Some(other) => Err(e.unsupported(format!("as {}", short(other)), "leave it float32")),
            },
            Function::Activation(steps) => apply(e, x, steps, true),
            Function::LeakyRelu => {
                let slope = b.number(e, &["negative_slope", "alpha"], 1)?.unwrap_or(0.2);
                apply(e, x, &one(Act::Leaky(slope)), true)
            }
            Function::Elu => {
                let alpha = b.number(e, &["alpha"], 1)?.unwrap_or(1.0);
                apply(e, x, &one(Act::Elu(alpha)), true)
            }
            Function::Celu => {
                let alpha = b.number(e, &["alpha"], 1)?.unwrap_or(1.0);
                if alpha.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) || !(1.0 / alpha).is_finite() {
                    return Err(e.unsupported(format!("celu with alpha = {alpha}"), "use a number above 0"));
                }
                apply(e, x, &[Step::Scale(1.0 / alpha), Step::Act(Act::Elu(1.0)), Step::Scale(alpha)], true)
            }
            Function::Shrink { soft } => {
                let lambda = b.number(e, &["threshold"], 1)?.unwrap_or(0.5);
                apply(e, x, &[Step::Unary(Unary::Shrink { lambda, bias: if *soft { lambda } else { 0.0 } })], true)
            }
            Function::Gelu => {
                // For Keras 3 it is the formula unless that is said, for TensorFlow it is not.
                let given =
                    b.value(e, &["approximate"], 1)?.map(|v| v.as_bool().ok_or_else(|| e.invalid("approximate is no truth value")));
                let by_tanh = given.transpose()?.unwrap_or(self.floats[1] && !b.is_null("approximate"));
                apply(e, x, &gelu(by_tanh), true)
            }
            Function::Softmax { log } => {
                let axis = match b.integers(e, &["axis"], 1)?.as_deref() {
                    // For Keras 3 no axis means all of them, for TensorFlow the last one.
                    None if !b.is_null("axis") => -1,
                    Some(&[axis]) => axis,
                    _ => return Err(e.unsupported("softmax over several axes", "reshape so that it is one axis")),
                };
                apply(e, x, &[Step::Softmax { axis, log: *log }], true)
            }
            Function::Negative => apply(e, x, &[Step::Scale(-1.0)], true),
            Function::Square => pair(e, "", BinaryOp::Mul, x, x),
            Function::Round => match b.integers(e, &["decimals"], 1)?.as_deref() {
                None | Some(&[0]) => apply(e, x, &[Step::Unary(Unary::Round)], true),
                Some(_) => Err(e.unsupported("rounding to other places than whole numbers", "scale before and behind it")),
            },
            Function::Clip => {
                let lo = b.number(e, &["x_min", "clip_value_min"], 1)?.unwrap_or(f32::NEG_INFINITY);
                let hi = b.number(e, &["x_max", "clip_value_max"], 2)?.unwrap_or(f32::INFINITY);
                if lo > hi {
                    return Err(e.invalid(format!("clips to [{lo}, {hi}]")));
                }
                apply(e, x, &one(Act::Clamp { lo, hi }), true)
            }
            Function::Reduce(kind) => {
                let (axes, keep_dims) = derived::reduced(e, b, &shape)?;
                derived::reduce(e, "", *kind, x, &axes, keep_dims)
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
                let Some(list) = b.integers(e, &["axis"], 1)? else { return Err(e.invalid("is called without `axis`")) };
                if list.len() > shape::MAX_RANK {
                    return Err(e.invalid(format!("{} axes are added", list.len())));
                }
                let rank = shape.len() + list.len();
                let mut new = list.into_iter().map(|a| axis_of(e, a, rank)).collect::<Result<Vec<_>>>()?;
                new.sort_unstable();
                let mut out = shape;
                new.iter().for_each(|&at| out.insert(at.min(out.len()), 1));
                if new.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(e.invalid("an axis is added twice"));
                }
                e.node("", Op::Reshape, &[x], &out)
            }
            Function::Pad => pad(e, b, x, &shape),
            Function::Move(way) => way.emit(e, b, x),
            Function::Derived(way) => way.emit(e, b, x),
            Function::Resize => resizing::function(e, b, x),
            Function::Border { larger } => resizing::border(e, b, x, *larger),
            Function::GetItem => match b.value(e, &["key", "slice_spec"], 1)? {
                Some(index) => slicing::slice(e, x, index),
                // `x[None]`, and what has no index.
                None => Err(e.unsupported("an index of nothing", "use Reshape")),
            },
            Function::Take => {
                let (list, axis) = (b.value(e, &["indices"], 1)?, b.integers(e, &["axis"], 2)?);
                match (list, axis.as_deref()) {
                    (Some(list), Some(&[axis])) => slicing::take(e, x, axis_of(e, axis, shape.len())?, list),
                    _ => Err(e.unsupported("elements without an axis or without indices", "name both, or use Reshape before")),
                }
            }
            Function::Binary(_)
            | Function::Known(_)
            | Function::Einsum
            | Function::Concat
            | Function::Stack
            | Function::Split { .. }
            | Function::Unstack
            | Function::TopK => Err(e.invalid("is called without operands")),
        }
    }

    /// The results of what cuts a tensor along an axis.
    fn pieces(&self, e: &mut Emit<'_>, b: &Bound<'_>) -> Result<Vec<ValueId>> {
        // Nodes of TensorFlow's graphs have other operands.
        if e.kind == "TensorFlowOpLayer" {
            return Err(e.unsupported("a node of several results", "save the model with a later version of TensorFlow"));
        }
        let x = b.term(e, X, 0)?;
        if e.graph.data(x).is_some() {
            return Err(e.unsupported("a function of a constant", "compute it before the network"));
        }
        let shape = e.shape(x);
        if let Function::TopK = self.function {
            let k = b.integers(e, &["k"], 1)?.unwrap_or_else(|| vec![1]);
            b.flag(e, &["sorted"], 2)?;
            return match shape.last() {
                Some(1) if k == [1] => Ok(vec![x, moving::filled(e, 0.0, &shape)?]),
                _ => Err(e.unsupported("which elements are the largest", "cut the graph before it with `--outputs`")),
            };
        }
        let axis = axis_of(e, b.whole(e, &["axis"], 2, 0)?, shape.len())?;
        let extent = shape[axis];
        if let Function::Unstack = self.function {
            let given = b.integers(e, &["num"], 1)?.is_some_and(|n| n != [extent as i64]);
            if given {
                return Err(e.invalid(format!("`num` is not the extent {extent} of axis {axis}")));
            }
            few(e, extent)?;
            return slicing::unstack(e, x, axis);
        }
        let names = &["num_or_size_splits", "indices_or_sections"];
        // One number says how many there are, a list where (Keras 3) or how long (TensorFlow) they are.
        let count = b.value(e, names, 1)?.and_then(Value::as_i64);
        let Some(list) = b.integers(e, names, 1)? else { return Err(e.invalid("is called without the parts")) };
        few(e, count.map_or(list.len(), |n| usize::try_from(n).unwrap_or(0)))?;
        let lens = match count {
            Some(count) if self.function == (Function::Split { uneven: true }) => slicing::nearly_equal(extent, count),
            Some(count) => slicing::equal(extent, count),
            None if self.floats[1] => slicing::between(extent, &list),
            None => slicing::sizes(extent, &list),
        };
        let Some(lens) = lens else { return Err(e.invalid(format!("parts {list:?} of the {extent} of axis {axis}"))) };
        slicing::split(e, x, axis, &lens)
    }
}

/// Refuses more parts of a tensor than any network reads, before there is a list of them.
fn few(e: &Emit<'_>, parts: usize) -> Result<()> {
    if parts <= MAX_PARTS { Ok(()) } else { Err(e.unsupported(format!("{parts} parts of a tensor"), "use fewer, or Reshape")) }
}

fn pad(e: &mut Emit<'_>, b: &Bound<'_>, x: ValueId, shape: &[usize]) -> Result<ValueId> {
    let mode = b.value(e, &["mode"], 2)?.and_then(Value::as_str).unwrap_or("constant");
    if !mode.eq_ignore_ascii_case("constant") {
        return Err(e.unsupported(format!("padding mode {}", short(format_args!("{mode:?}"))), "pad with a constant"));
    }
    let value = b.number(e, &["constant_values"], 3)?.unwrap_or(0.0);
    let pads = b.value(e, &["paddings", "pad_width"], 1)?.and_then(Value::as_array).and_then(|list| {
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
