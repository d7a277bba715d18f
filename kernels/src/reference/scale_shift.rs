//! `x * scale[c] + shift[c]`.

use super::element::{each, get, set};
use crate::ops::activation;
use crate::simd::{Scalar, Simd};
use crate::{Act, View, ViewMut};

/// [`crate::ops::scale_shift::scale_shift`] with `scale` and `shift` of `[C]`.
pub fn scale_shift(scale: &[f32], shift: &[f32], act: Act, input: View, mut out: ViewMut) {
    each(out.shape, |at| {
        let v = Scalar.fma(get(&input, at), scale[at[3]], shift[at[3]]);
        set(&mut out, at, activation::scalar(act, v));
    });
}
