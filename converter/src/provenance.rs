//! The optional sections of a file that tell where it comes from: JSON without clocks, paths or anything else that would
//! make two conversions of one source differ.

use crate::convert::Summary;
use crate::emit::{Rounded, Winograd};
use crate::ir::{Graph, Op};
use crate::passes::{Fold, Report};
use serde_json::{Value, json};
use std::collections::HashSet;

/// The section [`PROVENANCE`](sepal_format::record::section::PROVENANCE). `source` is the name of the file, without folders.
pub fn provenance(source: &str, summary: &Summary) -> String {
    json!({
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
    })
    .to_string()
}

/// The section [`FOLDS`](sepal_format::record::section::FOLDS): every batch normalisation with what was done to it and why.
pub fn folds(report: &Report) -> String {
    json!({ "schema": 1, "batch_norms": batch_norms(report), "notes": report.notes }).to_string()
}

/// The report of a conversion as JSON: folds, other changes, the convolutions that are not summed directly, and what rounding did to
/// weights.
pub fn report_json(report: &Report, winograd: &[Winograd], rounded: &[Rounded]) -> Value {
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
    let convolution = |w: &Winograd| json!({ "name": w.name, "tile": w.tile, "error": w.error });
    json!({
        "schema": 1,
        "batch_norms": batch_norms(report),
        "notes": report.notes,
        "winograd": winograd.iter().map(convolution).collect::<Vec<_>>(),
        "halves": rounded.iter().map(weights).collect::<Vec<_>>(),
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
            },
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
