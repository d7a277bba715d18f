//! What an x86-64 CPU has and its operating system saves, asked without the standard library.
#![expect(unsafe_code, reason = "reads which registers the system saves, after the CPU said that this can be read")]

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
