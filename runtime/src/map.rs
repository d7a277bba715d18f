//! Bytes of model files: mapped, or copied to aligned memory.
#![expect(unsafe_code, reason = "maps a file")]

use std::fs::File;
use std::path::Path;
use std::vec::Vec;

/// A mapped file.
#[derive(Debug)]
pub(crate) struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps a file for reading.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the mapping is private to reading here, but another process may change or shorten the file underneath, which
        // no program can prevent. That is the caller's contract, stated at `Model::open`: what was verified must not change.
        // Numbers that change can at worst panic or give wrong results (every index is checked against its slice); a
        // file that shrinks ends the process by a signal. Models that others may write to should be read with `from_bytes`.
        unsafe { memmap2::Mmap::map(&file) }.map(Mapped)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// 64 bytes that begin at a multiple of 64.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([f32; 16]);

/// A copy of bytes that begins at a multiple of 64, as [`Model::from_bytes`](crate::Model::from_bytes) asks for.
#[derive(Clone, Debug)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBytes {
    /// Copies bytes to aligned memory.
    pub fn new(bytes: &[u8]) -> Self {
        let mut lines = std::vec![Line([0.0; 16]); bytes.len().div_ceil(64)];
        bytemuck::cast_slice_mut(&mut lines)[..bytes.len()].copy_from_slice(bytes);
        AlignedBytes { lines, len: bytes.len() }
    }
}

impl std::ops::Deref for AlignedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

/// Zeroed memory for an arena, or `None` if the system has not enough.
pub(crate) fn arena(bytes: usize) -> Option<Vec<Line>> {
    let mut lines = Vec::new();
    lines.try_reserve_exact(bytes.div_ceil(64)).ok()?;
    lines.resize(bytes.div_ceil(64), Line([0.0; 16]));
    Some(lines)
}
