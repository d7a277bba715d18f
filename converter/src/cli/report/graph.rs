//! The steps, one below the other, with lines from those that write to those that read.

use super::svg::{circle, esc, hover, rect, text};
use super::{Facts, out};
use crate::cli::steps::short_name;
use sepal_format::record::{NONE, Tensor, place};
use std::collections::HashMap;

const ROW: f64 = 22.0;
const LANE: f64 = 16.0;
const TOP: f64 = 30.0;
/// Lanes beyond this are drawn on top of each other.
const MOST_LANES: usize = 16;
/// So many lines lead to a step: each step may read what all before it wrote.
const MOST_LINES: usize = 32;

/// The steps whose results each step reads; the network's inputs are numbers from the end of the steps on.
fn sources(facts: &Facts) -> Vec<Vec<usize>> {
    let view = &facts.view;
    let (steps, tensors) = (view.steps(), view.tensors());
    let span = |t: &Tensor| {
        let n = [t.dims[0], t.dims[1], t.dims[2], t.pixel, 4].iter().fold(1u64, |n, &d| n.saturating_mul(u64::from(d)));
        t.offset..t.offset.saturating_add(n)
    };
    let meet = |a: &Tensor, b: &Tensor| {
        a.place == place::ARENA && b.place == place::ARENA && span(a).start < span(b).end && span(b).start < span(a).end
    };
    let mut written: HashMap<u32, Vec<usize>> = HashMap::new();
    steps.iter().enumerate().for_each(|(s, step)| written.entry(step.output).or_default().push(s));
    // A view: of what is alive there when it is whole.
    let mut views: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut view_of = |t: u32, tensor: &Tensor| {
        let of = || {
            let alive = |o: &Tensor| o.first <= tensor.first && tensor.first <= o.last;
            let writers = steps.iter().enumerate().take(tensor.first as usize + 1).filter(|(_, step)| {
                let o = tensors.get(step.output as usize);
                o.is_some_and(|o| alive(o) && meet(o, tensor))
            });
            writers.map(|(p, _)| p).take(MOST_LINES).collect()
        };
        views.entry(t).or_insert_with(of).clone()
    };
    let mut all = Vec::new();
    for (s, step) in steps.iter().enumerate() {
        let mut from = Vec::new();
        for &t in step.inputs.iter().take_while(|&&t| t != NONE) {
            let Some(tensor) = tensors.get(t as usize) else { continue };
            let before = written.get(&t).and_then(|by| by[..by.partition_point(|&p| p < s)].last());
            if let Some(&p) = before {
                from.push(p);
                continue;
            }
            if let Some(k) = view.inputs().iter().position(|io| io.tensor == t) {
                from.push(steps.len() + k);
                continue;
            }
            from.extend(view_of(t, tensor).into_iter().filter(|&p| p < s));
            let given = view
                .inputs()
                .iter()
                .position(|io| tensors.get(io.tensor as usize).is_some_and(|o| tensor.first == 0 && meet(o, tensor)));
            from.extend(given.map(|k| steps.len() + k));
        }
        from.sort_unstable();
        from.dedup();
        from.truncate(MOST_LINES);
        all.push(from);
    }
    all
}

/// A lane for each step and each input, so that lines run straight down and only bend where they end.
fn lanes(sources: &[Vec<usize>], inputs: usize) -> (Vec<usize>, usize) {
    let n = sources.len();
    let mut last = vec![0; n + inputs];
    for (s, from) in sources.iter().enumerate() {
        from.iter().for_each(|&p| last[p] = s);
    }
    let mut lane = vec![0; n + inputs];
    let mut taken: Vec<Option<usize>> = Vec::new();
    let take = |taken: &mut Vec<Option<usize>>, who: usize| {
        let free = taken.iter().position(Option::is_none).unwrap_or(taken.len());
        if free == taken.len() {
            taken.push(None);
        }
        taken[free] = Some(who);
        free
    };
    for k in 0..inputs {
        lane[n + k] = take(&mut taken, n + k);
    }
    let mut most = taken.len();
    for s in 0..n {
        // Whoever is read here for the last time makes room.
        for place in taken.iter_mut() {
            if place.is_some_and(|p| last[p] <= s && (p >= n || p < s)) {
                *place = None;
            }
        }
        let straight = sources[s].iter().map(|&p| lane[p]).find(|&l| taken.get(l) == Some(&None));
        lane[s] = match straight {
            Some(l) => {
                taken[l] = Some(s);
                l
            }
            None => take(&mut taken, s),
        };
        most = most.max(taken.len());
    }
    lane.iter_mut().for_each(|l| *l = (*l).min(MOST_LANES - 1));
    (lane, most.min(MOST_LANES))
}

pub fn section(facts: &Facts) -> String {
    let n = facts.steps.len();
    let inputs = facts.view.inputs().len();
    let sources = sources(facts);
    let (lane, most) = lanes(&sources, inputs);
    let row = |i: usize| TOP + ROW * (inputs + i) as f64 + ROW / 2.0;
    let place = |p: usize| {
        let y = if p < n { row(p) } else { TOP + ROW * (p - n) as f64 + ROW / 2.0 };
        (26.0 + LANE * lane[p] as f64, y)
    };
    let words = 26.0 + LANE * most as f64 + 14.0;
    let (kernel, shape, bar, error) = (words + 400.0, words + 570.0, words + 690.0, words + 830.0);
    let width = words + 910.0;
    let height = TOP + ROW * (inputs + n) as f64 + 14.0;
    let mut content = String::new();
    for p in &facts.pipelines {
        let (a, b) = (row(p.steps.start) - ROW / 2.0 + 1.0, row(p.steps.end - 1) + ROW / 2.0 - 1.0);
        let title = format!(
            "pipeline of steps {} to {}, {} rows at a time: keeps {} in place of {}",
            p.steps.start,
            p.steps.end - 1,
            p.band,
            out::bytes(p.kept),
            out::bytes(p.whole)
        );
        content += &hover(&title, &rect("band", 6.0, a, width - 12.0, b - a, "rx=\"8\""));
    }
    for (s, from) in sources.iter().enumerate() {
        let (x, y) = place(s);
        for &p in from {
            let (px, py) = place(p);
            content += &if (px - x).abs() < 0.1 {
                format!("<path class=\"edge\" d=\"M{px:.1} {py:.1}V{y:.1}\"/>\n")
            } else {
                // Down its own lane, then over.
                let bend = (y - ROW).max(py);
                format!(
                    "<path class=\"edge\" d=\"M{px:.1} {py:.1}V{bend:.1}C{px:.1} {:.1} {x:.1} {:.1} {x:.1} {y:.1}\"/>\n",
                    bend + ROW * 0.6,
                    y - ROW * 0.6
                )
            };
        }
    }
    for (k, io) in facts.view.inputs().iter().enumerate() {
        let (x, y) = place(n + k);
        content += &format!("<circle class=\"still\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>");
        content += &text("ink", words, y + 4.0, "start", &format!("input {}", out::tail(facts.view.io_name(io), 50)));
    }
    let total: u64 = facts.steps.iter().map(|s| s.macs).sum();
    let largest = facts.steps.iter().map(|s| s.macs).max().unwrap_or(1).max(1) as f64;
    let threshold = facts.diff.map_or(f64::INFINITY, |d| d.threshold);
    for (i, s) in facts.steps.iter().enumerate() {
        let (x, y) = place(i);
        let off = facts.errors.get(i).copied().flatten();
        let class = if off.is_some_and(|e| e > threshold) { "bad" } else { "one" };
        let mut one = circle(class, x, y, 4.5);
        one += &text("ink", words, y + 4.0, "start", &format!("{i}  {}", out::tail(&short_name(&s.name), 56)));
        one += &text("mono", kernel, y + 4.0, "start", &out::tail(s.kernel.trim_start_matches("f32."), 24));
        one += &text("", shape, y + 4.0, "start", &out::shape(s.output));
        if s.macs > 0 {
            one += &rect("two", bar, y - 4.0, (90.0 * s.macs as f64 / largest).max(1.0), 8.0, "rx=\"2\"");
            one += &text("", bar + 96.0, y + 4.0, "start", &format!("{:.1} %", 100.0 * s.macs as f64 / total.max(1) as f64));
        }
        if let Some(e) = off {
            one += &text("", error, y + 4.0, "start", &format!("{e:.1e}"));
        }
        let title = format!(
            "step {i}: {}\n{}, {} multiply-adds, weights {}",
            s.name,
            s.kernel,
            out::grouped(s.macs),
            out::bytes(s.weights)
        );
        content += &hover(&title, &one);
    }
    for (x, head) in [(words, "step"), (kernel, "kernel"), (shape, "output"), (bar, "multiply-adds")] {
        content += &text("", x, 16.0, "start", head);
    }
    if facts.diff.is_some() {
        content += &text("", error, 16.0, "start", "off by");
    }
    format!(
        "<section><h2>Steps and row pipelines</h2>\n<p>In the order in which they run. Steps on a coloured ground take turns, a few rows at \
         a time, so that what lies between them stays in the cache.</p>\n<div class=\"tall\"><svg class=\"steps\" \
         width=\"{width:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">\n{content}</svg></div></section>\n",
        esc("the steps and what they read")
    )
}

#[cfg(test)]
mod tests {
    use super::lanes;

    #[test]
    fn a_residual_gets_a_lane_of_its_own() {
        // 3: input; 0 reads it, 1 reads 0, 2 reads 0 and 1.
        let (lane, most) = lanes(&[vec![3], vec![0], vec![0, 1]], 1);
        assert_eq!((lane[3], lane[0]), (0, 0));
        assert_ne!(lane[0], lane[1]);
        assert_eq!(most, 2);
    }
}
