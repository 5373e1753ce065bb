//! Tenants. A tenant's own row belongs to the tenant, so that its principals can see it and nobody else's can.

use crate::{Key, Resource};
use ids::{Owner, TenantId};
use serde::{Deserialize, Serialize};

/// Whether a tenant's work goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// Everything runs.
    Active,
    /// Nothing runs.
    Suspended,
}

/// A customer or environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Short name, unique.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// Tags such as `env=prod`.
    pub tags: Vec<String>,
    /// Whether its work goes on.
    pub state: TenantState,
    /// Days of a retro-hunt when a rule goes live that says none itself; 0 is none, none is the platform's.
    #[serde(default)]
    pub retro_hunt_days: Option<u32>,
}

impl Resource for Tenant {
    const KIND: &'static str = "tenant";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.id)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("name", self.name.clone())]
    }
}
