//! How the work of one step is shared among threads.
//!
//! Work is cut along outputs only (pixels, rows or channel blocks), never along a sum, so the number of threads cannot
//! change a bit of the result.
#![expect(unsafe_code, reason = "hands each part of a split output to exactly one thread")]

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// Most parts that a step is cut into.
pub const MAX_PARTS: usize = 64;

/// Somebody who runs the parts of a step: [`Serial`], or a pool of threads.
pub trait Parallel: Sync {
    /// Into how many parts a step should be cut; at least 1, at most [`MAX_PARTS`].
    fn parts(&self) -> usize;
    /// Calls `job(0)`, ..., `job(parts - 1)`, each once, on any threads, and returns when all have returned.
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync));
}

/// Everything on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn parts(&self) -> usize {
        1
    }
    fn run(&self, parts: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..parts).for_each(job);
    }
}

/// A value that the first thread to ask for it gets.
struct Slot<T>(AtomicBool, UnsafeCell<Option<T>>);

// SAFETY: the cell is reached only by the thread that wins the swap in `take`, so a shared Slot moves its value to one
// thread at most, which `T: Send` allows.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    fn take(&self) -> Option<T> {
        if self.0.swap(true, Ordering::AcqRel) {
            return None;
        }
        // SAFETY: the swap returned false to this thread and never will again, so nobody else reaches the cell.
        unsafe { (*self.1.get()).take() }
    }
}

/// The `i`-th of `parts` nearly equal ranges of `0..len`, each but the last a multiple of `grain`.
pub fn range(len: usize, grain: usize, parts: usize, i: usize) -> core::ops::Range<usize> {
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
    job: &(dyn Fn(core::ops::Range<usize>, &mut [f32], &mut [f32]) + Sync),
) {
    let parts = par.parts().clamp(1, MAX_PARTS).min(units.div_ceil(grain).max(1));
    if parts == 1 {
        return job(0..units, out, &mut scratch[..scratch_len]);
    }
    let mut out = Some(out);
    let mut scratch = scratch;
    let slots: [Slot<(core::ops::Range<usize>, &mut [f32], &mut [f32])>; MAX_PARTS] = core::array::from_fn(|i| {
        let part = (i < parts).then(|| {
            let r = range(units, grain, parts, i);
            let rest = out.take().unwrap_or_default();
            let n = if i + 1 == parts { rest.len() } else { (r.len() * stride).min(rest.len()) };
            let (mine, rest) = rest.split_at_mut(n);
            out = Some(rest);
            let (s, tail) = core::mem::take(&mut scratch).split_at_mut(scratch_len);
            scratch = tail;
            (r, mine, s)
        });
        Slot(AtomicBool::new(false), UnsafeCell::new(part))
    });
    par.run(parts, &|i| {
        if let Some((r, out, scratch)) = slots[i].take() {
            job(r, out, scratch);
        }
    });
}
