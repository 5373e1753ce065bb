//! Cases: what detections and people opened, its state, its verdict, and how long it all took. What is done on a case
//! (evidence, tasks, comments, timeline) stands in `case_work`.

use crate::{
    CaseComment, CaseEvidence, CaseTask, EntityName, Etag, Limit, Meta, Method, Obligation, Operation, Page, example,
    operation::declare,
};
use ids::{
    CallId, CaseId, DetectionId, EventId, EvidenceId, List, Principal, RuleId, RunId, Severity, TenantId, Text,
    Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Where a case is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaseStatus {
    /// Nobody has looked at it (OCSF 1, New).
    New,
    /// Somebody finds out whether there is anything to it (OCSF 2, In Progress).
    Triage,
    /// It is worked on (OCSF 2, In Progress).
    InProgress,
    /// It waits for something outside (OCSF 3, On Hold).
    OnHold,
    /// The spread is stopped; the cause is not gone (OCSF 2, In Progress).
    Contained,
    /// The cause is gone, or there was none (OCSF 4, Resolved).
    Resolved,
    /// Nothing is left to do (OCSF 5, Closed).
    Closed,
}

/// What a case, or an entity, turned out to be: OCSF's verdicts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaseVerdict {
    /// Nobody can say yet.
    Unknown,
    /// The rule was wrong.
    FalsePositive,
    /// An attack, or what the rule looks for.
    TruePositive,
    /// Not worth a look.
    Disregard,
    /// It may well be an attack.
    Suspicious,
    /// The rule was right, and it is harmless.
    Benign,
    /// Somebody tried something out.
    Test,
    /// What would be needed to say is not there.
    InsufficientData,
    /// No attack, and yet a hole.
    SecurityRisk,
    /// Others look after it.
    ManagedExternally,
    /// Another case says it.
    Duplicate,
}

/// Who made something, and the digest of what was made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Made {
    /// Who.
    pub by: Principal,
    /// The agent's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The call that made it: its record in the audit log.
    pub call: CallId,
    /// When.
    pub at: Timestamp,
    /// SHA-256 of what was made, in canonical JSON (RFC 8785); hexadecimal.
    pub digest: Text<64>,
}

/// Evidence that a claim cites, with what it quotes from it. Give `event` or `evidence`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Citation {
    /// An event of the case's tenant: its `id` in an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// Evidence of the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceId>,
    /// Values that stand in it, letter by letter: a part of a value, or a whole one where it has one or two characters.
    #[schemars(length(min = 1))]
    pub quotes: List<Text<1024>, 20>,
}

/// One statement of a conclusion.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// What is claimed.
    #[schemars(length(min = 1))]
    pub text: Text<2000>,
    /// What it rests on.
    #[schemars(length(min = 1))]
    pub citations: List<Citation, 20>,
}

/// What somebody said that a case is; every citation was checked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseConclusion {
    /// The verdict.
    pub verdict: CaseVerdict,
    /// OCSF `verdict_id`.
    pub verdict_id: u8,
    /// Why.
    pub reason: Text<4000>,
    /// What it rests on.
    pub claims: Vec<Claim>,
    /// Who said so.
    pub made: Made,
}

/// Seconds between the instants of a case; absent where one of them has not come.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CaseClocks {
    /// From the earliest event to its being seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect_secs: Option<u64>,
    /// From being seen to being taken up by somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge_secs: Option<u64>,
    /// From being seen to being contained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contain_secs: Option<u64>,
    /// From being seen to being resolved or closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_secs: Option<u64>,
}

/// A case: an OCSF Incident Finding (2005) with its work.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Case {
    /// Its id.
    pub id: CaseId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it is about.
    pub title: Text<300>,
    /// Where it is in its life.
    pub status: CaseStatus,
    /// OCSF `status_id`.
    pub status_id: u8,
    /// How grave.
    pub severity: Severity,
    /// What somebody said last that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<CaseConclusion>,
    /// Who works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Principal>,
    /// Words to find it by; policy may speak of them.
    pub tags: Vec<Text<64>>,
    /// Who opened it: `system_cases` where detections did.
    pub opened: Made,
    /// When the earliest event in it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When the latest did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// How many detections it holds.
    pub detections: u64,
    /// Hosts; the first 32.
    pub hosts: Vec<String>,
    /// ATT&CK techniques; the first 64.
    pub techniques: Vec<String>,
    /// Titles of the rules that found something; the first 32.
    pub rules: Vec<String>,
    /// The case that it became part of: look there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<CaseId>,
    /// Cases that became part of it.
    pub merged: Vec<CaseId>,
    /// Cases that detections tie it to.
    pub related: Vec<CaseId>,
    /// How long things took.
    pub clocks: CaseClocks,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its tag; send it back as `if_match` to change exactly this one.
    pub etag: Etag,
}

/// An entity in a case.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseEntity {
    /// The entity: `kind:value`, for example `ip:10.0.0.7`.
    pub entity: String,
    /// In how many of the case's detections.
    pub count: u64,
    /// When it was first seen there.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
    /// Whether it ties detections to the case; what everybody has does not.
    pub links: bool,
    /// What somebody said that it is, in this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<EntityJudgement>,
}

/// What somebody said that an entity is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EntityJudgement {
    /// The tenant in which it holds.
    pub tenant: TenantId,
    /// The entity.
    pub entity: String,
    /// The verdict.
    pub verdict: CaseVerdict,
    /// Why.
    pub reason: Text<2000>,
    /// Who said so.
    pub made: Made,
}

/// A case with what belongs to it; of each kind the first 100.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseFile {
    /// The case.
    pub case: Case,
    /// Its entities, those in most detections first.
    pub entities: Vec<CaseEntity>,
    /// Its evidence, without the rows of frozen answers.
    pub evidence: Vec<CaseEvidence>,
    /// Its tasks.
    pub tasks: Vec<CaseTask>,
    /// Its comments, oldest first.
    pub comments: Vec<CaseComment>,
    /// Whether there is no more than this.
    pub complete: bool,
}

/// A field that a rule looked at.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchedField {
    /// The field.
    pub field: Text<300>,
    /// What stood in it, shortened.
    #[serde(default)]
    pub values: List<Text<1024>, 16>,
}

/// A detection in a case.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseDetection {
    /// Its id.
    pub id: DetectionId,
    /// The rule, where it is one of this installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// The rule's own id.
    #[serde(default)]
    pub rule_uid: Text<200>,
    /// What it says.
    pub title: Text<300>,
    /// How grave.
    pub severity: Severity,
    /// ATT&CK techniques, for example `T1059.001`.
    #[serde(default)]
    pub techniques: List<Text<32>, 32>,
    /// The finding's row in the lake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventId>,
    /// The events that it rests on.
    #[serde(default)]
    pub events: List<EventId, 100>,
    /// When the last of them happened.
    pub time: Timestamp,
    /// When it was found.
    pub found_at: Timestamp,
    /// What they speak of.
    #[serde(default)]
    pub entities: List<EntityName, 64>,
    /// What the rule looked at.
    #[serde(default)]
    pub matched: List<MatchedField, 16>,
}

/// Open a case by hand: from detections, or about something that no rule found.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseOpen {
    /// Whose case.
    pub tenant: TenantId,
    /// What it is about.
    #[schemars(length(min = 1))]
    pub title: Text<300>,
    /// How grave; that of the gravest detection where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Detections of the tenant that are in no case.
    #[serde(default)]
    pub detections: List<DetectionId, 20>,
    /// Entities that it is about.
    #[serde(default)]
    pub entities: List<EntityName, 32>,
    /// Words to find it by.
    #[serde(default)]
    pub tags: List<Text<64>, 32>,
}

/// List cases, newest first. A case that became part of another is not listed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseList {
    /// Whose; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<CaseStatus>,
    /// Only those that are neither resolved nor closed (true), or that are (false).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<bool>,
    /// Only those at least this grave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Only with this verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<CaseVerdict>,
    /// Only of this assignee.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Principal>,
    /// Only those that speak of this: `kind:value`, for example `ip:10.0.0.7`. At most 1000 sightings are looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntityName>,
    /// Only those with an event at or after this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only those with an event before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Look at a case with its entities, evidence, tasks and comments.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseGet {
    /// Which case.
    pub case: CaseId,
}

/// List the detections of a case, those of cases that became part of it too.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseDetections {
    /// Which case.
    pub case: CaseId,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Change a case: its title, status, severity, assignee or tags. What is not named stays.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseUpdate {
    /// Which case.
    pub case: CaseId,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub title: Option<Text<300>>,
    /// Where it goes. What ended can be taken up again (`triage`, `in_progress`); nothing becomes new again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<CaseStatus>,
    /// How grave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Who works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Principal>,
    /// True takes it from its assignee.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unassign: bool,
    /// Words to find it by, in place of those before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<List<Text<64>, 32>>,
    /// Why; stands in the timeline.
    #[serde(default)]
    pub reason: Text<1000>,
    /// Change only if the case still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Say what a case is, with claims that cite evidence and quote from it.
///
/// Every citation is looked up within the tenant: where it does not exist or does not hold what is quoted, nothing is
/// written and each fault is told with its place. A verdict of `unknown` or `insufficient_data` needs no claim.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseConclude {
    /// Which case.
    pub case: CaseId,
    /// The verdict.
    pub verdict: CaseVerdict,
    /// Why, in a few sentences.
    #[schemars(length(min = 1))]
    pub reason: Text<4000>,
    /// What it rests on.
    #[serde(default)]
    pub claims: List<Claim, 30>,
    /// How grave it is after all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Where the case goes by this; a new one goes to `triage` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<CaseStatus>,
    /// Only if the case still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Make a case part of another of the same tenant. It keeps what it has; the other one shows it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseMerge {
    /// The case that becomes a part.
    pub case: CaseId,
    /// The case that it becomes part of.
    pub into: CaseId,
    /// Why; stands in the timeline of both.
    #[serde(default)]
    pub reason: Text<1000>,
}

/// Counts and mean times over a tenant's cases: MTTD, MTTA, MTTC, MTTR.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseMetrics {
    /// Whose; where nothing is said, those of the caller's own tenant or, for the provider's, of every tenant that policy lets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Cases that were first seen at or after this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Cases that were first seen before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// How long something took, over the cases where it came to an end.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct MeanTime {
    /// Over how many cases.
    pub cases: u64,
    /// The mean, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_secs: Option<f64>,
    /// Half of the cases took no longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_secs: Option<u64>,
    /// 95 of 100 took no longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_secs: Option<u64>,
}

/// How many cases have something.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseCount {
    /// What: a status, a severity or a verdict.
    pub value: String,
    /// How many.
    pub cases: u64,
}

/// Counts and mean times.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CaseFigures {
    /// Cases in all.
    pub cases: u64,
    /// Detections in them.
    pub detections: u64,
    /// By status.
    pub by_status: Vec<CaseCount>,
    /// By severity.
    pub by_severity: Vec<CaseCount>,
    /// By verdict; cases without one are not counted here.
    pub by_verdict: Vec<CaseCount>,
    /// Time to detect.
    pub mttd: MeanTime,
    /// Time to acknowledge.
    pub mtta: MeanTime,
    /// Time to contain.
    pub mttc: MeanTime,
    /// Time to resolve.
    pub mttr: MeanTime,
    /// Whether every case was counted; at most 100,000 are.
    pub complete: bool,
}

/// Put detections into cases. The platform's own operation: rules' findings come this way, and nobody else's.
///
/// A detection that is in a case already changes nothing, so that the same findings may be told again after a crash.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseObserve {
    /// Whose.
    pub tenant: TenantId,
    /// What was found.
    pub detections: List<CaseDetection, 200>,
    /// Everything that was found before this instant has been told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_until: Option<Timestamp>,
}

/// What became of detections.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CaseObserved {
    /// Detections that went into a case now.
    pub placed: u32,
    /// Detections that were in one already.
    pub known: u32,
    /// Cases that were opened.
    pub opened: Vec<CaseId>,
    /// Cases that got more.
    pub extended: Vec<CaseId>,
    /// Cases that became part of another.
    pub merged: Vec<CaseId>,
}

const LISTED: &[Obligation] = &[Obligation::MaxRows, Obligation::Mask];
const SHOWN: &[Obligation] = &[Obligation::Mask];
const EXAMPLE_EVENT: &str = "event_xw3xdh020e0200r0";

declare! {
    CaseOpen => Case: Meta::write("case.open", Method::Post, "/v1/cases", "Tenant"),
        json!({ "tenant": example::TENANT, "title": "A colleague reports a strange mail", "severity": "medium", "entities": ["user:alice"] });
    CaseList => Page<Case>: Meta::read("case.list", Method::Get, "/v1/cases", "Tenant").keeps(LISTED),
        json!({ "tenant": example::TENANT, "status": "new", "severity": "high" });
    CaseGet => CaseFile: Meta::read("case.get", Method::Get, "/v1/cases/{case}", "Case").keeps(SHOWN),
        json!({ "case": example::CASE });
    CaseDetections => Page<CaseDetection>: Meta::read("case.detections", Method::Get, "/v1/cases/{case}/detections", "Case"),
        json!({ "case": example::CASE });
    CaseUpdate => Case: Meta::write("case.update", Method::Patch, "/v1/cases/{case}", "Case"),
        json!({ "case": example::CASE, "status": "in_progress", "severity": "high", "reason": "looks real" });
    CaseConclude => Case: Meta::write("case.conclude", Method::Post, "/v1/cases/{case}/conclusion", "Case"),
        json!({ "case": example::CASE, "verdict": "true_positive", "reason": "an encoded download cradle ran", "claims": [{ "text": "powershell was started with an encoded command", "citations": [{ "event": EXAMPLE_EVENT, "quotes": ["-EncodedCommand"] }] }] });
    CaseMerge => Case: Meta::write("case.merge", Method::Post, "/v1/cases/{case}/merge", "Case"),
        json!({ "case": example::CASE, "into": example::CASE_OTHER, "reason": "the same attack" });
    CaseMetrics => CaseFigures: Meta::read("case.metrics", Method::Get, "/v1/case/metrics", "Tenant"),
        json!({ "tenant": example::TENANT });
    CaseObserve => CaseObserved: Meta::write("case.observe", Method::Post, "/v1/case/observe", "Tenant").idempotent(),
        json!({ "tenant": example::TENANT, "detections": [{ "id": "detection_01jd3k5v9qf8m2x7r4t6w8y0zc", "title": "Whoami", "severity": "low", "time": "2026-03-01T10:00:00Z", "found_at": "2026-03-01T10:00:01Z", "entities": ["host:ws01", "user:alice"] }] });
}
