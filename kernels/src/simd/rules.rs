//! The rules by which the CPU computes with floats. A program may have set others than IEEE 754's own for its threads: those that are
//! linked with `-ffast-math` often flush subnormal numbers to zero, and the same network would give other bits there.

#[cfg(target_arch = "aarch64")]
use super::aarch64 as word;
#[cfg(all(target_arch = "arm", target_abi = "eabihf"))]
use super::arm as word;
#[cfg(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse")))]
use super::x86 as word;
use core::marker::PhantomData;

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
