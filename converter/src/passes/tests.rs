//! All passes together.
use super::testing::{Numbers, batch_norm, binary, conv, finish, same_values, window};
use super::*;
use crate::ir::{Act, BinaryOp, PoolKind, ReduceKind, ValueId};
use proptest::prelude::*;

/// Runs all passes; the same function, to the rounding of folded weights.
fn optimise(before: &Graph) -> (Graph, Report) {
    let (after, report) = run(before.clone()).unwrap();
    same_values(before, &after, &report.origins);
    (after, report)
}

fn relu(g: &mut Graph, x: ValueId) -> ValueId {
    let shape = g.shape(x).to_vec();
    g.node(format!("relu{}", g.nodes.len()), "ReLU", Op::Act(Act::RELU), &[x], &shape)
}

fn add(g: &mut Graph, a: ValueId, b: ValueId) -> ValueId {
    let shape = g.shape(a).to_vec();
    g.node(format!("add{}", g.nodes.len()), "Add", binary(BinaryOp::Add, Act::None), &[a, b], &shape)
}

fn separable(g: &mut Graph, r: &mut Numbers, x: ValueId, channels: usize) -> ValueId {
    let (i, c) = (g.nodes.len(), g.shape(x)[3]);
    let x = conv(g, r, &format!("dw{i}"), x, c, c, false, window(3, 1, [1; 4]));
    let x = conv(g, r, &format!("pw{i}"), x, channels, 1, false, window(1, 1, [0; 4]));
    batch_norm(g, r, &format!("bn{i}"), x, 3)
}

#[test]
fn a_block_of_xception() {
    let (mut g, mut r) = (Graph::default(), Numbers(1));
    let x = g.input("x", &[1, 8, 8, 4]);
    let shortcut = conv(&mut g, &mut r, "shortcut", x, 6, 1, false, window(1, 2, [0; 4]));
    let shortcut = batch_norm(&mut g, &mut r, "bn", shortcut, 3);
    let a = relu(&mut g, x);
    let a = separable(&mut g, &mut r, a, 6);
    let a = relu(&mut g, a);
    let a = separable(&mut g, &mut r, a, 6);
    let op = Op::Pool { kind: PoolKind::Max, window: window(3, 2, [0, 0, 1, 1]), residual: false };
    let a = g.node("pool", "MaxPooling2D", op, &[a], &[1, 4, 4, 6]);
    let x = add(&mut g, a, shortcut);
    let mut y = x;
    for _ in 0..3 {
        y = relu(&mut g, y);
        y = separable(&mut g, &mut r, y, 6);
    }
    let y = add(&mut g, y, x);
    let y = g.node(
        "gap",
        "GlobalAveragePooling2D",
        Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims: false },
        &[y],
        &[1, 6],
    );
    let (after, report) = optimise(&finish(g, &[y]));
    assert_eq!(report.folds.iter().filter(|f| f.folded).count(), 6);
    // The shortcut, five separable convolutions, the pool with its sum and the mean.
    let expected = "conv conv conv conv conv max_pool conv conv conv conv conv conv reduce_mean";
    let text = after.to_string();
    let words: Vec<&str> = text.lines().filter_map(|l| l.split(" = ").nth(1)?.split_once('(').map(|w| w.0)).collect();
    assert_eq!(words.join(" "), expected, "{after}");
    assert_eq!(text.matches("pre_relu").count(), 2);
    assert_eq!(text.matches("residual").count(), 2);
}

#[test]
fn mistakes_of_a_source_are_errors() {
    let mut g = Graph::default();
    let x = g.input("x", &[2]);
    let y = g.node("y", "Relu", Op::Act(Act::RELU), &[x], &[3]);
    g.outputs.push(y);
    g.output_names.push("y".into());
    assert!(matches!(run(g), Err(Error::Invalid(_))));
}

#[test]
fn batch_norms_that_nothing_reads_are_accounted_for() {
    let (mut g, mut r) = (Graph::default(), Numbers(1));
    let x = g.input("x", &[1, 2, 2, 4]);
    batch_norm(&mut g, &mut r, "unread", x, 3);
    let y = relu(&mut g, x);
    let (_, report) = optimise(&finish(g, &[y]));
    assert_eq!(report.folds.len(), 1);
    assert!(report.folds[0].reason.contains("no output"));
}

/// What a file of a megabyte holds is gone through a few times, not once for each of its nodes: quadratic work takes minutes.
#[test]
fn long_networks_take_seconds() {
    let start = std::time::Instant::now();
    let one = |g: &mut Graph, v: f32| g.constant("c", &[1], std::sync::Arc::new(vec![v]));
    let mut products = Graph::default();
    let mut x = products.input("x", &[1, 4]);
    for i in 0..60_000 {
        let c = one(&mut products, [2.0, 0.5][i % 2]);
        x = products.node("n", "Mul", binary(BinaryOp::Mul, Act::None), &[x, c], &[1, 4]);
    }
    let mut masks = Graph::default();
    let mut y = masks.input("x", &[1, 4]);
    for _ in 0..30_000 {
        let c = one(&mut masks, f32::NEG_INFINITY);
        let sum = masks.node("n", "Add", binary(BinaryOp::Add, Act::None), &[y, c], &[1, 4]);
        y = masks.node("n", "Softmax", Op::Softmax { axis: 1, log: false }, &[sum], &[1, 4]);
    }
    let (mut norms, mut r) = (Graph::default(), Numbers(5));
    let mut z = norms.input("x", &[1, 4, 4, 2]);
    for i in 0..10_000 {
        z = conv(&mut norms, &mut r, "conv", z, 2, 1, true, window(1, 1, [0; 4]));
        z = batch_norm(&mut norms, &mut r, &format!("bn{}", i / 2), z, 3);
    }
    for (g, y) in [(products, x), (masks, y), (norms, z)] {
        let (_, report) = run(finish(g, &[y])).unwrap();
        assert!(report.folds.iter().all(|f| f.folded && f.reason.contains("into Conv 'conv'")));
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn compute_the_same(seed in any::<u32>(), steps in 2usize..16) {
        let (mut g, mut r) = (Graph::default(), Numbers(seed));
        let mut all = vec![g.input("x", &[1, 4, 6, 2])];
        for i in 0..steps {
            let x = if r.below(3) > 0 { all[all.len() - 1] } else { all[r.below(all.len())] };
            let s = g.shape(x).to_vec();
            let c = s[3];
            let name = format!("n{i}");
            let y = match r.below(13) {
                0 | 1 => batch_norm(&mut g, &mut r, &name, x, 3),
                2 => batch_norm(&mut g, &mut r, &name, x, 1),
                3 | 4 => relu(&mut g, x),
                5 => {
                    let groups = [1, c][r.below(2)];
                    let pads = [r.below(2), r.below(2), r.below(2), r.below(2)];
                    let kernel = 1 + r.below(2).min(s[1].min(s[2]) - 1);
                    conv(&mut g, &mut r, &name, x, c, groups, true, window(kernel, 1, pads))
                }
                6 => {
                    let others: Vec<ValueId> = all.iter().copied().filter(|&v| g.shape(v) == s).collect();
                    let other = others[r.below(others.len())];
                    add(&mut g, x, other)
                }
                7 => {
                    let mut shape = s.clone();
                    shape[2] += 1;
                    let pads = vec![(0, 0), (0, 0), (1, 0), (0, 0)];
                    g.node(name, "Pad", Op::Pad { pads, value: 0.0 }, &[x], &shape)
                }
                8 if s[1] > 1 && s[2] > 1 => {
                    let kind = [PoolKind::Max, PoolKind::Average][r.below(2)];
                    let shape = [s[0], s[1] - 1, s[2] - 1, c];
                    g.node(name, "Pool", Op::Pool { kind, window: window(2, 1, [0; 4]), residual: false }, &[x], &shape)
                }
                9 => {
                    let perm = [[0, 3, 1, 2], [0, 2, 3, 1], [0, 2, 1, 3]][r.below(3)];
                    let shape = perm.map(|p| s[p]);
                    g.node(name, "Transpose", Op::Transpose { perm: perm.to_vec() }, &[x], &shape)
                }
                10 => {
                    let k = [c, 1][r.below(2)];
                    let k = r.constant(&mut g, "k", &[k]);
                    g.node(name, "Mul", binary(BinaryOp::Mul, Act::None), &[x, k], &s)
                }
                11 => {
                    let gate = g.node(format!("{name}_gate"), "Sigmoid", Op::Act(Act::Sigmoid), &[x], &s);
                    g.node(name, "Mul", binary(BinaryOp::Mul, Act::None), &[gate, x], &s)
                }
                _ => g.node(name, "Reshape", Op::Reshape, &[x], &[s[0], s[2], s[1], c]),
            };
            all.push(y);
        }
        let outputs = [all[all.len() - 1], all[r.below(all.len())]];
        let before = finish(g, &outputs);
        let (after, report) = optimise(&before);
        let left = after.nodes.iter().filter(|n| matches!(n.op, Op::BatchNorm { .. })).count();
        prop_assert_eq!(left, 0);
        prop_assert!(report.folds.iter().all(|f| !f.reason.is_empty()));
    }
}
