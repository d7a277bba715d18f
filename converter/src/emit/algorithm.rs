//! Which algorithm a convolution runs by: the direct sum, or Winograd's or Strassen's where that is faster and errs little enough.
//!
//! Speed is estimated from the multiplications, the floats that the transforms move and the bytes of weights, with rates that were
//! measured (AVX2 and AVX-512, one core): what counts is which of two is faster, not by how much. The error is measured: on
//! pseudo-random pixels and the step's own weights, against the sum in f64. If the transformed weights will be rounded to halves,
//! that is a part of it.

use super::Algorithm;
use super::half::{self, Precision};
use crate::data::random::Random;
use crate::ir::{Act, BinaryOp, Graph, Node, Op, Pads, Window};
use sepal_format::layout::BLOCK;
use sepal_format::strassen::halves;
use sepal_format::winograd::TILES;
use sepal_kernels::ops::conv::{Conv, Take};
use sepal_kernels::ops::panels::{Panels, widened};
use sepal_kernels::ops::strassen::{strassen, strassen_scratch};
use sepal_kernels::ops::winograd::{exists, points, winograd, winograd_scratch};
use sepal_kernels::par::Serial;
use sepal_kernels::{Isa, Shape, View, ViewMut, pack};

/// A convolution that may be chosen an algorithm for.
pub(super) struct Task<'a> {
    pub(super) window: &'a Window,
    pub(super) input: Shape,
    pub(super) output: Shape,
    /// `[kh][kw][C][N]`.
    pub(super) weights: &'a [f32],
    /// How the weights that the algorithm takes will be stored.
    pub(super) precision: Precision,
}

/// An algorithm other than the direct sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) algorithm: Algorithm,
    /// Largest difference from the f64 sum, as a share of the largest result.
    pub(super) error: f64,
}

/// Multiply-accumulates a nanosecond.
const RATE: f64 = 52.0;
/// Nanoseconds for each float that is transformed.
const TRANSFORM: f64 = 0.12;
/// Nanoseconds that Strassen's algorithm takes for each weight, each float of the input and each float of the output, besides its
/// multiplications.
const HALVES: [f64; 3] = [0.13, 0.05, 0.4];
/// Most pixels of an image that goes by halves: those of a band, for which sums of weights are made once. Larger images are better off
/// in pipelines, with the depthwise convolution before them in the same step.
const BAND: usize = 512;
/// What Strassen's algorithm may err, as a share of what Winograd's may: it saves an eighth of the multiplications, too little for
/// networks that magnify errors.
const STRASSEN: f64 = 0.3;
/// Bytes of weights a nanosecond, from memory.
const WEIGHTS: f64 = 25.0;
/// Rows and columns of the pixels that the error is measured on, and the output channels.
const SAMPLE: usize = 12;

/// The fastest algorithm whose error is at most `max_error`; `None` for the direct sum. `error_of` gives an algorithm's error, which it
/// measures or knows: the same for all sizes of pictures.
pub(super) fn choose(
    task: &Task,
    max_error: f64,
    error_of: &mut dyn FnMut(Algorithm, &mut dyn FnMut() -> f64) -> f64,
) -> Option<Choice> {
    let mut choice = |algorithm| Choice { algorithm, error: error_of(algorithm, &mut || error(task, algorithm)) };
    if max_error <= 0.0 {
        return None;
    }
    let window = super::lower::kernel_window(task.window);
    let kernel = task.window.kernel;
    let direct = time(task, kernel, [1, 1]);
    if kernel == [1, 1] {
        let faster = by_halves(task).is_some_and(|t| t < 0.97 * direct);
        return faster.then(|| choice(Algorithm::Strassen)).filter(|choice| choice.error <= STRASSEN * max_error);
    }
    let mut candidates: Vec<(f64, [usize; 2])> = TILES
        .iter()
        .map(|(k, tile)| (k.map(|n| n as usize), tile.map(|n| n as usize)))
        .filter(|(k, tile)| *k == kernel && exists(&window, *tile))
        .map(|(_, tile)| (time(task, points(&window, tile), tile), tile))
        .collect();
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let better = candidates.into_iter().filter(|(t, _)| *t < 0.9 * direct);
    better.map(|(_, tile)| choice(Algorithm::Winograd(tile))).find(|choice| choice.error <= max_error)
}

/// Whether a node makes much of a small difference between values that are small beside others of its input. Strassen's algorithm errs
/// by a share of the largest value nearby, of other pixels, too.
pub(super) fn tells_small_from_zero(graph: &Graph, node: &Node) -> bool {
    let computed = |i: usize| node.inputs.get(i).is_some_and(|&v| graph.data(v).is_none());
    match &node.op {
        Op::LayerNorm { .. } | Op::Unary(_) | Op::Act(Act::Sqrt) => true,
        Op::Binary { op, .. } => match op {
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Min | BinaryOp::Max => false,
            BinaryOp::Div | BinaryOp::Where => computed(1),
            BinaryOp::Pow | BinaryOp::Greater | BinaryOp::AtLeast | BinaryOp::Equal => true,
        },
        _ => false,
    }
}

/// Estimated nanoseconds of Strassen's algorithm; `None` where there is no such.
fn by_halves(task: &Task) -> Option<f64> {
    let (Shape { n, h, w, c }, output) = (task.input, task.output);
    let plain = task.window.stride == [1, 1] && task.window.pads == Pads::default() && task.precision == Precision::F32;
    if !plain || h * w > BAND || (n, h, w) != (output.n, output.h, output.w) || halves(c as u64, output.c as u64).is_none() {
        return None;
    }
    let own = [c * output.c, h * w * c, h * w * output.c].into_iter().zip(HALVES).map(|(floats, ns)| (n * floats) as f64 * ns);
    Some(0.875 * time(task, [1, 1], [1, 1]) + own.sum::<f64>())
}

/// Estimated nanoseconds, for a tile of 1x1 those of the direct sum.
fn time(task: &Task, points: [usize; 2], tile: [usize; 2]) -> f64 {
    let Shape { n, h, w, c: channels } = task.output;
    let tiles = n * h.div_ceil(tile[0]) * w.div_ceil(tile[1]);
    let [c, channels] = [task.input.c, channels].map(|c| c.next_multiple_of(BLOCK));
    let points = points[0] * points[1];
    let multiply = (points * tiles * task.input.c * channels) as f64 / RATE;
    let weights = (points * task.input.c * channels * task.precision.bytes()) as f64 / WEIGHTS;
    let transforms = if tile == [1, 1] { 0.0 } else { (points * tiles * (c + channels)) as f64 * TRANSFORM };
    multiply.max(weights) + transforms
}

/// Largest error on a sample, as a share of its largest result.
fn error(task: &Task, algorithm: Algorithm) -> f64 {
    let [kh, kw] = task.window.kernel;
    let (c, all) = (task.input.c, task.output.c);
    // Halves of output channels are whole blocks.
    let wide = if algorithm == Algorithm::Strassen { 2 * BLOCK } else { BLOCK };
    let n = all.min(wide);
    let (rows, columns) = (SAMPLE + kh - 1, SAMPLE + kw - 1);
    let padded = c.next_multiple_of(BLOCK);
    let mut pixels = Random::new(1).units(rows * columns * padded);
    pixels.iter_mut().enumerate().filter(|(i, _)| i % padded >= c).for_each(|(_, v)| *v = 0.0);
    // The channels with the largest weights: they make the range of the result and most of the error, and none of them is dead
    // while others live.
    let mut largest = vec![0f32; all];
    for row in task.weights.chunks(all) {
        largest.iter_mut().zip(row).for_each(|(m, w)| *m = m.max(w.abs()));
    }
    let mut channels: Vec<usize> = (0..all).collect();
    channels.sort_by(|&a, &b| largest[b].total_cmp(&largest[a]).then(a.cmp(&b)));
    let channels = &channels[..n];
    let weights: Vec<f32> = task.weights.chunks(all).flat_map(|row| channels.iter().map(|&i| row[i])).collect();

    let window = super::lower::kernel_window(&Window { pads: Pads::default(), ..*task.window });
    let (input, output) = (Shape::new(1, rows, columns, c), Shape::new(1, SAMPLE, SAMPLE, n));
    let mut got = vec![0.0; SAMPLE * SAMPLE * wide];
    let view = View::new(&pixels, input, padded);
    let out = ViewMut::new(&mut got, output, wide);
    let bias = vec![0.0; wide];
    let args = |weights| Conv { window, groups: 1, weights, bias: &bias, take: Take::Plain, act: sepal_kernels::Act::None };
    match algorithm {
        Algorithm::Strassen => {
            let mut panels = vec![0.0; c * wide];
            pack::strassen(c, n, &weights, &mut panels);
            let mut scratch = vec![0.0; strassen_scratch(input, output)];
            strassen(Isa::detect(), &Serial, &args(Panels::F32(&panels)), view, None, out, &mut scratch);
        }
        Algorithm::Winograd(tile) => {
            let points: usize = points(&window, tile).iter().product();
            let mut transformed = vec![0.0; points * c * n];
            pack::winograd_weights([kh, kw], tile, c, n, &weights, &mut transformed);
            let mut panels = vec![0.0; points * c * BLOCK];
            pack::winograd(points, c, n, &transformed, &mut panels);
            let mut scratch = vec![0.0; winograd_scratch(window, tile, input, output) + widened(panels.len() / points, n)];
            let halves;
            let stored = match task.precision {
                Precision::F32 => Panels::F32(&panels),
                Precision::F16 => {
                    halves = half::round("", &panels).1;
                    Panels::F16(&halves)
                }
            };
            winograd(Isa::detect(), &Serial, &args(stored), tile, view, None, out, &mut scratch);
        }
    }

    let (mut largest, mut worst) = (0f64, 0f64);
    for (i, pixel) in got.chunks(wide).enumerate() {
        let (y, x) = (i / SAMPLE, i % SAMPLE);
        let mut sums = [0f64; 2 * BLOCK];
        for (tap, matrix) in weights.chunks(c * n).enumerate() {
            let at = ((y + tap / kw) * columns + x + tap % kw) * padded;
            for (&v, row) in pixels[at..at + c].iter().zip(matrix.chunks(n)) {
                for (sum, &w) in sums.iter_mut().zip(row) {
                    *sum += f64::from(v) * f64::from(w);
                }
            }
        }
        for (&got, want) in pixel[..n].iter().zip(sums) {
            largest = largest.max(want.abs());
            // NaN where transformed weights overflow, which no budget allows.
            let off = (f64::from(got) - want).abs();
            worst = if off.is_nan() { f64::INFINITY } else { worst.max(off) };
        }
    }
    // Where all results are zero nothing was measured.
    if largest == 0.0 { f64::INFINITY } else { worst / largest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kernel: [usize; 2], size: usize, c: usize, weights: &[f32]) -> Option<Choice> {
        choice(kernel, [1, 1], size, c, weights, 1e-5)
    }

    fn choice(kernel: [usize; 2], stride: [usize; 2], size: usize, c: usize, weights: &[f32], budget: f64) -> Option<Choice> {
        stored(Precision::F32, kernel, stride, size, c, weights, budget)
    }

    fn stored(
        precision: Precision,
        kernel: [usize; 2],
        stride: [usize; 2],
        size: usize,
        c: usize,
        weights: &[f32],
        budget: f64,
    ) -> Option<Choice> {
        let [top, left] = kernel.map(|k| k / 2);
        let window = Window { kernel, stride, dilation: [1, 1], pads: Pads { top, left, bottom: top, right: left } };
        let shape = Shape::new(1, size, size, c);
        choose(&Task { window: &window, input: shape, output: shape, weights, precision }, budget, &mut |_, measure| measure())
    }

    #[test]
    fn fast_and_exact_enough() {
        let weights = Random::new(5).units(9 * 64 * 64);
        let fast = task([3, 3], 56, 64, &weights).unwrap();
        assert_eq!(fast.algorithm, Algorithm::Winograd([4, 4]));
        assert!(fast.error > 1e-8 && fast.error < 1e-5, "{fast:?}");
        let careful = choice([3, 3], [1, 1], 56, 64, &weights, fast.error / 2.0).unwrap();
        assert_eq!(careful.algorithm, Algorithm::Winograd([2, 2]));
        assert_eq!(choice([3, 3], [1, 1], 56, 64, &weights, 0.0), None);
        let weights = Random::new(5).units(7 * 128 * 128);
        assert_eq!(task([1, 7], 17, 128, &weights).unwrap().algorithm, Algorithm::Winograd([1, 4]));
        assert_eq!(task([7, 1], 17, 128, &weights).unwrap().algorithm, Algorithm::Winograd([4, 1]));
    }

    #[test]
    fn halves_where_they_are_large_enough() {
        let weights = Random::new(5).units(512 * 512);
        let choose = |size, budget| choice([1, 1], [1, 1], size, 512, &weights, budget);
        let fast = choose(14, 1e-5).unwrap();
        assert_eq!(fast.algorithm, Algorithm::Strassen);
        assert!(fast.error > 1e-8 && fast.error < 3e-6, "{fast:?}");
        // It may err less than Winograd's may.
        assert_eq!(choose(14, 3.0 * fast.error), None);
        assert_eq!(choose(14, 0.0), None);
        assert_eq!(choose(1, 1.0), None);
        assert_eq!(choose(23, 1.0), None, "more than a band");
        assert_eq!(choice([1, 1], [2, 2], 14, 512, &weights, 1.0), None);
        assert_eq!(stored(Precision::F16, [1, 1], [1, 1], 14, 512, &weights, 1.0), None);
        assert_eq!(choice([1, 1], [1, 1], 28, 64, &weights[..64 * 64], 1.0), None);
        assert_eq!(choice([1, 1], [1, 1], 14, 400, &weights[..400 * 400], 1.0), None, "an odd number of blocks");
    }

    #[test]
    fn rounding_of_the_transformed_weights_counts() {
        let weights = Random::new(5).units(9 * 64 * 64);
        let halves = |budget: f64| stored(Precision::F16, [3, 3], [1, 1], 56, 64, &weights, budget);
        assert_eq!(halves(1e-5), None);
        let fast = halves(1e-2).unwrap();
        assert!(fast.error > 1e-5, "{fast:?}");
    }

    #[test]
    fn what_has_no_tiles_or_gains_nothing_is_summed_directly() {
        let weights = Random::new(5).units(9 * 64 * 64);
        assert_eq!(choice([3, 3], [2, 2], 56, 64, &weights, 1.0), None);
        assert_eq!(choice([1, 9], [1, 1], 56, 64, &weights, 1.0), None);
        assert_eq!(choice([3, 3], [1, 1], 1, 64, &weights, 1.0), None);
        // Channels without weights tell nothing of the others.
        let dead: Vec<f32> = weights.iter().enumerate().map(|(i, w)| if i % 64 < 16 { 0.0 } else { *w }).collect();
        assert!(task([3, 3], 56, 64, &dead).unwrap().error > 1e-8);
        assert_eq!(choice([3, 3], [1, 1], 56, 64, &dead, 0.0), None);
        assert_eq!(task([3, 3], 56, 64, &vec![0.0; 9 * 64 * 64]), None);
        let mut huge = weights;
        huge[7] = 3e38;
        assert_eq!(task([3, 3], 56, 64, &huge).map(|c| c.algorithm), None);
    }
}
