//! Real trained networks against their goldens, where they are at hand.

use super::{difference, kinds, npz, run};
use crate::import::{Options, import};
use crate::ir::Graph;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder with the real models, unless it is absent.
fn models() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("SEPAL_SHARED").map_or(beside, PathBuf::from).join("models");
    if !folder.is_dir() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no {}", folder.display());
        return None;
    }
    Some(folder)
}

fn index(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the index");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    json["models"].as_array().expect("a list of models").clone()
}

/// Compares with the samples `x{i}` -> `y{i}_{j}` of a golden, by the tolerances of its index.
fn compare(name: &str, graph: &Graph, golden: &Path, tolerance: &Value, samples: usize) {
    let arrays = npz(golden);
    for i in 0..samples {
        let Some(x) = arrays.get(&format!("x{i}")) else { break };
        for (j, got) in run(graph, std::slice::from_ref(x)).iter().enumerate() {
            let want = &arrays[&format!("y{i}_{j}")];
            let allowed = tolerance["max_abs"][j].as_f64().expect("a tolerance");
            let (worst, _) = difference(got, want);
            assert!(worst <= allowed, "{name}: output {j} of sample {i} is {worst} off, {allowed} is allowed");
            if let Some(allowed) = tolerance["log_max_abs"].as_f64() {
                let logs = got.iter().zip(want).filter(|(_, w)| **w > 1e-12).map(|(g, w)| (g.ln() - w.ln()).abs());
                let worst = logs.fold(0.0, f64::max);
                assert!(worst <= allowed, "{name}: the logarithms are {worst} off, {allowed} is allowed");
            }
        }
    }
}

#[test]
fn real_networks() {
    let Some(folder) = models() else { return };
    for entry in index(&folder.join("models.json")) {
        if !matches!(entry["format"].as_str(), Some("h5" | "keras")) {
            continue;
        }
        let name = entry["name"].as_str().expect("a name");
        let graph = import(&folder.join(entry["file"].as_str().expect("a file")), &Options::default());
        let graph = graph.unwrap_or_else(|e| panic!("{name}: {e}"));
        let kinds = kinds(&graph);
        for (kind, count) in entry["ops"].as_object().expect("a table") {
            let count = count.as_u64().expect("a count") as usize;
            let found = kinds.get(kind.as_str()).copied().unwrap_or(0);
            match kind.as_str() {
                "InputLayer" | "Dropout" => assert_eq!(found, 0, "{name}: {kind}"),
                "SeparableConv2D" => assert_eq!(found, 2 * count, "{name}: {kind}"),
                // The last one may have a softmax after it.
                "Dense" => assert!(found == count || found == count + 1, "{name}: {found} of {kind}"),
                _ => assert_eq!(found, count, "{name}: {kind}"),
            }
        }
        assert_eq!(Some(graph.total_parameters), entry["params"].as_u64(), "{name}");
        let input = &entry["inputs"][0];
        assert_eq!(graph.values[graph.inputs[0].0].name, input["name"].as_str().expect("a name"), "{name}");
        let shape: Vec<u64> = graph.shape(graph.inputs[0]).iter().map(|&d| d as u64).collect();
        assert_eq!(Value::from(shape), input["shape"], "{name}");
        // The largest takes seconds a sample.
        let samples = if graph.total_parameters > 1_000_000 { 1 } else { 3 };
        compare(name, &graph, &folder.join(entry["golden"].as_str().expect("a golden")), &entry["tolerance"], samples);
    }
}

#[test]
fn folding_cases() {
    let Some(folder) = models().map(|f| f.join("bn_cases/keras")) else { return };
    for entry in index(&folder.join("index.json")) {
        let name = entry["name"].as_str().expect("a name");
        for file in entry["files"].as_array().expect("files").iter().filter_map(Value::as_str) {
            if file.ends_with(".tflite") {
                continue;
            }
            let graph = import(&folder.join(file), &Options::default()).unwrap_or_else(|e| panic!("{file}: {e}"));
            compare(name, &graph, &folder.join(entry["golden"].as_str().expect("a golden")), &entry["tolerance"], 3);
        }
    }
}
