//! What a call acts on, as the platform resolved it. Policy is asked about this, never about what the caller claims.

use ids::{Owner, Principal, TenantId};
use policy::Obligations;
use std::collections::BTreeSet;

/// The resolved target of a call.
#[derive(Clone, Debug)]
pub struct Target {
    /// Policy's type, for example `User`.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// In whose reach it is: decides the roles that count, the log, and what the handler can see.
    pub owner: Owner,
    /// Its own tags.
    pub tags: BTreeSet<String>,
    /// What people call it.
    pub name: Option<String>,
    /// The person who answers for it.
    pub answerable: Option<Principal>,
    /// Who made it.
    pub created_by: Option<Principal>,
    /// Roles that the call would give.
    pub granted_roles: BTreeSet<String>,
    /// The revision of the target that the call lets take effect, where its input does not say what that is: an
    /// approval is bound to it.
    pub revision: Option<u64>,
    /// What it is among the entities of cases; empty where nothing of a case is touched.
    pub(crate) entities: Vec<case::Entity>,
    /// Further tenants that a question is about.
    pub(crate) others: Others,
}

/// Further tenants of a question. The gate decides each on its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    /// Which.
    pub(crate) tenants: BTreeSet<TenantId>,
    /// Whether the caller named them: then each must be allowed, else those that are not are left out.
    pub(crate) named: bool,
    /// What policy lays on the answer because of them; filled by the gate.
    pub(crate) obligations: Obligations,
}

impl Target {
    /// A target of this type and id.
    #[must_use]
    pub fn new(kind: &'static str, id: impl Into<String>, owner: Owner) -> Self {
        Self {
            kind,
            id: id.into(),
            owner,
            tags: BTreeSet::new(),
            name: None,
            answerable: None,
            created_by: None,
            granted_roles: BTreeSet::new(),
            revision: None,
            entities: Vec::new(),
            others: Others::default(),
        }
    }

    /// The provider itself.
    #[must_use]
    pub fn provider() -> Self {
        Self::new("Provider", "provider", Owner::Provider)
    }

    /// A tenant, or the provider: where something is made or listed.
    #[must_use]
    pub fn place(owner: Owner) -> Self {
        match owner {
            Owner::Provider => Self::provider(),
            Owner::Tenant(tenant) => Self::tenant(tenant),
        }
    }

    /// A tenant. Its tags are added by the gate.
    #[must_use]
    pub fn tenant(tenant: TenantId) -> Self {
        Self::new("Tenant", tenant.to_string(), Owner::Tenant(tenant))
    }

    /// With the name that people call it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With the person who answers for it.
    #[must_use]
    pub fn answered_by(mut self, principal: Principal) -> Self {
        self.answerable = Some(principal);
        self
    }

    /// With the principal that made it.
    #[must_use]
    pub fn made_by(mut self, principal: Principal) -> Self {
        self.created_by = Some(principal);
        self
    }

    /// At the revision that the call lets take effect.
    #[must_use]
    pub fn at_revision(mut self, revision: u64) -> Self {
        self.revision = Some(revision);
        self
    }

    /// With the roles that the call would give.
    #[must_use]
    pub fn granting(mut self, roles: impl IntoIterator<Item = String>) -> Self {
        self.granted_roles = roles.into_iter().collect();
        self
    }
}
