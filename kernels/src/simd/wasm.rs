//! The 128-bit vectors of WebAssembly: four lanes, and the one set without a fused multiply-add.
//!
//! [`fma`](Simd::fma) rounds the product and then the sum, so results differ from those of all other sets in the last places; the
//! order of all sums is the same. `Scalar` gives the bits of the others here, too, and is what to take where they matter. The fused
//! instruction of the relaxed extension is not used: it may or may not fuse, and results would differ from browser to browser.
#![expect(unsafe_code, reason = "loads and stores; a module that is built with simd128 runs nowhere else")]

use super::{Block, HalfBlock, Kernel, Simd};
use core::arch::wasm32::*;

/// Proof that this module was built for engines that have simd128. Made by [`new`](Self::new).
#[derive(Clone, Copy, Debug)]
pub struct Simd128(());

impl Simd128 {
    /// The token: an engine without the vectors refuses the whole module.
    pub fn new() -> Option<Self> {
        Some(Self(()))
    }
}

// Kept apart: what is inlined together shares registers, of which a GEMM tile needs nearly all.
#[inline(never)]
fn enter<K: Kernel>(s: Simd128, k: K) -> K::Out {
    k.run(s)
}

impl Simd for Simd128 {
    type V = v128;
    const LANES: usize = 4;
    const NB: usize = 1;
    // 2 x 16 is 8 sums, 4 vectors of B, one of A and one product: of the 15 registers that engines have for it on x86-64.
    const MR: usize = 2;
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    #[inline(always)]
    fn vectorize<K: Kernel>(self, k: K) -> K::Out {
        enter(self, k)
    }
    #[inline(always)]
    fn load(self, b: &Block, j: usize) -> v128 {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES floats from j * LANES lie inside the block; the instruction takes any alignment.
        unsafe { v128_load(b.as_ptr().add(j * Self::LANES).cast()) }
    }
    #[inline(always)]
    fn widen(self, b: &HalfBlock, j: usize) -> v128 {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES halves from j * LANES lie inside the block; the instruction takes any alignment.
        let halves = u32x4_extend_low_u16x8(unsafe { v128_load64_zero(b.as_ptr().add(j * Self::LANES).cast()) });
        // As `scalar::widen`.
        let sign = u32x4_shl(v128_and(halves, u32x4_splat(0x8000)), 16);
        let rest = v128_and(halves, u32x4_splat(0x7fff));
        let moved = u32x4_shl(rest, 13);
        let finite = f32x4_mul(moved, u32x4_splat((127 + 112) << 23));
        let quiet = v128_and(u32x4_gt(rest, u32x4_splat(0x7c00)), u32x4_splat(0x7fc0_0000));
        let special = v128_or(v128_or(moved, u32x4_splat(0x7f80_0000)), quiet);
        v128_or(sign, v128_bitselect(special, finite, u32x4_ge(rest, u32x4_splat(0x7c00))))
    }
    #[inline(always)]
    fn store(self, v: v128, b: &mut Block, j: usize) {
        assert!(j < Self::PARTS);
        // SAFETY: j < PARTS, so LANES floats from j * LANES lie inside the block; the instruction takes any alignment.
        unsafe { v128_store(b.as_mut_ptr().add(j * Self::LANES).cast(), v) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> v128 {
        f32x4_splat(x)
    }
    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    fn sub(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    fn mul(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    #[inline(always)]
    fn div(self, a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }
    /// Rounded twice: the one exception.
    #[inline(always)]
    fn fma(self, a: v128, b: v128, c: v128) -> v128 {
        f32x4_add(f32x4_mul(a, b), c)
    }
    // `pmin(x, y)` is `if y < x { y } else { x }`.
    #[inline(always)]
    fn min(self, a: v128, b: v128) -> v128 {
        f32x4_pmin(b, a)
    }
    // `pmax(x, y)` is `if x < y { y } else { x }`.
    #[inline(always)]
    fn max(self, a: v128, b: v128) -> v128 {
        f32x4_pmax(b, a)
    }
    #[inline(always)]
    fn select_gt(self, a: v128, b: v128, x: v128, y: v128) -> v128 {
        v128_bitselect(x, y, f32x4_gt(a, b))
    }
    #[inline(always)]
    fn sqrt(self, a: v128) -> v128 {
        f32x4_sqrt(a)
    }
    #[inline(always)]
    fn round(self, a: v128) -> v128 {
        f32x4_nearest(a)
    }
    #[inline(always)]
    fn pow2(self, n: v128) -> v128 {
        i32x4_shl(i32x4_add(i32x4_trunc_sat_f32x4(n), i32x4_splat(127)), 23)
    }
    #[inline(always)]
    fn exponent(self, a: v128) -> v128 {
        let biased = v128_and(u32x4_shr(a, 23), u32x4_splat(0xff));
        f32x4_convert_i32x4(i32x4_sub(biased, i32x4_splat(127)))
    }
}
