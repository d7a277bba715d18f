//! From the optimised graph to the file: lowering to steps, memory plan, packed weights.
use crate::error::Result;
use crate::ir::Graph;

/// The two halves of a file; `structure` comes first and `weights` at once after it.
#[derive(Debug)]
pub struct Emitted {
    /// Everything before the weights.
    pub structure: Vec<u8>,
    /// The packed weights.
    pub weights: Vec<u8>,
}

/// Lowers, plans and packs a graph that [`crate::passes::run`] has prepared. `extra` are optional sections (kind, bytes).
///
/// # Errors
/// [`crate::Error::Unsupported`] for what the runtime has no step for.
pub fn emit(_graph: &Graph, _extra: Vec<(u32, Vec<u8>)>) -> Result<Emitted> {
    todo!()
}
