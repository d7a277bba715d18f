//! Layers of well-known networks: one table for benchmarks, which time them, and for tests, which check them on less of an image.

use sepal_kernels::ops::binary::BinaryOp;
use sepal_kernels::ops::conv::Window;
use sepal_kernels::ops::pool::PoolKind;
use sepal_kernels::ops::reduce::ReduceKind;
use sepal_kernels::ops::winograd::Tile;
use sepal_kernels::{Act, Shape};

/// What a case runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// To so many channels; on one pixel a fully connected layer.
    Conv(usize, Window),
    /// The same by tiles.
    Winograd(usize, Window, Tile),
    /// A pointwise one by halves.
    Strassen(usize),
    /// One filter for each channel.
    Depthwise(Window),
    /// [`Depthwise`](Op::Depthwise), then a 1x1 convolution to so many channels.
    Separable(usize, Window),
    /// Over windows.
    Pool(PoolKind, Window),
    /// Over the image.
    Reduce(ReduceKind),
    /// Over the channels, or its logarithm.
    Softmax {
        /// Which.
        log: bool,
    },
    /// With a tensor of the same shape.
    Binary(BinaryOp),
    /// With one value for each channel.
    BinaryByChannel(BinaryOp),
    /// `x * scale[c] + shift[c]`.
    ScaleShift,
    /// `x > 0 ? x : slope[c] * x`.
    Prelu,
    /// Value by value.
    Activation(Act),
    /// Planes to pixels, as a picture in NCHW comes.
    Interleave,
}

/// An operator on one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// What.
    pub op: Op,
    /// Rows and columns of the input.
    pub size: usize,
    /// Channels of the input.
    pub channels: usize,
}

const fn window(k: usize, s: usize, pad: usize) -> Window {
    Window { kernel: [k, k], stride: [s, s], dilation: [1, 1], pad: [pad, pad] }
}

const fn on(size: usize, channels: usize, op: Op) -> Case {
    Case { op, size, channels }
}

const fn pointwise(size: usize, channels: usize, n: usize) -> Case {
    on(size, channels, Op::Conv(n, Window::ONE))
}

const fn dense(size: usize, channels: usize, n: usize, k: usize, s: usize, pad: usize) -> Case {
    on(size, channels, Op::Conv(n, window(k, s, pad)))
}

/// With the input in the middle.
const fn depthwise(size: usize, channels: usize, k: usize, s: usize) -> Case {
    on(size, channels, Op::Depthwise(window(k, s, k / 2)))
}

const fn separable(size: usize, channels: usize, n: usize, s: usize) -> Case {
    on(size, channels, Op::Separable(n, window(3, s, 1)))
}

const fn winograd(size: usize, channels: usize, n: usize, kernel: [usize; 2], tile: Tile) -> Case {
    let window = Window { kernel, stride: [1, 1], dilation: [1, 1], pad: [kernel[0] / 2, kernel[1] / 2] };
    on(size, channels, Op::Winograd(n, window, tile))
}

const fn strassen(size: usize, channels: usize, n: usize) -> Case {
    on(size, channels, Op::Strassen(n))
}

const fn pool(size: usize, channels: usize, kind: PoolKind, k: usize, s: usize, pad: usize) -> Case {
    on(size, channels, Op::Pool(kind, window(k, s, pad)))
}

/// All of them.
pub const CASES: &[Case] = &[
    // Xception.
    pointwise(147, 64, 128),
    pointwise(74, 128, 256),
    pointwise(37, 256, 728),
    pointwise(19, 728, 728),
    pointwise(10, 1024, 1536),
    pointwise(10, 1536, 2048),
    pointwise(1, 2048, 1000),
    // MobileNetV2 and V3, EfficientNet.
    pointwise(112, 32, 16),
    pointwise(56, 24, 144),
    pointwise(56, 144, 24),
    pointwise(28, 40, 120),
    pointwise(28, 120, 40),
    pointwise(14, 384, 64),
    pointwise(14, 96, 576),
    pointwise(7, 960, 160),
    pointwise(7, 320, 1280),
    // First layers.
    dense(224, 3, 32, 3, 2, 1),
    dense(299, 3, 32, 3, 2, 0),
    dense(224, 3, 64, 7, 2, 3),
    // Xception's second, ResNet, Inception.
    dense(149, 32, 64, 3, 1, 0),
    dense(56, 64, 64, 3, 1, 1),
    dense(28, 128, 128, 3, 1, 1),
    dense(14, 256, 256, 3, 1, 1),
    dense(7, 512, 512, 3, 1, 1),
    dense(17, 160, 192, 7, 1, 3),
    winograd(56, 64, 64, [3, 3], [4, 4]),
    winograd(28, 128, 128, [3, 3], [4, 4]),
    winograd(14, 256, 256, [3, 3], [4, 4]),
    winograd(14, 256, 256, [3, 3], [2, 2]),
    winograd(8, 384, 384, [1, 3], [1, 4]),
    winograd(17, 192, 192, [1, 7], [1, 4]),
    winograd(17, 192, 192, [7, 1], [4, 1]),
    strassen(37, 728, 728),
    strassen(19, 728, 728),
    strassen(10, 1536, 2048),
    strassen(14, 512, 512),
    strassen(28, 256, 256),
    strassen(14, 384, 64),
    // Xception, MobileNet, EfficientNet.
    depthwise(147, 64, 3, 1),
    depthwise(147, 128, 3, 1),
    depthwise(74, 256, 3, 1),
    depthwise(37, 728, 3, 1),
    depthwise(19, 728, 3, 1),
    depthwise(10, 1536, 3, 1),
    depthwise(112, 32, 3, 1),
    depthwise(112, 96, 3, 2),
    depthwise(56, 144, 3, 1),
    depthwise(28, 192, 3, 1),
    depthwise(14, 576, 3, 1),
    depthwise(7, 960, 3, 1),
    depthwise(28, 120, 5, 1),
    depthwise(14, 672, 5, 1),
    depthwise(14, 672, 5, 2),
    depthwise(56, 96, 7, 1),
    separable(147, 64, 128, 1),
    separable(74, 256, 256, 1),
    separable(37, 728, 728, 1),
    separable(19, 728, 728, 1),
    separable(10, 1536, 2048, 1),
    separable(112, 32, 64, 1),
    separable(56, 128, 128, 2),
    separable(14, 512, 512, 1),
    // Between the convolutions.
    pool(147, 128, PoolKind::Max, 3, 2, 1),
    pool(112, 64, PoolKind::Max, 3, 2, 1),
    pool(35, 192, PoolKind::Average, 3, 1, 1),
    on(10, 2048, Op::Reduce(ReduceKind::Mean)),
    on(56, 144, Op::Reduce(ReduceKind::Mean)),
    on(28, 256, Op::Binary(BinaryOp::Add)),
    on(56, 144, Op::BinaryByChannel(BinaryOp::Mul)),
    on(28, 256, Op::ScaleShift),
    on(28, 256, Op::Prelu),
    on(56, 96, Op::Activation(Act::RELU)),
    on(56, 96, Op::Activation(Act::HardSwish)),
    on(56, 96, Op::Activation(Act::Silu)),
    on(56, 96, Op::Activation(Act::Tanh)),
    on(1, 1000, Op::Softmax { log: false }),
    on(56, 21, Op::Softmax { log: true }),
    on(224, 3, Op::Interleave),
];

impl Case {
    /// The input's shape.
    pub fn input(&self) -> Shape {
        Shape::new(1, self.size, self.size, self.channels)
    }

    /// The output's shape.
    pub fn output(&self) -> Shape {
        let Case { op, size, channels } = *self;
        let over = |w: Window, n: usize| {
            let [h, w] = crate::outputs(&w, [size; 2], w.pad);
            Shape::new(1, h, w, n)
        };
        match op {
            Op::Conv(n, w) | Op::Winograd(n, w, _) | Op::Separable(n, w) => over(w, n),
            Op::Strassen(n) => over(Window::ONE, n),
            Op::Depthwise(w) | Op::Pool(_, w) => over(w, channels),
            Op::Reduce(_) => Shape::new(1, 1, 1, channels),
            _ => self.input(),
        }
    }

    /// Multiplications and additions of an algorithm without tricks; elements, where nothing is multiplied with weights.
    pub fn operations(&self) -> usize {
        let (c, out) = (self.channels, self.output());
        let taps = |w: Window| w.kernel[0] * w.kernel[1] * c;
        match self.op {
            Op::Conv(n, w) | Op::Winograd(n, w, _) => 2 * out.pixels() * n * taps(w),
            Op::Strassen(n) => 2 * out.pixels() * n * c,
            Op::Depthwise(w) => 2 * out.pixels() * taps(w),
            Op::Separable(n, w) => 2 * out.pixels() * (taps(w) + n * c),
            _ => self.input().pixels() * c,
        }
    }

    /// The same on so much of the image as plain loops can do in a test.
    pub fn reduced(mut self) -> Case {
        while self.size > 3 && self.operations() > 1 << 22 {
            self.size = (self.size / 2).max(3);
        }
        self
    }

    /// `kind.parameters.size`, as the other names of kernels begin.
    pub fn name(&self) -> String {
        let window = |w: Window| match w.kernel {
            [h, w_] if h != w_ => format!("k{h}x{w_}s{}", w.stride[0]),
            [k, _] => format!("k{k}s{}", w.stride[0]),
        };
        let (kind, n) = match self.op {
            Op::Conv(n, Window::ONE) => ("pointwise".into(), Some(n)),
            Op::Conv(n, w) => (format!("dense.{}", window(w)), Some(n)),
            Op::Winograd(n, w, [h, w_]) => (format!("winograd.{}t{h}x{w_}", window(w)), Some(n)),
            Op::Strassen(n) => ("strassen".into(), Some(n)),
            Op::Depthwise(w) => (format!("depthwise.{}", window(w)), None),
            Op::Separable(n, w) => (format!("separable.{}", window(w)), Some(n)),
            Op::Pool(kind, w) => (format!("pool.{kind:?}.{}", window(w)), None),
            Op::Reduce(kind) => (format!("reduce.{kind:?}"), None),
            Op::Softmax { log } => ((if log { "log_softmax" } else { "softmax" }).into(), None),
            Op::Binary(op) => (format!("binary.{op:?}"), None),
            Op::BinaryByChannel(op) => (format!("by_channel.{op:?}"), None),
            Op::ScaleShift => ("scale_shift".into(), None),
            Op::Prelu => ("prelu".into(), None),
            Op::Activation(Act::Clamp { .. }) => ("activation.clamp".into(), None),
            Op::Activation(act) => (format!("activation.{act:?}"), None),
            Op::Interleave => ("interleave".into(), None),
        };
        let n = n.map_or(String::new(), |n| format!("-{n}"));
        format!("f32.{}.{s}x{s}x{}{n}", kind.to_lowercase(), self.channels, s = self.size)
    }
}
