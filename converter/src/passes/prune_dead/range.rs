//! Intervals that the channels of a tensor cannot leave, if the network's inputs keep to theirs.
use crate::interp::activate;
use crate::ir::{Act, BinaryOp, Graph, Node, Op, Pads, PoolKind, ReduceKind, ValueId};
use crate::passes::InputRange;

/// All values from `lo` to `hi`. Computed in f64 from the weights as they are; what f32 rounds differently is not in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) lo: f64,
    pub(super) hi: f64,
}

impl Interval {
    pub(super) const ZERO: Interval = Interval { lo: 0.0, hi: 0.0 };
    const ALL: Interval = Interval { lo: f64::NEG_INFINITY, hi: f64::INFINITY };

    /// Between two values, in any order; anything, if one of them is not a number.
    fn new(a: f64, b: f64) -> Self {
        if a.is_nan() || b.is_nan() { Self::ALL } else { Interval { lo: a.min(b), hi: a.max(b) } }
    }

    /// Infinite for one without a bound.
    pub(super) fn width(self) -> f64 {
        if self.lo == self.hi && self.lo.is_finite() { 0.0 } else { self.hi - self.lo }
    }

    pub(super) fn middle(self) -> f64 {
        if self.lo == self.hi { self.lo } else { self.lo / 2.0 + self.hi / 2.0 }
    }

    /// The largest magnitude in it.
    pub(super) fn magnitude(self) -> f64 {
        self.lo.abs().max(self.hi.abs())
    }

    pub(super) fn relu(self) -> Self {
        Interval { lo: self.lo.max(0.0), hi: self.hi.max(0.0) }
    }

    /// Both, and all between.
    fn with(self, other: Self) -> Self {
        Interval { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    fn plus(self, other: Self) -> Self {
        Interval { lo: self.lo + other.lo, hi: self.hi + other.hi }
    }

    /// Values are finite: 0 times anything is 0.
    fn times(self, k: f64) -> Self {
        if k == 0.0 { Self::ZERO } else { Self::new(self.lo * k, self.hi * k) }
    }

    fn act(self, act: Act) -> Self {
        match act {
            Act::None => self,
            Act::Leaky(a) | Act::Elu(a) if a < 0.0 => Self::ALL,
            Act::Clamp { .. } | Act::Leaky(_) | Act::Elu(_) | Act::Sigmoid | Act::Tanh | Act::Exp => {
                // They never fall.
                Self::new(activate(act, self.lo), activate(act, self.hi))
            }
            _ if self.lo == self.hi => Self::new(activate(act, self.lo), activate(act, self.lo)),
            Act::HardSigmoid { .. } => Interval { lo: 0.0, hi: 1.0 },
            // They fall once, to no less than this.
            Act::Silu | Act::HardSwish => Interval { lo: -0.5, hi: self.hi.max(0.0) },
            Act::Sqrt => Self::ALL,
        }
    }
}

/// What is known of an input of the network: what was said, else the default.
pub(super) fn of_input(inputs: &[InputRange], index: usize) -> InputRange {
    let said = inputs.iter().find(|r| r.input == index);
    said.copied().unwrap_or(InputRange { input: index, ..InputRange::default() })
}

/// Of each channel (of the last axis) of each value; a constant's as they are.
pub(super) fn intervals(g: &Graph, inputs: &[InputRange]) -> Vec<Vec<Interval>> {
    let channels = |v: ValueId| g.shape(v).last().copied().unwrap_or(1);
    let mut known: Vec<Vec<Interval>> = vec![Vec::new(); g.values.len()];
    for (v, value) in g.values.iter().enumerate() {
        let c = channels(ValueId(v));
        known[v] = vec![Interval::ALL; c];
        if let Some(data) = value.data.as_ref().filter(|_| c > 0) {
            for (i, &x) in data.iter().enumerate() {
                let x = Interval::new(f64::from(x), f64::from(x));
                known[v][i % c] = if i < c { x } else { known[v][i % c].with(x) };
            }
        }
    }
    for (i, v) in g.inputs.iter().enumerate() {
        let range = of_input(inputs, i);
        known[v.0].fill(Interval::new(range.lo, range.hi));
    }
    for n in &g.nodes {
        let out = of(g, n, &known);
        if out.len() == channels(n.output) {
            known[n.output.0] = out;
        }
    }
    known
}

/// Of a node's result; nothing, if nothing is known.
fn of(g: &Graph, n: &Node, known: &[Vec<Interval>]) -> Vec<Interval> {
    let x = &known[n.inputs[0].0];
    let same = |f: &dyn Fn(usize, Interval) -> Interval| x.iter().enumerate().map(|(c, &i)| f(c, i)).collect();
    let through = g.shape(n.inputs[0]).last() == g.shape(n.output).last();
    match &n.op {
        Op::Conv { window, groups, bias, residual, pre_relu, act } => {
            let padded = window.pads != Pads::default();
            let from = |i: Interval| {
                let i = if *pre_relu { i.relu() } else { i };
                if padded { i.with(Interval::ZERO) } else { i }
            };
            let x: Vec<Interval> = x.iter().map(|&i| from(i)).collect();
            let residual = residual.then(|| n.inputs.last().map(|r| known[r.0].as_slice())).flatten();
            sums(g, n, &x, *groups, *bias, residual, *act)
        }
        Op::Dense { bias, act } => sums(g, n, x, 1, *bias, None, *act),
        Op::ScaleShift { act } => {
            let (scale, shift) = (&known[n.inputs[1].0], &known[n.inputs[2].0]);
            same(&|c, i| i.times(scale[c].lo).plus(shift[c]).act(*act))
        }
        Op::Act(act) => same(&|_, i| i.act(*act)),
        Op::Pool { kind, window, residual } => {
            let border = matches!(kind, PoolKind::AverageWithPad { .. }) && window.pads != Pads::default();
            let r = residual.then(|| n.inputs.get(1).map(|r| &known[r.0])).flatten();
            same(&|c, i| {
                let i = if border { i.with(Interval::ZERO) } else { i };
                r.map_or(i, |r| i.plus(r[c]))
            })
        }
        Op::Reduce { kind: ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min, axes, .. }
            if !axes.contains(&(g.shape(n.inputs[0]).len() - 1)) =>
        {
            x.clone()
        }
        Op::Upsample { .. } | Op::Resize { .. } => x.clone(),
        Op::Reshape | Op::Slice { .. } if through => x.clone(),
        Op::Pad { pads, value } if pads.last() == Some(&(0, 0)) => {
            let value = f64::from(*value);
            same(&|_, i| i.with(Interval::new(value, value)))
        }
        Op::Concat { axis } if axis + 1 == g.shape(n.output).len() => {
            n.inputs.iter().flat_map(|v| known[v.0].iter().copied()).collect()
        }
        Op::Binary { op, act } => {
            let all = g.shape(n.output).last().copied().unwrap_or(1);
            let at = |v: ValueId, c: usize| known[v.0][if known[v.0].len() == 1 { 0 } else { c }];
            (0..all).map(|c| binary(*op, at(n.inputs[0], c), at(n.inputs[1], c)).act(*act)).collect()
        }
        Op::Softmax { log: false, .. } => same(&|_, _| Interval { lo: 0.0, hi: 1.0 }),
        // They move elements about: anywhere may be what was anywhere.
        Op::Transpose { .. } | Op::Reshape | Op::Slice { .. } | Op::Broadcast | Op::Concat { .. } => {
            let all = n.inputs.iter().flat_map(|v| known[v.0].iter().copied()).reduce(Interval::with);
            vec![all.unwrap_or(Interval::ALL); g.shape(n.output).last().copied().unwrap_or(1)]
        }
        _ => Vec::new(),
    }
}

fn binary(op: BinaryOp, a: Interval, b: Interval) -> Interval {
    match op {
        BinaryOp::Add => a.plus(b),
        BinaryOp::Sub => a.plus(b.times(-1.0)),
        BinaryOp::Mul if b.lo == b.hi => a.times(b.lo),
        BinaryOp::Mul if a.lo == a.hi => b.times(a.lo),
        BinaryOp::Div if b.lo == b.hi && b.lo != 0.0 => a.times(1.0 / b.lo),
        BinaryOp::Min => Interval { lo: a.lo.min(b.lo), hi: a.hi.min(b.hi) },
        BinaryOp::Max => Interval { lo: a.lo.max(b.lo), hi: a.hi.max(b.hi) },
        _ => Interval::ALL,
    }
}

/// Of a convolution or Dense; `x` are the intervals that its taps read.
fn sums(g: &Graph, n: &Node, x: &[Interval], groups: usize, bias: bool, residual: Option<&[Interval]>, act: Act) -> Vec<Interval> {
    let Some(w) = g.data(n.inputs[1]) else { return Vec::new() };
    let outputs = g.shape(n.output).last().copied().unwrap_or(1);
    let b = if bias { g.data(n.inputs[2]) } else { None };
    let start = |o: usize| b.map_or(Interval::ZERO, |b| Interval::new(f64::from(b[o]), f64::from(b[o])));
    let mut out: Vec<Interval> = (0..outputs).map(start).collect();
    let (per_group, per_output) = (x.len() / groups, outputs / groups);
    if per_group == 0 || per_output == 0 {
        return Vec::new();
    }
    for (row, weights) in w.chunks_exact(outputs).enumerate() {
        for (o, (sum, &w)) in out.iter_mut().zip(weights).enumerate() {
            if w != 0.0 {
                *sum = sum.plus(x[o / per_output * per_group + row % per_group].times(f64::from(w)));
            }
        }
    }
    out.iter().enumerate().map(|(o, &i)| residual.map_or(i, |r| i.plus(r[o])).act(act)).collect()
}
