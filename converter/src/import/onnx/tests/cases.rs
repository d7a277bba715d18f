//! Small models, one per attribute or encoding, against onnxruntime; `converter/tests/python/make_onnx_cases.py` makes them.

use super::npz::Npz;
use super::write;
use crate::import::{Options, onnx};
use crate::interp::interpret;
use std::path::Path;

/// Runs a model and compares every output with its golden, within a share of the output's largest value.
pub(super) fn compare(path: &Path, tolerance: f64, options: &Options) -> Result<f64, String> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let g = onnx::import(&bytes, path.parent(), options).map_err(|e| e.to_string())?;
    g.verify()?;
    let npz = Npz::open(&path.with_extension("npz"))?;
    let mut inputs = vec![];
    for (i, &v) in g.inputs.iter().enumerate() {
        let (shape, data) = npz.get(&format!("x{i}"))?;
        if shape != g.shape(v) {
            return Err(format!("input {i} has shape {:?}, the golden {shape:?}", g.shape(v)));
        }
        inputs.push(data);
    }
    let outputs = interpret(&g, &inputs, &mut |_, _| {}).map_err(|e| e.to_string())?;
    let mut worst = 0f64;
    for (i, (got, &v)) in outputs.iter().zip(&g.outputs).enumerate() {
        let (shape, want) = npz.get(&format!("y{i}"))?;
        if shape != g.shape(v) {
            return Err(format!("output {i} has shape {:?}, the golden {shape:?}", g.shape(v)));
        }
        let range = want.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
        let off = got.iter().zip(&want).fold(0f64, |m, (a, b)| m.max((a - b).abs()));
        let off = if got.iter().any(|v| v.is_nan()) { f64::INFINITY } else { off / range };
        if off > tolerance {
            return Err(format!("output {i} ({}) is off by {off:.2e} of its range", g.output_names[i]));
        }
        worst = worst.max(off);
    }
    if npz.get(&format!("y{}", outputs.len())).is_ok() {
        return Err(format!("there are only {} outputs", outputs.len()));
    }
    Ok(worst)
}

#[test]
fn cases_compute_what_onnxruntime_computes() {
    let models = super::models(&super::data());
    assert!(models.len() > 50);
    let failures: Vec<String> = models
        .iter()
        .filter_map(|p| compare(p, 2e-6, &Options::default()).err().map(|e| format!("{}: {e}", p.display())))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a network of one operator computes in f32.
fn run_f32(bytes: &[u8], x: &[f32]) -> Vec<f32> {
    use crate::convert::{ConvertOptions, convert_bytes};
    let converted = convert_bytes("n", bytes, &ConvertOptions { no_verify: true, ..ConvertOptions::default() }, &mut ()).unwrap();
    let model = sepal::Model::from_bytes(converted.bytes()).unwrap();
    let mut session = sepal::Session::new(&model, sepal::Options::default()).unwrap();
    session.input_mut(0).unwrap().copy_from_slice(x);
    session.run();
    session.output(0).unwrap().to_vec()
}

/// From the smallest to the largest numbers, in units of the last place.
#[test]
fn hyperbolic_functions_keep_their_digits() {
    let up: Vec<f32> = (-120..120).map(|i| 2f32.powi(i) * (1.0 + (i + 121) as f32 / 997.0)).chain([f32::MAX, 0.0]).collect();
    let signed: Vec<f32> = up.iter().flat_map(|&x| [x, -x]).collect();
    let inside: Vec<f32> = signed.iter().copied().filter(|x| x.abs() < 1.0).chain((1..200).map(|i| i as f32 / 200.0)).collect();
    let from_one: Vec<f32> = up.iter().map(|x| 1.0 + x).collect();
    for (op, x, of) in [
        ("Sinh", signed.iter().copied().filter(|x| x.abs() < 80.0).collect(), f64::sinh as fn(f64) -> f64),
        ("Asinh", signed, f64::asinh as fn(f64) -> f64),
        ("Acosh", from_one, f64::acosh as fn(f64) -> f64),
        ("Atanh", inside, f64::atanh as fn(f64) -> f64),
    ] {
        let node = write::node(op, &["x"], &["y"], &[]);
        let bytes = write::model(13, &[write::value("x", &[1, x.len() as i64])], &[], &[node], &["y"]);
        for (&x, y) in x.iter().zip(run_f32(&bytes, &x)) {
            // Of tiny numbers, asinh in f64 loses what is asked for here.
            let want = if op != "Acosh" && x.abs() < 1e-5 { f64::from(x) } else { of(f64::from(x)) };
            let off = (f64::from(y) - want).abs() / want.abs().max(f64::MIN_POSITIVE);
            assert!(y == want as f32 || off < 6.0 * f64::from(f32::EPSILON), "{op}({x:e}) is {y:e}, not {want:e}");
        }
    }
    let node = write::node("Atanh", &["x"], &["y"], &[]);
    let bytes = write::model(13, &[write::value("x", &[1, 3])], &[], &[node], &["y"]);
    let y = run_f32(&bytes, &[1.0, -1.0, 2.0]);
    assert!(y[0] == f32::INFINITY && y[1] == f32::NEG_INFINITY && y[2].is_nan(), "{y:?}");
}

/// Of a kernel of one pixel nothing is left where an edge is cut off, and of the rest the inner part.
#[test]
fn transposed_convolutions_are_cropped_beyond_their_kernels() {
    let w = write::floats("w", &[2, 1, 1, 1], &[1.0, 10.0]);
    let node = write::node("ConvTranspose", &["x", "w"], &["y"], &[write::ints("pads", &[1, 1, 1, 0])]);
    let bytes = write::model(13, &[], &[w], &[node], &["y"]);
    let x: Vec<f32> = (0..32).map(|i| i as f32).collect();
    let want: Vec<f32> = [5, 6, 7, 9, 10, 11].iter().map(|&i| (i + 10 * (16 + i)) as f32).collect();
    assert_eq!(run_f32(&bytes, &x), want);
}

/// Whole numbers that are made floats before anything is computed of them.
#[test]
fn inputs_of_integers_may_be_given_as_floats() {
    let bytes = |other: &[&str]| {
        let mut nodes = vec![write::node("Cast", &["x"], &["f"], &[write::int("to", 1)]), write::node("Relu", &["f"], &["y"], &[])];
        nodes.extend(other.first().map(|op| write::node(op, &["x"], &["z"], &[])));
        let outputs = if other.is_empty() { vec!["y"] } else { vec!["y", "z"] };
        write::model(13, &[write::input_of("x", 2, &[1, 3])], &[], &nodes, &outputs)
    };
    assert_eq!(run_f32(&bytes(&[]), &[0.0, 7.0, 255.0]), [0.0, 7.0, 255.0]);
    let graph = crate::import::import_bytes(&bytes(&[]), None, &Options::default()).unwrap();
    assert!(matches!(&graph.notes[..], [note] if note.contains("'x' of uint8")), "{:?}", graph.notes);
    let refused = crate::import::import_bytes(&bytes(&["Relu"]), None, &Options::default());
    assert!(matches!(&refused, Err(crate::Error::Unsupported(all)) if all[0].what.contains("uint8")), "{refused:?}");
}

#[test]
fn a_shape_is_given_once() {
    let bytes = write::model(13, &[], &[], &[write::node("Relu", &["x"], &["y"], &[])], &["y"]);
    let twice = vec![("x".to_owned(), vec![1, 2, 4, 4]), ("x".to_owned(), vec![1, 2, 8, 8])];
    let refused = crate::import::import_bytes(&bytes, None, &Options { input_shapes: twice, ..Options::default() });
    assert!(matches!(refused, Err(crate::Error::Request(e)) if e.contains("twice")));
}
