//! Walks the operators, keeps what is known of every tensor, and collects everything that is not supported.

use super::op::Ctx;
use super::schema::{Budget, Model, Operator, Signature, Tensor};
use super::tensor::{BOOL, Data, FLOAT32, decode, is_float, is_quantised, is_whole, type_name};
use super::{builtin, ops, shape};
use crate::error::{Error, Result, Unsupported, invalid, request};
use crate::import::fail::{Fail, Res, bad, unsupported};
use crate::import::{ELEMENTS_PER_BYTE, MOST_WORK, Options};
use crate::interp::ELEMENT;
use crate::ir::{Graph, Op, ValueId};
use crate::names::{short, short_text};
use crate::plans::Wanted;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is known of a tensor that is not simply stored.
#[derive(Clone, Copy, Debug)]
enum Slot {
    /// A value of the graph.
    Value(ValueId),
    /// Behind something that is not supported.
    Unknown,
}

/// Everything that outlives an operator.
pub(super) struct Builder<'a> {
    pub graph: Graph,
    pub model: &'a Model<'a>,
    pub budget: Budget,
    /// Work that constants may still take, see [`interp::work`], so that nobody waits long for a file.
    work: u64,
    slots: Vec<Option<Slot>>,
    /// Constants already in the graph in another form: whose, and what was done to it.
    pub forms: HashMap<(ValueId, String), ValueId>,
    /// Tensors that something live reads.
    used: Vec<bool>,
    /// Names of nodes already taken.
    names: HashSet<String>,
    problems: Vec<Unsupported>,
}

/// Longest name of a tensor, which may be that of all operators that were fused; it is repeated in what is said of them.
const MAX_NAME: usize = 1 << 14;

/// Turns the network of a file of `len` bytes into the IR.
pub(super) fn build(model: &Model<'_>, len: usize, options: &Options) -> Result<Graph> {
    if let Some(t) = model.tensors.iter().find(|t| t.name.len() > MAX_NAME) {
        return Err(invalid(format!("a tensor has a name of {} bytes; shorten it to {MAX_NAME}", t.name.len())));
    }
    let wanted = outputs(model, options)?;
    // A tensor may be given out any number of times.
    if wanted.iter().map(|&t| model.tensors[t].name.len()).sum::<usize>() > len.saturating_add(1 << 16) {
        return Err(invalid("the names of the outputs are longer than the file"));
    }
    let (live, used) = live(model, &wanted);
    let mut b = Builder {
        graph: Graph { name: model.name.to_string(), ..Graph::default() },
        model,
        budget: Budget(len.saturating_mul(ELEMENTS_PER_BYTE).saturating_add(1 << 20)),
        work: MOST_WORK,
        slots: vec![None; model.tensors.len()],
        forms: HashMap::new(),
        used,
        names: HashSet::new(),
        problems: vec![],
    };
    quantised(&mut b, &live);
    inputs(&mut b, &live, options)?;
    for i in live {
        operator(&mut b, i)?;
    }
    if !model.signatures.is_empty() && options.signature.is_none() {
        let all = Signature::list(&model.signatures);
        b.graph.notes.push(format!(
            "the model has several networks, for the signatures {all}; this is the first, --signature takes another"
        ));
    }
    let inputs: HashSet<ValueId> = b.graph.inputs.iter().copied().collect();
    for t in wanted {
        output(&mut b, t, &inputs);
    }
    if !b.problems.is_empty() {
        return Err(Error::Unsupported(b.problems));
    }
    let mut names = HashSet::new();
    for (i, name) in b.graph.output_names.iter_mut().enumerate() {
        if name.is_empty() || !names.insert(name.clone()) {
            *name = format!("{name}#{i}");
        }
    }
    b.graph.remove_dead();
    Ok(b.graph)
}

/// Indices of the tensors to give out.
fn outputs(model: &Model<'_>, options: &Options) -> Result<Vec<usize>> {
    if options.outputs.is_empty() {
        let all: Option<Vec<usize>> = model.outputs.iter().map(|&t| index(model, t)).collect();
        return match all {
            Some(all) if !all.is_empty() => Ok(all),
            Some(_) => Err(invalid("the network has no outputs")),
            None => Err(invalid("an output is a tensor that does not exist")),
        };
    }
    let find = |name: &String| {
        let at = model.tensors.iter().position(|t| t.name == name);
        at.ok_or_else(|| request(format!("there is no tensor named {name:?} to give out")))
    };
    options.outputs.iter().map(find).collect()
}

fn index(model: &Model<'_>, t: i32) -> Option<usize> {
    usize::try_from(t).ok().filter(|&t| t < model.tensors.len())
}

/// The operators on which `wanted` depends, in order, and the tensors that they read.
fn live(model: &Model<'_>, wanted: &[usize]) -> (Vec<usize>, Vec<bool>) {
    let mut used = vec![false; model.tensors.len()];
    wanted.iter().for_each(|&t| used[t] = true);
    let mut live = vec![];
    for (i, op) in model.operators.iter().enumerate().rev() {
        if op.outputs.iter().any(|&t| index(model, t).is_some_and(|t| used[t])) {
            live.push(i);
            op.inputs.iter().filter_map(|&t| index(model, t)).for_each(|t| used[t] = true);
        }
    }
    live.reverse();
    (live, used)
}

/// Reports, once, a network whose activations are integers.
fn quantised(b: &mut Builder<'_>, live: &[usize]) {
    let gives = |i: &&usize| {
        let outputs = &b.model.operators[**i].outputs;
        outputs.iter().filter_map(|&t| index(b.model, t)).map(|t| b.model.tensors[t].element).find(|&e| is_quantised(e))
    };
    let all: Vec<i8> = live.iter().filter_map(|i| gives(&i)).collect();
    if let Some(&first) = all.first() {
        let what = format!("the network is quantised: {} of {} operators give {}", all.len(), live.len(), type_name(first));
        let remedy = "convert the float32 network that it was made from; integer activations are not supported yet";
        b.problem("the network", "TFLite", what, remedy);
    }
}

/// Declares the inputs.
fn inputs(b: &mut Builder<'_>, live: &[usize], options: &Options) -> Result<()> {
    let model = b.model;
    // Whole numbers that are made floats at once may as well be given as floats.
    let is_cast = |op: &Operator<'_>| {
        let code = model.codes.get(op.code).and_then(|code| builtin::name(code.builtin));
        code == Some("CAST") && op.outputs.iter().all(|&t| index(model, t).is_some_and(|t| model.tensors[t].element == FLOAT32))
    };
    let others = live.iter().map(|&i| &model.operators[i]).filter(|op| !is_cast(op));
    let read: HashSet<usize> = others.flat_map(|op| &op.inputs).chain(&model.outputs).filter_map(|&t| index(model, t)).collect();
    let all: Option<Vec<usize>> = model.inputs.iter().map(|&t| index(model, t)).collect();
    let Some(all) = all else { return Err(invalid("an input is a tensor that does not exist")) };
    let mut given: HashMap<usize, &[usize]> = HashMap::new();
    for (name, dims) in &options.input_shapes {
        let found = match all[..] {
            [only] if name.is_empty() => Some(only),
            _ => all.iter().copied().find(|&t| model.tensors[t].name == name),
        };
        let Some(t) = found else {
            let names: Vec<&str> = all.iter().map(|&t| model.tensors[t].name).collect();
            return Err(request(format!("a shape is given for input {name:?}, the inputs are {}", names.join(", "))));
        };
        given.insert(t, dims);
    }
    let quantised = !b.problems.is_empty();
    for (i, &t) in all.iter().enumerate() {
        if b.slots[t].is_some() {
            return Err(invalid(format!("tensor {t} is an input twice")));
        }
        let tensor = &model.tensors[t];
        let mut name = tensor.name.to_string();
        if name.is_empty() || b.names.contains(&name) {
            name = format!("{name}#{i}");
        }
        b.names.insert(name.clone());
        // With the outputs cut, an input may be of no interest.
        let cut = !options.outputs.is_empty() && !b.used[t];
        b.slots[t] = Some(if cut {
            Slot::Unknown
        } else if tensor.element != FLOAT32 && (!is_whole(tensor.element) || read.contains(&t)) {
            if !quantised {
                let what = format!("element type {}", type_name(tensor.element));
                b.problem(&name, "input", what, "make a model with float32 inputs and outputs");
            }
            Slot::Unknown
        } else {
            if tensor.element != FLOAT32 {
                b.graph.leave_whole(&name, &type_name(tensor.element));
            }
            match input_shape(tensor, given.get(&t).copied(), options.open) {
                Ok(dims) => Slot::Value(b.graph.open_input(name, &dims, &open_axes(tensor, dims.len()))),
                Err(what) => {
                    b.problem(&name, "input", what, format!("give its shape: --input-shape {name}=1,..."));
                    Slot::Unknown
                }
            }
        });
    }
    Ok(())
}

/// What a tensor says of its shape; open extents are below 1.
fn declared<'t>(tensor: &'t Tensor<'_>) -> &'t [i64] {
    let fits = tensor.signature.len() == tensor.shape.len();
    if fits { &tensor.signature } else { &tensor.shape }
}

/// Axes whose extents the source leaves open.
fn open_axes(tensor: &Tensor<'_>, rank: usize) -> Vec<usize> {
    let declared = declared(tensor);
    (0..rank).filter(|&axis| declared.get(axis).is_none_or(|&d| d <= 0)).collect()
}

/// The shape of an input; a batch that may vary is 1.
fn input_shape(tensor: &Tensor<'_>, given: Option<&[usize]>, open: Wanted) -> std::result::Result<Vec<usize>, String> {
    let declared = declared(tensor);
    let dims = match given {
        Some(dims) if dims.len() != declared.len() && !declared.is_empty() => {
            return Err(format!("it has {} axes, the shape given for it {}", declared.len(), dims.len()));
        }
        Some(dims) => dims.to_vec(),
        None => {
            let one = |(axis, &d): (usize, &i64)| match usize::try_from(d) {
                Ok(d) if d > 0 => Ok(d),
                _ => Err(format!("axis {axis}")),
            };
            shape::close(&declared.iter().enumerate().map(one).collect::<Vec<_>>(), open)?
        }
    };
    match shape::count(&dims) {
        Some(n) if n > 0 && dims.len() <= shape::MAX_RANK => Ok(dims),
        _ => Err(format!("the shape {dims:?} is empty or too large")),
    }
}

/// Reads one operator.
fn operator(b: &mut Builder<'_>, i: usize) -> Result<()> {
    let (model, op) = (b.model, &b.model.operators[i]);
    let Some(code) = model.codes.get(op.code) else { return Err(invalid(format!("operator {i} has no code"))) };
    let kind = match builtin::name(code.builtin) {
        Some(_) if code.builtin == builtin::CUSTOM => code.custom,
        Some(name) => name,
        None => "an operator that we do not know",
    };
    let mut outputs = vec![];
    for &t in &op.outputs {
        match index(model, t) {
            Some(t) if b.slots[t].is_none() => outputs.push(t),
            _ => return Err(invalid(format!("operator {i} ({kind}) writes tensor {t}, which is not its own"))),
        }
    }
    let mut name = outputs.first().map(|&t| model.tensors[t].name).unwrap_or_default().to_string();
    if name.is_empty() || !b.names.insert(name.clone()) {
        name = format!("{name}#{i}");
        b.names.insert(name.clone());
    }
    let failed = match evaluate(b, op, code.builtin, &name, kind, &outputs) {
        Ok(Some(results)) => {
            outputs.iter().zip(results).for_each(|(&t, v)| b.slots[t] = Some(Slot::Value(v)));
            return Ok(());
        }
        Ok(None) => None,
        Err(f) => Some(f),
    };
    match failed {
        None => {}
        Some(Fail::Unsupported { what, remedy }) => {
            let kind = format!("{kind}, builtin {}", code.builtin);
            b.problem(&format!("operator {i}, {name}"), &kind, what, remedy);
        }
        // Behind a guess nothing can be called wrong.
        Some(Fail::Invalid(_)) if !b.problems.is_empty() => {}
        Some(Fail::Exhausted(_)) if !b.problems.is_empty() => return Err(Error::Unsupported(std::mem::take(&mut b.problems))),
        Some(Fail::Exhausted(m)) => return Err(invalid(format!("operator {i}, {name} ({kind}, builtin {}): {m}", code.builtin))),
        Some(Fail::Invalid(m)) => return Err(invalid(format!("operator {i}, {name} ({kind}, builtin {}): {m}", code.builtin))),
        Some(Fail::Error(e)) => return Err(e),
    }
    // Go on as if it had worked, so that what comes after it is checked too; the result is never given out.
    for t in outputs {
        let tensor = &model.tensors[t];
        let known = tensor.element == FLOAT32 && !tensor.signature.contains(&-1);
        let dims = input_shape(tensor, None, Wanted::default()).ok().filter(|_| known);
        b.slots[t] = Some(dims.map_or(Slot::Unknown, |dims| Slot::Value(b.graph.value(tensor.name, &dims))));
    }
    Ok(())
}

/// The results of an operator, one per output; `None` when an input is unknown, or integers are to come out.
fn evaluate<'a>(
    b: &mut Builder<'a>,
    op: &Operator<'a>,
    code: i32,
    name: &str,
    kind: &str,
    outputs: &[usize],
) -> Res<Option<Vec<ValueId>>> {
    let model = b.model;
    let constant = || op.inputs.iter().filter_map(|&t| index(model, t)).all(|t| b.is_constant(t));
    let whole = !outputs.is_empty() && outputs.iter().all(|&t| !is_float(model.tensors[t].element));
    let of_constants = ops::constant::find(code, whole).filter(|_| constant());
    let of_all = || if code == builtin::CUSTOM { ops::custom(kind) } else { ops::find(code) };
    let mut found = of_constants.or_else(of_all);
    if found.is_none() && op.inputs.iter().all(|&t| index(model, t).is_some()) {
        found = ops::constant::of_one(&mut Ctx::new(b, op, name, kind, outputs), code);
    }
    let Some(import) = found else {
        return unsupported("the operator is not supported", ops::remedy(code));
    };
    for &t in op.inputs.iter().filter(|&&t| t != -1) {
        let Some(t) = index(model, t) else { return bad(format!("input tensor {t} does not exist")) };
        match b.slots[t] {
            Some(Slot::Unknown) => return Ok(None),
            Some(Slot::Value(_)) => {}
            None if model.tensors[t].variable => return unsupported("it keeps state", "make the state an input and an output"),
            None if b.stored(t).is_some() => {}
            None => return bad(format!("input tensor {t} ({}) is not computed before", model.tensors[t].name)),
        }
    }
    if outputs.iter().any(|&t| is_quantised(model.tensors[t].element)) {
        return Ok(None);
    }
    if of_constants.is_some() {
        // What the importer computes by itself pays for what it reads; nodes of the IR do on their own.
        let count = |&t: &i32| match b.slots[index(model, t)?] {
            Some(Slot::Value(v)) => shape::count(b.graph.shape(v)),
            _ => None,
        };
        let read = op.inputs.iter().filter_map(count).fold(0, usize::saturating_add);
        b.budget.pay(read)?;
        b.spend((read as u64).saturating_mul(ELEMENT))?;
    }
    let before = b.graph.values.len();
    let results = import(&mut Ctx::new(b, op, name, kind, outputs))?;
    if results.len() != outputs.len() {
        return bad(format!("{} outputs instead of {}", outputs.len(), results.len()));
    }
    for (&v, &t) in results.iter().zip(outputs) {
        let tensor = &model.tensors[t];
        if !is_float(tensor.element) {
            let Some(data) = b.graph.data(v) else {
                // A truth value is 1 or 0, and moves as such; a cast would have to make one.
                if tensor.element == BOOL && kind != "CAST" {
                    continue;
                }
                return unsupported(format!("it gives {}", type_name(tensor.element)), "only floats are computed");
            };
            b.budget.pay(data.len())?;
            // Constant integers are held as floats, which a division or a cast of the source would round, and large ones are.
            let exact = |v: &f32| v.fract() == 0.0 && v.abs() <= (1u32 << f32::MANTISSA_DIGITS) as f32;
            if !data.iter().all(exact) {
                return unsupported("integers that are rounded", "make the model with a fixed shape");
            }
            if tensor.element == BOOL && data.iter().any(|&v| v != 0.0 && v != 1.0) {
                return unsupported("numbers that become booleans", "compare them with 0 instead");
            }
        }
        // A value is called what the source calls it, unless it is another operator's.
        if v.0 >= before && !tensor.name.is_empty() {
            b.graph.values[v.0].name = tensor.name.to_string();
        }
    }
    Ok(Some(results))
}

/// Declares an output.
fn output(b: &mut Builder<'_>, t: usize, inputs: &HashSet<ValueId>) {
    let name = b.model.tensors[t].name;
    let value = match b.slots[t] {
        Some(Slot::Value(v)) => v,
        Some(Slot::Unknown) => return,
        None => match b.value(t) {
            Ok(v) => v,
            Err(_) => {
                b.problem(name, "output", "the output is a constant that cannot be read", "leave it out with --outputs");
                return;
            }
        },
    };
    if !is_float(b.model.tensors[t].element) {
        let what = format!("element type {}", type_name(b.model.tensors[t].element));
        b.problem(name, "output", what, "make a model with float32 outputs, or leave it out with --outputs");
        return;
    }
    let value = if inputs.contains(&value) {
        // An output is always something that a node writes.
        let shape = b.graph.shape(value).to_vec();
        b.graph.node(format!("{name}/copy"), "IDENTITY", Op::Reshape, &[value], &shape)
    } else {
        value
    };
    b.graph.outputs.push(value);
    b.graph.output_names.push(name.to_string());
}

impl Builder<'_> {
    /// Pays for work on constants, or refuses.
    pub(super) fn spend(&mut self, work: u64) -> Res<()> {
        match self.work.checked_sub(work) {
            Some(left) => self.work = left,
            None => {
                return unsupported(
                    "its input is a constant, and much is to be computed",
                    "fold constants before exporting the model",
                );
            }
        }
        Ok(())
    }

    fn problem(&mut self, node: &str, kind: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Unsupported {
            node: short(node),
            kind: short(kind),
            what: short_text(&what.into()),
            remedy: short_text(&remedy.into()),
        });
    }

    /// The bytes of a stored tensor. One without elements needs none.
    fn stored(&self, t: usize) -> Option<&[u8]> {
        let tensor = &self.model.tensors[t];
        let bytes = self.model.buffers.get(tensor.buffer).copied().unwrap_or_default();
        // Of no more axes than a tensor may have: a shape may be long, and many operators read it.
        (!bytes.is_empty() || tensor.shape.iter().take(shape::MAX_RANK).any(|&d| d == 0)).then_some(bytes)
    }

    /// Whether a tensor is stored, or was computed from such alone.
    fn is_constant(&self, t: usize) -> bool {
        match self.slots[t] {
            Some(Slot::Value(v)) => self.graph.data(v).is_some(),
            Some(Slot::Unknown) => false,
            None => self.stored(t).is_some(),
        }
    }

    fn decode(&mut self, t: usize) -> Res<(Vec<usize>, Data)> {
        let tensor = &self.model.tensors[t];
        let bytes = self.model.buffers.get(tensor.buffer).copied().unwrap_or_default();
        decode(tensor, bytes, &mut self.budget).map_err(|f| match f {
            Fail::Invalid(m) => Fail::Invalid(format!("tensor {t} ({}): {m}", short(tensor.name))),
            Fail::Unsupported { what, remedy } => {
                Fail::Unsupported { what: format!("tensor {t} ({}): {what}", short(tensor.name)), remedy }
            }
            e @ (Fail::Exhausted(_) | Fail::Error(_)) => e,
        })
    }

    /// A tensor that the network computes, or a constant as floats.
    pub(super) fn value(&mut self, t: usize) -> Res<ValueId> {
        match self.slots[t] {
            Some(Slot::Value(v)) => return Ok(v),
            Some(Slot::Unknown) => return bad(format!("tensor {t} is unknown")),
            None => {}
        }
        let (dims, data) = self.decode(t)?;
        let data = match data {
            Data::Float(v) => {
                // Single numbers are coefficients of formulas.
                if v.len() > 1 {
                    self.graph.total_parameters += v.len() as u64;
                    self.graph.trainable_parameters += v.len() as u64;
                }
                v
            }
            Data::Int(v) if v.iter().all(|v| v.unsigned_abs() <= 1 << f32::MANTISSA_DIGITS) => {
                v.iter().map(|&v| v as f32).collect()
            }
            Data::Int(_) => return unsupported("integers beyond 2^24", "keep arithmetic of shapes below it"),
        };
        let v = self.graph.constant(self.model.tensors[t].name, &dims, Arc::new(data));
        self.slots[t] = Some(Slot::Value(v));
        Ok(v)
    }

    /// A tensor of constant integers: stored ones exactly, computed ones where they are whole.
    pub(super) fn ints(&mut self, t: usize) -> Res<(Vec<usize>, Vec<i64>)> {
        if let Some(Slot::Value(v)) = self.slots[t] {
            let Some(data) = self.graph.data(v) else {
                return unsupported("integers that are computed at run time", "make the model with a fixed shape");
            };
            self.budget.pay(data.len())?;
            if data.iter().any(|v| v.fract() != 0.0 || v.is_nan()) {
                return bad(format!("tensor {t} ({}) holds fractions", self.model.tensors[t].name));
            }
            let all = data.iter().map(|&v| v as i64).collect();
            return Ok((self.graph.shape(v).to_vec(), all));
        }
        match self.decode(t)? {
            (dims, Data::Int(v)) => Ok((dims, v)),
            _ => bad(format!("tensor {t} ({}) should hold integers", self.model.tensors[t].name)),
        }
    }

    /// Whether something that matters reads a tensor.
    pub(super) fn is_used(&self, t: usize) -> bool {
        self.used[t]
    }
}
