//! Readers of other people's files. Each gives a [`Graph`] with the meaning of the source, unfolded.

use crate::error::{Error, Result, invalid, request};
use crate::ir::Graph;
use crate::plans::Wanted;
use std::collections::{HashMap, HashSet};
use std::path::Path;

mod einsum;
mod elements;
mod fail;
pub mod keras;
pub mod onnx;
mod parts;
mod shape;
pub mod tflite;

pub use parts::MAX_PIECES;

/// Bytes of the heap that reading any source takes at most, besides [`HEAP_RATIO`] times its length.
pub const HEAP_BYTES: usize = 192 << 20;
/// See [`HEAP_BYTES`]. Compressed weights, and constants that a source computes, may be larger than the source.
pub const HEAP_RATIO: usize = 256;

/// Elements of constants for each byte of a source: 8 bytes each, and as much again while one is made of another.
const ELEMENTS_PER_BYTE: usize = HEAP_RATIO / 16;
/// Work that may be done on the constants of a source, see [`crate::interp::work`]: some seconds.
const MOST_WORK: u64 = 1 << 31;
/// What a node of the IR takes, in elements of constants.
const NODE: usize = 64;
/// Longest name, or path of names, of a node; it is repeated in what is made of the node, and in what is said of it.
const MAX_NAME: usize = 4096;

/// What the user may fix about a source.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Shapes of inputs by name; the empty name means the only input. They replace unknown extents, and known ones where
    /// the network allows it.
    pub input_shapes: Vec<(String, Vec<usize>)>,
    /// Names of the values to give out instead of the source's outputs.
    pub outputs: Vec<String>,
    /// Which network of a source that has several, by the name of its signature; otherwise the first.
    pub signature: Option<String>,
    /// What extents become that neither the source nor a shape given for it tells.
    pub open: Wanted,
}

/// Reads a model, by what its first bytes say: HDF5 (Keras 1-3 `.h5`), zip (`.keras`), TFLite by its identifier,
/// otherwise ONNX.
///
/// # Errors
/// [`Error::Io`], [`Error::Invalid`], [`Error::Request`] for options that do not fit, or [`Error::Unsupported`] with everything that
/// is not supported.
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
    if let Some(name) = twice(options.outputs.iter()) {
        return Err(request(format!("output {name:?} is asked for twice")));
    }
    if let Some(name) = twice(options.input_shapes.iter().map(|(name, _)| name)) {
        return Err(request(format!("the shape of input {name:?} is given twice")));
    }
    if let (Some(name), true) = (&options.signature, format_name(bytes) != TFLITE) {
        return Err(request(format!("signature {name:?} is asked for, and only TFLite models have any")));
    }
    let mut graph = match format_name(bytes) {
        HDF5 => keras::import_h5(bytes, options)?,
        KERAS => keras::import_keras(bytes, options)?,
        TFLITE => tflite::import(bytes, options)?,
        // Programs may put bytes of their own before HDF5, then as many as a power of two.
        _ if (9..20).any(|n| bytes.get(1 << n..).is_some_and(|rest| rest.starts_with(HDF5_START))) => {
            return Err(invalid(
                "an HDF5 file behind a user block; take that away with `h5unjam`, or load the network and save it again",
            ));
        }
        _ if bytes.starts_with(b"{") => {
            return Err(invalid(
                "a text in JSON, which has no weights in it; save the whole network with `model.save(\"name.keras\")`",
            ));
        }
        _ => onnx::import(bytes, folder, options)?,
    };
    let (io, most) = (graph.inputs.len() + graph.outputs.len(), sepal_format::limits::IO);
    if io > most {
        return Err(invalid(format!(
            "the network has {io} inputs and outputs, a model file at most {most}: name fewer with --outputs"
        )));
    }
    graph.output_names = distinct(&graph.output_names);
    graph.join_constants();
    graph.verify().map_err(|e| invalid(format!("inconsistent network: {e}")))?;
    Ok(graph)
}

/// The first name that was there before.
fn twice<'a>(mut names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = HashSet::new();
    names.find(|name| !seen.insert(*name))
}

/// A value may be given out more than once, and its name tells the first of them: the others have a number behind it.
fn distinct(names: &[String]) -> Vec<String> {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let own = names.iter().map(|name| {
        let count = seen.entry(name).or_insert(0);
        let mut own = name.clone();
        while *count > 0 && !taken.insert(own.clone()) {
            own = format!("{name}:{count}");
            *count += 1;
        }
        *count = (*count).max(1);
        own
    });
    own.collect()
}

const HDF5_START: &[u8] = b"\x89HDF\r\n\x1a\n";
const HDF5: &str = "keras-h5";
const KERAS: &str = "keras";
const TFLITE: &str = "tflite";

/// Which importer takes these bytes: `keras-h5`, `keras`, `tflite` or `onnx`.
pub fn format_name(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(HDF5_START) {
        HDF5
    } else if bytes.starts_with(b"PK\x03\x04") {
        KERAS
    } else if bytes.get(4..8) == Some(tflite::IDENTIFIER) {
        TFLITE
    } else {
        "onnx"
    }
}

#[cfg(test)]
mod naming {
    #[test]
    fn outputs_of_one_name_are_told_apart() {
        let named = |names: &[&str]| super::distinct(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert_eq!(named(&["y", "z"]), ["y", "z"]);
        assert_eq!(named(&["y", "y", "z", "y"]), ["y", "y:1", "z", "y:2"]);
        assert_eq!(named(&["y", "y", "y:1"]), ["y", "y:2", "y:1"]);
        assert!(named(&[]).is_empty());
    }
}
