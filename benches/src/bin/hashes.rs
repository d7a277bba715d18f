//! Converts the fixture networks, runs them on fixed inputs and prints hashes of the files and of the bits of all outputs: the
//! same lines on every machine, instruction set and number of threads.

use sepal::{AlignedBytes, Model, Options, Session};
use sepal_benches::networks;
use sepal_converter::ir::Graph;
use sepal_converter::{emit, passes};
use sepal_fixtures as fixtures;
use std::error::Error;

/// FNV-1a, 64 bits.
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn check(name: &str, graph: Graph) -> Result<(), Box<dyn Error>> {
    let (graph, _) = passes::run(graph)?;
    let file = emit::emit(&graph, emit::Options::default(), vec![])?;
    let bytes = [file.structure, file.weights].concat();
    println!("{name} file {:016x}", hash(bytes.iter().copied()));
    let bytes = AlignedBytes::copy(&bytes).ok_or("no memory for the file")?;
    let model = Model::from_bytes(&bytes)?;
    let mut first = None;
    for threads in [1, 2, 4] {
        let mut session = Session::new(&model, Options { threads })?;
        let mut all = Vec::new();
        for (pixels, _) in fixtures::digits().take(20) {
            session.input_mut(0).ok_or("no input")?.copy_from_slice(&fixtures::upsample(pixels));
            session.run();
            all.extend(session.output(0).ok_or("no output")?.iter().flat_map(|x| x.to_bits().to_le_bytes()));
        }
        let h = hash(all);
        if *first.get_or_insert(h) != h {
            return Err(format!("{name}: {threads} threads give other bits than one").into());
        }
    }
    println!("{name} outputs {:016x}", first.unwrap_or(0));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    for (name, graph) in networks::all()? {
        check(name, graph)?;
    }
    Ok(())
}
