//! What came back: read as the document says, judged against its conditions, mapped to typed outputs. Whatever is wrong with
//! an answer is told without its text: it may hold what nobody should see.

use crate::document::{Condition, Output, OutputKind, Reads, Success};
use crate::input::JSON_BYTES_MAX;
use crate::outgoing::Unfit;
use crate::template::Values;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use thiserror::Error;

/// Characters of a text that is kept.
const CHARS_MAX: usize = 4096;

/// An answer that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Value,
}

/// Why an answer's body or outputs cannot be taken.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum Unreadable {
    /// The body is not what the document says it is.
    #[error("the answer (status {status}) is not {wanted}")]
    Body {
        /// Its status.
        status: u16,
        /// What it should be.
        wanted: &'static str,
    },
    /// An output is not there, or is something else.
    #[error("the answer has no `{name}` of the kind that the connector says at `{at}`")]
    Output {
        /// The output's name.
        name: String,
        /// Where it should be.
        at: String,
    },
}

/// Whether an answer is as expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Judgement {
    /// It is.
    Holds,
    /// It is not, and why.
    Not(String),
}

impl Answer {
    /// Read an answer.
    ///
    /// # Errors
    /// [`Unreadable::Body`]. An answer that says no (status 300 and more) is taken without its body where that does not read.
    pub fn read(response: &http::Response<Bytes>, reads: Reads) -> Result<Self, Unreadable> {
        let status = response.status().as_u16();
        let bytes = response.body();
        let text = || std::str::from_utf8(bytes).ok();
        let (body, wanted) = match reads {
            Reads::Nothing => (Some(Value::Null), "anything"),
            Reads::Json if bytes.is_empty() => (Some(Value::Null), "JSON"),
            Reads::Json => (serde_json::from_slice(bytes).ok(), "JSON"),
            Reads::Text => (text().map(Value::from), "UTF-8 text"),
            Reads::Xml => (text().and_then(|text| crate::xml::read(text).ok()), "XML"),
        };
        match body {
            Some(body) => Ok(Self { status, body }),
            None if status >= 300 => Ok(Self { status, body: Value::Null }),
            None => Err(Unreadable::Body { status, wanted }),
        }
    }

    /// Whether this answer is a success.
    ///
    /// # Errors
    /// [`Unfit`] where what is expected cannot be made of the values.
    pub fn judge(&self, success: &Success, values: &Values) -> Result<Judgement, Unfit> {
        let expected = if success.status.is_empty() {
            (200..300).contains(&self.status)
        } else {
            success.status.contains(&self.status)
        };
        if !expected {
            return Ok(Judgement::Not(format!("the answer's status is {}", self.status)));
        }
        for condition in &success.all {
            if !condition.holds(&self.body, values)? {
                let what = if condition.has.is_some() { "has no such item" } else { "is not as expected" };
                return Ok(Judgement::Not(format!("`{}` of the answer {what}", condition.at)));
            }
        }
        Ok(Judgement::Holds)
    }

    /// The declared outputs, without the connector's secrets.
    ///
    /// # Errors
    /// [`Unreadable::Output`] where one that must be there is not.
    pub fn outputs(
        &self,
        declared: &BTreeMap<String, Output>,
        values: &Values,
    ) -> Result<Map<String, Value>, Unreadable> {
        let mut outputs = Map::new();
        for (name, output) in declared {
            match self.body.pointer(&output.at).and_then(|value| output.take(value)) {
                Some(value) => drop(outputs.insert(name.clone(), values.blank_all(value))),
                None if output.optional => {}
                None => return Err(Unreadable::Output { name: name.clone(), at: output.at.clone() }),
            }
        }
        Ok(outputs)
    }
}

impl Output {
    fn take(&self, value: &Value) -> Option<Value> {
        match (self.kind, value) {
            (OutputKind::Boolean, Value::Bool(_)) => Some(value.clone()),
            // XML has texts only.
            (OutputKind::Boolean, Value::String(text)) => text.parse::<bool>().ok().map(Value::from),
            (OutputKind::Integer, Value::Number(number)) => number.as_i64().map(Value::from),
            (OutputKind::Integer, Value::String(text)) => text.parse::<i64>().ok().map(Value::from),
            (OutputKind::Json, value) => (value.to_string().len() <= JSON_BYTES_MAX).then(|| value.clone()),
            (OutputKind::Text, Value::String(text)) => Some(text.chars().take(CHARS_MAX).collect::<String>().into()),
            (OutputKind::Text, Value::Number(number)) => Some(number.to_string().into()),
            _ => None,
        }
    }
}

impl Condition {
    fn holds(&self, body: &Value, values: &Values) -> Result<bool, Unfit> {
        let found = body.pointer(&self.at);
        if let Some(wanted) = self.exists {
            return Ok(found.is_some_and(|value| !value.is_null()) == wanted);
        }
        if let Some(wanted) = &self.equals {
            return Ok(found.cloned() == wanted.json(values)?);
        }
        let Some(has) = &self.has else { return Ok(false) };
        let mut wanted = Vec::with_capacity(has.len());
        for (at, template) in has {
            wanted.push((at, template.json(values)?));
        }
        let fits = |item: &Value| wanted.iter().all(|(at, value)| item.pointer(at).cloned() == *value);
        Ok(found.and_then(Value::as_array).is_some_and(|items| items.iter().any(fits)))
    }
}
