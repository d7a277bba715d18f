//! Lets the step that computes a value apply the activation that alone reads it, reshapes in between or not.
use super::Report;
use super::edit::Edit;
use super::recognise_activations::both;
use crate::error::Result;
use crate::ir::{Act, Graph, Op};

pub(super) fn run(g: Graph, report: &mut Report) -> Result<Graph> {
    let mut e = Edit::new(g);
    for i in 0..e.len() {
        let Some(n) = e.visit(i) else { continue };
        let Op::Act(act) = n.op else { continue };
        let x = e.before_reshapes(n.inputs[0], 1);
        let Some((p, producer)) = e.producing(x).filter(|_| e.uses(x) == 1) else { continue };
        let mut op = producer.op.clone();
        let Some(own) = epilogue(&mut op) else { continue };
        *own = match (*own, both(*own, act)) {
            (Act::None, _) => act,
            (_, Some(clamp)) => clamp,
            _ => continue,
        };
        report.note("fuse_activations", format!("{} into {}", n.title(), producer.title()));
        let inputs = producer.inputs.clone();
        e.rewrite(p, op, inputs);
        if x == n.inputs[0] {
            e.absorb(p, i);
        } else {
            report.origins.moved(&e, p, n.inputs[0], n.output);
            e.forward(i, n.inputs[0]);
        }
    }
    Ok(e.finish())
}

/// The activation at the end of an operator that can have one.
fn epilogue(op: &mut Op) -> Option<&mut Act> {
    match op {
        Op::Conv { act, .. }
        | Op::ConvTranspose { act, .. }
        | Op::Dense { act, .. }
        | Op::ScaleShift { act }
        | Op::Binary { act, .. } => Some(act),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{BinaryOp, ValueId};
    use crate::passes::testing::{Numbers, binary, conv, finish, same_function, window};

    fn optimise(before: &Graph) -> Graph {
        let after = run(before.clone(), &mut Report::default()).unwrap();
        after.verify().unwrap();
        assert!(same_function(before, &after) < 1e-12, "{before}\n{after}");
        after
    }

    fn act(g: &mut Graph, act: Act, x: ValueId) -> ValueId {
        let shape = g.shape(x).to_vec();
        g.node("act", "Act", Op::Act(act), &[x], &shape)
    }

    #[test]
    fn into_what_computes_it() {
        let (mut g, mut r) = (Graph::default(), Numbers(1));
        let x = g.input("x", &[1, 2, 2, 3]);
        let y = conv(&mut g, &mut r, "c", x, 3, 1, true, window(1, 1, [0; 4]));
        let y = act(&mut g, Act::RELU, y);
        let y = act(&mut g, Act::Clamp { lo: -1.0, hi: 2.0 }, y);
        let c = r.constant(&mut g, "k", &[3]);
        let y = g.node("mul", "Mul", binary(BinaryOp::Mul, Act::None), &[y, c], &[1, 2, 2, 3]);
        let y = act(&mut g, Act::Silu, y);
        let w = r.constant(&mut g, "w", &[3, 4]);
        let y = g.node("d", "Dense", Op::Dense { bias: false, act: Act::None }, &[y, w], &[1, 2, 2, 4]);
        let y = act(&mut g, Act::Sigmoid, y);
        let after = optimise(&finish(g, &[y]));
        assert_eq!(after.nodes.len(), 3, "{after}");
        assert!(matches!(after.nodes[0].op, Op::Conv { act: Act::Clamp { lo: 0.0, hi: 2.0 }, .. }));
    }

    #[test]
    fn through_a_reshape() {
        let (mut g, mut r) = (Graph::default(), Numbers(1));
        let x = g.input("x", &[1, 2, 2, 3]);
        let y = conv(&mut g, &mut r, "c", x, 3, 1, true, window(1, 1, [0; 4]));
        let y = g.node("r", "Reshape", Op::Reshape, &[y], &[4, 3]);
        let y = act(&mut g, Act::RELU, y);
        let z = act(&mut g, Act::Tanh, y);
        let after = optimise(&finish(g, &[y, z]));
        assert_eq!(after.nodes.len(), 3, "{after}");
    }

    #[test]
    fn not_past_a_second_reader_or_another_activation() {
        let (mut g, mut r) = (Graph::default(), Numbers(1));
        let x = g.input("x", &[1, 2, 2, 3]);
        let a = conv(&mut g, &mut r, "a", x, 3, 1, true, window(1, 1, [0; 4]));
        let b = act(&mut g, Act::RELU, a);
        let c = conv(&mut g, &mut r, "c", b, 3, 1, true, window(1, 1, [0; 4]));
        let d = act(&mut g, Act::Tanh, c);
        let f = act(&mut g, Act::Sigmoid, d);
        let x = act(&mut g, Act::Exp, x);
        let after = optimise(&finish(g, &[a, f, x]));
        assert_eq!(after.nodes.len(), 5, "{after}");
    }
}
