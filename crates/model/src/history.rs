//! What was said so far, as wires need it: calls numbered through the conversation, and each result with the number of its
//! call. A model's own ids are not sent back: they may be empty, doubled or of letters that another model refuses.

use crate::names::WireNames;
use agent::{Message, Role};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// A call that a model asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

/// One thing that was said.
#[derive(Debug, PartialEq)]
pub(crate) enum Said<'a> {
    /// By the model.
    Model { text: &'a str, calls: Vec<Asked> },
    /// What a call came to: the call's id and the text.
    Result { id: String, text: &'a str },
    /// By the platform.
    User(&'a str),
}

/// The conversation with calls numbered.
pub(crate) fn numbered<'a>(messages: &'a [Message], names: &WireNames) -> Vec<Said<'a>> {
    let (mut said, mut open, mut count) = (Vec::with_capacity(messages.len()), VecDeque::new(), 0_u32);
    for message in messages {
        match message.role {
            Role::User => said.push(Said::User(&message.text)),
            Role::Assistant => {
                open.clear();
                let mut calls = Vec::with_capacity(message.calls.len());
                for call in &message.calls {
                    count = count.saturating_add(1);
                    let id = format!("call_{count}");
                    open.push_back((call.id.as_str(), id.clone()));
                    calls.push(Asked { id, name: names.wire(&call.name), arguments: object(&call.arguments) });
                }
                said.push(Said::Model { text: &message.text, calls });
            }
            Role::Tool => {
                let own = message.answers.as_deref().unwrap_or_default();
                let place = open.iter().position(|(id, _)| *id == own);
                said.push(match place.and_then(|place| open.remove(place)) {
                    Some((_, id)) => Said::Result { id, text: &message.text },
                    None => Said::User(&message.text),
                });
            }
        }
    }
    said
}

/// Arguments as an object, which wires demand also of a call that had none.
fn object(arguments: &Value) -> Value {
    if arguments.is_object() { arguments.clone() } else { json!({ "text": arguments }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent::ToolCall;

    #[test]
    fn results_find_their_calls_also_where_ids_are_doubled() {
        let call = |id: &str, arguments: Value| ToolCall { id: id.to_owned(), name: "case.get".to_owned(), arguments };
        let tool = |id: &str, text: &str| Message {
            role: Role::Tool,
            text: text.to_owned(),
            calls: Vec::new(),
            answers: Some(id.to_owned()),
        };
        let model = |calls: Vec<ToolCall>| Message { role: Role::Assistant, text: String::new(), calls, answers: None };
        let messages = [
            model(vec![call("", json!({ "n": 1 })), call("", json!("broken"))]),
            tool("", "one"),
            tool("", "two"),
            model(vec![call("text-1", json!({}))]),
            tool("text-1", "three"),
            tool("text-1", "four"),
        ];
        let said = numbered(&messages, &WireNames::default());
        let ids: Vec<String> = said
            .iter()
            .map(|one| match one {
                Said::Model { calls, .. } => {
                    calls.iter().map(|call| format!("{}:{}", call.id, call.arguments)).collect::<Vec<_>>().join(" ")
                }
                Said::Result { id, text } => format!("{id}={text}"),
                Said::User(text) => format!("user={text}"),
            })
            .collect();
        assert_eq!(
            ids,
            [
                "call_1:{\"n\":1} call_2:{\"text\":\"broken\"}",
                "call_1=one",
                "call_2=two",
                "call_3:{}",
                "call_3=three",
                "user=four"
            ]
        );
    }
}
