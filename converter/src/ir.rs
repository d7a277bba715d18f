//! The typed graph between the importers and the emitter.
//!
//! * A node has one output. Operators with several (Split) are imported as several nodes.
//! * Windowed operators ([`Op::Conv`], [`Op::ConvTranspose`], [`Op::Pool`], [`Op::Upsample`], [`Op::Resize`]) take and give NHWC. An importer of an NCHW source
//!   writes `Transpose -> Conv -> Transpose`; [`crate::passes`] moves the transposes out. Everything else means what numpy
//!   would mean, on tensors of any rank.
//! * Constants are values with data; they have no producer. Weights are f32, shared by reference.
//! * Shapes are fully known.

use crate::names::title;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use sepal_format::Unary;
pub use sepal_kernels::Act;
pub use sepal_kernels::ops::binary::BinaryOp;
pub use sepal_kernels::ops::reduce::ReduceKind;
pub use sepal_kernels::ops::resize::{Places, ResizeKind};

mod text;
pub(crate) mod verify;

/// Index of a value in [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// A tensor: an input of the graph, a constant, or what a node computes.
#[derive(Clone, Debug)]
pub struct Value {
    /// The source's name for it.
    pub name: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// The data of a constant, in C order.
    pub data: Option<Arc<Vec<f32>>>,
}

/// An operation and what it reads and writes.
#[derive(Clone, Debug)]
pub struct Node {
    /// Path of the source's node or layer.
    pub name: String,
    /// The source's word for it: `SeparableConv2D`, `Gemm`.
    pub kind: String,
    /// What it does.
    pub op: Op,
    /// What it reads; the operator says in which order.
    pub inputs: Vec<ValueId>,
    /// What it writes.
    pub output: ValueId,
}

impl Node {
    /// The node in the words of its source, as a line can show it.
    pub(crate) fn title(&self) -> String {
        title(&self.kind, &self.name)
    }
}

/// Padding in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pads {
    /// Above.
    pub top: usize,
    /// To the left.
    pub left: usize,
    /// Below.
    pub bottom: usize,
    /// To the right.
    pub right: usize,
}

/// Kernel, stride, dilation and padding of a windowed operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns.
    pub kernel: [usize; 2],
    /// Down and across.
    pub stride: [usize; 2],
    /// Down and across.
    pub dilation: [usize; 2],
    /// Zeros (or nothing, for pooling) around the input. May leave a remainder that no window reaches.
    pub pads: Pads,
}

/// How a pooling window is summed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Largest value inside the input.
    Max,
    /// Mean of the values inside the input.
    Average,
    /// Mean over the input and the padding `counted` (zeros); what ceil-mode adds beyond that does not count.
    AverageWithPad {
        /// The explicit padding of the source, that counts.
        counted: Pads,
    },
}

/// What a node does. `x` is its first input.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Inputs `x` `[N,H,W,C]`, weights `[kh,kw,C/groups,O]` (constant), optionally bias `[O]` (constant), optionally a residual with
    /// the output's shape (see `residual`). `groups == C` is a depthwise convolution (O = C * multiplier, channel `c * m + i`).
    /// `y = act(conv(pre(x)) + bias + residual)`, where `pre` is ReLU if `pre_relu`. Importers leave `act` at `None` unless the
    /// source fuses it, `pre_relu` and `residual` false.
    Conv {
        /// Window and padding.
        window: Window,
        /// Groups.
        groups: usize,
        /// Whether input 2 is a bias.
        bias: bool,
        /// Whether the last input is a residual.
        residual: bool,
        /// ReLU on the way in.
        pre_relu: bool,
        /// Applied last.
        act: Act,
    },
    /// Inputs `x` `[N,H,W,C]`, weights `[kh,kw,O/groups,C]` (constant), optionally bias `[O]` (constant). The gradient of `Conv`:
    /// `y[oy,ox,o] = sum x[iy,ix,c] w[ky,kx,o,c]` with `oy = iy*sy + ky*dy - top`. The output's extent is that of the value.
    ConvTranspose {
        /// Window; `pads` are cut off the full output.
        window: Window,
        /// Groups; the channels `c` of group g see the outputs of group g.
        groups: usize,
        /// Whether input 2 is a bias.
        bias: bool,
        /// Applied last.
        act: Act,
    },
    /// `x` `[.., K]` times constant weights `[K,N]`, optionally plus a constant bias `[N]`.
    Dense {
        /// Whether input 2 is a bias.
        bias: bool,
        /// Applied last.
        act: Act,
    },
    /// Inputs `x`, gamma, beta, mean, variance, each a constant `[C]`: `(x - mean) / sqrt(variance + epsilon) * gamma + beta` along `axis`.
    BatchNorm {
        /// The channel axis of `x`.
        axis: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Inputs `x`, scale `[C]`, shift `[C]`, constants: `x * scale + shift` along the last axis. Made by passes.
    ScaleShift {
        /// Applied last.
        act: Act,
    },
    /// An activation, element by element.
    Act(Act),
    /// A function of each element that is no activation.
    Unary(Unary),
    /// Inputs `x`, scale `[C]`, shift `[C]`, constants, along the last axis: `d / sqrt(mean(d^2) + epsilon) * scale + shift` with
    /// `d = x - mean(x)`, or `d = x`.
    LayerNorm {
        /// Added to the mean square.
        epsilon: f32,
        /// Whether the mean is taken off.
        centred: bool,
    },
    /// Inputs `a` `[.., M, K]`, `b` `[.., K, N]` with the same leading axes: products of matrices.
    Matmul,
    /// Inputs `x`, slope (constant, broadcasts against `x`): `x > 0 ? x : slope * x`.
    PRelu,
    /// Softmax along an axis.
    Softmax {
        /// Which.
        axis: usize,
        /// The logarithm of it.
        log: bool,
    },
    /// Inputs `a`, `b`, numpy broadcasting. Either may be a constant.
    Binary {
        /// What is done.
        op: BinaryOp,
        /// Applied last.
        act: Act,
    },
    /// All inputs along an axis.
    Concat {
        /// Which.
        axis: usize,
    },
    /// `x` `[N,H,W,C]`; optionally a residual that is added to the result (made by passes).
    Pool {
        /// What is taken.
        kind: PoolKind,
        /// Window and padding.
        window: Window,
        /// Whether input 1 is a residual.
        residual: bool,
    },
    /// A reduction over axes.
    Reduce {
        /// What is taken.
        kind: ReduceKind,
        /// Which axes, ascending.
        axes: Vec<usize>,
        /// Whether they stay as extents of 1.
        keep_dims: bool,
    },
    /// A border of a constant value: `(before, after)` per axis.
    Pad {
        /// Per axis.
        pads: Vec<(usize, usize)>,
        /// The value.
        value: f32,
    },
    /// The same elements in C order under the output's shape. Squeeze, Flatten and the like are this.
    Reshape,
    /// `y.shape[i] = x.shape[perm[i]]`.
    Transpose {
        /// Which axis of `x` becomes axis i.
        perm: Vec<usize>,
    },
    /// `x[start .. start + len * step by step]` per axis; `len` is the output's shape.
    Slice {
        /// First index per axis.
        start: Vec<usize>,
        /// Step per axis, at least 1.
        step: Vec<usize>,
    },
    /// `x` repeated to the output's shape, numpy broadcasting.
    Broadcast,
    /// Nearest-neighbour enlargement by whole factors: `y[n, i, j, c] = x[n, i / factor[0], j / factor[1], c]`.
    Upsample {
        /// Down and across.
        factor: [usize; 2],
    },
    /// `x` `[N,H,W,C]` with the rows and columns of the output's shape.
    Resize {
        /// How a value is made of the pixels around its place.
        kind: ResizeKind,
        /// Where the output's pixels lie among those of `x`.
        places: Places,
    },
}

/// A network. Nodes are in an order in which every input is computed before it is read.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The source's name for it.
    pub name: String,
    /// All tensors.
    pub values: Vec<Value>,
    /// All operations, in execution order.
    pub nodes: Vec<Node>,
    /// What the caller gives.
    pub inputs: Vec<ValueId>,
    /// Extents of inputs, by their axes, that the source leaves open; importers tell, passes do not keep them.
    pub open: Vec<(ValueId, usize)>,
    /// Casts of the source to fewer bits of a float, and inputs of such, which round nothing here: the name of the first, and how many
    /// there are.
    pub unrounded: Option<(String, usize)>,
    /// What else the importer has to say.
    pub notes: Vec<String>,
    /// What the caller gets.
    pub outputs: Vec<ValueId>,
    /// Names of the outputs, in the source's words; the values may carry others.
    pub output_names: Vec<String>,
    /// Parameters of the source that training changes (batch-norm means and variances are not), each tensor counted once.
    pub trainable_parameters: u64,
    /// All parameters of the source.
    pub total_parameters: u64,
}

/// Elements from which on a constant is worth looking for.
const LARGE: usize = 1 << 12;

impl Graph {
    /// Adds a value without data.
    pub fn value(&mut self, name: impl Into<String>, shape: &[usize]) -> ValueId {
        self.values.push(Value { name: name.into(), shape: shape.to_vec(), data: None });
        ValueId(self.values.len() - 1)
    }

    /// Adds a constant.
    ///
    /// # Panics
    /// If the data is not as long as the shape says.
    pub fn constant(&mut self, name: impl Into<String>, shape: &[usize], data: Arc<Vec<f32>>) -> ValueId {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "constant of the wrong size");
        self.values.push(Value { name: name.into(), shape: shape.to_vec(), data: Some(data) });
        ValueId(self.values.len() - 1)
    }

    /// Adds a graph input.
    pub fn input(&mut self, name: impl Into<String>, shape: &[usize]) -> ValueId {
        let v = self.value(name, shape);
        self.inputs.push(v);
        v
    }

    /// Adds a graph input some of whose extents the source leaves open.
    pub(crate) fn open_input(&mut self, name: impl Into<String>, shape: &[usize], open: &[usize]) -> ValueId {
        let v = self.input(name, shape);
        self.open.extend(open.iter().map(|&axis| (v, axis)));
        v
    }

    /// Counts a cast or an input that rounds nothing.
    pub(crate) fn leave_unrounded(&mut self, name: &str) {
        self.unrounded.get_or_insert_with(|| (name.to_owned(), 0)).1 += 1;
    }

    /// Notes an input of integers, which is given as one of floats.
    pub(crate) fn leave_whole(&mut self, name: &str, ty: &str) {
        // As many as there may be in a file are not worth telling.
        if self.notes.len() < 16 {
            self.notes.push(format!(
                "input '{}' of {ty} is given in f32, which holds whole numbers up to 2^24",
                crate::names::short(name)
            ));
        }
    }

    /// Notes a call as in training, which nothing is run as.
    pub(crate) fn leave_trained(&mut self, name: &str) {
        if self.notes.len() < 16 {
            let name = crate::names::short(name);
            self.notes.push(format!("'{name}' is called with training=True; it is computed as `predict` does, without"));
        }
    }

    /// Lets all that read a large constant read one value: a source may have it under thousands of names. Small ones stay apart, as their
    /// parameters are counted: biases and statistics that happen to be equal are one tensor where PyTorch wrote the file.
    pub(crate) fn join_constants(&mut self) {
        let mut first: HashMap<(*const Vec<f32>, Vec<usize>), ValueId> = HashMap::new();
        let one = |(i, v): (usize, &Value)| match &v.data {
            Some(data) if data.len() >= LARGE => *first.entry((Arc::as_ptr(data), v.shape.clone())).or_insert(ValueId(i)),
            _ => ValueId(i),
        };
        let same: Vec<ValueId> = self.values.iter().enumerate().map(one).collect();
        let all = self.nodes.iter_mut().flat_map(|n| &mut n.inputs).chain(&mut self.outputs);
        all.for_each(|v| *v = same[v.0]);
    }

    /// Elements of the constants, each once that is there under several names: what a file has paid for.
    pub(crate) fn elements_of_constants(&self) -> usize {
        let mut seen = HashSet::new();
        let own = self.values.iter().filter_map(|v| v.data.as_ref()).filter(|data| seen.insert(Arc::as_ptr(data)));
        own.map(|data| data.len()).sum()
    }

    /// Appends a node and gives its output, whose name is the node's.
    pub fn node(
        &mut self,
        name: impl Into<String>,
        kind: impl Into<String>,
        op: Op,
        inputs: &[ValueId],
        shape: &[usize],
    ) -> ValueId {
        let name = name.into();
        let output = self.value(name.clone(), shape);
        self.nodes.push(Node { name, kind: kind.into(), op, inputs: inputs.to_vec(), output });
        output
    }

    /// Extents of a value.
    pub fn shape(&self, v: ValueId) -> &[usize] {
        &self.values[v.0].shape
    }

    /// Data of a constant.
    pub fn data(&self, v: ValueId) -> Option<&Arc<Vec<f32>>> {
        self.values[v.0].data.as_ref()
    }

    /// Node index of each value's producer.
    pub fn producers(&self) -> HashMap<ValueId, usize> {
        self.nodes.iter().enumerate().map(|(i, n)| (n.output, i)).collect()
    }

    /// Node indices of each value's readers, one entry per use; graph outputs count as a use by `usize::MAX`.
    pub fn consumers(&self) -> HashMap<ValueId, Vec<usize>> {
        let mut map: HashMap<ValueId, Vec<usize>> = HashMap::new();
        for (i, n) in self.nodes.iter().enumerate() {
            for &v in &n.inputs {
                map.entry(v).or_default().push(i);
            }
        }
        for &v in &self.outputs {
            map.entry(v).or_default().push(usize::MAX);
        }
        map
    }

    /// Rewrites every use of `from` (by nodes and as an output) to `to`.
    pub fn replace_uses(&mut self, from: ValueId, to: ValueId) {
        for n in &mut self.nodes {
            for v in &mut n.inputs {
                if *v == from {
                    *v = to;
                }
            }
        }
        for v in &mut self.outputs {
            if *v == from {
                *v = to;
            }
        }
    }

    /// Drops nodes that no output depends on.
    pub fn remove_dead(&mut self) {
        let mut live = vec![false; self.values.len()];
        for v in &self.outputs {
            live[v.0] = true;
        }
        let mut keep = vec![false; self.nodes.len()];
        for (i, n) in self.nodes.iter().enumerate().rev() {
            if live[n.output.0] {
                keep[i] = true;
                for v in &n.inputs {
                    live[v.0] = true;
                }
            }
        }
        let mut it = keep.into_iter();
        self.nodes.retain(|_| it.next().unwrap_or(false));
    }

    /// Checks every invariant of the graph: shapes against operators, order, constants where they are required.
    ///
    /// # Errors
    /// Says which node breaks which rule.
    pub fn verify(&self) -> Result<(), String> {
        verify::verify(self)
    }

    /// Checks a node that is to be added: its inputs, its attributes, and its output's shape.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub(crate) fn verify_node(&self, node: &Node) -> Result<(), String> {
        verify::node(self, node)
    }
}

impl std::fmt::Display for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        text::print(self, f)
    }
}
