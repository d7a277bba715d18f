//! Nodes that vanish into the convolution behind them, by how it takes its input: a gate that is multiplied into the weights
//! instead of the input, a picture in planes.

use super::lower::{Lower, nhwc};
use crate::ir::{Act, BinaryOp, Node, Op, ValueId};
use sepal_kernels::Shape;

/// Channels whose planes the kernel puts together as fast as it copies pixels.
const PLANES: usize = 4;

/// How a convolution takes its input.
#[derive(Clone, Copy, Debug)]
pub(super) enum Take {
    Plain,
    /// With weights that are multiplied by this tensor.
    Gated(usize),
    /// As planes.
    Planes,
}

/// What a convolution reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// The tensor.
    pub(super) x: usize,
    pub(super) take: Take,
    /// Whether rows of its pixels are samples, or may be: nothing of one may be seen in another.
    pub(super) samples: bool,
}

impl Taken {
    /// A tensor as it is.
    pub(super) fn plain(x: usize) -> Taken {
        Taken { x, take: Take::Plain, samples: false }
    }

    /// A tensor as it is, whose pixels are samples.
    pub(super) fn samples(x: usize) -> Taken {
        Taken { samples: true, ..Taken::plain(x) }
    }
}

impl Lower<'_> {
    /// The convolution without groups that is the only reader of a value, and by its input only.
    fn only_conv(&self, v: ValueId) -> Option<&Node> {
        let [j] = self.consumers.get(&v)?.as_slice() else { return None };
        let next = self.graph.nodes.get(*j)?;
        let Op::Conv { groups: 1, pre_relu: false, .. } = next.op else { return None };
        let alone = next.inputs[0] == v && next.inputs[1..].iter().all(|&r| r != v);
        (alone && !self.is_pinned(v) && self.graph.data(next.inputs[1]).is_some()).then_some(next)
    }

    /// Leaves a multiplication by a value for each channel to the pointwise convolution behind it, where that has fewer weights than
    /// its input has elements. Says whether it did.
    pub(super) fn gate(&mut self, node: &Node) -> crate::Result<bool> {
        if node.op != (Op::Binary { op: BinaryOp::Mul, act: Act::None }) {
            return Ok(false);
        }
        let shape = self.graph.shape(node.output);
        let &[n, _, _, c] = shape else { return Ok(false) };
        let Some(next) = self.only_conv(node.output) else { return Ok(false) };
        let Op::Conv { window, .. } = &next.op else { return Ok(false) };
        let [_, h, w, channels] = nhwc(self.graph.shape(next.output));
        if window.kernel != [1, 1] || window.pads != crate::ir::Pads::default() || 2 * channels > h * w {
            return Ok(false);
        }
        let is_gate = |v: ValueId| nhwc(self.graph.shape(v)) == [n, 1, 1, c];
        let (x, gate) = match node.inputs[..] {
            [x, gate] if self.graph.shape(x) == shape && is_gate(gate) => (x, gate),
            [gate, x] if self.graph.shape(x) == shape && is_gate(gate) => (x, gate),
            _ => return Ok(false),
        };
        if !self.map.contains_key(&x) || !self.map.contains_key(&gate) {
            return Ok(false);
        }
        let (x, gate) = (self.source(x)?, self.padded_source(gate, &node.name)?);
        let gate = self.view(gate, [n, 1, 1, c])?;
        self.taken.insert(node.output, Taken { take: Take::Gated(gate), ..Taken::plain(x) });
        Ok(true)
    }

    /// Leaves the turning of a picture from NCHW to the convolution behind it, if that sums directly. Says whether it did.
    pub(super) fn planes(&mut self, node: &Node) -> crate::Result<bool> {
        let x = node.inputs[0];
        let Op::Transpose { perm } = &node.op else { return Ok(false) };
        let &[n, h, w, c] = self.graph.shape(node.output) else { return Ok(false) };
        if perm[..] != [0, 2, 3, 1] || c > PLANES || !self.graph.inputs.contains(&x) {
            return Ok(false);
        }
        let Some(next) = self.only_conv(node.output) else { return Ok(false) };
        let Op::Conv { window, .. } = next.op else { return Ok(false) };
        let [bn, oh, ow, channels] = nhwc(self.graph.shape(next.output));
        let (input, output) = (Shape::new(n, h, w, c), Shape::new(bn, oh, ow, channels));
        let weights = self.weights_of(next, 1)?;
        if self.choose(&weights, &window, input, output).is_some() {
            return Ok(false);
        }
        let x = self.source(x)?;
        self.taken.insert(node.output, Taken { take: Take::Planes, ..Taken::plain(x) });
        Ok(true)
    }
}
