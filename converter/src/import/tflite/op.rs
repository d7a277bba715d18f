//! What an operator sees of itself.

use super::builder::Builder;
use super::schema::Operator;
use super::tensor::FLOAT32;
use crate::import::NODE;
use crate::import::fail::{Res, bad, unsupported};
use crate::import::shape;
use crate::interp;
use crate::ir::{Act, Node, Op, ValueId};
use std::sync::Arc;

/// An operator whose inputs are known, stored or computed.
pub(super) struct Ctx<'c, 'a> {
    pub b: &'c mut Builder<'a>,
    pub op: &'c Operator<'a>,
    /// What the node is called.
    pub name: &'c str,
    kind: &'c str,
    /// Indices of the tensors to write.
    pub outputs: &'c [usize],
}

impl<'c, 'a> Ctx<'c, 'a> {
    pub(super) fn new(b: &'c mut Builder<'a>, op: &'c Operator<'a>, name: &'c str, kind: &'c str, outputs: &'c [usize]) -> Self {
        Self { b, op, name, kind, outputs }
    }

    // Options. An operator without a table of them has the defaults.

    pub(super) fn int(&self, field: usize, default: i32) -> Res<i64> {
        Ok(i64::from(self.op.options.map_or(Ok(default), |o| o.get(field, default))?))
    }

    pub(super) fn float(&self, field: usize, default: f32) -> Res<f32> {
        let v = self.op.options.map_or(Ok(default), |o| o.get(field, default))?;
        if v.is_finite() { Ok(v) } else { bad(format!("option {field} is {v}")) }
    }

    /// A member of a small enumeration.
    pub(super) fn choice(&self, field: usize) -> Res<u8> {
        Ok(self.op.options.map_or(Ok(0), |o| o.get(field, 0))?)
    }

    pub(super) fn flag(&self, field: usize) -> Res<bool> {
        Ok(self.op.options.map_or(Ok(false), |o| o.flag(field))?)
    }

    pub(super) fn int_list(&self, field: usize) -> Res<Vec<i64>> {
        let Some(o) = self.op.options else { return Ok(vec![]) };
        Ok(o.list::<i32>(field)?.take(2 * shape::MAX_RANK).map(i64::from).collect())
    }

    /// The activation that an operator ends with.
    pub(super) fn activation(&self, field: usize) -> Res<Act> {
        Ok(match self.choice(field)? {
            0 => Act::None,
            1 => Act::RELU,
            2 => Act::Clamp { lo: -1.0, hi: 1.0 },
            3 => Act::Clamp { lo: 0.0, hi: 6.0 },
            4 => Act::Tanh,
            other => return unsupported(format!("fused activation {other}"), "use RELU, RELU6, RELU_N1_TO_1 or TANH"),
        })
    }

    /// The type of the first result.
    pub(super) fn element(&self) -> i8 {
        self.outputs.first().map_or(FLOAT32, |&t| self.b.model.tensors[t].element)
    }

    // Inputs.

    fn tensor(&self, i: usize) -> Option<usize> {
        // The builder has looked at them: what is not an index of a tensor is left out.
        self.op.inputs.get(i).and_then(|&t| usize::try_from(t).ok())
    }

    pub(super) fn is_present(&self, i: usize) -> bool {
        self.tensor(i).is_some()
    }

    /// A tensor that the network computes, or a constant as floats.
    pub(super) fn value(&mut self, i: usize) -> Res<ValueId> {
        match self.tensor(i) {
            Some(t) => self.b.value(t),
            None => bad(format!("input {i} is missing")),
        }
    }

    /// Constant integers and their shape.
    pub(super) fn ints(&mut self, i: usize) -> Res<(Vec<usize>, Vec<i64>)> {
        match self.tensor(i) {
            Some(t) => self.b.ints(t),
            None => bad(format!("input {i} is missing")),
        }
    }

    /// A constant list of integers.
    pub(super) fn list(&mut self, i: usize) -> Res<Vec<i64>> {
        match self.ints(i)? {
            (dims, v) if dims.len() <= 1 && v.len() <= 4096 => Ok(v),
            (dims, _) => bad(format!("input {i} should be a short list of integers, it has shape {dims:?}")),
        }
    }

    /// A constant integer.
    pub(super) fn scalar(&mut self, i: usize) -> Res<i64> {
        match self.ints(i)? {
            (_, v) if v.len() == 1 => Ok(v[0]),
            (dims, _) => bad(format!("input {i} should be one integer, it has shape {dims:?}")),
        }
    }

    pub(super) fn shape(&self, v: ValueId) -> Vec<usize> {
        self.b.graph.shape(v).to_vec()
    }

    /// `[N, H, W, C]`, none of them 0.
    pub(super) fn image(&self, v: ValueId) -> Res<[usize; 4]> {
        match self.b.graph.shape(v) {
            &[n, h, w, c] if ![n, h, w, c].contains(&0) => Ok([n, h, w, c]),
            s => bad(format!("an image of shape {s:?}")),
        }
    }

    /// The data of a constant.
    pub(super) fn data(&self, v: ValueId, i: usize) -> Res<Arc<Vec<f32>>> {
        match self.b.graph.data(v) {
            Some(data) => Ok(data.clone()),
            None => unsupported(format!("input {i} is computed at run time"), "make it a constant"),
        }
    }

    /// Constant input `i` under another shape, its elements changed by `make`. What was made is known by `form`, so that a shared
    /// weight stays shared.
    pub(super) fn weight(&mut self, i: usize, form: &str, dims: &[usize], make: impl FnOnce(&[f32]) -> Vec<f32>) -> Res<ValueId> {
        let v = self.value(i)?;
        let key = (v, form.to_string());
        if let Some(&known) = self.b.forms.get(&key) {
            return Ok(known);
        }
        let data = self.data(v, i)?;
        if shape::count(dims) != Some(data.len()) {
            return bad(format!("input {i} of shape {:?} does not fit", self.shape(v)));
        }
        self.b.budget.pay(data.len())?;
        let name = self.b.graph.values[v.0].name.clone();
        let made = self.b.graph.constant(name, dims, Arc::new(make(&data)));
        self.b.forms.insert(key, made);
        Ok(made)
    }

    // Results.

    /// Appends a node, or its value where that is known. The one that stands for the source's operator has an empty suffix.
    pub(super) fn emit(&mut self, suffix: &str, op: Op, inputs: &[ValueId], dims: &[usize]) -> Res<ValueId> {
        match shape::count(dims) {
            Some(n) if n > 0 && dims.len() <= shape::MAX_RANK => {}
            _ => return unsupported(format!("a tensor of shape {dims:?}"), "it is empty or too large"),
        }
        let name = if suffix.is_empty() { self.name.to_string() } else { format!("{}/{suffix}", self.name) };
        // One name may serve any number of nodes.
        self.b.budget.pay(2 * name.len() + NODE)?;
        let output = self.b.graph.value(name.clone(), dims);
        let node = Node { name, kind: self.kind.into(), op, inputs: inputs.to_vec(), output };
        if let Err(e) = self.b.graph.verify_node(&node) {
            return bad(e);
        }
        if inputs.iter().any(|&v| self.b.graph.data(v).is_none()) {
            self.b.graph.nodes.push(node);
            return Ok(output);
        }
        let count = |v: ValueId| self.b.graph.shape(v).iter().product::<usize>();
        self.b.budget.pay(inputs.iter().chain([&output]).map(|&v| count(v)).sum())?;
        let sums = products(&node.op, count(inputs[0]), inputs.get(1).map(|&w| self.b.graph.shape(w)), dims);
        let Some(sums) = sums.filter(|&n| n <= self.b.budget.0) else {
            return unsupported("its input is a constant, and much is to be computed", "fold constants before exporting the model");
        };
        // The first step of a recurrent network multiplies its zeros; in a hostile file it may be a lot of work.
        self.b.spend(interp::work(&self.b.graph, &node))?;
        self.b.budget.pay(sums)?;
        // Elements of 8 bytes.
        self.b.budget.pay(interp::room(&self.b.graph, &node).div_ceil(2))?;
        let data = interp::evaluate_constant(&self.b.graph, &node).into_iter().map(|v| v as f32).collect();
        self.b.graph.values[output.0].data = Some(Arc::new(data));
        Ok(output)
    }

    /// An activation on its own, if there is one.
    pub(super) fn act(&mut self, suffix: &str, v: ValueId, act: Act) -> Res<ValueId> {
        let dims = self.shape(v);
        if act == Act::None { Ok(v) } else { self.emit(suffix, Op::Act(act), &[v], &dims) }
    }

    /// A constant that the source does not have.
    pub(super) fn number(&mut self, value: f32) -> ValueId {
        let name = format!("{}/{value}", self.name);
        self.b.graph.constant(name, &[], Arc::new(vec![value]))
    }

    /// Whether something that matters reads output `i`.
    pub(super) fn is_used(&self, i: usize) -> bool {
        self.outputs.get(i).is_some_and(|&t| self.b.is_used(t))
    }
}

/// How many products, or elements of windows, an operator sums for its result; none if they are beyond counting.
fn products(op: &Op, input: usize, weights: Option<&[usize]>, dims: &[usize]) -> Option<usize> {
    let out: usize = dims.iter().product();
    let weights = weights.unwrap_or(&[]);
    let all = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match op {
        // Weights by row, column, channel of the input and of the output, or the other way round.
        Op::Conv { .. } => all(weights.get(..3)?)?.checked_mul(out),
        Op::ConvTranspose { .. } => all(weights.get(..3)?)?.checked_mul(input),
        Op::Dense { .. } => weights.first()?.checked_mul(out),
        Op::Matmul => weights[..weights.len().checked_sub(1)?].last()?.checked_mul(out),
        Op::Pool { window, .. } => all(&window.kernel)?.checked_mul(out),
        _ => Some(0),
    }
}
