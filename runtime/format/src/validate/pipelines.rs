//! Pipelines: that their steps can run by rows, and that no row is written over while it is needed.

use super::tensors::Extent;
use super::{File, Result, ensure_at};
use crate::error::FormatErrorKind;
use crate::limits::{PIPELINE_ROWS, PIPELINE_STEPS};
use crate::record::*;
use crate::rows::{RowMap, held, source, tile_rows, window};

/// Checks that pipelines are runs of steps, one after the other.
pub(super) fn check_order(file: &File) -> Result<()> {
    let mut free = 0;
    for (i, p) in file.pipelines.iter().enumerate() {
        let range = p.range();
        let long = (2..=PIPELINE_STEPS).contains(&(p.steps as usize)) && (1..=PIPELINE_ROWS).contains(&p.band) && p.reserved == 0;
        ensure_at(long && range.start >= free && range.end <= file.steps.len(), FormatErrorKind::Pipeline, i)?;
        free = range.end;
    }
    Ok(())
}

/// Checks pipelines of verified steps.
pub(super) fn check(file: &File) -> Result<()> {
    for (i, p) in file.pipelines.iter().enumerate() {
        ensure_at(pipeline(file, p) == Some(true), FormatErrorKind::Pipeline, i)?;
    }
    Ok(())
}

fn pipeline(file: &File, p: &Pipeline) -> Option<bool> {
    let range = p.range();
    let steps = file.steps.get(range.clone())?;
    let held = held(steps, file.tensors, p.band)?;
    let tensor = |t: u32| file.tensors.get(t as usize);
    // Tensors between the steps follow each other in scratch.
    let mut free = 0;
    for (k, step) in steps.iter().enumerate() {
        let out = tensor(step.output)?;
        let y = Extent::of(out);
        if k + 1 == steps.len() {
            (out.place == place::ARENA).then_some(())?;
        } else {
            let bytes = y.w.checked_mul(y.pixel)?.checked_mul(out.rows.into())?.checked_mul(4)?;
            let enough = i64::from(out.rows) >= *held.get(k)?;
            // `first` and `last` say whose it is: no other step writes it, no other pipeline reads it.
            let own = out.first as usize == range.start + k && out.last as usize == range.end - 1;
            (out.place == place::ROWS && enough && own && out.offset >= free).then_some(())?;
            free = out.offset.checked_add(bytes)?;
        }
        // The last tile may be a part of one. By itself it reads rows below those that its windows cover, so there must be none.
        let op = step.op_ref()?;
        if tile_rows(&op) > 1 {
            let rows = RowMap::of(&op, 0)?.end(y.h.try_into().ok()?);
            (rows >= tensor(step.inputs[0])?.dims[1].into()).then_some(())?;
        }
        for (slot, &t) in step.inputs.iter().take_while(|&&t| t != NONE).enumerate() {
            let input = tensor(t)?;
            let x = Extent::of(&op.sees(slot, input));
            let made_here = source(steps, k, t).is_some();
            // Rows of the one come from rows of the other, but for operands that repeat.
            let same_rows = x.n == y.n && (x.h == y.h || !is_elementwise(step, slot));
            let repeats = slot > 0 && x.h == 1 && (x.n == y.n || x.n == 1);
            (made_here == (input.place == place::ROWS) && (same_rows || (repeats && !made_here))).then_some(())?;
        }
    }
    Some(true)
}

/// Whether an operator takes row y of an input for row y of its output: all but windows, whose input is the first.
fn is_elementwise(step: &Step, slot: usize) -> bool {
    slot > 0 || step.op_ref().is_none_or(|op| window(&op).is_none())
}
