//! Connectors through the gate against real servers on this machine: secrets go in and never come out, the intent is on the
//! record before anything leaves, effects are looked for, what was done is undone, and nothing is sent twice blindly.

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use testkit::{Cast, Heard, Platform, Service};

const SECRET: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl";

struct Scene {
    platform: Platform,
    cast: Cast,
}

async fn scene() -> Scene {
    let settings = control::Settings { connector_hosts_inside: vec!["127.0.0.1".to_owned()], ..testkit::settings() };
    let platform = Platform::start_with(settings).await;
    let cast = Cast::of(&platform).await;
    Scene { platform, cast }
}

impl Scene {
    fn token(&self, name: &str) -> &str {
        &self.cast.member(name).token
    }

    async fn create(&self, name: &str, mut made: Value, secrets: &[(&str, &str)]) -> Value {
        let chief = &self.cast.chief.token;
        made["tenant"] = self.cast.own.clone().into();
        made["name"] = name.into();
        let mut told = self.platform.done(chief, "connector.create", &made).await;
        for (secret, value) in secrets {
            let set = json!({ "tenant": self.cast.own, "connector": name, "name": secret, "value": value });
            told = self.platform.done(chief, "connector.set_secret", &set).await;
        }
        told
    }

    fn run(&self, connector: &str, does: &str, inputs: Value) -> Value {
        json!({ "tenant": self.cast.own, "connector": connector, "does": does, "inputs": inputs, "reason": "a test" })
    }

    /// Run an action; how it ended.
    async fn ended(&self, asked: &Value) -> Value {
        let action = self.platform.done(self.token("responder"), "action.run_connector", asked).await;
        self.end_of(&action["id"]).await
    }

    async fn end_of(&self, action: &Value) -> Value {
        self.until(action, |told| told["state"] != "sent").await
    }

    async fn until(&self, action: &Value, fits: impl Fn(&Value) -> bool) -> Value {
        let asked = json!({ "action": action });
        let look = async || {
            let told = self.platform.done(self.token("viewer"), "action.get", &asked).await;
            fits(&told).then_some(told)
        };
        self.platform.until("the action is as it should be", look).await
    }

    /// Wait until these came of an action, in this order.
    async fn came(&self, action: &Value, wanted: &[&str]) {
        let same = |told: &Value| {
            let all = told["outcomes"].as_array().cloned().unwrap_or_default();
            all.iter().map(|one| one["outcome"].as_str().unwrap()).eq(wanted.iter().copied())
        };
        self.until(action, same).await;
    }

    async fn undone(&self, action: &Value) -> Value {
        let asked = json!({ "action": action, "reason": "over" });
        let inverse = self.platform.done(self.token("responder"), "action.undo", &asked).await;
        assert_eq!(inverse["undoes"], *action);
        self.end_of(&inverse["id"]).await
    }

    async fn phases(&self, call: &Value) -> Vec<Value> {
        let call = call.as_str().unwrap().parse().unwrap();
        let leaves = self.platform.control.store().snapshot(ids::Scope::Provider).leaves_of(call).await.unwrap();
        leaves.iter().map(|leaf| serde_json::from_slice::<Value>(&leaf.leaf).unwrap()["phase"].clone()).collect()
    }
}

#[tokio::test]
async fn a_webhook_is_sent_signed_once_and_its_secret_never_comes_out() {
    let service = Service::start(|_| Some((204, String::new()))).await;
    let scene = scene().await;
    let url = format!("{}/in", service.origin());
    let made = scene.create("hook", json!({ "shipped": "webhook", "settings": { "url": url } }), &[]).await;
    assert_eq!((&made["missing_secrets"], &made["hosts"]), (&json!(["signing_secret"]), &json!([service.origin()])));
    let asked = scene.run("hook", "send", json!({ "kind": "case.contained", "message": "\"},\n{" }));
    let early = scene.platform.call(scene.token("responder"), "action.run_connector", &asked).await;
    assert_eq!(early.problem(), "conflict", "{}", early.body);
    let secret = json!({ "tenant": scene.cast.own, "connector": "hook", "name": "signing_secret", "value": SECRET });
    let told = scene.platform.done(&scene.cast.chief.token, "connector.set_secret", &secret).await;
    assert_eq!((&told["missing_secrets"], &told["secrets"]), (&json!([]), &json!(["signing_secret"])));
    // Who may not respond sends nothing; a dry run sends nothing and shows what would go out.
    let refused = scene.platform.call(scene.token("viewer"), "action.run_connector", &asked).await;
    assert!(matches!(refused.status, 403 | 404), "{}", refused.body);
    let mut dry = asked.clone();
    dry["dry_run"] = true.into();
    let dry = scene.platform.done(scene.token("responder"), "action.run_connector", &dry).await;
    assert_eq!((&dry["state"], &dry["output"]["obstacles"]), (&json!("dry_run"), &json!([])));
    assert!(
        dry["output"]["requests"][0]["header_lines"].to_string().contains("webhook-signature: v1,[secret]"),
        "{dry}"
    );
    assert_eq!(service.heard(), []);
    let action = scene.ended(&asked).await;
    assert_eq!((&action["state"], &action["verified"]), (&json!("done"), &json!(true)), "{action}");
    let heard = service.heard();
    let [one] = heard.as_slice() else { panic!("{heard:?}") };
    let (id, at) = (one.header("webhook-id"), one.header("webhook-timestamp"));
    assert_eq!(json!(id), action["id"]);
    let key = action::standard_webhooks_key(SECRET).unwrap();
    let wanted = action::standard_webhooks_signature(&key, id, at.parse().unwrap(), one.body.as_bytes());
    assert_eq!(one.header("webhook-signature"), wanted);
    let body: Value = serde_json::from_str(&one.body).unwrap();
    assert_eq!(body["data"]["message"], "\"},\n{");
    let recorded = async || (scene.phases(&action["call"]).await == ["intent", "outcome"]).then_some(());
    scene.platform.until("intent and outcome are on the record", recorded).await;
    // Nothing that the platform holds or says has the secret in it.
    let dump = format!("{:?}", testkit::Dump::of(scene.platform.control.store()).await);
    assert!(!dump.contains(SECRET) && !told.to_string().contains(SECRET));
    let moved =
        json!({ "tenant": scene.cast.own, "connector": "hook", "settings": { "url": "https://evil.example/" } });
    let moved = scene.platform.done(&scene.cast.chief.token, "connector.update", &moved).await;
    assert_eq!(moved["secrets"], json!([]), "who moves it is not told the secrets by it");
}

/// IAM as it answers: one access key, and signatures judged as AWS judges them.
async fn iam(stuck: Arc<AtomicBool>) -> (Service, Arc<Mutex<String>>) {
    let status = Arc::new(Mutex::new("Active".to_owned()));
    let held = status.clone();
    let service = Service::start(move |heard: &Heard| {
        if !signed(heard) {
            return Some((403, "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>".into()));
        }
        let mut status = held.lock().unwrap();
        if heard.says("Action=UpdateAccessKey") {
            if !stuck.load(Ordering::SeqCst) {
                *status = if heard.says("Status=Inactive") { "Inactive" } else { "Active" }.to_owned();
            }
            return Some((200, "<UpdateAccessKeyResponse><ResponseMetadata/></UpdateAccessKeyResponse>".into()));
        }
        let member = format!(
            "<member><UserName>deploy</UserName><AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId><Status>{status}</Status></member>"
        );
        Some((200, format!(
            "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata>{member}</AccessKeyMetadata></ListAccessKeysResult></ListAccessKeysResponse>"
        )))
    })
    .await;
    (service, status)
}

fn signed(heard: &Heard) -> bool {
    let credentials = action::Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: "wJalrXUtnFEMI".to_owned(),
        session_token: None,
        region: "us-east-1".to_owned(),
        service: "iam".to_owned(),
    };
    let signable = action::Signable {
        method: &heard.method,
        host: heard.header("host"),
        path: &heard.target,
        query: "",
        body: heard.body.as_bytes(),
    };
    let date = heard.header("x-amz-date");
    let part = |from: usize, length: usize| date.chars().skip(from).take(length).collect::<String>();
    let time = format!("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 2), part(6, 2), part(9, 2), part(11, 2), part(13, 2));
    let headers = [("content-type".to_owned(), heard.header("content-type").to_owned())];
    let wanted = time.parse().map(|time| action::sign(&signable, &headers, &credentials, time));
    wanted.is_ok_and(|wanted| wanted.iter().any(|(name, value)| name == "authorization" && value == heard.header(name)))
}

const AWS: [(&str, &str); 2] = [("access_key_id", "AKIDEXAMPLE"), ("secret_access_key", "wJalrXUtnFEMI")];

fn key() -> Value {
    json!({ "user_name": "deploy", "access_key_id": "AKIAIOSFODNN7EXAMPLE" })
}

#[tokio::test]
async fn an_access_key_is_deactivated_verified_and_activated_again() {
    let (service, status) = iam(Arc::default()).await;
    let scene = scene().await;
    let endpoint = json!({ "shipped": "aws-iam-access-key", "settings": { "endpoint": service.origin() } });
    scene.create("aws", endpoint, &AWS).await;
    let action = scene.ended(&scene.run("aws", "deactivate", key())).await;
    assert_eq!((&action["state"], &action["verified"]), (&json!("done"), &json!(true)), "{action}");
    assert_eq!(action["evidence"]["access_keys"][0]["Status"], "Active", "kept before");
    assert_eq!(*status.lock().unwrap(), "Inactive");
    let kinds: Vec<bool> = service.heard().iter().map(|one| one.says("UpdateAccessKey")).collect();
    assert_eq!(kinds, [false, false, true, false], "precondition, evidence, execute, verify");
    let again = scene.ended(&scene.run("aws", "deactivate", key())).await;
    assert_eq!(again["state"], "refused", "{again}");
    let back = scene.undone(&action["id"]).await;
    assert_eq!((&back["verified"], &back["does"]), (&json!(true), &json!("activate")), "{back}");
    scene.came(&action["id"], &["executed", "verified", "undone"]).await;
    assert_eq!(*status.lock().unwrap(), "Active");
    // A time to live ends it without anybody.
    let mut asked = scene.run("aws", "deactivate", key());
    asked["ttl_secs"] = 3600.into();
    let action = scene.ended(&asked).await;
    assert_eq!((&action["verified"], action["ends_at"].is_string()), (&json!(true), true), "{action}");
    scene.platform.clock.advance(Duration::from_secs(3601));
    let active = async || (*status.lock().unwrap() == "Active").then_some(());
    scene.platform.until("the key is active again", active).await;
    scene.came(&action["id"], &["executed", "verified", "undone"]).await;
    // Each is an event of its own in the lake: what contains, and what restores.
    let mut own: Vec<Value> = Vec::new();
    let all = async || {
        let told = scene.platform.plane.take().into_iter().filter_map(|reached| match reached {
            testkit::Reached::Acted(acted) => serde_json::from_str::<Value>(&acted.ocsf).ok(),
            _ => None,
        });
        own.extend(told.filter(|event| event["command_uid"] == action["id"]));
        (own.len() >= 3).then_some(())
    };
    scene.platform.until("all that came of it is in the lake", all).await;
    let brief: Vec<_> = own.iter().map(|event| (&event["type_uid"], &event["status_detail"])).collect();
    let (denied, restored) = (json!(700_101), json!(700_103));
    assert_eq!(brief, [(&denied, &json!("executed")), (&denied, &json!("verified")), (&restored, &json!("undone"))]);
}

#[tokio::test]
async fn an_effect_that_never_shows_is_told_and_raises_a_finding() {
    let stuck = Arc::new(AtomicBool::new(true));
    let (service, _) = iam(stuck.clone()).await;
    let scene = scene().await;
    let endpoint = json!({ "shipped": "aws-iam-access-key", "settings": { "endpoint": service.origin() } });
    scene.create("aws", endpoint, &AWS).await;
    let action = scene.ended(&scene.run("aws", "deactivate", key())).await;
    assert_eq!((&action["state"], &action["verified"]), (&json!("done"), &json!(false)), "{action}");
    assert!(action["verify_by"].is_string(), "{action}");
    scene.platform.clock.advance(Duration::from_secs(121));
    let told = scene.until(&action["id"], |told| told["verify_by"].is_null()).await;
    assert!(told["detail"].as_str().unwrap().contains("never showed") && told["verified"] == false, "{told}");
    let found = scene.platform.plane.take().into_iter().find_map(|reached| match reached {
        testkit::Reached::Told(told) => Some(told),
        _ => None,
    });
    let found = found.unwrap();
    assert_eq!((found.uid.as_str(), found.tenant.to_string()), ("posse.action.unverified", scene.cast.own.clone()));
    assert_eq!(json!(found.about.as_str()), json!(format!("action/{}", action["id"].as_str().unwrap())));
    scene.came(&action["id"], &["executed", "unverified"]).await;
    // One that shows late, but within its time, is verified.
    let action = scene.ended(&scene.run("aws", "deactivate", key())).await;
    assert_eq!(action["verified"], false, "{action}");
    stuck.store(false, Ordering::SeqCst);
    // What was sent took effect at last.
    let update = scene.ended(&scene.run("aws", "deactivate", key())).await;
    assert_eq!(update["verified"], true, "{update}");
    scene.platform.clock.advance(Duration::from_secs(20));
    let told = scene.until(&action["id"], |told| told["verify_by"].is_null()).await;
    assert_eq!(told["verified"], true, "{told}");
}

#[tokio::test]
async fn a_message_is_posted_and_deleted_again() {
    let service = Service::start(|heard: &Heard| {
        if heard.header("authorization") != "Bearer xoxb-1-2" {
            return Some((200, json!({ "ok": false, "error": "invalid_auth" }).to_string()));
        }
        Some((
            200,
            match heard.target.as_str() {
                "/api/chat.postMessage" if heard.says("nowhere") => {
                    json!({ "ok": false, "error": "channel_not_found" })
                }
                "/api/chat.postMessage" => json!({ "ok": true, "channel": "C0123456789", "ts": "1440938160.000100" }),
                _ => json!({ "ok": heard.says("1440938160.000100") && heard.says("C0123456789") }),
            }
            .to_string(),
        ))
    })
    .await;
    let scene = scene().await;
    let api = json!({ "shipped": "slack-message", "settings": { "api": format!("{}/api", service.origin()) } });
    scene.create("slack", api, &[("bot_token", "xoxb-1-2")]).await;
    let post = |channel: &str| scene.run("slack", "post", json!({ "channel": channel, "text": "web-3 is isolated" }));
    let action = scene.ended(&post("#soc")).await;
    assert_eq!((&action["state"], &action["output"]["ts"]), (&json!("done"), &json!("1440938160.000100")), "{action}");
    let back = scene.undone(&action["id"]).await;
    assert_eq!((&back["state"], &back["verified"]), (&json!("done"), &json!(true)), "{back}");
    let failed = scene.ended(&post("#nowhere")).await;
    assert_eq!(failed["state"], "failed", "{failed}");
    let bad = scene.platform.call(scene.token("responder"), "action.run_connector", &post("a b")).await;
    assert_eq!(bad.body["errors"][0]["pointer"], "/inputs/channel", "{}", bad.body);
}

const TICKET: &str = "\
connector: ticket
title: Tickets
hosts: ['${setting.url}']
settings:
  url: { description: the address }
actions:
  open:
    title: Open
    openc2: { action: create, target: file }
    execute:
      request: { method: POST, url: '${setting.url}', path: /open, json: {} }
KEYED
LOOKS
";

#[tokio::test]
async fn what_may_have_arrived_is_repeated_looked_for_or_parked_and_never_sent_twice_blindly() {
    let looks = "    verify:\n      request: { method: GET, url: '${setting.url}', path: /look }\n      success: { all: [{ at: /there, equals: true }] }";
    for (name, keyed, looks, there, state, sent) in [
        ("parked", "", "", false, "uncertain", 1),
        ("found", "", looks, true, "done", 1),
        ("missed", "", looks, false, "uncertain", 1),
        ("keyed", "      idempotency_header: Idempotency-Key", "", false, "done", 2),
    ] {
        let posts = Arc::new(AtomicUsize::new(0));
        let counted = posts.clone();
        let service = Service::start(move |heard: &Heard| match heard.target.as_str() {
            "/look" => Some((200, json!({ "there": there }).to_string())),
            // The first is taken, and the connection breaks before the answer.
            _ => (counted.fetch_add(1, Ordering::SeqCst) > 0).then(|| (200, "{}".to_owned())),
        })
        .await;
        let scene = scene().await;
        let document = TICKET.replace("KEYED", keyed).replace("LOOKS", looks);
        scene.create("ticket", json!({ "document": document, "settings": { "url": service.origin() } }), &[]).await;
        let asked = scene.run("ticket", "open", json!({}));
        let action = scene.platform.done(scene.token("responder"), "action.run_connector", &asked).await;
        let action = scene.until(&action["id"], |told| {
            // Attempts wait for each other.
            scene.platform.clock.advance(Duration::from_secs(1));
            told["state"] != "sent"
        });
        let action = action.await;
        assert_eq!(action["state"], state, "{name}: {action}");
        assert_eq!(posts.load(Ordering::SeqCst), sent, "{name}");
        let came: &[&str] = match name {
            "found" => &["executed", "verified"],
            "keyed" => &["executed"],
            _ => &["uncertain"],
        };
        scene.came(&action["id"], came).await;
        let keys: Vec<String> = service
            .heard()
            .iter()
            .map(|one| one.header("idempotency-key").to_owned())
            .filter(|key| !key.is_empty())
            .collect();
        let id = action["id"].as_str().unwrap();
        assert!(keys.iter().all(|key| key == id) && (name != "keyed" || keys.len() == 2), "{name}: {keys:?}");
    }
}

#[tokio::test]
async fn a_changed_connector_sends_nothing_that_was_decided_before() {
    let service = Service::start(|_| Some((200, "{}".to_owned()))).await;
    let scene = scene().await;
    let document = TICKET.replace("KEYED", "").replace("LOOKS", "");
    scene.create("ticket", json!({ "document": document, "settings": { "url": service.origin() } }), &[]).await;
    let change = |more: Value| {
        let mut change = json!({ "tenant": scene.cast.own, "connector": "ticket" });
        change.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        change
    };
    let chief = &scene.cast.chief.token;
    scene.platform.done(chief, "connector.update", &change(json!({ "enabled": false }))).await;
    let asked = scene.run("ticket", "open", json!({}));
    let off = scene.platform.call(scene.token("responder"), "action.run_connector", &asked).await;
    assert_eq!(off.problem(), "conflict", "{}", off.body);
    scene.platform.done(chief, "connector.update", &change(json!({ "enabled": true }))).await;
    assert_eq!(scene.ended(&asked).await["state"], "done");
    // Another tenant's connector is as one that is not there, also to those who may respond there.
    let mut other = asked.clone();
    other["tenant"] = scene.cast.other.clone().into();
    assert_eq!(scene.platform.call(scene.token("responder"), "action.run_connector", &other).await.status, 404);
    // Without the server's setting the same document reaches nothing inside.
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let made =
        json!({ "tenant": cast.own, "name": "t", "document": document, "settings": { "url": service.origin() } });
    platform.done(&cast.chief.token, "connector.create", &made).await;
    let asked = json!({ "tenant": cast.own, "connector": "t", "does": "open", "reason": "a test" });
    let refused = platform.call(&cast.member("responder").token, "action.run_connector", &asked).await;
    assert!(refused.body["detail"].as_str().unwrap().contains("without TLS"), "{}", refused.body);
    assert_eq!(service.heard().len(), 1);
}

#[tokio::test]
async fn what_is_halted_while_it_waits_is_never_sent() {
    for stop in ["kill switch", "lockdown"] {
        let service = Service::start(|_| Some((200, "{}".to_owned()))).await;
        let settings =
            control::Settings { connector_hosts_inside: vec!["127.0.0.1".to_owned()], ..testkit::settings() };
        // Nothing leaves before the platform is woken.
        let mut platform = Platform::start_idle_with(settings, control::Registry::platform()).await;
        let chief = platform.bootstrap.clone();
        let tenant = platform.done(&chief, "tenant.create", &json!({ "name": "acme" })).await["id"].clone();
        let responder = testkit::cast::person(&platform, &chief, "rae", tenant.as_str(), &["responder"]).await;
        let document = TICKET.replace("KEYED", "").replace("LOOKS", "");
        let made =
            json!({ "tenant": tenant, "name": "t", "document": document, "settings": { "url": service.origin() } });
        platform.done(&chief, "connector.create", &made).await;
        let run = json!({ "tenant": tenant, "connector": "t", "does": "open", "reason": "a test" });
        let action = platform.done(&responder.token, "action.run_connector", &run).await;
        assert_eq!(action["state"], "sent");
        match stop {
            "lockdown" => {
                let engage = json!({ "tenant": tenant, "effects": ["respond"], "reason": "a test" });
                platform.done(&responder.token, "lockdown.engage", &engage).await;
            }
            _ => {
                let target = json!({ "stop": "operation_class", "effect": "respond", "tenant": tenant });
                let engage = json!({ "target": target, "reason": "a test" });
                platform.done(&chief, "kill_switch.engage", &engage).await;
            }
        }
        platform.wake();
        let get = json!({ "action": action["id"] });
        let ended = async || {
            let told = platform.done(&chief, "action.get", &get).await;
            (told["state"] != "sent").then_some(told)
        };
        let told = platform.until("the action has ended", ended).await;
        assert_eq!((&told["state"], &told["outcomes"][0]["outcome"]), (&json!("failed"), &json!("failed")), "{told}");
        assert_eq!(service.heard(), [], "{stop}");
    }
}
