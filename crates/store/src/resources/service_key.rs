//! Service keys: programs as principals. Their secrets are credentials.

use crate::{Key, Resource};
use ids::{Owner, Principal, ServiceKeyId, TenantId, Timestamp, UserId};
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
    /// Who made it; absent where it was made before this was kept.
    #[serde(default)]
    pub created_by: Option<Principal>,
    /// The people who were shown a secret of it, first its maker: what it proposes, they may have proposed. A key that
    /// was made with another key has that key's people. Empty where it was made before this was kept.
    #[serde(default)]
    pub holders: Vec<UserId>,
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
