//! Engagements of the kill switch.

use crate::{Key, Resource};
use ids::{AgentId, KillSwitchId, Owner, Principal, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// What is stopped.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stop")]
pub enum KillTarget {
    /// One agent.
    Agent {
        /// Which.
        agent: AgentId,
    },
    /// A tenant's agents.
    TenantAgents {
        /// Which.
        tenant: TenantId,
    },
    /// A class of operations.
    OperationClass {
        /// Effect, in the registry's word.
        effect: String,
        /// Where; none for everywhere.
        tenant: Option<TenantId>,
    },
    /// All agents.
    AllAgents,
}

/// One engagement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KillSwitch {
    /// Its id.
    pub id: KillSwitchId,
    /// The tenant concerned; none where it reaches further.
    pub tenant: Option<TenantId>,
    /// What is stopped.
    pub target: KillTarget,
    /// Why.
    pub reason: String,
    /// Who engaged it.
    pub engaged_by: Principal,
    /// When.
    pub engaged_at: Timestamp,
    /// Who released it.
    pub released_by: Option<Principal>,
    /// When it was released. The row stays: credentials of before stay dead.
    pub released_at: Option<Timestamp>,
    /// Effects that had been sent, as they were listed, in the wire form of `api::SentEffect`.
    pub already_sent: Vec<serde_json::Value>,
}

impl Resource for KillSwitch {
    const KIND: &'static str = "kill_switch";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("holds", if self.released_at.is_none() { "yes" } else { "no" })]
    }
}
