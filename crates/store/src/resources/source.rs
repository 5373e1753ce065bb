//! Sources of telemetry, and the keys that may send to them.

use crate::{Key, Resource};
use ids::{CredentialId, Owner, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// Where telemetry of one kind comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name, unique in the tenant.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The built-in mapping; none lets it be told from the records.
    pub mapping: Option<String>,
    /// Its own mapping file.
    pub mapping_text: Option<String>,
    /// Whether it takes records.
    pub enabled: bool,
    /// After how many seconds of silence a finding is raised.
    pub silent_after_secs: Option<u32>,
}

impl Source {
    /// The id of a tenant's source.
    #[must_use]
    pub fn key(tenant: TenantId, name: &str) -> String {
        format!("{tenant}/{name}")
    }
}

impl Resource for Source {
    const KIND: &'static str = "source";
    fn id(&self) -> String {
        Self::key(self.tenant, &self.name)
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }
}

/// A key that may send to one source. Not a [`crate::Credential`]: it opens nothing else, whoever asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IngestKey {
    /// Its id.
    pub id: CredentialId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The source's name.
    pub source: String,
    /// What holds it, for people.
    pub name: String,
    /// SHA-256 of the secret, as `sha256:<hex>`.
    pub hash: String,
    /// From then on it is dead.
    pub expires_at: Timestamp,
    /// Revoked by hand.
    pub revoked: bool,
}

impl Resource for IngestKey {
    const KIND: &'static str = "ingest_key";
    fn id(&self) -> String {
        self.id.to_string()
    }
    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
    fn keys(&self) -> Vec<Key> {
        vec![Key::unique("hash", self.hash.clone()), Key::lookup("source", Source::key(self.tenant, &self.source))]
    }
}
