//! What came of response actions: told to the lake as events that OCSF's schema takes, to the timeline of their case, and as
//! findings where an effect is missing. And files: kept only where they are what the sensor signed for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::Parser;
use event::ocsf::Schema;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Cast, Place, Platform, Reached, cast};

struct Scene {
    platform: Platform,
    cast: Cast,
    sensor: String,
    own: String,
    case: String,
}

async fn scene() -> Scene {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (sensor, own) = cast::sensor(&platform, &cast.chief.token, "web-9", &cast.own, &[]).await;
    let case = cast.things[&Place::Own]["case"].clone();
    platform.plane.take();
    Scene { platform, cast, sensor, own, case }
}

impl Scene {
    fn token(&self, name: &str) -> &str {
        &self.cast.member(name).token
    }

    /// Ask for an action on the host, for the case.
    async fn ask(&self, operation: &str, more: Value) -> Value {
        let mut asked = json!({ "sensor": self.sensor, "reason": "a test", "case": self.case });
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.platform.done(self.token("responder"), operation, &asked).await
    }

    async fn kill(&self) -> Value {
        self.ask("action.kill_process", json!({ "process": "boot-1:4242:77" })).await
    }

    /// The id of the only task that waits.
    async fn task(&self) -> String {
        let told = self.platform.done(&self.own, "sensor.tasks", &json!({ "sensor": self.sensor })).await;
        let [item] = told["tasks"].as_array().unwrap().as_slice() else { panic!("{told}") };
        item["task"]["id"].as_str().unwrap().to_owned()
    }

    async fn report(&self, task: &str, outcome: Value) {
        let result = json!({ "version": 1, "task": task, "sensor": self.sensor, "outcome": outcome });
        let signed = json!({ "purpose": "posse.sensor.result.v1", "content": result });
        let signature = STANDARD.encode(cast::sensor_key().sign(&seal::canonical_json(&signed).unwrap()));
        let told = json!({ "sensor": self.sensor, "task": task, "result": result, "signature": signature });
        self.platform.done(&self.own, "sensor.report", &told).await;
    }

    /// Ask, fetch, and report that it is done.
    async fn carried_out(&self, operation: &str, more: Value, details: Value) -> Value {
        let asked = self.ask(operation, more).await;
        let task = self.task().await;
        self.report(&task, json!({ "status": "done", "already": false, "details": details })).await;
        asked
    }

    async fn heartbeat(&self, health: Value) {
        let at = "2026-11-22T12:00:00Z";
        let host = json!({ "hostname": "web-9", "boot": "boot-1" });
        let told = json!({ "sensor": self.sensor, "version": 1, "at": at, "health": health, "host": host });
        self.platform.done(&self.own, "sensor.heartbeat", &told).await;
    }

    async fn look(&self, action: &Value) -> Value {
        self.platform.done(self.token("viewer"), "action.get", &json!({ "action": action["id"] })).await
    }

    /// Wait until these came of an action, and stand on the timeline as these kinds, each with a record in the log.
    async fn came(&self, action: &Value, wanted: &[(&str, &str)]) {
        let outcomes: Vec<&str> = wanted.iter().map(|(outcome, _)| *outcome).collect();
        let kinds: Vec<&str> = wanted.iter().map(|(_, kind)| *kind).collect();
        let look = async || {
            let told = self.look(action).await;
            let all = told["outcomes"].as_array().cloned().unwrap_or_default();
            let same = all.iter().map(|one| one["outcome"].as_str().unwrap()).eq(outcomes.iter().copied());
            let entries = self.entries(action).await;
            let entered = entries.iter().map(|one| one["kind"].as_str().unwrap()).eq(kinds.iter().copied());
            (same && entered).then_some((all, entries))
        };
        let (all, entries) = self.platform.until(&format!("{outcomes:?} came of it"), look).await;
        for (outcome, entry) in all.iter().zip(&entries) {
            assert_eq!(outcome["call"], entry["call"], "an entry names the record of its outcome");
            assert!(!self.records(&outcome["call"]).await.is_empty(), "{outcome}");
        }
    }

    /// What the timeline says of what came of an action.
    async fn entries(&self, action: &Value) -> Vec<Value> {
        let asked = json!({ "case": self.case, "limit": 1000 });
        let told = self.platform.done(self.token("analyst"), "case.timeline", &asked).await;
        let id = action["id"].as_str().unwrap();
        let own = |one: &&Value| one["text"].as_str().unwrap().contains(id) && one["kind"] != "decided";
        told["items"].as_array().unwrap().iter().filter(own).cloned().collect()
    }

    async fn records(&self, call: &Value) -> Vec<Value> {
        let call = call.as_str().unwrap().parse().unwrap();
        let leaves = self.platform.control.store().snapshot(ids::Scope::Provider).leaves_of(call).await.unwrap();
        leaves.iter().map(|leaf| serde_json::from_slice(&leaf.leaf).unwrap()).collect()
    }

    /// What reached the lake of these actions since the last time: events, and findings by uid. Each event must be one of OCSF.
    fn told(&self, actions: &[&Value]) -> (Vec<Value>, Vec<String>) {
        let ids: Vec<&str> = actions.iter().map(|action| action["id"].as_str().unwrap()).collect();
        let (mut events, mut findings) = (Vec::new(), Vec::new());
        for reached in self.platform.plane.take() {
            match reached {
                Reached::Acted(acted) => {
                    let mut parser = Parser::new();
                    let faults = Schema::built_in().validate(&parser.parse(acted.ocsf.as_bytes()).unwrap());
                    assert_eq!(faults, [], "{}", acted.ocsf);
                    let event: Value = serde_json::from_str(&acted.ocsf).unwrap();
                    if ids.contains(&event["command_uid"].as_str().unwrap()) {
                        assert_eq!(acted.tenant.to_string(), self.cast.own);
                        events.push(event);
                    }
                }
                Reached::Told(told) if ids.iter().any(|id| told.about.ends_with(id)) => {
                    findings.push(told.uid.to_string());
                }
                _ => {}
            }
        }
        (events, findings)
    }
}

fn brief(event: &Value) -> (i64, &str, &str) {
    (
        event["type_uid"].as_i64().unwrap(),
        event["command_uid"].as_str().unwrap(),
        event["status_detail"].as_str().unwrap(),
    )
}

#[tokio::test]
async fn what_is_done_and_verified_is_in_the_lake_and_on_the_timeline() {
    let scene = scene().await;
    let asked = scene.carried_out("action.kill_process", json!({ "process": "boot-1:4242:77" }), json!({})).await;
    scene.came(&asked, &[("executed", "done"), ("verified", "verified")]).await;
    let (events, findings) = scene.told(&[&asked]);
    let id = asked["id"].as_str().unwrap();
    let told: Vec<_> = events.iter().map(brief).collect();
    assert_eq!(told, [(700_302, id, "executed"), (700_302, id, "verified")]);
    assert_eq!((&events[0]["device"]["hostname"], &events[0]["process"]["pid"]), (&json!("web-9"), &json!(4242)));
    assert_eq!(findings, [""; 0]);
    // Said once: a restart tells nothing again.
    let Scene { platform, cast, sensor, own, case } = scene;
    let scene = Scene { platform: platform.restart().await, cast, sensor, own, case };
    let second = scene.carried_out("action.kill_process", json!({ "process": "boot-1:4243:77" }), json!({})).await;
    scene.came(&second, &[("executed", "done"), ("verified", "verified")]).await;
    let (events, _) = scene.told(&[&asked, &second]);
    assert!(events.len() == 2 && events.iter().all(|event| event["command_uid"] == second["id"]), "{events:?}");
}

#[tokio::test]
async fn an_effect_that_nobody_saw_is_a_finding() {
    let scene = scene().await;
    let asked = scene.kill().await;
    scene.platform.clock.advance(Duration::from_secs(17 * 60));
    scene.came(&asked, &[("expired", "failed")]).await;
    let (events, findings) = scene.told(&[&asked]);
    assert_eq!(events.iter().map(brief).collect::<Vec<_>>(), [(700_302, asked["id"].as_str().unwrap(), "expired")]);
    assert_eq!(findings, ["posse.action.unverified"]);
    // One that may have been fetched is uncertain, until its sensor says what came of it.
    let asked = scene.kill().await;
    let task = scene.task().await;
    scene.heartbeat(json!({})).await;
    scene.platform.clock.advance(Duration::from_secs(17 * 60));
    scene.came(&asked, &[("uncertain", "uncertain")]).await;
    assert_eq!(scene.told(&[&asked]).1, ["posse.action.uncertain"]);
    scene.report(&task, json!({ "status": "done", "already": false, "details": {} })).await;
    scene.came(&asked, &[("uncertain", "uncertain"), ("executed", "done"), ("verified", "verified")]).await;
    let phases: Vec<Value> = scene.records(&asked["call"]).await.iter().map(|one| one["phase"].clone()).collect();
    assert_eq!(phases, [json!("intent"), json!("outcome"), json!("outcome")], "the log keeps both");
    // And one that the host tried in vain.
    let asked = scene.kill().await;
    let task = scene.task().await;
    scene.report(&task, json!({ "status": "failed", "reason": "1 processes are still there", "details": {} })).await;
    scene.came(&asked, &[("failed", "failed")]).await;
    assert_eq!(scene.told(&[&asked]).1, ["posse.action.failed"]);
}

#[tokio::test]
async fn what_was_isolated_is_undone_by_hand_or_by_time() {
    let scene = scene().await;
    let isolate = json!({ "ttl_secs": 3600 });
    let asked = scene.carried_out("action.isolate_host", isolate.clone(), json!({})).await;
    scene.came(&asked, &[("executed", "done"), ("verified", "verified")]).await;
    let undo = json!({ "action": asked["id"], "reason": "over" });
    let inverse = scene.platform.done(scene.token("responder"), "action.undo", &undo).await;
    let task = scene.task().await;
    scene.report(&task, json!({ "status": "done", "already": false, "details": {} })).await;
    scene.came(&asked, &[("executed", "done"), ("verified", "verified"), ("undone", "undone")]).await;
    let (events, _) = scene.told(&[&asked, &inverse]);
    let undone = events.iter().map(brief).find(|(.., word)| *word == "undone").unwrap();
    assert_eq!(undone, (700_403, asked["id"].as_str().unwrap(), "undone"));
    let inverse = events.iter().find(|event| event["command_uid"] == inverse["id"]).unwrap();
    assert_eq!(inverse["metadata"]["correlation_uid"], asked["id"]);
    // By time: the sensor says so itself, after it is over and not before.
    let asked = scene.carried_out("action.isolate_host", isolate.clone(), json!({})).await;
    scene.heartbeat(json!({ "isolated_until": null })).await;
    scene.platform.clock.advance(Duration::from_secs(3601));
    scene.came(&asked, &[("executed", "done"), ("verified", "verified")]).await;
    scene.heartbeat(json!({ "isolated_until": null })).await;
    scene.came(&asked, &[("executed", "done"), ("verified", "verified"), ("undone", "undone")]).await;
    // A sensor that never says so leaves it uncertain.
    let asked = scene.carried_out("action.isolate_host", isolate, json!({})).await;
    scene.platform.clock.advance(Duration::from_secs(2 * 3600 + 1));
    scene.came(&asked, &[("executed", "done"), ("verified", "verified"), ("uncertain", "uncertain")]).await;
    assert_eq!(scene.told(&[&asked]).1, ["posse.action.uncertain"]);
}

/// The parts of collected files that an export of the tenant holds.
async fn exported_parts(scene: &Scene) -> Vec<Vec<u8>> {
    let (mut parts, mut input) = (Vec::new(), json!({ "tenant": scene.cast.own }));
    loop {
        let page = scene.platform.done(&scene.cast.chief.token, "tenant.export", &input).await;
        for file in page["items"].as_array().unwrap() {
            if !file["path"].as_str().unwrap().starts_with("documents/collected_chunk/") {
                continue;
            }
            let text = String::from_utf8(STANDARD.decode(file["content"].as_str().unwrap()).unwrap()).unwrap();
            for line in text.lines() {
                let value = serde_json::from_str::<Value>(line).unwrap()["value"].take();
                assert!(value.get("sealed").is_none(), "{value}");
                parts.extend(value["content"].as_str().map(|content| STANDARD.decode(content).unwrap()));
            }
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => input["cursor"] = cursor.into(),
            None => return parts,
        }
    }
}

#[tokio::test]
async fn a_file_is_kept_sealed_where_it_is_what_the_sensor_signed_for() {
    let scene = scene().await;
    let content: Vec<u8> = (0..600_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let collect = |bytes_max: u32| json!({ "path": "/tmp/.x/payload", "bytes_max": bytes_max });
    let details = |content: &[u8]| json!({ "path": "/tmp/.x/payload", "bytes": content.len(), "sha256": seal::Digest::of(content).to_hex() });
    let done = |content: &[u8]| json!({ "status": "done", "already": false, "details": details(content) });
    let chunk = |task: &str, index: usize, bytes: &[u8]| json!({ "sensor": scene.sensor, "task": task, "index": index, "content": STANDARD.encode(bytes) });
    let send = async |task: &str, content: &[u8]| {
        for (index, bytes) in content.chunks(256 << 10).enumerate() {
            // Twice, as after an answer that was lost.
            for _ in 0..2 {
                scene.platform.done(&scene.own, "sensor.send_chunk", &chunk(task, index, bytes)).await;
            }
        }
    };
    let get = async |token: &str, action: &Value, part: usize| {
        let asked = json!({ "action": action["id"], "part": part });
        scene.platform.call(token, "action.get_file", &asked).await
    };
    let asked = scene.ask("action.collect_file", collect(1 << 20)).await;
    let task = scene.task().await;
    send(&task, &content).await;
    assert_eq!(get(scene.token("analyst"), &asked, 0).await.problem(), "conflict", "nothing is shown unchecked");
    scene.report(&task, done(&content)).await;
    scene.came(&asked, &[("executed", "done"), ("verified", "verified")]).await;
    let mut read = Vec::new();
    for part in 0..3 {
        let told = get(scene.token("analyst"), &asked, part).await.body;
        assert_eq!((&told["parts"], &told["bytes"]), (&json!(3), &json!(600_000)), "{told}");
        read.extend(STANDARD.decode(told["content"].as_str().unwrap()).unwrap());
    }
    assert!(read == content, "what was collected comes back");
    assert_eq!(get(scene.token("analyst"), &asked, 3).await.body["errors"][0]["pointer"], "/part");
    for name in ["viewer", "investigator"] {
        let refused = get(scene.token(name), &asked, 0).await;
        assert_eq!(refused.status, 403, "{name}: {}", refused.body);
    }
    // It is evidence of the case, by the digest that was signed; its event names it.
    let entry = scene.entries(&asked).await.pop().unwrap();
    let evidence = json!({ "case": scene.case, "evidence": entry["evidence"][0] });
    let evidence = scene.platform.done(scene.token("analyst"), "case.get_evidence", &evidence).await;
    let sha256 = seal::Digest::of(&content).to_hex();
    assert_eq!((&evidence["file"]["action"], &evidence["made"]["digest"]), (&asked["id"], &json!(sha256)));
    let event = scene.told(&[&asked]).0.pop().unwrap();
    assert_eq!((&event["class_uid"], &event["file"]["hashes"][0]["value"]), (&json!(7002), &json!(sha256)));
    // Sealed where it lies, and blank on the record.
    let dump = format!("{:?}", testkit::Dump::of(scene.platform.control.store()).await);
    assert!(!dump.contains(&STANDARD.encode(&content[..300])), "the content stands somewhere as it is");
    // A tenant that leaves takes it along.
    assert_eq!(exported_parts(&scene).await.concat(), content, "the export holds the file");
    // What came after the end changes nothing.
    scene.platform.done(&scene.own, "sensor.send_chunk", &chunk(&task, 0, b"else")).await;
    assert_eq!(get(scene.token("analyst"), &asked, 0).await.status, 200);

    // Another file, a part that is missing, another path, more than was asked for: nothing of it is kept.
    let other = {
        let mut other = content.clone();
        other[300_000] ^= 1;
        other
    };
    for (sent, said, why) in [
        (&other[..], done(&content), "not the file"),
        (&content[..550_000], done(&content), "not the file"),
        (&content[..200_000], done(&content), "did not come"),
        (
            &content[..],
            {
                let mut said = done(&content);
                said["details"]["path"] = json!("/etc/shadow");
                said
            },
            "another file",
        ),
        (&content[..1000], json!({ "status": "done", "already": false, "details": {} }), "does not say"),
    ] {
        let asked = scene.ask("action.collect_file", collect(1 << 20)).await;
        let task = scene.task().await;
        send(&task, sent).await;
        scene.report(&task, said).await;
        scene.came(&asked, &[("failed", "failed")]).await;
        assert!(scene.look(&asked).await["detail"].as_str().unwrap().contains(why), "{why}");
        assert_eq!(get(scene.token("analyst"), &asked, 0).await.problem(), "conflict", "{why}");
    }
    let asked = scene.ask("action.collect_file", collect(300_000)).await;
    let task = scene.task().await;
    scene.platform.done(&scene.own, "sensor.send_chunk", &chunk(&task, 0, &content[..262_144])).await;
    let beyond = scene.platform.call(&scene.own, "sensor.send_chunk", &chunk(&task, 1, &content[..262_144])).await;
    assert_eq!(beyond.problem(), "conflict", "{}", beyond.body);
    assert_eq!(exported_parts(&scene).await.concat(), content, "no part of a file that was not checked yet");
    // Nobody but the task's own sensor hands over anything, and only for such a task.
    let (stranger, token) = cast::sensor(&scene.platform, &scene.cast.chief.token, "db-9", &scene.cast.own, &[]).await;
    let mut foreign = chunk(&task, 0, b"x");
    foreign["sensor"] = json!(stranger);
    assert_eq!(scene.platform.call(&token, "sensor.send_chunk", &foreign).await.status, 404);
    scene.report(&task, json!({ "status": "refused", "reason": "is a link" })).await;
    scene.came(&asked, &[("refused", "failed")]).await;
    let kill = scene.kill().await;
    let task = scene.task().await;
    let none = scene.platform.call(&scene.own, "sensor.send_chunk", &chunk(&task, 0, b"x")).await;
    assert_eq!(none.status, 404, "{} {kill}", none.body);
    let dump = testkit::Dump::of(scene.platform.control.store()).await;
    let kept = format!("{dump:?}").matches("\"collected_chunk\"").count();
    assert_eq!(kept, 3, "the first file's parts, and no others");
}

#[tokio::test]
async fn a_path_that_leads_elsewhere_is_refused_before_it_is_asked_of_a_host() {
    let scene = scene().await;
    for path in ["etc/hosts", "/etc/../etc/shadow", "/etc/", ""] {
        let asked = json!({ "sensor": scene.sensor, "path": path, "reason": "x" });
        let refused = scene.platform.call(scene.token("responder"), "action.collect_file", &asked).await;
        assert_eq!(refused.body["errors"][0]["pointer"], "/path", "{path}: {}", refused.body);
    }
    let told = scene.platform.done(&scene.own, "sensor.tasks", &json!({ "sensor": scene.sensor })).await;
    assert_eq!(told["tasks"], json!([]));
}
