//! Memory for tensors: aligned, and cut into disjoint slices.

use core::ops::Range;

/// The unit of allocation. Not aligned to 64 itself: the system gives zeroed pages without touching them only for what needs no
/// more than its usual alignment.
#[cfg(feature = "std")]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(16))]
struct Unit([u8; 16]);

/// Bytes on the heap that begin at a multiple of 64, as [`Model::from_bytes`](crate::Model::from_bytes) asks for.
#[cfg(feature = "std")]
pub struct AlignedBytes {
    units: std::boxed::Box<[Unit]>,
    start: usize,
    len: usize,
}

#[cfg(feature = "std")]
impl AlignedBytes {
    /// So many zeros, or `None` if there is not so much memory. Large ones cost nothing until they are used.
    pub fn zeroed(len: usize) -> Option<Self> {
        let units: std::boxed::Box<[Unit]> = bytemuck::allocation::try_zeroed_slice_box(len.div_ceil(16).checked_add(3)?).ok()?;
        let address = units.as_ptr() as usize;
        Some(AlignedBytes { start: address.next_multiple_of(64) - address, units, len })
    }

    /// A copy of `bytes`, or `None` if there is not so much memory.
    pub fn copy(bytes: &[u8]) -> Option<Self> {
        let mut all = Self::zeroed(bytes.len())?;
        all.copy_from_slice(bytes);
        Some(all)
    }

    /// A file.
    ///
    /// # Errors
    /// What reading it gives; [`OutOfMemory`](std::io::ErrorKind::OutOfMemory) if it does not fit.
    pub fn read(path: impl AsRef<std::path::Path>) -> std::io::Result<Self> {
        use std::io::{Error, ErrorKind, Read};
        let mut file = crate::file::open_regular(path.as_ref())?;
        let len = usize::try_from(file.metadata()?.len()).map_err(|_| Error::from(ErrorKind::OutOfMemory))?;
        let mut all = Self::zeroed(len).ok_or(Error::from(ErrorKind::OutOfMemory))?;
        file.read_exact(&mut all)?;
        Ok(all)
    }

    /// All of it as floats; the last bytes are left out if they are not a whole one.
    pub(crate) fn floats(&self) -> &[f32] {
        let all: &[f32] = bytemuck::cast_slice(&self.units);
        all.get(self.start / 4..).and_then(|f| f.get(..self.len / 4)).unwrap_or(&[])
    }

    pub(crate) fn floats_mut(&mut self) -> &mut [f32] {
        let all: &mut [f32] = bytemuck::cast_slice_mut(&mut self.units);
        all.get_mut(self.start / 4..).and_then(|f| f.get_mut(..self.len / 4)).unwrap_or(&mut [])
    }
}

#[cfg(feature = "std")]
impl core::ops::Deref for AlignedBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        let all: &[u8] = bytemuck::cast_slice(&self.units);
        all.get(self.start..).and_then(|b| b.get(..self.len)).unwrap_or(&[])
    }
}

#[cfg(feature = "std")]
impl core::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        let all: &mut [u8] = bytemuck::cast_slice_mut(&mut self.units);
        all.get_mut(self.start..).and_then(|b| b.get_mut(..self.len)).unwrap_or(&mut [])
    }
}

#[cfg(feature = "std")]
impl core::fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "AlignedBytes({} bytes)", self.len)
    }
}

/// What a step may read of the arena: all tensors but the memory that it writes.
#[derive(Clone, Copy)]
pub(crate) struct Readable<'m> {
    before: &'m [f32],
    after: &'m [f32],
    /// Where `after` begins.
    resumes: usize,
}

impl<'m> Readable<'m> {
    /// All of some floats.
    pub fn all(floats: &'m [f32]) -> Self {
        Readable { before: floats, after: &[], resumes: floats.len() }
    }

    /// Some floats of the arena; `None` if the step writes some of them.
    pub fn get(&self, range: Range<usize>) -> Option<&'m [f32]> {
        if range.end <= self.before.len() {
            return self.before.get(range);
        }
        self.after.get(range.start.checked_sub(self.resumes)?..range.end.checked_sub(self.resumes)?)
    }
}

/// Cuts an arena for a step: what it reads, what it writes (`out`), and the scratch that follows the first `tensors` floats.
/// `None` if the arena is too short.
pub(crate) fn cut(arena: &mut [f32], tensors: usize, out: Range<usize>) -> Option<(Readable<'_>, &mut [f32], &mut [f32])> {
    let (tensors, scratch) = arena.split_at_mut_checked(tensors)?;
    let resumes = out.end;
    let (front, after) = tensors.split_at_mut_checked(out.end)?;
    let (before, out) = front.split_at_mut_checked(out.start)?;
    Some((Readable { before, after, resumes }, out, scratch))
}
