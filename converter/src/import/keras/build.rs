//! From the description to the graph.

use super::config::{Arg, Body, Call, LayerDef, Model, TensorRef};
use super::h5::File;
use super::layers::{Constants, Emit, Integers, Kind, Made, Operand, Operands, flag, weight};
use crate::error::{Error, Result, Unsupported, invalid, request};
use crate::import::{NODE, Options, shape};
use crate::ir::Graph;
use crate::names::{short, short_text};
use crate::plans::Wanted;
use serde_json::Value;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

/// Networks with more calls than this are refused: a small file can nest models so that their calls multiply.
const MAX_CALLS: usize = 200_000;
/// Elements that constants of the configuration (not of the weights), nodes and operands may have in all.
const MAX_CONSTANTS: usize = 1 << 22;

/// What the caller wants, and by which names.
pub(super) struct Demanded {
    refs: Vec<TensorRef>,
    names: Vec<String>,
}

/// The source's outputs, or the layers that the user named instead.
///
/// # Errors
/// [`crate::Error::Request`] if a name is not that of a layer.
pub(super) fn demanded(model: &Model, outputs: &[String]) -> Result<Demanded> {
    if outputs.is_empty() {
        // The results of one layer are told apart by a number.
        let mut seen: HashMap<usize, usize> = HashMap::new();
        let mut names = Vec::with_capacity(model.outputs.len());
        for t in &model.outputs {
            let name = &model.layers[t.layer].name;
            let count = seen.entry(t.layer).or_insert(0);
            names.push(if *count == 0 { name.clone() } else { format!("{name}:{count}") });
            *count += 1;
        }
        return Ok(Demanded { refs: model.outputs.clone(), names });
    }
    let mut refs = Vec::new();
    for name in outputs {
        let found = model.layers.iter().position(|l| l.name == *name);
        let layer = found.ok_or_else(|| {
            let known: Vec<&str> = model.layers.iter().rev().take(8).map(|l| l.name.as_str()).collect();
            request(format!("there is no layer `{name}` to give out; the last layers are {}", known.join(", ")))
        })?;
        let call = model.layers[layer].calls.len().saturating_sub(1);
        refs.push(TensorRef { layer, call, tensor: 0 });
    }
    Ok(Demanded { refs, names: outputs.to_vec() })
}

/// The calls that some results depend on, in an order in which every call comes after what it reads and otherwise in
/// Keras's order.
///
/// # Errors
/// [`crate::Error::Invalid`] if calls depend on themselves or do not exist.
fn schedule(model: &Model, wanted: &[TensorRef]) -> Result<Vec<(usize, usize)>> {
    let mut waits: HashMap<(usize, usize), usize> = HashMap::new();
    let mut readers: HashMap<(usize, usize), Vec<(usize, usize)>> = HashMap::new();
    let mut ready = BinaryHeap::new();
    let mut stack: Vec<(usize, usize)> = wanted.iter().map(|t| (t.layer, t.call)).collect();
    while let Some(at) = stack.pop() {
        if waits.contains_key(&at) {
            continue;
        }
        let layer = &model.layers[at.0];
        let call = layer.calls.get(at.1).ok_or_else(|| invalid(format!("layer `{}` has no call {}", layer.name, at.1)))?;
        let before: HashSet<(usize, usize)> = call.tensors().map(|t| (t.layer, t.call)).collect();
        waits.insert(at, before.len());
        if before.is_empty() {
            ready.push(Reverse(at));
        }
        for b in before {
            readers.entry(b).or_default().push(at);
            stack.push(b);
        }
    }
    let mut order = Vec::with_capacity(waits.len());
    while let Some(Reverse(at)) = ready.pop() {
        order.push(at);
        for r in readers.get(&at).into_iter().flatten() {
            if let Some(n) = waits.get_mut(r) {
                *n -= 1;
                if *n == 0 {
                    ready.push(Reverse(*r));
                }
            }
        }
    }
    if order.len() != waits.len() {
        return Err(invalid(format!("the layers of model `{}` depend on each other in a circle", model.name)));
    }
    Ok(order)
}

/// Everything unsupported in what is demanded.
pub(super) fn faults(model: &Model, demanded: &Demanded) -> Vec<Unsupported> {
    let mut all = Vec::new();
    gather(model, &demanded.refs, &mut all);
    all
}

fn gather(model: &Model, wanted: &[TensorRef], into: &mut Vec<Unsupported>) {
    // What is inconsistent is reported when the graph is built.
    let order = schedule(model, wanted).unwrap_or_default();
    let mut seen = HashSet::new();
    for (l, _) in order {
        let layer = &model.layers[l];
        if !seen.insert(l) {
            continue;
        }
        into.extend(layer.faults.iter().cloned());
        if let Body::Model(inner) = &layer.body {
            gather(inner, &inner.outputs, into);
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.into() } else { format!("{prefix}/{name}") }
}

/// Builds the graph of what is demanded. With `faults` there is none, but what only a call can tell is added to them.
///
/// # Errors
/// As [`crate::import::import`].
pub(super) fn build(
    model: &Model,
    demanded: &Demanded,
    file: &File,
    options: &Options,
    mut faults: Vec<Unsupported>,
) -> Result<Graph> {
    let graph = attempt(model, demanded, file, options, &mut faults);
    if faults.is_empty() { graph } else { Err(Error::Unsupported(faults)) }
}

fn attempt(model: &Model, demanded: &Demanded, file: &File, options: &Options, faults: &mut Vec<Unsupported>) -> Result<Graph> {
    let mut graph = Graph { name: model.name.clone(), ..Graph::default() };
    let order = schedule(model, &demanded.refs)?;
    let shapes = input_shapes(model, options)?;
    let needed: HashSet<(usize, usize)> = order.iter().copied().collect();
    let (mut given, mut bound) = (Vec::new(), Vec::new());
    let mut integers: Vec<&str> = Vec::new();
    for t in &model.inputs {
        let layer = &model.layers[t.layer];
        // What is cut off needs no inputs; otherwise the interface stays, with what is not read.
        if !options.outputs.is_empty() && !needed.contains(&(t.layer, t.call)) {
            continue;
        }
        let shape = input_shape(layer, shapes.get(&layer.name).copied(), options.open)?;
        let integer = layer.integer.as_deref().map(|kind| {
            let number = integers.iter().position(|k| *k == kind).unwrap_or(integers.len());
            if number == integers.len() {
                integers.push(kind);
            }
            Kind::Of(number)
        });
        let value = graph.open_input(layer.name.clone(), &shape, &open_axes(layer, shape.len()));
        given.push(Made { value, integer });
        bound.push(*t);
    }
    let mut walk = Walk {
        file,
        graph: &mut graph,
        faults,
        integers,
        shared: HashMap::new(),
        calls: 0,
        budget: MAX_CONSTANTS,
        trainable: 0,
        total: 0,
    };
    let outputs = walk.model(model, &order, &bound, &given, &demanded.refs, "", "")?;
    let (trainable, total) = (walk.trainable, walk.total);
    for (output, name) in outputs.into_iter().zip(&demanded.names) {
        match output {
            Operand::Tensor(made) => graph.outputs.push(made.value),
            Operand::Value(_) => return Err(constant_output(name)),
        }
    }
    graph.output_names = demanded.names.clone();
    graph.trainable_parameters = trainable;
    graph.total_parameters = total;
    Ok(graph)
}

/// The shapes that the user gives, by input.
fn input_shapes<'a>(model: &'a Model, options: &'a Options) -> Result<HashMap<String, &'a [usize]>> {
    let names: Vec<&str> = model.inputs.iter().map(|t| model.layers[t.layer].name.as_str()).collect();
    let mut shapes = HashMap::new();
    for (name, shape) in &options.input_shapes {
        let name = match (name.as_str(), names.as_slice()) {
            ("", [only]) => only,
            ("", _) => return Err(request(format!("the network has the inputs {}: say which a shape is for", names.join(", ")))),
            (name, _) => name,
        };
        if !names.contains(&name) {
            return Err(request(format!("there is no input `{name}`; the inputs are {}", names.join(", "))));
        }
        shapes.insert(name.to_string(), shape.as_slice());
    }
    Ok(shapes)
}

fn input_shape(layer: &LayerDef, given: Option<&[usize]>, open: Wanted) -> Result<Vec<usize>> {
    let name = &layer.name;
    let Body::Input(declared) = &layer.body else { return Err(invalid(format!("input `{name}` is not an InputLayer"))) };
    if let Some(given) = given {
        if declared.as_ref().is_some_and(|d| d.len() != given.len()) || given.contains(&0) || given.is_empty() {
            return Err(request(format!("input `{name}` cannot have the shape {given:?}: the source declares {}", show(declared))));
        }
        return Ok(given.to_vec());
    }
    let axes = declared.iter().flatten().enumerate();
    let extents: Vec<_> = axes.map(|(axis, d)| d.ok_or_else(|| format!("axis {axis}"))).collect();
    match shape::close(&extents, open) {
        Ok(shape) if !shape.is_empty() && !shape.contains(&0) => Ok(shape),
        _ => Err(invalid(format!(
            "input `{name}` has open extents, {}: give its shape, as in `--input-shape {name}=1,224,224,3`",
            show(declared)
        ))),
    }
}

/// Axes whose extents the source leaves open.
fn open_axes(layer: &LayerDef, rank: usize) -> Vec<usize> {
    let declared = if let Body::Input(Some(declared)) = &layer.body { &declared[..] } else { &[] };
    (0..rank).filter(|&axis| declared.get(axis).is_none_or(Option::is_none)).collect()
}

fn show(shape: &Option<Vec<Option<usize>>>) -> String {
    let one = |d: &Option<usize>| d.map_or("?".to_string(), |d| d.to_string());
    match shape {
        None => "no shape".into(),
        Some(s) => format!("({})", s.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

/// An output that is the same whatever the network is given.
fn constant_output(name: &str) -> Error {
    let (what, remedy) = ("gives numbers that follow from shapes alone", "give out something else with `--outputs`");
    Error::Unsupported(vec![Unsupported { node: name.into(), kind: "output".into(), what: what.into(), remedy: remedy.into() }])
}

/// The results of calls: tensors, or numbers that follow from shapes alone.
type Results = HashMap<(usize, usize), Vec<Operand>>;

/// The state of building a graph.
struct Walk<'a> {
    file: &'a File,
    graph: &'a mut Graph,
    /// Everything that is not supported.
    faults: &'a mut Vec<Unsupported>,
    /// The types of inputs of integers.
    integers: Vec<&'a str>,
    /// Constants by the layer they belong to: further calls use the same ones.
    shared: HashMap<*const LayerDef, Constants>,
    calls: usize,
    /// Elements that constants of the configuration, nodes and operands may still have.
    budget: usize,
    trainable: u64,
    total: u64,
}

impl Walk<'_> {
    /// Appends the nodes of one call of a model. `path` names the nodes, `weights` the constants; they differ when a nested
    /// model is called more than once.
    fn model(
        &mut self,
        model: &Model,
        order: &[(usize, usize)],
        inputs: &[TensorRef],
        given: &[Made],
        outputs: &[TensorRef],
        path: &str,
        weights: &str,
    ) -> Result<Vec<Operand>> {
        let mut results = Results::new();
        for (t, made) in inputs.iter().zip(given) {
            let input = &model.layers[t.layer];
            let mut made = *made;
            // That of a nested network makes of what it is given what it is itself.
            if !path.is_empty() {
                match &input.integer {
                    None => made = made.float(),
                    Some(kind) => {
                        let given = match made.integer {
                            None => "floats",
                            Some(Kind::Of(number)) => self.integers.get(number).copied().unwrap_or("others"),
                            Some(Kind::Several) => "several types",
                        };
                        if given != kind {
                            let remedy = format!("make the input `{}` one of floats", input.name);
                            self.refuse(path, input, format!("takes {kind}, and is given {given}, which would be cast"), remedy)?;
                        }
                    }
                }
                let axes = self.graph.shape(made.value).len();
                if let Body::Input(Some(declared)) = &input.body
                    && declared.len() != axes
                {
                    let what =
                        format!("takes {} axes, and is given {axes}, of which one would be added or left out", declared.len());
                    self.refuse(path, input, what, "reshape it before".into())?;
                }
            }
            results.insert((t.layer, t.call), vec![Operand::Tensor(made)]);
        }
        for &(l, c) in order {
            let layer = &model.layers[l];
            self.calls += 1;
            if self.calls > MAX_CALLS {
                return Err(invalid("the network has too many calls"));
            }
            let name = if c == 0 { layer.name.clone() } else { format!("{}@{c}", layer.name) };
            let (path, weights) = (join(path, &name), join(weights, &layer.name));
            // Even of what is given, whose operands have been looked at for the order.
            self.pay(&layer.calls[c], layer, &path)?;
            if results.contains_key(&(l, c)) {
                continue;
            }
            let operands = operands(&layer.calls[c], &results, &layer.name, !self.faults.is_empty())?;
            self.pay_known(&layer.calls[c], &operands, &path)?;
            // Keras 3 does as the call says only where its caller does not say otherwise.
            if operands.named.iter().any(|(n, o)| n == "training" && matches!(o, Operand::Value(v) if flag(v) == Some(true))) {
                self.graph.leave_trained(&path);
            }
            let made = match &layer.body {
                Body::Input(_) => return Err(invalid(format!("input `{path}` is not among the inputs of model `{}`", model.name))),
                Body::Layer(_) => self.layer(layer, path, &weights, &operands)?,
                Body::Model(inner) => {
                    let given = operands.keyed(&inner.keys).map_or_else(|| operands.made(), Ok).map_err(|other| {
                        invalid(format!("model `{path}` is called with {other}; call it with its inputs and nothing else"))
                    })?;
                    if given.len() != inner.inputs.len() {
                        let (want, got) = (inner.inputs.len(), given.len());
                        return Err(invalid(format!("model `{path}` takes {want} inputs, is called with {got}")));
                    }
                    let order = schedule(inner, &inner.outputs)?;
                    self.model(inner, &order, &inner.inputs, &given, &inner.outputs, &path, &weights)?
                }
            };
            results.insert((l, c), made);
        }
        let faulty = !self.faults.is_empty();
        outputs.iter().map(|t| result(&results, *t, &model.layers[t.layer].name, faulty)).collect()
    }

    /// Takes what a call copies out of the budget: a network within a network is described once and may be called often.
    fn pay(&mut self, call: &Call, layer: &LayerDef, path: &str) -> Result<()> {
        let results = if let Body::Model(inner) = &layer.body { inner.outputs.len() } else { 1 };
        let weight = |arg: &Arg| match arg {
            Arg::Tensor(_) => 0,
            Arg::Value(v) => weight(v),
            Arg::Nest(nest, _) => nest.weight(),
        };
        let described = call.args.iter().chain(call.named.iter().map(|(_, a)| a)).map(weight).sum::<usize>() + layer.weight;
        let names: usize = call.named.iter().map(|(name, _)| 1 + name.len() / 8).sum();
        let elements = 1 + call.args.len() + names + results + (path.len() + described) / 8;
        let too_many = || invalid(format!("the network has too many calls and operands, the last are those of `{path}`"));
        self.budget = self.budget.checked_sub(elements).ok_or_else(too_many)?;
        Ok(())
    }

    /// Takes what numbers that are known cost whoever reads them out of the budget, as if they were written where they are read.
    fn pay_known(&mut self, call: &Call, operands: &Operands, path: &str) -> Result<()> {
        let args = call
            .args
            .iter()
            .zip(&operands.args)
            .chain(call.named.iter().map(|(_, a)| a).zip(operands.named.iter().map(|(_, o)| o)));
        for (arg, operand) in args {
            if let (Arg::Tensor(_), Operand::Value(v)) = (arg, operand) {
                let paid = self.budget.checked_sub(weight(v));
                let too_much = || invalid(format!("too much is computed from shapes, the last of it for `{path}`"));
                self.budget = paid.ok_or_else(too_much)?;
            }
        }
        Ok(())
    }

    /// Refuses what an input of a nested network is given. A network may be called often, with a long path.
    fn refuse(&mut self, path: &str, input: &LayerDef, what: String, remedy: String) -> Result<()> {
        let (node, kind) = (short(&join(path, &input.name)), short(&input.class));
        let (what, remedy) = (short_text(&what), short_text(&remedy));
        let paid = self.budget.checked_sub(NODE + (node.len() + kind.len() + what.len() + remedy.len()) / 4);
        self.budget = paid.ok_or_else(|| invalid("the network asks for too much that is not supported"))?;
        self.faults.push(Unsupported { node, kind, what, remedy });
        Ok(())
    }

    /// Takes so many errors out of the budget, each of which costs as much as the node that it stands for: its name and a message.
    fn fail(&mut self, errors: usize) -> Result<()> {
        self.budget = self.budget.checked_sub(NODE * errors).ok_or_else(|| invalid("the network asks for too much"))?;
        Ok(())
    }

    fn layer(&mut self, layer: &LayerDef, path: String, weights: &str, operands: &Operands) -> Result<Vec<Operand>> {
        let Body::Layer(body) = &layer.body else { return Err(invalid(format!("`{path}` is not a layer"))) };
        // Past a fault, a value of any shape stands for the result, or [`COMPUTED`] for numbers, so that the calls after it are looked at,
        // too.
        let computed = || Operand::Value(Value::from(COMPUTED).into());
        let stand_in =
            operands.any().map(|made| Operand::Tensor(made.float())).or_else(|| operands.values().next().map(|_| computed()));
        let lost = !self.faults.is_empty() && operands.values().any(|v| v == COMPUTED);
        if let Some(v) = stand_in.clone().filter(|_| lost || !layer.faults.is_empty()) {
            return Ok(vec![v]);
        }
        let constants = self.shared.entry(std::ptr::from_ref(layer)).or_insert_with(|| {
            for var in body.vars() {
                let len = layer.located.iter().find(|(n, _)| *n == var.name).map_or(0, |(_, d)| d.len as u64);
                self.total += len;
                self.trainable += if var.trainable && layer.trainable { len } else { 0 };
            }
            Constants::new()
        });
        let kind = layer.class.as_str();
        let (graph, budget) = (&mut *self.graph, &mut self.budget);
        let mut emit = Emit { graph, path, layer: weights, kind, located: &layer.located, file: self.file, constants, budget };
        let integers = if operands.any_integer() { body.integers(operands) } else { Integers::Floats };
        // With a float among them, all become floats.
        let integer = operands.integers().filter(|_| integers == Integers::Kept);
        let tensor = |value| Operand::Tensor(Made { value, integer });
        let made = match body.known(&mut emit, operands) {
            Ok(Some(known)) => Ok(known.into_iter().map(|v| Operand::Value(v.into())).collect()),
            Ok(None) if integers == Integers::Computed => {
                Err(emit.unsupported("computes with integers", "cast the input to float32 first"))
            }
            Ok(None) => body.results(&mut emit, operands).map(|all| all.into_iter().map(tensor).collect()),
            Err(error) => Err(error),
        };
        match (made, stand_in) {
            (Err(Error::Unsupported(more)), Some(v)) => {
                self.fail(more.len())?;
                self.faults.extend(more);
                Ok(vec![v])
            }
            (Err(Error::Invalid(_)), Some(v)) if !self.faults.is_empty() => {
                self.fail(1)?;
                Ok(vec![v])
            }
            (made, _) => made,
        }
    }
}

/// A result of a call. In a `faulty` network, what stands for one of a call that is not supported stands for all of them.
fn result(results: &Results, t: TensorRef, name: &str, faulty: bool) -> Result<Operand> {
    let all = results.get(&(t.layer, t.call)).map_or(&[][..], Vec::as_slice);
    let found = all.get(t.tensor).or(all.first().filter(|_| faulty)).cloned();
    found.ok_or_else(|| invalid(format!("layer `{name}` has no result {} of call {}", t.tensor, t.call)))
}

/// What stands for a tensor in a list of numbers, and for what would be known without a fault: nothing that is a number.
const COMPUTED: &str = "(computed)";

fn operands(call: &Call, results: &Results, name: &str, faulty: bool) -> Result<Operands> {
    let one = |arg: &Arg| match arg {
        Arg::Tensor(t) => result(results, *t, name, faulty),
        Arg::Value(v) => Ok(Operand::Value(v.clone())),
        Arg::Nest(nest, tensors) => {
            let all = tensors.iter().map(|t| result(results, *t, name, faulty)).collect::<Result<Vec<_>>>()?;
            // Only a number can stand among numbers.
            let number = |i: usize| match &all[i] {
                Operand::Value(v) if v.is_number() => (**v).clone(),
                _ => COMPUTED.into(),
            };
            Ok(Operand::Value(Arc::new(nest.fill(&number))))
        }
    };
    let args = call.args.iter().map(one).collect::<Result<_>>()?;
    let named = call.named.iter().map(|(n, a)| Ok((n.clone(), one(a)?))).collect::<Result<_>>()?;
    Ok(Operands { args, named })
}
