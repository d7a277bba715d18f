//! The report of the passes in words.
use super::{Fold, Report};
use crate::names::short;
use std::fmt::Write;

/// A table of all batch norms (whether and where they folded, or why not; the range of their scales; channels that are constant and
/// weights that were denormal in the node they went into; how far the tensor behind them is from the source in f64), a summary, and
/// every other change.
pub fn explain(report: &Report) -> String {
    let mut text = String::new();
    let folded = report.folds.iter().filter(|f| f.folded).count();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{folded} of {} batch norms folded", report.folds.len());
    if !report.folds.is_empty() {
        let width = report.folds.iter().map(|f| short(&f.name).chars().count()).max().unwrap_or(0).max("batch norm".len());
        let head = format!(
            "{:<width$}  {:<6}  {:>23}  {:>8}  {:>4}  {:>8}  {:>4}  {:>9}  {:>7}",
            "batch norm", "", "|scale|", "negative", "zero", "tiny var", "dead", "denormals", "drift"
        );
        let _ = writeln!(text, "\n{head}  where, or why not");
        for f in &report.folds {
            let _ = writeln!(text, "{}", row(f, width));
        }
    }
    if !report.notes.is_empty() {
        let _ = writeln!(text, "\n{} other changes", report.notes.len());
        for note in &report.notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    text
}

fn row(f: &Fold, width: usize) -> String {
    let fate = if f.folded { "folded" } else { "kept" };
    let s = &f.scale;
    let range = format!("{:.3e} .. {:.3e}", s.min, s.max);
    let drift = f.drift.map_or(String::new(), |d| format!("{d:.1e}"));
    format!(
        "{:<width$}  {fate:<6}  {range:>23}  {:>8}  {:>4}  {:>8}  {:>4}  {:>9}  {drift:>7}  {}",
        short(&f.name),
        s.negative,
        s.zero,
        s.tiny_variance,
        f.dead,
        f.denormal,
        f.reason
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::ScaleRange;

    #[test]
    fn lists_every_batch_norm() {
        let scale = ScaleRange { max: 12.5, negative: 2, zero: 1, tiny_variance: 3, ..ScaleRange::default() };
        let fold = |name: &str, folded, reason: &str| Fold::new(name, folded, reason.into(), scale);
        let measured = Fold { dead: 4, denormal: 5, drift: Some(1.5e-7), ..fold("block1_bn", true, "into Conv2D 'block1'") };
        let report = Report {
            folds: vec![measured, fold("bn", false, "it reads an input of the network")],
            notes: vec!["fuse_activations: ReLU 'relu' into Conv2D 'block1'".into()],
            ..Report::default()
        };
        let expected = "1 of 2 batch norms folded

batch norm                          |scale|  negative  zero  tiny var  dead  denormals    drift  where, or why not
block1_bn   folded       0.000e0 .. 1.250e1         2     1         3     4          5   1.5e-7  into Conv2D 'block1'
bn          kept         0.000e0 .. 1.250e1         2     1         3     0          0           it reads an input of the network

1 other changes
  fuse_activations: ReLU 'relu' into Conv2D 'block1'
";
        assert_eq!(explain(&report), expected);
        assert_eq!(explain(&Report::default()), "0 of 0 batch norms folded\n");
    }
}
