//! Which tenants something may see. No handle to stored data can be made without a [`Scope`].

use crate::TenantId;
use std::collections::BTreeSet;

/// To whom a stored row belongs: the provider, or exactly one tenant.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Owner {
    /// The organisation above its tenants.
    Provider,
    /// One tenant.
    Tenant(TenantId),
}

impl Owner {
    /// The tenant, where it is one.
    #[must_use]
    pub const fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Provider => None,
            Self::Tenant(tenant) => Some(tenant),
        }
    }
}

impl From<Option<TenantId>> for Owner {
    fn from(tenant: Option<TenantId>) -> Self {
        tenant.map_or(Self::Provider, Self::Tenant)
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Provider => f.write_str("provider"),
            Self::Tenant(tenant) => tenant.fmt(f),
        }
    }
}

/// What a read may reach. Decided by the platform from what the principal holds, never from what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The provider and every tenant below it.
    Provider,
    /// One tenant, and nothing of the provider's.
    Tenant(TenantId),
    /// A set of tenants that policy decided, and nothing of the provider's.
    Tenants(BTreeSet<TenantId>),
}

impl Scope {
    /// Whether a row of this owner may be seen.
    #[must_use]
    pub fn covers(&self, owner: Owner) -> bool {
        match (self, owner) {
            (Self::Provider, _) => true,
            (Self::Tenant(held), Owner::Tenant(tenant)) => *held == tenant,
            (Self::Tenants(held), Owner::Tenant(tenant)) => held.contains(&tenant),
            (Self::Tenant(_) | Self::Tenants(_), Owner::Provider) => false,
        }
    }
}

impl From<Owner> for Scope {
    fn from(owner: Owner) -> Self {
        match owner {
            Owner::Provider => Self::Provider,
            Owner::Tenant(tenant) => Self::Tenant(tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_sees_neither_its_neighbour_nor_the_provider() {
        let (own, other) = (TenantId::derive(&[b"own"]), TenantId::derive(&[b"other"]));
        let scope = Scope::Tenant(own);
        assert!(scope.covers(Owner::Tenant(own)));
        assert!(!scope.covers(Owner::Tenant(other)));
        assert!(!scope.covers(Owner::Provider));
        assert!(!Scope::Tenants(BTreeSet::new()).covers(Owner::Tenant(own)));
    }
}
