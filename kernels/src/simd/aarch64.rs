//! The control word of floats of aarch64: see [`FloatRules`](super::FloatRules).
#![expect(unsafe_code, reason = "reads and writes a register of the CPU, which no safe function does")]

use core::arch::asm;

pub(super) type Word = u64;
/// FPCR: no traps, to the nearest, subnormal numbers and NaNs stay.
pub(super) const STANDARD: Word = 0;
pub(super) const OTHERS: Word = 1 << 24 | 3 << 22;
pub(super) const RULES: Word = !0;

pub(super) fn get() -> Word {
    let word;
    // SAFETY: every program may read FPCR.
    unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
    word
}

pub(super) fn set(word: Word) {
    // SAFETY: `word` is one that was read, or one of those above. Rust's own rules hold while it is STANDARD; only what the caller had before
    // is put back. Memory counts as written, so that nothing is computed on the other side.
    unsafe { asm!("msr fpcr, {}", in(reg) word, options(nostack, preserves_flags)) };
}
