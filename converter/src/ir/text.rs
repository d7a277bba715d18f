//! The readable form of a graph, one line a node.
use super::Graph;

pub(super) fn print(g: &Graph, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    for n in &g.nodes {
        writeln!(f, "{} {:?}", n.name, n.op)?;
    }
    Ok(())
}
