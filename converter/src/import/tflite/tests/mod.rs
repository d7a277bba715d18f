//! Tests of the importer.

mod cases;
mod hostile;
mod models;

use crate::data::npz::{Array, Arrays, read_npz};
use crate::import::{Options, tflite};
use crate::interp::interpret;
use crate::ir::Graph;
use std::path::{Path, PathBuf};

/// The small models of the repository.
fn data() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tflite").into()
}

/// The models of a folder, in order.
fn models(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "tflite"))
        .collect();
    all.sort();
    all
}

fn import(path: &Path) -> crate::Result<Graph> {
    let g = tflite::import(&std::fs::read(path).unwrap(), &Options::default())?;
    g.verify().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Ok(g)
}

/// Computes the outputs for arrays named by `input` and gives the differences from those named by `output`: the largest one, and
/// the same as a share of the output's range.
fn differences(
    g: &Graph,
    golden: &Arrays,
    input: impl Fn(usize) -> String,
    output: impl Fn(usize) -> String,
) -> Result<Vec<(f64, f64)>, String> {
    let named = |name: String| golden.get(&name).ok_or_else(|| format!("there is no array {name}"));
    let mut inputs = vec![];
    for (i, &v) in g.inputs.iter().enumerate() {
        let Array { shape, values } = named(input(i))?;
        if shape != g.shape(v) {
            return Err(format!("input {i} has shape {:?}, the golden {shape:?}", g.shape(v)));
        }
        inputs.push(values.iter().map(|&v| f64::from(v)).collect());
    }
    let outputs = interpret(g, &inputs, &mut |_, _| {}).map_err(|e| e.to_string())?;
    let mut all = vec![];
    for (j, (got, &v)) in outputs.iter().zip(&g.outputs).enumerate() {
        let Array { shape, values } = named(output(j))?;
        if shape != g.shape(v) {
            return Err(format!("output {j} has shape {:?}, the golden {shape:?}", g.shape(v)));
        }
        let off = |(&g, &w): (&f64, &f32)| if g.is_nan() { f64::INFINITY } else { (g - f64::from(w)).abs() };
        let worst = got.iter().zip(values).map(off).fold(0.0, f64::max);
        all.push((worst, worst / values.iter().fold(1e-3, |m, v| f64::from(v.abs()).max(m))));
    }
    Ok(all)
}

/// Holds a model to its golden, `x0`, `x1`, ... and `y0`, `y1`, ...
fn compare(path: &Path, tolerance: f64) -> Result<f64, String> {
    let g = import(path).map_err(|e| e.to_string())?;
    let golden = read_npz(&path.with_extension("npz")).map_err(|e| e.to_string())?;
    let all = differences(&g, &golden, |i| format!("x{i}"), |j| format!("y{j}"))?;
    let worst = all.iter().fold(0f64, |m, d| m.max(d.1));
    if golden.contains_key(&format!("y{}", all.len())) {
        return Err(format!("there are only {} outputs", all.len()));
    }
    if worst > tolerance { Err(format!("off by {worst:.2e} of the range")) } else { Ok(worst) }
}
