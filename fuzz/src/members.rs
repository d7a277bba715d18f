//! `.keras` files as they are fuzzed: the members one after the other, which [`zip`] packs, so that no checksum of the archive
//! stands in the way of a mutation.
//!
//! `u32 length of config.json | config.json | model.weights.h5`. Anything that begins like a zip is taken as it is.

use std::io::{Cursor, Read, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The archive that some input stands for.
pub fn zip(input: &[u8]) -> Vec<u8> {
    let split = |input: &[u8]| -> Option<(Vec<u8>, Vec<u8>)> {
        let (len, rest) = input.split_at_checked(4)?;
        let len = u32::from_le_bytes(len.try_into().ok()?) as usize;
        let (config, weights) = rest.split_at(len.min(rest.len()));
        Some((config.to_vec(), weights.to_vec()))
    };
    match split(input).filter(|_| !input.starts_with(b"PK")) {
        Some((config, weights)) => {
            packed(&[("metadata.json", br#"{"keras_version": "3.0"}"#), ("config.json", &config), ("model.weights.h5", &weights)])
        }
        None => input.to_vec(),
    }
}

fn packed(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in members {
        zip.start_file(*name, stored).expect("in memory");
        zip.write_all(bytes).expect("in memory");
    }
    zip.finish().expect("in memory").into_inner()
}

/// The members of an archive, as [`zip`] takes them.
fn unpacked(archive: &[u8]) -> Option<Vec<u8>> {
    let mut zip = ZipArchive::new(Cursor::new(archive)).ok()?;
    let mut member = |name: &str| -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        zip.by_name(name).ok()?.take(1 << 20).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let (config, weights) = (member("config.json")?, member("model.weights.h5")?);
    Some([&(config.len() as u32).to_le_bytes()[..], &config, &weights].concat())
}

/// Takes an archive apart now and then, half of the time mutates the configuration alone, else everything.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    if data[..size].starts_with(b"PK") {
        if seed.is_multiple_of(2)
            && let Some(members) = unpacked(&data[..size]).filter(|m| m.len() <= max_size)
        {
            data[..members.len()].copy_from_slice(&members);
            return members.len();
        }
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let len = data.get(..4).and_then(|n| n.try_into().ok()).map_or(0, |n| u32::from_le_bytes(n) as usize);
    if seed.is_multiple_of(2) && len > 0 && size.checked_sub(4).is_some_and(|rest| len <= rest) {
        let weights = data[4 + len..size].to_vec();
        let room = max_size - 4 - weights.len();
        let mut config = vec![0; room];
        config[..len].copy_from_slice(&data[4..4 + len]);
        let len = libfuzzer_sys::fuzzer_mutate(&mut config, len, room);
        data[..4].copy_from_slice(&(len as u32).to_le_bytes());
        data[4..4 + len].copy_from_slice(&config[..len]);
        data[4 + len..4 + len + weights.len()].copy_from_slice(&weights);
        return 4 + len + weights.len();
    }
    libfuzzer_sys::fuzzer_mutate(data, size, max_size)
}
