//! One log record as JSON text: `resource`, `scope` (name, version, attributes), `timeUnixNano`,
//! `observedTimeUnixNano`, `severityNumber`, `severityText`, `eventName`, `body`, `attributes`, `traceId`, `spanId`.
//! Members that hold the protocol's default are left out. Nesting is bounded by both decoders (100 and 128 levels).

use super::model::{AnyValue, KeyValue, LogRecord, ResourceLogs, ScopeLogs, Value};
use base64::Engine;
use serde_json::{Map, Number, Value as Json};

/// The resource's attributes, as text that all its records share.
pub(super) fn resource(logs: &ResourceLogs) -> String {
    let attributes = logs.resource.as_ref().map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    Json::Object(object(attributes)).to_string()
}

/// The scope, as text that all its records share.
pub(super) fn scope(logs: &ScopeLogs) -> String {
    let mut members = Map::new();
    if let Some(scope) = &logs.scope {
        put_text(&mut members, "name", &scope.name);
        put_text(&mut members, "version", &scope.version);
        if !scope.attributes.is_empty() {
            members.insert("attributes".to_owned(), object(&scope.attributes).into());
        }
    }
    Json::Object(members).to_string()
}

pub(super) fn json(resource: &str, scope: &str, log: &LogRecord) -> Vec<u8> {
    let mut members = Map::new();
    put_number(&mut members, "timeUnixNano", log.time_unix_nano);
    put_number(&mut members, "observedTimeUnixNano", log.observed_time_unix_nano);
    if log.severity_number != 0 {
        members.insert("severityNumber".to_owned(), log.severity_number.into());
    }
    put_text(&mut members, "severityText", &log.severity_text);
    put_text(&mut members, "eventName", &log.event_name);
    if let Some(body) = &log.body {
        members.insert("body".to_owned(), value(body));
    }
    members.insert("attributes".to_owned(), object(&log.attributes).into());
    put_number(&mut members, "droppedAttributesCount", u64::from(log.dropped_attributes_count));
    put_number(&mut members, "flags", u64::from(log.flags));
    put_text(&mut members, "traceId", &hex(&log.trace_id));
    put_text(&mut members, "spanId", &hex(&log.span_id));
    let rest = Json::Object(members).to_string();
    // `rest` begins with a brace and always has members.
    let rest = rest.strip_prefix('{').unwrap_or("}");
    format!("{{\"resource\":{resource},\"scope\":{scope},{rest}").into_bytes()
}

fn put_text(members: &mut Map<String, Json>, name: &str, text: &str) {
    if !text.is_empty() {
        members.insert(name.to_owned(), text.into());
    }
}

fn put_number(members: &mut Map<String, Json>, name: &str, number: u64) {
    if number != 0 {
        members.insert(name.to_owned(), number.into());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn object(attributes: &[KeyValue]) -> Map<String, Json> {
    let pair = |pair: &KeyValue| (pair.key.clone(), pair.value.as_ref().map_or(Json::Null, value));
    attributes.iter().map(pair).collect()
}

fn value(any: &AnyValue) -> Json {
    match &any.value {
        None => Json::Null,
        Some(Value::Text(text)) => text.as_str().into(),
        Some(Value::Bool(value)) => (*value).into(),
        Some(Value::Int(number)) => (*number).into(),
        // JSON has no NaN and no infinity; their names tell more than null.
        Some(Value::Double(number)) => {
            Number::from_f64(*number).map_or_else(|| number.to_string().into(), Json::Number)
        }
        Some(Value::Array(array)) => array.values.iter().map(value).collect(),
        Some(Value::List(list)) => object(&list.values).into(),
        Some(Value::Bytes(bytes)) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
    }
}
