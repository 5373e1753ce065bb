//! A tenant leaves: nothing of it can be read from the data folder any more, and a certificate says so; everybody else's log
//! verifies as before.

use crate::record::{export, trusted};
use audit::{ErasureCertificate, NoteVerifier, Verdict};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use testkit::cast::{Member, PASSWORD, person};
use testkit::{Cast, Place, Platform, Reached};

/// Stands in names, texts and refused calls of the tenant.
const MARK: &str = "xqmarkerofthetenant";
/// Stands in its secrets.
const SECRET: &str = "xqsecretofthetenant";
/// Stands in another tenant's texts.
const OTHERS: &str = "xqmarkerofanother";

/// How a text stands in a file: itself, in hex, and in base64 at each of its three places.
fn spellings(text: &str) -> Vec<Vec<u8>> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![text.as_bytes().to_vec(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes()];
    for shift in 0..3 {
        let encoded = STANDARD_NO_PAD.encode([vec![b' '; shift], text.as_bytes().to_vec()].concat());
        // Whole groups of the text itself: what stands before and behind it changes the others.
        all.push(encoded.as_bytes()[4..encoded.len() - 4].to_vec());
    }
    all
}

/// The files that hold a text, whatever its spelling.
fn holders(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holders(&path, text));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let holds = |part: &Vec<u8>| bytes.windows(part.len()).any(|window| window == part.as_slice());
        if spellings(text).iter().any(holds) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

/// Texts wherever a tenant can put them; some overwritten, some refused, some remembered.
async fn plant(platform: &Platform, cast: &Cast, tenant: &str, mark: &str) {
    let (chief, at) = (&cast.chief.token, json!({ "tenant": tenant }));
    for number in 0..40 {
        let named = json!({ "tenant": tenant, "display_name": format!("{mark} {number} {}", "x".repeat(100)) });
        platform.done(chief, "tenant.update", &named).await;
    }
    let with = |fields: Value| {
        let mut input = at.clone();
        input.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        input
    };
    let case = platform.done(chief, "case.open", &with(json!({ "title": mark }))).await;
    for number in 0..20 {
        let comment = json!({ "case": case["id"], "text": format!("{mark} {number} {}", "y".repeat(7000)) });
        platform.done(chief, "case.add_comment", &comment).await;
    }
    let refused = platform.call(chief, "user.get", &json!({ "user": mark })).await;
    assert!(refused.status >= 400);
    let made = with(json!({ "email": format!("{mark}@example.com"), "display_name": mark, "password": PASSWORD }));
    let request = testkit::Request::of(platform.spec("user.create"), &made).bearer(chief);
    let made = platform.send(request.key(&format!("key-{mark}"))).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let locked = with(json!({ "operations": ["case.merge"], "reason": mark }));
    platform.done(chief, "lockdown.engage", &locked).await;
    let created =
        with(json!({ "name": "told", "shipped": "webhook", "settings": { "url": format!("https://{mark}.example") } }));
    platform.done(chief, "connector.create", &created).await;
    if mark == MARK {
        let secret = with(
            json!({ "connector": "told", "name": "signing_secret", "value": format!("whsec_{}", STANDARD.encode(SECRET.repeat(2))) }),
        );
        platform.done(chief, "connector.set_secret", &secret).await;
    }
}

async fn offboarded(platform: &Platform, asker: &Member, second: &Member, tenant: &str) -> Value {
    let input = json!({ "tenant": tenant, "reason": "the contract ended" });
    let approval = platform.pending(&asker.token, "tenant.offboard", &input).await;
    let approve = json!({ "approval": approval });
    assert_eq!(platform.call(&asker.token, "approval.approve", &approve).await.status, 403, "not who asked");
    let given = platform.done(&second.token, "approval.approve", &approve).await;
    assert_eq!(given["state"], "approved", "{given}");
    let done = async || platform.call(&asker.token, "tenant.certificate", &json!({ "tenant": tenant })).await;
    platform.until("the tenant is erased", async || Some(done().await).filter(|answer| answer.status == 200)).await.body
}

#[tokio::test]
async fn nothing_of_a_tenant_that_left_is_readable_and_the_others_verify() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, own) = (&cast.chief, cast.own.as_str());
    let second = person(&platform, &chief.token, "second-admin", None, &["provider_admin"]).await;
    plant(&platform, &cast, own, MARK).await;
    plant(&platform, &cast, &cast.other, OTHERS).await;
    if let Some(folder) = platform.data_dir() {
        assert!(!holders(folder, MARK).is_empty(), "what is not there before cannot be looked for");
        assert!(holders(folder, SECRET).is_empty(), "secrets are sealed");
    }
    let offboard = json!({ "tenant": own, "reason": "x" });
    assert_eq!(platform.call(&chief.token, "tenant.offboard", &offboard).await.status, 202);
    let early = platform.done(&chief.token, "approval.list", &json!({ "tenant": own, "state": "pending" })).await;
    for one in early["items"].as_array().unwrap().iter().filter(|one| one["operation"] == "tenant.offboard") {
        platform.done(&second.token, "approval.approve", &json!({ "approval": one["id"] })).await;
        let ended = platform.settled(&chief.token, one["id"].as_str().unwrap()).await;
        assert_eq!(ended["state"], "failed", "an active tenant is not erased: {ended}");
    }
    platform.done(&chief.token, "tenant.suspend", &json!({ "tenant": own, "reason": "it leaves" })).await;

    let told = offboarded(&platform, chief, &second, own).await;
    if let Some(folder) = platform.data_dir() {
        for text in [MARK, SECRET] {
            assert_eq!(holders(folder, text), [""; 0], "{text}");
        }
        assert!(!holders(folder, OTHERS).is_empty(), "the other tenant keeps what it has");
    }
    // The certificate holds offline, under the key alone.
    let key = NoteVerifier::parse(&platform.control.verifier_key()).unwrap();
    let note = told["certificate"].as_str().unwrap();
    let certificate = ErasureCertificate::open(note, &[key]).unwrap();
    assert_eq!(certificate.tenant.to_string(), own);
    assert_eq!(certificate.asked_by.to_string(), chief.principal);
    assert_eq!(
        certificate.approved_by.iter().map(ToString::to_string).collect::<Vec<_>>(),
        std::slice::from_ref(&second.principal)
    );
    assert!(certificate.key_destroyed && certificate.checkpoint.is_some());
    for (kind, least) in [("case_comment", 20), ("log_payloads", 60), ("remembered_answers", 1), ("user", 1)] {
        assert!(certificate.erased.get(kind).is_some_and(|count| *count >= least), "{kind}: {:?}", certificate.erased);
    }

    // Every log verifies, that of the tenant that left too, which has its records and none of its texts.
    let other = export(&platform, &chief.token, &json!({ "tenant": cast.other })).await;
    let report = audit::verify(&other, &trusted(&platform));
    assert_eq!(report.verdict, Verdict::Valid, "{report:#?}");
    assert!(report.trees.iter().all(|tree| tree.payloads > 0));
    let left = export(&platform, &chief.token, &json!({ "tenant": own })).await;
    let report = audit::verify(&left, &trusted(&platform));
    assert_eq!(report.verdict, Verdict::Valid, "{report:#?}");
    assert!(!left.values().any(|bytes| String::from_utf8_lossy(bytes).contains(MARK)), "a text is left");
    let all = export(&platform, &chief.token, &json!({})).await;
    assert_eq!(audit::verify(&all, &trusted(&platform)).verdict, Verdict::Valid);

    // Nobody of it acts, and it stays so after a restart.
    let platform = platform.restart().await;
    for member in cast.members.iter().filter(|member| !member.provider) {
        assert_eq!(platform.call(&member.token, "me.get", &json!({})).await.status, 401, "{}", member.name);
    }
    assert_eq!(platform.call(&chief.token, "tenant.get", &json!({ "tenant": own })).await.status, 404);
    platform.done(&chief.token, "case.list", &json!({ "tenant": cast.other })).await;
    let again = platform.done(&chief.token, "tenant.certificate", &json!({ "tenant": own })).await;
    assert_eq!(again["certificate"], note);
}

#[tokio::test]
async fn an_erasure_that_was_cut_off_after_its_key_went_goes_on_after_a_restart() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, own) = (&cast.chief, cast.own.as_str());
    let second = person(&platform, &chief.token, "second-admin", None, &["provider_admin"]).await;
    plant(&platform, &cast, own, MARK).await;
    platform.done(&chief.token, "tenant.suspend", &json!({ "tenant": own, "reason": "it leaves" })).await;
    platform.plane.fail_erasures();
    platform.plane.take();
    let ask = json!({ "tenant": own, "reason": "the contract ended" });
    let approval = platform.pending(&chief.token, "tenant.offboard", &ask).await;
    platform.done(&second.token, "approval.approve", &json!({ "approval": approval })).await;
    let reached = async || {
        let seen = platform.plane.take();
        seen.iter().any(|one| matches!(one, Reached::Erase(tenant) if tenant.to_string() == own)).then_some(())
    };
    platform.until("rows and key are gone, telemetry is not", reached).await;
    let wanted = json!({ "tenant": own });
    let early = platform.call(&chief.token, "tenant.certificate", &wanted).await;
    assert_eq!(early.problem(), "conflict", "nothing is signed before the end: {}", early.body);

    let platform = platform.restart().await;
    platform.clock.advance(Duration::from_secs(7200));
    let done = async || {
        let answer = platform.call(&chief.token, "tenant.certificate", &wanted).await;
        Some(answer).filter(|answer| answer.status == 200)
    };
    let told = platform.until("the tenant is erased", done).await.body;
    let key = NoteVerifier::parse(&platform.control.verifier_key()).unwrap();
    let certificate = ErasureCertificate::open(told["certificate"].as_str().unwrap(), &[key]).unwrap();
    assert!(certificate.key_destroyed, "destroyed before it was cut off: {certificate:?}");
    assert!(certificate.erased.get("case_comment").is_some_and(|count| *count >= 20), "{:?}", certificate.erased);
    if let Some(folder) = platform.data_dir() {
        assert_eq!(holders(folder, MARK), [""; 0]);
    }
}

#[tokio::test]
async fn a_hold_keeps_a_tenant_and_a_program_alone_erases_none() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    let (chief, own) = (&cast.chief, cast.own.as_str());
    let second = person(&platform, &chief.token, "second-admin", None, &["provider_admin"]).await;
    platform.done(&chief.token, "tenant.suspend", &json!({ "tenant": own, "reason": "it leaves" })).await;
    let hold = json!({ "tenant": own, "name": "court", "since": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z", "reason": "a case" });
    platform.done(&chief.token, "lake.hold", &hold).await;
    let input = json!({ "tenant": own, "reason": "x" });
    let approval = platform.pending(&cast.member("key-provider-admin").token, "tenant.offboard", &input).await;
    platform.done(&second.token, "approval.approve", &json!({ "approval": approval })).await;
    let ended = platform.settled(&chief.token, &approval).await;
    assert_eq!(ended["state"], "failed", "{ended}");
    assert!(ended.to_string().contains("legal hold"), "{ended}");
    platform.done(&chief.token, "tenant.get", &json!({ "tenant": own })).await;
}

#[tokio::test]
async fn an_export_holds_every_document_and_no_secret() {
    let platform = Platform::start().await;
    let cast = Cast::of(&platform).await;
    plant(&platform, &cast, &cast.own, MARK).await;
    let admin = crate::people::admin_of(&cast);
    for name in ["viewer", "analyst", "auditor", "detection_engineer", "responder"] {
        let answer = platform.call(&cast.member(name).token, "tenant.export", &json!({ "tenant": cast.own })).await;
        assert_eq!(answer.status, 403, "{name}");
    }
    assert_eq!(platform.call(&admin.token, "tenant.export", &json!({ "tenant": cast.other })).await.status, 404);
    let mut files = std::collections::BTreeMap::new();
    let mut input = json!({ "tenant": cast.own, "limit": 3 });
    loop {
        let page = platform.done(&admin.token, "tenant.export", &input).await;
        for file in page["items"].as_array().unwrap() {
            let text = String::from_utf8(STANDARD.decode(file["content"].as_str().unwrap()).unwrap()).unwrap();
            assert!(files.insert(file["path"].as_str().unwrap().to_owned(), text).is_none(), "{file}");
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => input["cursor"] = cursor.into(),
            None => break,
        }
    }
    assert!(files["about.json"].contains("audit.export"));
    assert_eq!(files["documents/case_comment/000000.ndjson"].lines().filter(|line| line.contains(MARK)).count(), 20);
    assert!(files["documents/user/000000.ndjson"].contains(MARK));
    let agent = &cast.things[&Place::Own]["agent"];
    assert!(files.iter().any(|(path, text)| path.starts_with("documents/agent/") && text.contains(agent)));
    for (path, text) in &files {
        for line in text.lines().filter(|_| path.ends_with(".ndjson")) {
            let value = &serde_json::from_str::<Value>(line).unwrap()["value"];
            for field in ["password", "totp", "hash", "sealed", "secrets", "sealed_input"] {
                assert!(value.get(field).is_none(), "{path}: {field}");
            }
        }
    }
}
