//! The checks that make a [`Proof`] of bytes: header, sections and hash here, records in the modules below.
//!
//! Everything is refused that could make the runtime index outside a slice, overflow, or run a plan that destroys what it still
//! needs. Nothing is allocated, no loop is longer than the counts in [`limits`](crate::limits) allow, and all arithmetic on the
//! file's numbers is checked.

use crate::error::{FormatError, FormatErrorKind};
use crate::limits;
use crate::record::*;
use crate::view::{Part, Proof};
use bytemuck::Pod;
use core::mem::size_of;

mod lives;
mod pipelines;
mod steps;
mod tensors;

type Result<T> = core::result::Result<T, FormatError>;

/// An error unless `ok`.
fn ensure(ok: bool, kind: FormatErrorKind) -> Result<()> {
    if ok { Ok(()) } else { Err(FormatError::new(kind)) }
}

/// The same, with the index of the record at fault.
fn ensure_at(ok: bool, kind: FormatErrorKind, index: usize) -> Result<()> {
    if ok { Ok(()) } else { Err(FormatError::at(kind, index)) }
}

/// Verifies everything but the weights' values.
pub(crate) fn prove(bytes: &[u8]) -> Result<Proof> {
    let header = header(bytes)?;
    let sections = sections(bytes, &header)?;
    let structure = bytes.get(..sections.weights.start).ok_or(FormatError::new(FormatErrorKind::Section))?;
    ensure(crate::structure_hash(structure) == header.structure_hash, FormatErrorKind::StructureHash)?;

    let plans: &[Plan] = records(bytes, sections.plan)?;
    let [plan] = plans else { return Err(FormatError::new(FormatErrorKind::Plan)) };
    check_plan(plan)?;
    let names_bytes: &[u8] = records(bytes, sections.names)?;
    let names = core::str::from_utf8(names_bytes).map_err(|_| FormatError::new(FormatErrorKind::Name))?;
    let tensors: &[Tensor] = records(bytes, sections.tensors)?;
    let steps: &[Step] = records(bytes, sections.steps)?;
    let pipelines: &[Pipeline] = records(bytes, sections.pipelines)?;
    let io: &[Io] = records(bytes, sections.io)?;
    let counts = tensors.len() <= limits::TENSORS && steps.len() <= limits::STEPS && io.len() <= limits::IO;
    ensure(counts && names.len() <= limits::NAMES, FormatErrorKind::Section)?;

    let file = File { plan, tensors, steps, pipelines, io, names, weights_len: sections.weights.len as u64 };
    tensors::check(&file)?;
    let inputs = tensors::check_io(&file)?;
    pipelines::check_order(&file)?;
    steps::check(&file)?;
    pipelines::check(&file)?;
    lives::check(&file, inputs)?;
    modest(&file, header.file_len)?;
    Ok(Proof {
        header,
        plan: sections.plan,
        tensors: sections.tensors,
        steps: sections.steps,
        pipelines: sections.pipelines,
        io: sections.io,
        names: sections.names,
        weights: sections.weights,
        inputs,
    })
}

/// A small file asks for little memory and work.
fn modest(file: &File, len: u64) -> Result<()> {
    let memory = file.plan.tensor_bytes.saturating_add(file.plan.scratch_bytes);
    let work = crate::work::of(file.tensors, file.steps, file.pipelines);
    let within = |asked: u64, per_byte: u64| asked <= len.saturating_mul(per_byte);
    ensure(within(memory, limits::ARENA_PER_BYTE) && within(work, limits::WORK_PER_BYTE), FormatErrorKind::Excess)
}

/// The records under verification.
struct File<'a> {
    plan: &'a Plan,
    tensors: &'a [Tensor],
    steps: &'a [Step],
    pipelines: &'a [Pipeline],
    io: &'a [Io],
    names: &'a str,
    weights_len: u64,
}

impl File<'_> {
    /// The pipeline that a step belongs to. They are known to be in order.
    fn pipeline(&self, step: usize) -> Option<&Pipeline> {
        let after = self.pipelines.partition_point(|p| p.first as usize <= step);
        let p = self.pipelines.get(after.checked_sub(1)?)?;
        p.range().contains(&step).then_some(p)
    }

    /// Whether a name lies within the names, at the borders of characters.
    fn has_name(&self, offset: u32, len: u32) -> bool {
        if offset == NONE {
            return len == 0;
        }
        let (a, n) = (offset as usize, len as usize);
        a.checked_add(n).is_some_and(|b| self.names.get(a..b).is_some())
    }
}

/// The header, without its hashes.
fn header(bytes: &[u8]) -> Result<Header> {
    let magic = bytes.get(..MAGIC.len());
    ensure(magic == Some(&MAGIC[..]), FormatErrorKind::Magic)?;
    let head = bytes.get(..size_of::<Header>()).ok_or(FormatError::new(FormatErrorKind::Length))?;
    let header: Header = bytemuck::pod_read_unaligned(head);
    ensure(header.byte_order == BYTE_ORDER, FormatErrorKind::ByteOrder)?;
    ensure(header.major == MAJOR, FormatErrorKind::Version)?;
    ensure(header.file_len == bytes.len() as u64, FormatErrorKind::Length)?;
    ensure((bytes.as_ptr() as usize).is_multiple_of(crate::layout::ALIGN), FormatErrorKind::Alignment)?;
    ensure(header.reserved == [0; 3], FormatErrorKind::Section)?;
    Ok(header)
}

/// Where the sections lie that this version knows.
#[derive(Clone, Copy, Default)]
struct Sections {
    plan: Part,
    tensors: Part,
    steps: Part,
    pipelines: Part,
    io: Part,
    names: Part,
    weights: Part,
}

/// Checks the table and finds the known sections.
fn sections(bytes: &[u8], header: &Header) -> Result<Sections> {
    use FormatErrorKind::{Section as Bad, UnknownSection};
    let count = header.sections as usize;
    ensure(count <= limits::SECTIONS, Bad)?;
    let table_end = size_of::<Header>() + count * size_of::<Section>();
    let table: &[Section] = records(bytes, Part { start: size_of::<Header>(), len: table_end - size_of::<Header>() })?;

    let mut found = Sections::default();
    let mut seen = 0u32;
    let mut end = table_end as u64;
    for (i, s) in table.iter().enumerate() {
        let next = s.offset.checked_add(s.len);
        let inside = s.offset.is_multiple_of(64) && s.offset >= end && next.is_some_and(|e| e <= header.file_len);
        ensure_at(inside && s.reserved == 0 && s.flags <= 1, Bad, i)?;
        end = next.unwrap_or(u64::MAX);
        let part = Part { start: s.offset as usize, len: s.len as usize };
        let slot = match (s.plan, s.kind) {
            (0, section::PLAN) => Some(&mut found.plan),
            (0, section::TENSORS) => Some(&mut found.tensors),
            (0, section::STEPS) => Some(&mut found.steps),
            (0, section::PIPELINES) => Some(&mut found.pipelines),
            (0, section::IO) => Some(&mut found.io),
            (0, section::WEIGHTS) => Some(&mut found.weights),
            (0, section::NAMES) => Some(&mut found.names),
            (0, section::PROVENANCE | section::FOLDS | section::PREPROCESSING | section::VALUES) => None,
            _ => {
                ensure_at(s.flags == 0, UnknownSection, i)?;
                continue;
            }
        };
        ensure_at(seen & 1 << s.kind == 0, Bad, i)?;
        seen |= 1 << s.kind;
        if let Some(slot) = slot {
            *slot = part;
        }
    }
    let needed = [section::PLAN, section::TENSORS, section::STEPS, section::IO, section::WEIGHTS];
    ensure(needed.iter().all(|k| seen & 1 << k != 0), Bad)?;
    let w = found.weights;
    let last = table.last().is_some_and(|s| s.kind == section::WEIGHTS && s.plan == 0);
    let fits = w.start.is_multiple_of(WEIGHTS_ALIGN) && w.len.is_multiple_of(4) && end == header.file_len;
    ensure_at(last && fits, Bad, count.saturating_sub(1))?;
    Ok(found)
}

/// The records of a part of the file.
fn records<T: Pod>(bytes: &[u8], part: Part) -> Result<&[T]> {
    let slice = part.of(bytes).and_then(|b| bytemuck::try_cast_slice(b).ok());
    slice.ok_or(FormatError::new(FormatErrorKind::Section))
}

fn check_plan(plan: &Plan) -> Result<()> {
    let align = crate::layout::ALIGN as u64;
    let aligned = plan.tensor_bytes.is_multiple_of(align) && plan.scratch_bytes.is_multiple_of(align);
    let most = plan.scratch_bytes.checked_mul(limits::THREADS as u64).and_then(|s| s.checked_add(plan.tensor_bytes));
    let fits = most.is_some_and(|b| b <= isize::MAX as u64);
    ensure(aligned && fits && plan.reserved == [0; 5], FormatErrorKind::Plan)
}
