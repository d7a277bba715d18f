//! What an x86 CPU has, asked without the standard library, and its control word of floats: see [`FloatRules`](super::FloatRules).
#![expect(unsafe_code, reason = "reads and writes registers of the CPU, which no safe function does")]

use core::arch::asm;

pub(super) type Word = u32;
/// MXCSR: no traps, to the nearest, subnormal numbers stay.
pub(super) const STANDARD: Word = 0x1f80;
pub(super) const OTHERS: Word = STANDARD | 0xe040;
/// The bits that are rules; the others tell what has happened.
pub(super) const RULES: Word = 0xffc0;

pub(super) fn get() -> Word {
    let mut word = 0;
    // SAFETY: the target has SSE, and the instruction writes four bytes to a variable of as many.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
    word
}

pub(super) fn set(word: Word) {
    // SAFETY: `word` is one that was read, or one of those above: no reserved bit is set. Rust's own rules hold while it is STANDARD; only
    // what the caller had before is put back.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags)) };
}

#[cfg(target_arch = "x86_64")]
pub use cpuid::{avx2, avx512};

#[cfg(target_arch = "x86_64")]
mod cpuid {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Whether all `bits` of a word are set.
    const fn all(word: u32, bits: &[u32]) -> bool {
        let mut i = 0;
        while i < bits.len() {
            if word >> bits[i] & 1 == 0 {
                return false;
            }
            i += 1;
        }
        true
    }

    /// The words of leaf 1 (ECX) and leaf 7 (EBX), and the registers that are saved (XCR0); zeros where there are none.
    fn words() -> [u32; 3] {
        if __cpuid(0).eax < 7 {
            return [0; 3];
        }
        let first = __cpuid(1).ecx;
        // XSAVE, and that the system uses it.
        if !all(first, &[26, 27]) {
            return [0; 3];
        }
        // SAFETY: the CPU has XSAVE and the system has turned it on.
        let saved = unsafe { _xgetbv(0) };
        [first, __cpuid_count(7, 0).ebx, saved as u32]
    }

    /// avx2, fma, f16c.
    pub fn avx2() -> bool {
        let [first, seventh, saved] = words();
        all(first, &[12, 28, 29]) && all(seventh, &[5]) && all(saved, &[1, 2])
    }

    /// avx512f, avx512vl, avx512bw, avx512dq, and what [`avx2`] asks for.
    pub fn avx512() -> bool {
        let [_, seventh, saved] = words();
        avx2() && all(seventh, &[16, 17, 30, 31]) && all(saved, &[5, 6, 7])
    }
}
