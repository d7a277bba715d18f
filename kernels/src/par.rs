//! How the work of one step is shared among threads.
//!
//! Work is cut along outputs only (pixels, rows or channel blocks), never along a sum, so the number of threads cannot
//! change a bit of the result.
#![expect(unsafe_code, reason = "hands each part of a split output to exactly one thread")]

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::Range;
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
pub fn range(len: usize, grain: usize, parts: usize, i: usize) -> Range<usize> {
    let units = len.div_ceil(grain);
    let at = |i: usize| (units * i / parts * grain).min(len);
    at(i)..at(i + 1)
}

/// Cuts `out` at multiples of `stride * grain` floats and `scratch` into equal chunks, and calls
/// `job(units, part of out, chunk of scratch)` for each part: `units` is the range of strides (pixels, rows) it covers.
///
/// `out` holds `units` strides, of which the last may be short. `scratch_len` floats of `scratch` go to each part.
pub fn split<P: Parallel + ?Sized>(
    par: &P,
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
    let mut out = Some(out);
    let mut scratch = scratch;
    let slots: [Slot<(Range<usize>, &mut [f32], &mut [f32])>; MAX_PARTS] = core::array::from_fn(|i| {
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

/// Rows of floats at equal distances, of which this value may write a band of columns. The other columns may belong to
/// somebody else, on another thread.
#[derive(Debug)]
pub struct Band<'a> {
    /// Row 0, column 0 of the band.
    base: *mut f32,
    rows: usize,
    stride: usize,
    columns: usize,
    memory: PhantomData<&'a mut [f32]>,
}

// SAFETY: a Band owns its columns of its rows as a `&'a mut [f32]` would, and no two bands share one.
unsafe impl Send for Band<'_> {}

impl<'a> Band<'a> {
    /// All `columns` of `rows` rows that begin `stride` floats apart.
    ///
    /// # Panics
    /// If rows overlap or `data` is too short.
    pub fn new(data: &'a mut [f32], rows: usize, stride: usize, columns: usize) -> Self {
        assert!(columns <= stride || rows <= 1, "rows overlap");
        let last = rows.saturating_sub(1).checked_mul(stride).and_then(|at| at.checked_add(columns));
        assert!(rows == 0 || last.is_some_and(|end| end <= data.len()), "band longer than its memory");
        Band { base: data.as_mut_ptr(), rows, stride, columns, memory: PhantomData }
    }

    /// Rows of the band.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the band.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The columns of row `i`.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline(always)]
    pub fn row(&mut self, i: usize) -> &mut [f32] {
        assert!(i < self.rows);
        // SAFETY: `new` proved that `columns` floats from `i * stride` lie in the memory borrowed for 'a (the cuts below only
        // make bands smaller), and the columns of this band are reached through `&mut self` only.
        unsafe { core::slice::from_raw_parts_mut(self.base.add(i * self.stride), self.columns) }
    }

    /// The rows before `at`, and the others.
    fn split_rows(self, at: usize) -> (Self, Self) {
        let at = at.min(self.rows);
        // An empty band is never dereferenced; its base need not lie in the memory.
        let base = self.base.wrapping_add(at * self.stride);
        (Band { rows: at, ..self }, Band { base, rows: self.rows - at, ..self })
    }

    /// The columns before `at`, and the others.
    fn split_columns(self, at: usize) -> (Self, Self) {
        let at = at.min(self.columns);
        let base = self.base.wrapping_add(at);
        (Band { columns: at, ..self }, Band { base, columns: self.columns - at, ..self })
    }
}

/// How [`split_band`] cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Into runs of rows, multiples of so many.
    Rows(usize),
    /// Into bands of columns, multiples of so many.
    Columns(usize),
}

/// What [`split_band`] gives to one part: a rectangle of the output and a chunk of scratch.
#[derive(Debug)]
pub struct Part<'a> {
    /// Rows of the whole that `out` covers.
    pub rows: Range<usize>,
    /// Columns of the whole that `out` covers.
    pub columns: Range<usize>,
    /// The rectangle.
    pub out: Band<'a>,
    /// Memory of this part alone.
    pub scratch: &'a mut [f32],
}

/// Cuts `out` as `cut` says and calls `job` for each part, with `scratch_len` floats of `scratch` for each.
///
/// # Panics
/// If `scratch` is shorter than `scratch_len` times the number of parts.
pub fn split_band<P: Parallel + ?Sized>(
    par: &P,
    out: Band,
    cut: Cut,
    scratch: &mut [f32],
    scratch_len: usize,
    job: &(dyn Fn(Part) + Sync),
) {
    let (len, grain) = match cut {
        Cut::Rows(grain) => (out.rows, grain.max(1)),
        Cut::Columns(grain) => (out.columns, grain.max(1)),
    };
    let parts = par.parts().clamp(1, MAX_PARTS).min(len.div_ceil(grain).max(1));
    if parts == 1 {
        return job(Part { rows: 0..out.rows, columns: 0..out.columns, out, scratch: &mut scratch[..scratch_len] });
    }
    let (rows, columns) = (out.rows, out.columns);
    let mut rest = Some(out);
    let mut scratch = scratch;
    let slots: [Slot<Part>; MAX_PARTS] = core::array::from_fn(|i| {
        let part = rest.take().filter(|_| i < parts).map(|band| {
            let r = range(len, grain, parts, i);
            let (mine, others) = match cut {
                Cut::Rows(_) => band.split_rows(r.len()),
                Cut::Columns(_) => band.split_columns(r.len()),
            };
            rest = Some(others);
            let (s, tail) = core::mem::take(&mut scratch).split_at_mut(scratch_len);
            scratch = tail;
            let (rows, columns) = match cut {
                Cut::Rows(_) => (r, 0..columns),
                Cut::Columns(_) => (0..rows, r),
            };
            Part { rows, columns, out: mine, scratch: s }
        });
        Slot(AtomicBool::new(false), UnsafeCell::new(part))
    });
    par.run(parts, &|i| {
        if let Some(part) = slots[i].take() {
            job(part);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Threads;

    #[test]
    fn ranges_cover_once() {
        for (len, grain, parts) in [(10, 1, 3), (7, 4, 2), (1, 1, 1), (64, 16, 5), (3, 2, 8)] {
            let mut next = 0;
            for i in 0..parts {
                let r = range(len, grain, parts, i);
                assert_eq!(r.start, next);
                next = r.end;
            }
            assert_eq!(next, len);
        }
    }

    #[test]
    fn bands_cover_once() {
        for (rows, columns, stride, parts) in [(7, 32, 48, 3), (1, 64, 64, 4), (5, 16, 16, 1), (2, 48, 64, 8)] {
            for cut in [Cut::Rows(1), Cut::Rows(2), Cut::Columns(16), Cut::Columns(1)] {
                let mut data = std::vec![0.0; rows * stride];
                let mut scratch = std::vec![0.0; parts * 3];
                let band = Band::new(&mut data, rows, stride, columns);
                split_band(&Threads(parts), band, cut, &mut scratch, 3, &|mut part| {
                    assert_eq!((part.out.rows(), part.out.columns()), (part.rows.len(), part.columns.len()));
                    for (i, r) in part.rows.clone().enumerate() {
                        for (v, c) in part.out.row(i).iter_mut().zip(part.columns.clone()) {
                            *v += (r * 1000 + c + 1) as f32;
                        }
                    }
                    part.scratch.iter_mut().for_each(|v| *v += 1.0);
                });
                for (i, &v) in data.iter().enumerate() {
                    let (r, c) = (i / stride, i % stride);
                    assert_eq!(v, if c < columns { (r * 1000 + c + 1) as f32 } else { 0.0 }, "{cut:?} {r} {c}");
                }
                assert!(scratch.iter().all(|&v| v <= 1.0));
            }
        }
    }

    #[test]
    #[should_panic(expected = "longer")]
    fn band_must_fit() {
        Band::new(&mut [0.0; 20], 2, 16, 16);
    }
}
