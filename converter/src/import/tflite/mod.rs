//! TensorFlow Lite: float networks, also with weights that are halves, sparse, or integers with a scale.
//!
//! | module | what |
//! |---|---|
//! | `flatbuffer`, `schema` | the bytes, borrowed |
//! | `builtin` | names of the operators |
//! | `tensor`, `sparse` | constants in all their encodings |
//! | `builder` | tensors to values, one operator at a time; collects what is not supported |
//! | `op` | what an operator sees of itself: options, inputs, the graph to write to |
//! | `ops` | the operators, one file per family |
//!
//! The file has NHWC throughout, as the IR has. A tensor is stored, computed, or unknown because it lies behind something that is
//! not supported. Operators on stored tensors alone are evaluated as they are written: dequantisation of weights, arithmetic of
//! shapes.

mod builder;
mod builtin;
mod flatbuffer;
mod op;
mod ops;
mod schema;
mod sparse;
mod tensor;
#[cfg(test)]
mod tests;

use super::{Options, fail, shape};
use crate::error::{Result, invalid};
use crate::ir::Graph;

/// What a file has at its fifth byte.
pub const IDENTIFIER: &[u8] = b"TFL3";

/// Reads a TFLite model.
///
/// # Errors
/// As [`super::import`].
pub fn import(bytes: &[u8], options: &Options) -> Result<Graph> {
    let model = schema::Model::parse(bytes, options.signature.as_deref()).map_err(|f| match f {
        fail::Fail::Exhausted(m) => invalid(format!("a damaged TFLite file: {m}")),
        fail::Fail::Invalid(m) => invalid(format!("a damaged TFLite file: {m}")),
        fail::Fail::Unsupported { what, .. } => invalid(format!("a damaged TFLite file: {what}")),
        fail::Fail::Error(e) => e,
    })?;
    builder::build(&model, bytes.len(), options)
}
