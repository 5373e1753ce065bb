//! Tenants: the customers or environments below the provider.

use crate::{Etag, ExportFile, Job, Limit, Meta, Method, Obligation, Operation, Page, operation::declare};
use ids::{List, TenantId, Text, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A short name: lower-case letters, digits and `-`, 1 to 63 characters, a letter or digit at both ends.
// INVARIANT: matches the pattern of its schema.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct Slug(String);

impl Slug {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Slug {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                "is not a name; write 1 to 63 lower-case letters, digits or `-`, beginning and ending with a letter or digit",
            )
        }
    }
}

impl std::fmt::Display for Slug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Slug {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Slug".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "maxLength": 63 })
    }
}

/// A tag `key=value`, for example `env=prod`; policies and selectors speak of it.
// INVARIANT: matches the pattern of its schema.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct Tag(String);

impl Tag {
    /// The tag, `key=value` or a bare word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Tag {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |part: &str| {
            (1..=63).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
        };
        let good = match text.split_once('=') {
            Some((key, value)) => word(key) && word(value),
            None => word(text),
        };
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err("is not a tag; write `key=value` or a word in lower-case letters, digits, `-`, `_` or `.`")
        }
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Tag {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tag".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9._-]{1,63}(=[a-z0-9._-]{1,63})?$", "maxLength": 127 })
    }
}

/// Whether a tenant's work goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// Everything runs.
    Active,
    /// Its principals cannot sign in and nothing runs; its data stays.
    Suspended,
}

/// A customer or environment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tenant {
    /// The tenant's id.
    pub id: TenantId,
    /// Its short name, unique among tenants.
    pub name: Slug,
    /// What people call it.
    pub display_name: Text<200>,
    /// Tags for selectors and policies, for example `env=prod`.
    pub tags: Vec<Tag>,
    /// Whether its work goes on.
    pub state: TenantState,
    /// How many days the retro-hunt of a rule that goes live looks back, 0 for none; absent: 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retro_hunt_days: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its version; send it back as `if_match` to change exactly this one.
    pub etag: Etag,
}

/// Create a tenant.
///
/// The new tenant is active and empty. Its name must not be taken by another tenant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantCreate {
    /// Short name, unique among tenants.
    pub name: Slug,
    /// What people call it; the name where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Text<200>>,
    /// Tags for selectors and policies, at most 50.
    #[serde(default)]
    pub tags: List<Tag, 50>,
}

/// Look at one tenant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantGet {
    /// Which tenant.
    pub tenant: TenantId,
}

/// List the tenants that you may see.
///
/// A principal of the provider sees all tenants, a principal of one tenant sees its own.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantList {
    /// Only tenants whose tags fit, for example `env=prod and not region=eu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Text<1000>>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Change a tenant's display name or tags.
///
/// Fields that are left out stay as they are. Tags decide what policies and selectors apply: changing them changes
/// rights.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantUpdate {
    /// Which tenant.
    pub tenant: TenantId,
    /// New display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Text<200>>,
    /// New tags, in place of all old ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<List<Tag, 50>>,
    /// How many days the retro-hunt of a rule that goes live looks back: 0 for none, at most 90. A rule's own word comes
    /// first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 90))]
    pub retro_hunt_days: Option<u32>,
    /// Change only if the tenant still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Suspend a tenant: its principals cannot act and nothing of it runs until it is resumed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantSuspend {
    /// Which tenant.
    pub tenant: TenantId,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// Let a suspended tenant's work go on.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantResume {
    /// Which tenant.
    pub tenant: TenantId,
}

/// Delete a suspended tenant for good.
///
/// The tenant must be suspended and must have no users, service keys or agents left that could act. Its audit log stays.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantDelete {
    /// Which tenant.
    pub tenant: TenantId,
    /// Delete only if the tenant still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// List everything that the platform keeps of a tenant as files, page by page, for a tenant that leaves.
///
/// Documents come as one JSON object a line, below `documents/` by kind, without secrets and hashes of secrets; the first file,
/// `about.json`, says how to take the rest: the log with `audit.export`, telemetry with `event.export`. `posse tenant export --out
/// FOLDER` writes them. Only administrators may.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantExport {
    /// Which tenant.
    pub tenant: TenantId,
    /// How many files at most; large ones end a page earlier.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Erase a suspended tenant for good, with a certificate. Take an export first: nothing comes back.
///
/// Deletes the tenant, its documents, jobs and messages, the texts beside its log and its telemetry, destroys the key that sealed
/// its secrets, and writes the files of the state anew, so that no deleted byte is left in them. The records of its log stay: they
/// hold digests, and prove what was done. Answers with a job; its result, and `tenant.certificate`, is a signed note of what was
/// erased, which `posse audit certificate` verifies offline. Takes about twenty minutes, since questions may still read files that
/// were taken out. Refused while a legal hold covers anything. A tenant that was deleted before can be erased too.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantOffboard {
    /// Which tenant.
    pub tenant: TenantId,
    /// Why; stands in the certificate.
    pub reason: Text<1000>,
}

/// Get the certificate of a tenant's erasure: a signed note of what was erased, when and at whose word.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantCertificate {
    /// Which tenant; it is gone.
    pub tenant: TenantId,
}

/// The certificate of an erasure.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ErasureNote {
    /// Whose data it was.
    pub tenant: TenantId,
    /// The signed note (C2SP signed-note): a line that names log and purpose, and one of canonical JSON. Keep it.
    pub certificate: String,
    /// When it was signed.
    pub signed_at: Timestamp,
}

/// Nothing to tell beyond success.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Gone {
    /// The id of what is gone.
    pub id: String,
}

declare! {
    TenantCreate => Tenant: Meta::govern("tenant.create", Method::Post, "/v1/tenants", "Provider"),
        json!({ "name": "acme", "display_name": "Acme Corp", "tags": ["env=prod", "region=eu"] });
    TenantGet => Tenant: Meta::read("tenant.get", Method::Get, "/v1/tenants/{tenant}", "Tenant"),
        json!({ "tenant": example::TENANT });
    TenantList => Page<Tenant>: Meta::read("tenant.list", Method::Get, "/v1/tenants", "Provider").keeps(&[Obligation::MaxRows]),
        json!({ "selector": "env=prod", "limit": 50 });
    TenantUpdate => Tenant: Meta::govern("tenant.update", Method::Patch, "/v1/tenants/{tenant}", "Tenant").idempotent(),
        json!({ "tenant": example::TENANT, "tags": ["env=prod"] });
    TenantSuspend => Tenant: Meta::govern("tenant.suspend", Method::Post, "/v1/tenants/{tenant}/suspend", "Tenant").idempotent(),
        json!({ "tenant": example::TENANT, "reason": "contract ended" });
    TenantResume => Tenant: Meta::govern("tenant.resume", Method::Post, "/v1/tenants/{tenant}/resume", "Tenant").idempotent(),
        json!({ "tenant": example::TENANT });
    TenantExport => Page<ExportFile>: Meta::read("tenant.export", Method::Get, "/v1/tenants/{tenant}/export", "Tenant"),
        json!({ "tenant": example::TENANT, "limit": 100 });
    TenantOffboard => Job: Meta::govern("tenant.offboard", Method::Post, "/v1/tenants/{tenant}/offboard", "Tenant").long_running(),
        json!({ "tenant": example::TENANT, "reason": "the contract ended" });
    TenantCertificate => ErasureNote: Meta::read("tenant.certificate", Method::Get, "/v1/tenants/{tenant}/certificate", "Provider"),
        json!({ "tenant": example::TENANT });
    TenantDelete => Gone: Meta::govern("tenant.delete", Method::Delete, "/v1/tenants/{tenant}", "Tenant"),
        json!({ "tenant": example::TENANT });
}

/// Ids for the examples of all operations: well formed, and of nothing.
pub mod example {
    /// A response action's id.
    pub const ACTION: &str = "action_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// An agent's id.
    pub const AGENT: &str = "agent_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// An approval's id.
    pub const APPROVAL: &str = "approval_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// An assignment's id.
    pub const ASSIGNMENT: &str = "assignment_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A break-glass grant's id.
    pub const BREAK_GLASS: &str = "breakglass_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A call's id.
    pub const CALL: &str = "call_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A case's id.
    pub const CASE: &str = "case_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// Another case's id.
    pub const CASE_OTHER: &str = "case_01jd3k5v9qf8m2x7r4t6w8y0zd";
    /// A credential's id.
    pub const CREDENTIAL: &str = "credential_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A job's id.
    pub const JOB: &str = "job_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// The id of an engagement of the kill switch.
    pub const KILL_SWITCH: &str = "killswitch_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A lockdown's id.
    pub const LOCKDOWN: &str = "lockdown_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A rule pack's id.
    pub const PACK: &str = "pack_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A policy's id.
    pub const POLICY: &str = "policy_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A result's id.
    pub const RESULT: &str = "result_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A role's id.
    pub const ROLE: &str = "role_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A rule's id.
    pub const RULE: &str = "rule_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// The id of an exception from rules.
    pub const RULE_EXCEPTION: &str = "exception_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A sensor's id.
    pub const SENSOR: &str = "sensor_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// The id of a sensor's task.
    pub const SENSOR_TASK: &str = "sensortask_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A service key's id.
    pub const SERVICE: &str = "service_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A tenant's id.
    pub const TENANT: &str = "tenant_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A user's id.
    pub const USER: &str = "user_01jd3k5v9qf8m2x7r4t6w8y0zc";
    /// A webhook's id.
    pub const WEBHOOK: &str = "webhook_01jd3k5v9qf8m2x7r4t6w8y0zc";
}
