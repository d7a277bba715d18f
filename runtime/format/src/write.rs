//! Writing a file.

extern crate alloc;
use crate::record::*;
use alloc::vec::Vec;

/// A file to be written, without its weights.
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
    /// What the records' names point into.
    pub names: Vec<u8>,
    /// Optional sections: kind, bytes.
    pub extra: Vec<(u32, Vec<u8>)>,
}

impl Model {
    /// The bytes of the file up to the weights section, which is to follow at once. The same model gives the same bytes.
    pub fn structure(&self, weights: &[u8]) -> Vec<u8> {
        let mut sections: Vec<(u32, &[u8])> = alloc::vec![
            (section::PLAN, bytemuck::bytes_of(&self.plan)),
            (section::TENSORS, bytemuck::cast_slice(&self.tensors)),
            (section::STEPS, bytemuck::cast_slice(&self.steps)),
            (section::IO, bytemuck::cast_slice(&self.io)),
            (section::NAMES, &self.names),
        ];
        if !self.pipelines.is_empty() {
            sections.push((section::PIPELINES, bytemuck::cast_slice(&self.pipelines)));
        }
        let required = sections.len();
        sections.extend(self.extra.iter().map(|(k, b)| (*k, b.as_slice())));
        let count = sections.len() + 1;
        let mut at = (size_of::<Header>() + count * size_of::<Section>()).next_multiple_of(64);
        let mut table = Vec::new();
        let entry = |kind, flags, offset: usize, len: usize| Section {
            kind,
            flags,
            plan: 0,
            reserved: 0,
            offset: offset as u64,
            len: len as u64,
        };
        for (i, (kind, bytes)) in sections.iter().enumerate() {
            table.push(entry(*kind, u32::from(i < required), at, bytes.len()));
            at = (at + bytes.len()).next_multiple_of(64);
        }
        let start = at.next_multiple_of(WEIGHTS_ALIGN);
        table.push(entry(section::WEIGHTS, 1, start, weights.len()));

        let hash = xxhash_rust::xxh3::xxh3_128(weights);
        let mut header = Header {
            magic: MAGIC,
            major: MAJOR,
            minor: MINOR,
            byte_order: BYTE_ORDER,
            structure_hash: 0,
            file_len: (start + weights.len()) as u64,
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
}
