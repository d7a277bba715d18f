//! `x[...]`, `take`, `split`, `stack` and `unstack`.

use super::{CALL, built, golden, network};
use crate::error::Error;

#[test]
fn slices_are_keras_own() {
    for file in ["slices.k2.keras", "slices.k2.h5", "slices.k3.keras", "slices.k3.h5"] {
        golden(file, &[]);
    }
}

/// `x[index]` of a tensor of the shape `[1, 3, 4]`.
fn indexed(index: &str) -> Result<Vec<usize>, Error> {
    let call = format!(r#"{{"args": [$, {index}], "kwargs": {{}}}}"#);
    let graph = built(&network("float32", &[(r#""GetItem""#, "", &call)]), 3)?;
    Ok(graph.shape(graph.outputs[0]).to_vec())
}

fn range(first: &str, end: &str, step: &str) -> String {
    format!(r#"{{"class_name": "__slice__", "config": {{"start": {first}, "stop": {end}, "step": {step}}}}}"#)
}

#[test]
fn indices_that_make_no_sense_are_refused() {
    let (all, rest) = (range("null", "null", "null"), r#"{"class_name": "__ellipsis__", "config": {}}"#);
    assert_eq!(indexed(&format!("[{all}, 2, {rest}]")).unwrap(), [1, 4]);
    // Alone, the first axis; behind the last element, none.
    assert_eq!(indexed(&range("-9", "9", "1")).unwrap(), [1, 3, 4]);
    assert_eq!(indexed("[0, null, null]").unwrap(), [1, 1, 3, 4]);
    let deep = format!("[{}0]", "null, ".repeat(100_000));
    for invalid in [
        "1".to_owned(),
        format!("[{all}, 3]"),
        format!("[{all}, -4]"),
        "[0, 0, 0, 0]".into(),
        format!("[{rest}, {rest}]"),
        format!("[{all}, {}]", range("2", "1", "1")),
        format!("[{all}, {}]", range("0", "3", "0")),
        format!("[{all}, {}]", range("0", "3", "-9223372036854775808")),
        format!("[{all}, {}]", range("-9223372036854775808", "9223372036854775807", "-9223372036854775807")),
        format!("[{all}, 9223372036854775807]"),
        format!("[{all}, -9223372036854775808]"),
        deep,
    ] {
        assert!(matches!(indexed(&invalid), Err(Error::Invalid(_))), "{}", &invalid[..invalid.len().min(200)]);
    }
    let unknown = r#"{"class_name": "__other__", "config": {}}"#;
    for other in ["[[0]]", "0.5", "true", "null", "\"x\"", "[{}]", &range("0.5", "null", "null"), unknown] {
        assert!(matches!(indexed(other), Err(Error::Unsupported(_))), "{other}");
    }
    // One with an extent that the text does not name.
    assert!(matches!(indexed(r#"[{"start": 1, "stop": 2}]"#), Err(Error::Unsupported(_))));
}

#[test]
fn elements_that_are_not_there_are_refused() {
    let taken = |indices: &str, axis: &str| {
        let call = format!(r#"{{"args": [$, {indices}], "kwargs": {{}}}}"#);
        let graph = built(&network("float32", &[(r#""Take""#, &format!(r#", "axis": {axis}"#), &call)]), 3)?;
        Ok::<_, Error>(graph.shape(graph.outputs[0]).to_vec())
    };
    assert_eq!(taken("[2, -1]", "-1").unwrap(), [1, 3, 2]);
    assert_eq!(taken("[[2, 0, 1]]", "1").unwrap(), [1, 1, 3, 4]);
    for (indices, axis) in [("[3]", "1"), ("[-4]", "1"), ("[0]", "3"), ("[0.5]", "1"), ("[1e300]", "1"), ("\"a\"", "1")] {
        assert!(matches!(taken(indices, axis), Err(Error::Invalid(_))), "{indices} {axis}");
    }
    let disorder: Vec<String> = (0..200).map(|i| (i * 2 % 3).to_string()).collect();
    for (indices, axis) in [("[0]", "null"), ("null", "1"), ("[]", "1"), (&format!("[{}]", disorder.join(",")), "1")] {
        assert!(matches!(taken(indices, axis), Err(Error::Unsupported(_) | Error::Invalid(_))), "{indices} {axis}");
    }
}

#[test]
fn pieces_are_keras_own() {
    for file in ["pieces.k2.keras", "pieces.k2.h5", "pieces.k3.keras", "pieces.k3.h5"] {
        golden(file, &[]);
    }
}

#[test]
fn moves_are_keras_own() {
    for file in ["moves.k2.keras", "moves.k2.h5", "moves.k3.keras"] {
        golden(file, &[]);
    }
}

#[test]
fn moves_that_do_not_fit_are_refused() {
    // Of a tensor of the shape [1, 3, 4].
    let of = |class: &str, config: &str| {
        let layer = format!(r#""{class}", "module": "keras.src.ops.numpy""#);
        let graph = built(&network("float32", &[(&layer, config, CALL)]), 3)?;
        Ok::<_, Error>(graph.shape(graph.outputs[0]).to_vec())
    };
    assert_eq!(of("Roll", r#", "shift": -5, "axis": 1"#).unwrap(), [1, 3, 4]);
    assert_eq!(of("Tile", r#", "repeats": [2]"#).unwrap(), [1, 3, 8]);
    assert_eq!(of("Swapaxes", r#", "axis1": 1, "axis2": -1"#).unwrap(), [1, 4, 3]);
    assert_eq!(of("Moveaxis", r#", "source": [1, 2], "destination": [2, 0]"#).unwrap(), [4, 1, 3]);
    assert_eq!(of("BroadcastTo", r#", "shape": [5, 3, 4]"#).unwrap(), [5, 3, 4]);
    for (class, config) in [
        ("Roll", r#", "shift": 1, "axis": 3"#),
        ("Roll", r#", "shift": [1, 2], "axis": 1"#),
        ("Roll", r#", "shift": 1"#),
        ("Flip", r#", "axis": -4"#),
        ("Tile", r#", "repeats": [1, 1, 1, 1]"#),
        ("Tile", r#", "repeats": [0]"#),
        ("Tile", r#", "repeats": [1000000000000]"#),
        ("Swapaxes", r#", "axis1": 1"#),
        ("Moveaxis", r#", "source": [1, 1], "destination": [0, 2]"#),
        ("Moveaxis", r#", "source": 1, "destination": [0, 2]"#),
        ("BroadcastTo", r#", "shape": [1, 3, 8]"#),
        ("BroadcastTo", r#", "shape": [3, 4]"#),
        ("BroadcastTo", r#", "shape": [-1, 3, 4]"#),
        ("RandomCrop", r#", "height": 3, "width": 4"#),
    ] {
        assert!(matches!(of(class, config), Err(Error::Unsupported(_) | Error::Invalid(_))), "{class} {config}");
    }
}

/// `keras.ops.split` of a tensor of the shape `[1, 3, 4]`, of which the last part is given out.
fn last_part(config: &str, part: usize) -> Result<Vec<usize>, Error> {
    let json = network("float32", &[(r#""Split", "module": "keras.src.ops.numpy""#, config, CALL)]);
    let graph = built(&json.replace(r#"["l0", 0, 0]"#, &format!(r#"["l0", 0, {part}]"#)), 3)?;
    Ok(graph.shape(graph.outputs[0]).to_vec())
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let of = |parts: &str, part: usize| last_part(&format!(r#", "indices_or_sections": {parts}, "axis": -1"#), part);
    assert_eq!(of("2", 1).unwrap(), [1, 3, 2]);
    assert_eq!(of("4", 3).unwrap(), [1, 3, 1]);
    assert_eq!(of("[1, 2]", 2).unwrap(), [1, 3, 2]);
    assert_eq!(of("1", 0).unwrap(), [1, 3, 4]);
    for (parts, part) in [
        ("3", 0),
        ("0", 0),
        ("-2", 0),
        ("[2, 1]", 0),
        ("[5]", 0),
        ("[-1]", 0),
        ("[4]", 1),
        ("[9223372036854775807, -9]", 0),
        ("null", 0),
        ("2", 2),
        ("\"2\"", 0),
    ] {
        assert!(of(parts, part).is_err(), "{parts} {part}");
    }
}

/// A file of 837 bytes asked for 8 GB.
#[test]
fn many_parts_are_refused_before_they_are_listed() {
    let of = |class: &str, config: &str| {
        let json = network("float32", &[(&format!(r#""{class}", "module": "keras.src.ops.numpy""#), config, CALL)]);
        let long = json.replace(r#""batch_shape": [1, 3, 4]"#, r#""batch_shape": [1, 4000000000]"#);
        assert_ne!(json, long);
        match built(&long, 3) {
            Err(Error::Unsupported(all)) => all[0].what.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(of("Split", r#", "indices_or_sections": 4000000000, "axis": 1"#), "4000000000 parts of a tensor");
    assert_eq!(of("Unstack", r#", "axis": 1"#), "4000000000 parts of a tensor");
}

/// Keras writes the axis of a stack; without one it is the first, where that of a concatenation is the last.
#[test]
fn tensors_are_stacked_along_the_first_axis() {
    let twice = r#"{"args": [[$, $]], "kwargs": {}}"#;
    for (class, shape) in [("Stack", vec![2, 1, 3, 4]), ("Concatenate", vec![1, 3, 8])] {
        let graph =
            built(&network("float32", &[(&format!(r#""{class}", "module": "keras.src.ops.numpy""#), "", twice)]), 3).unwrap();
        assert_eq!(graph.shape(graph.outputs[0]), shape, "{class}");
    }
}

/// A program's own class of a name that Keras has, and whole numbers, which cut off what is behind the point. HDF5 files have neither
/// module nor attributes for a Pipeline.
#[test]
fn layers_of_a_pipeline_are_looked_at() {
    let flip = r#"{"class_name": "RandomFlip", "module": "keras.layers", "config": {}}"#;
    let of = |layer: &str| {
        let config = format!(r#", "layers": [{flip}, {layer}]"#);
        built(&network("float32", &[(r#""Pipeline""#, &config, CALL)]), 3)
    };
    let doubled = r#"{"class_name": "Rescaling", "module": "keras.layers", "config": {"scale": 2.0}}"#;
    let graph = of(&format!(r#"{{"class_name": "Pipeline", "config": {{"layers": [{flip}, {doubled}]}}}}"#)).unwrap();
    assert_eq!(graph.nodes.iter().map(|n| n.kind.as_str()).collect::<Vec<_>>(), ["Rescaling"]);
    for layer in [
        r#"{"class_name": "RandomFlip", "module": "mine", "registered_name": "my>RandomFlip", "config": {}}"#,
        r#"{"class_name": "RandomFlip", "module": "keras.layers", "config": {"dtype": "uint8"}}"#,
        r#"{"class_name": "Pipeline", "config": {"layers": [{"class_name": "LSTM", "module": "keras.layers", "config": {}}]}}"#,
        r#"{"class_name": "Dense", "module": "keras.layers", "config": {"units": 3}}"#,
    ] {
        assert!(matches!(of(layer), Err(Error::Unsupported(_))), "{layer}");
    }
}
