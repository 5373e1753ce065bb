//! A tenant leaves: all that is kept of it is listed as files, then erased, and a signed certificate says what went. The erasure is
//! one job of several steps, each repeatable, so that a crash costs a repetition. Must never sign before the last byte is gone, and
//! never touch a record of the log: it proves what was done, this too.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::job::Leased;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{ErasureNote, TenantCertificate, TenantOffboard};
use audit::{ErasureCertificate, FormatVersion};
use ids::{JobId, List, Owner, Principal, Scope, TenantId, Text, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use store::{
    Approval, Changes, JobState, Lease, NewJob, Offboarding, OffboardingStage as Stage, Resource, Retention, Stored,
    Tenant,
};
use tokio::sync::watch;

/// The kind of the job.
const OFFBOARD_JOB: &str = "tenant.offboard";
/// The name under which the platform does it.
const NAME: &str = "tenant-offboarding";
/// How long a worker holds the job before another may take it up.
const LEASE: Duration = Duration::from_secs(60);
/// How long to wait where a file is still kept for a question.
const AGAIN: Duration = Duration::from_secs(60);

/// How a step ended.
enum Step {
    Done(Value),
    /// Nothing to do before this time.
    Wait(Timestamp),
}

/// A tenant that is here, or that left a log behind.
async fn target(look: &Look<'_>, tenant: TenantId) -> Result<Target, Refusal> {
    let stored: Option<Stored<Tenant>> = look.snapshot.read(&tenant.to_string()).await?;
    if let Some(stored) = stored {
        return Ok(Target::tenant(tenant).named(stored.value.display_name));
    }
    // Its own people are gone with it: whoever sees its log is the provider's.
    if look.snapshot.leaves(Owner::Tenant(tenant), 0, 1).await?.is_empty() {
        return Err(Refusal::not_found("tenant"));
    }
    Ok(Target::tenant(tenant))
}

impl Handle<TenantOffboard> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &TenantOffboard) -> Result<Target, Refusal> {
        target(look, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantOffboard) -> Result<Outcome<api::Job>, Refusal> {
        let id = input.tenant.to_string();
        let tenant: Option<Stored<Tenant>> = admitted.snapshot.read(&id).await?;
        if tenant.as_ref().is_some_and(|tenant| tenant.value.state != store::TenantState::Suspended) {
            return Err(Refusal::conflict("the tenant is active; suspend it first, then take its export"));
        }
        let retention: Option<Stored<Retention>> = admitted.snapshot.read(&id).await?;
        if retention.is_some_and(|retention| !retention.value.holds.is_empty()) {
            return Err(Refusal::conflict("a legal hold covers data of the tenant; release it first"));
        }
        let provider = self.store.snapshot(Scope::Provider);
        let before: Option<Stored<Offboarding>> = provider.read(&id).await?;
        if let Some(before) = &before
            && let Some(job) = provider.job(before.value.job).await?
            && matches!(job.state, JobState::Queued | JobState::Leased)
        {
            return Err(Refusal::conflict(format!("the tenant is being erased by `{}`", before.value.job)));
        }
        let job = NewJob {
            id: JobId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            kind: OFFBOARD_JOB.to_owned(),
            owner: Owner::Provider,
            payload: json!({ "tenant": input.tenant }),
            run_at: admitted.now,
            attempts_max: 1000,
            dedupe: None,
        };
        let offboarding = Offboarding {
            tenant: input.tenant,
            job: job.id,
            asked_by: admitted.identity.principal.clone(),
            approved_by: approvers(admitted).await?,
            reason: input.reason.into_string(),
            stage: Stage::Erasing,
            erased: BTreeMap::new(),
            key_destroyed: false,
            began_at: admitted.now,
            ended_at: None,
            certificate: None,
        };
        let mut outcome = crate::lake::queued(job, None, admitted.now);
        match &before {
            Some(before) => outcome.changes.replace(&offboarding, before.version),
            None => outcome.changes.create(&offboarding),
        };
        if let Some(tenant) = tenant {
            outcome.changes.delete::<Tenant>(&id, Owner::Tenant(input.tenant), tenant.version);
        }
        Ok(outcome.then(After::Touched(vec![id])))
    }
}

/// The people who approved the call under which this runs.
async fn approvers(admitted: &Admitted<'_>) -> Result<Vec<Principal>, Refusal> {
    let Some(approval) = admitted.approval else { return Ok(Vec::new()) };
    let stored: Option<Stored<Approval>> = admitted.snapshot.read(&approval.to_string()).await?;
    let votes = stored.map(|stored| stored.value.votes).unwrap_or_default();
    Ok(votes.into_iter().filter(|vote| vote.approve).map(|vote| Principal::User(vote.by)).collect())
}

impl Handle<TenantCertificate> for Control {
    fn plain(&self, _: Owner, _: &crate::Identity) -> Option<Target> {
        Some(Target::provider())
    }

    async fn resolve(&self, _: &Look<'_>, _: &TenantCertificate) -> Result<Target, Refusal> {
        Ok(Target::provider())
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: TenantCertificate) -> Result<Outcome<ErasureNote>, Refusal> {
        let stored: Option<Stored<Offboarding>> = admitted.snapshot.read(&input.tenant.to_string()).await?;
        let stored =
            stored.ok_or_else(|| Refusal::conflict("nobody asked to erase this tenant; see `tenant.offboard`"))?;
        let Offboarding { job, certificate, ended_at, .. } = stored.value;
        let (Some(certificate), Some(signed_at)) = (certificate, ended_at) else {
            return Err(Refusal::conflict(format!("the tenant is not erased yet; see job `{job}`")));
        };
        Ok(Outcome::answer(ErasureNote { tenant: input.tenant, certificate, signed_at }))
    }
}

impl Control {
    /// Go on with erasures that are due; whether there was one.
    pub(crate) async fn run_offboardings(&self, stop: &mut watch::Receiver<bool>) -> Result<bool, Refusal> {
        let leases = self.store.jobs().claim(NAME, OFFBOARD_JOB, 1, LEASE).await?;
        for lease in &leases {
            let leased = Leased::new();
            let step = self.offboard(lease, &leased);
            let mut changes = Changes::new();
            match self.while_leased(lease, LEASE, &leased, stop, step).await {
                Ok(Step::Wait(until)) => {
                    self.store.jobs().postpone(lease, until).await?;
                    continue;
                }
                Ok(Step::Done(result)) => changes.finish_job(lease, Some(&result)),
                Err(refusal) => {
                    tracing::warn!(job = %lease.job.id, ?refusal, "a tenant is not erased yet; it is tried again");
                    changes.fail_job(lease, &refusal.into_problem().detail)
                }
            };
            let id = lease.job.id.to_string();
            self.commit_as_system(NAME, OFFBOARD_JOB, Owner::Provider, id, changes).await?;
        }
        Ok(!leases.is_empty())
    }

    /// The next step of one erasure.
    async fn offboard(&self, lease: &Lease, leased: &Leased) -> Result<Step, Refusal> {
        let tenant = lease.job.payload.get("tenant").and_then(Value::as_str).unwrap_or_default();
        let stored: Option<Stored<Offboarding>> = self.store.snapshot(Scope::Provider).read(tenant).await?;
        let Some(mut stored) = stored else { return Err(Refusal::bug("an erasure", &"is of no tenant")) };
        loop {
            stored.value.stage = match stored.value.stage {
                Stage::Erasing => {
                    leased.told(0, "documents, rows and keys are erased");
                    self.erase_all(lease, &mut stored).await?;
                    Stage::Waiting(self.now())
                }
                Stage::Waiting(since) => {
                    let due = since.plus(self.grace());
                    if let Some(plane) = &self.plane {
                        if self.now() < due {
                            return Ok(Step::Wait(due));
                        }
                        leased.told(700, "files are removed");
                        plane.upkeep_due().await?;
                    }
                    Stage::Removing(self.now())
                }
                Stage::Removing(asked) => {
                    let due = asked.plus(self.grace());
                    if self.now() < due {
                        return Ok(Step::Wait(due));
                    }
                    leased.told(800, "the files of the state are written anew");
                    if let Some(plane) = &self.plane
                        && !plane.scrub(asked).await?
                    {
                        return Ok(Step::Wait(self.now().plus(AGAIN)));
                    }
                    // What was under way when it began may have written since.
                    self.erase_rows(lease, &mut stored).await?;
                    self.store.scrub().await?;
                    self.certify(&mut stored.value).await?;
                    Stage::Done
                }
                Stage::Done => {
                    let Offboarding { certificate, erased, .. } = stored.value;
                    return Ok(Step::Done(json!({ "tenant": tenant, "certificate": certificate, "erased": erased })));
                }
            };
            self.keep(&mut stored).await?;
        }
    }

    /// How long files stay for questions, and a moment.
    fn grace(&self) -> Duration {
        match self.plane.as_ref().map(|plane| plane.grace()) {
            Some(grace) if !grace.is_zero() => grace.saturating_add(Duration::from_secs(1)),
            _ => Duration::ZERO,
        }
    }

    async fn erase_all(&self, lease: &Lease, stored: &mut Stored<Offboarding>) -> Result<(), Refusal> {
        let tenant = stored.value.tenant;
        self.erase_rows(lease, stored).await?;
        // Also where it was destroyed before a crash: what is said is that there is none.
        stored.value.key_destroyed = self.destroy_key(tenant).await?;
        self.keep(stored).await?;
        if let Some(plane) = &self.plane {
            let erased = plane.erase(tenant, &|_, _| true).await?;
            if erased.rows_held > 0 {
                return Err(Refusal::conflict("a legal hold covers rows of the tenant; it is not erased"));
            }
            add(&mut stored.value.erased, "lake_rows", erased.rows_removed);
            self.keep(stored).await?;
        }
        Ok(())
    }

    /// Documents first: what is left of them cannot make new rows.
    async fn erase_rows(&self, lease: &Lease, stored: &mut Stored<Offboarding>) -> Result<(), Refusal> {
        let tenant = stored.value.tenant;
        let snapshot = self.store.snapshot(Scope::Tenant(tenant));
        let retentions = self.remove_all::<Retention>(&snapshot, lease, tenant).await?;
        let erased = &mut stored.value.erased;
        add(erased, Retention::KIND, retentions);
        for (kind, number) in self.remove_documents(lease, tenant).await? {
            add(erased, &kind, number);
        }
        let wiped = self.store.wipe(tenant).await?;
        for (kind, number) in [
            ("log_payloads", wiped.payloads),
            ("decision_inputs", wiped.decisions),
            ("remembered_answers", wiped.answers),
            ("jobs", wiped.jobs),
            ("messages", wiped.messages),
        ] {
            add(erased, kind, number);
        }
        self.keep(stored).await
    }

    /// Remember how far it is.
    async fn keep(&self, stored: &mut Stored<Offboarding>) -> Result<(), Refusal> {
        let mut changes = Changes::new();
        changes.replace(&stored.value, stored.version);
        let tenant = stored.value.tenant.to_string();
        self.commit_as_system(NAME, OFFBOARD_JOB, Owner::Provider, tenant, changes).await?;
        stored.version = stored.version.saturating_add(1);
        Ok(())
    }

    /// Sign what was done.
    async fn certify(&self, done: &mut Offboarding) -> Result<(), Refusal> {
        let bug = |error: &dyn std::fmt::Display| Refusal::bug("a certificate cannot be made", error);
        self.checkpoint_all().await?;
        let owner = Owner::Tenant(done.tenant);
        let head = self.store.snapshot(Scope::Provider).latest_checkpoint(owner).await?;
        let checkpoint = head.map(|head| String::from_utf8(head.note)).transpose().map_err(|error| bug(&error))?;
        let checkpoint = checkpoint.map(Text::new).transpose().map_err(|error| bug(&error))?;
        let ended_at = self.now();
        let certificate = ErasureCertificate {
            v: FormatVersion,
            tenant: done.tenant,
            asked_by: done.asked_by.clone(),
            approved_by: List::new(done.approved_by.iter().take(16).cloned().collect()).unwrap_or_default(),
            reason: Text::truncated(&done.reason),
            began_at: done.began_at,
            ended_at,
            erased: done.erased.clone(),
            key_destroyed: done.key_destroyed,
            engine: Text::truncated(self.settings.engine),
            checkpoint,
        };
        let note = certificate.sign(&self.log_key.load().signer).map_err(|error| bug(&error))?;
        (done.certificate, done.ended_at) = (Some(note), Some(ended_at));
        Ok(())
    }
}

fn add(erased: &mut BTreeMap<String, u64>, kind: &str, number: u64) {
    if number > 0 {
        let count = erased.entry(kind.to_owned()).or_default();
        *count = count.saturating_add(number);
    }
}
