//! One number, or two: types, integers that wrap where their type does, functions.

use super::super::fail::{Res, bad};
use super::super::tensor::{Const, Data, Type};

/// The same numbers in another type. What does not fit wraps; of a float, its whole part counts.
pub(super) fn cast(c: &Const, to: Type) -> Res<Const> {
    let dims = c.dims.clone();
    Ok(match &c.data {
        Data::Float(_) if to == Type::Double => c.clone().double(),
        Data::Double(_) if to == Type::Double => c.clone(),
        Data::Double(_) if to == Type::Float => Const { ty: to, ..c.clone().single() },
        Data::Double(v) if to.is_float() => {
            let half =
                |&v: &f64| if to == Type::Float16 { half::f16::from_f64(v).to_f32() } else { half::bf16::from_f64(v).to_f32() };
            Const { ty: to, ..Const::floats(dims, v.iter().map(half).collect()) }
        }
        Data::Double(v) if to == Type::Bool => Const::truths(dims, v.iter().map(|&v| v != 0.0)),
        Data::Double(v) => Const::of_type(to, dims, v.iter().map(|&v| to.wrap(v as i128)).collect()),
        Data::Int(v) if to == Type::Double => {
            let wide = |&v: &i64| if c.ty == Type::Uint64 { v as u64 as f64 } else { v as f64 };
            Const::doubles(dims, v.iter().map(wide).collect())
        }
        Data::Float(v) if to.is_float() => {
            let rounded: Option<fn(f32) -> f32> = match to {
                Type::Float16 => Some(|v| half::f16::from_f32(v).to_f32()),
                Type::Bfloat16 => Some(|v| half::bf16::from_f32(v).to_f32()),
                _ => None,
            };
            match rounded {
                Some(f) => Const { ty: to, ..Const::floats(dims, v.iter().map(|&v| f(v)).collect()) },
                None => Const { ty: to, ..c.clone() },
            }
        }
        Data::Float(v) if to == Type::Bool => Const::truths(dims, v.iter().map(|&v| v != 0.0)),
        Data::Float(v) => Const::of_type(to, dims, v.iter().map(|&v| to.wrap(v as i128)).collect()),
        Data::Int(v) if to.is_float() => {
            let narrow = |&v: &i64| if c.ty == Type::Uint64 { v as u64 as f32 } else { v as f32 };
            let floats = Const::floats(dims, v.iter().map(narrow).collect());
            if to == Type::Float { floats } else { cast(&floats, to)? }
        }
        Data::Int(v) => Const::of_type(to, dims, v.iter().map(|&v| to.wrap(c.ty.wide(v))).collect()),
    })
}

/// An element of an integer type. Beyond 64 bits with a sign nothing is meant to go: what does is no shape.
pub(super) fn fit(ty: Type, v: i128) -> Res<i64> {
    match ty {
        Type::Int64 => i64::try_from(v).or_else(|_| bad(format!("{v} does not fit in 64 bits"))),
        _ => Ok(ty.wrap(v)),
    }
}

/// A function of integers.
pub(super) fn integer(op: &str, ty: Type, a: i64, b: i64) -> Res<i64> {
    let (x, y) = (ty.wide(a), ty.wide(b));
    let shift = |b: i128| u32::try_from(b).ok().filter(|&b| b < 64);
    let checked = match op {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        // The sign of the divisor, as in Python.
        "Mod" => x.checked_rem(y).map(|r| if r != 0 && (r < 0) != (y < 0) { r + y } else { r }),
        // The sign of the dividend, as in C.
        "Fmod" => x.checked_rem(y),
        "Pow" if y < 0 => match x {
            1 => Some(1),
            -1 => Some(if y % 2 == 0 { 1 } else { -1 }),
            0 => None,
            _ => Some(0),
        },
        // Of any other base, 128 factors are beyond what fits.
        "Pow" if matches!(x, -1..=1) => Some(if y == 0 || x == -1 && y % 2 == 0 { 1 } else { x }),
        "Pow" => u32::try_from(y).ok().filter(|&y| y < 128).and_then(|y| x.checked_pow(y)),
        "Min" => Some(x.min(y)),
        "Max" => Some(x.max(y)),
        "And" => Some(i128::from(a != 0 && b != 0)),
        "Or" => Some(i128::from(a != 0 || b != 0)),
        "Xor" => Some(i128::from((a != 0) != (b != 0))),
        "BitwiseAnd" => Some(x & y),
        "BitwiseOr" => Some(x | y),
        "BitwiseXor" => Some(x ^ y),
        // Nothing but the sign is left of what is shifted by all its bits; a negative count is a large one.
        "Left" => Some(shift(y).map_or(0, |y| x << y)),
        "Right" => Some(shift(y).map_or(if x < 0 { -1 } else { 0 }, |y| x >> y)),
        _ => None,
    };
    checked.map_or_else(|| bad(format!("{op} of {x} and {y}")), |v| fit(ty, v))
}

/// A comparison of numbers.
pub(super) fn compare<T: PartialOrd>(op: &str) -> Option<fn(T, T) -> bool> {
    Some(match op {
        "Equal" => |a, b| a == b,
        "Greater" => |a, b| a > b,
        "Less" => |a, b| a < b,
        "GreaterOrEqual" => |a, b| a >= b,
        "LessOrEqual" => |a, b| a <= b,
        _ => return None,
    })
}

macro_rules! functions {
    ($name:ident, $float:ident) => {
        /// Functions of floats.
        pub(super) mod $name {
            use super::super::super::fail::{Res, bad};
            use crate::interp::function::erf;

            /// A function of two floats.
            pub(in super::super) fn float(op: &str) -> Res<fn($float, $float) -> $float> {
                Ok(match op {
                    "Add" => |a, b| a + b,
                    "Sub" => |a, b| a - b,
                    "Mul" => |a, b| a * b,
                    "Div" => |a, b| a / b,
                    // As numpy: not a number if either is none.
                    "Min" => |a, b| if a < b || a.is_nan() { a } else { b },
                    "Max" => |a, b| if a > b || a.is_nan() { a } else { b },
                    "Pow" => $float::powf,
                    "Fmod" => |a, b| a % b,
                    "Mod" => |a, b| {
                        let r = a % b;
                        if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
                    },
                    "PRelu" => |x, slope| if x >= 0.0 { x } else { slope * x },
                    _ => return bad("floats where integers belong"),
                })
            }

            /// A function of a float.
            pub(in super::super) fn function(op: &str) -> Res<fn($float) -> $float> {
                Ok(match op {
                    "Neg" => |v| -v,
                    "Abs" => $float::abs,
                    "Floor" => $float::floor,
                    "Ceil" => $float::ceil,
                    "Round" => $float::round_ties_even,
                    "Sqrt" => $float::sqrt,
                    "Exp" => $float::exp,
                    "Log" => $float::ln,
                    "Reciprocal" => |v| 1.0 / v,
                    "Relu" => |v| if v < 0.0 { 0.0 } else { v },
                    "Sign" => |v| if v == 0.0 || v.is_nan() { v } else { v.signum() },
                    "Sigmoid" => |v| 1.0 / (1.0 + (-v).exp()),
                    "Tanh" => $float::tanh,
                    "Sin" => $float::sin,
                    "Cos" => $float::cos,
                    "Tan" => $float::tan,
                    "Asin" => $float::asin,
                    "Acos" => $float::acos,
                    "Atan" => $float::atan,
                    "Sinh" => $float::sinh,
                    "Cosh" => $float::cosh,
                    // In f64, where their formulas lose nothing of an f32.
                    "Asinh" => |v| f64::from(v).asinh() as $float,
                    "Acosh" => |v| f64::from(v).acosh() as $float,
                    "Atanh" => |v| f64::from(v).atanh() as $float,
                    "Erf" => |v| erf(v.into()) as $float,
                    _ => return bad("floats where integers belong"),
                })
            }
        }
    };
}

functions!(single, f32);
functions!(double, f64);
