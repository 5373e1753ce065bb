//! Secrets of the platform, sealed under the master key: the store never holds one in the clear.

use crate::{Key, Resource};
use ids::{Owner, TenantId};
use serde::{Deserialize, Serialize};

/// One sealed secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SealedSecret {
    /// Its name, for example `audit-signing-key`.
    pub name: String,
    /// Whose.
    pub tenant: Option<TenantId>,
    /// Sealed bytes, base64. The name is the envelope's context: a swapped row does not open.
    pub sealed: String,
}

impl Resource for SealedSecret {
    const KIND: &'static str = "sealed_secret";
    fn id(&self) -> String {
        self.name.clone()
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}
