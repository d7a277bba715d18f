//! Maximum and average over windows.

use super::conv::Window;
use crate::par::Parallel;
use crate::{Isa, View, ViewMut};

/// What is taken over a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value inside the input; taps outside are skipped. -inf if there is none.
    Max,
    /// The sum in the order of rows and columns, times the correctly rounded `1 / count` of taps inside the input.
    Average,
    /// The sum, divided likewise by the taps inside the input *and its explicit padding*: `pad_end` is the padding below and to
    /// the right (ONNX `count_include_pad`).
    AverageWithPad {
        /// Rows below, columns to the right.
        pad_end: [usize; 2],
    },
}

/// Runs a pooling step, with an optional tensor added to its result (Xception's `maxpool(x) + shortcut`).
pub fn pool<P: Parallel + ?Sized>(
    _isa: Isa,
    _par: &P,
    _kind: PoolKind,
    _window: Window,
    _input: View,
    _residual: Option<View>,
    _out: ViewMut,
) {
    todo!()
}
