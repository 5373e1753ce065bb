//! Runs that a model drives, over both wire formats, against a provider on this machine: the agents that ship, from their
//! start to their end; what ends a run early; and how fast a person ends one.

use crate::cases::{event, from_findings, some};
use crate::people::admin_of;
use agent::Model;
use ids::{Clock, TenantId, Timestamp};
use seal::SeededEntropy;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Cast, Platform, Provider, Say};

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

fn models(provider: &Provider, kind: &str, more: &str) -> Arc<dyn Model> {
    let text = format!("kind = \"{kind}\"\nmodel = \"m\"\nbase_url = \"{}\"\n{more}", provider.base_url(kind));
    let sections = BTreeMap::from([("default".to_owned(), toml::from_str::<model::Section>(&text).unwrap())]);
    let from = model::Surroundings { variable: &|_| None, file: &|_| Err(std::io::ErrorKind::NotFound.into()) };
    Arc::new(model::Models::open(&sections, &from, Arc::new(Still), Arc::new(SeededEntropy::new(1))).unwrap())
}

fn shipped(name: &str) -> String {
    let path = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join("../../content/agents")
        .join(format!("{name}.md"));
    std::fs::read_to_string(path).unwrap()
}

/// An active agent of the cast with this definition; its id.
async fn agent_with(platform: &Platform, cast: &Cast, member: &str, text: &str) -> String {
    let admin = &admin_of(cast).token;
    let agent = cast.member(member).principal.clone();
    platform.done(admin, "agent.define", &json!({ "agent": agent, "text": text })).await;
    platform.done(admin, "agent.activate", &json!({ "agent": agent })).await;
    agent
}

async fn start(platform: &Platform, cast: &Cast, agent: &str, case: &Value) -> Value {
    let asked = json!({ "agent": agent, "tenant": cast.own, "case": case });
    platform.done(&admin_of(cast).token, "run.start", &asked).await
}

/// The run once it is in one of these states.
async fn until(platform: &Platform, cast: &Cast, run: &Value, states: &[&str]) -> Value {
    let asked = json!({ "run": run["id"] });
    platform
        .until("the run to get there", async || {
            let read = platform.done(&admin_of(cast).token, "run.get", &asked).await;
            states.contains(&read["state"].as_str().unwrap_or_default()).then_some(read)
        })
        .await
}

const ENDED: [&str; 4] = ["cancelled", "done", "exhausted", "failed"];

/// A platform with findings whose runs ask a model that says these turns; turns may name the case.
async fn scene(kind: &str, more: &str, turns: impl Fn(&Value) -> Vec<Say>) -> (Platform, Cast, Provider, Value) {
    // What the cast itself starts ends at once.
    let provider = Provider::start(vec![Say::finish("seeded")]).await;
    let platform = Platform::start_with_model(models(&provider, kind, more)).await;
    let cast = Cast::of(&platform).await;
    let own: TenantId = cast.own.parse().unwrap();
    let raw = r#"{"EventID":1,"Image":"C:\\Windows\\System32\\whoami.exe"}"#;
    platform.plane.hold(own, &event(1).to_string(), json!({ "class_uid": 1007 }), raw);
    platform.control.observe_findings(some(&cast.own), None).await.unwrap();
    let cases = from_findings(&platform, &admin_of(&cast).token, &cast.own).await;
    let case = cases.iter().find(|case| case["hosts"] == json!(["ws01"])).unwrap()["id"].clone();
    provider.says(turns(&case));
    (platform, cast, provider, case)
}

/// How often the run of the test asked; the cast has runs of its own.
fn asked(provider: &Provider) -> Vec<Value> {
    let mut asked = provider.asked();
    asked.retain(|body| !body.to_string().contains("Look around."));
    asked
}

fn conclude(case: &Value, quote: &str) -> Say {
    let claim = json!({ "text": "whoami ran", "citations": [{ "event": event(1), "quotes": [quote] }] });
    let input = json!({ "case": case, "verdict": "true_positive", "reason": "it ran", "claims": [claim] });
    Say { text: "I have seen enough.".to_owned(), ..Say::call("case.conclude", input) }
}

#[tokio::test]
async fn the_agents_that_ship_work_in_both_wires() {
    for kind in ["openai", "anthropic"] {
        for (name, waits) in [("triage-model", false), ("investigator", true)] {
            let turns = |case: &Value| {
                let mut first = Say::call("case.get", json!({ "case": case }));
                first.calls.push(("case.detections".to_owned(), json!({ "case": case })));
                let look = Say::call("event.get", json!({ "event": event(1) }));
                // What is not in the event is refused, and the model may try again.
                vec![
                    first,
                    look,
                    conclude(case, "mimikatz.exe"),
                    conclude(case, "whoami.exe"),
                    Say::finish("an attack"),
                ]
            };
            let (platform, cast, provider, case) = scene(kind, "", turns).await;
            let agent = agent_with(&platform, &cast, "investigator", &shipped(name)).await;
            let run = start(&platform, &cast, &agent, &case).await;
            let mut approved = Vec::new();
            let read = platform
                .until("the run to end, with what waits approved", async || {
                    let read = platform.done(&admin_of(&cast).token, "run.get", &json!({ "run": run["id"] })).await;
                    if let Some(approval) = read["waits_for"].as_str().filter(|_| read["state"] == "waiting")
                        && !approved.contains(&approval.to_owned())
                    {
                        approved.push(approval.to_owned());
                        let approve = json!({ "approval": approval, "comment": "yes" });
                        platform.done(&cast.member("responder").token, "approval.approve", &approve).await;
                    }
                    ENDED.contains(&read["state"].as_str().unwrap_or_default()).then_some(read)
                })
                .await;
            assert_eq!(!approved.is_empty(), waits, "{kind} {name}");
            assert_eq!((&read["state"], &read["outputs"]["summary"]), (&json!("done"), &json!("an attack")), "{read}");
            assert_eq!(read["tainted"], true);
            let shown = platform.done(&admin_of(&cast).token, "case.get", &json!({ "case": case })).await;
            assert_eq!(shown["case"]["conclusion"]["verdict"], "true_positive", "{kind} {name}");
            assert_eq!(asked(&provider).len(), 5, "{kind} {name}: one question a turn");
            let spent = &read["spent"];
            assert!(spent["tokens"].as_u64().unwrap() > 5 * 20, "{spent}");
        }
    }
}

#[tokio::test]
async fn what_a_model_asks_for_beside_its_charter_is_refused_on_the_record() {
    let turns = |case: &Value| {
        let mut first = Say::call("case.get", json!({ "case": case }));
        first
            .calls
            .push(("tenant.suspend".to_owned(), json!({ "tenant": TenantId::derive(&[b"t"]), "reason": "because" })));
        first.calls.push(("no_such_thing".to_owned(), json!({})));
        vec![first, Say::call("case.add_comment", json!({ "case": case, "text": "seen" })), Say::finish("no more")]
    };
    let (platform, cast, provider, case) = scene("anthropic", "", turns).await;
    let agent = agent_with(&platform, &cast, "responder_with_approval", &shipped("containment-model")).await;
    let run = start(&platform, &cast, &agent, &case).await;
    let read = until(&platform, &cast, &run, &ENDED).await;
    assert_eq!(read["state"], "done", "{read}");
    let all = asked(&provider);
    let told = all.last().unwrap().to_string();
    // It may see neither: what is hidden from it is not told apart from what is not there.
    assert_eq!(told.matches("Not carried out (not-found)").count(), 2, "{told}");
    let tenant = platform.done(&cast.chief.token, "tenant.get", &json!({ "tenant": cast.own })).await;
    assert_eq!(tenant["state"], "active");
}

#[tokio::test]
async fn a_run_whose_model_nobody_configured_says_so() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    platform.control.observe_findings(some(&cast.own), None).await.unwrap();
    let case = from_findings(&platform, &admin_of(&cast).token, &cast.own).await[0]["id"].clone();
    let agent = agent_with(&platform, &cast, "investigator", &shipped("triage-model")).await;
    let run = start(&platform, &cast, &agent, &case).await;
    let read = until(&platform, &cast, &run, &ENDED).await;
    assert_eq!(read["state"], "failed");
    let reason = read["reason"].as_str().unwrap();
    assert!(reason.contains("alias `default`") && reason.contains("[models.default]"), "{reason}");
}

#[tokio::test]
async fn money_ends_a_run_before_its_budget_is_passed() {
    let prices = "prices = { input_micros = 3_000_000, output_micros = 15_000_000 }";
    let turns = |case: &Value| vec![Say::call("case.get", json!({ "case": case }))];
    let (platform, cast, provider, case) = scene("openai", prices, turns).await;
    let text = shipped("triage-model").replace("money_micros: 1000000", "money_micros: 60000");
    let agent = agent_with(&platform, &cast, "investigator", &text).await;
    let run = start(&platform, &cast, &agent, &case).await;
    let read = until(&platform, &cast, &run, &ENDED).await;
    assert_eq!((&read["state"], &read["reason"]), (&json!("exhausted"), &json!("the budget of money was used up")));
    let spent = read["spent"]["money_micros"].as_u64().unwrap();
    assert!(spent > 0 && spent <= 60_000, "{spent}");
    assert!(!asked(&provider).is_empty());
}

#[tokio::test]
async fn the_kill_switch_ends_a_run_that_waits_for_its_model() {
    for how in ["switch", "cancel", "suspend"] {
        let slow = |_: &Value| vec![Say::finish("too late").after(Duration::from_secs(60))];
        let (platform, cast, provider, case) = scene("openai", "", slow).await;
        let agent = agent_with(&platform, &cast, "investigator", &shipped("triage-model")).await;
        let run = start(&platform, &cast, &agent, &case).await;
        platform.until("the question to be asked", async || (!asked(&provider).is_empty()).then_some(())).await;
        let admin = &admin_of(&cast).token;
        let begun = Instant::now();
        match how {
            "switch" => {
                let target = json!({ "stop": "agent", "agent": agent });
                platform.done(admin, "kill_switch.engage", &json!({ "target": target, "reason": "a test" })).await;
            }
            "cancel" => {
                platform.done(admin, "run.cancel", &json!({ "run": run["id"], "reason": "a test" })).await;
            }
            _ => {
                platform.done(admin, "agent.suspend", &json!({ "agent": agent, "reason": "a test" })).await;
            }
        }
        let read = until(&platform, &cast, &run, &ENDED).await;
        assert_eq!(read["state"], "cancelled", "{how}: {read}");
        // A second where the processors are free; the model would have taken a minute.
        assert!(begun.elapsed() < Duration::from_secs(5), "{how}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_run_goes_on_after_a_restart_and_pays_once() {
    let turns = |case: &Value| {
        let slow = Say::finish("done").after(Duration::from_secs(3));
        vec![Say::call("case.get", json!({ "case": case })), slow]
    };
    let (platform, cast, provider, case) = scene("openai", "", turns).await;
    let agent = agent_with(&platform, &cast, "investigator", &shipped("triage-model")).await;
    let run = start(&platform, &cast, &agent, &case).await;
    platform.until("the second question", async || (asked(&provider).len() == 2).then_some(())).await;
    let platform = platform.restart().await;
    // The lease of the worker that is gone runs out, and the job waits a moment before it is tried again.
    let again = async || {
        platform.clock.advance(Duration::from_millis(50));
        (asked(&provider).len() == 3).then_some(())
    };
    platform.until("the question to be asked again", again).await;
    let read = until(&platform, &cast, &run, &ENDED).await;
    assert_eq!((&read["state"], &read["spent"]["steps"]), (&json!("done"), &json!(3)), "{read}");
    assert_eq!(asked(&provider).len(), 3, "the answered question is not asked again");
}
