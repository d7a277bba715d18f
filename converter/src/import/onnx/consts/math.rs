//! Operators that compute element by element.

use super::super::fail::{Res, bad};
use super::super::node::Ctx;
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::number::single::{float, function};
use super::number::{compare, double, fit, integer};
use super::{Args, casted, expand};
use crate::interp::ELEMENT;

/// Work on each element, see [`crate::interp::work`].
fn work_of(op: &str) -> u64 {
    match op {
        "Erf" => 64 * ELEMENT,
        "Pow" | "Fmod" | "Mod" => 8 * ELEMENT,
        "Exp" | "Log" | "Sigmoid" => 3 * ELEMENT,
        "Tanh" | "Sin" | "Cos" | "Tan" | "Asin" | "Acos" | "Atan" | "Sinh" | "Cosh" | "Asinh" | "Acosh" | "Atanh" => 3 * ELEMENT,
        _ => ELEMENT / 2,
    }
}

pub(super) fn unary(cx: &mut Ctx<'_, '_, '_>, x: &Const) -> Res<Const> {
    let op = cx.node.op_type;
    cx.b.charge(x.len())?;
    cx.b.spend((x.len() as u64).saturating_mul(work_of(op)))?;
    let v = match &x.data {
        Data::Float(v) => {
            let f = function(op)?;
            return Ok(Const::floats(x.dims.clone(), v.iter().map(|&v| f(v)).collect()));
        }
        Data::Double(v) => {
            let f = double::function(op)?;
            return Ok(Const::doubles(x.dims.clone(), v.iter().map(|&v| f(v)).collect()));
        }
        Data::Int(v) => v,
    };
    let f: fn(i128) -> i128 = match op {
        "Neg" => |v| -v,
        "Abs" => i128::abs,
        "Relu" => |v| v.max(0),
        "Sign" => i128::signum,
        "Not" => |v| i128::from(v == 0),
        "BitwiseNot" => |v| !v,
        _ => return bad("integers where floats belong"),
    };
    let all = v.iter().map(|&v| fit(x.ty, f(x.ty.wide(v)))).collect::<Res<_>>()?;
    Ok(Const::of_type(x.ty, x.dims.clone(), all))
}

/// Whether elements are not numbers, or infinite.
pub(super) fn is(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let x = args.get(0)?;
    let v = args.floats(0)?;
    if cx.node.op_type == "IsNaN" {
        return Ok(Const::truths(x.dims.clone(), v.iter().map(|v| v.is_nan())));
    }
    let (negative, positive) = (cx.flag("detect_negative", true)?, cx.flag("detect_positive", true)?);
    let found = |v: &f32| (positive && *v == f32::INFINITY) || (negative && *v == f32::NEG_INFINITY);
    Ok(Const::truths(x.dims.clone(), v.iter().map(found)))
}

/// The function that a node of two inputs stands for.
fn name<'o>(cx: &Ctx<'_, '_, '_>, op: &'o str) -> Res<&'o str> {
    Ok(match op {
        "Mod" if cx.flag("fmod", false)? => "Fmod",
        "BitShift" => match cx.string("direction", "")? {
            "LEFT" => "Left",
            "RIGHT" => "Right",
            other => return bad(format!("attribute direction is {other:?}")),
        },
        op => op,
    })
}

pub(super) fn binary(cx: &mut Ctx<'_, '_, '_>, a: &Const, b: &Const) -> Res<Const> {
    let op = name(cx, cx.node.op_type)?;
    // Floats cannot be shifted, nor compared bit by bit.
    apply(cx, op, a, b)
}

fn apply(cx: &mut Ctx<'_, '_, '_>, op: &str, a: &Const, b: &Const) -> Res<Const> {
    let dims = shape::broadcast(&a.dims, &b.dims)?;
    let ty = a.ty;
    let (mut a, mut b) = (expand(cx, a, &dims)?, expand(cx, b, &dims)?);
    cx.b.charge(a.len())?;
    cx.b.spend((a.len() as u64).saturating_mul(work_of(op)))?;
    // Only Pow takes two types; the result has that of the base.
    if op == "Pow" && b.ty != ty {
        b = match (&a.data, &b.data) {
            (Data::Float(_) | Data::Double(_), _) => casted(cx, &b, ty)?,
            (Data::Int(_), Data::Int(_)) => Const { ty, ..b },
            (Data::Int(x), _) => {
                let Data::Double(y) = b.double().data else { return bad("the exponent is no number") };
                let power = |(&x, &y): (&i64, &f64)| ty.wrap((ty.wide(x) as f64).powf(y) as i128);
                return Ok(Const::of_type(ty, dims, x.iter().zip(y.iter()).map(power).collect()));
            }
        };
    }
    if matches!(a.data, Data::Double(_)) || matches!(b.data, Data::Double(_)) {
        (a, b) = (a.double(), b.double());
    }
    match (&a.data, &b.data) {
        (Data::Float(a), Data::Float(b)) => {
            let pairs = a.iter().zip(b.iter());
            if let Some(f) = compare(op) {
                return Ok(Const::truths(dims, pairs.map(|(&a, &b)| f(a, b))));
            }
            let f = float(op)?;
            Ok(Const::floats(dims, pairs.map(|(&a, &b)| f(a, b)).collect()))
        }
        (Data::Double(a), Data::Double(b)) => {
            let pairs = a.iter().zip(b.iter());
            if let Some(f) = compare(op) {
                return Ok(Const::truths(dims, pairs.map(|(&a, &b)| f(a, b))));
            }
            let f = double::float(op)?;
            Ok(Const::doubles(dims, pairs.map(|(&a, &b)| f(a, b)).collect()))
        }
        (Data::Int(a), Data::Int(b)) => {
            let pairs = a.iter().zip(b.iter());
            if let Some(f) = compare(op) {
                return Ok(Const::truths(dims, pairs.map(|(&a, &b)| f(ty.wide(a), ty.wide(b)))));
            }
            Ok(Const::of_type(ty, dims, pairs.map(|(&a, &b)| integer(op, ty, a, b)).collect::<Res<_>>()?))
        }
        _ => bad("the inputs are of different types"),
    }
}

pub(super) fn variadic(cx: &mut Ctx<'_, '_, '_>, args: &Args) -> Res<Const> {
    let op = match cx.node.op_type {
        "Sum" | "Mean" => "Add",
        op => op,
    };
    let mut all = args.present();
    let Some(first) = all.next() else { return bad("there are no inputs") };
    let mut acc = first.clone();
    for b in all {
        acc = apply(cx, op, &acc, b)?;
    }
    if cx.node.op_type == "Mean" {
        let n = Const::floats(vec![], vec![args.present().count() as f32]);
        acc = apply(cx, "Div", &acc, &n)?;
    }
    Ok(acc)
}
