//! AVX-512 with vectors of eight lanes: the arithmetic of AVX2, with 32 registers.

use super::{Avx2, Avx512, Block, HalfBlock, Kernel, Simd};
use core::arch::x86_64::__m256;

/// Proof of what [`Avx512`] proves.
#[derive(Clone, Copy, Debug)]
pub struct Avx512Half {
    set: Avx512,
    lanes: Avx2,
}

impl From<Avx512> for Avx512Half {
    #[inline(always)]
    fn from(set: Avx512) -> Self {
        Avx512Half { set, lanes: set.into() }
    }
}

/// A kernel that runs with half vectors inside the boundary of the whole ones.
struct Inside<K>(Avx512Half, K);

impl<K: Kernel> Kernel for Inside<K> {
    type Out = K::Out;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> K::Out {
        self.1.run(self.0)
    }
}

macro_rules! same {
    ($($name:ident($($arg:ident),+);)+) => {
        $(#[inline(always)]
        fn $name(self, $($arg: __m256),+) -> __m256 {
            self.lanes.$name($($arg),+)
        })+
    };
}

impl Simd for Avx512Half {
    type V = __m256;
    const LANES: usize = 8;
    const NB: usize = 2;
    const MR: usize = 8;
    type Half = Self;
    const IS_HALF: bool = true;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }
    #[inline(always)]
    fn vectorize<K: Kernel>(self, k: K) -> K::Out {
        self.set.vectorize(Inside(self, k))
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        self.lanes.splat(x)
    }
    #[inline(always)]
    fn load(self, b: &Block, j: usize) -> __m256 {
        self.lanes.load(b, j)
    }
    #[inline(always)]
    fn widen(self, b: &HalfBlock, j: usize) -> __m256 {
        self.lanes.widen(b, j)
    }
    #[inline(always)]
    fn store(self, v: __m256, b: &mut Block, j: usize) {
        self.lanes.store(v, b, j);
    }
    #[inline(always)]
    fn prefetch(self, near: &Block, ahead: usize) {
        self.lanes.prefetch(near, ahead);
    }
    same! {
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
