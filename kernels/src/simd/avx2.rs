//! AVX2 with FMA and F16C: eight lanes.
#![expect(unsafe_code, reason = "intrinsics; the token proves the CPU features")]

use super::{Block, HalfBlock, Kernel, Simd};
use core::arch::x86_64::*;

/// Proof that this CPU has avx2, fma, f16c. Made by [`new`](Self::new), which looks, and from sets that include this one.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// The token, if this CPU has the features.
    pub fn new() -> Option<Self> {
        #[cfg(feature = "std")]
        {
            (std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma")
                && std::arch::is_x86_feature_detected!("f16c"))
            .then_some(Self(()))
        }
        #[cfg(not(feature = "std"))]
        {
            super::x86::avx2().then_some(Self(()))
        }
    }
}

impl From<super::Avx512> for Avx2 {
    /// The token of AVX-512 proves these features as well.
    #[inline(always)]
    fn from(_: super::Avx512) -> Self {
        Self(())
    }
}

// Kept apart: what is inlined together shares registers, of which a GEMM tile needs nearly all.
#[inline(never)]
#[target_feature(enable = "avx2,fma,f16c")]
fn enter<K: Kernel>(s: Avx2, k: K) -> K::Out {
    k.run(s)
}

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const NB: usize = 1;
    const MR: usize = 6;
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    #[inline(always)]
    fn vectorize<K: Kernel>(self, k: K) -> K::Out {
        // SAFETY: the token proves that the CPU has the features that `enter` enables.
        unsafe { enter(self, k) }
    }
    #[inline(always)]
    fn load(self, b: &Block, j: usize) -> __m256 {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES floats from j * LANES lie inside the block.
        unsafe { _mm256_loadu_ps(b.as_ptr().add(j * Self::LANES)) }
    }
    #[inline(always)]
    fn widen(self, b: &HalfBlock, j: usize) -> __m256 {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES halves from j * LANES lie inside the block; the token proves the features.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(b.as_ptr().add(j * Self::LANES).cast())) }
    }
    #[inline(always)]
    fn store(self, v: __m256, b: &mut Block, j: usize) {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES floats from j * LANES lie inside the block.
        unsafe { _mm256_storeu_ps(b.as_mut_ptr().add(j * Self::LANES), v) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn select_gt(self, a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b)) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn prefetch(self, near: &Block, ahead: usize) {
        // SAFETY: a hint, without effect whatever the address is.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(core::ptr::from_ref(near).wrapping_add(ahead).cast()) }
    }
    #[inline(always)]
    fn pow2(self, n: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)))) }
    }
    #[inline(always)]
    fn exponent(self, a: __m256) -> __m256 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe {
            let biased = _mm256_and_si256(_mm256_srli_epi32::<23>(_mm256_castps_si256(a)), _mm256_set1_epi32(0xff));
            _mm256_cvtepi32_ps(_mm256_sub_epi32(biased, _mm256_set1_epi32(127)))
        }
    }
}
