use super::*;
use crate::convert::{ConvertOptions, convert_graph};
use crate::ir::{Pads, Window};
use crate::passes;
use proptest::prelude::*;

fn first_convolution(pads: Pads, channels_first: bool) -> Graph {
    let mut g = Graph::default();
    let mut x = g.input("image", if channels_first { &[1, 3, 8, 8] } else { &[1, 8, 8, 3] });
    if channels_first {
        x = g.node("t", "Transpose", Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x], &[1, 8, 8, 3]);
    }
    let w = g.constant("w", &[3, 3, 3, 2], Arc::new((0..54).map(|i| (i % 7) as f32 / 7.0 - 0.4).collect()));
    let window = Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pads };
    let side = 6 + pads.top + pads.bottom;
    let op = Op::Conv { window, groups: 1, bias: false, residual: false, pre_relu: false, act: Act::None };
    let y = g.node("conv", "Conv2D", op, &[x, w], &[1, side, side, 2]);
    g.outputs.push(y);
    g.output_names.push("y".into());
    g
}

const SAME: Pads = Pads { top: 1, left: 1, bottom: 1, right: 1 };
const MEAN: [f32; 3] = [120.0, 110.0, 100.0];

#[test]
fn goes_into_a_convolution_without_padding_and_into_others_without_a_mean() {
    for channels_first in [false, true] {
        for (pads, mean, folds) in
            [(Pads::default(), MEAN, true), (SAME, [0.0; 3], true), (SAME, MEAN, false), (Pads::default(), [0.0; 3], true)]
        {
            let g = with_input(first_convolution(pads, channels_first), 0, &mean, &[57.0, 58.0, 59.0]).unwrap();
            g.verify().unwrap();
            let (after, report) = passes::run(g).unwrap();
            let fate = report.preprocessing.expect("a fate");
            assert_eq!(fate.is_ok(), folds, "{fate:?}");
            match fate {
                Ok(place) => assert!(place.contains("forward into Conv2D 'conv'"), "{place}"),
                Err(why) => assert!(why.contains("pads it with zeros"), "{why}"),
            }
            let alone = after.nodes.iter().filter(|n| matches!(n.op, Op::ScaleShift { .. })).count();
            assert_eq!(alone, usize::from(!folds), "{after}");
        }
    }
}

#[test]
fn other_inputs_are_refused() {
    let g = || first_convolution(SAME, false);
    assert!(with_input(g(), 1, &[0.0], &[1.0]).is_err());
    assert!(with_input(g(), 0, &[0.0; 4], &[1.0; 4]).is_err());
    assert!(with_input(g(), 0, &[0.0; 3], &[1.0]).is_err());
    let mut flat = Graph::default();
    let x = flat.input("x", &[1, 4]);
    flat.outputs.push(x);
    assert!(with_input(flat, 0, &[0.0], &[1.0]).is_err());
}

fn rescaling(steps: &[(&str, BinaryOp, &[f32])]) -> Graph {
    let mut g = Graph::default();
    let mut x = g.input("image", &[1, 8, 8, 3]);
    for (i, &(kind, op, by)) in steps.iter().enumerate() {
        let c = g.constant(format!("c{i}"), &[by.len()], Arc::new(by.to_vec()));
        x = g.node(format!("n{i}"), kind, Op::Binary { op, act: Act::None }, &[x, c], &[1, 8, 8, 3]);
    }
    let y = g.node("relu", "ReLU", Op::Act(Act::RELU), &[x], &[1, 8, 8, 3]);
    g.outputs.push(y);
    g
}

#[test]
fn first_layers_tell_which_levels_they_want() {
    use BinaryOp::{Add, Div, Mul, Sub};
    let levels = |steps: &[_]| wanted_levels(&rescaling(steps)).map(|w| w.level);
    assert_eq!(levels(&[("Rescaling", Mul, &[1.0 / 127.5]), ("Rescaling", Add, &[-1.0])]), Some(255.0));
    assert_eq!(levels(&[("Rescaling", Mul, &[1.0 / 255.0])]), Some(255.0));
    assert_eq!(levels(&[("Rescaling", Mul, &[2.0]), ("Rescaling", Add, &[-1.0])]), Some(1.0));
    assert_eq!(
        levels(&[("Normalization", Sub, &[0.485, 0.456, 0.406]), ("Normalization", Div, &[0.229, 0.224, 0.225])]),
        Some(1.0)
    );
    assert_eq!(levels(&[("Normalization", Sub, &[123.0, 117.0, 104.0]), ("Normalization", Div, &[58.0, 57.0, 57.0])]), Some(255.0));
    let both: [(&str, _, &[f32]); 3] =
        [("Rescaling", Mul, &[1.0 / 255.0]), ("Normalization", Sub, &[0.48, 0.45, 0.4]), ("Normalization", Div, &[0.2, 0.2, 0.2])];
    assert_eq!(levels(&both), Some(255.0));
    // Less a mean, and no more; and what leaves everything as it is.
    assert_eq!(levels(&[("Rescaling", Mul, &[1.0]), ("Rescaling", Add, &[-103.9, -116.8, -123.7])]), Some(255.0));
    assert_eq!(levels(&[("Rescaling", Mul, &[1.0]), ("Rescaling", Add, &[0.0])]), None);
    assert_eq!(levels(&[("Rescaling", Mul, &[0.1])]), Some(255.0));
    let each: Vec<f32> = (0..192).map(|i| 100.0 + (i % 7) as f32).collect();
    assert_eq!(levels(&[("Normalization", Sub, &each)]), Some(255.0));
    // Of decibels, and of temperatures.
    assert_eq!(levels(&[("Normalization", Sub, &[-40.0]), ("Normalization", Div, &[12.0])]), None);
    assert_eq!(levels(&[("Normalization", Sub, &[500.0]), ("Normalization", Div, &[30.0])]), None);
    assert_eq!(levels(&[("Rescaling", Mul, &[1.0 / 80.0]), ("Rescaling", Add, &[1.0])]), None);
    assert_eq!(levels(&[("Normalization", Sub, &[-0.2]), ("Normalization", Div, &[0.5])]), None);
    // A little beside what there is, and beyond it.
    assert_eq!(levels(&[("Rescaling", Mul, &[1.0 / 255.0]), ("Rescaling", Add, &[0.1])]), Some(255.0));
    assert_eq!(levels(&[("Rescaling", Mul, &[1.0 / 255.0]), ("Rescaling", Add, &[-1.0 - 1e-6])]), Some(255.0));
    assert_eq!(levels(&[("Rescaling", Mul, &[1.0 / 127.5]), ("Rescaling", Add, &[1.0])]), Some(255.0));
    assert_eq!(levels(&[("Normalization", Sub, &[-1e-3]), ("Normalization", Div, &[77.5])]), Some(255.0));
    assert_eq!(levels(&[("Normalization", Sub, &[0.5]), ("Normalization", Div, &[1.2])]), Some(1.0));
    // What functions do is said by them only where it can mean nothing else.
    assert_eq!(levels(&[("TFOpLambda", Div, &[127.5]), ("TFOpLambda", Sub, &[1.0])]), Some(255.0));
    assert_eq!(levels(&[("Subtract", Sub, &[127.5]), ("Rescaling", Mul, &[1.0 / 127.5])]), Some(255.0));
    assert_eq!(levels(&[("TrueDivide", Div, &[255.0])]), Some(255.0));
    let torch: [(&str, _, &[f32]); 3] =
        [("TrueDivide", Div, &[255.0]), ("Subtract", Sub, &[0.48, 0.45, 0.4]), ("TrueDivide", Div, &[0.229, 0.224, 0.225])];
    assert_eq!(levels(&torch), Some(255.0));
    assert_eq!(levels(&[("TFOpLambda", Add, &[-103.9, -116.8, -123.7])]), Some(255.0));
    assert_eq!(levels(&[("TFOpLambda", Sub, &[0.5]), ("TFOpLambda", Div, &[0.25])]), None);
    assert_eq!(levels(&[("Multiply", Mul, &[2.0]), ("Subtract", Sub, &[1.0])]), None);
    assert_eq!(levels(&[("Multiply", Mul, &[0.1])]), None);
    assert_eq!(levels(&[("Add", Add, &[1.0]), ("Rescaling", Mul, &[0.5])]), None);
    // Undone again.
    let undone: [(&str, _, &[f32]); 4] = [
        ("Rescaling", Mul, &[127.5]),
        ("Rescaling", Add, &[127.5]),
        ("Rescaling", Mul, &[1.0 / 128.0]),
        ("Rescaling", Add, &[-1.0]),
    ];
    assert_eq!(levels(&undone), None);
    // Of dark pictures.
    assert_eq!(levels(&[("Normalization", Sub, &[8.0]), ("Normalization", Div, &[14.1])]), Some(255.0));
    assert_eq!(levels(&[("Mul", Mul, &[1.0 / 255.0])]), None);
    assert_eq!(levels(&[]), None);
}

/// As Keras' own examples begin: Resizing, CenterCrop, ZeroPadding2D, then Rescaling.
#[test]
fn other_sizes_are_of_the_same_levels() {
    let mut g = Graph::default();
    let x = g.input("image", &[1, 12, 12, 3]);
    let part = Op::Slice { start: vec![0, 2, 2, 0], step: vec![1; 4] };
    let middle = g.node("crop", "CenterCrop", part, &[x], &[1, 8, 8, 3]);
    let pads = vec![(0, 0), (1, 1), (1, 1), (0, 0)];
    let padded = g.node("pad", "ZeroPadding2D", Op::Pad { pads, value: 0.0 }, &[middle], &[1, 10, 10, 3]);
    let c = g.constant("c", &[1], Arc::new(vec![1.0 / 255.0]));
    let y = g.node("levels", "Rescaling", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[padded, c], &[1, 10, 10, 3]);
    g.outputs.push(y);
    assert_eq!(wanted_levels(&g), Some(Wanted { input: 0, level: 255.0, kind: "Rescaling".into() }));
    // Beside a list of numbers, and another picture that is taken as it is.
    let mut more = Graph::default();
    more.input("numbers", &[1, 7]);
    more.input("raw", &[1, 12, 12, 3]);
    let second = more.input("image", &[1, 12, 12, 3]);
    let c = more.constant("c", &[1], Arc::new(vec![1.0 / 255.0]));
    let y = more.node("levels", "Rescaling", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[second, c], &[1, 12, 12, 3]);
    more.outputs.push(y);
    assert_eq!(wanted_levels(&more).map(|w| (w.input, w.level)), Some((2, 255.0)));
    // Of two that say different things the first counts.
    let depth = more.input("depth", &[1, 12, 12, 1]);
    let c = more.constant("d", &[1], Arc::new(vec![2.0]));
    let y = more.node("depth levels", "Rescaling", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[depth, c], &[1, 12, 12, 1]);
    more.outputs.push(y);
    assert_eq!(wanted_levels(&more).map(|w| (w.input, w.level)), Some((2, 255.0)));
    // Wherever they are joined.
    for depth_first in [false, true] {
        let mut g = Graph::default();
        let inputs = [3, 1].map(|c| g.input(format!("input{c}"), &[1, 12, 12, c]));
        let mut scaled = [(inputs[0], 3, 1.0 / 255.0), (inputs[1], 1, 2.0)].map(|(x, c, by)| {
            let by = g.constant("c", &[1], Arc::new(vec![by]));
            g.node(format!("levels{c}"), "Rescaling", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[x, by], &[1, 12, 12, c])
        });
        if depth_first {
            scaled.reverse();
        }
        let y = g.node("join", "Concatenate", Op::Concat { axis: 3 }, &scaled, &[1, 12, 12, 4]);
        g.outputs.push(y);
        assert_eq!(wanted_levels(&g).map(|w| (w.input, w.level)), Some((0, 255.0)), "{depth_first}");
    }
    // Two that begin alike, and one that takes the input as it is.
    let both = |by: f32| {
        let mut g = g.clone();
        let c = g.constant("other", &[1], Arc::new(vec![by]));
        let y = g.node("other", "Rescaling", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[x, c], &[1, 12, 12, 3]);
        g.outputs.push(y);
        wanted_levels(&g).map(|w| w.level)
    };
    assert_eq!(both(1.0 / 127.5), Some(255.0));
    // What leaves levels as they are says nothing, and what says another thing makes it unknown.
    assert_eq!(both(1.0), Some(255.0));
    assert_eq!(both(2.0), None);
    // A branch behind what is common, and channels the other way round.
    let c = g.constant("sixth", &[1], Arc::new(vec![1.0 / 255.0]));
    let scaled = Op::Binary { op: BinaryOp::Mul, act: Act::None };
    let joined = g.node("join", "Concatenate", Op::Concat { axis: 3 }, &[padded, padded], &[1, 10, 10, 6]);
    let flat = g.node("flat", "Flatten", Op::Reshape, &[joined], &[1, 600]);
    let z = g.node("again", "Rescaling", scaled, &[flat, c], &[1, 600]);
    g.outputs.push(z);
    assert_eq!(wanted_levels(&g), Some(Wanted { input: 0, level: 255.0, kind: "Rescaling".into() }));
}

/// What is joined, what is made one number, and what a batch norm does first.
#[test]
fn levels_are_followed_through_joins_means_and_norms() {
    let picture = || {
        let mut g = Graph::default();
        let x = g.input("image", &[1, 8, 8, 3]);
        (g, x)
    };
    let rescaled = |g: &mut Graph, x: ValueId, by: f32| {
        let c = g.constant("c", &[1], Arc::new(vec![by]));
        let shape = g.shape(x).to_vec();
        g.node("levels", "Rescaling", Op::Binary { op: BinaryOp::Mul, act: Act::None }, &[x, c], &shape)
    };
    let told = |mut g: Graph, y: ValueId| {
        g.outputs.push(y);
        wanted_levels(&g).map(|w| w.level)
    };
    let joined = |factors: &[Option<f32>]| {
        let (mut g, x) = picture();
        let parts: Vec<_> = factors.iter().map(|by| by.map_or(x, |by| rescaled(&mut g, x, by))).collect();
        let y = g.node("join", "Concatenate", Op::Concat { axis: 3 }, &parts, &[1, 8, 8, 3 * parts.len()]);
        told(g, y)
    };
    let small = Some(1.0 / 255.0);
    assert_eq!(joined(&[None, small]), Some(255.0));
    assert_eq!(joined(&[small, None]), Some(255.0));
    assert_eq!(joined(&[None, Some(2.0)]), Some(1.0));
    assert_eq!(joined(&[small, Some(2.0)]), None);
    assert_eq!(joined(&[Some(2.0), small]), None);
    assert_eq!(joined(&[None, None]), None);
    for kind in [ReduceKind::Mean, ReduceKind::Sum] {
        let (mut g, x) = picture();
        let op = Op::Reduce { kind, axes: vec![3], keep_dims: true };
        let grey = g.node("grey", "Mean", op, &[x], &[1, 8, 8, 1]);
        let y = rescaled(&mut g, grey, 1.0 / 255.0);
        assert_eq!(told(g, y), (kind == ReduceKind::Mean).then_some(255.0));
    }
    let normed = |mean: f32, variance: f32, by: f32| {
        let (mut g, x) = picture();
        let lists = [1.0, 0.0, mean, variance].map(|v| g.constant("bn", &[3], Arc::new(vec![v; 3])));
        let inputs = [&[x], &lists[..]].concat();
        let y = g.node("bn", "BatchNormalization", Op::BatchNorm { axis: 3, epsilon: 1e-3 }, &inputs, &[1, 8, 8, 3]);
        let y = rescaled(&mut g, y, by);
        told(g, y)
    };
    assert_eq!(normed(0.0, 1.0, 1.0 / 255.0), Some(255.0));
    assert_eq!(normed(120.0, 3600.0, 2.0), Some(255.0));
    assert_eq!(normed(0.5, 0.04, 2.0), Some(1.0));
}

/// Labels, colours and sizes say nothing of levels.
#[test]
fn what_is_said_of_pictures_leaves_the_levels_alone() {
    let graph = || {
        let mut g = rescaling(&[("Rescaling", BinaryOp::Mul, &[1.0 / 255.0])]);
        g.output_names.push("y".into());
        g
    };
    let level = |preprocessing, levels_from_network| {
        let options = ConvertOptions { preprocessing, levels_from_network, ..ConvertOptions::default() };
        let converted = convert_graph(graph(), "net", "test", &options, &mut ()).unwrap();
        converted.summary.preprocessing.map(|p| (p.level, p.bgr))
    };
    let bgr = Some(Preprocessing { bgr: true, ..Preprocessing::default() });
    assert_eq!(level(None, true), Some((255.0, false)));
    assert_eq!(level(bgr.clone(), true), Some((255.0, true)));
    assert_eq!(level(bgr, false), Some((1.0, true)));
}

#[test]
fn written_and_read_again() {
    let p = Preprocessing {
        input: 1,
        bgr: true,
        resize: Resize::Crop(0.875),
        level: 255.0,
        mean: vec![1.0, 2.0, 3.0],
        std: vec![4.0, 5.0, 6.0],
        labels: vec!["a cat".into(), String::new(), "ein Hund".into()],
    };
    let bytes = p.section().unwrap();
    let (record, labels) = Record::parse(&bytes).unwrap();
    assert_eq!((record.labels, labels), (3, "a cat\n\nein Hund\n"));
    let bad = |change: &dyn Fn(&mut Preprocessing)| {
        let mut q = p.clone();
        change(&mut q);
        assert!(q.section().is_err(), "{q:?}");
    };
    bad(&|q| q.std[1] = 0.0);
    bad(&|q| q.mean[0] = f32::NAN);
    bad(&|q| q.mean = vec![0.0; 2]);
    bad(&|q| q.level = 2.0);
    bad(&|q| q.resize = Resize::Crop(0.0));
    bad(&|q| q.resize = Resize::Fit(1.5));
    bad(&|q| q.labels.push("two\nlines".into()));
    bad(&|q| q.labels.push("x".repeat(LABELS)));
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..120), at in 0usize..90, value in any::<u8>()) {
        let _ = Record::parse(&bytes);
        let mut sound = Preprocessing { labels: vec!["x".into(); 5], ..Preprocessing::default() }.section().unwrap();
        if let Some(b) = sound.get_mut(at) {
            *b = value;
        }
        if let Ok((r, labels)) = Record::parse(&sound) {
            prop_assert_eq!(labels.lines().count(), r.labels as usize);
        }
        sound.truncate(at);
        let _ = Record::parse(&sound);
    }
}
