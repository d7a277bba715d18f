//! What can go wrong with a source model.

use std::fmt;
use std::path::PathBuf;

/// Why a source cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it claims to be: truncated, corrupt, inconsistent.
    #[error("invalid model: {0}")]
    Invalid(String),
    /// The network is sound, but computing it in f64, as the self-check and `diff` do, is more than they take.
    #[error("too large to be compared: {0}")]
    TooLarge(String),
    /// What is asked for does not fit the network.
    #[error("{0}")]
    Request(String),
    /// The file is sound but asks for things that Sepal does not do; all of them.
    #[error("{} unsupported: {}", .0.len(), list(.0))]
    Unsupported(Vec<Unsupported>),
    /// The converted file does not give what the source gives.
    #[error("self-check failed: {0}")]
    Verification(String),
    /// What was asked for makes a file that is further off than allowed, and without it the file is not.
    #[error("not exact enough: {0}")]
    Inexact(String),
}

/// One thing that Sepal does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Path of the node or layer.
    pub node: String,
    /// Operator or layer class.
    pub kind: String,
    /// The attribute at fault and its value, or a few words.
    pub what: String,
    /// What the user can do about it.
    pub remedy: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}; {}", self.node, self.kind, self.what, self.remedy)
    }
}

fn list(all: &[Unsupported]) -> String {
    all.iter().map(|u| format!("\n  {u}")).collect()
}

/// Result of a conversion step.
pub type Result<T> = std::result::Result<T, Error>;

/// An [`Error::Invalid`] from a message.
pub fn invalid(message: impl Into<String>) -> Error {
    Error::Invalid(message.into())
}

/// An [`Error::Request`] from a message.
pub fn request(message: impl Into<String>) -> Error {
    Error::Request(message.into())
}
