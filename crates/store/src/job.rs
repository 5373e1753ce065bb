//! Durable background work: what a job is, how a worker holds one, how long it waits after a failure.
//!
//! A job enters with the commit that asked for it and leaves with the commit that holds its result, so it can neither be
//! lost nor finish without its record. A worker that died is noticed by its lease; its attempt counts.

use crate::engine::{Fault, Row};
use crate::resource::parse_owner;
use ids::{Entropy, JobId, Owner, Timestamp};
use serde_json::Value as Json;
use std::time::Duration;

/// A job to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// What is to be done; the workers of a kind ask for it by this name. At most 256 bytes.
    pub kind: String,
    /// For whom; turns are taken fairly between owners.
    pub owner: Owner,
    /// What the worker needs to know.
    pub payload: Json,
    /// Not before this time.
    pub run_at: Timestamp,
    /// How often it may be tried before it is dead, at least 1.
    pub attempts_max: u32,
    /// A second job of the same kind and owner with this key is not enqueued. At most 1024 bytes.
    pub dedupe: Option<String>,
}

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum JobState {
    /// Stopped by somebody.
    Cancelled,
    /// Failed as often as it may.
    Dead,
    /// Finished, with a result.
    Done,
    /// A worker has it.
    Leased,
    /// Waiting for its time or its turn.
    Queued,
}

impl JobState {
    /// The word that is stored and shown, for example `queued`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
            Self::Done => "done",
            Self::Leased => "leased",
            Self::Queued => "queued",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Cancelled, Self::Dead, Self::Done, Self::Leased, Self::Queued]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A job as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What is to be done.
    pub kind: String,
    /// For whom.
    pub owner: Owner,
    /// What the worker needs to know.
    pub payload: Json,
    /// Where it is in its life.
    pub state: JobState,
    /// How often it was begun.
    pub attempts: u32,
    /// How often it may be begun.
    pub attempts_max: u32,
    /// Not before this time.
    pub run_at: Timestamp,
    /// How far it is, 0 to 1000.
    pub progress_permille: u32,
    /// How far it is, in words.
    pub progress_text: String,
    /// What came out, once done.
    pub result: Option<Json>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The columns of a job, in the order in which [`Job::from_row`] reads them.
macro_rules! job_columns {
    () => {
        "id, kind, owner, payload, state, attempts, attempts_max, run_at, progress_permille, progress_text, result, \
         error, created_at, updated_at"
    };
}
pub(crate) use job_columns;

impl Job {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Fault> {
        let json = |text: String| serde_json::from_str::<Json>(&text).map_err(Fault::decode);
        Ok(Self {
            id: row.text(0)?.parse().map_err(Fault::decode)?,
            kind: row.text(1)?,
            owner: parse_owner(&row.text(2)?).ok_or_else(|| Fault::decode("owner of a job"))?,
            payload: json(row.text(3)?)?,
            state: JobState::parse(&row.text(4)?).ok_or_else(|| Fault::decode("state of a job"))?,
            attempts: u32::try_from(row.int(5)?).map_err(Fault::decode)?,
            attempts_max: u32::try_from(row.int(6)?).map_err(Fault::decode)?,
            run_at: Timestamp::from_micros(row.int(7)?),
            progress_permille: u32::try_from(row.int(8)?).map_err(Fault::decode)?,
            progress_text: row.text(9)?,
            result: row.maybe_text(10)?.map(json).transpose()?,
            error: row.maybe_text(11)?,
            created_at: Timestamp::from_micros(row.int(12)?),
            updated_at: Timestamp::from_micros(row.int(13)?),
        })
    }
}

/// A worker's hold on a job. Lost when it runs out, or when the job is cancelled.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// The job.
    pub job: Job,
    /// Who holds it.
    pub worker: String,
    /// Which attempt this is, from 1; with the worker's name it tells this hold from every other.
    pub attempt: u32,
    /// Until when, if no heartbeat prolongs it.
    pub until: Timestamp,
}

/// Which jobs to list: newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobPage {
    /// Only of this owner.
    pub owner: Option<Owner>,
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only older than the job with this id.
    pub after: Option<JobId>,
    /// At most so many; 1000 is the most that is given.
    pub limit: u32,
}

/// How long to wait after the failure of attempt `attempt` (from 1): doubling from 1 s to at most 1 h, of which a random
/// half to whole is taken, so that what failed together does not come back together.
pub(crate) fn backoff(attempt: u32, entropy: &dyn Entropy) -> Duration {
    let full_millis = 1000_u64.saturating_mul(1 << attempt.saturating_sub(1).min(12)).min(3_600_000);
    let mut random = [0_u8; 4];
    entropy.fill(&mut random);
    let share = u64::from(u32::from_le_bytes(random)) * (full_millis / 2) / u64::from(u32::MAX);
    Duration::from_millis(full_millis / 2 + share)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Byte(u8);
    impl Entropy for Byte {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0);
        }
    }

    #[test]
    fn backoff_doubles_within_its_bounds() {
        let cases = [
            (1, 500, 1000),
            (2, 1000, 2000),
            (5, 8000, 16_000),
            (13, 1_800_000, 3_600_000),
            (900, 1_800_000, 3_600_000),
        ];
        for (attempt, least, most) in cases {
            assert_eq!(backoff(attempt, &Byte(0)), Duration::from_millis(least), "attempt {attempt}");
            assert_eq!(backoff(attempt, &Byte(255)), Duration::from_millis(most), "attempt {attempt}");
        }
    }
}
