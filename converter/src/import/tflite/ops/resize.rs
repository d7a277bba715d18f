//! Resizing of images to constant extents.

use super::fail::{bad, unsupported};
use super::gather::take;
use super::schema::options::{resize_bilinear, resize_nearest};
use super::{Ctx, Values, shape};
use crate::ir::{Op, Places, ResizeKind, ValueId};

pub(super) fn bilinear(cx: &mut Ctx<'_, '_>) -> Values {
    let (corners, middles) = (cx.flag(resize_bilinear::ALIGN_CORNERS)?, cx.flag(resize_bilinear::HALF_PIXEL_CENTERS)?);
    resize(cx, ResizeKind::Bilinear, corners, middles)
}

pub(super) fn nearest(cx: &mut Ctx<'_, '_>) -> Values {
    let (corners, middles) = (cx.flag(resize_nearest::ALIGN_CORNERS)?, cx.flag(resize_nearest::HALF_PIXEL_CENTERS)?);
    resize(cx, ResizeKind::Nearest, corners, middles)
}

fn resize(cx: &mut Ctx<'_, '_>, kind: ResizeKind, corners: bool, middles: bool) -> Values {
    let x = cx.value(0)?;
    let [n, from_h, from_w, c] = cx.image(x)?;
    let size = shape::from_i64(&cx.list(1)?)?;
    let &[h, w] = &size[..] else { return bad(format!("a size of {size:?}")) };
    let dims = [n, h, w, c];
    let shifts = kind == ResizeKind::Nearest && corners && middles;
    if cx.shape(x) == dims && !shifts {
        return Ok(vec![x]);
    }
    let places = match (corners, middles) {
        (false, false) => Places::Edges,
        (false, true) => Places::Middles,
        (true, false) => Places::Corners,
        (true, true) if shifts => return corners_by_middles(cx, x, [from_h, from_w], &dims),
        // TFLite does not run it either.
        (true, true) => return unsupported("align_corners with half_pixel_centers", "choose one of them"),
    };
    if kind == ResizeKind::Nearest {
        cx.b.budget.pay(LONGEST.min(h) + LONGEST.min(w))?;
    }
    if kind == ResizeKind::Nearest && repeats(places, from_h, h) && repeats(places, from_w, w) {
        return Ok(vec![cx.emit("", Op::Upsample { factor: [h / from_h, w / from_w] }, &[x], &dims)?]);
    }
    Ok(vec![cx.emit("", Op::Resize { kind, places }, &[x], &dims)?])
}

/// Pixels of an axis that are looked at.
const LONGEST: usize = 1 << 16;

/// Whether nearest pixels are each pixel a whole number of times, which is a copy and costs less. Rounding may spoil it.
fn repeats(places: Places, from: usize, to: usize) -> bool {
    let small = to < LONGEST && to > 0;
    small && to.is_multiple_of(from) && (0..to).all(|i| places.nearest(i, from, to) == i / (to / from))
}

/// Nearest pixels with both flags: TFLite (`GetNearestNeighbor` of its kernels) takes the middle of an output pixel by the scale between
/// corners, rounded: at the same size, the next pixel. No step of the runtime does, unless it happens to take the same pixels; otherwise
/// rows and columns are joined.
fn corners_by_middles(cx: &mut Ctx<'_, '_>, x: ValueId, from: [usize; 2], dims: &[usize; 4]) -> Values {
    let at = |i: usize, n: usize, m: usize| {
        let scale = if m > 1 { (n - 1) as f32 / (m - 1) as f32 } else { n as f32 / m as f32 };
        (((i as f32 + 0.5) * scale).round() as usize).min(n - 1)
    };
    let to = [dims[1], dims[2]];
    cx.b.budget.pay(to[0].saturating_add(to[1]))?;
    let same = |p: &Places| (0..2).all(|a| (0..to[a]).all(|i| p.nearest(i, from[a], to[a]) == at(i, from[a], to[a])));
    if let Some(places) = [Places::Edges, Places::Middles, Places::Corners].into_iter().find(same) {
        return Ok(vec![cx.emit("", Op::Resize { kind: ResizeKind::Nearest, places }, &[x], dims)?]);
    }
    let list = |a: usize| (0..to[a]).map(|i| at(i, from[a], to[a]) as i64).collect::<Vec<_>>();
    let rows = take(cx, "rows", x, 1, &list(0))?;
    Ok(vec![take(cx, "", rows, 2, &list(1))?])
}
