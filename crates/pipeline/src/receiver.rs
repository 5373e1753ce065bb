//! A batch's way into the durable log: quota, append, wait for the sync, count, acknowledge. Answers never before the
//! journal does. Says how hard it is pressed, so that TCP senders can be held and HTTP senders told when to return.

use crate::batch::KIND_BATCH;
use crate::{Admission, Batch, Health, Quota, Source};
use ids::{Clock, TenantId};
use journal::{AppendError, Entry, Journal, OpenError, Position, Recovery};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// After a full queue: the disk needs a moment.
const RETRY_BUSY: Duration = Duration::from_secs(1);
/// After a stop or a full disk: somebody has to do something.
const RETRY_STOPPED: Duration = Duration::from_secs(10);

/// Why a batch was not taken. Nothing of it is in the log, or the sender may send it again and it counts once.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The log cannot keep up.
    #[error("the log is busy; send again later")]
    Busy,
    /// The disk is full up to its reserve.
    #[error("the log's disk is full; make room")]
    DiskFull,
    /// The tenant's quota is used up.
    #[error("the tenant's ingest quota is used up; send again later")]
    OverQuota {
        /// When it would pass.
        retry_after: Duration,
    },
    /// The server ends.
    #[error("the server is shutting down; send again later")]
    ShuttingDown,
    /// A write or sync failed; nothing is acknowledged until the log was read back.
    #[error("the log stopped after a failed write; send again later")]
    Stopped(#[source] AppendError),
    /// The batch is over what one entry of the log holds.
    #[error("the batch is too large; send smaller ones")]
    TooLarge,
}

impl Refused {
    /// HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Busy | Self::DiskFull | Self::ShuttingDown | Self::Stopped(_) => 503,
            Self::OverQuota { .. } => 429,
            Self::TooLarge => 413,
        }
    }

    /// For `Retry-After`; none where sending the same again is no use.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(RETRY_BUSY),
            Self::DiskFull | Self::ShuttingDown | Self::Stopped(_) => Some(RETRY_STOPPED),
            Self::OverQuota { retry_after } => Some(*retry_after),
            Self::TooLarge => None,
        }
    }

    /// Its name in counts and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::DiskFull => "disk_full",
            Self::OverQuota { .. } => "over_quota",
            Self::ShuttingDown => "shutting_down",
            Self::Stopped(_) => "stopped",
            Self::TooLarge => "too_large",
        }
    }
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Closed => Self::ShuttingDown,
            AppendError::Full { .. } => Self::Busy,
            AppendError::NoSpace { .. } => Self::DiskFull,
            AppendError::Poisoned(ref cause) if cause.is_disk_full() => Self::DiskFull,
            AppendError::TooLarge { .. } => Self::TooLarge,
            other => Self::Stopped(other),
        }
    }
}

/// A batch that is durable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// Where it stands in the log; none where no record of it was taken.
    pub position: Option<Position>,
    /// Whether it was there already.
    pub duplicate: bool,
    /// Records taken.
    pub records: usize,
    /// Records not taken.
    pub rejected: usize,
    /// A stable number of the batch: the same when it is sent again. For protocols that name items.
    pub batch: u128,
}

/// How hard the log is pressed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pressure {
    /// Take what comes.
    Open,
    /// Stop reading from sockets for a moment.
    Busy {
        /// Bytes that wait for the disk.
        queued_bytes: usize,
    },
    /// Nothing is taken until [`Receiver::heal`] succeeds.
    Stopped {
        /// Why.
        cause: journal::Cause,
    },
}

/// Takes batches. Shared by all listeners.
pub struct Receiver {
    journal: Journal,
    admission: Mutex<Admission>,
    clock: Arc<dyn Clock>,
    busy_bytes: usize,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Receiver {
    /// Over an open journal. With `busy_bytes` waiting for the disk the pressure is [`Pressure::Busy`].
    #[must_use]
    pub fn new(journal: Journal, clock: Arc<dyn Clock>, busy_bytes: usize) -> Self {
        Self { journal, admission: Mutex::new(Admission::new()), clock, busy_bytes }
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take a batch; returns when it is durable. Dropping the future does not take the batch back.
    ///
    /// # Errors
    /// [`Refused`]; counted under its name.
    pub async fn receive(&self, batch: &Batch) -> Result<Accepted, Refused> {
        match self.take(batch).await {
            Ok(accepted) => {
                self.admission().count(&batch.source, &batch.records, accepted.duplicate, self.clock.now());
                Ok(accepted)
            }
            Err(refused) => {
                self.count_refused(&batch.source, refused.as_str());
                Err(refused)
            }
        }
    }

    async fn take(&self, batch: &Batch) -> Result<Accepted, Refused> {
        let id = batch.id();
        let records = batch.records.len();
        let rejected = batch.records.rejected().len();
        let number = id.map_or(0, |id| u128::from_be_bytes(id.bytes()));
        let mut accepted = Accepted { position: None, duplicate: false, records, rejected, batch: number };
        if records == 0 {
            return Ok(accepted);
        }
        let bytes = batch.records.raw_bytes();
        let quota = self.admission().take(batch.source.tenant, bytes, self.clock.now());
        quota.map_err(|retry_after| Refused::OverQuota { retry_after })?;
        let ticket = self.journal.append(Entry { kind: KIND_BATCH, batch: id, payload: batch.encode() })?;
        let receipt = ticket.await?;
        accepted.position = Some(receipt.position);
        accepted.duplicate = receipt.duplicate;
        Ok(accepted)
    }

    /// How hard the log is pressed now.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let status = self.journal.status();
        match status.poisoned {
            Some(cause) => Pressure::Stopped { cause },
            None if status.queued_bytes >= self.busy_bytes => Pressure::Busy { queued_bytes: status.queued_bytes },
            None => Pressure::Open,
        }
    }

    /// Where the log stopped, read back what the disk holds and go on. Blocks on the disk: call it from a thread
    /// that may, every few seconds while [`Pressure::Stopped`]. None where it had not stopped.
    ///
    /// # Errors
    /// The disk still does not do it.
    pub fn heal(&self) -> Result<Option<Recovery>, OpenError> {
        match self.journal.reopen() {
            Ok(recovery) => Ok(Some(recovery)),
            Err(OpenError::Running) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Count a request that never became a batch: malformed, too large, unreadable.
    pub fn count_refused(&self, source: &Source, why: &'static str) {
        self.admission().count_refused(source, why, self.clock.now());
    }

    /// Count datagrams that had to be dropped.
    pub fn count_dropped(&self, source: &Source, records: u64) {
        self.admission().count_dropped(source, records, self.clock.now());
    }

    /// Set or lift a tenant's quota.
    pub fn set_quota(&self, tenant: TenantId, quota: Option<Quota>) {
        self.admission().set_quota(tenant, quota, self.clock.now());
    }

    /// Forget the counts of a tenant.
    pub fn forget(&self, tenant: TenantId) {
        self.admission().forget(tenant);
    }

    /// Counts of every source.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        self.admission().health()
    }
}
