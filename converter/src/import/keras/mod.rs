//! Keras: legacy HDF5 and the `.keras` zip.
use super::Options;
use crate::error::Result;
use crate::ir::Graph;

/// Reads a legacy HDF5 file (Keras 2.0.x and later).
///
/// # Errors
/// As [`super::import`].
pub fn import_h5(_bytes: &[u8], _options: &Options) -> Result<Graph> {
    todo!()
}

/// Reads a Keras 3 zip.
///
/// # Errors
/// As [`super::import`].
pub fn import_keras(_bytes: &[u8], _options: &Options) -> Result<Graph> {
    todo!()
}
