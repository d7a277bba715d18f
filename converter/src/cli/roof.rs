//! What this host can do at best: the limits that a profile compares a step's time with.

use sepal_kernels::Isa;
use sepal_kernels::simd::{Block, Kernel, Simd};
use std::hint::black_box;
use std::time::Instant;

/// Independent chains of FMA: enough to hide a latency of 5 cycles on two units, few enough for 16 registers.
const CHAINS: usize = 12;
/// Working sets whose bandwidth is measured, in bytes: from the first level of cache to memory.
const SETS: [usize; 7] = [16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];

/// Measured limits of one core.
#[derive(Clone, Debug)]
pub struct Roof {
    /// Operations a nanosecond; an FMA of one lane is two.
    pub gflops: f64,
    /// Bytes of a working set, and how many of them are read a nanosecond.
    pub bandwidth: [(usize, f64); SETS.len()],
}

impl Roof {
    /// Measures, for a fifth of a second.
    pub fn measure(isa: Isa) -> Roof {
        let rounds = 100_000;
        let flops = (2 * CHAINS * rounds) as f64;
        let gflops = best(8, || isa.run(Fma { rounds }) as f64 * flops);
        let memory = vec![[1.0; 16]; SETS[SETS.len() - 1] / 64];
        let bandwidth = SETS.map(|bytes| {
            let blocks = &memory[..bytes / 64];
            let passes = (SETS[4] / bytes).max(1);
            (bytes, best(3, || isa.run(Read { blocks, passes }) as f64 * (bytes * passes) as f64))
        });
        Roof { gflops, bandwidth }
    }

    /// Milliseconds that work of so many multiply-accumulates over so many bytes takes at least on `cores` cores.
    pub fn limit_ms(&self, macs: u64, bytes: u64, cores: usize) -> f64 {
        let compute = 2.0 * macs as f64 / self.gflops;
        let level = self.bandwidth.iter().find(|(set, _)| *set as u64 >= bytes).unwrap_or(&self.bandwidth[SETS.len() - 1]);
        compute.max(bytes as f64 / level.1) / cores as f64 / 1e6
    }
}

/// The largest of several rates: `work` gives how much it did, in units that count per nanosecond.
fn best(times: usize, mut work: impl FnMut() -> f64) -> f64 {
    let rates = (0..times).map(|_| {
        let start = Instant::now();
        let done = work();
        done / start.elapsed().as_nanos().max(1) as f64
    });
    rates.fold(0.0, f64::max)
}

/// Multiplications that nothing limits but the units themselves. Gives the lanes of a vector.
struct Fma {
    rounds: usize,
}

impl Kernel for Fma {
    type Out = usize;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let (half, one) = (s.splat(black_box(0.5)), s.splat(black_box(1.0)));
        let mut chains = [one; CHAINS];
        for _ in 0..self.rounds {
            for chain in &mut chains {
                *chain = s.fma(*chain, half, one);
            }
        }
        keep(s, &chains);
        S::LANES
    }
}

/// Reading memory in order, several times. Gives 1.
struct Read<'a> {
    blocks: &'a [Block],
    passes: usize,
}

impl Kernel for Read<'_> {
    type Out = usize;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let mut largest = [s.splat(0.0); 8];
        for _ in 0..self.passes {
            for eight in black_box(self.blocks).as_chunks::<8>().0 {
                for (l, block) in largest.iter_mut().zip(eight) {
                    for j in 0..S::PARTS {
                        *l = s.max(s.load(block, j), *l);
                    }
                }
            }
        }
        keep(s, &largest);
        1
    }
}

/// Uses values, so that the compiler may not leave their computation out.
#[inline(always)]
fn keep<S: Simd>(s: S, values: &[S::V]) {
    for &v in values {
        let mut block = [0.0; 16];
        s.store(v, &mut block, 0);
        black_box(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_binds_is_the_limit() {
        let roof = Roof { gflops: 100.0, bandwidth: SETS.map(|bytes| (bytes, if bytes > 1 << 20 { 10.0 } else { 50.0 })) };
        assert_eq!(roof.limit_ms(50_000_000, 1000, 1), 1.0);
        assert_eq!(roof.limit_ms(50_000_000, 1000, 2), 0.5);
        assert_eq!(roof.limit_ms(0, 1_000_000, 1), 0.02);
        assert_eq!(roof.limit_ms(1, 1 << 30, 1), (1u64 << 30) as f64 / 10.0 / 1e6);
    }

    #[test]
    fn every_set_has_limits() {
        for isa in Isa::available() {
            let roof = Roof::measure(isa);
            assert!(roof.gflops > 0.0 && roof.bandwidth.iter().all(|b| b.1 > 0.0), "{isa:?} {roof:?}");
        }
    }
}
