//! The tamper-evident record: look, prove, take away.

use crate::{Limit, Meta, Method, Operation, Page, example, operation::declare};
use ids::{CallId, Principal, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One leaf of a log.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Its place in the log, from 0.
    pub index: u64,
    /// The call that it records.
    pub call: CallId,
    /// When.
    pub time: Timestamp,
    /// The record as it is hashed: principal, chain, operation, target, digest of the input, decision, outcome.
    pub record: Value,
}

/// List the records of one log, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditList {
    /// Whose log; where nothing is said, that of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only records of this principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// Only records of this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Text<100>>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// A record with the input that it digests, where that is still kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditDetail {
    /// The leaves of the call: one, or intent and outcome.
    pub records: Vec<AuditRecord>,
    /// The canonical input, with secrets blanked; absent once it expired or was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// True where the input was erased with `audit.erase_payload`: the records and their proofs stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub input_erased: bool,
}

/// Look at the record of one call, with its input.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditGet {
    /// Which call.
    pub call: CallId,
    /// In whose log; where nothing is said, in that of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

/// A proof (RFC 6962) with all that is needed to check it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditProof {
    /// The record's place; absent in a consistency proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Size of the older tree; absent in an inclusion proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_size: Option<u64>,
    /// Size of the tree that the proof leads to.
    pub size: u64,
    /// Hash of the leaf, base64; absent in a consistency proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_hash: Option<String>,
    /// The hashes of the proof, base64, in the order of RFC 6962 section 2.1.
    pub hashes: Vec<String>,
    /// The signed checkpoint of that size.
    pub checkpoint: String,
}

/// Prove that a call's record is in the log, under a signed checkpoint.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditProve {
    /// Which call.
    pub call: CallId,
    /// In whose log; where nothing is said, in that of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

/// Prove that the log of today only adds to an older one.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditConsistency {
    /// Size of the older tree, 1 or more.
    #[schemars(range(min = 1, max = 9_007_199_254_740_992_u64))]
    pub from_size: u64,
    /// Whose log; where nothing is said, that of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

/// A signed statement of how long a log is and what it holds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditCheckpointNote {
    /// The signed note (C2SP tlog-checkpoint): origin, size, root hash, signature.
    pub checkpoint: String,
    /// The size it speaks of.
    pub size: u64,
    /// When it was signed.
    pub signed_at: Timestamp,
}

/// Get a checkpoint that covers every record so far, signed now if need be.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditCheckpoint {
    /// Whose log; where nothing is said, that of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

/// The key that signs checkpoints.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditPublicKey {
    /// The key as a note verifier key (C2SP signed-note): `name+hash+key`. Keep it apart from the log.
    pub verifier_key: String,
}

/// Get the public key under which the log verifies.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditKey {}

/// Sign from now on with a new key. The old one signs over to it in the log, so whoever holds the old public key can follow.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditRotateKey {}

/// A file of an export.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExportFile {
    /// Its path in the folder.
    pub path: String,
    /// Its bytes, base64.
    pub content: String,
}

/// List the files of a log's export, page by page; written into a folder they verify offline.
///
/// `posse audit export` does both. Without a tenant the provider's export holds every tenant's log.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditExport {
    /// Whose log; where nothing is said, that of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many files at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`; all pages are of the same checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// List the files of an evidence pack, page by page: an export of the log with the population that you name, a sample of it
/// that your seed draws, and for each drawn record who approved, which policies decided, and a proof that it is in the log.
///
/// `posse audit evidence-pack --out FOLDER` writes the folder; `posse audit verify FOLDER --key FILE` checks all of it offline:
/// that the population is complete, that the seed draws this sample and no other, and that every statement is the record's own.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditEvidencePack {
    /// Whose log; where nothing is said, that of the caller's own tenant or provider. The provider's pack holds every tenant's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// The population begins with records made then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The population ends before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Only records of this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Text<128>>,
    /// Only records of this principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// Only what touched the outside world, changed who may do what, or needed an approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub consequential: bool,
    /// What draws the sample: any text, stated in the pack. Let it come from the auditor, who is the one to be convinced that nobody
    /// chose what is drawn.
    pub seed: Text<128>,
    /// How many records to draw: 0 to 1000; 25 where nothing is said.
    #[serde(default = "twenty_five")]
    #[schemars(range(min = 0, max = 1000))]
    pub sample: u32,
    /// How many files at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`; all pages are of the same checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// List the records of one log as OCSF 1.8 API Activity events (class 6003), oldest first, for a SIEM or a data lake.
///
/// Each event carries what a receiver needs to check it later: `raw_data` is the entry as it is hashed, `raw_data_hash` its SHA-256, and
/// `unmapped.record_integrity` its place, its RFC 6962 leaf hash, and size, root and digest of a signed checkpoint that covers it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditListOcsf {
    /// Whose log; where nothing is said, that of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only records of this principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// Only records of this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Text<128>>,
    /// Only records made then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// A record as an OCSF event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct OcsfRecord(pub Value);

/// Erase the input of one call, with its salt: personal data, or a secret that was put where none belongs.
///
/// The records of the call stay, with the digest of what was erased, and so do all proofs; who erased it and why is a record of its own,
/// by which `posse audit verify` tells an erased input from one that is missing. It cannot be undone.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditErasePayload {
    /// The call whose input is erased.
    pub call: CallId,
    /// In whose log; where nothing is said, in that of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// What was erased.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErasedPayload {
    /// The call.
    pub call: CallId,
    /// The digests that stay, of each input that was erased.
    pub input_digests: Vec<String>,
}

/// Of what kind an anchor is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnchorKind {
    /// A file that lines are added to.
    File,
    /// An S3-compatible bucket, an object each time.
    S3,
    /// A webhook, signed as Standard Webhooks say.
    Webhook,
}

/// A place outside where checkpoints are kept, so that a log that is rolled back or replaced is noticed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditAnchor {
    /// Its name in the configuration.
    pub name: String,
    /// Of what kind.
    pub kind: AnchorKind,
    /// Where it leads: a file, or scheme and host.
    pub place: String,
    /// True where the last attempt failed, or none came through within three times its interval.
    pub failing: bool,
    /// When checkpoints were last put there since the start of this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchored_at: Option<Timestamp>,
    /// The size of the provider's log as it was then: its checkpoint commits to every tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchored_size: Option<u64>,
    /// Checkpoints put there since the start.
    pub checkpoints: u64,
    /// Attempts that failed since the last that did not.
    pub failures: u32,
    /// Since when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// List the places outside where checkpoints are kept, and whether they get there.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditListAnchors {}

const fn twenty_five() -> u32 {
    25
}

declare! {
    AuditList => Page<AuditRecord>: Meta::read("audit.list", Method::Get, "/v1/audit", "AuditLog"), json!({ "limit": 20 });
    AuditGet => AuditDetail: Meta::read("audit.get", Method::Get, "/v1/audit/calls/{call}", "AuditLog"), json!({ "call": example::CALL });
    AuditProve => AuditProof: Meta::read("audit.prove", Method::Get, "/v1/audit/calls/{call}/proof", "AuditLog"), json!({ "call": example::CALL });
    AuditConsistency => AuditProof: Meta::read("audit.consistency", Method::Get, "/v1/audit/consistency", "AuditLog"), json!({ "from_size": 10 });
    AuditCheckpoint => AuditCheckpointNote: Meta::read("audit.checkpoint", Method::Post, "/v1/audit/checkpoint", "AuditLog"), json!({});
    AuditKey => AuditPublicKey: Meta::read("audit.key", Method::Get, "/v1/audit/key", "AuditLog"), json!({});
    AuditRotateKey => AuditPublicKey: Meta::govern("audit.rotate_key", Method::Post, "/v1/audit/key/rotate", "AuditLog"), json!({});
    AuditExport => Page<ExportFile>: Meta::read("audit.export", Method::Get, "/v1/audit/export", "AuditLog"), json!({ "limit": 100 });
    AuditEvidencePack => Page<ExportFile>: Meta::read("audit.evidence_pack", Method::Get, "/v1/audit/evidence-pack", "AuditLog"),
        json!({ "seed": "dice 4 2 6 1 5", "consequential": true, "sample": 25 });
    AuditListOcsf => Page<OcsfRecord>: Meta::read("audit.list_ocsf", Method::Get, "/v1/audit/ocsf", "AuditLog"), json!({ "limit": 100 });
    AuditErasePayload => ErasedPayload: Meta::govern("audit.erase_payload", Method::Post, "/v1/audit/calls/{call}/erase-payload", "AuditLog").idempotent(),
        json!({ "call": example::CALL, "reason": "a customer's passport number was pasted into the title" });
    AuditListAnchors => Page<AuditAnchor>: Meta::read("audit.list_anchors", Method::Get, "/v1/audit/anchors", "Provider"), json!({});
}
