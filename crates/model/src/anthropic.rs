//! The wire of Anthropic's messages.

use crate::config::ToolStyle;
use crate::draft::{Broken, Draft, tokens};
use crate::history::{Asked, Said, numbered};
use crate::in_text::in_words;
use crate::names::WireNames;
use crate::openai::Manner;
use agent::{ChatRequest, StopReason, ToolSpec};
use serde_json::{Map, Value, json};

/// The version of the wire that is spoken.
pub(crate) const VERSION: &str = "2023-06-01";
/// Stands for an answer without words, since the wire refuses empty texts.
const NOTHING: &str = "(nothing)";

/// The body of a request.
pub(crate) fn body(manner: &Manner, request: &ChatRequest, names: &WireNames, output_tokens_max: u64) -> Value {
    let native = manner.tools == ToolStyle::Native;
    let in_text = (!native).then(|| in_words(request));
    let shown = in_text.as_ref().unwrap_or(request);
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    put("model", json!(manner.model));
    put("max_tokens", json!(output_tokens_max));
    put("system", json!(shown.system));
    put("messages", messages(shown, names));
    put("stream", json!(true));
    if let Some(temperature) = manner.temperature {
        put("temperature", json!(temperature));
    }
    if native && !request.tools.is_empty() {
        put("tools", request.tools.iter().map(|one| tool(one, names)).collect());
    }
    Value::Object(body)
}

fn tool(tool: &ToolSpec, names: &WireNames) -> Value {
    let mut schema = tool.input_schema.as_object().cloned().unwrap_or_default();
    // The wire takes no choice at the top; the gate judges the input by the whole schema.
    for key in ["oneOf", "anyOf", "allOf"] {
        schema.remove(key);
    }
    schema.insert("type".to_owned(), json!("object"));
    json!({ "name": names.wire(&tool.operation), "description": tool.description, "input_schema": schema })
}

/// Messages by two speakers that take turns; all results of an answer's calls stand in one.
fn messages(request: &ChatRequest, names: &WireNames) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for said in numbered(&request.messages, names) {
        let (role, blocks) = match said {
            Said::User(text) => ("user", vec![text_block(text)]),
            Said::Result { id, text } => {
                ("user", vec![json!({ "type": "tool_result", "tool_use_id": id, "content": text })])
            }
            Said::Model { text, calls } => ("assistant", model_blocks(text, calls)),
        };
        match turns.last_mut() {
            Some((last, content)) if *last == role => content.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect()
}

fn model_blocks(text: &str, calls: Vec<Asked>) -> Vec<Value> {
    let mut blocks = Vec::with_capacity(calls.len() + 1);
    if !text.trim().is_empty() || calls.is_empty() {
        blocks.push(text_block(text));
    }
    let call = |call: Asked| json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments });
    blocks.extend(calls.into_iter().map(call));
    blocks
}

fn text_block(text: &str) -> Value {
    // Trailing space in the last message of an assistant is refused too.
    let text = text.trim_end();
    json!({ "type": "text", "text": if text.is_empty() { NOTHING } else { text } })
}

/// One event of a stream.
pub(crate) fn read_event(event: &Value, draft: &mut Draft) -> Result<(), Broken> {
    let place = event.get("index").and_then(Value::as_u64);
    match event.get("type").and_then(Value::as_str).unwrap_or_default() {
        "message_start" => {
            if let Some(message) = event.get("message") {
                read_usage(message, draft);
            }
        }
        "content_block_start" => {
            if let Some(block) = event.get("content_block") {
                read_block(place, block, draft);
            }
        }
        "content_block_delta" => {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
            if let Some(text) = text("/delta/text") {
                draft.say(text);
            }
            if let Some(json) = text("/delta/partial_json") {
                draft.arguments(place, json);
            }
        }
        "message_delta" => {
            read_stop(event.get("delta"), draft);
            read_usage(event, draft);
        }
        "message_stop" => draft.end(),
        "error" => return Err(Broken::provider(event.get("error").unwrap_or(&Value::Null))),
        // Pings, ends of blocks, and what later versions add.
        _ => {}
    }
    Ok(())
}

/// An answer that is not streamed.
pub(crate) fn read_whole(answer: &Value, draft: &mut Draft) -> Result<(), Broken> {
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return Err(Broken::provider(error));
    }
    let Some(blocks) = answer.get("content").and_then(Value::as_array) else {
        return Err(Broken::answer("it has no `content`"));
    };
    for (place, block) in blocks.iter().enumerate() {
        read_block(u64::try_from(place).ok(), block, draft);
    }
    read_stop(Some(answer), draft);
    read_usage(answer, draft);
    draft.end();
    Ok(())
}

fn read_block(place: Option<u64>, block: &Value, draft: &mut Draft) {
    let text = |key: &str| block.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("type") {
        "text" => draft.say(text("text")),
        "tool_use" => {
            draft.call(place, text("id"), text("name"));
            // A stream begins with an empty object and brings the arguments after it.
            if let Some(input) = block.get("input").and_then(Value::as_object).filter(|input| !input.is_empty()) {
                draft.arguments(place, &Value::Object(input.clone()).to_string());
            }
        }
        // Thinking is the model's own affair.
        _ => {}
    }
}

fn read_stop(holder: Option<&Value>, draft: &mut Draft) {
    let Some(word) = holder.and_then(|holder| holder.get("stop_reason")).and_then(Value::as_str) else { return };
    draft.stop(match word {
        "max_tokens" | "model_context_window_exceeded" => StopReason::Length,
        "refusal" => StopReason::Refusal,
        "tool_use" => StopReason::ToolCalls,
        _ => StopReason::End,
    });
}

fn read_usage(holder: &Value, draft: &mut Draft) {
    let Some(usage) = holder.get("usage") else { return };
    let keys = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
    if tokens(usage, "input_tokens").is_some() {
        // What comes from a cache was read all the same.
        draft.input_tokens(keys.iter().filter_map(|key| tokens(usage, key)).fold(0, u64::saturating_add));
    }
    if let Some(count) = tokens(usage, "output_tokens") {
        draft.output_tokens(count);
    }
}
