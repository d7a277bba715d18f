//! Walks the nodes, keeps what is known of every name, and collects everything that is not supported.

use super::fail::{Fail, Res, bad, unsupported};
use super::node::{Ctx, Operand};
use super::proto::{Attribute, Dim, Graph as Proto, Node, Tensor, ValueInfo};
use super::tensor::{Const, Data, Files, Type, decode, type_name};
use super::{branch, consts, ops, order, sequence, shape, trivial};
use crate::error::{Error, Result, Unsupported, invalid, request};
use crate::import::{ELEMENTS_PER_BYTE, MOST_WORK, Options};
use crate::interp;
use crate::ir::{Graph, Op, ValueId};
use crate::names::{short, short_text};
use crate::plans::Wanted;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// What is known of a name.
#[derive(Clone)]
pub(super) enum Slot<'a> {
    /// Not decoded yet.
    Initializer(&'a [u8]),
    Const(Const),
    Runtime(ValueId),
    Sequence(Arc<Vec<Operand>>),
    /// Behind something that is not supported.
    Unknown,
}

/// A constant of the source, and what it is in the graph. Its name alone does not tell it: branches, and parts of lists, have names that
/// others have, too.
pub(super) struct Weight {
    /// In the source.
    pub dims: Vec<usize>,
    pub data: Arc<Vec<f32>>,
    /// In the graph.
    pub value: ValueId,
}

/// Everything that outlives a node.
pub(super) struct Builder<'a, 'p> {
    pub graph: Graph,
    pub opset: i64,
    pub slots: HashMap<&'a str, Slot<'a>>,
    files: Files<'p>,
    /// Elements that constants may take, so that a small file cannot ask for a large memory; besides those that external data pays for.
    budget: u64,
    /// Elements that they took.
    spent: u64,
    /// Work that constants may still take, so that nobody waits long for a small file.
    work: u64,
    /// Constants already in the graph: by name in the source and by what was done to them.
    pub weights: HashMap<Arc<str>, HashMap<String, Weight>>,
    /// Names of nodes already taken.
    names: HashSet<String>,
    /// Values that something live reads.
    pub used: HashSet<&'a str>,
    /// Values that are truth values: 1 or 0.
    pub truths: HashSet<ValueId>,
    /// Branches that we are in.
    pub depth: usize,
    problems: Vec<Unsupported>,
    /// What was made up to look at the rest, after inputs without a shape.
    guess: Option<String>,
}

impl Builder<'_, '_> {
    /// Pays for `elements` more of constants, or refuses.
    pub(super) fn charge(&mut self, elements: usize) -> Res<()> {
        // Bytes of external data count like those of the model.
        let limit = self.budget.saturating_add(self.files.read.saturating_mul(ELEMENTS_PER_BYTE as u64));
        let spent = self.spent.saturating_add(elements as u64);
        if spent > limit {
            return Err(Fail::Exhausted("the constants of the model multiply beyond all measure"));
        }
        self.spent = spent;
        Ok(())
    }

    /// Whether two constants are one, or have the same elements.
    pub(super) fn same(&mut self, a: &Arc<Vec<f32>>, b: &Arc<Vec<f32>>) -> Res<bool> {
        if Arc::ptr_eq(a, b) {
            return Ok(true);
        }
        if a.len() != b.len() {
            return Ok(false);
        }
        self.spend(a.len() as u64)?;
        // To the bit: what divides by them tells -0 from 0.
        Ok(a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits())))
    }

    /// Pays for work on constants, or refuses.
    pub(super) fn spend(&mut self, work: u64) -> Res<()> {
        match self.work.checked_sub(work) {
            Some(left) => self.work = left,
            None => return unsupported("constants that take too much work", "fold constants before exporting the model"),
        }
        Ok(())
    }

    /// A name that no other node has.
    pub(super) fn own_name(&mut self, mut name: String, i: usize) -> String {
        if !self.names.insert(name.clone()) {
            name = format!("{name}#{i}");
            self.names.insert(name.clone());
        }
        name
    }

    fn problem(&mut self, node: &str, kind: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let what = match &self.guess {
            Some(guess) => format!("{} ({guess})", what.into()),
            None => what.into(),
        };
        let (what, remedy) = (short_text(&what), short_text(&remedy.into()));
        self.problems.push(Unsupported { node: short(node), kind: short(kind), what, remedy });
    }
}

/// Turns the graph of a model of `len` bytes into the IR.
pub(super) fn build(proto: &Proto<'_>, opset: i64, len: usize, folder: Option<&Path>, options: &Options) -> Result<Graph> {
    let wanted = outputs(proto, options)?;
    let order = order::live_order(proto, &wanted, &|_| false)?;
    let mut used: HashSet<&str> = wanted.iter().copied().collect();
    for &i in &order {
        used.extend(order::reads(&proto.nodes[i], 0)?);
    }
    let mut b = Builder {
        graph: Graph { name: proto.name.to_string(), ..Graph::default() },
        opset,
        slots: HashMap::new(),
        files: Files::new(folder),
        work: MOST_WORK,
        budget: (len as u64).saturating_mul(ELEMENTS_PER_BYTE as u64).saturating_add(1 << 20),
        spent: 0,
        weights: HashMap::new(),
        names: HashSet::new(),
        used,
        truths: HashSet::new(),
        depth: 0,
        problems: vec![],
        guess: None,
    };
    for &(name, bytes) in &proto.initializers {
        if b.slots.insert(name, Slot::Initializer(bytes)).is_some() {
            return Err(invalid(format!("initializer {name:?} is there twice")));
        }
    }
    inputs(&mut b, proto, options)?;
    let known: HashMap<&str, &ValueInfo<'_>> = proto.value_info.iter().chain(&proto.outputs).map(|v| (v.name, v)).collect();
    for i in order {
        let name = b.own_name(order::label(proto, i), i);
        node(&mut b, &proto.nodes[i], &name, &known)?;
    }
    let inputs: HashSet<ValueId> = b.graph.inputs.iter().copied().collect();
    let declared: HashMap<&str, i64> = proto.outputs.iter().rev().map(|o| (o.name, o.elem_type)).collect();
    for name in wanted {
        let declared = declared.get(name).copied().unwrap_or(0);
        output(&mut b, name, &inputs, declared)?;
    }
    if !b.problems.is_empty() {
        return Err(Error::Unsupported(b.problems));
    }
    b.graph.remove_dead();
    Ok(b.graph)
}

/// Names of the values to give out.
fn outputs<'a>(proto: &'a Proto<'_>, options: &Options) -> Result<Vec<&'a str>> {
    if options.outputs.is_empty() {
        if proto.outputs.is_empty() {
            return Err(invalid("the graph has no outputs"));
        }
        return Ok(proto.outputs.iter().map(|o| o.name).collect());
    }
    let mut all: HashMap<&str, &str> = HashMap::new();
    // A node's name, or what it is called without one, will do for its first output, but the names of values come first.
    let labels: Vec<String> = (0..proto.nodes.len()).map(|i| order::label(proto, i)).collect();
    for (n, label) in proto.nodes.iter().zip(&labels) {
        if let Some(o) = n.outputs.first() {
            all.insert(label, o);
        }
    }
    for v in proto.inputs.iter().map(|i| i.name).chain(proto.nodes.iter().flat_map(|n| n.outputs.iter().copied())) {
        all.insert(v, v);
    }
    all.remove("");
    let find = |name: &String| {
        all.get(name.as_str()).copied().ok_or_else(|| request(format!("there is no value or node named {name:?} to give out")))
    };
    options.outputs.iter().map(find).collect()
}

/// Whether an input of this type is one of f32 here: float, float16, bfloat16.
fn is_computed(elem_type: i64) -> bool {
    matches!(elem_type, 1 | 10 | 16)
}

/// What is read but by casts to floats.
fn not_only_cast<'a>(proto: &Proto<'a>) -> Result<HashSet<&'a str>> {
    let mut read: HashSet<&str> = proto.outputs.iter().map(|o| o.name).collect();
    for n in &proto.nodes {
        let to = n.attributes.iter().filter_map(|a| Attribute::parse(a).ok()).find(|a| a.name == "to");
        if n.op_type != "Cast" || !to.is_some_and(|a| is_computed(a.i)) {
            read.extend(order::reads(n, 0)?);
        }
    }
    Ok(read)
}

/// Whether an input of this type holds whole numbers: integers of any width.
fn is_whole(elem_type: i64) -> bool {
    matches!(elem_type, 2..=7 | 12 | 13)
}

/// Declares the inputs, with their symbols resolved.
fn inputs<'a>(b: &mut Builder<'a, '_>, proto: &Proto<'a>, options: &Options) -> Result<()> {
    // Since IR version 4 initializers need not be inputs, before that they had to be.
    let real: Vec<&ValueInfo<'a>> = proto.inputs.iter().filter(|i| !b.slots.contains_key(i.name)).collect();
    let mut given: HashMap<&str, &[usize]> = HashMap::new();
    for (name, dims) in &options.input_shapes {
        let name = match real.as_slice() {
            [only] if name.is_empty() => only.name,
            _ => name.as_str(),
        };
        if !real.iter().any(|i| i.name == name) {
            let names: Vec<&str> = real.iter().map(|i| i.name).collect();
            return Err(request(format!("a shape is given for input {name:?}, the inputs are {}", names.join(", "))));
        }
        given.insert(name, dims);
    }
    // Extents by their names, as they are given.
    let mut named: Vec<(&str, &str, usize)> = vec![];
    for i in &real {
        if let (Some(shape), Some(dims)) = (given.get(i.name), &i.dims) {
            if shape.len() != dims.len() {
                let (want, got) = (dims.len(), shape.len());
                return Err(request(format!("input {:?} has {want} axes, the shape given for it {got}", i.name)));
            }
            let own =
                dims.iter().zip(*shape).filter_map(|(d, &n)| if let Dim::Symbol(s) = *d { Some((i.name, s, n)) } else { None });
            named.extend(own.filter(|(_, s, _)| !s.is_empty()));
        }
    }
    // A picture that need not be as wide as it is high, whatever its author called that.
    let mut apart: HashSet<&str> = HashSet::new();
    let mut within: HashMap<(&str, &str), usize> = HashMap::new();
    for &(input, s, n) in &named {
        if *within.entry((input, s)).or_insert(n) != n && apart.insert(s) {
            let what = format!("the shape given for input '{input}' sets extents apart that the model calls '{s}', all of them");
            b.graph.notes.push(short_text(&what));
        }
    }
    let mut symbols: HashMap<&str, usize> = HashMap::new();
    for &(_, s, n) in named.iter().filter(|(_, s, _)| !apart.contains(s)) {
        if let Some(other) = symbols.insert(s, n).filter(|&other| other != n) {
            let shapes = real.iter().filter_map(|i| Some(format!("{} {:?}", i.name, given.get(i.name)?)));
            let shapes = shapes.collect::<Vec<_>>().join(", ");
            return Err(request(format!("the shapes {shapes} make {s:?} both {other} and {n}, which is one extent in the model")));
        }
    }
    // What stands first is a batch, also where its symbol stands elsewhere: h [1, n, 4] beside x [n, 4].
    let mut closed = symbols.clone();
    for i in real.iter().filter(|i| !given.contains_key(i.name)) {
        // What is as long in two directions is no batch.
        if let Some((&Dim::Symbol(s), rest)) = i.dims.as_deref().and_then(<[_]>::split_first)
            && !s.is_empty()
            && !apart.contains(s)
            && !rest.iter().any(|d| matches!(d, Dim::Symbol(other) if *other == s))
        {
            closed.entry(s).or_insert(options.open.batch.unwrap_or(1));
        }
    }
    let whole = real.iter().any(|i| is_whole(i.elem_type));
    let counted = if whole { not_only_cast(proto)? } else { HashSet::new() };
    for i in real {
        if b.slots.contains_key(i.name) {
            return Err(invalid(format!("input {:?} is there twice", i.name)));
        }
        let cut = !options.outputs.is_empty();
        let whole = is_whole(i.elem_type) && b.used.contains(i.name) && !counted.contains(i.name);
        let computed = whole || is_computed(i.elem_type);
        let shape = input_shape(i, given.get(i.name).copied(), &closed, options.open);
        let slot = if !b.used.contains(i.name) && (cut || !computed || shape.is_err()) {
            Slot::Unknown
        } else {
            match shape {
                Ok(_) if !computed => {
                    let what = format!("element type {}", type_name(i.elem_type));
                    b.problem(i.name, "input", what, "export the model with float32 inputs and outputs");
                    Slot::Unknown
                }
                Ok(shape) => {
                    if whole {
                        b.graph.leave_whole(i.name, &type_name(i.elem_type));
                    } else if i.elem_type != 1 {
                        b.graph.leave_unrounded(i.name);
                    }
                    let open = open_axes(i, given.contains_key(i.name), &symbols, shape.len());
                    Slot::Runtime(b.graph.open_input(i.name, &shape, &open))
                }
                Err(what) => {
                    let before = b.guess.take();
                    b.problem(i.name, "input", what, format!("give its shape: --input-shape {}=1,...", i.name));
                    let guessed = guess(i).filter(|_| !given.contains_key(i.name));
                    b.guess = guessed.as_ref().map(|shape| format!("with {:?} as {}", short(i.name), show(shape))).or(before);
                    guessed.map_or(Slot::Unknown, |shape| Slot::Runtime(b.graph.input(i.name, &shape)))
                }
            }
        };
        b.slots.insert(i.name, slot);
    }
    Ok(())
}

/// A shape for an input whose own is open, so that what reads it can be looked at: that of a picture where there are four axes.
fn guess(i: &ValueInfo<'_>) -> Option<Vec<usize>> {
    let dims = i.dims.as_ref()?;
    let known = |d: &Dim<'_>| if let Dim::Known(n) = d { usize::try_from(*n).ok().filter(|&n| n > 0) } else { None };
    let last = dims.last().and_then(known).is_some();
    let made_up = |axis: usize| match (axis, dims.len()) {
        (0, _) => 1,
        (1, 4) if !last => 3,
        (_, 4) => 224,
        _ => 64,
    };
    let shape: Vec<usize> = dims.iter().enumerate().map(|(axis, d)| known(d).unwrap_or(made_up(axis))).collect();
    shape::count(&shape).filter(|_| shape.len() <= shape::MAX_RANK).map(|_| shape)
}

fn show(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

/// Axes whose extents the source leaves open. Where no shape is given, those of another input may tell them.
fn open_axes(i: &ValueInfo<'_>, given: bool, symbols: &HashMap<&str, usize>, rank: usize) -> Vec<usize> {
    let Some(dims) = &i.dims else { return (0..rank).collect() };
    let open = |d: &Dim<'_>| match d {
        Dim::Known(n) => *n <= 0,
        Dim::Symbol(s) => given || !symbols.contains_key(s),
    };
    dims.iter().enumerate().filter_map(|(axis, d)| open(d).then_some(axis)).collect()
}

/// The shape of an input; an unknown batch is 1.
fn input_shape(
    i: &ValueInfo<'_>,
    given: Option<&[usize]>,
    symbols: &HashMap<&str, usize>,
    open: Wanted,
) -> std::result::Result<Vec<usize>, String> {
    let shape = match (given, &i.dims) {
        (Some(shape), _) => shape.to_vec(),
        (None, None) => return Err("the shape is unknown".into()),
        (None, Some(dims)) => {
            let declared = dims.iter().enumerate().map(|(axis, d)| match *d {
                Dim::Known(n) if n > 0 => usize::try_from(n).map_err(|_| format!("axis {axis}")),
                Dim::Symbol(s) if symbols.contains_key(s) => Ok(symbols[s]),
                Dim::Symbol(s) if !s.is_empty() => Err(format!("axis {axis} ({s:?})")),
                _ => Err(format!("axis {axis}")),
            });
            shape::close(&declared.collect::<Vec<_>>(), open)?
        }
    };
    match shape::count(&shape) {
        Some(n) if n > 0 && shape.len() <= shape::MAX_RANK => Ok(shape),
        _ => Err(format!("the shape {shape:?} is empty or too large")),
    }
}

/// Reads one node.
pub(super) fn node<'a>(b: &mut Builder<'a, '_>, n: &Node<'a>, name: &str, known: &HashMap<&str, &ValueInfo<'_>>) -> Result<()> {
    let kind = if ops::is_onnx_domain(n.domain) { n.op_type.to_string() } else { format!("{}.{}", n.domain, n.op_type) };
    match evaluate(b, n, name) {
        Ok(Some(results)) => {
            for (&out, r) in n.outputs.iter().zip(results).filter(|(o, _)| !o.is_empty()) {
                let slot = match r {
                    Operand::Const { value, .. } => Slot::Const(value),
                    Operand::Runtime(v) => Slot::Runtime(v),
                    Operand::Sequence(s) => Slot::Sequence(s),
                    Operand::None => Slot::Unknown,
                };
                b.slots.insert(out, slot);
            }
            return Ok(());
        }
        Ok(None) => {}
        Err(Fail::Unsupported { what, remedy }) => b.problem(name, &kind, what, remedy),
        // Behind a guess nothing can be called wrong.
        Err(Fail::Invalid(_)) if !b.problems.is_empty() => {}
        Err(Fail::Exhausted(_)) if !b.problems.is_empty() => return Err(Error::Unsupported(std::mem::take(&mut b.problems))),
        Err(Fail::Exhausted(m)) => return Err(invalid(format!("{name} ({kind}): {m}"))),
        Err(Fail::Invalid(m)) => return Err(invalid(format!("{name} ({kind}): {m}"))),
        Err(Fail::Error(e)) => return Err(e),
    }
    // Go on as if it had worked, so that what comes after it is checked too; the result is never given out.
    let like = n.inputs.first().and_then(|i| b.slots.get(i));
    let like = match like {
        Some(&Slot::Runtime(v)) => Some(b.graph.shape(v).to_vec()),
        _ => None,
    };
    for (i, &out) in n.outputs.iter().enumerate() {
        let declared =
            known.get(out).filter(|v| v.elem_type == 1).and_then(|v| input_shape(v, None, &HashMap::new(), Wanted::default()).ok());
        let slot = match declared.or_else(|| like.clone().filter(|_| i == 0)) {
            Some(shape) => Slot::Runtime(b.graph.value(out, &shape)),
            None => Slot::Unknown,
        };
        b.slots.insert(out, slot);
    }
    Ok(())
}

/// The results of a node, one per output as far as it goes; `None` when an input is unknown.
fn evaluate<'a>(b: &mut Builder<'a, '_>, n: &Node<'a>, name: &str) -> Res<Option<Vec<Operand>>> {
    // Names of branches within branches add up, and are repeated in what is said of the nodes.
    if b.charge(name.len()).is_err() {
        return Err(Fail::Error(invalid("the names of the model's nodes multiply beyond all measure")));
    }
    if !ops::is_known(n) {
        return unsupported("the operator is not supported", ops::remedy(n.op_type));
    }
    if n.op_type == "If" {
        return branch::inline(b, n, name);
    }
    let mut operands = vec![];
    for &i in &n.inputs {
        operands.push(match resolve(b, i)? {
            Some(o) => o,
            None => return Ok(None),
        });
    }
    let known = !operands.iter().any(Operand::is_computed);
    if !known || !consts::in_double(n.op_type) {
        // The network computes in f32.
        for o in &mut operands {
            b.charge(o.narrow())?;
        }
    }
    let before = b.graph.values.len();
    let nodes_before = b.graph.nodes.len();
    let mut cx = Ctx::new(b, n, name, operands)?;
    let mut special = sequence::evaluate(&mut cx)?;
    if special.is_none() {
        special = trivial::evaluate(&mut cx)?;
    }
    if special.is_none() {
        special = ops::pieces::without_elements(&mut cx)?;
    }
    let results = match special {
        Some(results) => results,
        None => match consts::evaluate(&mut cx)? {
            Some(values) => values.into_iter().zip(&n.outputs).map(|(value, o)| Operand::constant(value, o)).collect(),
            None => integers(&mut cx, known)?,
        },
    };
    cx.check_attributes()?;
    for (i, &o) in n.outputs.iter().enumerate().skip(results.len()) {
        if !o.is_empty() && b.used.contains(o) {
            return unsupported(format!("output {i} ({o:?}) is read"), "only the first output is supported");
        }
    }
    // A value is called what the source calls it, unless it is another node's.
    for (r, &o) in results.iter().zip(&n.outputs) {
        if let Operand::Runtime(v) = r
            && v.0 >= before
            && !o.is_empty()
        {
            b.graph.values[v.0].name = o.to_string();
        }
    }
    Ok(Some(if known { fold(b, nodes_before, results)? } else { results }))
}

/// What the network computes. Of constants alone it may be integers: floats hold them if they are small enough.
fn integers(cx: &mut Ctx<'_, '_, '_>, known: bool) -> Res<Vec<Operand>> {
    let whole = match cx.operand(0) {
        Operand::Const { value: Const { data: Data::Int(_), ty, .. }, .. } if known => Some(*ty),
        _ => None,
    };
    let first = cx.b.graph.nodes.len();
    if whole.is_some() {
        for &i in ops::numbers(cx.node.op_type) {
            if let Some(Operand::Const { value, .. }) = cx.inputs.get_mut(i) {
                *value = value.exact()?;
            }
        }
    }
    let results = ops::import(cx)?.into_iter().map(Operand::Runtime).collect();
    let Some(ty) = whole else { return Ok(results) };
    let back = |o: Operand| match o {
        Operand::Const { value, name } => Ok(Operand::Const { value: value.whole(ty)?, name }),
        _ => unsupported("integers that take too much work", "fold constants before exporting the model"),
    };
    fold(cx.b, first, results)?.into_iter().map(back).collect()
}

/// Computes what nodes from `first` on make of constants alone, so that it may be a weight or a shape; not where that is more work
/// than constants may take: that is left to run with the network.
fn fold(b: &mut Builder<'_, '_>, first: usize, results: Vec<Operand>) -> Res<Vec<Operand>> {
    let work = b.graph.nodes[first..].iter().fold(0u64, |w, n| w.saturating_add(interp::work(&b.graph, n)));
    if b.spend(work).is_err() {
        return Ok(results);
    }
    for n in b.graph.nodes.split_off(first) {
        b.graph.verify_node(&n).or_else(bad)?;
        let reads: usize = n.inputs.iter().map(|&v| b.graph.data(v).map_or(0, |d| d.len())).sum();
        let size = b.graph.shape(n.output).iter().product();
        b.charge(size)?;
        b.charge(reads)?;
        // Elements of 8 bytes.
        b.charge(interp::room(&b.graph, &n).div_ceil(2))?;
        let data = interp::evaluate_constant(&b.graph, &n).into_iter().map(|x| x as f32).collect();
        b.graph.values[n.output.0].data = Some(Arc::new(data));
    }
    let constant = |o: Operand| match o {
        Operand::Runtime(v) => {
            let value = &b.graph.values[v.0];
            let data = value.data.clone().unwrap_or_default();
            Operand::Const {
                value: Const { dims: value.shape.clone(), data: Data::Float(data), ty: Type::Float },
                name: value.name.as_str().into(),
            }
        }
        other => other,
    };
    Ok(results.into_iter().map(constant).collect())
}

/// What a name stands for; `None` when that is unknown.
pub(super) fn resolve<'a>(b: &mut Builder<'a, '_>, name: &'a str) -> Res<Option<Operand>> {
    if name.is_empty() {
        return Ok(Some(Operand::None));
    }
    let slot = match b.slots.get(name) {
        Some(&Slot::Initializer(bytes)) => {
            // One that cannot be read is not tried again.
            b.slots.insert(name, Slot::Unknown);
            let tensor = Tensor::parse(bytes)?;
            let value = decode(&tensor, &mut b.files).map_err(|f| named(f, name))?;
            b.charge(value.len())?;
            b.slots.insert(name, Slot::Const(value.clone()));
            Slot::Const(value)
        }
        Some(slot) => slot.clone(),
        None => return bad(format!("input {name:?} does not exist")),
    };
    Ok(match slot {
        Slot::Const(value) => {
            b.charge(name.len() / 8)?;
            // Lists of integers are read, compared and shown by whoever takes them.
            if let Data::Int(v) = &value.data {
                b.charge(v.len())?;
            }
            Some(Operand::constant(value, name))
        }
        Slot::Runtime(v) => Some(Operand::Runtime(v)),
        Slot::Sequence(s) => {
            b.charge(s.len())?;
            Some(Operand::Sequence(s))
        }
        Slot::Initializer(_) | Slot::Unknown => None,
    })
}

fn named(f: Fail, name: &str) -> Fail {
    match f {
        Fail::Invalid(m) => Fail::Invalid(format!("initializer {name:?}: {m}")),
        Fail::Unsupported { what, remedy } => Fail::Unsupported { what: format!("initializer {name:?}: {what}"), remedy },
        e @ (Fail::Exhausted(_) | Fail::Error(_)) => e,
    }
}

/// Declares an output.
fn output<'a>(b: &mut Builder<'a, '_>, name: &'a str, inputs: &HashSet<ValueId>, declared: i64) -> Result<()> {
    let mut resolved = resolve(b, name).map_err(|f| match f {
        Fail::Error(e) => e,
        Fail::Exhausted(m) => invalid(format!("output {name:?}: {m}")),
        Fail::Invalid(m) | Fail::Unsupported { what: m, .. } => invalid(format!("output {name:?}: {m}")),
    })?;
    // What computes integers or truth values has been refused, or holds them as floats: no caller would expect that.
    if declared != 0 && !Type::from_onnx(declared).is_ok_and(Type::is_float) {
        let what = format!("element type {}", type_name(declared));
        b.problem(name, "output", what, "export the model with float32 inputs and outputs, or leave it out with --outputs");
        return Ok(());
    }
    if let Some(o) = &mut resolved {
        b.charge(o.narrow()).map_err(|_| invalid("the model's outputs have too many elements"))?;
    }
    let value = match resolved {
        Some(Operand::Runtime(v)) => v,
        Some(Operand::Const { value: Const { dims, data: Data::Float(data), .. }, .. }) if !data.is_empty() => {
            b.graph.constant(name, &dims, data)
        }
        Some(_) => {
            b.problem(name, "output", "the output is a constant of integers, or empty", "leave it out with --outputs");
            return Ok(());
        }
        None => return Ok(()),
    };
    let value = if inputs.contains(&value) {
        // An output is always something that a node writes.
        let shape = b.graph.shape(value).to_vec();
        b.graph.node(format!("{name}/copy"), "Identity", Op::Reshape, &[value], &shape)
    } else {
        value
    };
    b.graph.outputs.push(value);
    b.graph.output_names.push(name.to_string());
    Ok(())
}
