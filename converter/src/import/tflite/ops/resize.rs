//! Resizing of images to constant extents.

use super::fail::{bad, unsupported};
use super::schema::options::{resize_bilinear, resize_nearest};
use super::{Ctx, Values, shape};
use crate::ir::{Op, Places, ResizeKind};

pub(super) fn bilinear(cx: &mut Ctx<'_, '_>) -> Values {
    let (corners, middles) = (cx.flag(resize_bilinear::ALIGN_CORNERS)?, cx.flag(resize_bilinear::HALF_PIXEL_CENTERS)?);
    resize(cx, ResizeKind::Bilinear, corners, middles)
}

pub(super) fn nearest(cx: &mut Ctx<'_, '_>) -> Values {
    let (corners, middles) = (cx.flag(resize_nearest::ALIGN_CORNERS)?, cx.flag(resize_nearest::HALF_PIXEL_CENTERS)?);
    resize(cx, ResizeKind::Nearest, corners, middles)
}

fn resize(cx: &mut Ctx<'_, '_>, kind: ResizeKind, corners: bool, middles: bool) -> Values {
    let places = match (corners, middles) {
        (false, false) => Places::Edges,
        (false, true) => Places::Middles,
        (true, false) => Places::Corners,
        (true, true) => return unsupported("align_corners with half_pixel_centers", "choose one of them"),
    };
    let x = cx.value(0)?;
    let [n, _, _, c] = cx.image(x)?;
    let size = shape::from_i64(&cx.list(1)?)?;
    let &[h, w] = &size[..] else { return bad(format!("a size of {size:?}")) };
    let dims = [n, h, w, c];
    if cx.shape(x) == dims {
        return Ok(vec![x]);
    }
    let [_, from_h, from_w, _] = cx.image(x)?;
    if kind == ResizeKind::Nearest && repeats(places, from_h, h) && repeats(places, from_w, w) {
        return Ok(vec![cx.emit("", Op::Upsample { factor: [h / from_h, w / from_w] }, &[x], &dims)?]);
    }
    Ok(vec![cx.emit("", Op::Resize { kind, places }, &[x], &dims)?])
}

/// Whether nearest pixels are each pixel a whole number of times, which is a copy and costs less. Rounding may spoil it.
fn repeats(places: Places, from: usize, to: usize) -> bool {
    let small = to < 1 << 16 && to > 0;
    small && to.is_multiple_of(from) && (0..to).all(|i| places.nearest(i, from, to) == i / (to / from))
}
