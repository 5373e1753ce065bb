//! Break glass: a role for a while that everybody hears of, over by itself, judged by others.

use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Cast, Dump, Place, Platform};

fn asked(cast: &Cast, role: &str) -> Value {
    json!({ "tenant": cast.own, "role": role, "reason": "nobody else answers", "ttl_secs": 600 })
}

async fn status(platform: &Platform, token: &str, operation: &str, input: &Value) -> u16 {
    platform.call(token, operation, input).await.status
}

#[tokio::test]
async fn a_role_is_taken_told_used_and_over_by_itself() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, analyst) = (&cast.chief.token, cast.member("analyst"));
    let (sensor, _) = testkit::cast::sensor(&platform, chief, "jewel", &cast.own, &["crown-jewel"]).await;
    let isolate = json!({ "sensor": sensor, "reason": "ransomware", "ttl_secs": 600 });
    let refused = [403, 404];
    assert!(refused.contains(&status(&platform, &analyst.token, "action.isolate_host", &isolate).await));
    let glass = platform.done(&analyst.token, "break_glass.open", &asked(&cast, "responder")).await;
    assert_eq!((&glass["state"], &glass["user"]), (&json!("open"), &json!(analyst.principal)), "{glass}");
    // Loud: a case of high severity that everybody of the tenant and of the provider sees.
    for token in [&cast.member("tenant_admin").token, &cast.member("viewer").token, chief] {
        let case = platform.done(token, "case.get", &json!({ "case": glass["case"] })).await;
        assert_eq!(case["case"]["severity"], "high", "{case}");
        let title = case["case"]["title"].as_str().unwrap();
        assert!(title.contains("Break glass") && title.contains("responder"), "{title}");
    }
    let told = platform.done(chief, "case.timeline", &json!({ "case": glass["case"] })).await;
    assert!(told.to_string().contains("nobody else answers"), "{told}");
    let again = platform.call(&analyst.token, "break_glass.open", &asked(&cast, "responder")).await;
    assert_eq!(again.status, 409, "{}", again.body);
    // The role counts, also for what is protected; not for judging others, and not for what is lent.
    let lent = json!({ "client": "shell", "profile": "respond" });
    let lent = platform.done(&analyst.token, "grant.lend", &lent).await;
    let lent = lent["tokens"]["access"].as_str().unwrap();
    assert!(refused.contains(&status(&platform, lent, "action.isolate_host", &isolate).await));
    platform.done(&analyst.token, "action.isolate_host", &isolate).await;
    let review = json!({ "break_glass": glass["id"], "justified": true, "comment": "in time" });
    assert_eq!(status(&platform, chief, "break_glass.review", &review).await, 409, "it is open");
    // Over by itself: at the next call, without any round of the platform, and after a restart too.
    platform.clock.advance(Duration::from_secs(601));
    let other = json!({ "sensor": sensor, "reason": "more", "ttl_secs": 600 });
    assert!(refused.contains(&status(&platform, &analyst.token, "action.isolate_host", &other).await));
    let listed = platform.done(&analyst.token, "break_glass.list", &json!({ "state": "unreviewed" })).await;
    assert!(listed["items"].as_array().unwrap().iter().any(|one| one["id"] == glass["id"]), "{listed}");
    let platform = platform.restart().await;
    assert!(refused.contains(&status(&platform, &analyst.token, "action.isolate_host", &other).await));
    let written = async || {
        let dump = Dump::of(platform.control.store()).await;
        let one = dump.kind("break_glass").find(|(id, _)| glass["id"] == **id).map(|(_, one)| one["value"].clone());
        one.filter(|one| one["closed_at"].is_string() || one["closed_at"].is_i64())
    };
    platform.until("its end is written down", written).await;
    // Judged by somebody else.
    assert_eq!(status(&platform, &analyst.token, "break_glass.review", &review).await, 403, "not by who did it");
    assert_eq!(status(&platform, &cast.member("viewer").token, "break_glass.review", &review).await, 403);
    assert_eq!(status(&platform, &cast.member("key-tenant-admin").token, "break_glass.review", &review).await, 403);
    let reviewed = platform.done(&cast.member("auditor").token, "break_glass.review", &review).await;
    assert_eq!((&reviewed["state"], &reviewed["review"]["justified"]), (&json!("reviewed"), &json!(true)));
    assert_eq!(status(&platform, chief, "break_glass.review", &review).await, 409, "once");
}

#[tokio::test]
async fn authority_is_taken_with_two_people_and_ended_by_anybody_who_governs() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, analyst) = (&cast.chief.token, cast.member("analyst"));
    let role = json!({ "tenant": cast.own, "name": "more", "operations": ["tenant.get"] });
    let approval = platform.pending(&analyst.token, "break_glass.open", &asked(&cast, "tenant_admin")).await;
    let approve = json!({ "approval": approval });
    assert_eq!(status(&platform, &analyst.token, "approval.approve", &approve).await, 403);
    platform.done(&cast.member("responder").token, "approval.approve", &approve).await;
    assert_eq!(status(&platform, &analyst.token, "role.create", &role).await, 403, "one is not enough");
    platform.done(chief, "approval.approve", &approve).await;
    let ended = platform.settled(chief, &approval).await;
    assert_eq!(ended["state"], "executed", "{ended}");
    platform.done(&analyst.token, "role.create", &role).await;
    // It cannot be made lasting by its holder: what it gives does not outlive it.
    let close = json!({ "break_glass": ended["result"]["id"] });
    assert_eq!(status(&platform, &cast.member("viewer").token, "break_glass.close", &close).await, 403);
    let closed = platform.done(&cast.member("tenant_admin").token, "break_glass.close", &close).await;
    assert_eq!(closed["state"], "unreviewed", "{closed}");
    let role = json!({ "tenant": cast.own, "name": "again", "operations": ["tenant.get"] });
    assert_eq!(status(&platform, &analyst.token, "role.create", &role).await, 403);
    assert_eq!(status(&platform, chief, "break_glass.close", &close).await, 409, "over is over");
}

#[tokio::test]
async fn the_glass_is_for_people_of_the_place() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let before = Dump::of(platform.control.store()).await;
    for name in ["no_role", "viewer", "auditor", "investigator", "key-tenant-admin", "key-provider-admin"] {
        let answer = platform.call(&cast.member(name).token, "break_glass.open", &asked(&cast, "responder")).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.body);
    }
    let mut elsewhere = asked(&cast, "responder");
    elsewhere["tenant"] = json!(cast.other);
    assert_eq!(status(&platform, &cast.member("responder").token, "break_glass.open", &elsewhere).await, 404);
    let analyst = &cast.member("analyst").token;
    for (role, wanted) in [("provider_admin", 403), ("investigator", 422), ("nonsense", 422)] {
        let answer = platform.call(analyst, "break_glass.open", &asked(&cast, role)).await;
        assert!(answer.status == wanted || answer.status == 202, "{role}: {} {}", answer.status, answer.body);
        if answer.status == 202 {
            let approval = answer.body["approval"].as_str().unwrap().to_owned();
            platform.done(analyst, "approval.cancel", &json!({ "approval": approval })).await;
        }
    }
    let foreign = &cast.things[&Place::Other]["break_glass"];
    let close = json!({ "break_glass": foreign });
    assert_eq!(status(&platform, &cast.member("tenant_admin").token, "break_glass.close", &close).await, 404);
    let changed = before.changed(&Dump::of(platform.control.store()).await);
    assert!(changed.iter().all(|(kind, ..)| kind == "approval"), "{changed:#?}");
    // Who approves in an emergency role approves as what they are, not as what they took.
    let engineer = &cast.member("detection_engineer").token;
    platform.done(engineer, "break_glass.open", &asked(&cast, "responder")).await;
    let run = json!({ "sensor": cast.things[&Place::Own]["sensor"], "reason": "a test", "ttl_secs": 600 });
    let agent = &cast.member("responder_with_approval").token;
    let approval = platform.pending(agent, "action.isolate_host", &run).await;
    platform.done(engineer, "approval.approve", &json!({ "approval": approval })).await;
    let waits = platform.done(&cast.chief.token, "approval.get", &json!({ "approval": approval })).await;
    assert_eq!(waits["state"], "pending", "an emergency role is no responder's yes: {waits}");
}
