//! Operations as tools: their descriptions, which of them a list shows, and how an outcome is told.

use crate::{McpConfig, response};
use api::{Effect, Listing, Method, Problem, Reply, Spec};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

/// The operations that reach all others; they stand first in every list.
const REACHING: [&str; 3] = ["operation.search", "operation.describe", "operation.call"];

/// The operation as a tool.
pub(crate) fn tool(spec: &Spec) -> Tool {
    let meta = &spec.meta;
    let read = meta.effect == Effect::Read;
    let destructive = matches!(meta.effect, Effect::Govern | Effect::Respond) || meta.method == Method::Delete;
    let annotations = ToolAnnotations::from_raw(
        Some(spec.summary.clone()),
        Some(read),
        Some(!read && destructive),
        Some(meta.idempotent),
        Some(meta.effect == Effect::Respond),
    );
    let mut input = object(spec.input_schema.clone());
    input.entry("type").or_insert_with(|| json!("object"));
    // The tool has title and description of its own.
    input.remove("title");
    input.remove("description");
    let tool =
        Tool::new(spec.mcp_tool(), spec.description.clone(), input).with_title(&spec.summary).annotate(annotations);
    match output_schema(spec) {
        Some(schema) => tool.with_raw_output_schema(schema.into()),
        None => tool,
    }
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

/// What the structured content of a success can be: the output, or, where the call had to wait, what it waits for.
/// Shapes only: a list of tools is read by a model at its own cost, and the REST description has the rest. An output
/// that is not an object (only that of `operation.call`, which is any other's) promises nothing.
fn output_schema(spec: &Spec) -> Option<JsonObject> {
    let mut output = api::openapi::output_schema(spec);
    if output.get("type").and_then(Value::as_str) != Some("object") {
        return None;
    }
    shape(&mut output);
    let schema = if spec.meta.anonymous {
        output
    } else {
        json!({ "type": "object", "anyOf": [output, {
            "type": "object",
            "properties": { "status": { "enum": ["pending_approval", "deferred"] }, "approval": { "type": "string" } },
            "required": ["status", "approval"],
        }] })
    };
    Some(object(schema))
}

/// Drop from a schema what does not change its shape.
fn shape(schema: &mut Value) {
    const BESIDE: [&str; 9] =
        ["title", "description", "pattern", "format", "maxLength", "minLength", "maxItems", "x-id", "default"];
    match schema {
        Value::Object(object) => {
            object.retain(|key, _| !BESIDE.contains(&key.as_str()));
            for (key, inner) in object.iter_mut() {
                match inner {
                    // Here the keys are names of fields, whatever they say.
                    Value::Object(fields) if key == "properties" => fields.values_mut().for_each(shape),
                    inner => shape(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shape),
        _ => {}
    }
}

/// Which operations a list shows, in which order: those that reach the rest, those that the configuration names, the
/// reads, then the others; within each as they are declared. The same caller always gets the same list.
pub(crate) fn shown<'a>(specs: &'a [Spec], listing: &Listing, config: &McpConfig) -> Vec<&'a Spec> {
    let rank = |spec: &Spec| {
        let id = spec.meta.id;
        let named = config.tools_first.iter().position(|first| first == id);
        match (REACHING.iter().position(|reaching| *reaching == id), named) {
            (Some(at), _) => (0, at),
            (None, Some(at)) => (1, at),
            (None, None) if spec.meta.effect == Effect::Read => (2, 0),
            (None, None) => (3, 0),
        }
    };
    let mut shown: Vec<&Spec> = specs.iter().filter(|spec| listing.operations.contains(&spec.meta.id)).collect();
    // Stable: within a rank the order of declaration stays.
    shown.sort_by_key(|spec| rank(spec));
    shown.truncate(config.tools_max);
    shown
}

/// What became of a call, for a model to read: structured, and the same as text.
pub(crate) fn result(reply: Reply, bytes_max: usize) -> CallToolResult {
    match reply {
        Reply::Done(done) => carried_out(response::with_obligations(done), bytes_max),
        Reply::Pending(pending) => CallToolResult::structured(response::pending_body(&pending)),
        Reply::Deferred(deferred) => CallToolResult::structured(response::deferred_body(&deferred)),
        Reply::Refused(problem) => refused(&problem),
    }
}

/// A refusal: the problem document itself.
pub(crate) fn refused(problem: &Problem) -> CallToolResult {
    let document = serde_json::to_value(problem).unwrap_or_else(|_| json!({ "detail": problem.detail }));
    CallToolResult::structured_error(document)
}

/// A result of an operation that ran, cut where it is a list over the bound.
pub(crate) fn carried_out(output: Value, bytes_max: usize) -> CallToolResult {
    let (output, note) = cut(output, bytes_max);
    let mut result = if output.is_object() {
        CallToolResult::structured(output)
    } else {
        CallToolResult::success(vec![ContentBlock::text(output.to_string())])
    };
    if let Some(note) = note {
        result.content.push(ContentBlock::text(note));
    }
    result
}

/// Drop items from the end of a list until its JSON fits. The cursor behind the dropped ones would skip them, so it
/// goes too, and the note says how to go on.
fn cut(mut output: Value, bytes_max: usize) -> (Value, Option<String>) {
    if output.to_string().len() <= bytes_max {
        return (output, None);
    }
    let Some(object) = output.as_object_mut() else { return (output, None) };
    let Some(Value::Array(items)) = object.get_mut("items") else { return (output, None) };
    let all = items.len();
    let mut room = bytes_max;
    let fitting = items
        .iter()
        .take_while(|item| match room.checked_sub(item.to_string().len() + 1) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        })
        .count()
        .max(1);
    items.truncate(fitting);
    object.remove("next_cursor");
    let note = format!(
        "cut: the first {fitting} of {all} items, to keep this short; call again with `limit` {fitting} and follow \
         `next_cursor`, narrow the filter, or set `posse/whole-result` in `_meta` to true"
    );
    (output, Some(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_keeps_the_fields_whatever_their_names() {
        let mut schema = json!({
            "title": "T", "type": "object", "description": "D",
            "properties": { "description": { "type": "string", "maxLength": 9, "description": "d" } },
        });
        shape(&mut schema);
        assert_eq!(schema, json!({ "type": "object", "properties": { "description": { "type": "string" } } }));
    }

    #[test]
    fn a_long_list_is_cut_at_an_item_and_says_so() {
        let items: Vec<Value> = (0..100).map(|_| json!({ "text": "x".repeat(90) })).collect();
        let (output, note) = cut(json!({ "items": items, "next_cursor": "c" }), 1000);
        assert_eq!(output["items"].as_array().unwrap().len(), 9);
        assert!(output.get("next_cursor").is_none() && output.to_string().len() <= 1000);
        assert!(note.unwrap().starts_with("cut: the first 9 of 100 items"));
        let whole = json!({ "text": "x".repeat(2000) });
        assert_eq!(cut(whole.clone(), 1000), (whole, None));
    }
}
