//! What can go wrong before a network runs; nothing can while it does.

use core::fmt;
use sepal_format::FormatError;

/// Why a model cannot be loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is not sound.
    Format(FormatError),
    /// The file could not be opened or mapped.
    #[cfg(feature = "std")]
    Io(std::io::Error),
    /// `SEPAL_ISA` names an instruction set that this CPU does not have.
    Isa,
}

impl From<FormatError> for LoadError {
    fn from(e: FormatError) -> Self {
        LoadError::Format(e)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Format(e) => e.fmt(f),
            #[cfg(feature = "std")]
            LoadError::Io(e) => e.fmt(f),
            LoadError::Isa => {
                f.write_str("SEPAL_ISA names an instruction set that this CPU does not have (scalar, avx2, avx512, neon)")
            }
        }
    }
}

impl core::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            LoadError::Format(e) => Some(e),
            #[cfg(feature = "std")]
            LoadError::Io(e) => Some(e),
            LoadError::Isa => None,
        }
    }
}

/// Why a session cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The arena is not as long as [`Model::arena_bytes`](crate::Model::arena_bytes) says.
    ArenaSize {
        /// Bytes given.
        got: usize,
        /// Bytes needed.
        want: usize,
    },
    /// The arena does not begin at a multiple of 64.
    ArenaAlignment,
    /// The system has not enough memory for the arena.
    OutOfMemory {
        /// Bytes asked for.
        want: usize,
    },
    /// Threads: 1 to 64.
    Threads,
    /// The system refused to start a thread.
    Spawn,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::ArenaSize { got, want } => write!(f, "the arena has {got} bytes, the model needs exactly {want}"),
            SessionError::ArenaAlignment => f.write_str("the arena does not begin at a multiple of 64"),
            SessionError::OutOfMemory { want } => write!(f, "no memory for an arena of {want} bytes"),
            SessionError::Threads => f.write_str("the number of threads must be 1 to 64"),
            SessionError::Spawn => f.write_str("the system refused to start a thread"),
        }
    }
}

impl core::error::Error for SessionError {}
