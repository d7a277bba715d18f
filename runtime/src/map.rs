//! Mapping a file.
#![expect(unsafe_code, reason = "mapping a file is a promise that it stays as it is")]

use std::io;
use std::path::Path;

/// A file in memory, read as it is used.
#[derive(Debug)]
pub(crate) struct Map(memmap2::Mmap);

impl Map {
    /// Maps a file to be read.
    pub fn open(path: &Path) -> io::Result<Map> {
        let file = crate::file::open_regular(path)?;
        // SAFETY: the bytes must not change while they are mapped. The map is private and read-only, so this process cannot change
        // them through it; that nobody truncates or rewrites the file in place is what the documentation of `Model::open` asks of
        // its caller, as of any program that maps its code or data (replacing the file by a rename leaves the map alone). Where
        // that cannot be promised, `AlignedBytes::read` copies the file instead.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Map(map))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
