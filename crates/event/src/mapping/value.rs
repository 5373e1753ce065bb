//! Values on their way from a record to an OCSF attribute: read, converted, cast to the attribute's type, written.
//!
//! A value that does not fit the attribute's type is no value: it stays in the raw text and is never bent to fit.

use super::time::parse_time;
use crate::scalar::Scalar;
use crate::view::{Item, Kind};
use ids::Timestamp;
use std::borrow::Cow;
use std::fmt::Write;
use std::net::IpAddr;

/// The type that an attribute asks for.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Bool,
    /// An enumeration of numbers with their captions.
    Choice(&'static [(&'static str, &'static str)]),
    Float,
    /// A list of fingerprints from `SHA256=...,MD5=...`.
    Hashes,
    Int,
    Ip,
    /// Any JSON.
    Json,
    Text,
    /// Milliseconds since 1970.
    Time,
}

/// A value that fits its attribute.
#[derive(Clone, Debug)]
pub(super) enum Value<'v> {
    Bool(bool),
    Float(f64),
    Hashes(Vec<(i64, &'v str)>),
    Int(i64),
    Json(String),
    List(Vec<Value<'v>>),
    Text(Cow<'v, str>),
    /// Kept to the microsecond, written in milliseconds as OCSF has it.
    Time(Timestamp),
}

impl Target {
    /// A scalar as this type.
    pub(super) fn cast<'v>(&self, scalar: Scalar<'v>) -> Option<Value<'v>> {
        if scalar.is_null() {
            return None;
        }
        match self {
            Self::Text => Some(Value::Text(scalar.to_text())),
            Self::Int => scalar.to_int().map(Value::Int),
            Self::Float => scalar.to_float().map(Value::Float),
            Self::Time => time(scalar).map(Value::Time),
            Self::Json => {
                let mut text = String::new();
                write_scalar(scalar, &mut text);
                Some(Value::Json(text))
            }
            Self::Bool | Self::Choice(_) | Self::Ip | Self::Hashes => self.cast_text(&scalar.to_text()).or_else(|| {
                // Only fingerprints borrow from the record.
                scalar.as_str().filter(|_| matches!(self, Self::Hashes)).and_then(hashes)
            }),
        }
    }

    /// A text that was made on the way, as this type.
    pub(super) fn cast_owned<'v>(&self, text: String) -> Option<Value<'v>> {
        match self {
            Self::Text => Some(Value::Text(Cow::Owned(text))),
            Self::Int => Scalar::Str(&text).to_int().map(Value::Int),
            Self::Float => Scalar::Str(&text).to_float().map(Value::Float),
            Self::Time => time(Scalar::Str(&text)).map(Value::Time),
            Self::Json => {
                let mut json = String::new();
                write_text(&text, &mut json);
                Some(Value::Json(json))
            }
            Self::Bool | Self::Choice(_) | Self::Ip => self.cast_text(&text),
            Self::Hashes => None,
        }
    }

    fn cast_text<'v>(&self, text: &str) -> Option<Value<'v>> {
        match self {
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Some(Value::Bool(true)),
                "false" | "no" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            Self::Choice(values) => choice(values, text).map(Value::Int),
            Self::Ip => {
                let bare = text.trim_start_matches("::ffff:");
                bare.parse::<IpAddr>().ok().map(|_| Value::Text(Cow::Owned(bare.to_owned())))
            }
            _ => None,
        }
    }
}

/// A number of the enumeration, one of its captions, or else 99 (Other) where the enumeration has it.
fn choice(values: &[(&'static str, &'static str)], text: &str) -> Option<i64> {
    let by = |wanted: &dyn Fn(&(&str, &str)) -> bool| values.iter().find(|value| wanted(value));
    let found = by(&|(key, _)| *key == text).or_else(|| by(&|(_, caption)| caption.eq_ignore_ascii_case(text)));
    found.or_else(|| by(&|(key, _)| *key == "99")).and_then(|(key, _)| key.parse().ok())
}

fn time(scalar: Scalar<'_>) -> Option<Timestamp> {
    match scalar {
        // A float keeps microseconds of today's times; its text form gives the fraction exactly.
        Scalar::Str(text) => parse_time(text),
        Scalar::Int(_) | Scalar::Float(_) | Scalar::Big(_) => parse_time(&scalar.to_text()),
        Scalar::Null | Scalar::Bool(_) => None,
    }
}

/// `SHA1=...,MD5=...` or `SHA256:...` as OCSF algorithm numbers and digests.
fn hashes(text: &str) -> Option<Value<'_>> {
    let mut found = Vec::new();
    for part in text.split([',', '|']) {
        let Some((name, digest)) = part.trim().split_once(['=', ':']) else { continue };
        if digest.is_empty() || digest.bytes().all(|byte| byte == b'0') || !digest.is_ascii() {
            continue;
        }
        let algorithm = match name.to_ascii_uppercase().as_str() {
            "MD5" => 1,
            "SHA1" => 2,
            "SHA256" => 3,
            "SHA512" => 4,
            _ => 99,
        };
        found.push((algorithm, digest));
    }
    (!found.is_empty()).then_some(Value::Hashes(found))
}

impl Value<'_> {
    /// The same value, borrowed.
    pub(super) fn borrow(&self) -> Value<'_> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Float(number) => Value::Float(*number),
            Self::Hashes(values) => Value::Hashes(values.clone()),
            Self::Int(number) => Value::Int(*number),
            Self::Json(text) => Value::Json(text.clone()),
            Self::List(values) => Value::List(values.iter().map(Value::borrow).collect()),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Time(time) => Value::Time(*time),
        }
    }

    /// The text, where this is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The text that a column or an observable holds.
    pub(super) fn to_text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.as_ref().to_owned()),
            Self::Int(number) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Time(time) => Some(time.as_millis().to_string()),
            Self::List(values) => values.first().and_then(Value::to_text),
            Self::Hashes(_) | Self::Json(_) => None,
        }
    }

    /// Append as JSON.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(number) => push(out, number),
            Self::Float(number) => push(out, number),
            Self::Time(time) => push(out, &time.as_millis()),
            Self::Json(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out),
            Self::List(values) => {
                out.push('[');
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    value.write(out);
                }
                out.push(']');
            }
            Self::Hashes(values) => {
                out.push('[');
                for (place, (algorithm, digest)) in values.iter().enumerate() {
                    out.push_str(if place > 0 { ",{\"algorithm_id\":" } else { "{\"algorithm_id\":" });
                    push(out, algorithm);
                    out.push_str(",\"value\":");
                    write_text(digest, out);
                    out.push('}');
                }
                out.push(']');
            }
        }
    }
}

/// Append a number; writing into a String cannot fail.
pub(super) fn push(out: &mut String, number: &dyn std::fmt::Display) {
    let _ = write!(out, "{number}");
}

/// Append a JSON string.
pub(super) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut plain = text;
    while let Some(at) = plain.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        let (head, tail) = plain.split_at_checked(at).unwrap_or((plain, ""));
        out.push_str(head);
        let mut rest = tail.chars();
        match rest.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(control) => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            None => {}
        }
        plain = rest.as_str();
    }
    out.push_str(plain);
    out.push('"');
}

fn write_scalar(scalar: Scalar<'_>, out: &mut String) {
    match scalar {
        Scalar::Str(text) => write_text(text, out),
        other => push(out, &other),
    }
}

/// Append any value of a record as JSON.
pub(super) fn write_item(item: Item<'_>, out: &mut String) {
    match item.kind() {
        Kind::Scalar(scalar) => write_scalar(scalar, out),
        Kind::Array(elements) => {
            out.push('[');
            for (place, element) in elements.enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_item(element, out);
            }
            out.push(']');
        }
        Kind::Object(members) => {
            out.push('{');
            for (place, (key, value)) in members.enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write_item(value, out);
            }
            out.push('}');
        }
    }
}
