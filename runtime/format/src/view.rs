//! The verified file.

use crate::error::{FormatError, FormatErrorKind};
use crate::record::*;
use crate::validate::Sections;
use bytemuck::Pod;

/// A part of a file in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub start: usize,
    pub len: usize,
}

impl Part {
    pub fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.start..self.start.checked_add(self.len)?)
    }
}

/// What verifying a file has shown, apart from its bytes: for whoever owns the bytes and cannot keep a reference into them.
/// [`view`](Proof::view) makes a [`ModelView`] of it at next to no cost.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    pub(crate) header: Header,
    /// Of the first plan.
    pub(crate) sections: Sections,
    /// Of the first plan.
    pub(crate) inputs: usize,
    pub(crate) plans: usize,
}

impl Proof {
    /// Verifies a file, as [`ModelView::parse`].
    ///
    /// # Errors
    /// Whatever makes the file unsound, at the first place found.
    pub fn new(bytes: &[u8]) -> Result<Self, FormatError> {
        crate::validate::prove(bytes)
    }

    /// How many plans the file has; all of them are verified.
    pub fn plans(&self) -> usize {
        self.plans
    }

    /// The file that was verified, in its first plan. Its header is compared; that the rest is the same, too, is for the caller to see
    /// to: with other bytes a program stays memory-safe, but may panic.
    ///
    /// # Errors
    /// [`FormatErrorKind::Length`], [`FormatErrorKind::Alignment`] or [`FormatErrorKind::StructureHash`] for bytes that cannot be
    /// those that were verified.
    pub fn view<'a>(&self, bytes: &'a [u8]) -> Result<ModelView<'a>, FormatError> {
        self.view_of(bytes, 0)
    }

    /// As [`view`](Proof::view), in plan `plan`.
    ///
    /// # Errors
    /// As `view`; [`FormatErrorKind::Plan`] if there is no such plan.
    pub fn view_of<'a>(&self, bytes: &'a [u8], plan: usize) -> Result<ModelView<'a>, FormatError> {
        let error = FormatError::new;
        if self.header.file_len != bytes.len() as u64 {
            return Err(error(FormatErrorKind::Length));
        }
        if bytes.get(..size_of::<Header>()) != Some(bytemuck::bytes_of(&self.header)) {
            return Err(error(FormatErrorKind::StructureHash));
        }
        if plan >= self.plans {
            return Err(error(FormatErrorKind::Plan));
        }
        fn cast<T: Pod>(part: Part, bytes: &[u8]) -> Result<&[T], FormatError> {
            let slice = part.of(bytes).and_then(|b| bytemuck::try_cast_slice(b).ok());
            slice.ok_or(FormatError::new(FormatErrorKind::Alignment))
        }
        let table = crate::validate::table(bytes, &self.header)?;
        let sections = if plan == 0 { self.sections } else { Sections::of(table, plan as u32) };
        let io: &[Io] = cast(sections.io, bytes)?;
        let inputs = if plan == 0 { self.inputs } else { io.iter().take_while(|io| io.role == role::INPUT).count() };
        Ok(ModelView {
            header: cast(Part { start: 0, len: size_of::<Header>() }, bytes)?.first().unwrap_or(&NO_HEADER),
            table,
            index: plan,
            plan: cast(sections.plan, bytes)?.first().unwrap_or(&NO_PLAN),
            tensors: cast(sections.tensors, bytes)?,
            steps: cast(sections.steps, bytes)?,
            pipelines: cast(sections.pipelines, bytes)?,
            io,
            inputs,
            names: cast(sections.names, bytes)?,
            weights: cast(sections.weights, bytes)?,
            bytes,
        })
    }
}

static NO_PLAN: Plan = Plan { tensor_bytes: 0, scratch_bytes: 0, macs: 0, reserved: [0; 5] };
static NO_HEADER: Header = Header {
    magic: MAGIC,
    major: MAJOR,
    minor: MINOR,
    byte_order: BYTE_ORDER,
    structure_hash: 0,
    file_len: 0,
    weights_hash: [0; 2],
    sections: 0,
    reserved: [0; 3],
};

/// A model of nothing.
impl Default for ModelView<'_> {
    fn default() -> Self {
        ModelView {
            header: &NO_HEADER,
            table: &[],
            index: 0,
            plan: &NO_PLAN,
            tensors: &[],
            steps: &[],
            pipelines: &[],
            io: &[],
            inputs: 0,
            names: &[],
            weights: &[],
            bytes: &[],
        }
    }
}

/// A file that has been verified: every range lies inside it, every step fits its tensors, no step destroys what is needed.
/// Made by [`ModelView::parse`] and [`Proof::view_of`] only, each time of one of its plans.
#[derive(Clone, Copy, Debug)]
pub struct ModelView<'a> {
    pub(crate) header: &'a Header,
    pub(crate) table: &'a [Section],
    pub(crate) index: usize,
    pub(crate) plan: &'a Plan,
    pub(crate) tensors: &'a [Tensor],
    pub(crate) steps: &'a [Step],
    pub(crate) pipelines: &'a [Pipeline],
    pub(crate) io: &'a [Io],
    pub(crate) inputs: usize,
    pub(crate) names: &'a [u8],
    pub(crate) weights: &'a [f32],
    pub(crate) bytes: &'a [u8],
}

impl<'a> ModelView<'a> {
    /// Verifies the structure of a file and gives its first plan. Takes time in the number of its records, not in the size of its weights.
    ///
    /// # Errors
    /// Whatever makes the file unsound, at the first place found.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        Proof::new(bytes)?.view(bytes)
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
    /// About how many multiply-adds and other accesses to elements an inference on one thread makes at most, whatever the file is: see
    /// [`limits::WORK_PER_BYTE`](crate::limits::WORK_PER_BYTE). For bounding its time before it is run.
    pub fn work(&self) -> u64 {
        crate::work::of(self.tensors, self.steps, self.pipelines)
    }
    /// All tensors.
    pub fn tensors(&self) -> &'a [Tensor] {
        self.tensors
    }
    /// Steps in execution order.
    pub fn steps(&self) -> &'a [Step] {
        self.steps
    }
    /// Steps that run together, in their order.
    pub fn pipelines(&self) -> &'a [Pipeline] {
        self.pipelines
    }
    /// Inputs in the source's order.
    pub fn inputs(&self) -> &'a [Io] {
        self.io.get(..self.inputs).unwrap_or(&[])
    }
    /// Outputs in the source's order.
    pub fn outputs(&self) -> &'a [Io] {
        self.io.get(self.inputs..).unwrap_or(&[])
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
        let bytes = a.checked_add(n).and_then(|b| self.names.get(a..b)).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("")
    }
    /// The whole weights section.
    pub fn weights(&self) -> &'a [f32] {
        self.weights
    }
    /// Floats of a verified range of the weights.
    pub fn floats(&self, r: Range) -> &'a [f32] {
        let (a, n) = ((r.offset / 4) as usize, (r.len / 4) as usize);
        a.checked_add(n).and_then(|b| self.weights.get(a..b)).unwrap_or(&[])
    }
    /// Halves of a verified range of the weights, as their bits.
    pub fn halves(&self, r: Range) -> &'a [u16] {
        let (all, a, n): (&[u16], _, _) = (bytemuck::cast_slice(self.weights), (r.offset / 2) as usize, (r.len / 2) as usize);
        a.checked_add(n).and_then(|b| all.get(a..b)).unwrap_or(&[])
    }
    /// Bytes of the section of a kind, such as [`section::PROVENANCE`]: the plan's own, or the one of all plans.
    pub fn section(&self, kind: u32) -> Option<&'a [u8]> {
        let find = |plan: usize| self.table.iter().find(|s| s.kind == kind && s.plan as usize == plan);
        // Which values tensors hold is not the same in another plan.
        let s = find(self.index).or_else(|| find(0).filter(|_| kind != section::VALUES))?;
        self.bytes.get(s.offset as usize..)?.get(..s.len as usize)
    }
    /// Which of the file's plans this is.
    pub fn index(&self) -> usize {
        self.index
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
