//! Pipelines whose windows lie above and below their input.

use super::{Builder, window};
use sepal_format::record::role;
use sepal_format::{Act, winograd};
use sepal_kernels::ops::conv::Window;
use sepal_kernels::ops::pool::PoolKind;

type Put = fn(&mut Builder, Window, u32, u32);

/// Operators that have windows; [`PLANES`] takes planes.
pub const OPERATORS: [Put; 7] = [
    |b, w, x, y| b.conv(w, 1, Act::RELU, x, None, y),
    |b, w, x, y| b.conv(w, 4, Act::None, x, None, y),
    |b, w, x, y| b.depthwise(w, true, Act::RELU, x, y),
    |b, w, x, y| b.separable(w, true, Act::None, x, None, y),
    |b, w, x, y| b.pool(w, PoolKind::Max, x, None, y),
    |b, w, x, y| b.pool(w, PoolKind::AverageWithPad { pad_end: w.pad }, x, None, y),
    |b, w, x, y| b.conv_of_planes(w, Act::RELU, x, y),
];
pub const PLANES: usize = 6;

/// Where the input of such an operator lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum From {
    /// At the arena's end, in pixels with room for twice the channels; or the network's input, for planes.
    Arena,
    /// Made by the pipeline, in such pixels.
    Rows,
    Weights,
}

/// A pipeline of an operator and an activation: two rows of 4 pixels become nine. With it the number of floats that it takes.
pub fn missed(operator: usize, from: From, [kernel, stride, pad]: [usize; 3]) -> (Builder, usize) {
    let mut b = Builder::default();
    let dims = if operator == PLANES { [1, 3, 2, 4] } else { [1, 2, 4, 16] };
    let [_, h, w, c] = dims;
    let image = b.dense(1, h, w, c);
    b.io(role::INPUT, image, "image", &dims.map(|d| d as u32));
    let columns = (4 + 2 * pad - kernel) / stride + 1;
    let made = b.tensor(1, 9, columns, 16);
    let last = b.tensor(1, 9, columns, 16);
    let x = match from {
        From::Weights => b.constant(1, h, w, c),
        _ if operator == PLANES => image,
        _ => b.with_pixel(1, h, w, c, 32),
    };
    if x > last && from != From::Weights {
        b.activation(Act::Leaky(0.5), image, x);
    }
    let first = if from == From::Arena { b.steps.len() } else { 0 };
    OPERATORS[operator](&mut b, window([kernel; 2], stride, 1, pad), x, made);
    b.activation(Act::Leaky(0.25), made, last);
    b.io(role::OUTPUT, last, "last", &[1, 9, columns as u32, 16]);
    b.lives();
    let steps = b.steps.len();
    b.stream(first..steps, 1);
    (b, h * w * c)
}

/// A pipeline of a Winograd convolution by tiles of four rows, padded by one, and an activation: `rows` rows become ten.
pub fn tiles(rows: usize) -> Builder {
    let mut b = Builder::default();
    let x = b.dense(1, rows, 6, 16);
    b.io(role::INPUT, x, "x", &[1, rows as u32, 6, 16]);
    let (made, last) = (b.tensor(1, 10, 6, 16), b.tensor(1, 10, 6, 16));
    let mut p = b.conv_parts(window([3, 3], 1, 1, 1), 1, 16, 16, Act::None).params;
    let weights = b.random(6 * 6 * 16 * 16);
    (p.weights, p.algorithm) = (b.store(&weights), winograd::code([4, 4]));
    b.step(&p, &[x], made, |_| ());
    b.activation(Act::RELU, made, last);
    b.io(role::OUTPUT, last, "last", &[1, 10, 6, 16]);
    b.lives();
    b.stream(0..2, 2);
    b
}
