//! What most passes share: one walk over the nodes in order, with counts of uses that stay true while nodes merge.
use super::facts::Facts;
use crate::ir::{Graph, Node, Op, ValueId};
use std::cell::RefCell;
use std::sync::Arc;

/// A graph under change. Nodes are only ever removed or altered in place, so the order stays an execution order as long as a
/// pass gives a node nothing that is computed behind it.
pub(super) struct Edit {
    pub(super) graph: Graph,
    uses: Vec<usize>,
    producer: Vec<Option<usize>>,
    alias: Vec<ValueId>,
    dead: Vec<bool>,
    scalars: RefCell<Facts<Option<f32>>>,
}

impl Edit {
    pub(super) fn new(graph: Graph) -> Self {
        let n = graph.values.len();
        let mut uses = vec![0; n];
        let mut producer = vec![None; n];
        for (i, node) in graph.nodes.iter().enumerate() {
            producer[node.output.0] = Some(i);
            node.inputs.iter().for_each(|v| uses[v.0] += 1);
        }
        graph.outputs.iter().for_each(|v| uses[v.0] += 1);
        let (alias, dead) = ((0..n).map(ValueId).collect(), vec![false; graph.nodes.len()]);
        Edit { graph, uses, producer, alias, dead, scalars: RefCell::default() }
    }

    /// Number of nodes, dead ones included.
    pub(super) fn len(&self) -> usize {
        self.graph.nodes.len()
    }

    /// Brings the inputs of node `i` up to date; a copy of the node unless it is dead. To be called in order.
    pub(super) fn visit(&mut self, i: usize) -> Option<Node> {
        if self.dead[i] {
            return None;
        }
        for k in 0..self.graph.nodes[i].inputs.len() {
            self.graph.nodes[i].inputs[k] = self.resolve(self.graph.nodes[i].inputs[k]);
        }
        Some(self.graph.nodes[i].clone())
    }

    fn resolve(&self, mut v: ValueId) -> ValueId {
        while self.alias[v.0] != v {
            v = self.alias[v.0];
        }
        v
    }

    /// How often a value is read, as an output of the graph too.
    pub(super) fn uses(&self, v: ValueId) -> usize {
        self.uses[v.0]
    }

    /// The node that computes a value.
    pub(super) fn producer(&self, v: ValueId) -> Option<usize> {
        self.producer[v.0].filter(|&i| !self.dead[i])
    }

    /// The node that computes a value, with its index.
    pub(super) fn producing(&self, v: ValueId) -> Option<(usize, &Node)> {
        self.producer(v).map(|i| (i, &self.graph.nodes[i]))
    }

    /// The value before reshapes that nothing else reads, as far back as its last axis holds whole sets of `channels`, so that
    /// what is done along channels can be done there.
    pub(super) fn before_reshapes(&self, mut v: ValueId, channels: usize) -> ValueId {
        while let Some((_, n)) = self.producing(v)
            && n.op == Op::Reshape
            && self.uses(v) == 1
            && self.shape(n.inputs[0]).last().is_some_and(|k| k % channels == 0)
        {
            v = n.inputs[0];
        }
        v
    }

    /// Extents of a value.
    pub(super) fn shape(&self, v: ValueId) -> &[usize] {
        self.graph.shape(v)
    }

    /// The number that a constant repeats everywhere.
    pub(super) fn scalar(&self, v: ValueId) -> Option<f32> {
        let find = |data: &[f32]| {
            let first = *data.first()?;
            data.iter().all(|d| d.to_bits() == first.to_bits()).then_some(first)
        };
        self.scalars.borrow_mut().of(self.graph.data(v)?, find)
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, name: String, shape: &[usize], data: Vec<f32>) -> ValueId {
        let v = self.graph.constant(name, shape, Arc::new(data));
        self.uses.push(0);
        self.producer.push(None);
        self.alias.push(v);
        v
    }

    /// Gives node `i` another operator and other inputs.
    pub(super) fn rewrite(&mut self, i: usize, op: Op, inputs: Vec<ValueId>) {
        inputs.iter().for_each(|v| self.uses[v.0] += 1);
        let old = std::mem::replace(&mut self.graph.nodes[i].inputs, inputs);
        self.graph.nodes[i].op = op;
        old.into_iter().for_each(|v| self.release(v));
    }

    /// Removes node `i`: its readers read `v` instead, which is computed before it.
    pub(super) fn forward(&mut self, i: usize, v: ValueId) {
        let out = self.graph.nodes[i].output;
        self.alias[out.0] = v;
        self.uses[v.0] += self.uses[out.0];
        self.kill(i);
    }

    /// Removes node `i`, whose input was computed by `producer` for it alone: that now computes what `i` did.
    pub(super) fn absorb(&mut self, producer: usize, i: usize) {
        let out = self.graph.nodes[i].output;
        let old = std::mem::replace(&mut self.graph.nodes[producer].output, out);
        self.producer[out.0] = Some(producer);
        self.producer[old.0] = None;
        self.kill(i);
    }

    fn kill(&mut self, i: usize) {
        self.dead[i] = true;
        for v in std::mem::take(&mut self.graph.nodes[i].inputs) {
            self.release(v);
        }
    }

    fn release(&mut self, v: ValueId) {
        // A loop instead of a recursion: chains may be long.
        let mut open = vec![v];
        while let Some(v) = open.pop() {
            self.uses[v.0] -= 1;
            if let (0, Some(i)) = (self.uses[v.0], self.producer(v)) {
                self.dead[i] = true;
                open.extend(std::mem::take(&mut self.graph.nodes[i].inputs));
            }
        }
    }

    /// The changed graph.
    pub(super) fn finish(mut self) -> Graph {
        for i in 0..self.graph.outputs.len() {
            self.graph.outputs[i] = self.resolve(self.graph.outputs[i]);
        }
        for i in 0..self.len() {
            self.visit(i);
        }
        let mut dead = self.dead.iter();
        self.graph.nodes.retain(|_| dead.next() == Some(&false));
        self.graph.remove_dead();
        self.graph
    }
}
