//! The error of each layer.

use super::svg::{circle, drawing, hover, line, text};
use sepal_converter::diff::{Diff, Layer};

const WIDTH: f64 = 1080.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 1068.0;

/// A drawing with powers of a base upwards.
struct Scale {
    low: f64,
    high: f64,
    top: f64,
    bottom: f64,
    base: f64,
}

impl Scale {
    /// Where a value lies; what is smaller than the scale, zero for one, at its foot.
    fn y(&self, value: f64) -> f64 {
        let e = if value > 0.0 { value.log(self.base) } else { self.low };
        let e = if e.is_nan() { self.high } else { e.clamp(self.low, self.high) };
        self.bottom - (e - self.low) / (self.high - self.low) * (self.bottom - self.top)
    }

    fn grid(&self, step: usize, name: impl Fn(i32) -> String) -> String {
        let (low, high) = (self.low as i32, self.high as i32);
        let one = |e: i32| {
            let y = self.y(self.base.powi(e));
            line("grid", LEFT, y, RIGHT, y) + &text("", LEFT - 8.0, y + 4.0, "end", &name(e))
        };
        (low..=high).step_by(step).map(one).collect()
    }
}

fn x(i: usize, n: usize) -> f64 {
    LEFT + 14.0 + (RIGHT - LEFT - 28.0) * (i as f64 + 0.5) / n.max(1) as f64
}

pub fn section(diff: &Diff, samples: &[String]) -> String {
    format!(
        "<section><h2>Error per layer</h2>\n<p>How far each tensor of the file is from the same tensor of the source in f64, as a share of \
         its largest magnitude: the largest difference, and the mean. What was folded or fused is in the error of the step that does \
         it.</p>\n{}{}\
         <p style=\"margin-top:18px\">The same as distances in units of the last place: half of a layer's elements are no further off than \
         the lower mark, 99 of 100 no further than the upper.</p>\n{}</section>\n",
        relative(diff, samples),
        "<div class=\"legend\"><span><i></i>largest</span><span><i class=\"soft\"></i>mean</span><span><i class=\"bad\"></i>threshold, \
         and what is beyond it</span></div>\n",
        ulps(diff)
    )
}

fn title(l: &Layer, samples: &[String]) -> String {
    let mut text = format!(
        "step {}: {} '{}'\nlargest {:.2e} of range, mean {:.2e}",
        l.step,
        l.kind,
        l.name,
        l.stats.relative(),
        l.stats.mean_relative()
    );
    if let Some(w) = l.stats.worst {
        let of = samples.get(w.sample).map_or("", String::as_str);
        text += &format!("\nworst: element {} of {of}: {:e} where {:e} is right", w.element, w.got, w.want);
    }
    if !l.inside.is_empty() {
        text += &format!("\nwith {}", l.inside.join(", "));
    }
    text
}

fn relative(diff: &Diff, samples: &[String]) -> String {
    let highest = diff.layers.iter().map(|l| l.stats.relative()).filter(|r| r.is_finite()).fold(diff.threshold.max(1e-7), f64::max);
    let scale = Scale { low: -10.0, high: highest.log10().ceil().max(-6.0), top: 16.0, bottom: 250.0, base: 10.0 };
    let mut content = scale.grid(1, |e| if e == -10 { "0".into() } else { format!("1e{e}") });
    if diff.threshold > 0.0 {
        let y = scale.y(diff.threshold);
        content += &line("limit", LEFT, y, RIGHT, y);
        content += &text("", RIGHT, y - 6.0, "end", &format!("diverges above {:.0e}", diff.threshold));
    }
    let n = diff.layers.len();
    let r = if n > 150 { 2.5 } else { 4.0 };
    for (i, l) in diff.layers.iter().enumerate() {
        let (x, worst) = (x(i, n), l.stats.relative());
        let class = if worst > diff.threshold { "bad" } else { "one" };
        let (y, mean) = (scale.y(worst), scale.y(l.stats.mean_relative()));
        let mark = line("soft", x, y, x, mean) + &circle("soft", x, mean, r * 0.6) + &circle(class, x, y, r);
        content += &hover(&title(l, samples), &mark);
    }
    content += &text("", LEFT, 272.0, "start", "first step");
    content += &text("", RIGHT, 272.0, "end", "last step");
    drawing(WIDTH, 280.0, "largest and mean error of each layer, as a share of its range", &content)
}

fn ulps(diff: &Diff) -> String {
    let highest = diff.layers.iter().map(|l| l.stats.ulps.quantile(0.99)).max().unwrap_or(1).max(16);
    let scale = Scale { low: 0.0, high: (highest as f64).log2().ceil(), top: 12.0, bottom: 170.0, base: 2.0 };
    let step = if scale.high > 12.0 { 4 } else { 2 };
    let mut content = scale.grid(step, |e| if e == 0 { "≤ 1".into() } else { format!("{}", 1u64 << e) });
    let n = diff.layers.len();
    for (i, l) in diff.layers.iter().enumerate() {
        let (half, most) = (l.stats.ulps.quantile(0.5), l.stats.ulps.quantile(0.99));
        let (x, a, b) = (x(i, n), scale.y(half as f64), scale.y(most as f64));
        let mark = format!(
            "<line class=\"two\" x1=\"{x:.1}\" y1=\"{a:.1}\" x2=\"{x:.1}\" y2=\"{b:.1}\" stroke-width=\"{}\" stroke-linecap=\"round\" stroke-opacity=\"0.55\"/>",
            (500.0 / n.max(1) as f64).clamp(1.5, 8.0)
        );
        content += &hover(&format!("'{}'\nhalf within {half}, 99 % within {most}", l.name), &(mark + &circle("two", x, a, 2.0)));
    }
    drawing(WIDTH, 182.0, "distances in units of the last place", &content)
}
