//! A provider that is a script: answers each request with the next of its replies, and keeps what it was asked.

use agent::{Allowance, Answer, ChatRequest, Effect, Message, Model, Role, ToolSpec, Unanswered};
use futures::future::BoxFuture;
use ids::{Clock, Timestamp};
use model::{Models, Pause, Section, Surroundings};
use seal::SeededEntropy;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// This status, these header lines, this body.
    Says(u16, &'static str, String),
    /// Goes away without a word.
    Gone,
    /// A head and this, and then nothing more, with the connection open.
    Stalls(String),
    /// Takes the request and never answers.
    Silent,
    /// This first, and then this for ever.
    Endless(String, String),
}

impl Reply {
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Says(200, "", body.into())
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Value,
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
    /// Bytes that were written before the other side hung up.
    pub(crate) written: Arc<Mutex<usize>>,
}

impl Fake {
    /// A server with these replies; the last of them is repeated.
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, written) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<Mutex<usize>>::default());
        let (kept, counted) = (seen.clone(), written.clone());
        let mut replies = VecDeque::from(replies);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let reply = if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() };
                tokio::spawn(serve(stream, reply.unwrap_or(Reply::Gone), kept.clone(), counted.clone()));
            }
        });
        Self { address, seen, written }
    }

    pub(crate) fn asked(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn section(&self, kind: &str, more: &str) -> String {
        let path = if kind == "openai" { "/v1" } else { "" };
        format!("kind = \"{kind}\"\nmodel = \"m\"\nbase_url = \"http://{}{path}\"\n{more}\n", self.address)
    }
}

async fn serve(mut stream: TcpStream, reply: Reply, seen: Arc<Mutex<Vec<Seen>>>, written: Arc<Mutex<usize>>) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut part = [0; 8192];
        let count = stream.read(&mut part).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
            break (head.to_owned(), body.to_owned());
        }
    };
    seen.lock().unwrap().push(Seen { head, body: serde_json::from_str(&body).unwrap_or_default() });
    let open = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n";
    match reply {
        Reply::Gone => {}
        Reply::Silent => std::future::pending().await,
        Reply::Says(status, headers, body) => {
            let kind = if body.starts_with('{') { "application/json" } else { "text/event-stream" };
            let text = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Reply::Stalls(body) => {
            let _ = stream.write_all(format!("{open}{body}").as_bytes()).await;
            std::future::pending().await
        }
        Reply::Endless(first, more) => {
            let _ = stream.write_all(format!("{open}{first}").as_bytes()).await;
            while stream.write_all(more.as_bytes()).await.is_ok() {
                *written.lock().unwrap() += more.len();
            }
        }
    }
}

pub(crate) struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }
}

/// Remembers how long it was to wait, and does not wait.
#[derive(Default)]
pub(crate) struct NoPause(pub(crate) Mutex<Vec<Duration>>);

impl Pause for NoPause {
    fn pause(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap().push(time);
        Box::pin(std::future::ready(()))
    }
}

/// Models of these sections (alias, text), with the key `sk-secret` in the environment variable `KEY`.
pub(crate) fn models(sections: &[(&str, String)]) -> (Models, Arc<NoPause>) {
    let pause = Arc::new(NoPause::default());
    (open(sections).unwrap().with_pause(pause.clone()), pause)
}

pub(crate) fn open(sections: &[(&str, String)]) -> Result<Models, model::ConfigError> {
    let read = |text: &String| toml::from_str::<Section>(text).unwrap();
    let sections: BTreeMap<String, Section> =
        sections.iter().map(|(alias, text)| ((*alias).to_owned(), read(text))).collect();
    let from = Surroundings {
        variable: &|name| (name == "KEY").then(|| "sk-secret".to_owned()),
        file: &|_| Ok("sk-from-file\n".to_owned()),
    };
    Models::open(&sections, &from, Arc::new(Noon), Arc::new(SeededEntropy::new(7)))
}

pub(crate) fn tool(operation: &str) -> ToolSpec {
    ToolSpec {
        operation: operation.to_owned(),
        effect: Effect::Read,
        outsider_text: true,
        description: format!("What {operation} does."),
        input_schema: json!({ "type": "object", "properties": { "case": { "type": "string" } } }),
    }
}

pub(crate) fn said(role: Role, text: &str) -> Message {
    Message { role, text: text.to_owned(), calls: Vec::new(), answers: None }
}

/// A question to the alias `default` with room enough for everything.
pub(crate) fn question() -> ChatRequest {
    ChatRequest {
        model: "default".to_owned(),
        system: "You look into cases.".to_owned(),
        messages: vec![said(Role::User, "Begin.")],
        tools: vec![tool("case.get"), tool("service_key.list")],
        output_tokens_max: 500,
        allowance: Allowance { tokens: 100_000, money_micros: 1_000_000, time: Duration::from_secs(30) },
    }
}

pub(crate) async fn ask(models: &Models, request: &ChatRequest) -> Result<Answer, Unanswered> {
    agent::ask(models as &dyn Model, request).await
}

/// A short answer of one kind of provider.
pub(crate) fn fine(kind: &str, text: &str) -> Reply {
    let body = if kind == "openai" {
        json!({
            "choices": [{ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 100, "completion_tokens": 10 },
        })
    } else {
        json!({
            "content": [{ "type": "text", "text": text }],
            "stop_reason": "end_turn",
            "usage": { "input_tokens": 100, "output_tokens": 10 },
        })
    };
    Reply::ok(body.to_string())
}
