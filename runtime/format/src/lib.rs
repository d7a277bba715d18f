#![doc = include_str!("../FORMAT.md")]
#![no_std]

pub mod act;
mod error;
pub mod layout;
pub mod limits;
pub mod op;
pub mod record;
mod validate;
mod view;
#[cfg(feature = "write")]
pub mod write;

pub use act::Act;
pub use error::{FormatError, FormatErrorKind};
pub use view::{ModelView, Proof};

/// Where the bytes under [`record::Header::structure_hash`] begin.
pub const HASH_START: usize = 24;

/// XXH3-64 of a structure: all bytes before the weights section, from [`HASH_START`] on.
pub fn structure_hash(structure: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(structure.get(HASH_START..).unwrap_or(&[]))
}
