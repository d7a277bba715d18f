//! The one SIMD interface that every kernel is written over.
//!
//! A kernel is a [`Kernel`]: a struct of arguments with a generic `run`. [`Isa::run`](crate::Isa::run) crosses the
//! `#[target_feature]` boundary once per kernel call; everything inside must be `#[inline(always)]`, or its
//! intrinsics become function calls (measured: 57 times slower).
//!
//! Lane semantics, the same on every ISA so that results are equal to the bit:
//! * `fma(a, b, c)` is `a * b + c` rounded once; but twice in the vectors of WebAssembly, the one exception.
//! * `min(a, b)` is `if a < b { a } else { b }` and `max(a, b)` is `if a > b { a } else { b }`, per lane: when either
//!   is NaN, or both are zero, the *second* operand comes back.
//! * `select_gt(a, b, x, y)` is `if a > b { x } else { y }`.
//! * `round` rounds to nearest, ties to even, and keeps the sign of zeros; its argument must be below 2^22 in magnitude.
//! * `pow2(n)` is 2^n for integral `n` in -126..=127.
//! * `exponent(a)` is e with 2^e <= |a| < 2^(e + 1) for a normal number, -127 for zeros and denormals, 128 for infinity and NaN.
//! * `widen` is exact. A NaN keeps its sign and payload and becomes quiet, as the instructions of x86 and ARM have it.

use sepal_format::layout::BLOCK;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(all(target_arch = "arm", target_abi = "eabihf"))]
mod arm;
mod rules;
#[cfg(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse")))]
pub mod x86;
pub use rules::FloatRules;
mod scalar;
pub use scalar::Scalar;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_half;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm::Simd128;

/// Sixteen consecutive channels: the unit of activations and packed weights on every ISA.
pub type Block = [f32; BLOCK];
/// As many IEEE halves, by their bits.
pub type HalfBlock = [u16; BLOCK];

/// Blocks ahead of a stream of weights that are each used once: 4 KB, a page, which is as far as CPUs look by themselves.
const NEAR: usize = 64;

/// Work that is generic over the instruction set. `run` must be `#[inline(always)]`.
pub trait Kernel {
    /// What `run` returns.
    type Out;
    /// Does the work with the vectors of `S`.
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// One instruction set. A value of the type proves that this CPU has it.
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector of [`LANES`](Simd::LANES) f32.
    type V: Copy;
    /// Lanes of a vector; divides [`BLOCK`].
    const LANES: usize;
    /// Vectors in a block: `BLOCK / LANES`.
    const PARTS: usize = BLOCK / Self::LANES;
    /// Blocks (weight panels) side by side in a pointwise tile.
    const NB: usize;
    /// Largest number of pixels (rows of A) in a pointwise tile.
    const MR: usize;

    /// The same set with vectors of half the width and as many registers, where there is such a thing; otherwise the set itself.
    type Half: Simd;
    /// Whether this is the half of another set.
    const IS_HALF: bool = false;
    /// Goes over to [`Half`](Simd::Half).
    fn half(self) -> Self::Half;

    /// Runs `k` inside this set's `#[target_feature]` boundary.
    fn vectorize<K: Kernel>(self, k: K) -> K::Out;

    /// All lanes equal to `x`.
    fn splat(self, x: f32) -> Self::V;
    /// Lanes `j * LANES ..` of a block, `j < PARTS`.
    fn load(self, b: &Block, j: usize) -> Self::V;
    /// The same lanes of a block of halves as f32, exactly.
    fn widen(self, b: &HalfBlock, j: usize) -> Self::V;
    /// Writes lanes `j * LANES ..` of a block, `j < PARTS`.
    fn store(self, v: Self::V, b: &mut Block, j: usize);
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `if a < b { a } else { b }`.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a > b { a } else { b }`.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `if a > b { x } else { y }`.
    fn select_gt(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// `sqrt(a)`, correctly rounded.
    fn sqrt(self, a: Self::V) -> Self::V;
    /// Nearest integral value, ties to even; |a| < 2^22.
    fn round(self, a: Self::V) -> Self::V;
    /// 2^n for integral n in -126..=127.
    fn pow2(self, n: Self::V) -> Self::V;
    /// The exponent as it is stored, less 127.
    fn exponent(self, a: Self::V) -> Self::V;

    /// Asks for the block `ahead` blocks after `near` to be brought to L2, wherever that may be.
    #[inline(always)]
    fn prefetch(self, _near: &Block, _ahead: usize) {}

    /// The inner loop of the GEMM: `acc[i][j] += a[i][k] * b[.., k]` for k in order, where vector j lies in panel `j / PARTS`.
    /// All slices are `len` long; the panels that are needed next lie `ahead` blocks after these.
    #[inline(always)]
    fn multiply<const MR: usize, const NB: usize, const NV: usize>(
        self,
        len: usize,
        ahead: usize,
        a: [&[f32]; MR],
        b: [&[Block]; NB],
        acc: &mut [[Self::V; NV]; MR],
    ) {
        let a: [&[f32]; MR] = core::array::from_fn(|i| &a[i][..len]);
        let b: [&[Block]; NB] = core::array::from_fn(|j| &b[j][..len]);
        let mut sums = *acc;
        for k in 0..len {
            let w: [Self::V; NV] = core::array::from_fn(|j| self.load(&b[j / Self::PARTS][k], j % Self::PARTS));
            for panel in b {
                // One row of A uses its panels once: it waits for these, not for the next ones.
                self.prefetch(&panel[k], if MR == 1 { NEAR } else { ahead });
            }
            for i in 0..MR {
                let x = self.splat(a[i][k]);
                for j in 0..NV {
                    sums[i][j] = self.fma(x, w[j], sums[i][j]);
                }
            }
        }
        *acc = sums;
    }

    /// [`multiply`](Simd::multiply) by terms that lie anywhere: `acc[i][j] += a[i][taps[k]] * b[.., k]` for k in order. All taps are
    /// less than `span`, the length of each row of A; the panels are as long as `taps`.
    #[inline(always)]
    fn multiply_taps<const MR: usize, const NB: usize, const NV: usize>(
        self,
        taps: &[u32],
        span: usize,
        a: [&[f32]; MR],
        b: [&[Block]; NB],
        acc: &mut [[Self::V; NV]; MR],
    ) {
        let a: [&[f32]; MR] = core::array::from_fn(|i| &a[i][..span]);
        let b: [&[Block]; NB] = core::array::from_fn(|j| &b[j][..taps.len()]);
        let mut sums = *acc;
        for (k, &tap) in taps.iter().enumerate() {
            let tap = tap as usize;
            assert!(tap < span, "a tap lies outside of its window");
            let w: [Self::V; NV] = core::array::from_fn(|j| self.load(&b[j / Self::PARTS][k], j % Self::PARTS));
            for i in 0..MR {
                let x = self.splat(a[i][tap]);
                for j in 0..NV {
                    sums[i][j] = self.fma(x, w[j], sums[i][j]);
                }
            }
        }
        *acc = sums;
    }
}
