//! A file whose tensors are all whole at some time: the same steps over the same weights, without pipelines.
//!
//! What lies between the steps of a pipeline is there by rows only. Here those tensors get memory behind all others, and each step
//! runs by itself, which gives the same bits: the caller compares the outputs.

use crate::error::{Result, invalid};
use sepal::AlignedBytes;
use sepal_format::ModelView;
use sepal_format::record::{Io, NONE, Plan, Step, Tensor, place};
use sepal_format::write::Model;
use sepal_kernels::Shape;

/// The bytes of that file.
pub(super) fn whole(view: &ModelView) -> Result<AlignedBytes> {
    let mut end = view.plan().tensor_bytes;
    let mut tensors: Vec<Tensor> = view.tensors().to_vec();
    for (i, step) in view.steps().iter().enumerate() {
        let Some(t) = tensors.get_mut(step.output as usize).filter(|t| t.place == place::ROWS) else { continue };
        let floats = [t.dims[0], t.dims[1], t.dims[2], t.pixel].iter().try_fold(1u64, |n, &d| n.checked_mul(u64::from(d)));
        let reads = |s: &Step| s.inputs.iter().take_while(|&&x| x != NONE).any(|&x| x == step.output);
        let last = view.steps().iter().rposition(reads).unwrap_or(i);
        *t = Tensor { place: place::ARENA, offset: end, rows: 0, first: i as u32, last: last as u32, ..*t };
        let bytes = floats.and_then(|n| n.checked_mul(4)?.checked_next_multiple_of(64));
        end = bytes.and_then(|n| end.checked_add(n)).ok_or_else(|| invalid("the tensors of the file are too large"))?;
    }
    let mut scratch = 0;
    for step in view.steps() {
        let shape = |t: u32| tensors.get(t as usize).map(|t| t.dims.map(|d| d as usize)).map(|[n, h, w, c]| Shape::new(n, h, w, c));
        if let (Some(op), Some(x), Some(y)) = (step.op_ref(), shape(step.inputs[0]), shape(step.output)) {
            scratch = scratch.max(sepal::plan::scratch(&op, x, y));
        }
    }
    let scratch_bytes = (scratch as u64 * 4).next_multiple_of(64);
    let io: Vec<Io> = view.inputs().iter().chain(view.outputs()).map(|io| Io { name: NONE, name_len: 0, ..*io }).collect();
    let steps = view.steps().iter().map(|s| Step { name: NONE, name_len: 0, ..*s }).collect();
    let plan = Plan { tensor_bytes: end, scratch_bytes, ..*view.plan() };
    let model = Model { plan, tensors, steps, pipelines: Vec::new(), io, names: Vec::new(), extra: Vec::new() };
    let weights: &[u8] = bytemuck::cast_slice(view.weights());
    let structure = model.structure(weights);
    let mut bytes =
        AlignedBytes::zeroed(structure.len() + weights.len()).ok_or_else(|| invalid("no memory for a second copy of the file"))?;
    bytes[..structure.len()].copy_from_slice(&structure);
    bytes[structure.len()..].copy_from_slice(weights);
    Ok(bytes)
}
