//! From what the door answered to an HTTP response. Every error of this server, whoever found it, is a problem
//! document (RFC 9457).

use api::{Deferred, Done, Pending, Problem, ProblemKind, Reply};
use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

/// The name of the header with a call's id.
const POSSE_CALL: HeaderName = HeaderName::from_static("posse-call");
const POSSE_OBLIGATIONS: HeaderName = HeaderName::from_static("posse-obligations");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// How many headers an answer usually has.
const HEADERS_USUAL: usize = 12;

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response<Body> {
    with_type(status, "application/json", body.to_string())
}

/// An answer of another type.
pub(crate) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    // All that an answer usually carries, so that the map does not grow five times.
    response.headers_mut().reserve(HEADERS_USUAL);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A problem document.
pub(crate) fn problem(problem: &Problem) -> Response<Body> {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // A problem has only texts and numbers, which always serialize.
    let body = serde_json::to_string(problem).unwrap_or_default();
    let mut response = with_type(status, "application/problem+json", body);
    if let Some(secs) = problem.retry_after_secs {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    if let Some(call) = &problem.call {
        set(response.headers_mut(), POSSE_CALL, call);
    }
    response
}

/// Set a header from text; text that no header can hold is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// What became of a call.
pub(crate) fn reply(reply: Reply) -> Response<Body> {
    match reply {
        Reply::Done(done) => carried_out(done),
        Reply::Pending(pending) => waiting(&pending.call.to_string(), &pending_body(&pending)),
        Reply::Deferred(deferred) => waiting(&deferred.call.to_string(), &deferred_body(&deferred)),
        Reply::Refused(refusal) => problem(&refusal),
    }
}

fn carried_out(done: Done) -> Response<Body> {
    let call = done.call.to_string();
    let replayed = done.replayed;
    let obligations = obligations_body(&done);
    let output = with_obligations(done);
    let mut response = json(StatusCode::OK, &output);
    let headers = response.headers_mut();
    set(headers, POSSE_CALL, &call);
    if let Some(etag) = output.get("etag").and_then(Value::as_str) {
        set(headers, header::ETAG, etag);
    }
    if let Some(obligations) = obligations {
        set(headers, POSSE_OBLIGATIONS, &ascii(&Value::Object(obligations).to_string()));
    }
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// JSON in ASCII: a header holds no other characters.
fn ascii(text: &str) -> String {
    let mut units = [0; 2];
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn obligations_body(done: &Done) -> Option<Map<String, Value>> {
    let all = done.obligations.iter().map(|(name, value)| (name.as_str().to_owned(), value.clone()));
    (!done.obligations.is_empty()).then(|| all.collect())
}

/// The output, with the member `obligations` where it is an object and there are some.
pub(crate) fn with_obligations(done: Done) -> Value {
    let obligations = obligations_body(&done);
    let mut output = done.output;
    if let (Some(object), Some(obligations)) = (output.as_object_mut(), obligations) {
        object.insert("obligations".to_owned(), Value::Object(obligations));
    }
    output
}

/// The document of a call that waits for people.
pub(crate) fn pending_body(pending: &Pending) -> Value {
    json!({
        "status": "pending_approval",
        "approval": pending.approval.to_string(),
        "rung": pending.rung,
        "expires_at": pending.expires_at.to_string(),
        "call": pending.call.to_string(),
    })
}

/// The document of a call that waits for evidence.
pub(crate) fn deferred_body(deferred: &Deferred) -> Value {
    json!({
        "status": "deferred",
        "approval": deferred.approval.to_string(),
        "missing": deferred.missing,
        "expires_at": deferred.expires_at.to_string(),
        "call": deferred.call.to_string(),
    })
}

fn waiting(call: &str, body: &Value) -> Response<Body> {
    let mut response = json(StatusCode::ACCEPTED, body);
    if let Some(approval) = body.get("approval").and_then(Value::as_str) {
        set(response.headers_mut(), header::LOCATION, &format!("/v1/approvals/{approval}"));
    }
    set(response.headers_mut(), POSSE_CALL, call);
    response
}

/// The problem for a status that a library answered with on its own.
pub(crate) fn foreign(status: StatusCode, text: &str) -> Problem {
    let kind = match status {
        StatusCode::UNAUTHORIZED => ProblemKind::Unauthenticated,
        StatusCode::FORBIDDEN => ProblemKind::Denied,
        StatusCode::NOT_FOUND => ProblemKind::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ProblemKind::MethodNotAllowed,
        StatusCode::NOT_ACCEPTABLE => ProblemKind::NotAcceptable,
        StatusCode::CONFLICT => ProblemKind::Conflict,
        StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemKind::UnsupportedMediaType,
        status if status.is_client_error() => ProblemKind::Malformed,
        _ => return Problem::internal(),
    };
    let detail: String = text.trim().trim_end_matches('.').chars().take(300).collect();
    Problem::new(kind, if detail.is_empty() { kind.title().to_owned() } else { detail })
}
