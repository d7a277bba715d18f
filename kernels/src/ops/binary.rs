//! Two tensors, element by element.
//!
//! ```text
//! for each piece of the output:  out = a;  out = op(out, b);  out = act(out)
//! ```
//!
//! 1. A piece fits the L1 cache, so the copy costs little, and only the in-place operation needs to be written.
//! 2. The operand that is not repeated is the one copied; the order of the operands is a variant of the operation.
//! 3. Tensors without gaps are walked in long pieces where the other operand has the same shape or is one value; otherwise a
//!    piece is a pixel, whose other operand is a pixel or one value.

use super::activation::{Pieces, act_row, blocks, blocks_mut, grain};
use super::unary::pow;
use crate::par::{self, Parallel};
use crate::simd::{Block, Kernel, Simd};
use crate::{Act, Isa, Shape, View, ViewMut};
use sepal_format::layout::BLOCK;

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
    /// The smaller one; NaN if either is.
    Min,
    /// The larger one; NaN if either is.
    Max,
    /// `a` to the power `b`; NaN for a negative `a` and a broken `b`.
    Pow,
    /// 1 if `a > b`, else 0.
    Greater,
    /// 1 if `a >= b`, else 0.
    AtLeast,
    /// 1 if `a == b`, else 0.
    Equal,
    /// `a` where `b` is greater than 0, else 0.
    Where,
}

/// `out = act(op(a, b))`. Each extent of `a` and of `b` equals that of `out` or is 1 and then repeats; with `c == 1` only
/// the first lane of a pixel is read. At least one of `a` and `b` has the shape of `out`.
pub fn binary(isa: Isa, par: &dyn Parallel, op: BinaryOp, act: Act, a: View, b: View, out: ViewMut) {
    let swapped = a.shape != out.shape;
    let (whole, other) = if swapped { (b, a) } else { (a, b) };
    assert_eq!(whole.shape, out.shape, "binary: one operand must have the shape of the output");
    from(isa, par, op, act, swapped, Some(whole), out, other);
}

/// `x = act(op(x, b))`, or `act(op(b, x))` with `swapped`, in place.
pub fn binary_in_place(isa: Isa, par: &dyn Parallel, op: BinaryOp, act: Act, swapped: bool, x: ViewMut, b: View) {
    from(isa, par, op, act, swapped, None, x, b);
}

fn from(isa: Isa, par: &dyn Parallel, op: BinaryOp, act: Act, swapped: bool, source: Option<View>, x: ViewMut, b: View) {
    let shape = x.shape;
    let fits = |b: usize, x: usize| b == x || b == 1;
    let (s, t) = (b.shape, shape);
    assert!(fits(s.n, t.n) && fits(s.h, t.h) && fits(s.w, t.w) && fits(s.c, t.c), "binary: shapes do not match");
    let step = x.pixel / BLOCK;
    par::split(par, x.data, shape.pixels(), x.pixel, grain(x.pixel), &mut [], 0, &|units, part, _| {
        isa.run(Combine {
            op,
            act,
            swapped,
            source: source.map(|v| (&blocks(v.data)[units.start * (v.pixel / BLOCK)..], v.pixel / BLOCK)),
            x: blocks_mut(part),
            shape,
            step,
            first: units.start,
            pixels: units.len(),
            b,
        });
    });
}

struct Combine<'a> {
    op: BinaryOp,
    act: Act,
    swapped: bool,
    /// Copied to `x` first; so many blocks between pixels.
    source: Option<(&'a [Block], usize)>,
    x: &'a mut [Block],
    shape: Shape,
    /// Blocks between pixels of `x`.
    step: usize,
    /// `x` holds the pixels from `first` on, so many.
    first: usize,
    pixels: usize,
    b: View<'a>,
}

/// The other operand of a piece.
#[derive(Clone, Copy)]
enum Other<'a> {
    Blocks(&'a [Block]),
    Value(f32),
}

impl Kernel for Combine<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let Combine { shape, step, first, pixels, b, .. } = self;
        let (nb, b_step) = (shape.c.div_ceil(BLOCK), b.pixel / BLOCK);
        let source_step = self.source.map_or(step, |(_, s)| s);
        let value = b.shape == Shape::new(1, 1, 1, 1) && shape.c != 1;
        let same = b.shape == shape;
        if value || (same && (b_step == step || pixels == 1)) {
            for ([source, at], len) in Pieces::new(pixels, nb, [source_step, step]).iter() {
                let other =
                    if value { Other::Value(b.data[0]) } else { Other::Blocks(&blocks(b.data)[first * b_step + at..][..len]) };
                self.piece(s, source, at, len, other);
            }
            return;
        }
        let (b_blocks, single) = (blocks(b.data), b.shape.c == 1 && shape.c != 1);
        let repeat = |extent: usize, i: usize| if extent == 1 { 0 } else { i };
        let mut i = 0;
        while i < pixels {
            let (row, x0) = ((first + i) / shape.w, (first + i) % shape.w);
            let (n, y) = (repeat(b.shape.n, row / shape.h), repeat(b.shape.h, row % shape.h));
            let b_row = (n * b.shape.h + y) * b.shape.w;
            let end = (i + shape.w - x0).min(pixels);
            for (k, i) in (i..end).enumerate() {
                let pixel = b_row + repeat(b.shape.w, x0 + k);
                let other =
                    if single { Other::Value(b.data[pixel * b.pixel]) } else { Other::Blocks(&b_blocks[pixel * b_step..][..nb]) };
                self.piece(s, i * source_step, i * step, nb, other);
            }
            i = end;
        }
    }
}

#[inline(always)]
fn greater<S: Simd>(s: S, a: S::V, b: S::V) -> S::V {
    s.select_gt(a, b, s.splat(1.0), s.splat(0.0))
}

/// The machine's minimum gives `b` if either is NaN, and so loses that of `a`. What is not above -infinity is -infinity or NaN, and stays
/// that with anything but infinity or NaN added.
#[inline(always)]
fn min<S: Simd>(s: S, a: S::V, b: S::V) -> S::V {
    let lowest = s.add(a, s.min(s.splat(0.0), b));
    s.select_gt(a, s.splat(f32::NEG_INFINITY), s.min(a, b), lowest)
}

#[inline(always)]
fn max<S: Simd>(s: S, a: S::V, b: S::V) -> S::V {
    let highest = s.add(a, s.max(s.splat(0.0), b));
    s.select_gt(s.splat(f32::INFINITY), a, s.max(a, b), highest)
}

/// Neither is greater, and neither is NaN: a zero or NaN `x` is told by `min(x, 1)`, which is 1 of NaN.
#[inline(always)]
fn equal<S: Simd>(s: S, a: S::V, b: S::V) -> S::V {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let number = |x: S::V| {
        let of_zero = s.sub(one, s.min(x, one));
        s.select_gt(x, zero, one, s.select_gt(zero, x, one, of_zero))
    };
    let same = s.min(number(a), number(b));
    s.select_gt(a, b, zero, s.select_gt(b, a, zero, same))
}

impl Combine<'_> {
    /// `len` blocks from `at` on.
    #[inline(always)]
    fn piece<S: Simd>(&mut self, s: S, source: usize, at: usize, len: usize, other: Other) {
        let x = &mut self.x[at..][..len];
        if let Some((blocks, _)) = self.source {
            x.copy_from_slice(&blocks[source..][..len]);
        }
        macro_rules! each {
            ($x:ident, $b:ident => $y:expr) => {
                match other {
                    Other::Blocks(other) => {
                        for (x, b) in x.iter_mut().zip(other) {
                            for j in 0..S::PARTS {
                                let ($x, $b) = (s.load(x, j), s.load(b, j));
                                s.store($y, x, j);
                            }
                        }
                    }
                    Other::Value(v) => {
                        let $b = s.splat(v);
                        for x in x.iter_mut() {
                            for j in 0..S::PARTS {
                                let $x = s.load(x, j);
                                s.store($y, x, j);
                            }
                        }
                    }
                }
            };
        }
        match (self.op, self.swapped) {
            (BinaryOp::Add, _) => each!(x, b => s.add(x, b)),
            (BinaryOp::Mul, _) => each!(x, b => s.mul(x, b)),
            (BinaryOp::Sub, false) => each!(x, b => s.sub(x, b)),
            (BinaryOp::Sub, true) => each!(x, b => s.sub(b, x)),
            (BinaryOp::Div, false) => each!(x, b => s.div(x, b)),
            (BinaryOp::Div, true) => each!(x, b => s.div(b, x)),
            (BinaryOp::Min, false) => each!(x, b => min(s, x, b)),
            (BinaryOp::Min, true) => each!(x, b => min(s, b, x)),
            (BinaryOp::Max, false) => each!(x, b => max(s, x, b)),
            (BinaryOp::Max, true) => each!(x, b => max(s, b, x)),
            _ if !cfg!(feature = "functions") => panic!("this build has no comparisons and powers"),
            (BinaryOp::Pow, false) => each!(x, b => pow(s, x, b)),
            (BinaryOp::Pow, true) => each!(x, b => pow(s, b, x)),
            (BinaryOp::Greater, false) => each!(x, b => greater(s, x, b)),
            (BinaryOp::Greater, true) => each!(x, b => greater(s, b, x)),
            (BinaryOp::AtLeast, false) => each!(x, b => s.max(greater(s, x, b), equal(s, x, b))),
            (BinaryOp::AtLeast, true) => each!(x, b => s.max(greater(s, b, x), equal(s, x, b))),
            (BinaryOp::Equal, _) => each!(x, b => equal(s, x, b)),
            (BinaryOp::Where, false) => each!(x, b => s.select_gt(b, s.splat(0.0), x, s.splat(0.0))),
            (BinaryOp::Where, true) => each!(x, b => s.select_gt(x, s.splat(0.0), b, s.splat(0.0))),
        }
        act_row(s, self.act, x);
    }
}
