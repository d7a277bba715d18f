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
    let mut readers = None;
    for n in &g.nodes {
        // A bound may be infinite: it bounds nothing; nor is a comparison wrong with infinity, or a choice.
        use BinaryOp::{AtLeast, Equal, Greater, Max, Min, Where};
        let mut bound = matches!(n.op, Op::Binary { op: Min | Max | AtLeast | Greater | Equal | Where, .. });
        for &v in &n.inputs {
            let Some(data) = g.data(v) else { continue };
            let find = |d: &[f32]| Has { nan: d.iter().any(|x| x.is_nan()), infinite: d.iter().any(|x| x.is_infinite()) };
            let has = facts.of(data, find);
            bound |= has.infinite && is_mask(&g, n, &mut readers);
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
fn is_mask(g: &Graph, n: &Node, softmaxed: &mut Option<Vec<Option<bool>>>) -> bool {
    let softmaxed = softmaxed.get_or_insert_with(|| only_softmaxed(g));
    matches!(n.op, Op::Binary { op: BinaryOp::Add, .. }) && softmaxed[n.output.0] == Some(true)
}

/// Of each value, whether only softmaxes read it; nothing of one that nobody reads.
fn only_softmaxed(g: &Graph) -> Vec<Option<bool>> {
    let mut all = vec![None; g.values.len()];
    for r in &g.nodes {
        for v in &r.inputs {
            all[v.0] = Some(all[v.0].unwrap_or(true) && matches!(r.op, Op::Softmax { .. }));
        }
    }
    g.outputs.iter().for_each(|v| all[v.0] = Some(false));
    all
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
