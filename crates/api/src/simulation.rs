//! Trying a policy before it binds: recorded decisions decided again under a draft, and what the draft would grant.

use crate::{Authority, DecisionKind, Meta, Method, Operation, example, operation::declare};
use ids::{CallId, PolicyId, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A recorded call that would be decided otherwise.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangedDecision {
    /// The call.
    pub call: CallId,
    /// When it was decided.
    pub at: Timestamp,
    /// Who called.
    pub principal: String,
    /// Which operation.
    pub operation: String,
    /// In which tenant; absent for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What the policies that bind now decide.
    pub before: DecisionKind,
    /// What would be decided.
    pub after: DecisionKind,
    /// The policies that would decide, by `document/id`.
    pub policies: Vec<String>,
}

/// What somebody with a role could do that they cannot do now, or no more.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoleShift {
    /// The role, by id or shipped name; absent for somebody without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The kind of principal.
    pub principal_kind: ids::PrincipalKind,
    /// The operation.
    pub operation: String,
    /// Where: the tags of the tenants; absent for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_tags: Option<Vec<String>>,
    /// What they may do now.
    pub before: Authority,
    /// What they could do.
    pub after: Authority,
}

/// How the recorded decisions of one kind would change.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangeCount {
    /// The operation.
    pub operation: String,
    /// What is decided now.
    pub before: DecisionKind,
    /// What would be decided.
    pub after: DecisionKind,
    /// How many recorded calls.
    pub calls: u64,
}

/// What a draft would change.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Simulation {
    /// Recorded decisions that were decided again.
    pub decisions: u64,
    /// Of these, how many would be decided otherwise.
    pub changed: u64,
    /// Records that could not be read, for example of an operation that is no more.
    pub unreadable: u64,
    /// From when.
    pub since: Timestamp,
    /// Until when: earlier than the end of the span where `complete` is false.
    pub until: Timestamp,
    /// Whether every recorded decision of the span was decided again.
    pub complete: bool,
    /// What this cannot show.
    pub coverage: Vec<String>,
    /// The changes by operation and outcome.
    pub counts: Vec<ChangeCount>,
    /// The first changed decisions, oldest first.
    pub items: Vec<ChangedDecision>,
    /// True where nothing that was replayed, and no cell of the roles' matrix, becomes wider.
    pub grants_nothing_new: bool,
    /// Cells of the roles' matrix that become wider, at most 1000.
    pub grants: Vec<RoleShift>,
    /// Cells of the roles' matrix that become narrower, at most 1000.
    pub withdraws: Vec<RoleShift>,
}

/// Decide the recorded calls of the last days again, as if a draft were binding, and show what would change.
///
/// The draft is the newest version of the document, or the text that you give; everything else is as it binds now. Each
/// call is decided on the facts of its time. Besides, every role is asked about every operation, in the provider and in
/// tenants of each set of tags that there is: what becomes wider is what the draft grants.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicySimulate {
    /// Which document.
    pub policy: PolicyId,
    /// A text to try in its place; the document's newest version where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<65536>>,
    /// How many days back: 1 to 90.
    #[serde(default = "a_week")]
    #[schemars(range(min = 1, max = 90))]
    pub days: u32,
    /// Only calls in this tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many changed decisions to show: 1 to 1000.
    #[serde(default = "a_hundred")]
    #[schemars(range(min = 1, max = 1000))]
    pub show: u32,
}

const fn a_week() -> u32 {
    7
}

const fn a_hundred() -> u32 {
    100
}

declare! {
    PolicySimulate => Simulation: Meta::read("policy.simulate", Method::Post, "/v1/policies/{policy}/simulate", "Policy"),
        json!({ "policy": example::POLICY, "days": 7 });
}
