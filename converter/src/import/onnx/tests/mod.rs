//! Tests of the importer.

mod cases;
mod constants;
mod errors;
mod hostile;
mod models;
mod npz;
mod plans;
mod trivial;
mod write;

use crate::error::{Error, Unsupported};
use std::io::Write as _;
use std::path::PathBuf;

/// A folder of the models that are not in the repository, or `None` after saying so.
fn shared(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SEPAL_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = root.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    let _ = writeln!(std::io::stderr(), "SKIPPED: {} is not there", path.display());
    None
}

/// The small models of the repository.
fn data() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx").into()
}

/// The models of a folder, in order.
fn models(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    all.sort();
    all
}

/// What an import did not support.
fn unsupported<T: std::fmt::Debug>(result: crate::Result<T>) -> Vec<Unsupported> {
    match result {
        Err(Error::Unsupported(all)) => all,
        other => panic!("expected unsupported, got {other:?}"),
    }
}
