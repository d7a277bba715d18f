//! Constants that are packed already: a small file may have one that thousands of steps read.

use super::Rounded;
use super::algorithm::{self, Choice, Task};
use super::lower::{Lower, ONE, nhwc};
use crate::error::Result;
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
    made: HashMap<(*const Vec<f32>, Form), [Arc<Vec<f32>>; 2]>,
    choices: HashMap<(*const Vec<f32>, Extents), (Arc<Vec<f32>>, Option<Choice>)>,
}

/// A window, and the shapes that it goes from and to.
type Extents = [[usize; 4]; 5];

impl Packed {
    /// The bias of a step that has none.
    pub(super) fn zeros(&mut self, n: usize) -> Arc<Vec<f32>> {
        self.zeros.entry(n).or_insert_with(|| Arc::new(vec![0.0; n])).clone()
    }

    /// What `make` makes of a constant, before that is packed.
    pub(super) fn made(&mut self, of: &Arc<Vec<f32>>, form: Form, make: impl FnOnce() -> Vec<f32>) -> Arc<Vec<f32>> {
        let [_, made] = self.made.entry((Arc::as_ptr(of), form)).or_insert_with(|| [of.clone(), Arc::new(make())]);
        made.clone()
    }
}

impl Lower<'_> {
    /// Which algorithm a convolution runs by, if not the direct sum. To measure an error takes longer than to pack.
    pub(super) fn choose(&mut self, weights: &Arc<Vec<f32>>, window: &Window, input: Shape, output: Shape) -> Option<Choice> {
        let Window { kernel, stride, dilation, pads } = *window;
        let of = |s: Shape| [s.n, s.h, s.w, s.c];
        let windows = [[kernel[0], kernel[1], stride[0], stride[1]], [dilation[0], dilation[1], 0, 0]];
        let pads = [pads.top, pads.left, pads.bottom, pads.right];
        let key = (Arc::as_ptr(weights), [windows[0], windows[1], pads, of(input), of(output)]);
        let options = self.options;
        let task = Task { window, input, output, weights, precision: options.precision };
        let known = self.packed.choices.entry(key);
        known.or_insert_with(|| (weights.clone(), algorithm::choose(&task, options.max_error))).1
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
        let key = (Arc::as_ptr(of), form);
        if let Some(known) = self.packed.known.get(&key) {
            return Ok(known.clone());
        }
        let rounded = self.out.rounded.len();
        let (range, dtype) = store(self, &pack()?);
        let known = Known { _source: of.clone(), range, dtype, rounded: self.out.rounded.get(rounded).cloned() };
        self.packed.known.insert(key, known.clone());
        Ok(known)
    }
}
