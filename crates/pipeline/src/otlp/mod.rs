//! OTLP/HTTP logs (OpenTelemetry protocol 1.x, `/v1/logs`), as protobuf and as JSON. Each log record becomes one JSON
//! record: resource, scope and record together, attributes as plain objects.

mod model;
mod record;

use crate::{Form, Limits, Records, Reject};
use model::ExportLogsServiceRequest;
use prost::Message;
use thiserror::Error;

/// What `Content-Type` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wire {
    /// `application/json`.
    Json,
    /// `application/x-protobuf`.
    Protobuf,
}

/// Why a body is refused whole.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// Not the JSON form.
    #[error("the body is not an OTLP logs request in JSON: {0}")]
    Json(serde_json::Error),
    /// Not the protobuf form.
    #[error("the body is not an OTLP logs request in protobuf: {0}")]
    Protobuf(prost::DecodeError),
    /// Over [`Limits::records_max`] or, once unfolded, over [`Limits::body_bytes_max`].
    #[error("the request holds too many or too large log records; send smaller batches")]
    TooMany,
}

/// The log records of an unpacked body.
///
/// # Errors
/// [`OtlpError`]; nothing of the body is taken then.
pub fn parse(body: &[u8], wire: Wire, limits: &Limits) -> Result<Records, OtlpError> {
    let request = match wire {
        Wire::Json => serde_json::from_slice(body).map_err(OtlpError::Json)?,
        Wire::Protobuf => ExportLogsServiceRequest::decode(body).map_err(OtlpError::Protobuf)?,
    };
    let mut records = Records::over(Vec::new());
    for resource_logs in &request.resource_logs {
        let resource = record::resource(resource_logs);
        for scope_logs in &resource_logs.scope_logs {
            let scope = record::scope(scope_logs);
            for log in &scope_logs.log_records {
                if records.seen() >= limits.records_max || records.buffer().len() > limits.body_bytes_max {
                    return Err(OtlpError::TooMany);
                }
                let json = record::json(&resource, &scope, log);
                if json.len() > limits.record_bytes_max {
                    records.reject(records.seen(), Reject::TooLarge);
                } else {
                    records.append(&json, None, Form::Json);
                }
            }
        }
    }
    Ok(records)
}

/// The body of a 200: empty, or a partial success where records were rejected. Senders do not send those again.
#[must_use]
pub fn answer(wire: Wire, rejected: usize) -> Vec<u8> {
    let partial_success = (rejected > 0).then(|| model::ExportLogsPartialSuccess {
        rejected_log_records: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: "log records over the size that this server takes".to_owned(),
    });
    match wire {
        Wire::Protobuf => model::ExportLogsServiceResponse { partial_success }.encode_to_vec(),
        Wire::Json => match partial_success {
            None => b"{}".to_vec(),
            Some(partial) => serde_json::json!({ "partialSuccess": {
                "rejectedLogRecords": partial.rejected_log_records.to_string(),
                "errorMessage": partial.error_message,
            }})
            .to_string()
            .into_bytes(),
        },
    }
}

/// The body of an error: a `google.rpc.Status` with a message.
#[must_use]
pub fn error(wire: Wire, message: &str) -> Vec<u8> {
    match wire {
        Wire::Protobuf => model::Status { message: message.to_owned() }.encode_to_vec(),
        Wire::Json => serde_json::json!({ "message": message }).to_string().into_bytes(),
    }
}
