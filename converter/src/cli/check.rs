//! `sepal check`.

use super::convert::ImportArgs;
use super::failure::Failure;
use super::out;
use super::progress::Line;
use sepal_converter::convert::{self, ConvertOptions};
use sepal_converter::emit;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 0: it can be converted; 2: it cannot, and everything that stands in the way is listed.")]
pub struct Args {
    /// Network to look at: Keras .h5/.hdf5 or .keras, ONNX, or TFLite
    source: PathBuf,
    #[command(flatten)]
    import: ImportArgs,
}

pub fn main(args: Args) -> Result<(), Failure> {
    let options = ConvertOptions {
        import: args.import.into(),
        no_verify: true,
        emit: emit::Options { max_error: 0.0, ..emit::Options::default() },
        ..ConvertOptions::default()
    };
    let mut line = Line::new();
    let converted = convert::convert(&args.source, &options, &mut line).map_err(|e| Failure::conversion(&args.source, &e))?;
    drop(line);
    let s = &converted.summary;
    let notes: String = s.report.of_source().map(|note| format!("  {}\n", out::plain(note))).collect();
    out::print(&format!(
        "{}: fully supported ({}; {} trainable parameters, {} batch norms of which {} fold)\n{notes}",
        args.source.display(),
        s.format,
        out::grouped(s.trainable_parameters),
        s.report.folds.len(),
        s.folded()
    ))
}
