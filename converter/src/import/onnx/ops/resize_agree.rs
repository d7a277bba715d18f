//! Whether others take the same pixels. The specification divides by the scale as it is written and does not round lengths; torch and
//! ONNX Runtime compute in f32 and with whole lengths. Where that gives other pixels no answer is right, and none is given.

use super::super::fail::{Res, unsupported};
use super::resize_matrix::{Rule, place};

/// Places that are looked at, and paid for. Beyond them only whole factors, which repeat, are known to go on as they began.
pub(super) const CHECKED: usize = 1 << 20;

/// An axis of `n` pixels that becomes one of `m`.
pub(super) struct Axis {
    pub n: usize,
    pub m: usize,
    pub factor: f64,
    /// The part that is taken.
    pub part: (f64, f64),
    /// Whether `factor` was given, rather than `m`.
    pub scaled: bool,
    /// Before opset 11: ONNX Runtime rounds up where it reduces.
    pub old: bool,
}

/// `n * scale`, if it is the same for everyone; a product that is whole but for the rounding of the scale is whole.
pub(super) fn extent(n: usize, scale: f32) -> Res<usize> {
    let product = n as f64 * f64::from(scale);
    let near = (product.round() - product).abs() <= product * f64::from(f32::EPSILON);
    let m = if near { product.round() } else { product.floor() };
    let theirs = [f64::from(scale * n as f32).floor(), (n as f64 * written(scale, n)).floor()];
    if product.is_finite() && theirs.iter().any(|&t| t != m) {
        return unsupported(
            format!("attribute `scales`: {n} pixels times {scale}, which rounding makes {m}, {} or {}", theirs[0], theirs[1]),
            remedy(n),
        );
    }
    Ok(m as usize)
}

/// The scale before it became an f32: a short decimal, or what makes a whole number of pixels.
fn written(scale: f32, n: usize) -> f64 {
    let text = scale.to_string();
    let digits = text.trim_start_matches(['0', '.']).bytes().filter(u8::is_ascii_digit).count();
    let ratio = (n as f64 * f64::from(scale)).round() / n as f64;
    if digits <= 6 {
        text.parse().unwrap_or(f64::from(scale))
    } else if ratio as f32 == scale {
        ratio
    } else {
        scale.into()
    }
}

fn remedy(n: usize) -> String {
    format!("export it with `size=`, or with a scale whose product with {n} is whole")
}

/// Fails where torch or ONNX Runtime would take other pixels than `ours` (for "nearest") or those of the specification.
pub(super) fn check(rule: &Rule, axis: &Axis, ours: Option<&dyn Fn(usize) -> usize>) -> Res<()> {
    let differs = match rule.mode.as_str() {
        "nearest" => first_other_pixel(rule, axis, ours)?,
        _ => first_other_place(rule, axis)?,
    };
    let Some(i) = differs else { return Ok(()) };
    let Axis { n, m, factor, .. } = *axis;
    let Rule { mode, coordinates, rounding, .. } = rule;
    let rounding = if mode == "nearest" { format!(" and {rounding}") } else { String::new() };
    let how = format!("{mode} with {coordinates}{rounding}: torch, ONNX Runtime and the specification do not agree on pixel {i}");
    if axis.scaled {
        unsupported(format!("attribute `scales`: {n} pixels times {} by {how}", factor as f32), remedy(n))
    } else {
        unsupported(format!("input `sizes`: {n} to {m} pixels by {how}"), "export it as linear, or with another `size=`")
    }
}

/// The scale that ONNX Runtime computes with.
fn narrow(axis: &Axis) -> f32 {
    axis.factor as f32
}

/// Where ONNX Runtime puts pixel `i`; `None` outside of the region.
fn runtimes(rule: &Rule, axis: &Axis, i: usize) -> Option<f32> {
    let (n, m, scale, y) = (axis.n as f32, axis.m as f32, narrow(axis), i as f32);
    Some(match rule.coordinates.as_str() {
        "align_corners" if axis.m == 1 => 0.0,
        "align_corners" => y * (n - 1.0) / (m - 1.0),
        "asymmetric" => y / scale,
        "pytorch_half_pixel" if axis.m == 1 => 0.0,
        "half_pixel_symmetric" => n / 2.0 * (1.0 - m / (scale * n)) + ((y + 0.5) / scale - 0.5),
        "tf_half_pixel_for_nn" => (y + 0.5) / scale,
        "tf_crop_and_resize" => {
            let (start, end) = (axis.part.0 as f32, axis.part.1 as f32);
            let at = if axis.m == 1 {
                0.5 * (start + end) * (n - 1.0)
            } else {
                start * (n - 1.0) + y * (end - start) * (n - 1.0) / (m - 1.0)
            };
            return (0.0..=n - 1.0).contains(&at).then_some(at);
        }
        _ => (y + 0.5) / scale - 0.5,
    })
}

/// The first pixel that lies elsewhere, by more than f32 rounds.
fn first_other_place(rule: &Rule, axis: &Axis) -> Res<Option<usize>> {
    let last = axis.n as f64 - 1.0;
    // What lies outside is taken from the border, but not by cubic interpolation.
    let seen = |at: f64| if rule.mode == "linear" && !rule.exclude_outside { at.clamp(0.0, last) } else { at };
    for i in 0..axis.m.min(CHECKED) {
        let same = match (place(rule, axis.n, axis.m, axis.factor, axis.part, i)?, runtimes(rule, axis, i)) {
            (Some(a), Some(b)) => {
                let close = |a: f64, b: f64| (seen(a) - seen(b)).abs() <= (axis.n as f64 + 1.0) * 4.0 * f64::from(f32::EPSILON);
                let kept = if axis.m == axis.n && rule.coordinates != "tf_crop_and_resize" { i as f64 } else { a };
                close(a, b.into()) && close(a, kept)
            }
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// The pixel of `n` for a place.
fn rounded(rounding: &str, at: f64, n: usize) -> usize {
    let at = match rounding {
        "floor" => at.floor(),
        "ceil" => at.ceil(),
        "round_prefer_floor" => (at - 0.5).ceil(),
        _ => (at + 0.5).floor(),
    };
    at.clamp(0.0, n as f64 - 1.0) as usize
}

/// The first output pixel for which another takes another pixel.
fn first_other_pixel(rule: &Rule, axis: &Axis, ours: Option<&dyn Fn(usize) -> usize>) -> Res<Option<usize>> {
    let Axis { n, m, factor, .. } = *axis;
    let scale = narrow(axis);
    let whole = scale.fract() == 0.0;
    if m > CHECKED && !whole {
        return Ok(Some(CHECKED));
    }
    // torch multiplies with the reciprocal.
    let inverse = if axis.scaled { (1.0 / written(scale, n)) as f32 } else { n as f32 / m as f32 };
    let (asymmetric, corners) = (rule.coordinates == "asymmetric", rule.coordinates == "align_corners");
    // Short binary fractions divide without a rounding wherever the place is on the border of two pixels.
    let short = (scale * 64.0).fract() == 0.0 && f64::from(scale) == factor;
    let product = factor * n as f64 == m as f64;
    let exact = asymmetric || corners || (short && (product || rule.coordinates == "half_pixel"));
    for i in 0..m.min(CHECKED) {
        let theirs = runtimes(rule, axis, i).map(f64::from);
        let by_the_book = place(rule, n, m, factor, axis.part, i)?;
        let (Some(theirs), Some(at)) = (theirs, by_the_book) else {
            if theirs.is_some() != by_the_book.is_some() {
                return Ok(Some(i));
            }
            continue;
        };
        let pixel = |at: f64| rounded(&rule.rounding, at, n);
        let mine = ours.map_or_else(|| pixel(at), |f| f(i));
        let mut same = pixel(theirs) == mine;
        if asymmetric && rule.rounding == "floor" {
            same &= rounded("floor", (i as f32 * inverse).into(), n) == mine;
        }
        if axis.old && scale < 1.0 {
            same &= rounded("ceil", theirs, n) == mine;
        }
        if rule.coordinates.ends_with("half_pixel") && rule.rounding == "round_prefer_ceil" {
            same &= rounded("floor", ((i as f32 + 0.5) * inverse).into(), n) == mine;
        }
        if !exact {
            let slack = (at.abs() + 1.0) * 4.0 * f64::from(f32::EPSILON);
            same &= pixel(at - slack) == mine && pixel(at + slack) == mine;
        }
        // torch leaves an axis as it is whose length stays.
        if n == m && rule.coordinates != "tf_crop_and_resize" {
            same &= mine == i;
        }
        if !same {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::super::fail::Fail;
    use super::*;

    fn rule(mode: &str, coordinates: &str, rounding: &str) -> Rule {
        Rule {
            mode: mode.into(),
            coordinates: coordinates.into(),
            rounding: rounding.into(),
            smooth: false,
            cubic: -0.75,
            exclude_outside: false,
            extrapolation: 0.0,
        }
    }

    fn verdict(mode: &str, coordinates: &str, rounding: &str, n: usize, scale: f32) -> Result<(), String> {
        let rule = rule(mode, coordinates, rounding);
        let m = extent(n, scale).map_err(|_| "extent".to_string())?;
        let axis = Axis { n, m, factor: scale.into(), part: (0.0, 1.0), scaled: true, old: false };
        match check(&rule, &axis, None) {
            Ok(()) => Ok(()),
            Err(Fail::Unsupported { what, remedy }) => Err(format!("{what}; {remedy}")),
            Err(_) => Err("another failure".into()),
        }
    }

    #[test]
    fn lengths_that_are_not_whole() {
        for mode in ["linear", "cubic"] {
            for (n, scale) in [(9, 0.5), (7, 1.5), (9, 1.5)] {
                let why = verdict(mode, "align_corners", "floor", n, scale).unwrap_err();
                assert!(why.contains("`scales`") && why.contains("`size=`"), "{why}");
                assert_eq!(verdict(mode, "half_pixel", "floor", n, scale), Ok(()));
            }
            assert_eq!(verdict(mode, "align_corners", "floor", 8, 1.5), Ok(()));
            assert_eq!(verdict(mode, "align_corners", "floor", 10, 0.7), Ok(()));
        }
    }

    #[test]
    fn nearest_at_the_border_of_two_pixels() {
        // 4 / 0.8 is 5 in f32 and less than 5 in f64.
        assert!(verdict("nearest", "asymmetric", "floor", 9, 0.8).is_err());
        assert_eq!(verdict("nearest", "asymmetric", "floor", 9, 1.5), Ok(()));
        // Half a pixel beyond a whole one, but for the rounding of the scale.
        assert!(verdict("nearest", "half_pixel", "round_prefer_floor", 20, 1.7).is_err());
        assert_eq!(verdict("nearest", "half_pixel", "round_prefer_floor", 20, 0.5), Ok(()));
        assert_eq!(verdict("nearest", "half_pixel", "round_prefer_floor", 5, 3.0), Ok(()));
    }

    #[test]
    fn nearest_between_two_lengths() {
        let rule = rule("nearest", "asymmetric", "floor");
        let agree = |n: usize, m: usize| {
            let axis = Axis { n, m, factor: m as f64 / n as f64, part: (0.0, 1.0), scaled: false, old: false };
            check(&rule, &axis, None).is_ok()
        };
        // 9 / (18 / 14) is 7, but for the rounding of the quotient.
        assert!([(14, 18), (14, 36), (24, 56), (28, 36), (30, 46)].into_iter().all(|(n, m)| agree(n, m)));
        // ONNX Runtime takes pixel 6 for 1 / (1 / 7).
        assert!(!agree(14, 2));
    }

    #[test]
    fn products_that_rounding_makes_another_number() {
        assert_eq!(extent(10, 0.7).ok(), Some(7));
        assert_eq!(extent(9, 1.0 / 3.0).ok(), Some(3));
        assert!(extent(100, 0.29).is_err());
    }
}
