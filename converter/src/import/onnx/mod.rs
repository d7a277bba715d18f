//! ONNX, opset 7 to 28.
//!
//! | module | what |
//! |---|---|
//! | `wire`, `proto` | the bytes, borrowed |
//! | `tensor` | constants in all their encodings |
//! | `order` | which nodes matter, and in which order |
//! | `builder` | names to values, one node at a time; collects what is not supported |
//! | `node` | what an operator sees of its node: attributes, inputs, the graph to write to |
//! | `branch` | If whose condition is known |
//! | `sequence` | lists of tensors |
//! | `consts` | what is known before the network runs: shape arithmetic, expressions of weights |
//! | `ops` | the operators, one file per family |
//!
//! Every value is either a constant (floats, or integers for shapes and axes) or a float tensor of known shape that the network
//! computes. Nodes whose inputs are constants are evaluated here; the rest become nodes of the IR with the axes of the source,
//! except that windowed operators are put between transposes.

mod branch;
mod builder;
mod consts;
mod node;
mod ops;
mod order;
mod proto;
mod sequence;
mod tensor;
#[cfg(test)]
mod tests;
mod trivial;
mod wire;

use super::{Options, fail, shape};
use crate::error::{Error, Result, Unsupported, invalid};
use crate::ir::Graph;
use std::path::Path;

/// The oldest operator set that we read: numpy broadcasting came with it.
const OLDEST_OPSET: i64 = 7;
/// The newest.
const NEWEST_OPSET: i64 = 28;

/// Reads an ONNX model. `folder` is where external data lies.
///
/// # Errors
/// As [`super::import`].
pub fn import(bytes: &[u8], folder: Option<&Path>, options: &Options) -> Result<Graph> {
    let model = proto::Model::parse(bytes).map_err(|e| invalid(format!("neither Keras (HDF5 or zip) nor an ONNX file: {e}")))?;
    let Some(graph) = &model.graph else { return Err(invalid("neither Keras (HDF5 or zip) nor an ONNX file with a graph")) };
    let of_model = |what: String, remedy: &str| {
        let name = if graph.name.is_empty() { "model" } else { graph.name };
        Err(Error::Unsupported(vec![Unsupported { node: name.into(), kind: "model".into(), what, remedy: remedy.into() }]))
    };
    if model.ir_version < 1 {
        return Err(invalid("neither Keras (HDF5 or zip) nor an ONNX file: it has no IR version"));
    }
    if model.ir_version < 3 {
        return of_model(format!("IR version {}", model.ir_version), "export it with IR version 3 or later");
    }
    let Some(&(_, opset)) = model.opsets.iter().find(|(d, _)| ops::is_onnx_domain(d)) else {
        return Err(invalid("the model imports no ai.onnx operator set"));
    };
    if !(OLDEST_OPSET..=NEWEST_OPSET).contains(&opset) {
        return of_model(format!("opset {opset}"), &format!("export it with an opset from {OLDEST_OPSET} to {NEWEST_OPSET}"));
    }
    if graph.sparse_initializers {
        return of_model("sparse initializers".into(), "store them as dense tensors");
    }
    builder::build(graph, opset, bytes.len(), folder, options)
}
