//! Resizing by any rule: each axis is multiplied with the matrix of its weights, which the rule and the extents fix.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::tensor::{Const, Data};
use super::Values;
use crate::ir::{Act, Op, ValueId};
use std::sync::Arc;

/// Most elements of a matrix: beyond that the product would take longer than the network around it.
const MAX_ELEMENTS: usize = 1 << 22;

/// What the attributes say.
pub(super) struct Rule {
    pub mode: String,
    pub coordinates: String,
    pub rounding: String,
    pub smooth: bool,
    /// Of cubic interpolation.
    pub cubic: f32,
    pub exclude_outside: bool,
    pub extrapolation: f32,
}

/// Resizes every axis that changes.
pub(super) fn resize(
    cx: &mut Ctx<'_, '_, '_>,
    x: ValueId,
    dims: &[usize],
    factors: &[f64],
    roi: Option<&[(f64, f64)]>,
    rule: &Rule,
) -> Values {
    let rank = dims.len();
    let mut y = x;
    for axis in 0..rank {
        let (n, m) = (cx.shape(x)[axis], dims[axis]);
        let part = roi.map_or((0.0, 1.0), |r| r[axis]);
        if n == m && (factors[axis] - 1.0).abs() < 1e-9 && part == (0.0, 1.0) {
            continue;
        }
        if n.saturating_mul(m) > MAX_ELEMENTS {
            return unsupported(format!("this rule from {n} to {m} pixels"), "export it as linear with half_pixel");
        }
        cx.b.charge(n * m + m)?;
        let (weights, bias) = matrix(rule, n, m, factors[axis], part)?;
        let weights = cx.b.graph.constant(format!("{}/weights {axis}", cx.name), &[n, m], Arc::new(weights));
        let bias = cx.b.graph.constant(format!("{}/outside {axis}", cx.name), &[m], Arc::new(bias));
        let shape = cx.shape(y);
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(axis, rank - 1);
        let turned = |s: &[usize]| perm.iter().map(|&p| s[p]).collect::<Vec<_>>();
        let mut to = shape.clone();
        to[axis] = m;
        if axis + 1 < rank {
            y = cx.emit(&format!("axis {axis}"), Op::Transpose { perm: perm.clone() }, &[y], &turned(&shape))?;
        }
        y = cx.emit(&format!("resize {axis}"), Op::Dense { bias: true, act: Act::None }, &[y, weights, bias], &turned(&to))?;
        if axis + 1 < rank {
            y = cx.emit(&format!("back {axis}"), Op::Transpose { perm }, &[y], &to)?;
        }
    }
    Ok(vec![y])
}

/// Which part of each axis is taken, where the rule wants to know.
pub(super) fn region(cx: &Ctx<'_, '_, '_>, rank: usize, rule: &Rule) -> Res<Option<Vec<(f64, f64)>>> {
    if rule.coordinates != "tf_crop_and_resize" {
        return Ok(None);
    }
    let Some(Const { data: Data::Float(roi), .. }) = cx.constant(1)? else { return bad("the region is missing") };
    let axes = match cx.int_list("axes")? {
        Some(a) => super::super::shape::axes(&a, rank)?,
        None => (0..rank).collect(),
    };
    if roi.len() != 2 * axes.len() {
        return bad(format!("a region of {} numbers for {} axes", roi.len(), axes.len()));
    }
    let mut all = vec![(0.0, 1.0); rank];
    for (i, &a) in axes.iter().enumerate() {
        all[a] = (roi[i].into(), roi[axes.len() + i].into());
    }
    Ok(Some(all))
}

/// Where output pixel `i` lies among the `n` of the input, as the specification says; `None` outside of the region.
pub(super) fn place(rule: &Rule, n: usize, m: usize, factor: f64, part: (f64, f64), i: usize) -> Res<Option<f64>> {
    let (input, output, y) = (n as f64, factor * n as f64, i as f64);
    Ok(Some(match rule.coordinates.as_str() {
        "align_corners" if output == 1.0 => 0.0,
        "align_corners" => y * (input - 1.0) / (output - 1.0),
        // By the lengths where they make the factor: no rounding of the quotient moves a place that is whole.
        "asymmetric" if factor == m as f64 / input => y * input / m as f64,
        "asymmetric" => y / factor,
        "pytorch_half_pixel" if output == 1.0 => -0.5,
        "half_pixel" | "pytorch_half_pixel" => (y + 0.5) / factor - 0.5,
        "half_pixel_symmetric" => input / 2.0 * (1.0 - m as f64 / output) + (y + 0.5) / factor - 0.5,
        "tf_half_pixel_for_nn" => (y + 0.5) / factor,
        "tf_crop_and_resize" => {
            let length = (part.1 - part.0) * (input - 1.0);
            let at = if output == 1.0 { length / 2.0 } else { y * length / (output - 1.0) } + part.0 * (input - 1.0);
            return Ok((0.0..=input - 1.0).contains(&at).then_some(at));
        }
        other => return unsupported(format!("coordinate_transformation_mode {other:?}"), "export it as half_pixel"),
    }))
}

/// `[n, m]` weights and what is added, from the specification.
fn matrix(rule: &Rule, n: usize, m: usize, factor: f64, part: (f64, f64)) -> Res<(Vec<f32>, Vec<f32>)> {
    let (mut weights, mut bias) = (vec![0f64; n * m], vec![0f32; m]);
    let input = n as f64;
    for i in 0..m {
        let Some(at) = place(rule, n, m, factor, part, i)? else {
            bias[i] = rule.extrapolation;
            continue;
        };
        // The pixel to the left of a place on a pixel is the one before it.
        let left = at.ceil() - 1.0;
        let share = at - left;
        let (first, mut taps) = taps(rule, share, factor)?;
        let pixel = |k: usize| left + (first + k as i64) as f64;
        if rule.exclude_outside {
            for (k, tap) in taps.iter_mut().enumerate() {
                if pixel(k) < 0.0 || pixel(k) > input - 1.0 {
                    *tap = 0.0;
                }
            }
            let sum: f64 = taps.iter().sum();
            taps.iter_mut().for_each(|t| *t /= if sum == 0.0 { 1.0 } else { sum });
        }
        for (k, tap) in taps.into_iter().enumerate() {
            weights[pixel(k).clamp(0.0, input - 1.0) as usize * m + i] += tap;
        }
    }
    Ok((weights.into_iter().map(|w| w as f32).collect(), bias))
}

/// The first pixel, counted from the one on the left, and the weights from it on; `share` in (0, 1] is how far the place is from there.
fn taps(rule: &Rule, share: f64, factor: f64) -> Res<(i64, Vec<f64>)> {
    let narrow = factor.min(1.0);
    let normal = |first: i64, taps: Vec<f64>| {
        let sum: f64 = taps.iter().sum();
        (first, taps.into_iter().map(|t| t / sum).collect())
    };
    let a = f64::from(rule.cubic);
    let cubic = |x: f64| match x.abs() {
        x if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        x if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
        _ => 0.0,
    };
    Ok(match (rule.mode.as_str(), rule.smooth) {
        ("nearest", false) => {
            let right = match rule.rounding.as_str() {
                // On a pixel there is nothing to round.
                _ if share == 1.0 => true,
                "round_prefer_floor" => share > 0.5,
                "round_prefer_ceil" => share >= 0.5,
                "floor" => false,
                "ceil" => true,
                other => return bad(format!("nearest_mode is {other:?}")),
            };
            (i64::from(right), vec![1.0])
        }
        ("linear", false) => (0, vec![1.0 - share, share]),
        ("linear", true) => {
            let first = (-1.0 / narrow).floor() as i64 + 1;
            normal(
                first,
                (0..2 - 2 * first).map(|k| (1.0 - (((first + k) as f64 - share) * narrow).abs()).clamp(0.0, 1.0)).collect(),
            )
        }
        ("cubic", false) => (-1, (-1..3).map(|k| cubic(f64::from(k) - share)).collect()),
        ("cubic", true) => {
            let first = (-2.0 / narrow).floor() as i64 + 1;
            normal(first, (first..2 - first).map(|k| cubic(narrow * (k as f64 - share))).collect())
        }
        (mode, smooth) => return unsupported(format!("mode {mode:?} with antialias {smooth}"), "export it as nearest or linear"),
    })
}
