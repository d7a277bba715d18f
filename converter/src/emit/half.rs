//! Weights in IEEE halves: which are, which are not, and what rounding does to them.
//!
//! Panels of convolutions make up nearly all of a file. What else there is (depthwise weights, biases, scales, slopes) stays in
//! f32: it is a few percent, and no long sum evens out its rounding.

use half::f16;
use sepal_format::record::dtype;

/// How the weights of convolutions are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are.
    #[default]
    F32,
    /// In IEEE halves, where these have the range.
    F16,
}

impl Precision {
    /// The default of [`Options::max_error`](super::Options::max_error). Rounding to halves is an error of some 3e-4 however a
    /// convolution is summed. By the smallest Winograd tiles it is not much more, by the larger ones several times as much.
    pub fn max_error(self) -> f64 {
        match self {
            Precision::F32 => super::MAX_ERROR,
            Precision::F16 => 5e-4,
        }
    }

    /// Bytes of a weight.
    pub(super) fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F16 => 2,
        }
    }
}

/// The weights of a step that were to be stored as halves.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    /// Of the step.
    pub name: String,
    /// Why they stay in f32, if they do.
    pub kept: Option<&'static str>,
    /// How many weights there are besides zeros.
    pub weights: usize,
    /// Largest error of one that is a normal half, as a share of it.
    pub relative: f64,
    /// Weights so small that their halves are denormal: less precise the smaller they are.
    pub denormal: usize,
    /// Weights so small that their halves are zero.
    pub zero: usize,
}

/// Rounds some panels to halves, unless the type has not the range for them.
pub(super) fn round(name: &str, panels: &[f32]) -> (Rounded, Vec<u16>) {
    let mut all = Rounded { name: name.into(), kept: None, weights: 0, relative: 0.0, denormal: 0, zero: 0 };
    let mut halves = Vec::with_capacity(panels.len());
    let mut largest = 0f32;
    for &w in panels {
        let half = f16::from_f32(w);
        halves.push(half.to_bits());
        if w == 0.0 {
            continue;
        }
        all.weights += 1;
        largest = largest.max(w.abs());
        if half == f16::ZERO {
            all.zero += 1;
        } else if half.is_normal() {
            all.relative = all.relative.max((f64::from(half.to_f32()) / f64::from(w) - 1.0).abs());
        } else if half.is_finite() {
            all.denormal += 1;
        }
    }
    if f16::from_f32(largest).is_infinite() {
        all.kept = Some("the largest would overflow");
    } else if all.weights > 0 && !f16::from_f32(largest).is_normal() {
        all.kept = Some("all of them are too small");
    }
    (all, halves)
}

/// The code of the type that the panels of this outcome are stored in.
pub(super) fn stored(rounded: &Rounded) -> u32 {
    if rounded.kept.is_some() { dtype::F32 } else { dtype::F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_rounding_does() {
        let (r, halves) = round("conv", &[1.0, -0.1, 0.0, 3e-5, 1e-9, 65504.0]);
        assert_eq!(halves[..3], [0x3c00, 0xae66, 0]);
        assert_eq!((r.name.as_str(), r.kept, r.weights, r.denormal, r.zero), ("conv", None, 5, 1, 1));
        assert!(r.relative > 1e-4 && r.relative <= 1.0 / 2048.0, "{}", r.relative);
        assert_eq!(stored(&r), dtype::F16);
    }

    #[test]
    fn what_has_another_range_stays() {
        let large = round("conv", &[1.0, 65520.0]).0;
        assert!(large.kept.is_some_and(|why| why.contains("overflow")));
        assert_eq!(stored(&large), dtype::F32);
        let small = round("conv", &[0.0, 6e-5, -1e-8]).0;
        assert!(small.kept.is_some_and(|why| why.contains("small")));
        assert!(round("conv", &[0.0, 0.0]).0.kept.is_none());
        assert!(round("conv", &[6.2e-5, -1e-8]).0.kept.is_none());
    }
}
