//! Chance that can be had again: numbers from a seed, and the test's own variables that say which.

/// A generator of numbers that can be had again: a multiplicative congruential one, of Lehmer.
pub struct Chance(u64);

impl Chance {
    /// The numbers of one round of a seed.
    pub fn of(seed: u64, round: u64) -> Chance {
        Chance((seed + round * 7919) % 0x7fff_fffe + 1)
    }

    /// The next, below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(48_271) % 0x7fff_ffff;
        self.0 % limit.max(1)
    }

    /// One of these.
    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).expect("small")]
    }
}

/// The number in one of the test's variables.
pub fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}
