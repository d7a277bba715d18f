//! `sepal features`.

use super::engine;
use super::failure::Failure;
use super::out;
use std::path::PathBuf;

const EXAMPLES: &str = "\
A library with these features and those of an instruction set runs the model; one without
some of them refuses it. Several models: the features of any of them.

Examples:
  sepal features model.sepal
  cargo build -p sepal --no-default-features --features \"avx2,$(sepal features model.sepal)\"
  runtime/c/install.sh --prefix /opt/sepal --profile small --features \"std,avx2,$(sepal features model.sepal)\"";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Converted networks
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
}

pub fn main(args: Args) -> Result<(), Failure> {
    let mut features: Vec<&str> = Vec::new();
    for path in &args.models {
        let model = engine::read_verified(path, None)?;
        features.extend(model.features().filter(|name| !features.contains(name)).collect::<Vec<_>>());
    }
    out::print(&format!("{}\n", features.join(",")))
}
