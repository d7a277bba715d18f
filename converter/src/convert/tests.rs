//! Conversion as a whole: what the self-check lets pass.

use super::*;
use std::path::PathBuf;

fn converted() -> Converted {
    let summary = Summary {
        network: "n".into(),
        format: "onnx",
        trainable_parameters: 1,
        total_parameters: 1,
        parameters: 1,
        report: Report::default(),
        fast: Vec::new(),
        rounded: Vec::new(),
        self_check_limit: 1e-4,
        self_check: None,
        plans: Vec::new(),
        magnified: None,
        preprocessing: None,
        preprocessing_note: None,
    };
    Converted { blocks: vec![Block([7; 64]); 2], len: 100, summary }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sepal-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn writes_once_unless_forced_and_leaves_nothing_else() {
    let folder = folder("write");
    let path = folder.join("m.sepal");
    converted().write(&path, false).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), [7; 100]);
    std::fs::write(&path, b"mine").unwrap();
    let refused = converted().write(&path, false);
    assert!(matches!(&refused, Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    converted().write(&path, true).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), [7; 100]);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_failed_write_leaves_nothing() {
    let folder = folder("fail");
    let taken = folder.join("taken");
    std::fs::create_dir(&taken).unwrap();
    assert!(matches!(converted().write(&taken, true), Err(Error::Io { .. })));
    assert!(matches!(converted().write(&folder.join("no/such/folder"), true), Err(Error::Io { .. })));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[cfg(unix)]
#[test]
fn a_link_stays_one() {
    let folder = folder("link");
    let (target, link, other) = (folder.join("m.sepal"), folder.join("link"), folder.join("other"));
    std::os::unix::fs::symlink("other", &link).unwrap();
    std::os::unix::fs::symlink("m.sepal", &other).unwrap();
    assert!(converted().write(&link, false).is_err());
    // To no file yet, and then to one.
    for _ in 0..2 {
        converted().write(&link, true).unwrap();
        assert!(link.is_symlink() && other.is_symlink() && target.symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read(&link).unwrap(), [7; 100]);
    }
    // In a circle, to none.
    std::fs::remove_file(&target).unwrap();
    std::os::unix::fs::symlink("link", &target).unwrap();
    let circle = converted().write(&link, true).unwrap_err();
    assert!(circle.to_string().contains("a circle of links"), "{circle}");
    assert!([&link, &other, &target].iter().all(|p| p.is_symlink()));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The square of a square is infinite in f32, and less itself it is no number: in f64 it is 0.
#[test]
fn a_network_that_overflows_is_told_from_a_fault() {
    use crate::ir::{Act, BinaryOp, Op};
    let mut graph = Graph::default();
    let x = graph.input("x", &[1, 4]);
    let huge = graph.constant("huge", &[1], std::sync::Arc::new(vec![1e30]));
    let binary = |op| Op::Binary { op, act: Act::None };
    let large = graph.node("large", "Mul", binary(BinaryOp::Mul), &[x, huge], &[1, 4]);
    let square = graph.node("square", "Mul", binary(BinaryOp::Mul), &[large, large], &[1, 4]);
    let zero = graph.node("zero", "Sub", binary(BinaryOp::Sub), &[square, square], &[1, 4]);
    graph.outputs.push(zero);
    graph.output_names.push("zero".into());
    let refused = convert_graph(graph, "n", "test", &ConvertOptions::default(), &mut ());
    let Err(Error::Unsupported(all)) = refused else { panic!("{refused:?}") };
    assert_eq!((all[0].node.as_str(), all[0].kind.as_str(), all.len()), ("square", "Mul", 1));
}

/// A tenth of `x`, times ten, less `x`, and `more` times `x`: what the subtraction leaves is the rounding of 0.1 and, in f32, of the
/// products, which is as large. What rounding explains passes, up to a bound, and nothing else does.
#[test]
fn what_rounding_alone_does_is_no_fault() {
    use crate::ir::{Act, BinaryOp, Op};
    let binary = |op| Op::Binary { op, act: Act::None };
    let network = |more: f32| {
        let mut graph = Graph::default();
        let x = graph.input("x", &[1, 64]);
        let mut number = |name: &str, v: f32| graph.constant(name, &[1], std::sync::Arc::new(vec![v]));
        let (tenth, ten, more) = (number("tenth", 0.1), number("ten", 10.0), number("more", more));
        let mut node = |name: &str, op, a, b| graph.node(name, "Binary", binary(op), &[a, b], &[1, 64]);
        let small = node("small", BinaryOp::Mul, x, tenth);
        let again = node("again", BinaryOp::Mul, small, ten);
        let rest = node("rest", BinaryOp::Sub, again, x);
        let more = node("more", BinaryOp::Mul, x, more);
        let sum = node("sum", BinaryOp::Add, rest, more);
        graph.outputs.push(sum);
        graph.output_names.push("sum".into());
        graph
    };
    /// How often somebody has begun to interpret the source.
    struct Begun(usize);
    impl Progress for Begun {
        fn steps(&mut self, done: usize, _: usize) {
            self.0 += usize::from(done == 1);
        }
    }
    let convert = |graph: &Graph| convert_graph(graph.clone(), "n", "test", &ConvertOptions::default(), &mut ());
    let mut graph = network(1e-4);
    let converted = convert(&graph).unwrap();
    let check = converted.summary.self_check.clone().unwrap();
    assert!(check.relative > 1e-4 && check.relative <= TIMES_ROUNDING * check.rounding.unwrap(), "{check:?}");
    // Nothing is left but roundings: that is the network's own fault.
    let mut begun = Begun(0);
    let refused = convert_graph(network(0.0), "n", "test", &ConvertOptions::default(), &mut begun);
    assert!(matches!(&refused, Err(Error::Inexact(why)) if why.contains("no arithmetic of f32")), "{refused:?}");
    // Once as it is and once rounded, however many conversions were held against that.
    assert_eq!(begun.0, 2);

    // Beyond the limit of halves, which is a promise, and within what f32 is excused.
    let graph_of_halves = network(1e-5);
    let check = convert(&graph_of_halves).unwrap().summary.self_check.unwrap();
    assert!(check.relative > 1e-3 && check.rounding.is_some(), "{check:?}");
    let mut options = ConvertOptions::default();
    options.emit.precision = emit::Precision::F16;
    let refused = convert_graph(graph_of_halves, "n", "test", &options, &mut ());
    assert!(matches!(&refused, Err(Error::Verification(_) | Error::Inexact(_))), "{refused:?}");

    // Halves have been promised a limit, and the file of another network is as wrong as ever.
    let run = |source: &Graph, rounding: bool| {
        let limit = Limit { relative: 1e-4, pruned: None, rounding };
        self_check(source, converted.bytes(), 0, &limit, &mut References::default(), &mut Vec::new(), &mut ())
    };
    assert!(run(&graph, true).is_ok());
    assert!(matches!(run(&graph, false), Err(Error::Verification(_))));
    graph.nodes[1].op = binary(BinaryOp::Add);
    assert!(matches!(run(&graph, true), Err(Error::Verification(_))));
}

/// A convolution that a fast algorithm computes, beside an output that rounding alone moves beyond the limit: then it is the plain one.
#[test]
fn what_is_excused_has_no_fast_algorithms() {
    use crate::ir::{Act, BinaryOp};
    use crate::passes::testing::{Numbers, binary, conv, window};
    let network = |sensitive: bool| {
        let (mut graph, mut random) = (Graph::default(), Numbers(3));
        let x = graph.input("x", &[1, 16, 16, 32]);
        let y = conv(&mut graph, &mut random, "y", x, 32, 1, false, window(3, 1, [1; 4]));
        (graph.outputs, graph.output_names) = (vec![y], vec!["y".into()]);
        if sensitive {
            let mut number = |name: &str, v: f32| graph.constant(name, &[1], std::sync::Arc::new(vec![v]));
            let (tenth, ten, more) = (number("tenth", 0.1), number("ten", 10.0), number("more", 1e-4));
            let mut node = |op, a, b| graph.node("n", "Binary", binary(op, Act::None), &[a, b], &[1, 16, 16, 32]);
            let small = node(BinaryOp::Mul, x, tenth);
            let again = node(BinaryOp::Mul, small, ten);
            let (rest, more) = (node(BinaryOp::Sub, again, x), node(BinaryOp::Mul, x, more));
            let sum = node(BinaryOp::Add, rest, more);
            graph.outputs.push(sum);
            graph.output_names.push("sum".into());
        }
        let Summary { plans, self_check, .. } =
            convert_graph(graph, "n", "test", &ConvertOptions::default(), &mut ()).unwrap().summary;
        (plans[0].fast, self_check.unwrap().rounding.is_some())
    };
    let (fast, excused) = network(false);
    assert!(fast > 0 && !excused);
    assert_eq!(network(true), (0, true));
}

#[test]
fn comparison_sees_what_differs() {
    let close = compare("y".into(), &[1.0, -2.0], &[1.0, -2.00001]).unwrap();
    assert!(close.relative > 4e-6 && close.relative < 6e-6);
    assert!(compare("y".into(), &[f32::NAN], &[1.0]).is_err());
    assert!(compare("y".into(), &[1.0], &[f64::NAN]).is_err());
    assert!(compare("y".into(), &[f32::INFINITY], &[1.0]).is_err());
    assert_eq!(compare("y".into(), &[f32::NAN, f32::INFINITY], &[f64::NAN, 1e300]).unwrap().max_abs, 0.0);
    assert_eq!(compare("y".into(), &[0.0], &[0.0]).unwrap().relative, 0.0);
    // A sigmoid far below 0: the source's has a few digits there, the file's none. A little above them it counts.
    let small = |got: f32, want: f64| compare("y".into(), &[got, 0.0], &[want, 0.0]).unwrap().relative;
    assert_eq!(small(0.0, 2.789e-39), 0.0);
    assert!(small(0.0, 1.2e-38) > 0.9);
}

/// What a file of half a megabyte holds is planned in a second or two; what goes through all for each takes minutes or the stack.
#[test]
fn large_plans_take_seconds() {
    use crate::ir::{Act, Op, Unary};
    let start = std::time::Instant::now();
    let unary = |g: &mut Graph, v, shape: &[usize]| g.node("n", "Sin", Op::Unary(Unary::Sin), &[v], shape);
    let concat = |g: &mut Graph, parts: &[ValueId], channels: usize| {
        g.node("c", "Concat", Op::Concat { axis: 3 }, parts, &[1, 1, 1, channels])
    };
    let plan = |mut g: Graph, y: ValueId| {
        (g.outputs, g.output_names) = (vec![y], vec!["y".into()]);
        let options = ConvertOptions { no_verify: true, ..ConvertOptions::default() };
        convert_graph(g, "n", "test", &options, &mut ()).map(drop)
    };
    // A concat within a concat, each of them read.
    let mut nested = Graph::default();
    let x = nested.input("x", &[1, 1, 1, 16]);
    let (mut whole, mut sum) = (unary(&mut nested, x, &[1, 1, 1, 16]), x);
    for i in 2..2000 {
        let part = unary(&mut nested, sum, &[1, 1, 1, 16]);
        whole = concat(&mut nested, &[whole, part], 16 * i);
        let mean = Op::Reduce { kind: crate::ir::ReduceKind::Mean, axes: vec![3], keep_dims: true };
        let mean = nested.node("m", "ReduceMean", mean, &[whole], &[1, 1, 1, 1]);
        sum = nested.node("s", "Add", Op::Binary { op: crate::ir::BinaryOp::Add, act: Act::None }, &[part, mean], &[1, 1, 1, 16]);
    }
    plan(nested, sum).unwrap();
    // What is read lies beside what is written.
    let mut beside = Graph::default();
    let x = beside.input("x", &[1, 1, 1, 16]);
    let mut y = x;
    for _ in 0..2000 {
        let a = unary(&mut beside, y, &[1, 1, 1, 16]);
        let b = unary(&mut beside, a, &[1, 1, 1, 16]);
        let both = concat(&mut beside, &[a, b], 32);
        let op = Op::Slice { start: vec![0, 0, 0, 8], step: vec![1; 4] };
        y = beside.node("s", "Slice", op, &[both], &[1, 1, 1, 16]);
    }
    plan(beside, y).unwrap();
    // One memory under two shapes, written in place again and again.
    let mut views = Graph::default();
    let mut v = views.input("x", &[1, 4, 4, 16]);
    for i in 0..6000 {
        let shape = [[1, 2, 8, 16], [1, 4, 4, 16]][i % 2];
        let turned = views.node("r", "Reshape", Op::Reshape, &[v], &shape);
        v = unary(&mut views, turned, &shape);
    }
    plan(views, v).unwrap();
    // Parts of a concat that are read under other shapes, each time.
    let mut odd = Graph::default();
    let x = odd.input("x", &[1, 1, 1, 16]);
    let parts: Vec<ValueId> = (0..4000).map(|_| unary(&mut odd, x, &[1, 1, 1, 16])).collect();
    let whole = concat(&mut odd, &parts, 64_000);
    let mut sums = Vec::new();
    for i in 0..200 {
        let turned = odd.node("r", "Reshape", Op::Reshape, &[whole], &[1, 1, 2000, 32]);
        let op =
            Op::Reduce { kind: [crate::ir::ReduceKind::Max, crate::ir::ReduceKind::Min][i % 2], axes: vec![2], keep_dims: true };
        sums.push(odd.node("m", "ReduceMax", op, &[turned], &[1, 1, 1, 32]));
    }
    let all = concat(&mut odd, &sums, 6400);
    plan(odd, all).unwrap();
    // One tensor in thousands of orders.
    let mut orders = Graph::default();
    let x = orders.input("x", &[2; 8]);
    let s = unary(&mut orders, x, &[2; 8]);
    let mut perm: Vec<usize> = (0..8).collect();
    let mut parts = Vec::new();
    for i in 0..5000 {
        perm.swap(i % 7, i % 5 + 3);
        let op = Op::Transpose { perm: perm.clone() };
        parts.push(orders.node("t", "Transpose", op, &[s], &[2; 8]));
    }
    let whole = orders.node("c", "Concat", Op::Concat { axis: 0 }, &parts, &[10_000, 2, 2, 2, 2, 2, 2, 2]);
    assert!(matches!(plan(orders, whole), Err(Error::Unsupported(_))));
    // One constant in all its shapes.
    let mut shapes = Graph::default();
    let len = 720_720;
    let (x, data) = (shapes.input("x", &[len]), std::sync::Arc::new(vec![1.5; len]));
    let mut y = x;
    for d in (1..1000).filter(|d| len % d == 0) {
        let shape = [len / d, d];
        let c = shapes.constant("c", &shape, data.clone());
        let turned = shapes.node("r", "Reshape", Op::Reshape, &[y], &shape);
        y = shapes.node("n", "Add", Op::Binary { op: crate::ir::BinaryOp::Add, act: Act::None }, &[turned, c], &shape);
    }
    assert!(matches!(plan(shapes, y), Err(Error::Invalid(why)) if why.contains("too many forms")));
    // Beyond what a file holds, as deep as the stack of a thread.
    let mut deep = Graph::default();
    let x = deep.input("x", &[1, 1, 1, 16]);
    let mut whole = x;
    for i in 2..40_000 {
        whole = concat(&mut deep, &[whole, x], 16 * i);
    }
    assert!(matches!(plan(deep, whole), Err(Error::Invalid(why)) if why.contains("holds at most")));
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", start.elapsed());
}

/// A part of a concat that is read under another number of channels, before and after another part is copied beside it.
#[test]
fn views_of_parts_lie_apart() {
    use crate::ir::{Op, Unary};
    let mut g = Graph::default();
    let x = g.input("x", &[1, 1, 48]);
    let a = g.node("a", "Tanh", Op::Unary(Unary::Sin), &[x], &[1, 1, 48]);
    let v = g.node("v", "Reshape", Op::Reshape, &[a], &[1, 1, 3, 16]);
    let w = g.node("w", "Sin", Op::Unary(Unary::Cos), &[v], &[1, 1, 3, 16]);
    let f = g.node("f", "Concat", Op::Concat { axis: 2 }, &[x, a], &[1, 1, 96]);
    (g.outputs, g.output_names) = (vec![v, w, f], ["v", "w", "f"].map(String::from).to_vec());
    convert_graph(g, "n", "test", &ConvertOptions::default(), &mut ()).unwrap();
}
