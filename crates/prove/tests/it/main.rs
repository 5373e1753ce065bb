//! The shipped properties against the shipped policies, and against sets that break them. Needs cvc5; says what it leaves out
//! where there is none. What is found here is made a real call at a real gate in `control`'s tests.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use policy::{ActionSpec, Document, Engine, Property, PropertyText};
use prove::{Answer, Proof, Solver};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn solver() -> Option<Solver> {
    let found = Solver::find(Path::new("cvc5"), std::env::var_os("PATH").as_deref());
    if let Err(why) = &found {
        eprintln!("left out: {why} (script/setup installs it)");
    }
    found.ok()
}

/// The operations, as the committed OpenAPI document declares them; they live as long as the test program.
fn specs() -> Vec<ActionSpec<'static>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/posse.json");
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let document: &'static Value = Box::leak(Box::new(document));
    let methods = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let spec = |operation: &'static Value| ActionSpec {
        id: operation["x-operation"].as_str().unwrap(),
        effect: serde_json::from_value(operation["x-effect"].clone()).unwrap(),
        resource_type: operation["x-resource"].as_str().unwrap(),
        obligations: &[policy::ObligationKind::MaxRows],
    };
    methods.map(spec).collect()
}

fn document(name: &str, text: &str) -> Document {
    Document { id: name.to_owned(), name: name.to_owned(), version: 1, text: text.to_owned(), tenant: None }
}

fn engine(specs: &[ActionSpec<'_>], documents: &[Document]) -> Engine {
    let rungs = policy::shipped::rungs().unwrap();
    Engine::compile(specs, documents, &rungs).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// The shipped documents without one policy.
fn without(id: &str) -> Vec<Document> {
    let mut documents = policy::shipped::documents();
    for document in &mut documents {
        let parts: Vec<&str> = document.text.split("@id(\"").collect();
        let kept: Vec<&str> = parts.iter().copied().filter(|part| !part.starts_with(&format!("{id}\""))).collect();
        document.text = kept.join("@id(\"");
    }
    assert_ne!(documents, policy::shipped::documents(), "`{id}` ships");
    documents
}

fn shipped(id: &str) -> PropertyText {
    policy::shipped_properties().unwrap().into_iter().find(|one| one.id == id).unwrap()
}

fn refuted(proof: &Proof) -> &[prove::Counterexample] {
    match &proof.answer {
        Answer::Counterexamples(found) => found,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_shipped_properties_hold_each_in_its_time() {
    let Some(solver) = solver() else { return };
    let specs = specs();
    let engine = engine(&specs, &policy::shipped::documents());
    for text in policy::shipped_properties().unwrap() {
        let property = Property::read(&specs, text).unwrap();
        let proof = prove::never(&solver, &engine, &specs, &property, LIMIT).await;
        let id = &property.text().id;
        eprintln!("{id}: {} of {} sorts in {:?}", proof.settled, proof.sorts, proof.took);
        assert!(matches!(proof.answer, Answer::Proved { empty: false }), "{id}: {:?}", proof.answer);
    }
}

#[tokio::test]
async fn without_its_guardrail_each_is_refuted_by_a_call_that_the_engine_allows() {
    let Some(solver) = solver() else { return };
    let specs = specs();
    for (guardrail, id) in [
        ("protected-targets-two-people", "crown-jewels-two-people"),
        ("agents-never-govern", "agents-never-govern"),
        ("nobody-judges-own", "nobody-approves-own"),
        ("tenants-apart", "tenants-apart"),
    ] {
        let engine = engine(&specs, &without(guardrail));
        let property = Property::read(&specs, shipped(id)).unwrap();
        let proof = prove::never(&solver, &engine, &specs, &property, LIMIT).await;
        for found in refuted(&proof) {
            eprintln!("{id}: {}\n  {}", found.sentence, serde_json::to_string(&found.request).unwrap());
            assert!(engine.decide(&found.request).permits() && engine.describes(&property, &found.request));
        }
    }
}

#[tokio::test]
async fn a_change_grants_nothing_new_or_what_it_grants_is_shown() {
    let Some(solver) = solver() else { return };
    let specs = specs();
    let with = |text: &str| engine(&specs, &[policy::shipped::documents(), vec![document("draft", text)]].concat());
    let before = engine(&specs, &policy::shipped::documents());
    let new = async |before: &Engine, after: &Engine| prove::nothing_new(&solver, before, after, &specs, LIMIT).await;
    let narrower = with(
        "@id(\"a\")\nforbid(principal is Posse::User, action in Posse::Action::\"write\", resource) when { context.tainted };",
    );
    assert!(matches!(new(&before, &narrower).await.answer, Answer::Proved { .. }));
    let same_in_other_words = with(
        "@id(\"a\")\npermit(principal in Posse::Role::\"viewer\", action == Posse::Action::\"case.list\", resource) when { context.hour >= 0 };",
    );
    let proof = new(&before, &same_in_other_words).await;
    assert!(matches!(proof.answer, Answer::Proved { .. }), "{:?}", proof.answer);
    let wider = with(
        "@id(\"a\")\npermit(principal in Posse::Role::\"viewer\", action == Posse::Action::\"case.open\", resource) when { context.approvals.people >= 1 };",
    );
    let proof = new(&before, &wider).await;
    let found = refuted(&proof);
    assert!(found.iter().all(|one| one.operations == ["case.open"]), "{found:#?}");
    let first = &found.first().unwrap().request;
    assert!(wider.decide(first).permits() && !before.decide(first).permits());
    // An obligation that goes is not covered, and said.
    let bound = with(
        "@id(\"a\")\n@max_rows(\"5\")\npermit(principal in Posse::Role::\"viewer\", action == Posse::Action::\"case.list\", resource);",
    );
    let proof = new(&bound, &before).await;
    assert!(matches!(&proof.answer, Answer::Unknown(why) if why.contains("draft/a")), "{:?}", proof.answer);
}

#[tokio::test]
async fn what_is_not_finished_is_unknown_and_never_proved() {
    let specs = specs();
    let engine = engine(&specs, &policy::shipped::documents());
    let property = Property::read(&specs, shipped("tenants-apart")).unwrap();
    // A solver that says nothing at all, and one that is none.
    for (program, limit) in [("sleep", Duration::from_millis(300)), ("false", Duration::from_secs(5))] {
        let solver = Solver::find(Path::new(program), std::env::var_os("PATH").as_deref()).unwrap();
        let proof = prove::never(&solver, &engine, &specs, &property, limit).await;
        assert!(matches!(&proof.answer, Answer::Unknown(why) if !why.is_empty()), "{program}: {:?}", proof.answer);
    }
    assert!(Solver::find(Path::new("no-such-solver"), std::env::var_os("PATH").as_deref()).is_err());
}
