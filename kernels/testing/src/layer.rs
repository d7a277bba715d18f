//! A case with its tensors and weights, ready to run: by a kernel on any instruction set, or by the plain loops.

use crate::cases::{Case, Op};
use crate::{Image, Rng};
use sepal_format::layout::{BLOCK, pixel_stride};
use sepal_kernels::ops::activation::{activation, prelu};
use sepal_kernels::ops::binary::binary;
use sepal_kernels::ops::conv::{Conv, Take, Window, conv, conv_scratch};
use sepal_kernels::ops::copy::{Copy, copy};
use sepal_kernels::ops::depthwise::{Depthwise, depthwise};
use sepal_kernels::ops::panels::Panels;
use sepal_kernels::ops::pool::pool;
use sepal_kernels::ops::reduce::reduce_hw;
use sepal_kernels::ops::scale_shift::scale_shift;
use sepal_kernels::ops::separable::{separable, separable_scratch};
use sepal_kernels::ops::softmax::softmax;
use sepal_kernels::ops::strassen::{strassen, strassen_scratch};
use sepal_kernels::ops::winograd::{points, winograd, winograd_scratch};
use sepal_kernels::par::Parallel;
use sepal_kernels::{Act, Isa, Shape, pack, reference};

/// Of everything that takes one.
const ACT: Act = Act::RELU;

/// Weights and biases, as the plain loops and as the kernels take them.
#[derive(Default)]
struct Weights {
    logical: Vec<f32>,
    bias: Vec<f32>,
    packed: Vec<f32>,
    packed_bias: Vec<f32>,
}

impl Weights {
    /// `[kernel][c][n]`.
    fn new(kernel: [usize; 2], c: usize, n: usize) -> Weights {
        let logical = Rng(1).values(kernel[0] * kernel[1] * c * n);
        let mut packed = vec![f32::NAN; kernel[0] * kernel[1] * c * n.next_multiple_of(BLOCK)];
        pack::conv(kernel, c, n, 1, &logical, &mut packed);
        let bias = Rng(2).values(n);
        let mut packed_bias = vec![f32::NAN; n.next_multiple_of(BLOCK)];
        pack::channels(1, &bias, &mut packed_bias);
        Weights { logical, bias, packed, packed_bias }
    }

    fn winograd(window: Window, tile: [usize; 2], c: usize, n: usize) -> Weights {
        let direct = Weights::new(window.kernel, c, n);
        let [ay, ax] = points(&window, tile);
        let mut logical = vec![f32::NAN; ay * ax * c * n];
        pack::winograd_weights(window.kernel, tile, c, n, &direct.logical, &mut logical);
        let mut packed = vec![f32::NAN; ay * ax * c * n.next_multiple_of(BLOCK)];
        pack::winograd(ay * ax, c, n, &logical, &mut packed);
        Weights { logical, packed, ..direct }
    }

    fn strassen(c: usize, n: usize) -> Weights {
        let mut weights = Weights::new([1, 1], c, n);
        pack::strassen(c, n, &weights.logical, &mut weights.packed);
        weights
    }

    fn conv(&self, window: Window) -> Conv<'_> {
        Conv { window, groups: 1, weights: Panels::F32(&self.packed), bias: &self.packed_bias, take: Take::Plain, act: ACT }
    }

    fn depthwise(&self, window: Window) -> Depthwise<'_> {
        Depthwise { window, weights: &self.packed, bias: &self.packed_bias, pre_relu: false, act: Act::None }
    }
}

/// See the module.
pub struct Layer {
    case: Case,
    input: Image,
    /// The second operand.
    other: Image,
    weights: Weights,
    /// Those of a second step.
    second: Weights,
}

/// Floats between the pixels of a tensor as the converter lays it out.
fn gap(c: usize) -> usize {
    pixel_stride(c).map_or(0, |pixel| pixel - c.next_multiple_of(BLOCK))
}

impl Layer {
    /// A case on random numbers.
    pub fn new(case: Case) -> Layer {
        let (input, c) = (case.input(), case.channels);
        let random = |s: Shape, seed| Image::random(s.n, s.h, s.w, s.c, gap(s.c), seed);
        let mut second = Weights::default();
        let weights = match case.op {
            Op::Conv(n, w) => Weights::new(w.kernel, c, n),
            Op::Winograd(n, w, tile) => Weights::winograd(w, tile, c, n),
            Op::Strassen(n) => Weights::strassen(c, n),
            Op::Separable(n, w) => {
                second = Weights::new([1, 1], c, n);
                Weights::new(w.kernel, 1, c)
            }
            Op::Depthwise(w) => Weights::new(w.kernel, 1, c),
            _ => Weights::new([1, 1], 1, c),
        };
        let other = if matches!(case.op, Op::Binary(_)) { input } else { Shape::new(1, 1, 1, c) };
        // Pictures come without gaps.
        let x = if c == 3 { random(input, 3).tight() } else { random(input, 3) };
        Layer { case, input: x, other: random(other, 5), weights, second }
    }

    /// An output for [`run`](Layer::run).
    pub fn output(&self) -> Image {
        let shape = self.case.output();
        Image::of(shape, gap(shape.c))
    }

    /// Scratch for so many parts.
    pub fn scratch(&self, parts: usize) -> Vec<f32> {
        let (input, output) = (self.case.input(), self.case.output());
        let floats = match self.case.op {
            Op::Conv(_, w) => conv_scratch(w, false, input, output),
            Op::Winograd(_, w, tile) => winograd_scratch(w, tile, input, output),
            Op::Strassen(_) => strassen_scratch(input, output),
            Op::Separable(_, w) => separable_scratch(w, input, output),
            _ => 0,
        };
        vec![f32::NAN; parts * floats]
    }

    /// From planes, here the input's memory, to pixels.
    fn interleave(&self) -> Copy {
        let Shape { h, w, c, .. } = self.case.input();
        let pixel = c.next_multiple_of(BLOCK) + gap(c);
        let (in_strides, out_strides) = ([0, 0, 0, 0, h * w, 1], [0, 0, 0, 0, 1, pixel]);
        Copy { dims: [1, 1, 1, 1, c, h * w], in_strides, out_strides, fill: None }
    }

    /// The kernel.
    pub fn run(&self, isa: Isa, par: &dyn Parallel, out: &mut Image, scratch: &mut [f32]) {
        let Layer { case, input, other, weights, second } = self;
        let (x, y) = (input.view(), out.view_mut());
        match case.op {
            Op::Conv(_, w) => conv(isa, par, &weights.conv(w), x, None, y, scratch),
            Op::Winograd(_, w, tile) => winograd(isa, par, &weights.conv(w), tile, x, None, y, scratch),
            Op::Strassen(_) => strassen(isa, par, &weights.conv(Window::ONE), x, None, y, scratch),
            Op::Depthwise(w) => depthwise(isa, par, &weights.depthwise(w), x, y),
            Op::Separable(_, w) => {
                separable(isa, par, &weights.depthwise(w), &second.conv(Window::ONE), x, None, y, scratch);
            }
            Op::Pool(kind, w) => pool(isa, par, kind, w, x, None, y),
            Op::Reduce(kind) => reduce_hw(isa, par, kind, x, y),
            Op::Softmax { log } => softmax(isa, par, log, x, y),
            Op::Binary(op) | Op::BinaryByChannel(op) => binary(isa, par, op, ACT, x, other.view(), y),
            Op::ScaleShift => scale_shift(isa, par, &weights.packed, &weights.packed_bias, ACT, x, y),
            Op::Prelu => prelu(isa, par, &weights.packed, x, y),
            Op::Activation(act) => activation(isa, par, act, x, y),
            Op::Interleave => copy(par, &self.interleave(), x.data, y.data),
        }
    }

    /// What [`run`](Layer::run) must give, to the bit.
    pub fn reference(&self) -> Image {
        let Layer { case, input, other, weights, second } = self;
        let mut out = self.output();
        let (x, y) = (input.view(), out.view_mut());
        let Weights { logical, bias, .. } = weights;
        match case.op {
            Op::Conv(_, w) => reference::conv::conv(w, 1, logical, bias, ACT, x, None, y),
            Op::Winograd(_, w, tile) => reference::winograd::winograd(w, tile, logical, bias, ACT, x, None, y),
            Op::Strassen(_) => reference::strassen::strassen(logical, bias, ACT, x, None, y),
            Op::Depthwise(w) => reference::depthwise::depthwise(w, logical, bias, false, Act::None, x, y),
            Op::Separable(_, w) => {
                let mut middle = Image::of(Shape { c: case.channels, ..case.output() }, 0);
                reference::depthwise::depthwise(w, logical, bias, false, Act::None, x, middle.view_mut());
                reference::conv::conv(Window::ONE, 1, &second.logical, &second.bias, ACT, middle.view(), None, y);
            }
            Op::Pool(kind, w) => reference::pool::pool(kind, w, x, None, y),
            Op::Reduce(kind) => reference::reduce::reduce_hw(kind, x, y),
            Op::Softmax { log } => reference::softmax::softmax(log, x, y),
            Op::Binary(op) | Op::BinaryByChannel(op) => reference::binary::binary(op, ACT, x, other.view(), y),
            Op::ScaleShift => reference::scale_shift::scale_shift(logical, bias, ACT, x, y),
            Op::Prelu => reference::activation::prelu(logical, x, y),
            Op::Activation(act) => reference::activation::activation(act, x, y),
            Op::Interleave => reference::copy::copy(&self.interleave(), x.data, y.data),
        }
        out
    }
}
