//! The grammar of the command line. What a command does is in its file.
//!
//! Exit codes: 0 done, 1 usage, 2 invalid or unsupported input, 3 verification failed, 4 I/O.

mod bench;
mod check;
mod convert;
mod demo;
mod diff;
mod engine;
mod failure;
mod features;
mod halves;
mod info;
mod normalizing;
mod out;
mod picture;
mod pictures;
mod plans;
mod progress;
mod report;
mod roof;
mod run;
mod samples;
mod sign;
mod spectrum;
mod steps;
mod tolerance;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  sepal demo                                   convert and run the built-in network
  sepal check model.keras                      can it be converted?
  sepal convert model.keras                    write model.sepal
  sepal info model.sepal                       what is in it
  sepal run model.sepal --input cat.jpg --top 5 --labels labels.txt
  sepal diff model.keras model.sepal --html diff.html
  sepal bench model.sepal --threads 1,2

Exit codes: 0 done, 1 usage, 2 invalid or unsupported input, 3 verification failed, 4 I/O.";

/// Converts trained networks (Keras .h5 and .keras, ONNX, TFLite) into one flat file, and runs it.
#[derive(Debug, Parser)]
#[command(name = "sepal", version, after_help = EXAMPLES, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Convert a trained network into a .sepal file
    Convert(convert::Args),
    /// Say whether a network can be converted, and if not, everything that stands in the way
    Check(check::Args),
    /// Show inputs, outputs, parameters, memory and steps of a .sepal file or of a source
    Info(info::Args),
    /// List the parts of the runtime that .sepal files need: a build with no others is smaller
    Features(features::Args),
    /// Run a .sepal file on arrays or pictures
    Run(run::Args),
    /// Compare a .sepal file's outputs with stored ones
    Verify(verify::Args),
    /// Make a pair of keys to sign converted networks with
    Keygen(sign::KeygenArgs),
    /// Sign a .sepal file
    Sign(sign::SignArgs),
    /// Compare a .sepal file layer by layer with the network that it comes from, computed in f64
    Diff(diff::Args),
    /// Measure how long an inference takes
    Bench(bench::Args),
    /// Convert the built-in network, run it on the built-in pictures and show what it sees
    Demo(demo::Args),
}

/// Parses the arguments, does what they say, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Colours are clap's, but an argument may be a name that a shell found in a folder.
            match std::env::args_os().any(|arg| arg.to_string_lossy().contains(out::commands)) {
                true => out::complain(&e.render().to_string()),
                false => drop(e.print()),
            }
            let asked = matches!(e.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion);
            return ExitCode::from(if asked { 0 } else { failure::USAGE });
        }
    };
    let result = match cli.command {
        Command::Convert(args) => convert::main(args),
        Command::Check(args) => check::main(args),
        Command::Info(args) => info::main(args),
        Command::Features(args) => features::main(args),
        Command::Run(args) => run::main(args),
        Command::Verify(args) => verify::main(args),
        Command::Keygen(args) => sign::keygen(args),
        Command::Sign(args) => sign::sign(args),
        Command::Diff(args) => diff::main(args),
        Command::Bench(args) => bench::main(args),
        Command::Demo(args) => demo::main(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_grammar_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
