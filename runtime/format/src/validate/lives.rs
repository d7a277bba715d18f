//! The memory plan: no step destroys what is still needed or reads what is not there yet.
//!
//! A tensor is alive after step `first` (a graph input: from the start) up to step `last`. A tensor that no step writes is another
//! view of memory that steps have written: a reshape, or a concatenation whose parts are channels of it.
//!
//! A pipeline is one step in this: it reads what its steps read of the arena and writes the output of its last step, all of it
//! from its first step to its last.

use super::steps::{Access, access};
use super::tensors::Memory;
use super::{File, Result, ensure_at};
use crate::error::FormatError;
use crate::error::FormatErrorKind::{Io as BadIo, Overlap, Step as BadStep};
use crate::record::*;

pub(super) fn check(file: &File, inputs: usize) -> Result<()> {
    let given = |index: usize| file.io.iter().take(inputs).any(|io| io.tensor as usize == index);
    for (s, step) in file.steps.iter().enumerate() {
        let run = file.pipeline(s).map_or(s..s + 1, Pipeline::range);
        let (begin, now) = (run.start as u32, run.end as u32 - 1);
        let writer = file.steps.get(run.end - 1).ok_or(FormatError::at(BadStep, s))?;
        let Access { in_place, writes } = access(file, writer).ok_or(FormatError::at(BadStep, s))?;
        let output = writer.output as usize;
        let out = file.tensors.get(output).ok_or(FormatError::at(BadStep, s))?;
        let span = Memory::of(out).ok_or(FormatError::at(BadStep, s))?;
        ensure_at(out.first <= now && now <= out.last, Overlap, s)?;
        let reads = step.inputs.iter().take_while(|&&t| t != NONE).count();
        for (slot, &t) in step.inputs.iter().take(reads).enumerate() {
            let tensor = file.tensors.get(t as usize).ok_or(FormatError::at(BadStep, s))?;
            let Some(memory) = Memory::of(tensor) else { continue };
            let there = given(t as usize) || is_written(file, inputs, tensor, &memory, begin);
            ensure_at(now <= tensor.last && there, Overlap, s)?;
            if slot == 0 && in_place {
                // Its old value ends here.
                ensure_at(t == writer.output || tensor.last == now, Overlap, s)?;
            } else {
                ensure_at(!memory.spans_meet(&span), Overlap, s)?;
            }
        }
        if s != now as usize {
            continue;
        }
        for (i, t) in file.tensors.iter().enumerate() {
            if i == output || (in_place && step.inputs[0] as usize == i) || now > t.last {
                continue;
            }
            let alive = t.first < now || (now == 0 && given(i));
            let hit = alive && t.offset / 4 < writes.end && Memory::of(t).is_some_and(|m| m.meets(&writes));
            ensure_at(!hit, Overlap, s)?;
        }
    }
    let end = file.steps.len() as u32;
    for (i, io) in file.io.iter().enumerate().skip(inputs) {
        let t = io.tensor as usize;
        let tensor = file.tensors.get(t).ok_or(FormatError::at(BadIo, i))?;
        let there = |m: Memory| given(t) || is_written(file, inputs, tensor, &m, end);
        ensure_at(tensor.last == end && Memory::of(tensor).is_some_and(there), BadIo, i)?;
    }
    Ok(())
}

/// Whether a tensor holds a value when step `now` begins: its first step is over and wrote some of it, or it is another view of
/// a graph input.
fn is_written(file: &File, inputs: usize, tensor: &Tensor, memory: &Memory, now: u32) -> bool {
    let lies_on = |t: u32| file.tensors.get(t as usize).and_then(Memory::of).is_some_and(|m| m.meets(memory));
    let by_step = tensor.first < now && file.steps.get(tensor.first as usize).is_some_and(|s| lies_on(s.output));
    by_step || (tensor.first == 0 && file.io.iter().take(inputs).any(|io| lies_on(io.tensor)))
}
