//! What became of the batch norms.

use super::super::convert::stated_error;
use super::out;
use super::svg::{drawing, esc, hover, line, rect, text};
use sepal_converter::passes::InputRange;
use serde_json::Value;

const WIDTH: f64 = 1080.0;

/// The histogram of all scales and a table of all batch norms, and what was pruned; nothing where there is none of it.
pub fn section(folds: &Value) -> String {
    let pruned = pruning(&folds["pruned"]);
    let Some(norms) = folds["batch_norms"].as_array().filter(|n| !n.is_empty()) else { return pruned };
    let folded = norms.iter().filter(|n| n["folded"] == true).count();
    let mut bins: Vec<u64> = Vec::new();
    for n in norms {
        for (i, count) in n["scale"]["histogram"].as_array().into_iter().flatten().enumerate() {
            if bins.len() <= i {
                bins.push(0);
            }
            bins[i] += count.as_u64().unwrap_or(0);
        }
    }
    let sum = |key: &str| norms.iter().filter_map(|n| n["scale"][key].as_u64()).sum::<u64>();
    let facts = format!(
        "{folded} of {} folded into weights. {} channels: {} of negative scale, {} of zero, {} of a variance below 1e-8.",
        norms.len(),
        out::grouped(bins.iter().sum::<u64>() + sum("zero")),
        out::grouped(sum("negative")),
        out::grouped(sum("zero")),
        out::grouped(sum("tiny_variance"))
    );
    format!(
        "<section><h2>Batch norms</h2>\n<p>{facts} The weights of a channel were multiplied by its scale, gamma over the square root of \
         the variance: how many channels have a scale of which magnitude.</p>\n{}<details><summary>All {} batch \
         norms</summary><div class=\"wide\">{}</div></details></section>\n{pruned}",
        histogram(&bins),
        norms.len(),
        table(norms)
    )
}

/// What was pruned, by which proof; nothing where nothing was.
fn pruning(pruned: &Value) -> String {
    if pruned.is_null() {
        return String::new();
    }
    let number = |key: &str| out::grouped(pruned[key].as_u64().unwrap_or(0));
    let float = |v: &Value, otherwise| v.as_f64().unwrap_or(otherwise);
    let range = |(input, r): (usize, &Value)| InputRange {
        input,
        lo: float(&r["from"], f64::NEG_INFINITY),
        hi: float(&r["to"], f64::INFINITY),
        declared: r["declared"] == true,
    };
    let inputs: Vec<InputRange> = pruned["inputs"].as_array().into_iter().flatten().enumerate().map(range).collect();
    format!(
        "<section><h2>Pruned</h2>\n<p>{} of {} channels that are constant to {:e} removed: {} multiply-adds instead of {}. Stated error: \
             {}.</p></section>\n",
        number("removed_channels"),
        number("constant_channels"),
        float(&pruned["threshold"], f64::NAN),
        number("macs_after"),
        number("macs_before"),
        stated_error(float(&pruned["error"], f64::INFINITY), &inputs)
    )
}

fn histogram(bins: &[u64]) -> String {
    let (Some(first), Some(last)) = (bins.iter().position(|&n| n > 0), bins.iter().rposition(|&n| n > 0)) else {
        return String::new();
    };
    // A few empty ones around, so that narrow ones look narrow.
    let (first, last) = (first.saturating_sub(2), (last + 2).min(bins.len() - 1));
    let most = bins.iter().copied().max().unwrap_or(1).max(1) as f64;
    let (left, right, top, bottom) = (56.0, 1068.0, 20.0, 190.0);
    let wide = ((right - left) / (last - first + 1) as f64).min(90.0);
    let mut content = line("axis", left, bottom, left + wide * (last - first + 1) as f64, bottom);
    for (i, &n) in bins.iter().enumerate().take(last + 1).skip(first) {
        let x = left + wide * (i - first) as f64;
        let e = i as i32 - bins.len() as i32 / 2;
        let h = (bottom - top) * n as f64 / most;
        let title = format!("2^{e} to 2^{}: {n} channels", e + 1);
        let bar = rect("one", x + 2.0, bottom - h, wide - 4.0, h, "rx=\"3\"");
        content += &hover(&title, &bar);
        if n > 0 {
            content += &text("", x + wide / 2.0, bottom - h - 5.0, "middle", &out::grouped(n));
        }
        let edge = if (-4..=13).contains(&e) { format!("{}", 2f64.powi(e)) } else { format!("2^{e}") };
        content += &text("", x, bottom + 16.0, "middle", &edge);
    }
    drawing(WIDTH, 212.0, "channels by the magnitude of their folded scale", &content)
}

fn table(norms: &[Value]) -> String {
    let mut rows = String::new();
    for n in norms {
        let s = &n["scale"];
        let number = |v: &Value| v.as_u64().map_or(String::new(), out::grouped);
        let float = |v: &Value| v.as_f64().map_or(String::new(), |v| format!("{v:.2e}"));
        let cell = |text: String| format!("<td class=\"n\">{}</td>", esc(&text));
        rows += &format!(
            "<tr><td class=\"name\">{}</td><td>{}</td>{}<td>{}</td></tr>\n",
            esc(n["name"].as_str().unwrap_or_default()),
            if n["folded"] == true { "folded" } else { "kept" },
            [
                float(&s["min"]),
                float(&s["max"]),
                number(&s["negative"]),
                number(&s["zero"]),
                number(&s["tiny_variance"]),
                number(&n["dead_channels"]),
                number(&n["denormals_flushed"]),
                float(&n["drift"]),
            ]
            .map(cell)
            .concat(),
            esc(n["reason"].as_str().unwrap_or_default())
        );
    }
    let head = ["smallest", "largest", "negative", "zero", "tiny variance", "dead", "denormals", "drift"];
    let head: String = head.iter().map(|h| format!("<th class=\"n\">{h}</th>")).collect();
    format!("<table>\n<tr><th>batch norm</th><th></th>{head}<th>where, or why not</th></tr>\n{rows}</table>")
}
