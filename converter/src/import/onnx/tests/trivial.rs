//! Operators that do nothing.

use super::unsupported;
use super::write::{Message, int, int64s, model, node, value};
use crate::import::{Options, onnx};
use crate::interp;
use crate::ir::Graph;

fn import(bytes: &[u8]) -> crate::Result<Graph> {
    onnx::import(bytes, None, &Options::default())
}

/// What nodes give for three numbers of shape `[1, 3]`.
fn run(opset: i64, inits: &[Message], nodes: &[Message]) -> Vec<f64> {
    let g = import(&model(opset, &[value("x", &[1, 3])], inits, nodes, &["y"])).unwrap();
    interp::interpret(&g, &[vec![1.0, -2.0, 3.0]], &mut |_, _| {}).unwrap().remove(0)
}

#[test]
fn what_does_nothing_does_not_block() {
    let same = [1.0, -2.0, 3.0];
    let cast = |from: &str| node("Cast", &[from], &["f"], &[int("to", 1)]);
    let list = |name: &str, v: i64| int64s(name, &[1], &[v]);
    let single = |name: &str, v: i64| int64s(name, &[], &[v]);

    let optional = [node("Optional", &["x"], &["o"], &[]), node("OptionalGetElement", &["o"], &["y"], &[])];
    assert_eq!(run(18, &[], &optional), same);
    let has = [node("OptionalHasElement", &["x"], &["h"], &[]), cast("h"), node("Mul", &["x", "f"], &["y"], &[])];
    assert_eq!(run(18, &[], &has), same);
    let lacks = [node("OptionalHasElement", &[""], &["h"], &[]), cast("h"), node("Mul", &["x", "f"], &["y"], &[])];
    assert_eq!(run(18, &[], &lacks).iter().map(|v| v.abs()).collect::<Vec<_>>(), [0.0; 3]);

    let arg = |axis: i64| [node("ArgMax", &["x"], &["a"], &[int("axis", axis)]), cast("a"), node("Add", &["x", "f"], &["y"], &[])];
    assert_eq!(run(18, &[], &arg(0)), same);
    let hard = |axis: i64| [node("Hardmax", &["x"], &["a"], &[int("axis", axis)]), node("Add", &["x", "a"], &["y"], &[])];
    assert_eq!(run(18, &[], &hard(0)), [2.0, -1.0, 4.0]);
    let top = |k: i64| {
        let nodes = [node("TopK", &["x", "k"], &["v", "i"], &[int("axis", 0)]), cast("i"), node("Add", &["v", "f"], &["y"], &[])];
        import(&model(18, &[value("x", &[1, 3])], &[list("k", k)], &nodes, &["y"]))
    };
    let g = top(1).unwrap();
    assert_eq!(interp::interpret(&g, &[same.to_vec()], &mut |_, _| {}).unwrap(), [same]);
    assert!(top(2).is_err());
    let products = |axis: i64, exclusive: i64| {
        let node = node("CumProd", &["x", "axis"], &["y"], &[int("exclusive", exclusive)]);
        import(&model(26, &[value("x", &[1, 3])], &[single("axis", axis)], &[node], &["y"]))
    };
    let g = products(0, 0).unwrap();
    assert_eq!(interp::interpret(&g, &[same.to_vec()], &mut |_, _| {}).unwrap(), [same]);
    let det = [node("Reshape", &["x", "s"], &["r"], &[]), node("Det", &["r"], &["y"], &[])];
    assert_eq!(run(18, &[int64s("s", &[3], &[3, 1, 1])], &det), same);

    // Along three elements they choose, and are refused; before opset 13, Hardmax counts the axes behind as one with its own.
    for nodes in [&arg(1)[..], &hard(1)] {
        assert_eq!(unsupported(import(&model(18, &[value("x", &[1, 3])], &[], nodes, &["y"]))).len(), 1);
    }
    assert!(import(&model(11, &[value("x", &[1, 3])], &[], &hard(0), &["y"])).is_err());
    assert!(products(1, 0).is_err() && products(0, 1).is_err());
}

#[test]
fn loops_that_nobody_enters_give_what_they_were_given() {
    let of = |rounds: i64, outputs: &[&str]| {
        let inits = [int64s("n", &[], &[rounds])];
        let nodes = [node("Loop", &["n", "", "x"], outputs, &[])];
        import(&model(18, &[value("x", &[1, 3])], &inits, &nodes, &["y"]))
    };
    let g = of(0, &["y"]).unwrap();
    assert_eq!(interp::interpret(&g, &[vec![1.0, -2.0, 3.0]], &mut |_, _| {}).unwrap(), [[1.0, -2.0, 3.0]]);
    for (rounds, outputs) in [(1, &["y"][..]), (0, &["z", "y"])] {
        assert_eq!(unsupported(of(rounds, outputs))[0].remedy, super::super::ops::remedy("Loop"));
    }
}
