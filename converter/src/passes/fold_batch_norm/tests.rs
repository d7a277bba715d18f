use super::*;
use crate::ir::{BinaryOp, Window};
use crate::passes::testing::{Numbers, batch_norm, binary, conv, finish, same_function, window};
use proptest::prelude::*;
use std::sync::Arc;

const ONE: [usize; 4] = [0; 4];

/// Runs the pass with a record for every batch norm.
fn fold(before: &Graph) -> (Graph, Report) {
    let norms = before.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. }));
    let open = |n: &Node| super::super::Fold::new(&n.name, false, String::new(), Default::default());
    let mut report = Report { folds: norms.map(open).collect(), ..Report::default() };
    let after = run(before.clone(), &mut report).unwrap();
    after.verify().unwrap();
    let error = same_function(before, &after);
    assert!(error < 2e-6, "{error}\n{before}\n{after}");
    (after, report)
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Conv { groups: usize, channels: usize },
    Transposed { groups: usize },
    Dense,
}

fn layer(g: &mut Graph, r: &mut Numbers, name: &str, x: ValueId, kind: Kind, bias: bool, win: Window) -> ValueId {
    let s = g.shape(x).to_vec();
    match kind {
        Kind::Conv { groups, channels } => conv(g, r, name, x, channels, groups, bias, win),
        Kind::Transposed { groups } => {
            let w = r.constant(g, &format!("{name}_w"), &[win.kernel[0], win.kernel[1], 3, s[3]]);
            let mut inputs = vec![x, w];
            if bias {
                inputs.push(r.constant(g, &format!("{name}_b"), &[3 * groups]));
            }
            let extent = |d: usize, i: usize| (d - 1) * win.stride[i] + win.kernel[i];
            let out = [s[0], extent(s[1], 0), extent(s[2], 1), 3 * groups];
            g.node(name, "ConvTranspose", Op::ConvTranspose { window: win, groups, bias, act: Act::None }, &inputs, &out)
        }
        Kind::Dense => {
            let w = r.constant(g, &format!("{name}_w"), &[s[3], 5]);
            let mut inputs = vec![x, w];
            if bias {
                inputs.push(r.constant(g, &format!("{name}_b"), &[5]));
            }
            g.node(name, "Dense", Op::Dense { bias, act: Act::None }, &inputs, &[s[0], s[1], s[2], 5])
        }
    }
}

const KINDS: [Kind; 6] = [
    Kind::Conv { groups: 1, channels: 5 },
    Kind::Conv { groups: 2, channels: 6 },
    Kind::Conv { groups: 4, channels: 4 },
    Kind::Conv { groups: 4, channels: 8 },
    Kind::Transposed { groups: 2 },
    Kind::Dense,
];

#[test]
fn backward_into_everything_linear() {
    for (i, kind) in KINDS.into_iter().enumerate() {
        for bias in [false, true] {
            let (mut g, mut r) = (Graph::default(), Numbers(i as u32));
            let x = g.input("x", &[1, 4, 5, 4]);
            let y = layer(&mut g, &mut r, "layer", x, kind, bias, window(3, 2, [1; 4]));
            let axis = g.shape(y).len() - 1;
            let y = batch_norm(&mut g, &mut r, "bn", y, axis);
            let (after, report) = fold(&finish(g, &[y]));
            assert_eq!(after.nodes.len(), 1, "{kind:?}");
            assert!(report.folds[0].folded && report.folds[0].reason.contains("'layer'"), "{report:?}");
        }
    }
}

#[test]
fn backward_through_averages_crops_and_enlargements() {
    let average = Op::Pool { kind: PoolKind::Average, window: window(2, 2, [0; 4]), residual: false };
    let counted = Op::Pool {
        kind: PoolKind::AverageWithPad { counted: Pads { top: 1, left: 1, ..Pads::default() } },
        window: Window { pads: Pads { top: 1, left: 1, ..Pads::default() }, ..window(2, 2, [0; 4]) },
        residual: false,
    };
    let mean = |axes: &[usize]| Op::Reduce { kind: ReduceKind::Mean, axes: axes.to_vec(), keep_dims: true };
    let slice = |start: [usize; 4]| Op::Slice { start: start.to_vec(), step: vec![1; 4] };
    for (op, shape, folds) in [
        (average, [1, 2, 2, 5], true),
        (counted, [1, 2, 2, 5], false),
        (Op::Upsample { factor: [2, 3] }, [1, 8, 12, 5], true),
        (mean(&[1, 2]), [1, 1, 1, 5], true),
        (mean(&[3]), [1, 4, 4, 1], false),
        (slice([0, 1, 1, 0]), [1, 3, 2, 5], true),
        (slice([0, 0, 0, 2]), [1, 4, 4, 3], false),
    ] {
        for output in [false, true] {
            let (mut g, mut r) = (Graph::default(), Numbers(3));
            let x = g.input("x", &[1, 4, 4, 4]);
            let y = conv(&mut g, &mut r, "layer", x, 5, 1, true, window(3, 1, [1; 4]));
            let mid = g.node("between", "Between", op.clone(), &[y], &shape);
            let z = batch_norm(&mut g, &mut r, "bn", mid, 3);
            let outputs = if output { vec![z, mid] } else { vec![z] };
            let (_, report) = fold(&finish(g, &outputs));
            assert_eq!(report.folds[0].folded, folds && !output, "{op:?} {report:?}");
        }
    }
}

#[test]
fn forward_where_exact() {
    for (i, kind) in KINDS.into_iter().enumerate() {
        for (pads, folds) in [([0; 4], !matches!(kind, Kind::Transposed { .. })), ([0, 1, 0, 0], matches!(kind, Kind::Dense))] {
            let (mut g, mut r) = (Graph::default(), Numbers(i as u32 + 10));
            let x = g.input("x", &[1, 4, 5, 4]);
            let x = g.node("relu", "Relu", Op::Act(Act::RELU), &[x], &[1, 4, 5, 4]);
            let y = batch_norm(&mut g, &mut r, "bn", x, 3);
            let y = layer(&mut g, &mut r, "layer", y, kind, i % 2 == 0, window(2, 1, pads));
            let (after, report) = fold(&finish(g, &[y]));
            assert_eq!(report.folds[0].folded, folds, "{kind:?} {pads:?} {report:?}");
            assert_eq!(after.nodes.len(), if folds { 2 } else { 3 });
            if folds {
                assert!(report.folds[0].reason.contains("forward"));
            }
        }
    }
}

#[test]
fn a_scale_without_shift_folds_across_a_padded_border() {
    for kind in [KINDS[1], KINDS[4]] {
        let (mut g, mut r) = (Graph::default(), Numbers(3));
        let x = g.input("x", &[1, 4, 5, 4]);
        let c = r.constant(&mut g, "c", &[4]);
        let y = g.node("mul", "Mul", binary(BinaryOp::Mul, Act::None), &[c, x], &[1, 4, 5, 4]);
        let y =
            layer(&mut g, &mut r, "layer", y, kind, true, window(3, 1, [if matches!(kind, Kind::Conv { .. }) { 1 } else { 0 }; 4]));
        assert_eq!(fold(&finish(g, &[y])).0.nodes.len(), 1);
    }
}

#[test]
fn chains_fold_at_once_and_forward_meets_backward() {
    let (mut g, mut r) = (Graph::default(), Numbers(4));
    let x = g.input("x", &[1, 3, 3, 4]);
    let a = batch_norm(&mut g, &mut r, "bn1", x, 3);
    let c = conv(&mut g, &mut r, "conv", a, 4, 2, true, window(2, 1, ONE));
    let b = batch_norm(&mut g, &mut r, "bn2", c, 3);
    let two = g.constant("two", &[1], Arc::new(vec![2.0]));
    let k = r.constant(&mut g, "k", &[1, 1, 4]);
    let d = g.node("div", "Div", binary(BinaryOp::Div, Act::None), &[b, two], &[1, 2, 2, 4]);
    let s = g.node("sub", "Sub", binary(BinaryOp::Sub, Act::None), &[k, d], &[1, 2, 2, 4]);
    let n = batch_norm(&mut g, &mut r, "bn3", s, 3);
    let (after, report) = fold(&finish(g, &[n]));
    assert_eq!(after.nodes.len(), 1);
    assert!(report.folds.iter().all(|f| f.folded), "{report:?}");
    assert_eq!(report.notes.len(), 2);
}

#[test]
fn through_reshapes_that_keep_channels_apart() {
    let (mut g, mut r) = (Graph::default(), Numbers(6));
    // A one-dimensional convolution, and one whose channels are taken apart.
    let x = g.input("x", &[1, 1, 6, 4]);
    let y = conv(&mut g, &mut r, "conv", x, 6, 1, false, window(1, 1, ONE));
    let y = g.node("squeeze", "Reshape", Op::Reshape, &[y], &[1, 6, 2, 3]);
    let y = batch_norm(&mut g, &mut r, "bn1", y, 3);
    let y = g.node("relu", "Relu", Op::Act(Act::RELU), &[y], &[1, 6, 2, 3]);
    // Flatten and Dense.
    let y = batch_norm(&mut g, &mut r, "bn2", y, 3);
    let y = g.node("flat", "Flatten", Op::Reshape, &[y], &[1, 36]);
    let w = r.constant(&mut g, "w", &[36, 5]);
    let y = g.node("fc", "Dense", Op::Dense { bias: false, act: Act::None }, &[y, w], &[1, 5]);
    let (after, report) = fold(&finish(g, &[y]));
    assert_eq!(after.nodes.len(), 5, "{after}");
    assert!(report.folds[0].reason.contains("into Conv 'conv'") && report.folds[1].reason.contains("forward into Dense 'fc'"));
    // Channels that a reshape mixes.
    let (mut g, mut r) = (Graph::default(), Numbers(6));
    let x = g.input("x", &[1, 1, 6, 4]);
    let y = conv(&mut g, &mut r, "conv", x, 4, 1, false, window(1, 1, ONE));
    let y = g.node("mix", "Reshape", Op::Reshape, &[y], &[1, 4, 6]);
    let y = batch_norm(&mut g, &mut r, "bn", y, 2);
    let y = g.node("mix", "Reshape", Op::Reshape, &[y], &[1, 1, 6, 4]);
    let y = conv(&mut g, &mut r, "next", y, 4, 1, false, window(1, 1, ONE));
    let (_, report) = fold(&finish(g, &[y]));
    assert!(!report.folds[0].folded, "{report:?}");
}

/// A graph with a batch norm behind `conv`, changed by `f`, which gives the output.
fn behind(f: impl Fn(&mut Graph, &mut Numbers, ValueId) -> Vec<ValueId>) -> Report {
    let (mut g, mut r) = (Graph::default(), Numbers(9));
    let x = g.input("x", &[1, 4, 4, 3]);
    let y = conv(&mut g, &mut r, "conv", x, 3, 1, true, window(1, 1, ONE));
    let outputs = f(&mut g, &mut r, y);
    fold(&finish(g, &outputs)).1
}

#[test]
fn refusals_say_why() {
    let bn = |g: &mut Graph, r: &mut Numbers, x| batch_norm(g, r, "bn", x, 3);
    let check = |report: Report, words: &[&str]| {
        let fold = &report.folds[0];
        assert!(!fold.folded, "{words:?}");
        assert!(words.iter().all(|w| fold.reason.contains(w)), "{words:?}: {}", fold.reason);
    };
    let relu = behind(|g, r, y| {
        let y = g.node("relu", "Relu", Op::Act(Act::RELU), &[y], &[1, 4, 4, 3]);
        vec![bn(g, r, y)]
    });
    check(relu, &["activation Relu 'relu' stands before", "output of the network"]);
    let pool = behind(|g, r, y| {
        let op = Op::Pool { kind: PoolKind::Max, window: window(2, 2, ONE), residual: false };
        let y = g.node("pool", "MaxPool", op, &[y], &[1, 2, 2, 3]);
        let y = bn(g, r, y);
        vec![g.node("after", "Relu", Op::Act(Act::RELU), &[y], &[1, 2, 2, 3])]
    });
    check(pool, &["max-pool", "activation Relu 'after' follows"]);
    let second_use = behind(|g, r, y| vec![bn(g, r, y), g.node("tanh", "Tanh", Op::Act(Act::Tanh), &[y], &[1, 4, 4, 3])]);
    check(second_use, &["Conv 'conv' has 2 readers"]);
    let output = behind(|g, r, y| vec![bn(g, r, y), y]);
    check(output, &["Conv 'conv' is also an output"]);
    let padded = behind(|g, r, y| {
        let z = bn(g, r, y);
        vec![conv(g, r, "next", z, 3, 1, true, window(3, 1, [1; 4])), y]
    });
    check(padded, &["Conv 'next' pads"]);
    let join = behind(|g, r, y| {
        let z = g.node("add", "Add", binary(BinaryOp::Add, Act::None), &[y, y], &[1, 4, 4, 3]);
        let z = bn(g, r, z);
        let a = conv(g, r, "a", z, 3, 1, false, window(1, 1, ONE));
        vec![a, conv(g, r, "b", z, 3, 1, false, window(1, 1, ONE))]
    });
    check(join, &["Add 'add' joins", "its result has 2 readers"]);
    let shared = behind(|g, r, y| {
        let weights = g.nodes[0].inputs.clone();
        let z = bn(g, r, y);
        let op = g.nodes[0].op.clone();
        vec![g.node("twin", "Conv", op, &[z, weights[1], weights[2]], &[1, 4, 4, 3])]
    });
    check(shared, &["Conv 'conv' has weights shared with Conv 'twin'", "Conv 'twin' has weights shared with Conv 'conv'"]);
}

#[test]
fn a_shift_leaves_shared_weights_alone() {
    let (mut g, mut r) = (Graph::default(), Numbers(9));
    let x = g.input("x", &[1, 4, 4, 3]);
    let a = conv(&mut g, &mut r, "a", x, 3, 1, false, window(1, 1, ONE));
    let w = g.nodes[0].inputs[1];
    let b = g.node("b", "Conv", g.nodes[0].op.clone(), &[x, w], &[1, 4, 4, 3]);
    let c = r.constant(&mut g, "c", &[3]);
    let y = g.node("add", "Add", binary(BinaryOp::Add, Act::None), &[a, c], &[1, 4, 4, 3]);
    let (after, _) = fold(&finish(g, &[y, b]));
    assert_eq!(after.nodes.len(), 2);
    assert_eq!(after.nodes[0].inputs[1], after.nodes[1].inputs[1]);
}

fn parameters(variance: f32, gamma: f32) -> Graph {
    let (mut g, mut r) = (Graph::default(), Numbers(9));
    let x = g.input("x", &[1, 2, 2, 2]);
    let y = conv(&mut g, &mut r, "conv", x, 2, 1, true, window(1, 1, ONE));
    let [ga, be, me, va] =
        [vec![gamma, -1.0], vec![0.5, 0.25], vec![1.0, 2.0], vec![variance, 1.0]].map(|v| g.constant("p", &[2], Arc::new(v)));
    let y = g.node("bn", "BatchNorm", Op::BatchNorm { axis: 3, epsilon: 1e-3 }, &[y, ga, be, me, va], &[1, 2, 2, 2]);
    finish(g, &[y])
}

#[test]
fn unusual_parameters() {
    let (_, report) = fold(&parameters(0.0, 0.0));
    let scale = report.folds[0].scale;
    assert_eq!((scale.min, scale.negative, scale.zero, scale.tiny_variance), (0.0, 1, 1, 1));
    fold(&parameters(-0.0005, 1.0));
    let e = run(parameters(-0.001, 1.0), &mut Report::default()).unwrap_err().to_string();
    assert!(e.contains("'bn'") && e.contains("variance"), "{e}");
    let e = run(parameters(0.0, 1e38), &mut Report::default()).unwrap_err().to_string();
    assert!(e.contains("'conv'"), "{e}");
    // Denormals become zero, and are counted.
    let mut report = Report::default();
    run(parameters(1.0, 1e-39), &mut report).unwrap();
    assert!(report.notes.iter().any(|n| n.contains("denormal")), "{report:?}");
}

#[test]
fn weights_are_rounded_once() {
    let before = parameters(0.3, 0.7);
    let (after, _) = fold(&before);
    let w = before.data(before.nodes[0].inputs[1]).unwrap();
    let folded = after.data(after.nodes[0].inputs[1]).unwrap();
    let spread = (f64::from(0.3f32) + f64::from(1e-3f32)).sqrt();
    assert_eq!(folded[0], (f64::from(w[0]) * (f64::from(0.7f32) / spread)) as f32);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn computes_the_same(seed in any::<u32>(), steps in 2usize..9) {
        let (mut g, mut r) = (Graph::default(), Numbers(seed));
        let mut all = vec![g.input("x", &[1, 5, 4, 4])];
        for i in 0..steps {
            // Mostly the last value, so that chains arise.
            let x = if r.below(4) > 0 { all[all.len() - 1] } else { all[r.below(all.len())] };
            let s = g.shape(x).to_vec();
            let c = s[3];
            let y = match r.below(8) {
                0 | 1 => batch_norm(&mut g, &mut r, &format!("n{i}"), x, 3),
                2 => {
                    let k = r.constant(&mut g, &format!("k{i}"), &[c]);
                    let op = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul][r.below(3)];
                    let inputs = if r.below(2) == 0 { [x, k] } else { [k, x] };
                    g.node(format!("n{i}"), "Binary", binary(op, Act::None), &inputs, &s)
                }
                6 => g.node(format!("n{i}"), "Reshape", Op::Reshape, &[x], &[1, s[1] * s[2], 1, s[3]]),
                7 if s[1] % 2 == 0 => g.node(format!("n{i}"), "Reshape", Op::Reshape, &[x], &[1, s[1] / 2, s[2], 2 * s[3]]),
                3 => g.node(format!("n{i}"), "Relu", Op::Act(Act::RELU), &[x], &s),
                4 if s[1] > 1 && s[2] > 1 => {
                    let pads = [r.below(2), 0, r.below(2), r.below(2)];
                    let groups = [1, c][r.below(2)];
                    conv(&mut g, &mut r, &format!("n{i}"), x, c, groups, true, window(2, 1, pads))
                }
                5 => layer(&mut g, &mut r, &format!("n{i}"), x, Kind::Dense, false, window(1, 1, ONE)),
                _ => conv(&mut g, &mut r, &format!("n{i}"), x, c, 1, false, window(1, 1, ONE)),
            };
            all.push(y);
        }
        let outputs = if r.below(3) == 0 { vec![all[all.len() - 1], all[r.below(all.len())]] } else { vec![all[all.len() - 1]] };
        let mut before = finish(g, &outputs);
        before.remove_dead();
        let (_, report) = fold(&before);
        prop_assert!(report.folds.iter().all(|f| !f.reason.is_empty()));
    }
}

/// Batch norms of these epsilons over the same constants, with activations between that keep them apart.
fn over_the_same_constants(channels: usize, epsilons: &[f32]) -> Graph {
    let mut g = Graph::default();
    let mut x = g.input("x", &[1, channels]);
    let constants = ["gamma", "beta", "mean", "variance"].map(|name| g.constant(name, &[channels], Arc::new(vec![0.5; channels])));
    for (i, &epsilon) in epsilons.iter().enumerate() {
        let inputs = [&[x], &constants[..]].concat();
        let op = Op::BatchNorm { axis: 1, epsilon };
        x = g.node(format!("bn{i}"), "BatchNormalization", op, &inputs, &[1, channels]);
        x = g.node(format!("tanh{i}"), "Tanh", Op::Act(Act::Tanh), &[x], &[1, channels]);
    }
    finish(g, &[x])
}

#[test]
fn batch_norms_of_the_same_constants_share_what_they_become() {
    let before = over_the_same_constants(3, &[0.5, 0.5, 0.25, 0.5]);
    let after = run(before.clone(), &mut Report::default()).unwrap();
    after.verify().unwrap();
    assert!(same_function(&before, &after) < 1e-6);
    let scales: Vec<ValueId> = after.nodes.iter().filter(|n| n.inputs.len() == 3).map(|n| n.inputs[1]).collect();
    assert!(matches!(scales[..], [a, b, c, d] if a == b && a != c && a == d), "{after}");
}

#[test]
fn few_constants_do_not_become_many() {
    let many: Vec<f32> = (1..=16).map(|i| i as f32).collect();
    let e = run(over_the_same_constants(1 << 20, &many), &mut Report::default()).unwrap_err().to_string();
    assert!(e.contains("too few constants"), "{e}");
    assert!(run(over_the_same_constants(1 << 20, &many[..4]), &mut Report::default()).is_ok());
}
