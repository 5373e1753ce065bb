//! The bridge: headers of both eras, answers as JSON and as streams, and failures as JSON-RPC errors.

use crate::Line;
use crate::peer::{Answer, Peer};
use cli::Exit;
use serde_json::{Value, json};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_session_is_kept_and_ended() {
    let opened = json!({ "jsonrpc": "2.0", "id": 1, "result": { "protocolVersion": "2025-11-25" } });
    let stream = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n";
    let peer = Peer::script(vec![
        Answer(200, "application/json", vec![("mcp-session-id", "s-1".to_owned())], opened.to_string()),
        Answer(202, "application/json", Vec::new(), String::new()),
        Answer(200, "text/event-stream", Vec::new(), stream.to_owned()),
        Answer(204, "application/json", Vec::new(), String::new()),
    ]);
    let input = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {} }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "me_get" } }),
    ];
    let input = input.iter().map(|message| format!("{message}\n")).collect::<String>();
    let ran = Line::at(&peer.url).input(&input).run(&["mcp"]);
    assert_eq!((ran.exit, ran.errors.as_str()), (Exit::Done, ""));
    let out = lines(&ran.output);
    assert_eq!(out[0], opened);
    assert_eq!(out[1]["method"], "notifications/progress");
    assert_eq!(out[2], json!({ "jsonrpc": "2.0", "id": 2, "result": {} }));
    let seen = peer.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].header("mcp-session-id"), None);
    assert_eq!(seen[0].header("authorization"), Some("Bearer secret-token"));
    assert_eq!(seen[2].header("mcp-session-id"), Some("s-1"));
    assert_eq!(seen[2].header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!((seen[2].header("mcp-method"), seen[2].header("mcp-name")), (Some("tools/call"), Some("me_get")));
    assert_eq!(seen[3].line, "DELETE /mcp");
}

#[test]
fn a_request_without_a_session_carries_its_own_version() {
    let answer = json!({ "jsonrpc": "2.0", "id": "a", "result": { "tools": [] } });
    let peer = Peer::script(vec![Answer::json(200, &answer)]);
    let message = json!({ "jsonrpc": "2.0", "id": "a", "method": "tools/list",
        "params": { "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } } });
    let ran = Line::at(&peer.url).input(&format!("{message}\n")).run(&["mcp"]);
    assert_eq!(lines(&ran.output), [answer]);
    assert_eq!(peer.only().header("mcp-protocol-version"), Some("2026-07-28"));
}

#[test]
fn what_is_not_the_protocol_becomes_an_error_of_it() {
    let problem =
        json!({ "type": "urn:posse:problem:unauthenticated", "title": "t", "status": 401, "detail": "no credential" });
    let cut = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
    for (answer, text) in [
        (Answer::json(401, &problem), "no credential"),
        (Answer(200, "text/html", Vec::new(), "<html>".to_owned()), "no JSON"),
        (Answer(200, "text/event-stream", Vec::new(), cut.to_owned()), "without an answer"),
    ] {
        let peer = Peer::script(vec![answer]);
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" });
        let ran = Line::at(&peer.url).input(&format!("{message}\n\nnot json\n")).run(&["mcp"]);
        let out = lines(&ran.output);
        let error = out.iter().find(|message| message["id"] == 7).unwrap();
        assert!(error["error"]["message"].as_str().unwrap().contains(text), "{error}");
        assert!(out.iter().any(|message| message["error"]["code"] == -32700), "{out:?}");
    }
    let ran = Line::at("http://127.0.0.1:9")
        .input("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n")
        .run(&["mcp"]);
    assert_eq!(lines(&ran.output)[0]["error"]["code"], -32000);
}
