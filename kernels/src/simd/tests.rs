//! Every operation of every instruction set against plain f32, to the bit: the lanes of a vector are as good as one lane.

use super::{Block, Kernel, Scalar, Simd, scalar};
use crate::ops::testing::{Rng, each_isa};
use std::vec::Vec;

/// Values at every seam: zeros, infinities, NaN, denormals, the largest, ties, and random bits.
fn values() -> Vec<f32> {
    let mut v = std::vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        1e-45,
        -1e-45,
        1.1e-38,
        f32::MAX,
        f32::MIN,
        f32::EPSILON,
        1.0 + f32::EPSILON,
        0.999_999_94,
        16_777_216.0,
        3.0e-23,
    ];
    let mut rng = Rng(3);
    for _ in 0..24 {
        v.push(f32::from_bits(rng.bits() as u32));
        v.push(rng.value());
    }
    v
}

/// Any NaN is as good as another.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Fma,
    Min,
    Max,
    SelectGt,
    Sqrt,
    Round,
    Pow2,
    Splat,
}

const OPS: [Op; 12] =
    [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Fma, Op::Min, Op::Max, Op::SelectGt, Op::Sqrt, Op::Round, Op::Pow2, Op::Splat];

/// One operation on whole blocks.
struct Apply<'a>(Op, [&'a Block; 4]);

impl Kernel for Apply<'_> {
    type Out = Block;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Block {
        let mut out = [0.0; 16];
        for j in 0..S::PARTS {
            let [a, b, c, d] = self.1.map(|x| s.load(x, j));
            let v = match self.0 {
                Op::Add => s.add(a, b),
                Op::Sub => s.sub(a, b),
                Op::Mul => s.mul(a, b),
                Op::Div => s.div(a, b),
                Op::Fma => s.fma(a, b, c),
                Op::Min => s.min(a, b),
                Op::Max => s.max(a, b),
                Op::SelectGt => s.select_gt(a, b, c, d),
                Op::Sqrt => s.sqrt(a),
                Op::Round => s.round(a),
                Op::Pow2 => s.pow2(a),
                Op::Splat => s.splat(self.1[0][0]),
            };
            s.store(v, &mut out, j);
        }
        out
    }
}

/// What the standard library says.
fn exact(op: Op, a: f32, b: f32, c: f32, d: f32) -> f32 {
    match op {
        Op::Add => a + b,
        Op::Sub => a - b,
        Op::Mul => a * b,
        Op::Div => a / b,
        Op::Fma => a.mul_add(b, c),
        Op::Min => {
            if a < b {
                a
            } else {
                b
            }
        }
        Op::Max => {
            if a > b {
                a
            } else {
                b
            }
        }
        Op::SelectGt => {
            if a > b {
                c
            } else {
                d
            }
        }
        Op::Sqrt => a.sqrt(),
        Op::Round => a.round_ties_even(),
        Op::Pow2 => 2f32.powi(a as i32),
        Op::Splat => a,
    }
}

fn check(op: Op, args: [&Block; 4]) {
    each_isa(|isa| {
        for half in [false, true] {
            let got = if half { isa.run(Half(Apply(op, args))) } else { isa.run(Apply(op, args)) };
            for i in 0..16 {
                let [a, b, c, d] = args.map(|x| x[i]);
                let want = exact(op, if matches!(op, Op::Splat) { args[0][0] } else { a }, b, c, d);
                assert!(same(got[i], want), "{isa:?} {op:?}({a:e}, {b:e}, {c:e}, {d:e}) is {:e}, not {want:e}", got[i]);
            }
        }
    });
}

/// Enters by way of the half vectors.
struct Half<K>(K);

impl<K: Kernel> Kernel for Half<K> {
    type Out = K::Out;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> K::Out {
        s.vectorize_half(self.0)
    }
}

#[test]
fn operations() {
    let values = values();
    let at = |i: usize| -> Block { core::array::from_fn(|l| values[(i + l) % values.len()]) };
    for op in OPS {
        for shift in 0..values.len() {
            for start in (0..values.len()).step_by(16) {
                let x = at(start);
                let [a, b, c, d] = match op {
                    // What is asked of the argument.
                    Op::Round => [x.map(|v| if v.abs() < 4_194_304.0 { v } else { 0.25 }), x, x, x],
                    Op::Pow2 => [core::array::from_fn(|l| ((start + shift + l) % 254) as f32 - 126.0), x, x, x],
                    _ => [x, at(start + shift), at(start + 2 * shift + 1), at(start + 3 * shift + 2)],
                };
                check(op, [&a, &b, &c, &d]);
            }
        }
    }
}

#[test]
fn fma_without_an_instruction() {
    let values = values();
    for &a in &values {
        for &b in &values {
            for &c in &values {
                let (got, want) = (scalar::fma(a, b, c), a.mul_add(b, c));
                assert!(same(got, want), "fma({a:e}, {b:e}, {c:e}) is {got:e}, not {want:e}");
            }
        }
    }
    // Near halfway cases, and sums that cancel.
    let mut rng = Rng(5);
    for _ in 0..200_000 {
        let bits = rng.bits();
        let exponent = |n: u64| f32::from_bits(((n % 60 + 97) << 23) as u32);
        let a = exponent(bits) * (1.0 + (bits >> 8 & 0xfff) as f32 / 4096.0);
        let b = exponent(bits >> 20) * (1.0 + (bits >> 32 & 0xfff) as f32 / 4096.0);
        let c = -(a * b) * (1.0 + (bits >> 44 & 3) as f32 * f32::EPSILON) + f32::from_bits((bits >> 33) as u32 & 0x3f_ffff);
        let (got, want) = (scalar::fma(a, b, c), a.mul_add(b, c));
        assert!(same(got, want), "fma({a:e}, {b:e}, {c:e}) is {got:e}, not {want:e}");
    }
}

/// The inner loop of a tile on fixed data.
struct Mac<'a, const MR: usize, const NV: usize>(&'a [f32], &'a [Block], usize);

impl<const MR: usize, const NV: usize> Kernel for Mac<'_, MR, NV> {
    type Out = Vec<f32>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let Mac(rows, panels, len) = self;
        let mut acc = [[s.splat(0.25); NV]; MR];
        let a: [&[f32]; MR] = core::array::from_fn(|i| &rows[i * 31..][..len]);
        let b: [&[Block]; NV] = core::array::from_fn(|j| &panels[j / S::PARTS * 31..][..len]);
        s.mac(&mut acc, a, b);
        let mut out = std::vec![];
        for row in acc {
            for (j, v) in row.into_iter().enumerate() {
                let mut block = [0.0; 16];
                s.store(v, &mut block, j % S::PARTS);
                out.extend_from_slice(&block[j % S::PARTS * S::LANES..][..S::LANES]);
            }
        }
        out
    }
}

#[test]
fn inner_loops() {
    let mut rng = Rng(9);
    let rows = rng.values(31 * 6);
    let panels: Vec<Block> = (0..31 * 16).map(|_| core::array::from_fn(|_| rng.value())).collect();
    each_isa(|isa| {
        for len in [0, 1, 3, 4, 5, 8, 13, 31] {
            let check = |mr: usize, got: Vec<f32>| {
                let width = got.len() / mr;
                for (at, &got) in got.iter().enumerate() {
                    let (i, n) = (at / width, at % width);
                    let mut want = 0.25;
                    for k in 0..len {
                        want = Scalar.fma(rows[i * 31 + k], panels[n / 16 * 31 + k][n % 16], want);
                    }
                    assert!(
                        same(got, want),
                        "{isa:?} {mr} rows, {width} columns, depth {len} at ({i}, {n}): {got:e}, not {want:e}"
                    );
                }
            };
            check(1, isa.run(Mac::<1, 1>(&rows, &panels, len)));
            check(2, isa.run(Mac::<2, 8>(&rows, &panels, len)));
            check(6, isa.run(Mac::<6, 4>(&rows, &panels, len)));
            check(5, isa.run(Mac::<5, 2>(&rows, &panels, len)));
        }
    });
}
