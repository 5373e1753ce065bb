//! What a deleted tenant leaves behind goes too, in the background: its documents, credentials and jobs. The audit log stays.
//! Started by `tenant.delete` in the same commit; idempotent, in chunks, so that a crash costs a repetition.

use crate::context::Control;
use crate::refusal::Refusal;
use ids::{JobId, Owner, Scope, TenantId, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use store::{
    Agent, AgentDefinition, Approval, Assignment, BreakGlass, BucketState, Case, CaseComment, CaseDetection,
    CaseEntity, CaseEntry, CaseEvidence, CaseMark, CaseTask, Changes, CollectedChunk, Connector, Credential, Deputy,
    EntityVerdict, ExternalTable, Grant, IngestKey, JobPage, JobState, KillSwitch, Lease, Lockdown, NewJob, Page,
    PulledObject, QueryClock, QueryResult, Recertification, Resource, ResponseAction, Role, Rule, RuleException,
    RulePack, RulePackAssignment, RulePackRule, RuleVersion, Run, RunLines, RunTaint, SavedQuery, SealedSecret, Sensor,
    ServiceKey, Skill, Snapshot, Source, SourceBucket, Stored, User, Webhook,
};

/// Calls `$each!` with every kind of document that tenants own, but roles. Whatever acts goes first. A new kind joins this list
/// (CONTRIBUTING, "Other common changes").
macro_rules! for_each_owned {
    ($each:ident) => {
        $each!(
            Credential,
            BreakGlass,
            Deputy,
            Grant,
            IngestKey,
            Connector,
            Assignment,
            ServiceKey,
            Recertification,
            Sensor,
            CollectedChunk,
            ResponseAction,
            RunTaint,
            RunLines,
            Run,
            AgentDefinition,
            Skill,
            Agent,
            User,
            Approval,
            Lockdown,
            KillSwitch,
            QueryClock,
            QueryResult,
            SavedQuery,
            ExternalTable,
            BucketState,
            SourceBucket,
            PulledObject,
            Source,
            RulePackAssignment,
            RuleException,
            RulePackRule,
            RulePack,
            RuleVersion,
            Rule,
            CaseDetection,
            CaseEntity,
            EntityVerdict,
            CaseEntry,
            CaseComment,
            CaseTask,
            CaseEvidence,
            CaseMark,
            Case,
            SealedSecret,
            Webhook
        )
    };
}
pub(crate) use for_each_owned;

/// The job that removes a tenant's documents.
pub(crate) const PURGE_JOB: &str = "tenant.purge";
/// How many documents one commit removes.
const CHUNK: u32 = 100;
/// How long a worker holds the job between two chunks.
const LEASE: Duration = Duration::from_secs(30);

/// The job for one tenant; it belongs to the provider, so that it outlives the tenant.
pub(crate) fn purge_job(tenant: TenantId, now: Timestamp) -> NewJob {
    NewJob {
        id: JobId::derive(&[b"purge", tenant.to_string().as_bytes()]),
        kind: PURGE_JOB.to_owned(),
        owner: Owner::Provider,
        payload: json!({ "tenant": tenant }),
        run_at: now,
        attempts_max: 100,
        dedupe: Some(tenant.to_string()),
    }
}

impl Control {
    /// Remove everything that a tenant owned.
    pub(crate) async fn purge(&self, lease: &Lease) -> Result<(), Refusal> {
        let tenant = lease.job.payload.get("tenant").and_then(Value::as_str).unwrap_or_default();
        let tenant: TenantId = tenant.parse().map_err(|error| Refusal::bug("a purge names no tenant", &error))?;
        // What is held back for a court outlives the tenant: `Retention` stays, and the rows that a hold covers.
        let removed = self.remove_documents(lease, tenant).await?;
        let mut changes = Changes::new();
        changes.finish_job(lease, Some(&json!({ "removed": removed.values().sum::<u64>() })));
        if self.plane.is_some() {
            changes.enqueue(self.erase_job(tenant, self.now()));
        }
        self.commit_purge(tenant, changes).await
    }

    /// Cancel a tenant's jobs and remove its documents; how many of each kind.
    pub(crate) async fn remove_documents(
        &self,
        lease: &Lease,
        tenant: TenantId,
    ) -> Result<BTreeMap<String, u64>, Refusal> {
        let snapshot = self.store.snapshot(Scope::Tenant(tenant));
        let mut removed = BTreeMap::new();
        let mut count = |kind: &str, number: u64| {
            if number > 0 {
                removed.insert(kind.to_owned(), number);
            }
        };
        count("cancelled_job", self.cancel_jobs(&snapshot, lease, tenant).await?);
        macro_rules! remove {
            ($($kind:ty),*) => {{ $(count(<$kind>::KIND, self.remove_all::<$kind>(&snapshot, lease, tenant).await?);)* }};
        }
        for_each_owned!(remove);
        let roles = self.remove_all::<Role>(&snapshot, lease, tenant).await?;
        count(Role::KIND, roles);
        if roles > 0 {
            self.load_policies().await?;
        }
        self.load_kill_switch().await?;
        self.set_up_tenant(tenant).await?;
        Ok(removed)
    }

    /// Remove all of a kind; how many there were.
    pub(crate) async fn remove_all<R: Resource>(
        &self,
        snapshot: &Snapshot,
        lease: &Lease,
        tenant: TenantId,
    ) -> Result<u64, Refusal> {
        let owner = Owner::Tenant(tenant);
        let mut removed = 0;
        loop {
            let page = Page { owner: Some(owner), limit: CHUNK, ..Page::default() };
            let found: Vec<Stored<R>> = snapshot.list(&page).await?;
            if found.is_empty() {
                return Ok(removed);
            }
            let mut changes = Changes::new();
            for stored in &found {
                changes.delete::<R>(&stored.value.id(), owner, stored.version);
            }
            self.commit_purge(tenant, changes).await?;
            self.freshness.touch(&tenant.to_string());
            removed += u64::try_from(found.len()).unwrap_or(u64::MAX);
            self.store.jobs().heartbeat(lease, LEASE, None).await?;
        }
    }

    async fn cancel_jobs(&self, snapshot: &Snapshot, lease: &Lease, tenant: TenantId) -> Result<u64, Refusal> {
        let owner = Owner::Tenant(tenant);
        let mut cancelled = 0;
        for state in [JobState::Queued, JobState::Leased] {
            loop {
                let page = JobPage { owner: Some(owner), state: Some(state), kind: None, after: None, limit: CHUNK };
                let found = snapshot.jobs(&page).await?;
                if found.is_empty() {
                    break;
                }
                let mut changes = Changes::new();
                for job in &found {
                    changes.cancel_job(job.id, owner);
                }
                self.commit_purge(tenant, changes).await?;
                cancelled += u64::try_from(found.len()).unwrap_or(u64::MAX);
                self.store.jobs().heartbeat(lease, LEASE, None).await?;
            }
        }
        Ok(cancelled)
    }

    async fn commit_purge(&self, tenant: TenantId, changes: Changes) -> Result<(), Refusal> {
        self.commit_as_system("tenant-purge", PURGE_JOB, Owner::Provider, tenant.to_string(), changes).await
    }
}
