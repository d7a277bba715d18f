//! The optional sections of a file that tell where it comes from: JSON without clocks, paths or anything else that would
//! make two conversions of one source differ.

use crate::convert::{ConvertOptions, Summary};
use crate::emit::{Algorithm, Fast, Precision, Rounded};
use crate::error::Result;
use crate::ir::{Graph, Op};
use crate::passes::{Fold, Report};
use crate::preprocessing::{Preprocessing, with_input};
use serde_json::{Value, json};
use std::collections::HashSet;

/// The section [`PROVENANCE`](sepal_format::record::section::PROVENANCE). `source` is the name of the file, without folders.
///
/// `folded_input` is what the network does to pictures itself, in place of its caller.
pub fn provenance(source: &str, summary: &Summary, options: &ConvertOptions, folded_input: Option<&Preprocessing>) -> String {
    let shape = |(name, dims): &(String, Vec<usize>)| json!({ "name": name, "dims": dims });
    let mut all = json!({
        "schema": 1,
        "sepal": env!("CARGO_PKG_VERSION"),
        "source": source,
        "format": summary.format,
        "network": summary.network,
        "parameters": {
            "trainable_before_folding": summary.trainable_parameters,
            "total_before_folding": summary.total_parameters,
            "after_folding": summary.parameters,
        },
        "batch_norms": { "total": summary.report.folds.len(), "folded": summary.folded() },
        "options": {
            "input_shapes": options.import.input_shapes.iter().map(shape).collect::<Vec<_>>(),
            "outputs": options.import.outputs,
            "weights": match options.emit.precision {
                Precision::F32 => "f32",
                Precision::F16 => "f16",
            },
            "max_error": options.emit.max_error,
            "prune_dead": options.passes.prune_dead,
            "input_in_network": folded_input.map(|p| json!({ "input": p.input, "mean": p.mean, "std": p.std })),
        },
    });
    if let Some(signature) = &options.import.signature {
        all["options"]["signature"] = json!(signature);
    }
    all.to_string()
}

/// The options of the importer that a file was made with, as its provenance tells them.
pub fn import_options(provenance: &Value) -> crate::import::Options {
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    let options = &provenance["options"];
    let shape = |v: &Value| {
        let dims = list(&v["dims"]).iter().map(|d| d.as_u64().map(|d| d as usize)).collect::<Option<_>>()?;
        Some((v["name"].as_str()?.to_owned(), dims))
    };
    crate::import::Options {
        input_shapes: list(&options["input_shapes"]).iter().filter_map(shape).collect(),
        outputs: list(&options["outputs"]).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        signature: options["signature"].as_str().map(str::to_owned),
        ..crate::import::Options::default()
    }
}

/// A source's graph with what was put in front of it when the file was made.
///
/// # Errors
/// Those of [`with_input`].
pub fn as_converted(graph: Graph, provenance: &Value) -> Result<Graph> {
    let inside = &provenance["options"]["input_in_network"];
    let numbers = |key: &str| -> Vec<f32> {
        inside[key].as_array().into_iter().flatten().filter_map(|v| v.as_f64().map(|v| v as f32)).collect()
    };
    match inside["input"].as_u64() {
        None => Ok(graph),
        Some(input) => with_input(graph, input as usize, &numbers("mean"), &numbers("std")),
    }
}

/// The section [`FOLDS`](sepal_format::record::section::FOLDS): every batch normalisation with what was done to it and why.
pub fn folds(report: &Report) -> String {
    json!({ "schema": 1, "batch_norms": batch_norms(report), "pruned": pruned(report), "notes": report.notes }).to_string()
}

/// The report of a conversion as JSON: folds, other changes, the convolutions that are not summed directly, and what rounding did to
/// weights.
pub fn report_json(report: &Report, fast: &[Fast], rounded: &[Rounded]) -> Value {
    let weights = |r: &Rounded| {
        json!({
            "name": r.name,
            "type": if r.kept.is_some() { "f32" } else { "f16" },
            "reason": r.kept,
            "weights": r.weights,
            "relative_error": r.relative,
            "denormal": r.denormal,
            "zero": r.zero,
        })
    };
    let winograd = |f: &Fast| match f.algorithm {
        Algorithm::Winograd(tile) => Some(json!({ "name": f.name, "tile": tile, "error": f.error })),
        Algorithm::Strassen => None,
    };
    let strassen = |f: &Fast| (f.algorithm == Algorithm::Strassen).then(|| json!({ "name": f.name, "error": f.error }));
    json!({
        "schema": 1,
        "batch_norms": batch_norms(report),
        "pruned": pruned(report),
        "notes": report.notes,
        "winograd": fast.iter().filter_map(winograd).collect::<Vec<_>>(),
        "strassen": fast.iter().filter_map(strassen).collect::<Vec<_>>(),
        "halves": rounded.iter().map(weights).collect::<Vec<_>>(),
    })
}

fn pruned(report: &Report) -> Value {
    let Some(p) = &report.pruned else { return Value::Null };
    let node = |(name, lost, all): &(String, usize, usize)| json!({ "name": name, "removed": lost, "of": all });
    json!({
        "threshold": p.threshold,
        "constant_channels": p.constant,
        "removed_channels": p.removed,
        "macs_before": p.macs_before,
        "macs_after": p.macs_after,
        "error": p.error,
        "inputs": p.inputs.iter().map(|r| json!({ "from": r.lo, "to": r.hi, "declared": r.declared })).collect::<Vec<_>>(),
        "nodes": p.nodes.iter().map(node).collect::<Vec<_>>(),
        "kept": p.kept.iter().map(|(name, n)| json!({ "name": name, "channels": n })).collect::<Vec<_>>(),
    })
}

fn batch_norms(report: &Report) -> Vec<Value> {
    let fold = |f: &Fold| {
        json!({
            "name": f.name,
            "folded": f.folded,
            "reason": f.reason,
            "scale": {
                "min": f.scale.min,
                "max": f.scale.max,
                "negative": f.scale.negative,
                "zero": f.scale.zero,
                "tiny_variance": f.scale.tiny_variance,
                "histogram": f.scale.histogram,
            },
            "denormals_flushed": f.denormal,
            "dead_channels": f.dead,
            "drift": f.drift,
        })
    };
    report.folds.iter().map(fold).collect()
}

/// Parameters of a graph: the elements of all constants that convolutions, dense layers, normalisations and slopes read, and
/// of those with more than one element that arithmetic reads. Each constant counts once.
pub fn parameters(graph: &Graph) -> u64 {
    let mut seen = HashSet::new();
    let mut sum = 0;
    for node in &graph.nodes {
        let at_least = match node.op {
            Op::Conv { .. }
            | Op::ConvTranspose { .. }
            | Op::Dense { .. }
            | Op::BatchNorm { .. }
            | Op::ScaleShift { .. }
            | Op::PRelu => 1,
            Op::Binary { .. } => 2,
            _ => continue,
        };
        for &v in &node.inputs {
            if let Some(data) = graph.data(v)
                && data.len() >= at_least
                && seen.insert(v)
            {
                sum += data.len() as u64;
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Act, BinaryOp};
    use std::sync::Arc;

    #[test]
    fn counts_each_constant_once_and_no_plain_numbers() {
        let mut g = Graph::default();
        let x = g.input("x", &[1, 4]);
        let w = g.constant("w", &[4, 4], Arc::new(vec![0.0; 16]));
        let b = g.constant("b", &[4], Arc::new(vec![0.0; 4]));
        let half = g.constant("half", &[1], Arc::new(vec![0.5]));
        let dense = || Op::Dense { bias: true, act: Act::None };
        let y = g.node("d1", "Dense", dense(), &[x, w, b], &[1, 4]);
        let y = g.node("d2", "Dense", dense(), &[y, w, b], &[1, 4]);
        g.node("scale", "Mul", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[y, half], &[1, 4]);
        assert_eq!(parameters(&g), 20);
    }
}
