//! Break glass: a role that a person takes for a while in an emergency. Loud, on the record, over by itself, reviewed afterwards.

use crate::{Limit, Meta, Method, Operation, Page, RoleRef, example, operation::declare};
use ids::{BreakGlassId, CaseId, Principal, TenantId, Text, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Where a break-glass grant stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakGlassState {
    /// The role counts.
    Open,
    /// Over, and nobody has reviewed it.
    Unreviewed,
    /// Over and reviewed.
    Reviewed,
}

/// What somebody else says of it afterwards.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct GlassReview {
    /// Who.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
    /// Whether it was right to do so.
    pub justified: bool,
    /// What was found.
    pub comment: Text<2000>,
}

/// A role taken for a while.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BreakGlass {
    /// Its id.
    pub id: BreakGlassId,
    /// The tenant in which the role counts.
    pub tenant: TenantId,
    /// Who took it.
    pub user: UserId,
    /// The role: a shipped one's name, or an id.
    pub role: String,
    /// Why.
    pub reason: Text<1000>,
    /// Where it stands.
    pub state: BreakGlassState,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was closed before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Who closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<Principal>,
    /// The case that tells everybody of it.
    pub case: CaseId,
    /// What was said of it afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<GlassReview>,
}

/// Take a role in a tenant for a while, in an emergency.
///
/// The role counts from this call's answer on and ends by itself. A case of high severity is opened in the tenant, so that
/// everybody who works there sees it, and agents that watch cases wake. What you do meanwhile is on the record as yours; it does
/// not let you approve what others propose, and it is not lent on. Shipped policy asks two people for the role of an
/// administrator or one made here; the other roles are yours at once, and somebody else reviews it afterwards
/// (`break_glass.review`).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassOpen {
    /// In which tenant.
    pub tenant: TenantId,
    /// Which role: a shipped one's name, or an id; see `role.list`.
    pub role: RoleRef,
    /// Why; stays on the record and stands in the case.
    pub reason: Text<1000>,
    /// For how long, in seconds: 300 to 14,400; an hour where nothing is said.
    #[serde(default = "one_hour")]
    #[schemars(range(min = 300, max = 14_400))]
    pub ttl_secs: u32,
}

const fn one_hour() -> u32 {
    3600
}

/// End it before its time.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassClose {
    /// Which.
    pub break_glass: BreakGlassId,
}

/// Say afterwards whether it was right; by somebody else than who took the role.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassReview {
    /// Which; one that is over.
    pub break_glass: BreakGlassId,
    /// Whether it was right to do so.
    pub justified: bool,
    /// What was found; stays on the record.
    pub comment: Text<2000>,
}

/// List break-glass grants, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassList {
    /// Of which tenant; where nothing is said, the caller's own, or for the provider all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Only those that stand so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<BreakGlassState>,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

declare! {
    BreakGlassOpen => BreakGlass: Meta::govern("break_glass.open", Method::Post, "/v1/tenants/{tenant}/break-glass", "Tenant"),
        json!({ "tenant": example::TENANT, "role": "responder", "reason": "ransomware on the file server, no responder answers" });
    BreakGlassClose => BreakGlass: Meta::govern("break_glass.close", Method::Post, "/v1/break-glass/{break_glass}/close", "BreakGlass"),
        json!({ "break_glass": example::BREAK_GLASS });
    BreakGlassReview => BreakGlass: Meta::govern("break_glass.review", Method::Post, "/v1/break-glass/{break_glass}/review", "BreakGlass"),
        json!({ "break_glass": example::BREAK_GLASS, "justified": true, "comment": "the host was isolated in time; nothing else was done" });
    BreakGlassList => Page<BreakGlass>: Meta::read("break_glass.list", Method::Get, "/v1/break-glass", "BreakGlass"), json!({});
}
