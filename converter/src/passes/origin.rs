//! Which tensor of the source each tensor of the changed graph holds: so that a file can be compared with its source layer by layer.
use super::edit::Edit;
use crate::ir::{Graph, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tensor of the source that a value holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its index in the source graph.
    pub value: ValueId,
    /// Its name there.
    pub name: Arc<str>,
    /// Its axis i lies at this axis of the value.
    pub axes: Vec<usize>,
    /// Of the value's last axis: which channels of the source those are that are left; all of them if there are none here.
    pub channels: Option<Arc<Vec<usize>>>,
}

/// The origins of all values that have one. Passes keep the identity of a value as long as it means the same; those that do not
/// say so here.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<ValueId, Origin>);

impl Origins {
    /// Each value that is computed is its own.
    pub(super) fn of(g: &Graph) -> Self {
        let own = |v: ValueId| {
            let name = g.values[v.0].name.as_str().into();
            (v, Origin { value: v, name, axes: (0..g.shape(v).len()).collect(), channels: None })
        };
        Origins(g.inputs.iter().copied().chain(g.nodes.iter().map(|n| n.output)).map(own).collect())
    }

    /// What a value holds.
    pub fn get(&self, v: ValueId) -> Option<&Origin> {
        self.0.get(&v)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ValueId, &Origin)> {
        self.0.iter().map(|(v, o)| (*v, o))
    }

    /// The graph was built anew: `held` are pairs of a value there and a value from before, whose axis i lies at `axes[i]`. Of several
    /// that one value holds, the first counts.
    pub(super) fn rebuilt(&mut self, held: impl Iterator<Item = (ValueId, ValueId, Vec<usize>)>) {
        let mut new = BTreeMap::new();
        for (now, before, axes) in held {
            if let Some(o) = self.0.get(&before) {
                let axes = o.axes.iter().map(|&a| axes[a]).collect();
                new.entry(now).or_insert(Origin { axes, ..o.clone() });
            }
        }
        self.0 = new;
    }

    /// What node `i` did is done by an earlier node now, `producer`, and everything from there up to the node's input `x` is other
    /// than before: `x` is what the node's result was.
    pub(super) fn moved(&mut self, e: &Edit, producer: usize, x: ValueId, result: ValueId) {
        let mut v = x;
        while let Some((i, n)) = e.producing(v) {
            self.0.remove(&v);
            if i == producer {
                break;
            }
            v = n.inputs[0];
        }
        if let Some(o) = self.0.remove(&result) {
            self.0.insert(x, o);
        }
    }

    /// What a node gave, `from`, it does not do any more: what was made of that, up to `x`, is other than before.
    pub(super) fn skipped(&mut self, e: &Edit, x: ValueId, from: ValueId) {
        let mut v = x;
        while v != from
            && let Some((_, n)) = e.producing(v)
        {
            self.0.remove(&v);
            v = n.inputs[0];
        }
    }

    /// Only these channels of a value are left.
    pub(super) fn keep(&mut self, v: ValueId, channels: &[usize]) {
        if let Some(o) = self.0.get_mut(&v) {
            let all = o.channels.take();
            let left = channels.iter().map(|&c| all.as_ref().map_or(c, |all| all[c])).collect();
            o.channels = Some(Arc::new(left));
        }
    }
}
