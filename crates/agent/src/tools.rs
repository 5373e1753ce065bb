//! What a run can do: the operations that its charter lists, seen as tools. Must never widen what the gate allows.

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a call of an operation does to the world.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing: may be asked again at will.
    Read,
    /// Changes the platform's state.
    Write,
    /// Changes something outside.
    Respond,
}

/// An operation as a run sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// The operation's id, for example `case.get`.
    pub operation: String,
    /// What a call does.
    pub effect: Effect,
    /// Whether its answer may hold text that an outsider wrote.
    pub outsider_text: bool,
    /// What it is for, for a model.
    pub description: String,
    /// JSON schema of its input.
    pub input_schema: Value,
}

/// The operations of a run, by id.
pub type Toolset = BTreeMap<String, ToolSpec>;

/// The operations that a definition lists: ids, or a family with `.*`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationSet(Vec<String>);

impl OperationSet {
    /// These entries: each an operation's id or `family.*`.
    #[must_use]
    pub fn new(entries: Vec<String>) -> Self {
        Self(entries)
    }

    /// Whether an operation is in the set.
    #[must_use]
    pub fn holds(&self, operation: &str) -> bool {
        self.0.iter().any(|entry| match entry.strip_suffix(".*") {
            Some(family) => operation.split_once('.').is_some_and(|(own, _)| own == family),
            None => entry == operation,
        })
    }

    /// The entries as they were written.
    #[must_use]
    pub fn entries(&self) -> &[String] {
        &self.0
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// Evidence is missing; nothing was done.
    Deferred {
        /// The approval that follows it.
        approval: String,
        /// What is missing, by name.
        missing: Vec<String>,
    },
    /// The gate refused it.
    Denied {
        /// Why, as far as the caller may know.
        detail: String,
    },
    /// Carried out.
    Done {
        /// The operation's output.
        output: Value,
    },
    /// It could not be carried out: a wrong input, a conflict, an error.
    Failed {
        /// The problem's kind, for example `invalid`.
        kind: String,
        /// What went wrong.
        detail: String,
    },
    /// Waits for people.
    Pending {
        /// The approval that it waits for.
        approval: String,
    },
}

impl Outcome {
    /// The word by which procedures ask: `deferred`, `denied`, `done`, `failed` or `pending`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Deferred { .. } => "deferred",
            Self::Denied { .. } => "denied",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Pending { .. } => "pending",
        }
    }
}

/// Who performs the calls of a run: the gate, or a script in a test.
pub trait Tools: Send + Sync {
    /// Perform one call. A second call with the same key has the effect of the first and no other.
    fn call<'a>(&'a self, operation: &'a str, input: &'a Value, idempotency_key: &'a str) -> BoxFuture<'a, Outcome>;
}
