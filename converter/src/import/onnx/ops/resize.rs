//! Nearest-neighbour enlargement, and channels to pixels and back.

use super::super::fail::{Res, bad, unsupported};
use super::super::node::Ctx;
use super::super::shape;
use super::super::tensor::{Const, Data};
use super::Values;
use crate::ir::Op;

/// Output pixels that are looked at when a rounding rule is checked; beyond that it repeats.
const CHECKED: usize = 1 << 12;

/// Upsample, and Resize where it is one: every output pixel `i` takes the input pixel `i / factor`.
pub(super) fn resize(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let xs = cx.shape(x);
    let upsample = cx.node.op_type == "Upsample";
    let (scales, sizes) = scales(cx, &xs)?;
    let factors = factors(&xs, scales.as_deref(), sizes.as_deref())?;
    // Rules that only matter for other modes, or when something is resized at all.
    cx.ignore(&["cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias", "keep_aspect_ratio_policy"]);
    let mode = cx.string("mode", "nearest")?.to_string();
    let coordinates = cx.string("coordinate_transformation_mode", "half_pixel")?.to_string();
    let rounding = cx.string("nearest_mode", "round_prefer_floor")?.to_string();
    if factors.iter().all(|&f| f == 1) {
        return Ok(vec![x]);
    }
    if mode != "nearest" {
        return unsupported(format!("mode {mode:?}"), "only nearest by whole factors is supported");
    }
    // Before opset 11 there was only one rule.
    let (coordinates, rounding) =
        if upsample || cx.opset() < 11 { ("asymmetric", "floor") } else { (coordinates.as_str(), rounding.as_str()) };
    for (&extent, &factor) in xs.iter().zip(&factors) {
        let same = |i| source(coordinates, rounding, i, extent, factor) == Some(i / factor);
        if factor > 1 && !(0..(extent * factor).min(CHECKED)).all(same) {
            return unsupported(
                format!("coordinate_transformation_mode {coordinates:?} with nearest_mode {rounding:?}"),
                "export it as asymmetric with floor",
            );
        }
    }
    enlarge(cx, x, &xs, &factors)
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

fn factors(xs: &[usize], scales: Option<&[f32]>, sizes: Option<&[i64]>) -> Res<Vec<usize>> {
    let remedy = "only nearest by whole factors is supported";
    match (scales, sizes) {
        (Some(s), _) if s.len() == xs.len() => {
            if s.iter().any(|&f| f < 1.0 || f.fract() != 0.0 || f > 65536.0 || f.is_nan()) {
                return unsupported(format!("scales {s:?}"), remedy);
            }
            Ok(s.iter().map(|&f| f as usize).collect())
        }
        (_, Some(s)) if s.len() == xs.len() => {
            let s = shape::from_i64(s)?;
            if xs.iter().zip(&s).any(|(&x, &s)| s == 0 || s % x != 0) {
                return unsupported(format!("sizes {s:?} of {xs:?}"), remedy);
            }
            Ok(xs.iter().zip(&s).map(|(&x, &s)| s / x).collect())
        }
        _ => bad("scales or sizes are missing or do not fit"),
    }
}

/// The input pixel that an output pixel takes; `None` for a rule that we do not know.
fn source(coordinates: &str, rounding: &str, i: usize, extent: usize, factor: usize) -> Option<usize> {
    let (i, f, n) = (i as f64, factor as f64, extent as f64);
    let at = match coordinates {
        "asymmetric" => i / f,
        "half_pixel" => (i + 0.5) / f - 0.5,
        "pytorch_half_pixel" if n * f > 1.0 => (i + 0.5) / f - 0.5,
        "tf_half_pixel_for_nn" => (i + 0.5) / f,
        "align_corners" if n * f > 1.0 => i * (n - 1.0) / (n * f - 1.0),
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

/// Writes Upsample, with transposes that bring the enlarged axes to the middle of four.
fn enlarge(cx: &mut Ctx<'_, '_, '_>, x: super::ValueId, xs: &[usize], factors: &[usize]) -> Values {
    let dims: Vec<usize> = xs.iter().zip(factors).map(|(d, f)| d.saturating_mul(*f)).collect();
    let grown: Vec<usize> = (0..xs.len()).filter(|&i| factors[i] > 1).collect();
    if xs.len() > 4 || xs.len() < 2 || grown.len() > 2 {
        return unsupported(format!("scales of {xs:?} to {dims:?}"), "only two spatial axes can be resized");
    }
    if grown.iter().all(|g| [1, 2].contains(g)) && xs.len() == 4 {
        return Ok(vec![cx.emit("", Op::Upsample { factor: [factors[1], factors[2]] }, &[x], &dims)?]);
    }
    // NCHW, or fewer axes: as four, then the last two (or those that grow) in the middle.
    let lead = 4 - xs.len();
    let pad = |v: &[usize]| [&vec![1; lead][..], v].concat();
    let (four, f) = (pad(xs), pad(factors));
    let (a, b) = match grown[..] {
        [a, b] => (a + lead, b + lead),
        _ if f[0] == 1 && f[1] == 1 => (2, 3),
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
    let x = if lead > 0 { cx.emit("four", Op::Reshape, &[x], &four)? } else { x };
    let x = cx.emit("nhwc", Op::Transpose { perm: perm.clone() }, &[x], &at(&four))?;
    let grown: Vec<usize> = four.iter().zip(&f).map(|(d, f)| d.saturating_mul(*f)).collect();
    let y = cx.emit("", Op::Upsample { factor: [f[a], f[b]] }, &[x], &at(&grown))?;
    let y = cx.emit("nchw", Op::Transpose { perm: back }, &[y], &grown)?;
    Ok(vec![if lead > 0 { cx.emit("axes", Op::Reshape, &[y], &dims)? } else { y }])
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
    let y = cx.emit("blocks", Op::Reshape, &[x], &split)?;
    let y = cx.emit("", Op::Transpose { perm }, &[y], &[n, o, h, b, w, b])?;
    Ok(vec![cx.emit("image", Op::Reshape, &[y], &[n, o, h * b, w * b])?])
}

pub(super) fn space_to_depth(cx: &mut Ctx<'_, '_, '_>) -> Values {
    let x = cx.runtime(0)?;
    let [n, c, h, w] = cx.shape(x)[..] else { return bad("the input is not NCHW") };
    let b = block(cx)?;
    if h % b != 0 || w % b != 0 {
        return bad(format!("{h} by {w} pixels do not make blocks of {b} by {b}"));
    }
    let y = cx.emit("blocks", Op::Reshape, &[x], &[n, c, h / b, b, w / b, b])?;
    let y = cx.emit("", Op::Transpose { perm: vec![0, 3, 5, 1, 2, 4] }, &[y], &[n, b, b, c, h / b, w / b])?;
    Ok(vec![cx.emit("image", Op::Reshape, &[y], &[n, c * b * b, h / b, w / b])?])
}
