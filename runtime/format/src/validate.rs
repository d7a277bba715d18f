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

/// Verifies everything but the weights' values, for each plan.
pub(crate) fn prove(bytes: &[u8]) -> Result<Proof> {
    let header = header(bytes)?;
    let table = table(bytes, &header)?;
    let plans = check_table(table, &header)?;
    let first = Sections::of(table, 0);
    let structure = bytes.get(..first.weights.start).ok_or(FormatError::new(FormatErrorKind::Section))?;
    ensure(crate::structure_hash(structure) == header.structure_hash, FormatErrorKind::StructureHash)?;

    let names_bytes: &[u8] = records(bytes, first.names)?;
    let names = core::str::from_utf8(names_bytes).map_err(|_| FormatError::new(FormatErrorKind::Name))?;
    ensure(names.len() <= limits::NAMES, FormatErrorKind::Section)?;
    let mut free = Counts { tensors: limits::TENSORS, steps: limits::STEPS, io: limits::IO };
    let mut inputs = 0;
    for plan in 0..plans {
        let sections = Sections::of(table, plan as u32);
        let file = File::of(bytes, &sections, names, first.weights.len as u64, &mut free).map_err(|e| e.of_plan(plan))?;
        let count = check(&file, header.file_len).map_err(|e| e.of_plan(plan))?;
        if plan == 0 {
            inputs = count;
        }
    }
    Ok(Proof { header, sections: first, inputs, plans })
}

/// Verifies the records of a plan and returns how many inputs it has.
fn check(file: &File, len: u64) -> Result<usize> {
    tensors::check(file)?;
    let inputs = tensors::check_io(file)?;
    pipelines::check_order(file)?;
    steps::check(file)?;
    pipelines::check(file)?;
    lives::check(file, inputs)?;
    modest(file, len)?;
    Ok(inputs)
}

/// A small file asks for little memory and work.
fn modest(file: &File, len: u64) -> Result<()> {
    let memory = file.plan.tensor_bytes.saturating_add(file.plan.scratch_bytes);
    let work = crate::work::of(file.tensors, file.steps, file.pipelines);
    let within = |asked: u64, per_byte: u64| asked <= len.saturating_mul(per_byte);
    ensure(within(memory, limits::ARENA_PER_BYTE) && within(work, limits::WORK_PER_BYTE), FormatErrorKind::Excess)
}

/// How many records the plans that follow may have together.
struct Counts {
    tensors: usize,
    steps: usize,
    io: usize,
}

/// The records of a plan under verification.
struct File<'a> {
    plan: &'a Plan,
    tensors: &'a [Tensor],
    steps: &'a [Step],
    pipelines: &'a [Pipeline],
    io: &'a [Io],
    names: &'a str,
    weights_len: u64,
}

impl<'a> File<'a> {
    fn of(bytes: &'a [u8], sections: &Sections, names: &'a str, weights_len: u64, free: &mut Counts) -> Result<Self> {
        let plans: &[Plan] = records(bytes, sections.plan)?;
        let [plan] = plans else { return Err(FormatError::new(FormatErrorKind::Plan)) };
        check_plan(plan)?;
        let tensors: &[Tensor] = records(bytes, sections.tensors)?;
        let steps: &[Step] = records(bytes, sections.steps)?;
        let pipelines: &[Pipeline] = records(bytes, sections.pipelines)?;
        let io: &[Io] = records(bytes, sections.io)?;
        for (left, count) in [(&mut free.tensors, tensors.len()), (&mut free.steps, steps.len()), (&mut free.io, io.len())] {
            *left = left.checked_sub(count).ok_or(FormatError::new(FormatErrorKind::Section))?;
        }
        // Many records may have one name: who copies or prints them all must know how much that is.
        let lengths = io.iter().map(|i| i.name_len).chain(steps.iter().map(|s| s.name_len));
        ensure(lengths.map(u64::from).sum::<u64>() <= limits::NAMES as u64, FormatErrorKind::Name)?;
        Ok(File { plan, tensors, steps, pipelines, io, names, weights_len })
    }

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

/// Where the sections of a plan lie, those that all plans share among them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sections {
    pub plan: Part,
    pub tensors: Part,
    pub steps: Part,
    pub pipelines: Part,
    pub io: Part,
    pub names: Part,
    pub weights: Part,
}

impl Sections {
    /// Finds them in a table.
    pub fn of(table: &[Section], plan: u32) -> Self {
        let part = |plan, kind| {
            let s = table.iter().find(|s| s.plan == plan && s.kind == kind);
            s.map_or(Part::default(), |s| Part { start: s.offset as usize, len: s.len as usize })
        };
        Sections {
            plan: part(plan, section::PLAN),
            tensors: part(plan, section::TENSORS),
            steps: part(plan, section::STEPS),
            pipelines: part(plan, section::PIPELINES),
            io: part(plan, section::IO),
            names: part(0, section::NAMES),
            weights: part(0, section::WEIGHTS),
        }
    }
}

/// The section table. There are no more sections than there may be.
pub(crate) fn table<'a>(bytes: &'a [u8], header: &Header) -> Result<&'a [Section]> {
    let count = header.sections as usize;
    ensure(count <= limits::SECTIONS, FormatErrorKind::Section)?;
    records(bytes, Part { start: size_of::<Header>(), len: count * size_of::<Section>() })
}

/// Kinds that a plan has.
const NEEDED: [u32; 4] = [section::PLAN, section::TENSORS, section::STEPS, section::IO];

/// Checks the table and returns how many plans there are.
fn check_table(table: &[Section], header: &Header) -> Result<usize> {
    use FormatErrorKind::{Section as Bad, UnknownSection};
    let mut seen = [0u32; limits::PLANS];
    let mut end = (size_of::<Header>() + size_of_val(table)) as u64;
    for (i, s) in table.iter().enumerate() {
        let next = s.offset.checked_add(s.len);
        let inside = s.offset.is_multiple_of(64) && s.offset >= end && next.is_some_and(|e| e <= header.file_len);
        ensure_at(inside && s.reserved == 0 && s.flags <= 1, Bad, i)?;
        end = next.unwrap_or(u64::MAX);
        let known = match s.kind {
            section::PLAN | section::TENSORS | section::STEPS | section::IO => true,
            section::PIPELINES | section::PROVENANCE | section::VALUES => true,
            section::WEIGHTS | section::NAMES | section::FOLDS | section::PREPROCESSING => s.plan == 0,
            _ => false,
        };
        if !known {
            ensure_at(s.flags == 0, UnknownSection, i)?;
            continue;
        }
        let kinds = seen.get_mut(s.plan as usize).ok_or(FormatError::at(Bad, i))?;
        ensure_at(*kinds & 1 << s.kind == 0, Bad, i)?;
        *kinds |= 1 << s.kind;
    }
    let plans = seen.iter().take_while(|&&kinds| kinds != 0).count();
    let whole = |kinds: &u32| NEEDED.iter().all(|k| kinds & 1 << k != 0);
    let (there, beyond) = seen.split_at_checked(plans.max(1)).ok_or(FormatError::new(Bad))?;
    let weights = seen.first().is_some_and(|kinds| kinds & 1 << section::WEIGHTS != 0);
    ensure(there.iter().all(whole) && beyond.iter().all(|&kinds| kinds == 0) && weights, Bad)?;
    let last = table.last().filter(|s| s.kind == section::WEIGHTS && s.plan == 0);
    let fits = last.is_some_and(|w| w.offset.is_multiple_of(WEIGHTS_ALIGN as u64) && w.len.is_multiple_of(4));
    ensure_at(fits && end == header.file_len, Bad, table.len().saturating_sub(1))?;
    Ok(plans)
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
