//! `sepal run`.

use super::engine::{self, Runner};
use super::failure::Failure;
use super::normalizing::{Normalizing, stored};
use super::out::{self, Side, Table};
use super::pictures::labels;
use super::plans::PlanArg;
use super::samples::{self, InputArg};
use sepal_converter::data::npz::{Array, write_npz};
use sepal_converter::file::same_file;
use sepal_converter::preprocessing::labels_fit;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::path::PathBuf;

const HELP: &str = "\
Inputs:
  .npy          an array of the input's shape (leading extents of 1 do not matter)
  .npz          arrays under the inputs' names, or its only array; or several samples: x0, x1, ..
                (x0_0, x0_1, .. where the network has several inputs)
  .png, .jpg    turned as EXIF says, resized to the input's size (bilinear, antialiased) and normalised:
                as the file says, or by --normalize; colour becomes grey where the input has one channel
  A folder stands for all of its .npy, .png and .jpg files.
  Several files without a name, for a network of one input, are one sample each.

Normalisation:
  0..1          levels from 0 to 1 (the default, where the file says nothing)
  -1..1         levels from -1 to 1, as Xception, Inception and MobileNet want them
  0..255        levels as they are in the file
  imagenet      (level - mean) / deviation of ImageNet, as torchvision's networks want them
  mean=M,..;std=S,..   (level - M) / S for levels from 0 to 1, one number or one per channel

Output file:
  One array per output under its name, in the source's layout; y{sample}_{output} for several
  samples, and where names are the same, missing or no names of files.

Examples:
  sepal run model.sepal --input cat.jpg --normalize=-1..1 --top 5 --labels imagenet.txt
  sepal run model.sepal --input left=l.npy --input right=r.npy --output out.npz";

/// Classes that are shown if the file has labels.
const TOP: usize = 5;

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Converted network
    model: PathBuf,
    /// What to run it on; nothing, for a network without inputs
    #[arg(short, long, value_name = "[NAME=]FILE", value_parser = samples::input_arg())]
    input: Vec<InputArg>,
    /// Write the outputs
    #[arg(short, long, value_name = "OUT.npz")]
    output: Option<PathBuf>,
    /// Print the K largest elements of the first output [default: 5, if the file has labels]
    #[arg(long, value_name = "K")]
    top: Option<usize>,
    /// Names of the elements, one a line [default: those in the file]
    #[arg(long, value_name = "FILE", requires = "top")]
    labels: Option<PathBuf>,
    #[command(flatten)]
    normalizing: Normalizing,
    #[command(flatten)]
    plan: PlanArg,
    /// Threads to run on
    #[arg(long, default_value = "1", value_name = "N", value_parser = engine::threads)]
    threads: usize,
    /// Instruction set: scalar, avx2, avx512 or neon [default: the widest there is]
    #[arg(long, value_name = "NAME")]
    isa: Option<String>,
}

pub fn main(args: Args) -> Result<(), Failure> {
    if let Some(path) = &args.output {
        if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
            return Err(Failure::usage(format!("--output {}: .npz files are written", path.display())));
        }
        let read = args.input.iter().map(|i| &i.path).chain(&args.labels).chain([&args.model]);
        if read.into_iter().any(|p| same_file(p, path)) {
            return Err(Failure::usage(format!("--output {}: that is read, too", path.display())));
        }
    }
    let model = engine::read_verified(&args.model, args.isa.as_deref())?;
    let recipe = args.normalizing.of(&model)?;
    let (model, samples) = args.plan.fitting(model, |plan| samples::read(&args.input, &engine::inputs(plan), &recipe))?;
    let own = stored(&model)?.map(|p| p.labels).filter(|l| !l.is_empty());
    // A file that knows what its classes are called says them without being asked.
    let k = args.top.or(own.as_ref().filter(|_| args.output.is_none()).map(|_| TOP));
    let labels = args.labels.as_deref().map(labels).transpose()?.or(own);
    let mut runner = Runner::new(&model, args.threads)?;

    if args.output.is_some() {
        runner.affords(samples.samples.len())?;
    }
    let numbered = samples.numbered || !archivable(runner.output_names());
    let mut stored = Vec::new();
    let mut text = String::new();
    for (i, (sample, name)) in samples.samples.iter().zip(&samples.names).enumerate() {
        let outputs = runner.run(sample)?;
        if samples.samples.len() > 1 {
            text += &format!("{}{}\n", if i > 0 { "\n" } else { "" }, out::plain(name));
        }
        match k {
            Some(k) => {
                if let (Some(labels), Some(_)) = (&labels, &args.labels) {
                    labels_fit(labels.len(), &outputs[0].shape).map_err(|e| Failure::usage(format!("--labels: {e}")))?;
                }
                text += &top(&outputs[0], k, labels.as_deref());
            }
            None => text += &overview(runner.output_names(), &outputs),
        }
        if args.output.is_some() {
            for (j, (array, name)) in outputs.into_iter().zip(runner.output_names()).enumerate() {
                let key = if numbered { format!("y{i}_{j}") } else { name.clone() };
                stored.push((key, array));
            }
        }
    }
    if let Some(path) = &args.output {
        write_npz(path, &stored)?;
    }
    out::print(&text)
}

/// Whether an archive can hold arrays under such names, which come from the file: each its own, and none that leads whoever unpacks it
/// upwards. PyTorch's begin with a slash.
fn archivable(names: &[String]) -> bool {
    let file = |n: &String| (1..256).contains(&n.len()) && !n.contains('\\') && n.split('/').all(|part| part != "..");
    names.iter().all(file) && names.iter().collect::<HashSet<_>>().len() == names.len()
}

/// Indices of the `k` largest elements, largest first; not-numbers last.
pub fn largest(values: &[f32], k: usize) -> Vec<usize> {
    // An integer in the order of `f32::total_cmp`.
    let key = |v: &f32| {
        let bits = if v.is_nan() { f32::NEG_INFINITY } else { *v }.to_bits() as i32;
        bits ^ ((bits >> 31) as u32 >> 1) as i32
    };
    // The least of them on top. An output may have any number of elements.
    let mut kept = BinaryHeap::new();
    for (i, v) in values.iter().enumerate() {
        kept.push(Reverse((key(v), Reverse(i))));
        if kept.len() > k {
            kept.pop();
        }
    }
    kept.into_sorted_vec().into_iter().map(|Reverse((_, Reverse(i)))| i).collect()
}

/// Whether the values are probabilities of which one holds.
fn probabilities(values: &[f32]) -> bool {
    values.iter().all(|v| (0.0..=1.0).contains(v)) && (values.iter().sum::<f32>() - 1.0).abs() < 1e-3
}

fn top(output: &Array, k: usize, labels: Option<&[String]>) -> String {
    let percent = probabilities(&output.values);
    let width = output.values.len().saturating_sub(1).to_string().len();
    let mut text = String::new();
    for i in largest(&output.values, k) {
        let v = output.values[i];
        let label = labels.and_then(|l| l.get(i)).map_or(String::new(), |l| out::plain(l));
        text += &match percent {
            true => {
                let bar = "█".repeat((v * 20.0).round() as usize);
                format!("  {:>8}  {i:>width$}  {bar:<20}  {label}", format!("{:.3} %", v * 100.0))
            }
            false => format!("  {v:>12.5}  {i:>width$}  {label}"),
        };
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn overview(names: &[String], outputs: &[Array]) -> String {
    let mut table = Table::new(&[
        ("output", Side::Left),
        ("shape", Side::Left),
        ("min", Side::Right),
        ("max", Side::Right),
        ("mean", Side::Right),
        ("first elements", Side::Left),
    ]);
    for (name, a) in names.iter().zip(outputs) {
        let v = &a.values;
        let mean = v.iter().map(|&v| f64::from(v)).sum::<f64>() / v.len().max(1) as f64;
        let first: Vec<String> = v.iter().take(4).map(|v| format!("{v:.5}")).collect();
        let nans = v.iter().filter(|v| v.is_nan()).count();
        let mut more = if v.len() > 4 { " …" } else { "" }.to_owned();
        if nans > 0 {
            more += &format!("  ({nans} of {} NaN)", v.len());
        }
        let bound = |fold: fn(f32, f32) -> f32| v.iter().copied().reduce(fold).unwrap_or(f32::NAN);
        table.row([
            out::tail(name, 40),
            out::shape(&a.shape),
            format!("{:.5}", bound(f32::min)),
            format!("{:.5}", bound(f32::max)),
            format!("{mean:.5}"),
            first.join("  ") + &more,
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_ties_in_order() {
        assert_eq!(largest(&[0.1, f32::NAN, 0.7, 0.1, 0.2], 4), [2, 4, 0, 3]);
        assert_eq!(largest(&[], 3), [0usize; 0]);
    }

    #[test]
    fn names_that_no_archive_can_hold_are_not_used() {
        let all = |names: &[&str]| archivable(&names.iter().map(|n| n.to_string()).collect::<Vec<_>>());
        assert!(all(&["probs", "dense/Softmax:0", "a.b", "/model/Add_output_0", "dense//out"]));
        for bad in [&["a", "a"][..], &[""], &["a/../../x"], &["..\\x"], &[&"n".repeat(256)]] {
            assert!(!all(bad), "{bad:?}");
        }
    }

    #[test]
    fn scores_are_not_shown_as_probabilities() {
        let a = |v: &[f32]| Array { shape: vec![v.len()], values: v.to_vec() };
        assert!(top(&a(&[0.25, 0.75]), 1, None).contains("75.000 %"));
        assert!(top(&a(&[3.0, 0.75]), 1, Some(&["three".into()])).contains("3.00000  0  three"));
    }
}
