//! Policies as documents with a life, and the questions one can ask them.

use crate::{Effect, Etag, Limit, Meta, Method, Operation, Page, Slug, example, operation::declare};
use ids::{List, PolicyId, Principal, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where a policy document is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyState {
    /// Written, does not bind.
    Draft,
    /// Binds.
    Active,
    /// Bound once, does not any more.
    Retired,
}

/// A policy document: Cedar text with a life.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Policy {
    /// The document's id.
    pub id: PolicyId,
    /// Its name, unique.
    pub name: Slug,
    /// The Cedar text of this version. Each policy in it carries `@id("…")`.
    pub text: Text<65536>,
    /// Where the document is in its life.
    pub state: PolicyState,
    /// Number of the version shown, from 1.
    pub version: u32,
    /// Number of the version that binds; absent while none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_version: Option<u32>,
    /// Who wrote the version shown.
    pub author: Principal,
    /// What the author says of it.
    pub comment: Text<2000>,
    /// When the version shown was written.
    pub updated_at: Timestamp,
    /// The document's tag; send it back as `if_match` to change exactly this one.
    pub etag: Etag,
}

/// One version of a document.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyVersion {
    /// Its number, from 1.
    pub version: u32,
    /// Who wrote it.
    pub author: Principal,
    /// What the author says of it.
    pub comment: Text<2000>,
    /// When it was written.
    pub created_at: Timestamp,
    /// True where this version binds.
    pub active: bool,
}

/// Write a policy document. It is a draft and binds nobody until `policy.activate`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyCreate {
    /// Its name, unique.
    pub name: Slug,
    /// Cedar text; each policy needs `@id("…")`. It is checked against the platform's schema at once.
    pub text: Text<65536>,
    /// What it is for.
    #[serde(default)]
    pub comment: Text<2000>,
    /// Tests that must pass before it can bind.
    #[serde(default)]
    pub tests: List<PolicyTestCase, 100>,
}

/// One test of a policy: a call, and what must be decided.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTestCase {
    /// What it shows.
    pub name: Text<200>,
    /// Kind of the principal: `user`, `agent`, `service`, `sensor`, `rule` or `system`.
    pub principal_kind: ids::PrincipalKind,
    /// Roles that the principal holds in the target's tenant.
    #[serde(default)]
    pub roles: List<Text<100>, 20>,
    /// The operation, for example `user.deactivate`.
    pub operation: Text<100>,
    /// Tags of the target.
    #[serde(default)]
    pub target_tags: List<Text<127>, 50>,
    /// How many people, and of which role, approved: `people`, `responder`, ...
    #[serde(default)]
    pub approvals: BTreeMap<String, u32>,
    /// How often this principal called this operation in the last hour.
    #[serde(default)]
    #[schemars(range(max = 1_000_000))]
    pub recent_count: u32,
    /// True where the run read text that an outsider could write.
    #[serde(default)]
    pub tainted: bool,
    /// What must be decided.
    pub expect: DecisionKind,
}

/// What a decision can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The call may be made.
    Allow,
    /// The call may be made under obligations.
    Modify,
    /// The call needs approval.
    StepUp,
    /// The call needs evidence first.
    Defer,
    /// The call may not be made.
    Deny,
}

/// Look at a policy document, in its newest or a given version.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyGet {
    /// Which document.
    pub policy: PolicyId,
    /// Which version; the newest where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub version: Option<u32>,
}

/// List the policy documents of this installation; those that ship with the platform are not among them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyList {
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Write a new version of a policy document. The version that binds goes on until `policy.activate`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyUpdate {
    /// Which document.
    pub policy: PolicyId,
    /// New Cedar text.
    pub text: Text<65536>,
    /// What changed, and why.
    #[serde(default)]
    pub comment: Text<2000>,
    /// New tests, in place of the old ones; the old ones where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<List<PolicyTestCase, 100>>,
    /// Change only if the document still has this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Let the newest version of a document bind, from the next call on. Its tests must pass.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyActivate {
    /// Which document.
    pub policy: PolicyId,
    /// Activate only if the document still has this tag: what was reviewed is what binds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<Etag>,
}

/// Let a document bind no longer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRetire {
    /// Which document.
    pub policy: PolicyId,
}

/// List the versions of a document, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyVersions {
    /// Which document.
    pub policy: PolicyId,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// What one policy does not have in common between two versions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyChange {
    /// The policy's `@id`.
    pub id: String,
    /// `added`, `removed` or `changed`.
    pub change: String,
    /// Its text before; absent where it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its text after; absent where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What differs between two versions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyDifference {
    /// Policy by policy; empty where nothing that binds differs.
    pub changes: Vec<PolicyChange>,
}

/// Show what differs between two versions of a document, policy by policy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDiff {
    /// Which document.
    pub policy: PolicyId,
    /// From which version; the one that binds where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub from: Option<u32>,
    /// To which version; the newest where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub to: Option<u32>,
}

/// What became of one test.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyTestResult {
    /// The test's name.
    pub name: Text<200>,
    /// Whether what was decided is what was expected.
    pub passed: bool,
    /// What was decided.
    pub decision: DecisionKind,
    /// The rung that was asked for, where it was a step up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
    /// The policies that decided.
    pub policies: Vec<String>,
}

/// What became of a document's tests.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyTestReport {
    /// Whether all passed.
    pub passed: bool,
    /// One by one.
    pub results: Vec<PolicyTestResult>,
}

/// Run tests against the whole policy set as it would be with the newest version of this document.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// Which document.
    pub policy: PolicyId,
    /// Tests; the document's own where the list is empty.
    #[serde(default)]
    pub tests: List<PolicyTestCase, 100>,
}

/// A decision with its reasons, in words.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyExplanation {
    /// What would be decided.
    pub decision: DecisionKind,
    /// The policies that decide, by `document/id`.
    pub policies: Vec<String>,
    /// The same in words.
    pub reasons: Vec<String>,
    /// The rung that would be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
    /// Evidence that is missing.
    pub missing: Vec<String>,
    /// Obligations that the answer would be under.
    pub obligations: BTreeMap<String, Value>,
    /// True where an agent may not even propose this.
    pub human_only: bool,
    /// Digest of the policy set that decided.
    pub policy_version: String,
}

/// Explain what would be decided for a call, and why, without making it.
///
/// One may ask for oneself; to ask for another principal one must be allowed `policy.explain` where it acts.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyExplain {
    /// The operation.
    pub operation: Text<100>,
    /// The input as it would be given.
    #[serde(default)]
    #[schemars(extend("type" = "object"))]
    pub input: serde_json::Map<String, Value>,
    /// For whom; the caller where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
}

/// Whether one may.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyAnswer {
    /// What would be decided.
    pub decision: DecisionKind,
    /// The rung that would be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
}

/// Ask whether one may call an operation in a tenant, without a target of its own.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyCanI {
    /// The operation.
    pub operation: Text<100>,
    /// In which tenant; where nothing is said, in the caller's own tenant or at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
}

/// What a principal may do in one cell of the matrix.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authority {
    /// On its own.
    Autonomous,
    /// With approval.
    WithApproval,
    /// After evidence.
    Deferred,
    /// Not even as a proposal: people only.
    HumanOnly,
    /// Not.
    Denied,
}

/// One cell of the matrix: an operation in a tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MatrixCell {
    /// The operation.
    pub operation: String,
    /// Its effect.
    pub effect: Effect,
    /// The tenant; absent for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What the principal may.
    pub authority: Authority,
    /// By whom it would have to be approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
    /// The policies that decide.
    pub policies: Vec<String>,
}

/// What a principal may do, cell by cell.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PolicyMatrixTable {
    /// For whom.
    pub principal: Principal,
    /// Every operation in each of the tenants asked for.
    pub cells: Vec<MatrixCell>,
    /// Digest of the policy set that decided.
    pub policy_version: String,
}

/// Show what a principal may do: every operation, in each of the given tenants.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyMatrix {
    /// For whom; the caller where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Principal>,
    /// In which tenants; where the list is empty, in the principal's own tenant or at the provider.
    #[serde(default)]
    pub tenants: List<TenantId, 20>,
}

declare! {
    PolicyCreate => Policy: Meta::govern("policy.create", Method::Post, "/v1/policies", "Provider"),
        json!({ "name": "no-night-changes", "text": "@id(\"no-night\")\nforbid(principal is Posse::Agent, action in Posse::Action::\"write\", resource) when { context.tainted };" });
    PolicyGet => Policy: Meta::read("policy.get", Method::Get, "/v1/policies/{policy}", "Policy"), json!({ "policy": example::POLICY });
    PolicyList => Page<Policy>: Meta::read("policy.list", Method::Get, "/v1/policies", "Provider"), json!({ "limit": 10 });
    PolicyUpdate => Policy: Meta::govern("policy.update", Method::Patch, "/v1/policies/{policy}", "Policy"),
        json!({ "policy": example::POLICY, "text": "@id(\"no-night\")\nforbid(principal is Posse::Agent, action, resource) when { context.tainted };", "comment": "all effects" });
    PolicyActivate => Policy: Meta::govern("policy.activate", Method::Post, "/v1/policies/{policy}/activate", "Policy").idempotent(),
        json!({ "policy": example::POLICY });
    PolicyRetire => Policy: Meta::govern("policy.retire", Method::Post, "/v1/policies/{policy}/retire", "Policy").idempotent(),
        json!({ "policy": example::POLICY });
    PolicyVersions => Page<PolicyVersion>: Meta::read("policy.versions", Method::Get, "/v1/policies/{policy}/versions", "Policy"),
        json!({ "policy": example::POLICY });
    PolicyDiff => PolicyDifference: Meta::read("policy.diff", Method::Get, "/v1/policies/{policy}/diff", "Policy"),
        json!({ "policy": example::POLICY, "from": 1, "to": 2 });
    PolicyTest => PolicyTestReport: Meta::read("policy.test", Method::Post, "/v1/policies/{policy}/test", "Policy"),
        json!({ "policy": example::POLICY });
    PolicyExplain => PolicyExplanation: Meta::read("policy.explain", Method::Post, "/v1/policy/explain", "Tenant"),
        json!({ "operation": "user.deactivate", "input": { "user": example::USER } });
    PolicyCanI => PolicyAnswer: Meta::read("policy.can_i", Method::Get, "/v1/policy/can-i", "Tenant"),
        json!({ "operation": "agent.suspend", "tenant": example::TENANT });
    PolicyMatrix => PolicyMatrixTable: Meta::read("policy.matrix", Method::Get, "/v1/policy/matrix", "Tenant"),
        json!({ "principal": example::AGENT, "tenants": [example::TENANT] });
}
