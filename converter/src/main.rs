//! The `sepal` command. `sepal --help` lists what it does; one file per command under `cli/`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
