//! `event.tail` as server-sent events: the face goes on asking where the last answer ended. Each look is a call of its
//! own, so that a revoked credential, a changed policy or the kill switch ends the stream with the next one.

use crate::face::Shared;
use api::{Call, Problem, Reply};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;

/// The operation that can be followed.
pub(crate) const OPERATION: &str = "event.tail";
const TYPE: &str = "text/event-stream";

/// Whether the caller asks for a stream.
pub(crate) fn asked(headers: &HeaderMap) -> bool {
    let accepts = |value: &http::HeaderValue| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains(TYPE));
    headers.get_all(header::ACCEPT).iter().any(accepts)
}

/// The call with the position that a client that comes back names.
pub(crate) fn resumed(headers: &HeaderMap, mut call: Call) -> Call {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    if let (Some(last), Some(input)) = (last, call.input.as_object_mut()) {
        input.insert("cursor".to_owned(), last.into());
    }
    call
}

struct Following {
    shared: Arc<Shared>,
    call: Call,
    done: bool,
}

impl Following {
    async fn look(&mut self) -> Result<Value, Problem> {
        let permit = self.shared.permit()?;
        match self.shared.put(self.call.clone(), permit).await {
            Reply::Done(done) => Ok(done.output),
            Reply::Refused(problem) => Err(problem),
            Reply::Pending(_) | Reply::Deferred(_) => {
                Err(Problem::new(api::ProblemKind::Denied, "policy asks for approval; ask without a stream"))
            }
        }
    }

    /// The text of one answer; the next look goes on behind it.
    fn text(&mut self, output: &Value) -> String {
        let cursor = output.get("next_cursor").and_then(Value::as_str);
        if let (Some(cursor), Some(input)) = (cursor, self.call.input.as_object_mut()) {
            input.insert("cursor".to_owned(), cursor.into());
        }
        let items = output.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if items.is_empty() {
            return ": waiting\n\n".to_owned();
        }
        let mut text = String::new();
        for (place, item) in items.iter().enumerate() {
            // Only behind the last one can be gone on.
            if let Some(cursor) = cursor.filter(|_| place + 1 == items.len()) {
                text.push_str("id: ");
                text.push_str(cursor);
                text.push('\n');
            }
            text.push_str("event: event\ndata: ");
            text.push_str(&item.to_string());
            text.push_str("\n\n");
        }
        text
    }

    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.done {
            return None;
        }
        let text = match self.look().await {
            Ok(output) => self.text(&output),
            Err(problem) => {
                self.done = true;
                let document = serde_json::to_value(&problem).unwrap_or_else(|_| json!({ "detail": problem.detail }));
                format!("event: problem\ndata: {document}\n\n")
            }
        };
        Some((Ok(Bytes::from(text)), self))
    }
}

/// Follow: the first look decides the status, then the stream goes on until the caller hangs up or is refused.
pub(crate) async fn follow(shared: &Arc<Shared>, call: Call) -> Result<Response<Body>, Problem> {
    let mut following = Following { shared: shared.clone(), call, done: false };
    let wait = following.call.input.get("wait_secs").cloned();
    set(&mut following.call, "wait_secs", 0.into());
    let first = following.look().await?;
    match wait {
        Some(wait) => set(&mut following.call, "wait_secs", wait),
        None => drop(following.call.input.as_object_mut().and_then(|input| input.remove("wait_secs"))),
    }
    let first = Bytes::from(following.text(&first));
    let begun = futures::stream::once(async move { Ok::<_, Infallible>(first) });
    let rest = futures::stream::unfold(following, Following::next);
    let mut response = Response::new(Body::from_stream(futures::StreamExt::chain(begun, rest)));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(TYPE));
    Ok(response)
}

fn set(call: &mut Call, name: &str, value: Value) {
    if let Some(input) = call.input.as_object_mut() {
        input.insert(name.to_owned(), value);
    }
}
