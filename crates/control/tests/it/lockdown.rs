//! Lockdown: what it names is refused to everybody in its tenant, administrators included, until two others lift it.

use serde_json::{Value, json};
use testkit::{Cast, Dump, Place, Platform};

async fn lock(platform: &Platform, token: &str, tenant: &str, what: Value) -> String {
    let mut input = json!({ "tenant": tenant, "reason": "a test" });
    input.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    platform.done(token, "lockdown.engage", &input).await["id"].as_str().unwrap().to_owned()
}

async fn status(platform: &Platform, token: &str, operation: &str, input: &Value) -> (u16, String) {
    let answer = platform.call(token, operation, input).await;
    (answer.status, answer.problem().to_owned())
}

#[tokio::test]
async fn even_administrators_are_refused_until_two_others_lift_it() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (admin, chief) = (&cast.member("tenant_admin").token, &cast.chief.token);
    let open = |tenant: &str| json!({ "tenant": tenant, "title": "x" });
    let locked = (403, "locked-down".to_owned());
    let responder = &cast.member("responder").token;
    let lockdown = lock(&platform, responder, &cast.own, json!({ "effects": ["write", "govern"] })).await;
    let role = json!({ "tenant": cast.own, "name": "more", "operations": ["tenant.get"] });
    for token in [admin, chief, responder, &cast.member("key-provider-admin").token] {
        assert_eq!(status(&platform, token, "case.open", &open(&cast.own)).await, locked);
        assert_eq!(status(&platform, token, "role.create", &role).await.0, 403);
    }
    assert_eq!(status(&platform, admin, "role.create", &role).await, locked);
    // Looking goes on, so does another tenant, and so does what tells the platform what happens.
    platform.done(admin, "case.list", &json!({ "tenant": cast.own })).await;
    platform.done(chief, "case.open", &open(&cast.other)).await;
    let (sensor, own) = testkit::cast::sensor(&platform, chief, "watcher", &cast.other, &[]).await;
    lock(&platform, chief, &cast.other, json!({ "operations": ["sensor.*"] })).await;
    platform.done(&own, "sensor.tasks", &json!({ "sensor": sensor })).await;
    assert_eq!(status(&platform, chief, "sensor.list", &json!({ "tenant": cast.other })).await, locked);
    // On the record, refusals too.
    let answer = platform.call(admin, "case.open", &open(&cast.own)).await;
    assert!(
        answer.recorded().is_some() && answer.body["detail"].as_str().unwrap().contains(&lockdown),
        "{}",
        answer.body
    );

    let platform = platform.restart().await;
    assert_eq!(status(&platform, admin, "case.open", &open(&cast.own)).await, locked, "a restart lifts nothing");
    let lift = json!({ "lockdown": lockdown, "reason": "over" });
    assert_eq!(platform.call(responder, "lockdown.lift", &lift).await.status, 403, "who may engage may not lift");
    let approval = platform.pending(admin, "lockdown.lift", &lift).await;
    let approve = json!({ "approval": approval });
    assert_eq!(platform.call(admin, "approval.approve", &approve).await.status, 403, "not the proposer");
    platform.done(&cast.member("analyst").token, "approval.approve", &approve).await;
    assert_eq!(status(&platform, admin, "case.open", &open(&cast.own)).await, locked, "one is not enough");
    let again = platform.call(&cast.member("analyst").token, "approval.approve", &approve).await;
    assert_eq!(again.status, 409, "one person is one: {}", again.body);
    platform.done(chief, "approval.approve", &approve).await;
    let ended = platform.settled(chief, &approval).await;
    assert_eq!(ended["state"], "executed", "{ended}");
    platform.done(admin, "case.open", &open(&cast.own)).await;
    let listed = platform.done(admin, "lockdown.status", &json!({ "tenant": cast.own, "lifted": true })).await;
    let own: Vec<&Value> =
        listed["items"].as_array().unwrap().iter().filter(|one| one["id"] == lockdown.as_str()).collect();
    assert!(own.len() == 1 && own[0]["lifted_at"].is_string() && own[0]["lifted_reason"] == "over", "{listed}");
    let holding = platform.done(admin, "lockdown.status", &json!({ "tenant": cast.own })).await;
    assert!(holding["items"].as_array().unwrap().iter().all(|one| one["id"] != lockdown.as_str()), "{holding}");
    let again = platform.pending(admin, "lockdown.lift", &lift).await;
    platform.done(admin, "approval.cancel", &json!({ "approval": again })).await;
}

#[tokio::test]
async fn what_was_approved_or_asked_before_does_not_happen_in_a_lockdown() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, tenant) = (&cast.chief.token, &cast.other);
    let (sensor, own) = testkit::cast::sensor(&platform, chief, "watched", tenant, &["crown-jewel"]).await;
    let responder = testkit::cast::person(&platform, chief, "fetcher", Some(tenant), &["responder"]).await;
    let asked = json!({ "sensor": sensor, "reason": "a test", "ttl_secs": 3600 });
    let approval = platform.pending(&responder.token, "action.isolate_host", &asked).await;
    lock(&platform, chief, tenant, json!({ "effects": ["respond"] })).await;
    platform.done(chief, "approval.approve", &json!({ "approval": approval })).await;
    let ended = platform.settled(chief, &approval).await;
    assert!(ended["state"] == "failed" && ended["problem"].as_str().unwrap().contains("lockdown"), "{ended}");
    let told = platform.done(&own, "sensor.tasks", &json!({ "sensor": sensor })).await;
    assert_eq!(told["tasks"], json!([]), "{told}");
    // A task that waits for its sensor stays where it is.
    let (sensor, own) = testkit::cast::sensor(&platform, chief, "plain", &cast.own, &[]).await;
    let asked = json!({ "sensor": sensor, "reason": "a test", "ttl_secs": 3600 });
    platform.done(&cast.member("responder").token, "action.isolate_host", &asked).await;
    lock(&platform, chief, &cast.own, json!({ "operations": ["action.isolate_host"] })).await;
    let told = platform.done(&own, "sensor.tasks", &json!({ "sensor": sensor })).await;
    assert_eq!(told["tasks"], json!([]), "{told}");
}

#[tokio::test]
async fn a_lockdown_leaves_the_way_out_open_and_is_nobodys_toy() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (admin, chief) = (&cast.member("tenant_admin").token, &cast.chief.token);
    for (what, pointer) in [
        (json!({}), "/effects"),
        (json!({ "operations": ["lockdown.lift"] }), "/operations/0"),
        (json!({ "operations": ["rule.enable", "approval.*"] }), "/operations/1"),
        (json!({ "operations": ["no.such"] }), "/operations/0"),
    ] {
        let mut input = json!({ "tenant": cast.own, "reason": "a test" });
        input.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        let answer = platform.call(admin, "lockdown.engage", &input).await;
        assert_eq!((answer.status, &answer.body["errors"][0]["pointer"]), (422, &json!(pointer)), "{}", answer.body);
    }
    let before = Dump::of(platform.control.store()).await;
    let input = |tenant: &str| json!({ "tenant": tenant, "effects": ["read"], "reason": "mischief" });
    for name in ["viewer", "analyst", "detection_engineer", "auditor", "investigator", "no_role"] {
        assert_eq!(
            platform.call(&cast.member(name).token, "lockdown.engage", &input(&cast.own)).await.status,
            403,
            "{name}"
        );
    }
    assert_eq!(platform.call(admin, "lockdown.engage", &input(&cast.other)).await.status, 404, "another tenant's");
    let seeded = &cast.things[&Place::Other]["lockdown"];
    let lift = json!({ "lockdown": seeded, "reason": "x" });
    assert_eq!(platform.call(admin, "lockdown.lift", &lift).await.status, 404);
    assert_eq!(before.changed(&Dump::of(platform.control.store()).await), []);
    // Everything locked: who looks into it still can, the switch still works, and people can sign in.
    let all = json!({ "effects": ["read", "write", "govern", "respond"] });
    lock(&platform, chief, &cast.own, all).await;
    platform.done(admin, "audit.list", &json!({ "tenant": cast.own })).await;
    platform.done(admin, "approval.list", &json!({ "tenant": cast.own })).await;
    platform.done(admin, "me.get", &json!({})).await;
    let target = json!({ "stop": "tenant_agents", "tenant": cast.own });
    platform.done(admin, "kill_switch.engage", &json!({ "target": target, "reason": "a test" })).await;
    testkit::cast::login(&platform, "viewer@example.com").await;
}
