//! What the writer tells everybody: health, generations, the number of the last batch, measurements.

use crate::fresh::Fresh;
use crate::recent::Recent;
use ids::Owner;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Whether the store takes commits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Health {
    /// It was closed.
    Closed,
    /// It reads, and refuses commits until the reason is gone.
    ReadOnly {
        /// Why, for the operator.
        reason: String,
    },
    /// It reads and commits.
    Ready,
}

/// Measurements since the store was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Transactions committed.
    pub batches: u64,
    /// Calls in them, refused ones too.
    pub calls: u64,
    /// The most calls of one transaction.
    pub batch_calls_max: u64,
    /// Calls that waited when the last batch was taken.
    pub queued: u64,
    /// The longest that a transaction was open before its commit.
    pub held_max: Duration,
    /// The longest that a transaction took, its sync included.
    pub whole_max: Duration,
}

#[derive(Default)]
struct Inner {
    generations: HashMap<&'static str, u64>,
    trees: HashMap<Owner, u64>,
    stats: Stats,
}

/// Written by the writer, read by everybody; each lock is held for a few lines only.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// Documents read lately.
    pub(crate) recent: Recent,
    /// Leaves committed lately.
    pub(crate) fresh: Fresh,
    health: watch::Sender<Health>,
    batches: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let (health, batches) = (watch::Sender::new(Health::Ready), watch::Sender::new(0));
        Self { inner: Mutex::default(), recent: Recent::default(), fresh: Fresh::default(), health, batches }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be left half-done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_health(&self, health: Health) {
        self.health.send_if_modified(|now| {
            let changed = *now != health;
            *now = health;
            changed
        });
    }

    pub(crate) fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    pub(crate) fn batches(&self) -> watch::Receiver<u64> {
        self.batches.subscribe()
    }

    pub(crate) fn generation(&self, kinds: &[&str]) -> u64 {
        let inner = self.inner();
        kinds.iter().filter_map(|kind| inner.generations.get(*kind)).sum()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.inner().stats
    }

    pub(crate) fn count_queue(&self, queued: usize) {
        self.inner().stats.queued = u64::try_from(queued).unwrap_or(u64::MAX);
    }

    pub(crate) fn set_trees(&self, trees: &HashMap<Owner, u64>) {
        self.fresh.clear();
        self.inner().trees.clone_from(trees);
    }

    pub(crate) fn grow_trees(&self, trees: &HashMap<Owner, u64>) {
        self.inner().trees.extend(trees.iter().map(|(tree, leaves)| (*tree, *leaves)));
    }

    /// Committed leaves of a tree.
    pub(crate) fn leaves(&self, tree: Owner) -> u64 {
        self.inner().trees.get(&tree).copied().unwrap_or(0)
    }

    pub(crate) fn committed(&self, touched: &HashSet<&'static str>, calls: usize, held: Duration, whole: Duration) {
        let calls = u64::try_from(calls).unwrap_or(u64::MAX);
        {
            let mut inner = self.inner();
            for kind in touched {
                *inner.generations.entry(kind).or_default() += 1;
            }
            let stats = &mut inner.stats;
            stats.batches += 1;
            stats.calls += calls;
            stats.batch_calls_max = stats.batch_calls_max.max(calls);
            stats.held_max = stats.held_max.max(held);
            stats.whole_max = stats.whole_max.max(whole);
        }
        self.batches.send_modify(|batch| *batch += 1);
    }
}
