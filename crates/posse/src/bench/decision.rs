//! How long one decision takes, from resolved facts to outcome, with 200 policies in the evaluated set: 180 whose
//! conditions fail and 20 that ask for approval, so that the answer is a step up.

use anyhow::anyhow;
use ids::PrincipalKind;
use policy::{ActionSpec, ContextFacts, Document, Effect, Engine, Outcome, PrincipalFacts, Request, ResourceFacts};
use std::fmt::Write as _;
use std::time::Instant;

const POLICIES: usize = 200;
const ROUNDS: usize = 20_000;

/// The 99th percentile in microseconds.
pub(crate) fn p99_us() -> anyhow::Result<f64> {
    let spec =
        ActionSpec { id: "action.isolate_host", effect: Effect::Respond, resource_type: "Host", obligations: &[] };
    let rungs = policy::shipped::rungs()?;
    let document =
        Document { id: "bench".to_owned(), name: "bench".to_owned(), version: 1, text: text()?, tenant: None };
    let engine = Engine::compile(&[spec], &[document], &rungs).map_err(|faults| anyhow!("{faults:?}"))?;
    let request = request();
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let decision = engine.decide(&request);
        times.push(started.elapsed());
        if !matches!(decision.outcome, Outcome::StepUp(_)) {
            return Err(anyhow!("the decision is not the step up that this measures: {decision:?}"));
        }
    }
    times.sort_unstable();
    let p99 = times.get(ROUNDS * 99 / 100).copied().unwrap_or_default();
    Ok(p99.as_secs_f64() * 1e6)
}

fn text() -> anyhow::Result<String> {
    let mut text = "@id(\"all\")\npermit(principal, action, resource);\n".to_owned();
    for n in 1..POLICIES {
        let condition = if n % 10 == 0 {
            "unless { context.approvals.people >= 2 || context.break_glass }".to_owned()
        } else {
            format!("when {{ resource.tags.contains(\"t{n}\") }}")
        };
        writeln!(text, "@id(\"p{n}\")\nforbid(principal, action, resource) {condition};")?;
    }
    Ok(text)
}

fn request() -> Request {
    let tenant = "tenant_01jd3k5v9qf8m2x7r4t6w8y0zc".to_owned();
    Request {
        principal: PrincipalFacts {
            kind: PrincipalKind::Agent,
            id: "agent_01jd3k5v9qf8m2x7r4t6w8y0zc".to_owned(),
            roles: ["investigator".to_owned(), "responder_with_approval".to_owned()].into(),
            owner: Some("user_01jd3k5v9qf8m2x7r4t6w8y0zc".to_owned()),
            tenant: None,
            tags: [].into(),
        },
        action: "action.isolate_host".to_owned(),
        resource: ResourceFacts {
            kind: "Host".to_owned(),
            id: "host_01jd3k5v9qf8m2x7r4t6w8y0zc".to_owned(),
            tenant: Some(tenant.clone()),
            owner: None,
            created_by: None,
            tags: ["env=prod".to_owned(), "os=linux".to_owned()].into(),
        },
        context: ContextFacts { tenant, tenant_tags: ["env=prod".to_owned()].into(), ..ContextFacts::default() },
    }
}
