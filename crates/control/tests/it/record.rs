//! The record: every call has its leaf, what is taken away verifies offline, and a tenant's auditor sees its tenant only.

use crate::people::admin_of;
use audit::{Checkpoint, NoteVerifier, Verdict, VerifyOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ids::Owner;
use seal::Digest;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use testkit::dump::records;
use testkit::{Cast, Place, Platform, Request};

pub(crate) async fn export(platform: &Platform, token: &str, input: &Value) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut input = input.clone();
    input["limit"] = 7.into();
    loop {
        let page = platform.done(token, "audit.export", &input).await;
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

pub(crate) fn trusted(platform: &Platform) -> VerifyOptions {
    VerifyOptions::under(vec![NoteVerifier::parse(&platform.control.verifier_key()).unwrap()])
}

#[tokio::test]
async fn every_call_has_one_leaf_whatever_its_outcome() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let calls = [
        ("analyst", "agent.list", json!({}), 200),
        ("viewer", "user.list", json!({}), 403),
        ("viewer", "user.get", json!({ "user": cast.things[&Place::Other]["user"] }), 404),
        ("viewer", "agent.list", json!({ "limit": 0 }), 422),
        (
            "tenant_admin",
            "agent.update",
            json!({ "agent": cast.things[&Place::Own]["agent"], "purpose": "p", "if_match": "\"99\"" }),
            412,
        ),
        ("tenant_admin", "role.create", json!({ "name": "reader-own", "operations": ["tenant.get"] }), 409),
        (
            "key-tenant-admin",
            "kill_switch.release",
            json!({ "kill_switch": cast.things[&Place::Own]["kill_switch"], "reason": "r" }),
            202,
        ),
        ("investigator", "agent.list", json!({}), 200),
        ("investigator", "user.create", json!({ "email": "a@b", "display_name": "A" }), 403),
    ];
    let owner = Owner::Tenant(cast.own.parse().unwrap());
    for (name, operation, input, status) in calls {
        let before = records(platform.control.store(), owner).await.len();
        let member = cast.member(name);
        let answer = platform.call(&member.token, operation, &input).await;
        assert_eq!(answer.status, status, "{operation} as {name}: {}", answer.body);
        let log = records(platform.control.store(), owner).await;
        let fresh: Vec<&Value> =
            log[before..].iter().filter(|one| one["principal"] == member.principal.as_str()).collect();
        assert_eq!(fresh.len(), 1, "{operation} as {name}: {fresh:#?}");
        let record = fresh[0];
        assert_eq!(record["call"].as_str(), answer.recorded(), "{operation}");
        assert_eq!((&record["operation"], &record["outcome"]["status"]), (&json!(operation), &json!(status)));
        if name == "investigator" {
            assert_eq!(record["on_behalf_of"], json!([admin_of(&cast).principal]));
            assert!(record["run"].as_str().unwrap().starts_with("run_"));
        }
        // The digest is that of the input under its salt, canonical.
        let call = answer.recorded().unwrap().parse().unwrap();
        let (salt, text) = platform.control.kept_text(owner, call).await.unwrap();
        let digest = Digest::salted(&salt.try_into().unwrap(), &text);
        assert_eq!(record["input_digest"], digest.to_string(), "{operation}");
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), input, "{operation}");
    }
}

#[tokio::test]
async fn what_is_taken_away_verifies_and_nothing_can_be_changed() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let all = export(&platform, &cast.chief.token, &json!({})).await;
    let report = audit::verify(&all, &trusted(&platform));
    assert_eq!(report.verdict, Verdict::Valid, "{report:#?}");
    assert_eq!(audit::verify(&all, &VerifyOptions::default()).verdict, Verdict::Unauthenticated);
    let key = platform.done(&cast.chief.token, "audit.key", &json!({})).await;
    assert_eq!(key["verifier_key"], platform.control.verifier_key());
    for (path, bytes) in &all {
        let mut changed = all.clone();
        let mut bytes = bytes.clone();
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        changed.insert(path.clone(), bytes);
        assert_eq!(audit::verify(&changed, &trusted(&platform)).verdict, Verdict::Invalid, "{path}");
    }
    // A later export extends the earlier one, also after a restart with the same key.
    let since: Vec<String> = vec![checkpoint(&platform, &cast.chief.token, &json!({})).await];
    let platform = platform.restart().await;
    platform.done(&cast.chief.token, "agent.list", &json!({})).await;
    let later = export(&platform, &cast.chief.token, &json!({})).await;
    let options = VerifyOptions { since, ..trusted(&platform) };
    assert_eq!(audit::verify(&later, &options).verdict, Verdict::Valid);
    assert_eq!(
        audit::verify(
            &all,
            &VerifyOptions {
                since: vec![checkpoint(&platform, &cast.chief.token, &json!({})).await],
                ..trusted(&platform)
            }
        )
        .verdict,
        Verdict::Invalid,
        "an older export is a log rolled back"
    );
}

async fn checkpoint(platform: &Platform, token: &str, input: &Value) -> String {
    let note = platform.done(token, "audit.checkpoint", input).await;
    note["checkpoint"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_tenants_auditor_sees_the_tenant_and_nothing_else() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let auditor = &cast.member("auditor").token;
    let files = export(&platform, auditor, &json!({})).await;
    let report = audit::verify(&files, &trusted(&platform));
    assert_eq!(report.verdict, Verdict::Valid, "{report:#?}");
    let strangers: Vec<&String> = [Place::Other, Place::Provider]
        .iter()
        .flat_map(|place| cast.things[place].iter().filter(|(kind, _)| **kind != "call").map(|(_, id)| id))
        .collect();
    for (path, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        for stranger in &strangers {
            assert!(!path.contains(stranger.as_str()) && !text.contains(stranger.as_str()), "{path} names {stranger}");
        }
    }
    let listed = platform.done(auditor, "audit.list", &json!({ "limit": 1000 })).await;
    for record in listed["items"].as_array().unwrap() {
        assert_eq!(record["record"]["tenant"], cast.own.as_str(), "{record}");
    }
    for tenant in [json!({ "tenant": cast.other })] {
        for operation in ["audit.list", "audit.export", "audit.checkpoint"] {
            assert_eq!(platform.call(auditor, operation, &tenant).await.status, 404, "{operation}");
        }
    }
    let foreign = json!({ "call": cast.things[&Place::Other]["call"] });
    assert_eq!(platform.call(auditor, "audit.get", &foreign).await.status, 404);
}

#[tokio::test]
async fn proofs_hold() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let auditor = &cast.member("auditor").token;
    let verifier = trusted(&platform).keys;
    let old = Checkpoint::open(&checkpoint(&platform, auditor, &json!({})).await, &verifier).unwrap();
    let answer = platform.call(&cast.member("analyst").token, "agent.list", &json!({})).await;
    let proof = platform.done(auditor, "audit.prove", &json!({ "call": answer.recorded().unwrap() })).await;
    let digest = |value: &Value| {
        let bytes: [u8; 32] = STANDARD.decode(value.as_str().unwrap()).unwrap().try_into().unwrap();
        Digest::from_bytes(bytes)
    };
    let hashes = |proof: &Value| proof["hashes"].as_array().unwrap().iter().map(digest).collect::<Vec<_>>();
    let head = Checkpoint::open(proof["checkpoint"].as_str().unwrap(), &verifier).unwrap();
    let (index, size) = (proof["index"].as_u64().unwrap(), proof["size"].as_u64().unwrap());
    assert_eq!(size, head.size);
    let leaf = digest(&proof["leaf_hash"]);
    audit::verify_inclusion(leaf, index, size, &hashes(&proof), head.root).unwrap();
    let detail = platform.done(auditor, "audit.get", &json!({ "call": answer.recorded().unwrap() })).await;
    assert_eq!(detail["records"][0]["index"], index);
    assert_eq!(detail["input"], json!({}));
    let proof = platform.done(auditor, "audit.consistency", &json!({ "from_size": old.size })).await;
    let head = Checkpoint::open(proof["checkpoint"].as_str().unwrap(), &verifier).unwrap();
    audit::verify_consistency(old.size, old.root, head.size, head.root, &hashes(&proof)).unwrap();
    assert!(head.size > old.size);
}

#[tokio::test]
async fn failed_sign_ins_are_counted_without_filling_the_log() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let before = records(platform.control.store(), Owner::Provider).await.len();
    for _ in 0..50 {
        let request = Request::new("GET", "/v1/me").bearer("posse_token_nonsense");
        assert_eq!(platform.send(request).await.status, 401);
    }
    platform.clock.advance(std::time::Duration::from_secs(11));
    let counted = platform
        .until("the aggregate is written", async || {
            let log = records(platform.control.store(), Owner::Provider).await;
            let sum: u64 = log[before..].iter().filter_map(|one| one["aggregate"]["count"].as_u64()).sum();
            (sum >= 50).then(|| log[before..].iter().filter(|one| one["aggregate"].is_object()).count())
        })
        .await;
    assert!(counted <= 3, "{counted} records for 50 attempts");
    assert!(!cast.members.is_empty());
}

#[tokio::test]
async fn audited_actions_are_the_operations() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let known: BTreeSet<String> = api::specs().iter().map(|spec| spec.meta.id.to_owned()).collect();
    let own = [
        "approval.execute",
        "approval.expire",
        "authenticate",
        "run.end",
        "run.journal",
        "run.retry",
        "run.stop",
        "run.wait",
        "run.wake",
        "system.create_signing_key",
        "user.bootstrap",
    ];
    for owner in [Owner::Provider, Owner::Tenant(cast.own.parse().unwrap())] {
        for record in records(platform.control.store(), owner).await {
            let Some(operation) = record["operation"].as_str() else { continue };
            let system = record["principal"].as_str().is_some_and(|name| name.starts_with("system"));
            assert!(known.contains(operation) || system && own.contains(&operation), "{record}");
        }
    }
}

#[tokio::test]
async fn a_changed_key_is_followed_from_the_old_one_and_from_the_new_one() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let chief = &cast.chief.token;
    let key_of = |platform: &Platform| NoteVerifier::parse(&platform.control.verifier_key()).unwrap();
    let judged = |files: &BTreeMap<String, Vec<u8>>, key: &NoteVerifier, since: &[String]| {
        audit::verify(
            files,
            &VerifyOptions { keys: vec![key.clone()], since: since.to_vec(), ..VerifyOptions::default() },
        )
    };
    let old = key_of(&platform);
    let seen = platform.done(chief, "audit.checkpoint", &json!({})).await["checkpoint"].as_str().unwrap().to_owned();
    let denied = platform.call(&admin_of(&cast).token, "audit.rotate_key", &json!({})).await;
    assert!(matches!(denied.status, 403 | 404), "the provider's alone: {}", denied.body);
    let mut keys = vec![old.clone()];
    for _ in 0..2 {
        let told = platform.done(chief, "audit.rotate_key", &json!({})).await;
        keys.push(key_of(&platform));
        assert_eq!(told["verifier_key"], keys[keys.len() - 1].to_string());
    }
    let platform = platform.restart().await;
    assert_eq!(key_of(&platform), keys[2], "a restart signs with the newest");
    platform.done(chief, "me.get", &json!({})).await;
    for input in [json!({}), json!({ "tenant": cast.own }), json!({ "tenant": cast.other })] {
        let files = export(&platform, chief, &input).await;
        for key in &keys {
            let report = judged(&files, key, &[]);
            assert_eq!(report.verdict, Verdict::Valid, "{input} under {key}: {:#?}", report.faults);
        }
        let foreign = audit::NoteSigner::new(old.name(), seal::SigningKey::generate(&seal::SeededEntropy::new(9)));
        assert_eq!(judged(&files, foreign.unwrap().verifier(), &[]).verdict, Verdict::Invalid);
        if input == json!({}) {
            let report = judged(&files, &keys[2], std::slice::from_ref(&seen));
            assert_eq!(report.verdict, Verdict::Valid, "an older checkpoint: {:#?}", report.faults);
        }
    }
}
