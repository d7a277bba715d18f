//! Which tensor lies where in the arena, from step to step.

use super::svg::{drawing, hover, line, rect, text};
use super::{Facts, out};
use sepal_format::record::{Tensor, place};

const WIDTH: f64 = 1080.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 1068.0;
const TOP: f64 = 26.0;
const HEIGHT: f64 = 300.0;
/// Colours that follow each other, so that neighbours differ.
const SHADES: [&str; 5] = ["0.95", "0.7", "0.82", "0.58", "0.88"];

/// Bytes from the first to the last of a tensor.
fn bytes(t: &Tensor) -> u64 {
    let rows = if t.place == place::ROWS { t.rows } else { t.dims[0].saturating_mul(t.dims[1]) };
    [rows, t.dims[2], t.pixel, 4].iter().fold(1, |n, &d| n.saturating_mul(u64::from(d)))
}

pub fn section(facts: &Facts) -> String {
    let view = &facts.view;
    let (arena, scratch) = (view.plan().tensor_bytes, view.plan().scratch_bytes);
    let all = (arena + scratch).max(1) as f64;
    let n = facts.steps.len().max(1) as f64;
    let x = |step: f64| LEFT + (RIGHT - LEFT) * (step / n).min(1.0);
    let y = |byte: u64| TOP + HEIGHT * byte as f64 / all;
    let mut content = String::new();
    for p in &facts.pipelines {
        let (a, b) = (x(p.steps.start as f64), x(p.steps.end as f64));
        content += &rect("band", a, TOP, b - a, HEIGHT, "");
    }
    // Those that steps write and those that the caller fills; other views lie on them.
    let mut drawn = vec![None; view.tensors().len()];
    for io in view.inputs() {
        drawn[io.tensor as usize] = Some(format!("input {}", view.io_name(io)));
    }
    for (i, s) in view.steps().iter().enumerate() {
        drawn[s.output as usize].get_or_insert_with(|| format!("step {i}: {}", view.step_name(s)));
    }
    for (i, (t, name)) in view.tensors().iter().zip(&drawn).enumerate() {
        let Some(name) = name else { continue };
        let (start, class) = match t.place {
            place::ARENA => (t.offset, "one"),
            place::ROWS => (arena + t.offset, "two"),
            _ => continue,
        };
        let given = view.inputs().iter().any(|io| io.tensor as usize == i);
        let first = if given { 0.0 } else { f64::from(t.first) };
        let (a, b) = (x(first), x(f64::from(t.last) + 1.0));
        let (c, d) = (y(start), y(start + bytes(t)));
        let title = format!("{name}\n{} of {}, steps {} to {}", out::bytes(bytes(t)), out::shape(t.dims), t.first, t.last);
        let more = format!("rx=\"2\" fill-opacity=\"{}\" style=\"stroke:var(--card)\"", SHADES[i % SHADES.len()]);
        content += &hover(&title, &rect(class, a, c, (b - a).max(1.5), (d - c).max(1.0), &more));
    }
    content += &line("axis", LEFT, TOP, LEFT, TOP + HEIGHT);
    for (byte, name) in [(0, "0".into()), (arena, out::bytes(arena)), (arena + scratch, out::bytes(arena + scratch))] {
        content += &line("axis", LEFT - 4.0, y(byte), RIGHT, y(byte));
        // Two that are near each other: the lower one goes below.
        let down = if byte == arena && scratch as f64 / all < 0.06 { -4.0 } else { 4.0 };
        content += &text("", LEFT - 8.0, y(byte) + down, "end", &name);
    }
    let every = (n / 12.0).ceil().max(1.0) as usize;
    for step in (0..facts.steps.len()).step_by(every) {
        content += &text("", x(step as f64 + 0.5), TOP + HEIGHT + 16.0, "middle", &step.to_string());
    }
    content += &text("", LEFT, 16.0, "start", "arena: offset downwards, step by step to the right");
    let saved: u64 = facts.pipelines.iter().map(|p| p.whole.saturating_sub(p.kept)).sum();
    let words = match facts.pipelines.len() {
        0 => String::new(),
        n => format!(
            " {n} pipeline{} keep{} rows in scratch in place of whole tensors, which would be {} more in all.",
            if n == 1 { "" } else { "s" },
            if n == 1 { "s" } else { "" },
            out::bytes(saved)
        ),
    };
    format!(
        "<section><h2>Memory over time</h2>\n<p>Each block is a tensor: its place in the arena, from the step that writes it to the last \
         that reads it.{words}</p>\n{}<div class=\"legend\"><span><i></i>whole tensors</span><span><i class=\"two\"></i>rows of a \
         pipeline, in the scratch of a thread</span><span><i class=\"band\"></i>steps of a pipeline</span></div></section>\n",
        drawing(WIDTH, TOP + HEIGHT + 24.0, "the tensors in the arena over time", &content)
    )
}
