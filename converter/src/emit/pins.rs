//! Which values are computed as parts of the concat that reads them, so that nothing is copied.

use crate::ir::{Graph, Op, ValueId};
use sepal_format::layout::BLOCK;
use std::collections::{HashMap, HashSet};

/// Parts of concats that can be computed in place: value -> (concat's value, first channel).
pub(super) fn concat_pins(graph: &Graph) -> HashMap<ValueId, (ValueId, usize)> {
    let producers = graph.producers();
    let mut pins = HashMap::new();
    for node in &graph.nodes {
        let Op::Concat { axis } = node.op else { continue };
        let shape = graph.shape(node.output);
        if axis + 1 != shape.len() || node.inputs.iter().any(|&v| !graph.shape(v)[axis].is_multiple_of(BLOCK)) {
            continue;
        }
        let mut at = 0;
        let mut seen = HashSet::new();
        for &v in &node.inputs {
            let computed = producers.get(&v).is_some_and(|&i| !matches!(graph.nodes[i].op, Op::Reshape));
            if computed && seen.insert(v) && !pins.contains_key(&v) {
                pins.insert(v, (node.output, at));
            }
            at += graph.shape(v)[axis];
        }
    }
    // What reads a part of the memory that it writes another part of.
    let roots = outermost(&pins);
    let mut viewed: HashMap<ValueId, ValueId> = HashMap::new();
    for node in &graph.nodes {
        let base = |v: &ValueId| viewed.get(v).copied().unwrap_or(*v);
        match node.op {
            Op::Reshape => {
                let base = base(&node.inputs[0]);
                viewed.insert(node.output, base);
            }
            Op::Concat { .. } => {}
            _ if pins.contains_key(&node.output) => {
                // A part that was left out before lies in memory of its own.
                let root = |v: ValueId| roots.get(&v).copied().filter(|_| pins.contains_key(&v)).unwrap_or(v);
                let own = root(node.output);
                if node.inputs.iter().any(|v| root(base(v)) == own) {
                    pins.remove(&node.output);
                }
            }
            _ => {}
        }
    }
    pins
}

/// The concat that a part finally lies in: concats within concats may be as many as there are nodes.
fn outermost(pins: &HashMap<ValueId, (ValueId, usize)>) -> HashMap<ValueId, ValueId> {
    let mut all: HashMap<ValueId, ValueId> = HashMap::new();
    for &v in pins.keys() {
        let (mut path, mut at) = (Vec::new(), v);
        while let (Some(&(whole, _)), None) = (pins.get(&at), all.get(&at)) {
            path.push(at);
            at = whole;
        }
        let root = all.get(&at).copied().unwrap_or(at);
        all.extend(path.into_iter().map(|v| (v, root)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Unary;

    fn sine(g: &mut Graph, v: ValueId) -> ValueId {
        let shape = g.shape(v).to_vec();
        g.node("n", "Sin", Op::Unary(Unary::Sin), &[v], &shape)
    }

    /// As spatial pyramids are written: each part is made of the one before. Every other one lies in the concat.
    #[test]
    fn a_chain_of_parts_keeps_every_other_one() {
        let mut g = Graph::default();
        let x = g.input("x", &[1, 2, 2, 16]);
        let mut parts = vec![sine(&mut g, x)];
        for i in 0..3 {
            let part = sine(&mut g, parts[i]);
            parts.push(part);
        }
        let whole = g.node("c", "Concat", Op::Concat { axis: 3 }, &parts, &[1, 2, 2, 64]);
        let pins = concat_pins(&g);
        assert_eq!(pins, HashMap::from([(parts[0], (whole, 0)), (parts[2], (whole, 32))]));
    }
}
