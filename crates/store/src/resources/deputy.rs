//! Who judges proposals in whose stead while somebody is away.

use crate::{Key, Resource};
use ids::{Owner, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// A person's deputy; one for each person at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deputy {
    /// Who is away.
    pub person: UserId,
    /// Where that person belongs.
    pub tenant: Option<TenantId>,
    /// Who judges in their stead.
    pub to: UserId,
    /// From then on.
    pub since: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

impl Resource for Deputy {
    const KIND: &'static str = "deputy";
    fn id(&self) -> String {
        self.person.to_string()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::lookup("to", self.to.to_string())]
    }
}
