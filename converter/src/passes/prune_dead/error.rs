//! How far the outputs can be off for channels that are not quite constant.
use super::range::Interval;
use crate::ir::{Act, BinaryOp, Graph, Node, Op, ReduceKind, ValueId};

/// The largest error of any element of any output, if in place of each removed channel the middle of its interval is read: an error of
/// half its width, carried on by the weights behind. An error is never wider than the interval that both values lie in. Infinite where
/// nothing bounds it. Of exact arithmetic: rounding comes on top.
pub(super) fn at_outputs(g: &Graph, removed: &[Vec<bool>], known: &[Vec<Interval>]) -> f64 {
    let mut errors: Vec<Vec<f64>> = known.iter().map(|k| vec![0.0; k.len()]).collect();
    for n in &g.nodes {
        let (out, bounds) = (n.output.0, &known[n.output.0]);
        let carried = if n.inputs.iter().all(|v| largest(&errors[v.0]) == 0.0) {
            vec![0.0; bounds.len()]
        } else {
            let carried = of(g, n, &errors, known);
            if carried.len() == bounds.len() { carried } else { vec![f64::INFINITY; bounds.len()] }
        };
        let capped = carried.into_iter().zip(bounds).zip(&removed[out]);
        errors[out] = capped.map(|((e, i), &gone)| if gone { i.width() / 2.0 } else { e.min(i.width()) }).collect();
    }
    g.outputs.iter().fold(0.0, |most, v| largest(&errors[v.0]).max(most))
}

fn largest(list: &[f64]) -> f64 {
    list.iter().copied().fold(0.0, f64::max)
}

/// An error that nothing reads is none, however large.
fn times(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

/// How much steeper than the identity an activation is anywhere; `y` is what its results lie in.
fn slope(act: Act, y: Interval) -> f64 {
    match act {
        Act::None | Act::Clamp { .. } | Act::Tanh => 1.0,
        Act::Leaky(a) | Act::Elu(a) => f64::from(a).abs().max(1.0),
        Act::HardSigmoid { alpha, .. } => f64::from(alpha).abs(),
        Act::Sigmoid => 0.25,
        Act::Silu => 1.1,
        Act::HardSwish => 1.5,
        Act::Exp => y.hi.max(0.0),
        Act::Sqrt => 0.5 / y.lo.max(0.0),
    }
}

/// Of each channel of a node's result; of none where no bound is known.
fn of(g: &Graph, n: &Node, errors: &[Vec<f64>], known: &[Vec<Interval>]) -> Vec<f64> {
    let x = &errors[n.inputs[0].0];
    let channels = g.shape(n.output).last().copied().unwrap_or(1);
    let everywhere = |e: f64| vec![e; channels];
    let activated = |act: Act, list: Vec<f64>| {
        let y = &known[n.output.0];
        list.into_iter().zip(y).map(|(e, &y)| times(e, slope(act, y))).collect()
    };
    // From any channel to any channel.
    let mixed = || everywhere(n.inputs.iter().fold(0.0, |most, v| largest(&errors[v.0]).max(most)));
    let same = x.len() == channels;
    match &n.op {
        Op::Conv { groups, residual, act, .. } => {
            let sums = sums(g, n, x, *groups);
            match n.inputs.last().filter(|_| *residual) {
                Some(r) => activated(*act, sums.iter().zip(&errors[r.0]).map(|(a, b)| a + b).collect()),
                None => activated(*act, sums),
            }
        }
        Op::Dense { act, .. } => activated(*act, sums(g, n, x, 1)),
        Op::ConvTranspose { act, .. } => {
            let Some(w) = g.data(n.inputs[1]) else { return Vec::new() };
            let all: f64 = w.iter().map(|&w| f64::from(w).abs()).sum();
            activated(*act, everywhere(times(all, largest(x))))
        }
        Op::ScaleShift { act } => {
            let scale = &known[n.inputs[1].0];
            activated(*act, x.iter().zip(scale).map(|(&e, s)| times(e, s.magnitude())).collect())
        }
        Op::Act(act) => activated(*act, x.clone()),
        Op::PRelu => {
            let steepest = known[n.inputs[1].0].iter().fold(1.0, |most: f64, i| most.max(i.magnitude()));
            x.iter().map(|&e| times(e, steepest)).collect()
        }
        Op::Pool { residual: true, .. } => x.iter().zip(&errors[n.inputs[1].0]).map(|(a, b)| a + b).collect(),
        Op::Pool { .. } | Op::Upsample { .. } | Op::Resize { .. } => x.clone(),
        // Half of the sum of the magnitudes of a row of its derivative, which is 2 p (1 - p); of its logarithm's 2 (1 - p).
        Op::Softmax { log, .. } => everywhere(largest(x) * if *log { 2.0 } else { 0.5 }),
        Op::Reduce { kind, axes, .. } => {
            let count = match kind {
                ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min => 1.0,
                ReduceKind::Sum => axes.iter().map(|&a| g.shape(n.inputs[0])[a] as f64).product(),
                ReduceKind::Product => return Vec::new(),
            };
            let apart = same && !axes.contains(&(g.shape(n.inputs[0]).len() - 1));
            if apart { x.iter().map(|e| e * count).collect() } else { everywhere(largest(x) * count) }
        }
        Op::Concat { axis } if axis + 1 == g.shape(n.output).len() => {
            n.inputs.iter().flat_map(|v| errors[v.0].iter().copied()).collect()
        }
        Op::Reshape | Op::Slice { .. } | Op::Pad { .. } if same => x.clone(),
        Op::Reshape | Op::Slice { .. } | Op::Pad { .. } | Op::Transpose { .. } | Op::Broadcast | Op::Concat { .. } => mixed(),
        Op::Binary { op, act } => {
            let at = |v: ValueId, c: usize| {
                let c = if known[v.0].len() == 1 { 0 } else { c };
                (errors[v.0][c], known[v.0][c])
            };
            let (a, b) = (n.inputs[0], n.inputs[1]);
            activated(*act, (0..channels).map(|c| binary(*op, at(a, c), at(b, c))).collect())
        }
        _ => Vec::new(),
    }
}

fn binary(op: BinaryOp, (ea, a): (f64, Interval), (eb, b): (f64, Interval)) -> f64 {
    match op {
        BinaryOp::Add | BinaryOp::Sub => ea + eb,
        BinaryOp::Mul => times(ea, b.magnitude()) + times(eb, a.magnitude()),
        BinaryOp::Div if b.lo > 0.0 || b.hi < 0.0 => {
            let least = b.lo.abs().min(b.hi.abs());
            ea / least + times(eb, a.magnitude()) / (least * least)
        }
        BinaryOp::Min | BinaryOp::Max => ea.max(eb),
        _ => f64::INFINITY,
    }
}

/// What a convolution or Dense makes of the errors that it reads.
fn sums(g: &Graph, n: &Node, x: &[f64], groups: usize) -> Vec<f64> {
    let Some(w) = g.data(n.inputs[1]) else { return Vec::new() };
    let outputs = g.shape(n.output).last().copied().unwrap_or(1);
    let (per_group, per_output) = (x.len() / groups, outputs / groups);
    if per_group == 0 || per_output == 0 {
        return Vec::new();
    }
    let mut out = vec![0.0; outputs];
    for (row, weights) in w.chunks_exact(outputs).enumerate() {
        for (o, (sum, &w)) in out.iter_mut().zip(weights).enumerate() {
            *sum += times(f64::from(w).abs(), x[o / per_output * per_group + row % per_group]);
        }
    }
    out
}
