//! ONNX, opset 7 to 21.
use super::Options;
use crate::error::Result;
use crate::ir::Graph;
use std::path::Path;

/// Reads an ONNX model. `folder` is where external data lies.
///
/// # Errors
/// As [`super::import`].
pub fn import(_bytes: &[u8], _folder: Option<&Path>, _options: &Options) -> Result<Graph> {
    todo!()
}
