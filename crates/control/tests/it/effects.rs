//! Calls that touch the outside world: intent before the effect, outcome after it, and nothing that the kill switch holds.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use store::{Message, MessagePage, MessageState};
use testkit::cast;
use testkit::outside::{Outside, registry};
use testkit::{Cast, Platform, Request};

struct Scene {
    platform: Platform,
    cast: Cast,
    outside: std::sync::Arc<Outside>,
}

/// A platform with the sending operation, asleep, and an outside that takes this many parcels.
async fn scene(permits: usize) -> Scene {
    let mut platform = Platform::start_idle(registry()).await;
    let outside = Outside::taking(platform.control.store().clone(), permits);
    platform.wake_with(vec![outside.clone()]);
    let cast = Cast::of(&platform).await;
    Scene { platform, cast, outside }
}

impl Scene {
    async fn send(&self, token: &str, text: &str) -> Value {
        self.platform.done(token, "action.send", &json!({ "tenant": self.cast.own, "text": text })).await
    }

    async fn messages(&self, state: MessageState) -> Vec<Message> {
        let page = MessagePage { state: Some(state), limit: 100, ..MessagePage::default() };
        self.platform.control.store().snapshot(ids::Scope::Provider).messages(&page).await.unwrap()
    }

    async fn records(&self, call: &Value) -> Vec<Value> {
        let call = call.as_str().unwrap().parse().unwrap();
        let leaves = self.platform.control.store().snapshot(ids::Scope::Provider).leaves_of(call).await.unwrap();
        leaves.iter().map(|leaf| serde_json::from_slice(&leaf.leaf).unwrap()).collect()
    }

    async fn outcome(&self, call: &Value) -> Value {
        let two = async || {
            let records = self.records(call).await;
            records.into_iter().find(|one| one["phase"] == "outcome")
        };
        self.platform.until("the outcome is on the record", two).await
    }
}

#[tokio::test]
async fn the_intent_is_recorded_before_the_effect_and_the_outcome_after_it() {
    let scene = scene(10).await;
    let responder = scene.cast.member("responder");
    let sent = scene.send(&responder.token, "isolate web-1").await;
    let outcome = scene.outcome(&sent["id"]).await;
    assert_eq!(outcome["outcome"], json!({ "status": 200, "error": "sent: accepted" }));
    assert_eq!((&outcome["operation"], &outcome["principal"]), (&json!("action.send"), &json!(responder.principal)));
    let arrived = scene.outside.arrived();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].parcel.body, json!({ "text": "isolate web-1" }));
    let phases: Vec<&Value> = arrived[0].parts.iter().map(|part| &part["phase"]).collect();
    assert_eq!(phases, [&json!("intent")], "when it left, the intent was on record and the outcome was not");
    let viewer = scene.cast.member("viewer");
    let asked = json!({ "tenant": scene.cast.own, "text": "no" });
    let refused = scene.platform.call(&viewer.token, "action.send", &asked).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert_eq!(scene.outside.arrived().len(), 1);
    // Said again with the same key it is not done again.
    let keyed = Request::of(scene.platform.spec("action.send"), &asked).bearer(&responder.token).key("once");
    for _ in 0..3 {
        assert_eq!(scene.platform.send(keyed.clone()).await.status, 200);
    }
    let arrived = async || (scene.outside.arrived().len() == 2).then_some(());
    scene.platform.until("it arrived", arrived).await;
    assert!(scene.messages(MessageState::Pending).await.is_empty());
}

#[tokio::test]
async fn the_kill_switch_stops_what_waits_and_lists_what_was_sent() {
    let scene = scene(1).await;
    let responder = scene.cast.member("responder");
    let first = scene.send(&responder.token, "one").await;
    scene.outcome(&first["id"]).await;
    // The second is under way and does not arrive; the third waits behind it in its lane.
    let second = scene.send(&responder.token, "two").await;
    let third = scene.send(&responder.token, "three").await;
    let sending = async || (scene.messages(MessageState::Sending).await.len() == 1).then_some(());
    scene.platform.until("one is under way", sending).await;
    let target = json!({ "stop": "operation_class", "effect": "respond", "tenant": scene.cast.own });
    let engage = json!({ "target": target, "reason": "a test" });
    let engaged = scene.platform.done(&scene.cast.chief.token, "kill_switch.engage", &engage).await;
    let started = Instant::now();
    scene.outside.permits.add_permits(10);
    let stopped = scene.outcome(&third["id"]).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(stopped["outcome"]["status"], 403, "{stopped}");
    scene.outcome(&second["id"]).await;
    let texts: Vec<Value> = scene.outside.arrived().iter().map(|one| one.parcel.body["text"].clone()).collect();
    assert_eq!(texts, ["one", "two"], "what had left before is there, what waited is not");
    let asked = json!({ "tenant": scene.cast.own });
    let status = scene.platform.done(&scene.cast.chief.token, "kill_switch.status", &asked).await;
    let listed = status["items"].as_array().unwrap().iter().find(|one| one["id"] == engaged["id"]).unwrap();
    let mut listed: Vec<(&Value, &Value)> =
        listed["already_sent"].as_array().unwrap().iter().map(|one| (&one["call"], &one["state"])).collect();
    listed.sort_by_key(|one| one.1.to_string());
    assert_eq!(listed, [(&second["id"], &json!("sending")), (&first["id"], &json!("sent"))]);
    let later = json!({ "tenant": scene.cast.own, "text": "four" });
    let refused = scene.platform.call(&responder.token, "action.send", &later).await;
    assert_eq!(refused.problem(), "halted", "{}", refused.body);
}

#[tokio::test]
async fn a_crash_between_send_and_record_is_uncertain_and_nothing_is_sent_twice() {
    let mut platform = Platform::start_idle(registry()).await;
    let admin = platform.bootstrap.clone();
    let tenant = platform.done(&admin, "tenant.create", &json!({ "name": "acme" })).await;
    let responder = cast::person(&platform, &admin, "rae", tenant["id"].as_str(), &["responder"]).await;
    let mut calls = Vec::new();
    for (text, idempotent) in [("once", false), ("again", true)] {
        let asked = json!({ "tenant": tenant["id"], "text": text, "idempotent": idempotent });
        calls.push(platform.done(&responder.token, "action.send", &asked).await["id"].clone());
        // A courier takes it, perhaps sends it, and dies.
        let store = platform.control.store().clone();
        let lease = Duration::from_secs(30);
        let taken = store.outbox().claim("dead", Outside::CHANNEL, 8, lease, |_| true).await.unwrap();
        assert_eq!(taken.len(), 1);
        platform.clock.advance(Duration::from_secs(31));
        store.outbox().recover().await.unwrap();
    }
    let outside = Outside::taking(platform.control.store().clone(), 10);
    platform.wake_with(vec![outside.clone()]);
    platform.clock.advance(Duration::from_secs(31));
    let outcome = async |call: &Value| {
        let call = call.as_str().unwrap().parse().unwrap();
        let leaves = platform.control.store().snapshot(ids::Scope::Provider).leaves_of(call).await.unwrap();
        let records = leaves.iter().map(|leaf| serde_json::from_slice::<Value>(&leaf.leaf).unwrap());
        records.into_iter().find(|one| one["phase"] == "outcome")
    };
    let uncertain = platform.until("the first is parked", async || outcome(&calls[0]).await).await;
    assert_eq!(uncertain["outcome"]["status"], 504, "{uncertain}");
    let sent = platform.until("the second is sent", async || outcome(&calls[1]).await).await;
    assert_eq!(sent["outcome"]["status"], 200, "{sent}");
    let texts: Vec<Value> = outside.arrived().iter().map(|one| one.parcel.body["text"].clone()).collect();
    assert_eq!(texts, ["again"], "only where the target can tell a second delivery");
}
