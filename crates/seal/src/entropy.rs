//! Where random bytes come from: the operating system, or a seed in tests. Product code must never hold a [`SeededEntropy`].

use ids::Entropy;
use sha2::{Digest as _, Sha256};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// How many bytes are taken from the operating system at once: a call of the platform needs a few dozen, three times.
const TAKEN: usize = 512;

/// Bytes that wait to be given out, each once.
struct Waiting {
    bytes: Zeroizing<[u8; TAKEN]>,
    given: usize,
}

thread_local! {
    static WAITING: RefCell<Waiting> = RefCell::new(Waiting { bytes: Zeroizing::new([0; TAKEN]), given: TAKEN });
}

/// The operating system's generator (`getrandom(2)` on Linux); small requests are served from a block that each thread
/// takes ahead, and a byte is wiped where it lay once it is given.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl SystemEntropy {
    #[expect(clippy::panic, reason = "without randomness no key or token may be made, and no caller could go on")]
    fn take(buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            panic!("the operating system gives no random bytes: {error}");
        }
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        if buffer.len() > TAKEN / 4 {
            return Self::take(buffer);
        }
        WAITING.with_borrow_mut(|waiting| {
            if waiting.given + buffer.len() > TAKEN {
                Self::take(waiting.bytes.as_mut_slice());
                waiting.given = 0;
            }
            for (byte, taken) in buffer.iter_mut().zip(waiting.bytes.iter_mut().skip(waiting.given)) {
                *byte = std::mem::take(taken);
            }
            waiting.given += buffer.len();
        });
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

    #[test]
    fn no_byte_is_given_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for size in (8..=TAKEN + 8).step_by(8) {
            let mut bytes = vec![0; size];
            SystemEntropy.fill(&mut bytes);
            for eight in bytes.chunks(8) {
                assert!(seen.insert(eight.to_vec()), "eight bytes came twice, or were never filled");
            }
        }
    }
}
