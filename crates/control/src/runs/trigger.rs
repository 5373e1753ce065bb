//! What starts runs by itself: an event of a case, a detection, time. A run that a case starts is committed with what
//! happened to the case: neither is there without the other. A trigger lends no right: the run acts as its agent, which a
//! person reviewed and activated, and each of its calls is decided like any other.

use super::handle::{NewRun, turn_job};
use crate::admission::Admitted;
use crate::context::Control;
use crate::refusal::Refusal;
use agent::{CaseEvent, Definition, DetectionFilter, TenantSelector, Trigger};
use ids::{AgentId, CaseId, Owner, Principal, RunId, Scope, Severity, TenantId, Timestamp, UserId};
use serde_json::json;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use store::{
    Agent, AgentDefinition, AgentState, Changes, CommitError, Order, Resource, Run, RunState, Stored, Tenant,
    TenantState,
};

/// How long a case that grew is left to grow on before a run looks at it: what comes meanwhile starts no further run.
const SETTLE: Duration = Duration::from_secs(2);
/// The most runs that time starts in one round; the rest follows in the next.
const SCHEDULED_AT_ONCE: usize = 256;
/// Runs of one case that are looked through for one that will see the change anyway.
const RUNS_SEEN: u32 = 200;
/// Definitions that are read at once.
const PAGE: u32 = 500;
/// Parsed definitions that are kept.
const DEFINITIONS_MAX: usize = 4096;
/// Microseconds of a second.
const MICROS: i64 = 1_000_000;

/// What happened to a case.
pub(crate) struct Stirred {
    pub(crate) case: CaseId,
    pub(crate) opened: bool,
    /// The detections that came with it: how grave, which techniques.
    pub(crate) found: Vec<(Severity, Vec<String>)>,
}

/// An active agent that something starts.
struct Watcher {
    agent: AgentId,
    home: Option<TenantId>,
    owner: UserId,
    charter: String,
    since: Timestamp,
    expires_at: Timestamp,
    definition: Arc<Definition>,
}

/// All of them.
type Watchers = Arc<Vec<Arc<Watcher>>>;

/// What is known of watchers without asking the store.
#[derive(Default)]
pub(crate) struct WatchBoard {
    /// Those of a generation of agents and definitions.
    watchers: RwLock<Option<(u64, Watchers)>>,
    /// Definitions by charter.
    definitions: RwLock<HashMap<String, Arc<Definition>>>,
    /// The slots of schedules that were seen to.
    slots: RwLock<HashMap<(AgentId, TenantId, i64), i64>>,
}

/// Whether an agent runs in a tenant. One of a tenant runs there and nowhere else; one of the provider where its
/// definition says.
pub(super) fn reaches(
    selector: &TenantSelector,
    home: Option<TenantId>,
    tenant: TenantId,
    tags: &BTreeSet<String>,
) -> bool {
    let none = !selector.all && selector.tags.is_empty() && selector.ids.is_empty();
    let named = selector.all
        || selector.tags.iter().any(|tag| tags.contains(tag))
        || selector.ids.iter().any(|id| *id == tenant.to_string());
    match home {
        Some(home) => home == tenant && (none || named),
        None => named,
    }
}

fn grave_enough(filter: &DetectionFilter, severity: Severity, techniques: &[String]) -> bool {
    let least = filter.severity.as_deref().and_then(|word| serde_json::from_value::<Severity>(json!(word)).ok());
    // A filter for a technique holds for its sub-techniques.
    let fits = |wanted: &String| {
        techniques.iter().any(|own| own == wanted || own.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.')))
    };
    least.is_none_or(|least| severity >= least) && (filter.techniques.is_empty() || filter.techniques.iter().any(fits))
}

/// Whether a trigger answers what happened.
fn answers(trigger: &Trigger, stirred: &Stirred) -> bool {
    match trigger {
        Trigger::Case { event, .. } => match event {
            CaseEvent::Opened => stirred.opened,
            CaseEvent::Grown => !stirred.opened,
            CaseEvent::Concluded => false,
        },
        Trigger::Detection { filter } => {
            stirred.found.iter().any(|(severity, techniques)| grave_enough(filter, *severity, techniques))
        }
        Trigger::Api | Trigger::Schedule { .. } => false,
    }
}

impl Watcher {
    fn run(&self, id: RunId, tenant: TenantId, case: Option<CaseId>) -> Run {
        let new = NewRun {
            agent: self.agent,
            agent_tenant: self.home,
            charter: self.charter.clone(),
            owner: self.owner,
            on_behalf_of: vec![Principal::System("triggers".to_owned())],
            case,
            input: case.map_or_else(|| json!({}), |case| json!({ "case": case })),
        };
        new.run(id, tenant)
    }
}

impl Control {
    /// The runs that detections in cases start, added to what puts the detections there.
    pub(crate) async fn wake_for_cases(
        &self,
        admitted: &Admitted<'_>,
        tenant: TenantId,
        stirred: &[Stirred],
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let watchers = self.watchers_in(tenant, admitted.now).await?;
        if watchers.is_empty() {
            return Ok(());
        }
        for one in stirred {
            let woken: Vec<&Arc<Watcher>> = watchers
                .iter()
                .filter(|own| own.definition.triggers.iter().any(|trigger| answers(trigger, one)))
                .collect();
            if woken.is_empty() {
                continue;
            }
            let expected = if one.opened { HashSet::new() } else { self.expected(admitted, one.case).await? };
            for watcher in woken.into_iter().filter(|own| !expected.contains(&own.agent)) {
                let delay = if one.opened { Duration::ZERO } else { SETTLE };
                self.enqueue(watcher, tenant, one.case, admitted.now.plus(delay), changes);
            }
        }
        Ok(())
    }

    /// The runs that a conclusion starts. An agent is not started by what it concluded itself.
    pub(crate) async fn wake_for_conclusion(
        &self,
        admitted: &Admitted<'_>,
        case: &store::Case,
        verdict: case::Verdict,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let verdict = verdict.to_string();
        let answers = |trigger: &Trigger| match trigger {
            Trigger::Case { event: CaseEvent::Concluded, verdicts } => {
                verdicts.is_empty() || verdicts.contains(&verdict)
            }
            _ => false,
        };
        let watchers = self.watchers_in(case.tenant, admitted.now).await?;
        let woken: Vec<&Arc<Watcher>> = watchers
            .iter()
            .filter(|own| own.definition.triggers.iter().any(answers))
            .filter(|own| admitted.identity.principal != Principal::Agent(own.agent))
            .collect();
        if woken.is_empty() {
            return Ok(());
        }
        let expected = self.expected(admitted, case.id).await?;
        for watcher in woken.into_iter().filter(|own| !expected.contains(&own.agent)) {
            self.enqueue(watcher, case.tenant, case.id, admitted.now, changes);
        }
        Ok(())
    }

    fn enqueue(&self, watcher: &Watcher, tenant: TenantId, case: CaseId, at: Timestamp, changes: &mut Changes) {
        let run = watcher.run(RunId::generate(self.clock.as_ref(), self.entropy.as_ref()), tenant, Some(case));
        changes.create(&run).enqueue(turn_job(&run, at));
    }

    /// Agents that have a run of this case which has not begun: it will see what happened now.
    async fn expected(&self, admitted: &Admitted<'_>, case: CaseId) -> Result<HashSet<AgentId>, Refusal> {
        let key = Some(("case", case.to_string()));
        let page = store::Page { key, limit: RUNS_SEEN, order: Order::Descending, ..store::Page::default() };
        let runs: Vec<Stored<Run>> = admitted.snapshot.list(&page).await?;
        Ok(runs.into_iter().filter(|run| run.value.state == RunState::Queued).map(|run| run.value.agent).collect())
    }

    /// Active agents with triggers that run in a tenant.
    async fn watchers_in(&self, tenant: TenantId, now: Timestamp) -> Result<Vec<Arc<Watcher>>, Refusal> {
        let all = self.watchers().await?;
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let Some(facts) = self.tenant_facts(tenant).await? else { return Ok(Vec::new()) };
        let here = |own: &&Arc<Watcher>| {
            own.expires_at > now && reaches(&own.definition.tenants, own.home, tenant, &facts.tags)
        };
        Ok(all.iter().filter(here).cloned().collect())
    }

    /// All active agents with triggers, as the store had them at its newest change of agents.
    async fn watchers(&self) -> Result<Watchers, Refusal> {
        let board = &self.runs.watch;
        let generation = self.store.generation(&[Agent::KIND, AgentDefinition::KIND]);
        if let Some((of, known)) = board.watchers.read().unwrap_or_else(PoisonError::into_inner).as_ref()
            && *of == generation
        {
            return Ok(known.clone());
        }
        let snapshot = self.store.snapshot(Scope::Provider);
        let (mut watchers, mut after) = (Vec::new(), None);
        loop {
            let page = store::Page { after, limit: PAGE, ..store::Page::default() };
            let found: Vec<Stored<AgentDefinition>> = snapshot.list(&page).await?;
            after = found.last().map(|last| last.value.agent.to_string());
            let last = u32::try_from(found.len()).unwrap_or(PAGE) < PAGE;
            for stored in found {
                let Some(definition) = self.triggered(&stored.value) else { continue };
                let agent: Option<Stored<Agent>> = snapshot.read(&stored.value.agent.to_string()).await?;
                let Some(agent) = agent.filter(|agent| agent.value.state == AgentState::Active) else { continue };
                watchers.push(Arc::new(Watcher {
                    agent: stored.value.agent,
                    home: agent.value.tenant,
                    owner: agent.value.owner,
                    charter: stored.value.charter,
                    since: agent.updated_at,
                    expires_at: agent.value.expires_at,
                    definition,
                }));
            }
            if last {
                break;
            }
        }
        let watchers = Arc::new(watchers);
        // Read after the number: what changed meanwhile is read again.
        *board.watchers.write().unwrap_or_else(PoisonError::into_inner) = Some((generation, watchers.clone()));
        Ok(watchers)
    }

    /// The definition, where something in it starts runs.
    fn triggered(&self, stored: &AgentDefinition) -> Option<Arc<Definition>> {
        let starts = |definition: &Definition| definition.triggers.iter().any(|trigger| *trigger != Trigger::Api);
        let known = &self.runs.watch.definitions;
        if let Some(definition) = known.read().unwrap_or_else(PoisonError::into_inner).get(&stored.charter) {
            return starts(definition).then(|| definition.clone());
        }
        let definition = match Definition::parse(&stored.text) {
            Ok(definition) => Arc::new(definition),
            Err(faults) => {
                tracing::error!(agent = %stored.agent, ?faults, "a stored definition does not read; it starts nothing");
                return None;
            }
        };
        let mut kept = known.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= DEFINITIONS_MAX {
            kept.clear();
        }
        kept.insert(stored.charter.clone(), definition.clone());
        starts(&definition).then_some(definition)
    }

    /// Start the runs whose time has come. A schedule has slots, counted from 1970 in its own length; each starts one run
    /// in each tenant, whose id is that of the slot: a second look, or a second process, starts nothing.
    pub(super) async fn wake_scheduled(&self) -> Result<(), Refusal> {
        let (now, mut room) = (self.now(), SCHEDULED_AT_ONCE);
        for watcher in self.watchers().await?.iter().filter(|own| own.expires_at > now) {
            let every = watcher.definition.triggers.iter().filter_map(|trigger| match trigger {
                Trigger::Schedule { every_secs } => Some(i64::from(*every_secs)),
                _ => None,
            });
            for every in every {
                let slot = now.as_micros().div_euclid(every * MICROS);
                // The slot in which the agent became active has begun without it.
                if slot * every * MICROS < watcher.since.as_micros() {
                    continue;
                }
                for tenant in self.tenants_of(watcher).await? {
                    if room == 0 {
                        return Ok(());
                    }
                    room -= usize::from(self.start_slot(watcher, tenant, every, slot).await?);
                }
            }
        }
        Ok(())
    }

    /// Start the run of a slot; false where it is there.
    async fn start_slot(&self, watcher: &Watcher, tenant: TenantId, every: i64, slot: i64) -> Result<bool, Refusal> {
        let seen = (watcher.agent, tenant, every);
        let known = self.runs.watch.slots.read().unwrap_or_else(PoisonError::into_inner).get(&seen).copied();
        if known.is_some_and(|known| known >= slot) {
            return Ok(false);
        }
        let name = format!("{}/{tenant}/{every}/{slot}", watcher.agent);
        let run = watcher.run(RunId::derive(&[b"schedule", name.as_bytes()]), tenant, None);
        let mut changes = Changes::new();
        changes.create(&run).enqueue(turn_job(&run, self.now()));
        let id = run.id.to_string();
        let started = match self.commit_as_system("triggers", "run.start", Owner::Tenant(tenant), id, changes).await {
            Ok(()) => true,
            // It is there: made before a restart, or by another process.
            Err(Refusal::Commit(CommitError::Conflict { .. })) => false,
            Err(refusal) => return Err(refusal),
        };
        self.runs.watch.slots.write().unwrap_or_else(PoisonError::into_inner).insert(seen, slot);
        Ok(started)
    }

    /// The active tenants in which an agent runs.
    async fn tenants_of(&self, watcher: &Watcher) -> Result<Vec<TenantId>, Refusal> {
        let selector = &watcher.definition.tenants;
        let reached = |tenant: &Tenant| {
            let tags = tenant.tags.iter().cloned().collect();
            tenant.state == TenantState::Active && reaches(selector, watcher.home, tenant.id, &tags)
        };
        let scope = watcher.home.map_or(Scope::Provider, Scope::Tenant);
        let snapshot = self.store.snapshot(scope);
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = store::Page { after, limit: PAGE, ..store::Page::default() };
            let found: Vec<Stored<Tenant>> = snapshot.list(&page).await?;
            after = found.last().map(|last| last.value.id.to_string());
            let last = u32::try_from(found.len()).unwrap_or(PAGE) < PAGE;
            all.extend(
                found.iter().map(|stored| &stored.value).filter(|tenant| reached(tenant)).map(|tenant| tenant.id),
            );
            if last {
                return Ok(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(all: bool, tags: &[&str], ids: &[TenantId]) -> TenantSelector {
        TenantSelector {
            all,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ids: ids.iter().map(TenantId::to_string).collect(),
        }
    }

    #[test]
    fn an_agent_runs_where_it_is_at_home_or_where_its_definition_says() {
        let (own, other) = (TenantId::derive(&[b"own"]), TenantId::derive(&[b"other"]));
        let prod = BTreeSet::from(["env=prod".to_owned()]);
        for (selector, home, tenant, expected) in [
            (selector(false, &[], &[]), Some(own), own, true),
            (selector(false, &[], &[]), Some(own), other, false),
            (selector(true, &[], &[]), Some(own), other, false),
            (selector(false, &["env=test"], &[]), Some(own), own, false),
            (selector(false, &[], &[]), None, own, false),
            (selector(true, &[], &[]), None, own, true),
            (selector(false, &["env=prod"], &[]), None, own, true),
            (selector(false, &["env=test"], &[]), None, own, false),
            (selector(false, &[], &[other]), None, own, false),
            (selector(false, &["env=test"], &[own]), None, own, true),
        ] {
            assert_eq!(reaches(&selector, home, tenant, &prod), expected, "{selector:?} of {home:?} in {tenant}");
        }
    }

    #[test]
    fn a_detection_is_told_by_severity_and_technique() {
        let filter = |severity: Option<&str>, techniques: &[&str]| DetectionFilter {
            severity: severity.map(str::to_owned),
            techniques: techniques.iter().map(|one| (*one).to_owned()).collect(),
        };
        let own = ["T1059.004".to_owned()];
        for (filter, expected) in [
            (filter(None, &[]), true),
            (filter(Some("medium"), &[]), true),
            (filter(Some("high"), &[]), false),
            (filter(None, &["T1059"]), true),
            (filter(None, &["T1059.004"]), true),
            (filter(None, &["T105"]), false),
            (filter(Some("high"), &["T1059"]), false),
        ] {
            assert_eq!(grave_enough(&filter, Severity::Medium, &own), expected, "{filter:?}");
        }
    }
}
