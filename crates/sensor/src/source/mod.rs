//! Where observations come from. A source runs on a thread of its own until it is told to stop, and counts what it
//! could not take: nothing is lost in silence.

mod connector;
mod decode;
mod ebpf;
mod files;

pub use connector::ProcConnector;
pub(crate) use decode::texts;
pub use ebpf::Ebpf;
pub use files::{FileWatch, WatchList};

use crate::observation::Observation;
use ids::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender};
use thiserror::Error;

/// How a source sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Programs in the kernel.
    Ebpf,
    /// Marks on folders.
    Fanotify,
    /// Injected, by a test.
    Injected,
    /// The kernel's process messages, with `/proc` for the rest; short-lived processes lose their details.
    ProcConnector,
}

/// Why a source cannot see.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceFault {
    /// The kernel refused.
    #[error("{step} is refused: {reason}; {hint}")]
    Refused {
        /// What was asked.
        step: &'static str,
        /// The kernel's or the loader's words.
        reason: String,
        /// What would be right.
        hint: &'static str,
    },
}

impl SourceFault {
    pub(crate) fn new(step: &'static str, reason: impl std::fmt::Display, hint: &'static str) -> Self {
        Self::Refused { step, reason: reason.to_string(), hint }
    }
}

/// A place where observations come from.
pub trait Source: Send {
    /// How it sees.
    fn mode(&self) -> Mode;
    /// See until told to stop; [`Outlet::ready`] once it sees. Blocks the thread.
    ///
    /// # Errors
    /// [`SourceFault`] where it cannot see, or not any more.
    fn run(self: Box<Self>, outlet: &Outlet) -> Result<(), SourceFault>;
}

/// What a source reports about itself.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) seen: AtomicU64,
    pub(crate) lost: AtomicU64,
}

/// Where a source hands over what it sees. A full queue makes it wait; what the kernel then has no room for is lost
/// there, in one place, and counted.
pub struct Outlet {
    pub(crate) queue: SyncSender<Observation>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) ready: Sender<()>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Outlet {
    /// Whether to stop.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The source sees from here on.
    pub fn ready(&self) {
        // Nobody waits any more where the start was given up; then the stop follows.
        let _ = self.ready.send(());
    }

    /// Hand over; waits while the queue is full.
    pub fn send(&self, observation: Observation) {
        self.meter.seen.fetch_add(1, Ordering::Relaxed);
        if self.queue.send(observation).is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Count what was lost since the last call.
    pub fn lost(&self, count: u64) {
        self.meter.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

/// Turns the kernel's time since boot into the time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BootClock {
    boot_micros: i64,
}

impl BootClock {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let up_micros = up.tv_sec.saturating_mul(1_000_000).saturating_add(up.tv_nsec / 1000);
        Self { boot_micros: clock.now().as_micros().saturating_sub(up_micros) }
    }

    pub(crate) fn at(self, boot_ns: u64) -> Timestamp {
        let micros = i64::try_from(boot_ns / 1000).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.boot_micros.saturating_add(micros))
    }
}
