//! How much a reader takes, so that verifying any file ends soon. A writer refuses what exceeds them.

/// Most entries of the section table.
pub const SECTIONS: usize = 64;
/// Most plans. The limits of records below are for all plans together.
pub const PLANS: usize = 8;
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
/// Most bytes of names, and of all names that the records of a plan refer to, one name counted as often as it is meant.
pub const NAMES: usize = 16 << 20;
/// Most bytes of tensors and of a thread's scratch for each byte of the file: the smallest file asks for 17 GB at most.
pub const ARENA_PER_BYTE: u64 = 1 << 20;
/// Most [work](crate::ModelView::work) for each byte of the file: the smallest file asks for less than 3·10^11, minutes of a CPU with
/// wide vectors, up to an hour of one without any, which do at least some 10^9 and 10^8 a second. A weight of a convolution is used once for
/// each pixel, so it is also a bound on the pixels of a tensor.
pub const WORK_PER_BYTE: u64 = 1 << 24;
/// Most threads of one inference: a plan must fit the address space with scratch for each.
pub const THREADS: usize = 64;
