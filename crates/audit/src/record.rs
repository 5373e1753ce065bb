//! What an entry of a tree says. The entry's bytes are the canonical JSON (RFC 8785) of a [`Leaf`]; every field is bounded so that
//! the largest one fits, since a call whose record does not fit could not happen. Must never hold input: only its digest.

use crate::payload::{Payload, PayloadError};
use crate::rotation::KeyRotation;
use ids::{ApprovalId, CallId, List, Owner, Principal, RunId, TenantId, Text, Timestamp};
use seal::{Digest, INTEGER_MAX};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest entry (tlog-tiles: a 16-bit length).
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// About what the record of a call takes.
const RECORD_BYTES_USUAL: usize = 1024;

/// Why an entry cannot be written or read.
#[derive(Debug, Clone, Eq, PartialEq, Error)]
pub enum RecordError {
    /// Not a record of this format, with what is wrong.
    #[error("is not a record of format 1: {0}")]
    Format(String),
    /// Longer than an entry may be.
    #[error("the record has {0} bytes; at most {ENTRY_BYTES_MAX} fit an entry")]
    Length(usize),
    /// A number that a reader with double precision would read as another.
    #[error("the record holds {0}, which is beyond 2^53")]
    Number(u64),
    /// The same content in another spelling.
    #[error("is not in canonical form (RFC 8785)")]
    Spelling,
}

/// One entry of a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Leaf {
    /// A call through the gate.
    Call(Box<Record>),
    /// The head of a tenant's tree: only in the provider's tree.
    Checkpoint(TenantCheckpoint),
    /// A change of the log's key: only in the provider's tree.
    Rotation(KeyRotation),
}

impl Leaf {
    /// The bytes that are hashed and kept.
    ///
    /// # Errors
    /// [`RecordError::Number`] beyond 2^53, [`RecordError::Length`] past [`ENTRY_BYTES_MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, RecordError> {
        // The structs declare their members in canonical order, so plain serialisation is canonical: a tenth of the
        // time of sorting a tree of values. A test holds it against the sorter.
        let (bytes, largest) = match self {
            Self::Call(record) => {
                let count = record.aggregate.as_ref().map_or(0, |aggregate| aggregate.count);
                // About what one takes, so that the buffer does not grow four times.
                let mut bytes = Vec::with_capacity(RECORD_BYTES_USUAL);
                let written = serde_json::to_writer(&mut bytes, record);
                (written.map(|()| bytes), record.duration_us.max(count))
            }
            Self::Checkpoint(head) => (serde_json::to_vec(head), head.size),
            Self::Rotation(rotation) => (serde_json::to_vec(rotation), 0),
        };
        let bytes = bytes.map_err(|error| RecordError::Format(error.to_string()))?;
        if largest > INTEGER_MAX {
            return Err(RecordError::Number(largest));
        }
        if bytes.len() > ENTRY_BYTES_MAX { Err(RecordError::Length(bytes.len())) } else { Ok(bytes) }
    }

    /// The entry that these bytes are.
    ///
    /// # Errors
    /// [`RecordError`] unless [`Leaf::encode`] gives exactly these bytes: an unknown field or another spelling is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        /// What only a head, and only a rotation, has.
        #[derive(Deserialize)]
        struct Peek {
            root: Option<serde::de::IgnoredAny>,
            rotation: Option<serde::de::IgnoredAny>,
        }
        let failed = |error: serde_json::Error| RecordError::Format(error.to_string());
        let peek: Peek = serde_json::from_slice(bytes).map_err(failed)?;
        let leaf = match (peek.root, peek.rotation) {
            (Some(_), _) => Self::Checkpoint(serde_json::from_slice(bytes).map_err(failed)?),
            (None, Some(_)) => Self::Rotation(serde_json::from_slice(bytes).map_err(failed)?),
            (None, None) => Self::Call(serde_json::from_slice(bytes).map_err(failed)?),
        };
        if leaf.encode()? == bytes { Ok(leaf) } else { Err(RecordError::Spelling) }
    }

    /// In whose tree it belongs.
    #[must_use]
    pub fn owner(&self) -> Owner {
        match self {
            Self::Call(record) => record.tenant.into(),
            Self::Checkpoint(_) | Self::Rotation(_) => Owner::Provider,
        }
    }
}

/// The `v` of an entry: 1. A reader of another number refuses it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FormatVersion;

impl Serialize for FormatVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format!("format version {other} is unknown; this reader knows 1"))),
        }
    }
}

/// One call: who did what to what, on whose behalf, why it was let through, and what came of it.
///
/// Members stand in canonical order (here and in every struct below): see [`Leaf::encode`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What an agent was made of when it called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentDigests>,
    /// For records that stand for many refused calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// The approvals that the decision counted.
    #[serde(default, skip_serializing_if = "empty")]
    pub approvals: List<ApprovalUse, 8>,
    /// The call; the two records of a call share it.
    pub call: CallId,
    /// What policy said.
    pub decision: Decision,
    /// From receipt to this record, in microseconds; at most 2^53 - 1.
    pub duration_us: u64,
    /// What the operation does to the world.
    pub effect: Effect,
    /// SHA-256 over salt and canonical input: see [`Payload`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_digest: Option<Digest>,
    /// For whom, outermost first: an agent's person, a run's starter.
    #[serde(default, skip_serializing_if = "empty")]
    pub on_behalf_of: List<Principal, 16>,
    /// The operation's id, for example `case.open`.
    pub operation: Text<128>,
    /// Where the call came from.
    pub origin: Origin,
    /// What came of it.
    pub outcome: Outcome,
    /// Which record of the call this is.
    pub phase: Phase,
    /// Who called.
    pub principal: Principal,
    /// The agent's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What the platform resolved as target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whose tree it is in; absent for the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// When the record was made.
    pub time: Timestamp,
    /// Format version.
    pub v: FormatVersion,
}

fn empty<T, const MAX: usize>(list: &List<T, MAX>) -> bool {
    list.is_empty()
}

/// The operation that erases a payload, and the type of what it is about: a log, by the id of the call.
const ERASE: (&str, &str) = ("audit.erase_payload", "AuditLog");

impl Record {
    /// The call whose payload was erased, where this records that.
    #[must_use]
    pub fn erased_payload(&self) -> Option<CallId> {
        let target = self.target.as_ref().filter(|target| target.kind.as_str() == ERASE.1)?;
        let done = self.operation.as_str() == ERASE.0 && self.phase == Phase::Call && self.outcome.status == 200;
        target.id.as_str().parse().ok().filter(|_| done && self.outcome.error.is_none())
    }

    /// Whether this payload is the input that this record names.
    ///
    /// # Errors
    /// [`PayloadError`] where it belongs to another call, was changed, or the record names no input.
    pub fn check_payload(&self, payload: &Payload) -> Result<(), PayloadError> {
        if payload.call != self.call {
            return Err(PayloadError::Call);
        }
        match self.input_digest {
            None => Err(PayloadError::Unnamed),
            Some(digest) if payload.digest()? == digest => Ok(()),
            Some(_) => Err(PayloadError::Changed),
        }
    }
}

/// What an operation does to the world.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes who may do what.
    Govern,
    /// Changes nothing.
    Read,
    /// Touches the outside world.
    Respond,
    /// Changes the platform's own records.
    Write,
}

/// Which record of a call this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The only one: decision and outcome together.
    Call,
    /// The first of two: made durable before the effect.
    Intent,
    /// The second of two: what the effect came to.
    Outcome,
}

/// What a call was about.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its id.
    pub id: Text<256>,
    /// The entity's type, for example `case`.
    #[serde(rename = "type")]
    pub kind: Text<64>,
}

/// What policy said.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// What the caller must put up with, for example `rows_max=100`.
    #[serde(default, skip_serializing_if = "empty")]
    pub obligations: List<Text<128>, 16>,
    /// One of the five outcomes.
    pub outcome: Decided,
    /// The policies that determined it.
    #[serde(default, skip_serializing_if = "empty")]
    pub policies: List<Text<80>, 32>,
    /// The digest of the policy set that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<Digest>,
    /// The approval rung, where one was asked for or met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<Text<64>>,
}

/// The five outcomes of a decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// As asked.
    Allow,
    /// Evidence is missing.
    Defer,
    /// No.
    Deny,
    /// With obligations.
    Modify,
    /// With approval.
    StepUp,
}

/// An approval that a decision counted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalUse {
    /// The approval.
    pub approval: ApprovalId,
    /// Who approved.
    pub approvers: List<Principal, 16>,
}

/// What came of a call.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// What went wrong outside, in an outcome record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Text<512>>,
    /// The problem's type, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Text<128>>,
    /// The HTTP status that the call ended with, whatever the face; 0 in an intent.
    pub status: u16,
}

/// Through which face a call came.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// A built-in agent's run.
    Agent,
    /// The command line, over HTTP.
    Cli,
    /// The Model Context Protocol.
    Mcp,
    /// An offline command that started the gate in its own process.
    Offline,
    /// The REST API.
    Rest,
    /// A detection rule.
    Rule,
    /// A schedule or reconciler of the platform.
    Schedule,
}

/// Where a call came from, as the platform saw it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The peer's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Text<64>>,
    /// The face.
    pub face: Face,
    /// The request's id, as in logs and problems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Text<64>>,
    /// What the client calls itself: a claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Text<256>>,
}

/// What an agent was made of when it called.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentDigests {
    /// Its charter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charter: Option<Digest>,
    /// The model: provider, name and parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Digest>,
    /// The prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Digest>,
    /// The skill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill: Option<Digest>,
}

/// How many calls one record stands for.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// How many, at least 1.
    pub count: u64,
    /// The first of them.
    pub since: Timestamp,
    /// The last of them.
    pub until: Timestamp,
}

/// The head of a tenant's tree, as the provider's tree commits to it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantCheckpoint {
    /// The root over them.
    pub root: Digest,
    /// How many entries it had; at most 2^53 - 1.
    pub size: u64,
    /// Whose tree.
    pub tenant: TenantId,
    /// When it was taken.
    pub time: Timestamp,
    /// Format version.
    pub v: FormatVersion,
}
