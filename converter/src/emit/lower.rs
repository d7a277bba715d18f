//! Nodes to steps.

use super::half::{self, Precision};
use super::packed::{Measured, Packed};
use super::pins::concat_pins;
use super::takes::{Take, Taken};
use super::tensors::{Buffer, LStep, LTensor, Lowered, Place};
use super::weights::Weights;
use super::{Algorithm, Fast, Options, algorithm, codes, small, unsupported};
use crate::error::{Error, Result, invalid};
use crate::ir::{Act, BinaryOp, Graph, Node, Op, PoolKind, ReduceKind, ValueId, Window};
use sepal_format::layout::{BLOCK, padded, pixel_stride};
use sepal_format::limits;
use sepal_format::op::Params;
use sepal_format::record::{take as record_take, *};
use sepal_kernels::ops::winograd::points;
use sepal_kernels::{Shape, pack};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Lowers a graph; its weights go to others that are there already. With it comes the tensor of each value that is computed or read
/// as a whole.
pub(super) fn lower(
    graph: &Graph,
    options: Options,
    direct: &HashSet<String>,
    weights: Weights,
    measured: &mut Measured,
) -> Result<(Lowered, HashMap<ValueId, usize>)> {
    let mut pins = concat_pins(graph);
    for round in 0.. {
        // Weights are packed when all conflicts are solved: to pack them takes longer than the rest.
        let (tried, held, conflict) = Lower::new(graph, &pins, options, direct, None, measured).run()?;
        // More than a file holds is refused; copies, which are what another round adds, would not make it less.
        if tried.tensors.len() > limits::TENSORS {
            return Ok((tried, held));
        }
        // A step that reads one part of a buffer and writes another has views that interleave, which safe slices cannot
        // express: such a part gets memory of its own and is copied.
        match conflict {
            None => break,
            Some(_) if round == MOST_ROUNDS => pins.clear(),
            Some(value) => drop(pins.remove(&value)),
        }
    }
    let (lowered, held, _) = Lower::new(graph, &pins, options, direct, Some(weights), measured).run()?;
    Ok((lowered, held))
}

/// Parts that get memory of their own one after the other, each time lowering all once more; then all do. What the graph shows does not
/// count: [`concat_pins`] leaves it out.
const MOST_ROUNDS: usize = 64;

/// Extents of a shape of any rank as NHWC: the last axis is channels, the two before it columns and rows.
pub(super) fn nhwc(shape: &[usize]) -> [usize; 4] {
    let at = |back: usize| if shape.len() >= back { shape[shape.len() - back] } else { 1 };
    [shape[..shape.len().saturating_sub(3)].iter().product(), at(3), at(2), at(1)]
}

pub(super) struct Lower<'g> {
    pub(super) graph: &'g Graph,
    pins: &'g HashMap<ValueId, (ValueId, usize)>,
    pub(super) options: Options,
    /// Steps that do not run by Strassen's algorithm.
    pub(super) direct: &'g HashSet<String>,
    /// Whether weights are packed, or it is only seen where everything goes.
    pub(super) packs: bool,
    pub(super) out: Lowered,
    pub(super) map: HashMap<ValueId, usize>,
    pub(super) consumers: HashMap<ValueId, Vec<usize>>,
    /// Values that are not computed, since the convolution that reads them takes another.
    pub(super) taken: HashMap<ValueId, Taken>,
    pub(super) packed: Packed,
    pub(super) measured: &'g mut Measured,
    conflict: Option<ValueId>,
    skip: HashSet<usize>,
}

impl<'g> Lower<'g> {
    fn new(
        graph: &'g Graph,
        pins: &'g HashMap<ValueId, (ValueId, usize)>,
        mut options: Options,
        direct: &'g HashSet<String>,
        weights: Option<Weights>,
        measured: &'g mut Measured,
    ) -> Self {
        options.strassen &= !graph.nodes.iter().any(|n| algorithm::tells_small_from_zero(graph, n));
        Lower {
            graph,
            pins,
            options,
            direct,
            packs: weights.is_some(),
            out: Lowered { weights: weights.unwrap_or_default(), ..Lowered::default() },
            map: HashMap::new(),
            consumers: graph.consumers(),
            taken: HashMap::new(),
            packed: Packed::new(graph.elements_of_constants()),
            measured,
            conflict: None,
            skip: HashSet::new(),
        }
    }

    fn run(mut self) -> Result<(Lowered, HashMap<ValueId, usize>, Option<ValueId>)> {
        for &v in &self.graph.inputs {
            let dims = nhwc(self.graph.shape(v));
            let t = self.fresh(dims, dims[3])?;
            self.map.insert(v, t);
            self.out.inputs.push(t);
        }
        let mut errors = Vec::new();
        for i in 0..self.graph.nodes.len() {
            if self.skip.contains(&i) {
                continue;
            }
            match self.node(i) {
                Err(Error::Unsupported(mut all)) => {
                    errors.append(&mut all);
                    // Whatever reads it is lowered against a stand-in, so that all errors are found.
                    let node = &self.graph.nodes[i];
                    let dims = nhwc(self.graph.shape(node.output));
                    let t = self.fresh(dims, dims[3])?;
                    self.map.entry(node.output).or_insert(t);
                }
                other => other?,
            }
        }
        if !errors.is_empty() {
            return Err(Error::Unsupported(errors));
        }
        let (mut taken, producers) = (HashSet::new(), self.graph.producers());
        for (i, &v) in self.graph.outputs.iter().enumerate() {
            let t = self.source(v)?;
            let own = self.out.tensors[t].dense() && producers.contains_key(&v) && taken.insert(v);
            let t = if own { t } else { self.densify(t, self.graph.shape(v), &format!("output {i}"))? };
            self.out.outputs.push(t);
        }
        Ok((self.out, self.map, self.conflict))
    }

    /// A tensor in a buffer of its own.
    pub(super) fn fresh(&mut self, dims: [usize; 4], pixel: usize) -> Result<usize> {
        let whole = dims[..3].iter().try_fold(pixel, |a, &d| a.checked_mul(d));
        if whole.is_none_or(|n| n > u32::MAX as usize) {
            return Err(invalid(format!("a tensor of {dims:?} is too large")));
        }
        let [n, h, w, c] = dims;
        let floats = sepal_kernels::view::span(Shape::new(n, h, w, c), pixel).next_multiple_of(BLOCK);
        self.out.buffers.push(Buffer { floats, parent: None });
        let place = Place::Buffer { buffer: self.out.buffers.len() - 1, offset: 0 };
        self.out.tensors.push(LTensor { dims, pixel, place });
        Ok(self.out.tensors.len() - 1)
    }

    /// A padded tensor in a buffer of its own.
    pub(super) fn fresh_padded(&mut self, dims: [usize; 4]) -> Result<usize> {
        let pixel = pixel_stride(dims[3]).ok_or_else(|| invalid("too many channels"))?;
        self.fresh(dims, pixel)
    }

    /// The tensor that a node's value is computed into: part of a concat where it is pinned, otherwise its own.
    pub(super) fn target(&mut self, v: ValueId) -> Result<usize> {
        if let Some(&t) = self.map.get(&v) {
            return Ok(t);
        }
        // Those that it lies in first, from the outermost inwards.
        let mut missing = vec![v];
        let mut at = v;
        while let Some(&(whole, _)) = self.pins.get(&at)
            && !self.map.contains_key(&whole)
        {
            missing.push(whole);
            at = whole;
        }
        for &v in missing.iter().rev() {
            let t = self.new_target(v)?;
            self.map.insert(v, t);
        }
        Ok(self.map[&v])
    }

    /// [`Self::target`] of a value that has none, but what it is part of does. Parts of parts lie in the buffer of the whole, too.
    fn new_target(&mut self, v: ValueId) -> Result<usize> {
        let dims = nhwc(self.graph.shape(v));
        let Some(&(whole, channel)) = self.pins.get(&v) else { return self.fresh_padded(dims) };
        let LTensor { pixel, place, .. } = self.out.tensors[self.map[&whole]];
        let Place::Buffer { buffer, offset } = place else { return Err(invalid("concat of constants")) };
        let (root, inner) = self.out.root(buffer);
        let [n, h, w, c] = dims;
        let floats = sepal_kernels::view::span(Shape::new(n, h, w, c), pixel);
        self.out.buffers.push(Buffer { floats, parent: Some((root, inner + offset + channel)) });
        let place = Place::Buffer { buffer: self.out.buffers.len() - 1, offset: 0 };
        self.out.tensors.push(LTensor { dims, pixel, place });
        Ok(self.out.tensors.len() - 1)
    }

    /// Whether a value is computed into a concat.
    pub(super) fn is_pinned(&self, v: ValueId) -> bool {
        self.pins.contains_key(&v)
    }

    /// Whether a value is computed as these channels of a concat.
    pub(super) fn part_of(&self, v: ValueId, whole: ValueId, channel: usize) -> bool {
        self.pins.get(&v) == Some(&(whole, channel))
    }

    /// The tensor that holds a value: computed before, or a constant.
    pub(super) fn source(&mut self, v: ValueId) -> Result<usize> {
        if let Some(&t) = self.map.get(&v) {
            return Ok(t);
        }
        let data = self.graph.data(v).cloned();
        let data = data.ok_or_else(|| invalid(format!("{} is not computed", self.graph.values[v.0].name)))?;
        let t = self.constant(nhwc(self.graph.shape(v)), &data)?;
        self.map.insert(v, t);
        Ok(t)
    }

    /// A constant tensor, padded.
    fn constant(&mut self, dims: [usize; 4], data: &Arc<Vec<f32>>) -> Result<usize> {
        let pixel = pixel_stride(dims[3]).ok_or_else(|| invalid("too many channels"))?;
        let range = self.packed(data, ("constant", [dims[3], 0, 0, 0, 0, 0]), || {
            let mut all = vec![0.0; data.len() / dims[3].max(1) * pixel];
            for (to, from) in all.chunks_mut(pixel).zip(data.chunks(dims[3].max(1))) {
                to[..from.len()].copy_from_slice(from);
            }
            Ok(all)
        })?;
        self.out.tensors.push(LTensor { dims, pixel, place: Place::Weights(range.offset) });
        Ok(self.out.tensors.len() - 1)
    }

    /// The tensor of a value, copied to padded pixels if it is not padded: what every operator but Conv and Copy asks for.
    pub(super) fn padded_source(&mut self, v: ValueId, name: &str) -> Result<usize> {
        let t = self.source(v)?;
        self.pad_pixels(t, name)
    }

    pub(super) fn pad_pixels(&mut self, t: usize, name: &str) -> Result<usize> {
        let LTensor { dims, pixel, .. } = self.out.tensors[t];
        if pixel.is_multiple_of(BLOCK) {
            return Ok(t);
        }
        let to = self.fresh_padded(dims)?;
        self.copy_pixels(t, to, 0, name)?;
        Ok(to)
    }

    pub(super) fn step<P: Params>(&mut self, name: &str, params: &P, inputs: Vec<usize>, output: usize, macs: usize) {
        // Overlapping views: remember the pinned value whose part this step writes or reads.
        if let Some(root) = self.out.root_of(output)
            && inputs.iter().any(|&t| t != output && self.out.root_of(t) == Some(root))
            && self.conflict.is_none()
        {
            self.conflict = self.pins.keys().filter(|&&v| self.map.get(&v) == Some(&output)).min().copied().or_else(|| {
                let near = |t: &usize| self.out.root_of(*t) == Some(root);
                self.pins.keys().filter(|&&v| self.map.get(&v).is_some_and(near)).min().copied()
            });
        }
        self.out.steps.push(LStep {
            op: P::OP,
            params: params.bytes(),
            name: name.into(),
            inputs,
            output,
            in_place: false,
            macs: macs as u64,
        });
    }

    fn node(&mut self, i: usize) -> Result<()> {
        let node = &self.graph.nodes[i];
        if self.gate(node)? || self.planes(node)? {
            return Ok(());
        }
        let (g, name, out) = (self.graph, node.name.as_str(), node.output);
        match &node.op {
            Op::Conv { .. } => self.conv(i),
            Op::ConvTranspose { window, groups, bias, act } => self.conv_transpose(node, window, *groups, *bias, *act),
            Op::Dense { bias, act } => {
                let x = self.source(node.inputs[0])?;
                let w = self.weights_of(node, 1)?;
                let b = if *bias { Some(self.weights_of(node, 2)?) } else { None };
                let [k, n] = [g.shape(node.inputs[1])[0], g.shape(node.inputs[1])[1]];
                let to = self.target(out)?;
                self.conv_step(name, &ONE, 1, *act, [k, n], &w, b, Taken::samples(x), None, to)
            }
            Op::ScaleShift { act } => {
                let x = self.padded_source(node.inputs[0], name)?;
                let (scale, shift) = (self.weights_of(node, 1)?, self.weights_of(node, 2)?);
                let (scale, shift) = (self.channels(1, &scale)?, self.channels(1, &shift)?);
                let to = self.target(out)?;
                self.step(name, &ScaleShiftParams { scale, shift, act: act.record(), reserved: 0 }, vec![x], to, 0);
                Ok(())
            }
            Op::Act(act) => {
                let x = self.padded_source(node.inputs[0], name)?;
                let to = self.target(out)?;
                self.activation(name, *act, x, to);
                Ok(())
            }
            Op::Unary(function) => {
                let x = self.padded_source(node.inputs[0], name)?;
                let to = self.target(out)?;
                self.step(name, &UnaryParams { function: function.record(), reserved: 0 }, vec![x], to, 0);
                Ok(())
            }
            Op::LayerNorm { epsilon, centred } => {
                let x = self.padded_source(node.inputs[0], name)?;
                let (scale, shift) = (self.weights_of(node, 1)?, self.weights_of(node, 2)?);
                let (scale, shift) = (self.channels(1, &scale)?, self.channels(1, &shift)?);
                let to = self.target(out)?;
                let kind = if *centred { norm_kind::CENTRED } else { norm_kind::PLAIN };
                let params = LayerNormParams { scale, shift, epsilon: *epsilon, kind };
                self.step(name, &params, vec![x], to, 0);
                Ok(())
            }
            Op::Matmul => self.matmul(node),
            Op::PRelu => self.prelu(node),
            Op::Softmax { axis, log } => self.softmax(node, *axis, *log),
            Op::Binary { op, act } => {
                let (a, b) = (node.inputs[0], node.inputs[1]);
                self.binary(node, *op, *act, a, b)
            }
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Pool { kind, window, residual } => {
                let x = self.padded_source(node.inputs[0], name)?;
                let mut inputs = vec![x];
                if *residual {
                    inputs.push(self.padded_source(node.inputs[1], name)?);
                }
                let to = self.target(out)?;
                let mut w = window_record(window)?;
                let kind = match kind {
                    PoolKind::Max => pool_kind::MAX,
                    PoolKind::Average => pool_kind::AVERAGE,
                    PoolKind::AverageWithPad { counted } => {
                        if counted.top != window.pads.top || counted.left != window.pads.left {
                            return Err(unsupported(
                                name,
                                &node.kind,
                                "padding that begins before the counted one",
                                "pad explicitly",
                            ));
                        }
                        w.pad_end = [small(counted.bottom)?, small(counted.right)?];
                        pool_kind::AVERAGE_WITH_PAD
                    }
                };
                self.step(name, &PoolParams { window: w, kind, reserved: 0 }, inputs, to, 0);
                Ok(())
            }
            Op::Reduce { kind, axes, .. } => self.reduce(node, *kind, axes),
            Op::Pad { .. } | Op::Transpose { .. } | Op::Slice { .. } | Op::Broadcast | Op::Upsample { .. } => self.rearrange(node),
            Op::Resize { kind, places } => {
                let x = self.padded_source(node.inputs[0], name)?;
                let to = self.target(out)?;
                self.step(name, &ResizeParams { kind: codes::resizing(*kind), places: codes::places(*places) }, vec![x], to, 0);
                Ok(())
            }
            Op::Reshape => self.reshape(node),
            Op::BatchNorm { .. } => {
                Err(unsupported(name, &node.kind, "batch normalisation along this axis", "normalise the last axis"))
            }
        }
    }

    pub(super) fn activation(&mut self, name: &str, act: Act, x: usize, to: usize) {
        self.step(name, &ActivationParams { act: act.record(), reserved: 0 }, vec![x], to, 0);
    }

    /// Data of a constant input.
    pub(super) fn weights_of(&self, node: &Node, i: usize) -> Result<Arc<Vec<f32>>> {
        let v = *node.inputs.get(i).ok_or_else(|| invalid(format!("{}: input {i} is missing", node.name)))?;
        self.graph
            .data(v)
            .cloned()
            .ok_or_else(|| unsupported(&node.name, &node.kind, "weights that are computed at run time", "make them constant"))
    }

    /// Packs per-channel values.
    fn channels(&mut self, groups: usize, values: &Arc<Vec<f32>>) -> Result<Range> {
        self.packed(values, ("channels", [groups, 0, 0, 0, 0, 0]), || {
            let per = padded(values.len() / groups).ok_or_else(|| invalid("too many channels"))?;
            let mut all = vec![0.0; per * groups];
            pack::channels(groups, values, &mut all);
            Ok(all)
        })
    }

    fn conv(&mut self, i: usize) -> Result<()> {
        let node = &self.graph.nodes[i];
        let Op::Conv { window, groups, bias, residual, pre_relu, act } = node.op.clone() else { return Ok(()) };
        let (g, name, out) = (self.graph, node.name.as_str(), node.output);
        let w = self.weights_of(node, 1)?;
        let b = if bias { Some(self.weights_of(node, 2)?) } else { None };
        let shape = g.shape(node.inputs[1]).to_vec();
        let c = g.shape(node.inputs[0])[3];
        let n = shape[3];
        let residual = if residual { node.inputs.last().copied() } else { None };
        let depthwise = groups == c && groups > 1;
        if !depthwise {
            let taken = self.taken.remove(&node.inputs[0]);
            let mut taken = match taken {
                Some(taken) => taken,
                None => Taken::plain(self.source(node.inputs[0])?),
            };
            if pre_relu {
                let from = self.pad_pixels(taken.x, name)?;
                taken.x = self.fresh_padded(self.out.tensors[from].dims)?;
                self.activation(&format!("{name}/relu"), Act::RELU, from, taken.x);
            }
            let r = residual.map(|v| self.padded_source(v, name)).transpose()?;
            let to = self.target(out)?;
            return self.conv_step(name, &window, groups, act, [c / groups, n], &w, b, taken, r, to);
        }

        let mut x = self.padded_source(node.inputs[0], name)?;
        if n != c {
            x = self.repeat_channels(x, n / c, name)?;
        }
        let weights = self.packed(&w, ("depthwise", [shape[0], shape[1], n, 0, 0, 0]), || {
            let mut panels = vec![0.0; padded(n).ok_or_else(|| invalid("too many channels"))? * shape[0] * shape[1]];
            pack::depthwise([shape[0], shape[1]], n, &w, &mut panels);
            Ok(panels)
        })?;
        let bias = b.unwrap_or_else(|| self.packed.zeros(n));
        let bias = self.channels(1, &bias)?;
        let params = DepthwiseParams {
            weights,
            bias,
            window: window_record(&window)?,
            pre_relu: pre_relu.into(),
            act: if residual.is_some() { Act::None } else { act }.record(),
            weight_dtype: dtype::F32,
            reserved: 0,
        };
        let [bn, oh, ow, _] = nhwc(g.shape(out));
        let macs = bn * oh * ow * n * shape[0] * shape[1];
        if residual.is_none()
            && let Some(j) = self.pointwise_after(i)
            && !self.by_strassen(j)?
        {
            return self.separable(i, j, params, x, macs);
        }
        if let Some(r) = residual {
            let r = self.padded_source(r, name)?;
            let mid = self.fresh_padded(nhwc(g.shape(out)))?;
            self.step(name, &params, vec![x], mid, macs);
            let to = self.target(out)?;
            let add = BinaryParams { op: 0, swapped: 0, act: act.record(), reserved: 0 };
            self.step(&format!("{name}/add"), &add, vec![mid, r], to, 0);
        } else {
            let to = self.target(out)?;
            self.step(name, &params, vec![x], to, macs);
        }
        Ok(())
    }

    /// The pointwise convolution that is the only reader of a depthwise one's output, if its other inputs are ready by then.
    fn pointwise_after(&self, i: usize) -> Option<usize> {
        let v = self.graph.nodes[i].output;
        let [j] = self.consumers.get(&v)?.as_slice() else { return None };
        let next = self.graph.nodes.get(*j)?;
        let Op::Conv { window, groups: 1, residual, pre_relu: false, .. } = &next.op else { return None };
        let pointwise = window.kernel == [1, 1] && window.stride == [1, 1] && window.pads == crate::ir::Pads::default();
        let ready = |r: &ValueId| self.map.contains_key(r) || self.graph.data(*r).is_some();
        let residual_ready = !residual || next.inputs.last().is_some_and(ready);
        (pointwise && residual_ready && next.inputs[0] == v && next.inputs[1..].iter().all(|&r| r != v)).then_some(*j)
    }

    fn separable(&mut self, i: usize, j: usize, depthwise: DepthwiseParams, x: usize, dw_macs: usize) -> Result<()> {
        let (first, node) = (&self.graph.nodes[i], &self.graph.nodes[j]);
        let Op::Conv { bias, residual, act, .. } = node.op else { return Ok(()) };
        let w = self.weights_of(node, 1)?;
        let b = if bias { Some(self.weights_of(node, 2)?) } else { None };
        let shape = self.graph.shape(node.inputs[1]);
        let (k, n) = (shape[2], shape[3]);
        let name = format!("{} + {}", first.name, node.name);
        let form = ("conv", [1, 1, k, n, 1, 0]);
        let (weights, weight_dtype) = self.packed_panels(&name, &w, form, || pack_conv([1, 1], k, n, 1, &w))?;
        let bias = b.unwrap_or_else(|| self.packed.zeros(n));
        let bias = self.channels(1, &bias)?;
        let mut inputs = vec![x];
        if residual {
            let v = node.inputs[node.inputs.len() - 1];
            inputs.push(self.padded_source(v, &node.name)?);
        }
        let to = self.target(node.output)?;
        let out = self.out.tensors[to].shape();
        let params = SeparableParams { depthwise, weights, bias, act: act.record(), weight_dtype };
        self.step(&name, &params, inputs, to, dw_macs + out.pixels() * k * n);
        self.skip.insert(j);
        Ok(())
    }

    /// Stores the panels of a step in the type that is asked for, where it has the range.
    pub(super) fn panels(&mut self, name: &str, panels: &[f32]) -> (Range, u32) {
        if self.options.precision == Precision::F32 {
            return (self.out.weights.add(panels), dtype::F32);
        }
        let (rounded, halves) = half::round(name, panels);
        let stored = half::stored(&rounded);
        self.out.rounded.push(rounded);
        let range = if stored == dtype::F16 { self.out.weights.add_halves(&halves) } else { self.out.weights.add(panels) };
        (range, stored)
    }

    /// Emits a convolution; `dims` are input channels per group and all output channels.
    pub(super) fn conv_step(
        &mut self,
        name: &str,
        window: &Window,
        groups: usize,
        act: Act,
        [k, n]: [usize; 2],
        w: &Arc<Vec<f32>>,
        b: Option<Arc<Vec<f32>>>,
        taken: Taken,
        residual: Option<usize>,
        to: usize,
    ) -> Result<()> {
        let Taken { mut x, take, samples } = taken;
        let (input, output) = (self.out.tensors[x].shape(), self.out.tensors[to].shape());
        let plain = matches!(take, Take::Plain);
        let may = groups == 1 && plain && (window.kernel != [1, 1] || !samples && self.may_mix(name));
        let choice = if may { self.choose(w, window, input, output) } else { None };
        let mut code = 0;
        if let Some(algorithm::Choice { algorithm, error }) = choice {
            x = self.pad_pixels(x, name)?;
            code = match algorithm {
                Algorithm::Winograd([rows, columns]) => sepal_format::winograd::code([small(rows)?, small(columns)?]),
                Algorithm::Strassen => sepal_format::strassen::CODE,
            };
            self.out.fast.push(Fast { name: name.into(), algorithm, error });
        }
        let form = ("conv", [window.kernel[0], window.kernel[1], k, n, groups, code as usize]);
        let (weights, weight_dtype) = self.packed_panels(name, w, form, || match choice.map(|c| c.algorithm) {
            None => pack_conv(window.kernel, k, n, groups, w),
            Some(Algorithm::Winograd(tile)) => pack_winograd(window, tile, k, n, w),
            Some(Algorithm::Strassen) => pack_strassen(k, n, w),
        })?;
        let bias = b.unwrap_or_else(|| self.packed.zeros(n));
        let bias = self.channels(groups, &bias)?;
        let params = ConvParams {
            weights,
            bias,
            window: window_record(window)?,
            groups: small(groups)?,
            act: act.record(),
            weight_dtype,
            algorithm: code,
            take: match take {
                Take::Plain => record_take::PLAIN,
                Take::Gated(_) => record_take::GATED,
                Take::Planes => record_take::PLANES,
            },
            reserved: 0,
        };
        let macs = output.pixels() * n * k * window.kernel[0] * window.kernel[1];
        let gate = if let Take::Gated(gate) = take { Some(gate) } else { None };
        self.step(name, &params, std::iter::once(x).chain(gate).chain(residual).collect(), to, macs);
        Ok(())
    }

    /// A value as an operand of a step whose output has `shape`, against which it broadcasts.
    fn operand(&mut self, v: ValueId, shape: &[usize], name: &str) -> Result<usize> {
        let own = self.graph.shape(v).to_vec();
        let mut full = vec![1; shape.len() - own.len()];
        full.extend(&own);
        let t = self.padded_source(v, name)?;
        let lead = shape.len().saturating_sub(3);
        // Leading axes become one: they must repeat all or none.
        if full[..lead] != shape[..lead] && full[..lead].iter().any(|&d| d != 1) {
            let to = self.fresh_padded(nhwc(shape))?;
            self.broadcast(t, &full, shape, to, name)?;
            return Ok(to);
        }
        self.view(t, nhwc(&full))
    }

    pub(super) fn binary(&mut self, node: &Node, op: BinaryOp, act: Act, a: ValueId, b: ValueId) -> Result<()> {
        let name = node.name.as_str();
        let shape = self.graph.shape(node.output).to_vec();
        let dims = nhwc(&shape);
        let (mut ta, tb) = (self.operand(a, &shape, name)?, self.operand(b, &shape, name)?);
        if self.out.tensors[ta].dims != dims && self.out.tensors[tb].dims != dims {
            let to = self.fresh_padded(dims)?;
            let full: Vec<usize> = self.out.tensors[ta].dims.to_vec();
            self.broadcast(ta, &full, &dims, to, name)?;
            ta = to;
        }
        let to = self.target(node.output)?;
        self.step(name, &BinaryParams { op: codes::binary(op), swapped: 0, act: act.record(), reserved: 0 }, vec![ta, tb], to, 0);
        Ok(())
    }

    fn matmul(&mut self, node: &Node) -> Result<()> {
        let name = node.name.as_str();
        let shape = self.graph.shape(node.output).to_vec();
        let lead: usize = shape[..shape.len() - 2].iter().product();
        let mut inputs = Vec::new();
        for &v in &node.inputs {
            let own = self.graph.shape(v);
            let dims = [lead, 1, own[own.len() - 2], own[own.len() - 1]];
            let t = self.padded_source(v, name)?;
            inputs.push(self.view(t, dims)?);
        }
        let k = self.out.tensors[inputs[0]].dims[3];
        let to = self.target(node.output)?;
        let to = self.view(to, [lead, 1, shape[shape.len() - 2], shape[shape.len() - 1]])?;
        let macs = shape.iter().product::<usize>() * k;
        self.step(name, &MatmulParams { reserved: [0; 2] }, inputs, to, macs);
        Ok(())
    }

    /// The same memory under other extents with equal channels.
    pub(super) fn view(&mut self, t: usize, dims: [usize; 4]) -> Result<usize> {
        let tensor = self.out.tensors[t];
        if tensor.dims == dims {
            return Ok(t);
        }
        self.out.tensors.push(LTensor { dims, ..tensor });
        Ok(self.out.tensors.len() - 1)
    }

    fn prelu(&mut self, node: &Node) -> Result<()> {
        let name = node.name.as_str();
        let (x, slope) = (node.inputs[0], node.inputs[1]);
        let shape = self.graph.shape(slope).to_vec();
        let data = self.weights_of(node, 1)?;
        let c = self.graph.shape(x).last().copied().unwrap_or(1);
        let per_channel = shape.iter().rev().skip(1).all(|&d| d == 1);
        let from = self.padded_source(x, name)?;
        if per_channel {
            let form = ("slopes", [c, 0, 0, 0, 0, 0]);
            let slope = if data.len() == 1 { self.measured.made(&data, form, || vec![data[0]; c]) } else { data };
            let slope = self.channels(1, &slope)?;
            let to = self.target(node.output)?;
            self.step(name, &PreluParams { slope }, vec![from], to, 0);
            return Ok(());
        }
        // max(x, 0) + slope * min(x, 0), with a slope for each element.
        let dims = self.out.tensors[from].dims;
        let whole = self.graph.shape(x).to_vec();
        let slope = self.operand(slope, &whole, name)?;
        let (negative, scaled, positive) = (self.fresh_padded(dims)?, self.fresh_padded(dims)?, self.fresh_padded(dims)?);
        self.activation(&format!("{name}/negative"), Act::Clamp { lo: f32::NEG_INFINITY, hi: 0.0 }, from, negative);
        let params = |op| BinaryParams { op, swapped: 0, act: Act::None.record(), reserved: 0 };
        self.step(&format!("{name}/slope"), &params(2), vec![negative, slope], scaled, 0);
        self.activation(&format!("{name}/positive"), Act::RELU, from, positive);
        let to = self.target(node.output)?;
        self.step(name, &params(0), vec![positive, scaled], to, 0);
        Ok(())
    }

    fn softmax(&mut self, node: &Node, axis: usize, log: bool) -> Result<()> {
        let (name, params) = (node.name.as_str(), SoftmaxParams { log: log.into(), reserved: 0 });
        let shape = self.graph.shape(node.output).to_vec();
        if axis + 1 == shape.len() {
            let x = self.padded_source(node.inputs[0], name)?;
            let to = self.target(node.output)?;
            self.step(name, &params, vec![x], to, 0);
            return Ok(());
        }
        let mut perm: Vec<usize> = (0..shape.len()).collect();
        perm.swap(axis, shape.len() - 1);
        let turned: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
        let x = self.source(node.inputs[0])?;
        let (a, b) = (self.fresh_padded(nhwc(&turned))?, self.fresh_padded(nhwc(&turned))?);
        self.transpose(x, &shape, &perm, a, name)?;
        self.step(name, &params, vec![a], b, 0);
        let to = self.target(node.output)?;
        self.transpose(b, &turned, &perm, to, name)
    }

    fn reduce(&mut self, node: &Node, kind: ReduceKind, axes: &[usize]) -> Result<()> {
        let name = node.name.as_str();
        let shape = self.graph.shape(node.inputs[0]).to_vec();
        let rank = shape.len();
        let kept: Vec<usize> = (0..rank).filter(|a| !axes.contains(a)).collect();
        let params = ReduceParams { kind: codes::reduction(kind), over: 0 };
        if axes.len() == 1 && axes[0] + 1 == rank {
            let x = self.padded_source(node.inputs[0], name)?;
            let dims = [&self.out.tensors[x].dims[..3], &[1]].concat();
            let dims: [usize; 4] = dims.try_into().map_err(|_| invalid("a tensor has four extents"))?;
            let to = self.target(node.output)?;
            let params = ReduceParams { kind: codes::reduction(kind), over: 1 };
            if self.out.tensors[to].dims == dims {
                self.step(name, &params, vec![x], to, 0);
                return Ok(());
            }
            let column = self.fresh_padded(dims)?;
            self.step(name, &params, vec![x], column, 0);
            return self.reshape_into(column, to, name);
        }
        let contiguous = axes.windows(2).all(|w| w[0] + 1 == w[1]) && axes.last().is_some_and(|&a| a + 2 == rank);
        if contiguous {
            let x = self.padded_source(node.inputs[0], name)?;
            let n = shape[..axes[0]].iter().product();
            let (h, w) =
                if axes.len() == 2 { (shape[axes[0]], shape[axes[1]]) } else { (1, axes.iter().map(|&a| shape[a]).product()) };
            let x = self.view(x, [n, h, w, shape[rank - 1]])?;
            // [n, 1, 1, c] has the memory of every shape that keeps c last.
            let to = self.target(node.output)?;
            if self.out.tensors[to].dims[3] == shape[rank - 1] {
                let to = self.view(to, [n, 1, 1, shape[rank - 1]])?;
                self.step(name, &params, vec![x], to, 0);
                return Ok(());
            }
        }
        // Anything else: what is reduced to the front, what is kept behind it as one long run of channels.
        let perm: Vec<usize> = axes.iter().chain(&kept).copied().collect();
        let x = self.source(node.inputs[0])?;
        let many: usize = axes.iter().map(|&a| shape[a]).product();
        let keep: usize = kept.iter().map(|&a| shape[a]).product();
        let turned = self.fresh_padded([1, 1, many, keep])?;
        self.transpose_into_rows(x, &shape, &perm, axes.len(), turned, name)?;
        let sums = self.fresh_padded([1, 1, 1, keep])?;
        self.step(name, &params, vec![turned], sums, 0);
        let to = self.target(node.output)?;
        self.reshape_into(sums, to, name)
    }
}

pub(super) const ONE: Window =
    Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pads: crate::ir::Pads { top: 0, left: 0, bottom: 0, right: 0 } };

/// The kernels' idea of a window.
pub(super) fn kernel_window(w: &Window) -> sepal_kernels::ops::conv::Window {
    sepal_kernels::ops::conv::Window { kernel: w.kernel, stride: w.stride, dilation: w.dilation, pad: [w.pads.top, w.pads.left] }
}

/// The file's idea of a window.
pub(super) fn window_record(w: &Window) -> Result<WindowRecord> {
    let two = |[a, b]: [usize; 2]| -> Result<[u32; 2]> { Ok([small(a)?, small(b)?]) };
    Ok(WindowRecord {
        kernel: two(w.kernel)?,
        stride: two(w.stride)?,
        dilation: two(w.dilation)?,
        pad: two([w.pads.top, w.pads.left])?,
        pad_end: two([w.pads.bottom, w.pads.right])?,
    })
}

/// The panels of a convolution that is summed directly.
fn pack_conv(kernel: [usize; 2], k: usize, n: usize, groups: usize, w: &[f32]) -> Result<Vec<f32>> {
    let len = pack::conv_len(kernel, k, n, groups).ok_or_else(|| invalid("weights too large"))?;
    let mut panels = vec![0.0; len];
    pack::conv(kernel, k, n, groups, w, &mut panels);
    Ok(panels)
}

/// The panels of the halves of a pointwise convolution by Strassen's algorithm.
fn pack_strassen(k: usize, n: usize, w: &[f32]) -> Result<Vec<f32>> {
    let mut panels = vec![0.0; pack::conv_len([1, 1], k, n, 1).ok_or_else(|| invalid("weights too large"))?];
    pack::strassen(k, n, w, &mut panels);
    Ok(panels)
}

/// The panels of each point of a Winograd convolution.
fn pack_winograd(window: &Window, tile: [usize; 2], c: usize, n: usize, w: &[f32]) -> Result<Vec<f32>> {
    let points: usize = points(&kernel_window(window), tile).iter().product();
    let len = padded(n).and_then(|n| n.checked_mul(c)?.checked_mul(points)).ok_or_else(|| invalid("weights too large"))?;
    let mut transformed = vec![0.0; points * c * n];
    pack::winograd_weights(window.kernel, tile, c, n, w, &mut transformed);
    let mut panels = vec![0.0; len];
    pack::winograd(points, c, n, &transformed, &mut panels);
    Ok(panels)
}
