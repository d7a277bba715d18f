//! Where the mutations of one seed come from.

/// xorshift.
pub struct Random(u64);

impl Random {
    /// A sequence for each seed.
    pub fn new(seed: u32) -> Random {
        Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(seed) << 17 | 1)
    }

    /// Any number less than `n`; 0 if there is none.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    /// A number that programs stumble over, or one near `old`, or a small one.
    pub fn number(&mut self, old: u64) -> u64 {
        match self.below(12) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => 1 << self.below(64),
            4 => (1u64 << self.below(64)) - 1,
            5 => old.wrapping_add(1),
            6 => old.wrapping_sub(1),
            7 => old.wrapping_mul(2),
            8 => old / 2,
            9 => i32::MAX as u64,
            _ => self.below(64) as u64,
        }
    }
}
