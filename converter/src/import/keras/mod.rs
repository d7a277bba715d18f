//! Keras: legacy HDF5 and the `.keras` zip.
//!
//! | module | what |
//! |---|---|
//! | `h5` | attributes and datasets of an HDF5 file, within a budget |
//! | `archive` | the members of a `.keras` zip, within a budget |
//! | `config` | the JSON description of a network to a tree of models, layers and calls |
//! | `weights` | which dataset holds which variable of which layer |
//! | `layers` | one file per family of layers: what a configuration asks for, and the nodes it becomes |
//! | `build` | walks the calls in order and lets each layer append its nodes |

use super::Options;
use crate::error::{Error, Result, invalid};
use crate::ir::Graph;
use serde_json::Value;
use std::borrow::Cow;

mod archive;
mod build;
mod config;
mod groups;
mod h5;
mod layers;
mod weights;

#[cfg(test)]
mod tests;

/// Reads a legacy HDF5 file (Keras 2.0.x and later).
///
/// # Errors
/// As [`super::import`].
pub fn import_h5(bytes: &[u8], options: &Options) -> Result<Graph> {
    let file = h5::File::open(bytes.to_vec(), bytes.len())?;
    let Some(text) = file.text("", "model_config")? else {
        return Err(invalid(
            "the file has no `model_config`: it holds weights without a network; save the whole model with `model.save(...)`",
        ));
    };
    let json = parse_json(text.as_bytes(), "model_config", bytes.len())?;
    let version = match file.text("", "keras_version")? {
        Some(version) => version,
        None => file.text("model_weights", "keras_version")?.unwrap_or_default(),
    };
    import(&json, &version, weights::Store::Legacy(&file), options)
}

/// Reads a Keras 3 zip.
///
/// # Errors
/// As [`super::import`].
pub fn import_keras(bytes: &[u8], options: &Options) -> Result<Graph> {
    let archive::Members { config, metadata, weights } = archive::read(bytes)?;
    let json = parse_json(&config, "config.json", bytes.len())?;
    let metadata = parse_json(&metadata, "metadata.json", bytes.len())?;
    let version = metadata.get("keras_version").and_then(Value::as_str).unwrap_or("3");
    let file = h5::File::open(weights, bytes.len())?;
    import(&json, version, weights::Store::Archive(&file), options)
}

fn import(json: &Value, version: &str, store: weights::Store<'_>, options: &Options) -> Result<Graph> {
    let keras = match version.split('.').next().and_then(|major| major.parse().ok()) {
        Some(major @ 2..) => major.min(3),
        // The first ones did not say.
        _ => 1,
    };
    let mut model = config::parse(json, keras, middles(version))?;
    let demanded = build::demanded(&model, &options.outputs)?;
    let faults = build::faults(&model, &demanded);
    match weights::locate(&mut model, &store, keras) {
        // What is not supported matters more than weights that are not there.
        Err(_) if !faults.is_empty() => Err(Error::Unsupported(faults)),
        located => located.and_then(|()| build::build(&model, &demanded, store.file(), options, faults)),
    }
}

/// Whether bilinear `UpSampling2D` of this version of Keras 2 takes the middles of pixels, as Keras 3 does: that of TensorFlow from 2.2
/// on, which was called 2.3.0-tf, and what came after 2.3. TensorFlow 1.14 and 1.15 do not agree, and are both called 2.2.4-tf.
fn middles(version: &str) -> bool {
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().ok());
    let (major, minor) = (numbers.next().flatten(), numbers.next().flatten());
    major == Some(2) && (minor >= Some(4) || (minor == Some(3) && version.ends_with("-tf")))
}

/// Most heap that a parsed description may take, of which parts are copied twice, and for each byte of the file besides: a network of
/// a thousand layers takes some 16 MB, and HDF5 takes some thousand bytes for the smallest layer.
const MAX_JSON: usize = 48 << 20;
const JSON_RATIO: usize = 8;

/// Parses JSON of a file of so many bytes; `serde_json` bounds the nesting. What is packed small may hold millions of empty objects,
/// so that they are counted first: each takes a node of a tree, each list and value some words.
fn parse_json(bytes: &[u8], what: &str, file: usize) -> Result<Value> {
    let cost = |b: &u8| match b {
        b'{' => 640,
        b'[' => 96,
        b',' | b':' => 64,
        _ => 1,
    };
    // What writes no letters so may mean any of those: there is JSON in strings of JSON.
    let escapes = bytes.windows(4).filter(|w| w == b"\\u00").count() * 640;
    if bytes.iter().map(cost).sum::<usize>().saturating_add(escapes) > file.saturating_mul(JSON_RATIO).saturating_add(MAX_JSON) {
        return Err(invalid(format!("`{what}` describes more than any network has")));
    }
    serde_json::from_slice(&finite(bytes)).map_err(|e| match e.to_string() {
        deep if deep.starts_with("recursion limit") => {
            invalid(format!("`{what}` has networks within networks too deep to be read"))
        }
        why => invalid(format!("`{what}` is not JSON: {why}")),
    })
}

/// Python writes `Infinity`, which is no JSON. In its place comes what is infinite in f32, of the same length.
fn finite(bytes: &[u8]) -> Cow<'_, [u8]> {
    const WORD: &[u8] = b"Infinity";
    let mut out = Cow::Borrowed(bytes);
    let (mut quoted, mut at) = (false, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b'I' if !quoted && bytes[at..].starts_with(WORD) => out.to_mut()[at..at + WORD.len()].copy_from_slice(b"1e300   "),
            _ => {}
        }
        at += 1;
    }
    out
}
