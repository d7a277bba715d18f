//! The control word of floats of 32-bit ARM: see [`FloatRules`](super::FloatRules).
#![expect(unsafe_code, reason = "reads and writes a register of the CPU, which no safe function does")]

use core::arch::asm;

pub(super) type Word = u32;
/// FPSCR: no traps, to the nearest, subnormal numbers and NaNs stay.
pub(super) const STANDARD: Word = 0;
pub(super) const OTHERS: Word = 1 << 24 | 3 << 22;
pub(super) const RULES: Word = 0x07ff_ff00;

pub(super) fn get() -> Word {
    let word;
    // SAFETY: a target of this ABI has the register.
    unsafe { asm!("vmrs {}, fpscr", out(reg) word, options(nomem, nostack, preserves_flags)) };
    word
}

pub(super) fn set(word: Word) {
    // SAFETY: as on aarch64; the flags in the word are those of comparisons that are over.
    unsafe { asm!("vmsr fpscr, {}", in(reg) word, options(nostack, preserves_flags)) };
}
