//! The kill switch: what it names stops at once, stays stopped across a restart, and dead credentials stay dead.

use crate::people::admin_of;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::cast::run;
use testkit::dump::records;
use testkit::{Cast, Place, Platform, Request};

async fn engage(platform: &Platform, token: &str, target: &Value) -> String {
    let engaged = platform.done(token, "kill_switch.engage", &json!({ "target": target, "reason": "a test" })).await;
    engaged["id"].as_str().unwrap().to_owned()
}

async fn lives(platform: &Platform, token: &str) -> bool {
    match platform.call(token, "me.get", &json!({})).await {
        answer if answer.status == 200 => true,
        answer => {
            assert_eq!((answer.status, answer.problem()), (403, "halted"), "{}", answer.body);
            false
        }
    }
}

#[tokio::test]
async fn a_stopped_agents_credentials_are_dead_for_good() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let agent = cast.member("investigator");
    let (bystander, viewer) = (&cast.member("detection_author").token, &cast.member("viewer").token);
    assert!(lives(&platform, &agent.token).await);
    let target = json!({ "stop": "agent", "agent": agent.principal });
    let switch = engage(&platform, &cast.member("responder").token, &target).await;
    assert!(!lives(&platform, &agent.token).await);
    assert!(lives(&platform, bystander).await && lives(&platform, viewer).await);
    let platform = platform.restart().await;
    assert!(!lives(&platform, &agent.token).await, "a restart lifts nothing");
    let fresh = run(&platform, admin_of(&cast), &agent.principal, &cast.own).await;
    assert!(!lives(&platform, &fresh).await, "a fresh credential is no way round");
    let release = json!({ "kill_switch": switch, "reason": "over" });
    platform.done(&cast.chief.token, "kill_switch.release", &release).await;
    assert!(!lives(&platform, &agent.token).await, "a credential from before stays dead");
    assert!(!lives(&platform, &fresh).await, "one from meanwhile too");
    let fresh = run(&platform, admin_of(&cast), &agent.principal, &cast.own).await;
    assert!(lives(&platform, &fresh).await);
    let platform = platform.restart().await;
    assert!(!lives(&platform, &agent.token).await && lives(&platform, &fresh).await);
}

#[tokio::test]
async fn tenant_class_and_all() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let (agent, viewer) = (&cast.member("investigator").token, &cast.member("viewer").token);
    let other = json!({ "stop": "tenant_agents", "tenant": cast.other });
    engage(&platform, chief, &other).await;
    assert!(lives(&platform, agent).await, "another tenant's agents");
    let reads = json!({ "stop": "operation_class", "effect": "read", "tenant": cast.own });
    let switch = engage(&platform, chief, &reads).await;
    let listed = platform.call(viewer, "agent.list", &json!({})).await;
    assert_eq!((listed.status, listed.problem()), (403, "halted"), "{}", listed.body);
    platform.done(chief, "agent.list", &json!({ "tenant": cast.own })).await;
    platform.done(chief, "kill_switch.release", &json!({ "kill_switch": switch, "reason": "over" })).await;
    platform.done(viewer, "agent.list", &json!({})).await;
    assert!(lives(&platform, agent).await, "a class kills no credential");
    engage(&platform, chief, &json!({ "stop": "tenant_agents", "tenant": cast.own })).await;
    assert!(!lives(&platform, agent).await);
    assert!(lives(&platform, viewer).await, "people go on");
}

#[tokio::test]
async fn regression_a_stopped_agent_gets_no_earlier_answer_back() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let agent = cast.member("investigator");
    let job = json!({ "job": cast.things[&Place::Own]["job"] });
    let text =
        "forbid(principal, action == Posse::Action::\"job.cancel\", resource) when { context.approvals.people < 1 };";
    let policy = crate::people::policy_draft(&platform, &cast, "ask", text).await;
    platform.done(&cast.chief.token, "policy.activate", &json!({ "policy": policy })).await;
    let request = Request::of(platform.spec("job.cancel"), &job).bearer(&agent.token).key("again");
    let first = platform.send(request.clone()).await;
    let second = platform.send(request.clone()).await;
    assert_eq!((first.status, second.status), (202, 202), "{} {}", first.body, second.body);
    assert_eq!(first.body["approval"], second.body["approval"]);
    engage(&platform, &cast.chief.token, &json!({ "stop": "agent", "agent": agent.principal })).await;
    let third = platform.send(request).await;
    assert_eq!((third.status, third.problem()), (403, "halted"), "{}", third.body);
    assert!(third.recorded().is_some(), "and it is on the record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_of_a_stopped_agent_commits_after_the_answer() {
    let platform = Arc::new(Platform::start().await);
    let cast = Cast::of(&platform).await;
    let agent = cast.member("investigator").clone();
    let stop = Arc::new(AtomicBool::new(false));
    let mut load = Vec::new();
    for _ in 0..8 {
        let (platform, token, stop) = (platform.clone(), agent.token.clone(), stop.clone());
        load.push(tokio::spawn(async move {
            let mut carried_out = 0;
            while !stop.load(Ordering::Acquire) {
                let answer = platform.call(&token, "me.get", &json!({})).await;
                assert!(matches!(answer.status, 200 | 403), "{}", answer.body);
                carried_out += usize::from(answer.status == 200);
            }
            carried_out
        }));
    }
    let owner = ids::Owner::Tenant(cast.own.parse().unwrap());
    let own = |record: &Value| record["principal"] == agent.principal.as_str() && record["outcome"]["status"] == 200;
    let store = platform.control.store().clone();
    platform
        .until("the load runs", async || {
            (records(&store, owner).await.iter().filter(|one| own(one)).count() > 50).then_some(())
        })
        .await;
    engage(&platform, &cast.chief.token, &json!({ "stop": "agent", "agent": agent.principal })).await;
    let before = records(&store, owner).await.iter().filter(|one| own(one)).count();
    let refused = async || {
        let log = records(&store, owner).await;
        let halted = |one: &Value| one["principal"] == agent.principal.as_str() && one["outcome"]["status"] == 403;
        (log.iter().filter(|one| halted(one)).count() > 20).then_some(())
    };
    platform.until("refusals come in", refused).await;
    stop.store(true, Ordering::Release);
    let mut answered = 0;
    for one in load {
        answered += one.await.unwrap();
    }
    let after = records(&store, owner).await.iter().filter(|one| own(one)).count();
    assert_eq!(before, after, "not one call more after the engagement was answered");
    assert!(after >= answered, "every answer has its record: {after} and {answered}");
}
