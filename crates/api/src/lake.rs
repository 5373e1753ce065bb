//! The lake itself: what it holds, how long it is kept, and its upkeep.

use crate::{Etag, Job, Meta, Method, Operation, Slug, example, operation::declare};
use ids::{List, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What a table holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct LakeTable {
    /// Its name, as SQL knows it.
    pub table: String,
    /// Rows in files.
    pub rows: u64,
    /// Rows that are not in a file yet; questions see them.
    pub hot_rows: u64,
    /// Its files.
    pub files: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// When the earliest event happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When the latest event happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

/// What the lake holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct LakeStatus {
    /// The tables that hold something.
    pub items: Vec<LakeTable>,
    /// The newest snapshot.
    pub snapshot: u64,
    /// Records that are durable and not searchable yet.
    pub behind: u64,
    /// Whether shippers are taken from: `open`, `busy` or `stopped`.
    pub pressure: String,
}

/// See what a tenant's tables hold; without a tenant, for those who may, the whole lake.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeStatusGet {
    /// Whose; where nothing is said, the caller's own tenant or, for the provider's, the whole lake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

/// How long the rows of one OCSF class are kept.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassRetention {
    /// The class, for example 1007.
    #[schemars(range(max = 999_999))]
    pub class_uid: u32,
    /// How many days: 1 to 36,500.
    #[schemars(range(min = 1, max = 36_500))]
    pub days: u32,
}

/// A legal hold: nothing in it is removed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Its name.
    pub name: Slug,
    /// Events at or after this instant.
    pub since: Timestamp,
    /// Events before this instant.
    pub until: Timestamp,
    /// Why, for example a matter's number.
    pub reason: Text<1000>,
}

/// How long a tenant's rows are kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Retention {
    /// Whose.
    pub tenant: TenantId,
    /// How many days, counted from the later of event and ingest; absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// Classes that are kept longer or shorter.
    pub classes: Vec<ClassRetention>,
    /// Legal holds.
    pub holds: Vec<Hold>,
    /// The version; absent as long as nothing was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// See how long a tenant's rows are kept, and its legal holds.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeRetention {
    /// Whose.
    pub tenant: TenantId,
}

/// Set how long a tenant's rows are kept. What is past its time is removed at the next compaction.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeSetRetention {
    /// Whose.
    pub tenant: TenantId,
    /// How many days, counted from the later of event and ingest: 1 to 36,500; where nothing is said, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36_500))]
    pub days: Option<u32>,
    /// Classes that are kept longer or shorter.
    #[serde(default)]
    pub classes: List<ClassRetention, 100>,
}

/// Put a legal hold on a span of a tenant's events: nothing in it is removed until the hold is released.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeHold {
    /// Whose.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: Slug,
    /// Events at or after this instant.
    pub since: Timestamp,
    /// Events before this instant.
    pub until: Timestamp,
    /// Why, for example a matter's number; stays on the record.
    pub reason: Text<1000>,
}

/// Release a legal hold.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeReleaseHold {
    /// Whose.
    pub tenant: TenantId,
    /// The hold's name.
    pub name: Slug,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// Merge a tenant's small files and remove what is past its time, now and not at the next turn.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeCompact {
    /// Whose.
    pub tenant: TenantId,
}

/// What a compaction did.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Compacted {
    /// Files before.
    pub files_before: u64,
    /// Files after.
    pub files_after: u64,
    /// Bytes before.
    pub bytes_before: u64,
    /// Bytes after.
    pub bytes_after: u64,
    /// Rows that were removed because their time was over.
    pub rows_removed: u64,
}

/// Remove every event of a tenant from the lake, its memory and its log, except what a legal hold covers.
///
/// For good, and only of a suspended tenant: nothing may come in meanwhile. Runs as a job. Questions that are under way still
/// read the old files; these are gone from the disk ten minutes later. `tenant.delete` does the same by itself.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LakeErase {
    /// Whose.
    pub tenant: TenantId,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// What an erasure did.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Erased {
    /// Rows that are gone.
    pub rows_removed: u64,
    /// Rows that a legal hold keeps.
    pub rows_held: u64,
}

declare! {
    LakeStatusGet => LakeStatus: Meta::read("lake.status", Method::Get, "/v1/lake", "Tenant"),
        json!({ "tenant": example::TENANT });
    LakeRetention => Retention: Meta::read("lake.retention", Method::Get, "/v1/tenants/{tenant}/lake/retention", "Tenant"),
        json!({ "tenant": example::TENANT });
    LakeSetRetention => Retention: Meta::govern("lake.set_retention", Method::Put, "/v1/tenants/{tenant}/lake/retention", "Tenant"),
        json!({ "tenant": example::TENANT, "days": 365, "classes": [{ "class_uid": 4001, "days": 30 }] });
    LakeHold => Retention: Meta::govern("lake.hold", Method::Post, "/v1/tenants/{tenant}/lake/holds", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "matter-17", "since": "2026-03-01T00:00:00Z", "until": "2026-04-01T00:00:00Z", "reason": "matter 17" });
    LakeReleaseHold => Retention: Meta::govern("lake.release_hold", Method::Post, "/v1/tenants/{tenant}/lake/holds/{name}/release", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "matter-17", "reason": "settled" });
    LakeCompact => Job: Meta::write("lake.compact", Method::Post, "/v1/tenants/{tenant}/lake/compact", "Tenant").idempotent().long_running(),
        json!({ "tenant": example::TENANT });
    LakeErase => Job: Meta::govern("lake.erase", Method::Post, "/v1/tenants/{tenant}/lake/erase", "Tenant").long_running(),
        json!({ "tenant": example::TENANT, "reason": "the contract ended" });
}
