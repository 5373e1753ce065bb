//! Folders of Parquet that a tenant registered as tables.

use crate::{Key, Resource};
use ids::{Owner, TenantId};
use serde::{Deserialize, Serialize};

/// A folder as a table.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct ExternalTable {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name in SQL, unique in the tenant.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// Where it lies on the server.
    pub folder: String,
    /// Columns that are renamed or cast: (what the files call it, what questions call it, what it is read as).
    pub columns: Vec<(String, String, Option<String>)>,
}

impl ExternalTable {
    /// The id of a tenant's table.
    #[must_use]
    pub fn key(tenant: TenantId, name: &str) -> String {
        format!("{tenant}/{name}")
    }
}

impl Resource for ExternalTable {
    const KIND: &'static str = "external_table";
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
