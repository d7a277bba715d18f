//! The memory plan: a place in the arena for every buffer.
//!
//! Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020): the largest buffer
//! first, each at the lowest offset where it meets no buffer that is needed at the same time.

use super::tensors::{LTensor, Lowered};
use crate::error::{Result, invalid};
use sepal_format::layout::{ALIGN, BLOCK};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// First and last step that needs a tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) first: u32,
    pub(super) last: u32,
}

/// Where everything goes.
pub(super) struct MemoryPlan {
    /// Bytes from the start of the arena, per buffer; only those of root buffers mean something.
    pub(super) offsets: Vec<u64>,
    /// Bytes of all of it.
    pub(super) bytes: u64,
}

/// Plans the arena.
pub(super) fn plan(lowered: &Lowered) -> MemoryPlan {
    let spans = lowered.buffer_lives();
    let size = |b: usize| ((lowered.buffers[b].floats * 4) as u64).next_multiple_of(ALIGN as u64);
    let mut order: Vec<usize> =
        (0..spans.len()).filter(|&b| lowered.buffers[b].parent.is_none() && spans[b].0 <= spans[b].1).collect();
    order.sort_by_key(|&b| (std::cmp::Reverse(size(b)), b));
    let mut offsets = vec![0; spans.len()];
    // By where they begin.
    let mut placed: Vec<(u64, u64, usize)> = Vec::new();
    let mut bytes = 0;
    for b in order {
        let mut at = 0;
        for &(start, end, o) in &placed {
            if spans[o].0 > spans[b].1 || spans[b].0 > spans[o].1 {
                continue;
            }
            if at + size(b) <= start {
                break;
            }
            at = at.max(end);
        }
        offsets[b] = at;
        bytes = bytes.max(at + size(b));
        let own = (at, at + size(b), b);
        placed.insert(placed.partition_point(|p| *p < own), own);
    }
    MemoryPlan { offsets, bytes }
}

/// Lives as the file states them, so that a reader can check the plan without knowing how it was made.
///
/// A tensor that no step writes is another view of memory that steps wrote (a reshape, or a concat whose parts are slices):
/// it begins with the last write into it, and what was written stays alive until all its views have been read.
///
/// # Errors
/// [`crate::Error::Invalid`] for thousands of views of thousands of parts that lie otherwise than they do.
pub(super) fn tensor_lives(lowered: &Lowered) -> Result<Vec<Life>> {
    let n = lowered.steps.len() as u32;
    let count = lowered.tensors.len();
    let mut written = vec![None; count];
    let mut last_written = vec![0; count];
    let mut read = vec![None; count];
    for &t in &lowered.inputs {
        written[t] = Some(0);
    }
    for (i, s) in lowered.steps.iter().enumerate() {
        // Steps of a pipeline read until its end.
        let run = lowered.run_of(i);
        for &t in &s.inputs {
            let (first, _) = read[t].unwrap_or((run.start as u32, 0));
            read[t] = Some((first, run.end as u32 - 1));
        }
        written[s.output].get_or_insert(i as u32);
        last_written[s.output] = i as u32;
    }
    for &t in &lowered.outputs {
        let (first, _) = read[t].unwrap_or((n, n));
        read[t] = Some((first, n));
    }
    let mut lives: Vec<Life> = (0..count)
        .map(|t| {
            let first = written[t].unwrap_or(0);
            // A tensor that several steps write (a concat by copies) lives until the last of them.
            let last = read[t].map_or(first, |r| r.1).max(first).max(last_written[t]);
            Life { first, last }
        })
        .collect();
    // Those that are written, by their memory, in the order in which they are. What the caller wrote comes before what step 0 writes.
    let inputs: HashSet<usize> = lowered.inputs.iter().copied().collect();
    let order = |t: usize| if inputs.contains(&t) { 0 } else { last_written[t] + 1 };
    let mut by_root: HashMap<usize, Vec<usize>> = HashMap::new();
    for (t, w) in written.iter().enumerate() {
        if let (Some(root), Some(_)) = (lowered.root_of(t), w) {
            by_root.entry(root).or_default().push(t);
        }
    }
    by_root.values_mut().for_each(|all| all.sort_by_key(|&t| order(t)));
    let mut compared = 0;
    for v in 0..count {
        let (None, Some((first_read, last_read))) = (written[v], read[v]) else { continue };
        let Some(writers) = lowered.root_of(v).and_then(|root| by_root.get(&root)) else { continue };
        let mut later = Later::new(lowered, v);
        let mut first = None;
        // The last one first: what is overwritten by one that comes later, the view does not read.
        for &t in writers.iter().rev().filter(|&&t| last_written[t] < first_read && lowered.overlap(t, v)) {
            first.get_or_insert(order(t).saturating_sub(1));
            let blocks = later.aligned(t);
            compared += later.others(&blocks).len();
            if compared > MOST_COMPARED {
                let what = "the parts of its concats are read under too many other shapes for a plan of memory";
                return Err(invalid(what));
            }
            if !later.replaces(t, &blocks) {
                // The view guards the memory in the step that reads it last, which may replace it in place.
                lives[t].last = lives[t].last.max(last_read.saturating_sub(1));
            }
            later.add(t, blocks);
            if later.is_whole() {
                break;
            }
        }
        lives[v].first = first.unwrap_or(0);
    }
    Ok(lives)
}

/// Pairs of tensors that are compared at most: about a second.
const MOST_COMPARED: usize = 1 << 27;

/// What is written into the memory of a view, from the last step on. Most lie in it channel by channel, as parts of a concat do: of
/// these it is enough to know the blocks of channels, where thousands of parts are compared with each other for each of thousands of
/// views.
struct Later<'a> {
    lowered: &'a Lowered,
    view: usize,
    /// From each block the way to the next that nothing was written to, itself if that is so; none where the view lies otherwise.
    next: Vec<usize>,
    /// The view's own blocks.
    own: Range<usize>,
    /// Blocks of the view that nothing was written to.
    left: usize,
    /// All of them, and those that lie otherwise.
    all: Vec<usize>,
    odd: Vec<usize>,
}

impl<'a> Later<'a> {
    fn new(lowered: &'a Lowered, view: usize) -> Self {
        let blocks = lowered.tensors[view].pixel.div_ceil(BLOCK);
        let (next, own, left) = match blocks_within(lowered, view, view) {
            Some(own) => ((0..=blocks).collect(), own.clone(), own.len()),
            None => (Vec::new(), 0..0, usize::MAX),
        };
        Later { lowered, view, next, own, left, all: Vec::new(), odd: Vec::new() }
    }

    /// The blocks of channels that a tensor takes, if it and the view lie channel by channel: it has all of the view's pixels and no
    /// others.
    fn aligned(&self, t: usize) -> Option<Range<usize>> {
        if self.next.is_empty() { None } else { blocks_within(self.lowered, t, self.view) }
    }

    /// What a tensor that takes these blocks is compared with.
    fn others(&self, blocks: &Option<Range<usize>>) -> &[usize] {
        if blocks.is_some() { &self.odd } else { &self.all }
    }

    /// The first block from `b` on that nothing was written to. Ways grow shorter as they are gone.
    fn free(&mut self, mut b: usize) -> usize {
        while self.next[b] != b {
            self.next[b] = self.next[self.next[b]];
            b = self.next[b];
        }
        b
    }

    /// What is free is written to next: no block is asked for twice.
    fn replaces(&mut self, t: usize, blocks: &Option<Range<usize>>) -> bool {
        let written = blocks.clone().is_some_and(|blocks| blocks.into_iter().any(|b| self.free(b) != b));
        written || self.others(blocks).iter().any(|&other| self.lowered.overlap(t, other))
    }

    fn add(&mut self, t: usize, blocks: Option<Range<usize>>) {
        self.all.push(t);
        if let Some(blocks) = blocks {
            let mut b = self.free(blocks.start);
            while b < blocks.end {
                self.left -= usize::from(self.own.contains(&b));
                self.next[b] = b + 1;
                b = self.free(b + 1);
            }
        } else {
            self.odd.push(t);
            if self.covers(t) {
                self.left = 0;
            }
        }
    }

    /// Whether a tensor without gaps has all of the view's memory.
    fn covers(&self, t: usize) -> bool {
        let (x, v) = (&self.lowered.tensors[t], &self.lowered.tensors[self.view]);
        let (Some((_, at)), Some((_, from))) = (self.lowered.locate(t), self.lowered.locate(self.view)) else { return false };
        let span = |t: &LTensor| sepal_kernels::view::span(t.shape(), t.pixel);
        x.dims[3].next_multiple_of(BLOCK).min(x.pixel) == x.pixel && at <= from && from + span(v) <= at + span(x)
    }

    /// Whether all of the view's memory was written: whatever came before was replaced.
    fn is_whole(&self) -> bool {
        self.left == 0
    }
}

/// The blocks of channels that a tensor takes of a view's memory, if it has all of its pixels and no others.
fn blocks_within(lowered: &Lowered, t: usize, view: usize) -> Option<Range<usize>> {
    let (x, v) = (&lowered.tensors[t], &lowered.tensors[view]);
    let ((_, at), (_, from)) = (lowered.locate(t)?, lowered.locate(view)?);
    let (first, channels) = (at % x.pixel, x.dims[3].next_multiple_of(BLOCK).min(x.pixel));
    let same = x.pixel == v.pixel && at / x.pixel == from / v.pixel && x.shape().pixels() == v.shape().pixels();
    (same && first.is_multiple_of(BLOCK) && first + channels <= x.pixel).then(|| first / BLOCK..(first + channels).div_ceil(BLOCK))
}
