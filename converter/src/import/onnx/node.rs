//! What an operator sees of its node.

use super::builder::{Builder, Weight};
use super::fail::{Res, bad, unsupported};
use super::proto::{Attribute, Node, Tensor};
use super::shape;
use super::tensor::{Const, Data, Files, decode};
use crate::import::NODE;
use crate::import::parts::Emit;
use crate::ir::{Op, ValueId};
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// An input or a result.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// Left out.
    None,
    Runtime(ValueId),
    Const {
        value: Const,
        /// The source's name; shared, since lists are copied.
        name: Arc<str>,
    },
    /// Tensors in a list whose length is known.
    Sequence(Arc<Vec<Operand>>),
}

impl Operand {
    pub(super) fn constant(value: Const, name: &str) -> Self {
        Self::Const { value, name: name.into() }
    }

    /// Makes floats of 64 bits those of the network, and says how many.
    pub(super) fn narrow(&mut self) -> usize {
        match self {
            Self::Const { value, .. } if matches!(value.data, Data::Double(_)) => {
                *value = value.clone().single();
                value.len()
            }
            _ => 0,
        }
    }

    /// Whether the network computes it, or some of it.
    pub(super) fn is_computed(&self) -> bool {
        match self {
            Self::Runtime(_) => true,
            Self::Sequence(all) => all.iter().any(Self::is_computed),
            Self::None | Self::Const { .. } => false,
        }
    }
}

/// A node with its inputs resolved.
pub(super) struct Ctx<'c, 'a, 'p> {
    pub b: &'c mut Builder<'a, 'p>,
    pub node: &'c Node<'a>,
    /// What the node is called.
    pub name: &'c str,
    pub inputs: Vec<Operand>,
    attributes: Vec<Attribute<'a>>,
    /// Attributes that somebody asked for. The others are not supported, which keeps us from misreading what we do not know.
    seen: RefCell<HashSet<&'static str>>,
}

impl<'c, 'a, 'p> Ctx<'c, 'a, 'p> {
    pub(super) fn new(b: &'c mut Builder<'a, 'p>, node: &'c Node<'a>, name: &'c str, inputs: Vec<Operand>) -> Res<Self> {
        let attributes = node.attributes.iter().map(|&a| Attribute::parse(a)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { b, node, name, inputs, attributes, seen: RefCell::default() })
    }

    pub(super) fn opset(&self) -> i64 {
        self.b.opset
    }

    // Attributes.

    fn attribute(&self, name: &'static str, kind: i64) -> Res<Option<&Attribute<'a>>> {
        self.seen.borrow_mut().insert(name);
        let Some(a) = self.attributes.iter().find(|a| a.name == name) else { return Ok(None) };
        // Old files do not say what an attribute is.
        if a.kind != 0 && a.kind != kind {
            return bad(format!("attribute {name} has type {}, expected {kind}", a.kind));
        }
        Ok(Some(a))
    }

    pub(super) fn int(&self, name: &'static str, default: i64) -> Res<i64> {
        Ok(self.attribute(name, 2)?.map_or(default, |a| a.i))
    }

    pub(super) fn flag(&self, name: &'static str, default: bool) -> Res<bool> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    /// A finite number.
    pub(super) fn float(&self, name: &'static str, default: f32) -> Res<f32> {
        let v = self.bound(name, default)?;
        if v.is_finite() { Ok(v) } else { bad(format!("attribute {name} is {v}")) }
    }

    /// A number that may be infinite.
    pub(super) fn bound(&self, name: &'static str, default: f32) -> Res<f32> {
        match self.attribute(name, 1)? {
            Some(a) if a.f.is_nan() => bad(format!("attribute {name} is not a number")),
            a => Ok(a.map_or(default, |a| a.f)),
        }
    }

    pub(super) fn string(&self, name: &'static str, default: &'static str) -> Res<&str> {
        match self.attribute(name, 3)? {
            Some(a) => std::str::from_utf8(a.s).or_else(|_| bad(format!("attribute {name} is not text"))),
            None => Ok(default),
        }
    }

    pub(super) fn int_list(&self, name: &'static str) -> Res<Option<Vec<i64>>> {
        Ok(self.attribute(name, 7)?.map(|a| a.ints.clone()))
    }

    pub(super) fn float_list(&self, name: &'static str) -> Res<Option<Vec<f32>>> {
        Ok(self.attribute(name, 6)?.map(|a| a.floats.clone()))
    }

    pub(super) fn has(&self, name: &'static str) -> bool {
        self.seen.borrow_mut().insert(name);
        self.attributes.iter().any(|a| a.name == name)
    }

    /// A tensor; it cannot lie outside the file.
    pub(super) fn tensor(&mut self, name: &'static str) -> Res<Option<Const>> {
        let Some(bytes) = self.attribute(name, 4)?.and_then(|a| a.t) else { return Ok(None) };
        let value = decode(&Tensor::parse(bytes)?, &mut Files::new(None))?;
        self.b.charge(value.len())?;
        Ok(Some(value))
    }

    /// Attributes that do not change the result.
    pub(super) fn ignore(&self, names: &[&'static str]) {
        self.seen.borrow_mut().extend(names);
    }

    /// Refuses attributes that nobody asked for.
    pub(super) fn check_attributes(&self) -> Res<()> {
        let seen = self.seen.borrow();
        match self.attributes.iter().find(|a| !seen.contains(a.name)) {
            Some(a) => unsupported(format!("attribute {:?}", a.name), "export the model without it"),
            None => Ok(()),
        }
    }

    // Inputs.

    pub(super) fn operand(&self, i: usize) -> &Operand {
        self.inputs.get(i).unwrap_or(&Operand::None)
    }

    pub(super) fn is_present(&self, i: usize) -> bool {
        !matches!(self.operand(i), Operand::None)
    }

    pub(super) fn is_const(&self, i: usize) -> bool {
        matches!(self.operand(i), Operand::Const { .. })
    }

    /// A tensor that the network computes, or a constant of floats as it is: what is computed of constants alone is folded later.
    pub(super) fn runtime(&mut self, i: usize) -> Res<ValueId> {
        match self.operand(i) {
            Operand::Runtime(v) => Ok(*v),
            Operand::Const { .. } => self.weight(i, "", true, |c| Ok((c.dims.clone(), None))),
            Operand::None => bad(format!("input {i} is missing")),
            Operand::Sequence(_) => unsupported(format!("input {i} is a sequence"), "read its elements one by one"),
        }
    }

    /// A constant, if the input is there.
    pub(super) fn constant(&self, i: usize) -> Res<Option<&Const>> {
        match self.operand(i) {
            Operand::Const { value, .. } => Ok(Some(value)),
            Operand::None => Ok(None),
            Operand::Runtime(_) => unsupported(format!("input {i} is computed at run time"), "make it a constant"),
            Operand::Sequence(_) => unsupported(format!("input {i} is a sequence"), "read its elements one by one"),
        }
    }

    /// Constant integers, if the input is there.
    pub(super) fn ints(&self, i: usize) -> Res<Option<Vec<i64>>> {
        match self.constant(i)? {
            None => Ok(None),
            Some(Const { data: Data::Int(v), dims, .. }) if dims.len() <= 1 && v.len() <= 4096 => Ok(Some(v.to_vec())),
            Some(c) => bad(format!("input {i} should be a short list of integers, it has shape {:?}", c.dims)),
        }
    }

    /// A constant of one float, if the input is there.
    pub(super) fn scalar_float(&self, i: usize) -> Res<Option<f32>> {
        match self.constant(i)? {
            None => Ok(None),
            Some(Const { data: Data::Float(v), .. }) if v.len() == 1 && !v[0].is_nan() => Ok(Some(v[0])),
            Some(_) => bad(format!("input {i} should be one number")),
        }
    }

    /// A list that is an attribute in older opsets and an input in newer ones.
    pub(super) fn axes(&self, input: usize) -> Res<Option<Vec<i64>>> {
        match self.int_list("axes")? {
            Some(a) => Ok(Some(a)),
            None => self.ints(input),
        }
    }

    pub(super) fn shape(&self, v: ValueId) -> Vec<usize> {
        self.b.graph.shape(v).to_vec()
    }

    // Results.

    /// Appends a node of the IR. The one that stands for the source's node has an empty suffix.
    pub(super) fn emit(&mut self, suffix: &str, op: Op, inputs: &[ValueId], shape: &[usize]) -> Res<ValueId> {
        match shape::count(shape) {
            Some(n) if n > 0 && shape.len() <= shape::MAX_RANK => {}
            _ => return unsupported(format!("a tensor of shape {shape:?}"), "it is empty or too large"),
        }
        let name = if suffix.is_empty() { self.name.to_string() } else { format!("{}/{suffix}", self.name) };
        // One name may serve any number of nodes, and a node is no smaller than this.
        self.b.charge(NODE + name.len() / 4)?;
        Ok(self.b.graph.node(name, self.node.op_type, op, inputs, shape))
    }

    /// A constant of the graph made from input `i`. `make` gives its shape and, where they change, its elements; what it does
    /// and the shape it gives are known by `form`, so that a shared weight stays shared. It counts as parameters once;
    /// `trainable` says of which kind.
    pub(super) fn weight(
        &mut self,
        i: usize,
        form: &str,
        trainable: bool,
        make: impl FnOnce(&Const) -> Res<(Vec<usize>, Option<Vec<f32>>)>,
    ) -> Res<ValueId> {
        let Operand::Const { value, name } = self.operand(i).clone() else {
            return match self.operand(i) {
                Operand::None => bad(format!("input {i} is missing")),
                _ => unsupported(format!("input {i} is computed at run time"), "make it a constant"),
            };
        };
        let Data::Float(data) = &value.data else { return bad(format!("input {i} ({name:?}) holds integers, not floats")) };
        if value.len() == 0 {
            return bad(format!("input {i} ({name:?}) is empty"));
        }
        let known = self.b.weights.get(&name).and_then(|forms| forms.get(form)).filter(|w| w.dims == value.dims);
        if let Some((known, v)) = known.map(|w| (w.data.clone(), w.value))
            && self.b.same(&known, data)?
        {
            return Ok(v);
        }
        let (dims, changed) = make(&value)?;
        let made = match changed {
            Some(new) => {
                self.b.charge(new.len())?;
                Arc::new(new)
            }
            None => data.clone(),
        };
        if shape::count(&dims) != Some(made.len()) {
            return bad(format!("input {i} ({:?}) has shape {:?}, which does not fit", name, value.dims));
        }
        // Single numbers are coefficients of formulas.
        let counted = self.b.weights.get(&name).is_some_and(|forms| forms.values().any(|w| Arc::ptr_eq(&w.data, data)));
        if value.len() > 1 && !counted {
            self.b.graph.total_parameters += value.len() as u64;
            if trainable {
                self.b.graph.trainable_parameters += value.len() as u64;
            }
        }
        let v = self.b.graph.constant(&*name, &dims, made);
        let weight = Weight { dims: value.dims.clone(), data: data.clone(), value: v };
        self.b.weights.entry(name).or_default().insert(form.to_string(), weight);
        Ok(v)
    }

    /// A constant of the graph that the source does not have.
    pub(super) fn number(&mut self, value: f32) -> ValueId {
        let name = format!("{}/{value}", self.name);
        self.b.graph.constant(name, &[], Arc::new(vec![value]))
    }
}

impl Emit for Ctx<'_, '_, '_> {
    fn emit(&mut self, suffix: &str, op: Op, inputs: &[ValueId], dims: &[usize]) -> Res<ValueId> {
        Ctx::emit(self, suffix, op, inputs, dims)
    }
    fn number(&mut self, value: f32) -> ValueId {
        Ctx::number(self, value)
    }
    fn shape(&self, v: ValueId) -> Vec<usize> {
        Ctx::shape(self, v)
    }
}
