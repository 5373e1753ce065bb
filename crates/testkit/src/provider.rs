//! A provider of language models that is a script: it speaks both wire formats, streamed, and says at each turn of a
//! conversation what a test gave it to say.
#![expect(clippy::expect_used, reason = "a test whose provider cannot be set up has failed")]

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// One turn of the model.
#[derive(Clone, Debug, Default)]
pub struct Say {
    /// Its words.
    pub text: String,
    /// The operations that it calls, with what.
    pub calls: Vec<(String, Value)>,
    /// How long it thinks before it answers.
    pub delay: Duration,
}

impl Say {
    /// A call of one operation.
    #[must_use]
    pub fn call(operation: &str, input: Value) -> Self {
        Self { calls: vec![(operation.to_owned(), input)], ..Self::default() }
    }

    /// The end of the run, with this summary.
    #[must_use]
    pub fn finish(summary: &str) -> Self {
        Self::call("finish", json!({ "summary": summary }))
    }

    /// The same after a while.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// The provider, while it listens on this machine.
#[derive(Debug)]
pub struct Provider {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Value>>>,
    turns: Arc<Mutex<Vec<Say>>>,
}

impl Provider {
    /// A provider whose model says these turns in this order; the last again and again.
    ///
    /// A turn is chosen by how often the model spoke in the conversation that it is shown, so that many runs can be asked
    /// at once and a question that is asked again gets the same answer.
    pub async fn start(turns: Vec<Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the provider binds");
        let address = listener.local_addr().expect("the provider's address");
        let asked = Arc::<Mutex<Vec<Value>>>::default();
        let turns = Arc::new(Mutex::new(turns));
        let (kept, said) = (asked.clone(), turns.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, said.clone(), kept.clone()));
            }
        });
        Self { address, asked, turns }
    }

    /// From now on its model says these turns.
    pub fn says(&self, turns: Vec<Say>) {
        *self.turns.lock().unwrap_or_else(PoisonError::into_inner) = turns;
    }

    /// What it was asked so far: the bodies of the requests.
    #[must_use]
    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the wire `openai` or `anthropic` is spoken, as a configuration names it.
    #[must_use]
    pub fn base_url(&self, kind: &str) -> String {
        let path = if kind == "openai" { "/v1" } else { "" };
        format!("http://{}{path}", self.address)
    }
}

async fn serve(mut stream: TcpStream, turns: Arc<Mutex<Vec<Say>>>, asked: Arc<Mutex<Vec<Value>>>) {
    let Some((head, body)) = request(&mut stream).await else { return };
    let Ok(body) = serde_json::from_str::<Value>(&body) else { return };
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
    let spoken = body["messages"].as_array().into_iter().flatten();
    let spoken = spoken.filter(|message| message["role"] == "assistant").count();
    let say = {
        let turns = turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get(spoken.min(turns.len().saturating_sub(1))).cloned()
    };
    let Some(say) = say else { return };
    tokio::time::sleep(say.delay).await;
    let tokens = u64::try_from(body.to_string().len() / 4).unwrap_or(0);
    let events = if head.contains("/chat/completions") { openai(&say, tokens) } else { anthropic(&say, tokens) };
    let answer =
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n{}", events.concat());
    // Whoever hung up does not want it any more.
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// Head and body of a request.
async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let mut part = vec![0; 16 * 1024];
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(part.get(..count)?);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}

fn wire_name(operation: &str) -> String {
    operation.replace('.', "_")
}

/// Two halves of a text, as streams cut it.
fn halves(text: &str) -> [&str; 2] {
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (one, other) = text.split_at(middle);
    [one, other]
}

fn openai(say: &Say, tokens: u64) -> Vec<String> {
    let chunk = |delta: Value, finish: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        format!("data: {}\n\n", json!({ "object": "chat.completion.chunk", "choices": [choice] }))
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), None)];
    events.extend(halves(&say.text).map(|half| chunk(json!({ "content": half }), None)));
    for (place, (operation, input)) in say.calls.iter().enumerate() {
        let function = json!({ "name": wire_name(operation), "arguments": "" });
        let begun = json!({ "index": place, "id": format!("call_{place}"), "type": "function", "function": function });
        events.push(chunk(json!({ "tool_calls": [begun] }), None));
        for half in halves(&input.to_string()) {
            let more = json!({ "index": place, "function": { "arguments": half } });
            events.push(chunk(json!({ "tool_calls": [more] }), None));
        }
    }
    events.push(chunk(json!({}), Some(if say.calls.is_empty() { "stop" } else { "tool_calls" })));
    let usage = json!({ "prompt_tokens": tokens, "completion_tokens": 20, "total_tokens": tokens + 20 });
    events.push(format!("data: {}\n\ndata: [DONE]\n\n", json!({ "choices": [], "usage": usage })));
    events
}

fn anthropic(say: &Say, tokens: u64) -> Vec<String> {
    let event = |fields: Value| format!("event: {}\ndata: {fields}\n\n", fields["type"].as_str().unwrap_or_default());
    let delta =
        |place: usize, delta: Value| event(json!({ "type": "content_block_delta", "index": place, "delta": delta }));
    let usage = json!({ "input_tokens": tokens, "output_tokens": 1 });
    let mut events =
        vec![event(json!({ "type": "message_start", "message": { "role": "assistant", "usage": usage } }))];
    if !say.text.is_empty() {
        let block = json!({ "type": "text", "text": "" });
        events.push(event(json!({ "type": "content_block_start", "index": 0, "content_block": block })));
        events.extend(halves(&say.text).map(|half| delta(0, json!({ "type": "text_delta", "text": half }))));
        events.push(event(json!({ "type": "content_block_stop", "index": 0 })));
    }
    for (place, (operation, input)) in say.calls.iter().enumerate() {
        let id = format!("toolu_{place}");
        let block = json!({ "type": "tool_use", "id": id, "name": wire_name(operation), "input": {} });
        events.push(event(json!({ "type": "content_block_start", "index": place + 1, "content_block": block })));
        for half in halves(&input.to_string()) {
            events.push(delta(place + 1, json!({ "type": "input_json_delta", "partial_json": half })));
        }
        events.push(event(json!({ "type": "content_block_stop", "index": place + 1 })));
    }
    let stop = if say.calls.is_empty() { "end_turn" } else { "tool_use" };
    let fields = json!({ "stop_reason": stop });
    events.push(event(json!({ "type": "message_delta", "delta": fields, "usage": { "output_tokens": 20 } })));
    events.push(event(json!({ "type": "message_stop" })));
    events
}
