//! `sepal info`.

use super::convert::ImportArgs;
use super::diff::provenance;
use super::engine::{self, Port};
use super::failure::Failure;
use super::normalizing::stored;
use super::out::{self, Side, Table};
use super::plans::{self, PlanArg};
use super::progress::Line;
use super::steps::{PipelineInfo, StepInfo, pipelines, short_name, steps};
use sepal::Model;
use sepal_converter::convert::{self, ConvertOptions};
use sepal_converter::data::recipe::Resize;
use sepal_converter::preprocessing::Preprocessing;
use sepal_format::record::MAGIC;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
A source is converted in memory first, so its figures are those of the file that
`convert` would write.

Examples:
  sepal info model.sepal
  sepal info model.keras --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A .sepal file, or a Keras, ONNX or TFLite network
    #[arg(value_name = "MODEL|SOURCE")]
    model: PathBuf,
    #[command(flatten)]
    import: ImportArgs,
    #[command(flatten)]
    plan: PlanArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The sizes of a converted network.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Multiply-accumulates of an inference.
    pub macs: u64,
    /// Bytes of the file.
    pub file: u64,
    /// Bytes of packed weights.
    pub weights: u64,
    /// Bytes of the arena with one thread.
    pub arena: u64,
    /// Bytes that each further thread adds.
    pub per_thread: u64,
}

impl Sizes {
    pub fn of(model: &Model) -> Self {
        let view = model.view();
        let arena = |threads| model.arena_bytes(threads) as u64;
        Sizes {
            macs: view.plan().macs,
            file: view.file_len() as u64,
            weights: size_of_val(view.weights()) as u64,
            arena: arena(1),
            per_thread: arena(2) - arena(1),
        }
    }
}

pub fn main(args: Args) -> Result<(), Failure> {
    let show = |model: Model| {
        let model = &args.plan.or_first(model)?;
        let pictures = stored(model)?;
        let pictures = pictures.as_ref();
        match args.json {
            true => out::json(&describe(&args.model, model, pictures)),
            false => out::print(&render(&args.model, model, pictures)),
        }
    };
    if is_model(&args.model)? {
        return show(engine::read_verified(&args.model, None)?);
    }
    let options = ConvertOptions { import: args.import.clone().into(), no_verify: true, ..ConvertOptions::default() };
    let mut line = Line::new();
    let converted = convert::convert(&args.model, &options, &mut line).map_err(|e| Failure::conversion(&args.model, &e))?;
    drop(line);
    show(engine::from_bytes(converted.bytes(), None)?)
}

fn is_model(path: &Path) -> Result<bool, Failure> {
    let mut start = Vec::new();
    let file = sepal_converter::file::open_regular(path).map_err(|e| Failure::io(path, &e))?;
    file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(|e| Failure::io(path, &e))?;
    Ok(start == MAGIC)
}

/// The layout, or null where the source does not say.
fn layout(port: &Port) -> Value {
    if port.layout.is_empty() { Value::Null } else { port.layout.into() }
}

fn describe(path: &Path, model: &Model, pictures: Option<&Preprocessing>) -> Value {
    let sizes = Sizes::of(model);
    let provenance = provenance(model);
    let port = |p: &Port| json!({ "name": p.name, "shape": p.dims, "layout": layout(p), "dtype": "f32" });
    let plan = |model: &Model| {
        let sizes = Sizes::of(model);
        json!({
            "number": model.plan_number(), "inputs": engine::inputs(model).iter().map(port).collect::<Vec<_>>(),
            "macs": sizes.macs, "steps": model.view().steps().len(),
            "arena_bytes": sizes.arena, "arena_bytes_per_extra_thread": sizes.per_thread,
        })
    };
    let step = |(i, s): (usize, &StepInfo)| {
        json!({
            "index": i, "name": s.name, "kind": s.kind, "kernel": s.kernel,
            "output": s.output, "macs": s.macs, "weights_bytes": s.weights,
        })
    };
    let pipeline = |p: &PipelineInfo| {
        json!({
            "first_step": p.steps.start, "last_step": p.steps.end - 1, "rows_at_a_time": p.band,
            "kept_bytes": p.kept, "whole_bytes": p.whole, "saved_bytes": p.whole.saturating_sub(p.kept),
        })
    };
    json!({
        "schema": 1,
        "file": path.display().to_string(),
        "source": provenance["source"],
        "format": provenance["format"],
        "network": provenance["network"],
        "inputs": engine::inputs(model).iter().map(port).collect::<Vec<_>>(),
        "outputs": engine::outputs(model).iter().map(port).collect::<Vec<_>>(),
        "parameters": provenance["parameters"],
        "batch_norms": provenance["batch_norms"],
        "preprocessing": pictures.map(|p| json!({
            "input": p.input, "level": p.level, "mean": p.mean, "std": p.std, "colour": if p.bgr { "bgr" } else { "rgb" },
            "resize": match p.resize {
                Resize::Stretch => json!({ "rule": "stretch" }),
                Resize::Crop(share) => json!({ "rule": "crop", "share": share }),
                Resize::Fit(bars) => json!({ "rule": "fit", "bars": bars }),
            },
        })),
        "labels": pictures.map(|p| &p.labels),
        "macs": sizes.macs,
        "file_bytes": sizes.file,
        "weights_bytes": sizes.weights,
        "arena_bytes": sizes.arena,
        "arena_bytes_per_extra_thread": sizes.per_thread,
        "plan": model.plan_number(),
        "plans": model.plans().map(|m| plan(&m)).collect::<Vec<_>>(),
        "steps": steps(&model.view()).iter().enumerate().map(step).collect::<Vec<_>>(),
        "pipelines": pipelines(&model.view()).iter().map(pipeline).collect::<Vec<_>>(),
    })
}

fn render(path: &Path, model: &Model, pictures: Option<&Preprocessing>) -> String {
    let sizes = Sizes::of(model);
    let from = provenance(model);
    let mut text = format!("{}\n", path.display());
    if let (Some(source), Some(format)) = (from["source"].as_str(), from["format"].as_str()) {
        let network = from["network"].as_str().filter(|n| !n.is_empty()).map(|n| format!(", network {n}")).unwrap_or_default();
        text += &format!("  {}\n", out::plain(&format!("converted from {source} ({format}{network})")));
    }
    let mut ports = Table::new(&[("", Side::Left), ("name", Side::Left), ("shape", Side::Left)]);
    let named = |p: &Port, role: &str| [role.into(), p.name.clone(), format!("{}  {}", out::shape(&p.dims), p.layout)];
    engine::inputs(model).iter().for_each(|p| ports.row(named(p, "input")));
    engine::outputs(model).iter().for_each(|p| ports.row(named(p, "output")));
    text += &format!("\n{}\n", ports.render());

    let number = |v: &Value| v.as_u64().map(out::grouped);
    let parameters = &from["parameters"];
    if let (Some(before), Some(after)) = (number(&parameters["trainable_before_folding"]), number(&parameters["after_folding"])) {
        text += &format!("  {before} trainable parameters before folding\n");
        if let (Some(folded), Some(total)) = (number(&from["batch_norms"]["folded"]), number(&from["batch_norms"]["total"])) {
            text += &format!("  {folded} of {total} batch norms folded\n");
        }
        text += &format!("  {after} parameters after\n\n");
    }
    text += &out::facts(&[
        ("multiply-adds", format!("{} ({})", out::grouped(sizes.macs), out::count(sizes.macs))),
        ("file", format!("{} bytes ({})", out::grouped(sizes.file), out::bytes(sizes.file))),
        ("weights", format!("{} bytes ({})", out::grouped(sizes.weights), out::bytes(sizes.weights))),
        (
            "arena",
            format!(
                "{} bytes ({}) with one thread, {} bytes more for each further one",
                out::grouped(sizes.arena),
                out::bytes(sizes.arena),
                out::grouped(sizes.per_thread)
            ),
        ),
    ]);

    text += &plan_table(model);
    if let Some(p) = pictures {
        text += &format!("\n  pictures for input {}\n{}", p.input, out::facts(&p.describe()));
    }

    let mut table = Table::new(&[
        ("#", Side::Right),
        ("step", Side::Left),
        ("kind", Side::Left),
        ("output", Side::Left),
        ("MACs", Side::Right),
        ("share", Side::Right),
    ]);
    let steps = steps(&model.view());
    // Of what the steps do: what the file says of the network is only its word.
    let all: f64 = steps.iter().map(|s| s.macs as f64).sum();
    for (i, s) in steps.iter().enumerate() {
        let share = 100.0 * s.macs as f64 / all;
        let costs = |text: String| if s.macs > 0 { text } else { String::new() };
        table.row([
            i.to_string(),
            out::tail(&short_name(&s.name), 44),
            s.kernel.trim_start_matches("f32.").to_owned(),
            out::shape(s.output),
            costs(out::count(s.macs)),
            costs(format!("{share:.1} %")),
        ]);
    }
    text += &format!("\n{}", table.render());
    let pipelines = pipelines(&model.view());
    if pipelines.is_empty() {
        return text;
    }
    let mut table = Table::new(&[
        ("pipeline of steps", Side::Left),
        ("rows at a time", Side::Right),
        ("kept", Side::Right),
        ("instead of", Side::Right),
    ]);
    for p in &pipelines {
        table.row([
            format!("{} to {}", p.steps.start, p.steps.end - 1),
            p.band.to_string(),
            out::bytes(p.kept),
            out::bytes(p.whole),
        ]);
    }
    text + &format!("\n{}", table.render())
}

/// The plans of a file that has several; the one that the rest is about has a mark.
fn plan_table(model: &Model) -> String {
    if model.plans().len() == 1 {
        return String::new();
    }
    let mut table = Table::new(&[
        ("plan", Side::Right),
        ("inputs", Side::Left),
        ("multiply-adds", Side::Right),
        ("arena", Side::Right),
        ("each further thread", Side::Right),
        ("", Side::Left),
    ]);
    for plan in model.plans() {
        let sizes = Sizes::of(&plan);
        table.row([
            plan.plan_number().to_string(),
            plans::inputs(&plan),
            out::count(sizes.macs),
            format!("{} bytes", out::grouped(sizes.arena)),
            format!("{} bytes", out::grouped(sizes.per_thread)),
            if plan.plan_number() == model.plan_number() { "shown here".into() } else { String::new() },
        ]);
    }
    format!("\n{}", table.render())
}
