//! Which instruction sets this CPU has, and the one branch that picks among them.

#[cfg(all(target_arch = "x86_64", feature = "avx2"))]
use crate::simd::Avx2;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
use crate::simd::Avx512;
use crate::simd::Kernel;
#[cfg(all(target_arch = "aarch64", feature = "neon"))]
use crate::simd::Neon;
#[cfg(feature = "scalar")]
use crate::simd::Scalar;
#[cfg_attr(not(feature = "scalar"), allow(unused_imports, reason = "a build may have no set at all"))]
use crate::simd::Simd;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", feature = "simd128"))]
use crate::simd::Simd128;

/// An instruction set that this CPU has, among those of the crate's features. Results are equal to the bit whichever is chosen;
/// only those of simd128 differ.
#[derive(Clone, Copy, Debug)]
pub enum Isa {
    /// Plain f32, everywhere.
    #[cfg(feature = "scalar")]
    Scalar(Scalar),
    /// AVX2 with FMA and F16C.
    #[cfg(all(target_arch = "x86_64", feature = "avx2"))]
    Avx2(Avx2),
    /// AVX-512 F, VL, BW, DQ.
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    Avx512(Avx512),
    /// AArch64 NEON.
    #[cfg(all(target_arch = "aarch64", feature = "neon"))]
    Neon(Neon),
    /// The vectors of WebAssembly; its results differ in the last places, since they have no fused multiply-add.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128", feature = "simd128"))]
    Simd128(Simd128),
}

impl Isa {
    /// Names that [`by_name`](Isa::by_name) knows, on any host.
    pub const NAMES: [&'static str; 5] = ["scalar", "avx2", "avx512", "neon", "simd128"];

    /// The widest set of this CPU. `None` if it has none of this build, which never happens where the feature `scalar` is one.
    pub fn widest() -> Option<Isa> {
        ["avx512", "avx2", "neon", "simd128", "scalar"].into_iter().find_map(Self::by_name)
    }

    /// The widest set of this CPU.
    #[cfg(feature = "scalar")]
    pub fn detect() -> Isa {
        Self::widest().unwrap_or(Isa::Scalar(Scalar))
    }

    /// The named set, if this CPU has it.
    pub fn by_name(name: &str) -> Option<Isa> {
        match name {
            #[cfg(feature = "scalar")]
            "scalar" => Some(Isa::Scalar(Scalar)),
            #[cfg(all(target_arch = "x86_64", feature = "avx2"))]
            "avx2" => Avx2::new().map(Isa::Avx2),
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            "avx512" => Avx512::new().map(Isa::Avx512),
            #[cfg(all(target_arch = "aarch64", feature = "neon"))]
            "neon" => Neon::new().map(Isa::Neon),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128", feature = "simd128"))]
            "simd128" => Simd128::new().map(Isa::Simd128),
            _ => None,
        }
    }

    /// Every set of this CPU, scalar first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Self::NAMES.into_iter().filter_map(Self::by_name)
    }

    /// The name of this set.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "scalar")]
            Isa::Scalar(_) => "scalar",
            #[cfg(all(target_arch = "x86_64", feature = "avx2"))]
            Isa::Avx2(_) => "avx2",
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Isa::Avx512(_) => "avx512",
            #[cfg(all(target_arch = "aarch64", feature = "neon"))]
            Isa::Neon(_) => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128", feature = "simd128"))]
            Isa::Simd128(_) => "simd128",
        }
    }

    /// Runs a kernel with this set.
    #[inline]
    #[cfg_attr(not(feature = "scalar"), allow(unused_variables, reason = "a build may have no set at all"))]
    pub fn run<K: Kernel>(self, k: K) -> K::Out {
        match self {
            #[cfg(feature = "scalar")]
            Isa::Scalar(s) => s.vectorize(k),
            #[cfg(all(target_arch = "x86_64", feature = "avx2"))]
            Isa::Avx2(s) => s.vectorize(k),
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            Isa::Avx512(s) => s.vectorize(k),
            #[cfg(all(target_arch = "aarch64", feature = "neon"))]
            Isa::Neon(s) => s.vectorize(k),
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128", feature = "simd128"))]
            Isa::Simd128(s) => s.vectorize(k),
        }
    }
}
