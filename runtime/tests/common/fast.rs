//! A network of convolutions by every fast algorithm, each followed by others.

use super::{Builder, Rng, window};
use sepal_format::record::*;
use sepal_format::{Act, strassen, winograd};
use sepal_kernels::ops::conv::Window;
use sepal_kernels::ops::strassen::strassen_scratch;
use sepal_kernels::ops::winograd::{Tile, points, winograd_scratch};
use sepal_kernels::{pack, reference};

impl Builder {
    fn winograd(&mut self, w: Window, tile: Tile, act: Act, x: u32, residual: Option<u32>, y: u32) {
        let (from, to) = (self.shape(x), self.shape(y));
        let mut p = self.conv_parts(w, 1, from.c, to.c, act);
        let points = points(&w, tile).into_iter().product::<usize>();
        let mut transformed = vec![0.0; points * from.c * to.c];
        pack::winograd_weights(w.kernel, tile, from.c, to.c, &p.weights, &mut transformed);
        let mut panels = vec![0.0; points * pack::conv_len([1, 1], from.c, to.c, 1).unwrap()];
        pack::winograd(points, from.c, to.c, &transformed, &mut panels);
        p.params.weights = self.store(&panels);
        p.params.algorithm = winograd::code(tile.map(|n| n as u32));
        self.needs_scratch(winograd_scratch(w, tile, from, to));
        let inputs: Vec<u32> = std::iter::once(x).chain(residual).collect();
        let bias = p.bias;
        let meaning = Self::on(y, &inputs, move |x, y| {
            let r = x.get(1).map(|r| r.view());
            reference::winograd::winograd(w, tile, &transformed, &bias, act, x[0].view(), r, y.view_mut());
        });
        self.step(&p.params, &inputs, y, meaning);
    }

    fn strassen(&mut self, act: Act, x: u32, residual: Option<u32>, y: u32) {
        let (from, to) = (self.shape(x), self.shape(y));
        let mut p = self.conv_parts(Window::ONE, 1, from.c, to.c, act);
        let mut panels = vec![0.0; from.c * to.c];
        pack::strassen(from.c, to.c, &p.weights, &mut panels);
        p.params.weights = self.store(&panels);
        p.params.algorithm = strassen::CODE;
        self.needs_scratch(strassen_scratch(from, to));
        let inputs: Vec<u32> = std::iter::once(x).chain(residual).collect();
        let (weights, bias) = (p.weights, p.bias);
        let meaning = Self::on(y, &inputs, move |x, y| {
            let r = x.get(1).map(|r| r.view());
            reference::strassen::strassen(&weights, &bias, act, x[0].view(), r, y.view_mut());
        });
        self.step(&p.params, &inputs, y, meaning);
    }
}

/// The network, its inputs and its outputs.
pub fn fast() -> (Vec<u8>, Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let mut b = Builder::default();
    let [n, h, w] = [2, 5, 7];
    let image = b.dense(n, h, w, 4);
    b.io(role::INPUT, image, "image", &[2, 5, 7, 4]);
    let (mut x, mut before) = (b.tensor(n, h, w, 4), None);
    b.conv(Window::ONE, 1, Act::Leaky(0.5), image, None, x);
    for (kernel, tile) in winograd::TILES {
        let [kernel, tile] = [kernel, tile].map(|pair| pair.map(|n| n as usize));
        let y = b.tensor(n, h, w, 4);
        let same = Window { kernel, pad: kernel.map(|k| k / 2), ..Window::ONE };
        b.winograd(same, tile, Act::Leaky(0.1), x, before, y);
        (x, before) = (y, before.map_or(Some(x), |_| None));
    }
    let wide = b.tensor(n, 3, 5, 33);
    b.winograd(window([3, 3], 1, 1, 0), [2, 2], Act::RELU, x, None, wide);
    let half = b.tensor(n, 3, 5, 32);
    b.strassen(Act::HardSwish, wide, None, half);
    let whole = b.tensor(n, 3, 5, 64);
    b.strassen(Act::None, half, None, whole);
    let last = b.tensor(n, 3, 5, 32);
    b.strassen(Act::RELU, whole, Some(half), last);
    let down = b.tensor(n, 2, 3, 32);
    b.depthwise(window([3, 3], 2, 1, 1), false, Act::Leaky(0.3), last, down);
    b.io(role::OUTPUT, down, "down", &[2, 2, 3, 32]);
    b.lives();

    let inputs = vec![Rng(83).values(n * h * w * 4)];
    let outputs = b.reference(&inputs);
    (b.file(), inputs, outputs)
}

/// A network of one Winograd convolution that keeps the size of its input.
pub fn one_winograd(kernel: [usize; 2], tile: Tile) -> Vec<u8> {
    let mut b = Builder::default();
    let (x, y) = (b.tensor(1, 6, 6, 16), b.tensor(1, 6, 6, 16));
    b.io(role::INPUT, x, "x", &[1, 6, 6, 16]);
    b.winograd(Window { kernel, pad: kernel.map(|k| k / 2), ..Window::ONE }, tile, Act::None, x, None, y);
    b.io(role::OUTPUT, y, "y", &[1, 6, 6, 16]);
    b.lives();
    b.file()
}
