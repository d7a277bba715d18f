//! How pictures become a network's input: given with the source, read off its first layers, written to the file, read from it.
//!
//! The network keeps the input that it has in its source, and whoever runs it does to pictures what is written here. Only if it is
//! asked for, mean and deviation go into the first convolution ([`with_input`]); they do where that is exact, which is for the pass
//! that folds batch norms to say: not where the convolution pads with zeros, unless the mean is zero.

use crate::data::recipe::{Normalize, Recipe, Resize};
use crate::error::{Result, invalid, request};
use crate::ir::{Act, BinaryOp, Graph, Node, Op, ReduceKind, ValueId};
use crate::passes::InputRange;
use sepal_format::preprocessing::{LABELS, Preprocessing as Record, colour, fit};
use sepal_format::record::{io_layout, section};
use sepal_format::{FormatError, ModelView};
use std::collections::HashMap;
use std::sync::Arc;

/// What the nodes that [`with_input`] adds are called, in place of a word of the source.
pub const KIND: &str = "Preprocessing";

/// What is written in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessing {
    /// Index of the input.
    pub input: usize,
    /// Blue comes first.
    pub bgr: bool,
    /// How a picture gets the input's size.
    pub resize: Resize,
    /// What full intensity is: 1 or 255.
    pub level: f32,
    /// Subtracted from each channel, or one number from all.
    pub mean: Vec<f32>,
    /// What each channel, or all, is divided by then.
    pub std: Vec<f32>,
    /// Names of the first output's elements.
    pub labels: Vec<String>,
}

impl Default for Preprocessing {
    /// Levels from 0 to 1.
    fn default() -> Self {
        Preprocessing {
            input: 0,
            bgr: false,
            resize: Resize::Stretch,
            level: 1.0,
            mean: vec![0.0],
            std: vec![1.0],
            labels: Vec::new(),
        }
    }
}

impl Preprocessing {
    /// What a file says; `None` if it says nothing.
    ///
    /// # Errors
    /// [`FormatError`] for a section that is unsound.
    pub fn read(view: &ModelView) -> std::result::Result<Option<Self>, FormatError> {
        let Some(bytes) = view.section(section::PREPROCESSING) else { return Ok(None) };
        let (r, labels) = Record::parse(bytes)?;
        let some = |v: &[f32; 4]| v[..r.channels as usize].to_vec();
        Ok(Some(Preprocessing {
            input: r.input as usize,
            bgr: r.colour == colour::BGR,
            resize: match r.resize {
                fit::CROP => Resize::Crop(r.crop),
                fit::BARS => Resize::Fit(r.bars),
                _ => Resize::Stretch,
            },
            level: r.level,
            mean: some(&r.mean),
            std: some(&r.std),
            labels: labels.lines().map(str::to_owned).collect(),
        }))
    }

    /// The section.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for what a file cannot hold.
    pub fn section(&self) -> Result<Vec<u8>> {
        if let Some(bad) = self.labels.iter().find(|l| l.contains(['\n', '\r'])) {
            return Err(invalid(format!("label {bad:?} has more than one line")));
        }
        let labels: String = self.labels.iter().flat_map(|l| [l, "\n"]).collect();
        if labels.len() > LABELS {
            return Err(invalid(format!("{} bytes of labels; a file holds at most {LABELS}", labels.len())));
        }
        let four = |v: &[f32]| std::array::from_fn(|i| v.get(i).copied().unwrap_or(0.0));
        let (resize, crop, bars) = match self.resize {
            Resize::Stretch => (fit::STRETCH, 0.0, 0.0),
            Resize::Crop(share) => (fit::CROP, share, 0.0),
            Resize::Fit(bars) => (fit::BARS, 0.0, bars),
        };
        let record = Record {
            input: self.input as u32,
            colour: if self.bgr { colour::BGR } else { colour::RGB },
            resize,
            channels: self.mean.len() as u32,
            labels: self.labels.len() as u32,
            labels_len: labels.len() as u32,
            level: self.level,
            crop,
            bars,
            reserved: 0,
            mean: four(&self.mean),
            std: four(&self.std),
        };
        let mut bytes = bytemuck::bytes_of(&record).to_vec();
        bytes.extend_from_slice(labels.as_bytes());
        match Record::parse(&bytes) {
            Ok(_) if self.mean.len() == self.std.len() => Ok(bytes),
            _ => Err(invalid("preprocessing that makes no sense: finite numbers are needed, no deviation of 0, crops from 0 to 1")),
        }
    }

    /// That a network has such an input, and as many elements in its first output as there are labels.
    ///
    /// # Errors
    /// [`crate::Error::Request`] that says what does not fit.
    pub fn fits(&self, graph: &Graph) -> Result<()> {
        let Some(&v) = graph.inputs.get(self.input) else {
            return Err(request(format!("preprocessing of input {}, and the network has {}", self.input, graph.inputs.len())));
        };
        let (name, shape) = (&graph.values[v.0].name, graph.shape(v));
        // Without a known axis of channels, any may be.
        let channels = channel_axis(graph, v).map_or(shape, |axis| &shape[axis..=axis]);
        let n = self.mean.len();
        if n != 1 && !channels.contains(&n) {
            return Err(request(format!(
                "mean and deviation of {n} channels, which input '{name}' of shape {shape:?} does not have"
            )));
        }
        if self.bgr && !channels.contains(&3) && !channels.contains(&4) {
            return Err(request(format!("blue, green and red for input '{name}' of shape {shape:?}, which has no colours")));
        }
        match graph.outputs.first() {
            Some(&v) if !self.labels.is_empty() => labels_fit(self.labels.len(), graph.shape(v)).map_err(request),
            _ => Ok(()),
        }
    }

    /// What the numbers lie between that become of levels.
    pub fn range(&self) -> InputRange {
        let ends = |(&m, &s): (&f32, &f32)| [0.0, self.level].map(|level| (f64::from(level) - f64::from(m)) / f64::from(s));
        let all = || self.mean.iter().zip(&self.std).flat_map(ends);
        let (lo, hi) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        InputRange { input: self.input, lo, hi, declared: true }
    }

    /// What is to be done to a picture.
    pub fn recipe(&self) -> Recipe {
        let normalize = Normalize::PerChannel { full: self.level, mean: self.mean.clone(), std: self.std.clone() };
        Recipe { normalize, bgr: self.bgr, resize: self.resize }
    }

    /// Takes over levels, mean and deviation of a mode.
    pub fn set(&mut self, normalize: &Normalize) {
        (self.level, self.mean, self.std) = match normalize {
            // Twice a level less one is the same as a level less one half, by one half: to the bit.
            Normalize::Linear { scale, shift } if *scale == 2.0 && *shift == -1.0 => (1.0, vec![0.5], vec![0.5]),
            Normalize::Linear { scale, .. } => (*scale, vec![0.0], vec![1.0]),
            Normalize::PerChannel { full, mean, std } => (*full, mean.clone(), std.clone()),
        };
    }

    /// In words, one fact each.
    pub fn describe(&self) -> Vec<(&'static str, String)> {
        let list = |v: &[f32]| v.iter().map(f32::to_string).collect::<Vec<_>>().join(", ");
        let mut facts = vec![("levels", format!("0 to {}", self.level))];
        if self.mean.iter().any(|&m| m != 0.0) || self.std.iter().any(|&s| s != 1.0) {
            facts.push(("mean", list(&self.mean)));
            facts.push(("deviation", list(&self.std)));
        }
        if self.bgr {
            facts.push(("colours", "blue, green, red".into()));
        }
        facts.push((
            "size",
            match self.resize {
                Resize::Stretch => "stretched".into(),
                Resize::Crop(share) => format!("the middle, {share} of it along each side"),
                Resize::Fit(bars) => format!("all of it, with bars of {bars}"),
            },
        ));
        if let (Some(first), Some(last)) = (self.labels.first(), self.labels.last()) {
            facts.push(("labels", format!("{}, {first} to {last}", self.labels.len())));
        }
        facts
    }
}

/// Which levels the first layers of a Keras network want: what a `Rescaling` or `Normalization` of pictures takes and makes small, be they
/// resized, cut or joined before. Where several say something of an input, it has to be the same; of several inputs the first counts.
pub fn wanted_levels(graph: &Graph) -> Option<Wanted> {
    let pictures = graph.inputs.iter().enumerate().filter(|&(_, &v)| channel_axis(graph, v).is_some());
    let whole = |(input, &v)| (v, Levels { input, scale: vec![1.0], shift: vec![0.0], kind: None });
    let mut levels: HashMap<ValueId, Levels> = pictures.map(whole).collect();
    let mut said = Vec::new();
    for Node { kind, op, inputs, output, .. } in &graph.nodes {
        let known: Vec<&Levels> = inputs.iter().filter_map(|v| levels.get(v)).collect();
        let Some(&first) = known.first() else { continue };
        let constant = |i: usize| inputs.get(i).and_then(|&c| graph.data(c)).map(|c| &c[..]);
        let next = match op {
            // The same levels in another place, or a mixture of them.
            Op::Resize { .. }
            | Op::Upsample { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::Transpose { .. }
            | Op::Reshape
            | Op::Broadcast
            | Op::Pool { .. }
            | Op::Reduce { kind: ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min, .. }
            | Op::Act(Act::Clamp { .. })
                if known.len() == inputs.len() =>
            {
                Some(first.clone())
            }
            // Those of which something has been said; what is said of others is heard now.
            Op::Concat { .. } if known.len() == inputs.len() => {
                let next = known.iter().find(|one| one.kind.is_some()).copied().unwrap_or(first);
                let others = known.iter().filter(|one| !one.alike(next)).filter_map(|one| one.wanted());
                said.extend(others.take(MOST_SAID));
                Some(next.clone())
            }
            // The functions are what `preprocess_input` of Keras' applications leaves in a network.
            Op::Binary { op, act: Act::None }
                if LAYERS.iter().chain(&FUNCTIONS).any(|known| known == kind) && said.len() < MOST_SAID =>
            {
                let turned = || constant(0).filter(|_| matches!(op, BinaryOp::Mul | BinaryOp::Add));
                constant(1).or_else(turned).and_then(|c| first.after(*op, c, Some(kind)))
            }
            Op::BatchNorm { epsilon, .. } => {
                // Of colours.
                let few = |i: usize| constant(i).filter(|c| c.len() <= 4);
                if let [Some(gamma), Some(beta), Some(mean), Some(variance)] = [1, 2, 3, 4].map(few) {
                    let deviation: Vec<f32> = variance.iter().map(|v| (v + epsilon).sqrt()).collect();
                    let steps = [(BinaryOp::Sub, mean), (BinaryOp::Div, &deviation), (BinaryOp::Mul, gamma), (BinaryOp::Add, beta)];
                    steps.into_iter().try_fold(first.clone(), |levels, (op, c)| levels.after(op, c, None))
                } else {
                    None
                }
            }
            _ => None,
        };
        match next {
            Some(next) => _ = levels.insert(*output, next),
            None => said.extend(known.into_iter().filter_map(Levels::wanted)),
        }
    }
    said.extend(graph.outputs.iter().filter_map(|v| levels.get(v)).filter_map(Levels::wanted));
    let first = said.iter().min_by_key(|one| one.input)?.clone();
    let of_it = |other: &&Wanted| other.input == first.input;
    said.iter().filter(of_it).all(|other| other.level == first.level).then_some(first)
}

/// What a network wants to be given.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Index of the input.
    pub input: usize,
    /// Of full intensity: 1 or 255.
    pub level: f32,
    /// The kind of a layer that says so.
    pub kind: String,
}

/// The layers that are there to change levels.
const LAYERS: [&str; 2] = ["Rescaling", "Normalization"];

/// The functions of Keras 2 and 3 that do so, too, among other things.
const FUNCTIONS: [&str; 7] = ["TFOpLambda", "TensorFlowOpLayer", "TrueDivide", "Divide", "Multiply", "Subtract", "Add"];

/// Words on levels that are listened to.
const MOST_SAID: usize = 64;

/// What a level has become, by channels or for all of them: times, plus; and by which kind of layer first.
#[derive(Clone)]
struct Levels {
    input: usize,
    scale: Vec<f64>,
    shift: Vec<f64>,
    kind: Option<String>,
}

impl Levels {
    /// Whether nothing has been done to these that was not done to others.
    fn alike(&self, other: &Levels) -> bool {
        self.input == other.input && self.scale == other.scale && self.shift == other.shift
    }

    /// Which kind of layer says something, behind one more: a layer before a function.
    fn said(&self, kind: Option<&str>) -> Option<String> {
        let known = self.kind.as_deref();
        let layer = |kind: Option<&'_ str>| kind.is_some_and(|kind| LAYERS.contains(&kind));
        if layer(kind) && !layer(known) { kind } else { known.or(kind) }.map(str::to_owned)
    }

    /// After one more step by a constant, of a layer that says something of levels, or of another.
    fn after(&self, op: BinaryOp, c: &[f32], kind: Option<&str>) -> Option<Levels> {
        let mean = |c: &[f32]| vec![c.iter().map(|&c| f64::from(c)).sum::<f64>() / c.len().max(1) as f64];
        // One number for each pixel is about the same number for all.
        let c = if c.len() > 4 { mean(c) } else { c.iter().map(|&c| c.into()).collect() };
        let n = c.len().max(self.scale.len());
        let step = |i: usize| {
            let at = |list: &[f64]| list[i % list.len().max(1)];
            let (s, t, c) = (at(&self.scale), at(&self.shift), at(&c));
            Some(match op {
                BinaryOp::Mul => (s * c, t * c),
                BinaryOp::Div => (s / c, t / c),
                BinaryOp::Add => (s, t + c),
                BinaryOp::Sub => (s, t - c),
                _ => return None,
            })
        };
        let (scale, shift) = (0..n).map(step).collect::<Option<Vec<_>>>()?.into_iter().unzip();
        Some(Levels { input: self.input, scale, shift, kind: self.said(kind) })
    }

    /// The levels that this is done to. Those from 0 to 1 are made larger or stay about as they are, and become 0 at a level that there is
    /// or near it. What leaves everything as it is says nothing; neither does what has its middle elsewhere, which takes no picture,
    /// unless it makes all levels as small as only those of pictures are made.
    fn wanted(&self) -> Option<Wanted> {
        let all = || self.scale.iter().zip(&self.shift).map(|(&s, &t)| (s, -t / s));
        let same = |(s, middle): (f64, f64)| (s - 1.0).abs() < NEAR && (s * middle).abs() < NEAR;
        let picture = |(s, middle): (f64, f64)| {
            (-NEAR..=255.0 + NEAR).contains(&middle) || (s.abs() <= SMALL && (-255.0..=510.0).contains(&middle))
        };
        if all().all(same) || !all().all(picture) {
            return None;
        }
        // A function by itself says something only where it can mean nothing else: it makes them small, or takes off a mean of pictures.
        let plain = |(s, middle): (f64, f64)| s.abs() <= 2.0 * SMALL || (16.0..=240.0).contains(&middle);
        if !LAYERS.contains(&self.kind.as_deref()?) && !all().all(plain) {
            return None;
        }
        let large = all().any(|(s, middle)| s.abs() < 0.5 || middle > 1.0 + NEAR);
        Some(Wanted { input: self.input, level: if large { 255.0 } else { 1.0 }, kind: self.kind.clone()? })
    }
}

/// What makes no difference between levels from 0 to 1.
const NEAR: f64 = 1.0 / 64.0;

/// What 255 levels are multiplied by to lie between about -1 and 1; decibels and the like are made less small.
const SMALL: f64 = 0.01;

/// That there are as many labels as one sample of an output has elements, or as it has along an axis.
///
/// # Errors
/// Says how many there are of each.
pub fn labels_fit(labels: usize, output: &[usize]) -> std::result::Result<(), String> {
    let extents = if output.len() > 1 { &output[1..] } else { output };
    if extents.contains(&labels) || extents.iter().product::<usize>() == labels {
        Ok(())
    } else {
        Err(format!("{labels} labels for an output of shape {output:?}"))
    }
}

/// The axis of an input's channels, if it takes a picture.
fn channel_axis(graph: &Graph, v: ValueId) -> Option<usize> {
    let &[_, a, _, c] = graph.shape(v) else { return None };
    let picture = |n: usize| matches!(n, 1 | 3 | 4);
    let layout = graph.inputs.iter().position(|&i| i == v).map(|i| crate::emit::input_layouts(graph)[i]);
    match layout {
        Some(io_layout::NHWC | io_layout::UNKNOWN) if picture(c) => Some(3),
        Some(io_layout::NCHW | io_layout::UNKNOWN) if picture(a) => Some(1),
        _ => None,
    }
}

/// The same network with another input: raw levels, from which a mean is subtracted and which are divided by a deviation.
///
/// # Errors
/// [`crate::Error::Request`] for an input that takes no picture, or one of another number of channels.
pub fn with_input(mut graph: Graph, input: usize, mean: &[f32], std: &[f32]) -> Result<Graph> {
    let &v = graph.inputs.get(input).ok_or_else(|| request(format!("there is no input {input} to fold preprocessing into")))?;
    let name = graph.values[v.0].name.clone();
    let shape = graph.shape(v).to_vec();
    let axis = channel_axis(&graph, v).ok_or_else(|| request(format!("input '{name}' of shape {shape:?} takes no picture")))?;
    let channels = shape[axis];
    if mean.len() != std.len() || (mean.len() != 1 && mean.len() != channels) {
        return Err(request(format!("a mean of {} channels for input '{name}' of {channels}", mean.len())));
    }
    let mut extents = vec![1; shape.len() - axis];
    extents[0] = channels;
    let mut spread = |what: &str, list: &[f32]| {
        let data = (0..channels).map(|c| list[if list.len() == 1 { 0 } else { c }]).collect();
        graph.constant(format!("{name}/{what}"), &extents, Arc::new(data))
    };
    let (mean, std) = (spread("mean", mean), spread("deviation", std));
    let centred = graph.value(format!("{name}/centred"), &shape);
    let scaled = graph.value(format!("{name}/preprocessed"), &shape);
    graph.replace_uses(v, scaled);
    let node = |op, by, x, output: ValueId, name: &str| Node {
        name: name.into(),
        kind: KIND.into(),
        op: Op::Binary { op, act: Act::None },
        inputs: vec![x, by],
        output,
    };
    let first = node(BinaryOp::Sub, mean, v, centred, &format!("{name}/mean"));
    let second = node(BinaryOp::Div, std, centred, scaled, &format!("{name}/deviation"));
    graph.nodes.splice(0..0, [first, second]);
    Ok(graph)
}

#[cfg(test)]
mod tests;
