//! The decision, worked out the slow way, and the properties that the fast way must keep. Tests only.
//!
//! The oracle asks every policy alone at every point: no index, no atoms, no memory. Where it and the engine
//! differ, the engine is wrong.

use crate::{
    ActionSpec, ContextFacts, Decision, Defer, DenyReason, Document, EVIDENCE, Effect, Engine, Obligations, Outcome,
    PrincipalFacts, Request, ResourceFacts,
    polarity::{EVIDENCE_ALL, Point},
    question::Question,
};
use cedar_policy::{Entities, Schema};
use ids::{PrincipalKind, Timestamp};
use proptest::{collection, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner};
use std::sync::Arc;

const SPECS: [ActionSpec<'static>; 6] = [
    spec("action.isolate", Effect::Respond, "Host"),
    spec("case.get", Effect::Read, "Case"),
    spec("case.open", Effect::Write, "Tenant"),
    spec("role.assign", Effect::Govern, "Role"),
    spec("user.get", Effect::Read, "User"),
    spec("user.update", Effect::Govern, "User"),
];

const fn spec(id: &'static str, effect: Effect, resource_type: &'static str) -> ActionSpec<'static> {
    ActionSpec { id, effect, resource_type, obligations: &[crate::ObligationKind::MaxRows] }
}

const PRINCIPALS: [&str; 8] = [
    "principal",
    "principal",
    "principal is Posse::User",
    "principal == Posse::User::\"u1\"",
    "principal in Posse::Role::\"r1\"",
    "principal in Posse::Role::\"r2\"",
    "principal is Posse::Agent in Posse::Role::\"r1\"",
    "principal in Posse::Tenant::\"acme\"",
];
const ACTIONS: [&str; 6] = [
    "action",
    "action",
    "action in Posse::Action::\"read\"",
    "action in [Posse::Action::\"case.*\", Posse::Action::\"respond\"]",
    "action == Posse::Action::\"user.update\"",
    "action in [Posse::Action::\"govern\", Posse::Action::\"case.open\"]",
];
const RESOURCES: [&str; 6] = [
    "resource",
    "resource",
    "resource is Posse::Case",
    "resource in Posse::Tenant::\"acme\"",
    "resource == Posse::User::\"u1\"",
    "resource in Posse::Provider::\"provider\"",
];
/// Conditions in which approvals and evidence can only help; a forbid has them after `unless`.
const HELPING: [&str; 12] = [
    "context.approvals.people >= 1",
    "context.approvals.people > 1",
    "2 <= context.approvals.responder",
    "context.approvals.responder >= 1 || context.approvals.tenant_admin >= 1",
    "context.approvals.people >= 2 && context.approvals.analyst >= 1 && resource.tags.contains(\"a\")",
    "context.evidence.case_verdict",
    "context.evidence.case_verdict && context.evidence.tests_passed",
    "context.evidence.tests_passed || context.approvals.people >= 2",
    "!(context.approvals.provider_admin < 1 && context.tainted)",
    "if context.tainted then context.approvals.analyst >= 1 else context.evidence.backtest_passed",
    "context.approvals.people >= 3",
    "principal in Posse::Role::\"r2\" || context.approvals.detection_engineer >= 1",
];
/// Conditions without either; one of them may overflow. Those of words are answered by the index.
const PLAIN: [&str; 13] = [
    "context.tainted",
    "resource.tags.contains(\"a\")",
    "resource has owner && resource.owner == principal.id",
    "context.recent_count * 4611686018427387904 >= 0",
    "action in Posse::Action::\"write\"",
    "context.tenant == \"acme\" && principal.tags.contains(\"a\")",
    "resource.tags.contains(\"a\") || context.tenant_tags.contains(\"b\")",
    "resource.tags.containsAny([\"b\", \"c\"]) && context.recent_count * 4611686018427387904 >= 0",
    "context.recent_count * 4611686018427387904 >= 0 && resource.tags.contains(\"a\")",
    "\"u1\" == resource.id",
    "context.tenant_tags.containsAny([\"c\"]) || context.origin == \"rest\"",
    "!resource.tags.contains(\"a\")",
    "true",
];

/// One policy as text, without its `@id`.
fn policy() -> impl Strategy<Value = String> {
    let scope = (select(&PRINCIPALS[..]), select(&ACTIONS[..]), select(&RESOURCES[..]));
    let conditions = (proptest::option::of(select(&HELPING[..])), proptest::option::of(select(&PLAIN[..])));
    let extra = (any::<bool>(), 0_u8..8);
    (scope, conditions, extra).prop_map(|((principal, action, resource), (helping, plain), (permit, extra))| {
        let (effect, word, annotation) = match (permit, extra) {
            (true, 0) => ("permit", "when", "@max_rows(\"10\") "),
            (true, 1) => ("permit", "when", "@max_rows(\"5\") "),
            (true, _) => ("permit", "when", ""),
            (false, 0) => ("forbid", "unless", "@defer(\"case_verdict\") "),
            (false, 1) => ("forbid", "unless", "@defer(\"tests_passed,backtest_passed\") "),
            (false, _) => ("forbid", "unless", ""),
        };
        let helping = helping.map(|text| format!(" {word} {{ {text} }}")).unwrap_or_default();
        // Arithmetic beside approvals does not compile.
        let plain = plain.filter(|text| helping.is_empty() || !text.contains('*'));
        let plain = plain.map(|text| format!(" when {{ {text} }}")).unwrap_or_default();
        format!("{annotation}{effect}({principal}, {action}, {resource}){helping}{plain};")
    })
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    let document = |name: &'static str, tenant: Option<&'static str>, size| {
        collection::vec(policy(), 0..size).prop_map(move |policies| Document {
            id: name.to_owned(),
            name: name.to_owned(),
            version: 1,
            text: policies.iter().enumerate().map(|(n, text)| format!("@id(\"p{n}\") {text}\n")).collect(),
            tenant: tenant.map(str::to_owned),
        })
    };
    (document("all", None, 10), document("own", Some("acme"), 4)).prop_map(|(all, own)| vec![all, own])
}

fn request() -> impl Strategy<Value = Request> {
    let kinds = select(vec![PrincipalKind::User, PrincipalKind::Agent, PrincipalKind::System]);
    let roles = collection::btree_set(select(vec!["r1", "r2", "r3"]).prop_map(str::to_owned), 0..3);
    let principal = (kinds, select(vec!["u1", "u2"]), roles, any::<bool>(), any::<bool>());
    let resource = (select(vec!["u1", "r1", "acme"]), select(vec![Some("acme"), Some("globex"), None]), any::<bool>());
    let counts = collection::btree_map(select(&crate::APPROVAL_COUNTS[..]).prop_map(str::to_owned), 0_i64..4, 0..4);
    let evidence = collection::btree_map(select(&EVIDENCE[..]).prop_map(str::to_owned), any::<bool>(), 0..3);
    let words = || collection::btree_set(select(vec!["a", "b", "c"]).prop_map(str::to_owned), 0..3);
    let context = (any::<bool>(), 0_i64..3, counts, evidence, words(), words());
    (0..SPECS.len(), principal, resource, context).prop_map(|(action, principal, resource, context)| {
        let (kind, id, roles, tagged, homed) = principal;
        let (target, tenant, owned) = resource;
        let (tainted, recent_count, approvals, evidence, target_tags, tenant_tags) = context;
        let tags: std::collections::BTreeSet<String> = if tagged { ["a".to_owned()].into() } else { [].into() };
        Request {
            principal: PrincipalFacts {
                kind,
                id: id.to_owned(),
                roles,
                owner: None,
                tenant: homed.then(|| "acme".to_owned()),
                tags,
            },
            action: SPECS[action].id.to_owned(),
            resource: ResourceFacts {
                kind: SPECS[action].resource_type.to_owned(),
                id: target.to_owned(),
                tenant: tenant.map(str::to_owned),
                owner: owned.then(|| "u1".to_owned()),
                created_by: None,
                tags: target_tags,
            },
            context: ContextFacts {
                tenant: tenant.unwrap_or(crate::PROVIDER).to_owned(),
                now: Timestamp::from_micros(1_700_000_000_000_000),
                tenant_tags,
                tainted,
                recent_count,
                approvals,
                evidence,
                ..ContextFacts::default()
            },
        }
    })
}

fn engine(documents: &[Document]) -> Engine {
    let rungs = crate::shipped::rungs().unwrap();
    Engine::compile(&SPECS, documents, &rungs).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// What every policy says at one point: the permits and the forbids that hold.
struct Verdict {
    permits: Vec<usize>,
    forbids: Vec<usize>,
}

impl Verdict {
    fn passes(&self) -> bool {
        self.forbids.is_empty() && !self.permits.is_empty()
    }
}

struct Oracle<'a> {
    engine: &'a Engine,
    question: &'a Question<'a>,
    clauses: Vec<usize>,
}

impl<'a> Oracle<'a> {
    fn new(engine: &'a Engine, documents: &[Document], question: &'a Question<'a>, tenant: &str) -> Self {
        let applies = |index: &usize| {
            let document = &documents[engine.clauses[*index].document];
            document.tenant.as_deref().is_none_or(|bound| bound == tenant)
        };
        Self { engine, question, clauses: (0..engine.clauses.len()).filter(applies).collect() }
    }

    fn at(&self, point: &Point) -> Verdict {
        let request = self.question.at(point).unwrap();
        let mut verdict = Verdict { permits: Vec::new(), forbids: Vec::new() };
        for index in &self.clauses {
            let clause = &self.engine.clauses[*index];
            let said = self.question.ask_authorizer(&request, &self.engine.asked[*index].alone);
            let base = self.question.base.evidence;
            let promised = clause.defer != 0 && clause.defer & !point.evidence == 0 && clause.defer & !base != 0;
            match (clause.permit, said) {
                (true, Some(true)) => verdict.permits.push(*index),
                (false, Some(true) | None) if !promised => verdict.forbids.push(*index),
                _ => {}
            }
        }
        verdict
    }

    fn first_rung(&self, from: &Point) -> Option<usize> {
        (0..self.engine.rungs.len()).find(|rung| self.at(&self.engine.raised(*rung, from)).passes())
    }

    fn decide(&self) -> Decision {
        let base = self.question.base;
        let now = self.at(&base);
        let answer = |outcome, policies: &[usize], held_by: &[usize]| Decision {
            outcome,
            policies: self.engine.references(policies.iter().copied()),
            held_by: self.engine.references(held_by.iter().copied()),
            failed: Vec::new(),
        };
        if now.passes() {
            let mut obligations = Obligations::default();
            now.permits.iter().for_each(|index| obligations.tighten(&self.engine.clauses[*index].obligations));
            let outcome = if obligations.is_empty() { Outcome::Allow } else { Outcome::Modify { obligations } };
            return answer(outcome, &now.permits, &[]);
        }
        let informed = Point { evidence: EVIDENCE_ALL, ..base };
        let rung = self.first_rung(&base);
        let free = self.at(&informed).passes();
        let then = self.first_rung(&informed);
        if let (Some(rung), false) = (rung, free) {
            let goal = self.at(&self.engine.raised(rung, &base));
            return answer(Outcome::StepUp(self.engine.step_up(rung)), &goal.permits, &now.forbids);
        }
        if !free && then.is_none() {
            let deny = crate::Deny { reason: DenyReason::Forbidden, human_only: false };
            return answer(Outcome::Deny(deny), &[], &[]);
        }
        let then = then.filter(|_| !free);
        let mut goal = then.map_or(informed, |rung| self.engine.raised(rung, &informed));
        for bit in 0..EVIDENCE.len() {
            let less = Point { evidence: goal.evidence & !(1 << bit) | base.evidence, ..goal };
            if self.at(&less).passes() {
                goal = less;
            }
        }
        let added = goal.evidence & !base.evidence;
        let missing = (0..EVIDENCE.len()).filter(|bit| added & (1 << bit) != 0).map(|bit| Arc::from(EVIDENCE[bit]));
        let defer = Defer {
            missing: missing.collect(),
            or: rung.map(|rung| self.engine.step_up(rung)),
            then: then.map(|rung| self.engine.step_up(rung)),
        };
        answer(Outcome::Defer(defer), &self.at(&goal).permits, &now.forbids)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_engine_decides_as_the_oracle_does(
        documents in documents(),
        requests in collection::vec(request(), 12),
    ) {
        let engine = engine(&documents);
        for request in &requests {
            let question = engine.question(request).unwrap();
            let slow = Oracle::new(&engine, &documents, &question, &request.context.tenant).decide();
            let fast = engine.decide(request);
            match (&fast.outcome, &slow.outcome) {
                // Which forbids are named differs where several would do; the outcome may not.
                (Outcome::Deny(_), Outcome::Deny(_)) => {}
                _ => {
                    prop_assert_eq!(&fast.outcome, &slow.outcome, "{:#?}", request);
                    prop_assert_eq!(&fast.policies, &slow.policies, "{:#?}", request);
                    prop_assert_eq!(&fast.held_by, &slow.held_by, "{:#?}", request);
                }
            }
        }
    }

    #[test]
    fn an_extra_approval_never_takes_a_permission_away(
        documents in documents(),
        requests in collection::vec(request(), 12),
        more in select(&crate::APPROVAL_COUNTS[..]),
    ) {
        let engine = engine(&documents);
        for request in &requests {
            let before = engine.decide(request);
            let mut approved = request.clone();
            *approved.context.approvals.entry(more.to_owned()).or_default() += 1;
            let after = engine.decide(&approved);
            prop_assert!(!before.permits() || after.permits(), "{before:?}\n{after:?}");
            let denied = |decision: &Decision| matches!(decision.outcome, Outcome::Deny(_));
            prop_assert!(denied(&before) || !denied(&after), "{before:?}\n{after:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_enough(documents in documents(), requests in collection::vec(request(), 12)) {
        let engine = engine(&documents);
        for request in &requests {
            let Outcome::StepUp(step) = engine.decide(request).outcome else { continue };
            let mut approved = request.clone();
            for (name, count) in step.needs {
                let there = approved.context.approvals.entry(name).or_default();
                *there = count.max(*there);
            }
            prop_assert!(engine.decide(&approved).permits(), "{:?}", request);
        }
    }

    #[test]
    fn a_question_fits_the_schema(request in request()) {
        let mut engine = engine(&[]);
        engine.looked_at = crate::question::CONTEXT.to_vec();
        let schema: Schema = engine.schema_text.parse().unwrap();
        let question = engine.question(&request).unwrap();
        let entities = question.entities().iter().filter(|entity| entity.uid().type_name().basename() != "Action");
        prop_assert!(Entities::from_entities(entities.cloned(), Some(&schema)).is_ok());
        let asked = question.at(&question.base).unwrap();
        let context = asked.context().unwrap();
        prop_assert!(context.validate(&schema, asked.action().unwrap()).is_ok());
        let with_schema = cedar_policy::Request::new(
            asked.principal().unwrap().clone(),
            asked.action().unwrap().clone(),
            asked.resource().unwrap().clone(),
            context.clone(),
            Some(&schema),
        );
        prop_assert!(with_schema.is_ok(), "{:?}", with_schema.err());
    }
}

#[test]
fn the_random_sets_bring_out_every_outcome() {
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    for _ in 0..60 {
        let engine = engine(&documents().new_tree(&mut runner).unwrap().current());
        for _ in 0..12 {
            let request = request().new_tree(&mut runner).unwrap().current();
            *seen.entry(engine.decide(&request).outcome.as_str()).or_default() += 1;
        }
    }
    for outcome in ["allow", "defer", "deny", "modify", "step_up"] {
        assert!(seen.get(outcome).is_some_and(|count| *count >= 8), "{outcome}: {seen:?}");
    }
}
