//! Calls over HTTP: the same routes as for everybody else.

use crate::answer::{Answer, Transport, Trouble};
use crate::target::Target;
use api::openapi::IF_MATCH_FIELD;
use api::{Future, PathSegment, Problem, ProblemKind, Spec};
use bytes::Bytes;
use egress::{Client, Destination, Policy};
use http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::{Map, Value};

/// An answer's bound: the server's own pages are smaller.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// What this client calls itself; the server shows it and does not trust it.
pub(crate) const USER_AGENT: &str = concat!("posse-cli/", env!("CARGO_PKG_VERSION"));

/// A server, over HTTP.
pub(crate) struct Remote {
    client: Client,
    target: Target,
}

impl Remote {
    /// The target is named by the person who calls, so it may lie anywhere; nothing but it is reached.
    pub(crate) fn new(target: Target) -> Result<Self, Trouble> {
        let place = Destination::of(&target.url).map_err(|failure| Trouble::Usage(failure.to_string()))?;
        let policy = Policy { body_bytes_max: ANSWER_BYTES_MAX, ..Policy::to(vec![place.also_private()]) };
        let client = Client::new(policy).map_err(|failure| Trouble::Remote(failure.to_string()))?;
        Ok(Self { client, target })
    }

    /// A request to a path of the server, with the credential.
    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.target.url))
            .header(header::USER_AGENT, USER_AGENT);
        let Some(credential) = &self.target.credential else { return request };
        let mut value = match HeaderValue::try_from(format!("Bearer {}", credential.reveal())) {
            Ok(value) => value,
            // A credential with line ends in it is none; the server says so.
            Err(_) => HeaderValue::from_static("Bearer"),
        };
        value.set_sensitive(true);
        request.header(header::AUTHORIZATION, value)
    }

    /// The client, for other things to send.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }
}

impl Transport for Remote {
    fn call<'a>(
        &'a self,
        spec: &'a Spec,
        input: Value,
        idempotency_key: Option<&'a str>,
    ) -> Future<'a, Result<Answer, Trouble>> {
        Box::pin(async move {
            let request = request(self, spec, input, idempotency_key)?;
            let response = self.client.send(request).await.map_err(|failure| {
                let hint = "is a server there? see `--url` and POSSE_URL";
                Trouble::Remote(format!("{failure}; {hint}"))
            })?;
            answer(response)
        })
    }
}

/// Each field goes where the route wants it: path, `If-Match`, query or body.
fn request(remote: &Remote, spec: &Spec, input: Value, key: Option<&str>) -> Result<Request<Bytes>, Trouble> {
    let mut fields = match input {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let mut path = String::new();
    for segment in spec.path_segments() {
        path.push('/');
        match segment {
            PathSegment::Fixed(text) => path.push_str(text),
            PathSegment::Field(name) => path.push_str(&escaped(&text_of(&fields.remove(name).unwrap_or_default()))),
        }
    }
    let if_match = fields.remove(IF_MATCH_FIELD).map(|tag| text_of(&tag));
    if !spec.meta.method.has_body() && !fields.is_empty() {
        path.push('?');
        path.push_str(&query(&fields));
    }
    let mut request = remote.request(spec.meta.method.as_str(), &path).header(header::ACCEPT, "application/json");
    if let Some(tag) = if_match {
        request = request.header(header::IF_MATCH, tag);
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let body = if spec.meta.method.has_body() {
        request = request.header(header::CONTENT_TYPE, "application/json");
        Bytes::from(Value::Object(fields).to_string())
    } else {
        Bytes::new()
    };
    request.body(body).map_err(|error| Trouble::Usage(format!("this cannot be sent: {error}")))
}

/// The fields as a query: lists are repeated, objects are JSON text.
fn query(fields: &Map<String, Value>) -> String {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Array(items) => pairs.extend(items.iter().map(|item| (name, text_of(item)))),
            value => pairs.push((name, text_of(value))),
        }
    }
    pairs.iter().map(|(name, text)| format!("{}={}", escaped(name), escaped(text))).collect::<Vec<_>>().join("&")
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Percent signs for everything but the unreserved characters of RFC 3986 section 2.3.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What an HTTP answer says became of the call.
fn answer(response: Response<Bytes>) -> Result<Answer, Trouble> {
    let status = response.status();
    let body = response.body();
    let unreadable = || {
        let shown: String = String::from_utf8_lossy(body).chars().take(200).collect();
        Trouble::Remote(format!("the server answered {status} with what is not an answer of this API: {shown}"))
    };
    let value: Value = serde_json::from_slice(body).map_err(|_| unreadable())?;
    if status == StatusCode::ACCEPTED {
        return match value.get("status").and_then(Value::as_str) {
            Some("pending_approval") => Ok(Answer::Pending(value)),
            Some("deferred") => Ok(Answer::Deferred(value)),
            _ => Err(unreadable()),
        };
    }
    if status.is_success() {
        let obligations = value.get("obligations").filter(|obligations| obligations.is_object()).cloned();
        return Ok(Answer::Done { output: value, obligations });
    }
    let problem: Problem = serde_json::from_value(value).map_err(|_| unreadable())?;
    // A document of another kind than the registry's may carry any status; the one of HTTP counts.
    let known = ProblemKind::ALL.iter().any(|kind| kind.urn() == problem.kind);
    if known { Ok(Answer::Refused(problem)) } else { Err(unreadable()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_leave_its_place_in_the_address() {
        assert_eq!(escaped("a/../b?c=d&e#f g%"), "a%2F..%2Fb%3Fc%3Dd%26e%23f%20g%25");
        assert_eq!(escaped("é"), "%C3%A9");
        let fields = serde_json::json!({ "tags": ["a b", "c"], "limit": 5, "filter": { "x": 1 }, "none": null });
        assert_eq!(query(fields.as_object().unwrap()), "tags=a%20b&tags=c&limit=5&filter=%7B%22x%22%3A1%7D");
    }
}
