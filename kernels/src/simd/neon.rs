//! NEON, which every AArch64 CPU has: four lanes.
#![expect(unsafe_code, reason = "intrinsics; the token proves the CPU features")]

use super::{Block, HalfBlock, Kernel, Simd};
use core::arch::aarch64::*;

/// Proof that this CPU has neon. Made by [`new`](Self::new), which looks.
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Neon {
    /// The token, if this CPU has the features.
    pub fn new() -> Option<Self> {
        Some(Self(()))
    }
}

// Kept apart: what is inlined together shares registers, of which a GEMM tile needs nearly all.
#[inline(never)]
#[target_feature(enable = "neon")]
fn enter<K: Kernel>(s: Neon, k: K) -> K::Out {
    k.run(s)
}

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
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
    fn load(self, b: &Block, j: usize) -> float32x4_t {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES floats from j * LANES lie inside the block.
        unsafe { vld1q_f32(b.as_ptr().add(j * Self::LANES)) }
    }
    #[inline(always)]
    fn widen(self, b: &HalfBlock, j: usize) -> float32x4_t {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES halves from j * LANES lie inside the block; the token proves the features.
        unsafe { vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(b.as_ptr().add(j * Self::LANES)))) }
    }
    #[inline(always)]
    fn store(self, v: float32x4_t, b: &mut Block, j: usize) {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES floats from j * LANES lie inside the block.
        unsafe { vst1q_f32(b.as_mut_ptr().add(j * Self::LANES), v) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn select_gt(self, a: float32x4_t, b: float32x4_t, x: float32x4_t, y: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vbslq_f32(vcgtq_f32(a, b), x, y) }
    }
    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vsqrtq_f32(a) }
    }
    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vrndnq_f32(a) }
    }
    #[inline(always)]
    fn pow2(self, n: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)))) }
    }
    #[inline(always)]
    fn exponent(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: the token proves the features; the intrinsic touches no memory.
        unsafe {
            let biased = vandq_u32(vshrq_n_u32::<23>(vreinterpretq_u32_f32(a)), vdupq_n_u32(0xff));
            vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(biased), vdupq_n_s32(127)))
        }
    }
    /// By lane: one load of each row of A for four steps of k. A load and a broadcast for each single step would take more
    /// instructions than there are slots beside the FMAs. 6 x 16 is 24 sums, 6 vectors of A and 2 of B: all 32 registers.
    #[inline(always)]
    fn multiply<const MR: usize, const NB: usize, const NV: usize>(
        self,
        len: usize,
        _ahead: usize,
        a: [&[f32]; MR],
        b: [&[Block]; NB],
        acc: &mut [[float32x4_t; NV]; MR],
    ) {
        let fours = len / 4;
        let heads: [&[[f32; 4]]; MR] = core::array::from_fn(|i| &a[i][..len].as_chunks().0[..fours]);
        let tails: [&[f32]; MR] = core::array::from_fn(|i| &a[i][fours * 4..len]);
        let panels: [&[[Block; 4]]; NB] = core::array::from_fn(|j| &b[j][..len].as_chunks().0[..fours]);
        let rests: [&[Block]; NB] = core::array::from_fn(|j| &b[j][fours * 4..len]);
        let mut sums = *acc;
        for k in 0..fours {
            // SAFETY: an array of four floats is there to read.
            let x: [float32x4_t; MR] = core::array::from_fn(|i| unsafe { vld1q_f32(heads[i][k].as_ptr()) });
            macro_rules! step {
                ($($lane:literal)+) => {$(
                    for j in 0..NV {
                        let w = self.load(&panels[j / Self::PARTS][k][$lane], j % Self::PARTS);
                        for i in 0..MR {
                            // SAFETY: the token proves the features; the intrinsic touches no memory.
                            sums[i][j] = unsafe { vfmaq_laneq_f32::<$lane>(sums[i][j], w, x[i]) };
                        }
                    }
                )+};
            }
            step!(0 1 2 3);
        }
        for k in 0..len - fours * 4 {
            let w: [float32x4_t; NV] = core::array::from_fn(|j| self.load(&rests[j / Self::PARTS][k], j % Self::PARTS));
            for i in 0..MR {
                let x = self.splat(tails[i][k]);
                for j in 0..NV {
                    sums[i][j] = self.fma(x, w[j], sums[i][j]);
                }
            }
        }
        *acc = sums;
    }
}
