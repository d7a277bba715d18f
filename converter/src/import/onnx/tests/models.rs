//! Real models and the cases of batch-norm folding, with the tolerances that come with them.

use super::npz::Npz;
use crate::import::{Options, onnx};
use crate::interp::interpret;
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;

#[test]
fn shared_models_import_and_compute() {
    for (folder, index) in [("models", "models.json"), ("models/bn_cases/onnx", "index.json")] {
        let Some(folder) = super::shared(folder) else { continue };
        let index: Value = serde_json::from_slice(&std::fs::read(folder.join(index)).unwrap()).unwrap();
        let rows = index["models"].as_array().or(index.as_array()).expect("an index of models");
        let mut done = 0;
        for row in rows.iter().filter(|r| r["format"] == "onnx") {
            let file = row["file"].as_str().or(row["files"][0].as_str()).expect("a file");
            check(&folder, file, row);
            done += 1;
        }
        assert!(done > 0);
    }
}

/// Runs the three samples of a model.
fn check(folder: &Path, file: &str, row: &Value) {
    let path = folder.join(file);
    let bytes = std::fs::read(&path).unwrap();
    let g = onnx::import(&bytes, path.parent(), &Options::default()).unwrap_or_else(|e| panic!("{file}: {e}"));
    g.verify().unwrap_or_else(|e| panic!("{file}: {e}"));
    println!("{file}: {} nodes, {} parameters, {} trainable", g.nodes.len(), g.total_parameters, g.trainable_parameters);
    let npz = Npz::open(&folder.join(row["golden"].as_str().unwrap())).unwrap();
    for sample in 0..3 {
        let input = npz.get(&format!("x{sample}")).or_else(|_| npz.get(&format!("x{sample}_0"))).unwrap();
        assert_eq!(input.0, g.shape(g.inputs[0]), "{file}");
        for (j, got) in interpret(&g, &[input.1], &mut |_, _| {}).unwrap().iter().enumerate() {
            let (shape, want) = npz.get(&format!("y{sample}_{j}")).unwrap();
            assert_eq!(shape, g.shape(g.outputs[j]), "{file}");
            let allowed = row["tolerance"]["max_abs"][j].as_f64().unwrap();
            let off = got.iter().zip(&want).fold(0f64, |m, (a, b)| m.max((a - b).abs()));
            assert!(off <= allowed, "{file}, output {j} of sample {sample}: off by {off:.2e}, allowed {allowed:.2e}");
            if let Some(allowed) = row["tolerance"]["log_max_abs"].as_f64() {
                let logs = got.iter().zip(&want).filter(|(_, w)| **w > 1e-12).map(|(a, b)| (a.ln() - b.ln()).abs());
                let off = logs.fold(0f64, f64::max);
                assert!(off <= allowed, "{file}, output {j} of sample {sample}: logarithm off by {off:.2e}, allowed {allowed:.2e}");
            }
        }
    }
}

/// Any folder of models with goldens beside them, `SEPAL_ONNX_EXTRA`: large networks that are not worth keeping.
#[test]
fn extra_models_compute() {
    let Some(folder) = std::env::var_os("SEPAL_ONNX_EXTRA") else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: SEPAL_ONNX_EXTRA names no folder of models");
        return;
    };
    let mut failures = vec![];
    for path in super::models(Path::new(&folder)) {
        match super::cases::compare(&path, 1e-5, &Options::default()) {
            Ok(off) => println!("{}: {off:.2e}", path.display()),
            Err(e) => failures.push(format!("{}: {e}", path.display())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
