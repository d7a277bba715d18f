//! Why a file is refused.

use core::fmt;

/// Why a file is refused, and at which step, tensor or section where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatError {
    kind: FormatErrorKind,
    index: u32,
    plan: u32,
}

/// The kinds of [`FormatError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// Not a Sepal file: the first bytes are others.
    Magic,
    /// Written by a version that this one cannot read.
    Version,
    /// Not little-endian, or this machine is not.
    ByteOrder,
    /// Shorter or longer than its header says.
    Length,
    /// The bytes are not aligned to 64.
    Alignment,
    /// The structure's hash does not match: the file is damaged.
    StructureHash,
    /// The weights' hash does not match: the file is damaged.
    WeightsHash,
    /// A section lies outside the file, overlaps another, is misaligned, missing, doubled or of an odd length.
    Section,
    /// A section that must be understood is not.
    UnknownSection,
    /// The plan's sizes are impossible.
    Plan,
    /// A tensor record is impossible.
    Tensor,
    /// An input or output record is impossible.
    Io,
    /// A name lies outside the names or is not UTF-8.
    Name,
    /// A step names an unknown operator.
    UnknownOp,
    /// A step's parameters, inputs or shapes do not fit its operator.
    Step,
    /// A pipeline's steps cannot run by rows, or their tensors have too few of them.
    Pipeline,
    /// A step writes over a tensor that is still needed, or reads one that is not there yet.
    Overlap,
    /// The plan asks for more memory or work than [`limits`](crate::limits) grant a file of this size.
    Excess,
    /// The section that says how pictures become inputs is impossible.
    Preprocessing,
}

impl FormatError {
    /// An error of `kind` without a place.
    pub const fn new(kind: FormatErrorKind) -> Self {
        FormatError { kind, index: u32::MAX, plan: 0 }
    }
    /// An error of `kind` at step, tensor, I/O or section `index`.
    pub const fn at(kind: FormatErrorKind, index: usize) -> Self {
        FormatError { kind, index: index as u32, plan: 0 }
    }
    /// The same in a plan.
    pub const fn of_plan(self, plan: usize) -> Self {
        FormatError { plan: plan as u32, ..self }
    }
    /// What is wrong.
    pub fn kind(&self) -> FormatErrorKind {
        self.kind
    }
    /// Index of the step, tensor, I/O record or section at fault.
    pub fn index(&self) -> Option<usize> {
        (self.index != u32::MAX).then_some(self.index as usize)
    }
    /// Which plan of the file is at fault; 0 also for what all plans share.
    pub fn plan(&self) -> usize {
        self.plan as usize
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FormatErrorKind::*;
        let (text, noun) = match self.kind {
            Magic => ("not a Sepal model", ""),
            Version => ("a version of the format that this program cannot read", ""),
            ByteOrder => ("byte order is not little-endian", ""),
            Length => ("file is truncated or has trailing bytes", ""),
            Alignment => ("model bytes are not aligned to 64", ""),
            StructureHash => ("structure is damaged (hash mismatch)", ""),
            WeightsHash => ("weights are damaged (hash mismatch)", ""),
            Section => ("section table is inconsistent", "section"),
            UnknownSection => ("section is required but unknown", "section"),
            Plan => ("memory plan is impossible", ""),
            Tensor => ("tensor record is impossible", "tensor"),
            Io => ("input/output record is impossible", "record"),
            Name => ("name is not valid", "record"),
            UnknownOp => ("operator is unknown", "step"),
            Step => ("parameters, inputs or shapes do not fit the operator", "step"),
            Pipeline => ("steps of a pipeline cannot run by rows", "pipeline"),
            Overlap => ("memory plan overlaps a tensor that is in use", "step"),
            Excess => ("asks for more memory or work than a file of its size may", ""),
            Preprocessing => ("preprocessing is impossible", ""),
        };
        match self.index() {
            Some(i) if !noun.is_empty() => write!(f, "{text} ({noun} {i})"),
            _ => f.write_str(text),
        }?;
        if self.plan == 0 { Ok(()) } else { write!(f, ", in plan {}", self.plan) }
    }
}

impl core::error::Error for FormatError {}
