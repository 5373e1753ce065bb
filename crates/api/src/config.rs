//! What is declared: everything that people set up, as one answer that a file can be compared with.

use crate::{
    Agent, Assignment, Meta, Method, Operation, PackAssignment, Policy, PolicyTestCase, Retention, Role, RuleException,
    Source, Tenant, User, example, operation::declare,
};
use ids::{List, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// An agent with its definition.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeclaredAgent {
    /// The agent.
    pub agent: Agent,
    /// Its definition: Markdown with YAML front matter; absent while it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Text<262_144>>,
}

/// A policy document in its newest version, with its tests.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeclaredPolicy {
    /// The document.
    pub policy: Policy,
    /// Tests that must pass before it can bind.
    pub tests: Vec<PolicyTestCase>,
}

/// Everything that is declared in one place: at the provider, or in one tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeclaredPlace {
    /// The tenant; absent for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// How long its rows are kept; absent for the provider, and where nothing was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Its sources.
    pub sources: Vec<Source>,
    /// Its people, without secrets; also those who were deactivated.
    pub users: Vec<User>,
    /// Its agents; also those that were retired.
    pub agents: Vec<DeclaredAgent>,
    /// Its own roles.
    pub roles: Vec<Role>,
    /// Who holds which role there.
    pub assignments: Vec<Assignment>,
    /// Which packs run there, and which of their rules are off.
    pub packs: Vec<PackAssignment>,
    /// Exceptions from rules, also those that have expired.
    pub exceptions: Vec<RuleException>,
    /// The policy documents of this installation; of the provider only.
    pub policies: Vec<DeclaredPolicy>,
}

/// What is declared, place by place.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Declared {
    /// When it was read, by the platform's clock.
    pub at: Timestamp,
    /// One entry for each place asked for.
    pub items: Vec<DeclaredPlace>,
}

/// Show everything that is declared: in your own place, or in the tenants that you name.
///
/// Tenants with tags and retention, sources, people without secrets, roles and who holds them, agents with their
/// definitions, rule packs and exceptions, policies. `posse config export` writes it as a file, `posse config plan`
/// compares a file with it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigGet {
    /// In which tenants; where the list is empty, in the caller's own tenant or at the provider.
    #[serde(default)]
    pub tenants: List<TenantId, 200>,
}

declare! {
    ConfigGet => Declared: Meta::read("config.get", Method::Get, "/v1/config", "Tenant"),
        json!({ "tenants": [example::TENANT] });
}
