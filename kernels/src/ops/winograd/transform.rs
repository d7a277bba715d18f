//! The one-dimensional transforms: `M` outputs of a kernel of `M - A + 1` taps from `A` products.
//!
//! Toom-Cook at the points given with each (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; Barabasz
//! et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020). The order of the operations is a part of the
//! meaning, as everywhere: [`mod@crate::reference`] has the same formulas on single values.

use crate::simd::Simd;

/// `y = output(input(d) * weights)`.
pub(super) trait Transform<const A: usize, const M: usize> {
    /// A tile of the input, multiplied by `B^T`.
    fn input<S: Simd>(s: S, d: [S::V; A]) -> [S::V; A];
    /// Sums of products, multiplied by `A^T`.
    fn output<S: Simd>(s: S, m: [S::V; A]) -> [S::V; M];
}

/// No transform: one product gives one output.
pub(super) struct One;

impl Transform<1, 1> for One {
    #[inline(always)]
    fn input<S: Simd>(_: S, d: [S::V; 1]) -> [S::V; 1] {
        d
    }
    #[inline(always)]
    fn output<S: Simd>(_: S, m: [S::V; 1]) -> [S::V; 1] {
        m
    }
}

/// F(2, 3), points 0, 1, -1, infinity.
pub(super) struct F23;

impl Transform<4, 2> for F23 {
    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::V; 4]) -> [S::V; 4] {
        [s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[3], d[1])]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 4]) -> [S::V; 2] {
        [s.add(s.add(m[0], m[1]), m[2]), s.add(s.sub(m[1], m[2]), m[3])]
    }
}

/// F(4, 3), points 0, 1, -1, 2, -2, infinity.
pub(super) struct F43;

impl Transform<6, 4> for F43 {
    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::V; 6]) -> [S::V; 6] {
        let c = |x: f32| s.splat(x);
        let (even4, odd4) = (s.fma(c(-4.0), d[2], d[4]), s.fma(c(-4.0), d[1], d[3]));
        let (even1, odd1) = (s.sub(d[4], d[2]), s.sub(d[3], d[1]));
        [
            s.fma(c(4.0), d[0], s.fma(c(-5.0), d[2], d[4])),
            s.add(even4, odd4),
            s.sub(even4, odd4),
            s.fma(c(2.0), odd1, even1),
            s.fma(c(-2.0), odd1, even1),
            s.fma(c(4.0), d[1], s.fma(c(-5.0), d[3], d[5])),
        ]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 4] {
        let c = |x: f32| s.splat(x);
        let (even1, odd1) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (even2, odd2) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [
            s.add(s.add(m[0], even1), even2),
            s.fma(c(2.0), odd2, odd1),
            s.fma(c(4.0), even2, even1),
            s.add(s.fma(c(8.0), odd2, odd1), m[5]),
        ]
    }
}

/// F(4, 7), points 0, 1, -1, 2, -2, 1/2, -1/2, 4, -1/4, infinity.
pub(super) struct F47;

/// Rows 1 to 8 of F(4, 7)'s `B^T`: coefficients of inputs 1 to 7; that of input 8 is 1.
pub(crate) const F47_INPUT: [[f32; 7]; 8] = [
    [-1.0, -4.75, 1.5, 21.1875, 10.6875, -9.0, -2.75],
    [1.0, 2.75, -9.0, -10.6875, 21.1875, -1.5, -4.75],
    [-0.5, -2.125, 2.0625, 10.875, 0.1875, -9.75, -1.75],
    [0.5, 1.625, -3.9375, -7.875, 9.1875, 5.25, -5.75],
    [-2.0, -11.5, -10.5, 18.375, 15.75, -7.875, -3.25],
    [2.0, 3.5, -19.5, -0.375, 21.75, -4.125, -4.25],
    [-0.25, -1.0, 1.3125, 5.25, -1.3125, -5.25, 0.25],
    [4.0, -1.0, -21.0, 5.25, 21.0, -5.25, -4.0],
];

/// The first row, of inputs 0 to 7, and the last, of inputs 1 to 8; that of the input after them is 1.
pub(crate) const F47_EDGE: [f32; 8] = [1.0, 3.75, -6.25, -19.6875, 10.5, 19.6875, -6.25, -3.75];

impl Transform<10, 4> for F47 {
    #[inline(always)]
    fn input<S: Simd>(s: S, d: [S::V; 10]) -> [S::V; 10] {
        let mut v = d;
        let row = |first: usize, coefficients: &[f32]| {
            let mut sum = d[first + coefficients.len()];
            for (i, &c) in coefficients.iter().enumerate() {
                sum = s.fma(s.splat(c), d[first + i], sum);
            }
            sum
        };
        v[0] = row(0, &F47_EDGE);
        for i in 0..8 {
            v[i + 1] = row(1, &F47_INPUT[i]);
        }
        v[9] = row(1, &F47_EDGE);
        v
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: [S::V; 10]) -> [S::V; 4] {
        let c = |x: f32| s.splat(x);
        let (even1, odd1) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (even2, odd2) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        let (even3, odd3) = (s.add(m[5], m[6]), s.sub(m[5], m[6]));
        let ends = |far: f32, near: f32, sum: S::V| s.fma(c(far), m[7], s.fma(c(near), m[8], sum));
        [
            s.add(s.add(s.add(m[0], even1), s.add(even2, even3)), s.add(m[7], m[8])),
            ends(4.0, -0.25, s.fma(c(2.0), odd2, s.fma(c(0.5), odd3, odd1))),
            ends(16.0, 0.0625, s.fma(c(4.0), even2, s.fma(c(0.25), even3, even1))),
            s.add(ends(64.0, -0.015625, s.fma(c(8.0), odd2, s.fma(c(0.125), odd3, odd1))), m[9]),
        ]
    }
}
