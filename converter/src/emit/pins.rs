//! Which values are computed as parts of the concat that reads them, so that nothing is copied.

use crate::ir::{Graph, Op, ValueId};
use sepal_format::layout::BLOCK;
use std::collections::{HashMap, HashSet};

/// Parts of concats that can be computed in place: value -> (concat's value, first channel).
pub(super) fn concat_pins(graph: &Graph) -> HashMap<ValueId, (ValueId, usize)> {
    let producers = graph.producers();
    let reshaped = turned_to_other_channels(graph);
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
            if computed && seen.insert(v) && !pins.contains_key(&v) && !reshaped.contains(&v) {
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

/// Values of one pixel that are read under another number of channels, without a copy. As a part of a concat such a view would lie
/// otherwise than the parts beside it, and a reader of the file could not tell that it meets none of them.
fn turned_to_other_channels(graph: &Graph) -> HashSet<ValueId> {
    let (mut turned, mut viewed) = (HashSet::new(), HashMap::new());
    for n in graph.nodes.iter().filter(|n| matches!(n.op, Op::Reshape)) {
        // One may follow another.
        let base = viewed.get(&n.inputs[0]).copied().unwrap_or(n.inputs[0]);
        viewed.insert(n.output, base);
        let (from, to) = (graph.shape(base), graph.shape(n.output));
        if from.iter().rev().skip(1).all(|&d| d == 1) && from.last() != to.last() {
            turned.insert(base);
        }
    }
    turned
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

    #[test]
    fn what_is_read_under_other_channels_has_memory_of_its_own() {
        let mut g = Graph::default();
        let x = g.input("x", &[1, 1, 48]);
        let a = sine(&mut g, x);
        let squeezed = g.node("s", "Squeeze", Op::Reshape, &[a], &[1, 48]);
        let v = g.node("v", "Reshape", Op::Reshape, &[squeezed], &[3, 16]);
        let b = sine(&mut g, x);
        g.node("c", "Concat", Op::Concat { axis: 2 }, &[a, b], &[1, 1, 96]);
        sine(&mut g, v);
        assert_eq!(concat_pins(&g).keys().collect::<Vec<_>>(), [&b]);
    }
}
