//! What is sent: the shapes of both wires, names, calls and results, keys.

use crate::fake::{Fake, ask, fine, models, question, said};
use agent::{ChatRequest, Role, ToolCall};
use serde_json::{Value, json};

/// A conversation in which the model called twice at once and was answered.
fn conversation() -> ChatRequest {
    let call =
        |id: &str, name: &str, arguments: Value| ToolCall { id: id.to_owned(), name: name.to_owned(), arguments };
    let mut asked = said(Role::Assistant, "");
    asked.calls = vec![call("x", "case.get", json!({ "case": "c1" })), call("x", "service_key.list", json!("odd"))];
    let result = |text: &str| agent::Message { answers: Some("x".to_owned()), ..said(Role::Tool, text) };
    let mut request = question();
    request.messages.extend([
        asked,
        result("one"),
        result("two"),
        said(Role::Assistant, " "),
        said(Role::User, "Go on."),
    ]);
    request
}

async fn sent(kind: &str, more: &str, request: &ChatRequest) -> (String, Value) {
    let fake = Fake::start(vec![fine(kind, "ok")]).await;
    let (models, _) = models(&[("default", fake.section(kind, more))]);
    ask(&models, request).await.unwrap();
    let seen = fake.asked().pop().unwrap();
    (seen.head.to_lowercase(), seen.body)
}

#[tokio::test]
async fn chat_completions_are_asked_as_their_wire_wants() {
    let (head, body) = sent("openai", "api_key_env = \"KEY\"\ntemperature = 0.5", &conversation()).await;
    assert!(head.starts_with("post /v1/chat/completions "), "{head}");
    assert!(head.contains("authorization: bearer sk-secret") && head.contains("accept: text/event-stream"), "{head}");
    assert_eq!(
        (body["model"].as_str(), body["max_tokens"].as_u64(), body["stream"].as_bool()),
        (Some("m"), Some(500), Some(true))
    );
    assert_eq!(
        (body["stream_options"]["include_usage"].as_bool(), body["temperature"].as_f64()),
        (Some(true), Some(0.5))
    );
    let names: Vec<&str> =
        body["tools"].as_array().unwrap().iter().filter_map(|tool| tool["function"]["name"].as_str()).collect();
    assert_eq!(names, ["case_get", "service_key_list"]);
    assert_eq!(
        body["messages"],
        json!([
            { "role": "system", "content": "You look into cases." },
            { "role": "user", "content": "Begin." },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "case_get", "arguments": "{\"case\":\"c1\"}" } },
                { "id": "call_2", "type": "function", "function": { "name": "service_key_list", "arguments": "{\"text\":\"odd\"}" } },
            ] },
            { "role": "tool", "tool_call_id": "call_1", "content": "one" },
            { "role": "tool", "tool_call_id": "call_2", "content": "two" },
            { "role": "assistant", "content": " " },
            { "role": "user", "content": "Go on." },
        ])
    );
    let (_, body) =
        sent("openai", "output_limit = \"max_completion_tokens\"\noutput_tokens_max = 64", &question()).await;
    assert_eq!((body["max_completion_tokens"].as_u64(), body.get("max_tokens")), (Some(64), None));
}

#[tokio::test]
async fn messages_are_asked_as_their_wire_wants() {
    let mut request = conversation();
    request.tools[0].input_schema = json!({ "anyOf": [{ "required": ["case"] }], "properties": {} });
    let (head, body) = sent("anthropic", "api_key_file = \"key\"", &request).await;
    assert!(head.starts_with("post /v1/messages "), "{head}");
    assert!(head.contains("x-api-key: sk-from-file") && head.contains("anthropic-version: 2023-06-01"), "{head}");
    assert_eq!((body["system"].as_str(), body["max_tokens"].as_u64()), (Some("You look into cases."), Some(500)));
    assert_eq!(body["tools"][0]["name"], "case_get");
    assert_eq!(body["tools"][0]["input_schema"], json!({ "properties": {}, "type": "object" }));
    assert_eq!(
        body["messages"],
        json!([
            { "role": "user", "content": [{ "type": "text", "text": "Begin." }] },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "call_1", "name": "case_get", "input": { "case": "c1" } },
                { "type": "tool_use", "id": "call_2", "name": "service_key_list", "input": { "text": "odd" } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_1", "content": "one" },
                { "type": "tool_result", "tool_use_id": "call_2", "content": "two" },
            ] },
            { "role": "assistant", "content": [{ "type": "text", "text": "(nothing)" }] },
            { "role": "user", "content": [{ "type": "text", "text": "Go on." }] },
        ])
    );
}

#[tokio::test]
async fn models_without_tools_are_told_of_them_in_words() {
    for (kind, style) in [("openai", "schema"), ("openai", "text"), ("anthropic", "text")] {
        let (_, body) = sent(kind, &format!("tools = \"{style}\""), &conversation()).await;
        let text = body.to_string();
        assert_eq!(body.get("tools"), None, "{kind} {style}");
        assert!(!text.contains("tool_calls") && !text.contains("tool_use"), "{kind} {style}: {text}");
        assert!(text.contains("Result:\\none\\n\\nResult:\\ntwo") && text.contains("`service_key.list`"), "{text}");
        assert!(text.contains("{\\\"tool\\\":\\\"case.get\\\",\\\"input\\\":{\\\"case\\\":\\\"c1\\\"}}"), "{text}");
        assert_eq!(body.get("response_format").is_some(), style == "schema");
    }
    let (_, body) = sent("openai", "tools = \"schema\"", &conversation()).await;
    let schema = &body["response_format"]["json_schema"]["schema"];
    assert_eq!(schema.pointer("/anyOf/1/properties/tool/const"), Some(&json!("service_key.list")));
}
