//! Activations of whole tensors.

use super::element::{each, get, set};
use crate::ops::activation::scalar;
use crate::{Act, View, ViewMut};

/// [`crate::ops::activation::activation`].
pub fn activation(act: Act, input: View, mut out: ViewMut) {
    each(out.shape, |at| set(&mut out, at, scalar(act, get(&input, at))));
}

/// [`crate::ops::activation::prelu`] with `slope` of `[C]`.
pub fn prelu(slope: &[f32], input: View, mut out: ViewMut) {
    each(out.shape, |at| {
        let x = get(&input, at);
        set(&mut out, at, if x > 0.0 { x } else { slope[at[3]] * x });
    });
}
