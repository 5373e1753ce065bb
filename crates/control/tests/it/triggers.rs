//! What wakes an agent: a case that opens, grows or is concluded, and time; where its definition says, and nowhere else.

use case::{Detection, Entity};
use ids::{DetectionId, EventId, Severity, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::{Cast, Platform};

const HEAD: &str = "---\nname: watch\ndescription: Looks at a case.\n---\nLook.\n";
const PLAYBOOK: &str = "playbook: 1
name: watch
inputs: { case: { required: false } }
steps:
  - { id: me, call: me.get, with: {} }
outputs: { name: '${me.display_name}' }
";

fn definition(tenants: &str, triggers: &str) -> String {
    format!(
        "---\nname: watch\npurpose: looks at cases\noperations: [me.get]\nskills: [watch]\nplaybook: watch\n\
         tenants: {tenants}\nbudgets: {{ steps: 10, seconds: 60, actions: 1 }}\ntriggers: {triggers}\n---\nLook.\n"
    )
}

/// An active agent of the provider; its id.
async fn watcher(platform: &Platform, cast: &Cast, tenants: &str, triggers: &str) -> String {
    let chief = &cast.chief;
    let files = json!([{ "path": "SKILL.md", "text": HEAD }, { "path": "playbook.yaml", "text": PLAYBOOK }]);
    platform.done(&chief.token, "skill.import", &json!({ "files": files })).await;
    let made = json!({ "name": cast.fresh("watch"), "purpose": "tests", "owner": chief.principal });
    let agent = platform.done(&chief.token, "agent.register", &made).await["id"].as_str().unwrap().to_owned();
    let text = definition(tenants, triggers);
    platform.done(&chief.token, "agent.define", &json!({ "agent": agent, "text": text })).await;
    platform.done(&chief.token, "agent.activate", &json!({ "agent": agent })).await;
    platform.done(&chief.token, "role.assign", &json!({ "principal": agent, "role": "investigator" })).await;
    agent
}

fn found(tenant: &str, number: u64) -> Detection {
    let time = Timestamp::from_micros(1_770_000_000_000_000);
    Detection {
        id: DetectionId::derive(&[tenant.as_bytes(), &number.to_be_bytes()]),
        tenant: tenant.parse().unwrap(),
        rule: None,
        rule_uid: "7e6f1f2c".to_owned(),
        title: "A finding".to_owned(),
        severity: Severity::Medium,
        techniques: vec!["T1059.001".to_owned()],
        event: None,
        events: vec![EventId { class_uid: 1007, day: 20_486, segment: 1, offset: number, index: 0, part: 0 }],
        time,
        found_at: time,
        entities: vec!["host:ws77".parse::<Entity>().unwrap()],
        matched: Vec::new(),
    }
}

/// The runs of an agent in a tenant, oldest first.
async fn runs(platform: &Platform, cast: &Cast, tenant: &str, agent: &str) -> Vec<Value> {
    let page = platform.done(&cast.chief.token, "run.list", &json!({ "tenant": tenant, "limit": 100 })).await;
    let all = page["items"].as_array().unwrap().iter().filter(|run| run["agent"] == agent);
    all.cloned().collect()
}

/// Waits until so many runs of an agent are done, and tells them.
async fn done(platform: &Platform, cast: &Cast, tenant: &str, agent: &str, count: usize) -> Vec<Value> {
    let all = platform
        .until("the runs to end", async || {
            let all = runs(platform, cast, tenant, agent).await;
            let ended = |run: &&Value| !["queued", "running"].contains(&run["state"].as_str().unwrap_or_default());
            (all.iter().filter(ended).count() >= count).then_some(all)
        })
        .await;
    assert!(all.iter().all(|run| ["queued", "done"].contains(&run["state"].as_str().unwrap_or_default())), "{all:#?}");
    all
}

#[tokio::test]
async fn a_case_that_opens_or_grows_wakes_and_a_burst_wakes_once() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let triggers = "[{ on: case, event: opened }, { on: case, event: grown }]";
    let agent = watcher(&platform, &cast, "{ tags: [env=prod] }", triggers).await;
    let elsewhere = watcher(&platform, &cast, "{ tags: [env=test] }", triggers).await;

    platform.control.observe_findings(vec![found(&cast.own, 1)], None).await.unwrap();
    let first = done(&platform, &cast, &cast.own, &agent, 1).await;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0]["started_by"], "system_triggers");
    assert!(first[0]["case"].is_string());

    // Three rounds of findings while nobody has looked yet: one run sees them all, a little later.
    for number in 2..5 {
        platform.control.observe_findings(vec![found(&cast.own, number)], None).await.unwrap();
    }
    let all = runs(&platform, &cast, &cast.own, &agent).await;
    assert_eq!(all.len(), 2, "{all:#?}");
    platform.clock.advance(Duration::from_secs(3));
    let all = done(&platform, &cast, &cast.own, &agent, 2).await;
    assert_eq!(all.iter().map(|run| &run["case"]).map(Value::to_string).collect::<BTreeSet<_>>().len(), 1);
    assert!(
        runs(&platform, &cast, &cast.own, &elsewhere).await.is_empty(),
        "its definition does not select this tenant"
    );

    // Told again, nothing happened to the case, and nobody wakes.
    platform.control.observe_findings(vec![found(&cast.own, 1)], None).await.unwrap();
    assert_eq!(runs(&platform, &cast, &cast.own, &agent).await.len(), 2);

    // A suspended agent is not woken.
    platform.done(&cast.chief.token, "agent.suspend", &json!({ "agent": agent, "reason": "a test" })).await;
    platform.control.observe_findings(vec![found(&cast.own, 9)], None).await.unwrap();
    assert_eq!(runs(&platform, &cast, &cast.own, &agent).await.len(), 2);
}

#[tokio::test]
async fn a_conclusion_wakes_by_its_verdict_and_an_agent_does_not_replace_a_persons() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let triggers = "[{ on: case, event: concluded, verdicts: [insufficient_data] }]";
    let agent = watcher(&platform, &cast, "{ all: true }", triggers).await;
    let analyst = &cast.member("analyst").token;
    let case = platform.done(analyst, "case.open", &json!({ "tenant": cast.own, "title": "A case" })).await;
    let concluded = |verdict: &str| json!({ "case": case["id"], "verdict": verdict, "reason": "a test" });
    platform.done(analyst, "case.conclude", &concluded("unknown")).await;
    assert!(runs(&platform, &cast, &cast.own, &agent).await.is_empty());
    platform.done(analyst, "case.conclude", &concluded("insufficient_data")).await;
    assert_eq!(done(&platform, &cast, &cast.own, &agent, 1).await.len(), 1);

    let other = &cast.member("investigator").token;
    let answer = platform.call(other, "case.conclude", &concluded("unknown")).await;
    assert_eq!(answer.status, 409, "a person concluded it: {}", answer.body);
}

#[tokio::test]
async fn an_agent_of_the_provider_is_started_only_where_its_definition_says() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let agent = watcher(&platform, &cast, &format!("{{ ids: [{}] }}", cast.own), "[{ on: api }]").await;
    let start = |tenant: &str| json!({ "agent": agent, "tenant": tenant });
    platform.done(&cast.chief.token, "run.start", &start(&cast.own)).await;
    let refused = platform.call(&cast.chief.token, "run.start", &start(&cast.other)).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.to_string().contains("/tenant"), "{}", refused.body);
    let wrong = definition("{ all: true }", "[{ on: case, event: concluded, verdicts: [guilty] }]");
    let answer = platform.call(&cast.chief.token, "agent.define", &json!({ "agent": agent, "text": wrong })).await;
    assert_eq!(answer.status, 422);
    assert!(answer.body.to_string().contains("guilty"));
}

#[tokio::test]
async fn time_wakes_once_a_slot_and_not_again_after_a_restart() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let agent = watcher(&platform, &cast, "{ all: true }", "[{ on: schedule, every_secs: 3600 }]").await;
    assert!(runs(&platform, &cast, &cast.own, &agent).await.is_empty());
    platform.clock.advance(Duration::from_secs(3600));
    done(&platform, &cast, &cast.own, &agent, 1).await;
    done(&platform, &cast, &cast.other, &agent, 1).await;
    let platform = platform.restart().await;
    platform.clock.advance(Duration::from_secs(3600));
    let all = done(&platform, &cast, &cast.own, &agent, 2).await;
    assert_eq!(all.len(), 2, "{all:#?}");
}
