//! What a network is fed with and compared with: arrays, pictures, pseudo-random numbers.

#[cfg(feature = "pictures")]
pub mod image;
pub mod npz;
pub mod random;
pub mod recipe;

use std::path::{Path, PathBuf};

/// Why a file of data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not hold what is needed.
    #[error("{path}: {message}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        DataError::Io { path: path.into(), source }
    }

    pub(crate) fn invalid(path: &Path, message: impl Into<String>) -> Self {
        DataError::Invalid { path: path.into(), message: message.into() }
    }
}
