//! Asking policy: from an identity and a resolved target to a decision, with facts that only the platform makes.

use crate::case_facts::is_found;
use crate::context::Control;
use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::target::Target;
use api::{Effect, Face, Problem, ProblemKind, Spec};
use ids::{Owner, Principal, Scope, TenantId, Timestamp};
use policy::{
    ActionSpec, ContextFacts, Decision, Document, Engine, ObligationKind, PrincipalFacts, Request, ResourceFacts,
    RoleSpec,
};
use seal::Digest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use store::{CaseEntity, Page, Policy, PolicyVersion, Role, Snapshot, Stored, Tenant};

/// How far back `context.recent_count` counts, in buckets of a minute.
pub(crate) const RECENT_MINUTES: i64 = 60;

/// The policy set that binds.
pub(crate) struct PolicyState {
    pub(crate) engine: Engine,
    /// Digest of everything that decisions depend on.
    pub(crate) version: Digest,
    /// The documents that it was made of, for questions about other sets.
    pub(crate) documents: Vec<Document>,
    /// Decisions by the essence of their question, which is all that they depend on under this set.
    remembered: RwLock<HashMap<Request, Decision>>,
}

/// How many decisions are remembered: some megabytes.
const REMEMBERED_MAX: usize = 4096;

impl PolicyState {
    /// Decide, or give the decision of the same question under the same set.
    pub(crate) fn decide(&self, request: &Request) -> Decision {
        let Some(essence) = self.engine.essence(request) else { return self.engine.decide(request) };
        if let Some(known) = self.remembered.read().unwrap_or_else(PoisonError::into_inner).get(&essence) {
            return known.clone();
        }
        let decision = self.engine.decide(request);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(essence, decision.clone());
        decision
    }
}

/// What a decision is made on besides identity and target.
#[derive(Clone, Debug, Default)]
pub(crate) struct Circumstances {
    pub(crate) recent_count: i64,
    pub(crate) approvals: BTreeMap<String, i64>,
}

/// What the gate needs to know of a tenant at every call.
#[derive(Clone, Debug)]
pub(crate) struct TenantFacts {
    pub(crate) tags: BTreeSet<String>,
}

/// Tenants' facts, re-read when the directory changed.
#[derive(Default)]
pub(crate) struct TenantCache {
    entries: RwLock<HashMap<TenantId, (u64, Arc<TenantFacts>)>>,
}

impl Control {
    /// Facts of a tenant; none where there is no such tenant.
    pub(crate) async fn tenant_facts(&self, tenant: TenantId) -> Result<Option<Arc<TenantFacts>>, Refusal> {
        let (changes, stamp) = (self.freshness.changes(), self.freshness.stamp([tenant.to_string().as_str()]));
        {
            let entries = self.tenants.entries.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((made, facts)) = entries.get(&tenant)
                && *made == stamp
            {
                return Ok(Some(facts.clone()));
            }
        }
        let stored: Option<Stored<Tenant>> =
            self.store.snapshot(Scope::Tenant(tenant)).read(&tenant.to_string()).await?;
        let facts = stored.map(|stored| Arc::new(TenantFacts { tags: stored.value.tags.into_iter().collect() }));
        // Absence is not kept: a tenant that is made later must be seen at once.
        if let Some(facts) = facts.clone()
            && self.freshness.changes() == changes
        {
            let mut entries = self.tenants.entries.write().unwrap_or_else(PoisonError::into_inner);
            if entries.len() > 10_000 {
                entries.clear();
            }
            entries.insert(tenant, (stamp, facts));
        }
        Ok(facts)
    }

    /// The tags of a place; a tenant that does not exist has none.
    pub(crate) async fn tags_of(&self, owner: Owner) -> Result<BTreeSet<String>, Refusal> {
        match owner {
            Owner::Provider => Ok(BTreeSet::new()),
            Owner::Tenant(tenant) => {
                Ok(self.tenant_facts(tenant).await?.map(|facts| facts.tags.clone()).unwrap_or_default())
            }
        }
    }

    /// The question that policy is asked.
    pub(crate) async fn question(
        &self,
        identity: &Identity,
        spec: &Spec,
        target: &Target,
        face: Face,
        circumstances: &Circumstances,
    ) -> Result<Request, Refusal> {
        let tenant_tags = self.tags_of(target.owner).await?;
        let tainted = self.run_tainted(identity).await?;
        let autonomy = self.autonomy_of(identity, spec.meta.id).await?;
        let target_in_case = self.target_in_case(identity, target).await?;
        let case_verdict = target_in_case && self.case_verdict(identity, target).await?;
        let tenant = target.owner.tenant().map(|tenant| tenant.to_string());
        let mut tags = target.tags.clone();
        if target.kind == "Tenant" {
            tags.extend(tenant_tags.iter().cloned());
        }
        Ok(Request {
            principal: PrincipalFacts {
                kind: identity.principal.kind(),
                id: identity.principal.to_string(),
                roles: identity.roles_at(target.owner, &tenant_tags, Some(self.now())),
                owner: identity.owner.map(|owner| owner.to_string()),
                tenant: identity.home.tenant().map(|tenant| tenant.to_string()),
                tags: BTreeSet::new(),
            },
            action: spec.meta.id.to_owned(),
            resource: ResourceFacts {
                kind: target.kind.to_owned(),
                id: target.id.clone(),
                tenant: tenant.clone(),
                owner: target.answerable.as_ref().map(Principal::to_string),
                created_by: target.created_by.as_ref().map(Principal::to_string),
                tags,
            },
            context: ContextFacts {
                tenant: tenant.unwrap_or_else(|| policy::PROVIDER.to_owned()),
                tenant_tags,
                origin: origin_word(face).to_owned(),
                now: self.now(),
                recent_count: circumstances.recent_count,
                on_behalf_of: identity.on_behalf_of.iter().map(Principal::to_string).collect(),
                granted_roles: target.granted_roles.clone(),
                approvals: circumstances.approvals.clone(),
                break_glass: identity.broke_glass_at(target.owner, self.now()),
                self_approval: self.settings.self_approval,
                tainted,
                target_in_case,
                evidence: BTreeMap::from([("case_verdict".to_owned(), case_verdict)]),
                autonomy: autonomy.unwrap_or("act").to_owned(),
                ..ContextFacts::default()
            },
        })
    }

    /// Whether all that the call touches stands in the evidence of the case that the caller's run works on. The case is
    /// that of the run's credential: what the caller says of cases does not count.
    async fn target_in_case(&self, identity: &Identity, target: &Target) -> Result<bool, Refusal> {
        let (Some(case), Some(tenant)) = (identity.case, target.owner.tenant()) else { return Ok(false) };
        let snapshot = self.store.snapshot(Scope::Tenant(tenant));
        if target.entities.is_empty() {
            return Ok(false);
        }
        let head = match crate::cases::root(&snapshot, case).await {
            Ok(head) => head.value,
            Err(Refusal::Problem(problem)) if problem.problem_kind() == ProblemKind::NotFound => return Ok(false),
            Err(refusal) => return Err(refusal),
        };
        for entity in &target.entities {
            let mut held = false;
            for part in std::iter::once(&head.id).chain(&head.merged) {
                let known: Option<Stored<CaseEntity>> = snapshot.read(&CaseEntity::key(*part, entity)).await?;
                // One that somebody only named when the case was opened has no detection behind it.
                held |= known.is_some_and(|known| known.value.count > 0)
                    && (entity.kind() != case::EntityKind::Lineage || is_found(&snapshot, *part, entity).await?);
            }
            if !held {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Decide one question under the policies that bind now.
    pub(crate) fn weigh(&self, request: &Request) -> (Decision, Digest) {
        let policies = self.policies.load();
        (policies.decide(request), policies.version)
    }

    /// How often this principal called this operation lately, this call not counted. Reads are not counted: a counter
    /// that every look increments would be a write for every look.
    pub(crate) async fn recent_count(&self, identity: &Identity, spec: &Spec) -> Result<i64, Refusal> {
        if spec.meta.effect == Effect::Read {
            return Ok(0);
        }
        let since = minute(self.now()) - RECENT_MINUTES;
        Ok(self.store.recent_count(&counter_key(&identity.principal, spec), since).await?)
    }

    /// Read the documents that bind, compile them and let them bind.
    pub(crate) async fn load_policies(&self) -> Result<(), Refusal> {
        let state = policy_state(&self.store.snapshot(Scope::Provider), self.registry.specs(), &self.shipped).await?;
        self.policies.store(Arc::new(state));
        self.freshness.touch_everything();
        Ok(())
    }
}

/// The set of all documents that bind: those that ship, those of this installation, and the roles made here.
pub(crate) async fn policy_state(
    snapshot: &Snapshot,
    specs: &[Spec],
    shipped: &[Document],
) -> Result<PolicyState, Refusal> {
    let mut documents = shipped.to_vec();
    for head in all::<Policy>(snapshot).await? {
        if let Some(active) = head.value.active {
            let key = PolicyVersion::key(head.value.id, active);
            let version: Option<Stored<PolicyVersion>> = snapshot.read(&key).await?;
            documents.extend(version.map(|version| installed_document(&head.value, &version.value)));
        }
    }
    for role in all::<Role>(snapshot).await? {
        let (spec, version) = (role_spec(&role.value), u64::try_from(role.version).unwrap_or(0));
        let tenant = role.value.tenant.map(|tenant| tenant.to_string());
        let document = policy::role_document(&spec, version, tenant.as_deref());
        documents.push(document.map_err(|error| Refusal::bug("a stored role does not compile", &error))?);
    }
    compile(specs, documents).map_err(|problem| Refusal::bug("the stored policies do not compile", &problem))
}

/// Do something with the operations as policy sees them.
pub(crate) fn with_actions<T>(specs: &[Spec], work: impl FnOnce(&[ActionSpec<'_>]) -> T) -> T {
    let kept: Vec<(&Spec, Vec<ObligationKind>)> = specs
        .iter()
        .map(|spec| (spec, spec.meta.obligations.iter().map(|one| obligation_kind(*one)).collect()))
        .collect();
    let actions: Vec<ActionSpec<'_>> = kept
        .iter()
        .map(|(spec, obligations)| ActionSpec {
            id: spec.meta.id,
            effect: effect_of(spec.meta.effect),
            resource_type: spec.meta.resource,
            obligations,
        })
        .collect();
    work(&actions)
}

/// Compile a set of documents; every fault is told.
pub(crate) fn compile(specs: &[Spec], documents: Vec<Document>) -> Result<PolicyState, Problem> {
    let rungs = policy::shipped::rungs().map_err(|error| {
        tracing::error!(%error, "the shipped rungs do not parse");
        Problem::internal()
    })?;
    let engine = with_actions(specs, |actions| Engine::compile(actions, &documents, &rungs));
    let engine = engine.map_err(|faults| policy_problem(&faults))?;
    let version = Digest::of(engine.canonical_text().as_bytes());
    Ok(PolicyState { engine, version, documents, remembered: RwLock::default() })
}

/// The document of one version of an installed policy.
pub(crate) fn installed_document(head: &Policy, version: &PolicyVersion) -> Document {
    Document {
        id: head.id.to_string(),
        name: head.name.clone(),
        version: u64::from(version.version),
        text: version.text.clone(),
        tenant: None,
    }
}

pub(crate) fn role_spec(role: &Role) -> RoleSpec {
    let all = || policy::Effect::ALL.to_vec();
    let effects: Vec<policy::Effect> = policy::Effect::ALL
        .into_iter()
        .filter(|effect| role.effects.iter().any(|word| word == effect.as_str()))
        .collect();
    let people = vec![ids::PrincipalKind::Service, ids::PrincipalKind::User];
    RoleSpec {
        id: role.id.to_string(),
        name: role.name.clone(),
        operations: role.operations.clone(),
        effects: if role.effects.is_empty() { all() } else { effects },
        principals: if role.principals.is_empty() { people } else { role.principals.clone() },
    }
}

/// A problem that names each fault of a policy text with its place.
pub(crate) fn policy_problem(faults: &[policy::PolicyFault]) -> Problem {
    let errors = faults.iter().take(64).map(|fault| {
        let hint = fault.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let name = fault.policy.as_ref().map(|id| format!("policy `{id}`, ")).unwrap_or_default();
        let place = format!("{name}line {}, column {}: ", fault.line, fault.column);
        api::Fault { pointer: "/text".to_owned(), detail: format!("{place}{}{hint}", fault.why) }
    });
    Problem::invalid(errors.collect())
}

/// Every document of a kind, page by page.
pub(crate) async fn all<R: store::Resource>(snapshot: &Snapshot) -> Result<Vec<Stored<R>>, Refusal> {
    let mut found: Vec<Stored<R>> = Vec::new();
    loop {
        let after = found.last().map(|last| last.value.id());
        let page: Vec<Stored<R>> = snapshot.list(&Page { after, limit: 1000, ..Page::default() }).await?;
        let whole = page.len() >= 1000;
        found.extend(page);
        if !whole {
            return Ok(found);
        }
    }
}

pub(crate) const fn effect_of(effect: Effect) -> policy::Effect {
    match effect {
        Effect::Govern => policy::Effect::Govern,
        Effect::Read => policy::Effect::Read,
        Effect::Respond => policy::Effect::Respond,
        Effect::Write => policy::Effect::Write,
    }
}

const fn obligation_kind(obligation: api::Obligation) -> ObligationKind {
    match obligation {
        api::Obligation::Mask => ObligationKind::Mask,
        api::Obligation::MaxRows => ObligationKind::MaxRows,
        api::Obligation::TtlSecsMax => ObligationKind::TtlSecsMax,
    }
}

const fn origin_word(face: Face) -> &'static str {
    match face {
        Face::Agent => "agent",
        Face::Cli => "cli",
        Face::Mcp => "mcp",
        Face::Offline => "system",
        Face::Rest => "rest",
        Face::Rule => "rule",
        Face::Schedule => "schedule",
    }
}

/// The minute that an instant is in: the bucket of the counters.
pub(crate) fn minute(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(60_000_000)
}

pub(crate) fn counter_key(principal: &Principal, spec: &Spec) -> String {
    format!("{principal}/{}", spec.meta.id)
}
