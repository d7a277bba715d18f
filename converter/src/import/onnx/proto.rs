//! The messages of ONNX that we read, borrowed from the file.
//!
//! Attributes and tensors stay bytes until somebody asks for them, so that a model costs little more than its file: a tensor
//! that no live node reads is never decoded, and an empty message cannot grow into a large structure.

use super::wire::{Field, WireError, fields};

type Wire<T> = Result<T, WireError>;

/// `ModelProto`.
#[derive(Debug, Default)]
pub(super) struct Model<'a> {
    pub ir_version: i64,
    pub graph: Option<Graph<'a>>,
    /// Domain and version.
    pub opsets: Vec<(&'a str, i64)>,
}

/// `GraphProto`.
#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub name: &'a str,
    pub nodes: Vec<Node<'a>>,
    /// Name and undecoded tensor.
    pub initializers: Vec<(&'a str, &'a [u8])>,
    pub sparse_initializers: bool,
    pub inputs: Vec<ValueInfo<'a>>,
    pub outputs: Vec<ValueInfo<'a>>,
    pub value_info: Vec<ValueInfo<'a>>,
}

/// `NodeProto`.
#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub name: &'a str,
    pub op_type: &'a str,
    pub domain: &'a str,
    /// Undecoded.
    pub attributes: Vec<&'a [u8]>,
}

/// `ValueInfoProto` of a tensor.
#[derive(Debug, Default)]
pub(super) struct ValueInfo<'a> {
    pub name: &'a str,
    /// `TensorProto.DataType`, 0 when unknown or not a tensor.
    pub elem_type: i64,
    /// `None` when the rank is unknown.
    pub dims: Option<Vec<Dim<'a>>>,
}

/// An extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dim<'a> {
    Known(i64),
    /// A symbol; empty when it has not even a name.
    Symbol(&'a str),
}

/// `AttributeProto`.
#[derive(Debug, Default)]
pub(super) struct Attribute<'a> {
    pub name: &'a str,
    /// `AttributeType`, 0 in old files.
    pub kind: i64,
    pub f: f32,
    pub i: i64,
    pub s: &'a [u8],
    /// Undecoded tensor.
    pub t: Option<&'a [u8]>,
    /// Undecoded graph.
    pub g: Option<&'a [u8]>,
    pub floats: Vec<f32>,
    pub ints: Vec<i64>,
}

/// `TensorProto`.
#[derive(Debug, Default)]
pub(super) struct Tensor<'a> {
    pub dims: Vec<i64>,
    pub data_type: i64,
    pub segmented: bool,
    pub float_data: Vec<Field<'a>>,
    pub int32_data: Vec<Field<'a>>,
    pub int64_data: Vec<Field<'a>>,
    pub double_data: Vec<Field<'a>>,
    pub uint64_data: Vec<Field<'a>>,
    pub raw_data: Option<&'a [u8]>,
    /// Keys and values.
    pub external_data: Vec<(&'a str, &'a str)>,
    pub external: bool,
}

impl<'a> Model<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Wire<Self> {
        let mut m = Self::default();
        for f in fields(bytes) {
            match f? {
                (1, v) => m.ir_version = v.int(1)?,
                (7, v) => m.graph = Some(Graph::parse(v.bytes(7)?)?),
                (8, v) => m.opsets.push(opset(v.bytes(8)?)?),
                _ => {}
            }
        }
        Ok(m)
    }
}

fn opset(bytes: &[u8]) -> Wire<(&str, i64)> {
    let (mut domain, mut version) = ("", 0);
    for f in fields(bytes) {
        match f? {
            (1, v) => domain = v.str(1)?,
            (2, v) => version = v.int(2)?,
            _ => {}
        }
    }
    Ok((domain, version))
}

impl<'a> Graph<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Wire<Self> {
        let mut g = Self::default();
        for f in fields(bytes) {
            match f? {
                (1, v) => g.nodes.push(Node::parse(v.bytes(1)?)?),
                (2, v) => g.name = v.str(2)?,
                (5, v) => {
                    let tensor = v.bytes(5)?;
                    g.initializers.push((tensor_name(tensor)?, tensor));
                }
                (11, v) => g.inputs.push(ValueInfo::parse(v.bytes(11)?)?),
                (12, v) => g.outputs.push(ValueInfo::parse(v.bytes(12)?)?),
                (13, v) => g.value_info.push(ValueInfo::parse(v.bytes(13)?)?),
                (15, _) => g.sparse_initializers = true,
                _ => {}
            }
        }
        Ok(g)
    }
}

fn tensor_name(bytes: &[u8]) -> Wire<&str> {
    let mut name = "";
    for f in fields(bytes) {
        if let (8, v) = f? {
            name = v.str(8)?;
        }
    }
    Ok(name)
}

impl<'a> Node<'a> {
    fn parse(bytes: &'a [u8]) -> Wire<Self> {
        let mut n = Self::default();
        for f in fields(bytes) {
            match f? {
                (1, v) => n.inputs.push(v.str(1)?),
                (2, v) => n.outputs.push(v.str(2)?),
                (3, v) => n.name = v.str(3)?,
                (4, v) => n.op_type = v.str(4)?,
                (5, v) => n.attributes.push(v.bytes(5)?),
                (7, v) => n.domain = v.str(7)?,
                _ => {}
            }
        }
        Ok(n)
    }
}

impl<'a> ValueInfo<'a> {
    fn parse(bytes: &'a [u8]) -> Wire<Self> {
        let mut info = Self::default();
        for f in fields(bytes) {
            match f? {
                (1, v) => info.name = v.str(1)?,
                (2, v) => {
                    for f in fields(v.bytes(2)?) {
                        if let (1, v) = f? {
                            info.tensor_type(v.bytes(1)?)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(info)
    }

    fn tensor_type(&mut self, bytes: &'a [u8]) -> Wire<()> {
        for f in fields(bytes) {
            match f? {
                (1, v) => self.elem_type = v.int(1)?,
                (2, v) => {
                    let mut dims = vec![];
                    for f in fields(v.bytes(2)?) {
                        if let (1, v) = f? {
                            dims.push(dim(v.bytes(1)?)?);
                        }
                    }
                    self.dims = Some(dims);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn dim(bytes: &[u8]) -> Wire<Dim<'_>> {
    let mut dim = Dim::Symbol("");
    for f in fields(bytes) {
        match f? {
            (1, v) => dim = Dim::Known(v.int(1)?),
            (2, v) => dim = Dim::Symbol(symbol(v.str(2)?)),
            _ => {}
        }
    }
    Ok(dim)
}

/// What exporters write where they know of no name is none: Paddle's `?` is any number of extents.
fn symbol(name: &str) -> &str {
    if ["?", "None", "none", "-1", "*"].contains(&name) { "" } else { name }
}

impl<'a> Attribute<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Wire<Self> {
        let mut a = Self::default();
        for f in fields(bytes) {
            match f? {
                (1, v) => a.name = v.str(1)?,
                (2, v) => a.f = v.float(2)?,
                (3, v) => a.i = v.int(3)?,
                (4, v) => a.s = v.bytes(4)?,
                (5, v) => a.t = Some(v.bytes(5)?),
                (6, v) => a.g = Some(v.bytes(6)?),
                (7, v) => v.floats(7, &mut a.floats)?,
                (8, v) => v.ints(8, &mut a.ints)?,
                (20, v) => a.kind = v.int(20)?,
                _ => {}
            }
        }
        Ok(a)
    }
}

impl<'a> Tensor<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Wire<Self> {
        let mut t = Self::default();
        for f in fields(bytes) {
            match f? {
                (1, v) => v.ints(1, &mut t.dims)?,
                (2, v) => t.data_type = v.int(2)?,
                (3, _) => t.segmented = true,
                (4, v) => t.float_data.push(v),
                (5, v) => t.int32_data.push(v),
                (7, v) => t.int64_data.push(v),
                (9, v) => t.raw_data = Some(v.bytes(9)?),
                (10, v) => t.double_data.push(v),
                (11, v) => t.uint64_data.push(v),
                (13, v) => t.external_data.push(entry(v.bytes(13)?)?),
                (14, v) => t.external = v.int(14)? == 1,
                _ => {}
            }
        }
        Ok(t)
    }
}

fn entry(bytes: &[u8]) -> Wire<(&str, &str)> {
    let (mut key, mut value) = ("", "");
    for f in fields(bytes) {
        match f? {
            (1, v) => key = v.str(1)?,
            (2, v) => value = v.str(2)?,
            _ => {}
        }
    }
    Ok((key, value))
}
