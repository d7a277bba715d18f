//! Constants that are packed already: a small file may have one that thousands of steps read.

use super::Algorithm;
use super::Rounded;
use super::algorithm::{self, Choice, Task};
use super::lower::{Lower, ONE, nhwc};
use crate::error::{Result, invalid};
use crate::ir::Window;
use sepal_format::record::{Range, dtype};
use sepal_kernels::Shape;
use std::collections::HashMap;
use std::sync::Arc;

/// What a constant is packed for: its form and the extents that decide about it.
pub(super) type Form = (&'static str, [usize; 6]);

/// Where the packed form of a constant lies, in which type, and what rounding did to it.
#[derive(Clone)]
struct Known {
    /// Kept, so that no other takes its place in memory.
    _source: Arc<Vec<f32>>,
    range: Range,
    dtype: u32,
    rounded: Option<Rounded>,
}

/// What was packed for a graph.
#[derive(Default)]
pub(super) struct Packed {
    known: HashMap<(*const Vec<f32>, Form), Known>,
    zeros: HashMap<usize, Arc<Vec<f32>>>,
    /// Floats that may still be packed.
    left: usize,
}

/// Floats that are packed for each of the graph's constants at most, and besides: one channel takes the place of sixteen, and the points
/// of a tile are four times the weights of its window.
const MOST_PACKED: usize = 64;
const MORE_PACKED: usize = 1 << 24;

/// What is known of constants, however often a graph is lowered.
#[derive(Default)]
pub(super) struct Measured {
    /// Errors of algorithms on weights.
    errors: HashMap<Measurement, (Arc<Vec<f32>>, f64)>,
    /// Constants in another form that are packed then.
    made: HashMap<(*const Vec<f32>, Form), [Arc<Vec<f32>>; 2]>,
}

/// Whose weights, how many channels, what window, which algorithm.
type Measurement = (*const Vec<f32>, [usize; 2], [[usize; 2]; 3], Algorithm);

impl Measured {
    /// What `make` makes of a constant, before that is packed.
    pub(super) fn made(&mut self, of: &Arc<Vec<f32>>, form: Form, make: impl FnOnce() -> Vec<f32>) -> Arc<Vec<f32>> {
        let [_, made] = self.made.entry((Arc::as_ptr(of), form)).or_insert_with(|| [of.clone(), Arc::new(make())]);
        made.clone()
    }
}

impl Packed {
    /// Nothing yet, of a graph with so many elements of constants.
    pub(super) fn new(elements: usize) -> Self {
        Packed { left: elements.saturating_mul(MOST_PACKED).saturating_add(MORE_PACKED), ..Packed::default() }
    }

    /// Pays for floats.
    fn pay(&mut self, floats: usize) -> Result<()> {
        let left = self.left.checked_sub(floats);
        self.left = left
            .ok_or_else(|| invalid("its weights are read in too many forms; the file would be many times as large as they are"))?;
        Ok(())
    }

    /// The bias of a step that has none.
    pub(super) fn zeros(&mut self, n: usize) -> Arc<Vec<f32>> {
        self.zeros.entry(n).or_insert_with(|| Arc::new(vec![0.0; n])).clone()
    }
}

impl Lower<'_> {
    /// Which algorithm a convolution runs by, if not the direct sum. To measure an error takes longer than to pack.
    pub(super) fn choose(&mut self, weights: &Arc<Vec<f32>>, window: &Window, input: Shape, output: Shape) -> Option<Choice> {
        let Window { kernel, stride, dilation, .. } = *window;
        let task = Task { window, input, output, weights, precision: self.options.precision };
        algorithm::choose(&task, self.options.max_error, &mut |algorithm, measure| {
            // The size of the picture does not matter.
            let key = (Arc::as_ptr(weights), [input.c, output.c], [kernel, stride, dilation], algorithm);
            self.measured.errors.entry(key).or_insert_with(|| (weights.clone(), measure())).1
        })
    }

    /// Whether a pointwise convolution is better off by Strassen's algorithm, which takes whole tensors, than behind a depthwise one.
    pub(super) fn by_strassen(&mut self, j: usize) -> Result<bool> {
        let node = &self.graph.nodes[j];
        let weights = self.weights_of(node, 1)?;
        let [input, output] = [node.inputs[0], node.output].map(|v| {
            let [n, h, w, c] = nhwc(self.graph.shape(v));
            Shape { n, h, w, c }
        });
        Ok(self.may_mix(&node.name) && self.choose(&weights, &ONE, input, output).is_some())
    }

    /// Whether a step may run by Strassen's algorithm, which computes neighbouring pixels from each other.
    pub(super) fn may_mix(&self, name: &str) -> bool {
        self.options.strassen && !self.direct.contains(name)
    }

    /// Stores what `pack` makes of a constant.
    pub(super) fn packed(&mut self, of: &Arc<Vec<f32>>, form: Form, pack: impl FnOnce() -> Result<Vec<f32>>) -> Result<Range> {
        let store = |lower: &mut Self, all: &[f32]| (lower.out.weights.add(all), dtype::F32);
        Ok(self.stored(of, form, pack, store)?.range)
    }

    /// Stores the panels of a step, which `pack` makes of its weights, in the type that is asked for.
    pub(super) fn packed_panels(
        &mut self,
        name: &str,
        of: &Arc<Vec<f32>>,
        form: Form,
        pack: impl FnOnce() -> Result<Vec<f32>>,
    ) -> Result<(Range, u32)> {
        let rounded = self.out.rounded.len();
        let known = self.stored(of, form, pack, |lower, panels| lower.panels(name, panels))?;
        if rounded == self.out.rounded.len() {
            // Of each step it is said what rounding did.
            self.out.rounded.extend(known.rounded.map(|r| Rounded { name: name.into(), ..r }));
        }
        Ok((known.range, known.dtype))
    }

    fn stored(
        &mut self,
        of: &Arc<Vec<f32>>,
        form: Form,
        pack: impl FnOnce() -> Result<Vec<f32>>,
        store: impl FnOnce(&mut Self, &[f32]) -> (Range, u32),
    ) -> Result<Known> {
        if !self.packs {
            return Ok(Known { _source: of.clone(), range: Range { offset: 0, len: 0 }, dtype: dtype::F32, rounded: None });
        }
        let key = (Arc::as_ptr(of), form);
        if let Some(known) = self.packed.known.get(&key) {
            return Ok(known.clone());
        }
        let (rounded, packed) = (self.out.rounded.len(), pack()?);
        self.packed.pay(packed.len())?;
        let (range, dtype) = store(self, &packed);
        let known = Known { _source: of.clone(), range, dtype, rounded: self.out.rounded.get(rounded).cloned() };
        self.packed.known.insert(key, known.clone());
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::lower::lower;
    use super::super::weights::Weights;
    use super::Measured;
    use crate::ir::Graph;
    use crate::passes::testing::{Numbers, conv, window};
    use std::collections::HashSet;

    /// Weights that pictures of several sizes are held under, as one constant under several names or as several plans.
    #[test]
    fn errors_are_measured_once_for_all_sizes() {
        let mut g = Graph::default();
        let mut random = Numbers(3);
        for size in [24, 32, 40] {
            let x = g.input("x", &[1, size, size, 64]);
            let y = conv(&mut g, &mut random, "y", x, 64, 1, false, window(3, 1, [1; 4]));
            g.outputs.push(y);
            g.output_names.push(size.to_string());
        }
        let first = g.nodes[0].inputs[1];
        g.nodes.iter_mut().for_each(|n| n.inputs[1] = first);
        let mut measured = Measured::default();
        let (lowered, _) = lower(&g, Options::default(), &HashSet::new(), Weights::default(), &mut measured).unwrap();
        assert_eq!((lowered.fast.len(), measured.errors.len()), (3, 1));
    }
}
