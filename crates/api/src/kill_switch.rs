//! The kill switch: stop an agent, a tenant's agents, a class of operations, or all agents, inside one second.

use crate::{Effect, Limit, Meta, Method, Operation, Page, example, operation::declare};
use ids::{AgentId, CallId, KillSwitchId, Principal, TenantId, Text, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What is stopped.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "stop", deny_unknown_fields)]
pub enum KillTarget {
    /// One agent, everywhere.
    Agent {
        /// Which.
        agent: AgentId,
    },
    /// All agents in one tenant.
    TenantAgents {
        /// Which.
        tenant: TenantId,
    },
    /// All calls of one effect by anyone but people of the provider, in one tenant or everywhere.
    OperationClass {
        /// Which effect.
        effect: Effect,
        /// In which tenant; everywhere where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<TenantId>,
    },
    /// All agents, everywhere.
    AllAgents,
}

/// An effect that had already left the platform when the switch was engaged.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SentEffect {
    /// The call that caused it.
    pub call: CallId,
    /// Who.
    pub principal: String,
    /// Over which channel.
    pub channel: String,
    /// What the record says of its outcome.
    pub state: String,
    /// When.
    pub at: Timestamp,
}

/// One engagement of the kill switch.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct KillSwitch {
    /// Its id.
    pub id: KillSwitchId,
    /// What is stopped.
    pub target: KillTarget,
    /// Why.
    pub reason: Text<1000>,
    /// Who engaged it.
    pub engaged_by: Principal,
    /// When.
    pub engaged_at: Timestamp,
    /// Who released it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_by: Option<Principal>,
    /// When it was released; absent while it holds. Credentials that died stay dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// Effects of the stopped principals that were sent in the hour before.
    pub already_sent: Vec<SentEffect>,
}

/// Stop at once: running steps are refused at commit, credentials die, queued effects are not sent.
///
/// From this call's answer on nothing of the named principals commits or is sent. It holds across restarts until
/// `kill_switch.release`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KillSwitchEngage {
    /// What to stop.
    pub target: KillTarget,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// Release the switch. Credentials that died stay dead; new ones can be issued.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KillSwitchRelease {
    /// Which engagement.
    pub kill_switch: KillSwitchId,
    /// Why; stays on the record.
    pub reason: Text<1000>,
}

/// List engagements, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KillSwitchStatus {
    /// Whose; where nothing is said, those of the caller's own tenant or provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Also those that were released.
    #[serde(default)]
    pub released: bool,
    /// How many at most.
    #[serde(default)]
    pub limit: Limit,
    /// From an earlier page's `next_cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Text<1024>>,
}

declare! {
    KillSwitchEngage => KillSwitch: Meta::govern("kill_switch.engage", Method::Post, "/v1/kill-switches", "KillSwitch"),
        json!({ "target": { "stop": "agent", "agent": example::AGENT }, "reason": "it opened cases in a loop" });
    KillSwitchRelease => KillSwitch: Meta::govern("kill_switch.release", Method::Post, "/v1/kill-switches/{kill_switch}/release", "KillSwitch"),
        json!({ "kill_switch": example::KILL_SWITCH, "reason": "the loop is fixed" });
    KillSwitchStatus => Page<KillSwitch>: Meta::read("kill_switch.status", Method::Get, "/v1/kill-switches", "KillSwitch"), json!({});
}
