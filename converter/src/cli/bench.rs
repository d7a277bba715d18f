//! `sepal bench`.

use super::engine::{self, Runner};
use super::failure::Failure;
use super::info::Sizes;
use super::out::{self, Side, Table};
use super::plans::{self, PlanArg};
use super::roof::Roof;
use super::steps::{PipelineInfo, StepInfo, pipelines, short_name, steps};
use sepal_converter::data::random::Random;
use sepal_converter::file::{same_file, write_whole};
use sepal_kernels::Isa;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Fewest runs when none are asked for.
const MIN_RUNS: usize = 10;
/// Most runs: their times are kept in memory that is set aside before the first.
const MAX_RUNS: usize = 1_000_000;
/// How long to measure when nothing is asked for.
const DEFAULT_SECS: f64 = 2.0;

const HELP: &str = "\
What is timed: copying the inputs in, running, reading the outputs. Inputs are
pseudo-random, the same each time.
`load` is opening the file and setting a session up; `first` is the first inference after it.
A step's `ms` is its shortest; its `percent_of_peak` is how much of that it would need at least: by the
multiplications or the memory bandwidth measured on one core of this host, whichever is slower, times the threads.
With several threads the steps of a pipeline are timed together, in the last of them.

Examples:
  sepal bench model.sepal
  sepal bench model.sepal --threads 1,2 --runs 100 --json
  sepal bench model.sepal --profile --trace trace.json      (open the trace in a Chrome trace viewer)
  sepal bench spectrum --channels 256 --size 28 --kernel 3  (what grouping a convolution brings)";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    of: Option<Of>,
    /// Converted network
    #[arg(required = true)]
    model: Option<PathBuf>,
    #[command(flatten)]
    plan: PlanArg,
    /// Numbers of threads to measure with, one after the other
    #[arg(long, default_value = "1", value_name = "1,2", value_delimiter = ',', value_parser = engine::threads)]
    threads: Vec<usize>,
    /// Instruction set: scalar, avx2, avx512 or neon [default: the widest there is]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Inferences before the timed ones
    #[arg(long, default_value = "3", value_name = "W")]
    warmup: usize,
    /// Timed inferences
    #[arg(long, value_name = "R", conflicts_with = "min_secs", value_parser = runs)]
    runs: Option<usize>,
    /// Measure for at least this long (and at least ten inferences) [default: 2]
    #[arg(long, value_name = "S", value_parser = seconds)]
    min_secs: Option<f64>,
    /// Time each step, too, in runs of their own
    #[arg(long)]
    profile: bool,
    /// Print one JSON object a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values
    #[arg(long)]
    csv: bool,
    /// Write a Chrome trace of one inference
    #[arg(long, value_name = "OUT.json")]
    trace: Option<PathBuf>,
}

/// What is measured, other than a file.
#[derive(Debug, clap::Subcommand)]
enum Of {
    /// Measure a block from a regular to a depthwise convolution, each followed by a pointwise one
    Spectrum(super::spectrum::Args),
}

pub fn runs(s: &str) -> Result<usize, String> {
    s.parse().ok().filter(|n| (1..=MAX_RUNS).contains(n)).ok_or_else(|| format!("a number from 1 to {MAX_RUNS} is needed"))
}

pub fn seconds(s: &str) -> Result<f64, String> {
    s.parse().ok().filter(|v: &f64| *v > 0.0 && *v <= 86_400.0).ok_or_else(|| "a number of seconds is needed".into())
}

/// What was measured with one number of threads. Times are in milliseconds.
#[derive(Debug)]
struct Measured {
    /// Number and inputs of the plan, of a file that has several.
    plan: Option<(usize, String)>,
    isa: &'static str,
    threads: usize,
    load_ms: f64,
    first_ms: f64,
    times_ms: Vec<f64>,
    stats: Stats,
    allocations: u64,
    sizes: Sizes,
    steps: Vec<Timed>,
    /// Of this host, where steps were timed.
    roof: Option<Roof>,
}

/// A step with its fastest time.
#[derive(Debug)]
struct Timed {
    info: StepInfo,
    ms: f64,
    /// Of the last profiled inference, from its begin.
    start_ms: f64,
    last_ms: f64,
}

/// A summary of times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Shortest.
    pub min: f64,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// Mean.
    pub mean: f64,
    /// At most this in nine of ten.
    pub p90: f64,
    /// At most this in 99 of 100.
    pub p99: f64,
    /// Longest.
    pub max: f64,
}

impl Stats {
    /// Of at least one time.
    pub fn of(times: &[f64]) -> Stats {
        let mut t = times.to_vec();
        t.sort_by(f64::total_cmp);
        let n = t.len();
        let rank = |p: f64| t[((p * n as f64).ceil() as usize).clamp(1, n) - 1];
        Stats {
            min: t[0],
            median: (t[(n - 1) / 2] + t[n / 2]) / 2.0,
            mean: t.iter().sum::<f64>() / n as f64,
            p90: rank(0.9),
            p99: rank(0.99),
            max: t[n - 1],
        }
    }
}

/// Milliseconds since an instant.
pub fn ms_since(t: Instant) -> f64 {
    t.elapsed().as_secs_f64() * 1e3
}

pub fn main(args: Args) -> Result<(), Failure> {
    if let Some(Of::Spectrum(args)) = args.of {
        return super::spectrum::main(args);
    }
    let path = args.path();
    if let Some(path) = args.trace.as_deref().filter(|trace| same_file(trace, &path)) {
        return Err(Failure::usage(format!("--trace {}: that is the model", path.display())));
    }
    if args.csv {
        out::print(
            "model,isa,threads,warmup,runs,load_ms,first_ms,min,median,mean,p90,p99,max,macs,arena_bytes,weights_bytes,allocations\n",
        )?;
    }
    // Not part of what is timed.
    args.plan.or_first(engine::open_verified(&path, args.isa.as_deref())?)?;
    let mut events = Vec::new();
    let mut roof = None;
    for &threads in &args.threads {
        let mut m = measure(&args, threads)?;
        if args.profile {
            roof = roof.or_else(|| Isa::by_name(m.isa).map(Roof::measure));
            m.roof.clone_from(&roof);
        }
        match (args.json, args.csv) {
            (true, _) => out::json_line(&json_of(&args, &m))?,
            (_, true) => out::print(&csv_of(&args, &m))?,
            _ => out::print(&text_of(&args, &m))?,
        }
        events.extend(trace_of(&m));
    }
    if let Some(path) = &args.trace {
        let text = out::escaped(&json!({ "traceEvents": events, "displayTimeUnit": "ms" }).to_string());
        write_whole(path, true, |file| file.write_all(text.as_bytes())).map_err(|e| Failure::io(path, &e))?;
    }
    Ok(())
}

impl Args {
    /// The file; the grammar asks for one.
    fn path(&self) -> PathBuf {
        self.model.clone().unwrap_or_default()
    }
}

fn measure(args: &Args, threads: usize) -> Result<Measured, Failure> {
    let start = Instant::now();
    let model = args.plan.or_first(engine::open(&args.path(), args.isa.as_deref())?)?;
    let mut runner = Runner::new(&model, threads)?;
    let load_ms = ms_since(start);

    let mut random = Random::new(1);
    let sample: Vec<Vec<f32>> = engine::inputs(&model).iter().map(|p| random.units(p.dims.iter().product())).collect();
    let start = Instant::now();
    runner.run_quietly(&sample)?;
    let first_ms = ms_since(start);
    for _ in 1..args.warmup {
        runner.run_quietly(&sample)?;
    }

    let (at_least, long) = match args.runs {
        Some(n) => (n, Duration::ZERO),
        None => (MIN_RUNS, Duration::from_secs_f64(args.min_secs.unwrap_or(DEFAULT_SECS))),
    };
    let room = if long.is_zero() { at_least } else { MAX_RUNS };
    let mut times_ms = Vec::with_capacity(room);
    let calls = sepal_heap::calls();
    let begin = Instant::now();
    while times_ms.len() < at_least || (begin.elapsed() < long && times_ms.len() < room) {
        let start = Instant::now();
        runner.run_quietly(&sample)?;
        times_ms.push(ms_since(start));
    }
    let allocations = sepal_heap::calls() - calls;

    let steps =
        if args.profile || args.trace.is_some() { profile(&mut runner, &model, &sample, &times_ms, threads)? } else { Vec::new() };
    let stats = Stats::of(&times_ms);
    let sizes = Sizes { arena: model.arena_bytes(threads) as u64, ..Sizes::of(&model) };
    let isa = engine::isa(&model);
    let plan = (model.plans().len() > 1).then(|| (model.plan_number(), plans::inputs(&model)));
    Ok(Measured { plan, isa, threads, load_ms, first_ms, times_ms, stats, allocations, sizes, steps, roof: None })
}

/// Times each step in a few inferences of their own, so that reading the clock does not count in the others.
fn profile(
    runner: &mut Runner,
    model: &sepal::Model,
    sample: &[Vec<f32>],
    times: &[f64],
    threads: usize,
) -> Result<Vec<Timed>, Failure> {
    let infos = steps(&model.view());
    let mut all: Vec<Timed> =
        infos.into_iter().map(|info| Timed { info, ms: f64::INFINITY, start_ms: 0.0, last_ms: 0.0 }).collect();
    for _ in 0..times.len().clamp(3, 20) {
        let begin = Instant::now();
        let mut before = 0.0;
        all.iter_mut().for_each(|t| t.last_ms = 0.0);
        runner.run_profiled(sample, &mut |i| {
            let now = ms_since(begin);
            if let Some(t) = all.get_mut(i) {
                if t.last_ms == 0.0 {
                    t.start_ms = before;
                }
                // Steps of a pipeline take turns.
                t.last_ms += now - before;
            }
            before = now;
        })?;
        all.iter_mut().for_each(|t| t.ms = t.ms.min(t.last_ms));
    }
    if threads > 1 {
        together(&mut all, &pipelines(&model.view()));
    }
    Ok(all)
}

/// With several threads a pipeline is timed as a whole, in its last step: so that step has the work of all.
fn together(steps: &mut [Timed], pipelines: &[PipelineInfo]) {
    for p in pipelines {
        let Some((last, others)) = steps.get_mut(p.steps.clone()).and_then(|s| s.split_last_mut()) else { continue };
        for StepInfo { macs, products, bytes, .. } in others.iter_mut().map(|t| &mut t.info) {
            last.info.macs += std::mem::take(macs);
            last.info.products += std::mem::take(products);
            last.info.bytes += std::mem::take(bytes);
        }
        last.info.name = format!("all of {} to {}", p.steps.start, p.steps.end - 1);
    }
}

impl Measured {
    /// Milliseconds that a step takes at least on this host.
    fn limit_ms(&self, t: &Timed) -> Option<f64> {
        self.roof.as_ref().map(|r| r.limit_ms(t.info.products, t.info.bytes, self.threads))
    }
}

impl Timed {
    /// Two operations a multiply-accumulate.
    fn gflops(&self) -> f64 {
        if self.ms > 0.0 { 2.0 * self.info.macs as f64 / self.ms / 1e6 } else { 0.0 }
    }
}

/// `part` of `whole` in percent, with one digit after the point.
fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (1e3 * part / whole).round() / 10.0 } else { 0.0 }
}

/// Three digits after the point of a microsecond.
fn rounded(ms: f64) -> f64 {
    (ms * 1e6).round() / 1e6
}

fn json_of(args: &Args, m: &Measured) -> Value {
    let s = &m.stats;
    let mut object = json!({
        "schema": 1,
        "model": args.path().display().to_string(),
        "isa": m.isa,
        "threads": m.threads,
        "warmup": args.warmup,
        "runs": m.times_ms.len(),
        "load_ms": rounded(m.load_ms),
        "first_ms": rounded(m.first_ms),
        "min": rounded(s.min),
        "median": rounded(s.median),
        "mean": rounded(s.mean),
        "p90": rounded(s.p90),
        "p99": rounded(s.p99),
        "max": rounded(s.max),
        "times_ms": m.times_ms.iter().map(|&t| rounded(t)).collect::<Vec<_>>(),
        "macs": m.sizes.macs,
        "arena_bytes": m.sizes.arena,
        "weights_bytes": m.sizes.weights,
        "allocations": m.allocations,
    });
    if let Some((number, _)) = &m.plan {
        object["plan"] = (*number).into();
    }
    if args.profile {
        let step = |(i, t): (usize, &Timed)| {
            json!({
                "index": i,
                "name": t.info.name,
                "kind": t.info.kind,
                "kernel": format!("{}.{}", t.info.kernel, m.isa),
                "ms": rounded(t.ms),
                "macs": t.info.macs,
                "bytes": t.info.bytes,
                "gflops": (t.gflops() * 1e3).round() / 1e3,
                "percent_of_peak": m.limit_ms(t).map(|limit| percent(limit, t.ms)),
            })
        };
        object["steps"] = m.steps.iter().enumerate().map(step).collect();
    }
    object
}

fn csv_of(args: &Args, m: &Measured) -> String {
    let s = &m.stats;
    let name = args.path().display().to_string().replace('"', "\"\"");
    let times = [m.load_ms, m.first_ms, s.min, s.median, s.mean, s.p90, s.p99, s.max].map(|t| format!("{t:.6}")).join(",");
    format!(
        "\"{name}\",{},{},{},{},{times},{},{},{},{}\n",
        m.isa,
        m.threads,
        args.warmup,
        m.times_ms.len(),
        m.sizes.macs,
        m.sizes.arena,
        m.sizes.weights,
        m.allocations
    )
}

fn text_of(args: &Args, m: &Measured) -> String {
    let s = &m.stats;
    let threads = if m.threads == 1 { "1 thread".into() } else { format!("{} threads", m.threads) };
    let plan = m.plan.as_ref().map_or_else(String::new, |(number, inputs)| format!(", plan {number} ({inputs})"));
    let mut text = format!("{}{plan}, {}, {threads}, {} runs\n\n", args.path().display(), m.isa, m.times_ms.len());
    text += &out::facts(&[
        ("median", format!("{}   ({:.1} GMAC/s)", out::ms(s.median), m.sizes.macs as f64 / s.median / 1e6)),
        ("min", out::ms(s.min)),
        ("mean", out::ms(s.mean)),
        ("p90, p99, max", format!("{}, {}, {}", out::ms(s.p90), out::ms(s.p99), out::ms(s.max))),
        ("load, first run", format!("{}, {}", out::ms(m.load_ms), out::ms(m.first_ms))),
        ("arena, weights", format!("{}, {}", out::bytes(m.sizes.arena), out::bytes(m.sizes.weights))),
        ("heap calls", format!("{} in the timed runs", m.allocations)),
    ]);
    if args.profile {
        text += &format!("\n{}", profile_table(m));
    }
    text + "\n"
}

fn profile_table(m: &Measured) -> String {
    let total: f64 = m.steps.iter().map(|t| t.ms).sum();
    let mut table = Table::new(&[
        ("#", Side::Right),
        ("step", Side::Left),
        ("kernel", Side::Left),
        ("output", Side::Left),
        ("time", Side::Right),
        ("share", Side::Right),
        ("GFLOP/s", Side::Right),
        ("of limit", Side::Right),
    ]);
    for (i, t) in m.steps.iter().enumerate() {
        if t.info.bytes == 0 {
            table.row([i.to_string(), out::tail(&short_name(&t.info.name), 40), t.info.kernel.clone(), out::shape(t.info.output)]);
            continue;
        }
        table.row([
            i.to_string(),
            out::tail(&short_name(&t.info.name), 40),
            t.info.kernel.clone(),
            out::shape(t.info.output),
            out::ms(t.ms),
            format!("{:.1} %", 100.0 * t.ms / total.max(f64::MIN_POSITIVE)),
            if t.info.macs > 0 { format!("{:.1}", t.gflops()) } else { String::new() },
            m.limit_ms(t).map_or_else(String::new, |limit| format!("{:.0} %", percent(limit, t.ms))),
        ]);
    }
    let mut text = table.render();
    if let Some(roof) = &m.roof {
        let limits: f64 = m.steps.iter().filter_map(|t| m.limit_ms(t)).sum();
        let levels = roof.bandwidth.map(|(bytes, rate)| format!("{rate:.0} GB/s up to {}", out::bytes(bytes as u64))).join(", ");
        text += &format!(
            "\n{}",
            out::facts(&[
                ("one core at best", format!("{:.1} GFLOP/s; {levels}", roof.gflops)),
                ("sum of the limits", format!("{} of {}", out::ms(limits), out::ms(total))),
                ("above the limits", format!("{:.1} %", 100.0 - percent(limits, total))),
            ])
        );
    }
    text
}

fn trace_of(m: &Measured) -> Vec<Value> {
    let event = |t: &Timed| {
        json!({
            "name": t.info.name, "cat": t.info.kind, "ph": "X", "pid": 1, "tid": m.threads,
            "ts": t.start_ms * 1e3, "dur": t.last_ms * 1e3,
            "args": { "kernel": format!("{}.{}", t.info.kernel, m.isa), "macs": t.info.macs, "bytes": t.info.bytes },
        })
    };
    let label = if m.threads == 1 { "1 thread".into() } else { format!("{} threads", m.threads) };
    let name = json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": m.threads, "args": { "name": label } });
    std::iter::once(name).chain(m.steps.iter().map(event)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics() {
        let s = Stats::of(&[4.0, 1.0, 3.0, 2.0]);
        assert_eq!((s.min, s.median, s.mean, s.p90, s.max), (1.0, 2.5, 2.5, 4.0, 4.0));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        let s = Stats::of(&hundred);
        assert_eq!((s.median, s.p90, s.p99, s.max), (50.5, 90.0, 99.0, 100.0));
        assert_eq!(Stats::of(&[7.0]).p99, 7.0);
    }
}
