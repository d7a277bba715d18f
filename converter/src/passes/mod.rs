//! The ordered list of passes, one file each.
use crate::error::{Error, Result};
use crate::ir::{Graph, Op};

mod canonicalise;
mod check_finite;
mod edit;
mod explain;
mod fold_batch_norm;
mod fold_constants;
mod fuse_activations;
mod fuse_pads;
mod fuse_residuals;
mod layout;
mod origin;
mod pre_relu;
mod recognise_activations;
mod sweep;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use explain::explain;
pub use origin::{Origin, Origins};

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
}

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
}

impl Report {
    /// Adds a line about a change.
    fn note(&mut self, pass: &str, what: impl std::fmt::Display) {
        self.notes.push(format!("{pass}: {what}"));
    }

    /// Settles the fate of the batch norm `name`: the first of that name that is still open.
    fn decide(&mut self, name: &str, folded: bool, reason: String, scale: ScaleRange) {
        if let Some(fold) = self.folds.iter_mut().find(|f| f.name == name && f.reason.is_empty()) {
            *fold = Fold { name: name.into(), folded, reason, scale };
        }
    }
}

/// Rewrites a graph into what the emitter takes. The result computes the same function.
///
/// # Errors
/// [`Error::Invalid`] for weights that are not finite, or batch norms of negative variance; [`Error::Verification`] if a pass
/// made an inconsistent graph, which is a mistake of ours.
pub fn run(mut graph: Graph) -> Result<(Graph, Report)> {
    graph.verify().map_err(|e| crate::error::invalid(format!("inconsistent network: {e}")))?;
    let norms = graph.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. }));
    let open = |name: &String| Fold { name: name.clone(), folded: false, reason: String::new(), scale: ScaleRange::default() };
    let mut report = Report { folds: norms.map(|n| open(&n.name)).collect(), notes: Vec::new(), origins: Origins::of(&graph) };
    for (name, pass) in PASSES {
        graph = pass(graph, &mut report)?;
        graph.verify().map_err(|e| Error::Verification(format!("internal error: pass {name} broke the network: {e}")))?;
    }
    for fold in report.folds.iter_mut().filter(|f| f.reason.is_empty()) {
        fold.reason = "removed: no output depends on it".into();
    }
    Ok((graph, report))
}
