//! The journal of a run: one line for each thing that happened, in a versioned form. The same lines make the same run again.

use crate::model::{Answer, Usage};
use crate::run::{Budget, Ending, RunError};
use crate::tools::Outcome;
use ids::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The version that is written. A reader takes this and the one before.
pub const JOURNAL_VERSION: u32 = 1;

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// The model answered.
    Answered {
        /// Which step.
        step: u32,
        /// When.
        at: Timestamp,
        /// What it said.
        answer: Answer,
    },
    /// The run began.
    Began {
        /// When.
        at: Timestamp,
        /// Digest of the charter that it runs under, in hex.
        charter: String,
    },
    /// A call is about to be made. Written before the call is sent, where it changes something.
    Called {
        /// Which step.
        step: u32,
        /// When.
        at: Timestamp,
        /// Which operation.
        operation: String,
        /// With what.
        input: Value,
    },
    /// Somebody stopped the run.
    Cancelled {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// The run ended.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        ending: Ending,
    },
    /// What became of a call.
    Replied {
        /// Which step.
        step: u32,
        /// When.
        at: Timestamp,
        /// What became of it.
        outcome: Outcome,
    },
    /// What became of a call that waited for people.
    Settled {
        /// Which step.
        step: u32,
        /// When.
        at: Timestamp,
        /// What became of it.
        outcome: Outcome,
    },
    /// The model could not be asked.
    Unanswered {
        /// Which step.
        step: u32,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
        /// What the tries cost.
        #[serde(default)]
        usage: Usage,
        /// The budget that did not suffice, where it is that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<Budget>,
    },
}

impl Entry {
    /// When it happened.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Answered { at, .. }
            | Self::Began { at, .. }
            | Self::Called { at, .. }
            | Self::Cancelled { at, .. }
            | Self::Ended { at, .. }
            | Self::Replied { at, .. }
            | Self::Settled { at, .. }
            | Self::Unanswered { at, .. } => *at,
        }
    }
}

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalLine {
    /// The version of the form.
    pub v: u32,
    /// The entry.
    pub entry: Entry,
}

/// Why a journal does not make a run.
#[derive(Debug, Error)]
pub enum JournalError {
    /// A line does not parse.
    #[error("line {number} of the journal does not parse")]
    Line {
        /// 1-based.
        number: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The lines do not follow from each other.
    #[error("line {number} of the journal does not follow from those before it")]
    Order {
        /// 1-based.
        number: usize,
        /// Why.
        #[source]
        source: RunError,
    },
    /// A version of the future.
    #[error("line {number} of the journal has version {version}; this platform reads up to {JOURNAL_VERSION}")]
    Version {
        /// 1-based.
        number: usize,
        /// Which.
        version: u32,
    },
}

impl JournalLine {
    /// This entry in the form of today.
    #[must_use]
    pub const fn new(entry: Entry) -> Self {
        Self { v: JOURNAL_VERSION, entry }
    }

    /// Read lines back into entries.
    ///
    /// # Errors
    /// The first line that does not parse or is of a version of the future.
    pub fn read_all(lines: &[Value]) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::with_capacity(lines.len());
        for (place, line) in lines.iter().enumerate() {
            let number = place + 1;
            let version = line.get("v").and_then(Value::as_u64).and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
            if version > JOURNAL_VERSION {
                return Err(JournalError::Version { number, version });
            }
            let line = Self::deserialize(line).map_err(|source| JournalError::Line { number, source })?;
            entries.push(line.entry);
        }
        Ok(entries)
    }
}
