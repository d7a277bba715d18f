//! Nodes that move elements: all become strided copies, or nothing at all.

use super::lower::{Lower, kernel_window, nhwc};
use super::takes::Taken;
use super::tensors::{LTensor, Place};
use super::{small, unsupported};
use crate::error::{Result, invalid};
use crate::ir::{Act, Node, Op, Pads, ValueId, Window};
use sepal_format::layout::BLOCK;
use sepal_format::record::CopyParams;

/// A copy over loops of any depth.
struct Loops {
    dims: Vec<usize>,
    from: Vec<usize>,
    to: Vec<usize>,
}

impl Loops {
    /// Drops loops of one turn and joins neighbours that run on in both tensors.
    fn simplify(self) -> Loops {
        let mut out = Loops { dims: vec![], from: vec![], to: vec![] };
        for i in 0..self.dims.len() {
            let (d, f, t) = (self.dims[i], self.from[i], self.to[i]);
            if d == 1 {
                continue;
            }
            if let (Some(pd), Some(pf), Some(pt)) = (out.dims.last_mut(), out.from.last_mut(), out.to.last_mut())
                && *pf == d * f
                && *pt == d * t
            {
                (*pd, *pf, *pt) = (*pd * d, f, t);
                continue;
            }
            out.dims.push(d);
            out.from.push(f);
            out.to.push(t);
        }
        out
    }
}

/// Strides of the axes of a value in a tensor with this pixel stride.
fn strides(shape: &[usize], pixel: usize) -> Vec<usize> {
    let mut all = vec![1; shape.len()];
    let mut next = pixel;
    for i in (0..shape.len().saturating_sub(1)).rev() {
        all[i] = next;
        next *= shape[i];
    }
    all
}

impl Lower<'_> {
    fn copy_step(
        &mut self,
        name: &str,
        kind: &str,
        x: usize,
        to: usize,
        loops: Loops,
        at: [usize; 2],
        fill: Option<f32>,
    ) -> Result<()> {
        let loops = loops.simplify();
        let depth = loops.dims.len();
        if depth > 6 {
            return Err(unsupported(
                name,
                kind,
                format!("a rearrangement of {depth} independent axes"),
                "split it into simpler ones",
            ));
        }
        let six = |v: &[usize], pad: u32| -> Result<[u32; 6]> {
            let mut all = [pad; 6];
            for (slot, &n) in all[6 - depth..].iter_mut().zip(v) {
                *slot = small(n)?;
            }
            Ok(all)
        };
        let params = CopyParams {
            dims: six(&loops.dims, 1)?,
            in_strides: six(&loops.from, 0)?,
            out_strides: six(&loops.to, 0)?,
            in_offset: small(at[0])?,
            out_offset: small(at[1])?,
            filled: fill.is_some().into(),
            fill: fill.unwrap_or(0.0),
        };
        self.step(name, &params, vec![x], to, 0);
        Ok(())
    }

    fn pixel(&self, t: usize) -> usize {
        self.out.tensors[t].pixel
    }

    /// Copies all pixels of `x` to channels `channel..` of `to`, which has as many pixels.
    pub(super) fn copy_pixels(&mut self, x: usize, to: usize, channel: usize, name: &str) -> Result<()> {
        let shape = self.out.tensors[x].shape();
        let loops = Loops { dims: vec![shape.pixels(), shape.c], from: vec![self.pixel(x), 1], to: vec![self.pixel(to), 1] };
        self.copy_step(name, "copy", x, to, loops, [0, channel], None)
    }

    /// A copy of a tensor whose elements follow each other without gaps.
    pub(super) fn densify(&mut self, t: usize, shape: &[usize], name: &str) -> Result<usize> {
        let dims = nhwc(shape);
        let to = self.fresh(dims, dims[3])?;
        self.copy_pixels(t, to, 0, name)?;
        Ok(to)
    }

    /// `to = x` repeated from `own` extents to `shape`, equally long.
    pub(super) fn broadcast(&mut self, x: usize, own: &[usize], shape: &[usize], to: usize, name: &str) -> Result<()> {
        let mut from = strides(own, self.pixel(x));
        for (s, &d) in from.iter_mut().zip(own) {
            if d == 1 {
                *s = 0;
            }
        }
        let loops = Loops { dims: shape.to_vec(), from, to: strides(shape, self.pixel(to)) };
        self.copy_step(name, "Broadcast", x, to, loops, [0, 0], None)
    }

    /// `to.shape[i] = shape[perm[i]]`.
    pub(super) fn transpose(&mut self, x: usize, shape: &[usize], perm: &[usize], to: usize, name: &str) -> Result<()> {
        let source = strides(shape, self.pixel(x));
        let dims: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
        let out = strides(&dims, self.pixel(to));
        let loops = Loops { dims, from: perm.iter().map(|&p| source[p]).collect(), to: out };
        self.copy_step(name, "Transpose", x, to, loops, [0, 0], None)
    }

    /// The same, the first `split` axes of the result becoming pixels and the others channels of `to`.
    pub(super) fn transpose_into_rows(
        &mut self,
        x: usize,
        shape: &[usize],
        perm: &[usize],
        split: usize,
        to: usize,
        name: &str,
    ) -> Result<()> {
        let source = strides(shape, self.pixel(x));
        let dims: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
        let mut out = vec![0; dims.len()];
        for (range, unit) in [(0..split, self.pixel(to)), (split..dims.len(), 1)] {
            let mut next = unit;
            for i in range.rev() {
                out[i] = next;
                next *= dims[i];
            }
        }
        let loops = Loops { dims, from: perm.iter().map(|&p| source[p]).collect(), to: out };
        self.copy_step(name, "Reduce", x, to, loops, [0, 0], None)
    }

    /// `to = x`, element after element in C order.
    pub(super) fn reshape_into(&mut self, x: usize, to: usize, name: &str) -> Result<()> {
        let (a, b) = (self.out.tensors[x].shape(), self.out.tensors[to].shape());
        let (pa, pb) = (self.pixel(x), self.pixel(to));
        let loops = if a.c.is_multiple_of(b.c) {
            let r = a.c / b.c;
            Loops { dims: vec![a.pixels(), r, b.c], from: vec![pa, b.c, 1], to: vec![r * pb, pb, 1] }
        } else if b.c.is_multiple_of(a.c) {
            let r = b.c / a.c;
            Loops { dims: vec![b.pixels(), r, a.c], from: vec![r * pa, pa, 1], to: vec![pb, a.c, 1] }
        } else {
            // Neither run of channels divides the other: through a tensor without gaps.
            let dense = self.fresh([a.n, a.h, a.w, a.c], a.c)?;
            self.copy_pixels(x, dense, 0, name)?;
            let place = self.out.tensors[dense].place;
            let dims = self.out.tensors[to].dims;
            self.out.tensors.push(LTensor { dims, pixel: b.c, place });
            let view = self.out.tensors.len() - 1;
            return self.copy_pixels(view, to, 0, name);
        };
        self.copy_step(name, "Reshape", x, to, loops, [0, 0], None)
    }

    pub(super) fn reshape(&mut self, node: &Node) -> Result<()> {
        let v = node.inputs[0];
        let t = self.source(v)?;
        let tensor = self.out.tensors[t];
        let dims = nhwc(self.graph.shape(node.output));
        let pixels: usize = dims[..3].iter().product();
        // Same runs of channels, or a single run: the memory is right as it lies. A graph input stays what the caller
        // filled; a concat's part has a place of its own.
        let same = dims[3] == tensor.dims[3] || (tensor.dense() && (pixels == 1 || dims[3].is_multiple_of(BLOCK)));
        if same && !self.map.contains_key(&node.output) {
            let pixel = if dims[3] == tensor.dims[3] { tensor.pixel } else { dims[3].next_multiple_of(BLOCK) };
            let floats = pixel * (pixels - 1) + dims[3].next_multiple_of(BLOCK);
            let room = match tensor.place {
                Place::Buffer { buffer, offset } => self.out.buffers[buffer].floats - offset,
                Place::Weights(_) | Place::Rows { .. } => 0,
            };
            if dims[3] == tensor.dims[3] || floats <= room {
                self.out.tensors.push(LTensor { dims, pixel, place: tensor.place });
                self.map.insert(node.output, self.out.tensors.len() - 1);
                return Ok(());
            }
        }
        let to = self.target(node.output)?;
        self.reshape_into(t, to, &node.name)
    }

    /// The target of a rearrangement: without gaps if only convolutions read it and it has few channels.
    fn copy_target(&mut self, v: ValueId) -> Result<usize> {
        let dims = nhwc(self.graph.shape(v));
        let plain = |i: &usize| {
            self.graph.nodes.get(*i).is_some_and(|n| match n.op {
                Op::Conv { groups, pre_relu: false, .. } => {
                    groups == 1 && n.inputs[0] == v && n.inputs[1..].iter().all(|&r| r != v)
                }
                _ => false,
            })
        };
        let readers = self.consumers.get(&v).is_some_and(|all| all.iter().all(plain));
        if dims[3] < BLOCK && readers && !self.map.contains_key(&v) && !self.is_pinned(v) {
            let t = self.fresh(dims, dims[3])?;
            self.map.insert(v, t);
            return Ok(t);
        }
        self.target(v)
    }

    pub(super) fn rearrange(&mut self, node: &Node) -> Result<()> {
        let (g, name, v) = (self.graph, node.name.as_str(), node.inputs[0]);
        let (from, shape) = (g.shape(v).to_vec(), g.shape(node.output).to_vec());
        let x = self.source(v)?;
        let to = self.copy_target(node.output)?;
        let (source, target) = (strides(&from, self.pixel(x)), strides(&shape, self.pixel(to)));
        let offset = |s: &[usize], at: &mut dyn Iterator<Item = usize>| s.iter().zip(at).map(|(s, i)| s * i).sum();
        match &node.op {
            Op::Transpose { perm } => self.transpose(x, &from, perm, to, name),
            Op::Broadcast => {
                let mut own = vec![1; shape.len() - from.len()];
                own.extend(&from);
                self.broadcast(x, &own, &shape, to, name)
            }
            Op::Slice { start, step } => {
                let at = offset(&source, &mut start.iter().copied());
                let stepped = source.iter().zip(step).map(|(s, k)| s * k).collect();
                self.copy_step(name, &node.kind, x, to, Loops { dims: shape, from: stepped, to: target }, [at, 0], None)
            }
            Op::Pad { pads, value } => {
                let at = offset(&target, &mut pads.iter().map(|p| p.0));
                self.copy_step(name, &node.kind, x, to, Loops { dims: from, from: source, to: target }, [0, at], Some(*value))
            }
            Op::Upsample { factor: [fy, fx] } => {
                let [n, h, w, c] = nhwc(&from);
                let (ps, pt) = (self.pixel(x), self.pixel(to));
                let row = w * fx * pt;
                let loops = Loops {
                    dims: vec![n * h, *fy, w, *fx, c],
                    from: vec![w * ps, 0, ps, 0, 1],
                    to: vec![fy * row, row, fx * pt, pt, 1],
                };
                self.copy_step(name, &node.kind, x, to, loops, [0, 0], None)
            }
            _ => Err(invalid(format!("{name}: not a rearrangement"))),
        }
    }

    pub(super) fn concat(&mut self, node: &Node, axis: usize) -> Result<()> {
        let to = self.target(node.output)?;
        let shape = self.graph.shape(node.output).to_vec();
        let target = strides(&shape, self.pixel(to));
        let mut at = 0;
        for &v in &node.inputs {
            let own = self.graph.shape(v).to_vec();
            let t = self.source(v)?;
            if !(self.part_of(v, node.output, at) && self.written_into(t, to)) {
                let from = strides(&own, self.pixel(t));
                let loops = Loops { dims: own.clone(), from, to: target.clone() };
                self.copy_step(&node.name, &node.kind, t, to, loops, [0, at * target[axis]], None)?;
            }
            at += own[axis];
        }
        Ok(())
    }

    /// Whether a tensor lies in the buffer of another.
    fn written_into(&self, part: usize, whole: usize) -> bool {
        self.out.root_of(part).is_some() && self.out.root_of(part) == self.out.root_of(whole)
    }

    /// Every channel `m` times, next to each other.
    pub(super) fn repeat_channels(&mut self, x: usize, m: usize, name: &str) -> Result<usize> {
        let [n, h, w, c] = self.out.tensors[x].dims;
        let to = self.fresh_padded([n, h, w, c * m])?;
        let loops = Loops { dims: vec![n * h * w, c, m], from: vec![self.pixel(x), 1, 0], to: vec![self.pixel(to), m, 1] };
        self.copy_step(&format!("{name}/repeat"), "Conv", x, to, loops, [0, 0], None)?;
        Ok(to)
    }

    /// A transposed convolution: zeros between the pixels, then a convolution with the kernel turned round.
    pub(super) fn conv_transpose(&mut self, node: &Node, window: &Window, groups: usize, bias: bool, act: Act) -> Result<()> {
        let name = node.name.as_str();
        let w = self.weights_of(node, 1)?;
        let b = if bias { Some(self.weights_of(node, 2)?) } else { None };
        let shape = self.graph.shape(node.inputs[1]).to_vec();
        let [kh, kw, per_group, c] = [shape[0], shape[1], shape[2], shape[3]];
        let edge = |k: usize, d: usize, cut: usize| (d * (k - 1)).checked_sub(cut);
        let (Some(top), Some(left)) =
            (edge(kh, window.dilation[0], window.pads.top), edge(kw, window.dilation[1], window.pads.left))
        else {
            return Err(unsupported(name, &node.kind, "padding larger than the kernel", "crop the output instead"));
        };
        let x = self.padded_source(node.inputs[0], name)?;
        let [n, h, wd, _] = self.out.tensors[x].dims;
        let [sy, sx] = window.stride;
        let spread = [n, (h - 1) * sy + 1, (wd - 1) * sx + 1, c];
        let x = if window.stride == [1, 1] {
            x
        } else {
            let to = self.fresh_padded(spread)?;
            let (ps, pt) = (self.pixel(x), self.pixel(to));
            let loops = Loops {
                dims: vec![n, h, wd, c],
                from: vec![h * wd * ps, wd * ps, ps, 1],
                to: vec![spread[1] * spread[2] * pt, sy * spread[2] * pt, sx * pt, 1],
            };
            self.copy_step(&format!("{name}/spread"), &node.kind, x, to, loops, [0, 0], Some(0.0))?;
            to
        };
        let (o, k) = (per_group * groups, c / groups);
        let turned = self.measured.made(&w, ("turned", [kh, kw, per_group, c, groups, 0]), || {
            let mut turned = vec![0.0; w.len()];
            for ky in 0..kh {
                for kx in 0..kw {
                    for i in 0..k {
                        for out in 0..o {
                            let channel = (out / per_group) * k + i;
                            let from = (((kh - 1 - ky) * kw + kw - 1 - kx) * per_group + out % per_group) * c + channel;
                            turned[((ky * kw + kx) * k + i) * o + out] = w[from];
                        }
                    }
                }
            }
            turned
        });
        let plain =
            Window { kernel: [kh, kw], stride: [1, 1], dilation: window.dilation, pads: Pads { top, left, bottom: 0, right: 0 } };
        debug_assert_eq!(kernel_window(&plain).pad, [top, left]);
        let to = self.target(node.output)?;
        self.conv_step(name, &plain, groups, act, [k, o], &turned, b, Taken::plain(x), None, to)
    }
}
