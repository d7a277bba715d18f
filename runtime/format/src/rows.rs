//! Which rows of its inputs a step needs: the arithmetic of a [`Pipeline`].
//!
//! Step k makes rows `[a, b)` of its output from rows `[a * stride - pad, (b - 1) * stride - pad + reach + 1)` of its input, as far
//! as the input has them. From the last step back this gives, for the rows `[a, a + band)` of the pipeline's output,
//! at most `(band - 1) * S + before + after + 1` rows of the output of each step, whatever a is: S multiplies the strides on the
//! way, `before` and `after` add up what windows and whole Winograd tiles need in excess.

use crate::limits::PIPELINE_STEPS;
use crate::op::OpRef;
use crate::record::*;
use crate::{strassen, winograd};

/// The input rows under output rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowMap {
    /// Input rows from one output row to the next.
    pub stride: i64,
    /// Rows above the input that the first output row's window begins.
    pub pad: i64,
    /// Rows from the first to the last of a window.
    pub reach: i64,
}

impl RowMap {
    /// Each row from the same row.
    pub const SAME: RowMap = RowMap { stride: 1, pad: 0, reach: 0 };

    /// That of an input of an operator; `None` if the operator cannot run by rows.
    pub fn of(op: &OpRef, slot: usize) -> Option<RowMap> {
        if matches!(op, OpRef::Reduce(_) | OpRef::Softmax(_) | OpRef::Copy(_) | OpRef::Resize(_) | OpRef::Matmul(_)) {
            return None;
        }
        if op.is_gated() {
            return None;
        }
        let Some(w) = window(op).filter(|_| slot == 0) else { return Some(Self::SAME) };
        let [kernel, stride, dilation, pad] = [w.kernel, w.stride, w.dilation, w.pad].map(|[rows, _]| i64::from(rows));
        Some(RowMap { stride, pad, reach: (kernel - 1).checked_mul(dilation)? })
    }

    /// The first row that the window of output row `row` covers; may lie outside.
    pub fn first(&self, row: i64) -> i64 {
        row * self.stride - self.pad
    }

    /// One past the last row that the window of output row `end - 1` covers; may lie outside.
    pub fn end(&self, end: i64) -> i64 {
        self.first(end - 1) + self.reach + 1
    }
}

/// The window of an operator that has one: it lies on input 0.
pub fn window<'a>(op: &OpRef<'a>) -> Option<&'a WindowRecord> {
    match op {
        OpRef::Conv(p) => Some(&p.window),
        OpRef::Depthwise(p) => Some(&p.window),
        OpRef::Separable(p) => Some(&p.depthwise.window),
        OpRef::Pool(p) => Some(&p.window),
        OpRef::Binary(_) | OpRef::ScaleShift(_) | OpRef::Activation(_) | OpRef::Prelu(_) => None,
        OpRef::Unary(_) | OpRef::LayerNorm(_) => None,
        OpRef::Reduce(_) | OpRef::Softmax(_) | OpRef::Copy(_) | OpRef::Resize(_) | OpRef::Matmul(_) => None,
    }
}

/// Output rows that an operator makes together: those of a Winograd tile, two that have whole pairs of pixels between them, otherwise 1.
pub fn tile_rows(op: &OpRef) -> i64 {
    match op {
        OpRef::Conv(p) if p.algorithm == strassen::CODE => 2,
        OpRef::Conv(p) if p.algorithm != 0 => i64::from(winograd::tile(p.algorithm)[0]),
        _ => 1,
    }
}

/// Which of a pipeline's steps before step `k` makes tensor `t`.
pub fn source(steps: &[Step], k: usize, t: u32) -> Option<usize> {
    steps.iter().take(k).position(|s| s.output == t)
}

/// Rows of each step's output that a pipeline of verified steps keeps at most when it makes `band` rows at a time; for the last
/// step `band` itself. `None` if the steps are no pipeline: one cannot run by rows, is not read within, or is read by different
/// strides.
pub fn held(steps: &[Step], tensors: &[Tensor], band: u32) -> Option<[i64; PIPELINE_STEPS]> {
    #[derive(Clone, Copy)]
    struct Reach {
        stride: i64,
        before: i64,
        after: i64,
    }
    let mut reach = [None; PIPELINE_STEPS];
    let mut held = [0; PIPELINE_STEPS];
    let last = steps.len().checked_sub(1)?;
    *reach.get_mut(last)? = Some(Reach { stride: 1, before: 0, after: 0 });
    for (k, step) in steps.iter().enumerate().rev() {
        let Reach { stride, before, after } = (*reach.get(k)?)?;
        let op = step.op_ref()?;
        let tile = tile_rows(&op);
        if step.flags != 0 || tile < 1 || (k == last && tile > 1) {
            return None;
        }
        // Whole tiles.
        let (before, after) = (before.checked_add(tile - 1)?, after.checked_add(tile - 1)?);
        let rows = i64::from(band).checked_sub(1)?.checked_mul(stride)?.checked_add(before)?.checked_add(after)?.checked_add(1)?;
        let height = i64::from(tensors.get(step.output as usize)?.dims[1]);
        *held.get_mut(k)? = rows.min(height);
        for (slot, &t) in step.inputs.iter().enumerate() {
            let Some(j) = source(steps, k, t) else { continue };
            let m = RowMap::of(&op, slot)?;
            let own = Reach {
                stride: stride.checked_mul(m.stride)?,
                before: before.checked_mul(m.stride)?.checked_add(m.pad)?,
                after: after.checked_mul(m.stride)?.checked_sub(m.pad)?.checked_add(m.reach)?,
            };
            let slot = reach.get_mut(j)?;
            *slot = Some(match *slot {
                None => own,
                Some(other) if other.stride == own.stride => {
                    Reach { before: own.before.max(other.before), after: own.after.max(other.after), ..own }
                }
                Some(_) => return None,
            });
        }
        // Also where it is the pipeline's input only, an operator has to run by rows.
        RowMap::of(&op, 0)?;
    }
    Some(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_under_a_window() {
        let m = RowMap { stride: 2, pad: 1, reach: 2 };
        assert_eq!((m.first(0), m.end(1)), (-1, 2));
        assert_eq!((m.first(3), m.end(5)), (5, 10));
        assert_eq!((RowMap::SAME.first(7), RowMap::SAME.end(9)), (7, 9));
    }
}
