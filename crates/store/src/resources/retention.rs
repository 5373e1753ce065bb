//! How long a tenant's rows in the lake are kept, and its legal holds.

use crate::{Key, Resource};
use ids::{Owner, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// A legal hold: nothing in it is removed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name, unique in the tenant.
    pub name: String,
    /// Events at or after this instant.
    pub since: Timestamp,
    /// Events before this instant.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// One tenant's retention; a tenant without one keeps everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retention {
    /// Whose.
    pub tenant: TenantId,
    /// How many days; none is for ever.
    pub days: Option<u32>,
    /// (class, days) where a class is kept longer or shorter.
    pub classes: Vec<(u32, u32)>,
    /// Legal holds.
    pub holds: Vec<Hold>,
}

impl Resource for Retention {
    const KIND: &'static str = "retention";
    fn id(&self) -> String {
        self.tenant.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}
