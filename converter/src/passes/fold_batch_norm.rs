//! Folds batch norms, and scales and shifts by constants, into the weights of their neighbours.
//!
//! First, chains of them become one [`Affine`] in f64. Then each goes
//! 1. *backward* into the convolution, transposed convolution or Dense that computes its input, if nothing else reads that;
//! 2. else *forward* into the one that reads its result, where that is exact: the convolution pads nothing (the border of zeros
//!    would have to become a border of shifts) or the shift is zero;
//! 3. else it stands alone as a [`Op::ScaleShift`].
//!
//! Reshapes in between do not matter as long as they keep channels apart (one-dimensional convolutions and Flatten bring some);
//! nor, backward, do averages, crops and enlargements.
//!
//! Weights are scaled in f64, by the product of everything that folds into them, and rounded to f32 once.
use super::Report;
use super::edit::Edit;
use crate::error::{Result, invalid};
use crate::ir::{Act, Graph, Node, Op, Pads, PoolKind, ReduceKind, ValueId};
use affine::{Affine, Affines, Values};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use target::Target;

pub(super) mod affine;
mod target;

/// Most weights that are read for the shifts before the nodes that share them.
const MOST_READ: usize = 1 << 28;
/// Most channels, before and behind, of nodes that share weights and get biases of their own.
const MOST_BIASES: usize = 1 << 21;

pub(super) fn run(g: Graph, report: &mut Report) -> Result<Graph> {
    let mut e = Edit::new(g);
    let open = chains(&mut e)?;
    let (readers, uses) = (readers(&mut e), uses(&e));
    let mut f = Folder { readers, uses, e, targets: BTreeMap::new(), alone: HashMap::new() };
    for (i, affine) in open {
        f.settle(i, affine, report)?;
    }
    let Folder { mut e, targets, .. } = f;
    for (i, target) in targets {
        target.write(&mut e, i, report)?;
    }
    Ok(e.finish())
}

/// Every affine node, consecutive ones merged into the first.
fn chains(e: &mut Edit) -> Result<BTreeMap<usize, Affine>> {
    let mut open: BTreeMap<usize, Affine> = BTreeMap::new();
    let mut affines = Affines::new(&e.graph);
    for i in 0..e.len() {
        let Some(n) = e.visit(i) else { continue };
        let Some((x, affine)) = affines.of(&e.graph, &n)? else { continue };
        if x != n.inputs[0] {
            // The variable operand comes first from here on.
            e.rewrite(i, n.op.clone(), vec![x, n.inputs[0]]);
        }
        let before = e.producer(x).filter(|_| e.uses(x) == 1).and_then(|p| Some((p, open.get_mut(&p)?)));
        let joined = match before {
            Some((p, first)) => affines.join(first, affine).map(|()| p),
            None => Err(affine),
        };
        match joined {
            Ok(p) => e.absorb(p, i),
            Err(affine) => {
                open.insert(i, affine);
            }
        }
    }
    Ok(open)
}

/// The nodes that read each value.
fn readers(e: &mut Edit) -> HashMap<ValueId, Vec<usize>> {
    let mut map: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for i in 0..e.len() {
        for v in e.visit(i).map(|n| n.inputs).unwrap_or_default() {
            map.entry(v).or_default().push(i);
        }
    }
    map
}

/// How often each constant is read, whatever its shape.
fn uses(e: &Edit) -> HashMap<*const Vec<f32>, usize> {
    let mut map = HashMap::new();
    for (i, v) in e.graph.values.iter().enumerate() {
        if let Some(data) = &v.data {
            *map.entry(Arc::as_ptr(data)).or_insert(0) += e.uses(ValueId(i));
        }
    }
    map
}

struct Folder {
    e: Edit,
    readers: HashMap<ValueId, Vec<usize>>,
    uses: HashMap<*const Vec<f32>, usize>,
    targets: BTreeMap<usize, Target>,
    /// Constants of those that stand alone.
    alone: HashMap<*const Values, (Arc<Values>, [ValueId; 2])>,
}

/// Why something does not fold, in words.
type Refusal<T> = std::result::Result<T, String>;

impl Folder {
    fn settle(&mut self, i: usize, affine: Affine, report: &mut Report) -> Result<()> {
        let Some(n) = self.e.visit(i) else { return Ok(()) };
        let backward = self.backward(&n, &affine);
        let forward = match &backward {
            Err(_) => self.forward(&n, &affine),
            Ok(_) => Err(String::new()),
        };
        match (backward, forward) {
            (Ok(p), _) => {
                let direct = self.e.graph.nodes[p].output == n.inputs[0];
                self.target(p).behind(&affine);
                affine.report(report, Ok(format!("into {}", self.e.graph.nodes[p].title())));
                if direct {
                    self.e.absorb(p, i);
                } else {
                    report.origins.moved(&self.e, p, n.inputs[0], n.output);
                    self.e.forward(i, n.inputs[0]);
                }
            }
            (Err(_), Ok(next)) => {
                self.target(next).before(&affine);
                report.origins.skipped(&self.e, self.e.graph.nodes[next].inputs[0], n.output);
                affine.report(report, Ok(format!("forward into {}", self.e.graph.nodes[next].title())));
                self.e.forward(i, n.inputs[0]);
            }
            (Err(back), Err(on)) => {
                affine.report(report, Err(format!("{back}; {on}")));
                let [scale, shift] = self.constants(&n, &affine)?;
                self.e.rewrite(i, Op::ScaleShift { act: Act::None }, vec![n.inputs[0], scale, shift]);
            }
        }
        Ok(())
    }

    /// The scale and the shift of one that stands alone, rounded.
    fn constants(&mut self, n: &Node, affine: &Affine) -> Result<[ValueId; 2]> {
        let values = affine.values();
        if let Some((_, known)) = self.alone.get(&Arc::as_ptr(values)) {
            return Ok(*known);
        }
        let name = affine.name();
        let [scale, shift] = affine.rounded();
        if scale.iter().chain(&shift).any(|x| !x.is_finite()) {
            return Err(invalid(format!("node '{name}' ({}): its scale or shift is beyond the range of f32", n.kind)));
        }
        let scale = self.e.constant(format!("{name}/scale"), &[scale.len()], scale);
        let shift = self.e.constant(format!("{name}/shift"), &[shift.len()], shift);
        self.alone.insert(Arc::as_ptr(values), (values.clone(), [scale, shift]));
        Ok([scale, shift])
    }

    fn target(&mut self, i: usize) -> &mut Target {
        let e = &self.e;
        self.targets.entry(i).or_insert_with(|| Target::new(&e.graph, &e.graph.nodes[i]))
    }

    /// The node before that takes the affine into its weights.
    fn backward(&self, n: &Node, affine: &Affine) -> Refusal<usize> {
        let x = self.before_linear(n.inputs[0], affine.values().scale.len());
        let Some((p, producer)) = self.e.producing(x) else {
            let what = if self.e.graph.data(x).is_some() { "a constant" } else { "an input of the network" };
            return Err(format!("it reads {what}"));
        };
        let what = producer.title();
        match &producer.op {
            Op::Conv { residual: false, act: Act::None, .. } => {}
            Op::ConvTranspose { act: Act::None, .. } | Op::Dense { act: Act::None, .. } => {}
            Op::Conv { residual: true, .. } => return Err(format!("{what} adds a residual")),
            Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Dense { .. } => {
                return Err(format!("{what} ends in an activation"));
            }
            Op::Act(_) | Op::PRelu | Op::Softmax { .. } => return Err(format!("the activation {what} stands before it")),
            Op::Pool { kind: PoolKind::Max, .. } => return Err(format!("the max-pool {what} stands before it")),
            Op::Binary { .. } | Op::Concat { .. } => return Err(format!("{what} joins several tensors before it")),
            _ => return Err(format!("{what} stands before it")),
        }
        if self.e.graph.outputs.contains(&x) {
            return Err(format!("the result of {what} is also an output of the network"));
        }
        if self.e.uses(x) > 1 {
            return Err(format!("the result of {what} has {} readers", self.e.uses(x)));
        }
        self.own_weights(p, affine)?;
        Ok(p)
    }

    /// The value before everything that changes nothing about a scale and shift of channels: reshapes, averages over positions,
    /// crops and repetitions of pixels that nothing else reads.
    fn before_linear(&self, v: ValueId, channels: usize) -> ValueId {
        let mut v = self.e.before_reshapes(v, channels);
        while let Some((_, n)) = self.e.producing(v) {
            let last = self.e.shape(v).len().wrapping_sub(1);
            let commutes = match &n.op {
                Op::Pool { kind: PoolKind::Average, residual: false, .. } | Op::Upsample { .. } => true,
                Op::Reduce { kind: ReduceKind::Mean, axes, .. } => axes.iter().all(|a| a + 1 != self.e.shape(n.inputs[0]).len()),
                Op::Slice { .. } => self.e.shape(n.inputs[0]).get(last) == self.e.shape(v).get(last),
                _ => false,
            };
            if !commutes || self.e.uses(v) > 1 || self.e.graph.outputs.contains(&v) {
                break;
            }
            v = self.e.before_reshapes(n.inputs[0], channels);
        }
        v
    }

    /// The node behind that takes the affine into its weights.
    fn forward(&self, n: &Node, affine: &Affine) -> Refusal<usize> {
        let mut y = n.output;
        let next = loop {
            if self.e.graph.outputs.contains(&y) {
                return Err("its result is an output of the network".into());
            }
            let readers = self.readers.get(&y).map_or(&[][..], |r| r);
            let [next] = readers else { return Err(format!("its result has {} readers", readers.len())) };
            let node = &self.e.graph.nodes[*next];
            let apart = self.e.shape(node.output).last().is_some_and(|k| k % affine.values().scale.len() == 0);
            if node.op != Op::Reshape || !apart {
                break next;
            }
            y = node.output;
        };
        let node = &self.e.graph.nodes[*next];
        let what = node.title();
        let centred = affine.values().centred;
        match &node.op {
            Op::Conv { pre_relu: true, .. } | Op::Act(_) | Op::PRelu => return Err(format!("the activation {what} follows")),
            Op::Conv { .. } | Op::Dense { .. } | Op::ConvTranspose { .. } if node.inputs[0] != y => {
                return Err(format!("{what} adds it"));
            }
            Op::Conv { window, .. } if window.pads != Pads::default() && !centred => {
                return Err(format!("{what} pads it with zeros, to which the shift does not apply"));
            }
            Op::ConvTranspose { .. } if !centred => return Err(format!("{what} reads it, unevenly at the border")),
            Op::Conv { .. } | Op::Dense { .. } | Op::ConvTranspose { .. } => {}
            _ => return Err(format!("{what} follows")),
        }
        self.own_weights(*next, affine)?;
        Ok(*next)
    }

    /// Refuses weights that another node reads too; a shift alone leaves them as they are, unless so many nodes read them that their
    /// biases become large, or take long.
    fn own_weights(&self, i: usize, affine: &Affine) -> Refusal<()> {
        let node = &self.e.graph.nodes[i];
        let Some(data) = self.e.graph.data(node.inputs[1]) else { return Ok(()) };
        let (uses, weights) = (self.uses.get(&Arc::as_ptr(data)).copied().unwrap_or(1), data.len());
        let channels: usize = [node.inputs[0], node.output].iter().filter_map(|&v| self.e.shape(v).last()).sum();
        let few = uses.saturating_mul(weights) <= MOST_READ && uses.saturating_mul(channels) <= MOST_BIASES;
        if (affine.values().unit && few) || uses == 1 {
            return Ok(());
        }
        let all = self.readers.get(&node.inputs[1]).map_or(&[][..], |r| r);
        let other = all.iter().find(|&&r| r != i).map_or("another node".into(), |&r| self.e.graph.nodes[r].title());
        Err(format!("{} has weights shared with {other}", node.title()))
    }
}

#[cfg(test)]
mod tests;
