//! The whole way, import to run, on every model there is, against what its framework gave.
//!
//! The fixtures are in the repository; the larger collection is not: `SEPAL_SHARED` says where it is.

use sepal::{Model, Options, Session};
use sepal_converter::convert::{ConvertOptions, Converted, convert, convert_bytes};
use sepal_converter::data::npz::{Array, Arrays, read_npz};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Samples in every golden.
const SAMPLES: usize = 3;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

/// The folder of the larger collection, or `None` after saying so.
fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let path = std::env::var_os("SEPAL_SHARED").map_or(beside, PathBuf::from).join("models");
    if path.is_dir() {
        return Some(path);
    }
    let _ = writeln!(std::io::stderr(), "SKIPPED: {} is not there, so its models are not tested", path.display());
    None
}

fn entries(index: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(index).unwrap_or_else(|e| panic!("{}: {e}", index.display()));
    let json: Value = serde_json::from_str(&text).unwrap();
    json["models"].as_array().unwrap().clone()
}

fn inputs(golden: &Arrays, sample: usize, ports: usize) -> Vec<&Array> {
    match golden.get(&format!("x{sample}")) {
        Some(x) => vec![x],
        None => (0..ports).map(|k| &golden[&format!("x{sample}_{k}")]).collect(),
    }
}

fn run(session: &mut Session, inputs: &[&[f32]]) {
    for (k, values) in inputs.iter().enumerate() {
        session.input_mut(k).unwrap().copy_from_slice(values);
    }
    session.run();
}

/// Complaints about `samples` samples, by the rules that the entry states; of alternative rules those that fit best.
fn complaints(entry: &Value, golden: &Arrays, onnx: bool, converted: &Converted, samples: usize) -> Vec<String> {
    let rules = &entry["tolerance"];
    let all = rules["any_of"].as_array().cloned().unwrap_or(vec![rules.clone()]);
    let tries = all.iter().map(|rules| complaints_by(rules, entry, golden, onnx, converted, samples));
    tries.min_by_key(Vec::len).unwrap_or_default()
}

fn complaints_by(rules: &Value, entry: &Value, golden: &Arrays, onnx: bool, converted: &Converted, samples: usize) -> Vec<String> {
    let letter = rules["against"].as_str().unwrap_or("y");
    let model = Model::from_bytes(converted.bytes()).unwrap();
    let shapes: Vec<Vec<usize>> = model.outputs().map(|p| p.dims.iter().map(|&d| d as usize).collect()).collect();
    assert_eq!(shapes.len(), entry["outputs"].as_array().unwrap().len(), "number of outputs");
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut bad = Vec::new();
    for i in 0..samples {
        let x: Vec<&[f32]> = inputs(golden, i, model.inputs().len()).iter().map(|a| a.values.as_slice()).collect();
        run(&mut session, &x);
        for (j, shape) in shapes.iter().enumerate() {
            let (want, got) = (&golden[&format!("{letter}{i}_{j}")], session.output(j).unwrap());
            if *shape != want.shape || got.len() != want.values.len() {
                bad.push(format!("{letter}{i}_{j}: shape {shape:?}, want {:?}", want.shape));
                continue;
            }
            bad.extend(differences(rules, j, onnx, want, got).into_iter().map(|c| format!("{letter}{i}_{j}: {c}")));
        }
    }
    bad
}

fn differences(rules: &Value, j: usize, onnx: bool, want: &Array, got: &[f32]) -> Vec<String> {
    let mut bad = Vec::new();
    let pairs = || got.iter().zip(&want.values).map(|(&g, &w)| (f64::from(g), f64::from(w)));
    if pairs().any(|(g, w)| g.is_nan() != w.is_nan()) {
        return vec!["NaN in other places".into()];
    }
    let off = |(g, w): (f64, f64)| if g == w || g.is_nan() { 0.0 } else { (g - w).abs() };
    let worst = pairs().map(off).fold(0.0, f64::max);
    let allowed = rules["max_abs"][j].as_f64().expect("every float entry bounds every output");
    if worst > allowed {
        bad.push(format!("off by {worst:.3e}, allowed {allowed:.3e}"));
    }
    if let Some(limit) = rules["channel_rel"].as_f64()
        && want.shape.len() > 1
    {
        let axis = if onnx { 1 } else { want.shape.len() - 1 };
        let (channels, inner) = (want.shape[axis], want.shape[axis + 1..].iter().product::<usize>());
        let mut range = vec![0f64; channels];
        let mut error = vec![0f64; channels];
        for (k, pair) in pairs().enumerate() {
            let c = k / inner % channels;
            range[c] = range[c].max(pair.1.abs());
            error[c] = error[c].max(off(pair));
        }
        let least = 1e-6 * range.iter().copied().fold(1e-30, f64::max);
        let r = error.iter().zip(&range).map(|(e, r)| e / r.max(least)).fold(0.0, f64::max);
        if r > limit {
            bad.push(format!("a channel is off by {r:.3e} of its range, allowed {limit:.3e}"));
        }
    }
    if let Some(limit) = rules["log_max_abs"].as_f64() {
        let logs = pairs().filter(|&(_, w)| w > 1e-12).map(|(g, w)| (g.ln() - w.ln()).abs());
        let r = logs.fold(0.0, |a: f64, b| if b.is_nan() { f64::INFINITY } else { a.max(b) });
        if r > limit {
            bad.push(format!("logarithm off by {r:.3e}, allowed {limit:.3e}"));
        }
    }
    bad
}

/// Converts a file with the self-check on, if `checked`, and adds what is wrong with it.
fn hold(folder: &Path, file: &str, entry: &Value, checked: bool, samples: usize, bad: &mut Vec<String>) {
    let path = folder.join(file);
    let golden = read_npz(&folder.join(entry["golden"].as_str().unwrap())).unwrap();
    let options = ConvertOptions { no_verify: !checked, ..ConvertOptions::default() };
    match convert(&path, &options, &mut ()) {
        Ok(c) => {
            let all = complaints(entry, &golden, file.ends_with(".onnx"), &c, samples);
            bad.extend(all.into_iter().map(|e| format!("{file}: {e}")));
        }
        Err(e) => bad.push(format!("{file}: {e}")),
    }
}

fn none(bad: &[String]) {
    assert!(bad.is_empty(), "{} complaints:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn fixtures_match_their_goldens() {
    let folder = fixtures();
    let mut bad = Vec::new();
    let entries = entries(&folder.join("models.json"));
    assert_eq!(entries.len(), 7);
    for entry in &entries {
        hold(&folder, entry["file"].as_str().unwrap(), entry, true, SAMPLES, &mut bad);
    }
    none(&bad);
}

#[test]
fn the_comparison_sees_differences() {
    let want = Array { shape: vec![1, 2], values: vec![0.5, 1e-3] };
    let rules: Value = serde_json::json!({ "max_abs": [1e-2], "channel_rel": 1e-2, "log_max_abs": 1e-2 });
    assert!(differences(&rules, 0, false, &want, &[0.5, 1e-3]).is_empty());
    assert_eq!(differences(&rules, 0, false, &want, &[0.6, 1e-3]).len(), 3);
    assert_eq!(differences(&rules, 0, false, &want, &[0.5, 1.1e-3]).len(), 2);
    assert_eq!(differences(&rules, 0, false, &want, &[f32::NAN, 1e-3]), ["NaN in other places"]);
    assert!(!differences(&rules, 0, false, &want, &[f32::INFINITY, 1e-3]).is_empty());
}

#[test]
fn digits_are_read_as_keras_reads_them() {
    use sepal_fixtures as f;
    let all = [
        ("mini_xception.keras", f::MINI_XCEPTION_KERAS, f::MINI_XCEPTION),
        ("mini_xception.h5", f::MINI_XCEPTION_H5, f::MINI_XCEPTION),
        ("mini_xception.onnx", f::MINI_XCEPTION_ONNX, f::MINI_XCEPTION),
        ("mini_xception_nchw.onnx", f::MINI_XCEPTION_NCHW_ONNX, f::MINI_XCEPTION),
        ("mini_inception.keras", f::MINI_INCEPTION_KERAS, f::MINI_INCEPTION),
        ("mini_inception.h5", f::MINI_INCEPTION_H5, f::MINI_INCEPTION),
        ("mini_inception.onnx", f::MINI_INCEPTION_ONNX, f::MINI_INCEPTION),
    ];
    for (name, source, stored) in all {
        let options = ConvertOptions { no_verify: true, ..ConvertOptions::default() };
        let converted = convert_bytes(name, source, &options, &mut ()).unwrap_or_else(|e| panic!("{name}: {e}"));
        // tf2onnx has folded them itself: its files hold none.
        let batch_norms = if name.ends_with(".onnx") { 0 } else { stored.batch_norms };
        assert_eq!(converted.summary.report.folds.len(), batch_norms, "{name}: batch norms");
        assert_eq!(converted.summary.folded(), batch_norms, "{name}: folded");
        let model = Model::from_bytes(converted.bytes()).unwrap();
        let mut session = Session::new(&model, Options::default()).unwrap();
        let mut right = 0;
        for (pixels, label) in f::digits() {
            run(&mut session, &[&f::upsample(pixels)]);
            let y = session.output(0).unwrap();
            let best = y.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            right += usize::from(best == usize::from(label));
        }
        assert_eq!((right, f::digits().len()), (stored.correct, stored.test_images), "{name}");
    }
}

#[test]
fn real_models_match_their_goldens() {
    let Some(folder) = shared() else { return };
    let (mut bad, mut held) = (Vec::new(), 0);
    for entry in entries(&folder.join("models.json")) {
        // Integer activations are refused.
        if entry["tolerance"]["max_steps"].is_number() {
            continue;
        }
        let file = entry["file"].as_str().unwrap();
        // The f64 interpreter takes minutes for a network of this size.
        let large = file.contains("inception_v3");
        hold(&folder, file, &entry, !large, if large { 1 } else { SAMPLES }, &mut bad);
        held += 1;
    }
    none(&bad);
    assert_eq!(held, 9);
}

#[test]
fn folding_cases_match_their_goldens() {
    let Some(folder) = shared() else { return };
    let (mut bad, mut held) = (Vec::new(), 0);
    for forms in ["keras", "onnx"] {
        let folder = folder.join("bn_cases").join(forms);
        for entry in entries(&folder.join("index.json")) {
            for file in entry["files"].as_array().unwrap().iter().filter_map(Value::as_str) {
                hold(&folder, file, &entry, true, SAMPLES, &mut bad);
                held += 1;
            }
        }
    }
    none(&bad);
    assert!(held >= 29, "only {held} files");
}
