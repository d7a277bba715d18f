//! `x * scale[c] + shift[c]`: a batch normalisation that could not be folded.

use crate::par::Parallel;
use crate::{Act, Isa, View, ViewMut};

/// `out = act(fma(x, scale[c], shift[c]))`; `scale` and `shift` are padded to blocks.
pub fn scale_shift<P: Parallel + ?Sized>(
    _isa: Isa,
    _par: &P,
    _scale: &[f32],
    _shift: &[f32],
    _act: Act,
    _input: View,
    _out: ViewMut,
) {
    todo!()
}

/// The same in place.
pub fn scale_shift_in_place<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _scale: &[f32], _shift: &[f32], _act: Act, _x: ViewMut) {
    todo!()
}
