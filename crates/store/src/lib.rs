//! Transactional state: documents, audit leaves, idempotency, counters, jobs and the outbox, on `SQLite` or `PostgreSQL`.
//!
//! Sole owner of SQL. Reading needs a [`Scope`]; writing needs a [`Commit`], which cannot be made without an audit record:
//! so no handler can read across tenants or act without a record. What a commit answers is on disk. It must never hold
//! rules of a capability: it stores what the gate decided.

mod audit;
mod bundle;
mod changes;
mod commit;
mod config;
mod engine;
#[cfg(test)]
mod fault_test;
mod fresh;
mod inline;
mod job;
mod job_queue;
mod lake_catalog;
mod message;
mod migration;
mod open;
mod outbox;
mod recent;
mod resource;
mod resources;
mod rows;
#[cfg(test)]
mod schema_test;
mod shared;
mod snapshot;
mod statement;
mod sweep;
mod wipe;
mod writer;

pub use audit::{Advance, Checkpoint, Leaf, Node, TreeState};
pub use changes::{BODY_BYTES_MAX, Changes, ID_BYTES_MAX, KEY_BYTES_MAX};
pub use commit::{
    AuditEntry, COMMIT_ROWS_MAX, Commit, CommitError, DecisionInput, IdempotencyRecord, LeafPlace, Payload, Receipt,
};
pub use config::{Config, OpenError, Target};
pub use job::{Job, JobPage, JobState, Lease, NewJob};
pub use job_queue::Jobs;
pub use lake_catalog::{LakeCatalog, LakeConfig, LakeOpenError};
pub use message::{Message, MessagePage, MessageState, NewMessage, Outcome};
pub use outbox::{Outbox, Recovered};
pub use resource::{Key, Order, Page, Resource, Stored, sortable};
pub use resources::*;
pub use shared::{Health, Stats};
pub use snapshot::{ReadError, Snapshot};
pub use sweep::{Sweep, Swept};
pub use wipe::Wiped;

use engine::{Pool, values};
use ids::{Clock, Entropy, Owner, Scope, Timestamp};
use shared::Shared;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// The state of one install. Clones share it.
#[derive(Clone)]
pub struct Store {
    queue: mpsc::Sender<writer::Order>,
    readers: Pool,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    turns: job_queue::Turns,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("health", &self.shared.health()).finish_non_exhaustive()
    }
}

/// What was answered to a call that came before with the same idempotency key.
#[derive(Clone, Eq, PartialEq)]
pub struct Remembered {
    /// Whom the answer is about.
    pub owner: Owner,
    /// Digest of that call's input: another one is a misuse of the key.
    pub input_digest: Vec<u8>,
    /// The answer.
    pub response: Vec<u8>,
    /// Until when it is remembered.
    pub expires_at: Timestamp,
}

/// Run the writer on a thread of its own, where it may wait for `SQLite` without a way to another thread for each statement.
async fn apart(writer: writer::Writer) -> Result<(), OpenError> {
    let (ready, started) = oneshot::channel();
    // The runtime is made where it ends, too: it may not be dropped on another runtime.
    let work = move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        // SQLite has no sockets; without them a wake is that of a thread and not of a poll.
        let runtime = if writer.has_sockets() { runtime.enable_all() } else { runtime.enable_time() };
        match runtime.build() {
            // Nobody hears that it runs where the opening was given up; it then ends with its last handle.
            Ok(runtime) => {
                drop(ready.send(Ok(())));
                runtime.block_on(writer.run());
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    };
    // It ends when the store is closed or its last handle is gone.
    std::thread::Builder::new().name("posse-writer".to_owned()).spawn(work).map_err(OpenError::Thread)?;
    let gone = || std::io::Error::other("the writer's thread ended at once");
    started.await.map_err(|_| OpenError::Thread(gone()))?.map_err(OpenError::Thread)
}

impl Store {
    /// Open the state, bring its schema up to date and start the writer. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`OpenError::Locked`] where another process has it open; see the others for what else can be wrong.
    pub async fn open(config: Config, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, OpenError> {
        let (opener, lock) = open::target(&config.target)?;
        Self::start(opener, lock, &config, clock, entropy).await
    }

    async fn start(
        opener: open::Opener,
        lock: open::Lock,
        config: &Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        let mut connection = opener.own_writer().await?;
        migration::migrate(&mut connection, migration::STATE, clock.now()).await?;
        let readers = opener.readers(config.readers);
        let shared = Arc::new(Shared::new());
        let (queue, orders) = mpsc::channel(config.queue_max.max(1));
        let chance = Arc::clone(&entropy);
        let writer = writer::Writer::new(connection, opener, orders, Arc::clone(&shared), chance, lock).await?;
        apart(writer).await?;
        Ok(Self { queue, readers, shared, clock, entropy, turns: job_queue::Turns::default() })
    }

    /// A handle to read what this scope covers. Each read sees the newest committed state; a decision on something that
    /// changes meanwhile is caught at the commit by its version (see [`Changes::expect`]).
    #[must_use]
    pub fn snapshot(&self, scope: Scope) -> Snapshot {
        Snapshot::new(self.readers.clone(), Arc::clone(&self.shared), scope)
    }

    /// Commit a call: all of it, durably, or nothing.
    ///
    /// # Errors
    /// Each variant of [`CommitError`] says why nothing was applied; after `Unavailable` nobody knows, ask again with an
    /// idempotency key.
    pub async fn commit(&self, commit: Commit) -> Result<Receipt, CommitError> {
        let prepared = Box::new(commit.prepare()?);
        let (reply, answer) = oneshot::channel();
        self.queue(writer::Order::Commit(prepared, reply))?;
        answer.await.unwrap_or(Err(CommitError::Unavailable))
    }

    /// A number that grows whenever a commit changed something of one of these kinds; for caches. The pseudo kinds `job`,
    /// `message` and `audit` count too. It has grown before the commit is answered.
    #[must_use]
    pub fn generation(&self, kinds: &[&str]) -> u64 {
        self.shared.generation(kinds)
    }

    /// The number of batches committed since opening, to wait for a change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.batches()
    }

    /// Wait until a commit changes something of one of these kinds after their generation was `seen`; the generation now.
    /// What only looked leaves everybody else asleep. Never ends where the store was closed.
    pub async fn changed(&self, kinds: &[&str], seen: u64) -> u64 {
        let mut batches = self.changes();
        loop {
            let now = self.generation(kinds);
            if now != seen {
                return now;
            }
            if batches.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether commits are taken.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Measurements since the store was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Commit what waits, then close; later commits are refused. Returns once the lock is free.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(writer::Order::Close(done)).await.is_ok() {
            // An error means that the writer has ended: closed as well.
            let _ = closed.await;
        }
        self.readers.close().await;
        self.queue.closed().await;
    }

    /// What a call with this idempotency key was answered, if that is still remembered.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remembered(&self, principal: &str, key: &str) -> Result<Option<Remembered>, ReadError> {
        let rows = self.readers.rows(statement::IDEMPOTENCY_READ, values![principal, key]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let expires_at = Timestamp::from_micros(row.int(2)?);
        let owner = resource::parse_owner(&row.text(3)?).ok_or_else(|| engine::Fault::decode("owner of an answer"))?;
        let remembered = Remembered { owner, input_digest: row.blob(0)?, response: row.blob(1)?, expires_at };
        Ok((expires_at > self.clock.now()).then_some(remembered))
    }

    /// The sum of a counter's buckets from `since_bucket` on.
    ///
    /// # Errors
    /// The database failed.
    pub async fn recent_count(&self, key: &str, since_bucket: i64) -> Result<i64, ReadError> {
        let rows = self.readers.rows(statement::COUNTER_SUM, values![key, since_bucket]).await?;
        Ok(rows.first().map_or(Ok(0), |row| row.int(0))?)
    }

    fn queue(&self, order: writer::Order) -> Result<(), CommitError> {
        self.queue.try_send(order).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => CommitError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => CommitError::Unavailable,
        })
    }

    /// Have the writer do an errand.
    async fn errand<E: writer::Errand>(&self, errand: E) -> Result<E::Answer, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.queue(writer::Order::errand(errand, reply))?;
        answer.await.unwrap_or(Err(CommitError::Unavailable))
    }
}
