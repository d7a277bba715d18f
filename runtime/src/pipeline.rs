//! Steps that run together, a few rows at a time.
//!
//! ```text
//! for each band of the last step's rows:
//!     from the last step to the first:  where each goes on, and how far it has to come
//!     from the first step to the last:  make the rows that are missing
//! ```
//!
//! 1. A step makes rows by the same kernels as a whole image: its operands are views of some rows, and windows that begin above
//!    the input have so many rows of padding less as the view begins below its edge. So every row has the bits that it has without a
//!    pipeline.
//! 2. What lies between the steps is in the thread's own scratch. When it is full, the rows that are still needed move to its
//!    beginning.
//! 3. Threads share the rows of the last step. Each makes what it needs for its own, so some rows between are made twice.

use crate::arena::{Readable, cut};
use crate::exec::{self, Operands, apply};
use crate::features;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};
use sepal_format::ModelView;
use sepal_format::limits::PIPELINE_STEPS;
use sepal_format::op::OpRef;
use sepal_format::record::{NONE, Pipeline, Step, Tensor, place};
use sepal_format::rows::{RowMap, source, tile_rows};
use sepal_kernels::par::{Parallel, Serial, split};
use sepal_kernels::{Isa, Shape, View, ViewMut};

/// Inputs of a step that a pipeline knows of.
const SLOTS: usize = 2;

/// Floats of the scratch of a thread that hold rows: what a kernel needs comes after them.
fn rows_end(view: &ModelView, p: &Pipeline) -> Option<usize> {
    let steps = view.steps().get(p.range())?;
    let mut end = 0;
    for step in steps.split_last()?.1 {
        let t = exec::tensor(view, step.output)?;
        end = exec::start(t).checked_add(row(t).checked_mul(t.rows as usize)?)?;
    }
    Some(end)
}

/// Floats of a row of a tensor.
fn row(t: &Tensor) -> usize {
    exec::shape(t).w * t.pixel as usize
}

/// Floats of scratch that a step of a pipeline needs for each thread, the rows of all its tensors included.
pub(crate) fn scratch(view: &ModelView, p: &Pipeline, step: &Step) -> Option<usize> {
    let (x, y) = exec::shapes(view, step)?;
    let out = exec::tensor(view, step.output)?;
    let rows = if out.place == place::ROWS { out.rows } else { p.band };
    rows_end(view, p)?.checked_add(exec::scratch_by_rows(&step.op_ref()?, x, y, rows as usize))
}

/// Runs a pipeline. `None` if it does not fit its memory, which verification rules out.
pub(crate) fn run(
    view: &ModelView,
    isa: Isa,
    par: &dyn Parallel,
    p: &Pipeline,
    arena: &mut [f32],
    after: &mut dyn FnMut(usize),
) -> Option<()> {
    features::PIPELINES?;
    let steps = view.steps().get(p.range())?;
    let target = exec::tensor(view, steps.last()?.output)?;
    let tensors = (view.plan().tensor_bytes / 4) as usize;
    let per_thread = (view.plan().scratch_bytes / 4) as usize;
    let (arena, out, scratch) = cut(arena, tensors, exec::span(target)?)?;
    let part = Part { view, isa, steps, arena, band: p.band.into(), rows_end: rows_end(view, p)?, target };
    let rows = target.dims[0] as usize * target.dims[1] as usize;
    if par.parts() == 1 {
        return part.run(0..rows, out, scratch, &mut |k| after(p.first as usize + k));
    }
    let failed = AtomicBool::new(false);
    // Parts of any number of rows: bands begin with the part, and even parts count for more than whole bands.
    split(par, out, rows, row(target), 1, scratch, per_thread, &|rows, out, scratch| {
        if part.run(rows, out, scratch, &mut |_| ()).is_none() {
            failed.store(true, Ordering::Relaxed);
        }
    });
    after(p.range().end - 1);
    (!failed.into_inner()).then_some(())
}

/// A pipeline bound to memory.
struct Part<'a> {
    view: &'a ModelView<'a>,
    isa: Isa,
    steps: &'a [Step],
    /// What is read of the arena.
    arena: Readable<'a>,
    /// Rows of the last step that are made at a time.
    band: i64,
    /// Floats of scratch that hold rows.
    rows_end: usize,
    /// Of the last step.
    target: &'a Tensor,
}

/// How far a step has come.
#[derive(Clone, Copy, Default)]
struct State {
    /// Rows of the output.
    height: i64,
    /// Output rows that are made together.
    tile: i64,
    /// First row that is kept.
    base: i64,
    /// One past the last row that is made, or needed no more.
    done: i64,
    /// First row that others need next.
    wanted: i64,
    /// One past the last row that is needed.
    need: i64,
    /// Which step makes each input, and which of its rows are read.
    from: [Option<(usize, RowMap)>; SLOTS],
}

impl Part<'_> {
    /// Makes some rows, counted through all images, of the last step's output; `out` begins with the first of them.
    fn run(&self, rows: Range<usize>, out: &mut [f32], scratch: &mut [f32], after: &mut dyn FnMut(usize)) -> Option<()> {
        let (height, mut at) = (self.target.dims[1] as usize, rows.start);
        while at < rows.end {
            let (image, first) = (at / height, at % height);
            let end = height.min(first + rows.end - at);
            let out = out.get_mut((at - rows.start) * row(self.target)..)?;
            self.image(image, first as i64..end as i64, out, scratch, after)?;
            at += end - first;
        }
        Some(())
    }

    /// Makes some rows of one image.
    fn image(
        &self,
        image: usize,
        rows: Range<i64>,
        out: &mut [f32],
        scratch: &mut [f32],
        after: &mut dyn FnMut(usize),
    ) -> Option<()> {
        let mut states = [State::default(); PIPELINE_STEPS];
        let states = states.get_mut(..self.steps.len())?;
        self.begin(states, rows.start)?;
        let last = states.len().checked_sub(1)?;
        let mut at = rows.start;
        while at < rows.end {
            at = rows.end.min(at + self.band);
            states.iter_mut().for_each(|s| s.wanted = s.height);
            let s = states.get_mut(last)?;
            (s.wanted, s.need) = (s.done, at);
            for k in (0..states.len()).rev() {
                let s = states.get_mut(k)?;
                // Rows that nobody wants are left out, but tiles are whole.
                let start = s.wanted / s.tile * s.tile;
                if start > s.done {
                    (s.base, s.done) = (start, start);
                }
                s.need = s.height.min((s.need + s.tile - 1) / s.tile * s.tile).max(s.done);
                let (done, need, from) = (s.done, s.need, s.from);
                for (j, map) in from.into_iter().flatten() {
                    let source = states.get_mut(j)?;
                    source.wanted = source.wanted.min(map.first(done).clamp(0, source.height));
                    source.need = source.need.max(map.end(need).clamp(0, source.height));
                }
            }
            for k in 0..states.len() {
                let s = *states.get(k)?;
                if s.need > s.done {
                    if k < last {
                        self.make_room(states, k, scratch)?;
                    }
                    self.step(states, k, image, rows.start, out, scratch)?;
                    states.get_mut(k)?.done = s.need;
                    after(k);
                }
            }
        }
        Some(())
    }

    /// The states before row `first` of the last step's output.
    fn begin(&self, states: &mut [State], first: i64) -> Option<()> {
        for (k, step) in self.steps.iter().enumerate() {
            let op = step.op_ref()?;
            let from = core::array::from_fn(|slot| {
                let t = *step.inputs.get(slot).filter(|&&t| t != NONE)?;
                Some((source(self.steps, k, t)?, RowMap::of(&op, slot)?))
            });
            let height = exec::tensor(self.view, step.output)?.dims[1].into();
            *states.get_mut(k)? = State { height, tile: tile_rows(&op).max(1), from, ..State::default() };
        }
        let s = states.last_mut()?;
        (s.base, s.done) = (first, first);
        Some(())
    }

    /// Sees to it that the rows up to `need` of step `k` have a place.
    fn make_room(&self, states: &mut [State], k: usize, scratch: &mut [f32]) -> Option<()> {
        let State { base, done, need, .. } = *states.get(k)?;
        let t = exec::tensor(self.view, self.steps.get(k)?.output)?;
        if need - base <= i64::from(t.rows) {
            return Some(());
        }
        let mut keep = done;
        for s in states.get(k + 1..)? {
            for (j, map) in s.from.into_iter().flatten() {
                if j == k {
                    keep = keep.min(map.first(s.done));
                }
            }
        }
        let keep = keep.max(base);
        let (row, start) = (row(t), exec::start(t));
        let at = |y: i64| start + (y - base) as usize * row;
        if keep > base {
            scratch.get(at(keep)..at(done))?;
            scratch.copy_within(at(keep)..at(done), start);
        }
        states.get_mut(k)?.base = keep;
        (need - keep <= i64::from(t.rows)).then_some(())
    }

    /// Makes rows `done..need` of step `k`. `out` begins with row `first` of the last step's output.
    fn step(&self, states: &[State], k: usize, image: usize, first: i64, out: &mut [f32], scratch: &mut [f32]) -> Option<()> {
        let (step, s) = (self.steps.get(k)?, states.get(k)?);
        let op = step.op_ref()?;
        let target = exec::tensor(self.view, step.output)?;
        let (row, count) = (row(target), (s.need - s.done) as usize);
        let (kept, data, scratch) = if k + 1 == self.steps.len() {
            let (kept, scratch) = scratch.split_at_mut_checked(self.rows_end)?;
            (Readable::all(kept), out.get_mut((s.done - first) as usize * row..)?, scratch)
        } else {
            let at = exec::start(target) + (s.done - s.base) as usize * row;
            cut(scratch, self.rows_end, at..at + count * row)?
        };
        let shape = Shape { n: 1, h: count, ..exec::shape(target) };
        let data = data.get_mut(..sepal_kernels::view::span(shape, target.pixel as usize))?;
        let out = ViewMut { data, shape, pixel: target.pixel as usize };
        let (x, pad) = self.read(states, k, 0, &op, image, kept)?;
        let second = if step.inputs[1] == NONE { None } else { Some(self.read(states, k, 1, &op, image, kept)?.0) };
        let take = exec::take(&op, exec::tensor(self.view, step.inputs[0])?, None);
        apply(self.view, self.isa, &Serial, &op, Operands { x, take, second, pad: Some(pad), out, scratch })
    }

    /// The rows of an input that step `k` needs next, and how many rows above them its first window begins.
    fn read<'m>(
        &'m self,
        states: &[State],
        k: usize,
        slot: usize,
        op: &OpRef,
        image: usize,
        kept: Readable<'m>,
    ) -> Option<(View<'m>, usize)> {
        let s = states.get(k)?;
        let t = &op.sees(slot, exec::tensor(self.view, *self.steps.get(k)?.inputs.get(slot)?)?);
        let shape = exec::shape(t);
        let map = RowMap::of(op, slot)?;
        let (first, end) = (map.first(s.done), map.end(s.need));
        let height = i64::from(t.dims[1]);
        let start = first.clamp(0, height);
        let end = end.clamp(start, height);
        // An operand that repeats has one row for all.
        let (start, end) = if slot > 0 && height == 1 { (0, 1) } else { (start, end) };
        let view = Shape { n: 1, h: (end - start) as usize, ..shape };
        let span = |shape| sepal_kernels::view::span(shape, t.pixel as usize);
        let by_planes = op.takes_planes() && slot == 0;
        // Windows that miss the input see no rows of it, and where these would be need not be memory.
        let data = if start == end && !by_planes {
            &[]
        } else if let Some((j, _)) = s.from.get(slot).copied().flatten() {
            let source = states.get(j)?;
            (start >= source.base && end <= source.done).then_some(())?;
            let at = exec::start(t) + (start - source.base) as usize * row(t);
            kept.get(at..at + span(view))?
        } else {
            let image = if shape.n == 1 { 0 } else { image };
            // Of planes: from the first row of the first to the last row of the last.
            let (planes, between) = if by_planes { (shape.c, shape.h * shape.w) } else { (1, 0) };
            let at = exec::start(t) + (image * planes * shape.h + start as usize) * row(t);
            let last = if planes == 1 { view } else { Shape { c: 1, ..view } };
            let floats = (planes - 1) * between + span(last);
            match t.place {
                place::WEIGHTS => self.view.weights().get(at..at + floats)?,
                _ => self.arena.get(at..at + floats)?,
            }
        };
        Some((View { data, shape: view, pixel: t.pixel as usize }, (-first).max(0) as usize))
    }
}
