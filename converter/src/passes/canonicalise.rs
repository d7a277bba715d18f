//! One spelling for what has several: global pooling is a reduction, a reduction can drop its axes itself, a slope that is the
//! same everywhere is a leaky ReLU, and a batch norm whose channels are not the last axis is a product and a sum.
use super::Report;
use super::edit::Edit;
use super::facts::Facts;
use super::fold_batch_norm::affine::{Affines, MOST_CHANNELS};
use crate::error::Result;
use crate::ir::{Act, BinaryOp, Graph, Node, Op, Pads, PoolKind, ReduceKind, ValueId};
use std::collections::HashMap;
use std::sync::Arc;

/// Elements of constants that single numbers are repeated to: they must not make a small file large.
const MOST_REPEATED: usize = 1 << 22;

pub(super) fn run(mut g: Graph, report: &mut Report) -> Result<Graph> {
    let mut nodes = Vec::with_capacity(g.nodes.len());
    let (mut slopes, mut spread) = (Facts::default(), Spread::new(&g));
    for mut n in std::mem::take(&mut g.nodes) {
        match &n.op {
            Op::Pool { .. } => {
                if let Some(kind) = global(&g, &n) {
                    report.note("canonicalise", format!("{} covers the image", n.title()));
                    n.op = Op::Reduce { kind, axes: vec![1, 2], keep_dims: true };
                }
            }
            Op::PRelu => {
                let same = |d: &[f32]| d.first().copied().filter(|&a| d.iter().all(|&s| s == a));
                if let Some(a) = g.data(n.inputs[1]).and_then(|d| slopes.of(d, same)) {
                    report.note("canonicalise", format!("{} has one slope", n.title()));
                    n.inputs.truncate(1);
                    n.op = Op::Act(if a == 0.0 { Act::RELU } else { Act::Leaky(a) });
                }
            }
            Op::BatchNorm { axis, epsilon } if along_one(g.shape(n.output), *axis) && spread.pays(&g, &n) => {
                let (op, last) =
                    (Op::BatchNorm { axis: g.shape(n.output).len() - 1, epsilon: *epsilon }, g.shape(n.output).len() - 1);
                // One channel along any axis is the same for all of the last one.
                let channels = g.shape(n.output)[last];
                for i in 1..n.inputs.len() {
                    n.inputs[i] = spread.repeated(&mut g, n.inputs[i], channels);
                }
                n.op = op;
            }
            Op::BatchNorm { axis, .. } if axis + 1 < g.shape(n.output).len() => {
                let axis = *axis;
                nodes.push(spread.product(&mut g, &mut n, axis, report)?);
            }
            _ => {}
        }
        nodes.push(n);
    }
    g.nodes = nodes;
    Ok(drop_axes(g))
}

/// A reshape that only removes or restores the axes of the reduction before it is part of that.
fn drop_axes(g: Graph) -> Graph {
    let mut e = Edit::new(g);
    for i in 0..e.len() {
        let Some(n) = e.visit(i) else { continue };
        let Some((p, before)) = e.producing(n.inputs[0]).filter(|_| n.op == Op::Reshape && e.uses(n.inputs[0]) == 1) else {
            continue;
        };
        let Op::Reduce { kind, axes, keep_dims } = &before.op else { continue };
        let x = e.shape(before.inputs[0]).iter().enumerate();
        let other: Vec<usize> = match keep_dims {
            true => x.filter(|(i, _)| !axes.contains(i)).map(|(_, &d)| d).collect(),
            false => x.map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect(),
        };
        if e.shape(n.output) == other {
            let op = Op::Reduce { kind: *kind, axes: axes.clone(), keep_dims: !keep_dims };
            let inputs = before.inputs.clone();
            e.rewrite(p, op, inputs);
            e.absorb(p, i);
        }
    }
    e.finish()
}

/// What a pooling window takes that covers the whole image and nothing else.
fn global(g: &Graph, n: &Node) -> Option<ReduceKind> {
    let Op::Pool { kind, window, residual: false } = &n.op else { return None };
    let (x, y) = (g.shape(n.inputs[0]), g.shape(n.output));
    let covers = window.kernel == [x[1], x[2]] && window.dilation == [1, 1] && window.pads == Pads::default();
    let one = y[1] == 1 && y[2] == 1;
    match kind {
        _ if !covers || !one => None,
        PoolKind::Max => Some(ReduceKind::Max),
        PoolKind::Average | PoolKind::AverageWithPad { .. } => Some(ReduceKind::Mean),
    }
}

/// Whether an axis that is not the last has one channel, which is then the same for few enough of the last one's.
fn along_one(shape: &[usize], axis: usize) -> bool {
    axis + 1 < shape.len() && shape[axis] == 1 && shape[shape.len() - 1] <= MOST_CHANNELS
}

/// The constants of batch norms whose channels are not the last axis. A layer that is called often has them once.
struct Spread {
    affines: Affines,
    /// Of what was made of these inputs, by the rank behind the axis and the epsilon.
    factors: HashMap<(Vec<ValueId>, usize, u32), [ValueId; 2]>,
    repeated: HashMap<(ValueId, usize), ValueId>,
    /// Elements that may still be repeated.
    left: usize,
}

impl Spread {
    fn new(g: &Graph) -> Self {
        Spread { affines: Affines::new(g), factors: HashMap::new(), repeated: HashMap::new(), left: MOST_REPEATED }
    }

    /// Whether the constants of a batch norm may be repeated for the last axis.
    fn pays(&mut self, g: &Graph, n: &Node) -> bool {
        let channels = g.shape(n.output).last().copied().unwrap_or(1);
        let new = n.inputs[1..].iter().filter(|&&v| !self.repeated.contains_key(&(v, channels))).count() * channels;
        let left = self.left.checked_sub(new);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// The one number of a constant for each channel.
    fn repeated(&mut self, g: &mut Graph, v: ValueId, channels: usize) -> ValueId {
        *self.repeated.entry((v, channels)).or_insert_with(|| {
            let value = g.data(v).and_then(|d| d.first().copied()).unwrap_or_default();
            let name = g.values[v.0].name.clone();
            g.constant(name, &[channels], Arc::new(vec![value; channels]))
        })
    }

    /// Makes a batch norm along a middle axis the sum, and gives the product before it.
    fn product(&mut self, g: &mut Graph, n: &mut Node, axis: usize, report: &mut Report) -> Result<Node> {
        let affine = self.affines.of_batch_norm(g, n)?;
        affine.report(report, Err(format!("its channels are axis {axis}, which is not the last, so that nothing can take it")));
        let shape = g.shape(n.output).to_vec();
        let mut along = vec![1; shape.len() - axis];
        along[0] = shape[axis];
        let epsilon = if let Op::BatchNorm { epsilon, .. } = n.op { epsilon.to_bits() } else { 0 };
        let [scale, shift] = *self.factors.entry((n.inputs[1..].to_vec(), along.len(), epsilon)).or_insert_with(|| {
            let [scale, shift] = affine.rounded();
            let scale = g.constant(format!("{}/scale", n.name), &along, Arc::new(scale));
            [scale, g.constant(format!("{}/shift", n.name), &along, Arc::new(shift))]
        });
        let scaled = g.value(format!("{}/scaled", n.name), &shape);
        let product = Node {
            name: format!("{}/scaled", n.name),
            kind: n.kind.clone(),
            op: Op::Binary { op: BinaryOp::Mul, act: Act::None },
            inputs: vec![n.inputs[0], scale],
            output: scaled,
        };
        n.op = Op::Binary { op: BinaryOp::Add, act: Act::None };
        n.inputs = vec![scaled, shift];
        Ok(product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::testing::{Numbers, batch_norm, finish, same_function, window};

    #[test]
    fn global_pools_become_reductions() {
        for (kind, becomes) in [(PoolKind::Max, ReduceKind::Max), (PoolKind::Average, ReduceKind::Mean)] {
            let mut g = Graph::default();
            let x = g.input("x", &[2, 3, 3, 2]);
            let op = Op::Pool { kind, window: window(3, 1, [0; 4]), residual: false };
            let y = g.node("p", "Pool", op, &[x], &[2, 1, 1, 2]);
            let before = finish(g, &[y]);
            let after = run(before.clone(), &mut Report::default()).unwrap();
            after.verify().unwrap();
            assert!(same_function(&before, &after) < 1e-12);
            assert_eq!(after.nodes[0].op, Op::Reduce { kind: becomes, axes: vec![1, 2], keep_dims: true });
        }
    }

    #[test]
    fn reductions_drop_and_restore_their_axes() {
        for keep_dims in [false, true] {
            let mut g = Graph::default();
            let x = g.input("x", &[2, 3, 3, 2]);
            let shapes: [&[usize]; 2] = if keep_dims { [&[2, 1, 1, 2], &[2, 2]] } else { [&[2, 2], &[2, 1, 1, 2]] };
            let op = Op::Reduce { kind: ReduceKind::Max, axes: vec![1, 2], keep_dims };
            let y = g.node("r", "Reduce", op, &[x], shapes[0]);
            let y = g.node("v", "Reshape", Op::Reshape, &[y], shapes[1]);
            let before = finish(g, &[y]);
            let after = run(before.clone(), &mut Report::default()).unwrap();
            after.verify().unwrap();
            assert_eq!(same_function(&before, &after), 0.0);
            assert_eq!(after.nodes.len(), 1);
        }
    }

    #[test]
    fn windows_that_pad_stay() {
        let mut g = Graph::default();
        let x = g.input("x", &[1, 2, 2, 2]);
        let op = Op::Pool { kind: PoolKind::Average, window: window(3, 1, [1, 1, 0, 0]), residual: false };
        let y = g.node("p", "Pool", op.clone(), &[x], &[1, 1, 1, 2]);
        let after = run(finish(g, &[y]), &mut Report::default()).unwrap();
        assert_eq!(after.nodes[0].op, op);
    }

    #[test]
    fn a_batch_norm_that_is_called_twice_has_its_constants_once() {
        for shape in [[1, 4, 3], [1, 1, 3]] {
            let (mut g, mut r) = (Graph::default(), Numbers(5));
            let x = g.input("x", &shape);
            let y = batch_norm(&mut g, &mut r, "bn", x, 1);
            let again = Node { inputs: [&[y], &g.nodes[0].inputs[1..]].concat(), ..g.nodes[0].clone() };
            let y = g.node("again", "BatchNormalization", again.op, &again.inputs, &shape);
            let before = finish(g, &[y]);
            let after = run(before.clone(), &mut Report::default()).unwrap();
            after.verify().unwrap();
            assert!(same_function(&before, &after) < 1e-6);
            let of = |n: &Node| n.inputs.iter().copied().filter(|&v| after.data(v).is_some()).collect::<Vec<_>>();
            let (first, second) = after.nodes.split_at(after.nodes.len() / 2);
            assert!(!first.is_empty() && first.iter().map(of).eq(second.iter().map(of)), "{after}");
        }
    }

    #[test]
    fn a_batch_norm_along_a_middle_axis() {
        let (mut g, mut r) = (Graph::default(), Numbers(5));
        let x = g.input("x", &[1, 4, 2, 3]);
        let y = batch_norm(&mut g, &mut r, "bn", x, 1);
        let slope = g.constant("slope", &[3], Arc::new(vec![0.25; 3]));
        let y = g.node("prelu", "PReLU", Op::PRelu, &[y, slope], &[1, 4, 2, 3]);
        let before = finish(g, &[y]);
        let after = run(before.clone(), &mut Report::default()).unwrap();
        after.verify().unwrap();
        assert!(same_function(&before, &after) < 1e-6);
        assert_eq!(after.nodes[2].op, Op::Act(Act::Leaky(0.25)));
        assert!(after.nodes.iter().all(|n| !matches!(n.op, Op::BatchNorm { .. })));
    }
}
