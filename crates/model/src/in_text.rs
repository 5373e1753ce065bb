//! Tools for models that cannot call them: told in the instructions, asked for as JSON in the text, by a schema where the
//! server can hold the text to one. The calls are found in the text by `agent`.

use agent::{ChatRequest, Message, Role, ToolSpec};
use serde_json::{Map, Value, json};

/// The request with its tools in words. Nothing that only tool calls have is left in it.
pub(crate) fn in_words(request: &ChatRequest) -> ChatRequest {
    let mut system = request.system.clone();
    system.push_str(
        "\n\n# Tools\n\nAnswer with one JSON object `{\"tool\": name, \"input\": {...}}` and nothing else.\n",
    );
    for tool in &request.tools {
        system.push_str(&format!("\n- `{}`: {}\n  input: {}", tool.operation, tool.description, tool.input_schema));
    }
    ChatRequest { system, tools: Vec::new(), messages: told(&request.messages), ..request.clone() }
}

/// Messages by two speakers that take turns.
fn told(messages: &[Message]) -> Vec<Message> {
    let mut told: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let role = if message.role == Role::Assistant { Role::Assistant } else { Role::User };
        let text = match message.role {
            Role::Tool => format!("Result:\n{}", message.text),
            // A model with tool calls may have spoken before this one: its calls are shown as this one would write them.
            Role::Assistant if message.text.is_empty() => {
                let call = |call: &agent::ToolCall| json!({ "tool": call.name, "input": call.arguments }).to_string();
                message.calls.iter().map(call).collect::<Vec<_>>().join("\n")
            }
            _ => message.text.clone(),
        };
        match told.last_mut() {
            Some(last) if last.role == role => {
                last.text.push_str("\n\n");
                last.text.push_str(&text);
            }
            _ => told.push(Message { role, text, calls: Vec::new(), answers: None }),
        }
    }
    told
}

/// What an answer must look like: one call of one of the tools.
pub(crate) fn call_schema(tools: &[ToolSpec]) -> Value {
    let mut shared = Map::new();
    let mut one = |(place, tool): (usize, &ToolSpec)| {
        let mut input = tool.input_schema.clone();
        // References are from the root: the tools' own definitions move there, each under its tool's number.
        let own = input.as_object_mut().and_then(|fields| {
            fields.remove("$schema");
            fields.remove("$defs")
        });
        refer(&mut input, place);
        for (name, mut definition) in own.and_then(|own| own.as_object().cloned()).unwrap_or_default() {
            refer(&mut definition, place);
            shared.insert(format!("{place}_{name}"), definition);
        }
        json!({
            "type": "object",
            "properties": { "tool": { "const": tool.operation }, "input": input },
            "required": ["tool", "input"],
            "additionalProperties": false,
        })
    };
    let any: Vec<Value> = tools.iter().enumerate().map(&mut one).collect();
    let mut schema = Map::new();
    schema.insert("anyOf".to_owned(), Value::Array(any));
    if !shared.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(shared));
    }
    Value::Object(schema)
}

/// Point references into `$defs` at a tool's own names. The schemas are the platform's, so their depth is known.
fn refer(schema: &mut Value, place: usize) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, place)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "$ref" => {
                        if let Some(name) = text.strip_prefix("#/$defs/") {
                            *text = format!("#/$defs/{place}_{name}");
                        }
                    }
                    other => refer(other, place),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::tests::tools;

    #[test]
    fn references_of_each_tool_stay_its_own() {
        let mut tools = tools(&["case.get", "event.get"]);
        for (tool, kind) in tools.iter_mut().zip(["string", "integer"]) {
            tool.input_schema = json!({
                "$schema": "x",
                "type": "object",
                "properties": { "id": { "$ref": "#/$defs/Id" } },
                "$defs": { "Id": { "anyOf": [{ "$ref": "#/$defs/Other" }] }, "Other": { "type": kind } },
            });
        }
        let schema = call_schema(&tools);
        assert_eq!(schema.pointer("/$defs/1_Other/type"), Some(&json!("integer")));
        assert_eq!(schema.pointer("/$defs/0_Id/anyOf/0/$ref"), Some(&json!("#/$defs/0_Other")));
        assert_eq!(schema.pointer("/anyOf/1/properties/input/properties/id/$ref"), Some(&json!("#/$defs/1_Id")));
        assert_eq!(schema.pointer("/anyOf/0/properties/tool/const"), Some(&json!("case.get")));
    }
}
