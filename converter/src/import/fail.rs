//! Why one node cannot be read.

use crate::error::Error;

/// The importer adds the node's name: an [`Fail::Unsupported`] is collected with the others, the rest end the import;
/// of those [`Fail::Invalid`] counts only where nothing before it was a guess.
#[derive(Debug)]
pub(super) enum Fail {
    /// The model breaks a rule of its format.
    Invalid(String),
    /// The model is sound, but we do not do this.
    Unsupported {
        /// The attribute at fault and its value, or a few words.
        what: String,
        /// What the user can do about it.
        remedy: String,
    },
    /// What a file of its size may ask for is used up: whatever else is wrong, the import ends.
    Exhausted(&'static str),
    /// Already complete.
    Error(Error),
}

/// What an operator gives.
pub(super) type Res<T> = Result<T, Fail>;

/// A [`Fail::Invalid`].
pub(super) fn bad<T>(message: impl Into<String>) -> Res<T> {
    Err(Fail::Invalid(message.into()))
}

/// A [`Fail::Unsupported`].
pub(super) fn unsupported<T>(what: impl Into<String>, remedy: impl Into<String>) -> Res<T> {
    Err(Fail::Unsupported { what: what.into(), remedy: remedy.into() })
}
