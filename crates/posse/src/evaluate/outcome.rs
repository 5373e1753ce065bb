//! What an evaluation of triage prints.

use ids::{Severity, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One recording.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct RecordingOutcome {
    /// The file as it was named.
    pub(super) file: String,
    /// Records that were taken.
    pub(super) events: u64,
    /// Records that cannot be read or were not taken.
    #[serde(default, skip_serializing_if = "none")]
    pub(super) rejected: u64,
    /// Findings in cases.
    pub(super) detections: u64,
    pub(super) cases: Vec<CaseOutcome>,
    /// Why it was not judged, or not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn none(count: &u64) -> bool {
    *count == 0
}

/// One case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CaseOutcome {
    /// What triage concluded; none where its run did not end well.
    pub(super) verdict: Option<String>,
    pub(super) severity: Severity,
    pub(super) score: Option<f64>,
    /// What the verdict rests on.
    pub(super) evidence: Vec<Evidence>,
    pub(super) techniques: Vec<String>,
    /// From the start of the run to its end.
    pub(super) seconds: f64,
    pub(super) hosts: Vec<String>,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) detections: u64,
    pub(super) rules: Vec<RuleCount>,
    /// Why the score is what it is.
    pub(super) reasons: Value,
    /// What it is, by the labels that were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// A cited event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Evidence {
    /// Its id in the throw-away tenant.
    pub(super) event: String,
    /// The place of its record in the file, from 0.
    pub(super) record: Option<u64>,
    /// When it happened.
    pub(super) time: Option<Timestamp>,
    /// What is quoted from it.
    pub(super) quotes: Vec<String>,
    /// Whether the record holds every quote, by a look of its own.
    pub(super) holds: bool,
    /// What is claimed.
    pub(super) claim: String,
}

/// A rule that found something in a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RuleCount {
    /// The id in its text.
    pub(super) rule: String,
    pub(super) title: String,
    pub(super) severity: Severity,
    pub(super) count: u64,
    /// The instants of its findings, at most the first hundred.
    pub(super) times: Vec<Timestamp>,
}
