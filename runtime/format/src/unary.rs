//! Functions of one element that are no activations: steps of their own, so that kernels with an activation stay small.

use bytemuck::{Pod, Zeroable};

/// A function. `x` is the element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// The error function.
    Erf,
    /// `x / 2 (1 + erf(x / sqrt(2)))`.
    Gelu,
    /// Natural logarithm; NaN below 0.
    Log,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// Of radians.
    Sin,
    /// Of radians.
    Cos,
    /// In radians.
    Atan,
    /// Magnitude.
    Abs,
    /// -1, 0 or 1; NaN of NaN.
    Sign,
    /// The next integral value below.
    Floor,
    /// The next integral value above.
    Ceil,
    /// The nearest integral value, ties to even.
    Round,
    /// `x > a ? x : 0`.
    Threshold(f32),
    /// `x > lambda ? x - bias : x < -lambda ? x + bias : 0`.
    Shrink {
        /// Half the width of what becomes 0.
        lambda: f32,
        /// What is taken off.
        bias: f32,
    },
}

/// [`Unary`] as 12 bytes of a step record: a code and two parameters, zero where unused.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct UnaryRecord {
    /// Which; codes are never reused.
    pub code: u32,
    /// First parameter.
    pub a: f32,
    /// Second parameter.
    pub b: f32,
}

impl Unary {
    /// The record of this function.
    pub fn record(self) -> UnaryRecord {
        let (code, a, b) = match self {
            Unary::Erf => (0, 0.0, 0.0),
            Unary::Gelu => (1, 0.0, 0.0),
            Unary::Log => (2, 0.0, 0.0),
            Unary::Softplus => (3, 0.0, 0.0),
            Unary::Sin => (4, 0.0, 0.0),
            Unary::Cos => (5, 0.0, 0.0),
            Unary::Atan => (6, 0.0, 0.0),
            Unary::Abs => (7, 0.0, 0.0),
            Unary::Sign => (8, 0.0, 0.0),
            Unary::Floor => (9, 0.0, 0.0),
            Unary::Ceil => (10, 0.0, 0.0),
            Unary::Round => (11, 0.0, 0.0),
            Unary::Threshold(a) => (12, a, 0.0),
            Unary::Shrink { lambda, bias } => (13, lambda, bias),
        };
        UnaryRecord { code, a, b }
    }
}

impl UnaryRecord {
    /// The function, or `None` for an unknown code or a NaN parameter.
    pub fn unary(self) -> Option<Unary> {
        let UnaryRecord { code, a, b } = self;
        if a.is_nan() || b.is_nan() {
            return None;
        }
        Some(match code {
            0 => Unary::Erf,
            1 => Unary::Gelu,
            2 => Unary::Log,
            3 => Unary::Softplus,
            4 => Unary::Sin,
            5 => Unary::Cos,
            6 => Unary::Atan,
            7 => Unary::Abs,
            8 => Unary::Sign,
            9 => Unary::Floor,
            10 => Unary::Ceil,
            11 => Unary::Round,
            12 => Unary::Threshold(a),
            13 => Unary::Shrink { lambda: a, bias: b },
            _ => return None,
        })
    }
}
