//! Moves transposes out.
//!
//! The graph is built anew, in order. A value of the source is then held as *some* tensor and how its axes lie in it
//! ([`Held`]); a transpose costs nothing, it changes the second. Operators that mean the same along any axis (element by
//! element, concat, reduce, pad, slice, ...) run on the tensor as it lies, with their axes renamed and their constants
//! transposed. Only operators that demand an order of axes (convolutions, pooling, Dense) and the outputs of the graph bring a
//! value into that order, once for all its readers. So an NCHW network, whose importer wrapped every convolution in two
//! transposes, runs in NHWC throughout.
//!
//! What is ambiguous (two operands in different orders; whether an input of the graph is transposed at once) is tried, and the
//! result with the fewest transposes is taken: never more than before.
use super::Report;
use super::fold_constants::only_ones_move;
use crate::error::Result;
use crate::ir::{Graph, Op, ValueId};

mod build;
mod hold;

use build::Choice;

/// Most alternatives for inputs that are tried; a network has one input and one order, or two.
const MOST_TRIES: usize = 16;

pub(super) fn run(g: Graph, report: &mut Report) -> Result<Graph> {
    let before = cost(&g);
    if !g.nodes.iter().any(|n| matches!(n.op, Op::Transpose { .. } | Op::Reshape)) {
        return Ok(g);
    }
    let mut choice = Choice::default();
    let Some((mut best, mut held)) = build::build(&g, &choice) else { return Ok(g) };
    if cost(&best).moving > 0 {
        let other = Choice { keep_source_order: true, ..Choice::default() };
        if let Some((built, lies)) = build::build(&g, &other)
            && cost(&built) < cost(&best)
        {
            (best, held, choice) = (built, lies, other);
        }
    }
    let mut tries = 0;
    for (input, &v) in g.inputs.iter().enumerate() {
        if tries > MOST_TRIES || cost(&best).inside == 0 {
            break;
        }
        for perm in permutations(&best, g.shape(v).len()) {
            tries += 1;
            if tries > MOST_TRIES || cost(&best).inside == 0 {
                break;
            }
            let mut other = choice.clone();
            other.inputs.push((input, perm));
            if let Some((built, lies)) = build::build(&g, &other)
                && cost(&built) < cost(&best)
            {
                (best, held, choice) = (built, lies, other);
                break;
            }
        }
    }
    let after = cost(&best);
    if after.moving > before.moving {
        return Ok(g);
    }
    report.origins.rebuilt(held.into_iter());
    if before != after {
        let what = format!("{} of {} transposes left, {} of them inside the network", after.moving, before.moving, after.inside);
        report.note("layout", what);
    }
    Ok(best)
}

/// Transposes that move data, in the order in which they matter: inside the network, then at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    moving: usize,
    inside: usize,
}

fn cost(g: &Graph) -> Cost {
    let mut c = Cost { moving: 0, inside: 0 };
    for n in &g.nodes {
        if let Op::Transpose { perm } = &n.op
            && !only_ones_move(g.shape(n.inputs[0]), perm)
        {
            c.moving += 1;
            c.inside += usize::from(!g.inputs.contains(&n.inputs[0]) && !g.outputs.contains(&n.output));
        }
    }
    c
}

/// The orders into which tensors of a rank are brought, as many of them as may be tried.
fn permutations(g: &Graph, rank: usize) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for n in &g.nodes {
        if let Op::Transpose { perm } = &n.op
            && perm.len() == rank
            && all.len() <= MOST_TRIES
            && !all.contains(perm)
        {
            all.push(perm.clone());
        }
    }
    all
}

/// Whether `v` is a constant.
fn is_constant(g: &Graph, v: ValueId) -> bool {
    g.data(v).is_some()
}

#[cfg(test)]
mod tests;
