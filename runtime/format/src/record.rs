//! Every record of the file, field by field. All are little-endian, of fixed size, without pointers; offsets are in bytes
//! from the start of the file, or of the weights section for a [`Range`]. Reserved fields are zero.

use crate::act::ActRecord;
use bytemuck::{Pod, Zeroable};

/// First eight bytes: a byte outside ASCII, the name, and a CR-LF that a text-mode transfer would destroy.
pub const MAGIC: [u8; 8] = *b"\x89SEP\r\n\x1a\n";
/// Readers refuse a file with another major version.
pub const MAJOR: u16 = 1;
/// Readers accept any minor version: it only adds optional sections. A file with one plan is of minor version 0.
pub const MINOR: u16 = 1;
/// Written as a little-endian integer; reads differently where the byte order is another.
pub const BYTE_ORDER: u32 = 0x0102_0304;
/// The weights section begins at a multiple of this.
pub const WEIGHTS_ALIGN: usize = 16384;
/// "None" among tensor indices and name offsets.
pub const NONE: u32 = u32::MAX;

/// The first 64 bytes.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`MAJOR`].
    pub major: u16,
    /// [`MINOR`].
    pub minor: u16,
    /// [`BYTE_ORDER`].
    pub byte_order: u32,
    /// XXH3-64 of the bytes from `file_len` up to the weights section, seeded with the eight bytes before this field.
    pub structure_hash: u64,
    /// Bytes of the whole file.
    pub file_len: u64,
    /// XXH3-128 of the weights section, low half first.
    pub weights_hash: [u64; 2],
    /// Records in the section table, which follows the header.
    pub sections: u32,
    /// Zero.
    pub reserved: [u32; 3],
}

/// What a section holds. Codes are never reused.
pub mod section {
    /// One [`Plan`](super::Plan).
    pub const PLAN: u32 = 1;
    /// [`Tensor`](super::Tensor) records.
    pub const TENSORS: u32 = 2;
    /// [`Step`](super::Step) records in execution order.
    pub const STEPS: u32 = 3;
    /// [`Io`](super::Io) records: inputs, then outputs.
    pub const IO: u32 = 4;
    /// Packed weights; the last section of the file.
    pub const WEIGHTS: u32 = 5;
    /// UTF-8 bytes that records point into.
    pub const NAMES: u32 = 6;
    /// JSON: where the file comes from, parameter counts. Optional.
    pub const PROVENANCE: u32 = 7;
    /// JSON: the fold report. Optional.
    pub const FOLDS: u32 = 8;
    /// [`Pipeline`](super::Pipeline) records in the order of their steps. Missing where there are none.
    pub const PIPELINES: u32 = 9;
    /// One [`Preprocessing`](crate::preprocessing::Preprocessing) record and labels. Optional.
    pub const PREPROCESSING: u32 = 10;
    /// JSON: which tensor of the source each tensor holds, and after which step. Optional.
    pub const VALUES: u32 = 11;
}

/// An entry of the section table.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Section {
    /// One of [`section`].
    pub kind: u32,
    /// Bit 0: a reader that does not know `kind` must refuse the file.
    pub flags: u32,
    /// Which plan it belongs to; 0 also for what all plans share.
    pub plan: u32,
    /// Zero.
    pub reserved: u32,
    /// Where it begins; a multiple of 64.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// A way to run the network: one shape of its inputs.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Plan {
    /// Bytes of all tensors; a multiple of 64.
    pub tensor_bytes: u64,
    /// Bytes of scratch that each thread needs after them; a multiple of 64.
    pub scratch_bytes: u64,
    /// Multiply-accumulates of an inference.
    pub macs: u64,
    /// Zero.
    pub reserved: [u64; 5],
}

/// Element types. Codes are never reused; readers of version 1 take F32, and F16 for the panels of a convolution.
pub mod dtype {
    /// IEEE single.
    pub const F32: u32 = 1;
    /// IEEE half.
    pub const F16: u32 = 2;
    /// bfloat16.
    pub const BF16: u32 = 3;
    /// Signed byte, quantised.
    pub const I8: u32 = 4;
    /// Unsigned byte, quantised.
    pub const U8: u32 = 5;
}

/// Where a tensor lies.
pub mod place {
    /// `offset` is from the start of the arena.
    pub const ARENA: u32 = 0;
    /// `offset` is from the start of the weights section; a constant.
    pub const WEIGHTS: u32 = 1;
    /// `offset` is from the start of a thread's scratch; only some rows of one image at a time: see [`Pipeline`](super::Pipeline).
    pub const ROWS: u32 = 2;
}

/// A tensor in NHWC. Element (n, y, x, c) is number `((n * h + y) * w + x) * pixel + c` after `offset`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Tensor {
    /// One of [`dtype`].
    pub dtype: u32,
    /// One of [`place`].
    pub place: u32,
    /// Bytes; a multiple of 64.
    pub offset: u64,
    /// Batch, rows, columns, channels; each at least 1.
    pub dims: [u32; 4],
    /// Elements between neighbouring pixels.
    pub pixel: u32,
    /// First step that needs it: the one that writes it, 0 for an input.
    pub first: u32,
    /// Last step that needs it; the number of steps for an output.
    pub last: u32,
    /// Zero point, for quantised types.
    pub zero_point: i32,
    /// Scale, for quantised types.
    pub scale: f32,
    /// Rows that there is memory for, where `place` is [`ROWS`](place::ROWS); otherwise zero.
    pub rows: u32,
    /// Zero.
    pub reserved: [u32; 2],
}

impl Tensor {
    /// A tensor of planes, `[n, c, h, w]`, as an operator sees it that takes it for pixels: `[n, h, w, c]`, the next pixel one float
    /// further.
    pub fn of_planes(&self) -> Tensor {
        let [n, c, h, w] = self.dims;
        Tensor { dims: [n, h, w, c], pixel: 1, ..*self }
    }
}

/// Consecutive steps that run together, a few rows at a time, so that what lies between them stays in the cache: each in turn
/// makes the rows that the next rows of the last one need. The tensors between them lie in [`place::ROWS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Pipeline {
    /// Index of its first step.
    pub first: u32,
    /// Steps; at least 2, at most [`PIPELINE_STEPS`](crate::limits::PIPELINE_STEPS).
    pub steps: u32,
    /// Rows of the last step's output that are made at a time.
    pub band: u32,
    /// Zero.
    pub reserved: u32,
}

impl Pipeline {
    /// Indices of its steps.
    pub fn range(&self) -> core::ops::Range<usize> {
        let first = self.first as usize;
        first..first.saturating_add(self.steps as usize)
    }
}

/// A part of the weights section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Range {
    /// Bytes from the start of the section; a multiple of 64.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// What the axes of an input or output mean to the source.
pub mod io_layout {
    /// Nobody knows.
    pub const UNKNOWN: u32 = 0;
    /// The channels are last.
    pub const NHWC: u32 = 1;
    /// The channels come before rows and columns.
    pub const NCHW: u32 = 2;
}

/// An input or output of the network, in the source's words. Its tensor is dense: its elements in C order of `dims`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Io {
    /// 0 input, 1 output.
    pub role: u32,
    /// Index of the tensor.
    pub tensor: u32,
    /// Where the name begins in the names section.
    pub name: u32,
    /// Bytes of the name.
    pub name_len: u32,
    /// Extents in use, at most 8.
    pub rank: u32,
    /// One of [`io_layout`].
    pub layout: u32,
    /// Element type at the interface, one of [`dtype`].
    pub dtype: u32,
    /// Zero.
    pub reserved: u32,
    /// Extents; 0 past `rank`.
    pub dims: [u32; 8],
}

/// The `role` of an [`Io`].
pub mod role {
    /// Given by the caller.
    pub const INPUT: u32 = 0;
    /// Given to the caller.
    pub const OUTPUT: u32 = 1;
}

/// Bytes of parameters in a [`Step`].
pub const PARAMS: usize = 208;

/// One step. Which parameters it has depends on `op`: see [`crate::op`].
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(8))]
pub struct Step {
    /// An [`Op`](crate::op::Op) code.
    pub op: u32,
    /// [`IN_PLACE`].
    pub flags: u32,
    /// Tensors read; [`NONE`] where unused.
    pub inputs: [u32; 4],
    /// Tensor written.
    pub output: u32,
    /// Where its name begins in the names section.
    pub name: u32,
    /// Bytes of the name.
    pub name_len: u32,
    /// Zero.
    pub reserved: [u32; 3],
    /// The operator's parameters, zeros after them.
    pub params: [u8; PARAMS],
}

/// [`Step::flags`]: the output is input 0 itself, changed in place.
pub const IN_PLACE: u32 = 1;

/// Where a window lies on its input: see `Window` in the kernels. Padding at the end is informative except for pooling that counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct WindowRecord {
    /// Rows, columns.
    pub kernel: [u32; 2],
    /// Down, across.
    pub stride: [u32; 2],
    /// Down, across.
    pub dilation: [u32; 2],
    /// Above, left.
    pub pad: [u32; 2],
    /// Below, right.
    pub pad_end: [u32; 2],
}

/// How a convolution takes its input.
pub mod take {
    /// As it is.
    pub const PLAIN: u32 = 0;
    /// The weights of each channel are multiplied by its gate first. Input 1 is the gate, `[n, 1, 1, c]`.
    pub const GATED: u32 = 1;
    /// It is dense, `[n, c, h, w]`.
    pub const PLANES: u32 = 2;
}

/// Convolution (pointwise, dense, grouped, fully connected). Inputs: x, a gate where [`take`] says so, optionally a residual.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct ConvParams {
    /// `[g][N/g/16][kh*kw*C/g][16]`.
    pub weights: Range,
    /// `[g][N/g padded to 16]`.
    pub bias: Range,
    /// The window.
    pub window: WindowRecord,
    /// Groups.
    pub groups: u32,
    /// Applied last.
    pub act: ActRecord,
    /// Element type of the weights: [`dtype::F32`] or [`dtype::F16`].
    pub weight_dtype: u32,
    /// 0 for the direct sum; or a code of [`winograd`](crate::winograd), then `weights` are `[points][N/16][C][16]`; or that of
    /// [`strassen`](crate::strassen), which says what they are then.
    pub algorithm: u32,
    /// One of [`take`]; with the direct sum only.
    pub take: u32,
    /// Zero.
    pub reserved: u32,
}

/// Depthwise convolution. Input: x.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct DepthwiseParams {
    /// `[C/16][kh*kw][16]`.
    pub weights: Range,
    /// `[C padded to 16]`.
    pub bias: Range,
    /// The window.
    pub window: WindowRecord,
    /// 1: ReLU on the way in.
    pub pre_relu: u32,
    /// Applied last.
    pub act: ActRecord,
    /// Element type of the weights: [`dtype::F32`].
    pub weight_dtype: u32,
    /// Zero.
    pub reserved: u32,
}

/// Depthwise then pointwise. Inputs: x, optionally a residual.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct SeparableParams {
    /// The first half.
    pub depthwise: DepthwiseParams,
    /// Panels of the second half.
    pub weights: Range,
    /// Bias of the second half.
    pub bias: Range,
    /// Applied last.
    pub act: ActRecord,
    /// Element type of the second half's weights: [`dtype::F32`] or [`dtype::F16`].
    pub weight_dtype: u32,
}

/// What a pooling window takes.
pub mod pool_kind {
    /// The largest.
    pub const MAX: u32 = 0;
    /// The mean of what lies inside.
    pub const AVERAGE: u32 = 1;
    /// The mean, padding included.
    pub const AVERAGE_WITH_PAD: u32 = 2;
}

/// Pooling. Inputs: x, optionally a residual that is added.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct PoolParams {
    /// The window; `pad_end` counts for [`pool_kind::AVERAGE_WITH_PAD`].
    pub window: WindowRecord,
    /// One of [`pool_kind`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
}

/// What a reduction takes.
pub mod reduce_kind {
    /// Their mean.
    pub const MEAN: u32 = 0;
    /// Their sum.
    pub const SUM: u32 = 1;
    /// The largest.
    pub const MAX: u32 = 2;
    /// The smallest.
    pub const MIN: u32 = 3;
    /// Their product.
    pub const PRODUCT: u32 = 4;
}

/// Reduction over rows and columns, or over channels. Input: x.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct ReduceParams {
    /// One of [`reduce_kind`].
    pub kind: u32,
    /// 0 rows and columns, 1 channels.
    pub over: u32,
}

/// What becomes of two elements.
pub mod binary_op {
    /// `a + b`.
    pub const ADD: u32 = 0;
    /// `a - b`.
    pub const SUB: u32 = 1;
    /// `a * b`.
    pub const MUL: u32 = 2;
    /// `a / b`.
    pub const DIV: u32 = 3;
    /// The smaller one.
    pub const MIN: u32 = 4;
    /// The larger one.
    pub const MAX: u32 = 5;
    /// `a` to the power `b`.
    pub const POW: u32 = 6;
    /// 1 if `a > b`, else 0.
    pub const GREATER: u32 = 7;
    /// 1 if `a >= b`, else 0.
    pub const AT_LEAST: u32 = 8;
    /// 1 if `a == b`, else 0.
    pub const EQUAL: u32 = 9;
    /// `a` where `b` is greater than 0, else 0.
    pub const WHERE: u32 = 10;
}

/// Two tensors element by element. Inputs: a, b.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct BinaryParams {
    /// One of [`binary_op`].
    pub op: u32,
    /// 1: the step computes `op(b, a)`.
    pub swapped: u32,
    /// Applied last.
    pub act: ActRecord,
    /// Zero.
    pub reserved: u32,
}

/// `x * scale[c] + shift[c]`. Input: x.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct ScaleShiftParams {
    /// `[C padded to 16]`.
    pub scale: Range,
    /// `[C padded to 16]`.
    pub shift: Range,
    /// Applied last.
    pub act: ActRecord,
    /// Zero.
    pub reserved: u32,
}

/// An activation. Input: x.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct ActivationParams {
    /// Which.
    pub act: ActRecord,
    /// Zero.
    pub reserved: u32,
}

/// PReLU. Input: x.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct PreluParams {
    /// `[C padded to 16]`.
    pub slope: Range,
}

/// Softmax over channels. Input: x.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct SoftmaxParams {
    /// 1: its logarithm.
    pub log: u32,
    /// Zero.
    pub reserved: u32,
}

/// How a value is made of the pixels around its place.
pub mod resize_kind {
    /// The nearest one.
    pub const NEAREST: u32 = 0;
    /// Linearly between four.
    pub const BILINEAR: u32 = 1;
}

/// Which places of the input the pixels of the output take.
pub mod resize_places {
    /// Those of their upper left edges.
    pub const EDGES: u32 = 0;
    /// Those of their middles.
    pub const MIDDLES: u32 = 1;
    /// So that the corners are the same pixels.
    pub const CORNERS: u32 = 2;
}

/// Resizing of rows and columns. Input: x.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct ResizeParams {
    /// One of [`resize_kind`].
    pub kind: u32,
    /// One of [`resize_places`].
    pub places: u32,
}

/// A function of each element that is no activation. Input: x.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct UnaryParams {
    /// Which; a code of [`Unary`](crate::unary::Unary).
    pub function: crate::unary::UnaryRecord,
    /// Zero.
    pub reserved: u32,
}

/// What a layer norm divides by the root of the mean square of.
pub mod norm_kind {
    /// What differs from the mean.
    pub const CENTRED: u32 = 0;
    /// The values themselves.
    pub const PLAIN: u32 = 1;
}

/// Normalisation of the channels of each pixel. Input: x.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct LayerNormParams {
    /// `[C padded to 16]`.
    pub scale: Range,
    /// `[C padded to 16]`.
    pub shift: Range,
    /// Added to the variance, or to the mean square.
    pub epsilon: f32,
    /// One of [`norm_kind`].
    pub kind: u32,
}

/// Products of matrices, one for each image: a row of a matrix is a column of the image, a column a channel. Inputs: a, b.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct MatmulParams {
    /// Zero.
    pub reserved: [u32; 2],
}

/// A strided copy. Input: x. Strides and offsets in elements, from the starts of the two tensors.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct CopyParams {
    /// Extents, outermost first.
    pub dims: [u32; 6],
    /// Source strides.
    pub in_strides: [u32; 6],
    /// Target strides.
    pub out_strides: [u32; 6],
    /// First source element.
    pub in_offset: u32,
    /// First target element.
    pub out_offset: u32,
    /// 1: set the whole target to `fill` first.
    pub filled: u32,
    /// The value.
    pub fill: f32,
}

const _: () = {
    assert!(size_of::<Header>() == 64);
    assert!(size_of::<Section>() == 32);
    assert!(size_of::<Plan>() == 64);
    assert!(size_of::<Tensor>() == 64);
    assert!(size_of::<Pipeline>() == 16);
    assert!(size_of::<Io>() == 64);
    assert!(size_of::<Step>() == 256);
    assert!(size_of::<SeparableParams>() <= PARAMS);
};
