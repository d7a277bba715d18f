//! Enlarging and reducing of images.

use super::element::{each, get, set};
use crate::ops::resize::{Places, ResizeKind, lerp};
use crate::simd::Scalar;
use crate::{View, ViewMut};

/// [`crate::ops::resize::resize`].
pub fn resize(kind: ResizeKind, places: Places, input: View, mut out: ViewMut) {
    let ([h, w], [oh, ow]) = ([input.shape.h, input.shape.w], [out.shape.h, out.shape.w]);
    each(out.shape, |[n, y, x, c]| {
        let at = |y, x| get(&input, [n, y, x, c]);
        let v = match kind {
            ResizeKind::Nearest => at(places.nearest(y, h, oh), places.nearest(x, w, ow)),
            ResizeKind::Bilinear => {
                let ((y0, y1, dy), (x0, x1, dx)) = (places.between(y, h, oh), places.between(x, w, ow));
                let (top, bottom) = (lerp(Scalar, at(y0, x0), at(y0, x1), dx), lerp(Scalar, at(y1, x0), at(y1, x1), dx));
                lerp(Scalar, top, bottom, dy)
            }
        };
        set(&mut out, [n, y, x, c], v);
    });
}
