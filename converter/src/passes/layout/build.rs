//! One walk over the source, giving the new graph.
use super::hold::{Held, New, flatten, gather, identity, inverse, regroup};
use super::is_constant;
use crate::ir::verify::elements;

use crate::ir::{Graph, Node, Op, ValueId};
use std::sync::Arc;

/// What is decided beforehand.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// Inputs of the graph that are transposed at once, and how.
    pub(super) inputs: Vec<(usize, Vec<usize>)>,
    /// Where two operands lie in different orders and both choices cost the same: take the source's order.
    pub(super) keep_source_order: bool,
}

/// How much larger constants may become in all by being held in several orders.
const MOST_COPIES: usize = 4;

/// Most orders that operands are tried in; a network knows two or three.
const MOST_ORDERS: usize = 16;

/// Most elements of all axes that are flattened in another order than the source's; a classifier has some ten thousand.
const MOST_SHUFFLED: usize = 1 << 22;

/// A value of the new graph, the one of the old graph that it holds, and where the axes of that lie.
pub(super) type Lies = (ValueId, ValueId, Vec<usize>);

/// Builds the graph with its transposes moved, and says what its values hold; `None` if that would multiply its constants.
pub(super) fn build(old: &Graph, choice: &Choice) -> Option<(Graph, Vec<Lies>)> {
    let known = old.elements_of_constants();
    let mut b = Build { old, choice, new: New::default(), held: vec![None; old.values.len()], left: MOST_SHUFFLED };
    for (i, &v) in old.inputs.iter().enumerate() {
        let mut at = b.new.graph.input(old.values[v.0].name.clone(), old.shape(v));
        let mut perm = identity(old.shape(v).len());
        if let Some((_, first)) = choice.inputs.iter().find(|c| c.0 == i) {
            at = b.new.transpose(at, first.clone());
            perm = inverse(first);
        }
        b.held[v.0] = Some(Held::Axes { at, perm });
    }
    for n in &old.nodes {
        let held = b.node(n);
        b.held[n.output.0] = Some(held);
        if b.new.copied > known.saturating_mul(MOST_COPIES) {
            return None;
        }
    }
    for &v in &old.outputs {
        let at = b.plain(v);
        b.new.graph.outputs.push(at);
    }
    let Graph { name, output_names, trainable_parameters, total_parameters, .. } = old;
    let mut g = b.new.graph;
    g.name.clone_from(name);
    g.output_names.clone_from(output_names);
    (g.trainable_parameters, g.total_parameters) = (*trainable_parameters, *total_parameters);
    g.remove_dead();
    let own = old.inputs.iter().copied().chain(old.nodes.iter().map(|n| n.output));
    let lies = own.filter_map(|v| match b.held[v.0].take()? {
        Held::Axes { at, perm } if g.data(at).is_none() => Some((at, v, perm)),
        _ => None,
    });
    let lies = lies.collect();
    Some((g, lies))
}

struct Build<'a> {
    old: &'a Graph,
    choice: &'a Choice,
    new: New,
    held: Vec<Option<Held>>,
    /// Elements whose order may still be written down.
    left: usize,
}

impl Build<'_> {
    fn held(&mut self, v: ValueId) -> Held {
        if let Some(held) = &self.held[v.0] {
            return held.clone();
        }
        // Everything but constants was held when it was computed.
        let value = &self.old.values[v.0];
        let data = value.data.clone().unwrap_or_default();
        let at = self.new.graph.constant(value.name.clone(), &value.shape, data);
        let held = Held::Axes { at, perm: identity(value.shape.len()) };
        self.held[v.0] = Some(held.clone());
        held
    }

    /// A value in the source's order.
    fn plain(&mut self, v: ValueId) -> ValueId {
        let held = self.held(v);
        self.new.plain(&held, self.old.shape(v))
    }

    /// A value and where its axes lie.
    fn axes(&mut self, v: ValueId) -> (ValueId, Vec<usize>) {
        match self.held(v) {
            Held::Axes { at, perm } => (at, perm),
            Held::Shuffled { .. } => (self.plain(v), identity(self.old.shape(v).len())),
        }
    }

    /// [`Self::axes`], in the source's order if `axis` is the last there and would not be where it lies: operators along the
    /// last axis are the fast ones.
    fn axes_along(&mut self, v: ValueId, axis: usize) -> (ValueId, Vec<usize>) {
        let (at, perm) = self.axes(v);
        let last = perm.len().wrapping_sub(1);
        if axis == last && perm[axis] != last { (self.plain(v), identity(perm.len())) } else { (at, perm) }
    }

    fn emit(&mut self, n: &Node, op: Op, inputs: &[ValueId], shape: &[usize]) -> ValueId {
        let output = self.new.graph.value(self.old.values[n.output.0].name.clone(), shape);
        let node = Node { name: n.name.clone(), kind: n.kind.clone(), op, inputs: inputs.to_vec(), output };
        self.new.graph.nodes.push(node);
        output
    }

    /// Emits an operator that gives the shape of its first input, on that input as it lies.
    fn emit_like(&mut self, n: &Node, op: Op, inputs: &[ValueId], perm: Vec<usize>) -> Held {
        let shape = self.new.graph.shape(inputs[0]).to_vec();
        Held::Axes { at: self.emit(n, op, inputs, &shape), perm }
    }

    fn node(&mut self, n: &Node) -> Held {
        if let Some(held) = self.on_shuffled(n) {
            return held;
        }
        let x = n.inputs[0];
        let out = self.old.shape(n.output).to_vec();
        match &n.op {
            Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Pool { .. } | Op::Upsample { .. } | Op::Resize { .. } => {
                let inputs: Vec<ValueId> = n.inputs.iter().map(|&v| self.plain(v)).collect();
                let at = self.emit(n, n.op.clone(), &inputs, &out);
                Held::Axes { at, perm: identity(4) }
            }
            Op::Transpose { perm: moved } => {
                let (at, perm) = self.axes(x);
                Held::Axes { at, perm: moved.iter().map(|&m| perm[m]).collect() }
            }
            Op::Reshape => self.reshape(x, &out),
            Op::Act(_) | Op::Unary(_) => {
                let (at, perm) = self.axes(x);
                self.emit_like(n, n.op.clone(), &[at], perm)
            }
            Op::Matmul => {
                let inputs: Vec<ValueId> = n.inputs.iter().map(|&v| self.plain(v)).collect();
                let at = self.emit(n, Op::Matmul, &inputs, &out);
                Held::Axes { at, perm: identity(out.len()) }
            }
            Op::LayerNorm { .. } => {
                let (at, perm) = self.axes_along(x, out.len() - 1);
                let inputs = [at, self.plain(n.inputs[1]), self.plain(n.inputs[2])];
                self.emit_like(n, n.op.clone(), &inputs, perm)
            }
            Op::Dense { .. } | Op::ScaleShift { .. } => {
                let (at, perm) = self.axes_along(x, out.len() - 1);
                let mut inputs = vec![at];
                inputs.extend(n.inputs[1..].iter().map(|&v| self.plain(v)).collect::<Vec<_>>());
                let shape = along(&perm, &out);
                Held::Axes { at: self.emit(n, n.op.clone(), &inputs, &shape), perm }
            }
            Op::BatchNorm { axis, epsilon } => {
                let (at, perm) = self.axes_along(x, *axis);
                let mut inputs = vec![at];
                inputs.extend(n.inputs[1..].iter().map(|&v| self.plain(v)).collect::<Vec<_>>());
                self.emit_like(n, Op::BatchNorm { axis: perm[*axis], epsilon: *epsilon }, &inputs, perm)
            }
            Op::Softmax { axis, log } => {
                let (at, perm) = self.axes_along(x, *axis);
                self.emit_like(n, Op::Softmax { axis: perm[*axis], log: *log }, &[at], perm)
            }
            Op::PRelu => {
                let (at, perm) = self.axes(x);
                let slope = self.axes(n.inputs[1]);
                let slope = self.operand(slope, &perm);
                self.emit_like(n, Op::PRelu, &[at, slope], perm)
            }
            Op::Binary { .. } => {
                let (inputs, perm) = self.operands(n, out.len());
                let at = self.emit(n, n.op.clone(), &inputs, &along(&perm, &out));
                Held::Axes { at, perm }
            }
            Op::Concat { axis } => {
                let (inputs, perm) = self.operands(n, out.len());
                let at = self.emit(n, Op::Concat { axis: perm[*axis] }, &inputs, &along(&perm, &out));
                Held::Axes { at, perm }
            }
            Op::Reduce { kind, axes, keep_dims } => {
                let (at, perm) = self.axes(x);
                let mut moved: Vec<usize> = axes.iter().map(|&a| perm[a]).collect();
                moved.sort_unstable();
                let perm = if *keep_dims { perm } else { without(&perm, axes) };
                let op = Op::Reduce { kind: *kind, axes: moved, keep_dims: *keep_dims };
                let at = self.emit(n, op, &[at], &along(&perm, &out));
                Held::Axes { at, perm }
            }
            Op::Pad { pads, value } => {
                let (at, perm) = self.axes(x);
                let op = Op::Pad { pads: along(&perm, pads), value: *value };
                Held::Axes { at: self.emit(n, op, &[at], &along(&perm, &out)), perm }
            }
            Op::Slice { start, step } => {
                let (at, perm) = self.axes(x);
                let op = Op::Slice { start: along(&perm, start), step: along(&perm, step) };
                Held::Axes { at: self.emit(n, op, &[at], &along(&perm, &out)), perm }
            }
            Op::Broadcast => {
                let held = self.axes(x);
                let (_, perm) = self.extend(held.clone(), out.len());
                let at = self.operand(held, &perm);
                Held::Axes { at: self.emit(n, Op::Broadcast, &[at], &along(&perm, &out)), perm }
            }
        }
    }

    fn reshape(&mut self, x: ValueId, out: &[usize]) -> Held {
        let (at, perm) = self.axes(x);
        let shape = self.old.shape(x);
        if let Some((lies, perm)) = regroup(shape, &perm, out) {
            return Held::Axes { at: self.new.reshape(at, &lies), perm };
        }
        let flat = out.last().copied().unwrap_or(usize::MAX);
        if !is_constant(self.old, x)
            && flat <= self.left
            && let Some((lies, order)) = flatten(shape, &perm, out)
        {
            self.left -= flat;
            let from = self.new.graph.shape(at).to_vec();
            return Held::Shuffled { at: self.new.reshape(at, &lies), order: Arc::new(order), from, perm };
        }
        if !self.choice.keep_source_order
            && let Some(moved) = gather(shape, &perm, out)
        {
            let there = inverse(&moved);
            let perm: Vec<usize> = perm.iter().map(|&p| there[p]).collect();
            let at = self.new.transpose(at, moved);
            if let Some((lies, perm)) = regroup(shape, &perm, out) {
                return Held::Axes { at: self.new.reshape(at, &lies), perm };
            }
        }
        let at = self.plain(x);
        Held::Axes { at: self.new.reshape(at, out), perm: identity(out.len()) }
    }

    /// A value with axes of extent 1 in front, up to `rank`.
    fn extend(&mut self, (at, perm): (ValueId, Vec<usize>), rank: usize) -> (ValueId, Vec<usize>) {
        let more = rank - perm.len();
        if more == 0 {
            return (at, perm);
        }
        let shape = [&vec![1; more], self.new.graph.shape(at)].concat();
        let longer = (0..more).chain(perm.iter().map(|p| p + more)).collect();
        (self.new.reshape(at, &shape), longer)
    }

    /// An operand that broadcasts against something that lies as `order` says.
    fn operand(&mut self, held: (ValueId, Vec<usize>), order: &[usize]) -> ValueId {
        let plain = order.iter().copied().eq(0..order.len());
        if elements(self.new.graph.shape(held.0)) == Some(1) && held.1.len() <= order.len() {
            return held.0;
        }
        if plain {
            return self.new.bring(held.0, &held.1, &identity(held.1.len()));
        }
        let (at, perm) = self.extend(held, order.len());
        self.new.bring(at, &perm, order)
    }

    /// Operands brought into one order of axes, the one for which the fewest have to be moved.
    fn operands(&mut self, n: &Node, rank: usize) -> (Vec<ValueId>, Vec<usize>) {
        let held: Vec<_> = n.inputs.iter().map(|&v| self.axes(v)).collect();
        let longer: Vec<_> = held.iter().map(|h| self.extend(h.clone(), rank)).collect();
        let plain = identity(rank);
        let size = |at: ValueId| elements(self.new.graph.shape(at)).unwrap_or(0);
        let mut orders: Vec<(usize, usize, Vec<usize>)> = Vec::new();
        for (at, perm) in longer.iter().filter(|h| !is_constant(&self.new.graph, h.0)) {
            match orders.iter().position(|o| o.2 == *perm) {
                Some(known) => orders[known].1 = orders[known].1.max(size(*at)),
                None if orders.len() < MOST_ORDERS => orders.push((0, size(*at), perm.clone())),
                None => {}
            }
        }
        orders.push((0, if self.choice.keep_source_order { usize::MAX } else { 0 }, plain.clone()));
        for (moved, _, order) in &mut orders {
            *moved = longer.iter().filter(|h| self.new.moves(h.0, &h.1, order)).count();
        }
        // Fewest moves, then as the largest operand lies, then any order but the source's.
        let best = orders.into_iter().min_by_key(|(moved, size, order)| (*moved, usize::MAX - size, *order == plain));
        let order = best.map_or(plain, |b| b.2);
        let inputs = held.into_iter().map(|h| self.operand(h, &order)).collect();
        (inputs, order)
    }

    /// Operators that can do with a flattened axis in another order.
    fn on_shuffled(&mut self, n: &Node) -> Option<Held> {
        let held: Vec<Held> = n.inputs.iter().map(|&v| self.held(v)).collect();
        let (at, order, from, perm) = held.iter().find_map(|h| match h {
            Held::Shuffled { at, order, from, perm } => Some((*at, order.clone(), from.clone(), perm.clone())),
            Held::Axes { .. } => None,
        })?;
        let shape = self.new.graph.shape(at).to_vec();
        let last = shape.len() - 1;
        let mut inputs = Vec::new();
        match &n.op {
            Op::Act(_) | Op::Unary(_) => inputs.push(at),
            Op::Dense { .. } => {
                let rows = self.rows(n.inputs[1], &order);
                inputs.extend([at, rows]);
                inputs.extend(n.inputs[2..].iter().map(|&v| self.plain(v)).collect::<Vec<_>>());
                let out = self.old.shape(n.output).to_vec();
                let at = self.emit(n, n.op.clone(), &inputs, &out);
                return Some(Held::Axes { at, perm: identity(out.len()) });
            }
            Op::BatchNorm { axis, .. } if *axis != last => return None,
            Op::BatchNorm { .. } | Op::ScaleShift { .. } | Op::PRelu | Op::Binary { .. } => {
                for (held, &v) in held.iter().zip(&n.inputs) {
                    inputs.push(match held {
                        Held::Shuffled { at, order: own, .. } if *own == order && self.new.graph.shape(*at) == shape => *at,
                        Held::Axes { at, .. } if is_constant(self.old, v) && self.old.shape(v).len() <= shape.len() => {
                            self.new.shuffle(*at, &order)?
                        }
                        _ => return None,
                    });
                }
            }
            _ => return None,
        }
        let at = self.emit(n, n.op.clone(), &inputs, &shape);
        Some(Held::Shuffled { at, order, from, perm })
    }

    /// Weights of a Dense whose rows follow `order`.
    fn rows(&mut self, weights: ValueId, order: &[usize]) -> ValueId {
        let value = &self.old.values[weights.0];
        let data = value.data.clone().unwrap_or_default();
        let columns = value.shape[1];
        let mut moved = vec![0.0; data.len()];
        self.new.copied += data.len();
        for (row, &o) in data.chunks_exact(columns).zip(order) {
            moved[o * columns..(o + 1) * columns].copy_from_slice(row);
        }
        self.new.graph.constant(value.name.clone(), &value.shape, Arc::new(moved))
    }
}

/// What belongs to the axes of the source, in the order in which they lie.
fn along<T: Clone>(perm: &[usize], of: &[T]) -> Vec<T> {
    inverse(perm).into_iter().map(|i| of[i].clone()).collect()
}

/// `perm` without some axes of the source, the rest numbered anew.
fn without(perm: &[usize], axes: &[usize]) -> Vec<usize> {
    let kept: Vec<usize> = (0..perm.len()).filter(|i| !axes.contains(i)).map(|i| perm[i]).collect();
    kept.iter().map(|p| kept.iter().filter(|q| *q < p).count()).collect()
}
