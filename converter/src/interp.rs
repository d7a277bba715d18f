//! The slow f64 interpreter of a graph: the oracle of every pass and of the self-check.
use crate::error::Result;
use crate::ir::Graph;

/// Computes the outputs of a graph in f64, weights widened from f32, in plain loops. `inputs` and the result are in C order.
///
/// # Errors
/// [`crate::Error::Invalid`] when the inputs do not fit.
pub fn interpret(_graph: &Graph, _inputs: &[Vec<f64>], _progress: &mut dyn FnMut(usize, usize)) -> Result<Vec<Vec<f64>>> {
    todo!()
}
