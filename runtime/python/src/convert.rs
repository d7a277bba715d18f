//! The converter.

use crate::errors;
use pyo3::exceptions::{PyFileExistsError, PyValueError};
use pyo3::prelude::*;
use sepal_converter::convert::{ConvertOptions, convert as run};
use sepal_converter::emit::{self, Precision};
use sepal_converter::import;
use sepal_converter::preprocessing::Preprocessing;
use std::collections::HashMap;
use std::path::PathBuf;

/// What a conversion came to.
#[pyclass(frozen, get_all, module = "sepal")]
pub struct Conversion {
    /// The file that was written.
    path: PathBuf,
    /// What the source calls the network.
    network: String,
    /// Trainable parameters of the source.
    trainable_parameters: u64,
    /// Parameters of what was written.
    parameters: u64,
    /// Batch normalisations of the source.
    batch_norms: usize,
    /// Those that disappeared into weights.
    folded: usize,
    /// Largest difference to the source, computed in f64, as a share of the output's range; None if it was not computed.
    self_check: Option<f64>,
    /// Bytes of the file.
    bytes: usize,
}

#[pymethods]
impl Conversion {
    fn __repr__(&self) -> String {
        let check = self.self_check.map_or("None".into(), |c| format!("{c:.1e}"));
        let Conversion { path, folded, batch_norms, bytes, .. } = self;
        format!("Conversion(path='{}', bytes={bytes}, folded={folded} of {batch_norms}, self_check={check})", path.display())
    }
}

/// Converts a network.
#[pyfunction]
#[pyo3(signature = (source, out = None, *, force = false, verify = true, weights = "f32", max_error = None, input_shapes = None,
    outputs = None, signature = None, labels = None))]
pub fn convert(
    py: Python<'_>,
    source: PathBuf,
    out: Option<PathBuf>,
    force: bool,
    verify: bool,
    weights: &str,
    max_error: Option<f64>,
    input_shapes: Option<HashMap<String, Vec<usize>>>,
    outputs: Option<Vec<String>>,
    signature: Option<String>,
    labels: Option<Vec<String>>,
) -> PyResult<Conversion> {
    let precision: Precision = match weights {
        "f32" => Precision::F32,
        "f16" => Precision::F16,
        _ => return Err(PyValueError::new_err(format!("weights={weights:?}: choose \"f32\" or \"f16\""))),
    };
    if max_error.is_some_and(|e| e.is_nan() || e < 0.0) {
        return Err(PyValueError::new_err("max_error: a number from 0 up is needed"));
    }
    let path = out.unwrap_or_else(|| source.with_extension("sepal"));
    let same = |a: &PathBuf, b: &PathBuf| a == b || a.canonicalize().ok().is_some_and(|a| b.canonicalize().ok() == Some(a));
    if same(&source, &path) {
        return Err(PyValueError::new_err(format!("{} is both the source and the output", path.display())));
    }
    if !force && path.exists() {
        return Err(PyFileExistsError::new_err(format!("{} exists; force=True replaces it", path.display())));
    }
    let mut input_shapes: Vec<_> = input_shapes.unwrap_or_default().into_iter().collect();
    // The order of the map is not that of the caller.
    input_shapes.sort();
    let options = ConvertOptions {
        import: import::Options { input_shapes, outputs: outputs.unwrap_or_default(), signature, ..import::Options::default() },
        no_verify: !verify,
        fixed_error: max_error.is_some(),
        emit: emit::Options { max_error: max_error.unwrap_or(precision.max_error()), precision, ..emit::Options::default() },
        preprocessing: labels.map(|labels| Preprocessing { labels, ..Preprocessing::default() }),
        levels_from_network: true,
        ..ConvertOptions::default()
    };
    let converted = py.detach(|| {
        let converted = run(&source, &options, &mut ())?;
        converted.write(&path, force)?;
        Ok(converted)
    });
    let converted = converted.map_err(|e| errors::conversion(py, &e))?;
    let s = &converted.summary;
    Ok(Conversion {
        network: s.network.clone(),
        trainable_parameters: s.trainable_parameters,
        parameters: s.parameters,
        batch_norms: s.report.folds.len(),
        folded: s.folded(),
        self_check: s.self_check.as_ref().map(|c| c.relative),
        bytes: converted.bytes().len(),
        path,
    })
}
