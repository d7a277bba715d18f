//! Two tensors, element by element.

use super::element::{each, get, set};
use crate::ops::activation;
use crate::ops::binary::BinaryOp;
use crate::ops::unary::scalar_pow;
use crate::{Act, View, ViewMut};

/// [`crate::ops::binary::binary`].
pub fn binary(op: BinaryOp, act: Act, a: View, b: View, mut out: ViewMut) {
    let repeated = |v: &View, [n, y, x, c]: [usize; 4]| {
        let at = |i: usize, extent: usize| if extent == 1 { 0 } else { i };
        get(v, [at(n, v.shape.n), at(y, v.shape.h), at(x, v.shape.w), at(c, v.shape.c)])
    };
    each(out.shape, |i| {
        let (a, b) = (repeated(&a, i), repeated(&b, i));
        let v = match op {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div => a / b,
            BinaryOp::Min | BinaryOp::Max if a.is_nan() || b.is_nan() => f32::NAN,
            BinaryOp::Min => {
                if a < b {
                    a
                } else {
                    b
                }
            }
            BinaryOp::Max => {
                if a > b {
                    a
                } else {
                    b
                }
            }
            BinaryOp::Pow => scalar_pow(a, b),
            BinaryOp::Greater => f32::from(u8::from(a > b)),
            BinaryOp::AtLeast => f32::from(u8::from(a >= b)),
            BinaryOp::Equal => f32::from(u8::from(a == b)),
            BinaryOp::Where => {
                if b > 0.0 {
                    a
                } else {
                    0.0
                }
            }
        };
        set(&mut out, i, activation::scalar(act, v));
    });
}
