//! Service keys: the identity of a program that is not an agent.

use crate::{Etag, Gone, Limit, Meta, Method, NewCredential, Operation, Page, Slug, example, operation::declare};
use ids::{Principal, ServiceKeyId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A program's identity.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ServiceKey {
    /// The key's id; the program acts as this principal.
    pub id: ServiceKeyId,
    /// The tenant it belongs to; absent for the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name, unique within its tenant or the provider.
    pub name: Slug,
    /// When its present secret ends.
    pub expires_at: Timestamp,
    /// True after `service_key.revoke`.
    pub revoked: bool,
    /// Who made it: that person judges nothing that the key proposes. Absent where it was made before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Principal>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The version.
    pub etag: Etag,
}

/// A service key with its new secret.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NewServiceKey {
    /// The key.
    pub key: ServiceKey,
    /// Its secret, shown this once.
    pub credential: NewCredential,
}

/// Create a service key. It holds no role: use `role.assign` with its id as principal.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceKeyCreate {
    /// The tenant it belongs to; absent for the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name, unique within its tenant or the provider.
    pub name: Slug,
    /// How long its secret lives, in seconds: 60 to 31,536,000; 90 days where nothing is said.
    #[serde(default = "ninety_days")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub ttl_secs: u32,
}

fn ninety_days() -> u32 {
    90 * 24 * 3600
}

/// List the service keys of one tenant or of the provider.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceKeyList {
    /// Whose keys; where nothing is said, those of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Give a service key a new secret; the old one goes on for the overlap.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceKeyRotate {
    /// Which key.
    pub service_key: ServiceKeyId,
    /// How long the new secret lives, in seconds: 60 to 31,536,000; 90 days where nothing is said.
    #[serde(default = "ninety_days")]
    #[schemars(range(min = 60, max = 31_536_000))]
    pub ttl_secs: u32,
    /// How long the old secret goes on, in seconds: 0 (where nothing is said) to 604,800.
    #[serde(default)]
    #[schemars(range(max = 604_800))]
    pub overlap_secs: u32,
}

/// Revoke a service key for good: its secrets are dead at once.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceKeyRevoke {
    /// Which key.
    pub service_key: ServiceKeyId,
}

declare! {
    ServiceKeyCreate => NewServiceKey: Meta::govern("service_key.create", Method::Post, "/v1/service-keys", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "shipper", "ttl_secs": 7776000 });
    ServiceKeyList => Page<ServiceKey>: Meta::read("service_key.list", Method::Get, "/v1/service-keys", "Tenant"),
        json!({ "tenant": example::TENANT });
    ServiceKeyRotate => NewServiceKey: Meta::govern("service_key.rotate", Method::Post, "/v1/service-keys/{service_key}/rotate", "ServiceKey"),
        json!({ "service_key": example::SERVICE, "overlap_secs": 3600 });
    ServiceKeyRevoke => Gone: Meta::govern("service_key.revoke", Method::Delete, "/v1/service-keys/{service_key}", "ServiceKey"),
        json!({ "service_key": example::SERVICE });
}
