//! Webhooks: who is told that something waits, what it is told, and that a repetition can be known as one.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use testkit::cast::person;
use testkit::{Cast, Dump, Place, Platform, Service};

async fn scene() -> (Platform, Cast) {
    let settings = control::Settings { connector_hosts_inside: vec!["127.0.0.1".to_owned()], ..testkit::settings() };
    let platform = Platform::start_with(settings).await;
    let cast = Cast::of(&platform).await;
    (platform, cast)
}

async fn listens(
    platform: &Platform,
    token: &str,
    tenant: Option<&str>,
    service: &Service,
    kinds: &[&str],
) -> (String, String) {
    let mut input = json!({ "name": "on call", "url": format!("{}/told", service.origin()), "kinds": kinds });
    if let Some(tenant) = tenant {
        input["tenant"] = tenant.into();
    }
    let made = platform.done(token, "webhook.create", &input).await;
    (made["webhook"]["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

async fn told(platform: &Platform, service: &Service, kind: &str, count: usize) -> Vec<Value> {
    let of_kind = || -> Vec<Value> {
        let all = service.heard().into_iter().map(|one| serde_json::from_str::<Value>(&one.body).unwrap());
        all.filter(|one| one["type"] == kind).collect()
    };
    platform.until(&format!("{count} of {kind}"), async || Some(of_kind()).filter(|all| all.len() >= count)).await
}

#[tokio::test]
async fn a_waiting_proposal_is_told_signed_and_without_its_input() {
    let (platform, cast) = scene().await;
    let service = Service::start(|_| Some((204, String::new()))).await;
    let (admin, own) = (&cast.member("tenant_admin").token, cast.own.as_str());
    let (webhook, secret) = listens(&platform, admin, Some(own), &service, &["approval_waiting"]).await;
    assert!(!Dump::of(platform.control.store()).await.holds(&secret), "sealed at rest");
    let release =
        json!({ "kill_switch": cast.things[&Place::Own]["kill_switch"], "reason": "a reason nobody outside reads" });
    let approval = platform.pending(&cast.member("key-tenant-admin").token, "kill_switch.release", &release).await;
    let all = told(&platform, &service, "approval_waiting", 1).await;
    assert_eq!(all[0]["data"]["approval"], approval.as_str());
    assert_eq!(all[0]["data"]["operation"], "kill_switch.release");
    let one = service.heard().remove(0);
    assert!(!one.says("a reason nobody outside reads"), "{}", one.body);
    let (id, at) = (one.header("webhook-id"), one.header("webhook-timestamp"));
    let key = action::standard_webhooks_key(&secret).unwrap();
    let wanted = action::standard_webhooks_signature(&key, id, at.parse().unwrap(), one.body.as_bytes());
    assert_eq!(one.header("webhook-signature"), wanted);
    // Whoever made it sees that it arrived.
    let arrived = async || {
        let listed = platform.done(admin, "webhook.list", &json!({ "tenant": own })).await;
        let one = listed["items"].as_array().unwrap().iter().find(|one| one["id"] == webhook.as_str()).unwrap().clone();
        (one["sent"] == 1 && one["last"]["state"] == "sent").then_some(one)
    };
    let seen = platform.until("the delivery is seen", arrived).await;
    assert_eq!(seen["url"], format!("{}/…", service.origin()), "a path may hold a secret");
    assert!(seen.get("secret").is_none() && !seen.to_string().contains(&secret), "{seen}");
    // Another tenant's proposals are not told here.
    let elsewhere = json!({ "kill_switch": cast.things[&Place::Other]["kill_switch"], "reason": "x" });
    platform.pending(&cast.member("key-provider-admin").token, "kill_switch.release", &elsewhere).await;
    platform.done(admin, "webhook.test", &json!({ "webhook": webhook })).await;
    told(&platform, &service, "test", 1).await;
    assert_eq!(told(&platform, &service, "approval_waiting", 1).await.len(), 1);
    platform.done(admin, "webhook.delete", &json!({ "webhook": webhook })).await;
    assert_eq!(platform.call(admin, "webhook.test", &json!({ "webhook": webhook })).await.status, 404);
}

#[tokio::test]
async fn what_does_not_arrive_is_tried_again_under_one_id() {
    let (platform, cast) = scene().await;
    let turn = AtomicU64::new(0);
    let answers = move |_: &testkit::Heard| {
        Some((if turn.fetch_add(1, Ordering::Relaxed) == 0 { 503 } else { 200 }, String::new()))
    };
    let service = Service::start(answers).await;
    let chief = &cast.chief.token;
    let (webhook, _) = listens(&platform, chief, None, &service, &["break_glass_opened"]).await;
    let responder = person(&platform, chief, "climber", Some(&cast.own), &["responder"]).await;
    let glass = json!({ "tenant": cast.own, "role": "analyst", "reason": "a test" });
    let opened = platform.done(&responder.token, "break_glass.open", &glass).await;
    told(&platform, &service, "break_glass_opened", 1).await;
    let pending = async || {
        let listed = platform.done(chief, "webhook.list", &json!({})).await;
        let one = listed["items"].as_array().unwrap().iter().find(|one| one["id"] == webhook.as_str()).unwrap().clone();
        (one["last"]["state"] == "pending").then_some(())
    };
    platform.until("the failure is seen", pending).await;
    platform.clock.advance(Duration::from_secs(60));
    let all = told(&platform, &service, "break_glass_opened", 2).await;
    assert_eq!((&all[0]["data"]["break_glass"], &all[0]["data"]), (&opened["id"], &all[1]["data"]));
    let ids: Vec<String> = service.heard().iter().map(|one| one.header("webhook-id").to_owned()).collect();
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn ends_of_credentials_are_told_once() {
    let (platform, cast) = scene().await;
    let service = Service::start(|_| Some((200, String::new()))).await;
    let chief = &cast.chief.token;
    listens(&platform, chief, Some(&cast.own), &service, &["expiry_near"]).await;
    let made = json!({ "tenant": cast.own, "name": "short", "ttl_secs": 10 * 24 * 3600 });
    let key = platform.done(chief, "service_key.create", &made).await;
    for _ in 0..3 {
        platform.clock.advance(Duration::from_secs(4 * 24 * 3600 / 3 + 3601));
        platform.until("a round has gone", async || Some(())).await;
    }
    let all = told(&platform, &service, "expiry_near", 1).await;
    let of_key = all.iter().filter(|one| one["data"]["principal"] == key["key"]["id"]).count();
    assert_eq!(of_key, 1, "{all:#?}");
}

#[tokio::test]
async fn only_administrators_say_where_and_never_inside() {
    let (platform, cast) = scene().await;
    let url = |url: &str| json!({ "tenant": cast.own, "name": "x", "url": url, "kinds": ["approval_waiting"] });
    for name in ["viewer", "analyst", "responder", "auditor", "investigator"] {
        let answer = platform.call(&cast.member(name).token, "webhook.create", &url("https://hooks.example.com")).await;
        assert_eq!(answer.status, 403, "{name}");
    }
    let admin = &cast.member("tenant_admin").token;
    for wrong in ["http://hooks.example.com/", "ftp://a", "https://u:p@a.example", "https://a.example/#x", "no"] {
        let answer = platform.call(admin, "webhook.create", &url(wrong)).await;
        assert_eq!((answer.status, answer.pointers()), (422, vec!["/url"]), "{wrong}");
    }
}
