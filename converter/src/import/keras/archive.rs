//! The members of a `.keras` zip.

use crate::error::{Result, invalid};
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// A member of this many bytes is accepted from any file, however small.
const FREE_BYTES: u64 = 16 << 20;
/// All members together may have this many times the bytes of the zip. Real weights deflate by less than 10; constant ones
/// by as much as 1000.
const MAX_RATIO: u64 = 64;
/// No more than this is ever inflated.
const MAX_BYTES: u64 = 4 << 30;

/// What a `.keras` file holds.
pub(super) struct Members {
    /// `config.json`.
    pub config: Vec<u8>,
    /// `metadata.json`.
    pub metadata: Vec<u8>,
    /// `model.weights.h5`.
    pub weights: Vec<u8>,
}

/// Reads the three members.
///
/// # Errors
/// [`crate::Error::Invalid`] if the zip is corrupt, a member is missing or inflates beyond all measure.
pub(super) fn read(bytes: &[u8]) -> Result<Members> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| invalid(format!("not a sound zip: {e}")))?;
    if zip.by_name("model.weights.json").is_ok() {
        return Err(invalid(
            "the .keras zip holds weights in several files; save it with `model.save(...)`, without `max_shard_size`",
        ));
    }
    let mut budget = (bytes.len() as u64).saturating_mul(MAX_RATIO).saturating_add(FREE_BYTES).min(MAX_BYTES);
    let mut member = |name: &str| -> Result<Vec<u8>> {
        let file = zip.by_name(name).map_err(|e| invalid(format!("`{name}` in the .keras zip: {e}")))?;
        let size = file.size();
        if size > budget {
            return Err(invalid(format!("`{name}` claims to inflate to {size} bytes, which is not believable for this zip")));
        }
        budget -= size;
        let mut out = Vec::new();
        let room = usize::try_from(size).ok().and_then(|n| out.try_reserve_exact(n).ok());
        room.ok_or_else(|| invalid(format!("`{name}`: no memory for {size} bytes")))?;
        // One more byte than claimed, to notice a member that is longer than its header says.
        let read = file.take(size.saturating_add(1)).read_to_end(&mut out);
        read.map_err(|e| invalid(format!("`{name}` in the .keras zip: {e}")))?;
        if out.len() as u64 != size {
            return Err(invalid(format!("`{name}` is {} bytes long, its header says {size}", out.len())));
        }
        Ok(out)
    };
    Ok(Members { config: member("config.json")?, metadata: member("metadata.json")?, weights: member("model.weights.h5")? })
}
