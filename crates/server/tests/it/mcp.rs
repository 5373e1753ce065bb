//! MCP in both eras: who gets in, what is listed, how outcomes are told.

use crate::door::{Answer, Rig};
use serde_json::{Value, json};

const MODERN: &str = "2026-07-28";
const SESSIONS: &str = "2025-11-25";

impl Rig {
    /// One message of the stateless era.
    async fn modern(&self, method: &str, mut params: Value, meta: Value) -> Answer {
        let mut all = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        all.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        params["_meta"] = all;
        let mut request = self
            .request("POST", "/mcp")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", method);
        if let Some(name) = params.get("name").or_else(|| params.get("taskId")).and_then(Value::as_str) {
            request = request.header("mcp-name", name);
        }
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        Answer::of(request.json(&message).send().await.unwrap()).await
    }

    async fn tool(&self, name: &str, arguments: Value) -> Value {
        let answer = self.modern("tools/call", json!({ "name": name, "arguments": arguments }), json!({})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["result"].clone()
    }

    /// One message of the session era; the answer's last server-sent event where it is a stream.
    async fn legacy(&self, token: &str, session: Option<&str>, message: Value) -> (Answer, Value) {
        let mut request = self
            .client
            .post(format!("{}/mcp", self.url))
            .bearer_auth(token)
            .header("accept", "application/json, text/event-stream")
            .json(&message);
        if let Some(session) = session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", SESSIONS);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let event = text.lines().filter_map(|line| line.strip_prefix("data:")).rfind(|data| !data.trim().is_empty());
        let event = event.map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
        (Answer { status, headers, body }, event)
    }

    async fn session(&self) -> String {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {
                "protocolVersion": SESSIONS, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
            },
        });
        let (answer, event) = self.legacy("good", None, message).await;
        assert_eq!(event["result"]["protocolVersion"], SESSIONS, "{answer:?}");
        assert_eq!(event["result"]["serverInfo"]["name"], "posse");
        answer.header("mcp-session-id").unwrap().to_owned()
    }
}

fn list_message() -> Value {
    json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" })
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_token() {
    let rig = Rig::start().await;
    for token in ["", "bad"] {
        let mut request = rig.client.post(format!("{}/mcp", rig.url)).json(&list_message());
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!((answer.status, answer.problem()), (401, "unauthenticated"));
        let metadata = format!("Bearer resource_metadata=\"{}/.well-known/oauth-protected-resource/mcp\"", rig.url);
        assert!(answer.header("www-authenticate").unwrap().starts_with(&metadata), "{answer:?}");
    }
}

#[tokio::test]
async fn a_token_that_dies_is_noticed_at_its_next_call() {
    let rig = Rig::start().await;
    assert_eq!(rig.tool("thing_make", json!({ "box": "b", "colour": "red" })).await["isError"], json!(false));
    let listed = rig.door.listings();
    rig.tool("thing_make", json!({ "box": "b", "colour": "red" })).await;
    assert_eq!(rig.door.listings(), listed, "an admitted token is not asked about again for each call");
    rig.door.forget_tokens();
    let arguments = json!({ "name": "thing_make", "arguments": { "box": "b", "colour": "red" } });
    for _ in 0..2 {
        let refused = rig.modern("tools/call", arguments.clone(), json!({})).await;
        assert_eq!((refused.status, refused.problem()), (401, "unauthenticated"));
    }
    assert_eq!(rig.door.listings(), listed + 1);
}

#[tokio::test]
async fn the_list_is_what_policy_allows_and_private() {
    let rig = Rig::start().await;
    let discovered = rig.modern("server/discover", json!({}), json!({})).await;
    let versions = discovered.body["result"]["supportedVersions"].to_string();
    assert!(versions.contains(MODERN) && versions.contains(SESSIONS), "{discovered:?}");
    let listed = rig.modern("tools/list", json!({}), json!({})).await;
    let result = &listed.body["result"];
    assert_eq!((&result["cacheScope"], &result["ttlMs"]), (&json!("private"), &json!(30_000)), "{listed:?}");
    let names: Vec<_> = result["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    // `approval_get` is one of those that stand first where nothing is configured.
    assert_eq!(names, ["operation_call", "approval_get", "thing_list", "thing_make", "me_login"]);
    let make = &result["tools"][3];
    assert_eq!(
        make["annotations"],
        json!({
            "title": "Make a thing", "readOnlyHint": false, "destructiveHint": false, "idempotentHint": false,
            "openWorldHint": false,
        })
    );
    assert_eq!(make["inputSchema"]["required"], json!(["box", "colour"]));
    assert_eq!(make["outputSchema"]["anyOf"].as_array().unwrap().len(), 2);
    assert!(make["description"].as_str().unwrap().contains("It has a colour"));
    assert!(result["tools"][0].get("outputSchema").is_none());
}

#[tokio::test]
async fn a_profile_bounds_the_list_and_says_what_comes_first() {
    let rig = Rig::start_with(|config| {
        config.mcp.tools_max = 2;
        config.mcp.tools_first = vec!["thing.make".to_owned()];
    })
    .await;
    let listed = rig.modern("tools/list", json!({}), json!({})).await;
    let tools = listed.body["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["operation_call", "thing_make"]);
    // What is not listed can be called all the same: the gate decides, not the list.
    assert_eq!(rig.tool("thing_delete", json!({ "box": "b" })).await["isError"], json!(false));
}

#[tokio::test]
async fn each_outcome_is_told() {
    let rig = Rig::start().await;
    let made = rig.tool("thing_make", json!({ "box": "b", "colour": "red" })).await;
    assert_eq!(made["structuredContent"]["etag"], "\"3\"", "{made}");
    assert_eq!(
        serde_json::from_str::<Value>(made["content"][0]["text"].as_str().unwrap()).unwrap(),
        made["structuredContent"]
    );
    let call = rig.door.last();
    assert_eq!((call.origin.face, call.operation.as_str()), (api::Face::Mcp, "thing.make"));

    let denied = rig.tool("thing_make", json!({ "box": "b", "colour": "deny" })).await;
    assert_eq!(denied["isError"], json!(true));
    assert_eq!(denied["structuredContent"]["type"], "urn:posse:problem:denied");
    assert_eq!(denied["structuredContent"]["request_id"], rig.door.last().origin.request_id);
    let faulty = rig.tool("thing_make", json!({ "box": "b", "tint": "red" })).await;
    let told = faulty["structuredContent"]["errors"].to_string();
    assert!(told.contains("\"/tint\"") && told.contains("\"/colour\""), "{told}");
    let waits = rig.tool("thing_make", json!({ "box": "b", "colour": "wait" })).await;
    assert_eq!((&waits["structuredContent"]["status"], &waits["isError"]), (&json!("pending_approval"), &json!(false)));
    let inner = json!({ "operation": "thing.make", "input": { "box": "b", "colour": "blue" } });
    rig.tool("operation_call", inner).await;
    assert_eq!((rig.door.last().operation.as_str(), &rig.door.last().input["colour"]), ("thing.make", &json!("blue")));
    let unknown = rig.modern("tools/call", json!({ "name": "nothing", "arguments": {} }), json!({})).await;
    assert_eq!(unknown.body["error"]["code"], -32602, "{unknown:?}");

    let keyed = json!({ "posse/idempotency-key": "k1" });
    let arguments = json!({ "name": "thing_make", "arguments": { "box": "b", "colour": "red" } });
    rig.modern("tools/call", arguments.clone(), keyed).await;
    assert_eq!(rig.door.last().idempotency_key.as_deref(), Some("k1"));
    let before = rig.door.count();
    let refused = rig.modern("tools/call", arguments, json!({ "posse/idempotency-key": "a b" })).await;
    assert_eq!(refused.body["result"]["isError"], json!(true));
    assert_eq!(rig.door.count(), before);
}

#[tokio::test]
async fn a_long_list_is_cut_unless_asked_whole() {
    let rig = Rig::start_with(|config| config.mcp.result_bytes_max = 3000).await;
    let arguments = json!({ "box": "b", "limit": 50 });
    let cut = rig.tool("thing_list", arguments.clone()).await;
    assert_eq!(cut["structuredContent"]["items"].as_array().unwrap().len(), 5);
    assert!(cut["content"][1]["text"].as_str().unwrap().starts_with("cut: the first 5 of 50"), "{cut}");
    let params = json!({ "name": "thing_list", "arguments": arguments });
    let whole = rig.modern("tools/call", params, json!({ "posse/whole-result": true })).await;
    assert_eq!(whole.body["result"]["structuredContent"]["items"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_waiting_call_is_a_task_for_those_who_know_tasks() {
    let rig = Rig::start().await;
    let meta = json!({
        "io.modelcontextprotocol/clientCapabilities": { "extensions": { "io.modelcontextprotocol/tasks": {} } },
    });
    let params = json!({ "name": "thing_make", "arguments": { "box": "b", "colour": "wait" } });
    let begun = rig.modern("tools/call", params, meta.clone()).await;
    let task = &begun.body["result"];
    assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")), "{begun:?}");
    let got = rig.modern("tasks/get", json!({ "taskId": task["taskId"] }), meta).await;
    assert_eq!(rig.door.last().input, json!({ "approval": task["taskId"] }));
    assert_eq!(got.body["result"]["status"], "completed", "{got:?}");
    assert_eq!(got.body["result"]["result"]["structuredContent"], json!({ "echo": "done" }));
}

#[tokio::test]
async fn a_session_belongs_to_the_caller_who_opened_it() {
    let rig = Rig::start().await;
    let session = rig.session().await;
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    assert_eq!(rig.legacy("good", Some(&session), initialized).await.0.status, 202);
    let (answer, event) = rig.legacy("good", Some(&session), list_message()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(event["result"]["tools"].as_array().unwrap().len(), 5);
    let (stolen, _) = rig.legacy("good-too", Some(&session), list_message()).await;
    let (unknown, _) = rig.legacy("good", Some("4cfb9ecb-95a7-4c4a-a4c5-3ba0eeb3a3f7"), list_message()).await;
    assert_eq!((stolen.status, stolen.problem(), &stolen.body["detail"]), (404, "not-found", &unknown.body["detail"]));
    // What was lent is renewed while a session is open: the same caller goes on with a fresh token, and back.
    assert_eq!(rig.legacy("good-again", Some(&session), list_message()).await.0.status, 200);
    assert_eq!(rig.legacy("good", Some(&session), list_message()).await.0.status, 200);
    let ended = rig.request("DELETE", "/mcp").header("mcp-session-id", &session).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    assert_eq!(rig.legacy("good", Some(&session), list_message()).await.0.problem(), "not-found");
}

#[tokio::test]
async fn transport_errors_are_problems_too() {
    let rig = Rig::start_with(|config| config.mcp.sessions_max = 1).await;
    let post = || rig.request("POST", "/mcp").header("accept", "application/json, text/event-stream");
    let json_type = |request: reqwest::RequestBuilder| request.header("content-type", "application/json");
    for (request, wanted) in [
        (json_type(post()).body("{\"a\":1,\"a\":2}"), "malformed"),
        (json_type(post()).body("{"), "malformed"),
        (post().body("x"), "unsupported-media-type"),
        (rig.request("POST", "/mcp").header("accept", "text/html").json(&list_message()), "not-acceptable"),
        (rig.request("PUT", "/mcp"), "method-not-allowed"),
        (post().header("host", "evil.example.com").json(&list_message()), "denied"),
        (json_type(post()).body(" ".repeat(2 * 1024 * 1024)), "payload-too-large"),
    ] {
        assert_eq!(Answer::of(request.send().await.unwrap()).await.problem(), wanted);
    }
    rig.session().await;
    let again = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": SESSIONS, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
    assert_eq!(rig.legacy("good", None, again).await.0.problem(), "overloaded");
}
