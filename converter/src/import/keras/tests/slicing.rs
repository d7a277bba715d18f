//! `x[...]`, `take`, `split`, `stack` and `unstack`.

use super::{CALL, built, golden, network};
use crate::error::Error;
use crate::ir::Op;

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
fn what_does_nothing_and_what_is_derived_is_keras_own() {
    for name in ["quiet", "derived"] {
        for version in ["k2.keras", "k2.h5", "k3.keras", "k3.h5"] {
            golden(&format!("{name}.{version}"), &[]);
        }
    }
    golden("sundry.k3.keras", &[]);
    golden("sundry.k3.h5", &[]);
    golden("caffe.k2.h5", &[]);
    golden("upsampling.k2.keras", &[]);
    golden("upsampling.k2.h5", &[]);
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
    assert_eq!(of("Roll", r#", "shift": 1"#).unwrap(), [1, 3, 4]);
    assert_eq!(of("Triu", r#", "k": -2"#).unwrap(), [1, 3, 4]);
    assert_eq!(of("Tril", r#", "k": 3"#).unwrap(), [1, 3, 4]);
    assert_eq!(of("Diff", r#", "n": 2"#).unwrap(), [1, 3, 2]);
    assert_eq!(of("Tile", r#", "repeats": [2]"#).unwrap(), [1, 3, 8]);
    assert_eq!(of("Swapaxes", r#", "axis1": 1, "axis2": -1"#).unwrap(), [1, 4, 3]);
    assert_eq!(of("Moveaxis", r#", "source": [1, 2], "destination": [2, 0]"#).unwrap(), [4, 1, 3]);
    assert_eq!(of("BroadcastTo", r#", "shape": [5, 3, 4]"#).unwrap(), [5, 3, 4]);
    for (class, config) in [
        ("Roll", r#", "shift": 1, "axis": 3"#),
        ("Roll", r#", "shift": [1, 2], "axis": 1"#),
        ("Triu", r#", "k": -1"#),
        ("Tril", r#", "k": 2"#),
        ("Diff", r#", "n": 4"#),
        ("Diff", r#", "n": -1"#),
        ("Diff", r#", "axis": [1, 2]"#),
        ("Glu", r#", "axis": 1"#),
        ("View", r#", "dtype": "int32""#),
        ("SaturateCast", r#", "dtype": "int8""#),
        ("Einsum", r#", "subscripts": "bii->bi""#),
        ("Einsum", r#", "subscripts": "bij,bjk->bik""#),
        ("Einsum", ""),
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

/// Each slice is a batch of its own for the layer; what works along the axis of samples sees others there.
#[test]
fn time_is_not_mixed_with_samples() {
    let of = |layer: &str| {
        let config = format!(r#", "trainable": true, "layer": {{"module": "keras.layers", {layer}}}"#);
        built(&network("float32", &[(r#""TimeDistributed""#, &config, CALL)]), 3)
    };
    let shape = |graph: &crate::ir::Graph| graph.shape(graph.outputs[0]).to_vec();
    assert_eq!(shape(&of(r#""class_name": "Softmax", "config": {"axis": -1}"#).unwrap()), [1, 3, 4]);
    for layer in [
        r#""class_name": "Softmax", "config": {"axis": 0}"#,
        r#""class_name": "Softmax", "config": {"axis": -2}"#,
        r#""class_name": "UnitNormalization", "config": {"axis": 0}"#,
        r#""class_name": "Normalization", "config": {"axis": 0, "mean": [1, 2, 3], "variance": [1, 1, 1]}"#,
    ] {
        match of(layer) {
            Err(Error::Unsupported(all)) => assert!(all[0].what.contains("along the axis of samples"), "{layer}: {all:?}"),
            other => panic!("{layer}: {other:?}"),
        }
    }
}

#[test]
fn a_network_within_a_layer_is_one_fault() {
    let inner = r#", "trainable": true, "layer": {"class_name": "Sequential", "module": "keras", "config": {"layers": []}}"#;
    match built(&network("float32", &[(r#""TimeDistributed""#, inner, CALL)]), 3) {
        Err(Error::Unsupported(all)) => {
            assert_eq!(all.iter().map(|fault| &*fault.what).collect::<Vec<_>>(), ["Sequential: a network within TimeDistributed"]);
        }
        other => panic!("{other:?}"),
    }
}

/// Integers stay such in layers that move them, whatever holds the layers.
#[test]
fn integers_of_a_pipeline_are_its_layers_own() {
    let twice = r#"{"args": [[$, $]], "kwargs": {}}"#;
    let of = |layer: &str| {
        let layers = format!(r#", "layers": [{{"module": "keras.layers", "class_name": {layer}}}]"#);
        let add = (r#""Add""#, r#", "trainable": true"#, twice);
        built(&network("uint8", &[(r#""Pipeline""#, &layers, CALL), add]), 3)
    };
    assert!(of(r#""RandomFlip", "config": {}"#).is_ok());
    // What Keras casts back to integers.
    let picture = (r#""Reshape""#, r#", "trainable": true, "target_shape": [3, 4, 1]"#, CALL);
    for (mode, taken) in [("nearest", true), ("bilinear", false)] {
        let config = format!(r#", "trainable": true, "size": 2, "interpolation": "{mode}""#);
        assert_eq!(built(&network("uint8", &[picture, (r#""UpSampling2D""#, &config, CALL)]), 3).is_ok(), taken, "{mode}");
    }
    for (class, config) in [
        ("LayerNormalization", r#", "axis": -1"#),
        ("RMSNormalization", r#", "axis": -1"#),
        ("GroupNormalization", r#", "groups": 2"#),
        ("UnitNormalization", r#", "axis": -1"#),
    ] {
        match built(&network("uint8", &[(&format!(r#""{class}""#), &format!(r#", "trainable": true{config}"#), CALL)]), 3) {
            Err(Error::Unsupported(all)) => assert!(all[0].what.contains("computes with integers"), "{class}: {all:?}"),
            other => panic!("{class}: {other:?}"),
        }
    }
    // These two leave integers alone.
    for (class, taken) in [("RandomZoom", true), ("RandomHeight", false), ("RandomWidth", false)] {
        let add = (r#""Add""#, r#", "trainable": true"#, twice);
        let class = format!(r#""{class}""#);
        assert_eq!(built(&network("uint8", &[(&class, r#", "trainable": true"#, CALL), add]), 3).is_ok(), taken, "{class}");
    }
    for kept in [r#""Identity", "config": {}"#, r#""Dropout", "config": {}"#, r#""UpSampling1D", "config": {"size": 2}"#] {
        assert!(matches!(of(kept), Err(Error::Unsupported(_))), "{kept}");
    }
}

/// Without an axis Keras sorts all elements, which is said as null; without a word it sorts along the last one.
#[test]
fn no_axis_is_said_as_null() {
    let of = |class: &str, config: &str| {
        let class = format!(r#""{class}", "module": "keras.src.ops.numpy""#);
        built(
            &network(
                "float32",
                &[(r#""Reshape""#, r#", "trainable": true, "target_shape": [12, 1]"#, CALL), (&class, config, CALL)],
            ),
            3,
        )
    };
    for class in ["Sort", "Argsort"] {
        assert!(of(class, r#", "axis": -1"#).is_ok() && of(class, "").is_ok(), "{class}");
        assert!(matches!(of(class, r#", "axis": null"#), Err(Error::Unsupported(_))), "{class}");
    }
    let graph = of("Normalize", r#", "axis": null"#).unwrap();
    let axes = |op: &Op| if let Op::Reduce { axes, .. } = op { Some(axes.clone()) } else { None };
    assert_eq!(graph.nodes.iter().find_map(|n| axes(&n.op)), Some(vec![0, 1, 2]));
}

/// What a type of elements says of functions that have one, in HDF5 files, too, where only layers have one otherwise.
#[test]
fn types_that_functions_give() {
    let of = |class: &str, dtype: &str| {
        let config = format!(r#", "axis": -1, "dtype": "{dtype}""#);
        let config = if class == "Cumsum" { config } else { config.replace(r#", "axis": -1"#, "") };
        built(&network("float32", &[(&format!(r#""{class}""#), &config, CALL)]), 3)
    };
    for class in ["Cast", "ConvertToTensor", "ZerosLike", "OnesLike", "Cumsum"] {
        assert!(of(class, "float32").is_ok(), "{class}: {:?}", of(class, "float32"));
        assert!(matches!(of(class, "int32"), Err(Error::Unsupported(_))), "{class}");
    }
}

#[test]
fn several_axes_are_added() {
    let of = |axes: &str| {
        let config = format!(r#", "axis": {axes}"#);
        let graph = built(&network("float32", &[(r#""ExpandDims", "module": "keras.src.ops.numpy""#, &config, CALL)]), 3);
        graph.map(|graph| graph.shape(graph.outputs[0]).to_vec())
    };
    assert_eq!(of("1").unwrap(), [1, 1, 3, 4]);
    assert_eq!(of("[-1]").unwrap(), [1, 3, 4, 1]);
    assert_eq!(of("[1, 2]").unwrap(), [1, 1, 1, 3, 4]);
    assert_eq!(of("[0, -1]").unwrap(), [1, 1, 3, 4, 1]);
    assert_eq!(of("[3, 1]").unwrap(), [1, 1, 3, 1, 4]);
    for wrong in ["[1, 1]", "5", "[0, 9]"] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
    assert!(of(&format!("[{}]", vec!["0"; 100_000].join(", "))).is_err());
}

#[test]
fn versions_of_upsampling() {
    for version in ["2.3.0-tf", "2.4.0", "2.4.3", "2.15.0"] {
        assert!(super::super::middles(version), "{version}");
    }
    for version in ["", "1.2.2", "2", "2.2.4", "2.2.4-tf", "2.3.1", "3.4.0"] {
        assert!(!super::super::middles(version), "{version}");
    }
}

/// Pictures of a size already are blurred by some interpolations.
#[test]
fn an_interpolation_that_blurs_is_refused() {
    let of = |mode: &str| {
        let config = format!(r#", "trainable": true, "height": 3, "width": 4, "interpolation": "{mode}""#);
        let to = r#", "trainable": true, "target_shape": [3, 4, 1]"#;
        built(&network("float32", &[(r#""Reshape""#, to, CALL), (r#""Resizing""#, &config, CALL)]), 2)
    };
    for mode in ["bilinear", "nearest", "bicubic", "area", "lanczos5"] {
        assert!(of(mode).is_ok(), "{mode}");
    }
    for mode in ["gaussian", "mitchellcubic"] {
        assert!(matches!(of(mode), Err(Error::Unsupported(_))), "{mode}");
    }
}

/// What is refused of a layer's layers is told, and each says the path: a file of some kilobytes may have thousands.
#[test]
fn faults_within_a_pipeline_are_few() {
    let bad = r#"{"class_name": "LSTM", "module": "keras.layers", "config": {}}"#;
    let layers = format!(r#", "layers": [{}]"#, vec![bad; 1000].join(", "));
    match built(&network("float32", &[(r#""Pipeline""#, &layers, CALL)]), 3) {
        Err(Error::Unsupported(all)) => assert!((1..=64).contains(&all.len()), "{}", all.len()),
        other => panic!("{other:?}"),
    }
}
