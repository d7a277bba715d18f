//! Writes the fixture networks with an input and the output's bits as raw files, for programs that are not in Rust:
//! `cases DIR` makes `DIR/NAME/model.sepal`, `input.f32` and `want.f32` for each.

use sepal::{AlignedBytes, Model, Options, Session};
use sepal_benches::networks;
use sepal_converter::{emit, passes};
use sepal_fixtures as fixtures;
use std::error::Error;
use std::path::Path;

fn raw(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: cases DIR")?;
    for (name, graph) in networks::all()? {
        let (graph, _) = passes::run(graph)?;
        let file = emit::emit(&graph, emit::Options::default(), vec![])?;
        let bytes = AlignedBytes::copy(&[file.structure, file.weights].concat()).ok_or("no memory for the file")?;
        let model = Model::from_bytes(&bytes)?;
        let mut session = Session::new(&model, Options::default())?;
        let (pixels, _) = fixtures::digits().next().ok_or("no digits")?;
        let input = fixtures::upsample(pixels);
        session.input_mut(0).ok_or("no input")?.copy_from_slice(&input);
        session.run();
        let to = Path::new(&folder).join(name);
        std::fs::create_dir_all(&to)?;
        std::fs::write(to.join("model.sepal"), &bytes[..])?;
        std::fs::write(to.join("input.f32"), raw(&input))?;
        std::fs::write(to.join("want.f32"), raw(session.output(0).ok_or("no output")?))?;
    }
    Ok(())
}
