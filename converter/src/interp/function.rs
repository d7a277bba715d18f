//! Functions of one element, in f64.
use crate::ir::Unary;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

/// Beyond this, `1 - erf` is computed, not `erf`.
const TAIL: f64 = 2.0;

/// The error function: its series.
pub(crate) fn erf(x: f64) -> f64 {
    let t = x.abs();
    if t > TAIL {
        return (1.0 - erfc_of_tail(t)).copysign(x);
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..60 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * FRAC_2_SQRT_PI
}

/// `1 - erf(t)` for t from 2 on: its continued fraction.
fn erfc_of_tail(t: f64) -> f64 {
    let fraction = (1..100).rev().fold(t, |f, k| t + 0.5 * f64::from(k) / f);
    (-t * t).exp() / fraction / PI.sqrt()
}

pub(super) fn unary(function: Unary, x: f64) -> f64 {
    match function {
        Unary::Erf => erf(x),
        Unary::Gelu if x < -TAIL / FRAC_1_SQRT_2 => 0.5 * x.max(-1e4) * erfc_of_tail((-x).min(1e4) * FRAC_1_SQRT_2),
        Unary::Gelu => 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2)),
        Unary::Log => x.ln(),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Atan => x.atan(),
        Unary::Abs => x.abs(),
        Unary::Sign if x == 0.0 => 0.0,
        Unary::Sign => x.signum(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Threshold(a) if x > f64::from(a) => x,
        Unary::Threshold(_) => 0.0,
        Unary::Shrink { lambda, bias } if x > f64::from(lambda) => x - f64::from(bias),
        Unary::Shrink { lambda, bias } if x < -f64::from(lambda) => x + f64::from(bias),
        Unary::Shrink { .. } if x.is_nan() => x,
        Unary::Shrink { .. } => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_function() {
        // Abramowitz and Stegun, table 7.1; the tail from a longer computation.
        for (x, want) in
            [(0.0, 0.0), (0.5, 0.520_499_877_813_046_5), (1.0, 0.842_700_792_949_714_9), (2.0, 0.995_322_265_018_952_7)]
        {
            assert!((erf(x) - want).abs() < 1e-15, "{x}");
            assert!((erf(-x) + want).abs() < 1e-15, "{x}");
        }
        assert!((erfc_of_tail(2.0) + erf(2.0) - 1.0).abs() < 1e-15);
        assert!((erfc_of_tail(3.0) - 2.209_049_699_858_544e-5).abs() < 1e-19);
    }
}
