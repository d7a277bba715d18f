//! What the axes of the network's inputs and outputs mean to its source.

use crate::ir::{Graph, Node, Op, ValueId};
use sepal_format::record::io_layout::{NCHW, NHWC, UNKNOWN};
use std::collections::HashMap;

/// The layout of each input, then of each output. An operator with a window takes and gives NHWC, so the transposes on the way
/// to the nearest one tell what the interface has; where no such operator is near, nothing is claimed.
pub(super) fn layouts(graph: &Graph) -> (Vec<u32>, Vec<u32>) {
    let (producers, consumers) = (graph.producers(), graph.consumers());
    let inputs = graph.inputs.iter().map(|&v| of_input(graph, &consumers, v)).collect();
    let outputs = graph.outputs.iter().map(|&v| of_output(graph, &producers, v)).collect();
    (inputs, outputs)
}

/// `perm` leads from the interface's axes to those of the operator.
fn code(perm: [usize; 4]) -> u32 {
    match perm {
        [0, 1, 2, 3] => NHWC,
        [0, 2, 3, 1] => NCHW,
        _ => UNKNOWN,
    }
}

fn windowed(op: &Op) -> bool {
    matches!(op, Op::Conv { .. } | Op::ConvTranspose { .. } | Op::Pool { .. } | Op::Upsample { .. } | Op::Resize { .. })
}

/// The transpose that a node is, or none for what keeps axes in place.
fn moved(node: &Node) -> Option<[usize; 4]> {
    match &node.op {
        Op::Transpose { perm } => perm.as_slice().try_into().ok(),
        Op::BatchNorm { .. }
        | Op::ScaleShift { .. }
        | Op::Act(_)
        | Op::Unary(_)
        | Op::LayerNorm { .. }
        | Op::PRelu
        | Op::Pad { .. }
        | Op::Slice { .. }
        | Op::Binary { .. }
        | Op::Softmax { .. }
        | Op::Concat { .. } => Some([0, 1, 2, 3]),
        _ => None,
    }
}

fn of_input(graph: &Graph, consumers: &HashMap<ValueId, Vec<usize>>, mut v: ValueId) -> u32 {
    let mut perm = [0, 1, 2, 3];
    while graph.shape(v).len() == 4 {
        let Some(node) = consumers.get(&v).and_then(|all| graph.nodes.get(*all.first()?)) else { break };
        if windowed(&node.op) {
            return code(perm);
        }
        let Some(step) = moved(node) else { break };
        perm = step.map(|axis| perm[axis]);
        v = node.output;
    }
    UNKNOWN
}

fn of_output(graph: &Graph, producers: &HashMap<ValueId, usize>, mut v: ValueId) -> u32 {
    // From the operator's axes to those of the interface, of which `code` wants the inverse.
    let mut perm = [0, 1, 2, 3];
    while graph.shape(v).len() == 4 {
        let Some(node) = producers.get(&v).map(|&i| &graph.nodes[i]) else { break };
        if windowed(&node.op) {
            let mut inverse = [0; 4];
            perm.iter().enumerate().for_each(|(i, &axis)| inverse[axis] = i);
            return code(inverse);
        }
        let Some(step) = moved(node) else { break };
        perm = perm.map(|axis| step[axis]);
        // The operand that is computed: constants have no layout of their own.
        let Some(&from) = node.inputs.iter().find(|&&x| graph.data(x).is_none() && graph.shape(x).len() == 4) else { break };
        v = from;
    }
    UNKNOWN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{PoolKind, Window};
    use sepal_kernels::Act;

    const TO_NHWC: [usize; 4] = [0, 2, 3, 1];
    const TO_NCHW: [usize; 4] = [0, 3, 1, 2];

    fn transpose(g: &mut Graph, x: ValueId, perm: [usize; 4]) -> ValueId {
        let shape = perm.map(|axis| g.shape(x)[axis]);
        g.node("t", "Transpose", Op::Transpose { perm: perm.to_vec() }, &[x], &shape)
    }

    fn pooled(first: &[[usize; 4]], last: &[[usize; 4]]) -> (u32, u32) {
        let mut g = Graph::default();
        let mut x = g.input("x", &[1, 4, 5, 6]);
        for &perm in first {
            x = transpose(&mut g, x, perm);
        }
        let shape = g.shape(x).to_vec();
        x = g.node("r", "Relu", Op::Act(Act::RELU), &[x], &shape);
        let window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pads: Default::default() };
        x = g.node("p", "MaxPool", Op::Pool { kind: PoolKind::Max, window, residual: false }, &[x], &shape);
        for &perm in last {
            x = transpose(&mut g, x, perm);
        }
        g.outputs.push(x);
        let (i, o) = layouts(&g);
        (i[0], o[0])
    }

    #[test]
    fn transposes_tell_the_layout() {
        assert_eq!(pooled(&[], &[]), (NHWC, NHWC));
        assert_eq!(pooled(&[TO_NHWC], &[TO_NCHW]), (NCHW, NCHW));
        assert_eq!(pooled(&[TO_NCHW, TO_NHWC], &[TO_NCHW, TO_NHWC]), (NHWC, NHWC));
        assert_eq!(pooled(&[TO_NCHW], &[[0, 2, 1, 3]]), (UNKNOWN, UNKNOWN));
    }

    #[test]
    fn nothing_is_claimed_without_a_window() {
        let mut g = Graph::default();
        let x = g.input("x", &[1, 4, 5, 6]);
        let y = g.node("r", "Relu", Op::Act(Act::RELU), &[x], &[1, 4, 5, 6]);
        let flat = g.input("flat", &[1, 4]);
        g.outputs.extend([y, flat]);
        assert_eq!(layouts(&g), (vec![UNKNOWN; 2], vec![UNKNOWN; 2]));
    }
}
