//! Policy documents: a head and its versions. Versions never change.

use crate::{Key, Resource};
use ids::{Owner, PolicyId, Principal, Timestamp};
use serde::{Deserialize, Serialize};

/// Where a document is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyState {
    /// Does not bind.
    Draft,
    /// Binds.
    Active,
    /// Bound once.
    Retired,
}

/// The head of a policy document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    /// Its name, unique.
    pub name: String,
    /// Where it is in its life.
    pub state: PolicyState,
    /// Number of the newest version.
    pub newest: u32,
    /// Number of the version that binds.
    pub active: Option<u32>,
}

impl Resource for Policy {
    const KIND: &'static str = "policy";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Provider
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("name", self.name.clone())]
    }
}

/// One version of a document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// The document.
    pub policy: PolicyId,
    /// Its number, from 1.
    pub version: u32,
    /// Cedar text.
    pub text: String,
    /// What the author says.
    pub comment: String,
    /// Who wrote it.
    pub author: Principal,
    /// When.
    pub written_at: Timestamp,
    /// Its tests, in the wire form of `api::PolicyTestCase`.
    pub tests: Vec<serde_json::Value>,
}

impl PolicyVersion {
    /// The document id of one version: sorts by number.
    #[must_use]
    pub fn key(policy: PolicyId, version: u32) -> String {
        format!("{policy}/{version:010}")
    }
}

impl Resource for PolicyVersion {
    const KIND: &'static str = "policy_version";
    fn id(&self) -> String {
        Self::key(self.policy, self.version)
    }
    fn owner(&self) -> Owner {
        Owner::Provider
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("policy", self.policy.to_string())]
    }
}
