//! Roles that were made here, and who holds which role where.

use crate::{Key, Resource};
use ids::{AssignmentId, Owner, Principal, RoleId, TenantId};
use serde::{Deserialize, Serialize};

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// The tenant it belongs to.
    pub tenant: Option<TenantId>,
    /// Its name, unique within its owner.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Operations or `family.*`.
    pub operations: Vec<String>,
    /// Effects in the registry's words; empty for all.
    pub effects: Vec<String>,
    /// Kinds of principal; empty for people and programs.
    pub principals: Vec<ids::PrincipalKind>,
}

impl Resource for Role {
    const KIND: &'static str = "role";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("name", format!("{}/{}", self.owner(), self.name))]
    }
}

/// One role held by one principal in one place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// Its id, derived from principal, role, place and selector: holding a role twice is holding it once.
    pub id: AssignmentId,
    /// Who.
    pub principal: Principal,
    /// A role's id, or a shipped role's name.
    pub role: String,
    /// Where; none for the provider and all tenants that the selector names.
    pub tenant: Option<TenantId>,
    /// Which tenants, where held at the provider; none for all.
    pub selector: Option<String>,
}

impl Resource for Assignment {
    const KIND: &'static str = "assignment";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("principal", self.principal.to_string()), Key::lookup("role", self.role.clone())]
    }
}
