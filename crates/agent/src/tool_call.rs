//! Calls that a model asks for: as its wire gives them, or found in its text. Nothing here gives them any authority.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest text in which calls are looked for, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// The most calls taken from one text.
const CALLS_MAX: usize = 16;

/// A call that a model asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The model's name for it, echoed with the result; never an id of ours.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// With what; whatever the model wrote where it is not JSON.
    pub arguments: Value,
}

impl ToolCall {
    /// The operation that is meant: names come with `_` for the dot from wires that allow none.
    #[must_use]
    pub fn operation(&self) -> String {
        if self.name.contains('.') { self.name.clone() } else { self.name.replacen('_', ".", 1) }
    }
}

/// Calls written into the text, for models whose wire has none: JSON objects with `tool`/`name`/`function` and
/// `input`/`arguments`/`parameters`, bare, in a list, in a fenced block or between tags.
#[must_use]
pub fn calls_in_text(text: &str) -> Vec<ToolCall> {
    let mut calls = Vec::new();
    if text.len() > TEXT_BYTES_MAX {
        return calls;
    }
    let mut rest = text;
    while let Some(start) = rest.find(['{', '[']) {
        let Some(candidate) = rest.get(start..) else { break };
        let mut stream = serde_json::Deserializer::from_str(candidate).into_iter::<Value>();
        let skip = match stream.next() {
            Some(Ok(value)) => {
                take(&value, &mut calls);
                stream.byte_offset().max(1)
            }
            _ => 1,
        };
        if calls.len() >= CALLS_MAX {
            break;
        }
        rest = candidate.get(skip..).unwrap_or_default();
    }
    calls.truncate(CALLS_MAX);
    calls
}

fn take(value: &Value, calls: &mut Vec<ToolCall>) {
    match value {
        Value::Array(items) => items.iter().take(CALLS_MAX).for_each(|item| take(item, calls)),
        Value::Object(fields) => {
            if let Some(inner) = fields.get("tool_calls").or_else(|| fields.get("tool_call")) {
                return take(inner, calls);
            }
            let function = fields.get("function");
            if let Some(inner @ Value::Object(_)) = function {
                return take(inner, calls);
            }
            let name = ["tool", "name", "operation"].iter().find_map(|key| fields.get(*key)).or(function);
            let input = ["input", "arguments", "parameters", "args"].iter().find_map(|key| fields.get(*key));
            if let (Some(Value::String(name)), Some(input)) = (name, input) {
                let id = format!("text-{}", calls.len() + 1);
                calls.push(ToolCall { id, name: name.clone(), arguments: unfolded(input) });
            }
        }
        _ => {}
    }
}

/// Arguments that come as JSON in a string are read.
fn unfolded(input: &Value) -> Value {
    match input {
        Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| input.clone()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn calls_are_found_however_a_model_writes_them() {
        let cases = [
            ("{\"tool\":\"case.get\",\"input\":{\"case\":\"c\"}}", 1),
            ("I will look.\n```json\n{\"name\": \"case_get\", \"arguments\": \"{\\\"case\\\":\\\"c\\\"}\"}\n```", 1),
            ("<tool_call>{\"name\":\"case_get\",\"arguments\":{\"case\":\"c\"}}</tool_call>", 1),
            ("{\"tool_calls\":[{\"function\":{\"name\":\"case_get\",\"arguments\":{\"case\":\"c\"}}}]}", 1),
            (
                "[{\"tool\":\"case.get\",\"input\":{\"case\":\"c\"}},{\"tool\":\"case.get\",\"input\":{\"case\":\"c\"}}]",
                2,
            ),
            ("{\"verdict\":\"benign\"}", 0),
            ("{{{[[[ not json", 0),
            ("", 0),
        ];
        for (text, count) in cases {
            let calls = calls_in_text(text);
            assert_eq!(calls.len(), count, "{text}");
            for call in calls {
                assert_eq!(
                    (call.operation().as_str(), &call.arguments),
                    ("case.get", &json!({ "case": "c" })),
                    "{text}"
                );
            }
        }
    }
}
