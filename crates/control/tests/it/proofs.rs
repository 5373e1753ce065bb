//! What is proved about the policies that ship, and that what a solver says goes wrong without them does go wrong: each
//! counterexample is made a real call at a real gate. Needs cvc5; says what it leaves out where there is none.

use control::{Settings, Solver};
use policy::Document;
use serde_json::{Value, json};
use std::path::Path;
use testkit::{Cast, Platform, cast};

/// Settings with the solver of this machine; none where it has none, said aloud.
fn settings() -> Option<Settings> {
    let found = Solver::find(Path::new("cvc5"), std::env::var_os("PATH").as_deref());
    let Ok(solver) = found else {
        eprintln!("left out: there is no cvc5 here, so nothing is proved (script/setup installs it)");
        return None;
    };
    Some(Settings { solver: Some(solver), ..testkit::platform::settings() })
}

/// The shipped documents without some of their policies.
fn without(ids: &[&str]) -> Vec<Document> {
    let mut documents = policy::shipped::documents();
    let mut gone = 0;
    for document in &mut documents {
        let parts: Vec<&str> = document.text.split("@id(\"").collect();
        let kept = parts.iter().filter(|part| !ids.iter().any(|id| part.starts_with(&format!("{id}\""))));
        let kept: Vec<&str> = kept.copied().collect();
        gone += parts.len() - kept.len();
        document.text = kept.join("@id(\"");
    }
    assert_eq!(gone, ids.len(), "every policy that is taken away was there");
    documents
}

async fn prove(platform: &Platform, token: &str, input: Value) -> Value {
    platform.done(token, "policy.prove", &input).await
}

fn property(told: &Value, id: &str) -> Value {
    let all = told["properties"].as_array().unwrap().iter();
    all.clone().find(|one| one["id"] == id).unwrap_or_else(|| panic!("no `{id}` in {told:#}")).clone()
}

/// The counterexample with one of these operations.
fn with_operation<'a>(refuted: &'a Value, operation: &str) -> &'a Value {
    assert_eq!(refuted["answer"], "counterexample", "{refuted:#}");
    let mut all = refuted["counterexamples"].as_array().unwrap().iter();
    let names = |one: &Value| one["operations"].as_array().unwrap().iter().any(|name| name == operation);
    all.find(|one| names(one)).unwrap_or_else(|| panic!("none with `{operation}` in {refuted:#}"))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_shipped_properties_hold_and_without_a_solver_nothing_is_said_to() {
    let bare = Platform::start_with(Settings { solver: None, ..testkit::platform::settings() }).await;
    let told = prove(&bare, &bare.bootstrap, json!({})).await;
    for one in told["properties"].as_array().unwrap() {
        assert_eq!(one["answer"], "unverified", "{one}");
        assert!(one["reason"].as_str().unwrap().contains("cvc5"), "{one}");
    }
    let Some(settings) = settings() else { return };
    let platform = Platform::start_with(settings).await;
    let told = prove(&platform, &platform.bootstrap, json!({ "limit_secs": 60 })).await;
    let all = told["properties"].as_array().unwrap();
    assert_eq!(all.len(), 5);
    for one in all {
        eprintln!("{}: {} of {} sorts in {} ms", one["id"], one["settled"], one["sorts"], one["took_millis"]);
        assert_eq!((&one["answer"], &one["empty"]), (&json!("proved"), &json!(false)), "{one:#}");
    }
    assert!(told["grants_nothing_new"].is_null());
    let unknown = platform.call(&platform.bootstrap, "policy.prove", &json!({ "shipped": ["none"] })).await;
    assert_eq!(unknown.body["errors"][0]["pointer"], "/shipped/0", "{}", unknown.body);
    let wrong = json!({ "own": [{ "id": "wrong", "condition": "context.nothing" }] });
    let wrong = platform.call(&platform.bootstrap, "policy.prove", &wrong).await;
    assert_eq!(wrong.body["errors"][0]["pointer"], "/own/0", "{}", wrong.body);
    let closed =
        json!({ "own": [{ "id": "two", "condition": "true }; permit(principal, action, resource) when { true" }] });
    assert_eq!(platform.call(&platform.bootstrap, "policy.prove", &closed).await.status, 422);
}

#[tokio::test]
async fn without_its_guardrail_an_agent_acts_on_a_crown_jewel_with_one_person() {
    let Some(settings) = settings() else { return };
    let platform = Platform::start_under(without(&["protected-targets-two-people"]), settings).await;
    let cast = Cast::of(&platform).await;
    let told = prove(&platform, &cast.chief.token, json!({ "shipped": ["crown-jewels-two-people"] })).await;
    let refuted = property(&told, "crown-jewels-two-people");
    let found = with_operation(&refuted, "action.isolate_host");
    let facts = &found["request"];
    let (roles, tags) = (texts(&facts["principal"]["roles"]), texts(&facts["resource"]["tags"]));
    assert!(tags.contains(&"crown-jewel".to_owned()), "{facts:#}");
    let counts = &facts["context"]["approvals"];
    assert_eq!(counts["people"], 1, "as many as there were, and fewer than two: {facts:#}");
    // The same call, made: an agent with these roles, a host with these tags, one person with the roles that are counted.
    let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let agent = cast::agent(&platform, cast.member("tenant_admin"), "tried", &cast.own, &roles).await;
    let (sensor, own) = cast::sensor(&platform, &cast.chief.token, "jewel", &cast.own, &tags).await;
    let counted = counts.as_object().unwrap().keys().filter(|name| *name != "people");
    let counted: Vec<&str> = counted.map(String::as_str).collect();
    let person_roles = if counted.is_empty() { vec!["responder"] } else { counted };
    let one = cast::person(&platform, &cast.chief.token, "one", Some(&cast.own), &person_roles).await;
    let asked = json!({ "sensor": sensor, "ttl_secs": 600, "reason": "a test" });
    let approval = platform.pending(&agent.token, "action.isolate_host", &asked).await;
    platform.done(&one.token, "approval.approve", &json!({ "approval": approval })).await;
    let settled = platform.settled(&one.token, &approval).await;
    assert_eq!(settled["state"], "executed", "{settled:#}");
    let tasks = platform.done(&own, "sensor.tasks", &json!({ "sensor": sensor })).await;
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1, "the host is told to isolate itself");
}

#[tokio::test]
async fn without_its_guardrail_an_agent_governs() {
    let Some(settings) = settings() else { return };
    // No role that administers is given to an agent, whatever policy says; so what breaks it is a document of its own.
    let mut documents = without(&["agents-never-govern"]);
    let text = r#"@id("agents-rename") permit(principal is Posse::Agent, action == Posse::Action::"user.update", resource);
        @id("no-tenant-admin") forbid(principal in Posse::Role::"tenant_admin", action, resource) when { principal is Posse::Agent };
        @id("no-provider-admin") forbid(principal in Posse::Role::"provider_admin", action, resource) when { principal is Posse::Agent };"#;
    documents.push(Document {
        id: "careless".to_owned(),
        name: "careless".to_owned(),
        text: text.to_owned(),
        ..documents[0].clone()
    });
    let platform = Platform::start_under(documents, settings).await;
    let cast = Cast::of(&platform).await;
    let asked = json!({ "shipped": ["agents-never-govern"], "limit_secs": 60 });
    let told = prove(&platform, &cast.chief.token, asked).await;
    let refuted = property(&told, "agents-never-govern");
    let found = with_operation(&refuted, "user.update");
    assert_eq!(found["policies"], json!(["careless/agents-rename"]), "{found:#}");
    let facts = &found["request"];
    assert_eq!(facts["principal"]["kind"], "agent", "{facts:#}");
    let tenants = (&facts["principal"]["tenant"], &facts["resource"]["tenant"]);
    assert!(tenants.0.is_null() || tenants.0 == tenants.1, "{facts:#}");
    // Which roles it has is all the same, so it has what makes a tenant an agent's.
    assert_eq!(texts(&facts["principal"]["roles"]), [""; 0], "{facts:#}");
    let agent = cast::agent(&platform, cast.member("tenant_admin"), "tried", &cast.own, &["investigator"]).await;
    let victim = &cast.things[&testkit::Place::Own]["user"];
    let named = json!({ "user": victim, "display_name": "Renamed by an agent" });
    let done = platform.done(&agent.token, "user.update", &named).await;
    assert_eq!(done["display_name"], "Renamed by an agent");
}

#[tokio::test]
async fn without_its_guardrail_policy_lets_one_approve_ones_own_call_and_the_handler_still_does_not() {
    let Some(settings) = settings() else { return };
    let platform = Platform::start_under(without(&["nobody-judges-own"]), settings).await;
    let cast = Cast::of(&platform).await;
    let told = prove(&platform, &cast.chief.token, json!({ "shipped": ["nobody-approves-own"] })).await;
    let refuted = property(&told, "nobody-approves-own");
    let found = with_operation(&refuted, "approval.approve");
    let facts = &found["request"];
    assert_eq!(facts["principal"]["kind"], "user", "{facts:#}");
    let own = &facts["principal"]["id"];
    assert!([&facts["resource"]["created_by"], &facts["resource"]["owner"]].contains(&own), "{facts:#}");
    // A person with this role proposes; of their approval the gate's own decision is asked, and then it is tried.
    let roles = texts(&facts["principal"]["roles"]);
    let mut held: Vec<&str> = roles.iter().map(String::as_str).collect();
    held.push("responder");
    let (sensor, _) = cast::sensor(&platform, &cast.chief.token, "jewel", &cast.own, &["crown-jewel"]).await;
    let person = cast::person(&platform, &cast.chief.token, "tried", Some(&cast.own), &held).await;
    let asked = json!({ "sensor": sensor, "ttl_secs": 600, "reason": "a test" });
    let approval = platform.pending(&person.token, "action.isolate_host", &asked).await;
    let input = json!({ "approval": approval });
    let asked = json!({ "operation": "approval.approve", "input": input });
    let explained = platform.done(&person.token, "policy.explain", &asked).await;
    assert_eq!(explained["decision"], "allow", "{explained:#}");
    let tried = platform.call(&person.token, "approval.approve", &input).await;
    assert_eq!(tried.status, 403, "the handler's own check stands behind the policy: {}", tried.body);
}

#[tokio::test]
async fn a_draft_that_lets_the_read_only_role_write_is_shown_and_then_does() {
    let Some(settings) = settings() else { return };
    let platform = Platform::start_with(settings).await;
    let cast = Cast::of(&platform).await;
    let (viewer, chief) = (cast.member("viewer"), &cast.chief.token);
    let text = "@id(\"viewers-connect\")\npermit(principal in Posse::Role::\"viewer\", action == Posse::Action::\"source.create\", resource);";
    let made = platform.done(chief, "policy.create", &json!({ "name": "wide", "text": text })).await;
    let told = prove(&platform, chief, json!({ "policy": made["id"] })).await;
    let refuted = property(&told, "read-only-writes-nothing");
    let found = with_operation(&refuted, "source.create");
    assert_eq!(found["request"]["principal"]["roles"], json!(["viewer"]), "{found:#}");
    assert_eq!(found["policies"], json!(["wide/viewers-connect"]));
    let new = &told["grants_nothing_new"];
    assert_eq!(with_operation(new, "source.create")["request"]["principal"]["roles"], json!(["viewer"]), "{new:#}");
    for held in ["crown-jewels-two-people", "agents-never-govern", "nobody-approves-own", "tenants-apart"] {
        assert_eq!(property(&told, held)["answer"], "proved", "{told:#}");
    }
    let asked = json!({ "tenant": cast.own, "name": "wanted" });
    assert_eq!(platform.call(&viewer.token, "source.create", &asked).await.status, 403);
    platform.done(chief, "policy.activate", &json!({ "policy": made["id"] })).await;
    assert_eq!(platform.call(&viewer.token, "source.create", &asked).await.status, 200);

    // What only takes away grants nothing new, in other words too.
    let text = "@id(\"no-taint\")\nforbid(principal is Posse::User, action == Posse::Action::\"source.create\", resource) when { context.tainted };";
    let narrow = platform.done(chief, "policy.create", &json!({ "name": "narrow", "text": text })).await;
    let told = prove(&platform, chief, json!({ "policy": narrow["id"], "shipped": ["tenants-apart"] })).await;
    assert_eq!(told["grants_nothing_new"]["answer"], "proved", "{told:#}");
    let text = "@id(\"viewers-connect\")\npermit(principal in Posse::Role::\"viewer\", action == Posse::Action::\"source.create\", resource) when { context.hour < 24 && !context.tainted };";
    let asked = json!({ "policy": made["id"], "text": text, "shipped": ["tenants-apart"] });
    let told = prove(&platform, chief, asked).await;
    assert_eq!(told["grants_nothing_new"]["answer"], "proved", "{told:#}");
}

#[tokio::test]
async fn without_its_guardrail_policy_keeps_no_tenants_apart_and_reach_still_does() {
    let Some(settings) = settings() else { return };
    let platform = Platform::start_under(without(&["tenants-apart"]), settings).await;
    let cast = Cast::of(&platform).await;
    let asked = json!({ "shipped": ["tenants-apart"], "limit_secs": 60 });
    let told = prove(&platform, &cast.chief.token, asked).await;
    let refuted = property(&told, "tenants-apart");
    let facts = &refuted["counterexamples"][0]["request"];
    assert_ne!(facts["principal"]["tenant"], facts["resource"]["tenant"], "{refuted:#}");
    // Policy would let them; but nobody reaches another tenant, whatever policy says.
    let victim = &cast.things[&testkit::Place::Other]["user"];
    let tried = platform.call(&cast.member("tenant_admin").token, "user.get", &json!({ "user": victim })).await;
    assert_eq!(tried.status, 404, "{}", tried.body);
}

#[tokio::test]
async fn a_property_of_ones_own_is_answered() {
    let Some(settings) = settings() else { return };
    let platform = Platform::start_with(settings).await;
    let own = json!([
        { "id": "analysts-respond", "action": "action in Posse::Action::\"respond\"", "roles": ["analyst"] },
        { "id": "responders-respond", "principal": "principal is Posse::User", "action": "action in Posse::Action::\"respond\"", "roles": ["responder"] },
        { "id": "nobody-at-all", "action": "action == Posse::Action::\"case.get\"", "condition": "context.hour > 30" },
    ]);
    let told = prove(&platform, &platform.bootstrap, json!({ "own": own, "limit_secs": 60 })).await;
    assert_eq!(told["properties"].as_array().unwrap().len(), 3);
    let held = property(&told, "analysts-respond");
    assert_eq!((&held["answer"], &held["empty"]), (&json!("proved"), &json!(false)), "{held:#}");
    let refuted = property(&told, "responders-respond");
    assert_eq!(with_operation(&refuted, "action.isolate_host")["request"]["principal"]["kind"], "user");
    let empty = property(&told, "nobody-at-all");
    assert_eq!((&empty["answer"], &empty["empty"]), (&json!("proved"), &json!(true)), "{empty:#}");
}
