//! Disjoint views of one slice.

use core::ops::Range;

/// Cuts `target` out of `memory` for writing; the rest stays readable in two pieces.
pub(crate) struct Cut<'a> {
    before: &'a [f32],
    after: &'a [f32],
    end: usize,
}

impl<'a> Cut<'a> {
    pub(crate) fn new(memory: &'a mut [f32], target: Range<usize>) -> (&'a mut [f32], Self) {
        let end = target.end.min(memory.len());
        let (head, after) = memory.split_at_mut(end);
        let (before, target) = head.split_at_mut(target.start.min(end));
        (target, Cut { before, after, end })
    }

    /// A range that does not meet the target, as verified; empty if it does.
    pub(crate) fn read(&self, range: Range<usize>) -> &'a [f32] {
        if range.end <= self.before.len() {
            return self.before.get(range).unwrap_or(&[]);
        }
        let inside = range.start.checked_sub(self.end).and_then(|a| self.after.get(a..range.end - self.end));
        inside.unwrap_or(&[])
    }
}
