//! Small models, one per attribute or encoding, against onnxruntime; `fixtures/python/make_onnx_cases.py` makes them.

use super::npz::Npz;
use crate::import::{Options, onnx};
use crate::interp::interpret;
use std::path::Path;

/// Runs a model and compares every output with its golden, within a share of the output's largest value.
pub(super) fn compare(path: &Path, tolerance: f64, options: &Options) -> Result<f64, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let g = onnx::import(&bytes, path.parent(), options).map_err(|e| e.to_string())?;
    g.verify()?;
    let npz = Npz::open(&path.with_extension("npz"))?;
    let mut inputs = vec![];
    for (i, &v) in g.inputs.iter().enumerate() {
        let (shape, data) = npz.get(&format!("x{i}"))?;
        if shape != g.shape(v) {
            return Err(format!("input {i} has shape {:?}, the golden {shape:?}", g.shape(v)));
        }
        inputs.push(data);
    }
    let outputs = interpret(&g, &inputs, &mut |_, _| {}).map_err(|e| e.to_string())?;
    let mut worst = 0f64;
    for (i, (got, &v)) in outputs.iter().zip(&g.outputs).enumerate() {
        let (shape, want) = npz.get(&format!("y{i}"))?;
        if shape != g.shape(v) {
            return Err(format!("output {i} has shape {:?}, the golden {shape:?}", g.shape(v)));
        }
        let range = want.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
        let off = got.iter().zip(&want).fold(0f64, |m, (a, b)| m.max((a - b).abs()));
        let off = if got.iter().any(|v| v.is_nan()) { f64::INFINITY } else { off / range };
        if off > tolerance {
            return Err(format!("output {i} ({}) is off by {off:.2e} of its range", g.output_names[i]));
        }
        worst = worst.max(off);
    }
    if npz.get(&format!("y{}", outputs.len())).is_ok() {
        return Err(format!("there are only {} outputs", outputs.len()));
    }
    Ok(worst)
}

#[test]
fn cases_compute_what_onnxruntime_computes() {
    let models = super::models(&super::data());
    assert!(models.len() > 50);
    let failures: Vec<String> = models
        .iter()
        .filter_map(|p| compare(p, 2e-6, &Options::default()).err().map(|e| format!("{}: {e}", p.display())))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
