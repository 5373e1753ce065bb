//! From a bearer token to an [`Identity`]. Identities are cached by the token's hash and re-read when anything that they
//! are made of has changed; expiry and the kill switch are judged at every call.

use crate::attempts::Kind;
use crate::context::{Control, Inner};
use crate::freshness::Freshness;
use crate::identity::{Held, Identity};
use crate::kill::Halt;
use crate::lent::lent_of;
use crate::refusal::Refusal;
use api::{Problem, ProblemKind};
use ids::{AgentId, Owner, Principal, Scope, SensorId, ServiceKeyId, Timestamp, UserId};
use policy::Selector;
use seal::{Digest, Token};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use store::{
    Agent, AgentState, Assignment, Credential, CredentialKind, Page, Sensor, SensorState, ServiceKey, Snapshot, Stored,
    Tenant, TenantState, User, UserState,
};

/// Entries past this number are dropped all at once: simpler than an order of use, and rare.
const CACHE_MAX: usize = 50_000;

/// Identities by the hash of their token.
#[derive(Default)]
pub(crate) struct IdentityCache {
    entries: RwLock<HashMap<Digest, (u64, Arc<Identity>)>>,
}

impl IdentityCache {
    fn look(&self, hash: &Digest, freshness: &Freshness) -> Option<Arc<Identity>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let (stamp, identity) = entries.get(hash)?;
        (*stamp == identity.stamp(freshness, None)).then(|| identity.clone())
    }

    fn keep(&self, hash: Digest, stamp: u64, identity: Arc<Identity>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= CACHE_MAX {
            entries.clear();
        }
        entries.insert(hash, (stamp, identity));
    }
}

/// One text for every reason: a caller without a credential learns nothing about those that exist.
pub(crate) fn unauthenticated() -> Problem {
    Problem::new(ProblemKind::Unauthenticated, "the credential is missing, unknown, revoked or expired; get a new one")
}

/// What a principal is, apart from its credential.
struct Standing {
    home: Owner,
    name: String,
    owner: Option<UserId>,
    holders: Vec<UserId>,
    credentials_from: Timestamp,
}

impl Control {
    /// The identity behind a credential.
    pub(crate) async fn authenticate(&self, credential: Option<&api::Credential>) -> Result<Arc<Identity>, Refusal> {
        let found = match credential.and_then(|presented| Token::parse(presented.reveal())) {
            Some(token) => self.identity_of(token.lookup_hash()).await?,
            None => None,
        };
        let now = self.now();
        match found.filter(|identity| identity.expires_at > now) {
            Some(identity) => Ok(identity),
            None => {
                self.attempts.count(Kind::of_nobody("authenticate", 401), now);
                Err(unauthenticated().into())
            }
        }
    }

    async fn identity_of(&self, hash: Digest) -> Result<Option<Arc<Identity>>, Refusal> {
        let changes = self.freshness.changes();
        if let Some(identity) = self.identities.look(&hash, &self.freshness) {
            return Ok(Some(identity));
        }
        let snapshot = self.store.snapshot(Scope::Provider);
        let Some(credential) = snapshot.find_one::<Credential>("hash", &hash.to_string()).await? else {
            return Ok(None);
        };
        let Some(identity) = self.identity_with(&snapshot, credential.value).await? else { return Ok(None) };
        let identity = Arc::new(identity);
        let stamp = identity.stamp(&self.freshness, None);
        // Kept only if nothing changed while it was read: else it may be made of old and new.
        if self.freshness.changes() == changes {
            self.identities.keep(hash, stamp, identity.clone());
        }
        Ok(Some(identity))
    }

    /// The identity that a stored credential stands for; none where it, its principal or its tenant is not good.
    pub(crate) async fn identity_with(
        &self,
        snapshot: &Snapshot,
        credential: Credential,
    ) -> Result<Option<Identity>, Refusal> {
        if credential.revoked {
            return Ok(None);
        }
        let Some(standing) = self.standing(snapshot, &credential.principal).await? else { return Ok(None) };
        let alive = credential.issued_at >= standing.credentials_from;
        let place = credential.reach.map_or(standing.home, Owner::Tenant);
        if !alive || !tenant_active(snapshot, place).await? || !tenant_active(snapshot, standing.home).await? {
            return Ok(None);
        }
        // What was lent is over with its grant, and carries the person's roles: its agent has none of its own.
        let lent = match credential.grant {
            Some(grant) => match lent_of(snapshot, grant, credential.kind, self.now()).await? {
                Some(lent) => Some(lent),
                None => return Ok(None),
            },
            None => None,
        };
        let holder = lent.as_ref().map_or_else(|| credential.principal.clone(), |lent| Principal::User(lent.person));
        let mut roles = held_roles(snapshot, &holder).await?;
        // What is taken in an emergency is the person's alone: neither programs nor what was lent have it.
        if let Principal::User(person) = credential.principal {
            let taken = crate::break_glass::held_by(snapshot, person).await?;
            roles.extend(taken.into_iter().map(|(role, place, until)| Held {
                role,
                place,
                selector: None,
                until: Some(until),
            }));
        }
        let mut holders = standing.holders;
        // Who holds the key, or answers for the agent, on whose behalf this acts stands behind it just the same.
        for behind in &credential.on_behalf_of {
            let standing = self.standing(snapshot, behind).await?;
            holders.extend(standing.into_iter().flat_map(|one| one.holders.into_iter().chain(one.owner)));
        }
        Ok(Some(Identity {
            roles,
            principal: credential.principal,
            home: standing.home,
            credential: credential.id,
            issued_at: credential.issued_at,
            expires_at: credential.expires_at,
            bound: credential.reach,
            run: credential.run,
            case: credential.case,
            on_behalf_of: credential.on_behalf_of,
            owner: standing.owner,
            holders,
            name: standing.name,
            lent,
        }))
    }

    async fn standing(&self, snapshot: &Snapshot, principal: &Principal) -> Result<Option<Standing>, Refusal> {
        Ok(match principal {
            Principal::User(id) => user_standing(snapshot, *id).await?,
            Principal::Service(id) => service_standing(snapshot, *id).await?,
            Principal::Agent(id) => self.agent_standing(snapshot, *id).await?,
            Principal::Sensor(id) => sensor_standing(snapshot, *id).await?,
            // A rule gets its identity with its own issue; the platform itself needs no bearer token.
            Principal::Rule(_) | Principal::System(_) => None,
        })
    }

    async fn agent_standing(&self, snapshot: &Snapshot, id: AgentId) -> Result<Option<Standing>, Refusal> {
        let agent: Option<Stored<Agent>> = snapshot.read(&id.to_string()).await?;
        let Some(agent) = agent.map(|stored| stored.value) else { return Ok(None) };
        if agent.state != AgentState::Active || agent.expires_at <= self.now() {
            return Ok(None);
        }
        // Nobody answers for an agent whose owner is gone.
        if user_standing(snapshot, agent.owner).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(Standing {
            home: agent.tenant.into(),
            name: agent.name,
            owner: Some(agent.owner),
            holders: Vec::new(),
            credentials_from: agent.credentials_from,
        }))
    }

    /// What a principal may do without a credential at hand: for questions about others, and for approved calls.
    pub(crate) async fn identity_for(
        &self,
        snapshot: &Snapshot,
        principal: &Principal,
    ) -> Result<Option<Identity>, Refusal> {
        let now = self.now();
        let standing_in = Credential {
            id: ids::CredentialId::derive(&[b"question", principal.to_string().as_bytes()]),
            kind: CredentialKind::Session,
            hash: String::new(),
            principal: principal.clone(),
            tenant: None,
            name: String::new(),
            issued_at: now,
            expires_at: now.plus(std::time::Duration::from_secs(60)),
            revoked: false,
            run: None,
            reach: None,
            case: None,
            on_behalf_of: Vec::new(),
            grant: None,
        };
        self.identity_with(snapshot, standing_in).await
    }
}

impl Inner {
    /// The problem of a call that the kill switch or a lockdown stops.
    pub(crate) fn halted(&self, identity: &Identity, owner: Owner, spec: Option<&api::Spec>) -> Result<(), Problem> {
        match self.kill.halts(&identity.exposure(owner, spec)) {
            None => Ok(()),
            Some(halt) => {
                let kind = match halt {
                    Halt::Engagement(_) => ProblemKind::Halted,
                    Halt::Lockdown(_) => ProblemKind::LockedDown,
                };
                Err(Problem::new(kind, format!("{halt} holds this call")))
            }
        }
    }
}

async fn user_standing(snapshot: &Snapshot, id: UserId) -> Result<Option<Standing>, Refusal> {
    let user: Option<Stored<User>> = snapshot.read(&id.to_string()).await?;
    Ok(user.map(|stored| stored.value).filter(|user| user.state == UserState::Active).map(|user| Standing {
        home: user.tenant.into(),
        name: user.display_name,
        owner: None,
        holders: Vec::new(),
        credentials_from: user.credentials_from,
    }))
}

async fn service_standing(snapshot: &Snapshot, id: ServiceKeyId) -> Result<Option<Standing>, Refusal> {
    let key: Option<Stored<ServiceKey>> = snapshot.read(&id.to_string()).await?;
    Ok(key.map(|stored| stored.value).filter(|key| !key.revoked).map(|key| Standing {
        home: key.tenant.into(),
        name: key.name,
        owner: key.holders.first().copied(),
        holders: key.holders,
        credentials_from: Timestamp::default(),
    }))
}

async fn sensor_standing(snapshot: &Snapshot, id: SensorId) -> Result<Option<Standing>, Refusal> {
    let sensor: Option<Stored<Sensor>> = snapshot.read(&id.to_string()).await?;
    let alive = sensor.map(|stored| stored.value).filter(|sensor| sensor.state != SensorState::Retired);
    Ok(alive.map(|sensor| Standing {
        home: Owner::Tenant(sensor.tenant),
        name: sensor.name,
        owner: None,
        holders: Vec::new(),
        credentials_from: sensor.credentials_from,
    }))
}

pub(crate) async fn tenant_active(snapshot: &Snapshot, owner: Owner) -> Result<bool, Refusal> {
    let Some(tenant) = owner.tenant() else { return Ok(true) };
    let tenant: Option<Stored<Tenant>> = snapshot.read(&tenant.to_string()).await?;
    Ok(tenant.is_some_and(|tenant| tenant.value.state == TenantState::Active))
}

/// All roles that a principal holds. A selector that no longer parses counts nowhere.
pub(crate) async fn held_roles(snapshot: &Snapshot, principal: &Principal) -> Result<Vec<Held>, Refusal> {
    let page = Page { key: Some(("principal", principal.to_string())), limit: 1000, ..Page::default() };
    let assignments: Vec<Stored<Assignment>> = snapshot.list(&page).await?;
    Ok(assignments.into_iter().filter_map(|stored| held_by(stored.value)).collect())
}

/// The role that an assignment gives; none where its selector no longer parses.
pub(crate) fn held_by(assignment: Assignment) -> Option<Held> {
    let selector = match assignment.selector {
        None => None,
        Some(text) => {
            let parsed = Selector::parse(&text).ok()?;
            Some((text, parsed))
        }
    };
    Some(Held { role: assignment.role, place: assignment.tenant.into(), selector, until: None })
}
