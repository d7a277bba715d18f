//! `sepal diff`.

use super::convert::ImportArgs;
use super::engine;
use super::failure::{Failure, VERIFICATION};
use super::normalizing::Normalizing;
use super::out::{self, Side, Table};
use super::plans::{self, PlanArg};
use super::progress::Line;
use super::report;
use super::samples::{self, InputArg, Sample};
use super::steps::has_halves;
use sepal::Model;
use sepal_converter::convert::{Progress, self_check_limit};
use sepal_converter::data::random::Random;
use sepal_converter::diff::{self, Diff, Layer, Output, Stats};
use sepal_converter::emit::Precision;
use sepal_converter::file::{same_file, write_whole};
use sepal_converter::import::{self, Options};
use sepal_converter::ir::Graph;
use sepal_format::record::section;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Runs MODEL in f32 and interprets SOURCE, as it is before anything is folded, in f64. Each tensor of MODEL that holds
one of SOURCE is compared when its step is done: the largest difference, that as a share of the tensor's range, the
cosine, and distances in units of the last place (f32). What is folded or fused into a step is compared at the step's
output. Pipelines are taken apart for that; that the outputs keep their bits is checked.

A layer diverges if it is off by more than the threshold, as a share of its range. Exit code 3: one does.

Inputs as for `run`, and folders of pictures; pseudo-random numbers without any. The shapes and outputs that MODEL was
converted with are taken from it.

Examples:
  sepal diff model.keras model.sepal
  sepal diff model.onnx model.sepal --input photos/ --normalize imagenet --html diff.html
  sepal diff model.h5 model.sepal --input golden.npz --threshold 1e-5 --json";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Network that MODEL was converted from: Keras .h5/.hdf5 or .keras, ONNX, or TFLite
    source: PathBuf,
    /// Converted network
    model: PathBuf,
    #[command(flatten)]
    import: ImportArgs,
    /// What to run both on: arrays, pictures or folders of them [default: pseudo-random numbers]
    #[arg(short, long, value_name = "[NAME=]FILE|DIR", value_parser = samples::input_arg())]
    input: Vec<InputArg>,
    /// Samples of pseudo-random numbers, without --input
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "input", value_parser = clap::value_parser!(u16).range(1..=1000))]
    random: u16,
    #[command(flatten)]
    normalizing: Normalizing,
    #[command(flatten)]
    plan: PlanArg,
    /// Largest error of a layer that is no divergence, as a share of its range [default: 1e-4; weights in f16: 1e-3]
    #[arg(long, value_name = "T", value_parser = threshold)]
    threshold: Option<f64>,
    /// Instruction set: scalar, avx2, avx512 or neon [default: the widest there is]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a page with plots
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
}

fn threshold(s: &str) -> Result<f64, String> {
    s.parse().ok().filter(|v: &f64| v.is_finite() && *v >= 0.0).ok_or_else(|| "a number from 0 up is needed".into())
}

/// Seed of the inputs that nobody gives.
const SEED: u64 = 1;

pub fn main(args: Args) -> Result<(), Failure> {
    if let Some(html) = args.html.as_deref()
        && args.input.iter().map(|i| &i.path).chain([&args.model, &args.source]).any(|p| same_file(p, html))
    {
        return Err(Failure::usage(format!("--html {}: that is read, too", html.display())));
    }
    let model = engine::read_verified(&args.model, args.isa.as_deref())?;
    let plans: Vec<(Model, Inputs)> = if args.input.is_empty() {
        args.plan
            .or_all(&model)?
            .into_iter()
            .map(|plan| {
                let inputs = random(&plan, args.random);
                (plan, inputs)
            })
            .collect()
    } else {
        let recipe = args.normalizing.of(&model)?;
        let (plan, read) = args.plan.fitting(model, |plan| samples::read(&args.input, &engine::inputs(plan), &recipe))?;
        vec![(plan, Inputs { samples: read.samples, names: read.names })]
    };
    if args.html.is_some() && plans.len() > 1 {
        return Err(Failure::usage(format!(
            "--html: a page is about one plan, and the file has {}: say which by --plan",
            plans.len()
        )));
    }
    let several = plans.len() > 1;
    let (mut diverging, mut all) = (Vec::new(), Vec::new());
    for (plan, inputs) in &plans {
        let Inputs { samples, names } = inputs;
        let diff = one(&args, plan, samples)?;
        if let Some(path) = &args.html {
            let title = format!("{} against {}", file_name(&args.model), file_name(&args.source));
            let page = report::page(&title, plan, Some(&diff), names, None);
            write_whole(path, true, |file| file.write_all(page.as_bytes())).map_err(|e| Failure::io(path, &e))?;
        }
        let of = if several { format!(", plan {} ({})", plan.plan_number(), plans::inputs(plan)) } else { String::new() };
        if args.json {
            all.push(describe(&args, plan, &diff, names));
        } else {
            out::print(&format!("{}{}", if all.is_empty() { "" } else { "\n" }, render(&args, &of, &diff, names)))?;
            all.push(Value::Null);
        }
        match diff.first_diverging() {
            None if !diff.diverges() => (),
            None => diverging.push(format!("{}{of}: an output diverges", args.model.display())),
            Some(l) => diverging.push(format!(
                "{}{of}: the first layer that diverges is {} '{}' (step {})",
                args.model.display(),
                l.kind,
                out::plain(&l.name),
                l.step
            )),
        }
    }
    if args.json {
        let json = if several { json!({ "schema": 1, "plans": all }) } else { all.pop().unwrap_or(Value::Null) };
        out::json(&json)?;
    }
    if diverging.is_empty() { Ok(()) } else { Err(Failure::new(VERIFICATION, diverging.join("\n"))) }
}

/// What a plan is run on.
struct Inputs {
    samples: Vec<Sample>,
    names: Vec<String>,
}

/// Pseudo-random samples.
fn random(plan: &Model, count: u16) -> Inputs {
    let (ports, mut random) = (engine::inputs(plan), Random::new(SEED));
    let samples = (0..count).map(|_| ports.iter().map(|p| random.units(p.dims.iter().product())).collect()).collect();
    Inputs { samples, names: (0..count).map(|i| format!("pseudo-random {i}")).collect() }
}

/// Compares a plan.
fn one(args: &Args, plan: &Model, samples: &[Sample]) -> Result<Diff, Failure> {
    let about = provenance(plan);
    // What the weights are, not what the file says of itself.
    let halves = plan.view().steps().iter().filter_map(|s| s.op_ref()).any(|op| has_halves(&op));
    let threshold = args.threshold.unwrap_or_else(|| self_check_limit(if halves { Precision::F16 } else { Precision::F32 }));
    let mut line = Line::new();
    line.say("reading the source");
    let source = source(&args.source, args.import.clone().into(), &about)?;
    line.say("running the file, and the source in f64");
    let result = diff::diff(&source, plan, samples, threshold, &mut |done, all| line.steps(done, all));
    drop(line);
    result.map_err(|e| match e {
        sepal_converter::Error::Verification(why) => Failure::new(VERIFICATION, format!("{}: {why}", args.model.display())),
        sepal_converter::Error::Invalid(why) => Failure::invalid(format!("{}: {why}", args.model.display())),
        other => Failure::conversion(&args.source, &other),
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The file's own account of where it comes from; null if it has none.
pub fn provenance(model: &Model) -> Value {
    model.view().section(section::PROVENANCE).and_then(|b| serde_json::from_slice(b).ok()).unwrap_or(Value::Null)
}

/// Reads the source as it was read when the file was made, unless the command line says otherwise.
fn source(path: &Path, given: Options, about: &Value) -> Result<Graph, Failure> {
    let bytes = sepal_converter::file::read_whole(path).map_err(|e| Failure::io(path, &e))?;
    let mut options = sepal_converter::provenance::import_options(about);
    if !given.input_shapes.is_empty() {
        options.input_shapes = given.input_shapes;
    }
    options.signature = given.signature.or(options.signature);
    if !given.outputs.is_empty() {
        options.outputs = given.outputs;
    }
    let graph = import::import_bytes(&bytes, path.parent(), &options).map_err(|e| Failure::conversion(path, &e))?;
    sepal_converter::provenance::as_converted(graph, about).map_err(|e| Failure::conversion(path, &e))
}

fn describe(args: &Args, plan: &Model, diff: &Diff, names: &[String]) -> Value {
    let number = |v: f64| if v.is_finite() { json!(v) } else { json!(v.to_string()) };
    let stats = |s: &Stats| {
        json!({
            "elements": s.elements,
            "max_abs": number(s.max_abs),
            "relative": number(s.relative()),
            "mean_relative": number(s.mean_relative()),
            "range": number(s.range),
            "cosine": number(s.cosine()),
            "ulps": { "median": s.ulps.quantile(0.5), "p99": s.ulps.quantile(0.99), "max": s.ulps.max() },
            "mismatched": s.mismatched,
            "worst": s.worst.map(|w| json!({
                "sample": w.sample, "element": w.element, "got": number(f64::from(w.got)), "want": number(w.want),
            })),
        })
    };
    let layer = |l: &Layer| {
        json!({
            "step": l.step, "name": l.name, "kind": l.kind, "shape": l.shape, "error": stats(&l.stats),
            "diverges": l.stats.relative() > diff.threshold,
        })
    };
    let output = |o: &Output| {
        let agreement = o
            .agreement
            .as_ref()
            .map(|a| json!({ "samples": a.samples, "top1": a.top1, "top5": a.top5, "smallest_margin": number(a.margin) }));
        json!({ "name": o.name, "error": stats(&o.stats), "agreement": agreement })
    };
    json!({
        "schema": 1,
        "source": args.source.display().to_string(),
        "model": args.model.display().to_string(),
        "plan": plan.plan_number(),
        "samples": names,
        "threshold": diff.threshold,
        "first_diverging": diff.first_diverging().map(|l| &l.name),
        "layers": diff.layers.iter().map(layer).collect::<Vec<_>>(),
        "outputs": diff.outputs.iter().map(output).collect::<Vec<_>>(),
    })
}

fn cells(s: &Stats) -> [String; 6] {
    [
        format!("{:.2e}", s.max_abs),
        format!("{:.2e}", s.relative()),
        cosine(s.cosine()),
        s.ulps.quantile(0.5).to_string(),
        s.ulps.quantile(0.99).to_string(),
        out::grouped(s.ulps.max()),
    ]
}

/// One minus a cosine, where that says more.
pub fn cosine(c: f64) -> String {
    if c > 0.999 { format!("1 - {:.0e}", (1.0 - c).max(0.0)) } else { format!("{c:.4}") }
}

fn render(args: &Args, plan: &str, diff: &Diff, names: &[String]) -> String {
    let of = if names.len() == 1 { names[0].clone() } else { format!("{} samples", names.len()) };
    let mut text = format!("{}{plan} against {} in f64 ({of})\n\n", args.model.display(), args.source.display());
    let columns = |first: &'static str| {
        [
            (first, Side::Left),
            ("max abs", Side::Right),
            ("of range", Side::Right),
            ("cosine", Side::Right),
            ("ULPs: median", Side::Right),
            ("99 %", Side::Right),
            ("max", Side::Right),
            ("", Side::Left),
        ]
    };
    let mut table = Table::new(&[&[("step", Side::Right)][..], &columns("layer")[..]].concat());
    for l in &diff.layers {
        let fate = if l.stats.relative() > diff.threshold { "DIVERGES" } else { "" };
        let row = [l.step.to_string(), out::tail(&l.name, 44)].into_iter().chain(cells(&l.stats)).chain([fate.into()]);
        table.row(row);
    }
    text += &table.render();
    let mut table = Table::new(&columns("output"));
    for o in &diff.outputs {
        let agreement = o
            .agreement
            .as_ref()
            .map_or(String::new(), |a| format!("top-1 {} of {}, top-5 {} of {}", a.top1, a.samples, a.top5, a.samples));
        table.row([out::tail(&o.name, 44)].into_iter().chain(cells(&o.stats)).chain([agreement]));
    }
    text += &format!("\n{}\n", table.render());
    text += &match diff.first_diverging() {
        None if diff.layers.is_empty() => format!(
            "The file names no tensor that holds one of the source: nothing but the outputs was compared.\n\
             No output is off by more than {:.0e} of its range.\n",
            diff.threshold
        ),
        None => format!(
            "{} of {} nodes have a tensor in the file; the others are folded or fused into their steps.\n\
             No layer is off by more than {:.0e} of its range.\n",
            diff.layers.len(),
            diff.nodes,
            diff.threshold
        ),
        Some(l) => {
            let worst = l.stats.worst.map_or(String::new(), |w| {
                let of = names.get(w.sample).map_or(String::new(), |n| format!(" of {n}"));
                format!("; element {}{of} is {:e} where {:e} is expected", w.element, w.got, w.want)
            });
            let inside =
                if l.inside.is_empty() { String::new() } else { format!("\nIn it: {}.", out::plain(&l.inside.join(", "))) };
            format!(
                "The first layer off by more than {:.0e} of its range: {} '{}'{worst}.{inside}\n",
                diff.threshold,
                out::plain(&l.kind),
                out::plain(&l.name)
            )
        }
    };
    text
}
