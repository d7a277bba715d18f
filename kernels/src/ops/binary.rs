//! Two tensors, element by element.

use crate::par::Parallel;
use crate::{Act, Isa, View, ViewMut};

/// What is done with the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
    /// `if a < b { a } else { b }`.
    Min,
    /// `if a > b { a } else { b }`.
    Max,
}

/// `out = act(op(a, b))`. Each extent of `a` and of `b` equals that of `out` or is 1 and then repeats; with `c == 1` only
/// the first lane of a pixel is read. At least one of `a` and `b` has the shape of `out`.
pub fn binary<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _op: BinaryOp, _act: Act, _a: View, _b: View, _out: ViewMut) {
    todo!()
}

/// `x = act(op(x, b))`, or `act(op(b, x))` with `swapped`, in place.
pub fn binary_in_place<P: Parallel + ?Sized>(_isa: Isa, _par: &P, _op: BinaryOp, _act: Act, _swapped: bool, _x: ViewMut, _b: View) {
    todo!()
}
