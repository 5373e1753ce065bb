//! How long a decision takes, from resolved facts to outcome, with 200 policies in the evaluated set.
//!
//! `cargo bench -p policy`: prints one line per shape of policy set, in microseconds. Asserts nothing: a bound
//! on time stands in a script, never in a test.

use ids::PrincipalKind;
use policy::{ActionSpec, ContextFacts, Document, Effect, Engine, PrincipalFacts, Request, ResourceFacts, Rung};
use std::{fmt::Write as _, time::Instant};

const ROUNDS: usize = 5_000;

/// One set of policies and a question to it.
struct Shape {
    name: &'static str,
    policies: fn(usize) -> String,
    expect: &'static str,
}

/// 200 policies that all match by scope. `n` is the policy's number.
const SHAPES: [Shape; 7] = [
    Shape {
        name: "one permit, 199 policies for others: allow (what the question itself costs)",
        policies: |n| match n {
            0 => "permit(principal, action, resource);".to_owned(),
            n => format!("permit(principal == Posse::User::\"u{n}\", action, resource);"),
        },
        expect: "allow",
    },
    Shape {
        name: "200 permits that all hold: allow",
        policies: |n| format!("permit(principal, action, resource) when {{ context.recent_count < {} }};", n + 100),
        expect: "allow",
    },
    Shape {
        name: "199 conditions that fail, one permit: allow",
        policies: |n| match n {
            0 => "permit(principal, action, resource);".to_owned(),
            n => format!(
                "forbid(principal, action, resource) when {{ resource.tags.contains(\"t{n}\") && context.tainted }};"
            ),
        },
        expect: "allow",
    },
    Shape {
        name: "200 with 20 that ask for approval: step up",
        policies: |n| match n {
            0 => "permit(principal, action, resource);".to_owned(),
            n if n % 10 == 0 => {
                "forbid(principal, action, resource) unless { context.approvals.people >= 2 || context.break_glass };"
                    .to_owned()
            }
            n => format!("forbid(principal, action, resource) when {{ resource.tags.contains(\"t{n}\") }};"),
        },
        expect: "step_up",
    },
    Shape {
        name: "200 that all ask for approval: step up",
        policies: |n| match n {
            0 => "permit(principal, action, resource);".to_owned(),
            _ => "forbid(principal, action, resource) unless { context.approvals.responder >= 2 };".to_owned(),
        },
        expect: "step_up",
    },
    Shape {
        name: "200, 20 of them with two questions each: step up by the last rung",
        policies: |n| {
            match n {
            0 => "permit(principal, action, resource);".to_owned(),
            n if n % 10 == 0 => "forbid(principal, action, resource) unless { context.approvals.people >= 2 && context.approvals.provider_admin >= 2 };".to_owned(),
            n => format!("forbid(principal, action, resource) when {{ resource.tags.contains(\"t{n}\") }};"),
        }
        },
        expect: "step_up",
    },
    Shape {
        name: "200 that all ask and can never be met: deny",
        policies: |n| match n {
            0 => "permit(principal, action, resource);".to_owned(),
            _ => "forbid(principal, action, resource) unless { context.approvals.people >= 9 };".to_owned(),
        },
        expect: "deny",
    },
];

fn request() -> Request {
    Request {
        principal: PrincipalFacts {
            kind: PrincipalKind::Agent,
            id: "agent_01jd3k5v9qf8m2x7r4t6w8y0zc".to_owned(),
            roles: ["investigator".to_owned(), "responder_with_approval".to_owned(), "viewer".to_owned()].into(),
            owner: Some("user_01jd3k5v9qf8m2x7r4t6w8y0zc".to_owned()),
            tenant: None,
            tags: [].into(),
        },
        action: "action.isolate_host".to_owned(),
        resource: ResourceFacts {
            kind: "Host".to_owned(),
            id: "host_01jd3k5v9qf8m2x7r4t6w8y0zc".to_owned(),
            tenant: Some("tenant_01jd3k5v9qf8m2x7r4t6w8y0zc".to_owned()),
            owner: None,
            created_by: None,
            tags: ["env=prod".to_owned(), "os=linux".to_owned()].into(),
        },
        context: ContextFacts {
            tenant: "tenant_01jd3k5v9qf8m2x7r4t6w8y0zc".to_owned(),
            tenant_tags: ["env=prod".to_owned(), "region=eu".to_owned()].into(),
            ..ContextFacts::default()
        },
    }
}

fn rungs() -> Vec<Rung> {
    policy::shipped::rungs().unwrap_or_default()
}

fn main() {
    let isolate =
        ActionSpec { id: "action.isolate_host", effect: Effect::Respond, resource_type: "Host", obligations: &[] };
    println!("{:>9} {:>9} {:>9} {:>9}  (us)", "p10", "p50", "p99", "max");
    for shape in &SHAPES {
        let mut text = String::new();
        for n in 0..200 {
            let _ = writeln!(text, "@id(\"p{n}\") {}", (shape.policies)(n));
        }
        let document = Document { id: "bench".to_owned(), name: "bench".to_owned(), version: 1, text, tenant: None };
        match Engine::compile(&[isolate], &[document], &rungs()) {
            Ok(engine) => measure(shape, &engine),
            Err(faults) => println!("{}: {faults:?}", shape.name),
        }
    }
    start_up();
}

fn measure(shape: &Shape, engine: &Engine) {
    let request = request();
    let mut micros: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let decision = std::hint::black_box(engine).decide(std::hint::black_box(&request));
            let took = start.elapsed();
            assert_eq!(decision.outcome.as_str(), shape.expect, "{}", shape.name);
            took.as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    let at = |share: usize| micros.get(ROUNDS * share / 1000).copied().unwrap_or(f64::NAN);
    let max = micros.last().copied().unwrap_or(f64::NAN);
    println!("{:9.1} {:9.1} {:9.1} {max:9.1}  {}", at(100), at(500), at(990), shape.name);
}

/// Reading, checking and indexing the shipped documents over a registry of about 300 operations.
fn start_up() {
    let families = policy::FAMILIES;
    // What the shipped documents name one by one.
    let text = policy::shipped::documents().into_iter().map(|document| document.text).collect::<String>();
    let named = text.split("Posse::Action::\"").skip(1).filter_map(|rest| rest.split('"').next());
    let named: std::collections::BTreeSet<_> = named.filter(|id| id.contains('.') && !id.ends_with('*')).collect();
    let made =
        families.iter().flat_map(|family| ["look", "list", "make", "change"].map(|verb| format!("{family}.{verb}")));
    let ids: Vec<String> = made.chain(named.iter().map(|id| (*id).to_owned())).collect();
    let spec = |id: &'static String| ActionSpec {
        id,
        effect: if id.ends_with("look") || id.ends_with("list") { Effect::Read } else { Effect::Write },
        resource_type: "Tenant",
        obligations: &[],
    };
    let specs: Vec<_> = Vec::leak(ids).iter().map(spec).collect();
    let start = Instant::now();
    let engine = Engine::compile(&specs, &policy::shipped::documents(), &rungs());
    println!(
        "{:9.1} ms to compile the shipped documents over {} operations",
        start.elapsed().as_secs_f64() * 1e3,
        specs.len()
    );
    if let Err(faults) = engine {
        println!("{faults:?}");
    }
}
