//! The ordered list of passes, one file each.
use crate::error::Result;
use crate::ir::Graph;

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
}

/// Rewrites a graph into what the emitter takes. The result computes the same function.
///
/// # Errors
/// [`crate::Error::Invalid`] for weights that are not finite.
pub fn run(_graph: Graph) -> Result<(Graph, Report)> {
    todo!()
}
