//! `sepal bench spectrum`: from a regular convolution to a depthwise one.
//!
//! Inception holds that a convolution over space and one over channels are better apart; Xception goes to the end of that road. On the way
//! lie convolutions of 2, 4, 8, .. groups, each channel seeing fewer of the others, followed by a pointwise one that mixes them. This
//! measures every station.

use super::bench::{Stats, ms_since, seconds};
use super::engine::{self, Runner};
use super::failure::Failure;
use super::info::Sizes;
use super::out::{self, Side, Table};
use super::report::svg;
use super::steps::steps;
use sepal_converter::convert::{ConvertOptions, convert_graph};
use sepal_converter::data::random::Random;
use sepal_converter::file::write_whole;
use sepal_converter::ir::{Act, Graph, Op, Pads, Window};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most of each, so that a block fits into memory and patience.
const MOST_CHANNELS: u32 = 4096;
const MOST_SIZE: u32 = 512;
const MOST_KERNEL: u32 = 15;
/// Fewest runs of a block.
const MIN_RUNS: usize = 10;
const MOST_RUNS: usize = 100_000;

const HELP: &str = "\
A block is a convolution over SIZE x SIZE pixels with so many groups, padded to keep the size, the activation, and
a pointwise convolution; both from CHANNELS to CHANNELS. One group is a regular convolution, CHANNELS groups a
depthwise one. Weights are pseudo-random. Each block is converted as any network is, so what fuses does. `bytes`
are the block's weights, and what its steps read and write of tensors.

Examples:
  sepal bench spectrum --channels 256 --size 28 --kernel 3
  sepal bench spectrum --channels 128 --size 14 --activation relu --json
  sepal bench spectrum --html spectrum.html";

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Channels, in and out
    #[arg(long, value_name = "C", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=MOST_CHANNELS as i64))]
    channels: u32,
    /// Rows and columns
    #[arg(long, value_name = "S", default_value = "28", value_parser = clap::value_parser!(u32).range(1..=MOST_SIZE as i64))]
    size: u32,
    /// Rows and columns of the kernel, an odd number
    #[arg(long, value_name = "K", default_value = "3", value_parser = kernel)]
    kernel: u32,
    /// Between the two convolutions: none, relu or elu
    #[arg(long, value_name = "A", default_value = "none", value_parser = ["none", "relu", "elu"])]
    activation: String,
    /// Threads to run on
    #[arg(long, default_value = "1", value_name = "N", value_parser = engine::threads)]
    threads: usize,
    /// Instruction set: scalar, avx2, avx512 or neon [default: the widest there is]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
    /// Measure each block for at least this long (and at least ten inferences)
    #[arg(long, value_name = "S", default_value = "0.5", value_parser = seconds)]
    min_secs: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write a page with the plot
    #[arg(long, value_name = "OUT.html")]
    html: Option<PathBuf>,
}

fn kernel(s: &str) -> Result<u32, String> {
    let odd = s.parse().ok().filter(|k: &u32| k % 2 == 1 && *k <= MOST_KERNEL);
    odd.ok_or_else(|| format!("an odd number from 1 to {MOST_KERNEL} is needed"))
}

/// What one block came to.
struct Block {
    groups: usize,
    kernels: String,
    stats: Stats,
    runs: usize,
    macs: u64,
    parameters: u64,
    weights: u64,
    moved: u64,
}

impl Block {
    /// Two operations a multiply-accumulate.
    fn gflops(&self) -> f64 {
        if self.stats.min > 0.0 { 2.0 * self.macs as f64 / self.stats.min / 1e6 } else { 0.0 }
    }
}

pub fn main(args: Args) -> Result<(), Failure> {
    let channels = args.channels as usize;
    let groups: Vec<usize> =
        (0..32).map(|e| 1usize << e).take_while(|&g| g < channels).filter(|g| channels.is_multiple_of(*g)).collect();
    let mut blocks = Vec::new();
    for g in groups.into_iter().chain([channels]) {
        blocks.push(measure(&args, g)?);
    }
    if let Some(path) = &args.html {
        let page = page(&args, &blocks);
        write_whole(path, true, |file| file.write_all(page.as_bytes())).map_err(|e| Failure::io(path, &e))?;
    }
    if args.json { out::json(&describe(&args, &blocks)) } else { out::print(&render(&args, &blocks)) }
}

/// The block with so many groups.
fn graph(args: &Args, groups: usize) -> Graph {
    let (c, s, k) = (args.channels as usize, args.size as usize, args.kernel as usize);
    let mut random = Random::new(groups as u64);
    let mut g = Graph { name: format!("{groups} groups"), ..Graph::default() };
    // As large as training leaves them, so that no sum is large.
    let mut weights = |g: &mut Graph, name: &str, shape: &[usize]| {
        let terms: usize = shape[..3].iter().product();
        let data = random.units(shape.iter().product()).into_iter().map(|w| w / (terms as f32).sqrt()).collect();
        g.constant(name, shape, Arc::new(data))
    };
    let x = g.input("x", &[1, s, s, c]);
    let spatial = weights(&mut g, "spatial/kernel", &[k, k, c / groups, c]);
    let across = weights(&mut g, "pointwise/kernel", &[1, 1, c, c]);
    let conv = |kernel: usize, groups| {
        let p = kernel / 2;
        let pads = Pads { top: p, left: p, bottom: p, right: p };
        let window = Window { kernel: [kernel; 2], stride: [1; 2], dilation: [1; 2], pads };
        Op::Conv { window, groups, bias: false, residual: false, pre_relu: false, act: Act::None }
    };
    let mut y = g.node("spatial", "Conv", conv(k, groups), &[x, spatial], &[1, s, s, c]);
    let act = match args.activation.as_str() {
        "relu" => Some(Act::RELU),
        "elu" => Some(Act::Elu(1.0)),
        _ => None,
    };
    if let Some(act) = act {
        y = g.node("activation", "Activation", Op::Act(act), &[y], &[1, s, s, c]);
    }
    let y = g.node("pointwise", "Conv", conv(1, 1), &[y, across], &[1, s, s, c]);
    g.outputs.push(y);
    g.output_names.push("y".into());
    g
}

fn measure(args: &Args, groups: usize) -> Result<Block, Failure> {
    let g = graph(args, groups);
    let options = ConvertOptions { no_verify: true, ..ConvertOptions::default() };
    let converted = convert_graph(g, "spectrum", "spectrum", &options, &mut ()).map_err(|e| Failure::invalid(e.to_string()))?;
    let model = engine::from_bytes(converted.bytes(), args.isa.as_deref())?;
    let steps = steps(&model.view());
    let sizes = Sizes::of(&model);
    let mut runner = Runner::new(&model, args.threads)?;
    let sample: Vec<Vec<f32>> = engine::inputs(&model).iter().map(|p| Random::new(1).units(p.dims.iter().product())).collect();
    for _ in 0..3 {
        runner.run_quietly(&sample)?;
    }
    let long = Duration::from_secs_f64(args.min_secs);
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < MIN_RUNS || (begin.elapsed() < long && times.len() < MOST_RUNS) {
        let start = Instant::now();
        runner.run_quietly(&sample)?;
        times.push(ms_since(start));
    }
    let names: Vec<&str> = steps.iter().map(|s| s.kernel.trim_start_matches("f32.")).collect();
    Ok(Block {
        groups,
        kernels: names.join(" + "),
        stats: Stats::of(&times),
        runs: times.len(),
        macs: sizes.macs,
        parameters: converted.summary.parameters,
        weights: steps.iter().map(|s| s.weights).sum(),
        moved: steps.iter().map(|s| s.bytes - s.weights).sum(),
    })
}

fn word(args: &Args, groups: usize) -> &'static str {
    match groups {
        g if g == args.channels as usize => "depthwise",
        1 => "regular",
        _ => "",
    }
}

fn heading(args: &Args) -> String {
    format!(
        "{0} channels, {1}x{1} pixels, kernel {2}x{2}, {3} between, then pointwise",
        args.channels,
        args.size,
        args.kernel,
        if args.activation == "none" { "nothing" } else { &args.activation }
    )
}

fn describe(args: &Args, blocks: &[Block]) -> Value {
    let block = |b: &Block| {
        json!({
            "groups": b.groups, "kernels": b.kernels, "runs": b.runs, "min": b.stats.min, "median": b.stats.median, "p90": b.stats.p90,
            "macs": b.macs, "parameters": b.parameters, "weights_bytes": b.weights, "tensor_bytes": b.moved, "gflops": b.gflops(),
        })
    };
    json!({
        "schema": 1, "channels": args.channels, "size": args.size, "kernel": args.kernel, "activation": args.activation,
        "threads": args.threads, "blocks": blocks.iter().map(block).collect::<Vec<_>>(),
    })
}

fn render(args: &Args, blocks: &[Block]) -> String {
    let mut table = Table::new(&[
        ("groups", Side::Right),
        ("", Side::Left),
        ("min", Side::Right),
        ("median", Side::Right),
        ("MACs", Side::Right),
        ("parameters", Side::Right),
        ("weights", Side::Right),
        ("tensors", Side::Right),
        ("GFLOP/s", Side::Right),
        ("time", Side::Left),
        ("kernels", Side::Left),
    ]);
    let most = blocks.iter().map(|b| b.stats.min).fold(f64::MIN_POSITIVE, f64::max);
    for b in blocks {
        let [groups, word, min, median, macs, parameters, weights, tensors, rate, kernels] = cells(args, b);
        let bar = "█".repeat(((b.stats.min / most * 24.0).round() as usize).max(1));
        table.row([groups, word, min, median, macs, parameters, weights, tensors, rate, bar, kernels]);
    }
    format!("{}\n\n{}", heading(args), table.render())
}

/// What is told of a block, on a terminal and on a page.
fn cells(args: &Args, b: &Block) -> [String; 10] {
    [
        b.groups.to_string(),
        word(args, b.groups).into(),
        out::ms(b.stats.min),
        out::ms(b.stats.median),
        out::count(b.macs),
        out::grouped(b.parameters),
        out::bytes(b.weights),
        out::bytes(b.moved),
        format!("{:.1}", b.gflops()),
        b.kernels.clone(),
    ]
}

/// Time and multiply-adds over the groups, both with powers of two upwards.
fn plot(args: &Args, blocks: &[Block]) -> String {
    let (left, right, top, bottom) = (64.0, 1010.0, 20.0, 300.0);
    let n = blocks.len().max(2) as f64 - 1.0;
    let x = |i: usize| left + 30.0 + (right - left - 60.0) * i as f64 / n;
    // As shares of the regular convolution's.
    let first = blocks.first().map_or((1.0, 1.0), |b| (b.stats.min, b.macs.max(1) as f64));
    let of = |b: &Block| [b.stats.min / first.0, b.macs as f64 / first.1].map(|v| v.max(1e-9).log2());
    let shares: Vec<[f64; 2]> = blocks.iter().map(of).collect();
    let all = || shares.iter().flatten().copied();
    let (low, high) = (all().fold(0.0, f64::min).floor(), all().fold(0.0, f64::max).ceil().max(1.0));
    let y = |e: f64| bottom - (e - low) / (high - low) * (bottom - top);
    let mut content = String::new();
    for e in low as i32..=high as i32 {
        content += &svg::line("grid", left, y(f64::from(e)), right, y(f64::from(e)));
        let name = if e >= 0 { format!("{}", 1 << e) } else { format!("1/{}", 1 << -e) };
        content += &svg::text("", left - 8.0, y(f64::from(e)) + 4.0, "end", &name);
    }
    for (k, class) in [(1, "soft"), (0, "one")] {
        let points: Vec<String> = shares.iter().enumerate().map(|(i, s)| format!("{:.1},{:.1}", x(i), y(s[k]))).collect();
        content +=
            &format!("<polyline class=\"{class}\" style=\"fill:none\" stroke-width=\"2\" points=\"{}\"/>\n", points.join(" "));
        for (i, (b, s)) in blocks.iter().zip(&shares).enumerate() {
            let title = format!(
                "{} groups: {}, {} multiply-adds, {} parameters\n{}",
                b.groups,
                out::ms(b.stats.min),
                out::count(b.macs),
                out::grouped(b.parameters),
                b.kernels
            );
            content += &svg::hover(&title, &svg::circle(class, x(i), y(s[k]), 5.0));
            if k == 0 {
                content += &svg::text("ink", x(i), y(s[k]) - 11.0, "middle", &out::ms(b.stats.min));
            }
        }
    }
    for (i, b) in blocks.iter().enumerate() {
        content += &svg::text("ink", x(i), bottom + 20.0, "middle", &b.groups.to_string());
        content += &svg::text("", x(i), bottom + 36.0, "middle", word(args, b.groups));
    }
    svg::drawing(1080.0, bottom + 46.0, "time and multiply-adds by the number of groups", &content)
}

fn page(args: &Args, blocks: &[Block]) -> String {
    let body = format!(
        "<section><h2>Time and work</h2>\n<p>As shares of the regular convolution's; each line of the grid is half of the one above.</p>\n{}\
         <div class=\"legend\"><span><i></i>time of an inference, shortest of its runs</span><span><i class=\"soft\"></i>multiply-adds</span>\
         </div></section>\n<section><h2>Figures</h2>\n<div class=\"wide\"><table>\n<tr><th class=\"n\">groups</th><th></th>\
         <th class=\"n\">min</th><th class=\"n\">median</th><th class=\"n\">multiply-adds</th><th class=\"n\">parameters</th>\
         <th class=\"n\">weights</th><th class=\"n\">tensors</th><th class=\"n\">GFLOP/s</th><th>kernels</th></tr>\n{}</table></div></section>\n",
        plot(args, blocks),
        blocks.iter().map(|b| row(args, b)).collect::<String>()
    );
    super::report::shell("From regular to depthwise", &format!("<p>{}</p>", svg::esc(&heading(args))), &body)
}

fn row(args: &Args, b: &Block) -> String {
    let cell =
        |(i, text): (usize, &String)| format!("<td{}>{}</td>", if i == 1 || i == 9 { "" } else { " class=\"n\"" }, svg::esc(text));
    format!("<tr>{}</tr>\n", cells(args, b).iter().enumerate().map(cell).collect::<String>())
}
