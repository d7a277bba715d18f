//! What tests and benchmarks of the kernels share: images with hostile padding, a pool of threads, the loop over instruction sets,
//! and one table of cases.

pub mod cases;
mod image;
pub mod layer;

pub use image::{Image, assert_same};

use sepal_kernels::Isa;
use sepal_kernels::ops::conv::Window;
use sepal_kernels::par::{Job, Parallel, Part};

/// A small generator (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Mostly in -2..2 with all bits of the mantissa in use, sometimes a zero of either sign.
    pub fn value(&mut self) -> f32 {
        match self.bits() {
            b if b.is_multiple_of(17) => 0.0,
            b if b.is_multiple_of(19) => -0.0,
            b => (b >> 40) as f32 / (1u64 << 22) as f32 - 2.0,
        }
    }

    /// So many [`value`](Rng::value)s.
    pub fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.value()).collect()
    }
}

/// So many parts, each on a thread of its own.
pub struct Threads(pub usize);

impl Parallel for Threads {
    fn parts(&self) -> usize {
        self.0
    }
    fn run(&self, parts: &mut [Part], job: &Job) {
        if self.0 == 1 {
            return parts.iter_mut().for_each(job);
        }
        std::thread::scope(|scope| {
            for part in parts {
                scope.spawn(move || job(part));
            }
        });
    }
}

/// Rows and columns of the output of a window over an input of `size`; 0 where it does not fit.
pub fn outputs(window: &Window, size: [usize; 2], pad_end: [usize; 2]) -> [usize; 2] {
    [0, 1].map(|d| {
        let covered = (window.kernel[d] - 1) * window.dilation[d] + 1;
        (size[d] + window.pad[d] + pad_end[d]).checked_sub(covered).map_or(0, |rest| rest / window.stride[d] + 1)
    })
}

/// Of so many inputs of the longest tests one is tried: all, if `SEPAL_ONE_OF` does not say otherwise, as it does for an emulator.
///
/// # Panics
/// If it says what is no number above 0.
pub fn one_of() -> usize {
    std::env::var("SEPAL_ONE_OF").map_or(1, |n| n.parse().ok().filter(|n| *n > 0).expect("SEPAL_ONE_OF is a number above 0"))
}

/// Calls `f` with every instruction set of this CPU.
pub fn each_isa(mut f: impl FnMut(Isa)) {
    for name in Isa::NAMES {
        match Isa::by_name(name) {
            Some(isa) => f(isa),
            None => println!("SKIPPED: this CPU has no {name}"),
        }
    }
}
