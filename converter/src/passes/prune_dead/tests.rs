use super::*;
use crate::ir::BinaryOp;
use crate::ir::{Act, PoolKind, ReduceKind};
use crate::passes::testing::{Numbers, binary, conv, finish, same_function, window};
use crate::passes::{InputRange, Options, run_with};
use proptest::prelude::*;

/// Prunes after all passes; the same function as all passes without it, to the rounding of a bias.
fn prune(before: &Graph, threshold: f64) -> (Graph, Pruned) {
    let (after, report) = run_with(before.clone(), &Options { prune_dead: Some(threshold), ..Options::default() }).unwrap();
    let pruned = report.pruned.unwrap();
    let (unpruned, _) = run_with(before.clone(), &Options::default()).unwrap();
    let error = same_function(&unpruned, &after);
    assert!(error < 2e-6 + pruned.error, "{error}\n{before}\n{after}");
    assert!(pruned.macs_after <= pruned.macs_before);
    (after, pruned)
}

/// A batch norm whose gamma is zero in some channels.
fn norm(g: &mut Graph, r: &mut Numbers, x: ValueId, zero: &[usize], beta: f32) -> ValueId {
    let shape = g.shape(x).to_vec();
    let c = shape[shape.len() - 1];
    let gamma = (0..c).map(|i| if zero.contains(&i) { 0.0 } else { 1.5 }).collect();
    let name = format!("bn{}", g.nodes.len());
    let gamma = g.constant(format!("{name}_gamma"), &[c], Arc::new(gamma));
    let beta = g.constant(format!("{name}_beta"), &[c], Arc::new(vec![beta; c]));
    let mean = r.constant(g, &format!("{name}_mean"), &[c]);
    let variance = g.constant(format!("{name}_variance"), &[c], Arc::new(vec![1.0; c]));
    g.node(
        name,
        "BatchNormalization",
        Op::BatchNorm { axis: shape.len() - 1, epsilon: 1e-3 },
        &[x, gamma, beta, mean, variance],
        &shape,
    )
}

fn act(g: &mut Graph, act: Act, x: ValueId) -> ValueId {
    let shape = g.shape(x).to_vec();
    g.node(format!("act{}", g.nodes.len()), "Act", Op::Act(act), &[x], &shape)
}

const PADDED: [usize; 4] = [1; 4];
const NONE: [usize; 4] = [0; 4];

/// conv -> batch norm with two dead channels of six -> activation -> conv.
fn two(beta: f32, between: Option<Act>, pads: [usize; 4]) -> (Graph, Pruned) {
    let (mut g, mut r) = (Graph::default(), Numbers(1));
    let x = g.input("x", &[1, 6, 6, 3]);
    let y = conv(&mut g, &mut r, "first", x, 6, 1, true, window(3, 1, PADDED));
    let y = norm(&mut g, &mut r, y, &[1, 4], beta);
    let y = match between {
        Some(a) => act(&mut g, a, y),
        None => y,
    };
    let y = conv(&mut g, &mut r, "second", y, 5, 1, false, window(3, 1, pads));
    prune(&finish(g, &[y]), 0.0)
}

#[test]
fn a_gamma_of_zero_goes_into_the_next_bias_where_nothing_is_padded() {
    let (after, pruned) = two(0.5, None, NONE);
    assert_eq!((pruned.constant, pruned.removed, pruned.error), (2, 2, 0.0));
    let channels: Vec<usize> = after.nodes.iter().map(|n| *after.shape(n.output).last().unwrap()).collect();
    assert_eq!(channels, [4, 5]);
    // 36 pixels of 27 terms for 6 channels and 16 of 54 for 5; two channels fewer.
    assert_eq!((pruned.macs_before, pruned.macs_after), (36 * 27 * 6 + 16 * 54 * 5, 36 * 27 * 4 + 16 * 36 * 5));
}

#[test]
fn a_border_of_zeros_keeps_constants_that_are_not_zero() {
    let (_, pruned) = two(0.5, None, PADDED);
    assert_eq!((pruned.constant, pruned.removed), (2, 0));
    assert_eq!(pruned.kept, [("first".to_owned(), 2)]);
    // A ReLU makes zero of what is below; the border does not matter then.
    let (_, pruned) = two(-0.5, Some(Act::RELU), PADDED);
    assert_eq!((pruned.constant, pruned.removed), (2, 2));
    let (_, pruned) = two(-0.5, Some(Act::Sigmoid), PADDED);
    assert_eq!((pruned.constant, pruned.removed), (2, 0));
    let (_, pruned) = two(-0.5, Some(Act::Sigmoid), NONE);
    assert_eq!((pruned.constant, pruned.removed), (2, 2));
}

#[test]
fn what_a_relu_holds_at_zero_is_proved() {
    let (mut g, mut r) = (Graph::default(), Numbers(2));
    let x = g.input("x", &[1, 4, 4, 3]);
    let x = act(&mut g, Act::Sigmoid, x);
    // From inputs of 0 to 1 no channel reaches 0: the weights of all are below 12, the bias is -200 in one.
    let w = r.constant(&mut g, "w", &[1, 1, 3, 4]);
    let b = g.constant("b", &[4], Arc::new(vec![1.0, -200.0, 1.0, 200.0]));
    let op = Op::Conv { window: window(1, 1, NONE), groups: 1, bias: true, residual: false, pre_relu: false, act: Act::None };
    let y = g.node("first", "Conv", op, &[x, w, b], &[1, 4, 4, 4]);
    let y = act(&mut g, Act::RELU, y);
    let y = conv(&mut g, &mut r, "second", y, 2, 1, true, window(3, 1, PADDED));
    let (_, pruned) = prune(&finish(g, &[y]), 0.0);
    assert_eq!((pruned.constant, pruned.removed), (1, 1));
}

#[test]
fn through_depthwise_pools_and_means() {
    for dead_bias in [true, false] {
        let (mut g, mut r) = (Graph::default(), Numbers(3));
        let x = g.input("x", &[1, 8, 8, 3]);
        let y = conv(&mut g, &mut r, "first", x, 6, 1, true, window(3, 1, PADDED));
        let y = norm(&mut g, &mut r, y, &[0, 5], -1.0);
        let y = act(&mut g, Act::RELU, y);
        let y = conv(&mut g, &mut r, "depthwise", y, 6, 6, dead_bias, window(3, 1, PADDED));
        let shape = [1, 4, 4, 6];
        let op = Op::Pool { kind: PoolKind::Average, window: window(2, 2, NONE), residual: false };
        let y = g.node("pool", "Pool", op, &[y], &shape);
        let op = Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims: false };
        let y = g.node("mean", "Mean", op, &[y], &[1, 6]);
        let w = r.constant(&mut g, "w", &[6, 4]);
        let y = g.node("dense", "Dense", Op::Dense { bias: false, act: Act::None }, &[y, w], &[1, 4]);
        let (after, pruned) = prune(&finish(g, &[y]), 0.0);
        // The depthwise convolution of zeros is its bias, everywhere.
        assert_eq!((pruned.constant, pruned.removed), (2, 2), "{after}");
        assert!(after.nodes.iter().any(|n| matches!(n.op, Op::Conv { groups: 4, .. })), "{after}");
    }
}

#[test]
fn sums_lose_channels_in_both_operands_or_not_at_all() {
    for (other, removed) in [(vec![1], 2), (vec![2], 0), (vec![], 0)] {
        let (mut g, mut r) = (Graph::default(), Numbers(4));
        let x = g.input("x", &[1, 4, 4, 3]);
        let a = conv(&mut g, &mut r, "a", x, 4, 1, true, window(3, 1, PADDED));
        let a = norm(&mut g, &mut r, a, &[1], 0.25);
        let b = conv(&mut g, &mut r, "b", x, 4, 1, true, window(1, 1, NONE));
        let b = norm(&mut g, &mut r, b, &other, 0.5);
        let shape = g.shape(a).to_vec();
        let y = g.node("add", "Add", binary(BinaryOp::Add, Act::None), &[a, b], &shape);
        let y = conv(&mut g, &mut r, "last", y, 2, 1, true, window(1, 1, NONE));
        let (after, pruned) = prune(&finish(g, &[y]), 0.0);
        assert_eq!(pruned.removed, removed, "{after}");
    }
}

#[test]
fn concatenations_lose_what_their_parts_lose() {
    let (mut g, mut r) = (Graph::default(), Numbers(5));
    let x = g.input("x", &[1, 4, 4, 3]);
    let a = conv(&mut g, &mut r, "a", x, 4, 1, true, window(3, 1, PADDED));
    let a = norm(&mut g, &mut r, a, &[1, 2], 0.25);
    let b = conv(&mut g, &mut r, "b", x, 3, 1, true, window(1, 1, NONE));
    let b = norm(&mut g, &mut r, b, &[0], 0.5);
    let y = g.node("concat", "Concat", Op::Concat { axis: 3 }, &[a, b], &[1, 4, 4, 7]);
    let y = conv(&mut g, &mut r, "last", y, 2, 1, true, window(1, 1, NONE));
    let (after, pruned) = prune(&finish(g, &[y]), 0.0);
    assert_eq!(pruned.removed, 3, "{after}");
}

#[test]
fn one_channel_stays_and_outputs_stay_whole() {
    let (mut g, mut r) = (Graph::default(), Numbers(6));
    let x = g.input("x", &[1, 4, 4, 3]);
    let y = conv(&mut g, &mut r, "a", x, 3, 1, true, window(3, 1, PADDED));
    let y = norm(&mut g, &mut r, y, &[0, 1, 2], 0.25);
    let z = conv(&mut g, &mut r, "b", y, 3, 1, true, window(1, 1, NONE));
    let z = norm(&mut g, &mut r, z, &[1], 0.5);
    let (after, pruned) = prune(&finish(g, &[z]), 0.0);
    assert_eq!(pruned.removed, 2, "{after}");
    assert_eq!(after.shape(after.outputs[0]), [1, 4, 4, 3]);
}

#[test]
fn nearly_constant_channels_need_a_threshold() {
    let build = || {
        let (mut g, mut r) = (Graph::default(), Numbers(7));
        let x = g.input("x", &[1, 4, 4, 3]);
        let x = act(&mut g, Act::Sigmoid, x);
        let w = (0..12).map(|i| if i % 4 == 2 { 1e-6 } else { 1.0 + i as f32 }).collect();
        let w = g.constant("w", &[1, 1, 3, 4], Arc::new(w));
        let op = Op::Conv { window: window(1, 1, NONE), groups: 1, bias: false, residual: false, pre_relu: false, act: Act::None };
        let y = g.node("first", "Conv", op, &[x, w], &[1, 4, 4, 4]);
        let y = conv(&mut g, &mut r, "second", y, 2, 1, true, window(1, 1, NONE));
        finish(g, &[y])
    };
    assert_eq!(prune(&build(), 0.0).1.removed, 0);
    let (_, pruned) = prune(&build(), 1e-5);
    assert_eq!(pruned.removed, 1);
    assert!(pruned.error > 0.0 && pruned.error < 1e-5, "{}", pruned.error);
}

/// Weights that training has made as good as zero, straight behind an input.
#[test]
fn inputs_are_bounded_by_what_is_said_or_by_default() {
    let build = |act| {
        let (mut g, mut r) = (Graph::default(), Numbers(8));
        let x = g.input("x", &[1, 4, 4, 3]);
        let w = (0..12).map(|i| if i % 4 == 2 { 1e-9 } else { 1.0 + i as f32 }).collect();
        let w = g.constant("w", &[1, 1, 3, 4], Arc::new(w));
        let op = Op::Conv { window: window(1, 1, NONE), groups: 1, bias: false, residual: false, pre_relu: false, act };
        let y = g.node("first", "Conv", op, &[x, w], &[1, 4, 4, 4]);
        let y = conv(&mut g, &mut r, "second", y, 2, 1, true, window(1, 1, NONE));
        finish(g, &[y])
    };
    // Three inputs of -255 to 255 make an interval of 1.5e-6; of 0 to 1, one of 3e-9.
    for (threshold, declared, removed) in
        [(2e-6, None, 1), (1e-6, None, 0), (4e-9, Some((0.0, 1.0)), 1), (2e-9, Some((0.0, 1.0)), 0)]
    {
        let range = |(lo, hi)| InputRange { input: 0, lo, hi, declared: true };
        let options = Options { prune_dead: Some(threshold), inputs: declared.map(range).into_iter().collect() };
        let (_, report) = run_with(build(Act::None), &options).unwrap();
        let pruned = report.pruned.unwrap();
        assert_eq!(pruned.removed, removed, "{threshold} {declared:?}");
        assert_eq!(pruned.inputs[0].declared, declared.is_some());
        // Half of the interval, by weights of at most 4.
        assert!((pruned.error > 0.0) == (removed > 0) && pruned.error <= threshold / 2.0 * 4.0, "{}", pruned.error);
    }
    // A tensor that stays below 1 is measured by its own largest value.
    let quiet = Act::Clamp { lo: -1e-3, hi: 1e-3 };
    assert_eq!(prune(&build(quiet), 2e-6).1.removed, 0);
    assert_eq!(prune(&build(quiet), 2e-3).1.removed, 1);
}

/// A channel that varies by a thousandth of the others, read with weights of up to 4 by what ends in each operator.
#[test]
fn the_stated_error_holds_at_the_outputs() {
    for end in 0..6 {
        let (mut g, mut r) = (Graph::default(), Numbers(9));
        let x = g.input("x", &[1, 4, 4, 3]);
        let x = act(&mut g, Act::Sigmoid, x);
        let w = (0..12).map(|i| if i % 4 == 2 { 1e-3 } else { 0.1 * i as f32 }).collect();
        let w = g.constant("w", &[1, 1, 3, 4], Arc::new(w));
        let op = Op::Conv { window: window(1, 1, NONE), groups: 1, bias: false, residual: false, pre_relu: false, act: Act::None };
        let y = g.node("first", "Conv", op, &[x, w], &[1, 4, 4, 4]);
        let y = conv(&mut g, &mut r, "second", y, 4, 1, true, window(1, 1, NONE));
        let shape = [1, 4, 4, 4];
        let y = match end {
            0 => act(&mut g, Act::HardSwish, y),
            1 => g.node("end", "Softmax", Op::Softmax { axis: 3, log: false }, &[y], &shape),
            2 => g.node("end", "Mul", binary(BinaryOp::Mul, Act::None), &[y, y], &shape),
            3 => conv(&mut g, &mut r, "end", y, 4, 4, false, window(3, 1, PADDED)),
            4 => {
                let op = Op::Reduce { kind: ReduceKind::Sum, axes: vec![1, 2], keep_dims: true };
                g.node("end", "Sum", op, &[y], &[1, 1, 1, 4])
            }
            _ => g.node("end", "Turn", Op::Transpose { perm: vec![0, 3, 1, 2] }, &[y], &shape),
        };
        let (_, pruned) = prune(&finish(g, &[y]), 1e-2);
        assert_eq!(pruned.removed, 1);
        assert!(pruned.error > 1e-4 && pruned.error < 1.0, "{end}: {}", pruned.error);
    }
}

#[test]
fn the_fold_report_counts_the_same_channels() {
    let (mut g, mut r) = (Graph::default(), Numbers(10));
    let x = g.input("x", &[1, 6, 6, 3]);
    let y = conv(&mut g, &mut r, "first", x, 6, 1, true, window(3, 1, PADDED));
    let y = norm(&mut g, &mut r, y, &[1, 4], -0.5);
    let y = act(&mut g, Act::RELU, y);
    let y = conv(&mut g, &mut r, "second", y, 5, 1, false, window(3, 1, PADDED));
    let y = norm(&mut g, &mut r, y, &[3], 0.5);
    let g = finish(g, &[y]);
    for prune_dead in [None, Some(0.0)] {
        let (_, report) = run_with(g.clone(), &Options { prune_dead, ..Options::default() }).unwrap();
        assert_eq!(report.folds.iter().map(|f| f.dead).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(report.pruned.map(|p| (p.constant, p.removed)), prune_dead.map(|_| (3, 2)));
    }
}

#[test]
fn what_takes_too_long_to_know_is_refused_or_not_counted() {
    let mut wide = Graph::default();
    let mut x = wide.input("x", &[1, 1 << 20]);
    for _ in 0..9 {
        x = act(&mut wide, Act::Tanh, x);
    }
    let mut often = Graph::default();
    let mut y = often.input("x", &[1, 1024]);
    let w = often.constant("w", &[1024, 1024], Arc::new(vec![0.0; 1 << 20]));
    for _ in 0..600 {
        y = often.node("dense", "Dense", Op::Dense { bias: false, act: Act::None }, &[y, w], &[1, 1024]);
    }
    for g in [finish(wide, &[x]), finish(often, &[y])] {
        let asked = Options { prune_dead: Some(0.0), ..Options::default() };
        let e = run(g.clone(), &asked, &mut Report::default()).unwrap_err().to_string();
        assert!(e.contains("too many channels"), "{e}");
        let mut report = Report { targets: vec![(ValueId(0), Vec::new())], ..Report::default() };
        assert!(run(g, &Options::default(), &mut report).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn computes_the_same(seed in any::<u32>(), steps in 2usize..10) {
        let (mut g, mut r) = (Graph::default(), Numbers(seed));
        let mut all = vec![g.input("x", &[1, 5, 5, 3])];
        for i in 0..steps {
            let x = if r.below(3) > 0 { all[all.len() - 1] } else { all[r.below(all.len())] };
            let s = g.shape(x).to_vec();
            let name = format!("n{i}");
            let pads = [NONE, PADDED][r.below(2)];
            let kernel = if s[1] < 3 { 1 } else { [1, 3][r.below(2)] };
            let y = match r.below(7) {
                0..=2 => {
                    let y = conv(&mut g, &mut r, &name, x, 4, 1, true, window(kernel, 1, pads));
                    let zero: Vec<usize> = (0..4).filter(|_| r.below(2) == 0).collect();
                    norm(&mut g, &mut r, y, &zero, [0.0, -0.5, 0.5][i % 3])
                }
                3 => conv(&mut g, &mut r, &name, x, s[3], s[3], true, window(kernel, 1, pads)),
                4 => act(&mut g, [Act::RELU, Act::Sigmoid, Act::Clamp { lo: 0.0, hi: 1.0 }][i % 3], x),
                5 => {
                    let same: Vec<ValueId> = all.iter().copied().filter(|&v| g.shape(v) == s).collect();
                    let other = same[r.below(same.len())];
                    let op = [BinaryOp::Add, BinaryOp::Mul][r.below(2)];
                    g.node(name, "Binary", binary(op, Act::None), &[x, other], &s)
                }
                _ => {
                    let same: Vec<ValueId> = all.iter().copied().filter(|&v| g.shape(v)[..3] == s[..3]).collect();
                    let other = same[r.below(same.len())];
                    let c = s[3] + g.shape(other)[3];
                    g.node(name, "Concat", Op::Concat { axis: 3 }, &[x, other], &[s[0], s[1], s[2], c])
                }
            };
            all.push(y);
        }
        let last = all[all.len() - 1];
        let y = conv(&mut g, &mut r, "last", last, 2, 1, true, window(1, 1, NONE));
        let g = finish(g, &[y]);
        prune(&g, 0.0);
        // Much of it is constant then.
        prune(&g, 1e3);
    }
}
