//! Products of two matrices, one for each image.

use super::element::{each, get, set};
use crate::simd::{Scalar, Simd};
use crate::{View, ViewMut};

/// [`crate::ops::matmul::matmul`].
pub fn matmul(a: View, b: View, mut out: ViewMut) {
    each(out.shape, |[n, y, m, c]| {
        let sum = (0..a.shape.c).fold(0.0, |sum, k| Scalar.fma(get(&a, [n, 0, m, k]), get(&b, [n, 0, k, c]), sum));
        set(&mut out, [n, y, m, c], sum);
    });
}
