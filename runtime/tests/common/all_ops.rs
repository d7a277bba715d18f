//! A network with every operator in every form: residuals, in place, repetition, constants, a concatenation of channel slices, a
//! reshape, padding, a transposition.

use super::{Builder, window};
use sepal_format::record::*;
use sepal_format::{Act, Unary};
use sepal_kernels::ops::binary::BinaryOp;
use sepal_kernels::ops::conv::{Window, conv_scratch, conv_widened};
use sepal_kernels::ops::copy::Copy;
use sepal_kernels::ops::layer_norm::LayerNorm;
use sepal_kernels::ops::panels::widened;
use sepal_kernels::ops::pool::PoolKind;
use sepal_kernels::ops::reduce::ReduceKind;
use sepal_kernels::ops::resize::{Places, ResizeKind};
use sepal_kernels::ops::separable::separable_scratch;
use sepal_kernels::{Shape, reference};

impl Builder {
    pub(super) fn conv(&mut self, w: Window, groups: usize, act: Act, x: u32, residual: Option<u32>, y: u32) {
        let (from, to) = (self.shape(x), self.shape(y));
        let p = self.conv_parts(w, groups, from.c, to.c, act);
        let wide = if self.halves { conv_widened(w, groups, to, p.params.weights.len as usize / 2) } else { 0 };
        self.needs_scratch(conv_scratch(w, false, from, to) + wide);
        let inputs: Vec<u32> = std::iter::once(x).chain(residual).collect();
        let (weights, bias) = (p.weights, p.bias);
        let meaning = Self::on(y, &inputs, move |x, y| {
            let r = x.get(1).map(|r| r.view());
            reference::conv::conv(w, groups, &weights, &bias, act, x[0].view(), r, y.view_mut());
        });
        self.step(&p.params, &inputs, y, meaning);
    }

    /// Takes `[n, c, h, w]` for the pixels.
    pub(super) fn conv_of_planes(&mut self, w: Window, act: Act, x: u32, y: u32) {
        let (planes, to) = (self.shape(x), self.shape(y));
        let from = Shape { c: planes.h, h: planes.w, w: planes.c, ..planes };
        let mut p = self.conv_parts(w, 1, from.c, to.c, act);
        p.params.take = take::PLANES;
        let wide = if self.halves { conv_widened(w, 1, to, p.params.weights.len as usize / 2) } else { 0 };
        self.needs_scratch(conv_scratch(w, true, from, to) + wide);
        let (weights, bias, plane) = (p.weights, p.bias, from.h * from.w);
        let meaning = Self::on(y, &[x], move |x, y| {
            let at = |i: usize| (i / from.c / plane * from.c + i % from.c) * plane + i / from.c % plane;
            let pixels = super::Image { shape: from, data: (0..x[0].data.len()).map(|i| x[0].data[at(i)]).collect() };
            reference::conv::conv(w, 1, &weights, &bias, act, pixels.view(), None, y.view_mut());
        });
        self.step(&p.params, &[x], y, meaning);
    }

    /// A pointwise convolution of one image.
    fn gated_conv(&mut self, act: Act, x: u32, gate: u32, residual: Option<u32>, y: u32) {
        let (from, to) = (self.shape(x), self.shape(y));
        let mut p = self.conv_parts(Window::ONE, 1, from.c, to.c, act);
        p.params.take = take::GATED;
        let size = if self.halves { 2 } else { 4 };
        self.needs_scratch(widened(p.params.weights.len as usize / size, to.c));
        let inputs: Vec<u32> = [x, gate].into_iter().chain(residual).collect();
        let (weights, bias) = (p.weights, p.bias);
        let meaning = Self::on(y, &inputs, move |x, y| {
            let gated: Vec<f32> = weights.iter().enumerate().map(|(i, w)| x[1].data[i / to.c] * w).collect();
            let r = x.get(2).map(|r| r.view());
            reference::conv::conv(Window::ONE, 1, &gated, &bias, act, x[0].view(), r, y.view_mut());
        });
        self.step(&p.params, &inputs, y, meaning);
    }

    pub(super) fn depthwise(&mut self, w: Window, pre_relu: bool, act: Act, x: u32, y: u32) {
        let (params, weights, bias) = self.depthwise_parts(w, self.shape(x).c, pre_relu, act);
        let meaning = Self::on(y, &[x], move |x, y| {
            reference::depthwise::depthwise(w, &weights, &bias, pre_relu, act, x[0].view(), y.view_mut());
        });
        self.step(&params, &[x], y, meaning);
    }

    pub(super) fn separable(&mut self, w: Window, pre_relu: bool, act: Act, x: u32, residual: Option<u32>, y: u32) {
        let (from, to) = (self.shape(x), self.shape(y));
        let (depthwise, dw, db) = self.depthwise_parts(w, from.c, pre_relu, Act::RELU);
        let second = self.conv_parts(Window::ONE, 1, from.c, to.c, act);
        let wide = if self.halves { widened(second.params.weights.len as usize / 2, to.c) } else { 0 };
        self.needs_scratch(separable_scratch(w, from, to) + wide);
        let ConvParams { weights, bias, act: act_record, weight_dtype, .. } = second.params;
        let params = SeparableParams { depthwise, weights, bias, act: act_record, weight_dtype };
        let inputs: Vec<u32> = std::iter::once(x).chain(residual).collect();
        let (pw, pb) = (second.weights, second.bias);
        let meaning = Self::on(y, &inputs, move |x, y| {
            let mut middle = super::Image::new(Shape { c: from.c, ..to });
            reference::depthwise::depthwise(w, &dw, &db, pre_relu, Act::RELU, x[0].view(), middle.view_mut());
            let r = x.get(1).map(|r| r.view());
            reference::conv::conv(Window::ONE, 1, &pw, &pb, act, middle.view(), r, y.view_mut());
        });
        self.step(&params, &inputs, y, meaning);
    }

    pub(super) fn pool(&mut self, w: Window, kind: PoolKind, x: u32, residual: Option<u32>, y: u32) {
        let code = match kind {
            PoolKind::Max => 0,
            PoolKind::Average => 1,
            PoolKind::AverageWithPad { .. } => 2,
        };
        let inputs: Vec<u32> = std::iter::once(x).chain(residual).collect();
        let meaning = Self::on(y, &inputs, move |x, y| {
            reference::pool::pool(kind, w, x[0].view(), x.get(1).map(|r| r.view()), y.view_mut());
        });
        self.step(&Self::pool_params(w, code), &inputs, y, meaning);
    }

    fn binary(&mut self, op: BinaryOp, swapped: bool, act: Act, a: u32, b: u32, y: u32) -> usize {
        let code = match op {
            BinaryOp::Add => 0,
            BinaryOp::Sub => 1,
            BinaryOp::Mul => 2,
            BinaryOp::Div => 3,
            BinaryOp::Min => 4,
            BinaryOp::Max => 5,
            BinaryOp::Pow => 6,
            BinaryOp::Greater => 7,
            BinaryOp::AtLeast => 8,
            BinaryOp::Equal => 9,
            BinaryOp::Where => 10,
        };
        let params = BinaryParams { op: code, swapped: swapped.into(), act: act.record(), reserved: 0 };
        let meaning = Self::on(y, &[a, b], move |x, y| {
            let (a, b) = if swapped { (&x[1], &x[0]) } else { (&x[0], &x[1]) };
            reference::binary::binary(op, act, a.view(), b.view(), y.view_mut());
        });
        self.step(&params, &[a, b], y, meaning)
    }

    pub(super) fn activation(&mut self, act: Act, x: u32, y: u32) -> usize {
        let params = ActivationParams { act: act.record(), reserved: 0 };
        self.step(
            &params,
            &[x],
            y,
            Self::on(y, &[x], move |x, y| reference::activation::activation(act, x[0].view(), y.view_mut())),
        )
    }

    fn prelu(&mut self, x: u32, y: u32) -> usize {
        let slope = self.random(self.shape(x).c);
        let params = PreluParams { slope: self.channels(1, &slope) };
        self.step(&params, &[x], y, Self::on(y, &[x], move |x, y| reference::activation::prelu(&slope, x[0].view(), y.view_mut())))
    }

    fn scale_shift(&mut self, act: Act, x: u32, y: u32) -> usize {
        let c = self.shape(x).c;
        let (scale, shift) = (self.random(c), self.random(c));
        let params =
            ScaleShiftParams { scale: self.channels(1, &scale), shift: self.channels(1, &shift), act: act.record(), reserved: 0 };
        let meaning = Self::on(y, &[x], move |x, y| {
            reference::scale_shift::scale_shift(&scale, &shift, act, x[0].view(), y.view_mut());
        });
        self.step(&params, &[x], y, meaning)
    }

    fn reduce(&mut self, kind: ReduceKind, x: u32, y: u32) {
        let code = match kind {
            ReduceKind::Mean => 0,
            ReduceKind::Sum => 1,
            ReduceKind::Max => 2,
            ReduceKind::Min => 3,
            ReduceKind::Product => 4,
        };
        let meaning = Self::on(y, &[x], move |x, y| reference::reduce::reduce_hw(kind, x[0].view(), y.view_mut()));
        self.step(&ReduceParams { kind: code, over: 0 }, &[x], y, meaning);
    }

    fn least_channel(&mut self, x: u32, y: u32) {
        let meaning = Self::on(y, &[x], |x, y| reference::reduce::reduce_channels(ReduceKind::Min, x[0].view(), y.view_mut()));
        self.step(&ReduceParams { kind: 3, over: 1 }, &[x], y, meaning);
    }

    fn unary(&mut self, function: Unary, x: u32, y: u32) -> usize {
        let meaning = Self::on(y, &[x], move |x, y| reference::unary::unary(function, x[0].view(), y.view_mut()));
        self.step(&UnaryParams { function: function.record(), reserved: 0 }, &[x], y, meaning)
    }

    fn layer_norm(&mut self, centred: bool, x: u32, y: u32) {
        let c = self.shape(x).c;
        let (scale, shift) = (self.random(c), self.random(c));
        let ranges = (self.channels(1, &scale), self.channels(1, &shift));
        let params = LayerNormParams { scale: ranges.0, shift: ranges.1, epsilon: 1e-3, kind: u32::from(!centred) };
        let meaning = Self::on(y, &[x], move |x, y| {
            let args = LayerNorm { scale: &scale, shift: &shift, epsilon: 1e-3, centred };
            reference::layer_norm::layer_norm(&args, x[0].view(), y.view_mut());
        });
        self.step(&params, &[x], y, meaning);
    }

    fn matmul(&mut self, a: u32, b: u32, y: u32) {
        let meaning = Self::on(y, &[a, b], |x, y| reference::matmul::matmul(x[0].view(), x[1].view(), y.view_mut()));
        self.step(&MatmulParams { reserved: [0; 2] }, &[a, b], y, meaning);
    }

    fn resize(&mut self, kind: ResizeKind, places: Places, x: u32, y: u32) {
        let params = ResizeParams { kind: kind as u32, places: places as u32 };
        let meaning = Self::on(y, &[x], move |x, y| reference::resize::resize(kind, places, x[0].view(), y.view_mut()));
        self.step(&params, &[x], y, meaning);
    }

    fn softmax(&mut self, log: bool, x: u32, y: u32) {
        let meaning = Self::on(y, &[x], move |x, y| reference::softmax::softmax(log, x[0].view(), y.view_mut()));
        self.step(&SoftmaxParams { log: log.into(), reserved: 0 }, &[x], y, meaning);
    }

    /// Copies pixels (n, y, x) and channels with these strides in the tensors; `plain` are those in tensors without gaps.
    fn copy(
        &mut self,
        dims: [u32; 6],
        strides: [[u32; 6]; 2],
        at: [u32; 2],
        plain: [[u32; 6]; 2],
        plain_at: [u32; 2],
        fill: Option<f32>,
        x: u32,
        y: u32,
    ) {
        let params = CopyParams {
            dims,
            in_strides: strides[0],
            out_strides: strides[1],
            in_offset: at[0],
            out_offset: at[1],
            filled: fill.is_some().into(),
            fill: fill.unwrap_or(0.0),
        };
        let meaning = Self::on(y, &[x], move |x, y| {
            if let Some(v) = fill {
                y.data.fill(v);
            }
            let us = |v: [u32; 6]| v.map(|n| n as usize);
            let args = Copy { dims: us(dims), in_strides: us(plain[0]), out_strides: us(plain[1]), fill: None };
            reference::copy::copy(&args, &x[0].data[plain_at[0] as usize..], &mut y.data[plain_at[1] as usize..]);
        });
        self.step(&params, &[x], y, meaning);
    }
}

/// The builder of [`all_ops`].
pub fn all_ops_builder() -> Builder {
    all_ops_in(false)
}

/// The same; with `halves` for the weights of convolutions, too.
pub fn all_ops_in(halves: bool) -> Builder {
    let mut b = Builder { halves, ..Builder::default() };
    let three = |stride, pad| window([3, 3], stride, 1, pad);
    let image = b.dense(1, 9, 8, 3);
    let vector = b.dense(1, 1, 1, 20);
    b.io(role::INPUT, image, "image", &[1, 9, 8, 3]);
    b.io(role::INPUT, vector, "vector", &[20]);

    let a = b.tensor(1, 5, 4, 20);
    b.conv(three(2, 1), 1, Act::RELU, image, None, a);
    let s = b.tensor(1, 5, 4, 24);
    b.separable(three(1, 1), true, Act::Silu, a, None, s);
    let c = b.tensor(1, 5, 4, 20);
    b.conv(Window::ONE, 4, Act::None, s, Some(a), c);
    let s2 = b.tensor(1, 5, 4, 20);
    b.separable(window([5, 5], 1, 1, 2), false, Act::HardSwish, c, Some(a), s2);
    let d = b.tensor(1, 3, 2, 20);
    b.depthwise(window([3, 3], 2, 2, 2), true, Act::Tanh, s2, d);
    let e = b.tensor(1, 3, 2, 20);
    b.pool(three(2, 1), PoolKind::Max, c, Some(d), e);
    // A chain in place.
    let f = b.alias(e, 1, 3, 2, 20);
    let i = b.scale_shift(Act::Leaky(0.1), e, f);
    b.steps[i].flags = IN_PLACE;
    let g = b.alias(e, 1, 3, 2, 20);
    let i = b.prelu(f, g);
    b.steps[i].flags = IN_PLACE;
    let h = b.tensor(1, 3, 2, 20);
    b.pool(window([2, 2], 1, 1, 1), PoolKind::AverageWithPad { pad_end: [1, 1] }, g, None, h);
    let h2 = b.tensor(1, 3, 2, 20);
    b.pool(three(1, 1), PoolKind::Average, h, None, h2);
    // Squeeze and excite.
    let r = b.tensor(1, 1, 1, 20);
    b.reduce(ReduceKind::Mean, h2, r);
    let excite = b.alias(r, 1, 1, 1, 20);
    let i = b.activation(Act::Sigmoid, r, excite);
    b.steps[i].flags = IN_PLACE;
    let k = b.alias(h2, 1, 3, 2, 20);
    let i = b.binary(BinaryOp::Sub, true, Act::None, h2, excite, k);
    b.steps[i].flags = IN_PLACE;
    // Out of place, operands exchanged, a constant; an unpadded vector made a padded one.
    let constant = b.constant(1, 1, 1, 20);
    let l = b.tensor(1, 3, 2, 20);
    b.binary(BinaryOp::Div, true, Act::Clamp { lo: -4.0, hi: 4.0 }, constant, k, l);
    let v = b.tensor(1, 1, 1, 20);
    b.copy([1, 1, 1, 1, 1, 20], [[0, 0, 0, 0, 0, 1]; 2], [0, 0], [[0, 0, 0, 0, 0, 1]; 2], [0, 0], None, vector, v);
    let m = b.tensor(1, 3, 2, 20);
    b.binary(BinaryOp::Max, false, Act::Exp, v, l, m);
    let m2 = b.tensor(1, 3, 2, 20);
    b.activation(Act::Sqrt, m, m2);
    let m3 = b.tensor(1, 3, 2, 20);
    b.prelu(m2, m3);
    let m4 = b.tensor(1, 3, 2, 20);
    b.scale_shift(Act::None, m3, m4);
    let large = b.tensor(1, 5, 4, 20);
    b.resize(ResizeKind::Bilinear, Places::Middles, m4, large);
    let m4 = b.tensor(1, 3, 2, 20);
    b.resize(ResizeKind::Nearest, Places::Corners, large, m4);
    // Normalised, with a function, in place and not; where they exceed the least channel; times a matrix.
    let normal = b.tensor(1, 3, 2, 20);
    b.layer_norm(true, m4, normal);
    let bent = b.alias(normal, 1, 3, 2, 20);
    let i = b.unary(Unary::Gelu, normal, bent);
    b.steps[i].flags = IN_PLACE;
    let least = b.tensor(1, 3, 2, 1);
    b.least_channel(bent, least);
    let above = b.tensor(1, 3, 2, 20);
    b.binary(BinaryOp::Greater, false, Act::None, bent, least, above);
    let kept = b.tensor(1, 3, 2, 20);
    b.binary(BinaryOp::Where, false, Act::None, bent, above, kept);
    let waves = b.tensor(1, 3, 2, 20);
    b.unary(Unary::Sin, kept, waves);
    let scaled = b.tensor(1, 3, 2, 20);
    b.layer_norm(false, waves, scaled);
    let matrix = b.constant(1, 1, 20, 20);
    let rows = b.alias(scaled, 1, 1, 6, 20);
    let product = b.tensor(1, 1, 6, 20);
    b.matmul(rows, matrix, product);
    let matmul = b.steps.len() - 1;
    b.meanings[matmul] = Box::new(move |all| {
        let x = super::Image { shape: Shape::new(1, 1, 6, 20), data: all[scaled as usize].data.clone() };
        let matrix = all[matrix as usize].clone();
        reference::matmul::matmul(x.view(), matrix.view(), all[product as usize].view_mut());
    });
    let back = b.alias(product, 1, 3, 2, 20);
    let m4 = b.tensor(1, 3, 2, 20);
    b.activation(Act::Tanh, back, m4);
    let tanh = b.steps.len() - 1;
    b.meanings[tanh] = Box::new(move |all| {
        let x = super::Image { shape: Shape::new(1, 3, 2, 20), data: all[product as usize].data.clone() };
        reference::activation::activation(Act::Tanh, x.view(), all[m4 as usize].view_mut());
    });
    let views = [(scaled, rows), (product, back)];

    // A concatenation: two parts where they belong, a padded and a copied one.
    let whole = b.with_pixel(1, 3, 2, 112, 112);
    let [p, q, o] = [b.part(whole, 0, 16), b.part(whole, 16, 32), b.part(whole, 64, 32)];
    b.conv(Window::ONE, 1, Act::HardSigmoid { alpha: 0.2, beta: 0.5 }, m4, None, p);
    b.conv(three(1, 1), 1, Act::Elu(0.5), m4, None, q);
    // Two of three columns from the inside of `l`, the rest filled.
    let (dims, fill) = ([1, 1, 1, 2, 1, 20], Some(0.25));
    b.copy(
        dims,
        [[0, 0, 0, 64, 0, 1], [0, 0, 0, 224, 0, 1]],
        [32, 112],
        [[0, 0, 0, 40, 0, 1], [0, 0, 0, 64, 0, 1]],
        [20, 32],
        fill,
        l,
        o,
    );
    let dims = [1, 1, 1, 1, 6, 16];
    b.copy(
        dims,
        [[0, 0, 0, 0, 32, 1], [0, 0, 0, 0, 112, 1]],
        [0, 48],
        [[0, 0, 0, 0, 20, 1], [0, 0, 0, 0, 112, 1]],
        [0, 48],
        None,
        m4,
        whole,
    );
    let last_copy = b.steps.len() - 1;
    // The plain loops have no shared memory: what the parts hold is put together before the copy.
    b.meanings[last_copy] = Box::new(move |all| {
        let [p, q, o, m4] = [p, q, o, m4].map(|t| all[t as usize].clone());
        for (i, pixel) in all[whole as usize].data.chunks_mut(112).enumerate() {
            let parts = [(&p, 0, 16), (&q, 16, 32), (&m4, 48, 16), (&o, 64, 32)];
            for (part, at, len) in parts {
                pixel[at..at + len].copy_from_slice(&part.data[i * part.shape.c..][..len]);
            }
        }
    });
    let t = b.with_pixel(1, 3, 2, 96, 96);
    let whole96 = b.alias(whole, 1, 3, 2, 96);
    b.softmax(false, whole96, t);
    let softmax = b.steps.len() - 1;
    b.meanings[softmax] = Box::new(move |all| {
        let mut x = super::Image::new(Shape::new(1, 3, 2, 96));
        for (to, from) in x.data.chunks_mut(96).zip(all[whole as usize].data.chunks(112)) {
            to.copy_from_slice(&from[..96]);
        }
        reference::softmax::softmax(false, x.view(), all[t as usize].view_mut());
    });
    // To NCHW.
    let nchw = b.dense(1, 96, 3, 2);
    let dims = [1, 1, 1, 1, 96, 6];
    let to = [[0, 0, 0, 0, 1, 96], [0, 0, 0, 0, 6, 1]];
    b.copy(dims, to, [0, 0], to, [0, 0], None, t, nchw);
    b.io(role::OUTPUT, nchw, "scores", &[1, 96, 3, 2]);

    // A classifier: batches by reshape, sum, max, fully connected, logarithm.
    let rows = b.alias(t, 3, 1, 2, 96);
    let sums = b.tensor(3, 1, 1, 96);
    b.reduce(ReduceKind::Sum, rows, sums);
    let reduce = b.steps.len() - 1;
    b.meanings[reduce] = Box::new(move |all| {
        let x = super::Image { shape: Shape::new(3, 1, 2, 96), data: all[t as usize].data.clone() };
        reference::reduce::reduce_hw(ReduceKind::Sum, x.view(), all[sums as usize].view_mut());
    });
    let one = b.alias(sums, 1, 3, 1, 96);
    let most = b.tensor(1, 1, 1, 96);
    b.reduce(ReduceKind::Max, one, most);
    let reduce = b.steps.len() - 1;
    b.meanings[reduce] = Box::new(move |all| {
        let x = super::Image { shape: Shape::new(1, 3, 1, 96), data: all[sums as usize].data.clone() };
        reference::reduce::reduce_hw(ReduceKind::Max, x.view(), all[most as usize].view_mut());
    });
    let logits = b.tensor(1, 1, 1, 10);
    b.conv(Window::ONE, 1, Act::None, most, None, logits);
    let classes = b.tensor(1, 1, 1, 10);
    b.softmax(true, logits, classes);
    b.io(role::OUTPUT, classes, "classes", &[1, 10]);

    // The first input as nine planes; squeezed, and excited in the weights.
    let of_planes = b.tensor(1, 4, 2, 24);
    b.conv_of_planes(three(2, 1), Act::Silu, image, of_planes);
    let gate = b.tensor(1, 1, 1, 24);
    b.reduce(ReduceKind::Mean, of_planes, gate);
    let gated = b.tensor(1, 4, 2, 16);
    b.gated_conv(Act::RELU, of_planes, gate, None, gated);
    let again = b.tensor(1, 4, 2, 16);
    let second = b.constant(1, 1, 1, 16);
    b.gated_conv(Act::None, gated, second, Some(gated), again);
    b.io(role::OUTPUT, again, "gated", &[1, 4, 2, 16]);

    b.lives();
    // Views of others' memory begin with the last step that writes it; the parts live until the whole has been read.
    b.tensors[whole96 as usize].first = last_copy as u32;
    b.tensors[whole as usize].last = softmax as u32;
    for part in [p, q, o] {
        b.tensors[part as usize].last = softmax as u32;
    }
    for (made, read) in views {
        b.tensors[read as usize].first = b.tensors[made as usize].first;
        b.tensors[made as usize].last = b.tensors[read as usize].last;
    }
    b.tensors[rows as usize].first = b.tensors[t as usize].first;
    b.tensors[t as usize].last = b.tensors[rows as usize].last;
    b.tensors[one as usize].first = b.tensors[sums as usize].first;
    b.tensors[sums as usize].last = b.tensors[one as usize].last;
    b
}

/// A network with every operator, its inputs and its outputs.
pub fn all_ops() -> (Vec<u8>, Vec<Vec<f32>>, Vec<Vec<f32>>) {
    all_ops_of(false)
}

/// The same; with `halves` for the weights of convolutions, too.
pub fn all_ops_of(halves: bool) -> (Vec<u8>, Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let b = all_ops_in(halves);
    let inputs = vec![super::Rng(77).values(9 * 8 * 3), super::Rng(78).values(20)];
    let outputs = b.reference(&inputs);
    (b.file(), inputs, outputs)
}

/// The builder of [`streamed`]: two pipelines over a batch, with branches that meet, an operand that repeats and every operator that
/// can run by rows. `bands` are the rows that they make at a time.
pub fn streamed_builder(bands: [u32; 2]) -> Builder {
    streamed_in(bands, false, 2)
}

/// The same; with `halves` for the weights of convolutions, too, and of any batch.
fn streamed_in(bands: [u32; 2], halves: bool, batch: usize) -> Builder {
    let n = batch as u32;
    let mut b = Builder { halves, ..Builder::default() };
    // As planes or as pixels.
    let (image, dims) =
        if halves { (b.dense(batch, 13, 10, 3), [n, 13, 10, 3]) } else { (b.dense(batch, 3, 13, 10), [n, 3, 13, 10]) };
    let excite = b.with_pixel(batch, 1, 1, 32, 32);
    b.io(role::INPUT, image, "image", &dims);
    b.io(role::INPUT, excite, "excite", &[n, 32]);
    let three = |stride, pad| window([3, 3], stride, 1, pad);

    let stem = b.tensor(batch, 13, 10, 20);
    if halves {
        b.conv(three(1, 1), 1, Act::RELU, image, None, stem);
    } else {
        b.conv_of_planes(three(1, 1), Act::RELU, image, stem);
    }
    let down = b.tensor(batch, 7, 5, 20);
    b.depthwise(three(2, 1), true, Act::HardSwish, stem, down);
    let skip = b.tensor(batch, 7, 5, 32);
    b.conv(window([1, 1], 2, 1, 0), 1, Act::None, stem, None, skip);
    let both = b.tensor(batch, 7, 5, 32);
    b.separable(window([5, 5], 1, 1, 2), false, Act::Silu, down, Some(skip), both);
    let pooled = b.tensor(batch, 7, 5, 32);
    b.pool(three(1, 1), PoolKind::Max, both, Some(skip), pooled);
    let scaled = b.tensor(batch, 7, 5, 32);
    b.binary(BinaryOp::Mul, false, Act::None, pooled, excite, scaled);
    let far = b.tensor(batch, 7, 5, 48);
    b.conv(window([3, 3], 1, 2, 2), 4, Act::Leaky(0.1), scaled, None, far);

    let shifted = b.tensor(batch, 7, 5, 48);
    b.scale_shift(Act::None, far, shifted);
    let sloped = b.tensor(batch, 7, 5, 48);
    b.prelu(shifted, sloped);
    let bounded = b.tensor(batch, 7, 5, 48);
    b.activation(Act::Tanh, sloped, bounded);
    let mean = b.tensor(batch, 8, 6, 48);
    b.pool(window([2, 2], 1, 1, 1), PoolKind::AverageWithPad { pad_end: [1, 1] }, bounded, None, mean);
    let sum = b.with_pixel(batch, 8, 6, 48, 48);
    b.binary(BinaryOp::Add, false, Act::None, mean, mean, sum);
    b.io(role::OUTPUT, sum, "sum", &[n, 8, 6, 48]);

    b.lives();
    b.stream(0..7, bands[0]);
    b.stream(7..12, bands[1]);
    b
}

/// A network with pipelines, its inputs and its outputs.
pub fn streamed(bands: [u32; 2]) -> (Vec<u8>, Vec<Vec<f32>>, Vec<Vec<f32>>) {
    streamed_of(bands, false)
}

/// The same; with `halves` for the weights of convolutions, too.
pub fn streamed_of(bands: [u32; 2], halves: bool) -> (Vec<u8>, Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let b = streamed_in(bands, halves, 2);
    let inputs = vec![super::Rng(81).values(2 * 13 * 10 * 3), super::Rng(82).values(64)];
    let outputs = b.reference(&inputs);
    (b.file(), inputs, outputs)
}

/// The inputs or outputs of a network.
pub type Tensors = Vec<Vec<f32>>;

/// A file of two plans over the same weights: that network for a batch of two, and for one. With it what each takes and gives.
pub fn two_plans() -> (Vec<u8>, [(Tensors, Tensors); 2]) {
    let plans = [streamed_in([2, 3], false, 2), streamed_in([1, 2], false, 1)];
    assert_eq!(plans[0].weights, plans[1].weights);
    let file = Builder::file_of(&plans.each_ref());
    let cases = plans.map(|b| {
        let given = b.io.iter().filter(|io| io.role == role::INPUT);
        let floats = |io: &Io| io.dims.iter().filter(|&&d| d > 0).product::<u32>() as usize;
        let inputs: Tensors = given.map(|io| super::Rng(81).values(floats(io))).collect();
        let outputs = b.reference(&inputs);
        (inputs, outputs)
    });
    (file, cases)
}

/// A network of one depthwise convolution that keeps the size of its input; if `both`, of a separable one.
pub fn one_depthwise(w: Window, pre_relu: bool, both: bool) -> Vec<u8> {
    let mut b = Builder::default();
    let [h, w_out] = w.stride.map(|stride| 6 / stride);
    let (x, y) = (b.tensor(1, 6, 6, 16), b.tensor(1, h, w_out, 16));
    b.io(role::INPUT, x, "x", &[1, 6, 6, 16]);
    match both {
        true => b.separable(w, pre_relu, Act::None, x, None, y),
        false => b.depthwise(w, pre_relu, Act::None, x, y),
    }
    b.io(role::OUTPUT, y, "y", &[1, h as u32, w_out as u32, 16]);
    b.lives();
    b.file()
}
