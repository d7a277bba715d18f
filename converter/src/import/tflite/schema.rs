//! The tables of TFLite's schema that we read, borrowed from the file, and the numbers of their fields. Fields count in the order
//! of `schema.fbs`; a union takes two numbers, its type and its value; deprecated fields keep theirs.

use super::flatbuffer::Table;
use crate::error::request;
use crate::import::fail::{Fail, Res, bad};
use crate::names::short_text;

/// Field numbers of the tables of options, and the type of each in the union `BuiltinOptions`.
pub(super) mod options {
    /// `Conv2DOptions`.
    pub mod conv {
        pub const PADDING: usize = 0;
        pub const STRIDE: [usize; 2] = [2, 1];
        pub const ACTIVATION: usize = 3;
        pub const DILATION: [usize; 2] = [5, 4];
    }
    /// `DepthwiseConv2DOptions`.
    pub mod depthwise {
        pub const PADDING: usize = 0;
        pub const STRIDE: [usize; 2] = [2, 1];
        pub const ACTIVATION: usize = 4;
        pub const DILATION: [usize; 2] = [6, 5];
    }
    /// `TransposeConvOptions`.
    pub mod transpose_conv {
        pub const PADDING: usize = 0;
        pub const STRIDE: [usize; 2] = [2, 1];
        pub const ACTIVATION: usize = 3;
    }
    /// `Pool2DOptions`.
    pub mod pool {
        pub const PADDING: usize = 0;
        pub const STRIDE: [usize; 2] = [2, 1];
        pub const KERNEL: [usize; 2] = [4, 3];
        pub const ACTIVATION: usize = 5;
    }
    /// `FullyConnectedOptions`.
    pub mod fully_connected {
        pub const ACTIVATION: usize = 0;
        pub const WEIGHTS_FORMAT: usize = 1;
        pub const KEEP_NUM_DIMS: usize = 2;
    }
    /// `BatchMatMulOptions`.
    pub mod batch_matmul {
        pub const ADJ_X: usize = 0;
        pub const ADJ_Y: usize = 1;
    }
    /// `ConcatenationOptions`, `PackOptions` and `UnpackOptions` differ in where the axis is.
    pub mod axis {
        pub const CONCATENATION: usize = 0;
        pub const PACK: usize = 1;
        pub const GATHER: usize = 0;
        pub const ONE_HOT: usize = 0;
        /// `ReverseSequenceOptions`: along which a sequence goes, and along which there are several.
        pub const SEQUENCE: usize = 0;
        pub const SEQUENCES: usize = 1;
    }
    /// `ConcatenationOptions`.
    pub const CONCATENATION_ACTIVATION: usize = 1;
    /// `AddOptions`, `SubOptions`, `MulOptions`, `DivOptions`.
    pub const ARITHMETIC_ACTIVATION: usize = 0;
    /// `SoftmaxOptions`.
    pub const SOFTMAX_BETA: usize = 0;
    /// `LeakyReluOptions`.
    pub const LEAKY_RELU_ALPHA: usize = 0;
    /// `GeluOptions`.
    pub const GELU_APPROXIMATE: usize = 0;
    /// `ReducerOptions`.
    pub const REDUCER_KEEP_DIMS: usize = 0;
    /// `CumsumOptions`.
    pub const CUMSUM_EXCLUSIVE: usize = 0;
    pub const CUMSUM_REVERSE: usize = 1;
    /// `LocalResponseNormalizationOptions`.
    pub const LRN_RADIUS: usize = 0;
    pub const LRN_BIAS: usize = 1;
    pub const LRN_ALPHA: usize = 2;
    pub const LRN_BETA: usize = 3;
    /// `ReshapeOptions`.
    pub const RESHAPE_NEW_SHAPE: usize = 0;
    /// `SqueezeOptions`.
    pub const SQUEEZE_DIMS: usize = 0;
    /// `DepthToSpaceOptions`, `SpaceToDepthOptions`.
    pub const BLOCK_SIZE: usize = 0;
    /// `MirrorPadOptions`.
    pub const MIRROR_PAD_MODE: usize = 0;
    /// `GatherOptions`.
    pub const GATHER_BATCH_DIMS: usize = 1;
    /// `StridedSliceOptions`.
    pub mod strided_slice {
        pub const BEGIN_MASK: usize = 0;
        pub const END_MASK: usize = 1;
        pub const ELLIPSIS_MASK: usize = 2;
        pub const NEW_AXIS_MASK: usize = 3;
        pub const SHRINK_AXIS_MASK: usize = 4;
        pub const OFFSET: usize = 5;
    }
    /// `ResizeBilinearOptions`, whose first two fields are deprecated.
    pub mod resize_bilinear {
        pub const ALIGN_CORNERS: usize = 2;
        pub const HALF_PIXEL_CENTERS: usize = 3;
    }
    /// `ResizeNearestNeighborOptions`.
    pub mod resize_nearest {
        pub const ALIGN_CORNERS: usize = 0;
        pub const HALF_PIXEL_CENTERS: usize = 1;
    }
}

/// A model: one of its networks and the bytes of its buffers.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub codes: Vec<Code<'a>>,
    pub name: &'a str,
    pub tensors: Vec<Tensor<'a>>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    pub operators: Vec<Operator<'a>>,
    pub buffers: Vec<&'a [u8]>,
    /// What callers know the networks by, in the file's order, if there is more than one of them to call.
    pub signatures: Vec<Signature<'a>>,
}

/// A network that callers may ask for, `SignatureDef`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature<'a> {
    pub name: &'a str,
    network: usize,
}

/// What an operator is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code<'a> {
    pub builtin: i32,
    /// The name of one that is not built in.
    pub custom: &'a str,
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Operator<'a> {
    pub code: usize,
    /// Indices of tensors; -1 where one is left out.
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    pub options: Option<Table<'a>>,
    /// What a custom operator's own code reads.
    pub custom: &'a [u8],
}

/// A tensor, computed or stored.
#[derive(Clone, Debug)]
pub(super) struct Tensor<'a> {
    pub shape: Vec<i64>,
    /// The shape with -1 for what may vary; empty if nothing may.
    pub signature: Vec<i64>,
    pub element: i8,
    pub buffer: usize,
    pub name: &'a str,
    pub quantization: Option<Table<'a>>,
    pub sparsity: Option<Table<'a>>,
    pub variable: bool,
}

/// The parts of `QuantizationParameters`.
#[derive(Debug)]
pub(super) struct Quantization {
    pub scale: Vec<f32>,
    pub zero_point: Vec<i64>,
    pub axis: i32,
}

/// The parts of `SparsityParameters`.
#[derive(Debug)]
pub(super) struct Sparsity {
    pub order: Vec<i32>,
    pub blocks: Vec<i32>,
    pub levels: Vec<Level>,
}

/// One level of a sparse tensor, `DimensionMetadata`.
#[derive(Debug)]
pub(super) enum Level {
    Dense(i32),
    Sparse { segments: Vec<i64>, indices: Vec<i64> },
}

/// Elements that may still be read or made, so that a small file cannot ask for a large memory by naming one list many times.
pub(super) struct Budget(pub usize);

impl Budget {
    /// Pays for `elements` more, or refuses.
    pub(super) fn pay(&mut self, elements: usize) -> Res<()> {
        let Some(left) = self.0.checked_sub(elements) else {
            return Err(Fail::Exhausted("lists and constants multiply beyond all measure"));
        };
        self.0 = left;
        Ok(())
    }

    fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>) -> Res<Vec<T>> {
        self.pay(items.len())?;
        Ok(items.collect())
    }

    fn shape(&mut self, items: impl ExactSizeIterator<Item = i32>) -> Res<Vec<i64>> {
        self.list(items.map(i64::from))
    }
}

impl<'a> Model<'a> {
    /// Reads the model in a whole file: the network of a signature, or the first.
    pub(super) fn parse(bytes: &'a [u8], signature: Option<&str>) -> Res<Self> {
        // A network has each list about once.
        let budget = &mut Budget(bytes.len().saturating_mul(4).saturating_add(1 << 16));
        let root = Table::root(bytes)?;
        let version = root.get(0, 0u32)?;
        if version != 3 {
            return bad(format!("schema version {version}, not 3"));
        }
        let codes = root.tables(1)?.iter().map(|t| Code::parse(t, budget)).collect::<Res<_>>()?;
        let mut signatures = root.tables(7)?.iter().map(|t| Signature::parse(t, budget)).collect::<Res<Vec<_>>>()?;
        // The first network is the main one; others are those of other signatures, and bodies of loops and branches.
        let wanted = match signature {
            None => 0,
            Some(name) => match signatures.iter().find(|s| s.name == name) {
                Some(s) => s.network,
                None => return Err(Fail::Error(request(Signature::lacking(name, &signatures)))),
            },
        };
        if signatures.iter().all(|s| s.network == wanted) {
            signatures.clear();
        }
        let Some(network) = root.tables(2)?.into_iter().nth(wanted) else { return bad(format!("there is no network {wanted}")) };
        let buffers = root.tables(4)?.iter().map(|t| buffer(t, bytes)).collect::<Res<_>>()?;
        let tensors = network.tables(0)?.iter().map(|t| Tensor::parse(t, budget)).collect::<Res<_>>()?;
        let operators = network.tables(3)?.iter().map(|t| Operator::parse(t, budget)).collect::<Res<_>>()?;
        let (inputs, outputs) = (budget.list(network.list(1)?)?, budget.list(network.list(2)?)?);
        Ok(Self { codes, name: network.str(4)?, tensors, inputs, outputs, operators, buffers, signatures })
    }
}

impl<'a> Signature<'a> {
    fn parse(t: &Table<'a>, budget: &mut Budget) -> Res<Self> {
        let name = t.str(2)?;
        budget.pay(name.len())?;
        Ok(Self { name, network: t.get(4, 0u32)? as usize })
    }

    /// The names as they are told.
    pub(super) fn list(all: &[Self]) -> String {
        short_text(&all.iter().map(|s| s.name).collect::<Vec<_>>().join(", "))
    }

    fn lacking(name: &str, all: &[Self]) -> String {
        if all.is_empty() {
            return format!("signature {name:?} is asked for, and the model has none");
        }
        format!("there is no signature {name:?}, the model has {}", Self::list(all))
    }
}

/// The data of a `Buffer`: in place, or, where the file is larger than offsets can say, somewhere behind the flatbuffer.
fn buffer<'a>(t: &Table<'a>, file: &'a [u8]) -> Res<&'a [u8]> {
    let (offset, size) = (t.get(1, 0u64)?, t.get(2, 0u64)?);
    if offset <= 1 {
        return Ok(t.bytes(0)?);
    }
    let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
    let data = range.and_then(|(at, len)| file.get(at..at.checked_add(len)?));
    data.map_or_else(|| bad("a buffer lies outside of the file"), Ok)
}

impl<'a> Code<'a> {
    fn parse(t: &Table<'a>, budget: &mut Budget) -> Res<Self> {
        // Codes beyond 126 did not fit the first field; files from before the second have only that.
        let builtin = i32::from(t.get(0, 0i8)?).max(t.get(3, 0i32)?);
        let custom = t.str(1)?;
        budget.pay(custom.len())?;
        Ok(Self { builtin, custom })
    }
}

impl<'a> Operator<'a> {
    fn parse(t: &Table<'a>, budget: &mut Budget) -> Res<Self> {
        let (inputs, outputs) = (budget.list(t.list(1)?)?, budget.list(t.list(2)?)?);
        Ok(Self { code: t.get(0, 0u32)? as usize, inputs, outputs, options: t.table(4)?, custom: t.bytes(5)? })
    }
}

impl<'a> Tensor<'a> {
    fn parse(t: &Table<'a>, budget: &mut Budget) -> Res<Self> {
        let name = t.str(3)?;
        budget.pay(name.len())?;
        Ok(Self {
            shape: budget.shape(t.list(0)?)?,
            signature: budget.shape(t.list(7)?)?,
            element: t.get(1, 0)?,
            buffer: t.get(2, 0u32)? as usize,
            name,
            quantization: t.table(4)?,
            sparsity: t.table(6)?,
            variable: t.flag(5)?,
        })
    }
}

impl Quantization {
    /// The parameters, if there is a scale; `None` for the ranges that a float tensor may remember.
    pub(super) fn parse(t: &Table<'_>, budget: &mut Budget) -> Res<Option<Self>> {
        let (scale, zero_point) = (budget.list(t.list(2)?)?, budget.list(t.list(3)?)?);
        if scale.is_empty() {
            return Ok(None);
        }
        if t.get(4, 0u8)? != 0 {
            return Err(Fail::Unsupported {
                what: "a quantisation scheme of its own".into(),
                remedy: "convert the model with the standard one".into(),
            });
        }
        Ok(Some(Self { scale, zero_point, axis: t.get(6, 0)? }))
    }
}

impl Sparsity {
    pub(super) fn parse(t: &Table<'_>, budget: &mut Budget) -> Res<Self> {
        let levels = t.tables(2)?;
        budget.pay(levels.len())?;
        let levels = levels.iter().map(|t| Level::parse(t, budget)).collect::<Res<_>>()?;
        Ok(Self { order: budget.list(t.list(0)?)?, blocks: budget.list(t.list(1)?)?, levels })
    }
}

impl Level {
    fn parse(t: &Table<'_>, budget: &mut Budget) -> Res<Self> {
        match t.get(0, 0i8)? {
            0 => Ok(Self::Dense(t.get(1, 0)?)),
            1 => Ok(Self::Sparse { segments: indices(t, 2, budget)?, indices: indices(t, 4, budget)? }),
            other => bad(format!("a dimension is stored in format {other}")),
        }
    }
}

/// A `SparseIndexVector`: the type at field `n`, the vector behind it.
fn indices(t: &Table<'_>, n: usize, budget: &mut Budget) -> Res<Vec<i64>> {
    let Some(v) = t.table(n + 1)? else { return bad("the indices of a sparse tensor are missing") };
    match t.get(n, 0u8)? {
        1 => budget.list(v.list::<i32>(0)?.map(i64::from)),
        2 => budget.list(v.list::<u16>(0)?.map(i64::from)),
        3 => budget.list(v.list::<u8>(0)?.map(i64::from)),
        other => bad(format!("indices of a sparse tensor have type {other}")),
    }
}
