//! Configuration as files, against a real server: what is planned is what is done, doing it twice does nothing, and an
//! apply that was cut off at any point ends where an uncut one ends.

use crate::{Line, Ran};
use cli::Exit;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::Platform;
use testkit::cast::person;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const FILE: &str = r#"
version: 1
templates:
  customer:
    tags: [env=prod]
    retention: { days: 365, classes: { 4001: 30 } }
    sources:
      trail: { mapping: cloudtrail, silent_after_secs: 3600 }
      other: {}
provider:
  users:
    admin@localhost: { display_name: First admin }
    dana@example.com: { display_name: Dana }
    lee@example.com: { display_name: Lee }
  roles:
    case-reader: { description: reads cases, operations: ["case.get", "case.list"] }
  assignments:
    - { principal: "user:admin@localhost", role: provider_admin }
    - { principal: "user:dana@example.com", role: analyst, selector: env=prod }
    - { principal: "user:lee@example.com", role: case-reader }
  policies:
    no-taint:
      active: true
      text: |
        @id("no-taint")
        forbid(principal is Posse::Agent, action in Posse::Action::"write", resource) when { context.tainted };
tenants:
  acme:
    template: customer
    display_name: Acme Corp
    tags: [region=eu]
    agents:
      triage: { purpose: triages, owner: dana@example.com, active: true }
    assignments:
      - { principal: "agent:triage", role: investigator }
    exceptions:
      - reason: the build hosts run it
        text: |
          title: Build hosts
          logsource: { product: windows, category: process_creation }
          filter:
            rules: any
            selection: { Computer|startswith: build- }
            condition: not selection
for_each:
  - rows: [{ name: beta, region: us }, { name: gamma, region: eu }]
    name: "${name}"
    tenant: { template: customer, without: [sources/other], tags: ["region=${region}"] }
"#;

/// A command line against a server, on a thread of its own: the program brings its own runtime.
async fn run(url: &str, token: &str, arguments: &[&str]) -> Ran {
    let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    let line = Line::default().with("POSSE_URL", url).with("POSSE_TOKEN", token);
    let ran = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        line.run(&words)
    });
    ran.await.unwrap()
}

async fn ok(platform: &Platform, token: &str, arguments: &[&str]) -> Value {
    let ran = run(&format!("http://{}", platform.address), token, arguments).await;
    assert_eq!(ran.exit, Exit::Done, "{arguments:?}: {} {}", ran.output, ran.errors);
    serde_json::from_str(&ran.output).unwrap_or(Value::String(ran.output))
}

fn written(folder: &Path, text: &str) -> String {
    let path = folder.join("posse.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

/// What `policy.matrix` says somebody may do in a tenant.
async fn matrix(platform: &Platform, token: &str, principal: &str, tenant: &str) -> BTreeMap<String, String> {
    let asked = json!({ "principal": principal, "tenants": [tenant] });
    let table = platform.done(token, "policy.matrix", &asked).await;
    let cells = table["cells"].as_array().unwrap();
    let word = |cell: &Value, field: &str| cell[field].as_str().unwrap().to_owned();
    cells.iter().map(|cell| (word(cell, "operation"), word(cell, "authority"))).collect()
}

async fn id_of(platform: &Platform, token: &str, list: &str, input: Value, name: &str) -> String {
    let page = platform.done(token, list, &input).await;
    let items = page["items"].as_array().unwrap();
    let found = items.iter().find(|item| item["name"] == name || item["email"] == name);
    found.unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planned_is_done_once_and_the_access_is_as_foretold() {
    let platform = Platform::start().await;
    let chief = person(&platform, &platform.bootstrap, "chief", None, &["provider_admin"]).await.token;
    let folder = tempfile::tempdir().unwrap();
    // The chief is there already: a file that speaks of users without it would remove it.
    let file = written(folder.path(), &FILE.replace("  users:\n", "  users:\n    chief@example.com: { display_name: chief }\n")
        .replace("  assignments:\n    - { principal: \"user:admin@l", "  assignments:\n    - { principal: \"user:chief@example.com\", role: provider_admin }\n    - { principal: \"user:admin@l"));
    let first = platform.done(&chief, "me.get", &json!({})).await;
    let plan = ok(&platform, &chief, &["config", "plan", &file]).await;
    assert_eq!(plan["change"], 0, "{plan:#}");
    assert_eq!(plan["delete"], 0, "{plan:#}");
    assert_eq!(plan["create"], 19, "{plan:#}");
    assert_eq!(platform.done(&chief, "tenant.list", &json!({})).await["items"], json!([]), "a plan does nothing");

    let done = ok(&platform, &chief, &["config", "apply", &file]).await;
    assert_eq!(done["done"], 19, "{done}");
    let again = ok(&platform, &chief, &["config", "plan", &file]).await;
    assert_eq!(again["steps"], json!([]), "{again:#}");
    assert_eq!(again["access"], json!([]), "{again:#}");
    assert_eq!(ok(&platform, &chief, &["config", "apply", &file]).await["done"], 0);
    assert_eq!(ok(&platform, &chief, &["config", "diff", &file]).await["steps"], json!([]));

    // What was foretold of access is what the gate says now.
    let acme = id_of(&platform, &chief, "tenant.list", json!({}), "acme").await;
    for (label, list, input, name) in [
        ("user:dana@example.com", "user.list", json!({}), "dana@example.com"),
        ("user:lee@example.com", "user.list", json!({}), "lee@example.com"),
    ] {
        let id = id_of(&platform, &chief, list, input, name).await;
        let now = matrix(&platform, &chief, &id, &acme).await;
        let mut foretold: BTreeMap<String, String> = now.keys().map(|key| (key.clone(), "denied".to_owned())).collect();
        let shifts = plan["access"].as_array().unwrap().iter().filter(|shift| {
            shift["principal"] == label && shift["places"].as_array().unwrap().contains(&"acme".into())
        });
        for cell in shifts.flat_map(|shift| shift["cells"].as_array().unwrap()) {
            foretold.insert(cell["operation"].as_str().unwrap().to_owned(), cell["after"].as_str().unwrap().to_owned());
        }
        // What is about the provider's own is foretold at the provider; what is about whoever asks is at no place.
        let about_here = |operation: &str| {
            let about_self =
                operation.starts_with("me.") || ["approval.delegate", "approval.end_delegation"].contains(&operation);
            !operation.starts_with("policy.")
                && !["audit.list_anchors", "audit.rotate_key", "tenant.certificate"].contains(&operation)
                && !about_self
        };
        let differing: Vec<_> =
            now.iter().filter(|(operation, word)| about_here(operation) && foretold[*operation] != **word).collect();
        assert!(differing.is_empty(), "{label}: {differing:?}");
        assert!(now.values().any(|word| word == "autonomous"), "{now:?}");
    }

    // What the platform has, written and read back, plans nothing.
    let exported = run(&format!("http://{}", platform.address), &chief, &["config", "export"]).await;
    assert_eq!(exported.exit, Exit::Done, "{}", exported.errors);
    let back = written(folder.path(), &exported.output);
    assert_eq!(ok(&platform, &chief, &["config", "plan", &back]).await["steps"], json!([]), "{}", exported.output);
    assert_eq!(platform.done(&chief, "me.get", &json!({})).await["principal"], first["principal"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_shown_and_nothing_is_removed_without_being_asked_for() {
    let platform = Platform::start().await;
    let token = platform.bootstrap.clone();
    let url = format!("http://{}", platform.address);
    let folder = tempfile::tempdir().unwrap();
    let file = written(
        folder.path(),
        "version: 1\ntenants:\n  acme:\n    tags: [env=prod]\n    sources: { trail: { mapping: cloudtrail } }\n",
    );
    ok(&platform, &token, &["config", "apply", &file]).await;
    let acme = id_of(&platform, &token, "tenant.list", json!({}), "acme").await;
    let made = json!({ "tenant": acme, "name": "stray" });
    platform.done(&token, "source.create", &made).await;
    platform.done(&token, "tenant.update", &json!({ "tenant": acme, "tags": ["env=test"] })).await;
    let drift = run(&url, &token, &["config", "diff", &file, "--output", "table"]).await;
    assert_eq!(drift.exit, Exit::Failed);
    assert!(
        drift.output.contains("~ tenant acme\n    tags:\n      - \"env=test\"\n      + \"env=prod\""),
        "{}",
        drift.output
    );
    assert!(drift.output.contains("- acme: source stray"), "{}", drift.output);
    let refused = run(&url, &token, &["config", "apply", &file]).await;
    assert_eq!(refused.exit, Exit::Usage);
    assert!(refused.errors.contains("--allow-destroy"), "{}", refused.errors);
    let tags = platform.done(&token, "tenant.get", &json!({ "tenant": acme })).await["tags"].clone();
    assert_eq!(tags, json!(["env=test"]), "nothing was done");
    assert_eq!(ok(&platform, &token, &["config", "apply", &file, "--allow-destroy"]).await["done"], 2);
    // A source that was removed and is asked for again is made again, though the same was done before.
    platform.done(&token, "source.delete", &json!({ "tenant": acme, "source": "trail" })).await;
    assert_eq!(ok(&platform, &token, &["config", "apply", &file]).await["done"], 1);
    platform.done(&token, "source.get", &json!({ "tenant": acme, "source": "trail" })).await;
    let empty = written(folder.path(), "version: 1\ntenants: {}\n");
    assert_eq!(ok(&platform, &token, &["config", "apply", &empty, "--allow-destroy"]).await["done"], 1);
    assert_eq!(platform.done(&token, "tenant.list", &json!({})).await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_does_nothing_that_its_bearer_may_not() {
    let platform = Platform::start().await;
    let cast = testkit::Cast::of(&platform).await;
    let url = format!("http://{}", platform.address);
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), "version: 1\ntenants:\n  own:\n    sources: { trail: {} }\n");
    for name in ["viewer", "analyst", "auditor"] {
        let ran = run(&url, &cast.member(name).token, &["config", "plan", &file]).await;
        assert_eq!(ran.exit, Exit::Failed, "{name} reads no configuration");
    }
    let own = &cast.member("tenant_admin").token;
    assert_eq!(ok(&platform, own, &["config", "plan", &file]).await["create"], 1);
    let other = written(folder.path(), "version: 1\ntenants:\n  own: {}\n  other: { tags: [env=test] }\n");
    let ran = run(&url, own, &["config", "plan", &other]).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.errors.contains("not in your own tenant"), "{}", ran.errors);
    let wrong = written(folder.path(), "version: 1\ntenants:\n  own:\n    sorces: {}\n");
    let ran = run(&url, own, &["config", "plan", &wrong]).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.errors.contains("posse.yaml:4:5: tenants.own: unknown field `sorces`"), "{}", ran.errors);
}

/// Stands between program and server and cuts the connection for good after some changes: the last one is lost on its way
/// there, or its answer on the way back.
async fn cutting(server: std::net::SocketAddr, changes: usize, after_it_was_done: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = seen.clone();
            tokio::spawn(pass(stream, server, seen, changes, after_it_was_done));
        }
    });
    url
}

async fn pass(
    mut stream: TcpStream,
    server: std::net::SocketAddr,
    seen: Arc<AtomicUsize>,
    changes: usize,
    after_it_was_done: bool,
) {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut some = [0; 65536];
        let Ok(count @ 1..) = stream.read(&mut some).await else { return };
        bytes.extend_from_slice(&some[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
        if bytes.len() >= end + 4 + length {
            break (head, length);
        }
    };
    let _ = length;
    let cut = head.contains("idempotency-key") && seen.fetch_add(1, Ordering::SeqCst) >= changes;
    let gone = "{\"type\":\"urn:posse:problem:denied\",\"title\":\"Denied\",\"status\":403,\"detail\":\"cut off\"}";
    let mut answer = format!(
        "HTTP/1.1 403 X\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{gone}",
        gone.len()
    )
    .into_bytes();
    if !cut || (after_it_was_done && seen.load(Ordering::SeqCst) == changes + 1) {
        let end = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
        let mut there = TcpStream::connect(server).await.unwrap();
        there.write_all(&bytes[..end]).await.unwrap();
        there.write_all(b"\r\nconnection: close").await.unwrap();
        there.write_all(&bytes[end..]).await.unwrap();
        let mut back = Vec::new();
        there.read_to_end(&mut back).await.unwrap();
        if !cut {
            answer = back;
        }
    }
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_that_is_cut_off_anywhere_ends_in_the_same_state() {
    let folder = tempfile::tempdir().unwrap();
    let file = written(folder.path(), &FILE.replace("provider:\n", "provider:\n  agents: {}\n"));
    let mut ends = std::collections::BTreeSet::new();
    for changes in (0..=18).step_by(9) {
        for after_it_was_done in [false, true] {
            let platform = Platform::start().await;
            let token = platform.bootstrap.clone();
            let url = cutting(platform.address, changes, after_it_was_done).await;
            let cut = run(&url, &token, &["config", "apply", &file, "--at-once", "3"]).await;
            assert_ne!(cut.exit, Exit::Done, "{changes}: {} {}", cut.output, cut.errors);
            ok(&platform, &token, &["config", "apply", &file]).await;
            assert_eq!(ok(&platform, &token, &["config", "plan", &file]).await["steps"], json!([]));
            let exported = run(&format!("http://{}", platform.address), &token, &["config", "export"]).await;
            ends.insert(exported.output);
        }
    }
    assert_eq!(ends.len(), 1, "{ends:#?}");
}
