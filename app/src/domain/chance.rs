//! Texts that a machine writes for tests: the same in every run.

/// Xorshift64 (Marsaglia: Xorshift RNGs, 2003) with a fixed seed.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn seeded() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }

    /// 0 or more, and less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    /// One of these.
    pub fn of<'a>(&mut self, parts: &[&'a str]) -> &'a str {
        parts[self.below(parts.len())]
    }
}
