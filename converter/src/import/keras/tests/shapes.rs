//! What Keras 2 computes from shapes: numbers, and no nodes.

use super::{built, data, golden};
use crate::ir::Graph;
use crate::{Error, import::Options, import::import};

/// A network of functions of TensorFlow on an input of the shape `[1, 3, 4]`: each with its name and its call, of which the last one's result
/// is given out.
fn functions(calls: &[(&str, &str)]) -> Result<Graph, Error> {
    let mut all =
        r#"{"class_name": "InputLayer", "name": "x", "config": {"name": "x", "batch_input_shape": [1, 3, 4]}}"#.to_owned();
    for (i, (function, call)) in calls.iter().enumerate() {
        let class = if function.contains("getitem") { "SlicingOpLambda" } else { "TFOpLambda" };
        all += &format!(
            r#", {{"class_name": "{class}", "name": "l{i}", "config": {{"name": "l{i}", "function": "{function}"}}, "inbound_nodes": [{call}]}}"#
        );
    }
    let last = calls.len() - 1;
    built(
        &format!(
            r#"{{"class_name": "Functional", "config": {{"name": "f", "layers": [{all}],
            "input_layers": [["x", 0, 0]], "output_layers": [["l{last}", 0, 0]]}}}}"#
        ),
        2,
    )
}

/// The shape of the input as rows of as many numbers as the last of some calls says, of which `l0` is the input's shape.
fn rows(calls: &[(&str, &str)]) -> Result<Vec<usize>, Error> {
    let reshape = format!(r#"["x", 0, 0, {{"shape": [-1, ["l{}", 0, 0]]}}]"#, calls.len());
    let all = [&[("compat.v1.shape", r#"["x", 0, 0, {}]"#)], calls, &[("reshape", &reshape)]].concat();
    let graph = functions(&all)?;
    assert_eq!(graph.nodes.len(), 1, "numbers are no nodes");
    Ok(graph.shape(graph.outputs[0]).to_vec())
}

const SECOND: (&str, &str) = ("__operators__.getitem", r#"["l0", 0, 0, {"slice_spec": [1]}]"#);
const LAST: (&str, &str) = ("__operators__.getitem", r#"["l0", 0, 0, {"slice_spec": [-1]}]"#);

#[test]
fn shapes_are_tensorflows_own() {
    let graph = golden("shapes.k2.keras", &[]);
    assert!(graph.nodes.iter().all(|n| !n.name.contains("tf.compat.v1.shape")), "a shape is no node");
}

/// The batch is what the plan says.
#[test]
fn numbers_are_those_of_the_shapes_asked_for() {
    let input_shapes = vec![("x".to_owned(), vec![3, 4, 9, 3])];
    let graph = import(&data("shapes.k2.keras"), &Options { input_shapes, ..Options::default() }).unwrap();
    let shape = |i: usize| graph.shape(graph.outputs[i]).to_vec();
    assert_eq!(shape(0), [3, 4, 9, 8]);
    assert_eq!(shape(1), [3, 36, 8]);
    assert_eq!(shape(3), [3, 2, 7, 8]);
    assert_eq!(shape(6), [3, 37, 8]);
    assert_eq!(shape(14), [3, 9, 4, 8]);
}

#[test]
fn integers_are_computed_as_in_tensorflow() {
    assert_eq!(rows(&[SECOND]).unwrap(), [4, 3]);
    let of = |function: &str, y: &str| rows(&[LAST, (function, &format!(r#"["l1", 0, 0, {{"y": {y}}}]"#))]);
    assert_eq!(of("math.multiply", "3").unwrap(), [1, 12]);
    assert_eq!(of("math.subtract", "2").unwrap(), [6, 2]);
    assert_eq!(of("math.floordiv", "3").unwrap(), [12, 1]);
    assert_eq!(of("math.floormod", "3").unwrap(), [12, 1]);
    assert_eq!(of("math.maximum", "6").unwrap(), [2, 6]);
    assert_eq!(of("math.minimum", "3").unwrap(), [4, 3]);
    // Both round down, and what is left has the divisor's sign.
    let negative = ("math.subtract", r#"["l1", 0, 0, {"y": 9}]"#);
    let of = |function: &str, y: &str, plus: i64| {
        let function = (function, &*format!(r#"["l2", 0, 0, {{"y": {y}}}]"#));
        rows(&[LAST, negative, function, ("__operators__.add", &format!(r#"["l3", 0, 0, {{"y": {plus}}}]"#))])
    };
    assert_eq!(of("math.floordiv", "2", 5).unwrap(), [6, 2]);
    assert_eq!(of("math.floormod", "3", 1).unwrap(), [6, 2]);
    assert_eq!(of("math.floormod", "-3", 4).unwrap(), [6, 2]);
}

/// 110 times 1.1 is 121 in f32, and a hair more in f64, into which TensorFlow divides integers.
#[test]
fn floats_are_rounded_where_tensorflow_rounds() {
    let of = |function: &str, argument: &str| {
        rows(&[
            SECOND,
            ("math.multiply", r#"["l1", 0, 0, {"y": 37}]"#),
            ("math.subtract", r#"["l2", 0, 0, {"y": 1}]"#),
            (function, &format!(r#"["l3", 0, 0, {{{argument}}}]"#)),
            ("math.multiply", r#"["l4", 0, 0, {"y": 1.1}]"#),
            ("math.ceil", r#"["l5", 0, 0, {}]"#),
            ("cast", r#"["l6", 0, 0, {"dtype": "int32"}]"#),
            ("math.subtract", r#"["l7", 0, 0, {"y": 118}]"#),
        ])
    };
    assert_eq!(of("cast", r#""dtype": "float32""#).unwrap(), [4, 3]);
    assert_eq!(of("cast", r#""dtype": "float64""#).unwrap(), [3, 4]);
    assert_eq!(of("math.truediv", r#""y": 1"#).unwrap(), [3, 4]);
}

#[test]
fn numbers_that_are_not_known_are_refused() {
    let of = |function: &str, call: &str| rows(&[LAST, (function, call)]);
    for (function, call) in [
        ("math.floordiv", r#"["l1", 0, 0, {"y": 0}]"#),
        ("math.floormod", r#"["l1", 0, 0, {"y": 0}]"#),
        ("math.multiply", r#"["l1", 0, 0, {"y": 1000000000}]"#),
        ("math.add", r#"["l1", 0, 0, {"y": [1, 2, 3]}]"#),
        ("math.add", r#"["l1", 0, 0, {"y": "one"}]"#),
        ("math.sin", r#"["l1", 0, 0, {}]"#),
        ("cast", r#"["l1", 0, 0, {"dtype": "int8"}]"#),
        ("range", r#"["l1", 0, 0, {"limit": 2000000000, "delta": 1}]"#),
        ("range", r#"["l1", 0, 0, {"limit": 9, "delta": 0}]"#),
        ("range", r#"["l1", 0, 0, {"limit": 3, "delta": 2}]"#),
        ("zeros", r#"[["_CONSTANT_VALUE", -1, [65536, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], {}]]"#),
        ("range", r#"["l1", 0, 0, {"limit": -9223372036854775808, "delta": -1}]"#),
        ("fill", r#"["l0", 0, 0, {"value": [1, 2]}]"#),
        ("zeros", r#"[["l1", 0, 0, {}], ["_CONSTANT_VALUE", -1, 1000000000, {}]]"#),
        ("__operators__.getitem", r#"["l0", 0, 0, {"slice_spec": [3]}]"#),
        ("__operators__.getitem", r#"["l0", 0, 0, {"slice_spec": [{"start": 3, "stop": null, "step": null}]}]"#),
        ("__operators__.getitem", r#"["l0", 0, 0, {"slice_spec": [{"start": null, "stop": null, "step": 0}]}]"#),
        ("concat", r#"[["l0", 0, 0, {"axis": 1}], ["l0", 0, 0, {"axis": 1}]]"#),
        ("reshape", r#"["l0", 0, 0, {"shape": [2, 2]}]"#),
        ("gather", r#"["l0", 0, 0, {"indices": 3}]"#),
        ("gather", r#"["l0", 0, 0, {"indices": -1}]"#),
        ("unstack", r#"["l0", 0, 0, {"num": 2}]"#),
        ("math.reduce_sum", r#"["l0", 0, 0, {"axis": [0, 0]}]"#),
        ("math.reduce_prod", r#"["l0", 0, 0, {"axis": [0, -1]}]"#),
        ("math.reduce_max", r#"["l0", 0, 0, {"axis": 1}]"#),
        ("strided_slice", r#"["l0", 0, 0, {"begin": [0], "end": [2], "shrink_axis_mask": 1}]"#),
        ("tile", r#"["l0", 0, 0, {"multiples": [2, 2]}]"#),
        ("tile", r#"["l0", 0, 0, {"multiples": [1000000000000]}]"#),
        ("broadcast_to", r#"["l0", 0, 0, {"shape": [2, 2]}]"#),
        ("transpose", r#"["l0", 0, 0, {"perm": [0, 0]}]"#),
        ("slice", r#"["l0", 0, 0, {"begin": [2], "size": [2]}]"#),
        ("where", r#"["l0", 0, 0, {"x": 1, "y": 2}]"#),
        ("one_hot", r#"["l0", 0, 0, {"depth": 4, "axis": 0}]"#),
        ("eye", r#"["_CONSTANT_VALUE", -1, 100000, {}]"#),
        ("math.log", r#"["l1", 0, 0, {}]"#),
    ] {
        assert!(
            matches!(of(function, call), Err(Error::Unsupported(_) | Error::Invalid(_))),
            "{function} {call}: {:?}",
            of(function, call)
        );
    }
}

/// Whatever a number in a list is computed from, all that is not supported is found.
#[test]
fn what_stands_in_a_list_of_numbers_is_looked_at() {
    let what = |calls: &[(&str, &str)]| match functions(calls) {
        Err(Error::Unsupported(all)) => all.iter().map(|fault| fault.node.clone()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let unknown = ("image.sobel_edges", r#"["x", 0, 0, {}]"#);
    let largest = ("math.reduce_max", r#"["l0", 0, 0, {}]"#);
    let reshape = ("reshape", r#"["x", 0, 0, {"shape": [-1, ["l1", 0, 0], 2]}]"#);
    assert_eq!(what(&[unknown, largest, reshape]), ["l0", "l2"]);
    // In another place of a call, and where the whole list is computed.
    let crop = ("__operators__.getitem", r#"["x", 0, 0, {"slice_spec": [{"start": null, "stop": ["l0", 0, 0], "step": null}]}]"#);
    assert_eq!(what(&[("math.reduce_max", r#"["x", 0, 0, {}]"#), crop]), ["l1"]);
    assert_eq!(what(&[("compat.v1.shape", r#"["x", 0, 0, {}]"#)]), ["l0"]);
}

/// Whoever reads many numbers pays for them, however short a call is; and one fault is told once.
#[test]
fn numbers_are_paid_where_they_are_read() {
    let fill = ("fill", r#"[["_CONSTANT_VALUE", -1, 65536, {"value": 1}]]"#);
    let sum = ("math.reduce_sum", r#"["l0", 0, 0, {}]"#);
    let few = [&[fill][..], &vec![sum; 20]].concat();
    assert!(matches!(functions(&few), Err(Error::Unsupported(_))), "the last sum is an output");
    let joined = format!("[{}]", (1..=100).map(|i| format!(r#"["l{i}", 0, 0, {{"axis": 0}}]"#)).collect::<Vec<_>>().join(", "));
    let many = [&[fill][..], &vec![sum; 100], &[("stack", &*joined)]].concat();
    match functions(&many) {
        Err(Error::Invalid(text)) => assert!(text.contains("too much is computed from shapes"), "{text}"),
        other => panic!("{other:?}"),
    }
    let unknown = ("math.sin", r#"["l0", 0, 0, {}]"#);
    let doubled = ("math.multiply", r#"["l1", 0, 0, {"y": 2}]"#);
    match functions(&[("compat.v1.shape", r#"["x", 0, 0, {}]"#), unknown, doubled]) {
        Err(Error::Unsupported(all)) => assert_eq!(all.iter().map(|fault| &*fault.node).collect::<Vec<_>>(), ["l1"]),
        other => panic!("{other:?}"),
    }
    let reshape = ("reshape", r#"["x", 0, 0, {"shape": ["l1", 0, 0]}]"#);
    match functions(&[("compat.v1.shape", r#"["x", 0, 0, {}]"#), unknown, reshape]) {
        Err(Error::Unsupported(all)) => assert_eq!(all.iter().map(|fault| &*fault.node).collect::<Vec<_>>(), ["l1"]),
        other => panic!("{other:?}"),
    }
}
