//! Evaluation of nodes whose inputs are known: shape arithmetic as exporters write it, masks, expressions of weights.
//!
//! | module | what |
//! |---|---|
//! | `data` | moves elements: Transpose, Concat, Slice and the like |
//! | `index` | moves them to where indices say: Gather, Scatter and their kin |
//! | `choose` | what is chosen by values: NonZero, TopK, ArgMax, Unique |
//! | `number` | one number: types, integers that wrap, functions |
//! | `math` | numbers of one or of several tensors |
//! | `sums` | sums along axes: reductions, running sums, products of matrices, Einsum |
//! | `make` | tensors made from little: Range, EyeLike, OneHot, windows |
//! | `quantise` | scales and zero points |
//!
//! [`find`] is the table of what is here. What it does not know and the network can compute (`ops`) is computed by the f64 interpreter.
//! Floats are computed in the type that the source has them in, those of 64 bits by the operators of [`in_double`] and otherwise in f32;
//! integers exactly, and they wrap where their type does, but in 64 bits with a sign,
//! where no shape is meant to, overflow is an error.

mod choose;
pub(super) mod data;
pub(super) mod index;
mod make;
mod math;
mod number;
mod quantise;
pub(super) mod sums;

use super::fail::{Res, bad, unsupported};
use super::node::{Ctx, Operand};
use super::shape;
use super::tensor::{Const, Data, Type};
use crate::import::elements::{self, Order, around, strides, walk};
use crate::interp::ELEMENT;
use number::cast;
use std::sync::Arc;

/// The constants that a node reads.
pub(super) struct Args(Vec<Option<Const>>);

impl Args {
    fn maybe(&self, i: usize) -> Option<&Const> {
        self.0.get(i)?.as_ref()
    }

    fn get(&self, i: usize) -> Res<&Const> {
        self.maybe(i).map_or_else(|| bad(format!("input {i} is missing")), Ok)
    }

    fn ints(&self, i: usize) -> Res<&[i64]> {
        match &self.get(i)?.data {
            Data::Int(v) => Ok(v),
            Data::Float(_) | Data::Double(_) => bad(format!("input {i} should be integers")),
        }
    }

    fn floats(&self, i: usize) -> Res<&[f32]> {
        match &self.get(i)?.data {
            Data::Float(v) => Ok(v),
            Data::Int(_) | Data::Double(_) => bad(format!("input {i} should be floats")),
        }
    }

    /// One integer; whole floats will do.
    fn int(&self, i: usize) -> Res<i64> {
        match &self.get(i)?.data {
            Data::Int(v) if v.len() == 1 => Ok(v[0]),
            Data::Float(v) if v.len() == 1 && v[0].trunc() == v[0] => Ok(v[0] as i64),
            _ => bad(format!("input {i} should be one integer")),
        }
    }

    fn present(&self) -> impl Iterator<Item = &Const> {
        self.0.iter().flatten()
    }
}

/// Computes a node from constants.
type Eval = fn(&mut Ctx<'_, '_, '_>, &Args) -> Res<Vec<Const>>;

/// How an operator is computed from constants; the others are left to `ops`.
pub(super) fn find(op: &str) -> Option<Eval> {
    Some(match op {
        "Constant" => |cx, _| constant(cx).map(one),
        "Shape" => |cx, _| shape_of(cx).map(one),
        "Size" => |cx, _| Ok(one(Const::ints(vec![], vec![dims_of(cx)?.iter().product::<usize>() as i64]))),
        "EyeLike" => |cx, a| make::eye(cx, a).map(one),
        "Identity" | "Dropout" => nothing,
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => |cx, a| data::reshaped(cx, a.get(0)?).map(one),
        "Transpose" => |cx, a| data::transpose(cx, a.get(0)?).map(one),
        "Expand" => |cx, a| data::expanded(cx, a.get(0)?).map(one),
        "ConstantOfShape" => |cx, _| data::of_shape(cx).map(one),
        "Tile" => |cx, a| data::tile(cx, a.get(0)?).map(one),
        "Concat" => |cx, a| data::concat(cx, &a.present().collect::<Vec<_>>()).map(one),
        "Slice" => |cx, a| data::slice(cx, a.get(0)?).map(one),
        "Split" => |cx, a| data::split(cx, a.get(0)?),
        "Where" => |cx, a| data::select(cx, a).map(one),
        "ReverseSequence" => |cx, a| data::reverse(cx, a).map(one),
        "Trilu" => |cx, a| data::triangle(cx, a).map(one),
        "Gather" => |cx, a| index::gather(cx, a).map(one),
        "GatherElements" => |cx, a| index::gather_elements(cx, a).map(one),
        "GatherND" => |cx, a| index::gather_nd(cx, a).map(one),
        "Scatter" | "ScatterElements" => |cx, a| index::scatter_elements(cx, a).map(one),
        "ScatterND" => |cx, a| index::scatter_nd(cx, a).map(one),
        "NonZero" => |cx, a| choose::non_zero(cx, a).map(one),
        "Compress" => |cx, a| choose::compress(cx, a).map(one),
        "TopK" => choose::top,
        "ArgMax" | "ArgMin" => |cx, a| choose::arg(cx, a).map(one),
        "Hardmax" => |cx, a| choose::hardmax(cx, a).map(one),
        "Unique" => choose::unique,
        "Range" => |cx, a| make::range(cx, a).map(one),
        "OneHot" => |cx, a| make::one_hot(cx, a).map(one),
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => |cx, a| make::window(cx, a).map(one),
        "Cast" => |cx, a| {
            cx.ignore(&["saturate", "round_mode"]);
            let to = Type::from_onnx(cx.int("to", 0)?)?;
            casted(cx, a.get(0)?, to).map(one)
        },
        "CastLike" => |cx, a| {
            cx.ignore(&["saturate", "round_mode"]);
            casted(cx, a.get(0)?, a.get(1)?.ty).map(one)
        },
        "Neg" | "Abs" | "Floor" | "Ceil" | "Round" | "Sqrt" | "Exp" | "Log" | "Reciprocal" | "Relu" | "Sign" | "Sigmoid"
        | "Tanh" | "Sin" | "Cos" | "Tan" | "Asin" | "Acos" | "Atan" | "Sinh" | "Cosh" | "Asinh" | "Acosh" | "Atanh" | "Erf"
        | "Not" | "BitwiseNot" => |cx, a| math::unary(cx, a.get(0)?).map(one),
        "IsNaN" | "IsInf" => |cx, a| math::is(cx, a).map(one),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And"
        | "Or" | "Xor" | "PRelu" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => {
            |cx, a| math::binary(cx, a.get(0)?, a.get(1)?).map(one)
        }
        "Min" | "Max" | "Sum" | "Mean" => |cx, a| math::variadic(cx, a).map(one),
        "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2" | "ReduceLogSum"
        | "ReduceLogSumExp" | "ReduceSumSquare" => |cx, a| sums::reduce(cx, a.get(0)?).map(one),
        "CumSum" | "CumProd" => |cx, a| sums::running(cx, a).map(one),
        "Einsum" => |cx, a| sums::einsum(cx, a).map(one),
        "Det" => |cx, a| sums::det(cx, a).map(one),
        "MatMulInteger" => |cx, a| quantise::matmul(cx, a).map(one),
        "DequantizeLinear" => |cx, a| quantise::dequantize(cx, a).map(one),
        "QuantizeLinear" => |cx, a| quantise::quantize(cx, a).map(one),
        "DynamicQuantizeLinear" => quantise::dynamic,
        _ => return None,
    })
}

/// Whether an operator takes floats of 64 bits as they are: those by which shapes and sizes are computed.
pub(super) fn in_double(op: &str) -> bool {
    matches!(
        op,
        "Identity"
            | "Reshape"
            | "Flatten"
            | "Squeeze"
            | "Unsqueeze"
            | "Transpose"
            | "Expand"
            | "Concat"
            | "Slice"
            | "Split"
            | "Gather"
            | "Where"
            | "Cast"
            | "CastLike"
            | "Neg"
            | "Abs"
            | "Floor"
            | "Ceil"
            | "Round"
            | "Sqrt"
            | "Exp"
            | "Log"
            | "Reciprocal"
            | "Sign"
            | "Add"
            | "Sub"
            | "Mul"
            | "Div"
            | "Pow"
            | "Mod"
            | "Equal"
            | "Greater"
            | "Less"
            | "GreaterOrEqual"
            | "LessOrEqual"
            | "Min"
            | "Max"
            | "Sum"
            | "Mean"
    )
}

fn one(c: Const) -> Vec<Const> {
    vec![c]
}

/// The results of a node when they do not depend on the network's inputs; `None` when they do, or when the operator is one
/// that we do not evaluate.
pub(super) fn evaluate(cx: &mut Ctx<'_, '_, '_>) -> Res<Option<Vec<Const>>> {
    let op = cx.node.op_type;
    let Some(f) = find(op) else { return Ok(None) };
    // Only the type of the second counts, and what is computed are floats.
    if let ("CastLike", [Operand::Const { value, .. }, Operand::Runtime(_)]) = (op, &cx.inputs[..]) {
        cx.ignore(&["saturate", "round_mode"]);
        let value = value.clone();
        return casted(cx, &value, Type::Float).map(|c| Some(vec![c]));
    }
    // Only the shape counts.
    let of_shape = matches!(op, "Shape" | "Size" | "EyeLike");
    let mut args: Vec<Option<Const>> = vec![];
    for i in &cx.inputs {
        args.push(match i {
            Operand::Const { value, .. } => Some(value.clone()),
            Operand::Runtime(_) if !of_shape => return Ok(None),
            Operand::Sequence(_) if !of_shape => return unsupported("a sequence", "read its elements one by one"),
            _ => None,
        });
    }
    // What shares its data pays nothing; everything else for what it reads and writes, and for the axes it goes along.
    if !matches!(op, "Identity" | "Dropout" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze") && !of_shape {
        let spans = args.iter().flatten().map(|c| shape::span(&c.dims));
        cx.b.charge(spans.fold(0, usize::saturating_add))?;
        let work = args.iter().flatten().map(|c| (c.len() as u64).saturating_mul(work_of(op, c)));
        cx.b.spend(work.fold(0, u64::saturating_add))?;
    }
    f(cx, &Args(args)).map(Some)
}

/// What an element costs that is read or written, in turn.
const MOVED: u64 = ELEMENT / 4;

/// What an element that is read costs. What functions cost, operators pay themselves.
fn work_of(op: &str, c: &Const) -> u64 {
    let whole = matches!(c.data, Data::Int(_));
    match op {
        // The largest of a line first, then exponentials.
        "ReduceLogSumExp" => 10 * ELEMENT,
        // Integers are looked at for what is beyond their type.
        _ if op.starts_with("Reduce") => {
            if whole {
                3 * ELEMENT
            } else {
                ELEMENT / 2
            }
        }
        // Three divisions.
        "ReverseSequence" => ELEMENT,
        "CumSum" | "CumProd" if whole => 4 * ELEMENT,
        "GatherElements" | "Scatter" | "ScatterElements" | "ArgMax" | "ArgMin" | "Hardmax" | "CumSum" | "CumProd" => 2 * ELEMENT,
        "DequantizeLinear" => 2 * MOVED,
        "QuantizeLinear" | "DynamicQuantizeLinear" => 2 * ELEMENT,
        // Divisions along each axis.
        "GatherND" | "ScatterND" | "NonZero" => (1 + c.dims.len() as u64) * ELEMENT,
        _ => MOVED,
    }
}

/// Elements of another type.
fn casted(cx: &mut Ctx<'_, '_, '_>, c: &Const, to: Type) -> Res<Const> {
    // Floats that stay what they are share their data; other numbers become f32 on their way to halves.
    let each = match (&c.data, to) {
        (Data::Float(_), Type::Float) => 0,
        (Data::Int(_), Type::Float16 | Type::Bfloat16) => 3 * MOVED,
        _ => MOVED,
    };
    cx.b.spend(each * c.len() as u64)?;
    cast(c, to)
}

/// Dropout's second result is a mask of what it keeps: everything.
fn nothing(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Vec<Const>> {
    let x = args.get(0)?;
    if cx.node.op_type == "Identity" {
        return Ok(vec![x.clone()]);
    }
    super::ops::layout::drops_nothing(cx)?;
    let truth = Const::truths(vec![], [true].into_iter());
    let mask = if cx.node.outputs.len() > 1 { Some(expand(cx, &truth, &x.dims)?) } else { None };
    Ok(std::iter::once(x.clone()).chain(mask).collect())
}

fn constant(cx: &mut Ctx<'_, '_, '_>) -> Res<Const> {
    if let Some(t) = cx.tensor("value")? {
        return Ok(t);
    }
    if cx.has("value_float") {
        return Ok(Const::floats(vec![], vec![cx.bound("value_float", 0.0)?]));
    }
    if cx.has("value_int") {
        return Ok(Const::ints(vec![], vec![cx.int("value_int", 0)?]));
    }
    if let Some(v) = cx.float_list("value_floats")? {
        return Ok(Const::floats(vec![v.len()], v));
    }
    if let Some(v) = cx.int_list("value_ints")? {
        return Ok(Const::ints(vec![v.len()], v));
    }
    unsupported("a constant that is neither numbers nor a dense tensor", "store it as a dense tensor")
}

fn dims_of(cx: &Ctx<'_, '_, '_>) -> Res<Vec<usize>> {
    match cx.operand(0) {
        Operand::Runtime(v) => Ok(cx.shape(*v)),
        Operand::Const { value, .. } => Ok(value.dims.clone()),
        Operand::Sequence(_) => unsupported("a sequence", "read its elements one by one"),
        Operand::None => bad("input 0 is missing"),
    }
}

fn shape_of(cx: &Ctx<'_, '_, '_>) -> Res<Const> {
    let dims: Vec<i64> = dims_of(cx)?.iter().map(|&d| d as i64).collect();
    let rank = dims.len() as i64;
    let at = |v: i64| if v < 0 { v.saturating_add(rank) } else { v }.clamp(0, rank);
    let (start, end) = (at(cx.int("start", 0)?), at(cx.int("end", i64::MAX)?));
    let part = dims.get(start as usize..end as usize).unwrap_or(&[]).to_vec();
    Ok(Const::ints(vec![part.len()], part))
}

/// Elements of `c` under `dims`, where axis i steps by `strides[i]` elements from `start`. Every index must lie inside.
fn strided(cx: &mut Ctx<'_, '_, '_>, c: &Const, dims: &[usize], start: i64, strides: &[i64]) -> Res<Const> {
    let n = room(cx, dims)?;
    let each = match elements::order(dims, strides) {
        Order::Near => MOVED,
        Order::Apart { .. } => 2 * MOVED,
    };
    cx.b.spend((n as u64).saturating_mul(each))?;
    let data = match &c.data {
        Data::Float(v) => Data::Float(Arc::new(elements::strided(v, dims, start, strides)?)),
        Data::Double(v) => Data::Double(Arc::new(elements::strided(v, dims, start, strides)?)),
        Data::Int(v) => Data::Int(Arc::new(elements::strided(v, dims, start, strides)?)),
    };
    Ok(Const { dims: dims.to_vec(), data, ty: c.ty })
}

/// The elements at some places.
fn pick(c: &Const, dims: Vec<usize>, places: impl IntoIterator<Item = usize>) -> Res<Const> {
    fn take<T: Copy>(from: &[T], places: impl IntoIterator<Item = usize>) -> Res<Arc<Vec<T>>> {
        let one = |i: usize| from.get(i).copied().map_or_else(|| bad("an index lies outside a constant"), Ok);
        places.into_iter().map(one).collect::<Res<_>>().map(Arc::new)
    }
    let data = match &c.data {
        Data::Float(v) => Data::Float(take(v, places)?),
        Data::Double(v) => Data::Double(take(v, places)?),
        Data::Int(v) => Data::Int(take(v, places)?),
    };
    Ok(Const { dims, data, ty: c.ty })
}

/// Pays for a tensor of these extents, and says how many elements it has.
fn room(cx: &mut Ctx<'_, '_, '_>, dims: &[usize]) -> Res<usize> {
    if dims.len() > shape::MAX_RANK {
        return unsupported(format!("a tensor of {} axes", dims.len()), format!("use at most {}", shape::MAX_RANK));
    }
    let Some(n) = shape::count(dims) else { return bad(format!("a constant of shape {dims:?} is too large")) };
    cx.b.charge(shape::span(dims))?;
    cx.b.spend(MOVED * n as u64)?;
    Ok(n)
}

/// Numpy broadcasting to a shape.
fn expand(cx: &mut Ctx<'_, '_, '_>, c: &Const, dims: &[usize]) -> Res<Const> {
    if c.dims == dims {
        return Ok(c.clone());
    }
    let lead = dims.len().checked_sub(c.dims.len()).map_or_else(|| bad("a constant has too many axes"), Ok)?;
    let own = strides(&c.dims);
    let steps: Vec<i64> = (0..dims.len()).map(|i| if i < lead || c.dims[i - lead] == 1 { 0 } else { own[i - lead] }).collect();
    strided(cx, c, dims, 0, &steps)
}

/// [`expand`] for operators.
pub(super) fn expanded(cx: &mut Ctx<'_, '_, '_>, c: &Const, dims: &[usize]) -> Res<Const> {
    expand(cx, c, dims)
}
