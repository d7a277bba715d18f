//! Tensors, buffers and steps between lowering and the memory plan.

use super::weights::Weights;
use sepal_format::op::Op;
use sepal_format::record::{IN_PLACE, NONE, PARAMS, Pipeline, Step, Tensor, dtype, place};
use sepal_kernels::Shape;

/// Where a tensor lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Floats from the start of a buffer.
    Buffer {
        /// Index into [`Lowered::buffers`].
        buffer: usize,
        /// Floats.
        offset: usize,
    },
    /// Bytes from the start of the weights section.
    Weights(u64),
    /// In the scratch of each thread.
    Rows {
        /// Floats.
        offset: usize,
        /// Rows that there is memory for.
        rows: usize,
    },
}

/// A tensor as the file describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LTensor {
    pub(super) dims: [usize; 4],
    pub(super) pixel: usize,
    pub(super) place: Place,
}

impl LTensor {
    pub(super) fn shape(&self) -> Shape {
        let [n, h, w, c] = self.dims;
        Shape::new(n, h, w, c)
    }
    /// As a record that lies nowhere yet; extents are known to fit.
    pub(super) fn record(&self) -> Tensor {
        Tensor {
            dtype: dtype::F32,
            place: place::ARENA,
            offset: 0,
            dims: self.dims.map(|n| n as u32),
            pixel: self.pixel as u32,
            first: 0,
            last: 0,
            zero_point: 0,
            scale: 0.0,
            rows: 0,
            reserved: [0; 2],
        }
    }
    /// Whether its elements follow each other without gaps.
    pub(super) fn dense(&self) -> bool {
        self.pixel == self.dims[3] || self.shape().pixels() == 1
    }
}

/// Memory for tensors: of its own, or part of another buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffer {
    pub(super) floats: usize,
    /// Buffer and offset in floats of which this is a part.
    pub(super) parent: Option<(usize, usize)>,
}

/// A step before it is a record.
pub(super) struct LStep {
    pub(super) op: Op,
    pub(super) params: [u8; PARAMS],
    pub(super) name: String,
    pub(super) inputs: Vec<usize>,
    pub(super) output: usize,
    pub(super) in_place: bool,
    pub(super) macs: u64,
}

impl LStep {
    /// As a record without a name.
    pub(super) fn record(&self) -> Step {
        let mut inputs = [NONE; 4];
        for (slot, &t) in inputs.iter_mut().zip(&self.inputs) {
            *slot = t as u32;
        }
        Step {
            op: self.op as u32,
            flags: if self.in_place { IN_PLACE } else { 0 },
            inputs,
            output: self.output as u32,
            name: NONE,
            name_len: 0,
            reserved: [0; 3],
            params: self.params,
        }
    }
}

/// The whole network before the memory plan.
#[derive(Default)]
pub(super) struct Lowered {
    pub(super) tensors: Vec<LTensor>,
    pub(super) buffers: Vec<Buffer>,
    pub(super) steps: Vec<LStep>,
    pub(super) weights: Weights,
    /// Tensor of each graph input.
    pub(super) inputs: Vec<usize>,
    /// Tensor of each graph output.
    pub(super) outputs: Vec<usize>,
    pub(super) scratch_bytes: u64,
    pub(super) fast: Vec<super::Fast>,
    pub(super) rounded: Vec<super::Rounded>,
    /// In the order of their steps.
    pub(super) pipelines: Vec<Pipeline>,
}

impl Lowered {
    /// The buffer that a buffer finally lies in, and at which float.
    pub(super) fn root(&self, mut buffer: usize) -> (usize, usize) {
        let mut offset = 0;
        while let Some((parent, at)) = self.buffers[buffer].parent {
            buffer = parent;
            offset += at;
        }
        (buffer, offset)
    }

    /// The root buffer of a tensor that is not a constant.
    pub(super) fn root_of(&self, tensor: usize) -> Option<usize> {
        match self.tensors[tensor].place {
            Place::Buffer { buffer, .. } => Some(self.root(buffer).0),
            Place::Weights(_) | Place::Rows { .. } => None,
        }
    }

    /// The root buffer of a tensor, and at which float of it the tensor begins.
    pub(super) fn locate(&self, t: usize) -> Option<(usize, usize)> {
        match self.tensors[t].place {
            Place::Buffer { buffer, offset } => {
                let (root, inner) = self.root(buffer);
                Some((root, inner + offset))
            }
            Place::Weights(_) | Place::Rows { .. } => None,
        }
    }

    /// Whether two tensors share memory, the padding of their last block included.
    pub(super) fn overlap(&self, a: usize, b: usize) -> bool {
        let (Some((root_a, at_a)), Some((root_b, at_b))) = (self.locate(a), self.locate(b)) else { return false };
        if root_a != root_b {
            return false;
        }
        let (ta, tb) = (&self.tensors[a], &self.tensors[b]);
        let span = |t: &LTensor| sepal_kernels::view::span(t.shape(), t.pixel);
        if at_a + span(ta) <= at_b || at_b + span(tb) <= at_a {
            return false;
        }
        if ta.pixel != tb.pixel {
            return true;
        }
        let channels = |t: &LTensor| t.dims[3].next_multiple_of(sepal_format::layout::BLOCK).min(t.pixel);
        let (ca, cb) = (at_a % ta.pixel, at_b % tb.pixel);
        let wraps = ca + channels(ta) > ta.pixel || cb + channels(tb) > tb.pixel;
        wraps || (ca < cb + channels(tb) && cb < ca + channels(ta))
    }

    /// The steps that run together with step `i`.
    pub(super) fn run_of(&self, i: usize) -> std::ops::Range<usize> {
        let after = self.pipelines.partition_point(|p| p.first as usize <= i);
        let before = after.checked_sub(1).map(|k| self.pipelines[k].range());
        before.filter(|r| r.contains(&i)).unwrap_or(i..i + 1)
    }

    /// First step that touches each root buffer, and last step that does; outputs are touched by the end.
    pub(super) fn buffer_lives(&self) -> Vec<(u32, u32)> {
        let n = self.steps.len() as u32;
        let mut lives = vec![(u32::MAX, 0); self.buffers.len()];
        let mut touch = |t: usize, at: u32| {
            if let Some(b) = self.root_of(t) {
                lives[b].0 = lives[b].0.min(at);
                lives[b].1 = lives[b].1.max(at);
            }
        };
        for &t in &self.inputs {
            touch(t, 0);
        }
        for (i, s) in self.steps.iter().enumerate() {
            // Steps of a pipeline run at the same time.
            let run = self.run_of(i);
            for at in [run.start, run.end - 1] {
                s.inputs.iter().chain([&s.output]).for_each(|&t| touch(t, at as u32));
            }
        }
        for &t in &self.outputs {
            touch(t, n);
        }
        lives
    }

    /// Lets element-wise steps write over an input that nobody needs afterwards.
    pub(super) fn reuse_in_place(&mut self) {
        let mut lives = self.buffer_lives();
        let mut has_parts = vec![false; self.buffers.len()];
        for parent in self.buffers.iter().filter_map(|b| b.parent) {
            has_parts[parent.0] = true;
        }
        let mut tensors_of: Vec<Vec<usize>> = vec![Vec::new(); self.buffers.len()];
        for (i, t) in self.tensors.iter().enumerate() {
            if let Place::Buffer { buffer, .. } = t.place {
                tensors_of[buffer].push(i);
            }
        }
        for i in 0..self.steps.len() {
            let s = &self.steps[i];
            let elementwise = matches!(s.op, Op::Activation | Op::Binary | Op::ScaleShift | Op::Prelu | Op::Unary);
            if !elementwise || s.in_place || self.run_of(i).len() > 1 {
                continue;
            }
            let out = self.tensors[s.output];
            let Place::Buffer { buffer: out_buffer, offset: 0 } = out.place else { continue };
            // A part of a larger buffer has to stay where it is, and so has the buffer that other tensors share.
            if self.buffers[out_buffer].parent.is_some() || has_parts[out_buffer] || lives[out_buffer].0 != i as u32 {
                continue;
            }
            let candidate = s.inputs.iter().position(|&t| {
                let x = self.tensors[t];
                let Place::Buffer { buffer, offset: 0 } = x.place else { return false };
                self.buffers[buffer].parent.is_none()
                    && !has_parts[buffer]
                    && lives[buffer].1 == i as u32
                    && x.dims == out.dims
                    && x.pixel == out.pixel
                    && x.pixel.is_multiple_of(sepal_format::layout::BLOCK)
            });
            let Some(k) = candidate else { continue };
            let x = s.inputs[k];
            let Place::Buffer { buffer, .. } = self.tensors[x].place else { continue };
            // What the caller filled stays until the first step is over, whatever views of it there are.
            if i == 0 && !self.inputs.contains(&x) && self.inputs.iter().any(|&t| self.root_of(t) == Some(buffer)) {
                continue;
            }
            // The same tensor on both sides (x + x) would be read while it is written.
            if s.inputs.iter().enumerate().any(|(j, &t)| j != k && self.root_of(t) == Some(buffer)) {
                continue;
            }
            for t in std::mem::take(&mut tensors_of[out_buffer]) {
                if let Place::Buffer { buffer: b, .. } = &mut self.tensors[t].place {
                    *b = buffer;
                }
                tensors_of[buffer].push(t);
            }
            lives[buffer].1 = lives[out_buffer].1;
            lives[out_buffer] = (u32::MAX, 0);
            let s = &mut self.steps[i];
            s.in_place = true;
            if k == 1 {
                s.inputs.swap(0, 1);
                swap_binary(&mut s.params);
            }
        }
    }
}

/// Marks the parameters of a binary step as having their operands exchanged.
fn swap_binary(params: &mut [u8; PARAMS]) {
    use sepal_format::op::Params;
    use sepal_format::record::BinaryParams;
    let mut p: BinaryParams = bytemuck::pod_read_unaligned(&params[..size_of::<BinaryParams>()]);
    p.swapped ^= 1;
    *params = p.bytes();
}
