//! Which instruction sets this CPU has, and the one branch that picks among them.

#[cfg(target_arch = "aarch64")]
use crate::simd::Neon;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Kernel, Scalar, Simd};

/// An instruction set that this CPU has. Results are equal to the bit whichever is chosen.
#[derive(Clone, Copy, Debug)]
pub enum Isa {
    /// Plain f32, everywhere.
    Scalar(Scalar),
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// AVX-512 F, VL, BW, DQ.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    /// AArch64 NEON.
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

impl Isa {
    /// Names that [`by_name`](Isa::by_name) knows, on any host.
    pub const NAMES: [&'static str; 4] = ["scalar", "avx2", "avx512", "neon"];

    /// The widest set of this CPU.
    pub fn detect() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(s) = Avx512::new() {
                return Isa::Avx512(s);
            }
            if let Some(s) = Avx2::new() {
                return Isa::Avx2(s);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(s) = Neon::new() {
            return Isa::Neon(s);
        }
        Isa::Scalar(Scalar)
    }

    /// The named set, if this CPU has it.
    pub fn by_name(name: &str) -> Option<Isa> {
        match name {
            "scalar" => Some(Isa::Scalar(Scalar)),
            #[cfg(target_arch = "x86_64")]
            "avx2" => Avx2::new().map(Isa::Avx2),
            #[cfg(target_arch = "x86_64")]
            "avx512" => Avx512::new().map(Isa::Avx512),
            #[cfg(target_arch = "aarch64")]
            "neon" => Neon::new().map(Isa::Neon),
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
            Isa::Scalar(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "neon",
        }
    }

    /// Runs a kernel with this set.
    #[inline]
    pub fn run<K: Kernel>(self, k: K) -> K::Out {
        match self {
            Isa::Scalar(s) => s.vectorize(k),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(s) => s.vectorize(k),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(s) => s.vectorize(k),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(s) => s.vectorize(k),
        }
    }
}
