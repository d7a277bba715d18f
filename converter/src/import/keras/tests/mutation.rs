//! Damaged files give errors or graphs, never panics.

use super::super::{import_h5, import_keras};
use super::data;
use crate::import::Options;

/// Small steady pseudo-random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn damage(file: &str, seed: u64) {
    let bytes = std::fs::read(data(file)).expect("the fixture");
    let read = |bytes: &[u8]| {
        let options = Options::default();
        let graph = if file.ends_with("h5") { import_h5(bytes, &options) } else { import_keras(bytes, &options) };
        // What is accepted must be consistent, or the check says so; both are fine, a panic is not.
        graph.is_ok_and(|g| g.verify().is_ok())
    };
    assert!(read(&bytes), "{file} itself is sound");
    let mut random = Random(seed);
    for i in 0..64 {
        assert!(!read(&bytes[..bytes.len() * i / 64]), "{file} cut to {i}/64");
    }
    for _ in 0..64 {
        read(&bytes[..random.below(bytes.len())]);
    }
    for i in 0..600 {
        let mut bad = bytes.clone();
        for _ in 0..1 + i % 4 {
            let at = random.below(bad.len());
            bad[at] = match random.below(4) {
                0 => 0,
                1 => 255,
                2 => bad[at] ^ (1 << random.below(8)),
                _ => random.below(256) as u8,
            };
        }
        read(&bad);
    }
    // Runs of bytes that make large numbers.
    for _ in 0..200 {
        let mut bad = bytes.clone();
        let at = random.below(bad.len() - 8);
        let value = if random.below(2) == 0 { 255 } else { 127 };
        bad[at..at + 1 + random.below(8)].fill(value);
        read(&bad);
    }
}

#[test]
fn damaged_legacy_hdf5() {
    damage("nested.k2.h5", 1);
    damage("functions.k3.h5", 2);
}

#[test]
fn damaged_chunked_hdf5() {
    damage("nested_deflated.k3.h5", 3);
}

#[test]
fn damaged_zips() {
    damage("nested.k3.keras", 4);
    damage("merges.k2.keras", 5);
}

/// Damage inside the members: zips check their contents, so the members are damaged before they are packed.
#[test]
fn damaged_weights_in_sound_zips() {
    use std::io::{Cursor, Read, Write};
    let bytes = std::fs::read(data("nested.k3.keras")).expect("the fixture");
    let mut zip = zip::ZipArchive::new(Cursor::new(&bytes)).expect("a zip");
    let mut members = Vec::new();
    for i in 0..zip.len() {
        let mut member = zip.by_index(i).expect("a member");
        let mut content = Vec::new();
        member.read_to_end(&mut content).expect("sound contents");
        let name = member.name().expect("a readable name").to_string();
        members.push((name, content));
    }
    let mut random = Random(6);
    for i in 0..600 {
        let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in &members {
            let mut content = content.clone();
            if name != "metadata.json" && (i % 2 == 0) == name.ends_with("h5") {
                for _ in 0..1 + i % 3 {
                    let at = random.below(content.len());
                    content[at] = if i % 2 == 0 { random.below(256) as u8 } else { b"0129\"[]{},-enul"[random.below(15)] };
                }
            }
            let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            out.start_file(name.as_str(), stored).expect("room in memory");
            out.write_all(&content).expect("room in memory");
        }
        let packed = out.finish().expect("a zip").into_inner();
        let _ = import_keras(&packed, &Options::default()).map(|g| g.verify());
    }
}
