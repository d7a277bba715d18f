//! Constants whose elements go to places that other constants name.

use super::constant::{made, room};
use super::fail::{Res, bad};
use super::{Ctx, Values, shape};
use crate::import::elements::{strides, walk};
use crate::interp::ELEMENT;
use std::collections::HashMap;

/// Where a place lies, named by its index along each of the first axes, counted in what lies behind those.
pub(super) fn flat(place: &[i64], dims: &[usize]) -> Res<usize> {
    place.iter().zip(dims).try_fold(0, |at, (&i, &d)| match usize::try_from(i) {
        Ok(i) if i < d => Ok(at * d + i),
        _ => bad(format!("index {i} of {d}")),
    })
}

/// A block of a tensor, replaced. It is moved to lie inside.
pub(super) fn update(cx: &mut Ctx<'_, '_>) -> Values {
    let (x, block, starts) = (cx.value(0)?, cx.value(1)?, cx.list(2)?);
    let (dims, own) = (cx.shape(x), cx.shape(block));
    if own.len() != dims.len() || starts.len() != dims.len() || own.iter().zip(&dims).any(|(o, d)| o > d) {
        return bad(format!("a block of shape {own:?} at {starts:?} of {dims:?}"));
    }
    room(cx, &dims)?;
    let n = room(cx, &own)?;
    let (mut data, block) = (cx.data(x, 0)?.to_vec(), cx.data(block, 1)?);
    let inside = |axis: usize| starts[axis].clamp(0, (dims[axis] - own[axis]) as i64) as usize;
    let starts: Vec<usize> = (0..dims.len()).map(inside).collect();
    let steps = strides(&dims);
    let start = starts.iter().zip(&steps).map(|(&s, step)| s as i64 * step).sum();
    walk(&own, n, start, &steps).zip(block.iter()).for_each(|(at, &v)| data[at] = v);
    Ok(vec![made(cx, &dims, data)?])
}

/// Sums of neighbouring rows that have the same number.
pub(super) fn segment_sum(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let mut dims = cx.shape(x);
    let (list, numbers) = cx.ints(1)?;
    let (Some(&last), Some(&rows)) = (numbers.last(), dims.first()) else { return bad("there is nothing to sum") };
    if list != [rows] || numbers[0] != 0 || !numbers.windows(2).all(|n| n[1] == n[0] || n[1].checked_sub(1) == Some(n[0])) {
        return bad(format!("numbers of shape {list:?} for rows of {dims:?}, which are not 0 and upwards without a gap"));
    }
    let inner: usize = dims[1..].iter().product();
    dims[0] = last as usize + 1;
    let mut sums = vec![0f32; room(cx, &dims)?];
    let data = cx.data(x, 0)?;
    for (row, &number) in data.chunks_exact(inner.max(1)).zip(&numbers) {
        sums[number as usize * inner..][..inner].iter_mut().zip(row).for_each(|(s, v)| *s += v);
    }
    Ok(vec![made(cx, &dims, sums)?])
}

/// One number everywhere but where a list of places says otherwise.
pub(super) fn sparse_to_dense(cx: &mut Ctx<'_, '_>) -> Values {
    let (list, indices) = cx.ints(0)?;
    let dims = shape::from_i64(&cx.list(1)?)?;
    let values = cx.value(2)?;
    let other = cx.value(3)?;
    let (values, other) = (cx.data(values, 2)?, cx.data(other, 3)?.first().copied());
    // A place or a list of places along one axis, or a row for each place.
    let (count, named) = match list[..] {
        [] => (1, 1),
        [n] => (n, 1),
        [n, named] => (n, named),
        _ => return bad(format!("indices of shape {list:?}")),
    };
    let fits = named == dims.len() && named > 0 && values.len() == count;
    let (Some(other), true) = (other, fits) else {
        return bad(format!("{} values at indices of shape {list:?} for {dims:?}", values.len()));
    };
    cx.b.budget.pay(indices.len())?;
    cx.b.spend((indices.len() as u64).saturating_mul(2 * ELEMENT))?;
    let mut all = vec![other; room(cx, &dims)?];
    for (place, &value) in indices.chunks_exact(named).zip(values.iter()) {
        all[flat(place, &dims)?] = value;
    }
    Ok(vec![made(cx, &dims, all)?])
}

/// What is different in a list, in order of appearance, and which of them each element is.
pub(super) fn unique(cx: &mut Ctx<'_, '_>) -> Values {
    let x = cx.value(0)?;
    let dims = cx.shape(x);
    if dims.len() != 1 {
        return bad(format!("a list of shape {dims:?}"));
    }
    // Finding one takes as long as some copies.
    let n = room(cx, &dims)?;
    cx.b.budget.pay(8 * n)?;
    cx.b.spend(32 * ELEMENT * n as u64)?;
    let (mut known, mut all, mut which) = (HashMap::new(), vec![], vec![]);
    for (i, &v) in cx.data(x, 0)?.iter().enumerate() {
        // Zeros are equal, and what is not a number is equal to nothing.
        let key = ((v + 0.0).to_bits(), if v.is_nan() { i } else { 0 });
        let number = *known.entry(key).or_insert_with(|| {
            all.push(v);
            all.len() - 1
        });
        which.push(number as f32);
    }
    Ok(vec![made(cx, &[all.len()], all)?, made(cx, &dims, which)?])
}
