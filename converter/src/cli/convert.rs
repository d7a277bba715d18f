//! `sepal convert`.

use super::failure::Failure;
use super::out::{self, Side, Table};
use super::pictures::PictureArgs;
use super::progress::Line;
use super::{engine, halves, info, plans, report};
use sepal_converter::convert::{self, ConvertOptions, Converted};
use sepal_converter::emit::{self, Precision};
use sepal_converter::file::{refuse_existing, same_file, write_whole};
use sepal_converter::import::Options;
use sepal_converter::passes;
use sepal_converter::plans::{Vary, product};
use sepal_converter::provenance::report_json;
use std::io::Write;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  sepal convert model.h5
  sepal convert model.onnx -o edge.sepal --input-shape 1,3,224,224 --explain
  sepal convert model.keras --input-shape image=1,299,299,3 --outputs features
  sepal convert model.keras --plan batch=1,4
  sepal convert model.onnx --normalize imagenet --resize crop:0.875 --labels imagenet.txt
  sepal convert model.h5 --prune-dead --report report.html

A plan changes the inputs whose batch, or rows and columns, the source leaves open;
if it leaves none open, those that have one, if it is the same in all. An input that
--input-shape names keeps its shape, unless no other could change.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Network to convert: Keras .h5/.hdf5 or .keras, ONNX, or TFLite
    source: PathBuf,
    /// File to write [default: SOURCE with the ending .sepal]
    #[arg(short, long, value_name = "OUT.sepal")]
    output: Option<PathBuf>,
    #[command(flatten)]
    import: ImportArgs,
    /// Several plans over the same weights, for batches or sizes of the inputs, or for each with each; see below
    #[arg(long = "plan", value_name = "batch=1,4|size=224,320x240")]
    plans: Vec<Vary>,
    /// Type of the stored weights; f16: half the file, within 1e-3 of the range
    #[arg(long, value_parser = precision, default_value = "f32", value_name = "f32|f16")]
    weights: Precision,
    /// Quantise (not supported yet)
    #[arg(long, value_parser = ["int8"], requires = "calibrate", value_name = "TYPE")]
    quantize: Option<String>,
    /// Inputs to calibrate the quantisation with
    #[arg(long, requires = "quantize", value_name = "FILE|DIR")]
    calibrate: Option<PathBuf>,
    /// Say of each batch norm what was done with it and why
    #[arg(long)]
    explain: bool,
    /// Write the fold report to a file
    #[arg(long, value_name = "OUT.json|OUT.html")]
    report: Option<PathBuf>,
    /// Remove channels proved to be constant: their values lie at most E apart [default: 0]
    #[arg(long, value_name = "E", num_args = 0..=1, require_equals = true, default_missing_value = "0", value_parser = prune_dead)]
    prune_dead: Option<f64>,
    /// How far fast convolutions may be off, as a share of the range; 0: none [default: 1e-5; f16: 5e-4]
    #[arg(long, value_name = "E", value_parser = max_error)]
    max_error: Option<f64>,
    /// Leave out the self-check, which runs the result and compares it with the source in f64
    #[arg(long)]
    no_verify: bool,
    /// Replace OUT if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pictures: PictureArgs,
}

/// How to read a source.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ImportArgs {
    /// Shape of an input, where the source leaves it open or another is wanted
    #[arg(long = "input-shape", value_name = "[NAME=]1,299,299,3", value_parser = input_shape)]
    input_shapes: Vec<(String, Vec<usize>)>,
    /// Values to give out instead of the source's outputs
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    outputs: Vec<String>,
    /// Which network of a TFLite file that has several
    #[arg(long, value_name = "NAME")]
    signature: Option<String>,
}

impl From<ImportArgs> for Options {
    fn from(a: ImportArgs) -> Self {
        Options { input_shapes: a.input_shapes, outputs: a.outputs, signature: a.signature, ..Options::default() }
    }
}

fn precision(s: &str) -> Result<Precision, String> {
    match s {
        "f32" => Ok(Precision::F32),
        "f16" => Ok(Precision::F16),
        _ => Err("f32 or f16 is needed".into()),
    }
}

fn prune_dead(s: &str) -> Result<f64, String> {
    s.parse().ok().filter(|e: &f64| e.is_finite() && *e >= 0.0).ok_or_else(|| "a number from 0 up is needed".into())
}

fn max_error(s: &str) -> Result<f64, String> {
    s.parse().ok().filter(|e| (0.0..=1.0).contains(e)).ok_or_else(|| "a number from 0 to 1 is needed".into())
}

fn input_shape(s: &str) -> Result<(String, Vec<usize>), String> {
    let (name, dims) = s.rsplit_once('=').unwrap_or(("", s));
    let dims = dims.split(',').map(|d| match d.trim().parse::<usize>() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("{d}: extents are whole numbers from 1 up, separated by commas")),
    });
    Ok((name.to_owned(), dims.collect::<Result<_, _>>()?))
}

pub fn main(args: Args) -> Result<(), Failure> {
    if args.quantize.is_some() {
        return Err(Failure::invalid("--quantize: not supported yet"));
    }
    let ending = args.report.as_ref().and_then(|r| r.extension()).map(|e| e.to_string_lossy().to_lowercase());
    if let Some(report) = args.report.as_ref().filter(|_| !matches!(ending.as_deref(), Some("json" | "html"))) {
        return Err(Failure::usage(format!("--report {}: .json or .html files are written", report.display())));
    }
    let preprocessing = args.pictures.preprocessing()?;
    let output = args.output.clone().unwrap_or_else(|| args.source.with_extension("sepal"));
    if same_file(&args.source, &output) {
        return Err(Failure::usage(format!("{} is both the source and the output", output.display())));
    }
    if let Some(report) = args.report.as_deref().filter(|r| same_file(r, &output) || same_file(r, &args.source)) {
        return Err(Failure::usage(format!("--report {}: that is the source or the output", report.display())));
    }
    let write = |e| Failure::conversion(&args.source, &e);
    if !args.force {
        refuse_existing(&output).map_err(|e| Failure::io(&output, &e))?;
    }

    let max_error = args.max_error.unwrap_or(args.weights.max_error());
    let emit = emit::Options { max_error, precision: args.weights, ..emit::Options::default() };
    let options = ConvertOptions {
        import: args.import.into(),
        plans: product(&args.plans),
        no_verify: args.no_verify,
        emit,
        fixed_error: args.max_error.is_some(),
        passes: passes::Options { prune_dead: args.prune_dead, ..passes::Options::default() },
        preprocessing,
        levels_from_network: !args.pictures.says_levels(),
        fold_input: args.pictures.fold_input,
        measure_drift: args.explain || args.report.is_some(),
    };
    let mut line = Line::new();
    let converted = convert::convert(&args.source, &options, &mut line).map_err(|e| Failure::conversion(&args.source, &e))?;
    // Before anything is written: it opens the file as the runtime will.
    let summary = summary(&converted)?;
    line.say("writing");
    if let Some(path) = &args.report {
        let s = &converted.summary;
        let json = report_json(&s.report, &s.fast, &s.rounded);
        let text = match ending.as_deref() {
            Some("html") => report::page(
                &format!("{}, converted", args.source.file_name().unwrap_or_default().to_string_lossy()),
                &engine::from_bytes(converted.bytes(), None)?,
                None,
                &[],
                Some(json),
            ),
            _ => out::escaped(&format!("{json:#}\n")),
        };
        write_whole(path, true, |file| file.write_all(text.as_bytes())).map_err(|e| Failure::io(path, &e))?;
    }
    converted.write(&output, args.force).map_err(write)?;
    drop(line);

    let mut text = format!("{} → {}\n\n", args.source.display(), output.display());
    text += &summary;
    text += &plan_table(&converted)?;
    if args.explain {
        text += &format!("\n{}", passes::explain(&plain_names(&converted.summary.report)));
        text += &fast(&converted);
        text += &halves::table(&converted.summary.rounded);
    }
    out::print(&text)
}

/// A report whose names keep to their lines.
fn plain_names(report: &passes::Report) -> passes::Report {
    let mut report = report.clone();
    for fold in &mut report.folds {
        (fold.name, fold.reason) = (out::plain(&fold.name), out::plain(&fold.reason));
    }
    report.notes.iter_mut().for_each(|note| *note = out::plain(note));
    report
}

/// So many of them, in words.
fn convolutions(n: usize) -> String {
    format!("{n} convolution{}", if n == 1 { "" } else { "s" })
}

/// The convolutions that are not summed directly.
fn fast(converted: &Converted) -> String {
    let all = &converted.summary.fast;
    let mut table = Table::new(&[("convolution", Side::Left), ("algorithm", Side::Left), ("error", Side::Right)]);
    for w in all {
        table.row([w.name.clone(), w.algorithm.to_string(), format!("{:.1e}", w.error)]);
    }
    if all.is_empty() {
        String::new()
    } else {
        format!("\n{} by algorithms with fewer multiplications\n{}", convolutions(all.len()), table.render())
    }
}

/// The plans of a file that has several.
fn plan_table(converted: &Converted) -> Result<String, Failure> {
    let all = &converted.summary.plans;
    if all.len() < 2 {
        return Ok(String::new());
    }
    let model = engine::from_bytes(converted.bytes(), None)?;
    let mut table = Table::new(&[
        ("plan", Side::Right),
        ("", Side::Left),
        ("inputs", Side::Left),
        ("multiply-adds", Side::Right),
        ("arena", Side::Right),
        ("weights of its own", Side::Right),
        ("self-check", Side::Right),
    ]);
    for (i, (plan, made)) in model.plans().zip(all).enumerate() {
        let sizes = info::Sizes::of(&plan);
        table.row([
            i.to_string(),
            made.wanted.to_string(),
            plans::inputs(&plan),
            out::count(sizes.macs),
            out::bytes(sizes.arena),
            if i == 0 { String::new() } else { out::bytes(made.weights_bytes) },
            made.self_check.as_ref().map_or_else(|| "left out".into(), |c| format!("{:.1e}", c.relative)),
        ]);
    }
    Ok(format!(
        "\n{}\n  A plan has weights of its own where a convolution runs by another algorithm than in the plans before it.\n",
        table.render()
    ))
}

/// A number not below this one that two digits are enough for.
fn up(e: f64) -> f64 {
    let unit = 10f64.powi(e.log10().floor() as i32 - 1);
    let up = (e / unit).ceil() * unit;
    if up.is_finite() { up } else { e }
}

/// What pruning can have done to the outputs, and for which inputs that is true.
pub(super) fn stated_error(error: f64, inputs: &[passes::InputRange]) -> String {
    let error = match error {
        0.0 => "none but rounding".into(),
        e if e.is_finite() => format!("outputs off by at most {:.1e}, besides rounding", up(e)),
        _ => "outputs are not bounded".into(),
    };
    let range = |r: &passes::InputRange| {
        let why = if r.declared { "as their pictures have" } else { "the default: nothing is declared" };
        format!("{} to {} ({why})", r.lo as f32, r.hi as f32)
    };
    let mut ranges: Vec<String> = inputs.iter().map(range).collect();
    ranges.dedup();
    format!("{error}; proved for inputs from {}", ranges.join(", "))
}

/// What a conversion came to, as aligned lines.
pub fn summary(converted: &Converted) -> Result<String, Failure> {
    let s = &converted.summary;
    let model = engine::from_bytes(converted.bytes(), None)?;
    let sizes = info::Sizes::of(&model);
    let mut facts = vec![
        ("network", if s.network.is_empty() { "(unnamed)".into() } else { s.network.clone() }),
        (
            "parameters",
            format!("{} trainable before folding, {} after", out::grouped(s.trainable_parameters), out::grouped(s.parameters)),
        ),
        ("batch norms", format!("{} of {} folded", s.folded(), s.report.folds.len())),
        ("multiply-adds", out::count(sizes.macs)),
        ("file", format!("{}, of which weights {}", out::bytes(sizes.file), out::bytes(sizes.weights))),
        ("arena", format!("{} with one thread", out::bytes(sizes.arena))),
    ];
    let worst = s.fast.iter().map(|w| w.error).fold(0.0, f64::max);
    if !s.fast.is_empty() {
        let mut text =
            format!("{}, off by at most {worst:.1e} of a step's range on a sample of pixels", convolutions(s.fast.len()));
        if let Some(before) = s.magnified {
            text += &format!("; not more, since the network magnifies it ({before:.1e} at the output)");
        }
        facts.push(("fast", text));
    }
    if let Some(text) = halves::fact(&s.rounded) {
        facts.push(("halves", text));
    }
    if let Some(p) = &s.report.pruned {
        let text = format!(
            "{} of {} channels that are constant to {:e} removed, multiply-adds {} instead of {}",
            p.removed,
            p.constant,
            p.threshold,
            out::count(p.macs_after),
            out::count(p.macs_before)
        );
        facts.push(("pruning", text));
        facts.push(("stated error", stated_error(p.error, &p.inputs)));
    }
    if let Some(note) = &s.preprocessing_note {
        facts.push(("pictures", note.clone()));
    }
    facts.extend(s.report.of_source().map(|note| ("source", out::plain(note))));
    facts.push((
        "self-check",
        match &s.self_check {
            Some(c) => format!(
                "passed: at most {:.1e} of the output's range away from the source in f64 (limit {:.0e}{}{})",
                c.relative,
                s.self_check_limit,
                if s.report.pruned.as_ref().is_some_and(|p| p.error > 0.0) { " besides the stated error" } else { "" },
                c.rounding.map_or_else(String::new, |r| {
                    let (times, most) = (convert::TIMES_ROUNDING, convert::MOST_ROUNDING);
                    format!(
                        ", or {times} times the {r:.1e} that rounding the source's tensors to f32 moves {}, but at most {most:.0e}",
                        out::plain(&c.output)
                    )
                }),
            ),
            None => "left out".into(),
        },
    ));
    Ok(out::facts(&facts))
}

#[cfg(test)]
mod tests {
    use super::input_shape;

    #[test]
    fn shapes_with_and_without_a_name() {
        assert_eq!(input_shape("1,2,3").unwrap(), (String::new(), vec![1, 2, 3]));
        assert_eq!(input_shape("a:0=1, 2").unwrap(), ("a:0".to_owned(), vec![1, 2]));
        for bad in ["", "1,,2", "0,1", "-1", "x=y"] {
            assert!(input_shape(bad).is_err(), "{bad}");
        }
    }
}
