//! `policy.simulate`: recorded decisions decided again under a draft. Decides nothing that counts and changes nothing; the
//! facts are those that were recorded, the policies those that would bind.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::decide::{PolicyState, installed_document};
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::policies::{any_policy, policy_target, version_of};
use crate::policy_questions::{authority, kind};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{ChangeCount, ChangedDecision, DecisionKind, PolicySimulate, RoleShift, Simulation};
use ids::{CallId, Owner, PrincipalKind, Scope, Timestamp};
use policy::{Authority, ContextFacts, Decision, PrincipalFacts, Request, ResourceFacts};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use store::{DecisionInput, Policy, Role, Stored, Tenant};

/// Recorded decisions of one step.
const STEP: u32 = 4096;
/// Recorded decisions of one call at most: what a server of ordinary size decides twice within seconds.
const DECISIONS_MAX: u64 = 500_000;
/// Sets of tags that the roles' matrix is asked at.
const TAG_SETS_MAX: usize = 32;
/// Cells that are listed.
const CELLS_MAX: usize = 1000;

impl Handle<PolicySimulate> for Control {
    fn plain(&self, _: Owner, _: &Identity) -> Option<Target> {
        Some(any_policy())
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicySimulate) -> Result<Target, Refusal> {
        if let Some(tenant) = input.tenant {
            look.tenant(tenant).await?;
        }
        policy_target(look, input.policy).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicySimulate) -> Result<Outcome<Simulation>, Refusal> {
        let head: Stored<Policy> = admitted.one("policy", &input.policy.to_string()).await?;
        let mut version = version_of(&admitted.snapshot, input.policy, head.value.newest).await?;
        if let Some(text) = input.text {
            version.text = text.into_string();
        }
        let draft = Arc::new(self.set_with(installed_document(&head.value, &version))?);
        let now = self.policies.load_full();
        let since = admitted.now.minus(Duration::from_secs(u64::from(input.days) * 86_400));
        let scope = input.tenant.map_or(Scope::Provider, Scope::Tenant);
        let show = usize::try_from(input.show).unwrap_or(usize::MAX);
        let mut replay = Replay::new(now.clone(), draft.clone(), show);
        let snapshot = self.store.snapshot(scope);
        let mut after: Option<(Timestamp, CallId)> = None;
        let complete = loop {
            let (inputs, next) = snapshot.decision_inputs(since, admitted.now, after, STEP).await?;
            replay = replay.on(inputs, after.map_or(since, |(at, _)| at)).await?;
            after = next;
            if next.is_none() {
                break true;
            }
            if replay.decisions >= DECISIONS_MAX {
                break false;
            }
        };
        let roles = crate::decide::all::<Role>(&admitted.snapshot).await?;
        let tags = self.tag_sets(admitted).await?;
        let wholly = tags.len() < TAG_SETS_MAX;
        let operations = self.registry.specs().iter();
        let operations = operations.map(|spec| Asked { id: spec.meta.id, resource: spec.meta.resource }).collect();
        let roles = roles.into_iter().map(|role| role.value).collect();
        let asked = Matrix { roles, tags, operations, alone: Vec::new() };
        let document = installed_document(&head.value, &version);
        let bound: Vec<_> = now.documents.iter().filter(|one| one.name == document.name).cloned().collect();
        let alone = self.alone([vec![document], bound])?;
        let asked = Matrix { alone, ..asked };
        let mut told = replay.told(since, if complete { admitted.now } else { after.map_or(since, |(at, _)| at) });
        told.complete = complete;
        let (now, draft) = (now.clone(), draft.clone());
        let weighed = tokio::task::spawn_blocking(move || asked.shifts(&now, &draft));
        let (grants, withdraws) =
            weighed.await.map_err(|error| Refusal::bug("the roles' matrix was not weighed", &error))?;
        told.grants_nothing_new = told.grants_nothing_new && grants.is_empty();
        (told.grants, told.withdraws) = (grants, withdraws);
        if !wholly {
            told.coverage.push(format!("the roles were asked at {TAG_SETS_MAX} sets of tenant tags; there are more"));
        }
        Ok(Outcome::answer(told))
    }
}

impl Control {
    /// The sets of these documents alone: a cell that neither speaks of cannot change.
    fn alone(&self, sets: [Vec<policy::Document>; 2]) -> Result<Vec<PolicyState>, Refusal> {
        let specs = self.registry.specs();
        Ok(sets.into_iter().map(|documents| crate::decide::compile(specs, documents)).collect::<Result<_, _>>()?)
    }

    /// The sets of tags that tenants have, each once.
    async fn tag_sets(&self, admitted: &Admitted<'_>) -> Result<Vec<BTreeSet<String>>, Refusal> {
        let tenants = crate::decide::all::<Tenant>(&admitted.snapshot).await?;
        let sets: BTreeSet<BTreeSet<String>> =
            tenants.into_iter().map(|tenant| tenant.value.tags.into_iter().collect()).collect();
        Ok(std::iter::once(BTreeSet::new())
            .chain(sets.into_iter().filter(|set| !set.is_empty()))
            .take(TAG_SETS_MAX)
            .collect())
    }
}

/// The replay so far.
struct Replay {
    now: Arc<PolicyState>,
    draft: Arc<PolicyState>,
    show: usize,
    decisions: u64,
    changed: u64,
    unreadable: u64,
    wider: bool,
    counts: BTreeMap<(String, &'static str, &'static str), (DecisionKind, DecisionKind, u64)>,
    items: Vec<ChangedDecision>,
}

impl Replay {
    fn new(now: Arc<PolicyState>, draft: Arc<PolicyState>, show: usize) -> Self {
        Self {
            now,
            draft,
            show,
            decisions: 0,
            changed: 0,
            unreadable: 0,
            wider: false,
            counts: BTreeMap::new(),
            items: Vec::new(),
        }
    }

    /// Decide some more, on a thread that may take its time.
    async fn on(mut self, inputs: Vec<DecisionInput>, at: Timestamp) -> Result<Self, Refusal> {
        let done = tokio::task::spawn_blocking(move || {
            for input in inputs {
                self.one(&input, at);
            }
            self
        });
        done.await.map_err(|error| Refusal::bug("a replay of decisions ended", &error))
    }

    fn one(&mut self, input: &DecisionInput, at: Timestamp) {
        let Ok(request) = serde_json::from_slice::<Request>(&input.body) else {
            self.unreadable += 1;
            return;
        };
        self.decisions += 1;
        let (before, after) = (self.now.decide(&request), self.draft.decide(&request));
        if before.outcome == after.outcome {
            return;
        }
        self.changed += 1;
        self.wider |= width(&after) > width(&before);
        let key = (request.action.clone(), before.outcome.as_str(), after.outcome.as_str());
        self.counts.entry(key).or_insert((kind(&before), kind(&after), 0)).2 += 1;
        if self.items.len() < self.show {
            let tenant = input.owner.tenant().map(|tenant| tenant.to_string());
            let now = request.context.now;
            self.items.push(ChangedDecision {
                call: input.call,
                at: if now.as_micros() > 0 { now } else { at },
                principal: request.principal.id,
                operation: request.action,
                tenant,
                before: kind(&before),
                after: kind(&after),
                policies: after.policies.iter().map(ToString::to_string).collect(),
            });
        }
    }

    fn told(self, since: Timestamp, until: Timestamp) -> Simulation {
        let counts = self.counts.into_iter().map(|((operation, ..), (before, after, calls))| ChangeCount {
            operation,
            before,
            after,
            calls,
        });
        let coverage = vec![
            "reads are not recorded one by one, so none was decided again; the roles' matrix shows them".to_owned(),
            "calls that met no decision (a wrong input, an unknown target) are not among them".to_owned(),
        ];
        Simulation {
            decisions: self.decisions,
            changed: self.changed,
            unreadable: self.unreadable,
            since,
            until,
            complete: true,
            coverage,
            counts: counts.collect(),
            items: self.items,
            grants_nothing_new: !self.wider,
            grants: Vec::new(),
            withdraws: Vec::new(),
        }
    }
}

/// How much a decision lets somebody do.
pub(crate) const fn width(decision: &Decision) -> u8 {
    match decision.outcome {
        policy::Outcome::Allow => 4,
        policy::Outcome::Modify { .. } => 3,
        policy::Outcome::StepUp(_) => 2,
        policy::Outcome::Defer(_) => 1,
        policy::Outcome::Deny(_) => 0,
    }
}

/// An operation, as far as a cell depends on it.
struct Asked {
    id: &'static str,
    resource: &'static str,
}

/// Every role and every operation, at the provider and at each set of tags.
struct Matrix {
    roles: Vec<Role>,
    tags: Vec<BTreeSet<String>>,
    operations: Vec<Asked>,
    /// What changes, by itself: before and after.
    alone: Vec<PolicyState>,
}

impl Matrix {
    /// Who there can be: a role, and the kinds of principal that may hold it.
    fn holders(&self) -> Vec<(Option<String>, Vec<PrincipalKind>)> {
        let all = vec![PrincipalKind::Agent, PrincipalKind::Rule, PrincipalKind::Service, PrincipalKind::User];
        let shipped = policy::shipped::ROLES.iter();
        let shipped = shipped.map(|role| (Some(role.id.to_owned()), role.principals.to_vec()));
        let own = self.roles.iter().map(|role| {
            let spec = crate::decide::role_spec(role);
            (Some(spec.id), spec.principals)
        });
        std::iter::once((None, all)).chain(shipped).chain(own).collect()
    }

    fn shifts(&self, now: &PolicyState, draft: &PolicyState) -> (Vec<RoleShift>, Vec<RoleShift>) {
        let (mut grants, mut withdraws) = (Vec::new(), Vec::new());
        let places = std::iter::once(None).chain(self.tags.iter().map(Some));
        let places: Vec<Option<&BTreeSet<String>>> = places.collect();
        for (role, kinds) in self.holders() {
            for principal_kind in kinds {
                let spoken = self.operations.iter().filter(|spec| {
                    self.alone.iter().any(|set| set.engine.speaks_of(spec.id, principal_kind, role.as_deref()))
                });
                for (spec, tags) in spoken.flat_map(|spec| places.iter().map(move |tags| (spec, *tags))) {
                    let request = cell(spec, role.as_ref(), principal_kind, tags);
                    let (before, after) = (now.engine.decide(&request), draft.engine.decide(&request));
                    let side = match (reach(&before), reach(&after)) {
                        (was, is) if is > was => &mut grants,
                        (was, is) if is < was => &mut withdraws,
                        _ => continue,
                    };
                    if side.len() < CELLS_MAX {
                        side.push(RoleShift {
                            role: role.clone(),
                            principal_kind,
                            operation: spec.id.to_owned(),
                            tenant_tags: tags.map(|tags| tags.iter().cloned().collect()),
                            before: authority(&before),
                            after: authority(&after),
                        });
                    }
                }
            }
        }
        (grants, withdraws)
    }
}

/// How far an authority reaches.
pub(crate) fn reach(decision: &Decision) -> u8 {
    match decision.authority() {
        Authority::Autonomous => 4,
        Authority::Approval => 3,
        Authority::Deferred => 2,
        Authority::Denied => 1,
        Authority::HumanOnly => 0,
    }
}

/// A question about somebody with a role and a target with nothing special about it.
fn cell(spec: &Asked, role: Option<&String>, kind: PrincipalKind, tags: Option<&BTreeSet<String>>) -> Request {
    let tenant = tags.map(|_| "some-tenant".to_owned());
    let resource = match (spec.resource, tags) {
        ("Tenant", Some(tags)) => ResourceFacts::tenant("some-tenant", tags.clone()),
        ("Tenant", None) => ResourceFacts::provider(),
        // What is the provider's, asked for from a tenant.
        ("Provider", _) => ResourceFacts { tenant: tenant.clone(), ..ResourceFacts::provider() },
        (kind, _) => ResourceFacts {
            kind: kind.to_owned(),
            id: "some-target".to_owned(),
            tenant: tenant.clone(),
            ..ResourceFacts::provider()
        },
    };
    Request {
        principal: PrincipalFacts {
            kind,
            id: "some-principal".to_owned(),
            roles: role.into_iter().cloned().collect(),
            owner: None,
            tenant: None,
            tags: BTreeSet::new(),
        },
        action: spec.id.to_owned(),
        resource,
        context: ContextFacts {
            tenant: tenant.unwrap_or_else(|| policy::PROVIDER.to_owned()),
            tenant_tags: tags.cloned().unwrap_or_default(),
            ..ContextFacts::default()
        },
    }
}
