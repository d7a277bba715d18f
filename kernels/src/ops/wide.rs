//! Several vectors as one, step by step side by side.
//!
//! A polynomial is one long chain of dependent operations. A CPU overlaps the chains of neighbouring vectors only as far as its
//! scheduler reaches, which is not far enough; here they are interleaved in the program.

use crate::simd::{Block, HalfBlock, Kernel, Simd};

/// `N` vectors of `S`. Only arithmetic: vectors are loaded and stored one by one, with `S`.
#[derive(Clone, Copy)]
pub(super) struct Wide<S, const N: usize>(pub S);

macro_rules! each {
    ($($name:ident($($arg:ident),+);)+) => {
        $(#[inline(always)]
        fn $name(self, $($arg: [S::V; N]),+) -> [S::V; N] {
            let mut out = [self.0.splat(0.0); N];
            for i in 0..N {
                out[i] = self.0.$name($($arg[i]),+);
            }
            out
        })+
    };
}

impl<S: Simd, const N: usize> Simd for Wide<S, N> {
    type V = [S::V; N];
    const LANES: usize = S::LANES;
    const NB: usize = S::NB;
    const MR: usize = S::MR;
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    #[inline(always)]
    fn vectorize<K: Kernel>(self, k: K) -> K::Out {
        self.0.vectorize(k)
    }
    #[inline(always)]
    fn splat(self, x: f32) -> [S::V; N] {
        [self.0.splat(x); N]
    }
    /// The same vector `N` times.
    #[inline(always)]
    fn load(self, b: &Block, j: usize) -> [S::V; N] {
        [self.0.load(b, j); N]
    }
    /// The same vector `N` times.
    #[inline(always)]
    fn widen(self, b: &HalfBlock, j: usize) -> [S::V; N] {
        [self.0.widen(b, j); N]
    }
    /// The last of the vectors.
    #[inline(always)]
    fn store(self, v: [S::V; N], b: &mut Block, j: usize) {
        for v in v {
            self.0.store(v, b, j);
        }
    }
    each! {
        add(a, b);
        sub(a, b);
        mul(a, b);
        div(a, b);
        fma(a, b, c);
        min(a, b);
        max(a, b);
        select_gt(a, b, x, y);
        sqrt(a);
        round(a);
        pow2(n);
        exponent(a);
    }
}
