//! `posse mcp`: the Model Context Protocol over standard input and output for clients that start a program, bridged
//! to the server's `/mcp`. Newline-delimited JSON-RPC on this side, streamable HTTP on that one.
//!
//! A bridge and nothing else: it reads no meaning into messages beyond what the transport's headers need (both eras
//! of the protocol: the session of 2025-11-25, the per-request headers of 2026-07-28), and it never retries. Standard
//! output carries protocol messages only.

use crate::answer::Trouble;
use crate::operate::Around;
use crate::remote::Remote;
use crate::{Exit, exit};
use bytes::Bytes;
use clap::Command;
use egress::{Answer, Client};
use http::{Request, header};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The word on the command line.
pub(crate) const COMMAND: &str = "mcp";
/// A message's bound, either way.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Requests on their way at once; more wait in the client's pipe.
const CALLS_MAX: usize = 64;
/// JSON-RPC: the other side could not be reached or did not answer in the protocol.
const UPSTREAM_FAILED: i64 = -32000;
const PARSE_ERROR: i64 = -32700;
const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";

/// The command.
pub(crate) fn command() -> Command {
    Command::new(COMMAND)
        .about("Bridge an MCP client that starts programs to the server: JSON-RPC on standard input and output")
        .after_help(
            "In a client's configuration: command `posse`, arguments `[\"mcp\"]`, with POSSE_URL and POSSE_TOKEN set.",
        )
}

/// What the transport remembers between messages.
#[derive(Clone, Debug, Default)]
struct Session {
    id: Option<String>,
    version: Option<String>,
}

/// Carry messages until standard input ends and every answer has been written.
pub(crate) async fn bridge(remote: &Remote, around: &mut Around<'_>) -> Exit {
    let input = match around.input.take() {
        Ok(input) => input,
        Err(trouble) => return exit::complain(around.errors, &trouble.to_string(), trouble.exit()),
    };
    let (lines_in, mut lines) = mpsc::channel(CALLS_MAX);
    tokio::task::spawn_blocking(move || read_lines(input, &lines_in));
    let (answers_in, mut answers) = mpsc::channel::<Value>(CALLS_MAX);
    let mut calls = JoinSet::new();
    let mut session = Session::default();
    let mut open = true;
    while open || !calls.is_empty() {
        tokio::select! {
            biased;
            Some(answer) = answers.recv() => {
                if let Err(trouble) = write_line(around.output, &answer) {
                    return exit::complain(around.errors, &trouble.to_string(), Exit::Failed);
                }
            }
            Some(_) = calls.join_next(), if !calls.is_empty() => {}
            line = lines.recv(), if open && calls.len() < CALLS_MAX => match line {
                None => open = false,
                Some(line) => take_line(remote, &mut session, line, &mut calls, &answers_in, around).await,
            },
        }
    }
    while let Ok(answer) = answers.try_recv() {
        if let Err(trouble) = write_line(around.output, &answer) {
            return exit::complain(around.errors, &trouble.to_string(), Exit::Failed);
        }
    }
    if session.id.is_some()
        && let Ok(request) = headed(remote, &session, "DELETE", None).body(Bytes::new())
    {
        // The session would end by itself; a server without sessions says so and that is fine.
        let _ = remote.client().send(request).await;
    }
    Exit::Done
}

/// Send one line on its way. Notifications and the opening request go one after the other, because what follows
/// builds on them; other requests run side by side.
async fn take_line(
    remote: &Remote,
    session: &mut Session,
    line: Result<Vec<u8>, String>,
    calls: &mut JoinSet<()>,
    answers: &mpsc::Sender<Value>,
    around: &mut Around<'_>,
) {
    let parsed = line.and_then(|line| serde_json::from_slice::<Value>(&line).map_err(|error| error.to_string()));
    let message = match parsed {
        Ok(message) => message,
        Err(reason) => {
            let _ = write_line(around.output, &failure(&Value::Null, PARSE_ERROR, &reason, None));
            return;
        }
    };
    let id = message.get("id").filter(|_| message.get("method").is_some()).cloned();
    let request = match headed(remote, session, "POST", Some(&message)).body(Bytes::from(message.to_string())) {
        Ok(request) => request,
        Err(error) => {
            let _ =
                write_line(around.output, &failure(&id.unwrap_or_default(), UPSTREAM_FAILED, &error.to_string(), None));
            return;
        }
    };
    let exchange = Exchange { client: remote.client().clone(), id: id.clone(), answers: answers.clone() };
    let opening = message.get("method").and_then(Value::as_str) == Some("initialize");
    if opening {
        let (opened, held) = exchange.open(request).await;
        *session = opened;
        for answer in held {
            let _ = write_line(around.output, &answer);
        }
    } else if id.is_none() {
        if let Err(reason) = exchange.notify(request).await {
            let _ = writeln!(around.errors, "note: a notification was not taken: {reason}");
        }
    } else {
        calls.spawn(exchange.run(request));
    }
}

/// A request with the headers of both eras.
fn headed(remote: &Remote, session: &Session, method: &str, message: Option<&Value>) -> http::request::Builder {
    let mut request = remote.request(method, "/mcp").header(header::ACCEPT, "application/json, text/event-stream");
    if let Some(id) = &session.id {
        request = request.header(SESSION, id);
    }
    let Some(message) = message else { return request };
    request = request.header(header::CONTENT_TYPE, "application/json");
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let own = text("/params/_meta/io.modelcontextprotocol~1protocolVersion");
    if let Some(version) = own.or(session.version.as_deref()) {
        request = request.header(VERSION, version);
    }
    let fits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(method) = text("/method").filter(fits) {
        request = request.header("mcp-method", method);
        let name = match method {
            "tools/call" | "prompts/get" => text("/params/name"),
            "resources/read" => text("/params/uri"),
            _ => None,
        };
        if let Some(name) = name.filter(fits) {
            request = request.header("mcp-name", name);
        }
    }
    request
}

/// One message on its way to the server, and the way back.
struct Exchange {
    client: Client,
    id: Option<Value>,
    answers: mpsc::Sender<Value>,
}

impl Exchange {
    /// A request: every message of the answer goes back as it comes.
    async fn run(self, request: Request<Bytes>) {
        match self.client.open(request).await {
            Ok(answer) => {
                let mut forward = |message: Value| {
                    let answers = self.answers.clone();
                    async move { answers.send(message).await.is_ok() }
                };
                if let Err(failed) = messages(answer, self.id.as_ref(), &mut forward).await {
                    let _ = self.answers.send(failed).await;
                }
            }
            Err(reason) => {
                let id = self.id.unwrap_or_default();
                let _ = self.answers.send(failure(&id, UPSTREAM_FAILED, &reason.to_string(), None)).await;
            }
        }
    }

    /// The opening request: its answer names the session and the version.
    async fn open(self, request: Request<Bytes>) -> (Session, Vec<Value>) {
        let id = self.id.unwrap_or_default();
        let answer = match self.client.open(request).await {
            Ok(answer) => answer,
            Err(reason) => {
                return (Session::default(), vec![failure(&id, UPSTREAM_FAILED, &reason.to_string(), None)]);
            }
        };
        let session = answer.headers.get(SESSION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let held = std::sync::Mutex::new(Vec::new());
        let mut keep = |message: Value| {
            if let Ok(mut held) = held.lock() {
                held.push(message);
            }
            std::future::ready(true)
        };
        let failed = messages(answer, Some(&id), &mut keep).await.err();
        let mut held = held.into_inner().unwrap_or_default();
        held.extend(failed);
        let version = held.iter().find_map(|message| message.pointer("/result/protocolVersion")?.as_str());
        let version = version.map(str::to_owned);
        (Session { id: session, version }, held)
    }

    /// A notification or an answer of the client: the server only says that it has it.
    async fn notify(self, request: Request<Bytes>) -> Result<(), String> {
        let response = self.client.send(request).await.map_err(|failure| failure.to_string())?;
        if response.status().is_success() { Ok(()) } else { Err(format!("the server answered {}", response.status())) }
    }
}

/// Hand on the messages of an answer: one as JSON, or several as a stream of events. The error is the message to
/// answer with where the server did not speak the protocol.
async fn messages<F, R>(mut answer: Answer, id: Option<&Value>, forward: &mut F) -> Result<(), Value>
where
    F: FnMut(Value) -> R,
    R: Future<Output = bool>,
{
    let id = id.cloned().unwrap_or_default();
    let kind = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let stream = kind.starts_with("text/event-stream");
    let status = answer.status;
    let broken = |reason: String| failure(&id, UPSTREAM_FAILED, &reason, None);
    let mut events = Events::default();
    let mut answered = false;
    loop {
        let part = answer.part().await.map_err(|failure| broken(failure.to_string()))?;
        let ended = part.is_none();
        events.buffer.extend_from_slice(part.as_deref().unwrap_or_default());
        if events.buffer.len() > MESSAGE_BYTES_MAX {
            return Err(broken(format!("a message of the server is over {MESSAGE_BYTES_MAX} bytes")));
        }
        while stream && let Some(data) = events.next() {
            let message: Value = serde_json::from_slice(&data).map_err(|error| broken(error.to_string()))?;
            answered |= message.get("id") == Some(&id) && message.get("method").is_none();
            if !forward(message).await {
                return Ok(());
            }
        }
        if ended {
            break;
        }
    }
    if stream {
        return if answered { Ok(()) } else { Err(broken("the server ended its stream without an answer".to_owned())) };
    }
    let body: Value = serde_json::from_slice(&events.buffer)
        .map_err(|_| broken(format!("the server answered {status} with what is no JSON")))?;
    if body.get("jsonrpc").is_some() {
        forward(body).await;
        return Ok(());
    }
    let title = body.get("detail").or_else(|| body.get("title")).and_then(Value::as_str).unwrap_or_default();
    Err(failure(&id, UPSTREAM_FAILED, &format!("the server answered {status}: {title}"), Some(&body)))
}

/// Reads server-sent events (HTML standard, section 9.2) out of bytes as they come.
#[derive(Debug, Default)]
struct Events {
    buffer: Vec<u8>,
    data: Vec<u8>,
}

impl Events {
    /// The data of the next whole event that has some.
    fn next(&mut self) -> Option<Vec<u8>> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                if !data.is_empty() {
                    return Some(data);
                }
            } else if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
        }
        None
    }
}

fn failure(id: &Value, code: i64, message: &str, data: Option<&Value>) -> Value {
    let mut error = json!({ "code": code, "message": message });
    if let (Some(fields), Some(data)) = (error.as_object_mut(), data) {
        fields.insert("data".to_owned(), data.clone());
    }
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

/// Lines of standard input, bounded; empty ones are left out. Ends with the stream.
fn read_lines(input: Box<dyn Read + Send>, lines: &mpsc::Sender<Result<Vec<u8>, String>>) {
    let mut input = BufReader::new(input);
    let bound = u64::try_from(MESSAGE_BYTES_MAX).unwrap_or(u64::MAX);
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(bound).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(length) if length == MESSAGE_BYTES_MAX => {
                // Where the next message would begin is not known, so nothing after this can be read.
                let _ = lines.blocking_send(Err(format!("a message is over {MESSAGE_BYTES_MAX} bytes")));
                return;
            }
            Ok(_) if line.trim_ascii().is_empty() => {}
            Ok(_) => {
                if lines.blocking_send(Ok(line)).is_err() {
                    return;
                }
            }
        }
    }
}

fn write_line(output: &mut dyn Write, message: &Value) -> Result<(), Trouble> {
    writeln!(output, "{message}")
        .and_then(|()| output.flush())
        .map_err(|error| Trouble::local("cannot write to standard output", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_across_parts() {
        let mut events = Events::default();
        let mut found = Vec::new();
        for part in [": hello\n\nid: 1\ndata: {\"a\"", ":1}\r\n\r\ndata:x\ndata: y\n", "\nevent: ping\n\ndata: cut"] {
            events.buffer.extend_from_slice(part.as_bytes());
            while let Some(data) = events.next() {
                found.push(String::from_utf8(data).unwrap());
            }
        }
        assert_eq!(found, ["{\"a\":1}", "x\ny"]);
    }
}
