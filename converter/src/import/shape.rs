//! Shape arithmetic with bounds: whatever numbers a file holds, nothing here overflows.

use super::fail::{Res, bad, unsupported};
use crate::plans::{Wanted, rows_and_columns};

/// More axes than any network has.
pub(super) const MAX_RANK: usize = 16;

/// Elements of the largest tensor: 8 GB of floats.
pub(super) const MAX_ELEMENTS: usize = 1 << 31;

/// The largest stride, kernel or padding that is taken seriously.
pub(super) const MAX_STEP: i64 = 1 << 24;

/// Number of elements; `None` when it is beyond [`MAX_ELEMENTS`]. That bounds the product of any of the extents, also where one is 0.
pub(super) fn count(dims: &[usize]) -> Option<usize> {
    let n = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)).filter(|&n| n <= MAX_ELEMENTS))?;
    Some(if dims.contains(&0) { 0 } else { n })
}

/// What going along some of the axes takes at most: elements, of which a tensor with an extent of 0 has none, though its other axes
/// may be long.
pub(super) fn span(dims: &[usize]) -> usize {
    dims.iter().fold(1, |n, &d| n.saturating_mul(d.max(1)))
}

/// Extents as the file writes them.
pub(super) fn from_i64(dims: &[i64]) -> Res<Vec<usize>> {
    if dims.len() > MAX_RANK {
        return unsupported(format!("a tensor of {} axes", dims.len()), format!("use at most {MAX_RANK}"));
    }
    from_many(dims)
}

/// Extents that are not those of one tensor.
pub(super) fn from_many(dims: &[i64]) -> Res<Vec<usize>> {
    dims.iter()
        .map(|&d| usize::try_from(d).ok().filter(|&d| d <= MAX_ELEMENTS).map_or_else(|| bad(format!("an extent of {d}")), Ok))
        .collect()
}

/// The shape of an input of which some extents are open, each with the name of its axis: those become what is wanted, and a batch is 1
/// if nothing is. Rows and columns are two that are open, otherwise those of a picture.
pub(super) fn close(declared: &[Result<usize, String>], wanted: Wanted) -> Result<Vec<usize>, String> {
    let both_open = |axes: &[usize; 2]| declared.len() == 4 && axes.iter().all(|&axis| declared[axis].is_err());
    let known: Vec<usize> = declared.iter().map(|d| *d.as_ref().unwrap_or(&0)).collect();
    let axes = [[1, 2], [2, 3]].into_iter().find(both_open).or_else(|| rows_and_columns(0, &known));
    let value = |axis: usize| match (wanted.size, axes) {
        (Some(size), Some(axes)) if axes.contains(&axis) => Some(size[usize::from(axis == axes[1])]),
        _ => (axis == 0).then(|| wanted.batch.unwrap_or(1)),
    };
    let (mut shape, mut unknown) = (vec![], vec![]);
    for (axis, extent) in declared.iter().enumerate() {
        match extent.as_ref().ok().copied().or_else(|| value(axis)) {
            Some(n) => shape.push(n),
            None => unknown.extend(extent.as_ref().err().map(String::as_str)),
        }
    }
    match unknown[..] {
        [] => Ok(shape),
        [one] => Err(format!("the extent of {one} is unknown")),
        _ => Err(format!("the extents of {} are unknown", unknown.join(" and "))),
    }
}

/// An axis that may count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Res<usize> {
    let r = rank as i64;
    if axis >= -r && axis < r {
        Ok(if axis < 0 { axis + r } else { axis } as usize)
    } else {
        bad(format!("axis {axis} of a tensor with {rank} axes"))
    }
}

/// Several axes, each once; the order stays.
pub(super) fn axes(list: &[i64], rank: usize) -> Res<Vec<usize>> {
    let mut out = vec![];
    for &a in list {
        let a = axis(a, rank)?;
        if out.contains(&a) {
            return bad(format!("axis {a} is named twice"));
        }
        out.push(a);
    }
    Ok(out)
}

/// What numpy makes of two shapes.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Res<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => bad(format!("shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

/// The target of a Reshape: 0 copies an extent (unless `allow_zero`), one -1 takes the rest.
pub(super) fn reshape(from: &[usize], target: &[i64], allow_zero: bool) -> Res<Vec<usize>> {
    let fail = || bad(format!("{from:?} cannot be reshaped to {target:?}"));
    let mut dims = vec![];
    let mut rest = None;
    for (i, &t) in target.iter().enumerate() {
        dims.push(match t {
            -1 if rest.is_none() => {
                rest = Some(i);
                1
            }
            0 if !allow_zero => match from.get(i) {
                Some(&d) => d,
                None => return fail(),
            },
            t => match usize::try_from(t) {
                Ok(d) => d,
                Err(_) => return fail(),
            },
        });
    }
    let (Some(have), Some(want)) = (count(from), count(&dims)) else { return fail() };
    match rest {
        Some(i) if want > 0 && have % want == 0 => dims[i] = have / want,
        None if have == want => {}
        _ => return fail(),
    }
    if dims.len() > MAX_RANK {
        return fail();
    }
    Ok(dims)
}

/// Numbers of a window's attribute, for rows and columns; the missing axis of a 1-d window gets `neutral`.
pub(super) fn pair(what: &str, list: &[i64], spatial: usize, neutral: usize, least: i64) -> Res<[usize; 2]> {
    if list.len() != spatial {
        return bad(format!("{what} is {list:?} for {spatial} spatial axes"));
    }
    if let Some(v) = list.iter().find(|&&v| v < least || v > MAX_STEP) {
        return bad(format!("{what} contains {v}"));
    }
    Ok(match list {
        [x] => [neutral, *x as usize],
        [y, x] => [*y as usize, *x as usize],
        _ => return unsupported(format!("{spatial} spatial axes"), "only 1-d and 2-d windows are supported"),
    })
}

/// Start, length and step along one axis, numpy's rules for what lies outside.
pub(super) fn slice(extent: usize, start: i64, end: i64, step: i64) -> Res<(i64, usize)> {
    let n = extent as i64;
    let wrap = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
    if step == 0 || step == i64::MIN {
        return bad(format!("a step of {step}"));
    }
    let (start, end) = if step > 0 {
        (wrap(start).clamp(0, n), wrap(end).clamp(0, n))
    } else {
        // An end below the first element means that it is included.
        (wrap(start).clamp(-1, n - 1), wrap(end).clamp(-1, n - 1))
    };
    let span = if step > 0 { end - start } else { start - end };
    let len = if span <= 0 || n == 0 { 0 } else { (span - 1) / step.abs() + 1 };
    Ok((start, len as usize))
}

/// An index that may count from the end.
pub(super) fn index(i: i64, extent: usize) -> Res<usize> {
    let own = if i < 0 { i.saturating_add(extent as i64) } else { i };
    usize::try_from(own).ok().filter(|&i| i < extent).map_or_else(|| bad(format!("index {i} of {extent}")), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_numpys() {
        for n in 0..6usize {
            for step in [-3i64, -1, 1, 2, 7] {
                for start in -8..8i64 {
                    for end in [-9, -3, -1, 0, 2, 4, 9, i64::MAX, i64::MIN] {
                        let (s, len) = slice(n, start, end, step).unwrap();
                        let got: Vec<i64> = (0..len as i64).map(|i| s + i * step).collect();
                        assert!(got.iter().all(|&i| (0..n as i64).contains(&i)), "{n} {start} {end} {step}: {got:?}");
                        let m = n as i64;
                        let w = |v: i64| if v < 0 { v.saturating_add(m) } else { v };
                        let mut want = vec![];
                        let mut i = if step > 0 { w(start).max(0) } else { w(start).min(m - 1) };
                        while (step > 0 && i < w(end).min(m)) || (step < 0 && i > w(end).max(-1) && i >= 0) {
                            want.push(i);
                            i += step;
                        }
                        assert_eq!(got, want, "{n} {start} {end} {step}");
                    }
                }
            }
        }
    }

    #[test]
    fn open_extents_are_what_is_wanted() {
        let open = |dims: &[usize]| -> Vec<Result<usize, String>> {
            dims.iter().enumerate().map(|(i, &d)| if d > 0 { Ok(d) } else { Err(format!("axis {i}")) }).collect()
        };
        let wanted = Wanted { batch: Some(2), size: Some([8, 12]) };
        assert_eq!(close(&open(&[0, 3, 0, 0]), wanted).unwrap(), [2, 3, 8, 12]);
        assert_eq!(close(&open(&[0, 0, 0, 3]), wanted).unwrap(), [2, 8, 12, 3]);
        assert_eq!(close(&open(&[1, 3, 0, 5]), wanted).unwrap(), [1, 3, 8, 5]);
        assert_eq!(close(&open(&[0, 7]), wanted).unwrap(), [2, 7]);
        assert_eq!(close(&open(&[0, 7]), Wanted::default()).unwrap(), [1, 7]);
        assert_eq!(close(&open(&[0, 3, 0, 0]), Wanted::default()).unwrap_err(), "the extents of axis 2 and axis 3 are unknown");
        assert_eq!(close(&open(&[0, 0]), wanted).unwrap_err(), "the extent of axis 1 is unknown");
    }

    #[test]
    fn reshape_and_broadcast() {
        assert_eq!(reshape(&[2, 3, 4], &[0, -1], false).unwrap(), [2, 12]);
        assert!(reshape(&[2, 3, 4], &[5, -1], false).is_err());
        assert!(reshape(&[2, 3, 4], &[-1, -1], false).is_err());
        assert!(reshape(&[2, 3, 4], &[i64::MAX, i64::MAX, 4], false).is_err());
        assert_eq!(reshape(&[0, 3], &[3, 0], true).unwrap(), [3, 0]);
        assert_eq!(broadcast(&[2, 1, 4], &[3, 1]).unwrap(), [2, 3, 4]);
        assert!(broadcast(&[2], &[3]).is_err());
        assert_eq!(count(&[7, 0]), Some(0));
        assert_eq!(count(&[usize::MAX, 0]), None);
        assert_eq!(count(&[1 << 20, 1 << 20]), None);
    }
}
