//! How much a reader takes, so that verifying any file ends soon. A writer refuses what exceeds them.

/// Most entries of the section table.
pub const SECTIONS: usize = 64;
/// Most tensors.
pub const TENSORS: usize = 16384;
/// Most steps.
pub const STEPS: usize = 16384;
/// Most steps of a pipeline.
pub const PIPELINE_STEPS: usize = 16;
/// Most rows of a pipeline's tensor that are kept, or made at a time.
pub const PIPELINE_ROWS: u32 = 1024;
/// Most inputs and outputs together.
pub const IO: usize = 256;
/// Most bytes of names.
pub const NAMES: usize = 16 << 20;
/// Most threads of one inference: a plan must fit the address space with scratch for each.
pub const THREADS: usize = 64;
