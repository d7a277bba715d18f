//! Activations: the one list of them, as the file stores them and as the kernels take them.

use bytemuck::{Pod, Zeroable};

/// What is done to a value on its way out of a step. `x` is the value.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Act {
    /// `x`.
    #[default]
    None,
    /// `min(max(x, lo), hi)`: ReLU is (0, inf), ReLU6 (0, 6).
    Clamp {
        /// Lower bound, may be -inf.
        lo: f32,
        /// Upper bound, may be +inf.
        hi: f32,
    },
    /// `x > 0 ? x : a * x`.
    Leaky(f32),
    /// `x > 0 ? x : a * (exp(x) - 1)`.
    Elu(f32),
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// `x * min(max(x / 6 + 1/2, 0), 1)`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `tanh(x)`.
    Tanh,
    /// `exp(x)`.
    Exp,
    /// `sqrt(x)`.
    Sqrt,
}

/// [`Act`] as 12 bytes of a step record: a code and two parameters, zero where unused.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct ActRecord {
    /// Which; codes are never reused.
    pub code: u32,
    /// First parameter.
    pub a: f32,
    /// Second parameter.
    pub b: f32,
}

impl Act {
    /// ReLU.
    pub const RELU: Act = Act::Clamp { lo: 0.0, hi: f32::INFINITY };

    /// The record of this activation.
    pub fn record(self) -> ActRecord {
        let (code, a, b) = match self {
            Act::None => (0, 0.0, 0.0),
            Act::Clamp { lo, hi } => (1, lo, hi),
            Act::Leaky(a) => (2, a, 0.0),
            Act::Elu(a) => (3, a, 0.0),
            Act::HardSigmoid { alpha, beta } => (4, alpha, beta),
            Act::HardSwish => (5, 0.0, 0.0),
            Act::Sigmoid => (6, 0.0, 0.0),
            Act::Silu => (7, 0.0, 0.0),
            Act::Tanh => (8, 0.0, 0.0),
            Act::Exp => (9, 0.0, 0.0),
            Act::Sqrt => (10, 0.0, 0.0),
        };
        ActRecord { code, a, b }
    }

    /// The bounds when this is nothing but a clamp (or nothing at all).
    pub fn clamp(self) -> Option<(f32, f32)> {
        match self {
            Act::None => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Act::Clamp { lo, hi } => Some((lo, hi)),
            _ => None,
        }
    }
}

impl ActRecord {
    /// The activation, or `None` for an unknown code, a NaN parameter, or bounds that are not ordered.
    pub fn act(self) -> Option<Act> {
        let ActRecord { code, a, b } = self;
        if a.is_nan() || b.is_nan() {
            return None;
        }
        Some(match code {
            0 => Act::None,
            1 if a <= b => Act::Clamp { lo: a, hi: b },
            2 => Act::Leaky(a),
            3 => Act::Elu(a),
            4 => Act::HardSigmoid { alpha: a, beta: b },
            5 => Act::HardSwish,
            6 => Act::Sigmoid,
            7 => Act::Silu,
            8 => Act::Tanh,
            9 => Act::Exp,
            10 => Act::Sqrt,
            _ => return None,
        })
    }
}
