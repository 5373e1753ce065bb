//! Questions to policy that decide nothing: explain, can-i, matrix, and tests of a document.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::decide::{Circumstances, PolicyState};
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Authority, DecisionKind, MatrixCell, PolicyAnswer, PolicyCanI, PolicyExplain, PolicyExplanation, PolicyMatrix,
    PolicyMatrixTable, PolicyTestCase, PolicyTestReport, PolicyTestResult, Spec,
};
use ids::{Owner, Principal, Text};
use policy::{Decision, Outcome as Decided};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The wire word for a decision.
pub(crate) const fn kind(decision: &Decision) -> DecisionKind {
    match decision.outcome {
        Decided::Allow => DecisionKind::Allow,
        Decided::Modify { .. } => DecisionKind::Modify,
        Decided::StepUp(_) => DecisionKind::StepUp,
        Decided::Defer(_) => DecisionKind::Defer,
        Decided::Deny(_) => DecisionKind::Deny,
    }
}

pub(crate) fn rung(decision: &Decision) -> Option<String> {
    match &decision.outcome {
        Decided::StepUp(step) => Some(step.rung.to_string()),
        Decided::Defer(defer) => defer.or.as_ref().or(defer.then.as_ref()).map(|step| step.rung.to_string()),
        _ => None,
    }
}

pub(crate) const fn authority(decision: &Decision) -> Authority {
    match decision.authority() {
        policy::Authority::Autonomous => Authority::Autonomous,
        policy::Authority::Approval => Authority::WithApproval,
        policy::Authority::Deferred => Authority::Deferred,
        policy::Authority::HumanOnly => Authority::HumanOnly,
        policy::Authority::Denied => Authority::Denied,
    }
}

fn names(policies: &[Arc<str>]) -> Vec<String> {
    policies.iter().map(ToString::to_string).collect()
}

/// Run tests against a policy set. A test is about nobody in particular, in a tenant that does not exist.
pub(crate) fn run_tests(
    control: &Control,
    state: &PolicyState,
    tests: &[PolicyTestCase],
) -> Result<PolicyTestReport, Refusal> {
    let mut results = Vec::new();
    for (index, test) in tests.iter().enumerate() {
        let Some(spec) = control.registry.spec(&test.operation) else {
            return Err(Refusal::fault(&format!("/tests/{index}/operation"), "is no operation; see `operation.list`"));
        };
        let decision = state.engine.decide(&test_request(control, spec, test));
        results.push(PolicyTestResult {
            name: test.name.clone(),
            passed: kind(&decision) == test.expect,
            decision: kind(&decision),
            rung: rung(&decision),
            policies: names(&decision.policies),
        });
    }
    Ok(PolicyTestReport { passed: results.iter().all(|result| result.passed), results })
}

fn test_request(control: &Control, spec: &Spec, test: &PolicyTestCase) -> policy::Request {
    let tenant = (spec.meta.resource != "Provider").then(|| "test".to_owned());
    let tags: std::collections::BTreeSet<String> = test.target_tags.iter().map(ToString::to_string).collect();
    let id = if spec.meta.resource == "Provider" { policy::PROVIDER } else { "test" };
    policy::Request {
        principal: policy::PrincipalFacts {
            kind: test.principal_kind,
            id: "principal-under-test".to_owned(),
            roles: test.roles.iter().map(ToString::to_string).collect(),
            owner: None,
            tenant: None,
            tags: std::collections::BTreeSet::new(),
        },
        action: spec.meta.id.to_owned(),
        resource: policy::ResourceFacts {
            kind: spec.meta.resource.to_owned(),
            id: id.to_owned(),
            tenant: tenant.clone(),
            owner: None,
            created_by: None,
            tags,
        },
        context: policy::ContextFacts {
            tenant: tenant.unwrap_or_else(|| policy::PROVIDER.to_owned()),
            now: control.now(),
            tainted: test.tainted,
            recent_count: i64::from(test.recent_count),
            approvals: test.approvals.iter().map(|(role, count)| (role.clone(), i64::from(*count))).collect(),
            self_approval: control.settings.self_approval,
            ..policy::ContextFacts::default()
        },
    }
}

/// The identity that a question is about: the caller, or another principal that the caller can reach.
async fn asked_about(
    control: &Control,
    admitted: &Admitted<'_>,
    principal: Option<&Principal>,
) -> Result<Arc<Identity>, Refusal> {
    let other = principal.filter(|principal| **principal != admitted.identity.principal);
    let Some(principal) = other else { return Ok(Arc::new(admitted.identity.clone())) };
    let found = control.identity_for(admitted.reach, principal).await?;
    found
        .map(Arc::new)
        .ok_or_else(|| Refusal::fault("/principal", "names no principal that you may know of and that could act now"))
}

/// The place that a question is about, marked as the asked principal's own: one may ask about oneself.
fn question_target(place: Owner, caller: &Identity, asked: Option<&Principal>) -> Target {
    let about = asked.cloned().unwrap_or_else(|| caller.principal.clone());
    Target::place(place).made_by(about)
}

impl Handle<PolicyExplain> for Control {
    fn plain(&self, place: Owner, identity: &Identity) -> Option<Target> {
        Some(question_target(place, identity, None))
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyExplain) -> Result<Target, Refusal> {
        Ok(question_target(look.identity.place(), look.identity, input.principal.as_ref()))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: PolicyExplain,
    ) -> Result<Outcome<PolicyExplanation>, Refusal> {
        let Some((spec, handler)) = self.registry.find(&input.operation) else {
            return Err(Refusal::fault("/operation", "is no operation; see `operation.list`"));
        };
        let identity = asked_about(self, admitted, input.principal.as_ref()).await?;
        let asked = Value::Object(input.input);
        let below = |problem: api::Problem| {
            let moved = problem
                .errors
                .into_iter()
                .map(|fault| api::Fault { pointer: format!("/input{}", fault.pointer), ..fault });
            Refusal::from(api::Problem::invalid(moved.collect()))
        };
        spec.validate(&asked).map_err(below)?;
        let parsed = handler.parse(spec, &asked)?;
        // Resolved within the reach of both: an explanation must not be a way to look further.
        let snapshot = self.store.snapshot(identity.reach());
        let target = handler.resolve(&self.look(&identity, &snapshot), &parsed).await?;
        if !admitted.identity.reach().covers(target.owner) {
            return Err(Refusal::not_found(&crate::denial::noun(target.kind)));
        }
        let recent_count = self.recent_count(&identity, spec).await?;
        let circumstances = Circumstances { recent_count, ..Circumstances::default() };
        let request = self.question(&identity, spec, &target, admitted.face, &circumstances).await?;
        let policies = self.policies.load();
        let explained = policies.engine.explain(&request);
        Ok(Outcome::answer(explanation(&explained, policies.version.to_string())))
    }
}

fn explanation(explained: &policy::Explanation, policy_version: String) -> PolicyExplanation {
    let decision = &explained.decision;
    let mut reasons = vec![explained.sentence.clone()];
    reasons.extend(explained.holding.iter().map(|one| {
        format!("{} `{}`: {}", one.effect, one.policy, one.summary.as_deref().unwrap_or("says nothing of itself"))
    }));
    let mut obligations: BTreeMap<String, Value> = BTreeMap::new();
    let (mut missing, mut human_only) = (Vec::new(), false);
    match &decision.outcome {
        Decided::Modify { obligations: laid } => {
            obligations.extend(laid.max_rows.map(|rows| ("max_rows".to_owned(), rows.into())));
            obligations.extend(laid.ttl_secs_max.map(|secs| ("ttl_secs_max".to_owned(), secs.into())));
            if !laid.mask.is_empty() {
                obligations.insert("mask".to_owned(), Value::from_iter(laid.mask.iter().cloned()));
            }
        }
        Decided::Defer(defer) => missing = names(&defer.missing),
        Decided::Deny(deny) => human_only = deny.human_only,
        Decided::Allow | Decided::StepUp(_) => {}
    }
    PolicyExplanation {
        decision: kind(decision),
        policies: names(&decision.policies),
        reasons,
        rung: rung(decision),
        missing,
        obligations,
        human_only,
        policy_version,
    }
}

impl Handle<PolicyCanI> for Control {
    fn plain(&self, place: Owner, identity: &Identity) -> Option<Target> {
        Some(question_target(place, identity, None))
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyCanI) -> Result<Target, Refusal> {
        Ok(question_target(look.place(input.tenant).await?, look.identity, None))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: PolicyCanI) -> Result<Outcome<PolicyAnswer>, Refusal> {
        let Some(spec) = self.registry.spec(&input.operation) else {
            return Err(Refusal::fault("/operation", "is no operation; see `operation.list`"));
        };
        let (decision, _) = self.cell(admitted.identity, spec, admitted.target.owner, admitted.face).await?;
        Ok(Outcome::answer(PolicyAnswer { decision: kind(&decision), rung: rung(&decision) }))
    }
}

impl Handle<PolicyMatrix> for Control {
    fn plain(&self, place: Owner, identity: &Identity) -> Option<Target> {
        Some(question_target(place, identity, None))
    }

    async fn resolve(&self, look: &Look<'_>, input: &PolicyMatrix) -> Result<Target, Refusal> {
        for tenant in input.tenants.iter() {
            look.tenant(*tenant).await?;
        }
        let place = match input.tenants.first() {
            Some(only) if input.tenants.len() == 1 => Owner::Tenant(*only),
            _ => look.identity.place(),
        };
        Ok(question_target(place, look.identity, input.principal.as_ref()))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: PolicyMatrix,
    ) -> Result<Outcome<PolicyMatrixTable>, Refusal> {
        let identity = asked_about(self, admitted, input.principal.as_ref()).await?;
        let own = identity.place();
        let places: Vec<Owner> = if input.tenants.is_empty() {
            vec![own]
        } else {
            input.tenants.iter().map(|tenant| Owner::Tenant(*tenant)).collect()
        };
        let mut cells = Vec::new();
        for place in places {
            for spec in self.registry.specs() {
                cells.push(self.matrix_cell(&identity, spec, place, admitted.face).await?);
            }
        }
        let policy_version = self.policies.load().version.to_string();
        Ok(Outcome::answer(PolicyMatrixTable { principal: identity.principal.clone(), cells, policy_version }))
    }
}

impl Control {
    /// One cell: what the gate would do, the reach of the principal included.
    async fn matrix_cell(
        &self,
        identity: &Identity,
        spec: &Spec,
        place: Owner,
        face: api::Face,
    ) -> Result<MatrixCell, Refusal> {
        let cell = |authority, rung, policies| MatrixCell {
            operation: spec.meta.id.to_owned(),
            effect: spec.meta.effect,
            tenant: place.tenant(),
            authority,
            rung,
            policies,
        };
        if !identity.reach().covers(place) {
            return Ok(cell(Authority::Denied, None, Vec::new()));
        }
        let (decision, _) = self.cell(identity, spec, place, face).await?;
        Ok(cell(authority(&decision), rung(&decision), names(&decision.policies)))
    }
}

/// What people call a principal in an answer.
pub(crate) fn shown_name(name: &str) -> Text<200> {
    Text::truncated(name)
}
