//! What the platform does by itself: run approved calls, let approvals run out, count failed attempts into the log, sweep
//! what expired. Each is idempotent and starts from stored state; a crash between two steps costs a repetition.

use crate::approvals::EXECUTE_JOB;
use crate::context::Control;
use crate::decide::{RECENT_MINUTES, minute};
use crate::purge::PURGE_JOB;
use crate::record::recorded_origin;
use crate::refusal::Refusal;
use crate::rule_live;
use api::{Face, Origin};
use audit::{Aggregate, Decided, FormatVersion, Leaf, Phase, Record};
use ids::{CallId, List, Owner, Principal, Scope, Text};
use std::time::{Duration, Instant};
use store::{Approval, ApprovalState, AuditEntry, Changes, Commit, CommitError, Payload, Stored, Sweep, sortable};

/// How long a worker holds an execution before another may take it up.
const EXECUTION_LEASE: Duration = Duration::from_secs(30);
/// How often the rounds go, when nothing wakes them before.
const ROUND: Duration = Duration::from_millis(500);
/// How long the inputs of decisions are kept, for trying other policies on them.
const DECISIONS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// How often failed attempts become a record, and what expired is swept.
const SLOW_ROUND: Duration = Duration::from_secs(10);
/// How often it is looked which credentials end soon, and who was to be looked at again.
const HOURLY: Duration = Duration::from_secs(3600);

impl Control {
    /// Run until `stop` says so. Errors are logged and met again in the next round.
    pub(crate) async fn reconcile(self, mut stop: tokio::sync::watch::Receiver<bool>) {
        let kinds: Vec<&str> = ["approval", "job"].into_iter().chain(rule_live::KINDS).collect();
        let (mut slow_at, mut hourly_at) = (self.now(), self.now());
        let (mut rules_seen, mut rules_at) = (None, Instant::now());
        while !*stop.borrow() {
            let seen = self.store.generation(&kinds);
            self.report("executions", self.run_executions().await);
            self.report("expiries", self.expire_approvals().await);
            self.report("escalations", self.escalate_approvals().await);
            let rules = Some(self.store.generation(&rule_live::KINDS));
            // New tenants are gone through now and then: one that takes records was given its rules already.
            if let Some(plane) = &self.plane
                && (rules != rules_seen || rules_at.elapsed() >= ROUND)
            {
                self.report("rules", self.carry_rules(plane.as_ref()).await);
                (rules_seen, rules_at) = (rules, Instant::now());
            }
            if self.now() >= slow_at {
                slow_at = self.now().plus(SLOW_ROUND);
                // A job that waits for its next try, or whose worker died, becomes due without any change of state.
                self.inner.jobs_seen.store(u64::MAX, std::sync::atomic::Ordering::Release);
                self.report("failed attempts", self.record_attempts().await);
                self.report("counts of ingest", self.record_ingest_due().await);
                self.report("break glass", self.end_break_glass().await);
                self.report("actions", self.expire_actions().await);
                self.report("sweep", self.sweep().await);
            }
            if self.now() >= hourly_at {
                hourly_at = self.now().plus(HOURLY);
                self.report("ends of credentials", self.tell_of_expiries().await);
                self.report("recertifications", self.tell_of_overdue().await);
            }
            tokio::select! {
                _ = stop.changed() => {}
                _ = self.store.changed(&kinds, seen) => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    fn report(&self, round: &'static str, outcome: Result<(), Refusal>) {
        match outcome {
            // A conflict means that somebody else was faster: the next round sees what is left.
            Ok(()) | Err(Refusal::Commit(CommitError::Conflict { .. } | CommitError::LeaseLost { .. })) => {}
            Err(refusal) => tracing::error!(round, ?refusal, "a round of the platform failed; it goes on"),
        }
    }

    async fn run_executions(&self) -> Result<(), Refusal> {
        let seen = self.store.generation(&["job"]);
        if self.inner.jobs_seen.load(std::sync::atomic::Ordering::Acquire) == seen {
            return Ok(());
        }
        for (worker, kind) in [("approval-executor", EXECUTE_JOB), ("tenant-purge", PURGE_JOB)] {
            while self.run_jobs(worker, kind).await? {}
        }
        self.inner.jobs_seen.store(seen, std::sync::atomic::Ordering::Release);
        Ok(())
    }

    /// Run the due jobs of one kind; whether there were any.
    async fn run_jobs(&self, worker: &'static str, kind: &'static str) -> Result<bool, Refusal> {
        let leases = self.store.jobs().claim(worker, kind, 16, EXECUTION_LEASE).await?;
        for lease in &leases {
            let ran = if kind == PURGE_JOB { self.purge(lease).await } else { self.execute(lease).await };
            if let Err(refusal) = ran {
                tracing::warn!(job = %lease.job.id, ?refusal, "a job of the platform did not run; it is tried again");
                let mut changes = Changes::new();
                changes.fail_job(lease, "storage did not answer");
                let (owner, id) = (lease.job.owner, lease.job.id.to_string());
                self.commit_as_system(worker, kind, owner, id, changes).await?;
            }
        }
        Ok(!leases.is_empty())
    }

    async fn expire_approvals(&self) -> Result<(), Refusal> {
        let now = self.now();
        let snapshot = self.store.snapshot(Scope::Provider);
        let due: Vec<Stored<Approval>> =
            snapshot.range("due", &sortable(ids::Timestamp::default()), &sortable(now), 64).await?;
        for stored in due.into_iter().filter(|stored| stored.value.state.waits()) {
            let owner = Owner::from(stored.value.tenant);
            let id = stored.value.id.to_string();
            let expired = Approval { state: ApprovalState::Expired, ..stored.value };
            let mut changes = Changes::new();
            changes.replace(&expired, stored.version);
            match self.commit_as_system("approval-expiry", "approval.expire", owner, id, changes).await {
                Err(Refusal::Commit(CommitError::Conflict { .. })) | Ok(()) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(())
    }

    async fn sweep(&self) -> Result<(), Refusal> {
        let now = self.now();
        let sweep = Sweep {
            expired_before: now,
            counters_before: minute(now) - 2 * RECENT_MINUTES,
            decisions_before: now.minus(DECISIONS_KEPT),
        };
        while self.store.sweep(sweep).await?.more {}
        Ok(())
    }

    /// Changes that the platform makes by itself, with their record.
    pub(crate) async fn commit_as_system(
        &self,
        name: &str,
        operation: &str,
        owner: Owner,
        target: String,
        changes: Changes,
    ) -> Result<(), Refusal> {
        let entry = self.digested_leaf(name, operation, owner, Some(target), None, 200, None)?;
        self.store.commit(Commit::new(self.now(), entry).changes(changes)).await?;
        Ok(())
    }

    /// A leaf of the platform itself, with what it tells kept beside it for good.
    pub(crate) fn detailed_leaf(
        &self,
        name: &str,
        operation: &str,
        owner: Owner,
        target: Option<String>,
        aggregate: Option<Aggregate>,
        detail: &serde_json::Value,
    ) -> Result<AuditEntry, Refusal> {
        let body =
            seal::canonical_json(detail).map_err(|error| Refusal::bug("a detail has no canonical form", &error))?;
        let mut salt = [0_u8; 32];
        self.entropy.fill(&mut salt);
        let digest = seal::Digest::salted(&salt, &body);
        let entry = self.digested_leaf(name, operation, owner, target, aggregate, 200, Some(digest))?;
        let body = self.sealed_payload(entry.tree, entry.call, entry.part, &body);
        Ok(AuditEntry { payload: Some(Payload { salt: salt.to_vec(), body, expires_at: None }), ..entry })
    }

    /// A leaf of the platform itself, with the digest of what is kept beside it.
    #[expect(clippy::too_many_arguments, reason = "the fields of one record; a struct would only rename them")]
    pub(crate) fn digested_leaf(
        &self,
        name: &str,
        operation: &str,
        owner: Owner,
        target: Option<String>,
        aggregate: Option<Aggregate>,
        status: u16,
        input_digest: Option<seal::Digest>,
    ) -> Result<AuditEntry, Refusal> {
        let call = CallId::generate(self.clock.as_ref(), self.entropy.as_ref());
        self.leaf_as(call, name, operation, owner, target, aggregate, status, input_digest)
    }

    /// The same under this call's id.
    #[expect(clippy::too_many_arguments, reason = "the fields of one record; a struct would only rename them")]
    pub(crate) fn leaf_as(
        &self,
        call: CallId,
        name: &str,
        operation: &str,
        owner: Owner,
        target: Option<String>,
        aggregate: Option<Aggregate>,
        status: u16,
        input_digest: Option<seal::Digest>,
    ) -> Result<AuditEntry, Refusal> {
        let origin = Origin { face: Face::Schedule, address: None, user_agent: None, request_id: call.to_string() };
        let kind = operation.split_once('.').map_or(operation, |(family, _)| family);
        let record = Record {
            v: FormatVersion,
            call,
            time: self.now(),
            tenant: owner.tenant(),
            principal: Principal::System(name.to_owned()),
            on_behalf_of: List::default(),
            run: None,
            operation: Text::truncated(operation),
            effect: audit::Effect::Write,
            phase: Phase::Call,
            target: target.map(|id| audit::Target { kind: Text::truncated(kind), id: Text::truncated(&id) }),
            input_digest,
            decision: audit::Decision {
                outcome: if status == 200 { Decided::Allow } else { Decided::Deny },
                policies: List::default(),
                policy_version: None,
                rung: None,
                obligations: List::default(),
            },
            approvals: List::default(),
            outcome: audit::Outcome { status, problem: None, error: None },
            duration_us: 0,
            origin: recorded_origin(&origin),
            agent: None,
            aggregate,
        };
        let leaf =
            Leaf::Call(Box::new(record)).encode().map_err(|error| Refusal::bug("a record does not encode", &error))?;
        Ok(AuditEntry { tree: owner, call, part: 0, leaf, payload: None })
    }
}
