//! The section that says which tensor of the source the file's tensors hold.

use super::tensors::Lowered;
use crate::ir::{Graph, Op, ValueId};
use crate::passes::Origins;
use serde_json::{Value, json};
use std::collections::HashMap;

/// JSON, in the order of the steps; `held` are the tensors of the graph's values. For each value that is whole at some time: the step
/// after which it is, the tensor, the source's index and name for it, and, unless they are as in the source, how its axes lie and
/// which channels are left.
pub(super) fn section(graph: &Graph, lowered: &Lowered, held: &HashMap<ValueId, usize>, origins: &Origins) -> Vec<u8> {
    let mut last_writer: HashMap<usize, Vec<(usize, usize)>> = HashMap::new();
    for (i, s) in lowered.steps.iter().enumerate() {
        if let Some(root) = lowered.root_of(s.output) {
            last_writer.entry(root).or_default().push((i, s.output));
        }
    }
    let mut rows: Vec<(usize, usize, Value)> = Vec::new();
    for node in graph.nodes.iter().filter(|n| n.op != Op::Reshape) {
        let (Some(origin), Some(&tensor)) = (origins.get(node.output), held.get(&node.output)) else { continue };
        let Some(root) = lowered.root_of(tensor) else { continue };
        let writers = last_writer.get(&root).map_or(&[][..], |w| w);
        let Some(&(step, _)) = writers.iter().rev().find(|(_, t)| *t == tensor || lowered.overlap(*t, tensor)) else { continue };
        let mut row = json!({ "step": step, "tensor": tensor, "value": origin.value.0, "name": &*origin.name });
        if !origin.axes.iter().copied().eq(0..origin.axes.len()) {
            row["axes"] = json!(origin.axes);
        }
        if let Some(channels) = &origin.channels {
            row["channels"] = json!(**channels);
        }
        rows.push((step, tensor, row));
    }
    rows.sort_by_key(|r| (r.0, r.1));
    let values: Vec<Value> = rows.into_iter().map(|r| r.2).collect();
    json!({ "schema": 1, "values": values }).to_string().into_bytes()
}
