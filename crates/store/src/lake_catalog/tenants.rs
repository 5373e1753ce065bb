//! Short numbers for tenants: a row of the side tables names its tenant in a few bytes.

use super::statement;
use super::turn::failed;
use crate::engine::{Connection, values};
use catalog::CatalogError;
use ids::{Owner, Scope, TenantId};
use std::collections::BTreeMap;

/// The numbers that are stored.
#[derive(Clone, Default)]
pub(super) struct Tenants {
    numbers: BTreeMap<TenantId, i64>,
    ids: BTreeMap<i64, TenantId>,
}

impl Tenants {
    pub(super) async fn load(connection: &mut Connection) -> Result<Self, CatalogError> {
        let mut tenants = Self::default();
        for row in connection.rows(statement::TENANT_LIST, Vec::new()).await.map_err(failed)? {
            let (number, text) = (row.int(0).map_err(failed)?, row.text(1).map_err(failed)?);
            let id = text.parse().map_err(|_| CatalogError::Corrupt(format!("`{text}` is no tenant")))?;
            tenants.keep(number, id);
        }
        Ok(tenants)
    }

    /// Give numbers to those that have none, in the running transaction; the new ones.
    pub(super) async fn enrol(
        &self,
        connection: &mut Connection,
        wanted: impl Iterator<Item = TenantId>,
    ) -> Result<Self, CatalogError> {
        let mut tenants = self.clone();
        for id in wanted {
            if tenants.numbers.contains_key(&id) {
                continue;
            }
            let number = tenants.ids.keys().next_back().copied().unwrap_or(0).saturating_add(1);
            connection.execute(statement::TENANT_WRITE, values![number, id.to_string()]).await.map_err(failed)?;
            tenants.keep(number, id);
        }
        Ok(tenants)
    }

    pub(super) fn number(&self, id: TenantId) -> Option<i64> {
        self.numbers.get(&id).copied()
    }

    pub(super) fn id(&self, number: i64) -> Result<TenantId, CatalogError> {
        let id = self.ids.get(&number).copied();
        id.ok_or_else(|| CatalogError::Corrupt(format!("there is no tenant of number {number}")))
    }

    /// The numbers of those that a scope covers.
    pub(super) fn within(&self, scope: &Scope) -> Vec<i64> {
        let covered = |(id, number): (&TenantId, &i64)| scope.covers(Owner::Tenant(*id)).then_some(*number);
        match scope {
            Scope::Tenant(id) => self.number(*id).into_iter().collect(),
            Scope::Provider | Scope::Tenants(_) => self.numbers.iter().filter_map(covered).collect(),
        }
    }

    /// All numbers.
    pub(super) fn all(&self) -> Vec<i64> {
        self.ids.keys().copied().collect()
    }

    fn keep(&mut self, number: i64, id: TenantId) {
        self.numbers.insert(id, number);
        self.ids.insert(number, id);
    }
}
