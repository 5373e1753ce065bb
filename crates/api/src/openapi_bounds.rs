//! The bounds that hold for every value on the wire, written into the OpenAPI document where a type says none of its own.
//!
//! Inputs bring theirs (`Text`, `List`, ranges); what is said here of answers is what the platform keeps to anyway: numbers
//! stay exact in a double, text has no NUL, and no answer is longer than the server lets one be. Never loosens a bound.

use serde_json::{Map, Value, json};

/// Longest text in an answer, in characters: no answer has more bytes.
pub(crate) const ANSWER_CHARS_MAX: u64 = 1 << 26;
/// Most items of one list in an answer.
pub(crate) const ANSWER_ITEMS_MAX: u64 = 1 << 20;
/// Greatest whole number on the wire (RFC 8785), and least with a minus.
const WHOLE_MAX: i64 = (1 << 53) - 1;

/// Write the bounds into every schema of a document.
pub(crate) fn bound(document: &mut Value) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(bound),
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("example" | "examples", _) => {}
                    ("schema", schema) => schema_bounds(schema),
                    ("schemas", Value::Object(schemas)) => schemas.values_mut().for_each(schema_bounds),
                    (_, other) => bound(other),
                }
            }
        }
        _ => {}
    }
}

/// Keywords that hold schemas by name, a list of schemas, or one schema.
const NAMED: [&str; 3] = ["properties", "patternProperties", "$defs"];
const LISTED: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
const SINGLE: [&str; 6] = ["additionalProperties", "contains", "else", "items", "not", "then"];

fn schema_bounds(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for (key, value) in object.iter_mut() {
        match value {
            Value::Object(named) if NAMED.contains(&key.as_str()) => named.values_mut().for_each(schema_bounds),
            Value::Array(listed) if LISTED.contains(&key.as_str()) => listed.iter_mut().for_each(schema_bounds),
            single if SINGLE.contains(&key.as_str()) => schema_bounds(single),
            _ => {}
        }
    }
    let names = |kind: &str| match object.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    };
    let (string, array, integer) = (names("string"), names("array"), names("integer"));
    let known = object.contains_key("enum") || object.contains_key("const");
    if string && !known {
        usual(object, "maxLength", json!(ANSWER_CHARS_MAX));
        if !object.contains_key("format") {
            usual(object, "pattern", json!("^[^\\u0000]*$"));
        }
    }
    if array {
        usual(object, "maxItems", json!(ANSWER_ITEMS_MAX));
    }
    if integer && !known {
        if !object.contains_key("exclusiveMinimum") {
            usual(object, "minimum", json!(-WHOLE_MAX));
        }
        if !object.contains_key("exclusiveMaximum") {
            usual(object, "maximum", json!(WHOLE_MAX));
        }
        let small = |key: &str| object.get(key).and_then(Value::as_i64).is_some_and(|edge| i32::try_from(edge).is_ok());
        let format = if small("minimum") && small("maximum") { "int32" } else { "int64" };
        usual(object, "format", json!(format));
    }
}

fn usual(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.entry(key.to_owned()).or_insert(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_written_where_there_is_none_and_never_over_one() {
        let mut document = json!({
            "example": { "type": "string" },
            "schema": {
                "type": "object",
                "properties": {
                    "name": { "type": "string", "maxLength": 5, "pattern": "^a" },
                    "at": { "type": ["string", "null"], "format": "date-time" },
                    "many": { "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 9 } },
                    "word": { "type": "string", "enum": ["a"] },
                    "type": { "type": "integer" }
                }
            }
        });
        bound(&mut document);
        assert_eq!(document["example"], json!({ "type": "string" }));
        let fields = &document["schema"]["properties"];
        assert_eq!(fields["name"], json!({ "type": "string", "maxLength": 5, "pattern": "^a" }));
        let at = json!({ "type": ["string", "null"], "format": "date-time", "maxLength": ANSWER_CHARS_MAX });
        assert_eq!(fields["at"], at);
        assert_eq!(fields["many"]["maxItems"], ANSWER_ITEMS_MAX);
        assert_eq!(fields["many"]["items"]["format"], "int32");
        assert_eq!(fields["word"], json!({ "type": "string", "enum": ["a"] }));
        assert_eq!((&fields["type"]["maximum"], &fields["type"]["format"]), (&json!(WHOLE_MAX), &json!("int64")));
    }
}
