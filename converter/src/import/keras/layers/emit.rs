//! What a layer sees while it appends its nodes.

use crate::error::{Error, Result, Unsupported, invalid};
use crate::import::NODE;
use crate::import::keras::h5;
use crate::import::shape::MAX_RANK;
use crate::ir::{Graph, Op, ValueId};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Tensors may not have more elements than this.
const MAX_ELEMENTS: usize = 1 << 40;

/// Variables of a layer that are constants of the graph already, by name.
pub(in super::super) type Constants = HashMap<&'static str, ValueId>;

/// A type of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// That of an input of the network, by its number.
    Of(usize),
    /// That of several of them, or of nobody knows which.
    Several,
}

/// A result of a call.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Made {
    /// Where it is in the graph, which computes in floats.
    pub value: ValueId,
    /// The type of its elements if they are integers for Keras, which computes with them in other ways.
    pub integer: Option<Kind>,
}

impl Made {
    /// The same as floats.
    pub fn float(self) -> Made {
        Made { integer: None, ..self }
    }
}

/// Something that a layer is called with.
#[derive(Clone, Debug)]
pub(in super::super) enum Operand {
    /// A tensor.
    Tensor(Made),
    /// A number, list, text or null of the configuration.
    Value(Arc<Value>),
}

/// All that a layer is called with.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Operands {
    /// By position; lists of tensors are flattened.
    pub args: Vec<Operand>,
    /// By name.
    pub named: Vec<(String, Operand)>,
}

impl Operands {
    /// One tensor.
    pub fn one(x: ValueId) -> Operands {
        Operands { args: vec![Operand::Tensor(Made { value: x, integer: None })], named: Vec::new() }
    }

    /// The operand of a name, or else at a position.
    pub fn get(&self, names: &[&str], position: usize) -> Option<&Operand> {
        let named = self.named.iter().find(|(n, _)| names.contains(&n.as_str())).map(|(_, o)| o);
        named.or_else(|| self.args.get(position))
    }

    /// Any tensor that it is called with.
    pub fn any(&self) -> Option<Made> {
        self.all().next()
    }

    /// All that it is called with besides.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.each().filter_map(|o| if let Operand::Value(v) = o { Some(&**v) } else { None })
    }

    /// Whether any tensor is one of integers.
    pub fn any_integer(&self) -> bool {
        self.all().any(|made| made.integer.is_some())
    }

    /// Whether any operand is a constant tensor, of whatever type.
    pub fn any_constant(&self) -> bool {
        self.values().any(|v| v.is_array() || v.is_object() || v.is_f64())
    }

    /// The type of all tensors, if none is one of floats.
    pub fn integers(&self) -> Option<Kind> {
        let kinds: Option<Vec<Kind>> = self.all().map(|made| made.integer).collect();
        let kinds = kinds?;
        let first = *kinds.first()?;
        Some(if kinds.iter().all(|&kind| kind == first) { first } else { Kind::Several })
    }

    fn each(&self) -> impl Iterator<Item = &Operand> {
        self.args.iter().chain(self.named.iter().map(|(_, o)| o))
    }

    fn all(&self) -> impl Iterator<Item = Made> {
        self.each().filter_map(|o| if let Operand::Tensor(made) = o { Some(*made) } else { None })
    }

    /// The tensors of such names, if it is called with a dictionary of these and no others.
    pub fn keyed(&self, keys: &[String]) -> Option<Vec<Made>> {
        let tensors = || self.named.iter().filter_map(|(n, o)| if let Operand::Tensor(made) = o { Some((n, *made)) } else { None });
        let by_name: HashMap<&String, Made> = tensors().collect();
        let exact = self.args.is_empty() && by_name.len() == keys.len() && tensors().count() == keys.len();
        keys.iter().map(|key| by_name.get(key).copied()).collect::<Option<_>>().filter(|_| exact)
    }

    /// What a layer computes with: the operands by position, or, where there are none, those of one name. What else it is called with
    /// must say nothing.
    ///
    /// # Errors
    /// What the layer is called with besides.
    pub fn inputs(&self) -> std::result::Result<Vec<&Operand>, String> {
        let mut all: Vec<&Operand> = self.args.iter().collect();
        let mut of: Option<&str> = None;
        for (name, operand) in &self.named {
            match operand {
                // Whether to train is for the caller of the whole network to say, or has been refused.
                Operand::Value(v) if nothing(v) || name == "training" => {}
                Operand::Tensor(_)
                    if name != "mask" && name != "training" && self.args.is_empty() && *of.get_or_insert(name) == name =>
                {
                    all.push(operand);
                }
                _ => return Err(format!("argument `{}`", super::short(name))),
            }
        }
        Ok(all)
    }

    /// [`inputs`](Self::inputs) that are all tensors.
    ///
    /// # Errors
    /// What the layer is called with besides.
    pub fn made(&self) -> std::result::Result<Vec<Made>, String> {
        let one = |o: &Operand| match o {
            Operand::Tensor(made) => Ok(*made),
            Operand::Value(v) => Err(format!("the constant {}", super::short(v))),
        };
        self.inputs()?.into_iter().map(one).collect()
    }
}

/// Whether a value is null, or a list or map of nothing else, or of such, as the masks of several inputs are.
pub(super) fn nothing(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::Array(list) => list.iter().all(nothing),
        Value::Object(map) => map.values().all(nothing),
        _ => false,
    }
}

/// The graph under construction, as one call of one layer sees it.
pub(in super::super) struct Emit<'a> {
    /// The graph.
    pub graph: &'a mut Graph,
    /// Path of the call; the call's last node has this name.
    pub path: String,
    /// Path of the layer, under which its weights are named.
    pub layer: &'a str,
    /// Keras's class name.
    pub kind: &'a str,
    /// Where the variables are, by name.
    pub located: &'a [(&'static str, h5::Dataset)],
    /// The file.
    pub file: &'a h5::File,
    /// Variables that an earlier call has read.
    pub constants: &'a mut Constants,
    /// Elements that constants of the configuration may still have.
    pub budget: &'a mut usize,
}

impl Emit<'_> {
    /// An error in this layer.
    pub fn invalid(&self, message: impl std::fmt::Display) -> Error {
        invalid(format!("layer `{}` ({}): {message}", self.path, self.kind))
    }

    /// Something in this call that Sepal does not do.
    pub fn unsupported(&self, what: impl Into<String>, remedy: impl Into<String>) -> Error {
        let (node, kind) = (self.path.clone(), self.kind.into());
        Error::Unsupported(vec![Unsupported { node, kind, what: what.into(), remedy: remedy.into() }])
    }

    /// Extents of a value.
    pub fn shape(&self, v: ValueId) -> Vec<usize> {
        self.graph.shape(v).to_vec()
    }

    /// All that the layer is called with, which must be tensors.
    pub fn tensors(&self, inputs: &Operands) -> Result<Vec<ValueId>> {
        let made = inputs.made().map_err(|other| self.called_with(&other))?;
        Ok(made.into_iter().map(|made| made.value).collect())
    }

    /// All that the layer is called with; constants become constants of the graph. At least one is a tensor.
    pub fn terms(&mut self, inputs: &Operands) -> Result<Vec<ValueId>> {
        let all = inputs.inputs().map_err(|other| self.called_with(&other))?;
        if !all.iter().any(|o| matches!(o, Operand::Tensor(_))) {
            return Err(self.unsupported("is called without a tensor", "compute it before the network"));
        }
        let mut terms = Vec::with_capacity(all.len());
        for (i, operand) in all.into_iter().enumerate() {
            terms.push(match operand {
                Operand::Tensor(made) => made.value,
                Operand::Value(v) => self.constant_of(&format!("constant{i}"), v)?,
            });
        }
        Ok(terms)
    }

    fn called_with(&self, other: &str) -> Error {
        self.unsupported(format!("is called with {other}"), "call it with the tensors that it takes and nothing else")
    }

    /// The only tensor that the layer is called with.
    pub fn single(&self, inputs: &Operands) -> Result<ValueId> {
        match self.tensors(inputs)?[..] {
            [x] => Ok(x),
            ref other => Err(self.invalid(format!("takes one input, is called with {}", other.len()))),
        }
    }

    /// The only tensor that the layer is called with, of a given rank.
    pub fn ranked(&self, inputs: &Operands, rank: usize) -> Result<ValueId> {
        let x = self.single(inputs)?;
        match self.graph.shape(x) {
            s if s.len() == rank => Ok(x),
            s => Err(self.invalid(format!("takes {rank} axes, its input has the shape {s:?}"))),
        }
    }

    /// Appends a node. The last node of a call has no `part`, the ones before have one.
    pub fn node(&mut self, part: &str, op: Op, inputs: &[ValueId], shape: &[usize]) -> Result<ValueId> {
        self.check(shape)?;
        // A layer may be called as often as the description can say it.
        // The report keeps about as much of a batch norm as the graph does.
        let reported = if let Op::BatchNorm { .. } = op { NODE } else { 0 };
        // Joins are made of a step for each input.
        let joined = inputs.len().saturating_sub(8) * NODE;
        let elements = NODE + reported + joined + self.path.len() / 4;
        self.afford(elements)?;
        *self.budget -= elements;
        let name = if part.is_empty() { self.path.clone() } else { format!("{}/{part}", self.path) };
        Ok(self.graph.node(name, self.kind, op, inputs, shape))
    }

    fn rank(&self, shape: &[usize]) -> Result<()> {
        let axes = shape.len();
        if axes > MAX_RANK { Err(self.invalid(format!("{axes} axes; at most {MAX_RANK} are possible"))) } else { Ok(()) }
    }

    /// Refuses shapes that are empty, beyond any machine, or of more axes than any network has.
    pub fn check(&self, shape: &[usize]) -> Result<usize> {
        self.rank(shape)?;
        let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n > 0 && n <= MAX_ELEMENTS);
        n.ok_or_else(|| self.invalid(format!("the result would have the shape {shape:?}")))
    }

    /// A constant of the configuration.
    ///
    /// # Errors
    /// [`Error::Invalid`] if all calls together make more constants than a sensible network has.
    pub fn constant(&mut self, part: &str, shape: &[usize], data: Vec<f32>) -> Result<ValueId> {
        self.rank(shape)?;
        let elements = data.len() + NODE / 2 + self.path.len() / 4;
        self.afford(elements)?;
        *self.budget -= elements;
        Ok(self.graph.constant(format!("{}/{part}", self.path), shape, Arc::new(data)))
    }

    /// Before a constant is made whose size the file merely claims: see [`constant`](Self::constant).
    ///
    /// # Errors
    /// [`Error::Invalid`] if there may not be so many elements more.
    pub fn afford(&self, elements: usize) -> Result<()> {
        if elements > *self.budget { Err(self.invalid("the network has too many nodes and constants")) } else { Ok(()) }
    }

    /// A constant operand: a number or a nested list of numbers.
    pub fn constant_of(&mut self, part: &str, value: &Value) -> Result<ValueId> {
        let (shape, data) = super::values(value)
            .ok_or_else(|| self.unsupported(format!("the constant {}", super::cfg::short(value)), "compute with numbers"))?;
        let shape = if shape.is_empty() { vec![1] } else { shape };
        self.constant(part, &shape, data.into_iter().map(|v| v as f32).collect())
    }

    /// A variable, which must have the extents `source` in the file and gets the extents `shape` (of as many elements) in
    /// the graph. Read once, whatever the number of calls.
    pub fn weight(&mut self, name: &'static str, source: &[usize], shape: &[usize]) -> Result<ValueId> {
        if let Some(&v) = self.constants.get(name)
            && self.graph.shape(v) == shape
        {
            return Ok(v);
        }
        let Some((_, dataset)) = self.located.iter().find(|(n, _)| *n == name) else {
            return Err(self.invalid(format!("the file has no weight `{name}`")));
        };
        if dataset.shape != source {
            let found = &dataset.shape;
            return Err(self.invalid(format!("weight `{name}` should have the shape {source:?}, it has {found:?}")));
        }
        let data = self.file.read(dataset)?;
        let v = self.graph.constant(format!("{}/{name}", self.layer), shape, Arc::new(data));
        self.constants.insert(name, v);
        Ok(v)
    }
}
