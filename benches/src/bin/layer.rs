//! Runs a layer of the benchmarks' table so many times: `layer NAME RUNS`; without arguments lists them with their operations.
//! For tools that count instructions, such as `.ci/count`.

use sepal_kernels::Isa;
use sepal_kernels::par::Serial;
use sepal_testing::cases::CASES;
use sepal_testing::layer::Layer;
use std::hint::black_box;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, runs] = &arguments[..] else {
        CASES.iter().for_each(|c| println!("{} {}", c.name(), c.operations()));
        return ExitCode::SUCCESS;
    };
    let (Some(case), Ok(runs)) = (CASES.iter().find(|c| c.name() == *name), runs.parse::<usize>()) else {
        eprintln!("usage: layer NAME RUNS");
        return ExitCode::FAILURE;
    };
    let layer = Layer::new(*case);
    let (isa, mut out, mut scratch) = (Isa::detect(), layer.output(), layer.scratch(1));
    for _ in 0..runs {
        black_box(&layer).run(isa, &Serial, &mut out, &mut scratch);
    }
    ExitCode::SUCCESS
}
