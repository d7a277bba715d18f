//! `sepal demo`: what Sepal does, on what is built in.

use super::bench::{Stats, ms_since};
use super::engine::{self, Runner};
use super::failure::Failure;
use super::info::Sizes;
use super::picture::{self, Style};
use super::progress::Line;
use super::{out, run, samples};
use sepal_converter::convert::{self, ConvertOptions, Converted};
use sepal_converter::data::image;
use sepal_converter::data::recipe::{Normalize, Target};
use std::time::{Duration, Instant};

/// Pictures side by side.
const PER_ROW: usize = 5;
/// Columns of a picture; it has half as many lines. Five of them and their gaps fit into 80 columns.
const COLUMNS: usize = 14;
/// How long the latency is measured.
const MEASURE: Duration = Duration::from_millis(500);
/// Most runs that are measured.
const MAX_RUNS: usize = 100_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// No colours, no blocks: letters only
    #[arg(long)]
    plain: bool,
}

/// What the network says about a picture.
struct Seen {
    label: String,
    probability: f32,
    right: bool,
}

pub fn main(args: Args) -> Result<(), Failure> {
    let style = if args.plain { Style::Plain } else { Style::detect() };
    out::painted(&format!(
        "{}\n\n",
        style.paint("1", &format!("Sepal {}: a mini-Xception reads handwritten digits", env!("CARGO_PKG_VERSION")))
    ))?;

    let name = "mini_xception.keras";
    let mut line = Line::new();
    let start = Instant::now();
    let converted = convert::convert_bytes(name, sepal_fixtures::MINI_XCEPTION_KERAS, &ConvertOptions::default(), &mut line)
        .map_err(|e| Failure::conversion(name.as_ref(), &e))?;
    let took = ms_since(start);
    drop(line);
    out::painted(&conversion(name, &converted, took, style))?;

    let model = engine::from_bytes(converted.bytes(), None)?;
    let ports = engine::inputs(&model);
    let port = ports.first().ok_or_else(|| Failure::invalid("the built-in network has no input"))?;
    let target = samples::target(port).map_err(Failure::invalid)?;
    let mut runner = Runner::new(&model, 1)?;
    let mut inputs = Vec::new();
    let mut cards = Vec::new();
    for digit in sepal_fixtures::DIGITS {
        let decode = |t, n: &Normalize| image::decode(digit.png, t, n).map_err(Failure::invalid);
        let input = vec![decode(target, &Normalize::default())?];
        let output = runner.run(&input)?.swap_remove(0);
        let seen = seen(&output.values, digit.label);
        inputs.push(input);
        let small = Target { height: COLUMNS, width: COLUMNS, channels: 1, planar: false };
        cards.push((picture::lines(&decode(small, &Normalize::default())?, COLUMNS, style), seen));
    }
    out::painted(&gallery(&cards, style))?;

    let mut times = Vec::with_capacity(MAX_RUNS);
    let (begin, calls) = (Instant::now(), sepal_heap::calls());
    while begin.elapsed() < MEASURE && times.len() + inputs.len() <= MAX_RUNS {
        for input in &inputs {
            let start = Instant::now();
            runner.run_quietly(input)?;
            times.push(ms_since(start));
        }
    }
    let calls = sepal_heap::calls() - calls;
    let (stats, sizes) = (Stats::of(&times), Sizes::of(&model));
    let facts = out::facts(&[
        (
            "latency",
            format!(
                "{} median, {} at best ({} inferences, 1 thread, {})",
                out::ms(stats.median),
                out::ms(stats.min),
                out::grouped(times.len() as u64),
                engine::isa(&model)
            ),
        ),
        ("memory", format!("weights {}, arena {}", out::bytes(sizes.weights), out::bytes(sizes.arena))),
        ("heap calls", format!("{calls} during these inferences")),
    ]);
    out::painted(&format!("{}\n{facts}\n", style.paint("1", "Measured")))?;
    out::painted(&format!("{}\n  sepal convert your-model.keras     then: info, run, bench\n", style.paint("1", "Now yours")))
}

fn conversion(name: &str, converted: &Converted, took: f64, style: Style) -> String {
    let s = &converted.summary;
    let mut facts = vec![
        ("batch norms", format!("{} of {} folded away", s.folded(), s.report.folds.len())),
        (
            "parameters",
            format!("{} trainable before folding, {} after", out::grouped(s.trainable_parameters), out::grouped(s.parameters)),
        ),
        ("file", out::bytes(converted.bytes().len() as u64)),
    ];
    if let Some(check) = &s.self_check {
        facts.push(("self-check", format!("at most {:.0e} of the output's range away from the source in f64", check.relative)));
    }
    format!("{} {name} in {}\n{}\n", style.paint("1", "Converted"), out::ms(took), out::facts(&facts))
}

fn seen(probabilities: &[f32], label: usize) -> Seen {
    let best = run::largest(probabilities, 1).first().copied().unwrap_or(0);
    Seen {
        label: sepal_fixtures::LABELS.get(best).map_or_else(|| best.to_string(), |l| (*l).to_owned()),
        probability: probabilities.get(best).copied().unwrap_or(0.0),
        right: best == label,
    }
}

/// The pictures in rows, each over what was seen in it.
fn gallery(cards: &[(Vec<String>, Seen)], style: Style) -> String {
    let right = cards.iter().filter(|(_, s)| s.right).count();
    let mut text = format!("{} {} pictures, {right} right\n\n", style.paint("1", "Recognised"), cards.len());
    for row in cards.chunks(PER_ROW) {
        let rows = row.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0);
        for i in 0..rows {
            let parts: Vec<&str> = row.iter().filter_map(|(lines, _)| lines.get(i)).map(String::as_str).collect();
            text += &format!("  {}\n", parts.join("  ").trim_end());
        }
        let captions: Vec<String> = row.iter().map(|(_, seen)| caption(seen, style)).collect();
        text += &format!("  {}\n\n", captions.join("  ").trim_end());
    }
    text
}

/// `7  99.8 %` in the middle of a picture's columns.
fn caption(seen: &Seen, style: Style) -> String {
    let wrong = if seen.right { "" } else { " ?" };
    let text = format!("{}  {:.1} %{wrong}", seen.label, 100.0 * seen.probability);
    let gap = COLUMNS.saturating_sub(text.chars().count());
    let (before, after) = (" ".repeat(gap / 2), " ".repeat(gap - gap / 2));
    format!("{before}{}{after}", style.paint(if seen.right { "32" } else { "31" }, &text))
}
