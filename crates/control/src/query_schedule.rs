//! Saved queries whose time has come: a slot becomes a job, the job a call through the door as whoever scheduled it, the
//! answer perhaps a finding. Each slot is asked at most once, and none beside another of the same query. Must never ask with
//! rights of its own.

use crate::context::Control;
use crate::refusal::Refusal;
use api::{Call, Face, Origin, Problem, ProblemKind, Reply, Told};
use ids::{JobId, Owner, PrincipalKind, Scope, TenantId, Text, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use store::{Changes, CommitError, Lease, NewJob, QueryClock, QueryRun, SavedQuery, Stored, sortable};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The job that asks a query of one slot.
const ASK_JOB: &str = "saved_query.scheduled";
/// The name under which the platform does this.
const WORKER: &str = "query-schedule";
/// How often it is looked whether something is due.
const ROUND: Duration = Duration::from_millis(500);
/// How long a worker holds a job: longer than any question takes.
const LEASE: Duration = Duration::from_secs(120);
/// Queries that are asked at once.
const AT_ONCE: usize = 8;
/// Clocks that one round sets forward.
const DUE_MAX: u32 = 64;
/// After so long a slot that never ended (its job was cancelled) holds up no other.
const ASKED_MAX: Duration = Duration::from_secs(3600);
const MINUTE_MICROS: i64 = 60_000_000;

/// The first slot after an instant, and how many slots lie between two instants of this schedule: given the start of one.
pub(crate) fn next_slot(now: Timestamp, every_minutes: u32, offset_minutes: u32) -> (Timestamp, i64) {
    let (every, offset) = (i64::from(every_minutes.max(1)) * MINUTE_MICROS, i64::from(offset_minutes) * MINUTE_MICROS);
    let slot = now.as_micros().saturating_sub(offset).div_euclid(every).saturating_add(1);
    (Timestamp::from_micros(slot.saturating_mul(every).saturating_add(offset)), every)
}

/// What a job is to ask.
#[derive(Serialize, Deserialize)]
struct Slot {
    tenant: TenantId,
    query: String,
    due_at: Timestamp,
}

impl Control {
    /// Ask what is due until `stop` says so.
    pub(crate) async fn run_saved_queries(self, mut stop: watch::Receiver<bool>) {
        let Some(plane) = &self.plane else { return };
        // What was there before a restart must be there again when it is asked.
        tokio::select! {
            () = plane.recovered() => {}
            _ = stop.changed() => return,
        }
        let mut asked: JoinSet<()> = JoinSet::new();
        while !*stop.borrow() {
            if let Err(refusal) = self.query_round(&mut asked).await {
                tracing::error!(?refusal, "saved queries were not taken up; it is tried again");
            }
            tokio::select! {
                _ = stop.changed() => {}
                Some(_) = asked.join_next(), if !asked.is_empty() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
        // What is broken off here is asked again: its lease ends, and its key gives back an answer that was kept.
        asked.shutdown().await;
    }

    async fn query_round(&self, asked: &mut JoinSet<()>) -> Result<(), Refusal> {
        while asked.try_join_next().is_some() {}
        let (from, to) = (sortable(Timestamp::default()), sortable(self.now().plus(Duration::from_micros(1))));
        let due: Vec<Stored<QueryClock>> =
            self.store.snapshot(Scope::Provider).range("due", &from, &to, DUE_MAX).await?;
        for clock in due {
            self.wind(&clock).await?;
        }
        let room = u32::try_from(AT_ONCE.saturating_sub(asked.len())).unwrap_or(0);
        if room == 0 {
            return Ok(());
        }
        for lease in self.store.jobs().claim(WORKER, ASK_JOB, room, LEASE).await? {
            let control = self.clone();
            asked.spawn(async move {
                if let Err(refusal) = control.ask_slot(&lease).await {
                    tracing::warn!(job = %lease.job.id, ?refusal, "a saved query was not asked to its end");
                }
            });
        }
        Ok(())
    }

    /// Set a clock forward and leave a job for the slot that was due. Slots that passed while nothing ran are counted and
    /// left out: a daily question asked ten times at once after ten days has the same answer ten times. So is a slot whose
    /// predecessor is still being asked.
    async fn wind(&self, clock: &Stored<QueryClock>) -> Result<(), Refusal> {
        let QueryClock { tenant, name, next_at, .. } = &clock.value;
        let (id, owner) = (SavedQuery::key(*tenant, name), Owner::Tenant(*tenant));
        let snapshot = self.store.snapshot(Scope::Tenant(*tenant));
        let query: Option<Stored<SavedQuery>> = snapshot.read(&id).await?;
        let mut changes = Changes::new();
        match query.and_then(|query| query.value.schedule) {
            None => {
                changes.delete::<QueryClock>(&id, owner, clock.version);
            }
            Some(schedule) => {
                let now = self.now();
                let (next, every) = next_slot(now, schedule.every_minutes, schedule.offset_minutes);
                let passed = next.as_micros().saturating_sub(next_at.as_micros()).div_euclid(every.max(1));
                let active = crate::authenticate::tenant_active(&snapshot, owner).await?;
                let busy = clock.value.asking.is_some_and(|since| since > now.minus(ASKED_MAX));
                let asks = active && !busy;
                let missed = u64::try_from(passed.saturating_sub(i64::from(asks))).unwrap_or(0);
                let missed = clock.value.missed.saturating_add(missed);
                let last_due = next.minus(Duration::from_micros(every.unsigned_abs()));
                let asking = if asks { Some(last_due) } else { clock.value.asking };
                changes.replace(&QueryClock { next_at: next, missed, asking, ..clock.value.clone() }, clock.version);
                if asks {
                    changes.enqueue(self.slot_job(*tenant, name, last_due));
                }
            }
        }
        match self.commit_as_system(WORKER, "saved_query.schedule", owner, id, changes).await {
            // Somebody set it meanwhile.
            Ok(()) | Err(Refusal::Commit(CommitError::Conflict { .. })) => Ok(()),
            Err(refusal) => Err(refusal),
        }
    }

    fn slot_job(&self, tenant: TenantId, name: &str, due_at: Timestamp) -> NewJob {
        let slot = format!("{tenant}/{name}/{}", due_at.as_micros());
        NewJob {
            id: JobId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            kind: ASK_JOB.to_owned(),
            owner: Owner::Tenant(tenant),
            payload: json!(Slot { tenant, query: name.to_owned(), due_at }),
            run_at: self.now(),
            attempts_max: 4,
            dedupe: Some(slot),
        }
    }

    async fn ask_slot(&self, lease: &Lease) -> Result<(), Refusal> {
        let slot = Slot::deserialize(&lease.job.payload);
        let slot = slot.map_err(|error| Refusal::bug("a job names no saved query", &error))?;
        let id = SavedQuery::key(slot.tenant, &slot.query);
        let snapshot = self.store.snapshot(Scope::Tenant(slot.tenant));
        let query: Option<Stored<SavedQuery>> = snapshot.read(&id).await?;
        let clock: Option<Stored<QueryClock>> = snapshot.read(&id).await?;
        let (Some(query), Some(clock)) = (query, clock) else { return self.end(lease, None, &slot).await };
        let run = match self.ask_as(&query.value, lease).await? {
            Ok(result) => {
                self.tell_rows(&query.value, &clock.value, &slot, &result).await?;
                QueryRun {
                    due_at: slot.due_at,
                    result: Some(result.id),
                    row_count: result.row_count,
                    digest: Some(result.digest),
                    problem: None,
                }
            }
            Err(problem) if again(&problem) && lease.attempt < lease.job.attempts_max => {
                let mut changes = Changes::new();
                changes.fail_job(lease, &problem.detail);
                let owner = Owner::Tenant(slot.tenant);
                return self.commit_as_system(WORKER, "saved_query.retry", owner, id, changes).await;
            }
            Err(problem) => {
                self.tell_failure(&clock.value, &slot, &problem).await?;
                let digest = clock.value.last.and_then(|last| last.digest);
                let why: String = problem.to_string().chars().take(1000).collect();
                QueryRun { due_at: slot.due_at, result: None, row_count: 0, digest, problem: Some(why) }
            }
        };
        self.end(lease, Some(run), &slot).await
    }

    /// Ask as whoever scheduled it, through the door; or why there is no answer.
    async fn ask_as(&self, query: &SavedQuery, lease: &Lease) -> Result<Result<api::QueryResult, Problem>, Refusal> {
        let gone = || {
            let detail = "whoever scheduled this may not act any more; somebody who may can schedule it anew";
            Problem::new(ProblemKind::Denied, detail)
        };
        let Some(schedule) = &query.schedule else { return Ok(Err(gone())) };
        // A person stands by what they scheduled; a key only as long as it is good itself.
        let alive = |identity: &crate::identity::Identity| {
            identity.principal.kind() == PrincipalKind::User || identity.expires_at > self.now()
        };
        let Some(identity) = self.proposer(&schedule.by).await?.filter(alive) else { return Ok(Err(gone())) };
        let call = Call {
            operation: "saved_query.run".to_owned(),
            input: json!({ "tenant": query.tenant, "query": query.name }),
            credential: None,
            idempotency_key: Some(lease.job.id.to_string()),
            origin: Origin {
                face: Face::Schedule,
                address: None,
                user_agent: None,
                request_id: lease.job.id.to_string(),
            },
        };
        Ok(match self.admit_as(call, Some(Arc::new(identity))).await {
            Reply::Done(done) => {
                Ok(serde_json::from_value(done.output)
                    .map_err(|error| Refusal::bug("an answer does not read", &error))?)
            }
            Reply::Refused(problem) => Err(problem),
            Reply::Pending(_) | Reply::Deferred(_) => {
                let detail = "policy asks for an approval of each run; let it be asked without one, or run it by hand";
                Err(Problem::new(ProblemKind::Denied, detail))
            }
        })
    }

    /// A finding where the answer has rows, and is another than the time before.
    async fn tell_rows(
        &self,
        query: &SavedQuery,
        clock: &QueryClock,
        slot: &Slot,
        result: &api::QueryResult,
    ) -> Result<(), Refusal> {
        let Some(title) = query.schedule.as_ref().and_then(|schedule| schedule.finding.as_deref()) else {
            return Ok(());
        };
        let known = clock.last.as_ref().and_then(|last| last.digest.as_ref()) == Some(&result.digest);
        if result.row_count == 0 || known {
            return Ok(());
        }
        let more = if result.complete { "" } else { ", and there are more" };
        let first = result.rows.as_ref().and_then(|rows| rows.first()).map(|row| json!(row).to_string());
        let detail = format!(
            "the saved query `{}` has {} rows{more}; they are kept as `{}`; the first: {}",
            query.name,
            result.row_count,
            result.id,
            first.unwrap_or_default()
        );
        self.tell_of(slot, "posse.saved_query.rows", title, &detail, result.at).await
    }

    /// A finding where a query that was answered before is answered no more: told once, not for each slot.
    async fn tell_failure(&self, clock: &QueryClock, slot: &Slot, problem: &Problem) -> Result<(), Refusal> {
        if clock.last.as_ref().is_some_and(|last| last.problem.is_some()) {
            return Ok(());
        }
        let title = format!("Saved query `{}` was not answered", slot.query);
        self.tell_of(slot, "posse.saved_query.failed", &title, &problem.to_string(), self.now()).await
    }

    async fn tell_of(&self, slot: &Slot, uid: &str, title: &str, detail: &str, at: Timestamp) -> Result<(), Refusal> {
        let told = Told {
            tenant: slot.tenant,
            uid: Text::truncated(uid),
            title: Text::truncated(title),
            detail: Text::truncated(detail),
            about: Text::truncated(&format!("saved_query/{}", slot.query)),
            key: Text::truncated(&format!("{uid}/{}/{}", slot.query, slot.due_at.as_micros())),
            at,
        };
        Ok(self.plane()?.tell(told).await?)
    }

    /// The job is done, and the clock says how it went.
    async fn end(&self, lease: &Lease, run: Option<QueryRun>, slot: &Slot) -> Result<(), Refusal> {
        let (id, owner) = (SavedQuery::key(slot.tenant, &slot.query), Owner::Tenant(slot.tenant));
        loop {
            let snapshot = self.store.snapshot(Scope::Tenant(slot.tenant));
            let clock: Option<Stored<QueryClock>> = snapshot.read(&id).await?;
            let mut changes = Changes::new();
            let told = run.as_ref().map(|run| json!({ "result": run.result, "problem": run.problem }));
            changes.finish_job(lease, told.as_ref());
            if let (Some(clock), Some(run)) = (clock, &run) {
                let Stored { value, version, .. } = clock;
                let asking = value.asking.filter(|asking| *asking != slot.due_at);
                // One that took longer than its successor says nothing of how things are.
                let last = value.last.clone().filter(|last| last.due_at > run.due_at).unwrap_or_else(|| run.clone());
                changes.replace(&QueryClock { asking, last: Some(last), ..value }, version);
            }
            match self.commit_as_system(WORKER, "saved_query.settle", owner, id.clone(), changes).await {
                // The clock was set meanwhile.
                Err(Refusal::Commit(CommitError::Conflict { .. })) => {}
                Err(Refusal::Commit(CommitError::LeaseLost { .. })) | Ok(()) => return Ok(()),
                Err(refusal) => return Err(refusal),
            }
        }
    }
}

/// Whether another try may help.
fn again(problem: &Problem) -> bool {
    matches!(
        problem.problem_kind(),
        ProblemKind::Conflict | ProblemKind::Overloaded | ProblemKind::TooManyRequests | ProblemKind::Unavailable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_from_1970() {
        let minute = |minute: i64| Timestamp::from_micros(minute * MINUTE_MICROS);
        for (now, every, offset, next) in [
            (minute(0), 5, 0, 5),
            (minute(4), 5, 0, 5),
            (minute(5), 5, 0, 10),
            (minute(5), 5, 2, 7),
            (minute(1), 5, 2, 2),
            (minute(1440), 1440, 360, 1800),
            (minute(1800), 1440, 360, 3240),
        ] {
            assert_eq!(
                next_slot(now, every, offset),
                (minute(next), i64::from(every) * MINUTE_MICROS),
                "{now} {every} {offset}"
            );
        }
    }
}
