//! The lake's upkeep: what it holds, how long it is kept, legal holds, compaction; and what the data plane is told of
//! each tenant.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::job::Leased;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    ClassRetention, DataPlane, Etag, Keep, LakeCompact, LakeErase, LakeHold, LakeReleaseHold, LakeRetention,
    LakeSetRetention, LakeStatus, LakeStatusGet, SourceSetup, TenantSetup,
};
use ids::{JobId, Owner, Scope, TenantId, Text, Timestamp};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use store::{Changes, ExternalTable, Hold, Lease, NewJob, Retention, Source, Stored, Tenant};

/// Legal holds of one tenant at most.
const HOLDS_MAX: usize = 100;
/// The kind of a compaction's job.
const COMPACT_JOB: &str = "lake.compact";
/// The kind of a job that removes all of a tenant's rows.
const ERASE_JOB: &str = "lake.erase";
/// The name under which the platform does this.
const KEEPER: &str = "lake-compactor";
/// How often it is looked whether files are to be merged or removed without anybody asking.
const UPKEEP: Duration = Duration::from_secs(300);
/// How often it is looked whether something was asked.
const ROUND: Duration = Duration::from_secs(1);
/// How long a worker holds a compaction before another may take it up.
const COMPACT_LEASE: Duration = Duration::from_secs(60);

fn keeps_all(tenant: TenantId) -> Retention {
    Retention { tenant, days: None, classes: Vec::new(), holds: Vec::new() }
}

pub(crate) fn wire(retention: &Retention, version: Option<i64>) -> Result<api::Retention, Refusal> {
    let hold = |hold: &Hold| {
        Ok(api::Hold {
            name: hold.name.parse().map_err(|error| Refusal::bug("a stored hold is not well formed", &error))?,
            since: hold.since,
            until: hold.until,
            reason: Text::truncated(&hold.reason),
        })
    };
    Ok(api::Retention {
        tenant: retention.tenant,
        days: retention.days,
        classes: retention
            .classes
            .iter()
            .map(|(class_uid, days)| ClassRetention { class_uid: *class_uid, days: *days })
            .collect(),
        holds: retention.holds.iter().map(hold).collect::<Result<_, Refusal>>()?,
        etag: version.map(Etag::of),
    })
}

async fn stored(admitted: &Admitted<'_>, tenant: TenantId) -> Result<Option<Stored<Retention>>, Refusal> {
    Ok(admitted.snapshot.read(&tenant.to_string()).await?)
}

/// The changed retention in place of the one before.
fn replaced(before: Option<&Stored<Retention>>, now: &Retention) -> Result<Outcome<api::Retention>, Refusal> {
    let mut changes = Changes::new();
    let version = match before {
        Some(before) => {
            changes.replace(now, before.version);
            before.version.saturating_add(1)
        }
        None => {
            changes.create(now);
            1
        }
    };
    Ok(Outcome::changed(wire(now, Some(version))?, changes).then(After::Lake(now.tenant, Vec::new())))
}

impl Handle<LakeStatusGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LakeStatusGet) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: LakeStatusGet) -> Result<Outcome<LakeStatus>, Refusal> {
        Ok(Outcome::answer(self.plane()?.status(&Scope::from(admitted.target.owner)).await?))
    }
}

impl Handle<LakeRetention> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LakeRetention) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: LakeRetention) -> Result<Outcome<api::Retention>, Refusal> {
        let found = stored(admitted, input.tenant).await?;
        let (version, retention) = match found {
            Some(found) => (Some(found.version), found.value),
            None => (None, keeps_all(input.tenant)),
        };
        Ok(Outcome::answer(wire(&retention, version)?))
    }
}

impl Handle<LakeSetRetention> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LakeSetRetention) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: LakeSetRetention,
    ) -> Result<Outcome<api::Retention>, Refusal> {
        let before = stored(admitted, input.tenant).await?;
        let mut retention = before.as_ref().map_or_else(|| keeps_all(input.tenant), |before| before.value.clone());
        let mut classes: Vec<(u32, u32)> = input.classes.iter().map(|class| (class.class_uid, class.days)).collect();
        classes.sort_unstable();
        if classes.windows(2).any(|two| matches!(two, [one, other] if one.0 == other.0)) {
            return Err(Refusal::fault("/classes", "names a class twice; give each its days once"));
        }
        (retention.days, retention.classes) = (input.days, classes);
        replaced(before.as_ref(), &retention)
    }
}

impl Handle<LakeHold> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LakeHold) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: LakeHold) -> Result<Outcome<api::Retention>, Refusal> {
        crate::asking::range(Some(input.since), Some(input.until))?;
        let before = stored(admitted, input.tenant).await?;
        let mut retention = before.as_ref().map_or_else(|| keeps_all(input.tenant), |before| before.value.clone());
        if retention.holds.iter().any(|hold| hold.name == input.name.as_str()) {
            return Err(Refusal::conflict("a hold has this name; choose another, or release that one first"));
        }
        if retention.holds.len() >= HOLDS_MAX {
            return Err(Refusal::conflict(format!("the tenant has {HOLDS_MAX} holds; release one first")));
        }
        retention.holds.push(Hold {
            name: input.name.to_string(),
            since: input.since,
            until: input.until,
            reason: input.reason.into_string(),
        });
        replaced(before.as_ref(), &retention)
    }
}

impl Handle<LakeReleaseHold> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LakeReleaseHold) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: LakeReleaseHold,
    ) -> Result<Outcome<api::Retention>, Refusal> {
        let before = stored(admitted, input.tenant).await?.ok_or_else(|| Refusal::not_found("hold"))?;
        let mut retention = before.value.clone();
        retention.holds.retain(|hold| hold.name != input.name.as_str());
        if retention.holds.len() == before.value.holds.len() {
            return Err(Refusal::not_found("hold"));
        }
        replaced(Some(&before), &retention)
    }
}

impl Handle<LakeCompact> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LakeCompact) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: LakeCompact) -> Result<Outcome<api::Job>, Refusal> {
        self.plane()?;
        let job = self.lake_job(COMPACT_JOB, Owner::Tenant(input.tenant), Value::Null, admitted.now);
        Ok(queued(job, Some(input.tenant), admitted.now))
    }
}

impl Handle<LakeErase> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LakeErase) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: LakeErase) -> Result<Outcome<api::Job>, Refusal> {
        self.plane()?;
        let tenant: Option<Stored<Tenant>> = admitted.snapshot.read(&input.tenant.to_string()).await?;
        if tenant.is_none_or(|tenant| tenant.value.state != store::TenantState::Suspended) {
            return Err(Refusal::conflict("the tenant is not suspended; suspend it first, so that nothing comes in"));
        }
        let job = self.erase_job(input.tenant, admitted.now);
        Ok(queued(job, Some(input.tenant), admitted.now))
    }
}

/// A job as the caller sees it.
pub(crate) fn queued(job: NewJob, tenant: Option<TenantId>, now: Timestamp) -> Outcome<api::Job> {
    let told = api::Job {
        id: job.id,
        tenant,
        kind: job.kind.clone(),
        state: api::JobState::Queued,
        progress_permille: 0,
        progress: String::new(),
        attempts: 0,
        result: None,
        error: None,
        created_at: now,
        updated_at: now,
    };
    let mut changes = Changes::new();
    changes.enqueue(job);
    Outcome::changed(told, changes)
}

impl Control {
    /// Tell the data plane all that is known of every tenant. Reads each kind at once: two questions for each of many
    /// thousand tenants would be most of a start.
    pub(crate) async fn set_up_all(&self) -> Result<(), Refusal> {
        let Some(plane) = &self.plane else { return Ok(()) };
        let snapshot = self.store.snapshot(Scope::Provider);
        let mut sources: HashMap<TenantId, Vec<Source>> = HashMap::new();
        for found in crate::decide::all::<Source>(&snapshot).await? {
            sources.entry(found.value.tenant).or_default().push(found.value);
        }
        let mut externals: HashMap<TenantId, Vec<ExternalTable>> = HashMap::new();
        for found in crate::decide::all::<ExternalTable>(&snapshot).await? {
            externals.entry(found.value.tenant).or_default().push(found.value);
        }
        let retentions = crate::decide::all::<Retention>(&snapshot).await?.into_iter();
        let mut retentions: HashMap<TenantId, Retention> =
            retentions.map(|found| (found.value.tenant, found.value)).collect();
        for tenant in crate::decide::all::<Tenant>(&snapshot).await? {
            let tenant = tenant.value.id;
            let known = Known {
                sources: sources.remove(&tenant).unwrap_or_default(),
                externals: externals.remove(&tenant).unwrap_or_default(),
                retention: retentions.remove(&tenant),
            };
            self.set_up(plane.as_ref(), tenant, known);
        }
        Ok(())
    }

    /// Tell the data plane all that is known of a tenant, and give it its rules.
    pub(crate) async fn set_up_tenant(&self, tenant: TenantId) -> Result<(), Refusal> {
        let Some(plane) = &self.plane else { return Ok(()) };
        let snapshot = self.store.snapshot(Scope::Tenant(tenant));
        let sources: Vec<Stored<Source>> = crate::decide::all(&snapshot).await?;
        let externals: Vec<Stored<ExternalTable>> = crate::decide::all(&snapshot).await?;
        let retention: Option<Stored<Retention>> = snapshot.read(&tenant.to_string()).await?;
        let known = Known {
            sources: sources.into_iter().map(|stored| stored.value).collect(),
            externals: externals.into_iter().map(|stored| stored.value).collect(),
            retention: retention.map(|found| found.value),
        };
        self.set_up(plane.as_ref(), tenant, known);
        self.carry_first_rules(plane.as_ref(), tenant).await
    }

    /// A setup that the data plane does not take stays as it was: what it would refuse is refused before it is stored.
    fn set_up(&self, plane: &dyn DataPlane, tenant: TenantId, known: Known) {
        let Known { sources, externals, retention } = known;
        let retention = retention.unwrap_or_else(|| keeps_all(tenant));
        let setup = TenantSetup {
            tenant,
            sources: sources.into_iter().map(source_setup).collect(),
            keep: Keep {
                days: retention.days,
                by_class: retention.classes,
                holds: retention.holds.into_iter().map(|hold| (hold.name, hold.since, hold.until)).collect(),
            },
            externals: externals.iter().map(crate::external_table::setup).collect(),
            quota: self.settings.ingest_quota,
        };
        if let Err(problem) = plane.set_up(setup) {
            tracing::error!(%tenant, %problem, "the data plane does not take over what is known of a tenant");
        }
    }

    fn lake_job(&self, kind: &str, owner: Owner, payload: Value, now: Timestamp) -> NewJob {
        let id = JobId::generate(self.clock.as_ref(), self.entropy.as_ref());
        NewJob { id, kind: kind.to_owned(), owner, payload, run_at: now, attempts_max: 3, dedupe: None }
    }

    /// The job that removes all of a tenant's rows; it belongs to the provider, so that it outlives the tenant.
    pub(crate) fn erase_job(&self, tenant: TenantId, now: Timestamp) -> NewJob {
        let job = self.lake_job(ERASE_JOB, Owner::Provider, json!({ "tenant": tenant }), now);
        NewJob { attempts_max: 100, ..job }
    }

    /// Run what was asked of the lake, and what is due without that, until `stop` says so; apart from the other rounds,
    /// because a compaction takes long.
    pub(crate) async fn look_after_the_lake(self, mut stop: tokio::sync::watch::Receiver<bool>) {
        let (mut seen, mut due, mut upkeep) = (None, self.now(), self.now().plus(UPKEEP));
        while !*stop.borrow() {
            if self.now() >= upkeep {
                upkeep = self.now().plus(UPKEEP);
                if let Err(refusal) = self.enqueue_upkeep().await {
                    tracing::error!(?refusal, "the lake's upkeep cannot be begun; tried again later");
                }
            }
            let jobs = self.store.generation(&["job"]);
            // A job whose worker died becomes due without any change of state.
            if seen != Some(jobs) || self.now() >= due {
                (seen, due) = (Some(jobs), self.now().plus(COMPACT_LEASE));
                match self.run_lake_jobs(&mut stop).await {
                    // There may be more of them.
                    Ok(true) => {
                        seen = None;
                        continue;
                    }
                    Ok(false) => {}
                    Err(refusal) => tracing::error!(?refusal, "a round of the lake's upkeep failed; it goes on"),
                }
            }
            tokio::select! {
                _ = stop.changed() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// Ask for what is due without anybody having asked: files merged, and rows removed that are past their time.
    async fn enqueue_upkeep(&self) -> Result<(), Refusal> {
        let Some(plane) = &self.plane else { return Ok(()) };
        if !plane.upkeep_due().await? {
            return Ok(());
        }
        let job = self.lake_job(COMPACT_JOB, Owner::Provider, json!({ "due": true }), self.now());
        let id = job.id.to_string();
        let mut changes = Changes::new();
        changes.enqueue(job);
        self.commit_as_system(KEEPER, COMPACT_JOB, Owner::Provider, id, changes).await
    }

    /// Run the jobs that are due, one after the other; whether there was one.
    async fn run_lake_jobs(&self, stop: &mut tokio::sync::watch::Receiver<bool>) -> Result<bool, Refusal> {
        let mut any = self.run_offboardings(stop).await?;
        let Some(plane) = &self.plane else { return Ok(any) };
        for kind in [COMPACT_JOB, ERASE_JOB] {
            for lease in self.store.jobs().claim(KEEPER, kind, 1, COMPACT_LEASE).await? {
                any = true;
                let outcome = self.lake_work(plane.as_ref(), kind, &lease, stop).await;
                let mut changes = Changes::new();
                match outcome {
                    Ok(done) => changes.finish_job(&lease, Some(&done)),
                    Err(problem) => changes.fail_job(&lease, &problem.detail),
                };
                let (owner, id) = (lease.job.owner, lease.job.id.to_string());
                self.commit_as_system(KEEPER, kind, owner, id, changes).await?;
            }
        }
        Ok(any)
    }

    /// One job; the lease is kept alive beside it, and its loss (a cancelled job) stops it.
    async fn lake_work(
        &self,
        plane: &dyn DataPlane,
        kind: &str,
        lease: &Lease,
        stop: &mut tokio::sync::watch::Receiver<bool>,
    ) -> Result<Value, api::Problem> {
        let scope = Scope::from(lease.job.owner);
        let leased = Leased::new();
        let told = |permille: u32, text: &str| leased.told(permille, text);
        let due_only = lease.job.payload.get("due").and_then(Value::as_bool).unwrap_or(false);
        let erased = lease.job.payload.get("tenant").and_then(Value::as_str).and_then(|tenant| tenant.parse().ok());
        let work = async {
            let done = match (kind, erased) {
                (ERASE_JOB, Some(tenant)) => serde_json::to_value(plane.erase(tenant, &told).await?),
                _ => serde_json::to_value(plane.compact(&scope, due_only, &told).await?),
            };
            // Numbers always have a JSON form.
            Ok(done.unwrap_or_default())
        };
        self.while_leased(lease, COMPACT_LEASE, &leased, stop, work).await
    }
}

/// What the data plane is told of a tenant.
struct Known {
    sources: Vec<Source>,
    externals: Vec<ExternalTable>,
    retention: Option<Retention>,
}

fn source_setup(source: Source) -> SourceSetup {
    SourceSetup {
        name: Text::truncated(&source.name),
        mapping: source.mapping.as_deref().map(Text::truncated),
        mapping_text: source.mapping_text.as_deref().map(Text::truncated),
        silent_after_secs: source.silent_after_secs.filter(|_| source.enabled),
    }
}
