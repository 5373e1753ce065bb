//! Deleting what has expired, in chunks so small that nobody waits for them. It never touches a document or a leaf.

use crate::Store;
use crate::commit::CommitError;
use crate::engine::{Connection, values};
use crate::statement;
use crate::writer::{Errand, Undone};
use futures::future::BoxFuture;
use ids::Timestamp;

/// Rows of each table that one sweep deletes.
const CHUNK: i64 = 256;

/// What may go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sweep {
    /// Idempotency records and payloads that expired before this time.
    pub expired_before: Timestamp,
    /// Counter buckets below this number; the unit is that of [`crate::Commit::count`].
    pub counters_before: i64,
    /// Decision inputs from before this time.
    pub decisions_before: Timestamp,
}

/// What went.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Swept {
    /// Rows deleted.
    pub rows: u64,
    /// Whether there may be more: sweep again soon.
    pub more: bool,
}

impl Store {
    /// Delete one chunk of what has expired: at most 256 rows of each kind.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sweep(&self, sweep: Sweep) -> Result<Swept, CommitError> {
        self.errand(sweep).await
    }
}

impl Errand for Sweep {
    type Answer = Swept;
    const TOUCHES: &'static str = "sweep";

    fn changed(answer: &Swept) -> bool {
        answer.rows > 0
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<Swept, Undone>> {
        Box::pin(async move {
            let mut swept = Swept::default();
            for (text, before) in [
                (statement::SWEEP_IDEMPOTENCY, self.expired_before.as_micros()),
                (statement::SWEEP_PAYLOAD, self.expired_before.as_micros()),
                (statement::SWEEP_COUNTER, self.counters_before),
                (statement::SWEEP_DECISION, self.decisions_before.as_micros()),
            ] {
                let rows = connection.execute(text, values![before, CHUNK]).await?;
                swept.rows += rows;
                swept.more |= rows >= CHUNK.unsigned_abs();
            }
            Ok(swept)
        })
    }
}
