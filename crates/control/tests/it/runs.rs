//! Runs of agents through the gate: charter, taint, approval, stop, transcript.

use crate::people::admin_of;
use serde_json::{Value, json};
use testkit::{Cast, Platform};

const HEAD: &str = "---\nname: look\ndescription: Looks around.\n---\nLook.\n";
const PLAYBOOK: &str = "playbook: 1
name: look
inputs: { tenant: { required: true } }
steps:
  - { id: place, call: tenant.get, with: { tenant: '${tenant}' } }
  - { id: agents, call: agent.list, with: { tenant: '${tenant}' } }
  - { id: refused, call: tenant.suspend, with: { tenant: '${tenant}', reason: no }, on_denied: continue, on_error: continue }
outputs: { name: '${place.name}', agents: '${size(agents.items)}', refused: '${outcomes.refused.word}' }
";

fn definition(operations: &str) -> String {
    format!(
        "---\nname: looker\npurpose: looks around\noperations: [{operations}]\nskills: [look]\nplaybook: look\n\
         budgets: {{ steps: 10, seconds: 60, actions: 3 }}\n---\nLook.\n"
    )
}

/// A defined and active agent with the role of an investigator; its id.
async fn looker(platform: &Platform, cast: &Cast, operations: &str) -> String {
    let admin = &admin_of(cast).token;
    let files = json!([{ "path": "SKILL.md", "text": HEAD }, { "path": "playbook.yaml", "text": PLAYBOOK }]);
    platform.done(admin, "skill.import", &json!({ "tenant": cast.own, "files": files })).await;
    let agent = cast.member("investigator").principal.clone();
    let text = definition(operations);
    platform.done(admin, "agent.define", &json!({ "agent": agent, "text": text })).await;
    let read = platform.done(admin, "agent.get", &json!({ "agent": agent })).await;
    assert_eq!(read["state"], "draft", "a new charter is looked at before it acts");
    platform.done(admin, "agent.activate", &json!({ "agent": agent })).await;
    agent
}

async fn ended(platform: &Platform, token: &str, run: &Value) -> Value {
    let asked = json!({ "run": run["id"] });
    platform
        .until("the run to end", async || {
            let read = platform.done(token, "run.get", &asked).await;
            let word = read["state"].as_str().unwrap_or_default();
            (!["queued", "running", "waiting"].contains(&word)).then_some(read)
        })
        .await
}

#[tokio::test]
async fn a_run_does_what_its_playbook_says_and_no_more() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = &admin_of(&cast).token;
    let agent = looker(&platform, &cast, "tenant.get, agent.list, tenant.suspend").await;
    let started = json!({ "agent": agent, "tenant": cast.own, "input": { "tenant": cast.own } });
    let run = platform.done(admin, "run.start", &started).await;
    let read = ended(&platform, admin, &run).await;
    assert_eq!(read["state"], "done", "{read}");
    assert_eq!(read["outputs"]["name"], "own");
    // A suspension is for people only; the playbook hears that and goes on.
    assert_eq!(read["outputs"]["refused"], "denied");
    assert_eq!((read["spent"]["steps"].as_u64(), read["tainted"].as_bool()), (Some(3), Some(true)));
    let steps = platform.done(admin, "run.transcript", &json!({ "run": run["id"] })).await;
    let kinds: Vec<&str> = steps["items"].as_array().unwrap().iter().filter_map(|step| step["kind"].as_str()).collect();
    assert_eq!(kinds, ["began", "called", "replied", "called", "replied", "called", "replied", "ended"]);
    let record = platform.done(admin, "audit.list", &json!({ "tenant": cast.own, "limit": 1000 })).await.to_string();
    assert!(record.contains(run["id"].as_str().unwrap()), "the run's calls name it on the record");
}

#[tokio::test]
async fn what_the_charter_does_not_list_is_refused_at_the_definition_and_at_the_gate() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = &admin_of(&cast).token;
    looker(&platform, &cast, "tenant.get, agent.list, tenant.suspend").await;
    let agent = cast.member("investigator").principal.clone();
    let answer =
        platform.call(admin, "agent.define", &json!({ "agent": agent, "text": definition("tenant.get") })).await;
    assert_eq!(answer.status, 422, "its playbook calls what is not listed");
    let own = &cast.member("investigator").token;
    let answer = platform.call(own, "run.start", &json!({ "agent": agent, "tenant": cast.own })).await;
    assert!(answer.status >= 400, "an agent starts no run of another");
}

#[tokio::test]
async fn a_run_whose_agent_is_stopped_ends() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = &admin_of(&cast).token;
    let agent = looker(&platform, &cast, "tenant.get, agent.list, tenant.suspend").await;
    platform
        .done(
            admin,
            "kill_switch.engage",
            &json!({ "target": { "stop": "agent", "agent": agent }, "reason": "a test" }),
        )
        .await;
    let started = json!({ "agent": agent, "tenant": cast.own, "input": { "tenant": cast.own } });
    let run = platform.done(admin, "run.start", &started).await;
    let read = ended(&platform, admin, &run).await;
    assert_eq!(read["state"], "cancelled", "{read}");
}
