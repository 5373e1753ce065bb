//! What is done on a case: evidence, tasks, comments, the timeline; and what is said of entities across cases.

use crate::{
    CaseVerdict, EntityJudgement, EntityName, Limit, Made, Meta, Method, Operation, Page, example, operation::declare,
};
use ids::{
    ActionId, CallId, CaseId, CommentId, DetectionId, EventId, EvidenceId, List, Principal, RunId, SensorId, Severity,
    TaskId, TenantId, Text, Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A piece of evidence of a case. It never changes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseEvidence {
    /// Its id.
    pub id: EvidenceId,
    /// The case.
    pub case: CaseId,
    /// What it shows.
    pub note: Text<2000>,
    /// The event, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The statement, where it is a frozen answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// How many rows the frozen answer has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_count: Option<u64>,
    /// Whether the frozen answer is the whole one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// The rows of the frozen answer; only from `case.get_evidence`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Map<String, Value>>>,
    /// The collected file, where it is one; its content is read with `action.get_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<CollectedFile>,
    /// Who secured it; the digest is that of the rows, or of the event as it was read, in canonical JSON, or of a file.
    pub made: Made,
}

/// A file that was collected from a host.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CollectedFile {
    /// The action that collected it.
    pub action: ActionId,
    /// The sensor of its host.
    pub sensor: SensorId,
    /// The path that it had there.
    pub path: Text<4096>,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: Text<64>,
}

/// Secure evidence: events of the case's tenant, or the answer to a question as it is now, frozen with its digest.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseAddEvidence {
    /// Which case.
    pub case: CaseId,
    /// Events, by the `id` that an answer told.
    #[serde(default)]
    pub events: List<EventId, 50>,
    /// One `SELECT`, as for `event.query`; at most 1000 rows and 512 KiB are frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<Text<32768>>,
    /// What it shows.
    #[serde(default)]
    pub note: Text<2000>,
}

/// Pieces of evidence.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseExhibits {
    /// What was secured.
    pub items: Vec<CaseEvidence>,
}

/// Look at one piece of evidence, with the rows of a frozen answer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseGetEvidence {
    /// Which case.
    pub case: CaseId,
    /// Which piece.
    pub evidence: EvidenceId,
}

/// A comment on a case.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseComment {
    /// Its id.
    pub id: CommentId,
    /// The case.
    pub case: CaseId,
    /// What it says.
    pub text: Text<8000>,
    /// Who wrote it.
    pub made: Made,
}

/// Comment on a case.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseAddComment {
    /// Which case.
    pub case: CaseId,
    /// What there is to say.
    #[schemars(length(min = 1))]
    pub text: Text<8000>,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaseTaskState {
    /// To be done.
    Open,
    /// Somebody does it.
    InProgress,
    /// Done.
    Done,
    /// Not to be done any more.
    Cancelled,
}

/// A task of a case.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseTask {
    /// Its id.
    pub id: TaskId,
    /// The case.
    pub case: CaseId,
    /// What is to be done.
    pub title: Text<300>,
    /// Where it is.
    pub state: CaseTaskState,
    /// Who does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Principal>,
    /// What came of it.
    pub outcome: Text<4000>,
    /// Who asked for it.
    pub made: Made,
}

/// Add a task to a case.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseAddTask {
    /// Which case.
    pub case: CaseId,
    /// What is to be done.
    #[schemars(length(min = 1))]
    pub title: Text<300>,
    /// Who shall do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Principal>,
}

/// Change a task of a case. What is not named stays.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseUpdateTask {
    /// Which case.
    pub case: CaseId,
    /// Which task.
    pub task: TaskId,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CaseTaskState>,
    /// Who does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Principal>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Text<4000>>,
}

/// What an entry of a timeline tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimelineKind {
    /// Something was found.
    Seen,
    /// Somebody looked.
    Queried,
    /// Somebody said what it is.
    Concluded,
    /// Somebody decided.
    Decided,
    /// Something was done.
    Done,
    /// It was checked that it took effect.
    Verified,
    /// It was taken back.
    Undone,
    /// It did not take effect, or was not begun.
    Failed,
    /// Its effect did not show in its time.
    Unverified,
    /// Nobody can tell whether it took effect: a person must look.
    Uncertain,
}

/// An entry of a timeline.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// What it tells.
    pub kind: TimelineKind,
    /// When it was written.
    pub at: Timestamp,
    /// When what it tells happened, where that is another time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Who.
    pub actor: Principal,
    /// The agent's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The operation.
    pub operation: String,
    /// What it says.
    pub text: String,
    /// The call: its record in the audit log.
    pub call: CallId,
    /// The case that it was written to, where that became part of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// Detections that it speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detections: Vec<DetectionId>,
    /// Events that it speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventId>,
    /// Evidence that it speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceId>,
}

/// Tell what happened on a case, oldest first.
///
/// What was seen, queried, concluded, decided, done, verified and undone; what failed, never showed or is uncertain; by whom,
/// and where it stands in the audit log.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseTimeline {
    /// Which case.
    pub case: CaseId,
    /// Only entries of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TimelineKind>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Say what an entity is, in one tenant; it shows in every case of the tenant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitySetVerdict {
    /// In which tenant.
    pub tenant: TenantId,
    /// The entity.
    pub entity: EntityName,
    /// What it is.
    pub verdict: CaseVerdict,
    /// Why.
    #[schemars(length(min = 1))]
    pub reason: Text<2000>,
    /// The case in which that was found out; it gets an entry in its timeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
}

/// An entity seen in a case.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EntitySighting {
    /// The case; the one that it became part of where it did.
    pub case: CaseId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What the case is about.
    pub title: Text<300>,
    /// Where the case is in its life.
    pub status: crate::CaseStatus,
    /// How grave it is.
    pub severity: Severity,
    /// What somebody said that the case is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<CaseVerdict>,
    /// In how many of its detections the entity is.
    pub count: u64,
    /// When it was first seen there.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
}

/// Find the cases that speak of an entity, and what was said of it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityCases {
    /// In whose cases; where nothing is said, in those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The entity.
    pub entity: EntityName,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
}

/// The cases that speak of an entity.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EntitySightings {
    /// The entity, in the spelling of the platform.
    pub entity: String,
    /// The cases, the latest sighting first.
    pub items: Vec<EntitySighting>,
    /// What was said of it, tenant by tenant.
    pub verdicts: Vec<EntityJudgement>,
    /// Whether these are all.
    pub complete: bool,
}

declare! {
    CaseAddEvidence => CaseExhibits: Meta::write("case.add_evidence", Method::Post, "/v1/cases/{case}/evidence", "Case"),
        json!({ "case": example::CASE, "sql": "SELECT time, process_cmd_line FROM process_activity WHERE device_hostname = 'ws01'", "note": "what ran on the host" });
    CaseGetEvidence => CaseEvidence: Meta::read("case.get_evidence", Method::Get, "/v1/cases/{case}/evidence/{evidence}", "Case"),
        json!({ "case": example::CASE, "evidence": "evidence_01jd3k5v9qf8m2x7r4t6w8y0zc" });
    CaseAddComment => CaseComment: Meta::write("case.add_comment", Method::Post, "/v1/cases/{case}/comments", "Case"),
        json!({ "case": example::CASE, "text": "asked the user: it was not her" });
    CaseAddTask => CaseTask: Meta::write("case.add_task", Method::Post, "/v1/cases/{case}/tasks", "Case"),
        json!({ "case": example::CASE, "title": "ask the owner of the host" });
    CaseUpdateTask => CaseTask: Meta::write("case.update_task", Method::Patch, "/v1/cases/{case}/tasks/{task}", "Case"),
        json!({ "case": example::CASE, "task": "task_01jd3k5v9qf8m2x7r4t6w8y0zc", "state": "done", "outcome": "it was a test" });
    CaseTimeline => Page<TimelineEntry>: Meta::read("case.timeline", Method::Get, "/v1/cases/{case}/timeline", "Case"),
        json!({ "case": example::CASE });
    EntitySetVerdict => EntityJudgement: Meta::write("entity.set_verdict", Method::Post, "/v1/entities/verdict", "Tenant").idempotent(),
        json!({ "tenant": example::TENANT, "entity": "ip:185.220.101.4", "verdict": "true_positive", "reason": "command and control of this attack" });
    EntityCases => EntitySightings: Meta::read("entity.cases", Method::Get, "/v1/entities/cases", "Tenant"),
        json!({ "tenant": example::TENANT, "entity": "ip:185.220.101.4" });
}
