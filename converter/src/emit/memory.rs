//! The memory plan: a place in the arena for every buffer.
//!
//! Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020): the largest buffer
//! first, each at the lowest offset where it meets no buffer that is needed at the same time.

use super::tensors::Lowered;
use sepal_format::layout::ALIGN;
use std::collections::HashMap;

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
    /// Per tensor.
    pub(super) lives: Vec<Life>,
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
    MemoryPlan { offsets, bytes, lives: tensor_lives(lowered) }
}

/// Lives as the file states them, so that a reader can check the plan without knowing how it was made.
///
/// A tensor that no step writes is another view of memory that steps wrote (a reshape, or a concat whose parts are slices):
/// it begins with the last write into it, and what was written stays alive until all its views have been read.
fn tensor_lives(lowered: &Lowered) -> Vec<Life> {
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
    let mut by_root: HashMap<usize, Vec<usize>> = HashMap::new();
    for (t, w) in written.iter().enumerate() {
        if let (Some(root), Some(_)) = (lowered.root_of(t), w) {
            by_root.entry(root).or_default().push(t);
        }
    }
    for v in 0..count {
        let (None, Some((first_read, last_read))) = (written[v], read[v]) else { continue };
        let Some(root) = lowered.root_of(v) else { continue };
        // What the caller wrote comes before what step 0 writes.
        let order = |t: usize| if lowered.inputs.contains(&t) { 0 } else { last_written[t] + 1 };
        let writers: Vec<(u32, usize)> = by_root
            .get(&root)
            .into_iter()
            .flatten()
            .filter(|&&t| last_written[t] < first_read && lowered.overlap(t, v))
            .map(|&t| (order(t), t))
            .collect();
        lives[v].first = writers.iter().map(|w| w.0.saturating_sub(1)).max().unwrap_or(0);
        for &(w, t) in &writers {
            let replaced = writers.iter().any(|&(w2, t2)| w2 > w && lowered.overlap(t, t2));
            if !replaced {
                // The view guards the memory in the step that reads it last, which may replace it in place.
                lives[t].last = lives[t].last.max(last_read.saturating_sub(1));
            }
        }
    }
    lives
}
