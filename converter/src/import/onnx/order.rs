//! Which nodes the outputs depend on, in an order in which they can be computed.

use super::branch::MOST_DEPTH;
use super::proto::{Attribute, Graph, Node};
use crate::error::{Result, invalid};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// What a node is called in messages and in the IR; unnamed nodes go by operator and position.
pub(super) fn label(graph: &Graph<'_>, index: usize) -> String {
    let n = &graph.nodes[index];
    if n.name.is_empty() { format!("{}#{index}", n.op_type) } else { n.name.to_string() }
}

/// The names that a node reads, also those within its branches.
///
/// # Errors
/// What cannot be parsed, or branches within branches without end.
pub(super) fn reads<'a>(n: &Node<'a>, depth: usize) -> Result<Vec<&'a str>> {
    let mut all: Vec<&str> = n.inputs.iter().copied().filter(|v| !v.is_empty()).collect();
    if n.op_type != "If" {
        return Ok(all);
    }
    let wire = |e| invalid(format!("{}: {e}", n.name));
    for &a in &n.attributes {
        let Some(bytes) = Attribute::parse(a).map_err(wire)?.g else { continue };
        if depth > MOST_DEPTH {
            return Err(invalid(format!("{}: more than {MOST_DEPTH} branches within branches", n.name)));
        }
        let sub = Graph::parse(bytes).map_err(wire)?;
        let mut own: HashSet<&str> = sub.initializers.iter().map(|(v, _)| *v).collect();
        own.extend(sub.nodes.iter().flat_map(|n| n.outputs.iter().copied()));
        let outer = |v: &&str| !own.contains(v);
        for n in &sub.nodes {
            all.extend(reads(n, depth + 1)?.into_iter().filter(outer));
        }
        all.extend(sub.outputs.iter().map(|o| o.name).filter(outer));
    }
    Ok(all)
}

/// Indices of the nodes that `outputs` depend on: the file's order where it is one of execution (as ONNX asks), otherwise
/// the nearest to it. `around` knows the names outside of the graph.
///
/// # Errors
/// A value with two producers, one with none, or a cycle.
pub(super) fn live_order(graph: &Graph<'_>, outputs: &[&str], around: &dyn Fn(&str) -> bool) -> Result<Vec<usize>> {
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
    let reads = graph.nodes.iter().map(|n| reads(n, 0)).collect::<Result<Vec<_>>>()?;
    for (i, reads) in reads.iter().enumerate() {
        if let Some(v) = reads.iter().find(|v| !around(v) && !given.contains(*v) && !producer.contains_key(*v)) {
            return Err(invalid(format!("{}: input {v:?} does not exist", label(graph, i))));
        }
    }

    // Backwards from the outputs.
    let mut live = vec![false; graph.nodes.len()];
    let mut open: Vec<usize> = vec![];
    for &o in outputs {
        match producer.get(o) {
            Some(&i) => open.push(i),
            None if given.contains(o) || around(o) => {}
            None => return Err(invalid(format!("output {o:?} does not exist"))),
        }
    }
    while let Some(i) = open.pop() {
        if !std::mem::replace(&mut live[i], true) {
            open.extend(reads[i].iter().filter_map(|v| producer.get(v)));
        }
    }

    // Forwards, always the first node of the file that is ready.
    let mut waits = vec![0usize; graph.nodes.len()];
    let mut readers: Vec<Vec<usize>> = vec![vec![]; graph.nodes.len()];
    for (i, reads) in reads.iter().enumerate().filter(|(i, _)| live[*i]) {
        for &p in reads.iter().filter_map(|v| producer.get(v)) {
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
