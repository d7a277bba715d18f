//! Constant tensors: every element type, sparse or dense, quantised or not, as floats or as integers.

use super::schema::{Budget, Quantization, Sparsity, Tensor};
use super::sparse;
use crate::import::fail::{Res, bad, unsupported};
use crate::import::shape;
use half::{bf16, f16};

/// What `TensorType` calls a float.
pub(super) const FLOAT32: i8 = 0;
/// And a boolean.
pub(super) const BOOL: i8 = 6;
/// And a half.
const FLOAT16: i8 = 1;

/// Bytes of the largest element.
const LARGEST: usize = 8;

/// Elements in C order.
#[derive(Debug)]
pub(super) enum Data {
    /// Every floating point type, and integers that a scale makes floats.
    Float(Vec<f32>),
    /// Every other integer type, and booleans as 0 and 1.
    Int(Vec<i64>),
}

/// What people call an element type.
pub(super) fn type_name(element: i8) -> String {
    let names = [
        "float32",
        "float16",
        "int32",
        "uint8",
        "int64",
        "string",
        "bool",
        "int16",
        "complex64",
        "int8",
        "float64",
        "complex128",
        "uint64",
        "resource",
        "variant",
        "uint32",
        "uint16",
        "int4",
        "bfloat16",
    ];
    usize::try_from(element).ok().and_then(|i| names.get(i)).map_or_else(|| format!("number {element}"), |n| (*n).into())
}

/// Whether activations of this type mean a network that was quantised as a whole.
pub(super) fn is_quantised(element: i8) -> bool {
    matches!(element, 3 | 7 | 9 | 17)
}

/// Whether it is an integer.
pub(super) fn is_whole(element: i8) -> bool {
    matches!(element, 2 | 3 | 4 | 7 | 9 | 12 | 15 | 16)
}

/// Whether it is an integer without a sign.
pub(super) fn is_unsigned(element: i8) -> bool {
    matches!(element, 3 | 12 | 15 | 16)
}

/// Whether it is a float of fewer bits than the network computes in.
pub(super) fn is_narrow(element: i8) -> bool {
    matches!(element, FLOAT16 | 18)
}

/// Whether a float of the graph may have this type in the source.
pub(super) fn is_float(element: i8) -> bool {
    matches!(element, FLOAT32 | FLOAT16 | 10 | 18)
}

/// Decodes a constant.
pub(super) fn decode(t: &Tensor<'_>, bytes: &[u8], budget: &mut Budget) -> Res<(Vec<usize>, Data)> {
    let dims = shape::from_i64(&t.shape)?;
    let Some(n) = shape::count(&dims) else { return bad(format!("a constant of shape {dims:?} is too large")) };
    budget.pay(n)?;
    let quantization = match &t.quantization {
        Some(q) => Quantization::parse(q, budget)?,
        None => None,
    };
    let mut data = match &t.sparsity {
        // Before anything is decoded: what was paid for is the shape.
        None if bytes.len() > n.saturating_mul(LARGEST) => {
            return bad(format!("a constant of shape {dims:?} has {} bytes of data", bytes.len()));
        }
        None => elements(t.element, bytes, Some(n))?,
        Some(s) => {
            budget.pay(bytes.len())?;
            let s = Sparsity::parse(s, budget)?;
            match elements(t.element, bytes, None)? {
                Data::Float(v) => Data::Float(sparse::densify(&s, &dims, &v)?),
                Data::Int(v) => Data::Int(sparse::densify(&s, &dims, &v)?),
            }
        }
    };
    if let (Data::Int(v), Some(q)) = (&data, quantization) {
        data = Data::Float(dequantise(v, &dims, &q)?);
    }
    let len = match &data {
        Data::Float(v) => v.len(),
        Data::Int(v) => v.len(),
    };
    if len != n {
        return bad(format!("a constant of shape {dims:?} has {len} elements of data"));
    }
    Ok((dims, data))
}

/// The elements in the buffer; `n`, where known, tells an odd number of halves of bytes.
fn elements(element: i8, bytes: &[u8], n: Option<usize>) -> Res<Data> {
    fn each<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Res<Vec<T>> {
        let (chunks, rest) = bytes.as_chunks::<N>();
        if rest.is_empty() { Ok(chunks.iter().map(|c| f(*c)).collect()) } else { bad("a constant ends inside an element") }
    }
    Ok(match element {
        FLOAT32 => Data::Float(each(bytes, f32::from_le_bytes)?),
        FLOAT16 => Data::Float(each(bytes, |b| f16::from_le_bytes(b).to_f32())?),
        18 => Data::Float(each(bytes, |b| bf16::from_le_bytes(b).to_f32())?),
        10 => Data::Float(each(bytes, |b| f64::from_le_bytes(b) as f32)?),
        2 => Data::Int(each(bytes, |b| i64::from(i32::from_le_bytes(b)))?),
        3 | BOOL => Data::Int(bytes.iter().map(|&b| i64::from(b)).collect()),
        // Beyond 2^63 there is nothing that we could use.
        4 | 12 => Data::Int(each(bytes, i64::from_le_bytes)?),
        7 => Data::Int(each(bytes, |b| i64::from(i16::from_le_bytes(b)))?),
        9 => Data::Int(bytes.iter().map(|&b| i64::from(b as i8)).collect()),
        15 => Data::Int(each(bytes, |b| i64::from(u32::from_le_bytes(b)))?),
        16 => Data::Int(each(bytes, |b| i64::from(u16::from_le_bytes(b)))?),
        // Two to a byte, the lower half first.
        17 if n.is_some_and(|n| bytes.len() != n.div_ceil(2)) => {
            return bad(format!("a constant has {} bytes of halves", bytes.len()));
        }
        17 => {
            let mut v: Vec<i64> = bytes.iter().flat_map(|&b| [b << 4, b]).map(|b| i64::from(b as i8 >> 4)).collect();
            v.truncate(n.unwrap_or(v.len()));
            Data::Int(v)
        }
        other => return unsupported(format!("a constant of type {}", type_name(other)), "store it as float32 or int32"),
    })
}

/// `scale * (q - zero point)`, with one scale for all or one for each index of an axis; in f32, as the source computes it.
fn dequantise(v: &[i64], dims: &[usize], q: &Quantization) -> Res<Vec<f32>> {
    let (channels, inner) = match q.scale.len() {
        1 => (1, 1),
        n => {
            let axis = shape::axis(i64::from(q.axis), dims.len())?;
            if n != dims[axis] {
                return bad(format!("{n} scales for axis {axis} of shape {dims:?}"));
            }
            // An empty tensor has nothing to be scaled.
            (n, dims[axis + 1..].iter().product::<usize>().max(1))
        }
    };
    if q.scale.iter().any(|s| !s.is_finite()) || q.zero_point.len() > 1 && q.zero_point.len() != channels {
        return bad("the scales or zero points of a constant make no sense");
    }
    let zero = |c: usize| q.zero_point.get(c).or(q.zero_point.first()).copied().unwrap_or(0);
    let one = |(i, &v): (usize, &i64)| {
        let c = i / inner % channels;
        q.scale[c] * v.saturating_sub(zero(c)) as f32
    };
    Ok(v.iter().enumerate().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_per_tensor_or_per_axis() {
        let q = |scale: &[f32], zero_point: &[i64], axis| Quantization { scale: scale.into(), zero_point: zero_point.into(), axis };
        let v = [1, 2, 3, 4, 5, 6];
        let ok = |q: Quantization| dequantise(&v, &[2, 3], &q).unwrap();
        assert_eq!(ok(q(&[0.5], &[1], 0)), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        assert_eq!(ok(q(&[1.0, 2.0], &[], 0)), [1.0, 2.0, 3.0, 8.0, 10.0, 12.0]);
        assert_eq!(ok(q(&[1.0, 2.0, 0.0], &[0, 1, 0], 1)), [1.0, 2.0, 0.0, 4.0, 8.0, 0.0]);
        for wrong in [q(&[1.0, 2.0], &[], 1), q(&[1.0, 2.0], &[], 7), q(&[f32::NAN], &[], 0), q(&[1.0], &[1, 2], 0)] {
            assert!(dequantise(&v, &[2, 3], &wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn small_types() {
        let ints = |element, bytes: &[u8], n| match elements(element, bytes, n).unwrap() {
            Data::Int(v) => v,
            Data::Float(v) => panic!("{v:?}"),
        };
        assert_eq!(ints(17, &[0xf1, 0x78], Some(3)), [1, -1, -8]);
        assert_eq!(ints(9, &[0xff, 0x80], None), [-1, -128]);
        assert_eq!(ints(6, &[1, 0], None), [1, 0]);
        assert!(elements(2, &[1, 0], None).is_err());
        assert!(elements(5, &[], None).is_err());
    }
}
