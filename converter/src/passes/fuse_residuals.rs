//! Lets a convolution or a pooling add the other branch of a join to its own result.
use super::Report;
use super::edit::Edit;
use crate::error::Result;
use crate::ir::{Act, BinaryOp, Graph, Node, Op, PoolKind, ValueId};

pub(super) fn run(g: Graph, report: &mut Report) -> Result<Graph> {
    let mut e = Edit::new(g);
    for i in 0..e.len() {
        let Some(n) = e.visit(i) else { continue };
        let Op::Binary { op: BinaryOp::Add, act } = n.op else { continue };
        let [a, b] = n.inputs[..] else { continue };
        let equal = e.shape(a) == e.shape(b) && e.graph.data(a).is_none() && e.graph.data(b).is_none();
        if a == b || !equal {
            continue;
        }
        // The later of the two first: it does not have to wait for the other, and keeps nothing alive for longer.
        let mut order = [(a, b), (b, a)];
        order.sort_by_key(|(v, _)| std::cmp::Reverse(e.producer(*v)));
        let Some((x, other)) = order.into_iter().find(|(x, _)| takes(&e, *x, act)) else { continue };
        let Some((_, taker)) = e.producing(x) else { continue };
        let taker = taker.clone();
        report.note("fuse_residuals", format!("{} into {}", n.title(), taker.title()));
        let mut op = taker.op.clone();
        match &mut op {
            Op::Conv { residual, act: own, .. } => (*residual, *own) = (true, act),
            Op::Pool { residual, .. } => *residual = true,
            _ => continue,
        }
        // It moves to the place of the sum, where both operands are there.
        let inputs = taker.inputs.iter().copied().chain([other]).collect();
        (e.graph.nodes[i].name, e.graph.nodes[i].kind) = (taker.name, taker.kind);
        e.rewrite(i, op, inputs);
    }
    Ok(e.finish())
}

/// Whether what computes `x`, for this sum alone, can add something and then apply `act`.
fn takes(e: &Edit, x: ValueId, act: Act) -> bool {
    let Some((_, Node { op, inputs, .. })) = e.producing(x).filter(|_| e.uses(x) == 1) else { return false };
    match op {
        // The depthwise kernel has no residual: it is bound by memory, and so would the sum be.
        Op::Conv { residual: false, act: Act::None, groups, .. } => *groups == 1 || e.shape(inputs[1])[2] > 1,
        Op::Pool { kind: PoolKind::Max | PoolKind::Average, residual: false, .. } => act == Act::None,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::testing::{Numbers, binary, conv, finish, same_function, window};
    use proptest::prelude::*;

    fn optimise(before: &Graph) -> Graph {
        let after = run(before.clone(), &mut Report::default()).unwrap();
        after.verify().unwrap();
        assert!(same_function(before, &after) < 1e-12, "{before}\n{after}");
        after
    }

    fn add(g: &mut Graph, act: Act, a: ValueId, b: ValueId) -> ValueId {
        let shape = g.shape(a).to_vec();
        g.node("add", "Add", binary(BinaryOp::Add, act), &[a, b], &shape)
    }

    fn pool(g: &mut Graph, x: ValueId) -> ValueId {
        let shape = g.shape(x).to_vec();
        let op = Op::Pool { kind: PoolKind::Max, window: window(3, 1, [1; 4]), residual: false };
        g.node("pool", "MaxPool", op, &[x], &shape)
    }

    #[test]
    fn the_later_operand_takes_the_other() {
        for swapped in [false, true] {
            let (mut g, mut r) = (Graph::default(), Numbers(1));
            let x = g.input("x", &[1, 4, 4, 3]);
            let a = conv(&mut g, &mut r, "a", x, 3, 1, true, window(1, 1, [0; 4]));
            let b = pool(&mut g, x);
            let y = if swapped { add(&mut g, Act::None, b, a) } else { add(&mut g, Act::None, a, b) };
            let after = optimise(&finish(g, &[y]));
            assert!(matches!(&after.nodes[..], [_, Node { op: Op::Pool { residual: true, .. }, .. }]), "{after}");
        }
    }

    #[test]
    fn what_cannot_take_it_leaves_it_to_the_other() {
        let (mut g, mut r) = (Graph::default(), Numbers(2));
        let x = g.input("x", &[1, 4, 4, 3]);
        let a = conv(&mut g, &mut r, "a", x, 3, 1, true, window(1, 1, [0; 4]));
        let b = conv(&mut g, &mut r, "dw", x, 3, 3, true, window(3, 1, [1; 4]));
        let c = add(&mut g, Act::RELU, a, b);
        let p = pool(&mut g, c);
        let y = add(&mut g, Act::RELU, c, p);
        let after = optimise(&finish(g, &[y]));
        assert!(matches!(after.nodes[1].op, Op::Conv { residual: true, act: Act::RELU, groups: 1, .. }), "{after}");
        // The pool has no activation.
        assert_eq!(after.nodes.len(), 4);
    }

    #[test]
    fn second_uses_and_broadcasts_stay() {
        let (mut g, mut r) = (Graph::default(), Numbers(3));
        let x = g.input("x", &[1, 4, 4, 3]);
        let a = conv(&mut g, &mut r, "a", x, 3, 1, true, window(1, 1, [0; 4]));
        let y = add(&mut g, Act::None, a, x);
        let z = add(&mut g, Act::None, a, a);
        let one = g.input("one", &[1, 1, 1, 3]);
        let b = conv(&mut g, &mut r, "b", z, 3, 1, true, window(1, 1, [0; 4]));
        let w = add(&mut g, Act::None, b, one);
        let after = optimise(&finish(g, &[y, w]));
        assert_eq!(after.nodes.len(), 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn computes_the_same(seed in any::<u32>(), steps in 2usize..10) {
            let (mut g, mut r) = (Graph::default(), Numbers(seed));
            let mut all = vec![g.input("x", &[1, 3, 4, 2])];
            for i in 0..steps {
                let (x, y) = (all[r.below(all.len())], all[all.len() - 1 - r.below(all.len().min(3))]);
                let groups = 1 + r.below(2);
                all.push(match r.below(4) {
                    0 => pool(&mut g, y),
                    1 => conv(&mut g, &mut r, &format!("c{i}"), y, 2, groups, true, window(3, 1, [1; 4])),
                    _ => add(&mut g, [Act::None, Act::RELU][i % 2], x, y),
                });
            }
            let mut before = finish(g, &[all[all.len() - 1]]);
            before.remove_dead();
            optimise(&before);
        }
    }
}
