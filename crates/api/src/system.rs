//! The installation: what it is, and its limits.

use crate::{Meta, Method, Operation, operation::declare};
use ids::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What this installation is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SystemFacts {
    /// Always `posse`.
    pub product: String,
    /// Version of the binary.
    pub version: String,
    /// `sqlite` or `postgres`.
    pub store: String,
    /// Number of operations.
    pub operations: u32,
    /// Digest of the policy set that binds.
    pub policy_version: String,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// True where a person may approve their own proposals: loud on purpose.
    pub self_approval: bool,
}

/// Show what this installation is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemInfo {}

/// The limits that every call meets.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Greatest request body, in bytes.
    pub body_bytes_max: u64,
    /// Greatest nesting of a JSON input.
    pub json_depth_max: u32,
    /// Calls per second that one principal may make, sustained.
    pub calls_per_second: u32,
    /// Calls that one principal may make at once, before the sustained rate holds.
    pub calls_burst: u32,
    /// How long an idempotency key is remembered, in seconds.
    pub idempotency_ttl_secs: u32,
    /// How long an approval waits before it is denied, in seconds.
    pub approval_ttl_secs: u32,
    /// Greatest page of a list.
    pub page_items_max: u32,
}

/// Show the limits that calls meet.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemLimits {}

declare! {
    SystemInfo => SystemFacts: Meta::read("system.info", Method::Get, "/v1/system", "Provider"), json!({});
    SystemLimits => Limits: Meta::read("system.limits", Method::Get, "/v1/system/limits", "Provider"), json!({});
}
