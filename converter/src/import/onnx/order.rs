//! Which nodes the outputs depend on, in an order in which they can be computed.

use super::proto::Graph;
use crate::error::{Result, invalid};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// What a node is called in messages and in the IR; unnamed nodes go by operator and position.
pub(super) fn label(graph: &Graph<'_>, index: usize) -> String {
    let n = &graph.nodes[index];
    if n.name.is_empty() { format!("{}#{index}", n.op_type) } else { n.name.to_string() }
}

/// Indices of the nodes that `outputs` depend on: the file's order where it is one of execution (as ONNX asks), otherwise
/// the nearest to it.
///
/// # Errors
/// A value with two producers, one with none, or a cycle.
pub(super) fn live_order(graph: &Graph<'_>, outputs: &[&str]) -> Result<Vec<usize>> {
    let mut given: HashSet<&str> = graph.inputs.iter().map(|i| i.name).collect();
    given.extend(graph.initializers.iter().map(|(n, _)| *n));
    let mut producer: HashMap<&str, usize> = HashMap::new();
    for (i, n) in graph.nodes.iter().enumerate() {
        if n.op_type.is_empty() {
            return Err(invalid(format!("node {i} has no operator")));
        }
        for &o in n.outputs.iter().filter(|o| !o.is_empty()) {
            if given.contains(o) || producer.insert(o, i).is_some() {
                return Err(invalid(format!("{}: value {o:?} is written twice", label(graph, i))));
            }
        }
    }
    for (i, n) in graph.nodes.iter().enumerate() {
        if let Some(v) = n.inputs.iter().find(|v| !v.is_empty() && !given.contains(*v) && !producer.contains_key(*v)) {
            return Err(invalid(format!("{}: input {v:?} does not exist", label(graph, i))));
        }
    }

    // Backwards from the outputs.
    let mut live = vec![false; graph.nodes.len()];
    let mut open: Vec<usize> = vec![];
    for &o in outputs {
        match producer.get(o) {
            Some(&i) => open.push(i),
            None if given.contains(o) => {}
            None => return Err(invalid(format!("output {o:?} does not exist"))),
        }
    }
    while let Some(i) = open.pop() {
        if !std::mem::replace(&mut live[i], true) {
            open.extend(graph.nodes[i].inputs.iter().filter_map(|v| producer.get(v)));
        }
    }

    // Forwards, always the first node of the file that is ready.
    let mut waits = vec![0usize; graph.nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![vec![]; graph.nodes.len()];
    for (i, n) in graph.nodes.iter().enumerate().filter(|(i, _)| live[*i]) {
        for &p in n.inputs.iter().filter_map(|v| producer.get(v)) {
            waits[i] += 1;
            readers[p].push(i);
        }
    }
    let live_nodes = live.iter().filter(|l| **l).count();
    let mut ready: BinaryHeap<Reverse<usize>> = (0..live.len()).filter(|&i| live[i] && waits[i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(live_nodes);
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &r in &readers[i] {
            waits[r] -= 1;
            if waits[r] == 0 {
                ready.push(Reverse(r));
            }
        }
    }
    if order.len() < live_nodes {
        let stuck = (0..live.len()).find(|&i| live[i] && waits[i] > 0).map_or_else(String::new, |i| label(graph, i));
        return Err(invalid(format!("{stuck}: the node depends on itself")));
    }
    Ok(order)
}
