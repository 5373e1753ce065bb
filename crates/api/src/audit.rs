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
    /// The canonical input, with secrets blanked; absent once it expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
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

declare! {
    AuditList => Page<AuditRecord>: Meta::read("audit.list", Method::Get, "/v1/audit", "AuditLog"), json!({ "limit": 20 });
    AuditGet => AuditDetail: Meta::read("audit.get", Method::Get, "/v1/audit/calls/{call}", "AuditLog"), json!({ "call": example::CALL });
    AuditProve => AuditProof: Meta::read("audit.prove", Method::Get, "/v1/audit/calls/{call}/proof", "AuditLog"), json!({ "call": example::CALL });
    AuditConsistency => AuditProof: Meta::read("audit.consistency", Method::Get, "/v1/audit/consistency", "AuditLog"), json!({ "from_size": 10 });
    AuditCheckpoint => AuditCheckpointNote: Meta::read("audit.checkpoint", Method::Post, "/v1/audit/checkpoint", "AuditLog"), json!({});
    AuditKey => AuditPublicKey: Meta::read("audit.key", Method::Get, "/v1/audit/key", "AuditLog"), json!({});
    AuditRotateKey => AuditPublicKey: Meta::govern("audit.rotate_key", Method::Post, "/v1/audit/key/rotate", "AuditLog"), json!({});
    AuditExport => Page<ExportFile>: Meta::read("audit.export", Method::Get, "/v1/audit/export", "AuditLog"), json!({ "limit": 100 });
}
