//! How a value of the source is held in the new graph, and how it is brought into an order of axes.
use crate::interp::transpose;
use crate::ir::verify::elements;
use crate::ir::{Graph, Op, ValueId};
use crate::passes::fold_constants::only_ones_move;
use std::collections::HashMap;
use std::sync::Arc;

/// A value of the source in terms of a value of the new graph.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// Its axis i is axis `perm[i]` of `at`.
    Axes { at: ValueId, perm: Vec<usize> },
    /// Several axes were flattened into the last, in another order than the source's: element k of the source's last axis is
    /// element `order[k]` of that of `at`. To undo it, `at` takes the shape `from`, whose axes `perm` are the source's order.
    Shuffled { at: ValueId, order: Arc<Vec<usize>>, from: Vec<usize>, perm: Vec<usize> },
}

/// Longest name, in bytes, that goes on in those of what is made of a value.
const MOST_BYTES: usize = 512;
/// How often that may go on: to undo a shuffle takes three steps.
const MOST_STEPS: usize = 3;

/// The name of what is made of a value. A source may alternate reshapes and transposes for ever, and names that grew with each
/// would grow with the square of their number.
fn derived(name: &str, suffix: &str) -> String {
    let (mut own, mut steps) = (name, 0);
    while let Some(before) = ["/transpose", "/reshape"].iter().find_map(|s| own.strip_suffix(s)) {
        (own, steps) = (before, steps + 1);
    }
    let kept = if steps < MOST_STEPS { name } else { own };
    format!("{}{suffix}", &kept[..kept.floor_char_boundary(MOST_BYTES)])
}

pub(super) fn identity(rank: usize) -> Vec<usize> {
    (0..rank).collect()
}

/// `q[p[i]] = i`.
pub(super) fn inverse(p: &[usize]) -> Vec<usize> {
    let mut q = vec![0; p.len()];
    p.iter().enumerate().for_each(|(i, &p)| q[p] = i);
    q
}

/// The new graph with what was already brought into other orders and shapes.
#[derive(Default)]
pub(super) struct New {
    pub(super) graph: Graph,
    /// Elements of constants that were copied into another order.
    pub(super) copied: usize,
    transposed: HashMap<(ValueId, Vec<usize>), ValueId>,
    reshaped: HashMap<(ValueId, Vec<usize>), ValueId>,
    reshape_of: HashMap<ValueId, ValueId>,
}

impl New {
    /// The permutation that brings `held` into the order `target`: the result r has `source axis i = axis target[i] of r`.
    fn permutation(perm: &[usize], target: &[usize]) -> Vec<usize> {
        let mut s = vec![0; perm.len()];
        perm.iter().zip(target).for_each(|(&p, &t)| s[t] = p);
        s
    }

    /// Whether bringing a value into the order `target` would move data in a new node.
    pub(super) fn moves(&self, at: ValueId, perm: &[usize], target: &[usize]) -> bool {
        let s = Self::permutation(perm, target);
        let known = only_ones_move(self.graph.shape(at), &s) || self.graph.data(at).is_some();
        !known && !self.transposed.contains_key(&(at, s))
    }

    /// Brings a value into the order `target`.
    pub(super) fn bring(&mut self, at: ValueId, perm: &[usize], target: &[usize]) -> ValueId {
        self.transpose(at, Self::permutation(perm, target))
    }

    pub(super) fn transpose(&mut self, at: ValueId, perm: Vec<usize>) -> ValueId {
        let shape: Vec<usize> = perm.iter().map(|&p| self.graph.shape(at)[p]).collect();
        if only_ones_move(self.graph.shape(at), &perm) {
            return self.reshape(at, &shape);
        }
        let key = (at, perm);
        if let Some(&v) = self.transposed.get(&key) {
            return v;
        }
        let name = self.graph.values[at.0].name.clone();
        let v = match self.graph.data(at).cloned() {
            Some(data) => {
                self.copied += data.len();
                let data = transpose(&data, self.graph.shape(at), &key.1);
                self.graph.constant(name, &shape, Arc::new(data))
            }
            None => {
                let op = Op::Transpose { perm: key.1.clone() };
                self.graph.node(derived(&name, "/transpose"), "Transpose", op, &[at], &shape)
            }
        };
        self.transposed.insert(key, v);
        v
    }

    /// The same elements under another shape; chains of reshapes become one.
    pub(super) fn reshape(&mut self, at: ValueId, shape: &[usize]) -> ValueId {
        let at = self.reshape_of.get(&at).copied().unwrap_or(at);
        if self.graph.shape(at) == shape {
            return at;
        }
        debug_assert_eq!(elements(self.graph.shape(at)), elements(shape), "a reshape keeps the elements");
        let key = (at, shape.to_vec());
        if let Some(&v) = self.reshaped.get(&key) {
            return v;
        }
        let name = self.graph.values[at.0].name.clone();
        let v = match self.graph.data(at).cloned() {
            Some(data) => self.graph.constant(name, shape, data),
            None => {
                let v = self.graph.node(derived(&name, "/reshape"), "Reshape", Op::Reshape, &[at], shape);
                self.reshape_of.insert(v, at);
                v
            }
        };
        self.reshaped.insert(key, v);
        v
    }

    /// A value in the order of the source, which has `shape`.
    pub(super) fn plain(&mut self, held: &Held, shape: &[usize]) -> ValueId {
        match held {
            Held::Axes { at, perm } => self.bring(*at, perm, &identity(perm.len())),
            Held::Shuffled { at, from, perm, .. } => {
                let v = self.reshape(*at, from);
                let v = self.transpose(v, perm.clone());
                self.reshape(v, shape)
            }
        }
    }

    /// A constant whose last axis follows `order`; `None` if it varies along others too.
    pub(super) fn shuffle(&mut self, at: ValueId, order: &[usize]) -> Option<ValueId> {
        let shape = self.graph.shape(at).to_vec();
        let data = self.graph.data(at)?.clone();
        if data.len() == 1 {
            return Some(at);
        }
        if data.len() != order.len() || shape.last() != Some(&order.len()) {
            return None;
        }
        self.copied += data.len();
        let mut moved = vec![0.0; data.len()];
        order.iter().zip(data.iter()).for_each(|(&o, &d)| moved[o] = d);
        let name = self.graph.values[at.0].name.clone();
        Some(self.graph.constant(name, &shape, Arc::new(moved)))
    }
}

/// Which axes of `shape` become which axes of `out` under a reshape, in the smallest groups; axes of extent 1 left out.
fn groups(shape: &[usize], out: &[usize]) -> Option<Vec<(Vec<usize>, Vec<usize>)>> {
    let real = |s: &[usize]| s.iter().enumerate().filter(|(_, d)| **d != 1).map(|(i, _)| i).collect::<Vec<_>>();
    let (from, to) = (real(shape), real(out));
    let (mut from, mut to) = (from.into_iter(), to.into_iter());
    let mut all = Vec::new();
    while let Some(first) = from.next() {
        let (mut a, mut b) = (shape[first], 1usize);
        let (mut axes, mut becomes) = (vec![first], Vec::new());
        while a != b {
            if b < a {
                becomes.push(to.next()?);
                b = b.checked_mul(out[becomes[becomes.len() - 1]])?;
            } else {
                axes.push(from.next()?);
                a = a.checked_mul(shape[axes[axes.len() - 1]])?;
            }
        }
        all.push((axes, becomes));
    }
    Some(all)
}

/// How a reshape from `shape` to `out` looks on a tensor in which axis i of `shape` is axis `perm[i]`: the shape that the tensor
/// takes and where the axes of `out` then lie. `None` if axes are merged that are not neighbours there.
pub(super) fn regroup(shape: &[usize], perm: &[usize], out: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    let mut order: Vec<usize> = (0..shape.len()).filter(|&i| shape[i] != 1).collect();
    order.sort_by_key(|&i| perm[i]);
    let mut placed = Vec::new();
    for (axes, becomes) in groups(shape, out)? {
        let start = order.iter().position(|&o| o == axes[0])?;
        if !order[start..].starts_with(&axes) {
            return None;
        }
        placed.push((start, becomes));
    }
    placed.sort();
    // Axes of extent 1 stay in front if they were; the others go last.
    let leading = out.iter().position(|&d| d != 1).unwrap_or(out.len());
    let mut axes: Vec<usize> = (0..leading).collect();
    axes.extend(placed.into_iter().flat_map(|g| g.1));
    axes.extend((leading..out.len()).filter(|&j| out[j] == 1));
    Some((axes.iter().map(|&j| out[j]).collect(), inverse(&axes)))
}

/// Where [`regroup`] fails: the permutation of the tensor after which it does not, that moves no more than it must.
pub(super) fn gather(shape: &[usize], perm: &[usize], out: &[usize]) -> Option<Vec<usize>> {
    let mut groups = groups(shape, out)?;
    groups.sort_by_key(|(axes, _)| axes.iter().map(|&i| perm[i]).min());
    let ones = (0..shape.len()).filter(|&i| shape[i] == 1);
    Some(ones.chain(groups.iter().flat_map(|g| g.0.clone())).map(|i| perm[i]).collect())
}

/// A reshape that merges trailing axes into one which [`regroup`] cannot: the shape the tensor takes, and where the elements of
/// the last axis lie.
pub(super) fn flatten(shape: &[usize], perm: &[usize], out: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    let (&k, lead) = out.split_last()?;
    let split = (0..shape.len()).find(|&j| elements(&shape[..j]) == elements(lead) && elements(&shape[j..]) == Some(k))?;
    // The leading axes come first, in order; of extent 1 they may lie anywhere.
    let real = |&i: &usize| shape[i] != 1;
    let mut order: Vec<usize> = (0..shape.len()).filter(real).collect();
    order.sort_by_key(|&i| perm[i]);
    let leading: Vec<usize> = (0..split).filter(real).collect();
    if !order.starts_with(&leading) {
        return None;
    }
    // The tail as it lies, and each of its elements' place in the source's order.
    let tail = &order[leading.len()..];
    let lies: Vec<usize> = tail.iter().map(|&i| shape[i]).collect();
    let mut sorted = tail.to_vec();
    sorted.sort_unstable();
    let to_source: Vec<usize> = sorted.iter().filter_map(|i| tail.iter().position(|t| t == i)).collect();
    let places: Vec<usize> = (0..k).collect();
    let order = if lies.is_empty() { places } else { transpose(&places, &lies, &to_source) };
    Some((out.to_vec(), order))
}
