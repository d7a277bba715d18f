//! Mutations of flatbuffers (TFLite) that keep to tables and their fields: values change, fields vanish, offsets lead elsewhere.

use crate::random::Random;
use std::collections::HashSet;

fn u16_at(file: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(file.get(at..at.checked_add(2)?)?.try_into().ok()?).into())
}

fn u32_at(file: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(file.get(at..at.checked_add(4)?)?.try_into().ok()?)).ok()
}

/// Where fields are, and where the tables say so.
#[derive(Default)]
struct Places {
    /// Fields of tables.
    fields: Vec<usize>,
    /// Entries of their lists of fields: two bytes each, 0 for a field that is not there.
    entries: Vec<usize>,
    /// Offsets to tables and vectors, and where they lead.
    offsets: Vec<(usize, usize)>,
    /// Lengths of vectors, and their first elements.
    elements: Vec<usize>,
}

impl Places {
    /// The table at `at`, if there is one, and all that it leads to. Without a schema, what may be an offset is followed.
    fn table(&mut self, file: &[u8], at: usize, seen: &mut HashSet<usize>) -> Option<()> {
        let back = u32_at(file, at)? as u32 as i32;
        let list = usize::try_from(i64::try_from(at).ok()? - i64::from(back)).ok()?;
        let (bytes, size) = (u16_at(file, list)?, u16_at(file, list + 2)?);
        if bytes < 4
            || bytes % 2 != 0
            || size < 4
            || bytes > 256
            || size > 1024
            || list + bytes > file.len()
            || at + size > file.len()
        {
            return None;
        }
        if self.fields.len() > 4096 || !seen.insert(at) {
            return Some(());
        }
        for entry in (list + 4..list + bytes).step_by(2) {
            self.entries.push(entry);
            let field = u16_at(file, entry)?;
            if field < 4 || field >= size {
                continue;
            }
            let field = at + field;
            self.fields.push(field);
            if let Some(to) =
                u32_at(file, field).and_then(|offset| field.checked_add(offset)).filter(|&to| to > field && to % 4 == 0)
            {
                self.follow(file, field, to, seen);
            }
        }
        Some(())
    }

    fn follow(&mut self, file: &[u8], from: usize, to: usize, seen: &mut HashSet<usize>) {
        if self.table(file, to, seen).is_some() {
            self.offsets.push((from, to));
            return;
        }
        // A vector: of tables, or of something else.
        let Some(len) = u32_at(file, to).filter(|&len| len <= file.len() - to.min(file.len())) else { return };
        self.offsets.push((from, to));
        self.elements.push(to);
        for i in 0..len.min(64) {
            let element = to + 4 + 4 * i;
            let Some(offset) = u32_at(file, element) else { break };
            self.elements.push(element);
            if let Some(at) = element.checked_add(offset)
                && at > element
                && at % 4 == 0
                && self.table(file, at, seen).is_some()
            {
                self.offsets.push((element, at));
            }
        }
    }
}

/// One to three places of a flatbuffer, or what libFuzzer does to the bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    let file = &mut data[..size];
    let mut places = Places::default();
    let root = u32_at(file, 0).and_then(|root| places.table(file, root, &mut HashSet::new()));
    if root.is_none() || places.fields.is_empty() || random.below(8) == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    for _ in 0..1 + random.below(3) {
        let Places { fields, entries, offsets, elements } = &places;
        match random.below(8) {
            // A field is not there, or is another one.
            0 => {
                let (to, from) = (entries[random.below(entries.len())], entries[random.below(entries.len())]);
                let value = if random.below(2) == 0 { [0; 2] } else { [file[from], file[from + 1]] };
                file[to..to + 2].copy_from_slice(&value);
            }
            // An offset leads where another one does, if that is behind it.
            1 | 2 if !offsets.is_empty() => {
                let ((at, _), (_, to)) = (offsets[random.below(offsets.len())], offsets[random.below(offsets.len())]);
                if let Some(offset) = to.checked_sub(at).filter(|&o| o > 0) {
                    file[at..at + 4].copy_from_slice(&(offset as u32).to_le_bytes());
                }
            }
            // A value: one byte of it, or four.
            kind => {
                let list = if kind < 6 || elements.is_empty() { fields } else { elements };
                let at = list[random.below(list.len())];
                let len = if random.below(2) == 0 { 1 } else { 4 }.min(size - at);
                let old = u32_at(file, at).unwrap_or_default() as u64;
                let new = random.number(if len == 1 { old & 0xff } else { old });
                file[at..at + len].copy_from_slice(&new.to_le_bytes()[..len]);
            }
        }
    }
    size
}
