//! Tasks: checked, done once, answered. A task is believed only when the platform's key signed it, for this sensor, and
//! it has not expired; what was begun is on disk before it is begun, what came of it before it is told. A task that
//! comes again is answered with what came of it the first time.

mod collect;
pub(crate) mod isolate;
mod kill;
mod ledger;
mod list;

pub(crate) use collect::{chunk, forget};
pub use kill::{KillRefusal, KillReport, Victim, kill, kill_line};
pub(crate) use ledger::{Ledger, Verdict};

use crate::lineage::Lineage;
use crate::state::State;
use crate::wire::{Outcome, SignatureFault, SignedTask, Task, Work};
use ids::{SensorId, Timestamp};
use isolate::Isolation;
use seal::VerifyingKey;
use serde_json::json;
use std::sync::Arc;
use thiserror::Error;

/// How far the platform's clock may be ahead of ours.
const SKEW_MICROS: i64 = 300_000_000;

/// Why a task is not believed. Such a task gets no answer: its sender is not the platform.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum Disbelief {
    /// It has expired.
    #[error("the task has expired")]
    Expired,
    /// It is signed in the future.
    #[error("the task comes from the future; compare the clocks")]
    Future,
    /// Its signature or shape.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// It is for another sensor.
    #[error("the task is for another sensor")]
    Stranger,
}

/// Judge a task: signature first, nothing of an unsigned task is looked at.
///
/// # Errors
/// [`Disbelief`].
pub fn believe(signed: &SignedTask, key: &VerifyingKey, own: SensorId, now: Timestamp) -> Result<Task, Disbelief> {
    let task = signed.open(key)?;
    if task.sensor != own {
        return Err(Disbelief::Stranger);
    }
    if task.expires_at <= now {
        return Err(Disbelief::Expired);
    }
    if task.issued_at.as_micros() > now.as_micros().saturating_add(SKEW_MICROS) {
        return Err(Disbelief::Future);
    }
    Ok(task)
}

/// What tasks act with.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) state: State,
    pub(crate) isolation: Arc<Isolation>,
    pub(crate) lineage: Arc<Lineage>,
}

impl Hands {
    /// Do the work. Blocks.
    pub(crate) fn work(&self, task: &Task, now: Timestamp) -> Outcome {
        match &task.work {
            Work::FileCollect { path, bytes_max } => collect::collect(&self.state, task.id, path, *bytes_max),
            Work::HostIsolate { for_secs } => self.isolation.isolate(*for_secs, now),
            Work::HostRelease {} => self.isolation.release(),
            Work::ProcessKill { process, tree } => match kill_line(process, *tree, &self.lineage) {
                Ok(report) if report.remaining.is_empty() => {
                    Outcome::Done { already: report.killed.is_empty(), details: json!(report) }
                }
                Ok(report) => {
                    let reason = format!("{} processes are still there", report.remaining.len());
                    Outcome::Failed { reason, details: json!(report) }
                }
                Err(refusal) => Outcome::Refused { reason: refusal.to_string() },
            },
            Work::ProcessList {} => list::processes(),
            Work::SocketList {} => list::sockets(),
        }
    }
}
