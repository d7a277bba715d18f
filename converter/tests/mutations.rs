//! Damaged files give an error or a sound result, never a panic.
//!
//! Each mutation comes from a seed, which a failure names. A source that still converts must give a file that loads and
//! runs; a converted file that still loads must run.

use sepal::{AlignedBytes, Model, Options, Session};
use sepal_converter::Error;
use sepal_converter::convert::{ConvertOptions, convert_bytes};
use sepal_converter::data::random::Random;
use sepal_converter::emit::{self, Precision, Precision::F16, Precision::F32};
use std::io::{Cursor, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use zip::write::SimpleFileOptions;

/// Largest arena that is run: a file may ask for more, and a caller may say no.
const MOST_ARENA: usize = 64 << 20;
/// Longest that one mutation may take; far above what any does.
const LONGEST: Duration = Duration::from_secs(10);

/// Below `n`, which is not 0.
fn below(random: &mut Random, n: usize) -> usize {
    (random.bits() >> 16) as usize % n
}

/// A place in the file. Half of them lie near an end: what describes the rest is there.
fn place(random: &mut Random, len: usize) -> usize {
    let near = len.min(4096);
    match below(random, 4) {
        0 => below(random, near),
        1 => len - 1 - below(random, near),
        _ => below(random, len),
    }
}

/// Numbers that upset arithmetic.
const NASTY: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// Does one to four of: truncation, bit flip, byte, word of an awkward value, splice from elsewhere, bytes taken out.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=below(random, 4) {
        if bytes.is_empty() {
            return;
        }
        let at = place(random, bytes.len());
        match below(random, 12) {
            0 => bytes.truncate(at),
            1..=3 => bytes[at] ^= 1 << below(random, 8),
            4..=5 => bytes[at] = random.bits() as u8,
            6..=8 => {
                let word = NASTY[below(random, NASTY.len())].to_le_bytes();
                let n = (1usize << below(random, 4)).min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&word[..n]);
            }
            9..=10 => {
                let from = place(random, bytes.len());
                let n = (1 + below(random, 64)).min(bytes.len() - at).min(bytes.len() - from);
                bytes.copy_within(from..from + n, at);
            }
            _ => {
                let n = (1 + below(random, 64)).min(bytes.len() - at);
                bytes.drain(at..at + n);
            }
        }
    }
}

/// Runs `body` for each seed; a panic or a long run fails with the seed.
fn each(what: &str, count: u64, mut body: impl FnMut(&mut Random) -> bool) -> u64 {
    let mut sound = 0;
    for seed in 0..count {
        let start = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| body(&mut Random::new(seed + 1)))) {
            Ok(true) => sound += 1,
            Ok(false) => {}
            Err(_) => panic!("{what}: mutation {seed} panicked"),
        }
        assert!(start.elapsed() < LONGEST, "{what}: mutation {seed} took {:?}", start.elapsed());
    }
    println!("{what}: {sound} of {count} still sound");
    sound
}

/// Runs the model once unless it asks for too much memory.
fn run(model: &Model) {
    if model.arena_bytes(1) > MOST_ARENA {
        return;
    }
    let mut session = Session::new(model, Options::default()).expect("a verified model gives a session");
    for i in 0..model.inputs().len() {
        session.input_mut(i).expect("every input has memory").fill(0.5);
    }
    session.run();
    for i in 0..model.outputs().len() {
        session.output(i).expect("every output has memory");
    }
}

/// Whether the source converts; if so, the result must load and run.
fn convert_and_run(name: &str, source: &[u8]) -> bool {
    let options = ConvertOptions { no_verify: true, ..ConvertOptions::default() };
    match convert_bytes(name, source, &options, &mut ()) {
        Ok(converted) => {
            run(&Model::from_bytes(converted.bytes()).expect("what is written can be loaded"));
            true
        }
        Err(e) => {
            assert!(!e.to_string().is_empty());
            assert!(!matches!(e, Error::Verification(_)), "{e}");
            false
        }
    }
}

fn source(name: &str, original: &[u8], count: u64) {
    assert!(convert_and_run(name, original), "{name} itself");
    let sound = each(name, count, |random| {
        let mut bytes = original.to_vec();
        mutate(&mut bytes, random);
        convert_and_run(name, &bytes)
    });
    assert!(sound < count, "{name}: no mutation was noticed");
}

/// The members of a zip.
fn members(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
    let mut all = Vec::new();
    for i in 0..zip.len() {
        let mut member = zip.by_index(i).unwrap();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        all.push((member.name().unwrap().to_string(), bytes));
    }
    all
}

fn zipped(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in members {
        zip.start_file(name.as_str(), stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Damages what is in the archive and packs it again: its checksums would otherwise end most attempts at once.
fn inside_zip(name: &str, original: &[u8], count: u64) {
    let members = members(original);
    assert!(convert_and_run(name, &zipped(&members)), "{name} packed again");
    each(&format!("{name}, members"), count, |random| {
        let mut members = members.clone();
        let which = below(random, members.len());
        mutate(&mut members[which].1, random);
        convert_and_run(name, &zipped(&members))
    });
}

#[test]
fn keras_zips() {
    source("mini_xception.keras", sepal_fixtures::MINI_XCEPTION_KERAS, 500);
    source("mini_inception.keras", sepal_fixtures::MINI_INCEPTION_KERAS, 250);
    inside_zip("mini_xception.keras", sepal_fixtures::MINI_XCEPTION_KERAS, 500);
    inside_zip("mini_inception.keras", sepal_fixtures::MINI_INCEPTION_KERAS, 250);
}

#[test]
fn hdf5_files() {
    source("mini_xception.h5", sepal_fixtures::MINI_XCEPTION_H5, 750);
    source("mini_inception.h5", sepal_fixtures::MINI_INCEPTION_H5, 500);
}

#[test]
fn onnx_files() {
    source("mini_xception.onnx", sepal_fixtures::MINI_XCEPTION_ONNX, 750);
    source("mini_xception_nchw.onnx", sepal_fixtures::MINI_XCEPTION_NCHW_ONNX, 750);
    source("mini_inception.onnx", sepal_fixtures::MINI_INCEPTION_ONNX, 750);
}

#[test]
fn tflite_files() {
    source("small_net.tflite", include_bytes!("data/tflite/small_net.tflite"), 2000);
    source("sparse_weights.tflite", include_bytes!("data/tflite/sparse_weights.tflite"), 1000);
    source("resize_bilinear.tflite", include_bytes!("data/tflite/resize_bilinear.tflite"), 500);
}

#[test]
fn random_bytes() {
    let starts: [&[u8]; 6] = [b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x08\x08", b"\x0a", b"\x14\0\0\0TFL3"];
    each("random bytes", 1000, |random| {
        let mut bytes = starts[below(random, starts.len())].to_vec();
        let len = below(random, 600);
        bytes.extend((0..len).map(|_| random.bits() as u8));
        let _ = AlignedBytes::copy(&bytes).map(Model::from_owned);
        convert_and_run("random", &bytes)
    });
}

/// Damages a converted file. With `rehash` only the structure, whose hash is then made right, so that the verifier itself is
/// what stands between the damage and the run.
fn converted(name: &str, source: &[u8], precision: Precision, rehash: bool, count: u64) {
    let emit = emit::Options { precision, ..emit::Options::default() };
    let options = ConvertOptions { no_verify: true, emit, ..ConvertOptions::default() };
    let converted = convert_bytes(name, source, &options, &mut ()).unwrap();
    let original = converted.bytes();
    let weights = size_of_val(Model::from_bytes(original).unwrap().view().weights());
    let structure = original.len() - weights;
    let hash_at = sepal_format::HASH_START - size_of::<u64>();
    let load = |bytes: &[u8]| match Model::from_owned(AlignedBytes::copy(bytes).unwrap()) {
        Ok(model) => {
            run(&model);
            true
        }
        Err(e) => {
            assert!(!e.to_string().is_empty());
            false
        }
    };
    let rehashed = |bytes: &mut [u8]| {
        let hash = sepal_format::structure_hash(&bytes[..structure]);
        bytes[hash_at..hash_at + size_of::<u64>()].copy_from_slice(&hash.to_le_bytes());
    };
    let mut same = original.to_vec();
    rehashed(&mut same);
    assert!(same == original, "{name}: the hash is where this test thinks it is");

    let what = format!("{name}, converted to {precision:?}{}", if rehash { ", hash made right" } else { "" });
    let sound = each(&what, count, |random| {
        if !rehash {
            let mut bytes = original.to_vec();
            mutate(&mut bytes, random);
            return load(&bytes);
        }
        // Records are what is verified, so the file keeps its length and most damage falls on their words.
        let mut bytes = original.to_vec();
        for _ in 0..=below(random, 3) {
            let at = sepal_format::HASH_START + below(random, structure - sepal_format::HASH_START - 8);
            match below(random, 4) {
                0 => bytes[at] ^= 1 << below(random, 8),
                1 => bytes[at] = bytes[at].wrapping_add(if below(random, 2) == 0 { 1 } else { 255 }),
                2 => {
                    let word = NASTY[below(random, NASTY.len())].to_le_bytes();
                    let n = 4 << below(random, 2);
                    bytes[at & !3..(at & !3) + n].copy_from_slice(&word[..n]);
                }
                _ => {
                    let from = (sepal_format::HASH_START + below(random, structure - sepal_format::HASH_START - 64)) & !3;
                    let n = (4 * (1 + below(random, 16))).min(structure - (at & !3));
                    bytes.copy_within(from..from + n, at & !3);
                }
            }
        }
        rehashed(&mut bytes);
        load(&bytes)
    });
    assert!(sound < count, "{what}: no mutation was noticed");
}

#[test]
fn converted_files() {
    converted("mini_xception.keras", sepal_fixtures::MINI_XCEPTION_KERAS, F32, false, 1000);
    converted("mini_inception.h5", sepal_fixtures::MINI_INCEPTION_H5, F32, false, 1000);
}

#[test]
fn converted_files_with_the_right_hash() {
    converted("mini_xception.keras", sepal_fixtures::MINI_XCEPTION_KERAS, F32, true, 1500);
    converted("mini_xception_nchw.onnx", sepal_fixtures::MINI_XCEPTION_NCHW_ONNX, F32, true, 1000);
    converted("mini_inception.onnx", sepal_fixtures::MINI_INCEPTION_ONNX, F32, true, 1500);
    converted("mini_xception.keras", sepal_fixtures::MINI_XCEPTION_KERAS, F16, true, 1000);
    converted("mini_inception.h5", sepal_fixtures::MINI_INCEPTION_H5, F16, true, 1000);
}
