//! One page that shows a conversion: how far each layer is off, what became of the batch norms, where the tensors lie over time, and
//! the steps with their pipelines. It stands alone: no scripts, nothing that is loaded from elsewhere.

use super::diff::cosine;
use super::info::Sizes;
use super::out;
use super::steps::{PipelineInfo, StepInfo, pipelines, steps};
use sepal::Model;
use sepal_converter::diff::{Diff, Stats};
use sepal_format::ModelView;
use sepal_format::record::section;
use serde_json::Value;

mod errors;
mod graph;
mod memory;
mod scales;
pub mod svg;

use svg::esc;

const STYLE: &str = include_str!("style.css");

/// What the plots are made of.
struct Facts<'a> {
    view: ModelView<'a>,
    steps: Vec<StepInfo>,
    pipelines: Vec<PipelineInfo>,
    diff: Option<&'a Diff>,
    /// The largest relative error of the tensors that each step completes.
    errors: Vec<Option<f64>>,
}

/// The page. `samples` are the names of what was compared; `folds` is the report of the conversion if it is known better than the file
/// knows it.
pub fn page(title: &str, model: &Model, diff: Option<&Diff>, samples: &[String], folds: Option<Value>) -> String {
    let view = model.view();
    let steps = steps(&view);
    let mut errors = vec![None; steps.len()];
    for l in diff.map_or(&[][..], |d| &d.layers) {
        if let Some(e) = errors.get_mut(l.step) {
            *e = Some(l.stats.relative().max(e.unwrap_or(0.0)));
        }
    }
    let stored = || view.section(section::FOLDS).and_then(|b| serde_json::from_slice(b).ok()).unwrap_or(Value::Null);
    let folds = folds.unwrap_or_else(stored);
    let facts = Facts { pipelines: pipelines(&view), view, steps, diff, errors };
    let mut body = verdict(&facts, samples) + &tiles(&facts, model);
    if let Some(diff) = diff {
        body += &errors::section(diff, samples);
    }
    body += &scales::section(&folds);
    body += &memory::section(&facts);
    body += &graph::section(&facts);
    if let Some(diff) = diff {
        body += &table(diff);
    }
    shell(title, "", &body)
}

/// A page with a heading.
pub fn shell(title: &str, below: &str, body: &str) -> String {
    let title = esc(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{below}{body}</main>\n</body>\n</html>\n"
    )
}

fn verdict(facts: &Facts, samples: &[String]) -> String {
    let Some(diff) = facts.diff else { return String::new() };
    let of = match samples {
        [one] => format!("on {}", esc(one)),
        all => format!("on {} samples", all.len()),
    };
    let share = format!("{:.0e} of its range", diff.threshold);
    let text = match (diff.first_diverging(), diff.diverges()) {
        (Some(l), _) => {
            format!("<b class=\"bad\">Diverges</b> {of}: first at {} <b>{}</b>, by more than {share}.", esc(&l.kind), esc(&l.name))
        }
        (None, true) => format!("<b class=\"bad\">Diverges</b> {of}: at an output, by more than {share}."),
        (None, false) => format!("<b class=\"good\">Agrees</b> {of} with its source in f64: no layer is off by more than {share}."),
    };
    format!("<p class=\"verdict\">{text}</p>\n")
}

fn tiles(facts: &Facts, model: &Model) -> String {
    let sizes = Sizes::of(model);
    let mut all: Vec<(String, String)> = Vec::new();
    if let Some(diff) = facts.diff {
        let worst = diff.layers.iter().map(|l| l.stats.relative()).fold(0.0, f64::max);
        all.push((format!("{worst:.1e}"), "largest error of a layer, of its range".into()));
        for o in &diff.outputs {
            all.push((format!("{:.1e}", o.stats.max_abs), format!("largest difference in {}", out::tail(&o.name, 24))));
            if let Some(a) = &o.agreement {
                all.push((format!("{} of {}", a.top1, a.samples), "samples with the same first class".into()));
                all.push((format!("{} of {}", a.top5, a.samples), "samples with the same first five".into()));
            }
        }
        all.push((format!("{} of {}", diff.layers.len(), diff.nodes), "nodes with a tensor in the file".into()));
    }
    all.push((out::count(sizes.macs), "multiply-adds".into()));
    all.push((out::bytes(sizes.weights), "weights".into()));
    all.push((out::bytes(sizes.arena), "arena, one thread".into()));
    all.truncate(12);
    let tile =
        |(value, what): &(String, String)| format!("<div class=\"tile\"><b>{}</b><span>{}</span></div>", esc(value), esc(what));
    format!("<div class=\"tiles\">{}</div>\n", all.iter().map(tile).collect::<String>())
}

fn table(diff: &Diff) -> String {
    let cells = |s: &Stats| {
        format!(
            "<td class=\"n\">{:.2e}</td><td class=\"n\">{:.2e}</td><td class=\"n\">{:.2e}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
            s.max_abs,
            s.relative(),
            s.range,
            cosine(s.cosine()),
            s.ulps.quantile(0.5),
            s.ulps.quantile(0.99),
            out::grouped(s.ulps.max())
        )
    };
    let mut rows = String::new();
    for l in &diff.layers {
        let class = if l.stats.relative() > diff.threshold { " class=\"bad\"" } else { "" };
        let inside = if l.inside.is_empty() { String::new() } else { format!("with {}", l.inside.join(", ")) };
        rows += &format!(
            "<tr{class}><td class=\"n\">{}</td><td class=\"name\" title=\"{}\">{}</td><td>{}</td><td>{}</td>{}</tr>\n",
            l.step,
            esc(&inside),
            esc(&l.name),
            esc(&l.kind),
            out::shape(&l.shape),
            cells(&l.stats)
        );
    }
    for o in &diff.outputs {
        rows += &format!(
            "<tr><td></td><td class=\"name\"><b>{}</b></td><td>output</td><td></td>{}</tr>\n",
            esc(&o.name),
            cells(&o.stats)
        );
    }
    format!(
        "<section><h2>All figures</h2>\n<p>ULPs are distances in units of the last place of f32 after the source's value is rounded to it; \
         near zero they are large where the error is small.</p>\n<div class=\"wide\"><table>\n<tr><th class=\"n\">step</th><th>layer</th>\
         <th>kind</th><th>shape</th><th class=\"n\">max abs</th><th class=\"n\">of range</th><th class=\"n\">range</th>\
         <th class=\"n\">cosine</th><th class=\"n\">ULPs: median</th><th class=\"n\">99 %</th><th class=\"n\">max</th></tr>\n\
         {rows}</table></div></section>\n"
    )
}
