//! The Elasticsearch `_bulk` shape, as filebeat, winlogbeat, logstash, vector and fluent-bit send it: pairs of an
//! action line and a document line; an answer for each item. Documents are appended to the log; nothing is an index
//! here, so `update` and `delete` are rejected item by item and the rest is taken.

mod handshake;

pub use handshake::{Answer, PRODUCT_HEADER, Product, handshake};

use crate::records::lines;
use crate::{Form, Limits, Records, Reject};
use serde::Deserialize;
use std::borrow::Cow;
use thiserror::Error;

/// Why a body is refused whole, with nothing taken.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum BulkError {
    /// A line that should be an action is not one.
    #[error("malformed action/metadata line [{line}], expected an object with one of index or create")]
    Action {
        /// Its number, from 1.
        line: usize,
    },
    /// No action at all.
    #[error("Validation Failed: 1: no requests added;")]
    Empty,
    /// The last action has no document.
    #[error("the action on line [{line}] is followed by no document")]
    NoDocument {
        /// The action's number, from 1.
        line: usize,
    },
    /// Over [`Limits::records_max`].
    #[error("more than {0} items; send smaller batches")]
    TooMany(usize),
}

impl BulkError {
    /// HTTP status and body, in the shape that clients of Elasticsearch read.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let (status, kind) = match self {
            Self::TooMany(_) => (413, "circuit_breaking_exception"),
            Self::Empty => (400, "action_request_validation_exception"),
            Self::Action { .. } | Self::NoDocument { .. } => (400, "illegal_argument_exception"),
        };
        error_answer(status, kind, &self.to_string())
    }
}

/// An error in Elasticsearch's shape. For refusals that other parts decide: 401, 403, 429, 503.
#[must_use]
pub fn error_answer(status: u16, kind: &str, reason: &str) -> Answer {
    let cause = serde_json::json!({ "type": kind, "reason": reason });
    let body = serde_json::json!({
        "error": { "root_cause": [cause], "type": kind, "reason": reason },
        "status": status,
    });
    Answer { status, body: body.to_string() }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verb {
    Create,
    Delete,
    Index,
    Update,
}

#[derive(Debug)]
struct Asked {
    verb: Verb,
    index: String,
    id: Option<String>,
    rejected: Option<Reject>,
}

/// A parsed request: the records, and what to answer for each item.
#[derive(Debug)]
pub struct Bulk {
    /// The documents; each has its action line as envelope.
    pub records: Records,
    items: Vec<Asked>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    create: Option<Meta<'a>>,
    #[serde(borrow, default)]
    delete: Option<Meta<'a>>,
    #[serde(borrow, default)]
    index: Option<Meta<'a>>,
    #[serde(borrow, default)]
    update: Option<Meta<'a>>,
}

#[derive(Deserialize, Default)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "_index")]
    index: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "_id")]
    id: Option<Cow<'a, str>>,
}

/// The items of an unpacked body. `index` is the one in the path, for actions that name none.
///
/// # Errors
/// [`BulkError`]; nothing of the body is taken then.
pub fn parse(body: Vec<u8>, index: Option<&str>, limits: &Limits) -> Result<Bulk, BulkError> {
    let mut records = Records::over(body);
    let mut items = Vec::new();
    let ranges: Vec<_> = lines(records.buffer()).collect();
    let mut ranges = ranges.into_iter().enumerate();
    while let Some((line, action)) = ranges.next() {
        let line = line + 1;
        if items.len() >= limits.records_max {
            return Err(BulkError::TooMany(limits.records_max));
        }
        let text = records.buffer().get(action.clone()).unwrap_or_default();
        let mut asked = asked(text, index).ok_or(BulkError::Action { line })?;
        if asked.verb != Verb::Delete {
            let (_, document) = ranges.next().ok_or(BulkError::NoDocument { line })?;
            if asked.rejected.is_none() && document.len() > limits.record_bytes_max {
                asked.rejected = Some(Reject::TooLarge);
            }
            if asked.rejected.is_none() {
                records.take(&document, Some(&action), Form::Json);
            }
        }
        if let Some(why) = asked.rejected {
            records.reject(items.len(), why);
        }
        items.push(asked);
    }
    if items.is_empty() { Err(BulkError::Empty) } else { Ok(Bulk { records, items }) }
}

fn asked(line: &[u8], path_index: Option<&str>) -> Option<Asked> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let (verb, meta) = match (line.create, line.delete, line.index, line.update) {
        (Some(meta), None, None, None) => (Verb::Create, meta),
        (None, Some(meta), None, None) => (Verb::Delete, meta),
        (None, None, Some(meta), None) => (Verb::Index, meta),
        (None, None, None, Some(meta)) => (Verb::Update, meta),
        _ => return None,
    };
    let index = meta.index.as_deref().or(path_index).unwrap_or("posse").to_owned();
    let rejected = matches!(verb, Verb::Delete | Verb::Update).then_some(Reject::Unsupported);
    Some(Asked { verb, index, id: meta.id.map(Cow::into_owned), rejected })
}

impl Bulk {
    /// The answer after the records are durable: 200, with 201 for each item taken. `batch` names items that came
    /// without an id; the same batch sent again gets the same names.
    #[must_use]
    pub fn answer(&self, batch: u128, took_ms: u64) -> Answer {
        let errors = self.items.iter().any(|item| item.rejected.is_some());
        let mut body = format!("{{\"took\":{took_ms},\"errors\":{errors},\"items\":[");
        for (number, item) in self.items.iter().enumerate() {
            if number > 0 {
                body.push(',');
            }
            body.push_str(&item.answer(batch, number));
        }
        body.push_str("]}");
        Answer { status: 200, body }
    }
}

impl Asked {
    fn answer(&self, batch: u128, number: usize) -> String {
        let id = self.id.clone().unwrap_or_else(|| format!("{batch:032x}-{number}"));
        let result = match self.rejected {
            None => serde_json::json!({
                "_index": self.index, "_id": id, "_version": 1, "result": "created",
                "_shards": { "total": 1, "successful": 1, "failed": 0 },
                "_seq_no": 0, "_primary_term": 1, "status": 201,
            }),
            Some(why) => serde_json::json!({
                "_index": self.index, "_id": id, "status": 400, "error": error(why),
            }),
        };
        let verb = match self.verb {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::Index => "index",
            Verb::Update => "update",
        };
        format!("{{\"{verb}\":{result}}}")
    }
}

fn error(why: Reject) -> serde_json::Value {
    let reason = match why {
        Reject::Malformed => "the document is malformed",
        Reject::TooLarge => "the document is over the size that this server takes",
        Reject::Unsupported => "this server keeps a log: only index and create are taken",
    };
    serde_json::json!({ "type": "illegal_argument_exception", "reason": reason })
}
