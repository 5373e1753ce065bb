//! The platform as the demo sees it: over HTTP with a credential, like everybody else. Must never reach into the server.

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use egress::{Client, Destination, Policy};
use http::{Request, header};
use serde_json::Value;
use std::future::Future;
use std::time::{Duration, Instant};

/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How often something that is to come is looked for.
const LOOK: Duration = Duration::from_millis(25);

/// An answer.
pub(crate) struct Answer {
    /// Its HTTP status.
    pub(crate) status: u16,
    /// Its body: the output, or a problem.
    pub(crate) body: Value,
}

impl Answer {
    /// The problem's words.
    pub(crate) fn problem(&self) -> String {
        let title = text(&self.body, "/title");
        let detail = text(&self.body, "/detail");
        format!("{} {title}: {detail}", self.status)
    }
}

/// A server and who calls it.
#[derive(Clone)]
pub(crate) struct Platform {
    client: Client,
    /// Its address, as people type it.
    pub(crate) url: String,
}

impl Platform {
    pub(crate) fn at(url: &str) -> anyhow::Result<Self> {
        let place = Destination::of(url)?.also_private();
        let policy = Policy { body_bytes_max: ANSWER_BYTES_MAX, ..Policy::to(vec![place]) };
        Ok(Self { client: Client::new(policy)?, url: url.to_owned() })
    }

    /// Make a call, whatever comes of it.
    pub(crate) async fn try_call(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let answer = self.client.send(request.body(Bytes::from(body))?).await?;
        let status = answer.status().as_u16();
        let body = serde_json::from_slice(answer.body()).with_context(|| format!("{method} {path}: {status}"))?;
        Ok(Answer { status, body })
    }

    async fn done(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.try_call(token, method, path, body).await?;
        if answer.status == 200 { Ok(answer.body) } else { Err(anyhow!("{method} {path}: {}", answer.problem())) }
    }

    /// Read; anything but an answer is an error.
    pub(crate) async fn get(&self, token: &str, path: &str) -> anyhow::Result<Value> {
        self.done(token, "GET", path, None).await
    }

    /// Write.
    pub(crate) async fn post(&self, token: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.done(token, "POST", path, Some(body)).await
    }

    /// Put.
    pub(crate) async fn put(&self, token: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.done(token, "PUT", path, Some(body)).await
    }

    /// Hand over records, one a line.
    pub(crate) async fn send(&self, token: &str, path: &str, records: &'static [u8]) -> anyhow::Result<()> {
        let request = Request::builder()
            .method("POST")
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/x-ndjson");
        let answer = self.client.send(request.body(Bytes::from_static(records))?).await?;
        anyhow::ensure!(answer.status() == 200, "{path}: {}", String::from_utf8_lossy(answer.body()));
        Ok(())
    }

    /// Rows of a question to the lake.
    pub(crate) async fn rows(&self, token: &str, tenant: &str, sql: &str) -> anyhow::Result<Vec<Value>> {
        let body = serde_json::json!({ "tenant": tenant, "sql": sql });
        let answer = self.post(token, "/v1/events/query", &body).await?;
        Ok(list(&answer, "/items").to_vec())
    }

    /// The secret of a new login.
    pub(crate) async fn login(&self, email: &str, password: &str) -> anyhow::Result<String> {
        let body = serde_json::json!({ "email": email, "password": password });
        let made = self.post("none", "/v1/me/login", &body).await?;
        Ok(text(&made, "/secret").to_owned())
    }
}

/// A text in a document; empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A list in a document; empty where there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What there is to be seen, once it is there.
pub(crate) async fn until<T, F: Future<Output = anyhow::Result<Option<T>>>>(
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        anyhow::ensure!(begun.elapsed() < patience, "not within {} s: {what}", patience.as_secs());
        tokio::time::sleep(LOOK).await;
    }
}
