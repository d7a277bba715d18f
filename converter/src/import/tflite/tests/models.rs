//! Real models and the cases of batch-norm folding, with the tolerances that come with them.

use crate::data::npz::read_npz;
use crate::error::Error;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A folder of the models that are not in the repository, or `None` after saying so.
fn shared(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SEPAL_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = root.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    let _ = writeln!(std::io::stderr(), "SKIPPED: {} is not there", path.display());
    None
}

#[test]
fn shared_models_compute() {
    for (folder, index) in [("models", "models.json"), ("models/bn_cases/keras", "index.json")] {
        let Some(folder) = shared(folder) else { continue };
        let index: Value = serde_json::from_slice(&std::fs::read(folder.join(index)).unwrap()).unwrap();
        let mut done = 0;
        for row in index["models"].as_array().unwrap() {
            let files = row["files"].as_array().cloned().unwrap_or(vec![row["file"].clone()]);
            for file in files.iter().filter_map(Value::as_str).filter(|f| f.ends_with(".tflite")) {
                check(&folder, file, row);
                done += 1;
            }
        }
        assert!(done > 0);
    }
}

fn check(folder: &Path, file: &str, row: &Value) {
    let g = match super::import(&folder.join(file)) {
        Err(Error::Unsupported(all)) if row["tolerance"]["max_steps"].is_number() => {
            assert_eq!(all.len(), 1, "{file}");
            assert!(all[0].what.contains("quantised"), "{file}: {}", all[0]);
            return;
        }
        g => g.unwrap_or_else(|e| panic!("{file}: {e}")),
    };
    let golden = read_npz(&folder.join(row["golden"].as_str().unwrap())).unwrap();
    let rules = match row["tolerance"]["any_of"].as_array() {
        // What the weights mean, not what the source's integer arithmetic makes of them.
        Some(all) => all.iter().find(|r| r["against"] == "f").unwrap(),
        None => &row["tolerance"],
    };
    let letter = rules["against"].as_str().unwrap_or("y").to_string();
    for sample in 0..3 {
        let x = if golden.contains_key(&format!("x{sample}")) { format!("x{sample}") } else { format!("x{sample}_0") };
        let order = |j: usize| row["tflite_output_order"][j].as_u64().map_or(j, |j| j as usize);
        let all = super::differences(&g, &golden, |_| x.clone(), |j| format!("{letter}{sample}_{}", order(j)))
            .unwrap_or_else(|e| panic!("{file}: {e}"));
        for (j, (off, _)) in all.into_iter().enumerate() {
            let allowed = rules["max_abs"][order(j)].as_f64().unwrap();
            println!("{file}: output {j} of sample {sample}: {off:.2e}, allowed {allowed:.2e}");
            assert!(off <= allowed, "{file}, output {j} of sample {sample}: off by {off:.2e}, allowed {allowed:.2e}");
        }
    }
}

/// Any folder of models with goldens `NAME.npz` beside them, `SEPAL_TFLITE_EXTRA`: large networks that are not worth keeping.
#[test]
fn extra_models_compute() {
    let Some(folder) = std::env::var_os("SEPAL_TFLITE_EXTRA") else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: SEPAL_TFLITE_EXTRA names no folder of models");
        return;
    };
    let mut failures = vec![];
    for path in super::models(Path::new(&folder)) {
        match super::compare(&path, 1e-5) {
            Ok(off) => println!("{}: {off:.2e}", path.display()),
            Err(e) => failures.push(format!("{}: {e}", path.display())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
