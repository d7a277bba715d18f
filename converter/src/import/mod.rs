//! Readers of other people's files. Each gives a [`Graph`] with the meaning of the source, unfolded.

use crate::error::{Error, Result, invalid};
use crate::ir::Graph;
use std::path::Path;

mod fail;
pub mod keras;
pub mod onnx;
mod shape;
pub mod tflite;

/// Bytes of the heap that reading any source takes at most, besides [`HEAP_RATIO`] times its length.
pub const HEAP_BYTES: usize = 192 << 20;
/// See [`HEAP_BYTES`]. Compressed weights, and constants that a source computes, may be larger than the source.
pub const HEAP_RATIO: usize = 256;

/// What the user may fix about a source.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Shapes of inputs by name; the empty name means the only input. They replace unknown extents, and known ones where
    /// the network allows it.
    pub input_shapes: Vec<(String, Vec<usize>)>,
    /// Names of the values to give out instead of the source's outputs.
    pub outputs: Vec<String>,
}

/// Reads a model, by what its first bytes say: HDF5 (Keras 1-3 `.h5`), zip (`.keras`), TFLite by its identifier,
/// otherwise ONNX.
///
/// # Errors
/// [`Error::Io`], [`Error::Invalid`], or [`Error::Unsupported`] with everything that is not supported.
pub fn import(path: &Path, options: &Options) -> Result<Graph> {
    let bytes = crate::file::read_whole(path).map_err(|source| Error::Io { path: path.into(), source })?;
    import_bytes(&bytes, path.parent(), options)
}

/// Reads a model in memory. `folder` is where external data lies.
///
/// # Errors
/// As [`import`].
pub fn import_bytes(bytes: &[u8], folder: Option<&Path>, options: &Options) -> Result<Graph> {
    if bytes.is_empty() {
        return Err(invalid("the file is empty"));
    }
    let named = &options.outputs;
    if let Some(name) = named.iter().enumerate().find_map(|(i, name)| named[..i].contains(name).then_some(name)) {
        return Err(invalid(format!("output {name:?} is asked for twice")));
    }
    let graph = match format_name(bytes) {
        HDF5 => keras::import_h5(bytes, options)?,
        KERAS => keras::import_keras(bytes, options)?,
        TFLITE => tflite::import(bytes, options)?,
        _ => onnx::import(bytes, folder, options)?,
    };
    graph.verify().map_err(|e| invalid(format!("inconsistent network: {e}")))?;
    Ok(graph)
}

const HDF5: &str = "keras-h5";
const KERAS: &str = "keras";
const TFLITE: &str = "tflite";

/// Which importer takes these bytes: `keras-h5`, `keras`, `tflite` or `onnx`.
pub fn format_name(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"\x89HDF\r\n\x1a\n") {
        HDF5
    } else if bytes.starts_with(b"PK\x03\x04") {
        KERAS
    } else if bytes.get(4..8) == Some(tflite::IDENTIFIER) {
        TFLITE
    } else {
        "onnx"
    }
}
