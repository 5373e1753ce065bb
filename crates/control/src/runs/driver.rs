//! Gives runs their turns: bounded in number, fair between tenants, taken up again after a crash. Must never perform a call
//! itself: a run's calls go through the door.

use super::turn::{LEASE, Turn};
use crate::context::Control;
use crate::refusal::Refusal;
use ids::{Owner, RunId, Scope};
use serde_json::Value;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use store::{Changes, CommitError, Lease, Run, RunState, Stored};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The job that gives a run a turn.
pub(super) const RUN_JOB: &str = "agent.run";
/// How many runs are driven at once.
const RUNS_AT_ONCE: usize = 64;
/// How often the queue is looked at, when nothing wakes it before.
const ROUND: Duration = Duration::from_millis(500);
/// How often leases of dead workers are looked for.
const SLOW_ROUND: Duration = Duration::from_secs(5);

/// What the rounds have seen.
struct Seen {
    jobs: u64,
    settled: (u64, u64),
    slow_at: Instant,
}

impl Control {
    /// Drive runs until `stop` says so.
    pub(crate) async fn drive_runs(self, mut stop: watch::Receiver<bool>) {
        if let Some(plane) = &self.plane {
            // What a run read before a restart must be there again when it goes on.
            tokio::select! {
                () = plane.recovered() => {}
                _ = stop.changed() => return,
            }
        }
        let mut changes = self.store.changes();
        let mut turns: JoinSet<()> = JoinSet::new();
        let mut seen = Seen { jobs: u64::MAX, settled: (u64::MAX, u64::MAX), slow_at: Instant::now() };
        while !*stop.borrow() {
            if let Err(refusal) = self.run_round(&mut turns, &mut seen, &stop).await {
                tracing::error!(?refusal, "runs were not taken up; it is tried again");
            }
            tokio::select! {
                _ = stop.changed() => {}
                _ = changes.changed() => {}
                Some(_) = turns.join_next(), if !turns.is_empty() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
        // Each sees the sign before its next step; what it leaves is taken up from its journal.
        while turns.join_next().await.is_some() {}
    }

    async fn run_round(
        &self,
        turns: &mut JoinSet<()>,
        seen: &mut Seen,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Refusal> {
        while turns.try_join_next().is_some() {}
        let settled = (self.store.generation(&["approval"]), self.runs.parked.load(Ordering::Acquire));
        if settled != seen.settled {
            self.wake_settled().await?;
            seen.settled = settled;
        }
        let slow = seen.slow_at <= Instant::now();
        if slow {
            seen.slow_at = Instant::now() + SLOW_ROUND;
            self.wake_scheduled().await?;
        }
        let jobs = self.store.generation(&["job"]);
        let free = RUNS_AT_ONCE.saturating_sub(turns.len());
        if (jobs == seen.jobs && !slow) || free == 0 {
            return Ok(());
        }
        let limit = u32::try_from(free).unwrap_or(1);
        let leases = self.store.jobs().claim("runs", RUN_JOB, limit, LEASE).await?;
        // With every place taken there may be more in the queue.
        seen.jobs = if leases.len() < free { jobs } else { u64::MAX };
        for lease in leases {
            let (control, stop) = (self.clone(), stop.clone());
            turns.spawn(async move { control.turn(&lease, &stop).await });
        }
        Ok(())
    }

    async fn turn(&self, lease: &Lease, stop: &watch::Receiver<bool>) {
        let id = lease.job.payload.get("run").and_then(Value::as_str).and_then(|id| id.parse::<RunId>().ok());
        let Some(id) = id else { return };
        let ended = self.take_turn(id, lease, stop).await;
        self.runs.leave(id);
        match ended {
            // Somebody stopped the run, or another worker has it.
            Ok(()) | Err(Refusal::Commit(CommitError::Conflict { .. } | CommitError::LeaseLost { .. })) => {}
            Err(refusal) => {
                tracing::warn!(run = %id, ?refusal, "a turn of a run broke off; it is taken up again");
                let mut changes = Changes::new();
                changes.fail_job(lease, "the turn broke off");
                let (owner, id) = (lease.job.owner, id.to_string());
                if let Err(refusal) = self.commit_as_system("runs", "run.retry", owner, id, changes).await {
                    tracing::warn!(?refusal, "the end of a broken turn was not recorded; its lease runs out");
                }
            }
        }
    }

    async fn take_turn(&self, id: RunId, lease: &Lease, stop: &watch::Receiver<bool>) -> Result<(), Refusal> {
        let stored: Option<Stored<Run>> = self.store.snapshot(Scope::Provider).read(&id.to_string()).await?;
        let Some(stored) = stored.filter(|stored| !stored.value.state.ended()) else {
            let mut changes = Changes::new();
            changes.finish_job(lease, None);
            return self.commit_as_system("runs", "run.stop", lease.job.owner, id.to_string(), changes).await;
        };
        let (run, version) = (stored.value.clone(), stored.version);
        match Turn::take_up(self, lease, stored).await? {
            Ok((turn, prepared)) => {
                self.runs.enter(id, prepared);
                turn.drive(|| *stop.borrow()).await
            }
            Err(reason) => {
                let ending = serde_json::to_value(agent::Ending::Failed { reason }).ok();
                let failed = Run { state: RunState::Failed, ending, ..run };
                let mut changes = Changes::new();
                changes.replace(&failed, version).finish_job(lease, None);
                let owner = Owner::Tenant(failed.tenant);
                self.commit_as_system("runs", "run.end", owner, id.to_string(), changes).await
            }
        }
    }
}
