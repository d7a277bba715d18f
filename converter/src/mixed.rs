//! How far steps that run by Strassen's algorithm are off in their network: on the values that they are given there, instead of noise.
//!
//! The algorithm errs by a share of the largest values that it adds up, of whatever channel. What a network makes of its input may differ
//! between channels by orders of magnitude, and the weights undo that: only a run tells.

use sepal_format::layout::BLOCK;
use sepal_format::op::OpRef;
use sepal_format::record::place;
use sepal_format::{ModelView, strassen as halves};
use sepal_kernels::ops::conv::{Conv, Take, Window};
use sepal_kernels::ops::panels::Panels;
use sepal_kernels::ops::strassen::{strassen, strassen_scratch};
use sepal_kernels::par::Serial;
use sepal_kernels::{Act, Isa, Shape, View, ViewMut};

/// Pairs of pixels that are looked at.
const PAIRS: usize = 8;

/// A step and its largest error, as a share of the largest result.
#[derive(Clone, Debug)]
pub(crate) struct Mixed {
    pub(crate) step: usize,
    pub(crate) name: String,
    pub(crate) error: f64,
}

/// The steps of a plan that run by Strassen's algorithm, none of them measured: as if they were off by any amount.
pub(crate) fn steps(view: &ModelView) -> Vec<Mixed> {
    let all = view.steps().iter().enumerate();
    let all = all.filter(|(_, step)| matches!(step.op_ref(), Some(OpRef::Conv(p)) if p.algorithm == halves::CODE));
    all.map(|(i, step)| Mixed { step: i, name: view.step_name(step).to_owned(), error: f64::INFINITY }).collect()
}

/// Panel `block` of those of `k` rows each.
fn panel(panels: &[f32], block: usize, k: usize) -> &[[f32; BLOCK]] {
    panels[block * k * BLOCK..][..k * BLOCK].as_chunks().0
}

/// The error of a step that has just run: on some pairs of pixels of its input, for all channels, against the sum in f64. `None` if the
/// input is not there, or has no pair of pixels.
pub(crate) fn error(view: &ModelView, step: usize, arena: &[f32]) -> Option<f64> {
    let step = view.steps().get(step)?;
    let Some(OpRef::Conv(p)) = step.op_ref() else { return None };
    let tensor = |i: u32| view.tensors().get(i as usize);
    let (x, y) = (tensor(step.inputs[0])?, tensor(step.output)?);
    if x.place != place::ARENA {
        return None;
    }
    let [rows, columns, c, pixel] = [x.dims[1], x.dims[2], x.dims[3], x.pixel].map(|d| d as usize);
    let n = y.dims[3] as usize;
    let start = (x.offset / 4) as usize;
    let pairs = rows * columns / 2;
    let count = pairs.min(PAIRS);
    if count == 0 {
        return None;
    }
    let mut values = Vec::with_capacity(2 * count * pixel);
    for i in 0..2 * count {
        let at = 2 * (i / 2 * pairs / count) + i % 2;
        values.extend_from_slice(arena.get(start + at * pixel..)?.get(..c)?);
        values.resize((i + 1) * pixel, 0.0);
    }

    let ([k, _], half) = halves::halves(c as u64, n as u64)?;
    let (k, wide) = (k as usize, 2 * half as usize);
    let panels = view.floats(p.weights);
    let (bias, mut got) = (vec![0.0; wide], vec![0.0; 2 * count * wide]);
    let (input, output) = (Shape::new(1, 1, 2 * count, c), Shape::new(1, 1, 2 * count, n));
    let weights = Panels::F32(panels);
    let args = Conv { window: Window::ONE, groups: 1, weights, bias: &bias, take: Take::Plain, act: Act::None };
    let mut scratch = vec![0.0; strassen_scratch(input, output)];
    let out = ViewMut::new(&mut got, output, wide);
    strassen(Isa::detect(), &Serial, &args, View::new(&values, input, pixel), None, out, &mut scratch);

    let (low, high) = panels.split_at_checked(k * wide)?;
    let (mut largest, mut worst, mut sound) = (0f64, 0f64, true);
    for (pixel, got) in values.chunks(pixel).zip(got.chunks(wide)) {
        for (block, got) in got[..n].chunks(BLOCK).enumerate() {
            let mut sums = [0f64; BLOCK];
            for (&v, row) in pixel[..c].iter().zip(panel(low, block, k).iter().chain(panel(high, block, c - k))) {
                sums.iter_mut().zip(row).for_each(|(sum, &w)| *sum += f64::from(v) * f64::from(w));
            }
            for (&got, want) in got.iter().zip(sums) {
                largest = largest.max(want.abs());
                worst = worst.max((f64::from(got) - want).abs());
                sound &= want.is_finite() && got.is_finite();
            }
        }
    }
    // What is not finite is as far off as can be. Where all is zero nothing can be said, and nothing is lost.
    Some(match (sound, worst == 0.0) {
        (false, _) => f64::INFINITY,
        (true, true) => 0.0,
        (true, false) => worst / largest,
    })
}
