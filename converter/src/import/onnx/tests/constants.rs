//! What is computed of constants, of known branches, and by known indices.

use super::unsupported;
use super::write::{Message, floats, int, int64s, model, node, text, value};
use crate::import::{Options, onnx};
use crate::interp;
use crate::ir::Graph;

fn import(bytes: &[u8]) -> crate::Result<Graph> {
    onnx::import(bytes, None, &Options::default())
}

/// The elements of `c`, which nodes make of constants, as floats.
fn constant(inits: &[Message], nodes: &[Message]) -> (Vec<usize>, Vec<f32>) {
    let mut all = nodes.to_vec();
    all.push(node("Cast", &["c"], &["y"], &[int("to", 1)]));
    let g = import(&model(18, &[], inits, &all, &["y"])).unwrap();
    assert!(g.nodes.is_empty(), "{g}");
    (g.shape(g.outputs[0]).to_vec(), g.data(g.outputs[0]).unwrap().to_vec())
}

/// Sizes that sources compute in f64: 100 x 0.29 is below 29 there, and 29 in f32.
#[test]
fn sizes_are_computed_as_the_source_does() {
    let doubles = |name: &str, v: &[f64]| {
        let raw: Vec<u8> = v.iter().flat_map(|v| v.to_le_bytes()).collect();
        Message::default().int(1, v.len() as i64).int(2, 11).text(8, name).bytes(9, &raw)
    };
    let size = |steps: &[Message]| constant(&[int64s("n", &[1], &[100]), doubles("r", &[0.29]), doubles("e", &[1e-12])], steps).1;
    let cast = |from: &str, to: &str, ty: i64| node("Cast", &[from], &[to], &[int("to", ty)]);
    let product = node("Mul", &["d", "r"], &["p"], &[]);
    assert_eq!(size(&[cast("n", "d", 11), product.clone(), node("Floor", &["p"], &["c"], &[])]), [28.0]);
    assert_eq!(size(&[cast("n", "d", 11), product.clone(), cast("p", "c", 7)]), [28.0]);
    let both = node("Concat", &["p", "r"], &["b"], &[int("axis", 0)]);
    assert_eq!(size(&[cast("n", "d", 11), product, both, node("Floor", &["b"], &["c"], &[])]), [28.0, 0.0]);
    let one = node("Add", &["d", "e"], &["s"], &[]);
    assert_eq!(size(&[cast("n", "d", 11), one, node("Sub", &["s", "d"], &["c"], &[])]), [(100.0f64 + 1e-12 - 100.0) as f32]);
    // An operator that computes in f32, and one that mixes what it made with the source's own.
    let sum = node("ReduceSum", &["r"], &["q"], &[]);
    assert_eq!(size(&[sum, node("Mul", &["q", "r"], &["c"], &[])]), [(f64::from(0.29f32) * 0.29) as f32]);
}

#[test]
fn operators_over_constants() {
    let k = floats("k", &[2, 3], &[1.0, -2.0, 0.0, 0.5, 3.0, 3.0]);
    let one = |op: &str, more: &[&str], attributes: &[Message], inits: &[Message]| {
        let inputs: Vec<&str> = ["k"].iter().chain(more).copied().collect();
        let inits: Vec<Message> = [k.clone()].iter().chain(inits).cloned().collect();
        constant(&inits, &[node(op, &inputs, &["c"], attributes)])
    };
    let i = |name: &str, dims: &[i64], v: &[i64]| int64s(name, dims, v);
    let (shape, places) = one("NonZero", &[], &[], &[]);
    assert_eq!((shape, places), (vec![2, 5], vec![0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 2.0]));
    assert_eq!(one("TopK", &["n"], &[], &[i("n", &[1], &[2])]).1, [1.0, 0.0, 3.0, 3.0]);
    assert_eq!(one("ArgMax", &[], &[int("axis", 1), int("keepdims", 0)], &[]), (vec![2], vec![0.0, 1.0]));
    assert_eq!(one("ArgMin", &[], &[int("axis", 0)], &[]), (vec![1, 3], vec![1.0, 0.0, 0.0]));
    assert_eq!(one("CumSum", &["a"], &[int("reverse", 1)], &[i("a", &[], &[1])]).1, [-1.0, -2.0, 0.0, 6.5, 6.0, 3.0]);
    assert_eq!(one("Trilu", &[], &[int("upper", 0)], &[]).1, [1.0, 0.0, 0.0, 0.5, 3.0, 0.0]);
    assert_eq!(one("Hardmax", &[], &[], &[]).1, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(one("EyeLike", &[], &[int("k", 1)], &[]).1, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(one("Einsum", &[], &[text("equation", "ij->ji")], &[]).1, [1.0, 0.5, -2.0, 3.0, 0.0, 3.0]);
    assert_eq!(one("Einsum", &["k"], &[text("equation", "ij,kj->ik")], &[]).1, [5.0, -5.5, -5.5, 18.25]);
    assert_eq!(one("Einsum", &["k"], &[text("equation", "ij,ik->")], &[]), (vec![], vec![43.25]));
    for (base, exponent, want) in
        [(-1, 4294967295, -1.0), (-1, 4294967294, 1.0), (0, 0, 1.0), (0, 5, 0.0), (1, 1 << 40, 1.0), (-3, 3, -27.0)]
    {
        let power = node("Pow", &["n", "e"], &["c"], &[]);
        assert_eq!(constant(&[i("n", &[1], &[base]), i("e", &[1], &[exponent])], &[power]).1, [want], "{base} {exponent}");
    }
    let squared = node("Einsum", &["n", "n"], &["c"], &[text("equation", "ij,jk->ki")]);
    assert_eq!(constant(&[i("n", &[2, 2], &[1, 2, 3, 4])], &[squared]).1, [7.0, 15.0, 10.0, 22.0]);
    assert_eq!(one("GatherND", &["g"], &[], &[i("g", &[2, 2], &[0, 1, -1, 0])]).1, [-2.0, 0.5]);
    assert_eq!(one("GatherElements", &["g"], &[int("axis", 1)], &[i("g", &[2, 1], &[2, -2])]).1, [0.0, 3.0]);
    let update = [i("g", &[1, 1], &[1]), floats("u", &[1, 3], &[7.0, 8.0, 9.0])];
    assert_eq!(one("ScatterND", &["g", "u"], &[], &update).1, [1.0, -2.0, 0.0, 7.0, 8.0, 9.0]);
    let update = [i("g", &[1, 2], &[0, 0]), floats("u", &[1, 2], &[7.0, 8.0])];
    let add = [int("axis", 1), text("reduction", "add")];
    assert_eq!(one("ScatterElements", &["g", "u"], &add, &update).1, [16.0, -2.0, 0.0, 0.5, 3.0, 3.0]);
    assert_eq!(
        one("ReverseSequence", &["g"], &[int("time_axis", 1), int("batch_axis", 0)], &[i("g", &[2], &[2, 3])]).1,
        [-2.0, 1.0, 0.0, 3.0, 3.0, 0.5]
    );
    assert_eq!(one("Unique", &[], &[], &[]).1, [-2.0, 0.0, 0.5, 1.0, 3.0]);
    assert_eq!(one("ReduceSumSquare", &[], &[int("keepdims", 0)], &[]), (vec![], vec![23.25]));
    let (shape, hot) = constant(
        &[i("i", &[2], &[0, -1]), i("d", &[], &[3]), floats("v", &[2], &[5.0, 6.0])],
        &[node("OneHot", &["i", "d", "v"], &["c"], &[])],
    );
    assert_eq!((shape, hot), (vec![2, 3], vec![6.0, 5.0, 5.0, 5.0, 5.0, 6.0]));
    assert_eq!(constant(&[floats("m", &[2, 2], &[1.0, 2.0, 3.0, 4.0])], &[node("Det", &["m"], &["c"], &[])]).1, [-2.0]);
    let singles = constant(&[floats("m", &[2, 1, 1], &[3.0, -4.0])], &[node("Det", &["m"], &["c"], &[])]);
    assert_eq!(singles, (vec![2], vec![3.0, -4.0]));
}

#[test]
fn integers_wrap_where_their_type_does() {
    let bytes = |name: &str, v: &[u8]| Message::default().int(1, v.len() as i64).int(2, 2).text(8, name).bytes(9, v);
    let inits = [bytes("a", &[200, 1]), bytes("b", &[100, 7])];
    let two = |op: &str, attributes: &[Message]| constant(&inits, &[node(op, &["a", "b"], &["c"], attributes)]).1;
    assert_eq!(two("Add", &[]), [44.0, 8.0]);
    assert_eq!(two("BitwiseXor", &[]), [172.0, 6.0]);
    assert_eq!(two("BitShift", &[text("direction", "LEFT")]), [0.0, 128.0]);
    assert_eq!(constant(&inits, &[node("BitwiseNot", &["a"], &["c"], &[])]).1, [55.0, 254.0]);
    // Layers take integers too, if floats hold them.
    let nodes = [node("Pad", &["w", "p"], &["c"], &[])];
    assert_eq!(constant(&[int64s("w", &[2], &[3, 4]), int64s("p", &[2], &[1, 0])], &nodes).1, [0.0, 3.0, 4.0]);
    let nodes = [node("Pad", &["w", "p"], &["y"], &[])];
    let bytes = model(18, &[], &[int64s("w", &[2], &[1 << 40, 4]), int64s("p", &[2], &[1, 0])], &nodes, &["y"]);
    assert!(unsupported(import(&bytes))[0].what.contains("2^24"));
}

#[test]
fn bad_indices_are_refused() {
    let inits = [floats("k", &[2, 3], &[0.0; 6]), int64s("far", &[1, 1], &[2]), int64s("deep", &[1, 3], &[0, 0, 0])];
    for (op, inputs) in [("GatherND", ["k", "far"]), ("GatherND", ["k", "deep"]), ("GatherElements", ["k", "far"])] {
        assert!(import(&model(18, &[], &inits, &[node(op, &inputs, &["y"], &[])], &["y"])).is_err(), "{op}");
    }
    let wide = int64s("i", &[1], &[0]);
    let nodes = [node("OneHot", &["i", "d", "k"], &["y"], &[])];
    let two = [wide, int64s("d", &[], &[1 << 30]), floats("k", &[2], &[0.0, 1.0])];
    assert!(import(&model(18, &[], &two, &nodes, &["y"])).is_err());
}

/// A subgraph without inputs.
fn branch(name: &str, inits: &[Message], nodes: &[Message], output: &str) -> Message {
    let g = nodes.iter().fold(Message::default().text(2, "branch"), |g, n| g.message(1, n));
    let g = inits.iter().fold(g, |g, t| g.message(5, t)).message(12, &Message::default().text(1, output));
    Message::default().text(1, name).int(20, 5).message(6, &g)
}

#[test]
fn a_known_condition_takes_its_branch() {
    let own = |v: f32| floats("w", &[1], &[v]);
    let two = [
        branch("then_branch", &[own(2.0)], &[node("Mul", &["a", "w"], &["t"], &[])], "t"),
        branch("else_branch", &[], &[node("NonZero", &["a"], &["t"], &[])], "t"),
    ];
    let other = [branch("then_branch", &[own(3.0)], &[node("Mul", &["b", "w"], &["t"], &[])], "t")];
    let nodes = [node("Relu", &["x"], &["a"], &[]), node("If", &["yes"], &["b"], &two), node("If", &["yes"], &["y"], &other)];
    let g = import(&model(18, &[value("x", &[2])], &[int64s("yes", &[1], &[1])], &nodes, &["y"])).unwrap();
    g.verify().unwrap();
    assert_eq!(interp::interpret(&g, &[vec![1.0, -1.0]], &mut |_, _| {}).unwrap(), [[6.0, 0.0]]);
    // The other one is refused for what it holds, and one that is computed for what it is.
    let all = unsupported(import(&model(18, &[value("x", &[2])], &[int64s("yes", &[1], &[0])], &nodes[..2], &["b"])));
    assert_eq!(all[0].kind, "NonZero");
    let nodes = [node("Relu", &["x"], &["a"], &[]), node("If", &["a"], &["b"], &two)];
    assert!(unsupported(import(&model(18, &[value("x", &[1])], &[], &nodes, &["b"])))[0].what.contains("condition"));
}

#[test]
fn sequences_of_known_structure() {
    let nodes = [
        node("SplitToSequence", &["x", "two"], &["s"], &[int("axis", 0)]),
        node("SequenceAt", &["s", "last"], &["a"], &[]),
        node("SequenceErase", &["s", "last"], &["t"], &[]),
        node("SequenceInsert", &["t", "a", "first"], &["u"], &[]),
        node("ConcatFromSequence", &["u"], &["y"], &[int("axis", 0)]),
    ];
    let inits = [int64s("two", &[], &[2]), int64s("last", &[], &[-1]), int64s("first", &[], &[0])];
    let g = import(&model(18, &[value("x", &[5])], &inits, &nodes, &["y"])).unwrap();
    g.verify().unwrap();
    let y = interp::interpret(&g, &[vec![0.0, 1.0, 2.0, 3.0, 4.0]], &mut |_, _| {}).unwrap();
    assert_eq!(y, [[4.0, 0.0, 1.0, 2.0, 3.0]]);
    // As torch.chunk is exported: with parts that are empty.
    let lens = int64s("lens", &[4], &[2, 2, 1, 0]);
    let chunks = node("SplitToSequence", &["x", "lens"], &["s"], &[int("axis", 0)]);
    let third = [chunks.clone(), node("SequenceAt", &["s", "two"], &["y"], &[])];
    let g = import(&model(18, &[value("x", &[5])], &[inits[0].clone(), lens.clone()], &third, &["y"])).unwrap();
    assert_eq!(interp::interpret(&g, &[vec![0.0, 1.0, 2.0, 3.0, 4.0]], &mut |_, _| {}).unwrap(), [[4.0]]);
    let fourth = [chunks, node("SequenceAt", &["s", "last"], &["y"], &[])];
    let refused = unsupported(import(&model(18, &[value("x", &[5])], &[inits[1].clone(), lens], &fourth, &["y"])));
    assert!(refused[0].what.contains("empty"));
    let nodes = [nodes[0].clone(), node("Relu", &["s"], &["y"], &[])];
    assert!(unsupported(import(&model(18, &[value("x", &[5])], &inits, &nodes, &["y"])))[0].what.contains("sequence"));
}

/// Constants in lists, whose names others have, too: with other extents, and with other elements.
#[test]
fn names_in_lists_are_not_theirs_alone() {
    let run = |nodes: &[Message], inits: &[Message], x: &[i64], outputs: &[&str]| {
        let g = import(&model(13, &[value("x", x)], inits, nodes, outputs)).unwrap();
        g.verify().unwrap();
        let n = x.iter().product::<i64>();
        interp::interpret(&g, &[(1..=n).map(|v| v as f64).collect()], &mut |_, _| {}).unwrap()
    };
    let w = floats("w", &[2, 2], &[0.0, 10.0, 20.0, 30.0]);
    let joined = [
        node("SequenceConstruct", &["x", "w"], &["s"], &[]),
        node("ConcatFromSequence", &["s"], &["c"], &[int("axis", 1), int("new_axis", 1)]),
    ];
    let add = node("Add", &["x", "w"], &["a"], &[]);
    let want = [vec![1.0, 12.0, 23.0, 34.0], vec![1.0, 2.0, 0.0, 10.0, 3.0, 4.0, 20.0, 30.0]];
    for nodes in [[&joined[..], std::slice::from_ref(&add)].concat(), [&[add.clone()][..], &joined].concat()] {
        assert_eq!(run(&nodes, std::slice::from_ref(&w), &[2, 2], &["a", "c"]), want);
    }
    // The parts of `w` are called so.
    let parts = [
        node("Mul", &["x", "w/0"], &["a"], &[]),
        node("SplitToSequence", &["w"], &["s"], &[int("axis", 0)]),
        node("SequenceInsert", &["s", "a"], &["all"], &[]),
        node("ConcatFromSequence", &["all"], &["y"], &[int("axis", 0)]),
    ];
    let inits = [w, floats("w/0", &[1, 2], &[100.0; 2])];
    assert_eq!(run(&parts, &inits, &[1, 2], &["y"]), [[0.0, 10.0, 20.0, 30.0, 100.0, 200.0]]);
    // What divides by it tells -0 from 0.
    let inits = [floats("w", &[2, 2], &[0.0, 0.0, 1.0, 1.0]), floats("w/0", &[1, 2], &[-0.0; 2])];
    let y = run(&parts, &inits, &[1, 2], &["y"]).swap_remove(0);
    let signs: Vec<bool> = y.iter().map(|v| v.is_sign_negative()).collect();
    assert_eq!(signs, [false, false, false, false, true, true], "{y:?}");
}

#[test]
fn known_indices_move_what_is_computed() {
    let x: Vec<f64> = (1..=6).map(f64::from).collect();
    let run = |inits: &[Message], nodes: &[Message]| {
        let g = import(&model(18, &[value("x", &[2, 3])], inits, nodes, &["y"])).unwrap();
        g.verify().unwrap();
        interp::interpret(&g, std::slice::from_ref(&x), &mut |_, _| {}).unwrap().swap_remove(0)
    };
    let i = |name: &str, dims: &[i64], v: &[i64]| int64s(name, dims, v);
    let block = i("g", &[2, 2, 2], &[0, 1, 0, 2, 1, 1, 1, 2]);
    let zero = [block.clone(), floats("u", &[2, 2], &[0.0, 7.0, 8.0, 9.0])];
    assert_eq!(run(&zero, &[node("ScatterND", &["x", "g", "u"], &["y"], &[])]), [1.0, 0.0, 7.0, 4.0, 8.0, 9.0]);
    let slice =
        [node("GatherND", &["x", "g"], &["u"], &[]), node("ScatterND", &["x", "g", "u"], &["y"], &[text("reduction", "add")])];
    assert_eq!(run(&[block], &slice), [1.0, 4.0, 6.0, 4.0, 10.0, 12.0]);
    assert_eq!(run(&[i("g", &[1, 2], &[1, 0])], &[node("GatherElements", &["x", "g"], &["y"], &[])]), [4.0, 2.0]);
    assert_eq!(run(&[], &[node("Trilu", &["x"], &["y"], &[int("upper", 0)])]), [1.0, 0.0, 0.0, 4.0, 5.0, 0.0]);
    assert_eq!(run(&[i("a", &[], &[1])], &[node("CumSum", &["x", "a"], &["y"], &[])]), [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
    let exclusive = [int("exclusive", 1), int("reverse", 1)];
    assert_eq!(run(&[i("a", &[], &[0])], &[node("CumSum", &["x", "a"], &["y"], &exclusive)]), [4.0, 5.0, 6.0, 0.0, 0.0, 0.0]);
    assert_eq!(run(&[], &[node("Einsum", &["x", "x"], &["y"], &[text("equation", "ij,kj->ki")])]), [14.0, 32.0, 32.0, 77.0]);
    assert_eq!(run(&[], &[node("Einsum", &["x"], &["y"], &[text("equation", "ij->j")])]), [5.0, 7.0, 9.0]);
    let nodes = [
        node("Less", &["x", "four"], &["l"], &[]),
        node("Cast", &["l"], &["b"], &[int("to", 9)]),
        node("Where", &["b", "four", "x"], &["y"], &[]),
    ];
    assert_eq!(run(&[floats("four", &[], &[4.0])], &nodes), [4.0, 4.0, 4.0, 4.0, 5.0, 6.0]);
    let chosen = [node("Compress", &["x", "c"], &["y"], &[int("axis", 1)])];
    assert_eq!(run(&[i("c", &[3], &[1, 0, 1])], &chosen), [1.0, 3.0, 4.0, 6.0]);
    assert_eq!(run(&[i("c", &[5], &[0, 1, 0, 0, 1])], &[node("Compress", &["x", "c"], &["y"], &[])]), [2.0, 5.0]);
    let turned = [node("ReverseSequence", &["x", "l"], &["y"], &[int("time_axis", 1), int("batch_axis", 0)])];
    assert_eq!(run(&[i("l", &[2], &[3, 2])], &turned), [3.0, 2.0, 1.0, 5.0, 4.0, 6.0]);
}

#[test]
fn a_running_sum_goes_forwards_only() {
    let g = model(18, &[value("x", &[1, 1500])], &[int64s("a", &[], &[1])], &[node("CumSum", &["x", "a"], &["y"], &[])], &["y"]);
    let g = import(&g).unwrap();
    let mut x = vec![1.0; 1500];
    x[1000] = f64::INFINITY;
    x[1200] = f64::NAN;
    let y = interp::interpret(&g, &[x], &mut |_, _| {}).unwrap().swap_remove(0);
    assert!(
        (0..1000).all(|i| y[i] == (i + 1) as f64)
            && (1000..1200).all(|i| y[i] == f64::INFINITY)
            && y[1200..].iter().all(|y| y.is_nan())
    );
}

#[test]
fn parts_without_elements_are_left_out() {
    let i = |name: &str, v: &[i64]| int64s(name, &[v.len() as i64], v);
    let inits = [i("0", &[0]), i("all", &[i64::MAX]), i("none", &[-9]), i("one", &[1]), i("lens", &[0, 3])];
    // As torch writes a roll by as many elements as there are.
    let nodes = [
        node("Slice", &["x", "none", "all", "one", "one"], &["a"], &[]),
        node("Slice", &["x", "0", "none", "one", "one"], &["b"], &[]),
        node("Split", &["x", "lens"], &["c", "d"], &[int("axis", 1)]),
        node("Concat", &["c", "a", "b", "d"], &["y"], &[int("axis", 1)]),
    ];
    let g = import(&model(18, &[value("x", &[1, 3])], &inits, &nodes, &["y"])).unwrap();
    assert_eq!(interp::interpret(&g, &[vec![1.0, 2.0, 3.0]], &mut |_, _| {}).unwrap(), [[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]]);
    let nothing = import(&model(18, &[value("x", &[1, 3])], &inits, &nodes[1..2], &["b"]));
    assert!(nothing.is_err());
}

/// Backwards, a start before the first element is the first: so says the operator's text, and numpy otherwise.
#[test]
fn slices_backwards_begin_at_the_first_element() {
    let list = |name: &str, v: i64| int64s(name, &[1], &[v]);
    let of = |start: i64, end: i64, step: i64| {
        let inits = [list("s", start), list("e", end), list("axis", 3), list("step", step)];
        import(&model(17, &[], &inits, &[node("Slice", &["x", "s", "e", "axis", "step"], &["y"], &[])], &["y"]))
    };
    for (start, step) in [(-9, -1), (-5, -3), (i64::MIN, -1), (-4, -1)] {
        let g = of(start, i64::MIN, step).unwrap();
        let x: Vec<f64> = (0..32).map(f64::from).collect();
        assert_eq!(interp::interpret(&g, &[x], &mut |_, _| {}).unwrap()[0], (0..8).map(|i| f64::from(4 * i)).collect::<Vec<_>>());
    }
    assert_eq!(unsupported(of(-9, -2, -1)).len(), 1);
    let inits = [int64s("k", &[3], &[5, 6, 7]), list("s", -9), list("e", -9), list("axis", 0), list("step", -1)];
    assert_eq!(constant(&inits, &[node("Slice", &["k", "s", "e", "axis", "step"], &["c"], &[])]).1, [5.0]);
}
