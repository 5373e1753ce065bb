//! Approvals: a call that policy lets through only when people say yes to exactly it.

use crate::{Fault, Gone, Limit, Meta, Method, Operation, Page, example, operation::declare};
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

/// The further rung of an approval that waited long.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Escalation {
    /// When it was escalated.
    pub at: Timestamp,
    /// The rung, for example `two_people`.
    pub rung: String,
    /// How many people in all, and how many of each role, it needs.
    pub needs: std::collections::BTreeMap<String, u32>,
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
    /// The further rung that would do too, since the approval was escalated: it waited for three quarters of its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
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

/// Who judges in whose stead.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Delegation {
    /// Who is away.
    pub user: UserId,
    /// Who judges in their stead.
    pub to: UserId,
    /// From then on.
    pub since: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: Text<1000>,
}

/// Let somebody judge proposals in your stead while you are away.
///
/// A vote of theirs then counts with your roles besides their own, as those roles are at that time. They are one person still:
/// where both of you vote, each counts for oneself, and what you proposed they cannot approve as you. Your deputy must be
/// somebody who may judge proposals anyway. A new delegation takes the place of an earlier one.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalDelegate {
    /// Who judges in your stead: an active person of your own tenant, or of the provider where you belong there.
    pub to: UserId,
    /// From then on; at once where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until then; within 90 days.
    pub until: Timestamp,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// Judge for yourself again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalEndDelegation {}

/// List who judges in whose stead, now or later.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalListDelegations {
    /// Of which tenant; where nothing is said, of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// How some seconds spread.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Half took this or less.
    pub median_secs: u64,
    /// Nine of ten took this or less.
    pub p90_secs: u64,
    /// The longest.
    pub max_secs: u64,
}

/// What became of the proposals of one operation.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OperationApprovals {
    /// The operation.
    pub operation: String,
    /// Proposals.
    pub proposed: u32,
    /// Those that people let through.
    pub approved: u32,
    /// Those that somebody refused.
    pub denied: u32,
    /// Those that ran out of time.
    pub expired: u32,
    /// Those that were let through and whose effect somebody undid afterwards.
    pub reversed: u32,
    /// From the proposal to the vote that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_decide: Option<Spread>,
}

/// How one person judged.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApproverRecord {
    /// Who.
    pub user: UserId,
    /// How often they said yes.
    pub yes: u32,
    /// How often they said no.
    pub no: u32,
    /// Yeses that came at once, without a comment and without narrowing anything.
    pub rubber_stamps: u32,
    /// Their share of the yeses, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rubber_stamp_rate: Option<f64>,
    /// Yeses to something whose effect somebody undid afterwards.
    pub reversed: u32,
    /// From the proposal to their vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_vote: Option<Spread>,
}

/// How well approvals work, over some time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalReport {
    /// Of which tenant; absent for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// From then on, by when they were proposed.
    pub since: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// All proposals of that time.
    pub proposed: u32,
    /// Those that still wait.
    pub waiting: u32,
    /// Those that people let through.
    pub approved: u32,
    /// Those that somebody refused.
    pub denied: u32,
    /// Those that ran out of time.
    pub expired: u32,
    /// Those that were taken back.
    pub cancelled: u32,
    /// Those that waited so long that a further rung was asked.
    pub escalated: u32,
    /// Response actions that were let through and undone by somebody afterwards.
    pub reversed: u32,
    /// Their share of what was let through, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reversed_rate: Option<f64>,
    /// From the proposal to the vote that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_decide: Option<Spread>,
    /// Yeses that came within `quick_secs`, without a comment and without narrowing anything.
    pub rubber_stamps: u32,
    /// Their share of all yeses, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rubber_stamp_rate: Option<f64>,
    /// By operation.
    pub by_operation: Vec<OperationApprovals>,
    /// By person.
    pub by_person: Vec<ApproverRecord>,
    /// False where there was more than one report looks at: then the newest 20,000 are told of.
    pub complete: bool,
}

/// Tell how well approvals work: how long people take, how often they just nod, how often what they let through was undone.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalReportGet {
    /// Of which tenant; where nothing is said, of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Proposals from then on; the last 30 days where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Proposals before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// A yes without a word within this many seconds counts as a rubber stamp: 1 to 3600; 15 where nothing is said.
    #[serde(default = "fifteen")]
    #[schemars(range(min = 1, max = 3600))]
    pub quick_secs: u32,
}

const fn fifteen() -> u32 {
    15
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
    ApprovalDelegate => Delegation: Meta::govern("approval.delegate", Method::Put, "/v1/delegations", "Self"),
        json!({ "to": example::USER, "until": "2026-12-01T00:00:00Z", "reason": "on leave" });
    ApprovalEndDelegation => Gone: Meta::govern("approval.end_delegation", Method::Delete, "/v1/delegations", "Self"), json!({});
    ApprovalListDelegations => Page<Delegation>: Meta::read("approval.list_delegations", Method::Get, "/v1/delegations", "Tenant"),
        json!({ "tenant": example::TENANT });
    ApprovalReportGet => ApprovalReport: Meta::read("approval.report", Method::Get, "/v1/approval-report", "Tenant"),
        json!({ "tenant": example::TENANT });
    ApprovalCancel => Approval: Meta::write("approval.cancel", Method::Post, "/v1/approvals/{approval}/cancel", "Approval"),
        json!({ "approval": example::APPROVAL });
}
