//! The Splunk HTTP Event Collector shape: a stream of concatenated event objects, or raw lines; Splunk's own codes;
//! acknowledgement ids. A request with one bad event is refused whole, so that the sender can mend and send it again
//! without doubling the others.

mod acks;

pub use acks::{Acks, Channel};

use crate::records::{lines, range_in};
use crate::{Form, Limits, Records, Reject};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::ops::Range;

/// Splunk's answers, with its codes, texts and HTTP status ("Troubleshoot HTTP Event Collector", possible error codes).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Code {
    /// 14.
    AckDisabled,
    /// 13.
    BlankEvent,
    /// 9.
    Busy,
    /// 10.
    ChannelMissing,
    /// 12.
    EventRequired,
    /// 17.
    Healthy,
    /// 15.
    IndexedFields,
    /// 8.
    InternalError,
    /// 3.
    InvalidAuthorization,
    /// 11.
    InvalidChannel,
    /// 6.
    InvalidFormat,
    /// 7.
    InvalidIndex,
    /// 4.
    InvalidToken,
    /// 5.
    NoData,
    /// 16.
    QueryAuthorizationDisabled,
    /// 26.
    QueueAtCapacity,
    /// 23.
    ShuttingDown,
    /// 0.
    Success,
    /// 1.
    TokenDisabled,
    /// 2.
    TokenRequired,
    /// 18.
    UnhealthyQueues,
}

impl Code {
    const fn parts(self) -> (u16, u16, &'static str) {
        match self {
            Self::Success => (0, 200, "Success"),
            Self::TokenDisabled => (1, 403, "Token disabled"),
            Self::TokenRequired => (2, 401, "Token is required"),
            Self::InvalidAuthorization => (3, 401, "Invalid authorization"),
            Self::InvalidToken => (4, 403, "Invalid token"),
            Self::NoData => (5, 400, "No data"),
            Self::InvalidFormat => (6, 400, "Invalid data format"),
            Self::InvalidIndex => (7, 400, "Incorrect index"),
            Self::InternalError => (8, 500, "Internal server error"),
            Self::Busy => (9, 503, "Server is busy"),
            Self::ChannelMissing => (10, 400, "Data channel is missing"),
            Self::InvalidChannel => (11, 400, "Invalid data channel"),
            Self::EventRequired => (12, 400, "Event field is required"),
            Self::BlankEvent => (13, 400, "Event field cannot be blank"),
            Self::AckDisabled => (14, 400, "ACK is disabled"),
            Self::IndexedFields => (15, 400, "Error in handling indexed fields"),
            Self::QueryAuthorizationDisabled => (16, 400, "Query string authorization is not enabled"),
            Self::Healthy => (17, 200, "HEC is healthy"),
            Self::UnhealthyQueues => (18, 503, "HEC is unhealthy, queues are full"),
            Self::ShuttingDown => (23, 503, "Server is shutting down"),
            Self::QueueAtCapacity => (26, 429, "Queue at capacity"),
        }
    }

    /// Splunk's number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.parts().0
    }

    /// HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.parts().1
    }

    /// The body without further members.
    #[must_use]
    pub fn body(self) -> String {
        let (number, _, text) = self.parts();
        format!("{{\"text\":\"{text}\",\"code\":{number}}}")
    }

    /// The body of a success with an acknowledgement id.
    #[must_use]
    pub fn body_with_ack(self, ack_id: u64) -> String {
        let (number, _, text) = self.parts();
        format!("{{\"text\":\"{text}\",\"code\":{number},\"ackId\":{ack_id}}}")
    }
}

/// Why a request is refused whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}{}", code.parts().2, event.map(|event| format!(" (event {event})")).unwrap_or_default())]
pub struct HecError {
    /// Splunk's code.
    pub code: Code,
    /// The first bad event, from 0.
    pub event: Option<usize>,
}

impl HecError {
    const fn at(code: Code, event: usize) -> Self {
        Self { code, event: Some(event) }
    }

    /// The body to answer.
    #[must_use]
    pub fn body(&self) -> String {
        let (number, _, text) = self.code.parts();
        match self.event {
            None => self.code.body(),
            Some(event) => {
                format!("{{\"text\":\"{text}\",\"code\":{number},\"invalid-event-number\":{event}}}")
            }
        }
    }
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fields: Option<&'a RawValue>,
    #[serde(borrow, default)]
    time: Option<&'a RawValue>,
}

/// The events of an unpacked body of `/services/collector` or `/services/collector/event`. A record's envelope is
/// the whole event object.
///
/// # Errors
/// [`HecError`] with Splunk's code; nothing of the body is taken then.
pub fn parse_events(body: Vec<u8>, limits: &Limits) -> Result<Records, HecError> {
    let mut found = Vec::new();
    {
        let events = serde_json::Deserializer::from_slice(&body).into_iter::<&RawValue>();
        for event in events {
            let number = found.len();
            let whole = event.map_err(|_| HecError::at(Code::InvalidFormat, number))?;
            if number >= limits.records_max {
                return Err(HecError { code: Code::QueueAtCapacity, event: None });
            }
            let envelope = range_in(&body, whole.get().as_bytes()).ok_or(HecError::at(Code::InternalError, number))?;
            let (raw, form) = check(&body, whole.get(), number)?;
            found.push((envelope, raw, form));
        }
    }
    if found.is_empty() {
        return Err(HecError { code: Code::NoData, event: None });
    }
    let mut records = Records::over(body);
    for (index, (envelope, raw, form)) in found.into_iter().enumerate() {
        let too_large = |bytes: usize| bytes > limits.record_bytes_max;
        match raw {
            Raw::Inside(range) if !too_large(range.len()) => records.take(&range, Some(&envelope), form),
            Raw::Text(text) if !too_large(text.len()) => records.append(text.as_bytes(), Some(&envelope), form),
            Raw::Inside(_) | Raw::Text(_) => records.reject(index, Reject::TooLarge),
        }
    }
    Ok(records)
}

enum Raw {
    /// The event's bytes as they stand in the body.
    Inside(Range<usize>),
    /// A string with escapes, read.
    Text(String),
}

/// The event inside one object, where Splunk would take it.
fn check(body: &[u8], object: &str, number: usize) -> Result<(Raw, Form), HecError> {
    let malformed = HecError::at(Code::InvalidFormat, number);
    let object: Event<'_> = serde_json::from_str(object).map_err(|_| malformed)?;
    let event = object.event.ok_or(HecError::at(Code::EventRequired, number))?.get();
    if event == "null" {
        return Err(HecError::at(Code::EventRequired, number));
    }
    if object.fields.is_some_and(|fields| !flat(fields.get())) {
        return Err(HecError::at(Code::IndexedFields, number));
    }
    if object.time.is_some_and(|time| !is_time(time.get())) {
        return Err(malformed);
    }
    let range = range_in(body, event.as_bytes()).ok_or(HecError::at(Code::InternalError, number))?;
    let form = if event.starts_with('{') { Form::Json } else { Form::Text };
    if !event.starts_with('"') {
        return Ok((Raw::Inside(range), form));
    }
    let text: Cow<'_, str> = borrowed(event).map_err(|_| malformed)?;
    if text.trim().is_empty() {
        return Err(HecError::at(Code::BlankEvent, number));
    }
    // A string that holds an object is that object: shippers that know only text send JSON so.
    let form = if text.starts_with('{') && text.ends_with('}') { Form::Json } else { form };
    Ok(match text {
        // Between its quotes.
        Cow::Borrowed(_) => (Raw::Inside(range.start + 1..range.end - 1), form),
        Cow::Owned(text) => (Raw::Text(text), form),
    })
}

fn borrowed(text: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    match serde_json::from_str::<&str>(text) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str::<String>(text).map(Cow::Owned),
    }
}

/// Indexed fields are an object of scalars or arrays of scalars.
fn flat(fields: &str) -> bool {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(fields) else { return false };
    fields.values().all(|value| match value {
        serde_json::Value::Object(_) => false,
        serde_json::Value::Array(values) => values.iter().all(|value| !value.is_object() && !value.is_array()),
        _ => true,
    })
}

fn is_time(time: &str) -> bool {
    let number = time.trim_matches('"');
    time == "null" || number.parse::<f64>().is_ok_and(f64::is_finite)
}

/// What the query of a raw request may say about all of its lines.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct RawMeta {
    /// `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `index`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// `source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `sourcetype`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sourcetype: Option<String>,
}

/// The lines of an unpacked body of `/services/collector/raw`; all share the query as their envelope.
///
/// # Errors
/// [`HecError`]: no data, or too many lines.
pub fn parse_raw(body: Vec<u8>, meta: &RawMeta, limits: &Limits) -> Result<Records, HecError> {
    let ranges: Vec<_> = lines(&body).take(limits.records_max.saturating_add(1)).collect();
    if ranges.is_empty() {
        return Err(HecError { code: Code::NoData, event: None });
    }
    if ranges.len() > limits.records_max {
        return Err(HecError { code: Code::QueueAtCapacity, event: None });
    }
    let mut records = Records::over(body);
    let envelope =
        (*meta != RawMeta::default()).then(|| records.append_envelope(&serde_json::to_vec(meta).unwrap_or_default()));
    for range in ranges {
        let line = records.buffer().get(range.clone()).unwrap_or_default().trim_ascii();
        let form = if line.starts_with(b"{") { Form::Json } else { Form::Text };
        if range.len() > limits.record_bytes_max {
            records.reject(records.seen(), Reject::TooLarge);
        } else {
            records.take(&range, envelope.as_ref(), form);
        }
    }
    Ok(records)
}
