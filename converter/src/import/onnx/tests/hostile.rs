//! Bytes that nobody should trust: they may be refused, or even mean something, but they must not panic or take long.

use super::write::{Message, floats, int, int64s, model, node, value};
use crate::error::Error;
use crate::import::{Options, onnx};
use std::path::Path;
use std::time::{Duration, Instant};

/// xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

fn try_import(bytes: &[u8], folder: &Path) {
    if let Ok(g) = onnx::import(bytes, Some(folder), &Options::default()) {
        // What is accepted must be sound.
        g.verify().unwrap_or_else(|e| panic!("an inconsistent network was accepted: {e}"));
    }
}

#[test]
fn mutations_do_not_panic() {
    let folder = super::data();
    let models = super::models(&folder);
    let each = std::env::var("SEPAL_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(12_000) / models.len();
    for (m, path) in models.iter().enumerate() {
        let good = std::fs::read(path).unwrap();
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ m as u64);
        for _ in 0..each / 3 {
            try_import(&good[..random.below(good.len())], &folder);
        }
        for _ in 0..each {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(3) {
                let at = random.below(bytes.len());
                match random.below(4) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = [0, 0xff, 0x7f, 0x80, 1][random.below(5)],
                    2 => bytes[at] = random.below(256) as u8,
                    _ => {
                        let (from, len) = (random.below(bytes.len()), random.below(12));
                        let piece = bytes[from..(from + len).min(bytes.len())].to_vec();
                        bytes.splice(at..at, piece);
                    }
                }
            }
            try_import(&bytes, &folder);
        }
    }
}

#[test]
fn noise_does_not_panic() {
    let mut random = Random(7);
    for _ in 0..3000 {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
        try_import(&bytes, Path::new("."));
    }
}

#[test]
fn small_files_cannot_ask_for_much() {
    let start = Instant::now();
    let big = int64s("big", &[3], &[1 << 10, 1 << 10, 1 << 10]);
    let one = int64s("one", &[1], &[1]);
    let fill = node("ConstantOfShape", &["big"], &["c"], &[]);
    let add = node("Add", &["x", "c"], &["y"], &[]);
    let refused = |bytes: &[u8]| match onnx::import(bytes, None, &Options::default()) {
        Err(Error::Invalid(m)) => m,
        other => panic!("accepted: {other:?}"),
    };
    assert!(refused(&model(13, &[], std::slice::from_ref(&big), &[fill, add], &["y"])).contains("multiply"));
    let range = node("Range", &["zero", "far", "step"], &["c"], &[]);
    let scalars = [int64s("zero", &[], &[0]), int64s("far", &[], &[i64::MAX]), int64s("step", &[], &[1])];
    let cast = node("Cast", &["c"], &["d"], &[int("to", 1)]);
    let add = node("Add", &["x", "d"], &["y"], &[]);
    assert!(refused(&model(13, &[], &scalars, &[range, cast, add.clone()], &["y"])).contains("too large"));
    // Doubling forty times.
    let mut nodes = vec![node("Concat", &["one", "one"], &["c0"], &[int("axis", 0)])];
    for i in 0..40 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        nodes.push(node("Concat", &[&from, &from], &[&to], &[int("axis", 0)]));
    }
    nodes.push(node("Cast", &["c40"], &["d"], &[int("to", 1)]));
    nodes.push(add);
    assert!(refused(&model(13, &[], &[one], &nodes, &["y"])).contains("multiply"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn external_data_stays_in_its_folder() {
    use super::write::Message;
    let folder = super::data();
    let entry = |k: &str, v: &str| Message::default().text(1, k).text(2, v);
    let network = |entries: &[(&str, &str)]| {
        let t = Message::default().int(1, 4).int(2, 1).text(8, "w").int(14, 1);
        let t = entries.iter().fold(t, |t, (k, v)| t.message(13, &entry(k, v)));
        model(13, &[], &[t], &[node("Add", &["x", "w"], &["y"], &[])], &["y"])
    };
    let run = |entries: &[(&str, &str)]| onnx::import(&network(entries), Some(&folder), &Options::default());
    let invalid = |entries: &[(&str, &str)]| match run(entries) {
        Err(Error::Invalid(m)) => m,
        other => panic!("{entries:?}: {other:?}"),
    };
    let file = ("location", "external_data.bin");
    assert!(run(&[file]).is_ok());
    assert!(run(&[file, ("offset", "16"), ("length", "16")]).is_ok());
    for path in ["../onnx/external_data.bin", "/etc/passwd", "a/../../x", "", "C:\\x", "..\\x"] {
        assert!(invalid(&[("location", path)]).contains("inside"), "{path}");
    }
    assert!(invalid(&[]).contains("location"));
    assert!(invalid(&[file, ("length", "20")]).contains("length"));
    assert!(invalid(&[file, ("offset", "18446744073709551615")]).contains("wanted"));
    assert!(invalid(&[file, ("offset", "-1")]).contains("offset"));
    assert!(invalid(&[("location", ".")]).contains("not a file"));
    #[cfg(target_os = "linux")]
    {
        let pipes = std::env::temp_dir().join(format!("sepal-pipe-{}", std::process::id()));
        std::fs::create_dir_all(&pipes).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(pipes.join("w.bin")).status().unwrap().success());
        let bytes = network(&[("location", "w.bin")]);
        let (done, waited) = std::sync::mpsc::channel();
        let folder = pipes.clone();
        std::thread::spawn(move || done.send(onnx::import(&bytes, Some(&folder), &Options::default()).map(|_| ())));
        let said = waited.recv_timeout(Duration::from_secs(20)).expect("it waits for a writer");
        std::fs::remove_dir_all(&pipes).unwrap();
        assert!(matches!(said, Err(Error::Invalid(m)) if m.contains("not a file")));
    }
    match run(&[("location", "missing.bin")]) {
        Err(Error::Io { path, .. }) => assert!(path.ends_with("missing.bin")),
        other => panic!("{other:?}"),
    }
}

/// External data pays for what is made of it, but not again and again.
#[test]
fn external_data_pays_once() {
    use super::write::Message;
    let folder = std::env::temp_dir().join(format!("sepal-external-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("w.bin"), vec![0; 1 << 16]).unwrap();
    let place = Message::default().text(1, "location").text(2, "w.bin");
    let w = Message::default().int(1, 1 << 14).int(2, 1).text(8, "w").int(14, 1).message(13, &place);
    let of = |times: usize| {
        let mut nodes = vec![node("Identity", &["w"], &["c0"], &[])];
        for i in 0..times {
            let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
            nodes.push(node("ConstantOfShape", &["much"], &[&format!("m{i}")], &[]));
            nodes.push(node("ReduceMax", &[&format!("m{i}")], &[&format!("r{i}")], &[]));
            nodes.push(node("Add", &[&from, &format!("r{i}")], &[&to], &[]));
        }
        nodes.push(node("ReduceMax", &[&format!("c{times}")], &["all"], &[]));
        nodes.push(node("Add", &["x", "all"], &["y"], &[]));
        let bytes = model(13, &[], &[w.clone(), int64s("much", &[1], &[1 << 18])], &nodes, &["y"]);
        onnx::import(&bytes, Some(&folder), &Options::default())
    };
    let (few, many) = (of(2), of(40));
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(few.is_ok(), "{few:?}");
    assert!(matches!(&many, Err(Error::Invalid(m)) if m.contains("multiply")), "{many:?}");
}

/// What a network of one element is refused for; nothing if it is not.
fn said(nodes: &[Message], inits: &[Message], outputs: &[&str]) -> String {
    let bytes = model(17, &[value("x", &[1, 1])], inits, nodes, outputs);
    onnx::import(&bytes, None, &Options::default()).err().map_or_else(String::new, |e| e.to_string())
}

/// Pixels whose places are compared, axes of tensors without elements, letters of an equation.
#[test]
fn what_is_looked_at_is_paid_for() {
    let sizes = |m: i64| int64s("sizes", &[2], &[1, m]);
    let resize = |y: &str| node("Resize", &["x", "", "", "sizes"], &[y], &[]);
    assert_eq!(said(&[resize("a")], &[sizes(1 << 18)], &["a"]), "");
    let pixels = said(&["a", "b", "c"].map(resize), &[sizes(1 << 20)], &["a", "b", "c"]);
    assert!(pixels.contains("multiply"), "{pixels}");

    // A picture of which nothing is left may be turned; a longer one is too much, for a file of this size.
    let turned = |side: i64| {
        let nodes = [
            node("ConstantOfShape", &["dims"], &["none"], &[]),
            node("Transpose", &["none"], &["turned"], &[]),
            node("Concat", &["x", "turned"], &["y"], &[int("axis", 0)]),
        ];
        said(&nodes, &[int64s("dims", &[4], &[1, 0, side, side])], &["y"])
    };
    assert_eq!(turned(512), "");
    assert!(turned(1 << 12).contains("multiply"));

    let letters = |n: i64, equation: &str| {
        let nodes = [
            node("ConstantOfShape", &["dims"], &["c"], &[]),
            node("Einsum", &["c", "c"], &["e"], &[super::write::text("equation", equation)]),
            node("Add", &["x", "e"], &["y"], &[]),
        ];
        said(&nodes, &[int64s("dims", &[2], &[n, n])], &["y"])
    };
    assert_eq!(letters(64, "ab,cd->"), "");
    assert!(letters(128, "ab,cd->").contains("too much work"));

    // Lines that are sorted for the sake of their largest element.
    let sorted = |n: i64, kind: &str| {
        let nodes = [
            node("ConstantOfShape", &["dims"], &["c"], &[]),
            if kind == "TopK" { node(kind, &["c", "one"], &["t"], &[]) } else { node(kind, &["c"], &["t"], &[]) },
            node("ReduceMax", &["t"], &["all"], &[]),
            node("Add", &["x", "all"], &["y"], &[]),
        ];
        // A file that could pay for the elements themselves.
        let inits = [int64s("dims", &[1], &[n]), int64s("one", &[1], &[1]), floats("w", &[1 << 18], &[0.0; 1 << 18])];
        said(&nodes, &inits, &["y"])
    };
    for kind in ["TopK", "Unique"] {
        assert_eq!(sorted(1 << 10, kind), "", "{kind}");
        let refused = sorted(1 << 21, kind);
        assert!(refused.contains("too much work"), "{kind}: {refused}");
    }
}

/// Exponentials of all elements, again and again: a file of 8 MB took most of a minute.
#[test]
fn reductions_of_constants_are_paid_for() {
    let reduced = |times: usize| {
        let name = |i: usize| format!("r{i}");
        let mut nodes = vec![node("ConstantOfShape", &["dims"], &["c"], &[])];
        nodes.extend((0..times).map(|i| node("ReduceLogSumExp", &["c", "axis"], &[&name(i)], &[])));
        nodes.extend((0..times).map(|i| node("ReduceMax", &[&name(i)], &[&format!("m{i}")], &[])));
        let all: Vec<String> = (0..times).map(|i| format!("m{i}")).collect();
        nodes.push(node("Sum", &all.iter().map(String::as_str).collect::<Vec<_>>(), &["s"], &[]));
        nodes.push(node("Add", &["x", "s"], &["y"], &[]));
        let mut dims = [2; 16];
        dims[15] = 64;
        // A file that could pay for the elements themselves.
        let inits = [int64s("dims", &[16], &dims), int64s("axis", &[1], &[15]), floats("w", &[1 << 20], &[0.0; 1 << 20])];
        said(&nodes, &inits, &["y"])
    };
    let few = reduced(1);
    assert!(!few.contains("too much work"), "{few}");
    let refused = reduced(14);
    assert!(refused.contains("too much work"), "{refused}");
}

/// Elements in another order, again and again: a file of 60 MB took 18 s.
#[test]
fn turns_of_constants_are_paid_for() {
    let turned = |times: usize, kind: &str| {
        let attributes = match kind {
            "Einsum" => vec![super::write::text("equation", "ab->ba")],
            _ => vec![int("time_axis", 0), int("batch_axis", 1)],
        };
        let name = |i: usize| format!("t{i}");
        let mut nodes = vec![node("ConstantOfShape", &["dims"], &[&name(0)], &[])];
        for i in 0..times {
            let (from, to) = (name(i), name(i + 1));
            let inputs = if kind == "Einsum" { vec![from.as_str()] } else { vec![from.as_str(), "lens"] };
            nodes.push(node(kind, &inputs, &[&to], &attributes));
        }
        nodes.push(node("ReduceMax", &[&name(times)], &["m"], &[]));
        nodes.push(node("Add", &["x", "m"], &["y"], &[]));
        // A file that could pay for the elements themselves.
        let much = floats("v", &[1 << 23], &vec![0.0; 1 << 23]);
        said(&nodes, &[int64s("dims", &[2], &[1 << 18, 16]), int64s("lens", &[16], &[1 << 18; 16]), much], &["y"])
    };
    for kind in ["Einsum", "ReverseSequence"] {
        assert_eq!(turned(1, kind), "", "{kind}");
        let refused = turned(60, kind);
        assert!(refused.contains("too much work"), "{kind}: {refused}");
    }
}

/// Parts of one element are lists of their own: 50 MB took 24 s.
#[test]
fn parts_are_paid_for() {
    let parted = |times: usize| {
        let mut nodes = vec![node("ConstantOfShape", &["dims"], &["t"], &[])];
        let mut sum = "x".to_string();
        for i in 0..times {
            let [parts, one, next] = ["parts", "one", "sum"].map(|word| format!("{word}{i}"));
            nodes.push(node("SplitToSequence", &["t"], &[&parts], &[int("keepdims", 0)]));
            nodes.push(node("SequenceAt", &[&parts, "zero"], &[&one], &[]));
            nodes.push(node("Add", &[&sum, &one], &[&next], &[]));
            sum = next;
        }
        nodes.push(node("Relu", &[&sum], &["y"], &[]));
        let much = floats("v", &[1 << 22], &vec![0.0; 1 << 22]);
        said(&nodes, &[int64s("dims", &[1], &[1 << 14]), int64s("zero", &[], &[0]), much], &["y"])
    };
    assert_eq!(parted(1), "");
    let refused = parted(150);
    assert!(refused.contains("too much work"), "{refused}");
}

/// Each row once for each part, of which all but one are empty: 900 KB took half an hour.
#[test]
fn empty_parts_are_not_joined() {
    let parts: Vec<&str> = std::iter::repeat_n("none", 1 << 14).chain(["column"]).collect();
    let nodes = [
        node("ConstantOfShape", &["dims"], &["column"], &[]),
        node("ConstantOfShape", &["empty"], &["none"], &[]),
        node("SequenceConstruct", &parts, &["list"], &[]),
        node("ConcatFromSequence", &["list"], &["all"], &[int("axis", 1)]),
        node("ReduceMax", &["all"], &["m"], &[int("keepdims", 0)]),
        node("Add", &["x", "m"], &["y"], &[]),
    ];
    let rows = 1 << 17;
    let inits = [int64s("dims", &[2], &[rows, 1]), int64s("empty", &[2], &[rows, 0]), floats("v", &[1 << 20], &[0.0; 1 << 20])];
    assert_eq!(said(&nodes, &inits, &["y"]), "");
}

/// Nothing is read, but cosines are many.
#[test]
fn windows_are_paid_for() {
    let window = |n: i64| {
        let nodes = [
            node("BlackmanWindow", &["n"], &["w"], &[]),
            node("ReduceMax", &["w"], &["m"], &[int("keepdims", 0)]),
            node("Add", &["x", "m"], &["y"], &[]),
        ];
        said(&nodes, &[int64s("n", &[], &[n]), floats("v", &[1 << 20], &[0.0; 1 << 20])], &["y"])
    };
    assert_eq!(window(1 << 10), "");
    let refused = window(1 << 24);
    assert!(refused.contains("too much work"), "{refused}");
}

/// The largest and the smallest number, less each other and multiplied: a fuzzer's.
#[test]
fn products_of_integers_are_of_8_bits() {
    let inits = [int64s("a", &[1, 1], &[i64::MIN]), int64s("z", &[], &[i64::MAX])];
    let nodes = [
        node("MatMulInteger", &["a", "a", "z", "z"], &["m"], &[]),
        node("Cast", &["m"], &["f"], &[int("to", 1)]),
        node("Add", &["x", "f"], &["y"], &[]),
    ];
    let said = onnx::import(&model(13, &[], &inits, &nodes, &["y"]), None, &Options::default());
    assert!(matches!(&said, Err(Error::Invalid(m)) if m.contains("of 8 bits")), "{said:?}");
}

/// Where what a file may ask for is used up, nothing behind an earlier fault is looked at.
#[test]
fn beyond_all_measure_is_the_end_also_behind_a_fault() {
    let mut nodes = vec![node("NonZero", &["x"], &["n"], &[])];
    nodes.push(node("ConstantOfShape", &["much"], &["m"], &[]));
    nodes.push(node("Relu", &["m"], &["r"], &[]));
    nodes.push(node("Unheard", &["x"], &["u"], &[]));
    let all = super::unsupported(onnx::import(
        &model(13, &[], &[int64s("much", &[1], &[1 << 30])], &nodes, &["n", "r", "u"]),
        None,
        &Options::default(),
    ));
    assert_eq!(all.iter().map(|u| u.kind.as_str()).collect::<Vec<_>>(), ["NonZero"]);
}

/// What a file says once may be meant many times: names of nodes that become many, elements of lists.
#[test]
fn what_is_repeated_is_paid_for() {
    let refused = |bytes: &[u8]| match onnx::import(bytes, None, &Options::default()) {
        Err(Error::Invalid(m)) => m,
        Err(other) => panic!("{other}"),
        Ok(g) => panic!("accepted, {} nodes", g.nodes.len()),
    };
    let input = |dims: &[i64]| value("x", dims);
    let parts = |n: i64| {
        let nodes = [
            node("SplitToSequence", &["x"], &["s"], &[int("axis", 1)]),
            node("ConcatFromSequence", &["s"], &["y"], &[int("axis", 1)]),
        ];
        model(13, &[input(&[1, n])], &[], &nodes, &["y"])
    };
    assert!(onnx::import(&parts(100), None, &Options::default()).is_ok());
    assert!(refused(&parts(1 << 31)).contains("multiply"));
    assert!(refused(&parts(20_000)).contains("multiply"));

    let mut nodes = vec![node("SequenceEmpty", &[], &["s0"], &[])];
    for i in 0..6000 {
        nodes.push(node("SequenceInsert", &[&format!("s{i}"), "x"], &[&format!("s{}", i + 1)], &[]));
    }
    nodes.push(node("ConcatFromSequence", &["s6000"], &["y"], &[int("axis", 0)]));
    assert!(refused(&model(13, &[input(&[1, 4])], &[], &nodes, &["y"])).contains("multiply"));

    // A list, and integers, that thousands of nodes read.
    let of_list = |i: usize| node("SequenceLength", &["s"], &[&format!("n{i}")], &[]);
    let mut nodes = vec![node("SequenceConstruct", &vec!["x"; 4000], &["s"], &[])];
    nodes.extend((0..4000).map(of_list));
    nodes.push(node("ReduceMax", &["n3999"], &["y"], &[]));
    let all: Vec<String> = (0..4000).map(|i| format!("n{i}")).collect();
    let outputs: Vec<&str> = all.iter().map(String::as_str).collect();
    assert!(refused(&model(13, &[input(&[1, 4])], &[], &nodes, &outputs)).contains("multiply"));
    let list = int64s("list", &[4096], &[1; 4096]);
    let of_integers = |i: usize| node("Slice", &["x", "list", "list"], &[&format!("n{i}")], &[]);
    let nodes: Vec<_> = std::iter::once(node("NonZero", &["x"], &["n4000"], &[])).chain((0..4000).map(of_integers)).collect();
    let outputs = [&["n4000"][..], &outputs].concat();
    let all = super::unsupported(onnx::import(&model(13, &[input(&[1, 4])], &[list], &nodes, &outputs), None, &Options::default()));
    assert_eq!(all.len(), 1, "{all:?}");
    // One that cannot be read is read once.
    let bad = super::write::floats("w", &[1 << 40], &[1.0]);
    let nodes = ["a", "b", "c"].map(|y| node("Add", &["x", "w"], &[y], &[]));
    let said = onnx::import(&model(13, &[input(&[1, 4])], &[bad], &nodes, &["a", "b", "c"]), None, &Options::default());
    assert!(said.unwrap_err().to_string().matches("too large").count() <= 1);

    // Lists within lists: 2^40 tensors in forty nodes.
    let mut nodes = vec![node("SequenceEmpty", &[], &["s0"], &[])];
    for i in 0..40 {
        let (from, to) = (format!("s{i}"), format!("s{}", i + 1));
        nodes.push(node("SequenceConstruct", &[&from, &from], &[&to], &[]));
    }
    nodes.push(node("ConcatFromSequence", &["s40"], &["y"], &[int("axis", 0)]));
    let lists = onnx::import(&model(13, &[input(&[1, 4])], &[], &nodes, &["y"]), None, &Options::default());
    assert!(matches!(lists, Err(Error::Unsupported(_))));

    let name = "n".repeat(5000);
    let long = model(13, &[input(&[1, 4])], &[], &[node("Relu", &["x"], &[&name], &[])], &[&name]);
    assert!(refused(&long).contains("a name of 5000 bytes"));
}

/// One weight under many names, each of which a factor follows: folded into each, it would be there as often.
#[test]
fn a_constant_is_one_under_all_its_names() {
    let (weights, factors) = (vec![0.5f32; 64 * 64], [0.75f32; 64]);
    let inits = [super::write::floats("w", &[64, 64], &weights), super::write::floats("k", &[64], &factors)];
    let (mut nodes, mut last) = (Vec::new(), "x".to_owned());
    for i in 0..20 {
        let [own, product, scaled, end] = ["w", "m", "s", "t"].map(|name| format!("{name}{i}"));
        nodes.push(node("Identity", &["w"], &[&own], &[]));
        nodes.push(node("MatMul", &[&last, &own], &[&product], &[]));
        nodes.push(node("Mul", &[&product, "k"], &[&scaled], &[]));
        nodes.push(node("Tanh", &[&scaled], &[&end], &[]));
        last = end;
    }
    let bytes = model(14, &[value("x", &[1, 64])], &inits, &nodes, &[&last]);
    let graph = crate::import::import_bytes(&bytes, None, &Options::default()).unwrap();
    let before = graph.elements_of_constants();
    let (graph, _) = crate::passes::run(graph).unwrap();
    assert!(graph.elements_of_constants() <= 2 * before, "{} of {before}", graph.elements_of_constants());
}
