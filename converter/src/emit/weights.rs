//! The weights section under construction.

use sepal_format::layout::ALIGN;
use sepal_format::record::Range;
use std::collections::HashMap;

/// Packed weights, each range aligned; what is packed twice in the same way is stored once.
#[derive(Default)]
pub(super) struct Weights {
    bytes: Vec<u8>,
    known: HashMap<(u128, usize), Range>,
}

impl Weights {
    /// Stores floats.
    pub(super) fn add(&mut self, floats: &[f32]) -> Range {
        self.add_bytes(bytemuck::cast_slice(floats))
    }

    /// Stores the bits of halves; of whole panels, so that what follows is still made of floats.
    pub(super) fn add_halves(&mut self, halves: &[u16]) -> Range {
        self.add_bytes(bytemuck::cast_slice(halves))
    }

    fn add_bytes(&mut self, new: &[u8]) -> Range {
        // The contents are compared as well, so a collision costs bytes, never correctness.
        let key = (fingerprint(new), new.len());
        if let Some(&r) = self.known.get(&key)
            && &self.bytes[r.offset as usize..(r.offset + r.len) as usize] == new
        {
            return r;
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
        let range = Range { offset: self.bytes.len() as u64, len: new.len() as u64 };
        self.bytes.extend_from_slice(new);
        self.known.insert(key, range);
        range
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// FNV-1a over 8-byte words, in two lanes: fixed for ever, unlike the standard library's hasher.
fn fingerprint(bytes: &[u8]) -> u128 {
    let mut a = 0xcbf2_9ce4_8422_2325_u64;
    let mut b = !a;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        let w = u64::from_le_bytes(word);
        a = (a ^ w).wrapping_mul(0x0100_0000_01b3);
        b = (b ^ w.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    u128::from(a) << 64 | u128::from(b)
}
