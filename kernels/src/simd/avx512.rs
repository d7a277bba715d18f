//! AVX-512: sixteen lanes.
#![expect(unsafe_code, reason = "intrinsics; the token proves the CPU features")]

use super::avx512_half::Avx512Half;
use super::{Block, HalfBlock, Kernel, Simd};
use core::arch::x86_64::*;

/// Proof that this CPU has avx512f, avx512vl, avx512bw, avx512dq, avx2, fma, f16c. Made by [`new`](Self::new), which looks.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// The token, if this CPU has the features.
    pub fn new() -> Option<Self> {
        #[cfg(feature = "std")]
        {
            (std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512vl")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512dq")
                && std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma")
                && std::arch::is_x86_feature_detected!("f16c"))
            .then_some(Self(()))
        }
        #[cfg(not(feature = "std"))]
        {
            super::x86::avx512().then_some(Self(()))
        }
    }
}

// Kept apart: what is inlined together shares registers, of which a GEMM tile needs nearly all.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
fn enter<K: Kernel>(s: Avx512, k: K) -> K::Out {
    k.run(s)
}

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const NB: usize = 4;
    const MR: usize = 6;
    type Half = Avx512Half;

    #[inline(always)]
    fn half(self) -> Avx512Half {
        Avx512Half::from(self)
    }

    #[inline(always)]
    fn vectorize<K: Kernel>(self, k: K) -> K::Out {
        // SAFETY: the token proves that the CPU has the features that `enter` enables.
        unsafe { enter(self, k) }
    }
    #[inline(always)]
    fn load(self, b: &Block, j: usize) -> __m512 {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES floats from j * LANES lie inside the block.
        unsafe { _mm512_loadu_ps(b.as_ptr().add(j * Self::LANES)) }
    }
    #[inline(always)]
    fn widen(self, b: &HalfBlock, j: usize) -> __m512 {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES halves from j * LANES lie inside the block; the token proves the features.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(b.as_ptr().add(j * Self::LANES).cast())) }
    }
    #[inline(always)]
    fn store(self, v: __m512, b: &mut Block, j: usize) {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES floats from j * LANES lie inside the block.
        unsafe { _mm512_storeu_ps(b.as_mut_ptr().add(j * Self::LANES), v) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn select_gt(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn prefetch(self, near: &Block, ahead: usize) {
        // SAFETY: a hint, without effect whatever the address is.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(core::ptr::from_ref(near).wrapping_add(ahead).cast()) }
    }
    #[inline(always)]
    fn pow2(self, n: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)))) }
    }
    #[inline(always)]
    fn exponent(self, a: __m512) -> __m512 {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe {
            let biased = _mm512_and_si512(_mm512_srli_epi32::<23>(_mm512_castps_si512(a)), _mm512_set1_epi32(0xff));
            _mm512_cvtepi32_ps(_mm512_sub_epi32(biased, _mm512_set1_epi32(127)))
        }
    }
}
