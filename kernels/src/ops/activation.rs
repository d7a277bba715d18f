//! Activations on whole tensors and, for the other operators, on rows that were just written.

use crate::par::Parallel;
use crate::{Act, Isa, View, ViewMut};

/// `out = act(x)`.
pub fn activation<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _act: Act, _input: View, _out: ViewMut) {
    todo!()
}

/// `x = act(x)`.
pub fn activation_in_place<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _act: Act, _x: ViewMut) {
    todo!()
}

/// `out = x > 0 ? x : slope[c] * x`; `slope` is padded to blocks.
pub fn prelu<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _slope: &[f32], _input: View, _out: ViewMut) {
    todo!()
}

/// The same in place.
pub fn prelu_in_place<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _slope: &[f32], _x: ViewMut) {
    todo!()
}
