//! Who may still act: suspended tenants, people who left, runs out of their tenant, and a platform that cannot record.

use crate::people::admin_of;
use serde_json::json;
use std::time::Duration;
use testkit::cast::{self, run};
use testkit::{Cast, Dump, Place, Platform};

async fn status(platform: &Platform, token: &str) -> u16 {
    platform.call(token, "me.get", &json!({})).await.status
}

#[tokio::test]
async fn a_suspended_tenant_is_shut_and_opens_again() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let tenant = json!({ "tenant": cast.own });
    platform.done(chief, "tenant.suspend", &json!({ "tenant": cast.own, "reason": "a test" })).await;
    for member in cast.members.iter().filter(|member| !member.provider) {
        assert_eq!(status(&platform, &member.token).await, 401, "{}", member.name);
    }
    let sign_in = json!({ "email": "viewer@example.com", "password": cast::PASSWORD });
    let sign_in = testkit::Request::of(platform.spec("me.login"), &sign_in);
    assert_eq!(platform.send(sign_in).await.status, 401);
    platform.done(chief, "user.list", &tenant).await;
    let platform = platform.restart().await;
    assert_eq!(status(&platform, &cast.member("viewer").token).await, 401);
    platform.done(chief, "tenant.resume", &tenant).await;
    assert_eq!(status(&platform, &cast.member("viewer").token).await, 200);
}

#[tokio::test]
async fn who_leaves_takes_nothing_along() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (admin, agent) = (admin_of(&cast), cast.member("investigator"));
    assert_eq!(status(&platform, &agent.token).await, 200);
    platform.done(&cast.chief.token, "user.deactivate", &json!({ "user": admin.principal })).await;
    assert_eq!(status(&platform, &admin.token).await, 401, "the person");
    assert_eq!(status(&platform, &agent.token).await, 401, "the agent that nobody answers for any more");
    let read = platform.done(&cast.chief.token, "agent.get", &json!({ "agent": agent.principal })).await;
    assert_eq!(read["state"], "suspended");
    let sign_in = json!({ "email": "tenant_admin@example.com", "password": cast::PASSWORD });
    let sign_in = testkit::Request::of(platform.spec("me.login"), &sign_in);
    assert_eq!(platform.send(sign_in).await.status, 401);
}

#[tokio::test]
async fn rights_end_with_the_next_call() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, viewer) = (&cast.chief.token, cast.member("viewer"));
    platform.done(&viewer.token, "agent.list", &json!({})).await;
    let none = json!({ "user": viewer.principal, "roles": [], "tenant": cast.own });
    platform.done(chief, "user.set_roles", &none).await;
    assert_eq!(platform.call(&viewer.token, "agent.list", &json!({})).await.status, 403);
    // A policy that forbids binds with the next call, and ends with its retirement.
    let analyst = &cast.member("analyst").token;
    let text = "forbid(principal, action == Posse::Action::\"agent.list\", resource);";
    let policy = json!({ "policy": crate::people::policy_draft(&platform, &cast, "shut", text).await });
    platform.done(analyst, "agent.list", &json!({})).await;
    platform.done(chief, "policy.activate", &policy).await;
    assert_eq!(platform.call(analyst, "agent.list", &json!({})).await.status, 403);
    let platform = platform.restart().await;
    assert_eq!(platform.call(analyst, "agent.list", &json!({})).await.status, 403, "after a restart too");
    platform.done(chief, "policy.retire", &policy).await;
    platform.done(analyst, "agent.list", &json!({})).await;
}

#[tokio::test]
async fn a_run_ends_and_stays_in_its_tenant() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief;
    // An agent of the provider, with the role in both tenants: its run reaches one of them.
    let made = json!({ "name": "roaming", "purpose": "tests", "owner": chief.principal });
    let agent = platform.done(&chief.token, "agent.register", &made).await["id"].as_str().unwrap().to_owned();
    platform.done(&chief.token, "agent.activate", &json!({ "agent": agent })).await;
    for tenant in [&cast.own, &cast.other] {
        let given = json!({ "principal": agent, "role": "investigator", "tenant": tenant });
        platform.done(&chief.token, "role.assign", &given).await;
    }
    let token = run(&platform, chief, &agent, &cast.own).await;
    let me = platform.done(&token, "me.get", &json!({})).await;
    assert_eq!((&me["tenant"], &me["on_behalf_of"]), (&json!(cast.own), &json!([chief.principal])));
    platform.done(&token, "agent.list", &json!({ "tenant": cast.own })).await;
    for (operation, input) in [
        ("agent.list", json!({ "tenant": cast.other })),
        ("agent.get", json!({ "agent": cast.things[&Place::Other]["agent"] })),
        ("agent.get", json!({ "agent": agent })),
        ("tenant.get", json!({ "tenant": cast.other })),
        ("me.permissions", json!({ "tenant": cast.other })),
    ] {
        let answer = platform.call(&token, operation, &input).await;
        assert_eq!(answer.status, 404, "{operation} {input}: {}", answer.body);
    }
    let tenants = platform.done(&token, "tenant.list", &json!({})).await;
    let listed: Vec<_> = tenants["items"].as_array().unwrap().iter().map(|tenant| &tenant["id"]).collect();
    assert_eq!(listed, [&json!(cast.own)]);
    platform.clock.advance(Duration::from_secs(3600));
    assert_eq!(status(&platform, &token).await, 401, "minutes, not days");
}

#[tokio::test]
async fn revoked_is_revoked() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, agent) = (&cast.chief.token, cast.member("investigator"));
    platform.done(chief, "agent.revoke_credentials", &json!({ "agent": agent.principal })).await;
    assert_eq!(status(&platform, &agent.token).await, 401);
    let fresh = run(&platform, admin_of(&cast), &agent.principal, &cast.own).await;
    assert_eq!(status(&platform, &fresh).await, 200);
    platform.done(chief, "agent.suspend", &json!({ "agent": agent.principal, "reason": "a test" })).await;
    assert_eq!(status(&platform, &fresh).await, 401);
    platform.done(chief, "agent.activate", &json!({ "agent": agent.principal })).await;
    assert_eq!(status(&platform, &fresh).await, 401, "a suspension killed it for good");
    let key = cast.member("key-tenant-admin");
    let rotated =
        platform.done(chief, "service_key.rotate", &json!({ "service_key": key.principal, "overlap_secs": 60 })).await;
    let new = rotated["credential"]["secret"].as_str().unwrap();
    assert_eq!((status(&platform, &key.token).await, status(&platform, new).await), (200, 200), "both for a while");
    platform.clock.advance(Duration::from_secs(61));
    assert_eq!((status(&platform, &key.token).await, status(&platform, new).await), (401, 200));
    platform.done(chief, "service_key.revoke", &json!({ "service_key": key.principal })).await;
    assert_eq!(status(&platform, new).await, 401);
    let viewer = cast.member("viewer");
    let made = json!({ "user": viewer.principal, "password": "another long password" });
    platform.done(chief, "user.reset_password", &made).await;
    assert_eq!(status(&platform, &viewer.token).await, 401, "a new password ends old sessions");
}

#[tokio::test]
async fn without_a_record_there_is_no_answer() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    platform.control.store().close().await;
    // A state that nobody sealed is refused unread; one that was sealed is tried in `oidc`.
    for spec in api::specs().iter().filter(|spec| spec.meta.id != "me.login_oidc") {
        let input = cast.input(spec, Place::Own).unwrap();
        let answer = platform.call(&cast.chief.token, spec.meta.id, &input).await;
        let fits = answer.status == 503 && answer.problem() == "unavailable";
        assert!(fits, "{}: {} {}", spec.meta.id, answer.status, answer.body);
        assert!(answer.header("retry-after").is_some(), "{}", spec.meta.id);
    }
    let ready = platform.send(testkit::Request::new("GET", "/readyz")).await;
    assert_eq!(ready.status, 503);
    let alive = platform.send(testkit::Request::new("GET", "/healthz")).await;
    assert_eq!(alive.status, 200);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let before = Dump::of(platform.control.store()).await;
    let said = platform.done(&cast.member("analyst").token, "me.permissions", &json!({})).await;
    let platform = platform.restart().await;
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
    for member in &cast.members {
        assert_eq!(status(&platform, &member.token).await, 200, "{}", member.name);
    }
    assert_eq!(platform.done(&cast.member("analyst").token, "me.permissions", &json!({})).await, said);
}
