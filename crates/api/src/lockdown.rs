//! Lockdown: classes of operations of one tenant that nobody may call, administrators included, until several people lift it.

use crate::{Effect, Limit, Meta, Method, Operation, OperationPattern, Page, example, operation::declare};
use ids::{List, LockdownId, Principal, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// One lockdown of a tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Lockdown {
    /// Its id.
    pub id: LockdownId,
    /// The tenant that is locked down.
    pub tenant: TenantId,
    /// Operations of these effects are refused, but for those that looking into it and lifting it take.
    pub effects: Vec<Effect>,
    /// These operations are refused.
    pub operations: Vec<OperationPattern>,
    /// Why.
    pub reason: Text<1000>,
    /// Who engaged it.
    pub engaged_by: Principal,
    /// When.
    pub engaged_at: Timestamp,
    /// Who proposed its lifting; those who approved stand in the record of that call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted_by: Option<Principal>,
    /// When it was lifted; absent while it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted_at: Option<Timestamp>,
    /// Why it was lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted_reason: Option<Text<1000>>,
}

/// Lock a tenant down: from this call's answer on nobody carries out the named operations there, administrators included.
///
/// It holds for people, programs and agents, of the tenant and of the provider, also for approved calls that have not run and
/// for effects that have not been sent, and across restarts. Sensors and the platform's own work go on, so that nothing is
/// lost. `effects` never cover what looking into it and lifting it take: the families `approval`, `audit`, `kill_switch`,
/// `lockdown`, `me`, `operation` and `system`. `lockdown.lift` ends it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockdownEngage {
    /// Which tenant.
    pub tenant: TenantId,
    /// Refuse operations of these effects.
    #[serde(default)]
    pub effects: List<Effect, 4>,
    /// Refuse these operations; `approval`, `kill_switch`, `lockdown` and `me` cannot be among them.
    #[serde(default)]
    pub operations: List<OperationPattern, 100>,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// Lift a lockdown: a proposal that two other people approve.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockdownLift {
    /// Which lockdown.
    pub lockdown: LockdownId,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// List lockdowns, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LockdownStatus {
    /// Of which tenant; where nothing is said, the caller's own, or for the provider all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Also those that were lifted.
    #[serde(default)]
    pub lifted: bool,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

declare! {
    LockdownEngage => Lockdown: Meta::govern("lockdown.engage", Method::Post, "/v1/tenants/{tenant}/lockdowns", "Tenant"),
        json!({ "tenant": example::TENANT, "effects": ["respond"], "reason": "an administrator's laptop was stolen" });
    LockdownLift => Lockdown: Meta::govern("lockdown.lift", Method::Post, "/v1/lockdowns/{lockdown}/lift", "Lockdown"),
        json!({ "lockdown": example::LOCKDOWN, "reason": "the laptop was found, and its keys were changed" });
    LockdownStatus => Page<Lockdown>: Meta::read("lockdown.status", Method::Get, "/v1/lockdowns", "Lockdown"), json!({});
}
