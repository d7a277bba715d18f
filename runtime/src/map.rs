//! Mapping a file, and memory in large pages.
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
        // SAFETY: the bytes must not change while they are mapped. The map is read-only, so this process cannot change
        // them through it; that nobody truncates or rewrites the file in place is what the documentation of `Model::open` asks of
        // its caller, as of any program that maps its code or data (replacing the file by a rename leaves the map alone). Where
        // that cannot be promised, `AlignedBytes::read` copies the file instead.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        // What is not in the page cache yet is read in large pages where the file system has them, and mapped as such from then on:
        // a file of 150 MB by 80 faults instead of 2400, of which the first inference is a quarter shorter.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Map(map))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes of a large page.
#[cfg(target_os = "linux")]
const LARGE: usize = 2 << 20;

/// Zeros in large pages, as far as they fill such: hundreds of small ones cost a millisecond to get, and entries of the TLB in each run.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct LargePages(memmap2::MmapMut);

#[cfg(target_os = "linux")]
impl LargePages {
    /// So many bytes, a multiple of four. `None` for less than a page, and where there is no memory: the heap may have it.
    pub fn zeroed(len: usize) -> Option<LargePages> {
        let map = if len < LARGE { None } else { memmap2::MmapMut::map_anon(len).ok() }?;
        // A system without them gives small ones.
        let _ = map.advise(memmap2::Advice::HugePage);
        Some(LargePages(map))
    }

    pub fn floats(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    pub fn floats_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn large_pages_are_zeros_of_their_own() {
        assert!(LargePages::zeroed(LARGE - 1).is_none());
        assert!(LargePages::zeroed(usize::MAX / 2).is_none());
        for len in [LARGE, LARGE + 64, 3 * LARGE - 64] {
            let [mut one, other] = [(); 2].map(|()| LargePages::zeroed(len).unwrap());
            assert_eq!(one.floats().len(), len / 4);
            assert!(one.floats().iter().all(|&v| v == 0.0));
            one.floats_mut().fill(1.0);
            assert!(other.floats().iter().all(|&v| v == 0.0));
        }
    }
}
