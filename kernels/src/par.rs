//! How the work of one step is shared among threads.
//!
//! Work is cut along outputs only (pixels, rows or channel blocks), never along a sum, so the number of threads cannot
//! change a bit of the result.

use core::ops::Range;

/// Most parts that a step is cut into.
pub const MAX_PARTS: usize = 64;

/// What one thread gets of a step.
#[derive(Debug, Default)]
pub struct Part<'a> {
    /// The pixels, rows or blocks of the output that it covers.
    pub units: Range<usize>,
    /// Their memory.
    pub out: &'a mut [f32],
    /// For intermediate results.
    pub scratch: &'a mut [f32],
}

/// What is done with a part.
pub type Job<'a> = dyn Fn(&mut Part) + Sync + 'a;

/// Somebody who runs the parts of a step: [`Serial`], or a pool of threads.
pub trait Parallel: Sync {
    /// Into how many parts a step should be cut; at least 1, at most [`MAX_PARTS`].
    fn parts(&self) -> usize;
    /// Calls `job` with each of `parts` once, on any threads, and returns when all have returned.
    fn run(&self, parts: &mut [Part], job: &Job);
}

/// Everything on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn parts(&self) -> usize {
        1
    }
    fn run(&self, parts: &mut [Part], job: &Job) {
        parts.iter_mut().for_each(job);
    }
}

/// The `i`-th of `parts` nearly equal ranges of `0..len`, each but the last a multiple of `grain`.
pub fn range(len: usize, grain: usize, parts: usize, i: usize) -> Range<usize> {
    let units = len.div_ceil(grain);
    let at = |i: usize| (units * i / parts * grain).min(len);
    at(i)..at(i + 1)
}

/// Cuts `out` at multiples of `stride * grain` floats and `scratch` into equal chunks, and calls
/// `job(units, part of out, chunk of scratch)` for each part: `units` is the range of strides (pixels, rows) it covers.
///
/// `out` holds `units` strides, of which the last may be short. `scratch_len` floats of `scratch` go to each part.
pub fn split(
    par: &dyn Parallel,
    out: &mut [f32],
    units: usize,
    stride: usize,
    grain: usize,
    scratch: &mut [f32],
    scratch_len: usize,
    job: &(dyn Fn(Range<usize>, &mut [f32], &mut [f32]) + Sync),
) {
    let parts = par.parts().clamp(1, MAX_PARTS).min(units.div_ceil(grain).max(1));
    if parts == 1 {
        return job(0..units, out, &mut scratch[..scratch_len]);
    }
    let (mut out, mut scratch) = (out, scratch);
    let mut all: [Part; MAX_PARTS] = core::array::from_fn(|i| {
        if i >= parts {
            return Part::default();
        }
        let units = range(units, grain, parts, i);
        let rest = core::mem::take(&mut out);
        let n = if i + 1 == parts { rest.len() } else { (units.len() * stride).min(rest.len()) };
        let (mine, rest) = rest.split_at_mut(n);
        out = rest;
        let (s, rest) = core::mem::take(&mut scratch).split_at_mut(scratch_len);
        scratch = rest;
        Part { units, out: mine, scratch: s }
    });
    par.run(&mut all[..parts], &|part| job(part.units.clone(), part.out, part.scratch));
}
