//! The workers' side of jobs: claim in fair turns, stay alive by heartbeat. What a job came to is said in a commit
//! (`finish_job`, `fail_job`), together with its changes and its record.

use crate::Store;
use crate::commit::CommitError;
use crate::engine::{Connection, values};
use crate::job::{Job, Lease, backoff};
use crate::snapshot::ReadError;
use crate::statement;
use crate::writer::{Errand, Undone};
use futures::future::BoxFuture;
use ids::{Entropy, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Jobs of one claim, and expired leases put back at once.
const CLAIM_MAX: u32 = 64;
/// Owners looked at in one claim; the others have their turn in the next.
const OWNERS_MAX: usize = 256;

/// A dead worker says more of the process than of the job: after this many attempts the pause does not grow (16 s at most).
const ORPHAN_ATTEMPTS: u32 = 5;

/// Who was served last, for each kind of job.
pub(crate) type Turns = Arc<Mutex<HashMap<String, String>>>;

/// The jobs of a store, for workers.
#[derive(Clone, Debug)]
pub struct Jobs {
    store: Store,
}

impl Store {
    /// The jobs, for workers.
    #[must_use]
    pub fn jobs(&self) -> Jobs {
        Jobs { store: self.clone() }
    }
}

impl Jobs {
    /// Take up to `limit` (at most 64) due jobs of a kind, for `lease`, one of each owner in turn. Jobs whose worker died
    /// are put back first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim(
        &self,
        worker: &str,
        kind: &str,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<Lease>, CommitError> {
        let now = self.store.clock.now();
        self.put_back(now).await?;
        let limit = usize::try_from(limit.min(CLAIM_MAX)).unwrap_or(0);
        let jobs = self.turns(kind, now, limit).await.map_err(|error| {
            tracing::error!(%error, "due jobs could not be read");
            CommitError::Unavailable
        })?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.store.errand(Claim { jobs, worker: worker.to_owned(), now, until: now.plus(lease) }).await
    }

    /// Keep the job for another `lease` from now, and say how far it is (0 to 1000, with words). The new end of the lease.
    ///
    /// # Errors
    /// [`CommitError::LeaseLost`] where the job was cancelled or another worker has it: stop working on it.
    pub async fn heartbeat(
        &self,
        held: &Lease,
        lease: Duration,
        progress: Option<(u32, &str)>,
    ) -> Result<Timestamp, CommitError> {
        let now = self.store.clock.now();
        let progress = progress.map(|(permille, text)| (permille.min(1000), text.replace('\0', "")));
        let (id, worker, attempt) = (held.job.id.to_string(), held.worker.clone(), held.attempt);
        self.store.errand(Heartbeat { id, worker, attempt, now, until: now.plus(lease), progress }).await
    }

    /// Give a job back unfinished, for anybody to take up at once: this worker stops. It counts as no attempt.
    ///
    /// # Errors
    /// [`CommitError::LeaseLost`] where the job was cancelled or another worker has it.
    pub async fn give_back(&self, held: &Lease) -> Result<(), CommitError> {
        let now = self.store.clock.now();
        let (id, worker, attempt) = (held.job.id.to_string(), held.worker.clone(), held.attempt);
        self.store.errand(GiveBack { id, worker, attempt, now, until: now }).await
    }

    /// Give a job back unfinished, for anybody to take up from `until` on: there is nothing to do before. It counts as no attempt.
    ///
    /// # Errors
    /// [`CommitError::LeaseLost`] where the job was cancelled or another worker has it.
    pub async fn postpone(&self, held: &Lease, until: Timestamp) -> Result<(), CommitError> {
        let now = self.store.clock.now();
        let (id, worker, attempt) = (held.job.id.to_string(), held.worker.clone(), held.attempt);
        self.store.errand(GiveBack { id, worker, attempt, now, until }).await
    }

    async fn put_back(&self, now: Timestamp) -> Result<(), CommitError> {
        let expired = self.store.readers.rows(statement::JOB_EXPIRED, values![now.as_micros(), 1]).await;
        if expired.is_ok_and(|rows| rows.is_empty()) {
            return Ok(());
        }
        self.store.errand(PutBack { now, entropy: Arc::clone(&self.store.entropy) }).await.map(drop)
    }

    /// Due jobs, one of each owner in turn, beginning after the owner who was served last.
    async fn turns(&self, kind: &str, now: Timestamp, limit: usize) -> Result<Vec<String>, ReadError> {
        let last = self.store.turns.lock().unwrap_or_else(PoisonError::into_inner).get(kind).cloned();
        let mut queues: Vec<(String, std::vec::IntoIter<String>)> = Vec::new();
        for owner in self.owners(kind, last.as_deref()).await? {
            let asked = values![kind, &owner, now.as_micros(), i64::try_from(limit).unwrap_or(0)];
            let rows = self.store.readers.rows(statement::JOB_DUE, asked).await?;
            let ids = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
            if !ids.is_empty() {
                queues.push((owner, ids.into_iter()));
            }
            if queues.len() >= limit {
                break;
            }
        }
        let (mut taken, mut served) = (Vec::new(), None);
        while taken.len() < limit {
            let before = taken.len();
            for (owner, ids) in &mut queues {
                if taken.len() < limit
                    && let Some(id) = ids.next()
                {
                    taken.push(id);
                    served = Some(owner.clone());
                }
            }
            if taken.len() == before {
                break;
            }
        }
        if let Some(owner) = served {
            self.store.turns.lock().unwrap_or_else(PoisonError::into_inner).insert(kind.to_owned(), owner);
        }
        Ok(taken)
    }

    /// Owners that have queued jobs, in a circle: those after `last` first, `last` at the end.
    async fn owners(&self, kind: &str, last: Option<&str>) -> Result<Vec<String>, ReadError> {
        let start = last.unwrap_or_default().to_owned();
        let mut owners = Vec::new();
        let mut after = start.clone();
        // From `last` to the end, then from the provider (whose text is empty, before every tenant's) up to `last`.
        while let Some(owner) = self.owner(statement::JOB_NEXT_OWNER, kind, &after).await? {
            after.clone_from(&owner);
            owners.push(owner);
            if owners.len() >= OWNERS_MAX {
                return Ok(owners);
            }
        }
        owners.extend(self.owner(statement::JOB_HAS_OWNER, kind, "").await?);
        after = String::new();
        while after < start
            && owners.len() < OWNERS_MAX
            && let Some(owner) = self.owner(statement::JOB_NEXT_OWNER, kind, &after).await?
        {
            after.clone_from(&owner);
            if owner <= start {
                owners.push(owner);
            }
        }
        Ok(owners)
    }

    async fn owner(&self, statement: &'static str, kind: &str, owner: &str) -> Result<Option<String>, ReadError> {
        let rows = self.store.readers.rows(statement, values![kind, owner]).await?;
        Ok(rows.first().map_or(Ok(None), |row| row.maybe_text(0))?)
    }
}

/// Lease these jobs, as far as they are still queued.
struct Claim {
    jobs: Vec<String>,
    worker: String,
    now: Timestamp,
    until: Timestamp,
}

impl Errand for Claim {
    type Answer = Vec<Lease>;
    const TOUCHES: &'static str = "job";

    fn changed(answer: &Vec<Lease>) -> bool {
        !answer.is_empty()
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<Vec<Lease>, Undone>> {
        Box::pin(async move {
            let mut leases = Vec::new();
            for id in &self.jobs {
                let row = values![id, &self.worker, self.until.as_micros(), self.now.as_micros()];
                for row in connection.rows(statement::JOB_LEASE, row).await? {
                    let job = Job::from_row(&row)?;
                    let (worker, attempt) = (self.worker.clone(), job.attempts);
                    leases.push(Lease { job, worker, attempt, until: self.until });
                }
            }
            Ok(leases)
        })
    }
}

struct Heartbeat {
    id: String,
    worker: String,
    attempt: u32,
    now: Timestamp,
    until: Timestamp,
    progress: Option<(u32, String)>,
}

impl Errand for Heartbeat {
    type Answer = Timestamp;
    const TOUCHES: &'static str = "job";

    fn changed(_: &Timestamp) -> bool {
        true
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<Timestamp, Undone>> {
        Box::pin(async move {
            let attempt = i64::from(self.attempt);
            let row = values![&self.id, &self.worker, attempt, self.until.as_micros(), self.now.as_micros()];
            if connection.execute(statement::JOB_HEARTBEAT, row).await? != 1 {
                return Err(Undone::Refused(CommitError::LeaseLost { id: self.id.clone() }));
            }
            if let Some((permille, text)) = &self.progress {
                let row = values![&self.id, i64::from(*permille), text];
                connection.execute(statement::JOB_PROGRESS, row).await?;
            }
            Ok(self.until)
        })
    }
}

struct GiveBack {
    id: String,
    worker: String,
    attempt: u32,
    now: Timestamp,
    until: Timestamp,
}

impl Errand for GiveBack {
    type Answer = ();
    const TOUCHES: &'static str = "job";

    fn changed((): &()) -> bool {
        true
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<(), Undone>> {
        Box::pin(async move {
            let (now, until) = (self.now.as_micros(), self.until.as_micros());
            let row = values![&self.id, &self.worker, i64::from(self.attempt), until, now];
            if connection.execute(statement::JOB_GIVE_BACK, row).await? != 1 {
                return Err(Undone::Refused(CommitError::LeaseLost { id: self.id.clone() }));
            }
            Ok(())
        })
    }
}

/// Jobs whose lease ran out: back into the queue after a pause, or dead after their last attempt.
struct PutBack {
    now: Timestamp,
    entropy: Arc<dyn Entropy>,
}

impl Errand for PutBack {
    type Answer = usize;
    const TOUCHES: &'static str = "job";

    fn changed(answer: &usize) -> bool {
        *answer > 0
    }

    fn run<'r>(&'r self, connection: &'r mut Connection) -> BoxFuture<'r, Result<usize, Undone>> {
        Box::pin(async move {
            let now = self.now.as_micros();
            let expired = connection.rows(statement::JOB_EXPIRED, values![now, i64::from(CLAIM_MAX)]).await?;
            for row in &expired {
                let attempts = u32::try_from(row.int(1)?).unwrap_or(u32::MAX);
                let state = if row.int(1)? >= row.int(2)? { "dead" } else { "queued" };
                let run_at = self.now.plus(backoff(attempts.min(ORPHAN_ATTEMPTS), self.entropy.as_ref())).as_micros();
                let row = values![row.text(0)?, state, run_at, "the worker was not heard of any more", now];
                connection.execute(statement::JOB_REQUEUE, row).await?;
            }
            Ok(expired.len())
        })
    }
}
