//! Skills that were imported, and the definitions of agents.

use crate::{Key, Resource};
use ids::{AgentId, Owner, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A skill that was imported.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Skill {
    /// Digest of its sorted paths and bytes, in hex.
    pub digest: String,
    /// Whose it is.
    pub tenant: Option<TenantId>,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Path and text of each file, sorted by path.
    pub files: Vec<(String, String)>,
    /// The trusted comment of its signature, where it came with one.
    pub signed: Option<String>,
    /// When it came.
    pub imported_at: Timestamp,
}

impl Skill {
    /// The id: a place may have a skill that another has too.
    #[must_use]
    pub fn key(tenant: Option<TenantId>, digest: &str) -> String {
        format!("{}/{digest}", Owner::from(tenant))
    }
}

impl Resource for Skill {
    const KIND: &'static str = "skill";
    fn id(&self) -> String {
        Self::key(self.tenant, &self.digest)
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("digest", self.digest.clone()), Key::lookup("name", self.name.clone())]
    }
}

/// The definition of an agent, with what it brings pinned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentDefinition {
    /// The agent.
    pub agent: AgentId,
    /// Where the agent belongs.
    pub tenant: Option<TenantId>,
    /// The definition's text.
    pub text: String,
    /// Digest of the charter, in hex.
    pub charter: String,
    /// The digest of each skill, by name.
    pub skills: BTreeMap<String, String>,
}

impl Resource for AgentDefinition {
    const KIND: &'static str = "agent_definition";
    fn id(&self) -> String {
        self.agent.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}
