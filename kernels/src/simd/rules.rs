//! The rules by which the CPU computes with floats. A program may have set others than IEEE 754's own for its threads: those that are
//! linked with `-ffast-math` often flush subnormal numbers to zero, and the same network would give other bits there.
#![cfg_attr(
    any(
        target_arch = "x86_64",
        all(target_arch = "x86", target_feature = "sse"),
        target_arch = "aarch64",
        all(target_arch = "arm", target_abi = "eabihf")
    ),
    expect(unsafe_code, reason = "reads and writes the CPU's control word of floats, which no safe function does")
)]

use core::marker::PhantomData;

#[cfg(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse")))]
mod word {
    use core::arch::asm;

    pub type Word = u32;
    /// MXCSR: no traps, to the nearest, subnormal numbers stay.
    pub const STANDARD: Word = 0x1f80;
    pub const OTHERS: Word = STANDARD | 0xe040;
    /// The bits that are rules; the others tell what has happened.
    pub const RULES: Word = 0xffc0;

    pub fn get() -> Word {
        let mut word = 0;
        // SAFETY: the target has SSE, and the instruction writes four bytes to a variable of as many.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
        word
    }

    pub fn set(word: Word) {
        // SAFETY: `word` is one that was read, or one of those above: no reserved bit is set. Rust's own rules hold while it is STANDARD; only
        // what the caller had before is put back.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "aarch64")]
mod word {
    use core::arch::asm;

    pub type Word = u64;
    /// FPCR: no traps, to the nearest, subnormal numbers and NaNs stay.
    pub const STANDARD: Word = 0;
    pub const OTHERS: Word = 1 << 24 | 3 << 22;
    pub const RULES: Word = !0;

    pub fn get() -> Word {
        let word;
        // SAFETY: every program may read FPCR.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    pub fn set(word: Word) {
        // SAFETY: `word` is one that was read, or one of those above. Rust's own rules hold while it is STANDARD; only what the caller had before
        // is put back. Memory counts as written, so that nothing is computed on the other side.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nostack, preserves_flags)) };
    }
}

#[cfg(all(target_arch = "arm", target_abi = "eabihf"))]
mod word {
    use core::arch::asm;

    pub type Word = u32;
    /// FPSCR: no traps, to the nearest, subnormal numbers and NaNs stay.
    pub const STANDARD: Word = 0;
    pub const OTHERS: Word = 1 << 24 | 3 << 22;
    pub const RULES: Word = 0x07ff_ff00;

    pub fn get() -> Word {
        let word;
        // SAFETY: a target of this ABI has the register.
        unsafe { asm!("vmrs {}, fpscr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    pub fn set(word: Word) {
        // SAFETY: as on aarch64; the flags in the word are those of comparisons that are over.
        unsafe { asm!("vmsr fpscr, {}", in(reg) word, options(nostack, preserves_flags)) };
    }
}

/// Where there are no other rules, or they cannot be asked for.
#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "x86", target_feature = "sse"),
    target_arch = "aarch64",
    all(target_arch = "arm", target_abi = "eabihf")
)))]
mod word {
    pub type Word = u32;
    pub const STANDARD: Word = 0;
    pub const OTHERS: Word = 0;
    pub const RULES: Word = 0;

    pub fn get() -> Word {
        0
    }

    pub fn set(_: Word) {}
}

/// The rules of this thread while it lives; then what was before holds again.
#[derive(Debug)]
pub struct FloatRules {
    /// None where nothing was to be changed.
    before: Option<word::Word>,
    /// It is about this thread.
    _thread: PhantomData<*const ()>,
}

impl FloatRules {
    /// IEEE 754's default: to the nearest, with subnormal numbers, without traps. Takes some nanoseconds where that holds already.
    pub fn standard() -> FloatRules {
        Self::of(word::STANDARD)
    }

    /// Those of a program that does not care: towards zero, which subnormal numbers become. For tests of [`standard`](Self::standard).
    #[doc(hidden)]
    pub fn others() -> FloatRules {
        Self::of(word::OTHERS)
    }

    fn of(rules: word::Word) -> FloatRules {
        let now = word::get();
        let before = ((now ^ rules) & word::RULES != 0).then_some(now);
        if before.is_some() {
            word::set(rules);
        }
        FloatRules { before, _thread: PhantomData }
    }
}

impl Drop for FloatRules {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            word::set(before);
        }
    }
}
