//! Why a model or a session is refused.

use core::fmt;
use sepal_format::FormatError;
use sepal_kernels::Isa;

/// Why a model is refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[cfg(feature = "std")]
    Io(std::io::Error),
    /// The bytes are not a sound model.
    Format(FormatError),
    /// The model needs a part of this library that was left out when it was built.
    Feature {
        /// The Cargo feature that has it.
        feature: &'static str,
        /// The first step that needs it.
        step: usize,
    },
    /// This CPU has none of the instruction sets that this library was built with, and `scalar` is not among them.
    NoIsa,
    /// The environment variable `SEPAL_ISA` names an instruction set that is unknown or that this CPU does not have.
    Isa,
    /// The signature is not one of this file by this key. Only with the feature `sign`.
    Signature,
    /// The model asks for more than the [`Limits`](crate::Limits) allow.
    Limit {
        /// What it asks for too much of.
        what: &'static str,
        /// How much it asks for.
        asked: u64,
        /// How much is allowed.
        most: u64,
    },
}

impl From<FormatError> for LoadError {
    fn from(e: FormatError) -> Self {
        LoadError::Format(e)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "std")]
            LoadError::Io(e) => write!(f, "{e}"),
            LoadError::Format(e) => write!(f, "{e}"),
            LoadError::Feature { feature, step } => {
                write!(f, "step {step} needs `{feature}`, which this build leaves out: build with the feature `{feature}`")
            }
            LoadError::NoIsa => {
                f.write_str("this CPU has none of the instruction sets of this build: build with the feature `scalar`")
            }
            LoadError::Isa => {
                f.write_str("SEPAL_ISA names an instruction set that this CPU does not have; unset it or choose among:")?;
                Isa::available().try_for_each(|isa| write!(f, " {}", isa.name()))
            }
            LoadError::Signature => f.write_str("the signature is not one of this file by this key"),
            LoadError::Limit { what, asked, most } => write!(f, "the model asks for {asked} {what}; at most {most} are allowed"),
        }
    }
}

impl core::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            #[cfg(feature = "std")]
            LoadError::Io(e) => Some(e),
            LoadError::Format(e) => Some(e),
            LoadError::Feature { .. } | LoadError::NoIsa | LoadError::Isa | LoadError::Signature | LoadError::Limit { .. } => None,
        }
    }
}

/// Why a session is refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionError {
    /// No threads, or more than `most`.
    Threads {
        /// As asked for.
        threads: usize,
        /// The largest number that is possible.
        most: usize,
    },
    /// There is not so much memory.
    Memory {
        /// Bytes of the arena.
        bytes: usize,
    },
    /// The arena does not have the length that [`Model::arena_bytes`](crate::Model::arena_bytes) gives.
    ArenaLength {
        /// Bytes that it must have.
        need: usize,
        /// Bytes that it has.
        got: usize,
    },
    /// The arena does not begin at a multiple of 64 bytes.
    ArenaAlignment,
    /// A thread could not be started.
    #[cfg(feature = "std")]
    Spawn(std::io::Error),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Threads { threads, most } => write!(f, "{threads} threads: choose 1 to {most}"),
            SessionError::Memory { bytes } => write!(f, "no memory for an arena of {bytes} bytes"),
            SessionError::ArenaLength { need, got } => write!(f, "the arena has {got} bytes and must have exactly {need}"),
            SessionError::ArenaAlignment => f.write_str("the arena does not begin at a multiple of 64 bytes"),
            #[cfg(feature = "std")]
            SessionError::Spawn(e) => write!(f, "cannot start a thread: {e}"),
        }
    }
}

impl core::error::Error for SessionError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            #[cfg(feature = "std")]
            SessionError::Spawn(e) => Some(e),
            _ => None,
        }
    }
}
