//! Cases, and what belongs to them. The head of a case stays small, however much it holds: detections, entities, entries
//! of the timeline, comments, tasks and evidence are documents of their own. A case that became part of another keeps
//! what it has and points to it.

use crate::{Key, Resource, sortable};
use case::{Clocks, Detection, Entity, EntryKind, Islands, Status, TaskState, Verdict};
use ids::{
    ActionId, CallId, CaseId, CommentId, DetectionId, EventId, EvidenceId, Owner, Principal, RunId, SensorId, Severity,
    TaskId, TenantId, Timestamp,
};
use seal::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Who made something, and the digest of what was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// Who.
    pub by: Principal,
    /// The agent's run.
    pub run: Option<RunId>,
    /// The call, which names the record in the audit log.
    pub call: CallId,
    /// When.
    pub at: Timestamp,
    /// SHA-256 of what was made, in canonical JSON; hexadecimal.
    pub digest: String,
}

/// What somebody said that a case is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conclusion {
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// What it rests on; each citation was checked when it was made.
    pub claims: Vec<case::Claim>,
    /// Who said so.
    pub made: Made,
}

/// The head of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    /// Its id.
    pub id: CaseId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it is about.
    pub title: String,
    /// The title was given by somebody: the platform leaves it.
    pub titled: bool,
    /// Where it is in its life.
    pub status: Status,
    /// How grave.
    pub severity: Severity,
    /// The severity was given by somebody: the platform leaves it.
    pub weighed: bool,
    /// What somebody said last that it is.
    pub conclusion: Option<Conclusion>,
    /// Who works on it.
    pub assignee: Option<Principal>,
    /// Words to find it by; policy may speak of them.
    pub tags: BTreeSet<String>,
    /// Who opened it.
    pub opened: Made,
    /// The earliest detection in it.
    pub first: Option<Timestamp>,
    /// The latest.
    pub last: Option<Timestamp>,
    /// How many detections it holds, those of cases that became part of it too.
    pub detections: u64,
    /// Hosts, the first ones.
    pub hosts: Vec<String>,
    /// ATT&CK techniques, the first ones.
    pub techniques: Vec<String>,
    /// Titles of rules that found something, the first ones.
    pub rules: Vec<String>,
    /// The case that it became part of.
    pub merged_into: Option<CaseId>,
    /// The cases that became part of it, through others too.
    pub merged: Vec<CaseId>,
    /// Cases that detections tie it to, and that did not become one with it.
    pub related: Vec<CaseId>,
    /// What its clocks run between.
    pub clocks: Clocks,
}

impl Case {
    /// Whether somebody works on it, or did.
    #[must_use]
    pub fn worked(&self) -> bool {
        self.status != Status::New || self.assignee.is_some() || self.conclusion.is_some()
    }

    /// Whether detections may join it.
    #[must_use]
    pub fn open(&self) -> bool {
        self.status.open() && self.merged_into.is_none()
    }
}

impl Resource for Case {
    const KIND: &'static str = "case";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        // A part of another case is not listed by its state.
        if self.merged_into.is_some() {
            return Vec::new();
        }
        let mut keys = vec![Key::lookup("status", self.status.as_str())];
        keys.extend(self.assignee.as_ref().map(|assignee| Key::lookup("assignee", assignee.to_string())));
        keys
    }
}

/// A detection in a case. Its id is the detection's: a detection that comes again is in a case already.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseDetection {
    /// The case that it joined.
    pub case: CaseId,
    /// When the case took it.
    pub seen_at: Timestamp,
    /// The detection.
    pub detection: Detection,
}

impl CaseDetection {
    /// The document id.
    #[must_use]
    pub fn key(tenant: TenantId, detection: DetectionId) -> String {
        format!("{tenant}/{detection}")
    }
}

impl Resource for CaseDetection {
    const KIND: &'static str = "case_detection";
    fn id(&self) -> String {
        Self::key(self.detection.tenant, self.detection.id)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.detection.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("case", self.case.to_string())]
    }
}

/// A short name for an entity, which may be long: half of a SHA-256.
fn entity_name(entity: &Entity) -> String {
    Digest::of(entity.to_string().as_bytes()).to_hex().chars().take(32).collect()
}

/// An entity in a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseEntity {
    /// The case.
    pub case: CaseId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The entity.
    pub entity: Entity,
    /// When it was seen there.
    pub islands: Islands,
    /// On which hosts.
    pub hosts: BTreeSet<String>,
    /// In how many detections.
    pub count: u64,
    /// When it was seen and ties detections to the case.
    pub ties: Islands,
}

impl CaseEntity {
    /// The document id.
    #[must_use]
    pub fn key(case: CaseId, entity: &Entity) -> String {
        format!("{case}/{}", entity_name(entity))
    }

    /// The value of the key `seen` for an entity that was last seen at `last`: sorts by time.
    #[must_use]
    pub fn seen(tenant: TenantId, entity: &Entity, last: Timestamp) -> String {
        format!("{tenant}/{}/{}", entity_name(entity), sortable(last))
    }
}

impl Resource for CaseEntity {
    const KIND: &'static str = "case_entity";
    fn id(&self) -> String {
        Self::key(self.case, &self.entity)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        let last = self.islands.span().map_or(Timestamp::default(), |span| span.last);
        vec![
            Key::lookup("case", self.case.to_string()),
            Key::lookup("seen", Self::seen(self.tenant, &self.entity, last)),
        ]
    }
}

/// What somebody said that an entity is, in one tenant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntityVerdict {
    /// The tenant.
    pub tenant: TenantId,
    /// The entity.
    pub entity: Entity,
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// Who said so.
    pub made: Made,
}

impl EntityVerdict {
    /// The document id.
    #[must_use]
    pub fn key(tenant: TenantId, entity: &Entity) -> String {
        format!("{tenant}/{}", entity_name(entity))
    }
}

impl Resource for EntityVerdict {
    const KIND: &'static str = "entity_verdict";
    fn id(&self) -> String {
        Self::key(self.tenant, &self.entity)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

/// An entry of a case's timeline. Its id is that of the call that wrote it, so that entries sort by time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseEntry {
    /// The case.
    pub case: CaseId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The call that wrote it: its record in the audit log.
    pub call: CallId,
    /// Several entries of one call are numbered from 0.
    pub part: u16,
    /// What it tells.
    pub kind: EntryKind,
    /// When it was written.
    pub at: Timestamp,
    /// When what it tells happened, where that is another time.
    pub time: Option<Timestamp>,
    /// Who.
    pub actor: Principal,
    /// The agent's run.
    pub run: Option<RunId>,
    /// The operation.
    pub operation: String,
    /// What it says.
    pub text: String,
    /// Detections that it speaks of.
    pub detections: Vec<DetectionId>,
    /// Events that it speaks of.
    pub events: Vec<EventId>,
    /// Evidence that it speaks of.
    pub evidence: Vec<EvidenceId>,
}

impl Resource for CaseEntry {
    const KIND: &'static str = "case_entry";
    fn id(&self) -> String {
        format!("{}/{}/{:05}", self.case, self.call, self.part)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("case", self.case.to_string())]
    }
}

/// A comment on a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseComment {
    /// Its id.
    pub id: CommentId,
    /// The case.
    pub case: CaseId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it says.
    pub text: String,
    /// Who wrote it.
    pub made: Made,
}

impl Resource for CaseComment {
    const KIND: &'static str = "case_comment";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("case", self.case.to_string())]
    }
}

/// A task of a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseTask {
    /// Its id.
    pub id: TaskId,
    /// The case.
    pub case: CaseId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What is to be done.
    pub title: String,
    /// Where it is.
    pub state: TaskState,
    /// Who does it.
    pub assignee: Option<Principal>,
    /// What came of it.
    pub outcome: String,
    /// Who asked for it.
    pub made: Made,
}

impl Resource for CaseTask {
    const KIND: &'static str = "case_task";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("case", self.case.to_string())]
    }
}

/// What a piece of evidence is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exhibit {
    /// An event of the lake; the digest is that of the event as it was read.
    Event(EventId),
    /// The answer to a question, as it was then.
    Query {
        /// The statement.
        sql: String,
        /// The rows, in canonical JSON: what the digest is of.
        rows: String,
        /// How many.
        row_count: u64,
        /// Whether it was the whole answer.
        complete: bool,
    },
    /// A file of a host; the digest is that of its content, which is kept in parts.
    File {
        /// The action that collected it.
        action: ActionId,
        /// The sensor of its host.
        sensor: SensorId,
        /// The path that it had there.
        path: String,
        /// Its length.
        bytes: u64,
        /// SHA-256 of its content, hexadecimal.
        sha256: String,
    },
}

/// A piece of evidence of a case. It never changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseEvidence {
    /// Its id.
    pub id: EvidenceId,
    /// The case.
    pub case: CaseId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it shows.
    pub note: String,
    /// What it is.
    pub exhibit: Exhibit,
    /// Who secured it; the digest is that of the event or the rows.
    pub made: Made,
}

impl Resource for CaseEvidence {
    const KIND: &'static str = "case_evidence";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("case", self.case.to_string())]
    }
}

/// Up to where a tenant's detections are in cases.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaseMark {
    /// The tenant.
    pub tenant: TenantId,
    /// Detections that were found before this are in cases.
    pub found_until: Timestamp,
}

impl Resource for CaseMark {
    const KIND: &'static str = "case_mark";
    fn id(&self) -> String {
        self.tenant.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}
