//! Rules over what the lake holds: backtests, and retro-hunts when a version goes live. Jobs, because both may take long;
//! this worker runs them one after the other, apart from the lake's own upkeep. Must never let a hunt store what a version
//! finds that does not run any more.

use crate::admission::{Admitted, Look};
use crate::asking::range;
use crate::context::Control;
use crate::decide::all;
use crate::job::Leased;
use crate::lake::queued;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::rule::{rule_target, version_of};
use crate::rule_live::RuleStock;
use crate::rule_metrics::figures_of;
use crate::target::Target;
use api::{
    BacktestAsk, Bounds, DataPlane, Estimate, Problem, ProblemKind, RetroHunted, RuleBacktest, RuleEstimate,
    RuleRetroHunt,
};
use ids::{JobId, Owner, RuleId, Scope, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use store::{Changes, Lease, NewJob, Rule, Stored, Tenant};
use tokio::sync::watch;

/// The kind of a backtest's job.
const BACKTEST_JOB: &str = "rule.backtest";
/// The kind of a retro-hunt's job.
const HUNT_JOB: &str = "rule.retro_hunt";
/// The name under which the platform does this.
const HUNTER: &str = "retro-hunter";
/// How far back is looked where nothing is said.
const DAYS: u32 = 7;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a worker holds a job before another may take it up.
const LEASE: Duration = Duration::from_secs(60);
/// How long one backtest, and a hunt in one tenant, may take.
const TIME_MAX: Duration = Duration::from_secs(3600);
/// Findings that a backtest shows where nothing is said.
const SHOWN: u32 = 20;

/// What a job of a backtest is about.
#[derive(Debug, Serialize, Deserialize)]
struct BacktestWork {
    rule: RuleId,
    version: u32,
    tenant: TenantId,
    since: Timestamp,
    until: Timestamp,
    show: u32,
    exhaustive: bool,
}

/// What a job of a retro-hunt is about.
#[derive(Debug, Serialize, Deserialize)]
struct HuntWork {
    rule: RuleId,
    version: u32,
    days: u32,
}

/// Of whose events a rule is asked: its own tenant's, or the named one's for a rule of the provider.
fn tenant_for(rule: &Rule, named: Option<TenantId>) -> Result<TenantId, Refusal> {
    match (rule.tenant, named) {
        (Some(own), None) => Ok(own),
        (Some(own), Some(named)) if own == named => Ok(own),
        (Some(_), Some(_)) => Err(Refusal::fault("/tenant", "is not the rule's own; leave it out")),
        (None, Some(named)) => Ok(named),
        (None, None) => {
            Err(Refusal::conflict("the rule is the provider's and runs in many tenants; name one as `tenant`"))
        }
    }
}

/// The rule over one tenant's events: whoever may ask the rule there may know of the tenant.
async fn tried_target(look: &Look<'_>, rule: RuleId, named: Option<TenantId>) -> Result<Target, Refusal> {
    let target = rule_target(look, rule).await?;
    let head: Stored<Rule> = look.one("rule", &rule.to_string()).await?;
    if head.value.tenant.is_none() && named.is_none() {
        // Nothing can be asked of it, which the handler says to those who may ask.
        return Ok(target);
    }
    let tenant = tenant_for(&head.value, named)?;
    look.tenant(tenant).await?;
    Ok(Target { owner: Owner::Tenant(tenant), ..target })
}

/// Why a job failed, in words for its caller.
fn why(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Problem(problem) => problem.detail.clone(),
        Refusal::Commit(_) | Refusal::Read(_) => "state could not be read or written".to_owned(),
    }
}

/// The range that is asked for; the last days where nothing is said.
fn span(since: Option<Timestamp>, until: Option<Timestamp>, now: Timestamp) -> Result<(Timestamp, Timestamp), Refusal> {
    let until = until.unwrap_or(now);
    let since = since.unwrap_or_else(|| until.minus(DAY.saturating_mul(DAYS)));
    range(Some(since), Some(until))?;
    Ok((since, until))
}

impl Handle<RuleBacktest> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleBacktest) -> Result<Target, Refusal> {
        tried_target(look, input.rule, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleBacktest) -> Result<Outcome<api::Job>, Refusal> {
        self.plane()?;
        let head: Stored<Rule> =
            admitted.reach.read(&input.rule.to_string()).await?.ok_or_else(|| Refusal::not_found("rule"))?;
        let version = input.version.unwrap_or(head.value.newest);
        version_of(admitted.reach, input.rule, version).await?;
        let tenant = tenant_for(&head.value, input.tenant)?;
        // What is found shows what events hold: only to those who could ask for these.
        if !admitted.bounds_of("event.search").await?.masked.is_empty() {
            let text =
                "policy hides fields of these events from you, and a backtest would show them; ask somebody who may";
            return Err(Problem::new(ProblemKind::Denied, text).into());
        }
        let (since, until) = span(input.since, input.until, admitted.now)?;
        let (show, exhaustive) = (input.show.unwrap_or(SHOWN), input.exhaustive);
        let work = BacktestWork { rule: input.rule, version, tenant, since, until, show, exhaustive };
        let job = self.rule_job(BACKTEST_JOB, Owner::Tenant(tenant), json!(work), admitted.now);
        Ok(queued(job, Some(tenant), admitted.now))
    }
}

impl Handle<RuleEstimate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleEstimate) -> Result<Target, Refusal> {
        tried_target(look, input.rule, input.tenant).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleEstimate) -> Result<Outcome<Estimate>, Refusal> {
        let head: Stored<Rule> =
            admitted.reach.read(&input.rule.to_string()).await?.ok_or_else(|| Refusal::not_found("rule"))?;
        let version = input.version.unwrap_or(head.value.newest);
        let tenant = tenant_for(&head.value, input.tenant)?;
        let (since, until) = span(input.since, input.until, admitted.now)?;
        let ask = self.ask_of(&head.value, version, tenant, (since, until), input.exhaustive).await?;
        Ok(Outcome::answer(self.plane()?.backtest_estimate(&Scope::Tenant(tenant), &ask)?))
    }
}

impl Handle<RuleRetroHunt> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleRetroHunt) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleRetroHunt) -> Result<Outcome<api::Job>, Refusal> {
        self.plane()?;
        let head: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        let Some(version) = head.value.running else {
            return Err(Refusal::conflict(
                "no version of the rule runs; `rule.backtest` looks without storing anything",
            ));
        };
        let job = self.hunt_job(&head.value, version, input.days, admitted.now);
        Ok(queued(job, head.value.tenant, admitted.now))
    }
}

impl Control {
    fn rule_job(&self, kind: &str, owner: Owner, payload: Value, now: Timestamp) -> NewJob {
        let id = JobId::generate(self.clock.as_ref(), self.entropy.as_ref());
        NewJob { id, kind: kind.to_owned(), owner, payload, run_at: now, attempts_max: 3, dedupe: None }
    }

    fn hunt_job(&self, rule: &Rule, version: u32, days: u32, now: Timestamp) -> NewJob {
        let work = HuntWork { rule: rule.id, version, days };
        self.rule_job(HUNT_JOB, rule.tenant.into(), json!(work), now)
    }

    /// The retro-hunt of a rule that goes live, where the rule, its tenant or the platform wants one.
    pub(crate) async fn hunt_of(&self, admitted: &Admitted<'_>, rule: &Rule) -> Result<Option<NewJob>, Refusal> {
        let (Some(version), true) = (rule.running, self.plane.is_some()) else { return Ok(None) };
        let of_tenant = match rule.tenant {
            Some(tenant) => {
                let tenant: Option<Stored<Tenant>> = admitted.snapshot.read(&tenant.to_string()).await?;
                tenant.and_then(|tenant| tenant.value.retro_hunt_days)
            }
            None => None,
        };
        let days = rule.retro_hunt_days.or(of_tenant).unwrap_or(DAYS);
        Ok((days > 0).then(|| self.hunt_job(rule, version, days, admitted.now)))
    }

    /// A version of a rule with a tenant's exceptions, to be asked of a range.
    async fn ask_of(
        &self,
        rule: &Rule,
        version: u32,
        tenant: TenantId,
        (since, until): (Timestamp, Timestamp),
        exhaustive: bool,
    ) -> Result<BacktestAsk, Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let version = version_of(&snapshot, rule.id, version).await?;
        let beside = RuleStock::read(&snapshot).await?.exceptions_of(tenant, self.now());
        let rule = api::RuleText {
            id: Some(rule.id),
            name: rule.sigma_id.clone(),
            digest: version.digest,
            text: version.text,
            shadow: rule.shadow,
        };
        Ok(BacktestAsk { rule, beside, since, until, exhaustive })
    }

    /// Run backtests and retro-hunts that were asked for, until `stop` says so.
    pub(crate) async fn run_rules_back(self, mut stop: watch::Receiver<bool>) {
        let (mut seen, mut due) = (None, self.now());
        while !*stop.borrow() {
            let jobs = self.store.generation(&["job"]);
            // A job whose worker died becomes due without any change of state.
            if seen != Some(jobs) || self.now() >= due {
                (seen, due) = (Some(jobs), self.now().plus(LEASE));
                match self.run_rule_jobs(&mut stop).await {
                    Ok(true) => {
                        seen = None;
                        continue;
                    }
                    Ok(false) => {}
                    Err(refusal) => tracing::error!(?refusal, "a backtest or retro-hunt failed; it is tried again"),
                }
            }
            tokio::select! {
                _ = stop.changed() => {}
                // Somebody asked.
                _ = self.store.changed(&["job"], jobs), if seen == Some(jobs) => {}
                () = tokio::time::sleep(LEASE) => {}
            }
        }
    }

    async fn run_rule_jobs(&self, stop: &mut watch::Receiver<bool>) -> Result<bool, Refusal> {
        let Some(plane) = self.plane.clone() else { return Ok(false) };
        let mut any = false;
        for kind in [HUNT_JOB, BACKTEST_JOB] {
            for lease in self.store.jobs().claim(HUNTER, kind, 1, LEASE).await? {
                any = true;
                let leased = Leased::new();
                let work = self.rule_work(plane.as_ref(), kind, &lease, &leased);
                let outcome = self.while_leased(&lease, LEASE, &leased, stop, work).await;
                if !leased.goes_on() {
                    // It was cancelled, or the next start takes it up again.
                    continue;
                }
                let mut changes = Changes::new();
                match outcome {
                    Ok((result, head)) => {
                        changes.finish_job(&lease, Some(&result));
                        if let Some((head, version)) = head {
                            changes.replace(&head, version);
                        }
                    }
                    Err(refusal) => {
                        tracing::warn!(?refusal, job = %lease.job.id, kind, "a backtest or retro-hunt failed");
                        changes.fail_job(&lease, &why(&refusal));
                    }
                }
                self.commit_as_system(HUNTER, kind, lease.job.owner, lease.job.id.to_string(), changes).await?;
            }
        }
        Ok(any)
    }

    /// The result of a job, and the head of the rule where it says something else now.
    async fn rule_work(
        &self,
        plane: &dyn DataPlane,
        kind: &str,
        lease: &Lease,
        leased: &Leased,
    ) -> Result<(Value, Option<(Rule, i64)>), Refusal> {
        let read = |error: serde_json::Error| Refusal::bug("a stored job does not parse", &error);
        if kind == HUNT_JOB {
            let work: HuntWork = serde_json::from_value(lease.job.payload.clone()).map_err(read)?;
            return Ok((self.hunt(plane, &work, lease.job.id, leased).await?, None));
        }
        let work: BacktestWork = serde_json::from_value(lease.job.payload.clone()).map_err(read)?;
        self.try_back(plane, &work, leased).await
    }

    async fn try_back(
        &self,
        plane: &dyn DataPlane,
        work: &BacktestWork,
        leased: &Leased,
    ) -> Result<(Value, Option<(Rule, i64)>), Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        let head: Stored<Rule> =
            snapshot.read(&work.rule.to_string()).await?.ok_or_else(|| Refusal::not_found("rule"))?;
        let range = (work.since, work.until);
        let ask = self.ask_of(&head.value, work.version, work.tenant, range, work.exhaustive).await?;
        let limits = self.settings.questions;
        let bounds = Bounds {
            rows_max: work.show,
            bytes_max: limits.answer_bytes_max,
            time_max: TIME_MAX,
            decoded_bytes_max: limits.decoded_bytes_max,
            memory_bytes_max: limits.memory_bytes_max,
            masked: BTreeSet::new(),
            position: None,
        };
        let told = |permille: u32, text: &str| leased.told(permille, text);
        let found = plane.backtest(&Scope::Tenant(work.tenant), &ask, &bounds, &told).await?;
        let verdicts =
            figures_of(&self.store.snapshot(Scope::Tenant(work.tenant)), None, None, Some(&head.value.sigma_id))
                .await?;
        let judged = verdicts.items.into_iter().next();
        let complete = found.complete;
        let result = json!({
            "rule": work.rule, "version": work.version, "tenant": work.tenant, "since": work.since, "until": work.until,
            "found": found, "judged": judged,
        });
        // The rule may have changed meanwhile: what was tried is told of what is there now.
        let now: Option<Stored<Rule>> = snapshot.read(&work.rule.to_string()).await?;
        let changed = now.filter(|now| complete && now.value.newest == work.version);
        Ok((result, changed.map(|now| (Rule { backtested: Some(work.version), ..now.value }, now.version))))
    }

    async fn hunt(
        &self,
        plane: &dyn DataPlane,
        work: &HuntWork,
        job: JobId,
        leased: &Leased,
    ) -> Result<Value, Refusal> {
        // The version runs from here on: whatever comes in later is asked as it comes.
        self.carry_rules(plane).await?;
        let snapshot = self.store.snapshot(Scope::Provider);
        let head: Option<Stored<Rule>> = snapshot.read(&work.rule.to_string()).await?;
        let Some(head) = head.filter(|head| head.value.running == Some(work.version)) else {
            return Ok(json!({ "rule": work.rule, "version": work.version, "tenants": [], "superseded": true }));
        };
        let tenants = match head.value.tenant {
            Some(tenant) => vec![tenant],
            None => {
                let (stock, now) = (RuleStock::read(&snapshot).await?, self.now());
                let runs = |tenant: &TenantId| !stock.set_of(*tenant, now).off.contains(&head.value.sigma_id);
                all::<Tenant>(&snapshot).await?.into_iter().map(|tenant| tenant.value.id).filter(runs).collect()
            }
        };
        let until = self.now();
        let since = until.minus(DAY.saturating_mul(work.days));
        let (hunt, count) = (job.to_string(), u32::try_from(tenants.len()).unwrap_or(u32::MAX).max(1));
        let mut done = Vec::new();
        for (number, tenant) in (0_u32..).zip(tenants) {
            let ask = self.ask_of(&head.value, work.version, tenant, (since, until), false).await?;
            let told = |permille: u32, text: &str| {
                let whole = number.saturating_mul(1000).saturating_add(permille).checked_div(count).unwrap_or(0);
                leased.told(whole, text)
            };
            let found: Result<RetroHunted, Problem> = plane.retro_hunt(tenant, &ask, &hunt, TIME_MAX, &told).await;
            done.push(json!({ "tenant": tenant, "hunted": found? }));
            if !leased.goes_on() {
                break;
            }
        }
        Ok(json!({
            "rule": work.rule, "version": work.version, "days": work.days, "since": since, "until": until, "tenants": done,
        }))
    }
}
