//! Files that were written once must load for ever, and these give the bits that they gave then. (Sums over more than 4,096 channels were
//! rounded in another way once; none of these has one.)
//!
//! `data/v1/` holds them with `hashes.txt`: file, hash of its structure, FNV-1a of its outputs' bits (of each plan). They are never made anew. A new
//! kind of record gets a new file: add it to `written`, and the test that misses it says where it has written one and what its line
//! in `hashes.txt` is. `converted-1.sepal` is what the command wrote of mini_inception.keras, with labels.

mod common;

use common::Rng;
use sepal::{AlignedBytes, Isa, Model, Options, Session};
use sepal_format::preprocessing::{Preprocessing, fit};
use sepal_format::record::section;
use sepal_kernels::simd::FloatRules;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1")
}

/// What is promised to be stack enough for a run.
const STACK: usize = 128 << 10;

/// FNV-1a over the bits of all outputs, plan by plan, of runs with little stack.
fn run_all(model: &Model, threads: usize, rules: fn() -> FloatRules) -> String {
    std::thread::scope(|scope| {
        let little = std::thread::Builder::new().stack_size(STACK);
        little.spawn_scoped(scope, || run_here(model, threads, rules)).unwrap().join().unwrap()
    })
}

fn run_here(model: &Model, threads: usize, rules: fn() -> FloatRules) -> String {
    let all: Vec<String> = model.plans().map(|plan| format!("{:016x}", run(&plan, threads, rules))).collect();
    all.join("-")
}

/// FNV-1a over the bits of all outputs, by a session that is made and run where these rules for floats hold.
fn run(model: &Model, threads: usize, rules: fn() -> FloatRules) -> u64 {
    let mut session = {
        let _rules = rules();
        Session::new(model, Options { threads }).unwrap()
    };
    let mut rng = Rng(1);
    for i in 0..model.inputs().len() {
        let input = session.input_mut(i).unwrap();
        let values = rng.values(input.len());
        input.copy_from_slice(&values);
    }
    {
        let _rules = rules();
        session.run();
    }
    let outputs = (0..model.outputs().len()).flat_map(|i| session.output(i).unwrap());
    let bytes = outputs.flat_map(|v| v.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn files_of_version_1_load_and_give_the_same_bits() {
    let list = std::fs::read_to_string(folder().join("hashes.txt")).unwrap();
    let mut files = 0;
    for line in list.lines().filter(|l| !l.starts_with('#')) {
        let [name, structure, outputs] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line:?}") };
        let bytes = AlignedBytes::read(folder().join(name)).unwrap();
        let model = Model::from_owned(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        model.view().verify_weights().unwrap();
        assert_eq!(format!("{:016x}", model.view().structure_hash()), structure, "{name} is another file");
        for isa in Isa::available() {
            let model = model.clone().with_isa(isa);
            for threads in [1, 3] {
                for rules in [FloatRules::standard, FloatRules::others] {
                    let got = run_all(&model, threads, rules);
                    assert_eq!(got, outputs, "{name} on {} with {threads} threads gives other bits", isa.name());
                }
            }
        }
        files += 1;
    }
    let there =
        std::fs::read_dir(folder()).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "sepal"));
    assert_eq!(files, there.count(), "every file has its line");
    assert!(files >= 10, "golden files are never taken away");
}

/// What the converter writes besides what is run.
#[test]
fn sections_that_tell_of_a_network_are_read() {
    let model = Model::from_owned(AlignedBytes::read(folder().join("converted-1.sepal")).unwrap()).unwrap();
    let section = |kind| model.view().section(kind).unwrap();
    let (pictures, labels) = Preprocessing::parse(section(section::PREPROCESSING)).unwrap();
    assert_eq!(labels, "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n");
    assert_eq!((pictures.resize, pictures.crop, pictures.level), (fit::CROP, 0.875, 1.0));
    assert_eq!((pictures.channels, pictures.mean[0], pictures.std[0]), (1, 0.5, 0.5));
    for (kind, says) in [
        (section::PROVENANCE, "\"network\":\"mini_inception\""),
        (section::FOLDS, "\"reason\":\"into Conv2D 'stem1'\""),
        (section::VALUES, "\"name\":\"stem1_act\",\"step\":0"),
    ] {
        let text = std::str::from_utf8(section(kind)).unwrap();
        assert!(text.contains(says), "{text}");
    }
}

/// Names and contents of all golden files that hand-made models give.
fn written() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("all-ops-1.sepal", common::all_ops().0),
        ("all-ops-halves-1.sepal", common::all_ops_of(true).0),
        // With functions of elements, layer norm and products of tensors.
        ("all-ops-2.sepal", common::all_ops().0),
        // With planes and gates for convolutions.
        ("all-ops-3.sepal", common::all_ops().0),
        ("pipelines-1.sepal", common::streamed([2, 3]).0),
        ("pipelines-2.sepal", common::streamed([2, 3]).0),
        ("pipelines-halves-1.sepal", common::streamed_of([1, 2], true).0),
        ("fast-1.sepal", common::fast::fast().0),
        ("plans-1.sepal", common::two_plans().0),
    ]
}

#[test]
fn every_kind_of_record_has_a_file() {
    for (name, bytes) in written() {
        if !folder().join(name).exists() {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
            std::fs::write(&path, &bytes).unwrap();
            let model = Model::from_owned(AlignedBytes::copy(&bytes).unwrap()).unwrap();
            let line = format!("{name} {:016x} {}", model.view().structure_hash(), run_all(&model, 1, FloatRules::standard));
            panic!("there is no golden file {name}: copy {} and add to hashes.txt\n{line}", path.display());
        }
    }
}
