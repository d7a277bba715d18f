//! Refuses weights that are not numbers: nothing behind them could be right, and no later pass has to think of them.
use super::Report;
use crate::error::{Result, invalid};
use crate::ir::{BinaryOp, Graph, Op};

pub(super) fn run(g: Graph, _: &mut Report) -> Result<Graph> {
    for n in &g.nodes {
        // A bound may be infinite: it bounds nothing; nor is a comparison wrong with infinity, or a choice.
        use BinaryOp::{AtLeast, Equal, Greater, Max, Min, Where};
        let bound = matches!(n.op, Op::Binary { op: Min | Max | AtLeast | Greater | Equal | Where, .. });
        for &v in &n.inputs {
            let Some(data) = g.data(v) else { continue };
            let bad = |x: &&f32| if bound { x.is_nan() } else { !x.is_finite() };
            if let Some(first) = data.iter().position(|x| bad(&x)) {
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
    }
}
