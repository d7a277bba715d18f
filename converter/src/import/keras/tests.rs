//! Small files that `converter/tests/python/make_keras_cases.py` made, and real ones where they are at hand.

use crate::error::Error;
use crate::import::{Options, import};
use crate::interp::interpret;
use crate::ir::{Graph, Op};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

mod attention;
mod mutation;
mod norms;
mod real;
mod resizing;
mod shapes;
mod slicing;
mod strings;

/// The arrays of an npz, by name.
fn npz(path: &Path) -> HashMap<String, Vec<f64>> {
    let arrays = crate::data::npz::read_npz(path).unwrap_or_else(|e| panic!("{e}"));
    arrays.into_iter().map(|(name, a)| (name, a.values.into_iter().map(f64::from).collect())).collect()
}

/// The largest difference of two arrays, and the range of the second.
fn difference(got: &[f64], want: &[f64]) -> (f64, f64) {
    assert_eq!(got.len(), want.len());
    let worst =
        got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, |a: f64, d| if d.is_nan() { f64::INFINITY } else { a.max(d) });
    let low = want.iter().copied().fold(f64::INFINITY, f64::min);
    let high = want.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (worst, (high - low).max(high.abs()))
}

fn run(graph: &Graph, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    interpret(graph, inputs, &mut |_, _| {}).expect("a graph that runs")
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/keras").join(name)
}

fn kinds(g: &Graph) -> BTreeMap<&str, usize> {
    let mut all = BTreeMap::new();
    for n in &g.nodes {
        *all.entry(n.kind.as_str()).or_default() += 1;
    }
    all
}

/// Imports a file and compares its outputs with the golden of the same stem.
fn golden(file: &str, shapes: &[(&str, &[usize])]) -> Graph {
    let input_shapes = shapes.iter().map(|(n, s)| (n.to_string(), s.to_vec())).collect();
    let graph = import(&data(file), &Options { input_shapes, outputs: Vec::new(), ..Options::default() })
        .unwrap_or_else(|e| panic!("{file}: {e}"));
    let stem = file.rsplit_once('.').expect("an extension").0.replace("_deflated", "").replace("_old", "").replace("_brain", "");
    let arrays = npz(&data(&format!("{stem}.npz")));
    let inputs: Vec<Vec<f64>> = (0..graph.inputs.len()).map(|i| arrays[&format!("x{i}")].clone()).collect();
    let outputs = run(&graph, &inputs);
    for (i, got) in outputs.iter().enumerate() {
        let (worst, range) = difference(got, &arrays[&format!("y{i}")]);
        assert!(worst <= 1e-5 * range, "{file}: output {i} is {worst} off, its range is {range}");
    }
    graph
}

#[test]
fn nested_models_and_shared_layers() {
    for file in ["nested.k2.keras", "nested.k3.keras", "nested.k2.h5", "nested.k3.h5", "nested_deflated.k3.h5"] {
        let g = golden(file, &[]);
        assert_eq!(g.output_names, ["probabilities", "inner"], "{file}");
        assert_eq!((g.trainable_parameters, g.total_parameters), (591, 609), "{file}");
        assert_eq!(g.values[g.inputs[0].0].name, "image");
        // A constant is one constant, however many calls read it.
        let readers = |name: &str| g.nodes.iter().filter(|n| n.inputs.iter().any(|v| g.values[v.0].name == name)).count();
        assert_eq!(readers("shared/kernel"), 2, "{file}");
        assert_eq!(readers("inner/narrow/kernel"), 2, "{file}");
        assert!(g.nodes.iter().any(|n| n.name == "inner@1/narrow"), "{file}");
    }
}

/// Keras lists the variables of a frozen model in another order if one of its layers is not; their names agree with neither version's
/// order alone.
#[test]
fn frozen_models_with_layers_that_are_not() {
    for file in ["partly.k2.h5", "partly.k2.keras", "partly.k3.h5", "partly.k3.keras", "partly_brain.k2.h5", "partly_brain.k3.h5"] {
        golden(file, &[]);
    }
}

/// The variables of a layer in two models are written once; Python's JSON has infinities.
#[test]
fn layers_shared_across_models() {
    golden("across.k3.keras", &[]);
    golden("across.k3.h5", &[]);
}

/// Constants among the operands, numbers as flags, calls with dictionaries; and what Keras goes by when layers are renamed.
#[test]
fn operands_that_are_constants() {
    for file in ["constants.k2.keras", "constants.k2.h5", "constants.k3.keras", "constants.k3.h5"] {
        golden(file, &[]);
    }
}

/// Keras gives weights out in order, whatever their names.
#[test]
fn renamed_layers() {
    for file in ["renamed.k2.h5", "renamed.k2.keras", "renamed.k3.h5", "renamed.k3.keras"] {
        golden(file, &[]);
    }
}

/// Keras goes by the order of lists where the names say something else: what it does not write is refused.
#[test]
fn weights_in_unknown_order_are_refused() {
    let refused = |said: &str, graph: Result<Graph, Error>| match graph {
        Err(Error::Invalid(text)) => assert!(text.contains(said), "{text}"),
        other => panic!("{said}: {other:?}"),
    };
    refused("`layer_names`", import(&data("odd_order.k3.h5"), &Options::default()));
    refused("`_FillValue`", import(&data("odd_fill.k3.h5"), &Options::default()));
    let mut bytes = std::fs::read(data("plain_old.k2.h5")).expect("the file");
    let at = bytes.windows(8).position(|w| w == b"/gamma:0").expect("a name");
    bytes[at..at + 8].copy_from_slice(b"/delta:0");
    refused("unknown order", super::import_h5(&bytes, &Options::default()));
    bytes.splice(0..0, [0; 512]);
    refused("user block", crate::import::import_bytes(&bytes, None, &Options::default()));
    // Partly frozen, so that the order may be another one; or layers have been renamed.
    let mut bytes = std::fs::read(data("partly.k3.h5")).expect("the file");
    let at = bytes.windows(8).position(|w| w == b"c/kernel").expect("a name");
    bytes[at] = b'b';
    refused("may have been renamed", super::import_h5(&bytes, &Options::default()));
    // Keras numbers layers as they run, and takes two of one number for one.
    let relu = |name: &str, from: &str, activation: &str| {
        format!(
            r#"{{"class_name": "Activation", "name": "{name}", "shared_object_id": 7,
                "config": {{"name": "{name}", "trainable": true, "activation": "{activation}"}},
                "inbound_nodes": [[["{from}", 0, 0, {{}}]]]}}"#
        )
    };
    let network = |layers: [String; 2]| {
        let json = format!(
            r#"{{"class_name": "Functional", "config": {{"name": "f", "input_layers": [["x", 0, 0]], "output_layers": [["b", 0, 0]],
                "layers": [{{"class_name": "InputLayer", "name": "x", "config": {{"name": "x", "batch_shape": [1, 4]}}}}, {}]}}}}"#,
            layers.join(",")
        );
        super::config::parse(&serde_json::from_str(&json).expect("JSON"), 2, false)
    };
    let said = network([relu("a", "x", "relu"), relu("a", "a", "tanh")]).err().expect("two layers").to_string();
    assert!(said.contains("shared_object_id"), "{said}");
    let [a, b] = [("a", "x", 1), ("b", "a", 2)].map(|(n, from, id)| relu(n, from, "relu").replace(": 7", &format!(": {id}")));
    let empty = super::h5::File::open(std::fs::read(data("nested.k2.h5")).expect("the file"), 1 << 20).expect("sound HDF5");
    let locate = |mut model: super::config::Model| super::weights::locate(&mut model, &super::weights::Store::Archive(&empty), 2);
    assert!(network([a.clone(), b.clone()]).and_then(locate).is_ok());
    let said = network([b, a]).and_then(locate).unwrap_err().to_string();
    assert!(said.contains("`b` is listed before"), "{said}");
}

/// A Sequential as a list without an InputLayer, weight names in several attributes, texts as bytes.
#[test]
fn files_in_the_words_of_the_first_versions() {
    let g = golden("plain_old.k2.h5", &[]);
    assert_eq!((g.trainable_parameters, g.total_parameters), (188, 194));
    assert_eq!(g.values[g.inputs[0].0].name, "conv2d_input");
}

#[test]
fn rare_layers() {
    for file in ["sequential.k2.keras", "sequential.k3.keras"] {
        let g = golden(file, &[]);
        assert_eq!((g.trainable_parameters, g.total_parameters), (2018, 2138), "{file}");
        let names: Vec<&str> = g.nodes.iter().map(|n| n.name.as_str()).collect();
        assert!(names.contains(&"separable_conv2d/depthwise") && names.contains(&"separable_conv2d/pointwise"), "{names:?}");
    }
}

#[test]
fn merges_and_one_dimensional_layers() {
    for file in ["merges.k2.keras", "merges.k3.keras"] {
        let g = golden(file, &[]);
        assert_eq!(g.output_names, ["out"], "{file}");
        assert_eq!((g.trainable_parameters, g.total_parameters), (159, 159), "{file}");
    }
}

#[test]
fn functions_on_tensors() {
    for file in ["functions.k2.keras", "functions.k3.keras", "functions.k2.h5", "functions.k3.h5"] {
        golden(file, &[]);
    }
}

#[test]
fn preprocessing_and_open_extents() {
    for file in ["preprocessing.k2.keras", "preprocessing.k3.keras"] {
        for name in ["", "photo"] {
            let g = golden(file, &[(name, &[1, 11, 12, 3])]);
            assert_eq!((g.trainable_parameters, g.total_parameters), (56, 63), "{file}");
        }
        let Err(Error::Invalid(text)) = import(&data(file), &Options::default()) else { panic!("{file}: open extents") };
        assert!(text.contains("`photo`") && text.contains("--input-shape photo="), "{text}");
        let open = crate::plans::Wanted { batch: None, size: Some([11, 12]) };
        let graph = import(&data(file), &Options { open, ..Options::default() }).expect("no extent is open any more");
        assert_eq!(graph.shape(graph.inputs[0]), [1, 11, 12, 3], "{file}");
        for (name, shape) in [("other", vec![1, 4, 4, 3]), ("", vec![1, 4, 4]), ("", vec![1, 0, 4, 3])] {
            let options = Options { input_shapes: vec![(name.into(), shape)], outputs: Vec::new(), ..Options::default() };
            assert!(matches!(import(&data(file), &options), Err(Error::Request(_))), "{file}");
        }
    }
}

#[test]
fn batches_and_other_shapes() {
    let shape = vec![2, 8, 7, 3];
    let options = Options { input_shapes: vec![(String::new(), shape)], outputs: Vec::new(), ..Options::default() };
    let file = data("nested.k3.keras");
    let g = import(&file, &options).expect("two samples");
    let one = npz(&data("nested.k3.npz"));
    let x: Vec<f64> = one["x0"].iter().chain(&one["x0"]).copied().collect();
    let y = run(&g, &[x]);
    let want: Vec<f64> = one["y0"].iter().chain(&one["y0"]).copied().collect();
    assert!(difference(&y[0], &want).0 < 1e-5);
}

#[test]
fn outputs_cut_the_graph() {
    let options = Options { input_shapes: Vec::new(), outputs: vec!["shared".into(), "seq".into()], ..Options::default() };
    let g = import(&data("nested.k2.h5"), &options).expect("the layers are there");
    assert_eq!(g.output_names, ["shared", "seq"]);
    assert!(!kinds(&g).contains_key("Dense"));
    assert_eq!(g.shape(g.outputs[1]), [1, 4, 4, 4]);
    let options = Options { input_shapes: Vec::new(), outputs: vec!["nowhere".into()], ..Options::default() };
    let Err(Error::Request(text)) = import(&data("nested.k2.h5"), &options) else { panic!("no such layer") };
    assert!(text.contains("`nowhere`"), "{text}");
}

/// A network of the layers `json`, each of which reads the one before, whose weights are never reached.
fn faults(json: &str) -> Error {
    let description = serde_json::from_str(json).expect("JSON");
    let model = super::config::parse(&description, 3, false).and_then(|model| {
        let demanded = super::build::demanded(&model, &[])?;
        Ok(super::build::faults(&model, &demanded))
    });
    model.map_or_else(|e| e, Error::Unsupported)
}

#[test]
fn everything_unsupported_is_listed_at_once() {
    let Error::Unsupported(all) = faults(
        r#"{"class_name": "Sequential", "config": {"name": "s", "layers": [
            {"class_name": "InputLayer", "config": {"batch_shape": [null, 8, 8, 3], "name": "i"}},
            {"class_name": "Conv2D", "config": {"name": "c", "trainable": true, "filters": 2, "kernel_size": 3,
                "data_format": "channels_first", "activation": "sparsemax", "dtype": "float32"}},
            {"class_name": "Lambda", "config": {"name": "l", "trainable": true}},
            {"class_name": "UpSampling2D", "config": {"name": "u", "trainable": true, "interpolation": "bicubic"}},
            {"class_name": "Mystery", "config": {"name": "m", "trainable": true}}]}}"#,
    ) else {
        panic!("unsupported")
    };
    let nodes: Vec<&str> = all.iter().map(|u| u.node.as_str()).collect();
    assert_eq!(nodes, ["c", "c", "l", "u", "m"], "{all:?}");
    assert!(all[0].what.contains("channels_first") && all[1].what.contains("sparsemax"), "{all:?}");
    assert!(all.iter().all(|u| !u.kind.is_empty() && !u.remedy.is_empty()));
}

#[test]
fn attributes_without_sense_name_the_layer() {
    for config in
        [r#""filters": 0, "kernel_size": 3"#, r#""filters": 2, "kernel_size": [3, 0]"#, r#""filters": 2, "kernel_size": [1, 2, 3]"#]
    {
        let json = format!(
            r#"{{"class_name": "Sequential", "config": [{{"class_name": "Conv2D", "config": {{"name": "c", "trainable": true, {config}}}}}]}}"#
        );
        let Error::Invalid(text) = faults(&json) else { panic!("{config}") };
        assert!(text.contains("`c`"), "{text}");
    }
    assert!(matches!(faults(r#"{"class_name": "MyModel", "config": {"name": "x"}}"#), Error::Unsupported(_)));
}

#[test]
fn circles_and_dangling_calls_are_errors() {
    let layer = |name: &str, from: &str| {
        format!(
            r#"{{"class_name": "Activation", "name": "{name}", "config": {{"name": "{name}", "trainable": true, "activation": "relu"}},
                "inbound_nodes": [[["{from}", 0, 0, {{}}]]]}}"#
        )
    };
    for (a, b) in [("b", "a"), ("a", "a")] {
        let json = format!(
            r#"{{"class_name": "Functional", "config": {{"name": "f", "layers": [{}, {}],
                "input_layers": [["a", 0, 0]], "output_layers": [["b", 0, 0]]}}}}"#,
            layer("a", a),
            layer("b", b)
        );
        let model = super::config::parse(&serde_json::from_str(&json).expect("JSON"), 2, false).expect("consistent names");
        let demanded = super::build::demanded(&model, &[]).expect("the outputs exist");
        assert!(super::build::faults(&model, &demanded).is_empty());
        let empty = super::h5::File::open(std::fs::read(data("nested.k2.h5")).expect("the file"), 1 << 20).expect("sound HDF5");
        let built = super::build::build(&model, &demanded, &empty, &Options::default(), Vec::new());
        assert!(matches!(built, Err(Error::Invalid(_))));
    }
}

#[test]
fn hard_sigmoids_differ_between_versions() {
    let alpha = |file: &str| {
        let g = import(&data(file), &Options::default()).expect("a sound file");
        let acts = g.nodes.iter().filter_map(|n| if let Op::Conv { act, .. } = &n.op { Some(*act) } else { None });
        acts.filter_map(|a| if let crate::ir::Act::HardSigmoid { alpha, .. } = a { Some(alpha) } else { None }).next()
    };
    assert_eq!(alpha("sequential.k2.keras"), Some(0.2));
    assert_eq!(alpha("sequential.k3.keras"), Some(1.0 / 6.0));
}

#[test]
fn registered_classes_are_not_keras_own() {
    let with = |extra: &str| {
        format!(
            r#"{{"class_name": "Sequential", "config": {{"name": "s", "layers": [
                {{"class_name": "InputLayer", "config": {{"name": "i", "batch_shape": [null, 4]}}}},
                {{"class_name": "ReLU", {extra} "config": {{"name": "r", "trainable": true, "dtype": "float32"}}}}]}}}}"#
        )
    };
    for own in [r#""module": "keras.layers", "registered_name": null,"#, r#""module": "tf_keras.src.layers","#, ""] {
        let json: serde_json::Value = serde_json::from_str(&with(own)).unwrap();
        let model = super::config::parse(&json, 3, false).unwrap();
        let demanded = super::build::demanded(&model, &[]).unwrap();
        assert!(super::build::faults(&model, &demanded).is_empty(), "{own}");
    }
    for custom in [
        r#""module": null, "registered_name": "my>ReLU","#,
        r#""module": null, "registered_name": "ReLU","#,
        r#""module": "__main__", "registered_name": "my>ReLU","#,
        r#""module": "nets.layers","#,
    ] {
        assert!(
            matches!(faults(&with(custom)), Error::Unsupported(all) if all.len() == 1 && all[0].kind.contains('>')),
            "{custom}"
        );
    }
}

/// What a network of Keras 3 or 2, without weights, is refused for, or its graph.
fn built(json: &str, keras: u32) -> Result<Graph, Error> {
    let model = super::config::parse(&serde_json::from_str(json).expect("JSON"), keras, false)?;
    let demanded = super::build::demanded(&model, &[])?;
    let empty = super::h5::File::open(std::fs::read(data("nested.k2.h5")).expect("the file"), 1 << 20).expect("sound HDF5");
    super::build::build(&model, &demanded, &empty, &Options::default(), super::build::faults(&model, &demanded))
}

/// A network of Keras 3 of the layers, each with what it is called with.
fn network(dtype: &str, layers: &[(&str, &str, &str)]) -> String {
    let tensor = |name: &str| format!(r#"{{"class_name": "__keras_tensor__", "config": {{"keras_history": ["{name}", 0, 0]}}}}"#);
    let mut all = format!(
        r#"{{"class_name": "InputLayer", "name": "x", "config": {{"name": "x", "batch_shape": [1, 3, 4], "dtype": "{dtype}"}}}}"#
    );
    let mut before = "x".to_owned();
    for (i, (class, config, call)) in layers.iter().enumerate() {
        let name = format!("l{i}");
        let call = call.replace('$', &tensor(&before));
        all += &format!(
            r#", {{"class_name": {class}, "name": "{name}", "config": {{"name": "{name}"{config}}}, "inbound_nodes": [{call}]}}"#
        );
        before = name;
    }
    format!(
        r#"{{"class_name": "Functional", "config": {{"name": "f", "layers": [{all}],
            "input_layers": [["x", 0, 0]], "output_layers": [["{before}", 0, 0]]}}}}"#
    )
}

const CALL: &str = r#"{"args": [$], "kwargs": {}}"#;
const TWICE: &str = r#"{"args": [[$, $]], "kwargs": {}}"#;
const LAYER: &str = r#", "trainable": true"#;

const OWN_CLASS: &str = r#", "trainable": true, "activation": {"module": null, "class_name": "ReLU", "config": {"name": "r"}, "registered_name": "my>ReLU"}"#;
const OWN_FUNCTION: &str =
    r#", "trainable": true, "activation": {"module": "builtins", "class_name": "function", "config": "exp"}"#;

const CUT: &str = r#", "trainable": true, "activation": {"class_name": "ReLU", "config": {"name": "r", "dtype": "int32"}}"#;
const OWN_SWISH: &str = r#", "trainable": true, "activation": {"module": "builtins", "class_name": "function", "config": "swish"}"#;
const OWN_RELU: &str =
    r#", "trainable": true, "activation": {"module": "builtins", "class_name": "function", "config": "keras>relu"}"#;

/// What is given and not read would be another network.
#[test]
fn what_is_not_read_is_refused() {
    let op = |class: &'static str| {
        if class == "Max" { r#""Max", "module": "keras.src.ops.numpy""# } else { r#""Softmax", "module": "keras.src.ops.nn""# }
    };
    for (class, config, call, said) in [
        (op("Max"), r#", "axis": -1, "keepdims": false, "initial": 5.0"#, CALL, "`initial`"),
        (op("Max"), r#", "axis": -1"#, r#"{"args": [$], "kwargs": {"where": true}}"#, "`where`"),
        (op("Max"), r#", "axis": -1"#, r#"{"args": [$, null, false, 7], "kwargs": {}}"#, "argument 4"),
        (op("Max"), "", r#"{"args": [$, $], "kwargs": {}}"#, "`axis` is computed"),
        (op("Softmax"), r#", "axis": null"#, CALL, "several axes"),
        (r#""ReLU""#, LAYER, r#"{"args": [$], "kwargs": {"mask": $}}"#, "`mask`"),
        (r#""ReLU""#, LAYER, r#"{"args": [5.0], "kwargs": {"x": $}}"#, "`x`"),
        (r#""Flatten""#, LAYER, r#"{"args": [[$, 5.0]], "kwargs": {}}"#, "a list of tensors"),
        (r#""ReLU""#, LAYER, r#"{"args": [[$]], "kwargs": {}}"#, "a list of tensors"),
        (op("Max"), r#", "axis": -1, "initial": 0.0"#, CALL, "`initial`"),
        (op("Max"), r#", "axis": -1, "initial": false"#, CALL, "`initial`"),
        (r#""Activation""#, OWN_CLASS, CALL, "my>ReLU"),
        (r#""Activation""#, OWN_FUNCTION, CALL, "exp"),
        (r#""Activation""#, OWN_SWISH, CALL, "swish"),
        (r#""Activation""#, OWN_RELU, CALL, "keras>relu"),
        (r#""Activation""#, CUT, CALL, "int32"),
        (r#""Rescaling", "registered_name": "keras>Rescaling""#, r#", "trainable": true, "scale": 2.0"#, CALL, "not known"),
        (r#""Relu", "registered_name": "Leaky>Relu", "module": "own.ops.x""#, "", CALL, "Leaky>Relu"),
        (r#""Softmax""#, r#", "trainable": true, "axis": null"#, CALL, "all axes"),
        (
            r#""ReLU""#,
            r#", "trainable": true, "dtype": {"class_name": "DTypePolicyMap", "config": {"default_policy": "float8_from_float32", "policy_map": {}}}"#,
            CALL,
            "dtype",
        ),
        (r#""ReLU""#, r#", "trainable": true, "dtype": "bool""#, CALL, "dtype"),
        (r#""Add""#, LAYER, r#"{"args": [[$, [[1, 2, 3, 4]]]], "kwargs": {}}"#, "a constant of the shape [1, 4]"),
        (r#""Dense""#, r#", "trainable": true, "units": 2, "lora_rank": 2"#, CALL, "lora_rank"),
        (r#""Conv1D""#, r#", "trainable": true, "filters": 2, "kernel_size": 1, "lora_rank": 2"#, CALL, "lora_rank"),
    ] {
        match built(&network("float32", &[(class, config, call)]), 3) {
            Err(Error::Unsupported(all)) => {
                assert!(
                    all.len() == 1 && all[0].node == "l0" && all[0].what.contains(said) && !all[0].remedy.is_empty(),
                    "{said}: {all:?}"
                );
            }
            other => panic!("{said}: {other:?}"),
        }
    }
    let quiet = r#"{"args": [$], "kwargs": {"mask": null, "training": false}}"#;
    assert!(built(&network("float32", &[(r#""ReLU""#, LAYER, quiet)]), 3).unwrap().notes.is_empty());
    let trained = built(&network("float32", &[(r#""ReLU""#, LAYER, &quiet.replace("false", "true"))]), 3).unwrap();
    assert!(trained.notes[0].contains("training=True"), "{:?}", trained.notes);
    assert!(built(&network("float32", &[(op("Max"), r#", "axis": -1, "keepdims": 1, "initial": null"#, CALL)]), 3).is_ok());
}

/// Integers wrap and are cut; floats are not.
#[test]
fn integers_are_not_computed_with() {
    let rescaling = (r#""Rescaling""#, r#", "trainable": true, "scale": 0.5"#, CALL);
    let add = (r#""Add""#, LAYER, TWICE);
    let flatten = (r#""Flatten""#, LAYER, CALL);
    let divide = (r#""Divide", "module": "keras.src.ops.numpy""#, "", r#"{"args": [$, 255], "kwargs": {}}"#);
    let multiply = |by: &'static str| (r#""Multiply", "module": "keras.src.ops.numpy""#, "", by);
    let by_float = multiply(r#"{"args": [$, 2.0], "kwargs": {}}"#);
    let by_integer = multiply(r#"{"args": [$, 2], "kwargs": {}}"#);
    let cast = (r#""Cast", "module": "keras.src.ops.core""#, r#", "dtype": "float32""#, CALL);
    for (layers, right) in [
        (&[rescaling, add][..], true),
        (&[flatten, rescaling, add], true),
        (&[cast, add], true),
        (&[divide, add], true),
        (&[by_float, add], true),
        (&[flatten], true),
        (&[add, rescaling], false),
        (&[flatten, add], false),
        (&[by_integer], false),
        (&[(r#""GlobalAveragePooling1D""#, LAYER, CALL)], false),
    ] {
        match built(&network("uint8", layers), 3) {
            Ok(_) => assert!(right, "{layers:?}"),
            Err(Error::Unsupported(all)) => assert!(!right && all[0].remedy.contains("float32"), "{layers:?}: {all:?}"),
            other => panic!("{layers:?}: {other:?}"),
        }
        assert!(built(&network("float32", layers), 3).is_ok(), "{layers:?}");
    }
}

/// Integers of one type only go where such are taken; the smallest floats are not computed with.
#[test]
fn types_of_inputs() {
    let nested = |dtype: &str| {
        format!(
            r#", "layers": [
                {{"class_name": "InputLayer", "name": "i", "config": {{"name": "i", "batch_shape": [1, 3, 4], "dtype": "{dtype}"}}}},
                {{"class_name": "Rescaling", "name": "r", "config": {{"name": "r", "trainable": true, "scale": 0.5}}, "inbound_nodes": [
                    {{"args": [{{"class_name": "__keras_tensor__", "config": {{"keras_history": ["i", 0, 0]}}}}], "kwargs": {{}}}}]}}],
                "input_layers": [["i", 0, 0]], "output_layers": [["r", 0, 0]]"#
        )
    };
    for (outer, inner, said) in [
        ("uint8", "uint8", None),
        ("uint8", "float32", None),
        ("float32", "float16", None),
        ("float32", "uint8", Some("given floats")),
        ("uint8", "int8", Some("takes int8, and is given uint8")),
        ("int32", "bool", Some("takes bool, and is given int32")),
        ("float8_e4m3fn", "float32", Some("dtype = \"float8_e4m3fn\"")),
        ("float32", "float8_e5m2", Some("dtype = \"float8_e5m2\"")),
    ] {
        let config = nested(inner);
        match (built(&network(outer, &[(r#""Functional""#, config.as_str(), CALL)]), 3), said) {
            (Ok(_), None) => {}
            (Err(Error::Unsupported(all)), Some(said)) => assert!(all[0].what.contains(said), "{said}: {all:?}"),
            (other, _) => panic!("{outer} {inner}: {other:?}"),
        }
    }
    // Not where there is no nested network.
    let other = r#""layers": [{"class_name": "InputLayer", "name": "z", "config": {"name": "z", "batch_shape": [1, 2], "dtype": "int32"}}, "#;
    let two = network("uint8", &[(r#""Rescaling""#, r#", "trainable": true, "scale": 0.5"#, CALL)])
        .replace(r#""layers": ["#, other)
        .replace(r#""input_layers": ["#, r#""input_layers": [["z", 0, 0], "#);
    assert_eq!(built(&two, 3).expect("a network of two inputs").inputs.len(), 2);
    // Nor where another input is what the nested network is not given.
    let beside = network("uint8", &[(r#""Functional""#, &nested("uint8"), CALL)])
        .replace(
            r#""layers": [{"class_name": "InputLayer", "name": "x""#,
            &format!(r#"{other}{{"class_name": "InputLayer", "name": "x""#),
        )
        .replace(r#""input_layers": [["x""#, r#""input_layers": [["z", 0, 0], ["x""#);
    assert_eq!(built(&beside, 3).expect("a backbone of integers beside another input").inputs.len(), 2);
    // Keras fits the axes of what a nested network is given.
    let axes = nested("float32").replace("[1, 3, 4]", "[1, 3, 4, 1]");
    match built(&network("float32", &[(r#""Functional""#, axes.as_str(), CALL)]), 3) {
        Err(Error::Unsupported(all)) => assert!(all[0].what.contains("takes 4 axes, and is given 3"), "{all:?}"),
        other => panic!("{other:?}"),
    }
    // Constants among integers may be floats.
    let rows = "[[[1.5, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]]]";
    let operation = format!(r#"{{"args": [[$, {rows}], -1], "kwargs": {{}}}}"#);
    let layer = format!(r#"{{"args": [[$, {rows}]], "kwargs": {{}}}}"#);
    for concat in
        [(r#""Concatenate", "module": "keras.src.ops.numpy""#, "", operation.as_str()), (r#""Concatenate""#, LAYER, layer.as_str())]
    {
        let floats = built(&network("float32", &[concat]), 3).expect("a constant among floats");
        assert_eq!(floats.shape(floats.outputs[0]), [1, 3, 8]);
        match built(&network("uint8", &[concat]), 3) {
            Err(Error::Unsupported(all)) => assert!(all[0].what.contains("computes with integers"), "{all:?}"),
            other => panic!("{other:?}"),
        }
    }
    // A float among integers makes the result one.
    let halved = (r#""Rescaling""#, r#", "trainable": true, "scale": 0.5"#, CALL);
    let with_input =
        r#"{"args": [[$, {"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}]], "kwargs": {}}"#;
    let joined = (r#""Concatenate""#, LAYER, with_input);
    let wide = |dtype: &str| nested(dtype).replace("[1, 3, 4]", "[1, 3, 8]");
    let mixed = |inner: &str| built(&network("uint8", &[halved, joined, (r#""Functional""#, &wide(inner), CALL)]), 3);
    assert!(mixed("float32").is_ok());
    match mixed("uint8") {
        Err(Error::Unsupported(all)) => assert!(all[0].what.contains("given floats"), "{all:?}"),
        other => panic!("{other:?}"),
    }
    // Random layers make floats of them.
    let random = (r#""RandomFlip""#, LAYER, CALL);
    assert!(built(&network("uint8", &[random, (r#""Functional""#, &nested("float32"), CALL)]), 3).is_ok());
    assert!(built(&network("uint8", &[random, (r#""Functional""#, &nested("uint8"), CALL)]), 3).is_err());
    // Masks of nested lists say nothing.
    let masks = r#"{"args": [[$, $]], "kwargs": {"mask": [[null, null], null]}}"#;
    assert!(built(&network("float32", &[(r#""Add""#, LAYER, masks)]), 3).is_ok());
    // Operations and classes of programs may have a layer's name: only what has a layer's attributes is one.
    for (class, config) in [(r#""Flatten""#, r#", "axis": -1"#), (r#""Rescaling""#, r#", "scale": 0.5"#)] {
        match built(&network("float32", &[(class, config, CALL)]), 3) {
            Err(Error::Unsupported(all)) => assert!(all[0].what.contains("function"), "{all:?}"),
            other => panic!("{other:?}"),
        }
    }
    // Integers alone stay such.
    let joined = (r#""Concatenate""#, LAYER, TWICE);
    assert!(built(&network("uint8", &[joined, (r#""Functional""#, &wide("uint8"), CALL)]), 3).is_ok());
}

/// A function of Keras 2 that is a node of TensorFlow, with its attributes.
#[test]
fn attributes_of_nodes_are_read() {
    let with = |op: &str, attr: &str, constants: &str| {
        let json = format!(
            r#"{{"class_name": "Functional", "config": {{"name": "f", "input_layers": [["x", 0, 0]], "output_layers": [["y", 0, 0]],
                "layers": [
                    {{"class_name": "InputLayer", "name": "x", "config": {{"name": "x", "batch_input_shape": [1, 1, 3]}}}},
                    {{"class_name": "TensorFlowOpLayer", "name": "y", "inbound_nodes": [[["x", 0, 0, {{}}]]], "config": {{"name": "y",
                        "node_def": {{"op": "{op}", "attr": {{"T": {{"type": "DT_FLOAT"}} {attr}}}}},
                        "constants": {{{constants}}}}}}}]}}}}"#
        );
        built(&json, 2).map(|g| (g.nodes[0].op.clone(), g.shape(g.outputs[0]).to_vec())).map_err(|e| format!("{e:?}"))
    };
    let act = |alpha| Op::Act(crate::ir::Act::Leaky(alpha));
    assert_eq!(with("LeakyRelu", r#", "alpha": {"f": 0.7}"#, ""), Ok((act(0.7), vec![1, 1, 3])));
    assert_eq!(with("LeakyRelu", "", ""), Ok((act(0.2), vec![1, 1, 3])));
    let one = r#""1": {"class_name": "__numpy__", "config": {"value": [1], "dtype": "int32"}}"#;
    assert_eq!(with("Mean", r#", "keep_dims": {"b": true}, "Tidx": {"type": "DT_INT32"}"#, one).expect("a mean").1, [1, 1, 3]);
    assert_eq!(with("Mean", r#", "keep_dims": {"b": false}"#, one).expect("a mean").1, [1, 3]);
    assert_eq!(with("Squeeze", r#", "squeeze_dims": {"list": {"i": ["1"]}}"#, "").expect("a squeeze").1, [1, 3]);
    assert!(with("Mean", r#", "other": {"b": true}"#, one).unwrap_err().contains("Unsupported"));
    assert!(with("Relu", r#", "T": {"type": "DT_INT32"}"#, "").unwrap_err().contains("Unsupported"));
}

/// `training=1` trains as `training=True` does.
#[test]
fn calls_that_train_are_refused() {
    for (training, refused) in [("true", true), ("1", true), ("false", false), ("0", false), ("null", false)] {
        let json = format!(
            r#"{{"class_name": "Functional", "config": {{"name": "f", "input_layers": [["x", 0, 0]], "output_layers": [["y", 0, 0]],
                "layers": [
                    {{"class_name": "InputLayer", "name": "x", "config": {{"name": "x", "batch_input_shape": [1, 3]}}}},
                    {{"class_name": "Dropout", "name": "y", "config": {{"name": "y"}},
                        "inbound_nodes": [[["x", 0, 0, {{"training": {training}}}]]]}}]}}}}"#
        );
        assert_eq!(matches!(built(&json, 2), Err(Error::Unsupported(_))), refused, "{training}");
    }
}

/// A class derived from Keras' models may do anything with its layers.
#[test]
fn models_of_other_classes_are_refused() {
    let with = |class: &str, extra: &str| {
        let inner = r#"{"name": "m", "layers": [
            {"class_name": "InputLayer", "config": {"name": "i", "batch_shape": [1, 4]}},
            {"class_name": "ReLU", "name": "r", "config": {"name": "r", "trainable": true},
                "inbound_nodes": [{"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["i", 0, 0]}}], "kwargs": {}}]}],
            "input_layers": [["i", 0, 0]], "output_layers": [["r", 0, 0]]}"#;
        format!(r#"{{"class_name": "{class}", {extra} "config": {inner}}}"#)
    };
    let nested = |inner: String| format!(r#"{{"class_name": "Sequential", "config": {{"name": "s", "layers": [{inner}]}}}}"#);
    for (class, extra) in [
        ("Functional", r#""module": "keras.src.models.functional", "registered_name": "Functional","#),
        ("Functional", r#""module": "tf_keras.src.engine.functional","#),
        ("Model", ""),
        ("Functional", ""),
    ] {
        for json in [with(class, extra), nested(with(class, extra))] {
            let built = built(&json, 3);
            assert!(built.is_ok(), "{class} {extra}: {built:?}");
        }
    }
    for (class, extra) in [
        ("MyModel", r#""module": null, "registered_name": "Custom>MyModel","#),
        ("Model", r#""module": null, "registered_name": "Custom>Model","#),
        ("Functional", r#""module": "nets","#),
        ("Custom>MyModel", ""),
        ("MyModel", ""),
    ] {
        for json in [with(class, extra), nested(with(class, extra))] {
            assert!(matches!(built(&json, 3), Err(Error::Unsupported(all)) if all.len() == 1), "{class} {extra}");
        }
    }
}

/// The scaled sum of Keras's InceptionResNetV2 is known by what it is given.
#[test]
fn scaled_sums_of_others_are_refused() {
    let with = |class: &str, branch: &str, more: &str, keras: u32| {
        let json = format!(
            r#"{{"class_name": "Functional", "config": {{"name": "f", "input_layers": [["x", 0, 0]], "output_layers": [["s", 0, 0]],
                "layers": [
                    {{"class_name": "InputLayer", "name": "x", "config": {{"name": "x", "batch_input_shape": [1, 3]}}}},
                    {{"class_name": "ReLU", "name": "{branch}", "config": {{"name": "{branch}", "trainable": true}},
                        "inbound_nodes": [[["x", 0, 0, {{}}]]]}},
                    {{"class_name": {class}, "name": "s", "config": {{"name": "s", "trainable": true, "scale": {more}}},
                        "inbound_nodes": [[["x", 0, 0, {{}}], ["{branch}", 0, 0, {{}}]]]}}]}}}}"#
        );
        built(&json, keras)
    };
    let registered = r#""Custom>CustomScaleLayer""#;
    let bare = r#""CustomScaleLayer""#;
    let own = r#""CustomScaleLayer", "module": "tf_keras.src.applications.inception_resnet_v2""#;
    let program = r#""CustomScaleLayer", "module": null, "registered_name": "Custom>CustomScaleLayer""#;
    for (class, branch, scale, keras) in [
        (registered, "block35_1_conv", "0.17", 2),
        (registered, "block17_20_conv", "0.1", 2),
        (registered, "block8_10_conv", "1.0", 2),
        (bare, "block8_1_conv", "0.2", 3),
        (own, "any", "0.3", 2),
    ] {
        assert!(with(class, branch, scale, keras).is_ok(), "{class} {branch} {scale} {keras}");
    }
    for (class, branch, scale, keras) in [
        (registered, "up", "0.17", 2),
        (registered, "block35_1_conv", "0.2", 2),
        (registered, "block1_conv", "0.17", 2),
        (registered, "block35_x_conv", "0.17", 2),
        (registered, "block35_1_conv", r#"0.17, "power": 2"#, 2),
        (registered, "block35_1_conv", "0.17", 3),
        (bare, "block35_1_conv", "0.17", 2),
        (bare, "up", "0.17", 3),
        (program, "block35_1_conv", "0.17", 2),
        (program, "block35_1_conv", "0.17", 3),
    ] {
        assert!(matches!(with(class, branch, scale, keras), Err(Error::Unsupported(_))), "{class} {branch} {scale} {keras}");
    }
}

/// A class that the Keras which wrote a file has not is a program's own.
#[test]
fn names_of_other_versions_are_programs_own() {
    let of = |class: &str, config: &str, keras: u32| {
        let json = format!(
            r#"{{"class_name": "Sequential", "config": {{"name": "s", "layers": [
                {{"class_name": "InputLayer", "config": {{"batch_input_shape": [1, 4, 4, 3], "name": "i"}}}},
                {{"class_name": "{class}", "config": {{"name": "l", "trainable": true {config}}}}}]}}}}"#
        );
        built(&json, keras)
    };
    let pool = r#", "pool_size": [2, 2], "strides": [2, 2], "padding": "valid""#;
    for (class, config, known) in [
        ("MaxPool2D", pool, [true, true, false]),
        ("MaxPooling2D", pool, [true, true, true]),
        ("AvgPool2D", pool, [true, true, false]),
        ("GlobalAvgPool2D", "", [true, true, false]),
        ("RandomErasing", "", [false, false, true]),
        ("RandomFlip", "", [false, true, true]),
        ("RandomCrop", r#", "height": 4, "width": 4"#, [false, true, true]),
        ("RandAugment", "", [false, false, true]),
        (
            "Pipeline",
            r#", "layers": [{"class_name": "RandomFlip", "module": "keras.layers", "config": {}},
                {"class_name": "MixUp", "module": "keras.layers", "config": {}}]"#,
            [false, false, true],
        ),
        ("RandomOther", "", [false, false, false]),
    ] {
        for (keras, known) in [1, 2, 3].into_iter().zip(known) {
            match of(class, config, keras) {
                Ok(_) => assert!(known, "{class} of Keras {keras}"),
                Err(Error::Unsupported(all)) => {
                    assert!(!known && all[0].what.contains("not known"), "{class} of Keras {keras}: {all:?}")
                }
                Err(other) => panic!("{class} of Keras {keras}: {other}"),
            }
        }
    }
    let merged = |keras| {
        let json = r#"{"class_name": "Model", "config": {"name": "m", "input_layers": [["x", 0, 0]], "output_layers": [["y", 0, 0]], "layers": [
            {"class_name": "InputLayer", "name": "x", "config": {"name": "x", "batch_input_shape": [1, 3]}},
            {"class_name": "Merge", "name": "y", "config": {"name": "y", "mode": "sum"}, "inbound_nodes": [[["x", 0, 0], ["x", 0, 0]]]}]}}"#;
        built(json, keras)
    };
    assert!(merged(1).is_ok());
    assert!(matches!(merged(2), Err(Error::Unsupported(_))));
    let batch_norm = |more: &str| of("BatchNormalization", more, 2);
    assert!(
        matches!(batch_norm(r#", "axis": -1, "epsilon": null"#), Err(Error::Invalid(text)) if text.contains("`epsilon` is null"))
    );
    assert!(matches!(batch_norm(r#", "axis": -1"#), Err(Error::Invalid(text)) if text.contains("no weight")));
}

/// What a network within a network gives, and takes, is said once and meant with each call.
#[test]
fn calls_of_networks_pay_for_what_they_give_and_take() {
    let many = 3000;
    let list = |one: &str, n: usize| vec![one; n].join(",");
    let input = |n: &str| {
        format!(
            r#"{{"class_name": "InputLayer", "name": "{n}", "inbound_nodes": [],
                "config": {{"batch_input_shape": [1, 1], "name": "{n}"}}}}"#
        )
    };
    let network = |layers: String, given: String| {
        let inner = format!(
            r#"{{"name": "m", "layers": [{}{layers}], "input_layers": [["i", 0, 0]], "output_layers": [{given}]}}"#,
            input("i")
        );
        let calls = list(r#"[["x", 0, 0]]"#, many);
        let outputs: Vec<String> = (0..many).map(|call| format!(r#"["m", {call}, 0]"#)).collect();
        let json = format!(
            r#"{{"class_name": "Model", "config": {{"name": "o", "input_layers": [["x", 0, 0]], "output_layers": [{}],
                "layers": [{}, {{"class_name": "Model", "config": {inner}, "name": "m", "inbound_nodes": [{calls}]}}]}}}}"#,
            outputs.join(","),
            input("x")
        );
        let model = super::config::parse(&serde_json::from_str(&json).expect("JSON"), 2, false).expect("a network");
        let demanded = super::build::demanded(&model, &[]).expect("the outputs exist");
        let empty = super::h5::File::open(std::fs::read(data("nested.k2.h5")).expect("the file"), 1 << 20).expect("sound HDF5");
        super::build::build(&model, &demanded, &empty, &Options::default(), Vec::new())
    };
    let concat = |n: usize| {
        let from = list(r#"["i", 0, 0]"#, n);
        format!(
            r#", {{"class_name": "Concatenate", "name": "c", "inbound_nodes": [[{from}]],
                "config": {{"name": "c", "axis": -1}}}}"#
        )
    };
    assert_eq!(network(concat(2), list(r#"["c", 0, 0]"#, 3)).expect("a graph").nodes.len(), many);
    for (layers, given) in [(String::new(), list(r#"["i", 0, 0]"#, many)), (concat(many), r#"["c", 0, 0]"#.into())] {
        match network(layers, given) {
            Err(Error::Invalid(text)) => assert!(text.contains("too many"), "{text}"),
            other => panic!("{:?}", other.map(|g| g.nodes.len())),
        }
    }
}

#[test]
fn descriptions_that_unpack_to_gigabytes_are_refused() {
    let empty_objects = format!("[{}0]", r#"{"":0},"#.repeat(300_000));
    let lists = format!("[{}0]", "[0],".repeat(1_000_000));
    for text in [empty_objects, lists] {
        let refused = super::parse_json(text.as_bytes(), "config.json", 1000).unwrap_err();
        assert!(refused.to_string().contains("more than any network"), "{refused}");
    }
    assert!(super::parse_json(br#"[{"":0}]"#, "config.json", 1000).is_ok());
}
