//! Who calls, as the platform knows it: the principal, where it belongs, what it may reach, which roles it holds.

use crate::freshness::Freshness;
use crate::kill::Exposure;
use api::Spec;
use ids::{CaseId, CredentialId, Owner, Principal, PrincipalKind, RunId, Scope, TenantId, Timestamp, UserId};
use policy::Selector;
use std::collections::BTreeSet;
use std::time::Duration;

/// A role that somebody holds, and where it counts.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// A role's id, or a shipped role's name.
    pub(crate) role: String,
    /// Where it is held.
    pub(crate) place: Owner,
    /// Which tenants it counts in, where it is held at the provider.
    pub(crate) selector: Option<(String, Selector)>,
    /// When it ends, where it was taken by break glass.
    pub(crate) until: Option<Timestamp>,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Who.
    pub principal: Principal,
    /// Where the principal belongs.
    pub home: Owner,
    /// With which credential.
    pub credential: CredentialId,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// The one tenant that a run may reach.
    pub(crate) bound: Option<TenantId>,
    /// The run.
    pub run: Option<RunId>,
    pub(crate) case: Option<CaseId>,
    /// On whose behalf, nearest first.
    pub on_behalf_of: Vec<Principal>,
    /// The person who answers for an agent, or who made a service key.
    pub(crate) owner: Option<UserId>,
    /// The people behind it who are not principals of this call themselves: those who were shown a secret of a service
    /// key, and those who answer for whoever it acts on behalf of.
    pub(crate) holders: Vec<UserId>,
    pub(crate) name: String,
    pub(crate) roles: Vec<Held>,
    /// What it was lent for, where a person lent it.
    pub(crate) lent: Option<crate::lent::Lent>,
}

impl Identity {
    /// Who calls, whichever credential is presented: a client may go on under a fresh one.
    pub(crate) fn caller(&self) -> String {
        let chain = std::iter::once(&self.principal).chain(&self.on_behalf_of).map(ToString::to_string);
        chain.chain(self.run.map(|run| run.to_string())).collect::<Vec<_>>().join(" ")
    }

    /// What this caller can reach at most, whatever policy says.
    #[must_use]
    pub fn reach(&self) -> Scope {
        match (self.bound, self.home) {
            (Some(tenant), _) | (None, Owner::Tenant(tenant)) => Scope::Tenant(tenant),
            (None, Owner::Provider) => Scope::Provider,
        }
    }

    /// Where a call acts that names no place: the run's tenant, or the principal's home.
    #[must_use]
    pub fn place(&self) -> Owner {
        self.bound.map_or(self.home, Owner::Tenant)
    }

    /// The roles that count at a place with these tags; with what was taken by break glass and lasts at an instant, or
    /// without any of it.
    pub(crate) fn roles_at(
        &self,
        place: Owner,
        tags: &BTreeSet<String>,
        glass_at: Option<Timestamp>,
    ) -> BTreeSet<String> {
        let counts = |held: &&Held| match (&held.selector, held.place, place) {
            (None, Owner::Provider, _) => true,
            (Some((_, selector)), Owner::Provider, Owner::Tenant(_)) => selector.fits(tags),
            (Some(_), Owner::Provider, Owner::Provider) => false,
            (_, held, place) => held == place,
        };
        let lasts = |held: &&Held| held.until.is_none_or(|until| glass_at.is_some_and(|now| until > now));
        self.roles.iter().filter(counts).filter(lasts).map(|held| held.role.clone()).collect()
    }

    /// Whether a role taken by break glass counts at a place now.
    pub(crate) fn broke_glass_at(&self, place: Owner, now: Timestamp) -> bool {
        self.roles.iter().any(|held| held.place == place && held.until.is_some_and(|until| until > now))
    }

    /// The sum of the counters that this identity, acting at a place, depends on.
    pub(crate) fn stamp(&self, freshness: &Freshness, place: Option<Owner>) -> u64 {
        let people =
            self.on_behalf_of.iter().map(Principal::to_string).chain(self.owner.map(|owner| owner.to_string()));
        let tenants = [self.home.tenant(), self.bound, place.and_then(Owner::tenant)];
        let tenants = tenants.into_iter().flatten().map(|tenant| tenant.to_string());
        // A key that is there twice counts twice, each time: the sum still moves with every one of them.
        let keys: Vec<String> = people.chain(tenants).chain([self.principal.to_string()]).collect();
        freshness.stamp(keys.iter().map(String::as_str))
    }

    /// What the kill switch and lockdowns need to know.
    pub(crate) fn exposure(&self, owner: Owner, spec: Option<&Spec>) -> Exposure {
        Exposure {
            agents: Exposure::agents_of(&self.principal, &self.on_behalf_of),
            provider_person: self.principal.kind() == PrincipalKind::User && self.home == Owner::Provider,
            owner,
            home: self.place(),
            operation: spec.map(|spec| (spec.meta.id, spec.meta.effect)),
            spared: Exposure::spares(&self.principal),
            issued_at: self.issued_at,
        }
    }
}

/// Right behind an instant: a credential that was issued at the instant itself is from before.
pub(crate) fn right_after(now: Timestamp) -> Timestamp {
    now.plus(Duration::from_micros(1))
}
