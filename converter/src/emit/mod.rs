//! From the optimised graph to the file: lowering to steps, memory plan, packed weights.
//!
//! `lower` turns each node into steps over tensors that lie in buffers, `memory` gives every buffer a place in the arena,
//! and [`emit`] writes the records. The order of everything follows the graph's, so the same source gives the same bytes.

use crate::error::{Result, Unsupported, invalid};
use crate::ir::{Graph, ValueId};
use crate::passes::Origins;
use packed::Measured;
use sepal_format::limits;
use sepal_format::record::{Io, Plan, Step, Tensor, dtype, place, role, section};
use sepal_format::write::{self, Model};
use std::collections::{HashMap, HashSet};
use tensors::Lowered;
use weights::Weights;

mod algorithm;
mod codes;
mod half;
mod interface;
mod lower;
mod lower_copy;
mod memory;
mod packed;
mod pins;
mod pipelines;
mod takes;
mod tensors;
mod values;
mod weights;

pub use half::{Precision, Rounded};

/// The two halves of a file; `structure` comes first and `weights` at once after it. What is said of steps is said of those of the
/// first plan.
#[derive(Debug)]
pub struct Emitted {
    /// Everything before the weights.
    pub structure: Vec<u8>,
    /// The packed weights.
    pub weights: Vec<u8>,
    /// The convolutions that are not summed directly.
    pub fast: Vec<Fast>,
    /// The weights that were to be stored as halves.
    pub rounded: Vec<Rounded>,
}

/// An algorithm with fewer multiplications than the direct sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Winograd's, with so many outputs of a tile, down and across.
    Winograd([usize; 2]),
    /// Strassen's, one level deep.
    Strassen,
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Algorithm::Winograd([rows, columns]) => write!(f, "winograd {rows}x{columns}"),
            Algorithm::Strassen => f.write_str("strassen"),
        }
    }
}

/// A convolution that is not summed directly.
#[derive(Clone, Debug)]
pub struct Fast {
    /// Of its step.
    pub name: String,
    /// What it runs by.
    pub algorithm: Algorithm,
    /// Largest error measured on a sample, as a share of its largest result.
    pub error: f64,
}

/// What to take care of.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Largest error of a convolution's algorithm, as a share of its largest result; 0 for the direct sum everywhere.
    pub max_error: f64,
    /// How weights are stored.
    pub precision: Precision,
    /// Whether steps run together by rows.
    pub streaming: Streaming,
    /// Whether pointwise convolutions may run by Strassen's algorithm, where that is faster and errs little enough.
    pub strassen: bool,
}

/// Whether steps run together, a few rows at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streaming {
    /// Where that is estimated to be faster or to need much less memory.
    #[default]
    Estimated,
    /// Wherever it can be done, one row at a time: for tests.
    Always,
    /// Nowhere.
    Never,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_error: MAX_ERROR, precision: Precision::default(), streaming: Streaming::default(), strassen: true }
    }
}

/// The default of [`Options::max_error`] for weights in f32.
pub const MAX_ERROR: f64 = 1e-5;

/// Lowers, plans and packs a graph that [`crate::passes::run`] has prepared. `extra` are optional sections (kind, bytes).
///
/// # Errors
/// [`crate::Error::Unsupported`] for what the runtime has no step for, [`crate::Error::Invalid`] for sizes that no file can hold.
pub fn emit(graph: &Graph, options: Options, extra: Vec<(u32, Vec<u8>)>) -> Result<Emitted> {
    let mut file = Emitter::new(options);
    let Added { fast, rounded, .. } = file.add(graph, &Origins::default(), extra)?;
    let (structure, weights) = file.finish()?;
    Ok(Emitted { structure, weights, fast, rounded })
}

/// A file under construction: one plan after the other, over the same weights.
pub struct Emitter {
    options: Options,
    direct: HashSet<String>,
    plans: Vec<Model>,
    names: Names,
    weights: Weights,
    measured: Measured,
}

/// What there is to say of a plan that was added to a file.
#[derive(Clone, Debug)]
pub struct Added {
    /// The convolutions that are not summed directly.
    pub fast: Vec<Fast>,
    /// The weights that were to be stored as halves.
    pub rounded: Vec<Rounded>,
    /// Bytes of weights that no plan before has.
    pub weights_bytes: u64,
}

impl Emitter {
    /// An empty file.
    pub fn new(options: Options) -> Self {
        let (names, weights, measured) = (Names::default(), Weights::default(), Measured::default());
        Emitter { options, direct: HashSet::new(), plans: Vec::new(), names, weights, measured }
    }

    /// The same, with some steps, by their names, that do not run by Strassen's algorithm.
    pub fn without_strassen(self, steps: &HashSet<String>) -> Self {
        Emitter { direct: steps.clone(), ..self }
    }

    /// Whether there is no plan yet.
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }

    /// Adds a plan, and writes down what its tensors hold of the source, by `origins`. Weights that are there already are shared.
    ///
    /// # Errors
    /// As [`emit`].
    pub fn add(&mut self, graph: &Graph, origins: &Origins, extra: Vec<(u32, Vec<u8>)>) -> Result<Added> {
        let before = self.weights.len() as u64;
        let (model, lowered) = self.plan(graph, origins, extra)?;
        self.plans.push(model);
        self.weights = lowered.weights;
        let weights_bytes = self.weights.len() as u64 - before;
        Ok(Added { fast: lowered.fast, rounded: lowered.rounded, weights_bytes })
    }

    /// A plan's records; its names and weights go to those that are there.
    fn plan(&mut self, graph: &Graph, origins: &Origins, mut extra: Vec<(u32, Vec<u8>)>) -> Result<(Model, Lowered)> {
        let (options, names) = (self.options, &mut self.names);
        let weights = std::mem::take(&mut self.weights);
        let (mut lowered, held) = lower::lower(graph, options, &self.direct, weights, &mut self.measured)?;
        // Planning takes long for what no file can hold.
        within(&[("tensors", lowered.tensors.len(), limits::TENSORS), ("steps", lowered.steps.len(), limits::STEPS)])?;
        // Before tensors share memory: who writes what is plain here.
        if origins.iter().next().is_some() {
            extra.push((section::VALUES, values::section(graph, &lowered, &held, origins)));
        }
        for t in &lowered.tensors {
            t.dims.iter().chain([&t.pixel]).try_for_each(|&n| small(n).map(|_| ()))?;
        }
        pipelines::plan(&mut lowered, options);
        lowered.reuse_in_place();
        let (plan, lives) = (memory::plan(&lowered), memory::tensor_lives(&lowered)?);
        let n = lowered.steps.len() as u32;

        let mut tensors = Vec::with_capacity(lowered.tensors.len());
        for (t, life) in lowered.tensors.iter().zip(&lives) {
            let record = t.record();
            let placed = match t.place {
                tensors::Place::Weights(offset) => Tensor { place: place::WEIGHTS, offset, ..record },
                tensors::Place::Rows { offset, rows } => {
                    Tensor { place: place::ROWS, offset: 4 * offset as u64, rows: small(rows)?, ..record }
                }
                tensors::Place::Buffer { buffer, offset } => {
                    let (root, inner) = lowered.root(buffer);
                    Tensor { place: place::ARENA, offset: plan.offsets[root] + 4 * (inner + offset) as u64, ..record }
                }
            };
            tensors.push(Tensor { first: life.first, last: life.last.min(n), ..placed });
        }
        let mut macs = 0;
        let mut steps = Vec::with_capacity(lowered.steps.len());
        for s in &lowered.steps {
            let (name, name_len) = names.add(&s.name)?;
            macs += s.macs;
            steps.push(Step { name, name_len, ..s.record() });
        }
        let mut io = Vec::new();
        let (input_layouts, output_layouts) = interface::layouts(graph);
        for (i, (&v, &t)) in graph.inputs.iter().zip(&lowered.inputs).enumerate() {
            let record = io_record(graph, v, t, role::INPUT, &graph.values[v.0].name, i, names)?;
            io.push(Io { layout: input_layouts[i], ..record });
        }
        for (i, (&v, &t)) in graph.outputs.iter().zip(&lowered.outputs).enumerate() {
            let name = graph.output_names.get(i).unwrap_or(&graph.values[v.0].name);
            let record = io_record(graph, v, t, role::OUTPUT, name, i, names)?;
            io.push(Io { layout: output_layouts[i], ..record });
        }
        names.first_is_whole();
        let model = Model {
            plan: Plan { tensor_bytes: plan.bytes, scratch_bytes: lowered.scratch_bytes, macs, reserved: [0; 5] },
            tensors,
            steps,
            pipelines: std::mem::take(&mut lowered.pipelines),
            io,
            names: Vec::new(),
            extra,
        };
        Ok((model, lowered))
    }

    /// The two halves of the file.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for more of anything than a file can hold.
    pub fn finish(mut self) -> Result<(Vec<u8>, Vec<u8>)> {
        let sum = |count: fn(&Model) -> usize| self.plans.iter().map(count).sum::<usize>();
        within(&[
            ("plans", self.plans.len(), limits::PLANS),
            ("tensors", sum(|p| p.tensors.len()), limits::TENSORS),
            ("steps", sum(|p| p.steps.len()), limits::STEPS),
            ("inputs and outputs", sum(|p| p.io.len()), limits::IO),
            ("bytes of names", self.names.bytes.len(), limits::NAMES),
        ])?;
        if let Some(first) = self.plans.first_mut() {
            first.names = self.names.bytes;
        }
        let weights = self.weights.into_bytes();
        Ok((write::structure(&self.plans, &weights), weights))
    }
}

/// Of each input: 0 unknown, 1 NHWC, 2 NCHW.
pub(crate) fn input_layouts(graph: &Graph) -> Vec<u32> {
    interface::layouts(graph).0
}

fn io_record(graph: &Graph, v: ValueId, tensor: usize, role: u32, name: &str, i: usize, names: &mut Names) -> Result<Io> {
    let shape = graph.shape(v);
    if shape.len() > 8 {
        return Err(unsupported(name, "io", format!("rank {} of input/output {i}", shape.len()), "use at most 8 axes"));
    }
    let (name, name_len) = names.add(name)?;
    let mut dims = [0; 8];
    for (d, &n) in dims.iter_mut().zip(shape) {
        *d = small(n)?;
    }
    Ok(Io {
        role,
        tensor: tensor as u32,
        name,
        name_len,
        rank: shape.len() as u32,
        layout: 0,
        dtype: dtype::F32,
        reserved: 0,
        dims,
    })
}

/// A file has no more of anything than a reader takes.
fn within(counts: &[(&str, usize, usize)]) -> Result<()> {
    match counts.iter().find(|(_, n, most)| n > most) {
        Some((what, n, most)) => Err(invalid(format!("the network needs {n} {what}, and a model file holds at most {most}"))),
        None => Ok(()),
    }
}

/// The names section under construction.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    /// Where those of the first plan are: further ones have the same.
    known: HashMap<String, u32>,
    shared: bool,
}

impl Names {
    fn add(&mut self, name: &str) -> Result<(u32, u32)> {
        let len = small(name.len())?;
        if let Some(&at) = self.known.get(name).filter(|_| self.shared) {
            return Ok((at, len));
        }
        let at = small(self.bytes.len())?;
        self.bytes.extend_from_slice(name.as_bytes());
        self.known.insert(name.to_owned(), at);
        Ok((at, len))
    }

    /// All names of a plan are there.
    fn first_is_whole(&mut self) {
        self.shared = true;
    }
}

fn small(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| invalid(format!("extent {n} is too large for a model file")))
}

/// An [`crate::Error::Unsupported`] of one thing.
fn unsupported(node: &str, kind: &str, what: impl Into<String>, remedy: &str) -> crate::Error {
    crate::Error::Unsupported(vec![Unsupported { node: node.into(), kind: kind.into(), what: what.into(), remedy: remedy.into() }])
}
