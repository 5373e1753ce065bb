//! Approvals: from a proposal to at most one execution, decided again, and never on the proposer's own word.

use crate::people::{admin_of, policy_draft};
use serde_json::{Value, json};
use std::time::Duration;
use testkit::cast::{self, Member, PASSWORD};
use testkit::{Cast, Dump, Place, Platform, Request};

/// A tenant's key that asks for a release of the kill switch, which needs an administrator; the approval and the switch.
async fn proposed(platform: &Platform, cast: &Cast) -> (String, String) {
    let agent = &cast.things[&Place::Own]["agent"];
    let engage = json!({ "target": { "stop": "agent", "agent": agent }, "reason": "a test" });
    let engaged = platform.done(&cast.chief.token, "kill_switch.engage", &engage).await;
    let switch = engaged["id"].as_str().unwrap().to_owned();
    let release = json!({ "kill_switch": switch, "reason": "over" });
    let key = cast.member("key-tenant-admin");
    (platform.pending(&key.token, "kill_switch.release", &release).await, switch)
}

async fn released(platform: &Platform, cast: &Cast, switch: &str) -> bool {
    let asked = json!({ "tenant": cast.own, "released": true });
    let all = platform.done(&cast.chief.token, "kill_switch.status", &asked).await;
    let one = all["items"].as_array().unwrap().iter().find(|one| one["id"] == switch).unwrap().clone();
    one["released_at"].is_string()
}

async fn approve(platform: &Platform, token: &str, approval: &str) -> testkit::Answer {
    platform.call(token, "approval.approve", &json!({ "approval": approval })).await
}

#[tokio::test]
async fn a_program_asks_a_person_approves_and_it_happens_once() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let policy =
        policy_draft(&platform, &cast, "quiet", "forbid(principal, action, resource) when { context.tainted };").await;
    let key = cast.member("key-provider-admin");
    let approval = platform.pending(&key.token, "policy.activate", &json!({ "policy": policy })).await;
    let seen = platform.done(&cast.chief.token, "approval.get", &json!({ "approval": approval })).await;
    assert_eq!((&seen["state"], &seen["operation"]), (&json!("pending"), &json!("policy.activate")));
    assert_eq!(seen["proposer"], key.principal.as_str());
    assert_eq!(seen["target"]["id"], policy.as_str());
    let read = platform.done(&cast.chief.token, "policy.get", &json!({ "policy": policy })).await;
    assert_eq!(read["state"], "draft", "nothing happens before the approval");

    let digest = json!({ "approval": approval, "digest": "0".repeat(64) });
    let other = platform.call(&cast.chief.token, "approval.approve", &digest).await;
    assert_eq!(other.status, 412, "a digest that is not that of this call: {}", other.body);
    let seen = json!({ "approval": approval, "digest": seen["digest"] });
    platform.done(&cast.chief.token, "approval.approve", &seen).await;
    let ended = platform.settled(&key.token, &approval).await;
    assert_eq!(ended["state"], "executed", "{ended}");
    assert_eq!(ended["result"]["state"], "active");
    let again = approve(&platform, &cast.member("provider_admin").token, &approval).await;
    assert_eq!(again.status, 409, "{}", again.body);
    let records = testkit::dump::records(platform.control.store(), ids::Owner::Provider).await;
    let executed: Vec<&Value> =
        records.iter().filter(|one| one["operation"] == "policy.activate" && one["outcome"]["status"] == 200).collect();
    assert_eq!(executed.len(), 1, "{executed:#?}");
    assert_eq!(executed[0]["principal"], key.principal.as_str());
    assert_eq!(executed[0]["approvals"][0]["approvers"], json!([cast.chief.principal]));
}

#[tokio::test]
async fn regression_what_is_activated_is_the_text_that_was_approved() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let policy =
        policy_draft(&platform, &cast, "bait", "forbid(principal, action, resource) when { context.tainted };").await;
    let key = cast.member("key-provider-admin");
    let approval = platform.pending(&key.token, "policy.activate", &json!({ "policy": policy })).await;
    let evil = format!("@id(\"bait\")\npermit(principal == Posse::Service::\"{}\", action, resource);", key.principal);
    platform.done(&key.token, "policy.update", &json!({ "policy": policy, "text": evil })).await;
    let before = Dump::of(platform.control.store()).await;
    let answer = approve(&platform, &cast.chief.token, &approval).await;
    if answer.status == 200 {
        assert_eq!(platform.settled(&cast.chief.token, &approval).await["state"], "failed");
    }
    let changed = before.changed(&Dump::of(platform.control.store()).await);
    assert!(changed.iter().all(|(kind, ..)| kind == "approval"), "{changed:#?}");
    let read = platform.done(&cast.chief.token, "policy.get", &json!({ "policy": policy })).await;
    assert_eq!(read["state"], "draft", "the switched text must not bind");
}

#[tokio::test]
async fn nobody_judges_what_is_their_own() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = cast.member("tenant_admin");
    // An own policy makes a person's write ask for another person, and an agent's write possible at all.
    let text =
        "forbid(principal, action == Posse::Action::\"job.cancel\", resource) when { context.approvals.people < 1 };";
    let policy = policy_draft(&platform, &cast, "four-eyes", text).await;
    platform.done(&cast.chief.token, "policy.activate", &json!({ "policy": policy })).await;
    let job = json!({ "job": cast.things[&Place::Own]["job"] });
    let own = platform.pending(&admin.token, "job.cancel", &job).await;
    let agents = platform.pending(&cast.member("investigator").token, "job.cancel", &job).await;
    for (approval, token, who) in [
        (&own, &admin.token, "the proposer"),
        (&agents, &admin.token, "the agent's owner, on whose behalf it acts"),
        (&own, &cast.member("investigator").token, "an agent"),
        (&own, &cast.member("key-tenant-admin").token, "a program"),
        (&own, &cast.member("viewer").token, "somebody whose role judges nothing"),
        (&own, &cast.member("no_role").token, "somebody without a role"),
    ] {
        let before = Dump::of(platform.control.store()).await;
        for (operation, input) in [
            ("approval.approve", json!({ "approval": approval })),
            ("approval.narrow", json!({ "approval": approval, "input": job })),
        ] {
            let answer = platform.call(token, operation, &input).await;
            assert!(matches!(answer.status, 403 | 404), "{operation} by {who}: {} {}", answer.status, answer.body);
        }
        assert_eq!(before.changed(&Dump::of(platform.control.store()).await), [], "{who}");
    }
    assert_eq!(approve(&platform, &cast.member("analyst").token, &agents).await.status, 200);
    let ended = platform.settled(&cast.chief.token, &agents).await;
    // The job had ended long before: the call is decided, let through, and told so.
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(ended["problem"].as_str().unwrap().contains("the job has ended"), "{ended}");
    let cancelled = platform.done(&admin.token, "approval.cancel", &json!({ "approval": own })).await;
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(approve(&platform, &cast.member("analyst").token, &own).await.status, 409);
}

#[tokio::test]
async fn time_runs_out_as_a_no() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (approval, switch) = proposed(&platform, &cast).await;
    platform.clock.advance(Duration::from_secs(3601));
    let answer = approve(&platform, &cast.chief.token, &approval).await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert_eq!(platform.settled(&cast.chief.token, &approval).await["state"], "expired");
    assert!(!released(&platform, &cast, &switch).await);
    // Also written down, and still no after a restart.
    let stored = async |platform: &Platform| {
        let dump = Dump::of(platform.control.store()).await;
        let one =
            dump.kind("approval").find(|(id, _)| *id == approval).map(|(_, value)| value["value"]["state"].clone());
        one.filter(|state| state == "expired")
    };
    platform.until("the expiry is written down", async || stored(&platform).await).await;
    let platform = platform.restart().await;
    assert_eq!(approve(&platform, &cast.chief.token, &approval).await.status, 409);
    assert!(!released(&platform, &cast, &switch).await);
}

#[tokio::test]
async fn an_approved_call_is_decided_again() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let key = cast.member("key-tenant-admin");
    let rights = async |operation: &str| {
        let given = json!({ "principal": key.principal, "role": "tenant_admin", "tenant": cast.own });
        let held = platform.done(chief, "role.assign", &given).await;
        if operation == "unassign" {
            platform.done(chief, "role.unassign", &json!({ "assignment": held["id"] })).await;
        }
    };
    let (approval, switch) = proposed(&platform, &cast).await;
    rights("unassign").await;
    let voted = approve(&platform, chief, &approval).await;
    assert_ne!(voted.body["state"], "executed", "{}", voted.body);
    let state = platform.done(chief, "approval.get", &json!({ "approval": approval })).await["state"].clone();
    assert!(matches!(state.as_str(), Some("pending" | "failed")), "{state}");
    assert!(!released(&platform, &cast, &switch).await, "a right that was taken away meanwhile");

    rights("assign").await;
    let (approval, switch) = proposed(&platform, &cast).await;
    platform.done(chief, "service_key.revoke", &json!({ "service_key": key.principal })).await;
    approve(&platform, chief, &approval).await;
    assert!(!released(&platform, &cast, &switch).await, "a key that was revoked meanwhile");
}

#[tokio::test]
async fn one_person_is_one_vote() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let text = "forbid(principal is Posse::Service, action == Posse::Action::\"role.create\", resource) when { context.approvals.people < 2 };";
    let policy = policy_draft(&platform, &cast, "two-people", text).await;
    platform.done(&cast.chief.token, "policy.activate", &json!({ "policy": policy })).await;
    let key = cast.member("key-tenant-admin");
    let made = json!({ "tenant": cast.own, "name": "quorum", "operations": ["tenant.get"] });
    let approval = platform.pending(&key.token, "role.create", &made).await;
    let analyst = cast.member("analyst");
    assert_eq!(approve(&platform, &analyst.token, &approval).await.body["state"], "pending");
    let twice = approve(&platform, &analyst.token, &approval).await;
    assert_eq!(twice.status, 409, "{}", twice.body);
    let again = cast::login(&platform, "analyst@example.com").await;
    assert_eq!(approve(&platform, &again, &approval).await.status, 409, "another session of the same person");
    // Both of the others at once: the call runs once.
    let (one, two) = tokio::join!(
        approve(&platform, &cast.member("responder").token, &approval),
        approve(&platform, &cast.member("detection_engineer").token, &approval)
    );
    assert!(one.status == 200 || two.status == 200, "{} {}", one.body, two.body);
    assert_eq!(platform.settled(&cast.chief.token, &approval).await["state"], "executed");
    let roles = platform.done(&cast.chief.token, "role.list", &json!({ "tenant": cast.own })).await;
    let made: Vec<&Value> = roles["items"].as_array().unwrap().iter().filter(|role| role["name"] == "quorum").collect();
    assert_eq!(made.len(), 1);
}

#[tokio::test]
async fn narrowing_only_narrows() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let text = "forbid(principal is Posse::Service, action == Posse::Action::\"role.create\", resource) when { context.approvals.people < 1 };";
    let policy = policy_draft(&platform, &cast, "ask-first", text).await;
    platform.done(&cast.chief.token, "policy.activate", &json!({ "policy": policy })).await;
    let asked =
        json!({ "tenant": cast.own, "name": "wide", "operations": ["tenant.get", "agent.list"], "description": "d" });
    let key = cast.member("key-tenant-admin");
    let approval = platform.pending(&key.token, "role.create", &asked).await;
    let analyst = &cast.member("analyst").token;
    let with = |name: &str, value: Value| {
        let mut input = asked.clone();
        input[name] = value;
        json!({ "approval": approval, "input": input })
    };
    for (wider, pointer) in [
        (with("operations", json!(["tenant.get", "user.*"])), "/input/operations"),
        (with("operations", json!([])), "/input/operations"),
        (with("tenant", json!(cast.other)), "/input/tenant"),
        (with("name", json!("other")), "/input/name"),
        (with("effects", json!(["govern"])), "/input/effects"),
        (json!({ "approval": approval, "input": {} }), "/input/"),
    ] {
        let answer = platform.call(analyst, "approval.narrow", &wider).await;
        let told = answer.pointers();
        assert!(answer.status == 422 && told.len() == 1 && told[0].starts_with(pointer), "{pointer}: {}", answer.body);
    }
    platform.done(analyst, "approval.narrow", &with("operations", json!(["tenant.get"]))).await;
    let ended = platform.settled(&cast.chief.token, &approval).await;
    assert_eq!(
        (&ended["state"], &ended["result"]["operations"]),
        (&json!("executed"), &json!(["tenant.get"])),
        "{ended}"
    );
}

#[tokio::test]
async fn secrets_are_hidden_from_approvers_and_reach_the_call() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let text = "forbid(principal is Posse::Service, action == Posse::Action::\"user.create\", resource) when { context.approvals.people < 1 };";
    let policy = policy_draft(&platform, &cast, "ask-first", text).await;
    platform.done(&cast.chief.token, "policy.activate", &json!({ "policy": policy })).await;
    let password = "a password nobody may read";
    let asked = json!({ "tenant": cast.own, "email": "new@example.com", "display_name": "New", "password": password });
    let approval = platform.pending(&cast.member("key-tenant-admin").token, "user.create", &asked).await;
    let seen = platform.done(&cast.chief.token, "approval.get", &json!({ "approval": approval })).await;
    assert_eq!(seen["input"]["password"], "[redacted]");
    assert!(!seen.to_string().contains(password));
    assert!(!Dump::of(platform.control.store()).await.holds(password), "sealed at rest");
    assert_eq!(approve(&platform, &cast.member("analyst").token, &approval).await.status, 200);
    assert_eq!(platform.settled(&cast.chief.token, &approval).await["state"], "executed");
    let sign_in = json!({ "email": "new@example.com", "password": password });
    assert_eq!(platform.send(Request::of(platform.spec("me.login"), &sign_in)).await.status, 200);
    let redacted = json!({ "email": "new@example.com", "password": "[redacted]" });
    assert_eq!(platform.send(Request::of(platform.spec("me.login"), &redacted)).await.status, 401);
    for owner in [ids::Owner::Provider, ids::Owner::Tenant(cast.own.parse().unwrap())] {
        let records = testkit::dump::records(platform.control.store(), owner).await;
        assert!(records.iter().all(|record| !record.to_string().contains(password)));
        for record in records {
            let Ok(call) = record["call"].as_str().unwrap_or_default().parse() else { continue };
            let kept = platform.control.kept_text(owner, call).await;
            let body = kept.map(|(_, text)| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
            assert!(!body.contains(password) && !body.contains(PASSWORD), "{record}");
        }
    }
}

#[tokio::test]
async fn a_denial_is_the_end() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (approval, switch) = proposed(&platform, &cast).await;
    let deny = json!({ "approval": approval, "comment": "not now" });
    assert_eq!(platform.done(&cast.chief.token, "approval.deny", &deny).await["state"], "denied");
    let late: &Member = admin_of(&cast);
    assert_eq!(approve(&platform, &late.token, &approval).await.status, 409);
    assert!(!released(&platform, &cast, &switch).await);
}

#[tokio::test]
async fn regression_who_made_a_service_key_cannot_approve_what_it_proposes() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief;
    let other = cast.member("provider_admin");
    let robot = cast::program(&platform, &chief.token, "own-robot", Some(&cast.own), &["tenant_admin"]).await;
    let agent = &cast.things[&Place::Own]["agent"];
    let propose = async |token: &str| {
        let engage = json!({ "target": { "stop": "agent", "agent": agent }, "reason": "a test" });
        let engaged = platform.done(&chief.token, "kill_switch.engage", &engage).await;
        let release = json!({ "kill_switch": engaged["id"], "reason": "over" });
        platform.pending(token, "kill_switch.release", &release).await
    };
    let keys = platform.done(&chief.token, "service_key.list", &json!({ "tenant": cast.own })).await;
    let own = keys["items"].as_array().unwrap().iter().find(|one| one["id"] == robot.principal.as_str()).unwrap();
    assert_eq!(own["created_by"], chief.principal.as_str());

    let first = propose(&robot.token).await;
    let refused = approve(&platform, &chief.token, &first).await;
    assert_eq!(refused.status, 403, "who made the key: {}", refused.body);
    platform.done(&other.token, "approval.approve", &json!({ "approval": first })).await;

    // Who rotated it has seen its secret too; who made it has seen the one before.
    let rotate = json!({ "service_key": robot.principal, "overlap_secs": 3600 });
    let rotated = platform.done(&other.token, "service_key.rotate", &rotate).await;
    let second = propose(rotated["credential"]["secret"].as_str().unwrap()).await;
    for (token, who) in [(&chief.token, "who made it"), (&other.token, "who rotated it")] {
        let refused = approve(&platform, token, &second).await;
        assert_eq!(refused.status, 403, "{who}: {}", refused.body);
    }
    platform.done(&cast.member("tenant_admin").token, "approval.approve", &json!({ "approval": second })).await;

    // A key that was made with the key has the same people behind it.
    let made = json!({ "name": "robots-robot", "tenant": cast.own });
    let made = platform.done(&robot.token, "service_key.create", &made).await;
    let given = json!({ "principal": made["key"]["id"], "role": "tenant_admin", "tenant": cast.own });
    platform.done(&chief.token, "role.assign", &given).await;
    let third = propose(made["credential"]["secret"].as_str().unwrap()).await;
    for token in [&chief.token, &other.token] {
        assert_eq!(approve(&platform, token, &third).await.status, 403);
    }
}
