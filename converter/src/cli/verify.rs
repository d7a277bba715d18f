//! `sepal verify`.

use super::engine::{self, Port, Runner};
use super::failure::{Failure, VERIFICATION};
use super::out::{self, Side, Table};
use super::plans::PlanArg;
use super::samples::{self, Sample};
use super::sign;
use super::steps::has_halves;
use super::tolerance::{Entry, Measured, check_flat};
use sepal_converter::data::npz::{self, Array, Arrays};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Golden file: inputs x0, x1, .. (x0_0, x0_1, .. where the network has several inputs) and expected
outputs y{sample}_{output}; or arrays under the names of inputs and outputs. An output passes if
every element is within atol + rtol * |expected|, or by the tolerance that the index
states for the name. Weights in f16 are rounded: without a word on tolerances, 1e-3 of the
largest expected magnitude is allowed then.

Exit code 3: an output is outside. The hash of the weights is checked, too.

Examples:
  sepal verify model.sepal --golden golden.npz --atol 1e-6
  sepal verify model.sepal --index models.json --name mobilenet
  sepal verify model.sepal --public-key vendor.pub";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Converted network
    model: PathBuf,
    /// Inputs and expected outputs [default with --index: the file that the index names]
    #[arg(long, value_name = "FILE.npz", required_unless_present_any = ["index", "public_key"])]
    golden: Option<PathBuf>,
    /// Absolute tolerance [default: 1e-5; for weights in f16 see below]
    #[arg(long, conflicts_with = "index", value_name = "A", value_parser = tolerance)]
    atol: Option<f64>,
    /// Relative tolerance [default: 1e-5]
    #[arg(long, conflicts_with = "index", value_name = "R", value_parser = tolerance)]
    rtol: Option<f64>,
    /// Take the tolerance from an index of models
    #[arg(long, value_name = "models.json", requires = "name")]
    index: Option<PathBuf>,
    /// Entry of the index
    #[arg(long, requires = "index")]
    name: Option<String>,
    /// Require MODEL.sig to be a signature by this key
    #[arg(long, value_name = "NAME.pub")]
    public_key: Option<PathBuf>,
    #[command(flatten)]
    plan: PlanArg,
    /// Threads to run on
    #[arg(long, default_value = "1", value_name = "N", value_parser = engine::threads)]
    threads: usize,
    /// Instruction set: scalar, avx2, avx512 or neon [default: the widest there is]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
}

/// Either tolerance, where it is not said.
const TOLERANCE: f64 = 1e-5;
/// The absolute one for weights that were rounded to halves, as a share of the largest magnitude that is expected.
const OF_RANGE: f64 = 1e-3;

fn tolerance(s: &str) -> Result<f64, String> {
    s.parse().ok().filter(|v: &f64| v.is_finite() && *v >= 0.0).ok_or_else(|| "a number from 0 up is needed".into())
}

pub fn main(args: Args) -> Result<(), Failure> {
    let isa = args.isa.as_deref();
    // Once, so that what is signed is what runs.
    let model = match &args.public_key {
        Some(key) => engine::read_checked(&args.model, isa, |bytes| sign::check(&args.model, bytes, key))?,
        None => engine::read_verified(&args.model, isa)?,
    };
    let entry = match (&args.index, &args.name) {
        (Some(index), Some(name)) => Some(Entry::find(index, name)?),
        _ => None,
    };
    let path = match (&args.golden, &entry) {
        (Some(path), _) => path.clone(),
        (None, Some(entry)) => entry.golden.clone(),
        // The hash of the weights is checked, too.
        (None, None) => return Ok(()),
    };
    let golden = npz::read_npz(&path)?;
    let (model, (samples, numbered)) = args.plan.fitting(model, |plan| inputs(&golden, &engine::inputs(plan), &path))?;
    let mut runner = Runner::new(&model, args.threads)?;
    runner.affords(samples.len())?;
    let got = samples.iter().map(|s| runner.run(s)).collect::<Result<Vec<Vec<Array>>, _>>()?;

    let names = runner.output_names();
    let mut unread = Vec::new();
    let (measured, allowed): (Vec<Measured>, Vec<String>) = match &entry {
        // Which arrays count is the index's to say.
        Some(entry) => {
            let (measured, bounds) = entry.rules.check(&golden, &got);
            (measured, bounds.iter().map(|b| format!("{b:.2e}")).collect())
        }
        None => {
            let halves = model.view().steps().iter().filter_map(|s| s.op_ref()).any(|op| has_halves(&op));
            let rounded = halves && args.atol.is_none() && args.rtol.is_none();
            let (atol, rtol) = (args.atol.unwrap_or(TOLERANCE), args.rtol.unwrap_or(if rounded { 0.0 } else { TOLERANCE }));
            let key = |i: usize, j: usize| match numbered {
                true => format!("y{i}_{j}"),
                false if golden.contains_key(&names[j]) => names[j].clone(),
                false => "y".into(),
            };
            let one = |j: usize| {
                let key = |i: usize| key(i, j);
                let atol = if rounded { OF_RANGE * range(&golden, (0..got.len()).map(key)) } else { atol };
                check_flat(&golden, key, &got, j, atol, rtol)
            };
            let mut read: HashSet<String> = (0..got.len()).flat_map(|i| (0..names.len()).map(move |j| key(i, j))).collect();
            read.extend(engine::inputs(&model).into_iter().map(|port| port.name));
            unread.extend(golden.keys().filter(|name| !read.contains(*name) && !is_input(name)));
            let allowed =
                if rounded { format!("{} of range", short(OF_RANGE)) } else { format!("{} + {}·|y|", short(atol), short(rtol)) };
            ((0..names.len()).map(one).collect(), vec![allowed; names.len()])
        }
    };
    report(&args.model, &path, samples.len(), names, &measured, &allowed)?;
    if unread.is_empty() {
        return Ok(());
    }
    let some: Vec<String> = unread.iter().take(5).map(|name| out::plain(name).to_string()).collect();
    let more = if unread.len() > some.len() { ", .." } else { "" };
    out::print(&format!("Not compared, for no output has the name: {}{more}\n", some.join(", ")))
}

fn report(
    model: &Path,
    golden: &Path,
    samples: usize,
    names: &[String],
    measured: &[Measured],
    allowed: &[String],
) -> Result<(), Failure> {
    let mut table = Table::new(&[
        ("output", Side::Left),
        ("max abs", Side::Right),
        ("of range", Side::Right),
        ("allowed", Side::Right),
        ("", Side::Left),
    ]);
    for ((name, m), allowed) in names.iter().zip(measured).zip(allowed.iter().chain(std::iter::repeat(&String::new()))) {
        table.row([
            out::tail(name, 40),
            format!("{:.3e}", m.max_abs),
            format!("{:.3e}", m.relative),
            allowed.clone(),
            if m.complaints.is_empty() { "ok".into() } else { "OUTSIDE".into() },
        ]);
    }
    let of = if samples == 1 { "1 sample".into() } else { format!("{samples} samples") };
    out::print(&format!("{} against {} ({of})\n\n{}", model.display(), golden.display(), table.render()))?;
    let complaints: Vec<&str> = measured.iter().flat_map(|m| &m.complaints).map(String::as_str).collect();
    if complaints.is_empty() {
        return out::print("\nEvery output is within its tolerance.\n");
    }
    Err(Failure::new(VERIFICATION, format!("{}: outputs differ\n  {}", model.display(), complaints.join("\n  "))))
}

/// `x`, `x3`, `x3_0`.
fn is_input(name: &str) -> bool {
    name.strip_prefix('x').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'_'))
}

/// The largest finite magnitude in some arrays.
fn range(golden: &Arrays, names: impl Iterator<Item = String>) -> f64 {
    let values = names.filter_map(|name| golden.get(&name)).flat_map(|array| &array.values);
    values.map(|v| f64::from(v.abs())).filter(|v| v.is_finite()).fold(0.0, f64::max)
}

/// `1e-5`, or `0`.
fn short(v: f64) -> String {
    if v == 0.0 { "0".into() } else { format!("{v:e}") }
}

/// The samples of a golden file and whether its outputs are numbered.
fn inputs(golden: &Arrays, ports: &[Port], path: &Path) -> Result<(Vec<Sample>, bool), Failure> {
    if let Some(samples) = samples::numbered(golden, ports, path)? {
        return Ok((samples, true));
    }
    // A single pair is also read when it is called simply x and y.
    let mut golden = golden.clone();
    if let ([port], Some(x)) = (ports, golden.get("x").cloned()) {
        golden.entry(port.name.clone()).or_insert(x);
    }
    Ok((vec![samples::named(&golden, ports, path)?], false))
}
