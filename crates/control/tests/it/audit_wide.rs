//! What an auditor and a SIEM take away: evidence packs, OCSF events, anchors outside; and what may be erased without a trace of a gap.

use crate::people::admin_of;
use audit::{AnchorLine, NoteVerifier, Report, Sampled, Verdict, VerifyOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::{Anchor, AnchorPlace, Settings};
use ids::{Clock as _, Owner};
use seal::SecretText;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use testkit::dump::records;
use testkit::service::Service;
use testkit::{Cast, Place, Platform};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

async fn files(platform: &Platform, token: &str, operation: &str, input: &Value) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut input) = (BTreeMap::new(), input.clone());
    input["limit"] = 7.into();
    loop {
        let page = platform.done(token, operation, &input).await;
        for file in page["items"].as_array().unwrap() {
            let bytes = STANDARD.decode(file["content"].as_str().unwrap()).unwrap();
            assert!(files.insert(file["path"].as_str().unwrap().to_owned(), bytes).is_none(), "{file}");
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => input["cursor"] = cursor.into(),
            None => return files,
        }
    }
}

fn judged(platform: &Platform, files: &BTreeMap<String, Vec<u8>>, anchors: Vec<String>) -> Report {
    let key = NoteVerifier::parse(&platform.control.verifier_key()).unwrap();
    audit::verify(files, &VerifyOptions { anchors, ..VerifyOptions::under(vec![key]) })
}

#[tokio::test]
async fn an_evidence_pack_shows_who_approved_and_verifies_offline() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let asked = json!({ "kill_switch": cast.things[&Place::Own]["kill_switch"], "reason": "over" });
    let approval = platform.pending(&cast.member("key-tenant-admin").token, "kill_switch.release", &asked).await;
    let admin = admin_of(&cast);
    platform.done(&admin.token, "approval.approve", &json!({ "approval": approval })).await;
    platform.settled(&admin.token, &approval).await;
    let auditor = &cast.member("auditor").token;
    let ask = json!({ "seed": "dice 4 2 6", "consequential": true, "sample": 1000 });
    let pack = files(&platform, auditor, "audit.evidence_pack", &ask).await;
    let report = judged(&platform, &pack, Vec::new());
    assert_eq!(report.verdict, Verdict::Valid, "{:#?}", report.faults);
    let evidence = report.evidence.unwrap();
    assert!(evidence.sampled > 0 && evidence.approved >= 1 && evidence.policy_versions >= 1, "{evidence:?}");
    let sample = std::str::from_utf8(&pack["evidence/sample.jsonl"]).unwrap();
    let sample: Vec<Sampled> = sample.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // The seeded platform holds others that were approved.
    let released = sample.iter().find(|one| one.approvers.iter().any(|by| by.approval.to_string() == approval));
    assert_eq!(released.map(|one| (one.operation.as_str(), one.outcome.status)), Some(("kill_switch.release", 200)));
    let approver = &released.unwrap().approvers[0];
    assert_eq!((approver.approval.to_string(), approver.approver.to_string()), (approval, admin.principal.clone()));
    // And the answer itself is an entry: where the pack says that it is.
    let said = &records(platform.control.store(), Owner::Tenant(cast.own.parse().unwrap())).await
        [usize::try_from(approver.recorded_at.unwrap()).unwrap()];
    assert_eq!(
        (said["operation"].as_str(), said["principal"].as_str()),
        (Some("approval.approve"), Some(admin.principal.as_str()))
    );
    assert!(released.unwrap().decision.policy_version.is_some());
    for odd in [json!({}), json!({ "seed": "s", "sample": 1001 })] {
        assert_eq!(platform.call(auditor, "audit.evidence_pack", &odd).await.status, 422, "{odd}");
    }
    let backwards = json!({ "seed": "s", "since": "2026-11-02T00:00:00Z", "until": "2026-11-01T00:00:00Z" });
    assert_eq!(platform.call(auditor, "audit.evidence_pack", &backwards).await.status, 422);
    let foreign = json!({ "seed": "s", "tenant": cast.other });
    assert_eq!(platform.call(auditor, "audit.evidence_pack", &foreign).await.status, 404);
    // The provider's holds every tenant's log, and a window of no time an empty population.
    let all = json!({ "seed": "s", "until": "1990-01-01T00:00:00Z" });
    let pack = files(&platform, &cast.chief.token, "audit.evidence_pack", &all).await;
    let report = judged(&platform, &pack, Vec::new());
    assert_eq!((report.verdict, report.evidence.unwrap().population), (Verdict::Valid, 0));
}

#[tokio::test]
async fn records_are_valid_ocsf_and_carry_what_checks_them() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    // Done, denied, invalid, waiting; a person, a key, an agent.
    for (name, operation, input) in [
        ("viewer", "user.list", json!({})),
        ("analyst", "agent.list", json!({ "limit": 0 })),
        (
            "key-tenant-admin",
            "kill_switch.release",
            json!({ "kill_switch": cast.things[&Place::Own]["kill_switch"], "reason": "r" }),
        ),
        ("investigator", "agent.list", json!({})),
    ] {
        platform.call(&cast.member(name).token, operation, &input).await;
    }
    for (token, input) in [(&cast.member("auditor").token, json!({})), (&cast.chief.token, json!({}))] {
        let mut parser = event::Parser::new();
        let mut input = input.clone();
        input["limit"] = 50.into();
        let (mut count, mut statuses) = (0_u64, BTreeMap::new());
        let log = files(&platform, token, "audit.export", &json!({})).await;
        let report = judged(&platform, &log, Vec::new());
        assert_eq!(report.verdict, Verdict::Valid);
        for _ in 0..4 {
            let page = platform.done(token, "audit.list_ocsf", &input).await;
            for one in page["items"].as_array().unwrap() {
                let bytes = serde_json::to_vec(one).unwrap();
                let faults = event::ocsf::Schema::built_in().validate(&parser.parse(&bytes).unwrap());
                assert!(faults.is_empty(), "{faults:?}: {one}");
                assert_eq!(one["class_uid"], 6003);
                let raw = one["raw_data"].as_str().unwrap().as_bytes();
                assert_eq!(one["raw_data_hash"]["value"], seal::Digest::of(raw).to_hex());
                let integrity = &one["unmapped"]["record_integrity"];
                assert_eq!(integrity["leaf_hash"]["value"], audit::leaf_hash(raw).to_hex());
                assert!(integrity["tree_size"].as_u64() > integrity["index"].as_u64(), "covered by the head");
                assert_eq!(integrity["index"], one["metadata"]["sequence"]);
                *statuses.entry(one["status"].as_str().unwrap().to_owned()).or_insert(0) += 1;
                count += 1;
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            input["cursor"] = cursor.into();
        }
        assert!(count > 20, "{count}");
        // The tenant's log has all three; the provider's none that failed.
        if token == &cast.member("auditor").token {
            for status in ["Success", "Failure", "Pending"] {
                assert!(statuses.contains_key(status), "{statuses:?}");
            }
        }
    }
    let viewer = platform.call(&cast.member("viewer").token, "audit.list_ocsf", &json!({})).await;
    assert!(matches!(viewer.status, 403 | 404));
}

#[tokio::test]
async fn an_erased_input_is_gone_and_the_log_still_verifies() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let admin = admin_of(&cast);
    let planted = "passport L01X00T47";
    let named = json!({ "name": "pasted", "operations": ["tenant.get"], "description": planted });
    let made = platform.call(&admin.token, "role.create", &named).await;
    let call = made.recorded().unwrap_or_else(|| panic!("{}", made.body)).to_owned();
    let before = platform.done(&admin.token, "audit.get", &json!({ "call": call })).await;
    assert!(before["input"].to_string().contains(planted), "{before}");
    let erase = json!({ "call": call, "reason": "a passport number" });
    // Who only reads the log does not erase, and nobody erases in a neighbour's.
    for name in ["auditor", "analyst", "viewer", "investigator"] {
        let answer = platform.call(&cast.member(name).token, "audit.erase_payload", &erase).await;
        assert!(matches!(answer.status, 403 | 404), "{name}: {}", answer.body);
    }
    let foreign = json!({ "call": cast.things[&Place::Other]["call"], "reason": "r" });
    assert_eq!(platform.call(&admin.token, "audit.erase_payload", &foreign).await.status, 404);
    let told = platform.done(&admin.token, "audit.erase_payload", &erase).await;
    assert_eq!(told["input_digests"], json!([before["records"][0]["record"]["input_digest"]]));
    let after = platform.done(&admin.token, "audit.get", &json!({ "call": call })).await;
    assert_eq!(
        (&after["input"], &after["input_erased"], &after["records"]),
        (&Value::Null, &json!(true), &before["records"])
    );
    // Again is no fault, and changes nothing.
    platform.done(&admin.token, "audit.erase_payload", &erase).await;
    let log = files(&platform, &cast.member("auditor").token, "audit.export", &json!({})).await;
    let report = judged(&platform, &log, Vec::new());
    assert_eq!(report.verdict, Verdict::Valid, "{:#?}", report.faults);
    assert_eq!(report.trees[0].payloads_erased, 1);
    for (path, bytes) in &log {
        assert!(!String::from_utf8_lossy(bytes).contains(planted), "{path}");
    }
    let proof = platform.done(&admin.token, "audit.prove", &json!({ "call": call })).await;
    assert_eq!(proof["index"], after["records"][0]["index"]);
}

fn anchored(path: std::path::PathBuf, service: &Service) -> Settings {
    let every = Duration::from_secs(60);
    let anchor = |name: &str, place| Anchor { name: name.to_owned(), every, place };
    let secret = |text: &str| SecretText::new(text).unwrap();
    let anchors = vec![
        anchor("disk", AnchorPlace::File { path }),
        anchor(
            "hook",
            AnchorPlace::Webhook {
                url: format!("{}/hook", service.origin()),
                secret: secret(SECRET),
                private_network: true,
            },
        ),
        anchor(
            "bucket",
            AnchorPlace::S3 {
                endpoint: service.origin(),
                bucket: "audit-logs".to_owned(),
                region: "eu-central-1".to_owned(),
                prefix: "posse/".to_owned(),
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: secret("secret"),
                private_network: true,
            },
        ),
    ];
    Settings { anchors, ..testkit::settings() }
}

fn notes(text: &str) -> Vec<String> {
    let lines = AnchorLine::read_all(text).unwrap();
    lines.iter().flat_map(|line| line.checkpoints.iter().map(ToString::to_string)).collect()
}

async fn state(platform: &Platform, name: &str) -> Value {
    let listed = platform.done(&platform.bootstrap, "audit.list_anchors", &json!({})).await;
    listed["items"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
}

#[tokio::test]
async fn checkpoints_go_outside_and_a_log_that_was_rolled_back_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("anchor.jsonl");
    let status = Arc::new(AtomicU16::new(200));
    let told = status.clone();
    let service = Service::start(move |_| Some((told.load(Ordering::Relaxed), String::new()))).await;
    let platform = Platform::start_with(anchored(path.clone(), &service)).await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let older = files(&platform, chief, "audit.export", &json!({})).await;
    platform.done(chief, "agent.list", &json!({})).await;
    platform.done(chief, "audit.checkpoint", &json!({})).await;
    platform.clock.advance(Duration::from_secs(61));
    platform
        .until("every anchor has the provider's checkpoint", async || {
            let mut all = true;
            for name in ["disk", "hook", "bucket"] {
                all &= state(&platform, name).await["anchored_size"].is_u64();
            }
            all.then_some(())
        })
        .await;
    let kept = std::fs::read_to_string(&path).unwrap();
    let newer = files(&platform, chief, "audit.export", &json!({})).await;
    assert_eq!(judged(&platform, &newer, notes(&kept)).verdict, Verdict::Valid);
    let own = files(&platform, &cast.member("auditor").token, "audit.export", &json!({})).await;
    assert_eq!(judged(&platform, &own, notes(&kept)).verdict, Verdict::Valid);
    // The webhook and the bucket got the same kind of line, each signed.
    let heard = service.heard();
    let hook = heard.iter().find(|one| one.target == "/hook").unwrap();
    let key = action_key();
    let at = hook.header("webhook-timestamp").parse().unwrap();
    let signature = action::standard_webhooks_signature(&key, hook.header("webhook-id"), at, hook.body.as_bytes());
    assert_eq!(hook.header("webhook-signature"), signature);
    let put = heard.iter().find(|one| one.method == "PUT").unwrap();
    assert!(put.target.starts_with("/audit-logs/posse/0"), "{}", put.target);
    assert!(put.header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{put:?}");
    assert_eq!(put.header("x-amz-content-sha256"), seal::Digest::of(put.body.as_bytes()).to_hex());
    for body in [&hook.body, &put.body] {
        assert_eq!(judged(&platform, &newer, notes(body)).verdict, Verdict::Valid);
    }
    // The older export under what the anchors kept since: rolled back.
    let newest = std::fs::read_to_string(&path).unwrap();
    assert_eq!(judged(&platform, &older, notes(&newest)).verdict, Verdict::Invalid);

    // A place that refuses is loud, once on the record, and again when it is over.
    status.store(503, Ordering::Relaxed);
    let round = async |what: &str, failing: bool| {
        platform
            .until(what, async || {
                platform.done(chief, "audit.checkpoint", &json!({})).await;
                platform.clock.advance(Duration::from_secs(61));
                let (hook, disk) = (state(&platform, "hook").await, state(&platform, "disk").await);
                (hook["failing"] == failing && disk["failing"] == false).then_some(hook)
            })
            .await
    };
    let failing = round("the webhook fails", true).await;
    assert!(failing["error"].as_str().unwrap().contains("503"), "{failing}");
    assert!(failing["failures"].as_u64().unwrap() > 0 && failing["failing_since"].is_string(), "{failing}");
    status.store(200, Ordering::Relaxed);
    round("the webhook is well again", false).await;
    let log = platform
        .until("the end is on the record", async || {
            let log = records(platform.control.store(), Owner::Provider).await;
            log.iter()
                .any(|one| one["operation"] == "audit.anchor_recover" && one["target"]["id"] == "hook")
                .then_some(log)
        })
        .await;
    assert!(log.iter().any(|one| one["operation"] == "audit.anchor_fail" && one["target"]["id"] == "hook"));
    // Tenants do not learn where the provider keeps its anchors.
    let tenant = platform.call(&admin_of(&cast).token, "audit.list_anchors", &json!({})).await;
    assert!(matches!(tenant.status, 403 | 404), "{}", tenant.body);
}

fn action_key() -> Vec<u8> {
    action::standard_webhooks_key(SECRET).unwrap()
}

#[tokio::test]
async fn another_log_is_not_anchored_over_an_earlier_one() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("anchor.jsonl");
    let service = Service::start(|_| Some((200, String::new()))).await;
    let first = Platform::start_with(anchored(path.clone(), &service)).await;
    for _ in 0..300 {
        first.done(&first.bootstrap, "me.get", &json!({})).await;
    }
    first.done(&first.bootstrap, "audit.checkpoint", &json!({})).await;
    first.clock.advance(Duration::from_secs(61));
    first.until("it is anchored", async || state(&first, "disk").await["anchored_size"].is_u64().then_some(())).await;
    let kept = std::fs::read_to_string(&path).unwrap();
    // After a restart of the same log it goes on, and nothing is put there twice.
    let first = first.restart().await;
    first.clock.advance(Duration::from_secs(61));
    first.done(&first.bootstrap, "audit.checkpoint", &json!({})).await;
    first.until("it goes on", async || state(&first, "disk").await["anchored_at"].is_string().then_some(())).await;
    let longer = std::fs::read_to_string(&path).unwrap();
    assert!(longer.starts_with(&kept) && longer.len() > kept.len());
    let at = first.clock.now();
    drop(first);
    // A fresh installation in its place: shorter, and another one.
    let second = Platform::start_with(anchored(path.clone(), &service)).await;
    second.done(&second.bootstrap, "audit.checkpoint", &json!({})).await;
    let failing = second
        .until("it is noticed", async || {
            second.clock.advance(Duration::from_secs(61));
            let state = state(&second, "disk").await;
            (state["failing"] == true).then_some(state)
        })
        .await;
    assert!(failing["error"].as_str().unwrap().contains("THE LOG WAS"), "{failing} after {at}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), longer, "nothing is added over it");
}
