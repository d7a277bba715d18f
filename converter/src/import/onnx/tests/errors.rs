//! What is refused, and how.

use super::unsupported;
use super::write::{float, floats, int, int64s, ints, model, node, text, value};
use crate::error::Error;
use crate::import::{Options, onnx};
use crate::ir::{Graph, Op};

fn import(bytes: &[u8]) -> crate::Result<Graph> {
    onnx::import(bytes, None, &Options::default())
}

fn invalid(bytes: &[u8]) -> String {
    match import(bytes) {
        Err(Error::Invalid(m)) => m,
        other => panic!("expected invalid, got {other:?}"),
    }
}

#[test]
fn everything_unsupported_is_listed_at_once() {
    let weights = floats("w", &[2, 2, 1, 1], &[1.0; 4]);
    let nodes = [
        node("NonZero", &["x"], &["a"], &[]),
        node("Conv", &["a", "w"], &["b"], &[]),
        node("AveragePool", &["b"], &["c"], &[ints("kernel_shape", &[2, 2]), ints("pads", &[3, 0, 0, 0])]),
        node("Cast", &["x"], &["d"], &[int("to", 7)]),
        node("BatchNormalization", &["x", "g", "g", "g", "g"], &["e"], &[int("training_mode", 1)]),
        node("Relu", &["x"], &["f"], &[int("surprise", 1)]),
        node("MaxPool", &["x"], &["h", "indices"], &[ints("kernel_shape", &[1, 1])]),
        node("Cast", &["indices"], &["i"], &[int("to", 1)]),
        node("NonZero", &["x"], &["dead"], &[]),
    ];
    let inits = [weights, int64s("p", &[8], &[0, 0, 1, 1, 0, 0, 1, 1]), floats("g", &[2], &[1.0, 2.0])];
    let bytes = model(14, &[], &inits, &nodes, &["c", "d", "e", "f", "h", "i"]);
    let all = unsupported(import(&bytes));
    let got: Vec<(&str, &str)> = all.iter().map(|u| (u.node.as_str(), u.kind.as_str())).collect();
    let want = [
        ("NonZero#0", "NonZero"),
        ("AveragePool#2", "AveragePool"),
        ("Cast#3", "Cast"),
        ("BatchNormalization#4", "BatchNormalization"),
        ("Relu#5", "Relu"),
        ("MaxPool#6", "MaxPool"),
    ];
    assert_eq!(got, want, "{all:#?}");
    assert!(all[3].what.contains("training_mode") && !all[3].remedy.is_empty());
}

#[test]
fn cutting_the_outputs_leaves_out_what_is_not_needed() {
    let nodes = [node("Relu", &["x"], &["a"], &[]), node("NonZero", &["a"], &["b"], &[]), node("Tanh", &["b"], &["c"], &[])];
    let bytes = model(14, &[], &[], &nodes, &["c"]);
    assert_eq!(unsupported(import(&bytes)).len(), 1);
    let options = Options { outputs: vec!["a".into()], ..Options::default() };
    let g = onnx::import(&bytes, None, &options).unwrap();
    assert_eq!((g.nodes.len(), g.output_names.as_slice()), (1, ["a".to_string()].as_slice()));
    // As an error calls a node without a name.
    let options = Options { outputs: vec!["Relu#0".into()], ..Options::default() };
    assert_eq!(onnx::import(&bytes, None, &options).unwrap().output_names, ["a"]);
    let options = Options { outputs: vec!["nowhere".into()], ..Options::default() };
    assert!(matches!(onnx::import(&bytes, None, &options), Err(Error::Request(m)) if m.contains("nowhere")));
}

#[test]
fn unknown_extents_need_a_shape() {
    let nodes = [node("Relu", &["x"], &["a"], &[]), node("Add", &["a", "z"], &["b"], &[])];
    let inputs = [value("x", &[-1, 3, -2, -3]), value("z", &[1, 3, -2, -3])];
    let bytes = model(14, &inputs, &[], &nodes, &["b"]);
    let all = unsupported(import(&bytes));
    assert_eq!(all.iter().map(|u| u.node.as_str()).collect::<Vec<_>>(), ["x", "z"]);
    assert!(all[0].what.contains("d2") && all[0].remedy.contains("--input-shape"), "{all:?}");
    // One shape names the symbols of the others.
    let given = |name: &str, dims: &[usize]| Options { input_shapes: vec![(name.into(), dims.to_vec())], ..Options::default() };
    let g = onnx::import(&bytes, None, &given("x", &[2, 3, 5, 7])).unwrap();
    assert_eq!(g.shape(g.inputs[1]), [1, 3, 5, 7]);
    assert_eq!(g.shape(g.outputs[0]), [2, 3, 5, 7]);
    assert!(matches!(onnx::import(&bytes, None, &given("y", &[1])), Err(Error::Request(_))));
    assert!(matches!(onnx::import(&bytes, None, &given("x", &[1])), Err(Error::Request(_))));
}

/// What is behind an input of open extents is looked at as if it had some, and says so.
#[test]
fn open_extents_hide_nothing() {
    let nodes = [
        node("Conv", &["x", "w"], &["a"], &[]),
        node("ArgMax", &["a"], &["b"], &[int("axis", 1)]),
        node("Cast", &["b"], &["c"], &[int("to", 1)]),
        node("MaxPool", &["a"], &["h", "indices"], &[ints("kernel_shape", &[1, 1])]),
        node("Cast", &["indices"], &["i"], &[int("to", 1)]),
    ];
    let all = |channels: i64| {
        let inits = [floats("w", &[4, 3, 1, 1], &[1.0; 12])];
        let inputs = [value("x", &[1, channels, -2, -3]), value("idle", &[-1, -2])];
        unsupported(import(&model(14, &inputs, &inits, &nodes, &["c", "h", "i"])))
    };
    let got = all(3);
    let nodes: Vec<&str> = got.iter().map(|u| u.node.as_str()).collect();
    assert_eq!(nodes, ["x", "ArgMax#1", "MaxPool#3"], "{got:?}");
    assert!(!got[0].what.contains("with") && got[1..].iter().all(|u| u.what.ends_with("(with \"x\" as 1x3x224x224)")), "{got:?}");
    // What the guess makes wrong is not said.
    assert_eq!(all(5).first().map(|u| u.node.as_str()), Some("x"));
}

/// Before there was an attribute for it, the outputs said whether a batch norm trains.
#[test]
fn statistics_mean_training() {
    let weights = [floats("g", &[2], &[1.0, 2.0])];
    let norm = |opset, outputs: &[&str]| {
        let n = node("BatchNormalization", &["x", "g", "g", "g", "g"], outputs, &[]);
        import(&model(opset, &[], &weights, &[n], &["y"]))
    };
    assert!(norm(9, &["y"]).is_ok() && norm(9, &["y", "", ""]).is_ok());
    assert!(unsupported(norm(9, &["y", "m", "v", "sm", "sv"]))[0].what.contains("training"));
}

#[test]
fn broken_graphs_are_invalid() {
    let relu = |i: &str, o: &str| node("Relu", &[i], &[o], &[]);
    assert!(invalid(&model(14, &[], &[], &[relu("a", "b"), relu("b", "a")], &["b"])).contains("depends on itself"));
    assert!(invalid(&model(14, &[], &[], &[relu("x", "b"), relu("x", "b")], &["b"])).contains("written twice"));
    assert!(invalid(&model(14, &[], &[], &[relu("x", "x")], &["x"])).contains("written twice"));
    assert!(invalid(&model(14, &[], &[], &[relu("nothing", "b")], &["b"])).contains("does not exist"));
    assert!(invalid(&model(14, &[], &[], &[relu("x", "b")], &["c"])).contains("does not exist"));
    assert!(invalid(&model(14, &[], &[], &[relu("x", "b")], &[])).contains("no outputs"));
    assert!(invalid(&model(14, &[], &[], &[node("", &["x"], &["b"], &[])], &["b"])).contains("no operator"));
    let twice = [floats("w", &[1], &[1.0]), floats("w", &[1], &[1.0])];
    assert!(invalid(&model(14, &[], &twice, &[relu("x", "b")], &["b"])).contains("twice"));
    let lies = [floats("w", &[1 << 40], &[1.0])];
    assert!(invalid(&model(14, &[], &lies, &[node("Add", &["x", "w"], &["b"], &[])], &["b"])).contains("1099511627776"));
    let lies = [floats("w", &[3], &[1.0])];
    assert!(invalid(&model(14, &[], &lies, &[node("Add", &["x", "w"], &["b"], &[])], &["b"])).contains("4 bytes"));
    assert!(invalid(b"").contains("ONNX"));
    assert!(invalid(b"hello, this is no model").contains("ONNX"));
    assert_eq!(unsupported(import(&model(29, &[], &[], &[relu("x", "b")], &["b"])))[0].what, "opset 29");
    assert_eq!(unsupported(import(&model(6, &[], &[], &[relu("x", "b")], &["b"])))[0].what, "opset 6");
}

#[test]
fn nodes_in_disorder_are_sorted() {
    let nodes = [node("Tanh", &["b"], &["c"], &[]), node("Sigmoid", &["a"], &["b"], &[]), node("Relu", &["x"], &["a"], &[])];
    let g = import(&model(14, &[], &[], &nodes, &["c"])).unwrap();
    g.verify().unwrap();
    assert_eq!(g.nodes.iter().map(|n| n.kind.as_str()).collect::<Vec<_>>(), ["Relu", "Sigmoid", "Tanh"]);
}

#[test]
fn an_output_is_always_written_by_a_node() {
    let g = import(&model(14, &[], &[], &[node("Identity", &["x"], &["a"], &[])], &["a", "x"])).unwrap();
    g.verify().unwrap();
    assert_eq!(g.output_names, ["a", "x"]);
    assert_eq!(g.nodes.len(), 2);
    // A constant may be one, too, but not one of integers.
    let constant = model(14, &[], &[floats("w", &[1], &[1.0])], &[node("Identity", &["w"], &["a"], &[])], &["a"]);
    let g = import(&constant).unwrap();
    assert_eq!(g.data(g.outputs[0]).map(|d| d.to_vec()), Some(vec![1.0]));
    let integers = model(14, &[], &[int64s("w", &[1], &[1])], &[node("Identity", &["w"], &["a"], &[])], &["a"]);
    assert!(unsupported(import(&integers))[0].what.contains("integers"));
}

#[test]
fn what_is_computed_of_constants_blocks_nothing() {
    // A function, a convolution and a reduction of weights alone, and steps that do nothing.
    let inits = [floats("v", &[2, 2, 1, 1], &[0.5; 4]), floats("k", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0])];
    let nodes = [
        node("Sinh", &["v"], &["s"], &[]),
        node("Conv", &["s", "k"], &["w"], &[]),
        node("Dropout", &["x"], &["d"], &[]),
        node("Conv", &["d", "w"], &["c"], &[]),
        node("ReduceL2", &["k"], &["norm"], &[]),
        node("Div", &["c", "norm"], &["y"], &[]),
    ];
    let g = import(&model(14, &[], &inits, &nodes, &["y"])).unwrap();
    let convolutions = g.nodes.iter().filter(|n| matches!(n.op, Op::Conv { .. })).count();
    assert_eq!(convolutions, 1, "{g}");
    let nodes = [
        node("Sinh", &["v"], &["s"], &[]),
        node("ReduceL2", &["k"], &["norm"], &[]),
        node("Div", &["s", "norm"], &["q"], &[]),
        node("ReduceSum", &["q"], &["sum"], &[]),
        node("Mul", &["x", "sum"], &["y"], &[]),
    ];
    let g = import(&model(14, &[], &inits, &nodes, &["y"])).unwrap();
    let (g, _) = crate::passes::run(g).unwrap();
    assert_eq!(g.nodes.len(), 1, "{g}");
}

#[test]
fn shared_weights_are_counted_once() {
    let w = floats("w", &[2, 2, 1, 1], &[1.0; 4]);
    let p = floats("p", &[2], &[1.0; 2]);
    let m = floats("m", &[2], &[1.0; 2]);
    let nodes = [
        node("Conv", &["x", "w"], &["a"], &[]),
        node("Conv", &["a", "w"], &["b"], &[]),
        node("BatchNormalization", &["b", "p", "p", "m", "m"], &["c"], &[]),
    ];
    let g = import(&model(14, &[], &[w, p, m], &nodes, &["c"])).unwrap();
    assert_eq!((g.total_parameters, g.trainable_parameters), (8, 6));
    let convs: Vec<_> = g.nodes.iter().filter(|n| n.kind == "Conv" && n.inputs.len() == 2).collect();
    assert_eq!((convs.len(), convs[0].inputs[1]), (2, convs[1].inputs[1]));
}

/// Found by mutation: each was once accepted, or worse.
#[test]
fn attributes_and_shapes_that_do_not_fit_are_invalid() {
    let inits = [
        floats("p", &[2], &[1.0; 2]),
        floats("w", &[3, 2, 1, 1], &[1.0; 6]),
        floats("k", &[32, 3], &[1.0; 96]),
        int64s("s", &[2], &[1, -1]),
        floats("wide", &[3], &[1.0; 3]),
    ];
    let check = |nodes: &[super::write::Message]| invalid(&model(14, &[], &inits, nodes, &["y"]));
    let bn = |x: &str, y: &str| node("BatchNormalization", &[x, "p", "p", "p", "p"], &[y], &[]);
    // One set of parameters for two numbers of channels.
    let message = check(&[bn("x", "a"), node("Conv", &["a", "w"], &["b"], &[]), bn("b", "y")]);
    assert!(message.contains("does not fit"), "{message}");
    let flat = node("Reshape", &["x", "s"], &["a"], &[]);
    let message = check(&[flat.clone(), node("Gemm", &["a", "k", "a"], &["y"], &[])]);
    assert!(message.contains("do not broadcast"), "{message}");
    assert!(check(&[node("Sum", &[], &["y"], &[])]).contains("no inputs"));
    let sum = node("ReduceMean", &["x"], &["b"], &[int("keepdims", 0)]);
    let clip = node("Clip", &["b", "x"], &["y"], &[]);
    assert!(check(&[sum, clip]).contains("bound"));
    let pads = ints("pads", &[0, 0, 1]);
    assert!(check(&[node("MaxPool", &["x"], &["y"], &[ints("kernel_shape", &[2, 2]), pads])]).contains("pads"));
    assert!(check(&[node("Conv", &["x", "w", "p"], &["y"], &[])]).contains("does not fit"));
    assert!(check(&[node("Add", &["x", "wide"], &["y"], &[])]).contains("broadcast"));
    assert!(check(&[node("Softmax", &["x"], &["y"], &[int("axis", 4)])]).contains("axis 4"));
    let sideways = [int("blocksize", 1), text("mode", "sideways")];
    assert!(check(&[node("DepthToSpace", &["x"], &["y"], &sideways)]).contains("sideways"));
}

/// The steps that stand for these hold where their numbers have the usual sign.
#[test]
fn functions_hold_for_what_they_are_written_for() {
    for (kind, attribute, value, ok) in [
        ("Celu", "alpha", 0.5, true),
        ("Celu", "alpha", -1.0, false),
        ("Celu", "alpha", 0.0, false),
        ("Shrink", "lambd", 0.0, true),
        ("Shrink", "lambd", -1.0, false),
    ] {
        let result = import(&model(14, &[], &[], &[node(kind, &["x"], &["y"], &[float(attribute, value)])], &["y"]));
        match ok {
            true => drop(result.unwrap()),
            false => assert!(unsupported(result)[0].what.contains(attribute), "{kind} {value}"),
        }
    }
}

/// Where the strides ask for more pixels than the windows give, ONNX Runtime and ONNX's reference disagree on where the missing ones go.
#[test]
fn transposed_windows_below_their_stride_are_refused_with_same_padding() {
    let transposed = |kernel: i64, pad: &str, more: &[super::write::Message]| {
        let w = floats("w", &[2, 1, kernel, kernel], &vec![1.0; (2 * kernel * kernel) as usize]);
        let own = [&[text("auto_pad", pad), ints("strides", &[2, 2])], more].concat();
        import(&model(17, &[], &[w], &[node("ConvTranspose", &["x", "w"], &["y"], &own)], &["y"]))
    };
    for pad in ["SAME_UPPER", "SAME_LOWER"] {
        for more in [&[][..], &[ints("output_shape", &[8, 8])]] {
            let all = unsupported(transposed(1, pad, more));
            assert!(
                all[0].what.contains("8 pixels, of which the windows give 7") && all[0].remedy.contains("output_padding"),
                "{all:?}"
            );
        }
        assert!(transposed(1, pad, &[ints("output_padding", &[1, 1])]).is_ok());
        assert!(transposed(2, pad, &[]).is_ok());
    }
    // Without it they agree: zeros behind.
    assert!(transposed(1, "NOTSET", &[ints("output_shape", &[8, 8])]).is_ok());
}

/// A long name is not in what is said of every node.
#[test]
fn long_names_are_cut() {
    let long = "x".repeat(4000);
    let inputs = [super::write::value(&long, &[1, -1, 4])];
    let nodes =
        [node("Unheard", &[&long], &["a"], &[]), node("Unknown", &["a"], &["b"], &[]), node("Strange", &["b"], &["c"], &[])];
    let all = unsupported(import(&model(17, &inputs, &[], &nodes, &["c"])));
    assert!(all.len() >= 3);
    for u in all {
        assert!(u.node.len() + u.what.len() + u.remedy.len() < 2500, "{u:?}");
    }
}

/// Casts to halves, and inputs of halves, round nothing, which the report says.
#[test]
fn casts_that_round_nothing_are_told() {
    let cast = |from: &str, to: &str, ty: i64| node("Cast", &[from], &[to], &[int("to", ty)]);
    let told = |nodes: &[super::write::Message]| {
        let g = import(&model(17, &[], &[], nodes, &["y"])).unwrap();
        crate::passes::run(g).unwrap().1.notes.iter().filter(|note| note.contains("fewer bits")).cloned().collect::<Vec<_>>()
    };
    assert!(told(&[cast("x", "a", 1), node("Relu", &["a"], &["y"], &[])]).is_empty());
    let one = told(&[cast("x", "a", 10), node("Relu", &["a"], &["b"], &[]), cast("b", "y", 1)]);
    assert!(matches!(&one[..], [note] if note.contains("'Cast#0' is not rounded to fewer bits:")), "{one:?}");
    let half = super::write::input_of("x", 10, &[1, 2]);
    let g = import(&model(17, &[half], &[], &[node("Relu", &["x"], &["y"], &[])], &["y"])).unwrap();
    let notes = crate::passes::run(g).unwrap().1.notes;
    assert!(notes.iter().any(|note| note.contains("'x' is not rounded to fewer bits:")), "{notes:?}");
    let two = told(&[cast("x", "a", 16), node("Relu", &["a"], &["b"], &[]), cast("b", "y", 10)]);
    assert!(matches!(&two[..], [note] if note.contains("(2 such in all)")), "{two:?}");
}
