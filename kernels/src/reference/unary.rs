//! Functions of one element.

use super::element::{each, get, set};
use crate::ops::unary::{Unary, scalar};
use crate::{View, ViewMut};

/// [`crate::ops::unary::unary`].
pub fn unary(function: Unary, input: View, mut out: ViewMut) {
    each(out.shape, |at| set(&mut out, at, scalar(function, get(&input, at))));
}
