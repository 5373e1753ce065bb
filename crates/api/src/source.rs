//! Sources: where a tenant's telemetry comes from, the keys that may send to them, and how they fare.

use crate::{Etag, Gone, Limit, Meta, Method, NewCredential, Operation, Page, example, operation::declare};
use ids::{CredentialId, List, TenantId, Text, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A source's name: lower-case letters, digits, `-`, `_` and `.`, 1 to 64 characters, a letter or digit first.
// INVARIANT: matches the pattern of its schema.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize)]
pub struct SourceName(Text<64>);

impl SourceName {
    /// The name as text.
    #[must_use]
    pub fn text(&self) -> &Text<64> {
        &self.0
    }
}

impl std::str::FromStr for SourceName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str = "is not a source's name; write 1 to 64 lower-case letters, digits, `-`, `_` or `.`, a letter or digit first";
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if first && text.bytes().all(inner) { Text::new(text).map(Self).map_err(|_| WHY) } else { Err(WHY) }
    }
}

impl std::fmt::Display for SourceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SourceName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for SourceName {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "SourceName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$", "maxLength": 64 })
    }
}

/// Where telemetry of one kind comes from.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name, unique in the tenant: `POST /v1/ingest/{name}` sends to it.
    pub name: SourceName,
    /// What it is, for people.
    pub description: Text<1000>,
    /// The built-in mapping that its records are read with; absent: told from the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Text<64>>,
    /// Its own mapping file, in place of a built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping_text: Option<Text<65536>>,
    /// Whether it takes records.
    pub enabled: bool,
    /// After how many seconds of silence a finding is raised; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_after_secs: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The version.
    pub etag: Etag,
}

/// Create a source, so that shippers can send to it. Get a key for it with `source.create_key`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceCreate {
    /// Whose.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: SourceName,
    /// What it is, for people.
    #[serde(default)]
    pub description: Text<1000>,
    /// A built-in mapping, for example `cloudtrail`, `winlogbeat`, `zeek`; where nothing is said, told from the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Text<64>>,
    /// A mapping file of its own (see `source.test_mapping`), in place of a built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping_text: Option<Text<65536>>,
    /// After how many seconds of silence a finding is raised: 60 to 2,592,000; where nothing is said, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub silent_after_secs: Option<u32>,
}

/// Look at one source.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceGet {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub source: SourceName,
}

/// List a tenant's sources; without a tenant, for the provider's principals, those of every tenant.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceList {
    /// Whose; where nothing is said, the caller's own tenant or, for the provider's, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Change the named fields of a source.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceUpdate {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub source: SourceName,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text<1000>>,
    /// A built-in mapping; an empty text lets it be told from the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Text<64>>,
    /// A mapping file of its own; an empty text takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping_text: Option<Text<65536>>,
    /// Whether it takes records; its keys are refused while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// After how many seconds of silence a finding is raised: 60 to 2,592,000; 0 for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2_592_000))]
    pub silent_after_secs: Option<u32>,
    /// Only if this is still its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Delete a source and its keys. Its events stay until their retention ends.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceDelete {
    /// Whose.
    pub tenant: TenantId,
    /// Its name.
    pub source: SourceName,
}

/// An ingest key: good for sending to one source of one tenant, and for nothing else.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct IngestKey {
    /// Its id.
    pub id: CredentialId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The source it may send to.
    pub source: SourceName,
    /// What holds it, for people.
    pub name: Text<200>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// True after `source.revoke_key`.
    pub revoked: bool,
}

/// An ingest key with its secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewIngestKey {
    /// The key.
    pub key: IngestKey,
    /// Its secret, shown this once: the bearer token, the password of Basic, or the HEC token of a shipper.
    pub credential: NewCredential,
}

/// Create an ingest key for a source. Its secret is shown this once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceCreateKey {
    /// Whose.
    pub tenant: TenantId,
    /// The source's name.
    pub source: SourceName,
    /// What will hold it, for people, for example `fluent-bit on web-3`.
    #[serde(default)]
    pub name: Text<200>,
    /// How long it lives, in seconds: 60 to 157,680,000 (five years); one year where nothing is said.
    #[serde(default = "one_year")]
    #[schemars(range(min = 60, max = 157_680_000))]
    pub ttl_secs: u32,
}

fn one_year() -> u32 {
    365 * 24 * 3600
}

/// List the ingest keys of a source, without their secrets.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceListKeys {
    /// Whose.
    pub tenant: TenantId,
    /// The source's name.
    pub source: SourceName,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Revoke an ingest key for good: it is dead at once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceRevokeKey {
    /// Whose.
    pub tenant: TenantId,
    /// The source's name.
    pub source: SourceName,
    /// Which key.
    pub key: CredentialId,
}

/// A reason and how often it was.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReasonCount {
    /// The reason, in one word.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// How a source fares. Counts are since the server started, unless they say otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct SourceHealth {
    /// Its name.
    pub source: String,
    /// Whether it is one that was created; false for what is told from the records alone.
    pub known: bool,
    /// `ok`, `silent`, `disabled`, `refusing` or `never_seen`.
    pub state: String,
    /// Records made durable.
    pub records: u64,
    /// Their raw bytes.
    pub bytes: u64,
    /// Records a second over the last minute.
    pub records_per_second: f64,
    /// Records of batches that were sent again and counted once.
    pub duplicates: u64,
    /// Records not taken, by reason.
    pub rejected: Vec<ReasonCount>,
    /// Batches refused whole, by reason; their senders were told.
    pub refused: Vec<ReasonCount>,
    /// Datagrams that had to be dropped.
    pub dropped: u64,
    /// Records that could not be read and are in `dead_letters`.
    pub dead_letters: u64,
    /// Share of the records' fields that no mapping names, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmapped_share: Option<f64>,
    /// Seconds from receipt until searchable, of the last batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_secs: Option<f64>,
    /// Seconds by which the source's clock is ahead of ours (negative: behind), median of the last batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew_secs: Option<f64>,
    /// When the last batch came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// When the last event in it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<Timestamp>,
}

/// How sources fare.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SourceHealths {
    /// The sources, by name.
    pub items: Vec<SourceHealth>,
}

/// See how a tenant's sources fare: rates, lag, what was refused, dropped, unreadable or unmapped.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceHealthGet {
    /// Whose; where nothing is said, the caller's own tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceName>,
}

/// Try a mapping on sample records: what they become, and which fields nothing names. Nothing is stored.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceTestMapping {
    /// For which tenant; where nothing is said, the caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// A built-in mapping by name; where neither is said, told from the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Text<64>>,
    /// The text of a mapping file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping_text: Option<Text<65536>>,
    /// The records, each as its source writes it; at most 50.
    pub samples: List<Text<65536>, 50>,
}

/// What one sample became.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct MappedSample {
    /// The mapping that read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// The record in OCSF; absent where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsf: Option<Value>,
    /// Paths of the record's fields that the mapping does not name.
    pub unmapped: Vec<String>,
    /// What is wrong with the OCSF form, or why the record could not be read.
    pub faults: Vec<String>,
}

/// What a mapping makes of samples.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct MappingTest {
    /// One entry for each sample, in their order.
    pub items: Vec<MappedSample>,
    /// Share of the samples' fields that no mapping names, 0 to 1.
    pub unmapped_share: f64,
}

declare! {
    SourceCreate => Source: Meta::write("source.create", Method::Post, "/v1/tenants/{tenant}/sources", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "cloudtrail", "mapping": "cloudtrail" });
    SourceGet => Source: Meta::read("source.get", Method::Get, "/v1/tenants/{tenant}/sources/{source}", "Source"),
        json!({ "tenant": example::TENANT, "source": "cloudtrail" });
    SourceList => Page<Source>: Meta::read("source.list", Method::Get, "/v1/sources", "Tenant"),
        json!({ "tenant": example::TENANT });
    SourceUpdate => Source: Meta::write("source.update", Method::Patch, "/v1/tenants/{tenant}/sources/{source}", "Source").idempotent(),
        json!({ "tenant": example::TENANT, "source": "cloudtrail", "enabled": false });
    SourceDelete => Gone: Meta::write("source.delete", Method::Delete, "/v1/tenants/{tenant}/sources/{source}", "Source"),
        json!({ "tenant": example::TENANT, "source": "cloudtrail" });
    SourceCreateKey => NewIngestKey: Meta::govern("source.create_key", Method::Post, "/v1/tenants/{tenant}/sources/{source}/keys", "Source"),
        json!({ "tenant": example::TENANT, "source": "cloudtrail", "name": "fluent-bit on web-3" });
    SourceListKeys => Page<IngestKey>: Meta::read("source.list_keys", Method::Get, "/v1/tenants/{tenant}/sources/{source}/keys", "Source"),
        json!({ "tenant": example::TENANT, "source": "cloudtrail" });
    SourceRevokeKey => Gone: Meta::govern("source.revoke_key", Method::Delete, "/v1/tenants/{tenant}/sources/{source}/keys/{key}", "Source"),
        json!({ "tenant": example::TENANT, "source": "cloudtrail", "key": example::CREDENTIAL });
    SourceHealthGet => SourceHealths: Meta::read("source.health", Method::Get, "/v1/source-health", "Tenant"),
        json!({ "tenant": example::TENANT });
    SourceTestMapping => MappingTest: Meta::read("source.test_mapping", Method::Post, "/v1/sources/test-mapping", "Tenant"),
        json!({ "tenant": example::TENANT, "mapping": "cloudtrail", "samples": ["{\"eventVersion\":\"1.08\"}"] });
}
