//! Drops nodes that no output depends on and the data of constants that nothing reads.
use super::Report;
use crate::error::Result;
use crate::ir::Graph;

pub(super) fn run(mut g: Graph, report: &mut Report) -> Result<Graph> {
    let before = g.nodes.len();
    g.remove_dead();
    if g.nodes.len() < before {
        report.note("sweep", format!("{} nodes that no output depends on", before - g.nodes.len()));
    }
    let mut read = vec![false; g.values.len()];
    g.nodes.iter().flat_map(|n| &n.inputs).chain(&g.outputs).for_each(|v| read[v.0] = true);
    for (v, _) in g.values.iter_mut().zip(read).filter(|(v, read)| !read && v.data.is_some()) {
        v.data = None;
        v.shape = vec![1];
    }
    Ok(g)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Act, Op};
    use crate::passes::testing::finish;
    use std::sync::Arc;

    #[test]
    fn frees_what_is_not_read() {
        let mut g = Graph::default();
        let x = g.input("x", &[2]);
        g.constant("c", &[2], Arc::new(vec![1.0; 2]));
        g.node("unread", "Relu", Op::Act(Act::RELU), &[x], &[2]);
        let y = g.node("y", "Tanh", Op::Act(Act::Tanh), &[x], &[2]);
        let g = run(finish(g, &[y]), &mut Report::default()).unwrap();
        g.verify().unwrap();
        assert_eq!(g.nodes.len(), 1);
        assert!(g.values.iter().all(|v| v.data.is_none()));
    }
}
