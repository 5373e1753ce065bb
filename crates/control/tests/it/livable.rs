//! Approvals that people can live with: a deputy while somebody is away, a further rung before time runs out, and a report of
//! how well it all works.

use crate::people::{admin_of, policy_draft};
use ids::Clock as _;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Cast, Place, Platform};

/// A tenant's key asks for a release of the kill switch, which needs an administrator.
async fn proposed(platform: &Platform, cast: &Cast) -> String {
    let agent = &cast.things[&Place::Own]["agent"];
    let engage = json!({ "target": { "stop": "agent", "agent": agent }, "reason": "a test" });
    let engaged = platform.done(&cast.chief.token, "kill_switch.engage", &engage).await;
    let release = json!({ "kill_switch": engaged["id"], "reason": "over" });
    platform.pending(&cast.member("key-tenant-admin").token, "kill_switch.release", &release).await
}

async fn state(platform: &Platform, cast: &Cast, approval: &str) -> Value {
    platform.done(&cast.chief.token, "approval.get", &json!({ "approval": approval })).await["state"].clone()
}

#[tokio::test]
async fn a_deputy_counts_with_the_roles_of_who_is_away_and_as_one_person() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (admin, analyst) = (admin_of(&cast), cast.member("analyst"));
    let yes = async |token: &str, approval: &str| {
        platform.done(token, "approval.approve", &json!({ "approval": approval })).await;
    };
    let alone = proposed(&platform, &cast).await;
    yes(&analyst.token, &alone).await;
    assert_eq!(state(&platform, &cast, &alone).await, "pending", "an analyst is no administrator");

    let away = json!({ "to": analyst.principal, "until": "2026-10-01T00:00:00Z", "reason": "on leave" });
    platform.done(&admin.token, "approval.delegate", &away).await;
    let listed = platform.done(&analyst.token, "approval.list_delegations", &json!({})).await;
    assert_eq!(
        (&listed["items"][0]["user"], &listed["items"][0]["to"]),
        (&json!(admin.principal), &json!(analyst.principal))
    );
    let stood_in = proposed(&platform, &cast).await;
    yes(&analyst.token, &stood_in).await;
    assert_eq!(platform.settled(&cast.chief.token, &stood_in).await["state"], "executed");
    assert_eq!(state(&platform, &cast, &alone).await, "pending", "a vote from before counts as it did");

    // What the one who is away proposed, the deputy judges as themselves alone.
    let text = "forbid(principal, action == Posse::Action::\"job.cancel\", resource) when { context.approvals.tenant_admin < 1 };";
    let policy = policy_draft(&platform, &cast, "administrators", text).await;
    platform.done(&cast.chief.token, "policy.activate", &json!({ "policy": policy })).await;
    let job = json!({ "job": cast.things[&Place::Own]["job"] });
    let own = platform.pending(&admin.token, "job.cancel", &job).await;
    yes(&analyst.token, &own).await;
    assert_eq!(state(&platform, &cast, &own).await, "pending", "no way round oneself");
    // Two votes of a pair are two people, and the role of one is counted once.
    let text = "forbid(principal, action == Posse::Action::\"agent.suspend\", resource) when { context.approvals.tenant_admin < 2 };";
    let policy = policy_draft(&platform, &cast, "two-administrators", text).await;
    platform.done(&cast.chief.token, "policy.activate", &json!({ "policy": policy })).await;
    let suspend = json!({ "agent": cast.things[&Place::Own]["agent"], "reason": "x" });
    let pair = platform.pending(&cast.member("key-tenant-admin").token, "agent.suspend", &suspend).await;
    yes(&analyst.token, &pair).await;
    yes(&admin.token, &pair).await;
    assert_eq!(
        state(&platform, &cast, &pair).await,
        "pending",
        "one administrator and their deputy are one administrator"
    );

    platform.done(&admin.token, "approval.end_delegation", &json!({})).await;
    let after = proposed(&platform, &cast).await;
    yes(&analyst.token, &after).await;
    assert_eq!(state(&platform, &cast, &after).await, "pending");
    yes(&admin.token, &after).await;
    assert_eq!(platform.settled(&cast.chief.token, &after).await["state"], "executed");
    assert_eq!(platform.call(&admin.token, "approval.end_delegation", &json!({})).await.status, 409);
    // Nobody of another place, nobody for ever, nobody for oneself, and no program.
    let (foreign, far) = (&cast.things[&Place::Other]["user"], "2027-06-01T00:00:00Z");
    let soon = "2026-10-01T00:00:00Z";
    for (to, until) in [
        (foreign, soon),
        (&cast.chief.principal, soon),
        (&admin.principal, soon),
        (&analyst.principal, far),
        (&analyst.principal, "2026-01-01T00:00:00Z"),
    ] {
        let asked = json!({ "to": to, "until": until, "reason": "x" });
        assert_eq!(platform.call(&admin.token, "approval.delegate", &asked).await.status, 422, "{to} {until}");
    }
    let key = &cast.member("key-tenant-admin").token;
    assert_eq!(platform.call(key, "approval.delegate", &away).await.status, 403);
}

#[tokio::test]
async fn what_waits_long_is_asked_of_the_next_rung() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let approval = proposed(&platform, &cast).await;
    let read = async || platform.done(&cast.chief.token, "approval.get", &json!({ "approval": approval })).await;
    assert_eq!(read().await["rung"], "one_tenant_admin");
    platform.clock.advance(Duration::from_secs(2600));
    assert_eq!(read().await["escalation"], Value::Null);
    platform.clock.advance(Duration::from_secs(200));
    let escalated = platform
        .until("it is escalated", async || Some(read().await).filter(|one| one["escalation"].is_object()))
        .await;
    assert_eq!(escalated["escalation"]["rung"], "one_provider_admin", "{escalated}");
    assert_eq!((&escalated["state"], &escalated["rung"]), (&json!("pending"), &json!("one_tenant_admin")));
    platform.done(&cast.chief.token, "approval.approve", &json!({ "approval": approval })).await;
    assert_eq!(platform.settled(&cast.chief.token, &approval).await["state"], "executed");
}

#[tokio::test]
async fn the_report_tells_nods_times_and_what_was_undone() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (tenant, chief) = (&cast.other, &cast.chief.token);
    let since = platform.clock.now().to_string();
    let (sensor, _) = testkit::cast::sensor(&platform, chief, "watched", tenant, &["crown-jewel"]).await;
    let responder = testkit::cast::person(&platform, chief, "doer", Some(tenant), &["responder"]).await;
    let nodder = testkit::cast::person(&platform, chief, "nodder", Some(tenant), &["responder"]).await;
    let reader = testkit::cast::person(&platform, chief, "reader", Some(tenant), &["analyst"]).await;
    let isolate = json!({ "sensor": sensor, "reason": "a test", "ttl_secs": 600 });
    let ask = async || platform.pending(&responder.token, "action.isolate_host", &isolate).await;
    let first = ask().await;
    platform.done(&nodder.token, "approval.approve", &json!({ "approval": first })).await;
    let done = platform.settled(chief, &first).await;
    assert_eq!(done["state"], "executed", "{done}");
    let undo = json!({ "action": done["result"]["id"], "reason": "it was the wrong host" });
    let undone = platform.call(&responder.token, "action.undo", &undo).await;
    if undone.status == 202 {
        let approval = undone.body["approval"].as_str().unwrap().to_owned();
        let said = json!({ "approval": approval, "comment": "indeed" });
        platform.done(&reader.token, "approval.approve", &said).await;
        assert_eq!(platform.settled(chief, &approval).await["state"], "executed");
    } else {
        assert_eq!(undone.status, 200, "{}", undone.body);
    }
    let second = ask().await;
    platform.clock.advance(Duration::from_secs(100));
    platform.done(&reader.token, "approval.deny", &json!({ "approval": second, "comment": "it is in use" })).await;
    let third = ask().await;
    platform.clock.advance(Duration::from_secs(300));
    platform.done(&reader.token, "approval.approve", &json!({ "approval": third })).await;
    platform.settled(chief, &third).await;
    let asked = json!({ "tenant": tenant, "since": since });
    let report = platform.done(chief, "approval.report", &asked).await;
    let of = |name: &str| report[name].clone();
    assert_eq!((of("denied"), of("reversed"), of("complete")), (json!(1), json!(1), json!(true)), "{report}");
    assert_eq!((of("rubber_stamps"), of("waiting")), (json!(1), json!(0)), "{report}");
    let person = |who: &str| {
        report["by_person"].as_array().unwrap().iter().find(|one| one["user"] == who).cloned().unwrap_or(Value::Null)
    };
    let nods = person(&nodder.principal);
    assert_eq!(
        (&nods["yes"], &nods["rubber_stamp_rate"], &nods["reversed"]),
        (&json!(1), &json!(1.0), &json!(1)),
        "{report}"
    );
    let reads = person(&reader.principal);
    assert_eq!(
        (&reads["no"], &reads["rubber_stamps"], &reads["reversed"]),
        (&json!(1), &json!(0), &json!(0)),
        "{report}"
    );
    assert!(report["time_to_decide"]["max_secs"].as_u64().unwrap() >= 300, "{report}");
    let isolates = &report["by_operation"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["operation"] == "action.isolate_host")
        .cloned()
        .unwrap();
    assert_eq!((&isolates["proposed"], &isolates["reversed"]), (&json!(3), &json!(1)), "{report}");
    // Another tenant's report knows nothing of it.
    let own = platform.done(&cast.member("tenant_admin").token, "approval.report", &json!({ "since": since })).await;
    assert!(own["by_person"].as_array().unwrap().iter().all(|one| one["user"] != nodder.principal.as_str()), "{own}");
    assert_eq!(platform.call(&cast.member("analyst").token, "approval.report", &asked).await.status, 404);
}
