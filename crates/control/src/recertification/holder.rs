//! Agents and service keys as those who hold rights: what they are, what they hold, and when somebody must look at them again; and
//! the round that tells of those that nobody looked at. Must never end a right by itself.

use crate::context::Control;
use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::role::assignment_wire;
use crate::target::Target;
use api::{HeldCredential, HolderState, NoticeKind, RecertificationDecision, RecertificationStatement};
use ids::{CredentialId, Owner, Principal, Scope, Text, Timestamp, UserId};
use serde_json::json;
use std::time::Duration;
use store::{Agent, AgentState, Assignment, Credential, Recertification, Resource, ServiceKey, Snapshot, Stored};

/// Credentials that are shown.
const CREDENTIALS_MAX: usize = 20;
/// Agents or keys that a round reads at once.
const STEP: u32 = 500;

/// An agent or a service key.
pub(super) enum Holder {
    Agent(Stored<Agent>),
    Key(Stored<ServiceKey>),
}

impl Holder {
    /// The agent or key of this id within the snapshot's reach.
    pub(super) async fn read(snapshot: &Snapshot, principal: &Principal) -> Result<Self, Refusal> {
        let id = principal.to_string();
        let found = match principal {
            Principal::Agent(_) => snapshot.read(&id).await?.map(Self::Agent),
            Principal::Service(_) => snapshot.read(&id).await?.map(Self::Key),
            _ => return Err(Refusal::not_found("agent or service key")),
        };
        found.ok_or_else(|| Refusal::not_found("agent or service key"))
    }

    pub(super) fn principal(&self) -> Principal {
        match self {
            Self::Agent(agent) => Principal::Agent(agent.value.id),
            Self::Key(key) => Principal::Service(key.value.id),
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Agent(agent) => &agent.value.name,
            Self::Key(key) => &key.value.name,
        }
    }

    pub(super) fn home(&self) -> Owner {
        match self {
            Self::Agent(agent) => Resource::owner(&agent.value),
            Self::Key(key) => Resource::owner(&key.value),
        }
    }

    pub(super) const fn created_at(&self) -> Timestamp {
        match self {
            Self::Agent(agent) => agent.created_at,
            Self::Key(key) => key.created_at,
        }
    }

    /// The person who answers for it.
    fn answerable(&self) -> Option<UserId> {
        match self {
            Self::Agent(agent) => Some(agent.value.owner),
            Self::Key(key) => match key.value.created_by {
                Some(Principal::User(person)) => Some(person),
                _ => key.value.holders.first().copied(),
            },
        }
    }

    pub(super) fn state(&self, now: Timestamp) -> HolderState {
        match self {
            Self::Agent(agent) => match agent.value.state {
                AgentState::Retired => HolderState::Retired,
                _ if agent.value.expires_at <= now => HolderState::Expired,
                AgentState::Draft => HolderState::Draft,
                AgentState::Suspended => HolderState::Suspended,
                AgentState::Active => HolderState::Active,
            },
            Self::Key(key) if key.value.revoked => HolderState::Revoked,
            Self::Key(key) if key.value.expires_at <= now => HolderState::Expired,
            Self::Key(_) => HolderState::Active,
        }
    }

    /// As the target of a call, for this caller: who saw a key's secret answers for it as its maker does.
    pub(super) fn target(&self, caller: &Identity) -> Target {
        let target = Target::new("Recertification", self.principal().to_string(), self.home()).named(self.name());
        match self {
            Self::Agent(agent) => target.answered_by(Principal::User(agent.value.owner)),
            Self::Key(key) => {
                let target = match &key.value.created_by {
                    Some(maker) => target.made_by(maker.clone()),
                    None => target,
                };
                let saw = matches!(&caller.principal, Principal::User(person) if key.value.holders.contains(person));
                match self.answerable() {
                    _ if saw => target.answered_by(caller.principal.clone()),
                    Some(person) => target.answered_by(Principal::User(person)),
                    None => target,
                }
            }
        }
    }

    /// When somebody must say again that it needs what it holds; none while it cannot act.
    fn due_at(&self, said: Option<&Recertification>, period: Duration, now: Timestamp) -> Option<Timestamp> {
        if self.state(now) != HolderState::Active {
            return None;
        }
        // What was taken and given back was not looked at since.
        Some(said.map_or_else(|| self.created_at().plus(period), |said| said.until.unwrap_or(said.at)))
    }

    /// The identity that questions about its rights are asked for, whether or not it could act now.
    pub(super) async fn identity(&self, snapshot: &Snapshot, now: Timestamp) -> Result<Identity, Refusal> {
        let principal = self.principal();
        Ok(Identity {
            roles: crate::authenticate::held_roles(snapshot, &principal).await?,
            home: self.home(),
            credential: CredentialId::derive(&[b"question", principal.to_string().as_bytes()]),
            issued_at: now,
            expires_at: now,
            bound: None,
            run: None,
            case: None,
            on_behalf_of: Vec::new(),
            owner: self.answerable(),
            holders: Vec::new(),
            name: self.name().to_owned(),
            lent: None,
            principal,
        })
    }
}

/// The roles that somebody holds.
pub(super) async fn assignments(
    snapshot: &Snapshot,
    principal: &Principal,
) -> Result<Vec<Stored<Assignment>>, Refusal> {
    Ok(snapshot.find("principal", &principal.to_string()).await?)
}

fn statement(said: &Recertification) -> RecertificationStatement {
    let decision = match said.until {
        Some(_) => RecertificationDecision::Kept,
        None => RecertificationDecision::Revoked,
    };
    RecertificationStatement {
        decision,
        by: said.by.clone(),
        at: said.at,
        until: said.until,
        reason: Text::truncated(&said.reason),
        assignments: said.assignments.clone(),
    }
}

impl Control {
    /// A holder as it is told, with this statement where one is about to be stored, else with the stored one.
    pub(super) async fn told_of(
        &self,
        snapshot: &Snapshot,
        holder: &Holder,
        new: Option<&Recertification>,
        now: Timestamp,
    ) -> Result<api::Recertification, Refusal> {
        let (principal, id) = (holder.principal(), holder.principal().to_string());
        let stored: Option<Stored<Recertification>> = if new.is_some() { None } else { snapshot.read(&id).await? };
        let said = new.or(stored.as_ref().map(|stored| &stored.value));
        let held = assignments(snapshot, &principal).await?;
        let mut credentials: Vec<Credential> =
            snapshot.find("principal", &id).await?.into_iter().map(of_value).collect();
        credentials.retain(|one| !one.revoked && one.expires_at > now);
        credentials.sort_by_key(|one| std::cmp::Reverse(one.expires_at));
        credentials.truncate(CREDENTIALS_MAX);
        let shown = |one: Credential| HeldCredential {
            id: one.id,
            name: one.name,
            issued_at: one.issued_at,
            expires_at: one.expires_at,
        };
        let due_at = holder.due_at(said, self.settings.recertification_period, now);
        Ok(api::Recertification {
            name: holder.name().to_owned(),
            tenant: holder.home().tenant(),
            state: holder.state(now),
            answerable: holder.answerable(),
            created_at: holder.created_at(),
            given_since: said.is_some_and(|said| held.iter().any(|one| !said.assignments.contains(&one.value.id))),
            assignments: held.iter().map(|one| assignment_wire(&one.value, one.created_at)).collect(),
            credentials: credentials.into_iter().map(shown).collect(),
            due_at,
            overdue: due_at.is_some_and(|due| due <= now),
            statement: said.map(statement),
            principal,
        })
    }

    /// Tell of agents and keys that nobody looked at in time, once for each due date.
    pub(crate) async fn tell_of_overdue(&self) -> Result<(), Refusal> {
        if !self.anybody_listens().await? {
            return Ok(());
        }
        self.tell_of_overdue_among(Holder::Agent).await?;
        self.tell_of_overdue_among(Holder::Key).await
    }

    async fn tell_of_overdue_among<R: Resource>(&self, holder: fn(Stored<R>) -> Holder) -> Result<(), Refusal> {
        let (snapshot, now, mut after) = (self.store.snapshot(Scope::Provider), self.now(), None);
        loop {
            let page = store::Page { after, limit: STEP, ..store::Page::default() };
            let found: Vec<Stored<R>> = snapshot.list(&page).await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(last.value.id());
            for holder in found.into_iter().map(holder) {
                let (id, period) = (holder.principal().to_string(), self.settings.recertification_period);
                let said: Option<Stored<Recertification>> = snapshot.read(&id).await?;
                let due = holder.due_at(said.as_ref().map(|said| &said.value), period, now);
                let Some(due) = due.filter(|due| *due <= now) else { continue };
                let data = json!({
                    "principal": id, "tenant": holder.home().tenant(), "name": holder.name(),
                    "answerable": holder.answerable(), "due_at": due,
                });
                let seed = format!("recertification/{id}/{}", due.as_micros());
                self.tell_once(NoticeKind::RecertificationOverdue, holder.home(), &seed, &data).await?;
            }
        }
    }
}

fn of_value(stored: Stored<Credential>) -> Credential {
    stored.value
}
