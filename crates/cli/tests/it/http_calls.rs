//! What goes over the wire, what is shown of the answer, and with which number the command ends.

use crate::Line;
use crate::peer::{Answer, Peer};
use cli::Exit;
use serde_json::{Value, json};

const TENANT: &str = "tenant_01jd3k5v9qf8m2x7r4t6w8y0zc";

fn tenant(name: &str) -> Value {
    json!({ "id": TENANT, "name": name, "display_name": "Acme \u{1b}[31m", "tags": ["env=prod", "region=eu"], "state": "active",
        "created_at": "2026-11-22T00:00:00Z", "etag": "\"3\"" })
}

#[test]
fn each_field_goes_where_the_route_wants_it() {
    let peer = Peer::script(vec![Answer::json(200, &tenant("acme"))]);
    let line = ["tenant", "update", "--tenant", TENANT, "--tags", "env=prod", "--tags", "x", "--if-match", "\"3\""];
    let ran = Line::at(&peer.url).run(&line);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.errors);
    let request = peer.only();
    assert_eq!(request.line, format!("PATCH /v1/tenants/{TENANT}"));
    assert_eq!(request.header("if-match"), Some("\"3\""));
    assert_eq!(request.header("authorization"), Some("Bearer secret-token"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.header("user-agent").unwrap().starts_with("posse-cli/"));
    assert_eq!(serde_json::from_str::<Value>(&request.body).unwrap(), json!({ "tags": ["env=prod", "x"] }));
    assert_eq!(serde_json::from_str::<Value>(&ran.output).unwrap(), tenant("acme"));
}

#[test]
fn a_read_travels_in_the_query() {
    let peer = Peer::script(vec![Answer::json(200, &json!({ "items": [] }))]);
    let ran = Line::at(&peer.url).run(&["tenant", "list", "--selector", "env=prod and a b", "--limit", "5"]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.errors);
    let mut parts = peer.only().line.split(['?', '&']).map(str::to_owned).collect::<Vec<_>>();
    parts.sort();
    assert_eq!(parts, ["GET /v1/tenants", "limit=5", "selector=env%3Dprod%20and%20a%20b"]);
    assert_eq!(peer.only().body, "");
}

#[test]
fn the_credential_comes_from_a_file_before_the_environment() {
    let peer = Peer::script(vec![Answer::json(200, &json!({ "items": [] }))]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from-file\n").unwrap();
    Line::at(&peer.url).run(&["tenant", "list", "--token-file", file.path().to_str().unwrap()]);
    assert_eq!(peer.only().header("authorization"), Some("Bearer from-file"));
}

#[test]
fn the_formats() {
    let page = json!({ "items": [tenant("acme"), tenant("bolt")], "next_cursor": "c1" });
    let peer = Peer::script(vec![Answer::json(200, &page)]);
    let shown = |arguments: &[&str]| Line::at(&peer.url).terminal().run(&[&["tenant", "list"], arguments].concat());
    let table = shown(&[]);
    insta::assert_snapshot!("table_of_tenants", format!("{}---\n{}", table.output, table.errors));
    let lines = shown(&["--output", "jsonl"]).output;
    assert_eq!(
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone()).collect::<Vec<_>>(),
        ["acme", "bolt"]
    );
    assert_eq!(serde_json::from_str::<Value>(&shown(&["--output", "json"]).output).unwrap(), page);
    assert!(shown(&["--output", "yaml"]).output.starts_with("items:\n- id: tenant_"));
    assert_eq!(shown(&["--output", "xml"]).exit, Exit::Usage);
}

#[test]
fn all_follows_the_cursors() {
    for (format, wanted) in [("json", 3), ("jsonl", 3)] {
        let peer = Peer::script(vec![
            Answer::json(200, &json!({ "items": [tenant("a"), tenant("b")], "next_cursor": "c/1" })),
            Answer::json(200, &json!({ "items": [tenant("c")] })),
        ]);
        let ran = Line::at(&peer.url).run(&["tenant", "list", "--all", "--output", format]);
        assert_eq!(ran.exit, Exit::Done, "{}", ran.errors);
        assert_eq!(ran.output.matches("\"id\"").count(), wanted, "{}", ran.output);
        assert!(!ran.output.contains("next_cursor"));
        assert_eq!(peer.seen()[1].line, "GET /v1/tenants?cursor=c%2F1");
    }
}

#[test]
fn a_statement_stands_by_itself_and_its_rows_flow() {
    let peer = Peer::script(vec![
        Answer::json(200, &json!({ "items": [{ "n": 1 }, { "n": 2 }], "next_cursor": "c" })),
        Answer::json(200, &json!({ "items": [{ "n": 3 }] })),
    ]);
    let arguments = ["event", "query", "--tenant", TENANT, "SELECT n FROM events", "--output", "jsonl"];
    let ran = Line::at(&peer.url).run(&arguments);
    assert_eq!((ran.exit, ran.output.as_str()), (Exit::Done, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"), "{}", ran.errors);
    let seen = peer.seen();
    let body: Value = serde_json::from_str(&seen[0].body).unwrap();
    assert_eq!(body, json!({ "tenant": TENANT, "sql": "SELECT n FROM events", "limit": 10_000 }));
    assert_eq!(serde_json::from_str::<Value>(&seen[1].body).unwrap()["cursor"], "c");
    for wrong in [&["event", "query"][..], &["event", "query", "SELECT 1", "--sql", "SELECT 2"]] {
        assert_eq!(Line::at("http://127.0.0.1:9").run(wrong).exit, Exit::Usage);
    }
}

#[test]
fn each_answer_has_its_number() {
    let problem = |kind: &str, status: u16| {
        json!({ "type": format!("urn:posse:problem:{kind}"), "title": "t", "status": status, "detail": "d",
            "policies": ["p1"], "request_id": "r1", "retry_after_secs": 7,
            "errors": [{ "pointer": "/tenant", "detail": "is wrong" }] })
    };
    let waiting =
        |status: &str| json!({ "status": status, "approval": "approval_1", "expires_at": "2026-11-22T00:00:00Z" });
    for (answer, exit) in [
        (Answer::json(200, &tenant("a")), Exit::Done),
        (Answer::json(202, &waiting("pending_approval")), Exit::Pending),
        (Answer::json(202, &waiting("deferred")), Exit::Deferred),
        (Answer::json(403, &problem("denied", 403)), Exit::Denied),
        (Answer::json(403, &problem("halted", 403)), Exit::Denied),
        (Answer::json(422, &problem("invalid-input", 422)), Exit::Usage),
        (Answer::json(401, &problem("unauthenticated", 401)), Exit::Failed),
        (Answer::json(404, &problem("not-found", 404)), Exit::Failed),
        (Answer::json(500, &json!("?")), Exit::Failed),
        (Answer(200, "text/html", Vec::new(), "<html>".to_owned()), Exit::Failed),
        (Answer(302, "text/html", vec![("location", "http://127.0.0.1:1/".to_owned())], String::new()), Exit::Failed),
    ] {
        let peer = Peer::script(vec![answer.clone()]);
        let ran = Line::at(&peer.url).run(&["tenant", "get", "--tenant", TENANT]);
        assert_eq!(ran.exit, exit, "{answer:?}: {}", ran.errors);
        assert_eq!(ran.exit == Exit::Done, ran.errors.is_empty(), "{}", ran.errors);
    }
    let peer = Peer::script(vec![Answer::json(403, &problem("denied", 403))]);
    let ran = Line::at(&peer.url).terminal().run(&["tenant", "get", "--tenant", TENANT]);
    insta::assert_snapshot!("problem_as_text", ran.errors);
    let ran = Line::at(&peer.url).run(&["tenant", "get", "--tenant", TENANT, "--output", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.errors).unwrap()["errors"][0]["pointer"], "/tenant");
}

#[test]
fn a_wrong_input_is_not_sent() {
    let peer = Peer::script(vec![Answer::json(200, &tenant("a"))]);
    for arguments in [
        &["tenant", "get", "--tenant", "nonsense"][..],
        &["tenant", "get"],
        &["tenant", "get", "--tenant", TENANT, "--nonsense", "1"],
        &["tenant", "list", "--limit", "1001"],
        &["tenant", "list", "--limit", "many"],
        &["tenant", "create", "--input", "[]"],
        &["tenant", "create", "--input", "{\"name\":\"a\",\"name\":\"b\"}"],
        &["tenant", "create", "--input", "{\"name\":\"a\",\"colour\":\"b\"}"],
        &["tenant", "create", "--name", "-", "--display-name", "-"],
        &["nonsense"],
    ] {
        let ran = Line::at(&peer.url).terminal().input("x").run(arguments);
        assert_eq!(ran.exit, Exit::Usage, "{arguments:?}: {}", ran.errors);
        assert!(!ran.errors.is_empty());
    }
    assert!(peer.seen().is_empty(), "{:?}", peer.seen());
}

#[test]
fn a_server_that_is_not_there_is_said_plainly() {
    let ran = Line::at("http://127.0.0.1:9").run(&["me", "get"]);
    assert_eq!(ran.exit, Exit::Failed);
    assert!(ran.errors.starts_with("error: cannot connect to `127.0.0.1`"), "{}", ran.errors);
    let ran = Line::at("ftp://x").run(&["me", "get"]);
    assert_eq!(ran.exit, Exit::Usage, "{}", ran.errors);
}

#[test]
fn the_public_key_comes_bare_so_that_it_can_go_into_a_file() {
    let peer = Peer::script(vec![Answer::json(200, &json!({ "verifier_key": "posse+0123+abc" }))]);
    assert_eq!(Line::at(&peer.url).run(&["audit", "key"]).output, "posse+0123+abc\n");
    let json = Line::at(&peer.url).run(&["audit", "key", "--output", "json"]).output;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["verifier_key"], "posse+0123+abc");
}

#[test]
fn an_export_becomes_a_folder_and_cannot_leave_it() {
    let file = |path: &str| json!({ "path": path, "content": "aGVsbG8=" });
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("log");
    let peer = Peer::script(vec![
        Answer::json(200, &json!({ "items": [file("checkpoint"), file("tile/0/000")], "next_cursor": "n" })),
        Answer::json(200, &json!({ "items": [file("manifest.json")] })),
    ]);
    let ran = Line::at(&peer.url).run(&["audit", "export", "--out", out.to_str().unwrap()]);
    assert_eq!(ran.exit, Exit::Done, "{}", ran.errors);
    assert_eq!(std::fs::read(out.join("tile/0/000")).unwrap(), b"hello");
    assert!(out.join("manifest.json").exists() && peer.seen()[1].line.contains("cursor=n"));
    assert_eq!(
        Line::at(&peer.url).run(&["audit", "export", "--out", out.to_str().unwrap()]).exit,
        Exit::Usage,
        "not empty"
    );

    for path in ["../evil", "/tmp/evil", "a/../../evil", "", "."] {
        let out = folder.path().join("other").join(path.len().to_string());
        let peer = Peer::script(vec![Answer::json(200, &json!({ "items": [file(path)] }))]);
        let ran = Line::at(&peer.url).run(&["audit", "export", "--out", out.to_str().unwrap()]);
        assert_eq!(ran.exit, Exit::Failed, "{path}");
    }
    assert!(!folder.path().join("evil").exists() && !folder.path().join("other/evil").exists());
}

#[test]
fn a_secret_on_the_command_line_is_remarked_on() {
    let peer = Peer::script(vec![Answer::json(
        401,
        &json!({ "type": "urn:posse:problem:unauthenticated", "title": "t", "status": 401, "detail": "d" }),
    )]);
    let said =
        |arguments: &[&str]| Line::at(&peer.url).input("pw\n").run(arguments).errors.contains("note: `--password`");
    assert!(said(&["me", "login", "--email", "a@example.com", "--password", "pw"]));
    assert!(!said(&["me", "login", "--email", "a@example.com", "--password", "-"]));
    assert_eq!(serde_json::from_str::<Value>(&peer.seen()[1].body).unwrap()["password"], "pw");
}
