//! Reads trained networks (Keras `.h5` and `.keras`, ONNX, TFLite), folds batch normalisation, plans the memory and writes one flat
//! file that `sepal` runs in place.

pub mod convert;
pub mod data;
pub mod diff;
pub mod emit;
pub mod error;
pub mod file;
pub mod import;
pub mod interp;
pub mod ir;
mod mixed;
mod names;
pub mod passes;
pub mod plans;
pub mod preprocessing;
pub mod provenance;

pub use error::{Error, Result, Unsupported};

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
