//! Removes channels that are constant, on demand.
//!
//! 1. Each channel of each tensor gets an interval that its values cannot leave, as long as the network's inputs keep to what is
//!    known of them ([`range`]). It is constant if that is not wider than the threshold: as it is, or, in a tensor that stays below 1
//!    altogether, as a share of the largest magnitude there. So a channel is found whose weights a batch norm of gamma 0 has made zero,
//!    or training has made as good as zero, and one that a ReLU holds at zero.
//! 2. Of those, the ones that can be left out are found as the largest set that fits together: what passes channels on (an activation,
//!    a pool, a depthwise convolution) loses the same ones before and behind; a sum loses them in both operands; a convolution or
//!    Dense may lose any channel behind, and before it one that is the same everywhere it reads: not a constant other than zero that
//!    it pads with zeros.
//! 3. What a convolution or Dense would have made of the removed channels goes into its bias, in f64.
//! 4. What the widths of the removed channels can make of the outputs is the stated error ([`error`]).
//!
//! Each tensor keeps at least one channel.
use super::{DEAD, InputRange, Options, Report};
use crate::error::{Result, request};
use crate::ir::{Graph, Node, Op, Pads, ValueId};
use range::{Interval, intervals, of_input};
use std::collections::HashMap;
use std::sync::Arc;

mod error;
mod range;
#[cfg(test)]
mod tests;

/// What pruning came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pruned {
    /// The widest interval that counts as a constant.
    pub threshold: f64,
    /// Channels that are constant, and those of them that were removed, as the convolutions and Dense layers that made them count.
    pub constant: usize,
    /// See there.
    pub removed: usize,
    /// Multiply-accumulates of convolutions and Dense layers before.
    pub macs_before: u64,
    /// And after.
    pub macs_after: u64,
    /// By how much any element of any output may be off for that, besides rounding.
    pub error: f64,
    /// The inputs that this holds for.
    pub inputs: Vec<InputRange>,
    /// Of each node that lost channels: its name, how many of how many.
    pub nodes: Vec<(String, usize, usize)>,
    /// Why constant channels stay: the node that reads them and how many.
    pub kept: Vec<(String, usize)>,
}

/// Most channels of all tensors that are looked at; 16 bytes each.
const MOST_CHANNELS: usize = 1 << 23;
/// Most weights, counted once for each node that reads them, beyond what there is of them: each may need a copy of its own.
const MOST_READ: usize = 1 << 26;

pub(super) fn run(g: Graph, options: &Options, report: &mut Report) -> Result<Graph> {
    if options.prune_dead.is_none() && report.targets.is_empty() {
        return Ok(g);
    }
    if !affordable(&g) {
        let what = "the network has too many channels, or weights that are used too often, to tell which channels are constant";
        return if options.prune_dead.is_some() { Err(request(what)) } else { Ok(g) };
    }
    let threshold = options.prune_dead.unwrap_or(DEAD);
    let known = intervals(&g, &options.inputs);
    let constant: Vec<Vec<bool>> = known.iter().map(|k| constant(k, threshold)).collect();
    count_dead(&g, &constant, report);
    if options.prune_dead.is_none() {
        return Ok(g);
    }
    let mut plan = Plan { g: &g, constant: &constant, known: &known, removed: constant.clone() };
    plan.settle();
    let removed = plan.removed;
    let inputs = (0..g.inputs.len()).map(|i| of_input(&options.inputs, i)).collect();
    let error = error::at_outputs(&g, &removed, &known);
    let mut pruned = Pruned { threshold, macs_before: macs(&g), error, inputs, ..Pruned::default() };
    for n in g.nodes.iter().filter(|n| makes(&g, n)) {
        let count = |list: &[bool]| list.iter().filter(|b| **b).count();
        let (all, lost) = (count(&constant[n.output.0]), count(&removed[n.output.0]));
        pruned.constant += all;
        pruned.removed += lost;
        if lost > 0 {
            pruned.nodes.push((n.name.clone(), lost, removed[n.output.0].len()));
        }
        if all > lost {
            pruned.kept.push((n.name.clone(), all - lost));
        }
    }
    let g = rewrite(g, &removed, &known, report);
    pruned.macs_after = macs(&g);
    for (name, lost, all) in &pruned.nodes {
        report.note("prune_dead", format!("{lost} of {all} channels of '{name}'"));
    }
    for (name, kept) in &pruned.kept {
        report.note("prune_dead", format!("{kept} constant channels of '{name}' stay: what reads them needs them"));
    }
    report.pruned = Some(pruned);
    Ok(g)
}

/// Whether what is to be known of all channels fits into memory, and can be found in a second or two: a small file may have thousands
/// of wide tensors, and weights that thousands of nodes read.
fn affordable(g: &Graph) -> bool {
    let channels: usize = g.values.iter().map(|v| v.shape.last().copied().unwrap_or(1)).sum();
    let len = |v: ValueId| g.data(v).map_or(0, |d| d.len());
    let own = g.elements_of_constants();
    let read: usize = g.nodes.iter().flat_map(|n| &n.inputs).map(|&v| len(v)).sum();
    channels <= MOST_CHANNELS && read <= MOST_READ + 2 * own
}

/// Which channels of a tensor are constant.
fn constant(known: &[Interval], threshold: f64) -> Vec<bool> {
    let scale = known.iter().fold(0.0, |scale: f64, i| scale.max(i.magnitude())).min(1.0);
    known.iter().map(|i| i.width() <= threshold * scale).collect()
}

/// Notes with each batch norm how many channels of the node it went into are constant.
fn count_dead(g: &Graph, constant: &[Vec<bool>], report: &mut Report) {
    let targets: HashMap<ValueId, Vec<String>> = std::mem::take(&mut report.targets).into_iter().collect();
    for n in &g.nodes {
        let Some(norms) = n.inputs.get(2).and_then(|bias| targets.get(bias)) else { continue };
        let dead = constant[n.output.0].iter().filter(|c| **c).count();
        report.of_folded(norms, |fold| fold.dead = dead);
    }
}

/// Multiply-accumulates of convolutions and Dense layers.
fn macs(g: &Graph) -> u64 {
    let product = |s: &[usize]| s.iter().map(|&d| d as u64).product::<u64>();
    let of = |n: &Node| match n.op {
        // Weights but for the outputs' extent, for each element of the output.
        Op::Conv { .. } | Op::Dense { .. } => {
            let w = g.shape(n.inputs[1]);
            product(g.shape(n.output)) * product(&w[..w.len() - 1])
        }
        Op::ConvTranspose { .. } => {
            let w = g.shape(n.inputs[1]);
            product(g.shape(n.inputs[0])) * product(&w[..w.len() - 1])
        }
        _ => 0,
    };
    g.nodes.iter().map(of).sum()
}

/// Whether each input channel has its own output channel.
fn depthwise(g: &Graph, n: &Node) -> bool {
    let channels = |v: ValueId| g.shape(v).last().copied();
    matches!(n.op, Op::Conv { groups, .. } if groups > 1 && channels(n.inputs[0]) == Some(groups) && channels(n.output) == Some(groups))
}

/// Whether a node makes its channels of all channels of its input.
fn makes(g: &Graph, n: &Node) -> bool {
    matches!(n.op, Op::Conv { groups: 1, .. } | Op::Dense { .. }) && g.data(n.inputs[1]).is_some()
}

/// The inputs whose channels a node passes on, one to one; none if it does something else with them.
fn passes_on(g: &Graph, n: &Node) -> Vec<ValueId> {
    let last = |v: ValueId| g.shape(v).last().copied();
    let same = |v: ValueId| last(v) == last(n.output);
    let x = n.inputs[0];
    let rank = g.shape(x).len();
    let keeps = match &n.op {
        Op::Conv { residual: false, .. } => depthwise(g, n),
        Op::ScaleShift { .. } | Op::Act(_) | Op::Pool { .. } | Op::Upsample { .. } | Op::Resize { .. } => true,
        Op::PRelu => g.shape(n.inputs[1]).iter().rev().skip(1).all(|&d| d == 1),
        // The elements of the last axis stay together, and in order.
        Op::Reshape => same(x),
        Op::Reduce { axes, .. } => !axes.contains(&(rank - 1)),
        Op::Pad { pads, .. } => pads.last() == Some(&(0, 0)),
        Op::Slice { .. } => same(x),
        Op::Binary { .. } => n.inputs.iter().all(|&v| same(v) || (g.data(v).is_some() && last(v).unwrap_or(1) == 1)),
        _ => false,
    };
    let computed = |v: &ValueId| g.data(*v).is_none();
    match &n.op {
        _ if !keeps => Vec::new(),
        Op::Pool { .. } | Op::Binary { .. } => n.inputs.iter().copied().filter(computed).collect(),
        _ => vec![x],
    }
}

/// How often all nodes are gone through until what is removed fits together; it takes a few times.
const MOST_ROUNDS: usize = 100;

struct Plan<'a> {
    g: &'a Graph,
    constant: &'a [Vec<bool>],
    known: &'a [Vec<Interval>],
    /// For each value and channel whether it goes.
    removed: Vec<Vec<bool>>,
}

impl Plan<'_> {
    /// Takes back what does not fit together, until all does.
    fn settle(&mut self) {
        for &v in self.g.inputs.iter().chain(&self.g.outputs) {
            self.removed[v.0].fill(false);
        }
        let constants = self.g.values.iter().zip(&mut self.removed).filter(|(v, _)| v.data.is_some());
        constants.for_each(|(_, r)| r.fill(false));
        for round in 0.. {
            if round == MOST_ROUNDS {
                // Nothing is always right.
                return self.removed.iter_mut().for_each(|r| r.fill(false));
            }
            let before = self.removed.clone();
            // What is taken back travels along chains, in both directions.
            for n in self.g.nodes.iter().chain(self.g.nodes.iter().rev()) {
                self.node(n);
            }
            for r in self.removed.iter_mut().filter(|r| r.iter().all(|r| *r)) {
                // A tensor needs a channel.
                r.iter_mut().take(1).for_each(|r| *r = false);
            }
            if before == self.removed {
                return;
            }
        }
    }

    fn node(&mut self, n: &Node) {
        let out = n.output;
        if makes(self.g, n) {
            let x = n.inputs[0];
            for c in 0..self.removed[x.0].len() {
                if self.removed[x.0][c] && !self.absorbs(n, c) {
                    self.removed[x.0][c] = false;
                }
            }
            if let Op::Conv { residual: true, .. } = n.op
                && let Some(&r) = n.inputs.last()
            {
                self.equal(&[out, r]);
            }
            return;
        }
        if let Op::Concat { axis } = n.op
            && axis + 1 == self.g.shape(out).len()
        {
            let mut at = 0;
            for &v in &n.inputs {
                for c in 0..self.g.shape(v)[axis] {
                    // A constant part has no channels to lose.
                    let both = self.g.data(v).is_none() && self.removed[v.0][c] && self.removed[out.0][at + c];
                    self.removed[out.0][at + c] = both;
                    if self.g.data(v).is_none() {
                        self.removed[v.0][c] = both;
                    }
                }
                at += self.g.shape(v)[axis];
            }
            return;
        }
        let mut together = passes_on(self.g, n);
        if together.is_empty() {
            n.inputs.iter().chain([&out]).for_each(|v| self.removed[v.0].fill(false));
        } else {
            together.push(out);
            self.equal(&together);
        }
    }

    /// These lose the same channels.
    fn equal(&mut self, values: &[ValueId]) {
        let channels = values.iter().map(|v| self.removed[v.0].len()).min().unwrap_or(0);
        for c in 0..channels {
            let all = values.iter().all(|v| self.removed[v.0][c]);
            values.iter().for_each(|v| self.removed[v.0][c] = all);
        }
    }

    /// Whether channel `c` of what a node reads is the same everywhere it is read.
    fn absorbs(&self, n: &Node, c: usize) -> bool {
        let known = self.known[n.inputs[0].0][c];
        let zero = known == Interval::ZERO || matches!(n.op, Op::Conv { pre_relu: true, .. } if known.hi <= 0.0);
        match n.op {
            Op::Conv { window, .. } if window.pads != Pads::default() && !zero => false,
            _ => self.constant[n.inputs[0].0][c],
        }
    }
}

/// The graph without the channels.
fn rewrite(mut g: Graph, removed: &[Vec<bool>], known: &[Vec<Interval>], report: &mut Report) -> Graph {
    let left = |v: ValueId| removed[v.0].iter().enumerate().filter(|(_, r)| !**r).map(|(c, _)| c).collect::<Vec<usize>>();
    let loses = |v: ValueId| removed.get(v.0).is_some_and(|r| r.contains(&true));
    let mut made: HashMap<(ValueId, Vec<usize>, Vec<usize>), ValueId> = HashMap::new();
    for i in 0..g.nodes.len() {
        let n = g.nodes[i].clone();
        let (x, out) = (n.inputs[0], n.output);
        if makes(&g, &n) {
            if !loses(x) && !loses(out) {
                continue;
            }
            let (before, behind) = (left(x), left(out));
            if loses(x) {
                absorb(&mut g, i, &removed[x.0], &known[x.0]);
            }
            let n = g.nodes[i].clone();
            let key = (n.inputs[1], before, behind);
            let w = match made.get(&key) {
                Some(&w) => w,
                None => {
                    let rank = g.shape(key.0).len();
                    let w = select(&mut g, key.0, rank - 2, &key.1);
                    let w = select(&mut g, w, rank - 1, &key.2);
                    *made.entry(key.clone()).or_insert(w)
                }
            };
            g.nodes[i].inputs[1] = w;
            if let Op::Conv { bias: true, .. } | Op::Dense { bias: true, .. } = n.op {
                g.nodes[i].inputs[2] = select(&mut g, n.inputs[2], 0, &key.2);
            }
        } else if loses(out) && !matches!(n.op, Op::Concat { .. }) {
            let channels = left(out);
            let all = removed[out.0].len();
            for (k, &v) in n.inputs.iter().enumerate() {
                let rank = g.shape(v).len();
                // Weights, biases, scales and slopes along the channels.
                if g.data(v).is_some() && rank > 0 && g.shape(v)[rank - 1] == all {
                    g.nodes[i].inputs[k] = select(&mut g, v, rank - 1, &channels);
                }
            }
            if let Op::Conv { groups, .. } = &mut g.nodes[i].op {
                *groups = channels.len();
            }
        }
    }
    for (v, r) in removed.iter().enumerate().filter(|(_, r)| r.contains(&true)) {
        let v = ValueId(v);
        report.origins.keep(v, &left(v));
        if let Some(last) = g.values[v.0].shape.last_mut() {
            *last = r.iter().filter(|r| !**r).count();
        }
    }
    g
}

/// A constant with only some places of an axis.
fn select(g: &mut Graph, v: ValueId, axis: usize, places: &[usize]) -> ValueId {
    let shape = g.shape(v).to_vec();
    let Some(data) = g.data(v).cloned().filter(|_| places.len() < shape[axis]) else { return v };
    let inner: usize = shape[axis + 1..].iter().product();
    let mut some = Vec::with_capacity(data.len() / shape[axis] * places.len());
    for outer in data.chunks_exact(shape[axis] * inner) {
        for &p in places {
            some.extend_from_slice(&outer[p * inner..(p + 1) * inner]);
        }
    }
    let mut smaller = shape;
    smaller[axis] = places.len();
    let name = g.values[v.0].name.clone();
    g.constant(name, &smaller, Arc::new(some))
}

/// Adds what node `i` makes of the channels that it will not read any more to its bias.
fn absorb(g: &mut Graph, i: usize, removed: &[bool], known: &[Interval]) {
    let n = g.nodes[i].clone();
    let outputs = g.shape(n.output).last().copied().unwrap_or(1);
    let all = g.shape(n.inputs[1]).last().copied().unwrap_or(outputs);
    let Some(w) = g.data(n.inputs[1]).cloned() else { return };
    let (has_bias, pre_relu) = match n.op {
        Op::Conv { bias, pre_relu, .. } => (bias, pre_relu),
        Op::Dense { bias, .. } => (bias, false),
        _ => return,
    };
    let mut sums: Vec<f64> = match g.data(n.inputs[n.inputs.len().min(3) - 1]) {
        Some(b) if has_bias => b.iter().map(|&b| f64::from(b)).collect(),
        _ => vec![0.0; all],
    };
    // The rows of the weights go through the input channels again and again, once for each place of the window.
    for (row, weights) in w.chunks_exact(all).enumerate() {
        let c = row % removed.len();
        if !removed[c] {
            continue;
        }
        let k = if pre_relu { known[c].relu() } else { known[c] };
        for (sum, &w) in sums.iter_mut().zip(weights) {
            *sum += f64::from(w) * k.middle();
        }
    }
    let name = if has_bias { g.values[n.inputs[2].0].name.clone() } else { format!("{}/bias", n.name) };
    let bias = g.constant(name, &[all], Arc::new(sums.into_iter().map(|s| s as f32).collect()));
    if let Op::Conv { bias: has, .. } | Op::Dense { bias: has, .. } = &mut g.nodes[i].op {
        if std::mem::replace(has, true) {
            g.nodes[i].inputs[2] = bias;
        } else {
            g.nodes[i].inputs.insert(2, bias);
        }
    }
}
