//! A file against its source, tensor by tensor: what the runtime computes in f32 from the file's own weights, and what the f64
//! interpreter computes from the graph as the importer gave it, before any pass.
//!
//! The file says which of its tensors holds which of the source and after which step. It is run a second time without pipelines
//! (`whole`), so that each tensor can be read when its step is done; that this changes nothing is checked with `==`
//! on the outputs. What was fused away is compared where it ends: at the output of the step that does it.

use crate::error::{Error, Result, invalid};
use crate::interp;
use crate::ir::{Graph, ValueId};
use sepal::{Model, Session};
use sepal_format::ModelView;
use sepal_format::record::section;
use serde_json::Value;
use std::collections::HashMap;

mod classes;
mod stats;
mod whole;

pub use classes::Agreement;
pub use stats::{Stats, Ulps, Worst};

/// A tensor of the file that holds one of the source.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The source's name for the tensor.
    pub name: String,
    /// The source's word for what computes it.
    pub kind: String,
    /// Its shape in the source.
    pub shape: Vec<usize>,
    /// The step after which it is whole.
    pub step: usize,
    /// How far they differ.
    pub stats: Stats,
    /// The same for the source's nodes that have no tensor of their own in the file and are computed on the way to this one.
    pub inside: Vec<String>,
    value: ValueId,
    tensor: usize,
    axes: Vec<usize>,
    /// Axis of the source's tensor and what is left of it.
    channels: Option<(usize, Vec<usize>)>,
}

/// An output of the network.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// How far it is off.
    pub stats: Stats,
    /// Whether the largest elements are the same ones, where it is one row of scores.
    pub agreement: Option<Agreement>,
}

/// What a comparison came to.
#[derive(Clone, Debug)]
pub struct Diff {
    /// In the order of the steps.
    pub layers: Vec<Layer>,
    /// In the source's order.
    pub outputs: Vec<Output>,
    /// How many samples were compared.
    pub samples: usize,
    /// Nodes of the source that compute something.
    pub nodes: usize,
    /// Largest relative error that is no divergence.
    pub threshold: f64,
}

impl Diff {
    /// The first layer whose largest difference is more than the threshold, as a share of the layer's range.
    pub fn first_diverging(&self) -> Option<&Layer> {
        self.layers.iter().find(|l| diverges(&l.stats, self.threshold))
    }

    /// The first layer that each value of the source ends in: the one that holds it, or what is made of it by who reads it first.
    pub fn behind(&self, source: &Graph) -> HashMap<ValueId, &Layer> {
        let mut held: HashMap<ValueId, &Layer> = HashMap::new();
        for layer in &self.layers {
            held.entry(layer.value).or_insert(layer);
        }
        let mut ends = held.clone();
        // Readers come after what they read; the first of them is seen last.
        for n in source.nodes.iter().rev() {
            let end = ends.get(&n.output).copied();
            for v in n.inputs.iter().filter(|v| !held.contains_key(v)) {
                match end {
                    Some(layer) => drop(ends.insert(*v, layer)),
                    None => drop(ends.remove(v)),
                }
            }
        }
        ends
    }

    /// Whether a layer or an output diverges.
    pub fn diverges(&self) -> bool {
        self.first_diverging().is_some() || self.outputs.iter().any(|o| diverges(&o.stats, self.threshold))
    }
}

fn diverges(stats: &Stats, threshold: f64) -> bool {
    // A range that is not a number is none.
    !matches!(stats.relative().partial_cmp(&threshold), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal))
}

/// Most elements of all compared layers together: they are held in f32 (512 MB).
const MOST_ELEMENTS: usize = 1 << 27;
/// Largest arena that a self-check takes, and that a file and the same without pipelines take together: a small source may ask for much.
pub(crate) const MOST_ARENA: usize = 2 << 30;
const REMEDY: &str = "take a smaller --input-shape, or no --explain, --report and diff";

/// Compares a file with the graph that it came from, on samples of one array per input. `progress` is told how many nodes of how many
/// the interpreter has done.
///
/// # Errors
/// [`Error::Invalid`] for a file that does not say what its tensors hold or does not fit the source, [`Error::TooLarge`],
/// [`Error::Verification`] if it gives other outputs without its pipelines.
pub fn diff(
    source: &Graph,
    model: &Model,
    samples: &[Vec<Vec<f32>>],
    threshold: f64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Diff> {
    let view = model.view();
    interp::affordable(source)?;
    let mut layers = layers(source, &view)?;
    inside(source, &mut layers);
    if layers.iter().fold(0usize, |all, layer| all.saturating_add(layer.len())) > MOST_ELEMENTS {
        return Err(Error::TooLarge(format!("the layers do not fit in memory all at once: {REMEDY}")));
    }
    let mut outputs: Vec<Output> = source.output_names.iter().map(|name| Output::new(name.clone())).collect();
    if source.inputs.len() != view.inputs().len() || outputs.len() != view.outputs().len() {
        return Err(invalid("source and file have different numbers of inputs and outputs: the file is of another network"));
    }
    let whole = by_steps(model)?;
    let (mut as_it_is, mut by_steps) = (session(model)?, session(&whole)?);
    let total = source.nodes.len() * samples.len();
    let mut done = 0;
    for (i, sample) in samples.iter().enumerate() {
        fill(&mut as_it_is, sample)?;
        as_it_is.run();
        fill(&mut by_steps, sample)?;
        let got = watch(&whole.view(), &mut by_steps, &layers)?;
        for (j, output) in outputs.iter().enumerate() {
            let bits = |s: &Session| s.output(j).map(|y| y.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
            if bits(&as_it_is) != bits(&by_steps) {
                return Err(Error::Verification(format!("output {}: other bits without pipelines", output.name)));
            }
        }
        let wide: Vec<Vec<f64>> = sample.iter().map(|x| x.iter().map(|&v| f64::from(v)).collect()).collect();
        let mut by_value: HashMap<ValueId, Vec<usize>> = HashMap::new();
        layers.iter().enumerate().for_each(|(l, layer)| by_value.entry(layer.value).or_default().push(l));
        let want = interp::interpret_observed(source, wide, &mut |v, want| {
            for &l in by_value.get(&v).map_or(&[][..], |l| l) {
                layers[l].compare(i, &got[l], want);
            }
            done += 1;
            progress(done, total);
        })?;
        for (j, (output, want)) in outputs.iter_mut().zip(&want).enumerate() {
            let shape = source.outputs.get(j).map_or(&[][..], |&v| source.shape(v));
            let got = as_it_is.output(j).filter(|got| got.len() == want.len());
            output.compare(i, shape, got.ok_or_else(|| other_size(&output.name))?, want);
        }
    }
    let nodes = source.nodes.len();
    Ok(Diff { layers, outputs, samples: samples.len(), nodes, threshold })
}

/// A file without its pipelines, unless the two take too much memory to run.
pub(crate) fn by_steps(model: &Model) -> Result<Model<'static>> {
    let bytes = whole::whole(&model.view())?;
    let refused = |e: sepal::LoadError| Error::Verification(format!("the file without its pipelines is refused: {e}"));
    let whole = Model::from_owned(bytes).map_err(refused)?.with_isa(model.isa());
    let arenas = [model, &whole].iter().fold(0usize, |all, m| all.saturating_add(m.arena_bytes(sepal::Options::default().threads)));
    if arenas > MOST_ARENA {
        return Err(Error::TooLarge(format!("arenas of {arenas} bytes, of the file and of its steps one by one: {REMEDY}")));
    }
    Ok(whole)
}

fn other_size(what: &str) -> Error {
    invalid(format!("{what} has another size in the file than in the source: the file is of another network"))
}

fn session<'m>(model: &'m Model) -> Result<Session<'m>> {
    Session::new(model, sepal::Options::default()).map_err(|e| invalid(format!("no session: {e}")))
}

fn fill(session: &mut Session, sample: &[Vec<f32>]) -> Result<()> {
    for (i, values) in sample.iter().enumerate() {
        let input = session.input_mut(i).filter(|input| input.len() == values.len());
        input.ok_or_else(|| other_size(&format!("input {i}")))?.copy_from_slice(values);
    }
    Ok(())
}

/// Runs a file without pipelines and reads the tensor of each layer when it is whole, its elements in the source's order.
fn watch(view: &ModelView, session: &mut Session, layers: &[Layer]) -> Result<Vec<Vec<f32>>> {
    let mut all = vec![Vec::new(); layers.len()];
    let mut at: HashMap<usize, Vec<usize>> = HashMap::new();
    layers.iter().enumerate().for_each(|(l, layer)| at.entry(layer.step).or_default().push(l));
    session.run_watched(&mut |step, arena| {
        for &l in at.get(&step).map_or(&[][..], |l| l) {
            all[l] = layers[l].read(view, arena);
        }
    });
    match layers.iter().zip(&all).find(|(layer, got)| got.len() != layer.len()) {
        Some((layer, _)) => Err(other_size(&layer.name)),
        None => Ok(all),
    }
}

impl Layer {
    /// Elements that are compared.
    fn len(&self) -> usize {
        let extents = self.shape.iter().enumerate();
        extents.map(|(axis, &d)| self.channels.as_ref().filter(|c| c.0 == axis).map_or(d, |c| c.1.len())).product()
    }

    fn read(&self, view: &ModelView, arena: &[f32]) -> Vec<f32> {
        let Some(t) = view.tensors().get(self.tensor) else { return Vec::new() };
        let [n, h, w, c, pixel] = [t.dims[0], t.dims[1], t.dims[2], t.dims[3], t.pixel].map(|d| d as usize);
        let start = (t.offset / 4) as usize;
        let pixels = arena.get(start..).unwrap_or(&[]);
        // As it lies: axis `axes[i]` is the source's axis i.
        let mut lies = vec![1; self.axes.len()];
        for (axis, (&at, &d)) in self.axes.iter().zip(&self.shape).enumerate() {
            lies[at] = self.channels.as_ref().filter(|c| c.0 == axis).map_or(d, |c| c.1.len());
        }
        // A layer costs what it is counted for, whatever lies there.
        if lies.iter().product::<usize>() != n * h * w * c {
            return Vec::new();
        }
        let mut values = Vec::with_capacity(n * h * w * c);
        for i in 0..n * h * w {
            values.extend_from_slice(pixels.get(i * pixel..i * pixel + c).unwrap_or(&[]));
        }
        if values.len() != n * h * w * c {
            return Vec::new();
        }
        interp::transpose(&values, &lies, &self.axes)
    }

    fn compare(&mut self, sample: usize, got: &[f32], want: &[f64]) {
        match &self.channels {
            None => self.stats.add(sample, got, want.iter().copied()),
            Some((axis, left)) => {
                // In the order in which they lie, without a look at the others.
                let (extent, inner) = (self.shape[*axis], self.shape[axis + 1..].iter().product::<usize>());
                let outer: usize = if left.is_empty() { 0 } else { self.shape[..*axis].iter().product() };
                let runs = (0..outer).flat_map(|o| left.iter().map(move |c| (o * extent + c) * inner));
                self.stats.add(sample, got, runs.flat_map(|at| want[at..at + inner].iter().copied()));
            }
        }
    }
}

impl Output {
    fn new(name: String) -> Self {
        Output { name, stats: Stats::default(), agreement: None }
    }

    fn compare(&mut self, sample: usize, shape: &[usize], got: &[f32], want: &[f64]) {
        self.stats.add(sample, got, want.iter().copied());
        if shape.last() == Some(&want.len()) && want.len() > 1 {
            self.agreement.get_or_insert_with(Agreement::default).add(got, want);
        }
    }
}

/// What the file says of its tensors, held against the source.
fn layers(source: &Graph, view: &ModelView) -> Result<Vec<Layer>> {
    let none = || invalid("the file does not say which tensor of the source its tensors hold; convert the source again");
    let bytes = match view.section(section::VALUES) {
        Some(bytes) => bytes,
        // Without inputs everything may be a constant, and nothing is between the source and the outputs.
        None if view.inputs().is_empty() => return Ok(vec![]),
        None => return Err(none()),
    };
    let json: Value = serde_json::from_slice(bytes).map_err(|_| none())?;
    let rows = json["values"].as_array().ok_or_else(none)?;
    let mut by_name: HashMap<&str, Option<ValueId>> = HashMap::new();
    for n in &source.nodes {
        let entry = by_name.entry(source.values[n.output.0].name.as_str()).or_insert(Some(n.output));
        if *entry != Some(n.output) {
            *entry = None;
        }
    }
    let producers = source.producers();
    let mut layers = Vec::new();
    for row in rows {
        let number = |key: &str| row[key].as_u64().map(|v| v as usize);
        let list =
            |v: &Value| v.as_array().and_then(|a| a.iter().map(|v| v.as_u64().map(|v| v as usize)).collect::<Option<Vec<_>>>());
        let (Some(step), Some(tensor), Some(index), Some(name)) =
            (number("step"), number("tensor"), number("value"), row["name"].as_str())
        else {
            return Err(none());
        };
        // An input with its axes in another order: nothing has been computed yet.
        if source.inputs.iter().any(|&v| source.values[v.0].name == name) {
            continue;
        }
        // The index tells values of one name apart, if the source was read as it was then.
        let same = |v: &ValueId| source.values.get(v.0).is_some_and(|value| value.name == name) && producers.contains_key(v);
        let found = Some(ValueId(index)).filter(same).or_else(|| by_name.get(name).copied().flatten());
        let value = found.ok_or_else(|| {
            invalid(format!("the source has no tensor '{name}', of which the file says that it holds it: was it made from it?"))
        })?;
        let shape = source.shape(value).to_vec();
        let axes = if row["axes"].is_null() { (0..shape.len()).collect() } else { list(&row["axes"]).ok_or_else(none)? };
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..shape.len()) {
            return Err(none());
        }
        let channels = match list(&row["channels"]) {
            None => None,
            Some(left) => {
                let axis = axes.iter().position(|&a| a + 1 == shape.len()).ok_or_else(none)?;
                let fits = left.windows(2).all(|w| w[0] < w[1]) && left.iter().all(|&c| c < shape[axis]);
                Some((axis, left)).filter(|_| fits)
            }
        };
        let kind = producers.get(&value).map(|&i| source.nodes[i].kind.clone()).unwrap_or_default();
        let (stats, inside, name) = (Stats::default(), Vec::new(), name.to_owned());
        layers.push(Layer { name, kind, shape, step, stats, inside, value, tensor, axes, channels });
    }
    Ok(layers)
}

/// Tells each layer which nodes of the source end in it: those whose results are in no tensor of the file.
fn inside(source: &Graph, layers: &mut [Layer]) {
    let mut layer_of: HashMap<ValueId, usize> = HashMap::new();
    for (l, layer) in layers.iter().enumerate() {
        layer_of.entry(layer.value).or_insert(l);
    }
    // From the end: a node's result goes where that of its last reader does.
    for n in source.nodes.iter().rev() {
        let own = layer_of.get(&n.output).copied();
        if let Some(l) = own {
            if layers[l].value != n.output {
                layers[l].inside.push(format!("{} '{}'", n.kind, n.name));
            }
            for &v in n.inputs.iter().filter(|&&v| source.data(v).is_none()) {
                layer_of.entry(v).or_insert(l);
            }
        }
    }
    layers.iter_mut().for_each(|l| l.inside.reverse());
}
