//! Mutations of a converted file that its reader looks at: they fall on records, and the hash is right.

use crate::random::Random;
use bytemuck::{cast_slice, pod_read_unaligned};
use sepal_format::record::{Header, MAGIC, Section, section};
use std::mem::{offset_of, size_of};
use std::ops::Range;

/// The ranges of a file that hold its records, of all its plans, and where its weights begin; `None` if it is too broken to tell. Names
/// and reports are left out: they matter least.
fn parts(file: &[u8]) -> Option<(Vec<Range<usize>>, usize)> {
    let header: Header = pod_read_unaligned(file.get(..size_of::<Header>())?);
    let count = (header.sections as usize).min(64);
    let table = file.get(size_of::<Header>()..)?.get(..count * size_of::<Section>())?;
    let table: Vec<Section> = table.chunks_exact(size_of::<Section>()).map(pod_read_unaligned).collect();
    let weights = table.iter().find(|s| s.kind == section::WEIGHTS)?.offset as usize;
    let mut parts: Vec<_> = std::iter::once(0..size_of::<Header>() + count * size_of::<Section>()).collect();
    let text = [section::NAMES, section::PROVENANCE, section::FOLDS, section::VALUES, section::WEIGHTS];
    for s in table.iter().filter(|s| !text.contains(&s.kind)) {
        let range = s.offset as usize..(s.offset.checked_add(s.len)?) as usize;
        if range.end <= weights && range.len() >= 8 {
            parts.push(range);
        }
    }
    (weights <= file.len()).then_some((parts, weights))
}

/// Makes length and hash right.
fn mend(file: &mut [u8]) {
    let Some((_, weights)) = parts(file) else { return };
    file[..MAGIC.len()].copy_from_slice(&MAGIC);
    let len = (file.len() as u64).to_le_bytes();
    file[offset_of!(Header, file_len)..][..8].copy_from_slice(&len);
    let hash = sepal_format::structure_hash(&file[..weights]);
    file[offset_of!(Header, structure_hash)..][..8].copy_from_slice(&hash.to_le_bytes());
}

/// One to four words of the records, or what libFuzzer does to `size` bytes of `data`; most results have the right hash.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    let Some((ranges, _)) = parts(&data[..size]).filter(|_| random.below(16) > 0) else {
        let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
        mend(&mut data[..size]);
        return size;
    };
    let file = &mut data[..size];
    for _ in 0..1 + random.below(4) {
        let mut word = || {
            let range = &ranges[random.below(ranges.len())];
            range.start + random.below(range.len() / 4) * 4
        };
        let (at, other) = (word(), word());
        let old = u32::from_le_bytes(file[at..at + 4].try_into().unwrap_or_default());
        let new = match random.below(14) {
            0 => 0,
            1 => 1,
            2 => u32::MAX,
            3 => 1 << random.below(32),
            4 => (1u32 << random.below(32)) - 1,
            5 => old.wrapping_add(1),
            6 => old.wrapping_sub(1),
            7 => old.wrapping_add(16),
            8 => old.wrapping_sub(16),
            9 => old.wrapping_mul(2),
            10 => old / 2,
            11 => random.below(64) as u32,
            _ => u32::from_le_bytes(file[other..other + 4].try_into().unwrap_or_default()),
        };
        file[at..at + 4].copy_from_slice(cast_slice(&[new.to_le_bytes()]));
        if random.below(24) == 0 {
            // A whole record elsewhere: steps and tensors begin at multiples of 64.
            let (to, from) = (at & !63, other & !63);
            let len = (64 << (random.below(2) * 2)).min(size - to.max(from));
            file.copy_within(from..from + len, to);
        }
    }
    if random.below(64) > 0 {
        mend(file);
    }
    size
}
