//! What a deleted tenant leaves behind goes too, in the background: its documents, credentials and jobs. The audit log stays.
//! Started by `tenant.delete` in the same commit; idempotent, in chunks, so that a crash costs a repetition.

use crate::context::Control;
use crate::refusal::Refusal;
use ids::{JobId, Owner, Scope, TenantId, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;
use store::{
    Agent, AgentDefinition, Approval, Assignment, BreakGlass, Case, CaseComment, CaseDetection, CaseEntity, CaseEntry,
    CaseEvidence, CaseMark, CaseTask, Changes, CollectedChunk, Connector, Credential, Deputy, EntityVerdict, Grant,
    IngestKey, JobPage, JobState, KillSwitch, Lease, Lockdown, NewJob, Page, Resource, ResponseAction, Role, Rule,
    RuleException, RulePack, RulePackAssignment, RulePackRule, RuleVersion, Run, RunLines, RunTaint, SealedSecret,
    Sensor, ServiceKey, Skill, Snapshot, Source, Stored, User,
};

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
        let snapshot = self.store.snapshot(Scope::Tenant(tenant));
        let mut removed = self.cancel_jobs(&snapshot, lease, tenant).await?;
        // Whatever acts goes first. A new kind of document of tenants joins this list (CONTRIBUTING, "Other common changes").
        removed += self.remove_all::<Credential>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<BreakGlass>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Deputy>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Grant>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<IngestKey>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Connector>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Assignment>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<ServiceKey>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Sensor>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<CollectedChunk>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<ResponseAction>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<RunTaint>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<RunLines>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Run>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<AgentDefinition>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Skill>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Agent>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<User>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Approval>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Lockdown>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<KillSwitch>(&snapshot, lease, tenant).await?;
        // What is held back for a court outlives the tenant: `Retention` stays, and the rows that a hold covers.
        removed += self.remove_all::<Source>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<RulePackAssignment>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<RuleException>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<RulePackRule>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<RulePack>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<RuleVersion>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Rule>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<CaseDetection>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<CaseEntity>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<EntityVerdict>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<CaseEntry>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<CaseComment>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<CaseTask>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<CaseEvidence>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<CaseMark>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<Case>(&snapshot, lease, tenant).await?;
        removed += self.remove_all::<SealedSecret>(&snapshot, lease, tenant).await?;
        let roles = self.remove_all::<Role>(&snapshot, lease, tenant).await?;
        if roles > 0 {
            self.load_policies().await?;
        }
        self.load_kill_switch().await?;
        self.set_up_tenant(tenant).await?;
        let mut changes = Changes::new();
        changes.finish_job(lease, Some(&json!({ "removed": removed + roles })));
        if self.plane.is_some() {
            changes.enqueue(self.erase_job(tenant, self.now()));
        }
        self.commit_purge(tenant, changes).await
    }

    async fn remove_all<R: Resource>(
        &self,
        snapshot: &Snapshot,
        lease: &Lease,
        tenant: TenantId,
    ) -> Result<usize, Refusal> {
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
            removed += found.len();
            self.store.jobs().heartbeat(lease, LEASE, None).await?;
        }
    }

    async fn cancel_jobs(&self, snapshot: &Snapshot, lease: &Lease, tenant: TenantId) -> Result<usize, Refusal> {
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
                cancelled += found.len();
                self.store.jobs().heartbeat(lease, LEASE, None).await?;
            }
        }
        Ok(cancelled)
    }

    async fn commit_purge(&self, tenant: TenantId, changes: Changes) -> Result<(), Refusal> {
        self.commit_as_system("tenant-purge", PURGE_JOB, Owner::Provider, tenant.to_string(), changes).await
    }
}
