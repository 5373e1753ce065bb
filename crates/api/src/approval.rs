//! Approvals: a call that policy lets through only when people say yes to exactly it.

use crate::{Fault, Limit, Meta, Method, Operation, Page, example, operation::declare};
use ids::{ApprovalId, CallId, Principal, RunId, TenantId, Text, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where an approval stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Waits for people.
    Pending,
    /// Waits for evidence, not for people.
    Deferred,
    /// Enough people said yes; the call runs, or is about to.
    Approved,
    /// The call ran; `result` holds its output.
    Executed,
    /// The call was approved, was decided again, and did not pass or failed; `problem` says why.
    Failed,
    /// Somebody said no.
    Denied,
    /// Nobody said enough in time: denied.
    Expired,
    /// The proposer took it back.
    Cancelled,
    /// Sent, but its outcome is not known; parked for a person.
    Uncertain,
}

/// What one person said.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Vote {
    /// Who.
    pub by: UserId,
    /// Yes or no.
    pub approve: bool,
    /// True where this person narrowed the call.
    pub narrowed: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Text<2000>>,
    /// When.
    pub at: Timestamp,
}

/// What the proposer did before, counted by the platform over 30 days in this tenant.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProposerHistory {
    /// Proposals of the same operation that were approved.
    pub approved: u32,
    /// Proposals of the same operation that were denied.
    pub denied: u32,
    /// Proposals of the same operation that ran out of time.
    pub expired: u32,
    /// All proposals of this principal.
    pub proposed_in_all: u32,
}

/// What the call acts on, as the platform sees it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TargetFacts {
    /// Policy's type of the target, for example `User`.
    pub resource: String,
    /// The target's id.
    pub id: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// What people call it, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<200>>,
}

/// A request for approval of one exact call. Everything in it is computed by the platform, but for `input`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The approval's id.
    pub id: ApprovalId,
    /// The tenant concerned; absent where it is the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Where it stands.
    pub state: ApprovalState,
    /// The call that proposed it.
    pub call: CallId,
    /// Who proposed it.
    pub proposer: Principal,
    /// On whose behalf, nearest first; none of them can approve.
    pub on_behalf_of: Vec<Principal>,
    /// The run that proposed it, where it was an agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The operation.
    pub operation: String,
    /// The exact input, with secrets blanked. This is what will run.
    pub input: Value,
    /// Digest of the exact call: operation, full input, tenant and resolved target. The approval is bound to it.
    pub digest: String,
    /// What the call acts on.
    pub target: TargetFacts,
    /// Which rung policy asks for, for example `one_responder`.
    pub rung: String,
    /// How many people in all, and how many of each role, that rung needs.
    pub needs: std::collections::BTreeMap<String, u32>,
    /// The policies that would let the call pass.
    pub policies: Vec<String>,
    /// Evidence that is missing, where it is deferred.
    pub missing: Vec<String>,
    /// What the proposer did before.
    pub history: ProposerHistory,
    /// What people said so far.
    pub votes: Vec<Vote>,
    /// When it was proposed.
    pub created_at: Timestamp,
    /// After this instant the answer is no.
    pub expires_at: Timestamp,
    /// The call's output once it ran, with secrets blanked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it did not run, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Text<2000>>,
    /// Faults of the call, where it failed for its input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// List approvals of one tenant or of the provider, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalList {
    /// Whose; where nothing is said, those of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ApprovalState>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Look at one approval: what is asked, of what, by whom, and where it stands.
///
/// The proposer can look too: once the call ran, `result` holds its output.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalGet {
    /// Which approval.
    pub approval: ApprovalId,
}

/// Say yes to exactly this call. When the rung is complete the call is decided again and runs, once.
///
/// Refused to the proposer, to everyone on whose behalf it was proposed, to the owner of the proposing agent, and to
/// everyone who is not a person.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalApprove {
    /// Which approval.
    pub approval: ApprovalId,
    /// The digest that you read, so that you approve what you saw; where given, another digest is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Text<80>>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Text<2000>>,
}

/// Say no. One no is enough.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalDeny {
    /// Which approval.
    pub approval: ApprovalId,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Text<2000>>,
}

/// Narrow the call and say yes to the narrower one, in one step.
///
/// `input` must be a subset of what was asked: lists may lose items, numbers that end in `_secs` may get smaller, and
/// nothing else may differ. Anything wider is refused: it would be a new proposal. Earlier votes fall away, because
/// they were given to another call.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalNarrow {
    /// Which approval.
    pub approval: ApprovalId,
    /// The narrower input, whole.
    #[schemars(extend("type" = "object"))]
    pub input: serde_json::Map<String, Value>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Text<2000>>,
}

/// Take back one's own proposal.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalCancel {
    /// Which approval; only its proposer can take it back.
    pub approval: ApprovalId,
}

declare! {
    ApprovalList => Page<Approval>: Meta::read("approval.list", Method::Get, "/v1/approvals", "Tenant"),
        json!({ "tenant": example::TENANT, "state": "pending" });
    ApprovalGet => Approval: Meta::read("approval.get", Method::Get, "/v1/approvals/{approval}", "Approval"),
        json!({ "approval": example::APPROVAL });
    ApprovalApprove => Approval: Meta::govern("approval.approve", Method::Post, "/v1/approvals/{approval}/approve", "Approval"),
        json!({ "approval": example::APPROVAL, "comment": "checked with the owner of the host" });
    ApprovalDeny => Approval: Meta::govern("approval.deny", Method::Post, "/v1/approvals/{approval}/deny", "Approval"),
        json!({ "approval": example::APPROVAL, "comment": "the host is in use" });
    ApprovalNarrow => Approval: Meta::govern("approval.narrow", Method::Post, "/v1/approvals/{approval}/narrow", "Approval"),
        json!({ "approval": example::APPROVAL, "input": { "ttl_secs": 600 } });
    ApprovalCancel => Approval: Meta::write("approval.cancel", Method::Post, "/v1/approvals/{approval}/cancel", "Approval"),
        json!({ "approval": example::APPROVAL });
}
