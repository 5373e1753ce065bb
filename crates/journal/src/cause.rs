//! The crate's errors: opening, appending, reading. All can be cloned, since one failure answers many appenders.

use std::io;
use thiserror::Error;

/// A failed file operation, in a form that can be told to many.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error("{step} failed: {text}")]
pub struct Cause {
    /// What was being done, for example `sync of segment 4`.
    pub step: String,
    /// The kind of failure.
    pub kind: io::ErrorKind,
    text: String,
}

impl Cause {
    pub(crate) fn new(step: impl Into<String>, error: &io::Error) -> Self {
        Self { step: step.into(), kind: error.kind(), text: error.to_string() }
    }

    /// Whether the disk was full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Attaches the step to an I/O failure.
pub(crate) trait Step<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Cause>;
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, step: impl FnOnce() -> String) -> Result<T, Cause> {
        self.map_err(|error| Cause::new(step(), &error))
    }
}

/// Why an entry was not acknowledged.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The journal was closed, or its writer ended.
    #[error("the journal is closed")]
    Closed,
    /// Too much waits for the writer already; nothing was queued.
    #[error("{queued_bytes} bytes wait for the disk already; send again later")]
    Full {
        /// Payload bytes that wait.
        queued_bytes: usize,
    },
    /// The kind is one of the log's own.
    #[error("kind {0} is kept for the log; use 0 to 239")]
    Kind(u8),
    /// Less free disk space than the reserve; nothing was written, and the next append may pass.
    #[error("{free_bytes} bytes of disk are free and {reserve_bytes} are kept in reserve; make room")]
    NoSpace {
        /// Free bytes on the file system.
        free_bytes: u64,
        /// The reserve asked for at open.
        reserve_bytes: u64,
    },
    /// A write or sync failed. Whether the entry is on disk is unknown; nothing is acknowledged until
    /// [`Journal::reopen`](crate::Journal::reopen) has read back what the disk holds.
    #[error("the journal stopped after a failed write: {0}")]
    Poisoned(#[source] Cause),
    /// The payload is over [`Options::frame_bytes_max`](crate::Options::frame_bytes_max).
    #[error("the entry has {bytes} bytes; at most {max} are allowed")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// The bound.
        max: u32,
    },
}

/// Why a journal could not be opened.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another handle in this one, has it open.
    #[error("the journal is in use by another process")]
    InUse,
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] Cause),
    /// Only a stopped journal is opened again.
    #[error("the journal is running; only one that stopped after a failed write is opened again")]
    Running,
    /// A segment was written by a newer release.
    #[error("segment {segment} has format version {found}; this release reads up to {known}")]
    Version {
        /// Which segment.
        segment: u64,
        /// Its version.
        found: u16,
        /// The newest version that this release knows.
        known: u16,
    },
}

/// Why reading stopped. Damage is no error: it is an [`Item`](crate::Item).
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The position lies in a segment that retention has deleted.
    #[error("segment {segment} was deleted; the oldest is {oldest}")]
    Gone {
        /// The segment asked for.
        segment: u64,
        /// The oldest one that is left.
        oldest: u64,
    },
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] Cause),
}
