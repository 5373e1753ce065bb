//! Service keys: programs as principals. Their secrets are credentials.

use crate::{Key, Resource};
use ids::{Owner, ServiceKeyId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// A program's identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceKey {
    /// Its id.
    pub id: ServiceKeyId,
    /// The tenant it belongs to.
    pub tenant: Option<TenantId>,
    /// Its name, unique within its owner.
    pub name: String,
    /// Dead for good.
    pub revoked: bool,
    /// When the newest secret ends.
    pub expires_at: Timestamp,
}

impl Resource for ServiceKey {
    const KIND: &'static str = "service_key";
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
