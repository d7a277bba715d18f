//! Constant tensors: the typed fields of `TensorProto`, its raw bytes, and data in files beside the model.

use super::fail::{Fail, bad, unsupported};
use super::proto::Tensor;
use super::shape;
use super::wire::Field;
use crate::error::Error;
use half::{bf16, f16};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// A constant in one of the two kinds of numbers that matter: weights and coordinates.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Const {
    pub dims: Vec<usize>,
    pub data: Data,
    /// What the source stores, which says where integers wrap.
    pub ty: Type,
}

/// Elements in C order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    /// Every floating point type but where `Double` is known.
    Float(Arc<Vec<f32>>),
    /// What a source computes in f64 before the network: `consts::in_double` says by what. Everything else takes it as f32.
    Double(Arc<Vec<f64>>),
    /// Every integer type, those of 64 bits without a sign by their bits, and booleans as 0 and 1.
    Int(Arc<Vec<i64>>),
}

impl Const {
    pub(super) fn floats(dims: Vec<usize>, data: Vec<f32>) -> Self {
        Self { dims, data: Data::Float(Arc::new(data)), ty: Type::Float }
    }

    pub(super) fn doubles(dims: Vec<usize>, data: Vec<f64>) -> Self {
        Self { dims, data: Data::Double(Arc::new(data)), ty: Type::Double }
    }

    /// In f32, if these are floats.
    pub(super) fn single(self) -> Self {
        match &self.data {
            Data::Double(v) => Self { data: Data::Float(Arc::new(v.iter().map(|&v| v as f32).collect())), ..self },
            _ => self,
        }
    }

    /// In f64, if these are floats.
    pub(super) fn double(self) -> Self {
        match &self.data {
            Data::Float(v) => Self::doubles(self.dims, v.iter().map(|&v| v.into()).collect()),
            _ => self,
        }
    }

    /// Integers of 64 bits.
    pub(super) fn ints(dims: Vec<usize>, data: Vec<i64>) -> Self {
        Self::of_type(Type::Int64, dims, data)
    }

    /// Integers that the type has, or truth values.
    pub(super) fn of_type(ty: Type, dims: Vec<usize>, data: Vec<i64>) -> Self {
        Self { dims, data: Data::Int(Arc::new(data)), ty }
    }

    pub(super) fn truths(dims: Vec<usize>, data: impl Iterator<Item = bool>) -> Self {
        Self::of_type(Type::Bool, dims, data.map(i64::from).collect())
    }

    /// Integers as floats, if floats hold them.
    pub(super) fn exact(&self) -> Result<Self, Fail> {
        let Data::Int(v) = &self.data else { return Ok(self.clone()) };
        if v.iter().any(|v| v.unsigned_abs() > 1 << 24) {
            return unsupported("integers beyond 2^24", "fold constants before exporting the model");
        }
        Ok(Self::floats(self.dims.clone(), v.iter().map(|&v| v as f32).collect()))
    }

    /// Floats as the integers that they are.
    pub(super) fn whole(&self, ty: Type) -> Result<Self, Fail> {
        let Data::Float(v) = &self.data else { return Ok(self.clone()) };
        if v.iter().any(|v| v.trunc() != *v || v.abs() > (1 << 24) as f32) {
            return unsupported("integers beyond 2^24, or no integers", "fold constants before exporting the model");
        }
        Ok(Self::of_type(ty, self.dims.clone(), v.iter().map(|&v| ty.wrap(v as i128)).collect()))
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Double(v) => v.len(),
            Data::Int(v) => v.len(),
        }
    }
}

/// The types that we know, by their number in `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Float,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    Bool,
    Float16,
    Double,
    Uint32,
    Uint64,
    Bfloat16,
}

impl Type {
    /// The type, or its name as a reason why not.
    pub(super) fn from_onnx(code: i64) -> Result<Self, Fail> {
        Ok(match code {
            1 => Self::Float,
            2 => Self::Uint8,
            3 => Self::Int8,
            4 => Self::Uint16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            9 => Self::Bool,
            10 => Self::Float16,
            11 => Self::Double,
            12 => Self::Uint32,
            13 => Self::Uint64,
            16 => Self::Bfloat16,
            _ => return unsupported(format!("element type {}", type_name(code)), "store it as float32, float16 or int64"),
        })
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Float16 | Self::Double | Self::Bfloat16)
    }

    /// The number that an element stands for.
    pub(super) fn wide(self, bits: i64) -> i128 {
        if self == Self::Uint64 { i128::from(bits as u64) } else { i128::from(bits) }
    }

    /// The element of an integer type that a number becomes: it wraps, as it does everywhere.
    pub(super) fn wrap(self, v: i128) -> i64 {
        match self {
            Self::Bool => i64::from(v != 0),
            Self::Uint8 => i64::from(v as u8),
            Self::Int8 => i64::from(v as i8),
            Self::Uint16 => i64::from(v as u16),
            Self::Int16 => i64::from(v as i16),
            Self::Uint32 => i64::from(v as u32),
            Self::Int32 => i64::from(v as i32),
            _ => v as i64,
        }
    }

    /// The least and the largest number of an integer type.
    pub(super) fn bounds(self) -> (i128, i128) {
        match self {
            Self::Bool => (0, 1),
            Self::Uint64 => (0, i128::from(u64::MAX)),
            Self::Uint8 | Self::Uint16 | Self::Uint32 => (0, (1 << (8 * self.size())) - 1),
            _ => (-(1 << (8 * self.size() - 1)), (1 << (8 * self.size() - 1)) - 1),
        }
    }

    /// Bytes of an element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Uint8 | Self::Int8 | Self::Bool => 1,
            Self::Uint16 | Self::Int16 | Self::Float16 | Self::Bfloat16 => 2,
            Self::Float | Self::Int32 | Self::Uint32 => 4,
            Self::Int64 | Self::Double | Self::Uint64 => 8,
        }
    }
}

/// What people call an element type.
pub(super) fn type_name(code: i64) -> String {
    let names = [
        "undefined",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
    ];
    usize::try_from(code).ok().and_then(|i| names.get(i)).map_or_else(|| format!("number {code}"), |n| (*n).to_string())
}

/// Decodes a tensor.
pub(super) fn decode(t: &Tensor<'_>, files: &mut Files<'_>) -> Result<Const, Fail> {
    if t.segmented {
        return unsupported("a tensor in segments", "save the model with whole tensors");
    }
    let ty = Type::from_onnx(t.data_type)?;
    let dims = shape::from_i64(&t.dims)?;
    let Some(n) = shape::count(&dims) else { return bad(format!("a constant of shape {dims:?} is too large")) };
    if t.external {
        let bytes = n.checked_mul(ty.size()).map_or_else(|| bad("external data is too large"), Ok)?;
        let data = files.read(&t.external_data, bytes)?;
        return from_bytes(ty, dims, &data);
    }
    if let Some(raw) = t.raw_data {
        if n.checked_mul(ty.size()) != Some(raw.len()) {
            return bad(format!("a constant of shape {dims:?} has {} bytes of data", raw.len()));
        }
        return from_bytes(ty, dims, raw);
    }
    from_fields(ty, dims, n, t)
}

fn from_bytes(ty: Type, dims: Vec<usize>, raw: &[u8]) -> Result<Const, Fail> {
    fn each<const N: usize, T>(raw: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        raw.as_chunks::<N>().0.iter().map(|c| f(*c)).collect()
    }
    Ok(match ty {
        Type::Float => Const::floats(dims, each(raw, f32::from_le_bytes)),
        Type::Float16 => Const::floats(dims, each(raw, |b| f16::from_le_bytes(b).to_f32())),
        Type::Bfloat16 => Const::floats(dims, each(raw, |b| bf16::from_le_bytes(b).to_f32())),
        Type::Double => Const::doubles(dims, each(raw, f64::from_le_bytes)),
        Type::Uint8 => Const::of_type(ty, dims, raw.iter().map(|&b| i64::from(b)).collect()),
        Type::Int8 => Const::of_type(ty, dims, raw.iter().map(|&b| i64::from(b as i8)).collect()),
        Type::Bool => Const::of_type(ty, dims, raw.iter().map(|&b| i64::from(b != 0)).collect()),
        Type::Uint16 => Const::of_type(ty, dims, each(raw, |b| i64::from(u16::from_le_bytes(b)))),
        Type::Int16 => Const::of_type(ty, dims, each(raw, |b| i64::from(i16::from_le_bytes(b)))),
        Type::Uint32 => Const::of_type(ty, dims, each(raw, |b| i64::from(u32::from_le_bytes(b)))),
        Type::Int32 => Const::of_type(ty, dims, each(raw, |b| i64::from(i32::from_le_bytes(b)))),
        Type::Int64 | Type::Uint64 => Const::of_type(ty, dims, each(raw, i64::from_le_bytes)),
    })
}

fn from_fields(ty: Type, dims: Vec<usize>, n: usize, t: &Tensor<'_>) -> Result<Const, Fail> {
    let wire = |e| Fail::Invalid(format!("constant data: {e}"));
    fn ints(data: &[Field<'_>]) -> Result<Vec<i64>, super::wire::WireError> {
        let mut out = vec![];
        data.iter().try_for_each(|f| f.ints(5, &mut out))?;
        Ok(out)
    }
    let c = match ty {
        Type::Float => {
            let mut out = vec![];
            t.float_data.iter().try_for_each(|f| f.floats(4, &mut out)).map_err(wire)?;
            Const::floats(dims, out)
        }
        Type::Double => {
            let mut out = vec![];
            t.double_data.iter().try_for_each(|f| f.doubles(10, &mut out)).map_err(wire)?;
            Const::doubles(dims, out)
        }
        // The 16 bits lie in the low half of an int32.
        Type::Float16 => {
            let bits = ints(&t.int32_data).map_err(wire)?;
            Const::floats(dims, bits.into_iter().map(|b| f16::from_bits(b as u16).to_f32()).collect())
        }
        Type::Bfloat16 => {
            let bits = ints(&t.int32_data).map_err(wire)?;
            Const::floats(dims, bits.into_iter().map(|b| bf16::from_bits(b as u16).to_f32()).collect())
        }
        Type::Int64 => Const::of_type(ty, dims, ints(&t.int64_data).map_err(wire)?),
        Type::Uint32 | Type::Uint64 => Const::of_type(ty, dims, ints(&t.uint64_data).map_err(wire)?),
        Type::Uint8 | Type::Int8 | Type::Uint16 | Type::Int16 | Type::Int32 | Type::Bool => {
            // A negative int32 may be written in 32 or in 64 bits.
            Const::of_type(
                ty,
                dims,
                ints(&t.int32_data).map_err(wire)?.into_iter().map(|v| ty.wrap(i128::from(v as i32))).collect(),
            )
        }
    };
    if c.len() != n {
        return bad(format!("a constant of shape {:?} has {} elements of data", c.dims, c.len()));
    }
    Ok(c)
}

/// The files beside the model.
pub(super) struct Files<'p> {
    folder: Option<&'p Path>,
    open: HashMap<PathBuf, External>,
    /// Bytes read so far.
    pub read: u64,
}

struct External {
    file: File,
    len: u64,
    /// A file may be read twice over, so that tensors can share bytes but not multiply them without bound.
    left: u64,
}

impl<'p> Files<'p> {
    pub(super) fn new(folder: Option<&'p Path>) -> Self {
        Self { folder, open: HashMap::new(), read: 0 }
    }

    /// Reads `expected` bytes of the place that the entries name.
    fn read(&mut self, entries: &[(&str, &str)], expected: usize) -> Result<Vec<u8>, Fail> {
        let get = |key: &str| entries.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
        let number = |key: &str| match get(key) {
            None => Ok(None),
            Some(v) => v.trim().parse::<u64>().map(Some).or_else(|_| bad(format!("external data: {key} is {v:?}"))),
        };
        let Some(location) = get("location") else { return bad("external data without a location") };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|l| l != expected as u64) {
            return bad(format!("external data: length is {}, the tensor has {expected} bytes", length.unwrap_or(0)));
        }
        let path = self.resolve(location)?;
        let io = |source| Fail::Error(Error::Io { path: path.clone(), source });
        let ext = match self.open.entry(path.clone()) {
            std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::hash_map::Entry::Vacant(e) => {
                // Before it is opened: to open a pipe would wait for somebody to write into it.
                if !path.is_file() {
                    return bad(format!("external data: {location:?} is not a file"));
                }
                let file = File::open(&path).map_err(io)?;
                let len = file.metadata().map_err(io)?.len();
                e.insert(External { file, len, left: len.saturating_mul(2) })
            }
        };
        let bytes = expected as u64;
        if offset.checked_add(bytes).is_none_or(|end| end > ext.len) {
            return bad(format!("external data: {location:?} has {} bytes, wanted are {bytes} at {offset}", ext.len));
        }
        ext.left =
            ext.left.checked_sub(bytes).map_or_else(|| bad(format!("external data: {location:?} is shared too often")), Ok)?;
        self.read += bytes;
        let mut out = vec![0; expected];
        ext.file.seek(SeekFrom::Start(offset)).map_err(io)?;
        ext.file.read_exact(&mut out).map_err(io)?;
        Ok(out)
    }

    /// The path of a location, which must not lead out of the model's folder, not even through a link.
    fn resolve(&self, location: &str) -> Result<PathBuf, Fail> {
        let Some(folder) = self.folder else { return bad("external data, but the model did not come from a file") };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let relative = Path::new(location);
        let inside = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !inside || location.is_empty() || location.contains(['\\', '\0', ':']) {
            return bad(format!("external data: {location:?} is not a path inside the model's folder"));
        }
        let path = folder.join(relative);
        let canonical = |p: &Path| p.canonicalize().map_err(|source| Fail::Error(Error::Io { path: p.into(), source }));
        let real = canonical(&path)?;
        if !real.starts_with(canonical(folder)?) {
            return bad(format!("external data: {location:?} is a link out of the model's folder"));
        }
        Ok(real)
    }
}
