//! Writing a file.

extern crate alloc;
use crate::record::*;
use alloc::vec::Vec;

/// A plan of a file to be written, without its weights; the first of a file has what all of them share.
#[derive(Debug)]
pub struct Model {
    /// Sizes.
    pub plan: Plan,
    /// Tensors.
    pub tensors: Vec<Tensor>,
    /// Steps in execution order.
    pub steps: Vec<Step>,
    /// In the order of their steps.
    pub pipelines: Vec<Pipeline>,
    /// Inputs, then outputs.
    pub io: Vec<Io>,
    /// What the records' names point into. Those of the first plan are what the names of all point into.
    pub names: Vec<u8>,
    /// Optional sections: kind, bytes.
    pub extra: Vec<(u32, Vec<u8>)>,
}

impl Model {
    /// The bytes of the file up to the weights section, which is to follow at once. The same model gives the same bytes.
    pub fn structure(&self, weights: &[u8]) -> Vec<u8> {
        structure(core::slice::from_ref(self), weights)
    }
}

/// As [`Model::structure`], of a file that has several plans over the same weights.
pub fn structure(plans: &[Model], weights: &[u8]) -> Vec<u8> {
    let mut sections: Vec<(Section, &[u8])> = Vec::new();
    for (plan, model) in (0..).zip(plans) {
        // Who does not know of further plans may leave them out.
        let mut add = |kind, flags, bytes| sections.push((Section { kind, flags, plan, reserved: 0, offset: 0, len: 0 }, bytes));
        let required = u32::from(plan == 0);
        add(section::PLAN, required, bytemuck::bytes_of(&model.plan));
        add(section::TENSORS, required, bytemuck::cast_slice(&model.tensors));
        add(section::STEPS, required, bytemuck::cast_slice(&model.steps));
        add(section::IO, required, bytemuck::cast_slice(&model.io));
        if plan == 0 {
            add(section::NAMES, required, &model.names);
        }
        if !model.pipelines.is_empty() {
            add(section::PIPELINES, required, bytemuck::cast_slice(&model.pipelines));
        }
        model.extra.iter().for_each(|(kind, bytes)| add(*kind, 0, bytes));
    }
    let count = sections.len() + 1;
    let mut at = (size_of::<Header>() + count * size_of::<Section>()).next_multiple_of(64);
    let mut table = Vec::new();
    for (entry, bytes) in &sections {
        table.push(Section { offset: at as u64, len: bytes.len() as u64, ..*entry });
        at = (at + bytes.len()).next_multiple_of(64);
    }
    let start = at.next_multiple_of(WEIGHTS_ALIGN);
    let (offset, len) = (start as u64, weights.len() as u64);
    table.push(Section { kind: section::WEIGHTS, flags: 1, plan: 0, reserved: 0, offset, len });

    let hash = xxhash_rust::xxh3::xxh3_128(weights);
    let mut header = Header {
        magic: MAGIC,
        major: MAJOR,
        minor: if plans.len() > 1 { MINOR } else { 0 },
        byte_order: BYTE_ORDER,
        structure_hash: 0,
        file_len: offset + len,
        weights_hash: [hash as u64, (hash >> 64) as u64],
        sections: count as u32,
        reserved: [0; 3],
    };
    let mut out = alloc::vec![0u8; start];
    out[..64].copy_from_slice(bytemuck::bytes_of(&header));
    let rows: &[u8] = bytemuck::cast_slice(&table);
    out[64..64 + rows.len()].copy_from_slice(rows);
    for (row, (_, bytes)) in table.iter().zip(&sections) {
        let a = row.offset as usize;
        out[a..a + bytes.len()].copy_from_slice(bytes);
    }
    header.structure_hash = crate::structure_hash(&out);
    out[..64].copy_from_slice(bytemuck::bytes_of(&header));
    out
}
