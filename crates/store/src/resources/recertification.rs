//! What people said of agents and service keys: whether they still need what they hold. The newest statement only; the record has all.

use crate::{Key, Resource};
use ids::{AssignmentId, Owner, Principal, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// The newest statement about one agent or service key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recertification {
    /// About whom; one document for each.
    pub principal: Principal,
    /// The tenant that the principal belongs to.
    pub tenant: Option<TenantId>,
    /// Until when it may keep what it holds; none where that was taken from it.
    pub until: Option<Timestamp>,
    /// Who said so.
    pub by: Principal,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// The assignments that were held then.
    pub assignments: Vec<AssignmentId>,
}

impl Resource for Recertification {
    const KIND: &'static str = "recertification";
    fn id(&self) -> String {
        self.principal.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}
