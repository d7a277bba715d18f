//! Enlarging and reducing of images, and channels to pixels and back.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::Values;
use super::resize_agree::{self, Axis};
use super::resize_matrix::{self, Rule};
use crate::import::parts::shuffled;
use crate::ir::{Op, Places, ResizeKind};

/// Output pixels that are looked at when a rounding rule is checked; beyond that it repeats.
const CHECKED: usize = 1 << 12;

/// Upsample and Resize: nearest by a whole factor repeats pixels, other rules of the runtime's step compute places, and what it does
/// not know is a matrix for each axis.
pub(super) fn resize(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let upsample = cx.node.op_type == "Upsample";
    let (scales, sizes) = scales(cx, &xs)?;
    let (dims, factors) = extents(cx, &xs, scales.as_deref(), sizes.as_deref())?;
    if shape::count(&dims).is_none() {
        return unsupported(format!("{xs:?} to {dims:?}"), "it is too large");
    }
    let mode = cx.string("mode", "nearest")?.to_string();
    let coordinates = cx.string("coordinate_transformation_mode", "half_pixel")?.to_string();
    let rounding = cx.string("nearest_mode", "round_prefer_floor")?.to_string();
    // Before opset 11 there was only one rule.
    let old = upsample || cx.opset() < 11;
    let (coordinates, rounding) = if old { ("asymmetric", "floor") } else { (coordinates.as_str(), rounding.as_str()) };
    let rule = Rule {
        mode: mode.clone(),
        coordinates: coordinates.to_string(),
        rounding: rounding.to_string(),
        smooth: cx.int("antialias", 0)? != 0,
        cubic: cx.float("cubic_coeff_a", -0.75)?,
        exclude_outside: cx.int("exclude_outside", 0)? != 0,
        extrapolation: cx.float("extrapolation_value", 0.0)?,
    };
    let crops = coordinates == "tf_crop_and_resize";
    // Everyone leaves it as it is, but torch where it is cubic.
    if dims == xs && !crops && (mode != "cubic" || factors.iter().all(|f| (f - 1.0).abs() < 1e-7)) {
        return Ok(vec![x]);
    }
    // The places follow from the extents alone, not from a scale that leaves a remainder.
    let whole = xs.iter().zip(&dims).zip(&factors).all(|((&n, &m), f)| (n as f64 * f - m as f64).abs() <= m as f64 * 1e-7);
    let how = step(&xs, &dims, &mode, coordinates, rounding).filter(|_| whole && !rule.smooth && !crops);
    let roi = resize_matrix::region(cx, xs.len(), &rule)?;
    for (i, (&n, &m)) in xs.iter().zip(&dims).enumerate() {
        let part = roi.as_ref().map_or((0.0, 1.0), |r| r[i]);
        let axis = Axis { n, m, factor: factors[i], part, scaled: scales.is_some(), old };
        if n == m && (factors[i] - 1.0).abs() < 1e-9 && part == (0.0, 1.0) {
            continue;
        }
        cx.b.charge(m.min(resize_agree::CHECKED))?;
        match how {
            Some(How::Repeat) => resize_agree::check(&rule, &axis, Some(&|i| i / (m / n)))?,
            Some(How::Resize(ResizeKind::Nearest, p)) => resize_agree::check(&rule, &axis, Some(&|i| p.nearest(i, n, m)))?,
            _ => resize_agree::check(&rule, &axis, None)?,
        }
    }
    match how {
        Some(how) => with_spatial_axes_in_the_middle(cx, x, &xs, &dims, how),
        None => resize_matrix::resize(cx, x, &dims, &factors, roi.as_deref(), &rule),
    }
}

/// The step of the runtime that takes the same pixels.
fn step(xs: &[usize], dims: &[usize], mode: &str, coordinates: &str, rounding: &str) -> Option<How> {
    let changed = || xs.iter().copied().zip(dims.iter().copied()).filter(|(n, m)| n != m);
    if changed().count() > 2 || !(2..=4).contains(&xs.len()) {
        return None;
    }
    match mode {
        "nearest" => {
            let same = |rule: &dyn Fn(usize, usize, usize) -> usize| {
                let mut all = changed();
                all.all(|(n, m)| (0..m.min(CHECKED)).all(|i| source(coordinates, rounding, i, n, m) == Some(rule(i, n, m))))
            };
            if changed().all(|(n, m)| m % n == 0) && same(&|i, n, m| i / (m / n)) {
                return Some(How::Repeat);
            }
            let rules = [Places::Edges, Places::Middles, Places::Corners];
            rules.into_iter().find(|p| same(&|i, n, m| p.nearest(i, n, m))).map(|p| How::Resize(ResizeKind::Nearest, p))
        }
        "linear" => match coordinates {
            "asymmetric" => Some(Places::Edges),
            "half_pixel" | "half_pixel_symmetric" => Some(Places::Middles),
            "pytorch_half_pixel" if changed().all(|(_, m)| m > 1) => Some(Places::Middles),
            "align_corners" => Some(Places::Corners),
            _ => None,
        }
        .map(|p| How::Resize(ResizeKind::Bilinear, p)),
        _ => None,
    }
}

/// What becomes of the two spatial axes.
#[derive(Clone, Copy)]
enum How {
    /// Every pixel several times.
    Repeat,
    Resize(ResizeKind, Places),
}

impl How {
    fn op(self, from: [usize; 2], to: [usize; 2]) -> Op {
        match self {
            How::Repeat => Op::Upsample { factor: [to[0] / from[0], to[1] / from[1]] },
            How::Resize(kind, places) => Op::Resize { kind, places },
        }
    }
}

/// The constant scales or sizes, one per axis.
type Target = (Option<Vec<f32>>, Option<Vec<i64>>);

fn scales(cx: &mut Ctx<'_, '_, '_>, xs: &[usize]) -> Res<Target> {
    let opset = cx.opset();
    let from_input = |i| -> Res<Option<Vec<f32>>> {
        match cx.constant(i)? {
            Some(Const { data: Data::Float(v), .. }) if v.is_empty() => Ok(None),
            Some(Const { data: Data::Float(v), .. }) => Ok(Some(v.to_vec())),
            Some(_) => bad("the scales are not floats"),
            None => Ok(None),
        }
    };
    let (scales, sizes) = match cx.node.op_type {
        "Upsample" if opset < 9 => (cx.float_list("scales")?, None),
        _ if opset < 11 => (from_input(1)?, None),
        _ => (from_input(2)?, cx.ints(3)?),
    };
    let Some(axes) = cx.int_list("axes")? else { return Ok((scales, sizes)) };
    let axes = shape::axes(&axes, xs.len())?;
    if scales.as_ref().map_or(axes.len(), Vec::len) != axes.len() || sizes.as_ref().map_or(axes.len(), Vec::len) != axes.len() {
        return bad(format!("scales or sizes do not fit axes {axes:?}"));
    }
    // Axes that are not named stay.
    let mut all_scales = vec![1.0; xs.len()];
    let mut all_sizes: Vec<i64> = xs.iter().map(|&d| d as i64).collect();
    for (i, &a) in axes.iter().enumerate() {
        if let Some(s) = &scales {
            all_scales[a] = s[i];
        }
        if let Some(s) = &sizes {
            all_sizes[a] = s[i];
        }
    }
    Ok((scales.map(|_| all_scales), sizes.map(|_| all_sizes)))
}

/// The output's shape, and by how much each axis grows.
fn extents(cx: &Ctx<'_, '_, '_>, xs: &[usize], scales: Option<&[f32]>, sizes: Option<&[i64]>) -> Res<(Vec<usize>, Vec<f64>)> {
    let policy = cx.string("keep_aspect_ratio_policy", "stretch")?;
    match (scales, sizes) {
        (Some(s), _) if s.len() == xs.len() => {
            let dims: Vec<usize> = xs.iter().zip(s).map(|(&x, &f)| resize_agree::extent(x, f)).collect::<Res<_>>()?;
            if !dims.iter().all(|m| (1..=1_000_000_000).contains(m)) {
                return bad(format!("scales {s:?} of {xs:?}"));
            }
            Ok((dims, s.iter().map(|&f| f.into()).collect()))
        }
        (_, Some(s)) if s.len() == xs.len() => {
            let mut s = shape::from_i64(s)?;
            if s.contains(&0) || xs.contains(&0) {
                return bad(format!("sizes {s:?}"));
            }
            let mut factors: Vec<f64> = xs.iter().zip(&s).map(|(&x, &m)| m as f64 / x as f64).collect();
            if policy != "stretch" {
                let axes = match cx.int_list("axes")? {
                    Some(a) => shape::axes(&a, xs.len())?,
                    None => (0..xs.len()).collect(),
                };
                let chosen = axes.iter().map(|&a| factors[a]);
                let factor = match policy {
                    "not_larger" => chosen.fold(f64::INFINITY, f64::min),
                    "not_smaller" => chosen.fold(0.0, f64::max),
                    other => return bad(format!("keep_aspect_ratio_policy is {other:?}")),
                };
                for a in axes {
                    (factors[a], s[a]) = (factor, (factor * xs[a] as f64 + 0.5) as usize);
                }
            }
            Ok((s, factors))
        }
        _ => bad("scales or sizes are missing or do not fit"),
    }
}

/// The input pixel among `n` that output pixel `i` of `m` takes; `None` for a rule that we do not know.
fn source(coordinates: &str, rounding: &str, i: usize, n: usize, m: usize) -> Option<usize> {
    let (i, n, m) = (i as f64, n as f64, m as f64);
    let f = m / n;
    let at = match coordinates {
        "asymmetric" => i / f,
        "half_pixel" | "half_pixel_symmetric" => (i + 0.5) / f - 0.5,
        "pytorch_half_pixel" if m > 1.0 => (i + 0.5) / f - 0.5,
        "tf_half_pixel_for_nn" => (i + 0.5) / f,
        "align_corners" if m > 1.0 => i * (n - 1.0) / (m - 1.0),
        _ => return None,
    };
    let rounded = match rounding {
        "floor" => at.floor(),
        "ceil" => at.ceil(),
        "round_prefer_floor" => (at - 0.5).ceil(),
        "round_prefer_ceil" => (at + 0.5).floor(),
        _ => return None,
    };
    Some(rounded.clamp(0.0, n - 1.0) as usize)
}

/// Writes the operator, with transposes that bring the axes that change to the middle of four.
fn with_spatial_axes_in_the_middle(cx: &mut Ctx<'_, '_, '_>, x: super::ValueId, xs: &[usize], dims: &[usize], how: How) -> Values {
    let changed: Vec<usize> = (0..xs.len()).filter(|&i| xs[i] != dims[i]).collect();
    if xs.len() > 4 || xs.len() < 2 || changed.len() > 2 {
        return unsupported(format!("scales of {xs:?} to {dims:?}"), "only two spatial axes can be resized");
    }
    if changed.iter().all(|g| [1, 2].contains(g)) && xs.len() == 4 {
        return Ok(vec![cx.emit("", how.op([xs[1], xs[2]], [dims[1], dims[2]]), &[x], dims)?]);
    }
    // NCHW, or fewer axes: as four, then the last two (or those that change) in the middle.
    let lead = 4 - xs.len();
    let pad = |v: &[usize]| [&vec![1; lead][..], v].concat();
    let (from, to) = (pad(xs), pad(dims));
    let (a, b) = match changed[..] {
        [a, b] => (a + lead, b + lead),
        _ if from[..2] == to[..2] => (2, 3),
        [a] => {
            if a + lead == 0 {
                (0, 1)
            } else {
                (a + lead - 1, a + lead)
            }
        }
        _ => return bad("nothing is resized"),
    };
    let rest: Vec<usize> = (0..4).filter(|&i| i != a && i != b).collect();
    let perm = vec![rest[0], a, b, rest[1]];
    let mut back = vec![0; 4];
    perm.iter().enumerate().for_each(|(i, &p)| back[p] = i);
    let at = |v: &[usize]| perm.iter().map(|&p| v[p]).collect::<Vec<usize>>();
    let x = if lead > 0 { cx.emit("four", Op::Reshape, &[x], &from)? } else { x };
    let x = cx.emit("nhwc", Op::Transpose { perm: perm.clone() }, &[x], &at(&from))?;
    let y = cx.emit("", how.op([from[a], from[b]], [to[a], to[b]]), &[x], &at(&to))?;
    let y = cx.emit("nchw", Op::Transpose { perm: back }, &[y], &to)?;
    Ok(vec![if lead > 0 { cx.emit("axes", Op::Reshape, &[y], dims)? } else { y }])
}

fn block(cx: &Ctx<'_, '_, '_>) -> Res<usize> {
    let b = cx.int("blocksize", 0)?;
    usize::try_from(b).ok().filter(|b| (1..=1 << 12).contains(b)).map_or_else(|| bad(format!("blocksize is {b}")), Ok)
}

pub(super) fn depth_to_space(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let [n, c, h, w] = cx.shape(x)[..] else { return bad("the input is not NCHW") };
    let b = block(cx)?;
    if c % (b * b) != 0 {
        return bad(format!("{c} channels do not make blocks of {b} by {b}"));
    }
    let o = c / (b * b);
    let (split, perm) = match cx.string("mode", "DCR")? {
        "DCR" => ([n, b, b, o, h, w], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, o, b, b, h, w], vec![0, 1, 4, 2, 5, 3]),
        other => return bad(format!("mode is {other:?}")),
    };
    Ok(vec![shuffled(cx, x, &split, perm, &[n, o, h * b, w * b])?])
}

pub(super) fn space_to_depth(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let [n, c, h, w] = cx.shape(x)[..] else { return bad("the input is not NCHW") };
    let b = block(cx)?;
    if h % b != 0 || w % b != 0 {
        return bad(format!("{h} by {w} pixels do not make blocks of {b} by {b}"));
    }
    let perm = match cx.string("mode", "DCR")? {
        "DCR" => vec![0, 3, 5, 1, 2, 4],
        "CRD" => vec![0, 1, 3, 5, 2, 4],
        other => return bad(format!("mode is {other:?}")),
    };
    Ok(vec![shuffled(cx, x, &[n, c, h / b, b, w / b, b], perm, &[n, c * b * b, h / b, w / b])?])
}
