//! The verified file.

use crate::error::{FormatError, FormatErrorKind};
use crate::record::*;

/// A file that has been verified: every range lies inside it, every step fits its tensors, no step destroys what is needed.
/// Made by [`ModelView::parse`] only.
#[derive(Clone, Copy, Debug)]
pub struct ModelView<'a> {
    pub(crate) header: &'a Header,
    pub(crate) plan: &'a Plan,
    pub(crate) tensors: &'a [Tensor],
    pub(crate) steps: &'a [Step],
    pub(crate) io: &'a [Io],
    pub(crate) inputs: usize,
    pub(crate) names: &'a str,
    pub(crate) weights: &'a [f32],
    pub(crate) bytes: &'a [u8],
}

impl<'a> ModelView<'a> {
    /// Verifies the structure of a file. Takes time in the number of its records, not in the size of its weights.
    ///
    /// # Errors
    /// Whatever makes the file unsound, at the first place found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        crate::validate::parse(bytes)
    }

    /// Compares the weights with their hash.
    ///
    /// # Errors
    /// [`FormatErrorKind::WeightsHash`].
    pub fn verify_weights(&self) -> Result<(), FormatError> {
        let hash = xxhash_rust::xxh3::xxh3_128(bytemuck::cast_slice(self.weights));
        let want = self.header.weights_hash;
        if [hash as u64, (hash >> 64) as u64] == want { Ok(()) } else { Err(FormatError::new(FormatErrorKind::WeightsHash)) }
    }

    /// Sizes of the plan.
    pub fn plan(&self) -> &'a Plan {
        self.plan
    }
    /// All tensors.
    pub fn tensors(&self) -> &'a [Tensor] {
        self.tensors
    }
    /// Steps in execution order.
    pub fn steps(&self) -> &'a [Step] {
        self.steps
    }
    /// Inputs in the source's order.
    pub fn inputs(&self) -> &'a [Io] {
        &self.io[..self.inputs]
    }
    /// Outputs in the source's order.
    pub fn outputs(&self) -> &'a [Io] {
        &self.io[self.inputs..]
    }
    /// Name of an input or output.
    pub fn io_name(&self, io: &Io) -> &'a str {
        self.name(io.name, io.name_len)
    }
    /// Name of a step.
    pub fn step_name(&self, step: &Step) -> &'a str {
        self.name(step.name, step.name_len)
    }
    fn name(&self, offset: u32, len: u32) -> &'a str {
        let (a, n) = (offset as usize, len as usize);
        a.checked_add(n).and_then(|b| self.names.get(a..b)).unwrap_or("")
    }
    /// The whole weights section.
    pub fn weights(&self) -> &'a [f32] {
        self.weights
    }
    /// Floats of a verified range of the weights.
    pub fn floats(&self, r: Range) -> &'a [f32] {
        let a = (r.offset / 4) as usize;
        self.weights.get(a..a + (r.len / 4) as usize).unwrap_or(&[])
    }
    /// Bytes of the first section of a kind, such as [`section::PROVENANCE`].
    pub fn section(&self, kind: u32) -> Option<&'a [u8]> {
        let table = self.bytes.get(64..)?.get(..self.header.sections as usize * size_of::<Section>())?;
        let table: &[Section] = bytemuck::try_cast_slice(table).ok()?;
        let s = table.iter().find(|s| s.kind == kind)?;
        self.bytes.get(s.offset as usize..)?.get(..s.len as usize)
    }
    /// XXH3-128 of the weights, as stored.
    pub fn weights_hash(&self) -> [u64; 2] {
        self.header.weights_hash
    }
    /// XXH3-64 of the structure, as stored.
    pub fn structure_hash(&self) -> u64 {
        self.header.structure_hash
    }
    /// Bytes of the file.
    pub fn file_len(&self) -> usize {
        self.bytes.len()
    }
}
