//! Lets depthwise convolutions apply the ReLU before them as they read. Xception has one before each separable convolution, and
//! the sum before it is also the shortcut, so that no step could apply it on its way out. Zeros of the padding stay zeros.
use super::Report;
use super::edit::Edit;
use crate::error::Result;
use crate::ir::{Act, Graph, Node, Op, ValueId};
use std::collections::HashMap;

pub(super) fn run(g: Graph, report: &mut Report) -> Result<Graph> {
    let mut e = Edit::new(g);
    let mut readers: HashMap<ValueId, Vec<usize>> = HashMap::new();
    for (i, n) in e.graph.nodes.iter().enumerate() {
        n.inputs.iter().for_each(|&v| readers.entry(v).or_default().push(i));
    }
    for i in 0..e.len() {
        let Some(n) = e.visit(i) else { continue };
        if n.op != Op::Act(Act::RELU) || e.graph.outputs.contains(&n.output) {
            continue;
        }
        let all = readers.get(&n.output).map_or(&[][..], |r| r);
        if all.is_empty() || !all.iter().all(|&r| takes(&e.graph, &e.graph.nodes[r], n.output)) {
            continue;
        }
        for &r in all {
            let mut reader = e.graph.nodes[r].clone();
            if let Op::Conv { pre_relu, .. } = &mut reader.op {
                *pre_relu = true;
            }
            report.note("pre_relu", format!("{} into {}", n.title(), reader.title()));
            e.rewrite(r, reader.op, reader.inputs);
        }
        e.forward(i, n.inputs[0]);
    }
    Ok(e.finish())
}

/// Whether a reader of `x` is a depthwise convolution over more than a pixel, and reads it as its input.
fn takes(g: &Graph, n: &Node, x: ValueId) -> bool {
    let Op::Conv { window, groups, pre_relu: false, .. } = &n.op else { return false };
    let (input, output) = (g.shape(n.inputs[0]), g.shape(n.output));
    n.inputs[0] == x
        && !n.inputs[1..].contains(&x)
        && window.kernel != [1, 1]
        && input.last() == Some(groups)
        && output.last() == Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::testing::{Numbers, conv, finish, same_function, window};

    fn optimise(before: &Graph) -> Graph {
        let after = run(before.clone(), &mut Report::default()).unwrap();
        after.verify().unwrap();
        assert_eq!(same_function(before, &after), 0.0);
        after
    }

    #[test]
    fn into_all_readers_or_none() {
        for (groups, kernel, folds) in [(3, 3, true), (1, 3, false), (3, 1, false)] {
            let (mut g, mut r) = (Graph::default(), Numbers(1));
            let x = g.input("x", &[1, 4, 4, 3]);
            let y = g.node("relu", "Relu", Op::Act(Act::RELU), &[x], &[1, 4, 4, 3]);
            let a = conv(&mut g, &mut r, "a", y, 3, 3, true, window(3, 1, [1; 4]));
            let b = conv(&mut g, &mut r, "b", y, 3, groups, true, window(kernel, 1, [0; 4]));
            let after = optimise(&finish(g, &[a, b, x]));
            assert_eq!(after.nodes.len(), if folds { 2 } else { 3 });
        }
    }

    #[test]
    fn other_activations_and_outputs_stay() {
        for (act, output) in [(Act::Clamp { lo: 0.0, hi: 6.0 }, false), (Act::RELU, true)] {
            let (mut g, mut r) = (Graph::default(), Numbers(1));
            let x = g.input("x", &[1, 4, 4, 3]);
            let y = g.node("relu", "Relu", Op::Act(act), &[x], &[1, 4, 4, 3]);
            let a = conv(&mut g, &mut r, "a", y, 3, 3, true, window(3, 1, [1; 4]));
            let outputs = if output { vec![a, y] } else { vec![a] };
            assert_eq!(optimise(&finish(g, &outputs)).nodes.len(), 2);
        }
    }
}
