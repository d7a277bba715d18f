//! The `sepal` command. `sepal --help` lists what it does; one file per command under `cli/`.

mod cli;

/// Counts, so that `bench` and `demo` can show that an inference makes no heap call.
#[global_allocator]
static HEAP: sepal_heap::Counting = sepal_heap::Counting;

fn main() -> std::process::ExitCode {
    cli::main()
}
