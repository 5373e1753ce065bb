//! Recertification: what agents and service keys may do, what of it they did, and people who say whether that is still needed.

use crate::{
    Assignment, Authority, Effect, Limit, Meta, Method, Operation, Page, RoleCreate, example, operation::declare,
};
use ids::{AssignmentId, CredentialId, Principal, TenantId, Text, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Where an agent or a service key stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HolderState {
    /// It can act.
    Active,
    /// An agent that nobody has activated yet.
    Draft,
    /// Its time, or that of its secret, has ended.
    Expired,
    /// An agent that is retired for good.
    Retired,
    /// A service key that is revoked for good.
    Revoked,
    /// An agent that may not act for now.
    Suspended,
}

/// What somebody said of an agent or a service key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecertificationDecision {
    /// It still needs what it holds.
    Kept,
    /// It does not: it was suspended or revoked.
    Revoked,
}

/// The newest statement about an agent or a service key; those before it are on the record.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RecertificationStatement {
    /// What was said.
    pub decision: RecertificationDecision,
    /// Who said it.
    pub by: Principal,
    /// When.
    pub at: Timestamp,
    /// Until when it holds; absent for `revoked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why.
    pub reason: Text<1000>,
    /// The assignments that were held then, and so were looked at.
    pub assignments: Vec<AssignmentId>,
}

/// A credential that is good now.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct HeldCredential {
    /// Its id.
    pub id: CredentialId,
    /// What it is called.
    pub name: String,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// An agent or a service key, with what it holds and when somebody must look at it again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Recertification {
    /// The agent or service key.
    pub principal: Principal,
    /// What people call it.
    pub name: String,
    /// The tenant that it belongs to; absent for the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Where it stands.
    pub state: HolderState,
    /// The person who answers for it: an agent's owner, a key's maker. Absent where a key's maker is not a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answerable: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The roles that it holds, with where and since when.
    pub assignments: Vec<Assignment>,
    /// Its credentials that are good now; the 20 that last longest.
    pub credentials: Vec<HeldCredential>,
    /// When somebody must say again that it needs what it holds; absent where it cannot act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// Whether that time is over.
    pub overdue: bool,
    /// The newest statement; absent where nobody said anything yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<RecertificationStatement>,
    /// Whether a role was given to it after the newest statement, which then did not look at it.
    pub given_since: bool,
}

/// What one operation is to an agent or a service key: may it, and did it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OperationUse {
    /// The operation.
    pub operation: String,
    /// Its effect.
    pub effect: Effect,
    /// What it may do now, as `policy.matrix` says it; the most among the places where its roles count.
    pub authority: Authority,
    /// Whether one of its roles gives it; false where everybody has it, or where it is not given any more.
    pub by_role: bool,
    /// Calls that policy let through.
    pub calls: u64,
    /// Calls that waited for approval or evidence.
    pub asked: u64,
    /// The newest of either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// A role to make, and where to give it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NarrowerRole {
    /// The input of `role.create`.
    pub create: RoleCreate,
    /// For `role.assign`: in which tenant; absent for the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// For `role.assign`: in which tenants it counts, where it is held at the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Text<1000>>,
}

/// An assignment that has to stay.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct KeptAssignment {
    /// Which.
    pub assignment: AssignmentId,
    /// Its role.
    pub role: String,
    /// What was used and no role that is made can give as narrowly: only after approval, say.
    pub operations: Vec<String>,
}

/// What would be enough for what was used. Nothing is done by itself: make the roles (`role.create`), give them
/// (`role.assign`), then end the assignments (`role.unassign`).
///
/// Compared with what is held by asking policy, for every operation at every place where its roles count, what both would decide,
/// and for the operations of the new roles in several circumstances (protected targets, a tainted run, a call within a case, and
/// the like): nothing that was asked is decided wider, and all that was used stays as it is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct NarrowerGrant {
    /// The roles to make and give.
    pub roles: Vec<NarrowerRole>,
    /// The assignments to end then.
    pub end: Vec<AssignmentId>,
    /// The assignments that have to stay, and because of what.
    pub keep: Vec<KeptAssignment>,
    /// The operations that it could do no more.
    pub takes: Vec<String>,
    /// How many questions to policy were compared.
    pub compared: u64,
}

/// Used against granted.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RecertificationReport {
    /// Who, with what it holds.
    pub holder: Recertification,
    /// From when on the record was read.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Whether all of the record of that time was read.
    pub complete: bool,
    /// What is not in these numbers, and why there is no proposal where there is none.
    pub coverage: Vec<String>,
    /// When it was last on the record with anything, refused calls too; absent where it was not within that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// Every operation that its roles give or that it used, by id.
    pub operations: Vec<OperationUse>,
    /// How many of them its roles give.
    pub granted: u32,
    /// How many of those it did not use.
    pub unused: u32,
    /// A grant that would be enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<NarrowerGrant>,
}

/// List agents and service keys with what they hold, and when somebody must say again that they need it.
///
/// Agents come first, then keys, each oldest first. `recertification.report` says what one of them used.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecertificationList {
    /// Whose; where nothing is said, those of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only those whose time is over. A page may then hold fewer items than its limit.
    #[serde(default)]
    pub overdue: bool,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

/// Compare what an agent or a service key may do with what it did, and propose a narrower grant.
///
/// Use is read from the audit log, which holds every call, reads too, and keeps its records for good; inputs that have expired do not
/// matter. What policy refused is not use.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecertificationReportGet {
    /// The agent or service key.
    pub principal: Principal,
    /// How many days back: 1 to 90, 30 where nothing is said.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 90))]
    pub days: u32,
}

const fn thirty() -> u32 {
    30
}

/// State that an agent or a service key still needs what it holds, until a day.
///
/// Only a person can; shipped policy asks for another administrator's approval where it is the one who answers for it: an agent's owner, or
/// who made a key or was shown its secret. It gives no rights and takes none.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecertificationCertify {
    /// The agent or service key.
    pub principal: Principal,
    /// What it needs that for; stays on the record.
    pub reason: Text<1000>,
    /// Until when; at most as long as the installation lets a statement hold (90 days where nothing is set), and that where nothing is
    /// said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// State that an agent or a service key is not needed: suspends the agent or revokes the key, at once.
///
/// An agent is suspended as by `agent.suspend` and can be activated again; a key is revoked for good, as by `service_key.revoke`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecertificationRevoke {
    /// The agent or service key.
    pub principal: Principal,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

declare! {
    RecertificationList => Page<Recertification>: Meta::read("recertification.list", Method::Get, "/v1/recertifications", "Tenant"),
        json!({ "tenant": example::TENANT, "overdue": true });
    RecertificationReportGet => RecertificationReport: Meta::read("recertification.report", Method::Get, "/v1/recertifications/{principal}", "Recertification"),
        json!({ "principal": example::AGENT, "days": 30 });
    RecertificationCertify => Recertification: Meta::govern("recertification.certify", Method::Post, "/v1/recertifications/{principal}/certify", "Recertification"),
        json!({ "principal": example::AGENT, "reason": "triages every alert of the night; its owner and I went through the report" });
    RecertificationRevoke => Recertification: Meta::govern("recertification.revoke", Method::Post, "/v1/recertifications/{principal}/revoke", "Recertification").idempotent(),
        json!({ "principal": example::AGENT, "reason": "nobody has used it since spring" });
}
