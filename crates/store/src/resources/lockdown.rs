//! Lockdowns of tenants.

use crate::{Key, Resource};
use ids::{LockdownId, Owner, Principal, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// One lockdown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lockdown {
    /// Its id.
    pub id: LockdownId,
    /// Which tenant.
    pub tenant: TenantId,
    /// Effects that are refused, in the registry's words.
    pub effects: Vec<String>,
    /// Operations or `family.*` that are refused.
    pub operations: Vec<String>,
    /// Why.
    pub reason: String,
    /// Who engaged it.
    pub engaged_by: Principal,
    /// When.
    pub engaged_at: Timestamp,
    /// Who proposed its lifting.
    pub lifted_by: Option<Principal>,
    /// When it was lifted.
    pub lifted_at: Option<Timestamp>,
    /// Why it was lifted.
    pub lifted_reason: Option<String>,
}

impl Resource for Lockdown {
    const KIND: &'static str = "lockdown";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("holds", if self.lifted_at.is_none() { "yes" } else { "no" })]
    }
}
