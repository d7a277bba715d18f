//! The ordered list of passes, one file each.
use crate::error::{Error, Result};
use crate::ir::{Graph, Op, ValueId};
use std::collections::HashMap;

mod canonicalise;
mod check_finite;
mod edit;
mod explain;
mod facts;
mod fold_batch_norm;
mod fold_constants;
mod fuse_activations;
mod fuse_pads;
mod fuse_residuals;
mod layout;
mod origin;
mod pre_relu;
mod prune_dead;
mod recognise_activations;
mod sweep;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use explain::explain;
pub use origin::{Origin, Origins};
pub use prune_dead::Pruned;

/// A pass: the same function, in fewer or better nodes.
type Pass = fn(Graph, &mut Report) -> Result<Graph>;

/// In this order, for these reasons.
const PASSES: &[(&str, Pass)] = &[
    // First, so that no later pass meets a NaN.
    ("check_finite", check_finite::run),
    // Before layout, which takes constants for weights that it may rearrange, and would carry identities along.
    ("fold_constants", fold_constants::run),
    // Before everything that looks at neighbours: transposes stand between them in NCHW sources.
    ("layout", layout::run),
    // Layout makes reshapes of equal shapes and the like.
    ("fold_constants", fold_constants::run),
    // One spelling for what has several.
    ("canonicalise", canonicalise::run),
    // Before batch norms fold: the `x + 3` and `/ 6` of a hard swish are affine too, and would be taken for one.
    ("recognise_activations", recognise_activations::run),
    // Before batch norms fold: whether a convolution pads decides whether one may fold forward into it.
    ("fuse_pads", fuse_pads::run),
    // Before activations fuse: they stand behind the batch norm.
    ("fold_batch_norm", fold_batch_norm::run),
    // Before activations fuse: the sum stands before the activation.
    ("fuse_residuals", fuse_residuals::run),
    // Before pre_relu: an activation on the way out of a step is cheaper than one on the way into several.
    ("fuse_activations", fuse_activations::run),
    ("pre_relu", pre_relu::run),
    // Again: a batch norm or a ReLU may have stood between a border and the convolution.
    ("fuse_pads", fuse_pads::run),
    // Last: frees what nothing reads any more.
    ("sweep", sweep::run),
];

/// Dead channels are counted, and removed, when batch norms have folded and activations have fused: what a step gives is plain then.
const PRUNED_BEFORE: &str = "sweep";

/// What happened to one batch normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// Its name in the source.
    pub name: String,
    /// Whether it disappeared into weights.
    pub folded: bool,
    /// Into which node it went, or why not, in one sentence.
    pub reason: String,
    /// Smallest and largest magnitude of its scale, and how many gammas are negative and zero.
    pub scale: ScaleRange,
    /// Weights and biases of the node it went into that became denormal by that, and were made zero.
    pub denormal: usize,
    /// Channels of the node it went into that are constant, as pruning counts them: up to [`Options::prune_dead`], else [`DEAD`];
    /// 0 where there is too much to look at.
    pub dead: usize,
    /// How far the first tensor of the file behind it is from the source in f64, as a share of its range, if that was measured.
    pub drift: Option<f64>,
}

impl Fold {
    /// A fate without anything measured.
    fn new(name: &str, folded: bool, reason: String, scale: ScaleRange) -> Self {
        Fold { name: name.into(), folded, reason, scale, denormal: 0, dead: 0, drift: None }
    }
}

/// Magnitudes that the histogram of a scale tells apart: powers of two, the first of them 2^-16, what is smaller or larger at its ends.
pub const SCALE_BINS: usize = 32;

/// Statistics of a folded scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScaleRange {
    /// Smallest magnitude.
    pub min: f64,
    /// Largest magnitude.
    pub max: f64,
    /// Channels with a negative scale.
    pub negative: usize,
    /// Channels with a zero scale.
    pub zero: usize,
    /// Channels with a variance below 1e-8.
    pub tiny_variance: usize,
    /// Channels by the power of two of their scale; those of scale 0 are in none.
    pub histogram: [u32; SCALE_BINS],
}

impl ScaleRange {
    /// Of the scales of all channels.
    pub(crate) fn of(scale: &[f64]) -> Self {
        let magnitudes = || scale.iter().map(|s| s.abs());
        let mut histogram = [0; SCALE_BINS];
        let half = SCALE_BINS as i32 / 2;
        for s in magnitudes().filter(|&s| s > 0.0) {
            // The exponent of a double: exact, where a logarithm would depend on the host's library.
            let exponent = ((s.to_bits() >> 52) as i32 & 0x7ff) - 1023;
            histogram[(exponent + half).clamp(0, SCALE_BINS as i32 - 1) as usize] += 1;
        }
        ScaleRange {
            min: magnitudes().fold(f64::INFINITY, f64::min),
            max: magnitudes().fold(0.0, f64::max),
            negative: scale.iter().filter(|&&s| s < 0.0).count(),
            zero: scale.iter().filter(|&&s| s == 0.0).count(),
            tiny_variance: 0,
            histogram,
        }
    }
}

/// Everything the passes have to tell.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One entry per batch normalisation of the source, in order.
    pub folds: Vec<Fold>,
    /// One line per other change, `pass: what`.
    pub notes: Vec<String>,
    /// What the values of the result hold of the source.
    pub origins: Origins,
    /// Where the preprocessing of [`crate::preprocessing::with_input`] went, or why it went nowhere.
    pub preprocessing: Option<std::result::Result<String, String>>,
    /// What pruning came to, if it was asked for.
    pub pruned: Option<Pruned>,
    /// The bias of each node that batch norms folded into, and their names.
    targets: Vec<(ValueId, Vec<String>)>,
    /// Where in `folds` batch norms are, by name.
    named: HashMap<String, Named>,
}

/// The batch norms of one name.
#[derive(Clone, Debug, Default)]
struct Named {
    /// Where they are, in order.
    all: Vec<usize>,
    /// How many of them have met their fate.
    decided: usize,
}

impl Report {
    /// What the importer had to say of the source.
    pub fn of_source(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().filter_map(|note| note.strip_prefix("import: "))
    }

    /// Adds a line about a change.
    fn note(&mut self, pass: &str, what: impl std::fmt::Display) {
        self.notes.push(format!("{pass}: {what}"));
    }

    /// Settles the fate of the batch norm `name`: the first of that name that is still open.
    fn decide(&mut self, name: &str, folded: bool, reason: String, scale: ScaleRange) {
        let Some(named) = self.named().get_mut(name) else { return };
        let Some(&i) = named.all.get(named.decided) else { return };
        named.decided += 1;
        self.folds[i] = Fold::new(name, folded, reason, scale);
    }

    /// Calls `tell` with each folded batch norm of these names.
    fn of_folded(&mut self, names: &[String], mut tell: impl FnMut(&mut Fold)) {
        for name in names {
            for i in self.named().get(name).map_or_else(Vec::new, |named| named.all.clone()) {
                if self.folds[i].folded {
                    tell(&mut self.folds[i]);
                }
            }
        }
    }

    /// The batch norms by their names, found once: there may be thousands.
    fn named(&mut self) -> &mut HashMap<String, Named> {
        if self.named.is_empty() {
            for (i, fold) in self.folds.iter().enumerate() {
                self.named.entry(fold.name.clone()).or_default().all.push(i);
            }
        }
        &mut self.named
    }
}

/// How far apart the values of a channel may lie that the report calls dead, if pruning does not say.
pub const DEAD: f64 = 1e-6;

/// What the values of an input lie between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputRange {
    /// Index of the input.
    pub input: usize,
    /// The smallest.
    pub lo: f64,
    /// The largest.
    pub hi: f64,
    /// Whether that was said, of pictures; nobody said it of the default.
    pub declared: bool,
}

impl Default for InputRange {
    /// Wide enough for the levels of a picture, whichever way they were scaled.
    fn default() -> Self {
        InputRange { input: 0, lo: -255.0, hi: 255.0, declared: false }
    }
}

/// What may be done beyond what is always done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Remove channels that are proved to be constant, up to this much between their smallest and their largest value.
    pub prune_dead: Option<f64>,
    /// What is known of inputs; the others have the default range.
    pub inputs: Vec<InputRange>,
}

/// Rewrites a graph into what the emitter takes. The result computes the same function.
///
/// # Errors
/// As [`run_with`].
pub fn run(graph: Graph) -> Result<(Graph, Report)> {
    run_with(graph, &Options::default())
}

/// As [`run`], and what the options say.
///
/// # Errors
/// [`Error::Invalid`] for weights that are not finite, or batch norms of negative variance; [`Error::Verification`] if a pass
/// made an inconsistent graph, which is a mistake of ours.
pub fn run_with(mut graph: Graph, options: &Options) -> Result<(Graph, Report)> {
    graph.verify().map_err(|e| crate::error::invalid(format!("inconsistent network: {e}")))?;
    let norms = graph.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. }));
    let open = |name: &String| Fold::new(name, false, String::new(), ScaleRange::default());
    let mut report = Report { folds: norms.map(|n| open(&n.name)).collect(), origins: Origins::of(&graph), ..Report::default() };
    for what in &graph.notes {
        report.note("import", what);
    }
    if let Some((name, count)) = &graph.unrounded {
        let all = if *count == 1 { String::new() } else { format!(" ({count} such in all)") };
        report.note("import", format!("'{name}' is not rounded to fewer bits{all}: the network is computed in f32"));
    }
    for (name, pass) in PASSES {
        if *name == PRUNED_BEFORE {
            graph = prune_dead::run(graph, options, &mut report)?;
        }
        graph = pass(graph, &mut report)?;
        graph.verify().map_err(|e| Error::Verification(format!("internal error: pass {name} broke the network: {e}")))?;
    }
    for fold in report.folds.iter_mut().filter(|f| f.reason.is_empty()) {
        fold.reason = "removed: no output depends on it".into();
    }
    Ok((graph, report))
}
