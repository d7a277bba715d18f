//! Refuses weights that are not numbers: nothing behind them could be right, and no later pass has to think of them.
use super::Report;
use super::facts::Facts;
use crate::error::{Result, invalid};
use crate::ir::{BinaryOp, Graph, Node, Op};

/// What a constant has.
#[derive(Clone, Copy)]
struct Has {
    nan: bool,
    infinite: bool,
}

pub(super) fn run(g: Graph, _: &mut Report) -> Result<Graph> {
    let mut facts = Facts::default();
    for n in &g.nodes {
        // A bound may be infinite: it bounds nothing; nor is a comparison wrong with infinity, or a choice.
        use BinaryOp::{AtLeast, Equal, Greater, Max, Min, Where};
        let mut bound = matches!(n.op, Op::Binary { op: Min | Max | AtLeast | Greater | Equal | Where, .. });
        for &v in &n.inputs {
            let Some(data) = g.data(v) else { continue };
            let find = |d: &[f32]| Has { nan: d.iter().any(|x| x.is_nan()), infinite: d.iter().any(|x| x.is_infinite()) };
            let has = facts.of(data, find);
            bound |= has.infinite && is_mask(&g, n);
            let bad = |x: &&f32| if bound { x.is_nan() } else { !x.is_finite() };
            if (has.nan || has.infinite && !bound)
                && let Some(first) = data.iter().position(|x| bad(&x))
            {
                let count = data.iter().filter(bad).count();
                return Err(invalid(format!(
                    "node '{}' ({}): {count} of {} weights in tensor '{}' are not finite, the first at {first} is {}; \
                     save the model again from a run that did not diverge",
                    n.name,
                    n.kind,
                    data.len(),
                    g.values[v.0].name,
                    data[first]
                )));
            }
        }
    }
    Ok(g)
}

/// Whether a node adds to what only softmaxes read: what a mask puts at minus infinity has no share there.
fn is_mask(g: &Graph, n: &Node) -> bool {
    let mut readers = g.nodes.iter().filter(|r| r.inputs.contains(&n.output)).peekable();
    let read = readers.peek().is_some() && !g.outputs.contains(&n.output);
    read && matches!(n.op, Op::Binary { op: BinaryOp::Add, .. }) && readers.all(|r| matches!(r.op, Op::Softmax { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Act;
    use crate::passes::testing::{binary, finish};
    use std::sync::Arc;

    fn with(op: BinaryOp, c: f32) -> Result<Graph> {
        let mut g = Graph::default();
        let x = g.input("x", &[2]);
        let w = g.constant("kernel", &[2], Arc::new(vec![1.0, c]));
        let y = g.node("layer", "L", binary(op, Act::None), &[x, w], &[2]);
        run(finish(g, &[y]), &mut Report::default())
    }

    #[test]
    fn names_node_and_tensor() {
        let e = with(BinaryOp::Mul, f32::NAN).unwrap_err().to_string();
        assert!(e.contains("'layer'") && e.contains("'kernel'") && e.contains("NaN"), "{e}");
        assert!(with(BinaryOp::Mul, f32::INFINITY).is_err());
        assert!(with(BinaryOp::Mul, 1.0).is_ok());
        assert!(with(BinaryOp::Min, f32::INFINITY).is_ok());
        assert!(with(BinaryOp::Add, f32::NEG_INFINITY).is_err());
    }

    #[test]
    fn a_mask_may_be_infinite() {
        let masked = |also: bool| {
            let mut g = Graph::default();
            let x = g.input("x", &[2]);
            let w = g.constant("mask", &[2], Arc::new(vec![0.0, f32::NEG_INFINITY]));
            let y = g.node("add", "Add", binary(BinaryOp::Add, Act::None), &[x, w], &[2]);
            let z = g.node("softmax", "Softmax", Op::Softmax { axis: 0, log: false }, &[y], &[2]);
            let outputs = [z, y];
            run(finish(g, &outputs[..if also { 2 } else { 1 }]), &mut Report::default()).is_ok()
        };
        assert!(masked(false) && !masked(true));
    }
}
