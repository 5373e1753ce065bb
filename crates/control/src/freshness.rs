//! What is still fresh: counters that grow when something that rights are made of has changed. A cached identity and a
//! decision each carry the sum of the counters that they depend on; another sum means that they are stale. Counters
//! only grow, so the sum is equal only if every one of them is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// Marks past this number are dropped all at once, and everything counts as stale.
const MARKS_MAX: usize = 100_000;

/// Counters of change: one for everything, and one for each principal and tenant.
#[derive(Default)]
pub(crate) struct Freshness {
    /// Every change, of whatever: tells whether anything happened between two moments.
    changes: AtomicU64,
    everything: AtomicU64,
    marks: RwLock<HashMap<String, u64>>,
}

impl Freshness {
    /// How many changes there were.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The sum of the counters of these keys.
    pub(crate) fn stamp<'k>(&self, keys: impl IntoIterator<Item = &'k str>) -> u64 {
        let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner);
        let sum: u64 = keys.into_iter().filter_map(|key| marks.get(key)).sum();
        self.everything.load(Ordering::Acquire).wrapping_add(sum)
    }

    /// Something about this principal or tenant has changed.
    pub(crate) fn touch(&self, key: &str) {
        let mut marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= MARKS_MAX {
            // The sums must not fall back to an earlier value: everything moves past all of them.
            let most: u64 = marks.values().sum();
            marks.clear();
            self.everything.fetch_add(most.wrapping_add(1), Ordering::AcqRel);
        }
        *marks.entry(key.to_owned()).or_default() += 1;
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Everybody's rights have changed.
    pub(crate) fn touch_everything(&self) {
        self.everything.fetch_add(1, Ordering::AcqRel);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_depends_on_a_change_is_stale() {
        let freshness = Freshness::default();
        let (dana, acme) = (freshness.stamp(["dana", "acme"]), freshness.stamp(["acme"]));
        freshness.touch("dana");
        assert_ne!(freshness.stamp(["dana", "acme"]), dana);
        assert_eq!(freshness.stamp(["acme"]), acme);
        freshness.touch_everything();
        assert_ne!(freshness.stamp(["acme"]), acme);
    }
}
