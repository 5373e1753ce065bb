//! Connectors: which service is spoken to, how, and the secrets for it, sealed.

use crate::{Key, Resource};
use ids::{Owner, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A connector of a tenant or of the provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connector {
    /// Whose; none is the provider's.
    pub tenant: Option<TenantId>,
    /// Its name, unique in its place.
    pub name: String,
    /// The document, as text.
    pub document: String,
    /// Digest of the document and the settings, hexadecimal: what an action is decided with.
    pub digest: String,
    /// What was set.
    pub settings: BTreeMap<String, String>,
    /// Sealed secrets by name, base64. Connector and name are the envelope's context: a moved one does not open.
    pub secrets: BTreeMap<String, String>,
    /// Whether the provider's tenants may use it.
    pub offered: bool,
    /// Whether it carries anything out.
    pub enabled: bool,
}

impl Connector {
    /// The id of a connector.
    #[must_use]
    pub fn key(tenant: Option<TenantId>, name: &str) -> String {
        match tenant {
            Some(tenant) => format!("{tenant}/{name}"),
            None => format!("provider/{name}"),
        }
    }
}

impl Resource for Connector {
    const KIND: &'static str = "connector";
    fn id(&self) -> String {
        Self::key(self.tenant, &self.name)
    }
    fn owner(&self) -> Owner {
        self.tenant.into()
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}
