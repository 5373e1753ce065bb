//! Roles and who holds them where.

use crate::{Effect, Etag, Gone, Limit, Meta, Method, Operation, Page, RoleRef, Slug, example, operation::declare};
use ids::{AssignmentId, List, Principal, PrincipalKind, RoleId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// An operation's id, or `family.*` for all of a family.
// INVARIANT: matches the pattern of its schema.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Serialize)]
pub struct OperationPattern(String);

impl OperationPattern {
    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for OperationPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let good = text.len() <= 100
            && text.split_once('.').is_some_and(|(family, verb)| word(family) && (verb == "*" || word(verb)));
        if good {
            Ok(Self(text))
        } else {
            Err(serde::de::Error::custom("is not an operation; write `resource.verb` or `resource.*`"))
        }
    }
}

impl JsonSchema for OperationPattern {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OperationPattern".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[a-z_]+\\.([a-z_]+|\\*)$", "maxLength": 100 })
    }
}

/// A role: a named set of operations. Shipped roles cannot be changed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Role {
    /// How to name it in `role.assign`: an id, or a shipped role's name.
    pub role: String,
    /// The tenant that it belongs to; absent for the provider's and shipped roles, which every tenant can assign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What people call it.
    pub name: Text<100>,
    /// What it is for.
    pub description: Text<1000>,
    /// Which operations it allows; empty for shipped roles, whose policies say it.
    pub operations: Vec<OperationPattern>,
    /// Which effects it allows.
    pub effects: Vec<Effect>,
    /// Which kinds of principal may hold it.
    pub principals: Vec<PrincipalKind>,
    /// True where it ships with the platform.
    pub shipped: bool,
    /// The version; absent for shipped roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// Create a role.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleCreate {
    /// The tenant that it belongs to; absent for the provider's, which can be assigned everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What people call it, unique within its tenant or the provider.
    pub name: Slug,
    /// What it is for.
    #[serde(default)]
    pub description: Text<1000>,
    /// Which operations it allows, at least one.
    #[schemars(length(min = 1))]
    pub operations: List<OperationPattern, 200>,
    /// Only operations of these effects; all where the list is empty.
    #[serde(default)]
    pub effects: List<Effect, 4>,
    /// Only these kinds of principal; people and programs where the list is empty.
    #[serde(default)]
    pub principals: List<PrincipalKind, 6>,
}

/// Look at one role.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleGet {
    /// Which role.
    pub role: RoleId,
}

/// List the roles that can be assigned in a tenant or at the provider, the shipped ones first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleList {
    /// Where; where nothing is said, in the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Change a role: from then on its holders have the new rights. Fields that are left out stay as they are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleUpdate {
    /// Which role.
    pub role: RoleId,
    /// New description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text<1000>>,
    /// New operations, in place of the old ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub operations: Option<List<OperationPattern, 200>>,
    /// New effects, in place of the old ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effects: Option<List<Effect, 4>>,
    /// Change only if the role still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Delete a role that nobody holds.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleDelete {
    /// Which role.
    pub role: RoleId,
    /// Delete only if the role still has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// One role held by one principal in one place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Assignment {
    /// The assignment's id.
    pub id: AssignmentId,
    /// Who holds the role.
    pub principal: Principal,
    /// The role, by id or shipped name.
    pub role: String,
    /// In which tenant; absent where held at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Where held at the provider: in which tenants it counts, for example `env=prod`; all where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Text<1000>>,
    /// When it was given.
    pub created_at: Timestamp,
}

/// All roles that a principal holds in one place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AssignmentSet {
    /// The assignments.
    pub assignments: Vec<Assignment>,
}

/// Give a principal a role in one tenant, in the tenants that a selector names, or at the provider.
///
/// A principal of one tenant can hold roles in that tenant only.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleAssign {
    /// Who shall hold it: a user, agent or service key.
    pub principal: Principal,
    /// Which role.
    pub role: RoleRef,
    /// In which tenant; absent to hold it at the provider, for every tenant or those of `selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Without `tenant`: only in tenants whose tags fit, for example `env=prod and region=eu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Text<1000>>,
}

/// Take a role away.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleUnassign {
    /// Which assignment.
    pub assignment: AssignmentId,
}

declare! {
    RoleCreate => Role: Meta::govern("role.create", Method::Post, "/v1/roles", "Tenant"),
        json!({ "tenant": example::TENANT, "name": "case-reader", "operations": ["tenant.get", "agent.list"] });
    RoleGet => Role: Meta::read("role.get", Method::Get, "/v1/roles/{role}", "Role"), json!({ "role": example::ROLE });
    RoleList => Page<Role>: Meta::read("role.list", Method::Get, "/v1/roles", "Tenant"), json!({ "tenant": example::TENANT });
    RoleUpdate => Role: Meta::govern("role.update", Method::Patch, "/v1/roles/{role}", "Role").idempotent(),
        json!({ "role": example::ROLE, "operations": ["agent.*"] });
    RoleDelete => Gone: Meta::govern("role.delete", Method::Delete, "/v1/roles/{role}", "Role"), json!({ "role": example::ROLE });
    RoleAssign => Assignment: Meta::govern("role.assign", Method::Post, "/v1/assignments", "Tenant"),
        json!({ "principal": example::USER, "role": "analyst", "tenant": example::TENANT });
    RoleUnassign => Gone: Meta::govern("role.unassign", Method::Delete, "/v1/assignments/{assignment}", "Assignment"),
        json!({ "assignment": example::ASSIGNMENT });
}
