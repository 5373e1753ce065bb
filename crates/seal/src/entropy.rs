//! Where random bytes come from: the operating system, or a seed in tests. Product code must never hold a [`SeededEntropy`].

use ids::Entropy;
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};

/// The operating system's generator (`getrandom(2)` on Linux).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::panic, reason = "without randomness no key or token may be made, and no caller could go on")]
    fn fill(&self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            panic!("the operating system gives no random bytes: {error}");
        }
    }
}

/// A repeatable stream for tests and the simulation: SHA-256 over seed and counter. Anyone who knows the seed knows it all.
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    counter: AtomicU64,
}

impl SeededEntropy {
    /// The stream of this seed, from its start.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed, counter: AtomicU64::new(0) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let count = self.counter.fetch_add(1, Ordering::Relaxed);
            let mut hash = Sha256::new();
            hash.update(self.seed.to_be_bytes());
            hash.update(count.to_be_bytes());
            let block: [u8; 32] = hash.finalize().into();
            for (byte, random) in chunk.iter_mut().zip(block) {
                *byte = random;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        let (mut left, mut right, mut other) = ([0; 40], [0; 40], [0; 40]);
        SeededEntropy::new(7).fill(&mut left);
        SeededEntropy::new(7).fill(&mut right);
        SeededEntropy::new(8).fill(&mut other);
        assert_eq!(left, right);
        assert_ne!(left, other);
        SystemEntropy.fill(&mut left);
        SystemEntropy.fill(&mut right);
        assert_ne!(left, right);
    }
}
