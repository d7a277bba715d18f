//! Computes what depends on constants alone and drops what does nothing.
use super::edit::Edit;
use super::{Report, ScaleRange};
use crate::error::Result;
use crate::interp;
use crate::ir::verify::elements;
use crate::ir::{Act, BinaryOp, Graph, Node, Op, Pads, PoolKind};

/// Constants may be made up to this many elements where the source has fewer: an 8-byte `Expand` must not fill the memory.
const MOST_NEW_ELEMENTS: usize = 1 << 20;

/// Work on each element of a constant, and besides, see [`interp::work`]: half a second.
const MOST_LOOKS: u64 = 512;
const MOST_WORK: u64 = 1 << 27;

/// What may still be computed.
struct Left {
    /// Elements that are made.
    elements: usize,
    /// Elements that are read, and operations.
    work: u64,
}

pub(super) fn run(g: Graph, report: &mut Report) -> Result<Graph> {
    // Every constant once more, and some small ones.
    let known = g.elements_of_constants();
    let mut left = Left { elements: known + MOST_NEW_ELEMENTS, work: MOST_LOOKS * known as u64 + MOST_WORK };
    let mut e = Edit::new(g);
    for i in 0..e.len() {
        let Some(n) = e.visit(i) else { continue };
        if n.inputs.iter().all(|&v| e.graph.data(v).is_some()) {
            fold(&mut e, i, &n, &mut left, report);
        } else if let Some(input) = identity(&e, &n) {
            report.note("fold_constants", format!("{} does nothing", n.title()));
            e.forward(i, n.inputs[input]);
        } else {
            simplify(&mut e, i, &n);
        }
    }
    Ok(e.finish())
}

/// Replaces a node by its value. One whose value is large or not finite stays: it is computed at run time, as in the source.
fn fold(e: &mut Edit, i: usize, n: &Node, left: &mut Left, report: &mut Report) {
    let shape = e.shape(n.output).to_vec();
    let Some(size) = elements(&shape).filter(|&size| size <= left.elements) else { return };
    if let Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Pool { .. } | Op::Dense { .. } | Op::Matmul = n.op {
        // They may be a lot of work in a hostile file; no trained network has one of a constant.
        return;
    }
    let reads: usize = n.inputs.iter().map(|&v| e.graph.data(v).map_or(0, |d| d.len())).sum();
    match left.work.checked_sub(interp::work(&e.graph, n).saturating_add((reads + size) as u64)) {
        Some(work) => left.work = work,
        None => return,
    }
    let data: Vec<f32> = interp::evaluate_constant(&e.graph, n).into_iter().map(|x| x as f32).collect();
    if data.iter().any(|x| !x.is_finite()) {
        return;
    }
    left.elements -= size;
    if let Op::BatchNorm { .. } = n.op {
        report.decide(&n.name, true, "computed at conversion: its input is constant".into(), ScaleRange::default());
    }
    report.note("fold_constants", format!("{} depends on constants alone", n.title()));
    let name = e.graph.values[n.output.0].name.clone();
    let v = e.constant(name, &shape, data);
    e.forward(i, v);
}

/// The input that a node passes on unchanged.
fn identity(e: &Edit, n: &Node) -> Option<usize> {
    let (x, out) = (e.shape(n.inputs[0]), e.shape(n.output));
    let constant = |i: usize| e.scalar(n.inputs[i]);
    let passes = match &n.op {
        Op::Act(act) => nothing(*act),
        Op::Reshape | Op::Broadcast | Op::Slice { .. } | Op::Pad { .. } | Op::Resize { .. } => x == out,
        Op::Transpose { perm } => x == out && only_ones_move(x, perm),
        Op::Concat { .. } => n.inputs.len() == 1,
        Op::Reduce { axes, .. } => x == out && axes.iter().all(|&a| x[a] == 1),
        Op::Upsample { factor } => *factor == [1, 1],
        Op::Pool { kind, window, residual: false } => {
            !matches!(kind, PoolKind::AverageWithPad { .. })
                && window.kernel == [1, 1]
                && window.stride == [1, 1]
                && window.pads == Pads::default()
        }
        Op::Binary { op, act } if nothing(*act) => match op {
            BinaryOp::Mul if constant(1) == Some(1.0) => x == out,
            BinaryOp::Add if constant(1) == Some(0.0) => x == out,
            BinaryOp::Sub if constant(1) == Some(0.0) => x == out,
            BinaryOp::Div if constant(1) == Some(1.0) => x == out,
            BinaryOp::Mul if constant(0) == Some(1.0) && e.shape(n.inputs[1]) == out => return Some(1),
            BinaryOp::Add if constant(0) == Some(0.0) && e.shape(n.inputs[1]) == out => return Some(1),
            _ => false,
        },
        _ => false,
    };
    passes.then_some(0)
}

/// Whether an activation changes nothing.
fn nothing(act: Act) -> bool {
    act.clamp() == Some((f32::NEG_INFINITY, f32::INFINITY))
}

/// Whether a transpose moves axes of extent 1 alone, so that the elements stay in order.
pub(super) fn only_ones_move(shape: &[usize], perm: &[usize]) -> bool {
    let rest: Vec<usize> = perm.iter().copied().filter(|&p| shape[p] != 1).collect();
    rest.is_sorted()
}

/// Reductions of single elements and repeating nothing become reshapes, which cost nothing. Transposes of such axes are left to
/// the layout, which wants to know where axes went.
fn simplify(e: &mut Edit, i: usize, n: &Node) {
    let (x, out) = (e.shape(n.inputs[0]), e.shape(n.output));
    let free = match &n.op {
        Op::Broadcast => elements(x) == elements(out),
        Op::Reduce { axes, .. } => axes.iter().all(|&a| x[a] == 1),
        _ => false,
    };
    if free {
        e.rewrite(i, Op::Reshape, n.inputs.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::ReduceKind;
    use crate::passes::testing::{binary, finish, same_function};
    use std::sync::Arc;

    /// A constant that hundreds of nodes read: what is left when enough has been read is computed at run time.
    #[test]
    fn reading_is_paid_for() {
        let mut g = Graph::default();
        let c = g.constant("c", &[1 << 10, 1 << 6], Arc::new(vec![1.0; 1 << 16]));
        let sum = |g: &mut Graph| {
            let op = Op::Reduce { kind: ReduceKind::Sum, axes: vec![0, 1], keep_dims: false };
            g.node("sum", "ReduceSum", op, &[c], &[])
        };
        let sums: Vec<_> = (0..2000).map(|_| sum(&mut g)).collect();
        let after = run(finish(g, &sums), &mut Report::default()).unwrap();
        assert!(!after.nodes.is_empty() && after.nodes.len() < sums.len(), "{}", after.nodes.len());
    }

    #[test]
    fn constants_and_identities_vanish() {
        let mut g = Graph::default();
        let x = g.input("x", &[1, 2, 1, 3]);
        let c = g.constant("c", &[3, 2], Arc::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let t = g.node("t", "T", Op::Transpose { perm: vec![1, 0] }, &[c], &[2, 3]);
        let r = g.node("r", "R", Op::Reshape, &[t], &[1, 2, 1, 3]);
        let one = g.constant("one", &[], Arc::new(vec![1.0]));
        let zeros = g.constant("zeros", &[3], Arc::new(vec![0.0; 3]));
        let a = g.node("a", "Mul", binary(BinaryOp::Mul, Act::None), &[one, x], &[1, 2, 1, 3]);
        let b = g.node("b", "Sub", binary(BinaryOp::Sub, Act::None), &[a, zeros], &[1, 2, 1, 3]);
        let s = g.node("s", "Slice", Op::Slice { start: vec![0; 4], step: vec![1; 4] }, &[b], &[1, 2, 1, 3]);
        let p = g.node("p", "T", Op::Transpose { perm: vec![0, 2, 1, 3] }, &[s], &[1, 1, 2, 3]);
        let q = g.node("q", "T", Op::Transpose { perm: vec![0, 2, 1, 3] }, &[p], &[1, 2, 1, 3]);
        let y = g.node("y", "Add", binary(BinaryOp::Add, Act::None), &[q, r], &[1, 2, 1, 3]);
        let before = finish(g, &[y]);
        let after = run(before.clone(), &mut Report::default()).unwrap();
        after.verify().unwrap();
        assert_eq!(same_function(&before, &after), 0.0);
        // What is left: two free transposes and the sum.
        assert_eq!(after.nodes.len(), 3);
    }

    #[test]
    fn keeps_what_only_looks_like_nothing() {
        let mut g = Graph::default();
        let x = g.input("x", &[2]);
        let ones = g.constant("ones", &[3, 2], Arc::new(vec![1.0; 6]));
        let y = g.node("y", "Mul", binary(BinaryOp::Mul, Act::None), &[x, ones], &[3, 2]);
        let zero = g.constant("zero", &[], Arc::new(vec![0.0]));
        let z = g.node("z", "Sub", binary(BinaryOp::Sub, Act::None), &[zero, y], &[3, 2]);
        let before = finish(g, &[z]);
        let after = run(before.clone(), &mut Report::default()).unwrap();
        assert_eq!(after.nodes.len(), 2);
        assert_eq!(same_function(&before, &after), 0.0);
    }

    #[test]
    fn an_expanding_constant_is_not_stored() {
        let mut g = Graph::default();
        let c = g.constant("c", &[1], Arc::new(vec![1.0]));
        let y = g.node("y", "Expand", Op::Broadcast, &[c], &[1 << 40]);
        let after = run(finish(g, &[y]), &mut Report::default()).unwrap();
        assert_eq!(after.nodes.len(), 1);
    }

    #[test]
    fn an_output_may_be_an_input() {
        let mut g = Graph::default();
        let x = g.input("x", &[2]);
        let y = g.node("y", "Identity", Op::Act(Act::None), &[x], &[2]);
        let after = run(finish(g, &[y]), &mut Report::default()).unwrap();
        assert_eq!((after.nodes.len(), after.outputs[0]), (0, x));
        after.verify().unwrap();
    }
}
