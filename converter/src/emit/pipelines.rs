//! Which steps run together, a few rows at a time.
//!
//! A tensor that is larger than the cache costs time to write and to read again. Steps that can run by rows keep only some rows of
//! it, at the price of weights that are read for each band of rows, of rows that move, and of more calls. Both are estimated with
//! rates that were measured on one core; then the best cut of the list of steps into pipelines and single steps is found by going
//! through it once (every pipeline ends somewhere, and what comes before its first step is a smaller case).

use super::tensors::{Lowered, Place};
use super::{Options, Streaming};
use sepal::plan::{scratch, scratch_by_rows};
use sepal_format::limits::{PIPELINE_ROWS, PIPELINE_STEPS};
use sepal_format::op::OpRef;
use sepal_format::record::{self, Pipeline, Step, Tensor, dtype};
use sepal_format::rows::{RowMap, held, source, window};
use sepal_kernels::Shape;
use std::ops::Range;

/// Rows of the last step's output that are tried.
const BANDS: [u32; 12] = [1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 64];
/// Nanoseconds that each call of a kernel costs.
const CALL: f64 = 150.0;
/// Nanoseconds that a byte between two steps may be worth: several plans are made, of which the best is taken.
const BETWEEN: [f64; 4] = [0.0, 0.01, 0.03, 0.1];
/// Nanoseconds that a byte of the arena is worth then: to touch one for the first time costs several times as much.
const ARENA: f64 = 0.1;
/// Nanoseconds to widen a weight that is stored as a half, which each call does anew.
const WIDEN: f64 = 0.05;
/// Floats of A that a multiplication works on at a time, after which its weights are read again.
const A_BLOCK: u64 = 96 * 1024;

/// Bytes a nanosecond that a step writes or reads beside its multiplications, by the kilobytes that are in use. Measured as the time
/// that steps with large tensors take beyond what their multiplications need.
const RATES: [(f64, f64); 7] =
    [(384.0, 200.0), (1024.0, 100.0), (2048.0, 60.0), (4096.0, 40.0), (8192.0, 20.0), (16384.0, 12.0), (32768.0, 10.0)];

/// The rate for so many bytes in use. Between two of the table the time of a byte grows evenly: no function whose last bit depends on
/// the host, where the same source has to give the same file.
fn rate(bytes: u64) -> f64 {
    let kb = bytes as f64 / 1024.0;
    let after = RATES.partition_point(|r| r.0 <= kb);
    match (after.checked_sub(1).map(|i| RATES[i]), RATES.get(after)) {
        (Some(below), Some(above)) => {
            let t = (kb - below.0) / (above.0 - below.0);
            1.0 / ((1.0 - t) / below.1 + t / above.1)
        }
        (Some(largest), None) => largest.1,
        (None, _) => RATES[0].1,
    }
}

/// Decides, moves what lies within pipelines to scratch, and sums up how much of it there must be.
pub(super) fn plan(lowered: &mut Lowered, options: Options) {
    let steps: Vec<Step> = lowered.steps.iter().map(|s| s.record()).collect();
    let tensors: Vec<Tensor> = lowered.tensors.iter().map(|t| t.record()).collect();
    let private = private(lowered);
    let before: Vec<Place> = lowered.tensors.iter().map(|t| t.place).collect();
    let mut best: Option<(f64, Vec<Pipeline>)> = None;
    let plan = Plan::new(lowered, &steps, &tensors, &private, options);
    let choices = plan.choose();
    let gain = |chosen: &Vec<Pipeline>| chosen.iter().filter_map(|p| plan.gain(p.range(), p.band)).map(|g| g.time).sum::<f64>();
    let gains = choices.each_ref().map(gain);
    let mut tried: Vec<Vec<Pipeline>> = Vec::new();
    for (chosen, gain) in choices.into_iter().zip(gains) {
        // Most often they are one, and a plan of memory takes long where there are thousands of tensors.
        if tried.contains(&chosen) {
            continue;
        }
        tried.push(chosen.clone());
        apply(lowered, &steps, &tensors, &chosen);
        let arena = super::memory::plan(lowered).bytes + lowered.scratch_bytes;
        let score = gain - ARENA * arena as f64;
        lowered.tensors.iter_mut().zip(&before).for_each(|(t, &place)| t.place = place);
        if best.as_ref().is_none_or(|(most, _)| score > *most) {
            best = Some((score, chosen));
        }
    }
    apply(lowered, &steps, &tensors, &best.unwrap_or_default().1);
}

/// Puts what lies within some pipelines into scratch.
fn apply(lowered: &mut Lowered, steps: &[Step], tensors: &[Tensor], chosen: &[Pipeline]) {
    let mut floats = 0;
    let mut alone = vec![true; steps.len()];
    for p in chosen {
        let range = p.range();
        alone[range.clone()].fill(false);
        let rows = held(&steps[range.clone()], tensors, p.band).unwrap_or([0; PIPELINE_STEPS]);
        let mut at = 0;
        for (step, &rows) in steps[range.clone()].iter().zip(&rows).take(range.len() - 1) {
            let t = step.output as usize;
            lowered.tensors[t].place = Place::Rows { offset: at, rows: rows as usize };
            at += rows as usize * row(&tensors[t]);
        }
        for (step, &rows) in steps[range].iter().zip(&rows) {
            if let (Some(op), (x, y)) = (step.op_ref(), shapes(step, tensors)) {
                floats = floats.max(at + scratch_by_rows(&op, x, y, rows as usize));
            }
        }
    }
    for (step, _) in steps.iter().zip(alone).filter(|(_, alone)| *alone) {
        if let (Some(op), (x, y)) = (step.op_ref(), shapes(step, tensors)) {
            floats = floats.max(scratch(&op, x, y));
        }
    }
    lowered.scratch_bytes = (floats as u64 * 4).next_multiple_of(64);
    lowered.pipelines = chosen.to_vec();
}

/// Floats of a row.
fn row(t: &Tensor) -> usize {
    t.dims[2] as usize * t.pixel as usize
}

fn bytes(t: &Tensor) -> u64 {
    u64::from(t.dims[0]) * u64::from(t.dims[1]) * row(t) as u64 * 4
}

fn shape(t: &Tensor) -> Shape {
    let [n, h, w, c] = t.dims.map(|d| d as usize);
    Shape::new(n, h, w, c)
}

fn shapes(step: &Step, tensors: &[Tensor]) -> (Shape, Shape) {
    let x = &tensors[step.inputs[0] as usize];
    let seen = step.op_ref().map_or(*x, |op| op.sees(0, x));
    (shape(&seen), shape(&tensors[step.output as usize]))
}

/// For each tensor the last step that reads it, if nothing else shares its memory and the caller does not see it.
fn private(lowered: &Lowered) -> Vec<Option<usize>> {
    let mut users = vec![0; lowered.buffers.len()];
    for t in &lowered.tensors {
        if let Place::Buffer { buffer, .. } = t.place {
            users[buffer] += 1;
        }
    }
    for (parent, _) in lowered.buffers.iter().filter_map(|b| b.parent) {
        users[parent] += 1;
    }
    let mut last = vec![None; lowered.tensors.len()];
    for (i, s) in lowered.steps.iter().enumerate() {
        s.inputs.iter().for_each(|&t| last[t] = Some(i));
    }
    let mut writers = vec![0; lowered.tensors.len()];
    lowered.steps.iter().for_each(|s| writers[s.output] += 1);
    for (t, tensor) in lowered.tensors.iter().enumerate() {
        let own = match tensor.place {
            Place::Buffer { buffer, offset: 0 } => users[buffer] == 1 && lowered.buffers[buffer].parent.is_none(),
            _ => false,
        };
        if !own || writers[t] != 1 || lowered.inputs.contains(&t) || lowered.outputs.contains(&t) {
            last[t] = None;
        }
    }
    last
}

/// Of a step: bytes of its weights, the terms of its sums, and how many weights are halves.
fn weights(step: &Step, tensors: &[Tensor]) -> (u64, u64, u64) {
    let channels = shapes(step, tensors).0.c as u64;
    let halves = |range: &record::Range, dtype| if dtype == dtype::F16 { range.len / 2 } else { 0 };
    match step.op_ref() {
        Some(OpRef::Conv(p)) => {
            let terms = channels * u64::from(p.window.kernel[0]) * u64::from(p.window.kernel[1]);
            (p.weights.len, terms, halves(&p.weights, p.weight_dtype))
        }
        Some(OpRef::Separable(p)) => (p.weights.len + p.depthwise.weights.len, channels, halves(&p.weights, p.weight_dtype)),
        Some(OpRef::Depthwise(p)) => (p.weights.len, 1, 0),
        _ => (0, 1, 0),
    }
}

struct Plan<'a> {
    lowered: &'a Lowered,
    steps: &'a [Step],
    tensors: &'a [Tensor],
    /// The same without an end, so that [`held`] says what steps would keep of them.
    endless: Vec<Tensor>,
    /// See [`private`].
    private: &'a [Option<usize>],
    options: Options,
    /// Of each step: bytes of its weights, the terms of its sums, and how many weights are halves.
    weights: Vec<(u64, u64, u64)>,
}

/// What a pipeline saves.
#[derive(Clone, Copy)]
struct Gain {
    /// Nanoseconds.
    time: f64,
    /// Bytes between its steps.
    bytes: f64,
}

/// The rows that each step of a pipeline keeps: [`held`] for every band at once, up to the tensor's height.
struct Rows {
    first: [i64; PIPELINE_STEPS],
    second: [i64; PIPELINE_STEPS],
}

impl Rows {
    /// Of step `k` for a band. They grow evenly with it.
    fn at(&self, k: usize, band: u32) -> Option<i64> {
        (self.second[k] - self.first[k]).checked_mul(i64::from(band) - 1)?.checked_add(self.first[k])
    }
}

impl<'a> Plan<'a> {
    fn new(lowered: &'a Lowered, steps: &'a [Step], tensors: &'a [Tensor], private: &'a [Option<usize>], options: Options) -> Self {
        let weights = steps.iter().map(|s| weights(s, tensors)).collect();
        let endless = tensors.iter().map(|t| Tensor { dims: [t.dims[0], u32::MAX, t.dims[2], t.dims[3]], ..*t }).collect();
        Plan { lowered, steps, tensors, endless, private, options, weights }
    }

    /// The pipelines that gain most in all, for each worth of a byte between steps.
    fn choose(&self) -> [Vec<Pipeline>; BETWEEN.len()] {
        if self.options.streaming == Streaming::Never {
            return Default::default();
        }
        // For the steps before each: the gain and the last pipeline.
        let mut best = vec![[(0.0, None); BETWEEN.len()]];
        for end in 1..=self.steps.len() {
            let mut here = best[end - 1].map(|(gain, _)| (gain, None));
            for first in (end.saturating_sub(PIPELINE_STEPS)..end.saturating_sub(1)).rev() {
                if !self.by_rows(end - 1) || !self.by_rows(first) {
                    break;
                }
                for (k, found) in self.pipeline(first, end).into_iter().enumerate() {
                    let Some((gain, band)) = found.filter(|(gain, _)| *gain > 0.0) else { continue };
                    let all = best[first][k].0 + gain;
                    if all > here[k].0 {
                        here[k] = (all, Some(Pipeline { first: first as u32, steps: (end - first) as u32, band, reserved: 0 }));
                    }
                }
            }
            best.push(here);
        }
        std::array::from_fn(|k| {
            let mut chosen = Vec::new();
            let mut end = self.steps.len();
            while end > 0 {
                match best[end][k].1 {
                    Some(p) => {
                        end = p.first as usize;
                        chosen.push(p);
                    }
                    None => end -= 1,
                }
            }
            chosen.reverse();
            chosen
        })
    }

    /// Whether a step can be part of a pipeline, as far as this does not depend on the others.
    fn by_rows(&self, i: usize) -> bool {
        let step = &self.steps[i];
        let Some(op) = step.op_ref() else { return false };
        if RowMap::of(&op, 0).is_none() || self.lowered.steps[i].in_place {
            return false;
        }
        let y = &self.tensors[step.output as usize];
        let windowed = window(&op).is_some();
        self.lowered.steps[i].inputs.iter().enumerate().all(|(slot, &t)| {
            let x = &self.tensors[t];
            let same = x.dims[0] == y.dims[0] && (x.dims[1] == y.dims[1] || (slot == 0 && windowed));
            same || (slot > 0 && x.dims[1] == 1 && (x.dims[0] == y.dims[0] || x.dims[0] == 1))
        })
    }

    /// The gain of a pipeline of steps `first..end` with the best band, in nanoseconds, for each worth of a byte between them; `None`
    /// if it cannot be.
    fn pipeline(&self, first: usize, end: usize) -> [Option<(f64, u32)>; BETWEEN.len()] {
        self.gains(first, end).map_or([None; BETWEEN.len()], |gains| {
            BETWEEN.map(|between| {
                let worth = gains.iter().map(|(gain, band)| (gain.time + between * gain.bytes, *band));
                worth.max_by(|a, b| a.0.total_cmp(&b.0))
            })
        })
    }

    /// What a pipeline of steps `first..end` saves by its band; `None` if it cannot be.
    fn gains(&self, first: usize, end: usize) -> Option<Vec<(Gain, u32)>> {
        let steps = &self.steps[first..end];
        let last = steps.last()?;
        let root = self.lowered.root_of(last.output as usize)?;
        for (k, step) in steps.iter().enumerate() {
            // What is made here is read here, and only here.
            if k + 1 < steps.len() && self.private[step.output as usize].is_none_or(|reader| reader >= end) {
                return None;
            }
            for &t in &self.lowered.steps[first + k].inputs {
                let made_here = source(steps, k, t as u32).is_some();
                // Only what was made before repeats its one row.
                let repeats = self.tensors[t].dims[1] != self.tensors[step.output as usize].dims[1] && step.inputs[0] as usize != t;
                if made_here && repeats {
                    return None;
                }
                // Views that interleave with what the pipeline writes.
                if !made_here && self.lowered.root_of(t) == Some(root) {
                    return None;
                }
            }
        }
        let height = self.tensors[last.output as usize].dims[1];
        if self.options.streaming == Streaming::Always {
            let rows = held(steps, self.tensors, 1)?;
            let few = rows.iter().all(|&rows| rows <= i64::from(PIPELINE_ROWS));
            return few.then(|| vec![(Gain { time: steps.len() as f64, bytes: 0.0 }, 1)]);
        }
        let rows = self.rows(steps)?;
        let bands = BANDS.iter().filter(|&&band| band < height);
        Some(bands.filter_map(|&band| Some((self.gain_of(first..end, band, &rows)?, band))).collect())
    }

    /// `None` if the steps are no pipeline.
    fn rows(&self, steps: &[Step]) -> Option<Rows> {
        Some(Rows { first: held(steps, &self.endless, 1)?, second: held(steps, &self.endless, 2)? })
    }

    /// What a pipeline saves; `None` if it cannot be.
    fn gain(&self, range: Range<usize>, band: u32) -> Option<Gain> {
        let rows = self.rows(&self.steps[range.clone()])?;
        self.gain_of(range, band, &rows)
    }

    fn gain_of(&self, range: Range<usize>, band: u32, kept: &Rows) -> Option<Gain> {
        let (steps, all) = (&self.steps[range.clone()], &self.weights[range]);
        let mut rows = [0; PIPELINE_STEPS];
        for (k, step) in steps.iter().enumerate() {
            rows[k] = kept.at(k, band)?.min(i64::from(self.tensors[step.output as usize].dims[1]));
        }
        let last = &self.tensors[steps.last()?.output as usize];
        let bands = u64::from(last.dims[0]) * u64::from(last.dims[1].div_ceil(band));
        let mut kept = 0;
        let mut whole = 0;
        let mut weights = 0;
        for ((step, &rows), own) in steps.iter().zip(&rows).zip(all) {
            let t = &self.tensors[step.output as usize];
            if rows > i64::from(PIPELINE_ROWS) {
                return None;
            }
            if !std::ptr::eq(step, steps.last()?) {
                kept += rows as u64 * row(t) as u64 * 4;
                whole += bytes(t);
            }
            weights += own.0;
        }
        let in_use = kept + weights;
        let mut time = -CALL * (bands * steps.len() as u64) as f64;
        for (k, (step, &rows)) in steps.iter().zip(&rows).enumerate() {
            let t = &self.tensors[step.output as usize];
            let size = bytes(t);
            if k + 1 < steps.len() {
                // Written and read once.
                time += 2.0 * size as f64 * (1.0 / rate(size) - 1.0 / rate(in_use));
                // Rows that are needed again move, when the memory is full.
                let fresh = (u64::from(t.dims[1]) / u64::from(last.dims[1].div_ceil(band))).max(1);
                let again = (rows as u64).saturating_sub(fresh);
                time -= 2.0 * (again * row(t) as u64 * 4 * bands) as f64 / rate(in_use);
            }
            let (bytes, terms, halves) = all[k];
            let pixels = shape(t).pixels() as u64;
            let blocks = pixels.div_ceil((A_BLOCK / terms.max(1)).clamp(24, 512));
            time -= (bytes * bands.saturating_sub(blocks)) as f64 / rate(in_use);
            time -= WIDEN * (halves * (bands - 1)) as f64;
        }
        Some(Gain { time, bytes: whole as f64 - kept as f64 })
    }
}
