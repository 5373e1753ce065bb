//! Who made whom, also where the maker has ended: what the kernel forgets when it gives an orphan another parent. Fed by
//! telemetry; bounded, because what has ended is forgotten in turn.

use crate::identity::ProcessKey;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Generations that are followed at most.
const GENERATIONS_MAX: usize = 256;

/// Makers by process.
#[derive(Debug, Default)]
pub struct Lineage(Mutex<HashMap<ProcessKey, ProcessKey>>);

impl Lineage {
    fn makers(&self) -> MutexGuard<'_, HashMap<ProcessKey, ProcessKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remember who made a process.
    pub fn made(&self, child: ProcessKey, maker: ProcessKey) {
        if child != maker {
            self.makers().insert(child, maker);
        }
    }

    pub(crate) fn forget(&self, process: ProcessKey) {
        self.makers().remove(&process);
    }

    /// Who made a process.
    #[must_use]
    pub fn maker(&self, process: ProcessKey) -> Option<ProcessKey> {
        self.makers().get(&process).copied()
    }

    /// Whether a process was made by another, or by what that made.
    #[must_use]
    pub fn descends(&self, process: ProcessKey, from: ProcessKey) -> bool {
        let makers = self.makers();
        let mut line = std::iter::successors(Some(process), |process| makers.get(process).copied());
        line.by_ref().skip(1).take(GENERATIONS_MAX).any(|maker| maker == from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_still_descends() {
        let key = |pid| ProcessKey { pid, start_ticks: 1 };
        let lineage = Lineage::default();
        lineage.made(key(2), key(1));
        lineage.made(key(3), key(2));
        lineage.made(key(4), key(4));
        assert!(lineage.descends(key(3), key(1)) && lineage.descends(key(3), key(2)));
        assert!(!lineage.descends(key(1), key(3)) && !lineage.descends(key(4), key(4)));
        let reused = ProcessKey { pid: 1, start_ticks: 9 };
        assert!(!lineage.descends(key(3), reused));
        lineage.forget(key(2));
        assert!(!lineage.descends(key(3), key(1)));
    }
}
