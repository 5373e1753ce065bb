//! A clock that tests move by hand. It ticks a microsecond with every look, as a real one would, so that two things that
//! happen one after the other never have the same time.

use ids::{Clock, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A clock that goes only when it is looked at or moved.
#[derive(Debug)]
pub struct HandClock {
    at: AtomicI64,
    /// How far it goes with each look: 1 microsecond, or not at all.
    tick: AtomicI64,
}

impl HandClock {
    /// A clock that stands at 2026-09-21T14:13:20Z.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { at: AtomicI64::new(1_790_000_000_000_000), tick: AtomicI64::new(1) })
    }

    /// Move on.
    pub fn advance(&self, by: Duration) {
        self.at.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX / 2), Ordering::SeqCst);
    }

    /// Stand still, so that everything happens in the same microsecond; or go on.
    pub fn stand(&self, still: bool) {
        self.tick.store(i64::from(!still), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.at.fetch_add(self.tick.load(Ordering::SeqCst), Ordering::SeqCst))
    }
}
