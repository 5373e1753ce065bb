//! Sensors and the response actions that they carry out: one enrolment for one token, tasks that only the platform can have
//! signed, the intent on the record before a task can be fetched and the outcome after it, nothing that the kill switch holds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Cast, Place, Platform, cast};

struct Scene {
    platform: Platform,
    cast: Cast,
    sensor: String,
    own: String,
}

async fn scene(tags: &[&str]) -> Scene {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (sensor, own) = cast::sensor(&platform, &cast.chief.token, "web-3", &cast.own, tags).await;
    Scene { platform, cast, sensor, own }
}

impl Scene {
    fn token(&self, name: &str) -> &str {
        &self.cast.member(name).token
    }

    async fn tasks(&self) -> Vec<Value> {
        let told = self.platform.done(&self.own, "sensor.tasks", &json!({ "sensor": self.sensor })).await;
        told["tasks"].as_array().unwrap().iter().map(|item| item["task"].clone()).collect()
    }

    fn kill(&self) -> Value {
        json!({ "sensor": self.sensor, "process": "boot-1:4242:77", "reason": "a beacon" })
    }

    async fn records(&self, call: &Value) -> Vec<Value> {
        let call = call.as_str().unwrap().parse().unwrap();
        let leaves = self.platform.control.store().snapshot(ids::Scope::Provider).leaves_of(call).await.unwrap();
        leaves.iter().map(|leaf| serde_json::from_slice(&leaf.leaf).unwrap()).collect()
    }
}

#[tokio::test]
async fn a_token_enrols_one_host_and_a_sensor_does_nothing_but_its_own() {
    let scene = scene(&[]).await;
    let made = json!({ "tenant": scene.cast.own, "name": "db-1" });
    let made = scene.platform.done(&scene.cast.chief.token, "sensor.create", &made).await;
    let token = made["credential"]["secret"].as_str().unwrap();
    let id = &made["sensor"]["id"];
    let early = scene.platform.call(token, "sensor.tasks", &json!({ "sensor": id })).await;
    assert_eq!(early.problem(), "conflict", "{}", early.body);
    let mut bad = cast::enrolment("db-1");
    bad["public_key"] = json!(format!("{}=", "/".repeat(43)));
    assert_eq!(scene.platform.call(token, "sensor.enrol", &bad).await.body["errors"][0]["pointer"], "/public_key");
    let enrolled = scene.platform.done(token, "sensor.enrol", &cast::enrolment("db-1")).await;
    let again = scene.platform.call(token, "sensor.enrol", &cast::enrolment("db-1")).await;
    assert_eq!(again.status, 401, "the token is dead");
    let own = enrolled["credential"].as_str().unwrap();
    assert_eq!(scene.platform.call(own, "sensor.enrol", &cast::enrolment("db-1")).await.problem(), "conflict");
    for (operation, input) in [
        ("tenant.get", json!({ "tenant": scene.cast.own })),
        ("event.query", json!({ "sql": "SELECT 1" })),
        ("sensor.get", json!({ "sensor": scene.sensor })),
        ("sensor.tasks", json!({ "sensor": scene.sensor })),
        ("action.kill_process", scene.kill()),
    ] {
        let answer = scene.platform.call(own, operation, &input).await;
        assert!(matches!(answer.status, 403 | 404), "{operation}: {}", answer.body);
    }
    let health =
        json!({ "sensor": id, "version": 1, "at": "2026-11-22T12:00:00Z", "health": { "lost": 3 }, "host": {} });
    scene.platform.done(own, "sensor.heartbeat", &health).await;
    let seen = json!({ "sensor": enrolled["sensor"] });
    let seen = scene.platform.done(scene.token("viewer"), "sensor.get", &seen).await;
    assert_eq!((&seen["state"], &seen["health"]["lost"]), (&json!("enrolled"), &json!(3)));
    scene.platform.done(&scene.cast.chief.token, "sensor.retire", &json!({ "sensor": enrolled["sensor"] })).await;
    assert_eq!(scene.platform.call(own, "sensor.heartbeat", &health).await.status, 401);
}

#[tokio::test]
async fn an_action_is_signed_for_its_sensor_and_its_outcome_is_on_the_record() {
    let scene = scene(&[]).await;
    let asked = scene.platform.done(scene.token("responder"), "action.kill_process", &scene.kill()).await;
    assert_eq!(asked["state"], "sent");
    let phases = |records: &[Value]| records.iter().map(|one| one["phase"].clone()).collect::<Vec<_>>();
    assert_eq!(phases(&scene.records(&asked["call"]).await), [json!("intent")]);
    let told = scene.platform.done(&scene.own, "sensor.tasks", &json!({ "sensor": scene.sensor })).await;
    let item = &told["tasks"][0];
    let made = json!({ "tenant": scene.cast.own, "name": "x" });
    let other = scene.platform.done(&scene.cast.chief.token, "sensor.create", &made).await;
    let token = other["credential"]["secret"].as_str().unwrap();
    let other = scene.platform.done(token, "sensor.enrol", &cast::enrolment("x")).await;
    let bytes = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
    let key = seal::VerifyingKey::from_bytes(&bytes(&other["task_key"]).try_into().unwrap()).unwrap();
    let signed =
        |task: &Value| seal::canonical_json(&json!({ "purpose": "posse.sensor.task.v1", "content": task })).unwrap();
    let task = item["task"].clone();
    assert!(key.verify(&signed(&task), &bytes(&item["signature"])));
    let mut wider = task.clone();
    wider["work"]["arguments"]["process"] = json!("boot-1:4243:77");
    assert!(!key.verify(&signed(&wider), &bytes(&item["signature"])));
    assert_eq!((&task["sensor"], &task["work"]["kind"]), (&json!(scene.sensor), &json!("process_kill")));
    let report = |sensor: &str, outcome: Value| {
        let result = json!({ "version": 1, "task": task["id"], "sensor": sensor, "outcome": outcome });
        let signed = json!({ "purpose": "posse.sensor.result.v1", "content": result });
        let signature = cast::sensor_key().sign(&seal::canonical_json(&signed).unwrap());
        json!({ "sensor": sensor, "task": task["id"], "result": result, "signature": STANDARD.encode(signature) })
    };
    let done = json!({ "status": "done", "already": false, "details": { "killed": [4242] } });
    let stranger = other["sensor"].as_str().unwrap();
    let (own, asked_of) = (other["credential"].as_str().unwrap(), report(stranger, done.clone()));
    let answer = scene.platform.call(own, "sensor.report", &asked_of).await;
    assert_eq!(answer.status, 404, "another sensor's task");
    let mut forged = report(&scene.sensor, done.clone());
    forged["result"]["outcome"]["details"] = json!("else");
    let answer = scene.platform.call(&scene.own, "sensor.report", &forged).await;
    assert_eq!(answer.body["errors"][0]["pointer"], "/signature", "{}", answer.body);
    for outcome in [done.clone(), done, json!({ "status": "failed", "reason": "no", "details": {} })] {
        scene.platform.done(&scene.own, "sensor.report", &report(&scene.sensor, outcome)).await;
    }
    let done = scene.platform.done(scene.token("viewer"), "action.get", &json!({ "action": asked["id"] })).await;
    assert_eq!((&done["state"], &done["verified"]), (&json!("done"), &json!(true)), "what was said first holds");
    assert_eq!(phases(&scene.records(&asked["call"]).await), [json!("intent"), json!("outcome")]);
    assert!(scene.tasks().await.is_empty());
}

#[tokio::test]
async fn an_agent_needs_a_person_and_a_protected_host_two() {
    for (tags, approvals) in [(&[][..], 1), (&["crown-jewel"][..], 2)] {
        let scene = scene(tags).await;
        let agent = scene.token("responder_with_approval");
        let asked = json!({ "sensor": scene.sensor, "ttl_secs": 600, "reason": "credential theft" });
        let approval = scene.platform.pending(agent, "action.isolate_host", &asked).await;
        assert!(scene.tasks().await.is_empty(), "nothing waits for the sensor before it is approved");
        let names = ["responder", "second"];
        let second =
            cast::person(&scene.platform, &scene.cast.chief.token, "second", Some(&scene.cast.own), &["responder"])
                .await;
        for name in names.iter().take(approvals) {
            let token = if *name == "second" { &second.token } else { scene.token(name) };
            scene.platform.done(token, "approval.approve", &json!({ "approval": approval })).await;
        }
        scene.platform.settled(&scene.cast.chief.token, &approval).await;
        let tasks = scene.tasks().await;
        assert_eq!(tasks.len(), 1, "{tags:?}");
        assert_eq!(tasks[0]["work"]["arguments"], json!({ "for_secs": 600 }));
        let actions = scene.platform.done(scene.token("analyst"), "action.list", &json!({})).await;
        let own = actions["items"].as_array().unwrap().iter().find(|one| one["sensor"] == json!(scene.sensor)).unwrap();
        assert_eq!(own["approval"], json!(approval));
    }
}

#[tokio::test]
async fn the_kill_switch_holds_a_task_that_was_not_fetched() {
    let scene = scene(&[]).await;
    scene.platform.done(scene.token("responder"), "action.kill_process", &scene.kill()).await;
    assert_eq!(scene.tasks().await.len(), 1);
    let target = json!({ "stop": "operation_class", "effect": "respond", "tenant": scene.cast.own });
    let engage = json!({ "target": target, "reason": "a test" });
    scene.platform.done(&scene.cast.chief.token, "kill_switch.engage", &engage).await;
    assert!(scene.tasks().await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_it_is_asked_of_a_host() {
    let scene = scene(&[]).await;
    let responder = scene.token("responder");
    let mut gone = scene.kill();
    gone["process"] = json!("boot-0:4242:77");
    let mut first = scene.kill();
    first["process"] = json!("boot-1:1:0");
    for (operation, input, pointer) in [
        ("action.kill_process", gone, None),
        ("action.kill_process", first, Some("/process")),
        ("action.isolate_host", json!({ "sensor": scene.sensor, "ttl_secs": 5, "reason": "x" }), Some("/ttl_secs")),
    ] {
        let answer = scene.platform.call(responder, operation, &input).await;
        assert!((400..500).contains(&answer.status), "{}", answer.body);
        if let Some(pointer) = pointer {
            assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{}", answer.body);
        }
    }
    assert!(scene.tasks().await.is_empty());
    let mut foreign = scene.kill();
    foreign["dry_run"] = true.into();
    for (place, status) in [(Place::Other, 422), (Place::Own, 200)] {
        foreign["case"] = scene.cast.things[&place]["case"].as_str().into();
        let answer = scene.platform.call(responder, "action.kill_process", &foreign).await;
        assert_eq!(answer.status, status, "a case is named only where it belongs: {}", answer.body);
    }
    let asked = json!({ "sensor": scene.sensor, "reason": "x", "dry_run": true });
    let dry = scene.platform.done(responder, "action.isolate_host", &asked).await;
    assert_eq!(dry["state"], "dry_run");
    assert!(scene.tasks().await.is_empty());
    let asked =
        scene.platform.done(responder, "action.isolate_host", &json!({ "sensor": scene.sensor, "reason": "x" })).await;
    let undone =
        scene.platform.done(responder, "action.undo", &json!({ "action": asked["id"], "reason": "false alarm" })).await;
    assert_eq!((&undone["kind"], &undone["undoes"]), (&json!("release_host"), &asked["id"]));
}

#[tokio::test]
async fn a_sensor_that_waits_is_told_as_soon_as_there_is_a_task() {
    let scene = scene(&[]).await;
    let wait = json!({ "sensor": scene.sensor, "wait": 20 });
    let waiting = scene.platform.call(&scene.own, "sensor.tasks", &wait);
    let input = scene.kill();
    let asking = scene.platform.done(scene.token("responder"), "action.kill_process", &input);
    let both = async { tokio::join!(waiting, asking) };
    let (told, _) =
        tokio::time::timeout(Duration::from_secs(15), both).await.expect("it is told before its wait is over");
    assert_eq!(told.body["tasks"].as_array().map(Vec::len), Some(1), "{}", told.body);
}

#[tokio::test]
async fn an_agent_that_is_driven_from_outside_keeps_to_its_charter() {
    let scene = scene(&[]).await;
    let (platform, admin) = (&scene.platform, scene.cast.member("tenant_admin"));
    let agent = &scene.cast.member("responder_with_approval").principal;
    let text = "---\nname: narrow\npurpose: tests\noperations: [action.isolate_host, case.list]\nmodel: default\n\
                budgets: { steps: 5, tokens: 10, seconds: 60, actions: 1 }\n\
                autonomy: { default: act, operations: { action.isolate_host: shadow } }\n---\nx\n";
    platform.done(&admin.token, "agent.define", &json!({ "agent": agent, "text": text })).await;
    platform.done(&admin.token, "agent.activate", &json!({ "agent": agent })).await;
    let token = cast::run(platform, admin, agent, &scene.cast.own).await;
    platform.done(&token, "case.list", &json!({})).await;
    platform.done(&token, "me.get", &json!({})).await;
    let outside = platform.call(&token, "sensor.list", &json!({})).await;
    assert_eq!(outside.status, 403, "its role may, its charter does not list it: {}", outside.body);
    assert!(outside.body["detail"].as_str().unwrap().contains("outside the charter"), "{}", outside.body);
    let isolate = json!({ "sensor": scene.sensor, "reason": "x" });
    let shadow = platform.call(&token, "action.isolate_host", &isolate).await;
    // It may not see the sensor either, so that it may not be told that there is one.
    assert!([403, 404].contains(&shadow.status), "in shadow it does not even ask: {}", shadow.body);
}

#[tokio::test]
async fn an_action_is_waited_for_until_it_has_ended() {
    let scene = scene(&[]).await;
    let asked = scene.platform.done(scene.token("responder"), "action.kill_process", &scene.kill()).await;
    let task = scene.tasks().await.remove(0);
    let get = json!({ "action": asked["id"], "wait": 20 });
    let waits = scene.platform.done(scene.token("viewer"), "action.get", &get);
    let outcome = json!({ "status": "refused", "reason": "not here" });
    let result = json!({ "version": 1, "task": task["id"], "sensor": scene.sensor, "outcome": outcome });
    let signed = json!({ "purpose": "posse.sensor.result.v1", "content": result });
    let signature = STANDARD.encode(cast::sensor_key().sign(&seal::canonical_json(&signed).unwrap()));
    let told = json!({ "sensor": scene.sensor, "task": task["id"], "result": result, "signature": signature });
    let tells = scene.platform.done(&scene.own, "sensor.report", &told);
    let (ended, _) = tokio::join!(waits, tells);
    assert_eq!(ended["state"], "refused");
    let now = scene.platform.done(scene.token("viewer"), "action.get", &json!({ "action": asked["id"] })).await;
    assert_eq!(now["state"], "refused");
}
