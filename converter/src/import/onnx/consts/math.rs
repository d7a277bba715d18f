//! Operators that compute with constants.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::{cast, expand};

pub(super) fn evaluate(cx: &mut Ctx<'_, '_, '_>, op: &str, x: &Const, args: &[Option<Const>]) -> Res<Option<Const>> {
    if let Some(c) = unary(op, x)? {
        return Ok(Some(c));
    }
    Ok(Some(match op {
        "Cast" => {
            cx.ignore(&["saturate", "round_mode"]);
            cast(x, cx.int("to", 0)?)?
        }
        "CastLike" => {
            cx.ignore(&["saturate", "round_mode"]);
            match args.get(1) {
                Some(Some(Const { data: Data::Float(_), .. })) => cast(x, 1)?,
                _ => cast(x, 7)?,
            }
        }
        "Range" => {
            cx.ignore(&["stash_type"]);
            range(cx, args)?
        }
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => reduce(cx, op, x)?,
        "DequantizeLinear" => dequantize(cx, x, args)?,
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And"
        | "Or" | "Xor" | "PRelu" => {
            let Some(Some(b)) = args.get(1) else { return bad("input 1 is missing") };
            if op == "Mod" {
                cx.ignore(&["fmod"]);
            }
            binary(cx, op, x, b)?
        }
        "Min" | "Max" | "Sum" | "Mean" => {
            let mut all = args.iter().flatten();
            let Some(first) = all.next() else { return bad("there are no inputs") };
            let mut acc = first.clone();
            for b in all {
                acc = binary(cx, if op == "Mean" || op == "Sum" { "Add" } else { op }, &acc, b)?;
            }
            if op == "Mean" {
                let n = Const::floats(vec![], vec![args.len() as f32]);
                acc = binary(cx, "Div", &acc, &n)?;
            }
            acc
        }
        _ => return Ok(None),
    }))
}

fn unary(op: &str, x: &Const) -> Res<Option<Const>> {
    let dims = x.dims.clone();
    Ok(Some(match &x.data {
        Data::Float(v) => {
            let f: fn(f32) -> f32 = match op {
                "Neg" => |v| -v,
                "Abs" => f32::abs,
                "Floor" => f32::floor,
                "Ceil" => f32::ceil,
                "Round" => f32::round_ties_even,
                "Sqrt" => f32::sqrt,
                "Exp" => f32::exp,
                "Log" => f32::ln,
                "Reciprocal" => |v| 1.0 / v,
                "Relu" => |v| v.max(0.0),
                "Sign" => |v| if v == 0.0 { 0.0 } else { v.signum() },
                "Sigmoid" => |v| 1.0 / (1.0 + (-v).exp()),
                "Tanh" => f32::tanh,
                "Sin" => f32::sin,
                "Cos" => f32::cos,
                "Erf" => |v| crate::interp::function::erf(v.into()) as f32,
                _ => return Ok(None),
            };
            Const::floats(dims, v.iter().map(|&v| f(v)).collect())
        }
        Data::Int(v) => {
            let f: fn(i64) -> i64 = match op {
                "Neg" => i64::wrapping_neg,
                "Abs" => i64::wrapping_abs,
                "Relu" => |v| v.max(0),
                "Sign" => i64::signum,
                "Not" => |v| i64::from(v == 0),
                _ => return Ok(None),
            };
            Const::ints(dims, v.iter().map(|&v| f(v)).collect())
        }
    }))
}

fn binary(cx: &mut Ctx<'_, '_, '_>, op: &str, a: &Const, b: &Const) -> Res<Const> {
    let dims = shape::broadcast(&a.dims, &b.dims)?;
    let (a, b) = (expand(cx, a, &dims)?, expand(cx, b, &dims)?);
    cx.b.charge(a.len())?;
    match (&a.data, &b.data) {
        (Data::Float(a), Data::Float(b)) => floats(op, dims, a, b),
        (Data::Int(a), Data::Int(b)) => {
            let v = a.iter().zip(b.iter()).map(|(&a, &b)| integer(op, a, b)).collect::<Res<_>>()?;
            Ok(Const::ints(dims, v))
        }
        // Only Pow takes two types; the result has that of the base.
        (Data::Float(a), Data::Int(b)) if op == "Pow" => {
            Ok(Const::floats(dims, a.iter().zip(b.iter()).map(|(&a, &b)| a.powf(b as f32)).collect()))
        }
        _ => bad("the inputs are of different types"),
    }
}

fn floats(op: &str, dims: Vec<usize>, a: &[f32], b: &[f32]) -> Res<Const> {
    let compare: Option<fn(f32, f32) -> bool> = match op {
        "Equal" => Some(|a, b| a == b),
        "Greater" => Some(|a, b| a > b),
        "Less" => Some(|a, b| a < b),
        "GreaterOrEqual" => Some(|a, b| a >= b),
        "LessOrEqual" => Some(|a, b| a <= b),
        _ => None,
    };
    let pairs = a.iter().zip(b);
    if let Some(f) = compare {
        return Ok(Const::ints(dims, pairs.map(|(&a, &b)| i64::from(f(a, b))).collect()));
    }
    let f: fn(f32, f32) -> f32 = match op {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Min" => f32::min,
        "Max" => f32::max,
        "Pow" => f32::powf,
        "Mod" => |a, b| a % b,
        "PRelu" => |x, slope| if x > 0.0 { x } else { slope * x },
        _ => return bad("floats where integers belong"),
    };
    Ok(Const::floats(dims, pairs.map(|(&a, &b)| f(a, b)).collect()))
}

fn integer(op: &str, a: i64, b: i64) -> Res<i64> {
    let checked = match op {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        // The sign of the divisor, as in Python.
        "Mod" => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
        "Pow" => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "Equal" => Some(i64::from(a == b)),
        "Greater" => Some(i64::from(a > b)),
        "Less" => Some(i64::from(a < b)),
        "GreaterOrEqual" => Some(i64::from(a >= b)),
        "LessOrEqual" => Some(i64::from(a <= b)),
        "And" => Some(i64::from(a != 0 && b != 0)),
        "Or" => Some(i64::from(a != 0 || b != 0)),
        "Xor" => Some(i64::from((a != 0) != (b != 0))),
        _ => None,
    };
    checked.map_or_else(|| bad(format!("{op} of {a} and {b}")), Ok)
}

fn range(cx: &mut Ctx<'_, '_, '_>, args: &[Option<Const>]) -> Res<Const> {
    let [Some(start), Some(limit), Some(delta)] = args else { return bad("Range has three inputs") };
    match (&start.data, &limit.data, &delta.data) {
        (Data::Int(s), Data::Int(l), Data::Int(d)) if s.len() == 1 && l.len() == 1 && d.len() == 1 && d[0] != 0 => {
            let span = i128::from(l[0]) - i128::from(s[0]);
            let delta = i128::from(d[0]);
            let n = if span.signum() == delta.signum() { (span.abs() - 1) / delta.abs() + 1 } else { 0 };
            let n = usize::try_from(n).ok().map_or_else(|| bad("the range is too long"), Ok)?;
            cx.b.charge(n)?;
            Ok(Const::ints(vec![n], (0..n as i64).map(|i| s[0].wrapping_add(i.wrapping_mul(d[0]))).collect()))
        }
        (Data::Float(s), Data::Float(l), Data::Float(d)) if s.len() == 1 && l.len() == 1 && d.len() == 1 => {
            let n = ((f64::from(l[0]) - f64::from(s[0])) / f64::from(d[0])).ceil().max(0.0);
            if !n.is_finite() {
                return bad("the range is too long");
            }
            cx.b.charge(n as usize)?;
            Ok(Const::floats(vec![n as usize], (0..n as usize).map(|i| s[0] + i as f32 * d[0]).collect()))
        }
        _ => bad("the inputs are not three numbers of one type"),
    }
}

fn reduce(cx: &mut Ctx<'_, '_, '_>, op: &str, x: &Const) -> Res<Const> {
    let rank = x.dims.len();
    let axes = match cx.axes(1)? {
        Some(a) if !a.is_empty() => shape::axes(&a, rank)?,
        _ if cx.flag("noop_with_empty_axes", false)? => return Ok(x.clone()),
        _ => (0..rank).collect(),
    };
    cx.ignore(&["noop_with_empty_axes"]);
    let keep = cx.flag("keepdims", true)?;
    let kept: Vec<usize> = (0..rank).map(|i| if axes.contains(&i) { 1 } else { x.dims[i] }).collect();
    let (own, n) = (super::strides(&kept), kept.iter().product::<usize>());
    cx.b.charge(n)?;
    let source = super::strides(&x.dims);
    let target = |i: usize| -> usize {
        (0..rank).filter(|a| !axes.contains(a)).map(|a| (i / source[a].max(1) as usize) % x.dims[a] * own[a] as usize).sum()
    };
    if x.len() == 0 {
        return unsupported("a reduction of nothing", "fold constants before exporting the model");
    }
    let dims: Vec<usize> = if keep { kept } else { (0..rank).filter(|i| !axes.contains(i)).map(|i| x.dims[i]).collect() };
    let op = match op {
        "ReduceProd" => "Mul",
        "ReduceSum" => "Add",
        "ReduceMax" => "Max",
        _ => "Min",
    };
    match &x.data {
        Data::Int(v) => {
            let mut out: Vec<Option<i64>> = vec![None; n];
            for (i, &v) in v.iter().enumerate() {
                let t = target(i);
                out[t] = Some(out[t].map_or(Ok(v), |acc| integer(op, acc, v))?);
            }
            Ok(Const::ints(dims, out.into_iter().flatten().collect()))
        }
        Data::Float(v) => {
            let mut out: Vec<Option<f32>> = vec![None; n];
            for (i, &v) in v.iter().enumerate() {
                let t = target(i);
                out[t] = Some(match (out[t], op) {
                    (None, _) => v,
                    (Some(a), "Mul") => a * v,
                    (Some(a), "Add") => a + v,
                    (Some(a), "Max") => a.max(v),
                    (Some(a), _) => a.min(v),
                });
            }
            Ok(Const::floats(dims, out.into_iter().flatten().collect()))
        }
    }
}

/// `(x - zero point) * scale`, per tensor or along an axis.
fn dequantize(cx: &mut Ctx<'_, '_, '_>, x: &Const, args: &[Option<Const>]) -> Res<Const> {
    if cx.int("block_size", 0)? != 0 {
        return unsupported("attribute block_size", "quantise per tensor or per channel");
    }
    let axis = cx.int("axis", 1)?;
    let Some(Some(Const { data: Data::Float(scale), .. })) = args.get(1) else { return bad("the scale is not float") };
    let zero = match args.get(2) {
        Some(Some(Const { data: Data::Int(z), .. })) if z.len() == scale.len() => Some(z),
        Some(Some(_)) => return bad("the zero point does not fit"),
        _ => None,
    };
    let Data::Int(v) = &x.data else { return bad("the input is not quantised") };
    let inner = if scale.len() == 1 {
        v.len().max(1)
    } else {
        let axis = shape::axis(axis, x.dims.len())?;
        if x.dims[axis] != scale.len() {
            return bad(format!("{} scales for axis {axis} of {:?}", scale.len(), x.dims));
        }
        x.dims[axis + 1..].iter().product::<usize>().max(1)
    };
    if scale.is_empty() {
        return bad("there is no scale");
    }
    let value = |(i, &q): (usize, &i64)| {
        let c = i / inner % scale.len();
        (q.wrapping_sub(zero.map_or(0, |z| z[c]))) as f32 * scale[c]
    };
    Ok(Const::floats(x.dims.clone(), v.iter().enumerate().map(value).collect()))
}
