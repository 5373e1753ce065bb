//! Calls through a gate in this process: `--data-dir`. The same gate, the same record; only the wire is left out.

use crate::answer::{Answer, Transport, Trouble};
use crate::remote::USER_AGENT;
use api::{Call, Door, Face, Future, Origin, Reply, Spec};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A gate in this process.
pub(crate) struct Offline(pub(crate) Arc<dyn Door>);

impl Transport for Offline {
    fn call<'a>(
        &'a self,
        spec: &'a Spec,
        input: Value,
        idempotency_key: Option<&'a str>,
    ) -> Future<'a, Result<Answer, Trouble>> {
        Box::pin(async move {
            let call = Call {
                operation: spec.meta.id.to_owned(),
                input,
                credential: None,
                idempotency_key: idempotency_key.map(str::to_owned),
                origin: Origin {
                    face: Face::Offline,
                    address: None,
                    user_agent: Some(USER_AGENT.to_owned()),
                    request_id: format!("offline-{}", std::process::id()),
                },
            };
            Ok(answer(self.0.call(call).await))
        })
    }
}

/// The same documents as over HTTP.
fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Deferred(deferred) => Answer::Deferred(json!({
            "status": "deferred",
            "approval": deferred.approval.to_string(),
            "missing": deferred.missing,
            "expires_at": deferred.expires_at.to_string(),
            "call": deferred.call.to_string(),
        })),
        Reply::Done(done) => {
            let laid: Map<String, Value> =
                done.obligations.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect();
            Answer::Done { output: done.output, obligations: (!laid.is_empty()).then_some(Value::Object(laid)) }
        }
        Reply::Pending(pending) => Answer::Pending(json!({
            "status": "pending_approval",
            "approval": pending.approval.to_string(),
            "rung": pending.rung,
            "expires_at": pending.expires_at.to_string(),
            "call": pending.call.to_string(),
        })),
        Reply::Refused(problem) => Answer::Refused(problem),
    }
}
