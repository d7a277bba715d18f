#![doc = include_str!("../FORMAT.md")]
#![no_std]

pub mod act;
mod error;
pub mod layout;
pub mod limits;
pub mod op;
pub mod preprocessing;
pub mod record;
pub mod rows;
pub mod strassen;
pub mod unary;
mod validate;
mod view;
pub mod winograd;
mod work;
#[cfg(feature = "write")]
pub mod write;

pub use act::Act;
pub use error::{FormatError, FormatErrorKind};
pub use unary::Unary;
pub use view::{ModelView, Proof};

/// Where the bytes under [`record::Header::structure_hash`] begin.
pub const HASH_START: usize = 24;

/// XXH3-64 of a structure: all bytes before the weights section, from [`HASH_START`] on. Its seed are the eight bytes before the
/// hash (version and byte order) as a little-endian integer, so that no bit of the structure is without protection.
pub fn structure_hash(structure: &[u8]) -> u64 {
    let seed = structure.get(8..16).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    xxhash_rust::xxh3::xxh3_64_with_seed(structure.get(HASH_START..).unwrap_or(&[]), seed)
}
