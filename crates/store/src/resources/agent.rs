//! AI agents as principals.

use crate::{Key, Resource};
use ids::{AgentId, Owner, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// Where an agent is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Registered.
    Draft,
    /// May act.
    Active,
    /// May not act for now.
    Suspended,
    /// May never act again.
    Retired,
}

/// An AI agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// The tenant it belongs to.
    pub tenant: Option<TenantId>,
    /// Its name, unique within its owner.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// The person who answers for it.
    pub owner: UserId,
    /// Where it is in its life.
    pub state: AgentState,
    /// From then on it may not act.
    pub expires_at: Timestamp,
    /// Run credentials made before this instant are dead.
    pub credentials_from: Timestamp,
}

impl Resource for Agent {
    const KIND: &'static str = "agent";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![
            Key::unique("name", format!("{}/{}", Resource::owner(self), self.name)),
            Key::lookup("owner", self.owner.to_string()),
        ]
    }
}
