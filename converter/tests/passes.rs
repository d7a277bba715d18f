//! Real networks and folding cases, imported, optimised and run in f64, against what their frameworks gave. They are not in the
//! repository: `SEPAL_SHARED` says where they are.

use sepal_converter::import::{Options, import};
use sepal_converter::interp::interpret;
use sepal_converter::ir::{Graph, Op};
use sepal_converter::passes::{self, Report, explain, run};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder of models, or `None` after saying so.
fn models() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let path = std::env::var_os("SEPAL_SHARED").map_or(beside, PathBuf::from).join("models");
    if !path.is_dir() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn npz(path: &Path) -> HashMap<String, Vec<f64>> {
    let arrays = sepal_converter::data::npz::read_npz(path).unwrap_or_else(|e| panic!("{e}"));
    arrays.into_iter().map(|(name, a)| (name, a.values.into_iter().map(f64::from).collect())).collect()
}

fn optimised(path: &Path) -> (Graph, Report) {
    let graph = import(path, &Options::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    run(graph).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Transposes that are neither the first nor the last step.
fn inner_transposes(g: &Graph) -> usize {
    let inner = |n: &&sepal_converter::ir::Node| {
        matches!(n.op, Op::Transpose { .. }) && !g.inputs.contains(&n.inputs[0]) && !g.outputs.contains(&n.output)
    };
    g.nodes.iter().filter(inner).count()
}

/// Holds the outputs for the first `samples` inputs against the golden of an index entry, by the rules it states.
fn compare(entry: &Value, folder: &Path, file: &Path, g: &Graph, samples: usize) {
    let golden = npz(&folder.join(entry["golden"].as_str().unwrap()));
    let rules = &entry["tolerance"];
    let channels_second = file.extension().is_some_and(|e| e == "onnx");
    for i in 0..samples {
        let single = format!("x{i}");
        let x: Vec<Vec<f64>> = match golden.get(&single) {
            Some(x) => vec![x.clone()],
            None => (0..g.inputs.len()).map(|k| golden[&format!("x{i}_{k}")].clone()).collect(),
        };
        let got = interpret(g, &x, &mut |_, _| ()).unwrap();
        for (j, got) in got.iter().enumerate() {
            let want = &golden[&format!("y{i}_{j}")];
            let what = format!("{}: output {j} for input {i}", file.display());
            let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(got.len() == want.len() && worst <= rules["max_abs"][j].as_f64().unwrap(), "{what} is off by {worst}");
            if let Some(most) = rules["channel_rel"].as_f64() {
                let shape = g.shape(g.outputs[j]);
                let axis = if channels_second { 1.min(shape.len() - 1) } else { shape.len() - 1 };
                let (error, range) = by_channel(got, want, shape, axis);
                let floor = 1e-6 * range.iter().copied().fold(0.0, f64::max);
                for (e, r) in error.iter().zip(&range) {
                    assert!(e / r.max(floor) <= most, "{what}: a channel is off by {} of its range", e / r);
                }
            }
            if let Some(most) = rules["log_max_abs"].as_f64() {
                let logs = got.iter().zip(want).filter(|(_, w)| **w > 1e-12).map(|(g, w)| (g.ln() - w.ln()).abs());
                let worst = logs.fold(0.0, f64::max);
                assert!(worst <= most, "{what}: logarithm off by {worst}");
            }
        }
    }
}

/// Largest difference and largest magnitude of each channel.
fn by_channel(got: &[f64], want: &[f64], shape: &[usize], axis: usize) -> (Vec<f64>, Vec<f64>) {
    let inner: usize = shape[axis + 1..].iter().product();
    let (mut error, mut range) = (vec![0.0f64; shape[axis]], vec![0.0f64; shape[axis]]);
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let c = i / inner % shape[axis];
        error[c] = error[c].max((g - w).abs());
        range[c] = range[c].max(w.abs());
    }
    (error, range)
}

fn index(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all["models"].as_array().unwrap().clone()
}

#[test]
fn folding_cases() {
    let Some(models) = models() else { return };
    for format in ["keras", "onnx"] {
        let folder = models.join("bn_cases").join(format);
        for entry in index(&folder.join("index.json")) {
            let files: Vec<&str> = match entry["files"].as_array() {
                Some(files) => files.iter().filter_map(Value::as_str).collect(),
                None => vec![entry["file"].as_str().unwrap()],
            };
            for file in files.into_iter().filter(|f| !f.ends_with(".tflite")) {
                let (g, report) = optimised(&folder.join(file));
                println!("{file}: {}", explain(&report));
                assert_eq!(inner_transposes(&g), 0, "{file}\n{g}");
                compare(&entry, &folder, Path::new(file), &g, 3);
                decisions(entry["name"].as_str().unwrap(), &report);
            }
        }
    }
}

/// What has to become of the batch norms of a folding case.
fn decisions(name: &str, report: &Report) {
    let folded = report.folds.iter().filter(|f| f.folded).count();
    let all = report.folds.len();
    let kept: Vec<&str> = report.folds.iter().filter(|f| !f.folded).map(|f| f.reason.as_str()).collect();
    match name {
        "preact_bn_relu_conv" | "bn_before_same_conv" | "conv_two_uses" | "bn_after_join" => {
            assert!(!kept.is_empty() && kept.iter().all(|r| r.len() > 10), "{name}: {report:?}");
        }
        _ => assert_eq!(folded, all, "{name}: {kept:?}"),
    }
}

#[test]
fn real_networks() {
    let Some(models) = models() else { return };
    for entry in index(&models.join("models.json")) {
        let file = entry["file"].as_str().unwrap();
        if file.ends_with(".tflite") {
            continue;
        }
        let (g, report) = optimised(&models.join(file));
        assert!(report.folds.iter().all(|f| f.folded), "{file}: {}", explain(&report));
        assert_eq!(inner_transposes(&g), 0, "{file}\n{g}");
        let large = g.nodes.len() > 60;
        compare(&entry, &models, Path::new(file), &g, if large { 1 } else { 3 });
    }
}

/// The network of which half is dead: <https://github.com/mlcommons/tiny>'s visual wake words.
#[test]
fn dead_channels_go() {
    let Some(models) = models() else { return };
    let graph = import(&models.join("models/vww_96.h5"), &Options::default()).unwrap();
    let x: Vec<f64> = (0..96 * 96 * 3).map(|i| f64::from(i * 7919 % 256) / 255.0).collect();
    let of = |prune_dead| {
        let options = passes::Options { prune_dead, ..passes::Options::default() };
        let (g, report) = passes::run_with(graph.clone(), &options).unwrap();
        (interpret(&g, std::slice::from_ref(&x), &mut |_, _| ()).unwrap().remove(0), report)
    };
    let ((whole, kept), (less, report)) = (of(None), of(Some(1e-6)));
    let pruned = report.pruned.unwrap();
    assert_eq!((pruned.macs_before, pruned.constant), (7_489_664, 971));
    assert!(pruned.removed > 890 && pruned.macs_after < 3_950_000, "{pruned:?}");
    let norms = report.folds.iter().filter(|f| f.reason.contains(" Conv2D"));
    assert_eq!(norms.map(|f| f.dead).sum::<usize>(), 971);
    assert_eq!(report.folds, kept.folds);
    let off = whole.iter().zip(&less).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off <= pruned.error + 1e-6, "{off}");
}
