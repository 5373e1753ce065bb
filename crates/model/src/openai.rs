//! The wire of OpenAI's chat completions, as many servers speak it. What is optional there is optional here.

use crate::config::{OutputLimit, ToolStyle};
use crate::draft::{Broken, Draft, tokens};
use crate::history::{Said, numbered};
use crate::in_text::{call_schema, in_words};
use crate::names::WireNames;
use agent::{ChatRequest, StopReason, ToolSpec};
use serde_json::{Map, Value, json};

/// How one model wants to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    pub(crate) model: String,
    pub(crate) tools: ToolStyle,
    pub(crate) output_limit: OutputLimit,
    pub(crate) temperature: Option<f64>,
}

/// The body of a request.
pub(crate) fn body(manner: &Manner, request: &ChatRequest, names: &WireNames, output_tokens_max: u64) -> Value {
    let native = manner.tools == ToolStyle::Native;
    let in_text = (!native).then(|| in_words(request));
    let shown = in_text.as_ref().unwrap_or(request);
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    put("model", json!(manner.model));
    put("messages", messages(shown, names));
    put("stream", json!(true));
    put("stream_options", json!({ "include_usage": true }));
    put(manner.output_limit.as_str(), json!(output_tokens_max));
    if let Some(temperature) = manner.temperature {
        put("temperature", json!(temperature));
    }
    if native && !request.tools.is_empty() {
        put("tools", request.tools.iter().map(|one| tool(one, names)).collect());
    }
    if manner.tools == ToolStyle::Schema {
        let schema = call_schema(&request.tools);
        put("response_format", json!({ "type": "json_schema", "json_schema": { "name": "call", "schema": schema } }));
    }
    Value::Object(body)
}

fn tool(tool: &ToolSpec, names: &WireNames) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": names.wire(&tool.operation),
            "description": tool.description,
            "parameters": tool.input_schema,
        },
    })
}

fn messages(request: &ChatRequest, names: &WireNames) -> Value {
    let mut messages = vec![json!({ "role": "system", "content": request.system })];
    for said in numbered(&request.messages, names) {
        messages.push(match said {
            Said::User(text) => json!({ "role": "user", "content": text }),
            Said::Result { id, text } => json!({ "role": "tool", "tool_call_id": id, "content": text }),
            Said::Model { text, calls } if calls.is_empty() => json!({ "role": "assistant", "content": text }),
            Said::Model { text, calls } => {
                let call = |call: crate::history::Asked| {
                    let function = json!({ "name": call.name, "arguments": call.arguments.to_string() });
                    json!({ "id": call.id, "type": "function", "function": function })
                };
                let content = if text.is_empty() { Value::Null } else { json!(text) };
                let calls: Vec<Value> = calls.into_iter().map(call).collect();
                json!({ "role": "assistant", "content": content, "tool_calls": calls })
            }
        });
    }
    Value::Array(messages)
}

/// One event of a stream.
pub(crate) fn read_event(event: &Value, draft: &mut Draft) -> Result<(), Broken> {
    read_error(event)?;
    if let Some(choice) = event.pointer("/choices/0") {
        read_message(choice.get("delta").or_else(|| choice.get("message")), draft);
        read_stop(choice, draft);
    }
    read_usage(event, draft);
    Ok(())
}

/// An answer that is not streamed.
pub(crate) fn read_whole(answer: &Value, draft: &mut Draft) -> Result<(), Broken> {
    read_error(answer)?;
    let Some(choice) = answer.pointer("/choices/0") else { return Err(Broken::answer("it has no `choices`")) };
    read_message(choice.get("message"), draft);
    read_stop(choice, draft);
    read_usage(answer, draft);
    draft.end();
    Ok(())
}

fn read_error(event: &Value) -> Result<(), Broken> {
    match event.get("error") {
        None | Some(Value::Null) => Ok(()),
        Some(error) => Err(Broken::provider(error)),
    }
}

fn read_message(message: Option<&Value>, draft: &mut Draft) {
    let Some(message) = message else { return };
    match message.get("content") {
        Some(Value::String(text)) => draft.say(text),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.for_each(|text| draft.say(text));
        }
        _ => {}
    }
    if message.get("refusal").and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
        draft.stop(StopReason::Refusal);
    }
    for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        let text = |pointer: &str| call.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let place = call.get("index").and_then(Value::as_u64);
        draft.call(place, text("/id"), text("/function/name"));
        match call.pointer("/function/arguments") {
            Some(Value::String(text)) => draft.arguments(place, text),
            // Some servers send what they parsed themselves.
            Some(object @ Value::Object(_)) => draft.arguments(place, &object.to_string()),
            _ => {}
        }
    }
}

fn read_stop(choice: &Value, draft: &mut Draft) {
    let Some(word) = choice.get("finish_reason").and_then(Value::as_str) else { return };
    draft.stop(match word {
        "length" => StopReason::Length,
        "content_filter" => StopReason::Refusal,
        "tool_calls" | "function_call" => StopReason::ToolCalls,
        _ => StopReason::End,
    });
}

fn read_usage(event: &Value, draft: &mut Draft) {
    let Some(usage) = event.get("usage") else { return };
    if let Some(count) = tokens(usage, "prompt_tokens") {
        draft.input_tokens(count);
    }
    if let Some(count) = tokens(usage, "completion_tokens") {
        draft.output_tokens(count);
    }
}
