//! A tiny HTTP/1.1 client for tests: sends exactly the bytes that a test means, also those that no good client would
//! send. One connection for each request.

use api::{PathSegment, Spec};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request as its text will stand on the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// For example `GET`.
    pub method: String,
    /// Path and query, already escaped.
    pub target: String,
    /// Headers in order; a name may stand more than once.
    pub headers: Vec<(String, String)>,
    /// The body, where there is one.
    pub body: Option<Vec<u8>>,
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers with lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body as JSON; null where it is none.
    pub body: Value,
    /// The body as text.
    pub text: String,
}

impl Request {
    /// A request without credential, headers and body.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    /// The REST request of an operation: path fields in the path, `if_match` in its header, the rest in query or body.
    #[must_use]
    pub fn of(spec: &Spec, input: &Value) -> Self {
        let mut fields = input.as_object().cloned().unwrap_or_default();
        let mut target = String::new();
        for segment in spec.path_segments() {
            target.push('/');
            match segment {
                PathSegment::Fixed(text) => target.push_str(text),
                PathSegment::Field(name) => {
                    target.push_str(&escaped(&text_of(&fields.remove(name).unwrap_or_default())))
                }
            }
        }
        let mut request = Self::new(spec.meta.method.as_str(), "");
        if spec.fields().any(|(name, _)| name == "if_match")
            && let Some(tag) = fields.remove("if_match")
        {
            request = request.header("if-match", &text_of(&tag));
        }
        if spec.meta.method.has_body() {
            request = request.json(&Value::Object(fields));
        } else {
            target.push_str(&query_of(&fields));
        }
        request.target = target;
        request
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// With this idempotency key.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// With this JSON as its body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string().as_bytes())
    }

    /// With these bytes, said to be JSON, as its body.
    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        if self.body.is_none() {
            self = self.header("content-type", "application/json");
        }
        self.body = Some(body.to_vec());
        self
    }

    /// Send it.
    ///
    /// # Errors
    /// The connection failed, or what came back is not HTTP.
    pub async fn send(&self, address: SocketAddr) -> anyhow::Result<Answer> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        if let Some(body) = &self.body {
            write!(head, "content-length: {}\r\n", body.len())?;
        }
        head.push_str("\r\n");
        let mut wire = head.into_bytes();
        wire.extend_from_slice(self.body.as_deref().unwrap_or_default());
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&wire).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        Answer::parse(&bytes)
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = bytes.split_at(end.ok_or_else(|| anyhow::anyhow!("no head in {} bytes", bytes.len()))?);
        let head = std::str::from_utf8(head)?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().parse()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
            .collect();
        let body = body.get(4..).unwrap_or_default();
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if chunked { unchunked(body) } else { body.to_vec() };
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Self { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null), text })
    }

    /// The first header of this lower-case name.
    #[must_use]
    pub fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    /// The slug of a problem's type; empty where it is no problem document.
    #[must_use]
    pub fn problem(&self) -> &str {
        self.body["type"].as_str().and_then(|kind| kind.strip_prefix("urn:posse:problem:")).unwrap_or_default()
    }

    /// The id of the call's record, whatever the outcome.
    #[must_use]
    pub fn recorded(&self) -> Option<&str> {
        self.header("posse-call").or_else(|| self.body["call"].as_str())
    }

    /// The pointers of all faults, sorted.
    #[must_use]
    pub fn pointers(&self) -> Vec<&str> {
        let mut pointers: Vec<&str> = self.body["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|fault| fault["pointer"].as_str())
            .collect();
        pointers.sort_unstable();
        pointers
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let (size, tail) = rest.split_at(line);
        let size = std::str::from_utf8(size).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let tail = tail.get(2..).unwrap_or_default();
        let Some((chunk, after)) = size.filter(|size| *size > 0).and_then(|size| tail.split_at_checked(size)) else {
            break;
        };
        body.extend_from_slice(chunk);
        rest = after.get(2..).unwrap_or_default();
    }
    body
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn query_of(fields: &Map<String, Value>) -> String {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Array(items) => {
                pairs.extend(items.iter().map(|item| format!("{}={}", escaped(name), escaped(&text_of(item)))));
            }
            value => pairs.push(format!("{}={}", escaped(name), escaped(&text_of(value)))),
        }
    }
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// Percent-encoded, everything but RFC 3986's unreserved characters.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
