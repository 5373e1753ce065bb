//! Agents: registered, owned by a person, with states and an end; credentials for single runs.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::right_after;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    AgentActivate, AgentGet, AgentIssueRunCredential, AgentList, AgentRegister, AgentRetire, AgentRevokeCredentials,
    AgentState, AgentSuspend, AgentUpdate, Etag, Page, RunCredential,
};
use ids::{AgentId, Owner, Principal, RunId, Text, Timestamp, UserId};
use std::time::Duration;
use store::{Agent, Changes, CredentialKind, Stored, User, UserState};

pub(crate) fn wire(stored: Stored<Agent>) -> Result<api::Agent, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    Ok(api::Agent {
        id: value.id,
        tenant: value.tenant,
        name: value.name.parse().map_err(|error| Refusal::bug("a stored agent is not well formed", &error))?,
        purpose: Text::truncated(&value.purpose),
        owner: value.owner,
        state: match value.state {
            store::AgentState::Draft => AgentState::Draft,
            store::AgentState::Active => AgentState::Active,
            store::AgentState::Suspended => AgentState::Suspended,
            store::AgentState::Retired => AgentState::Retired,
        },
        expires_at: value.expires_at,
        created_at,
        etag: Etag::of(version),
    })
}

async fn agent_target(look: &Look<'_>, agent: AgentId) -> Result<Target, Refusal> {
    let stored: Stored<Agent> = look.one("agent", &agent.to_string()).await?;
    let owner = Owner::from(stored.value.tenant);
    let answerable = Principal::User(stored.value.owner);
    Ok(Target::new("Agent", agent.to_string(), owner).named(stored.value.name).answered_by(answerable))
}

fn replace(before: &Stored<Agent>, value: Agent, now: Timestamp) -> Result<Outcome<api::Agent>, Refusal> {
    let mut changes = Changes::new();
    changes.replace(&value, before.version);
    let version = before.version.saturating_add(1);
    let stored = Stored { value, version, created_at: before.created_at, updated_at: now };
    Ok(Outcome::changed(wire(stored)?, changes).touching(&before.value.id))
}

/// That this person can answer for an agent of this place: active, and of the same tenant or the provider.
async fn check_owner(admitted: &Admitted<'_>, owner: UserId) -> Result<(), Refusal> {
    let user: Option<Stored<User>> = admitted.reach.read(&owner.to_string()).await?;
    let fits = |user: &User| {
        let home = Owner::from(user.tenant);
        user.state == UserState::Active && (home == Owner::Provider || home == admitted.target.owner)
    };
    if user.is_some_and(|user| fits(&user.value)) {
        Ok(())
    } else {
        Err(Refusal::fault("/owner", "names no active user of this tenant or the provider that you may know of"))
    }
}

fn not_retired(agent: &Agent) -> Result<(), Refusal> {
    if agent.state == store::AgentState::Retired {
        return Err(Refusal::conflict("the agent is retired for good; register another"));
    }
    Ok(())
}

/// The agent as it is once it may not act for now.
pub(crate) fn suspended(agent: &Agent, now: Timestamp) -> Result<Agent, Refusal> {
    not_retired(agent)?;
    Ok(Agent { state: store::AgentState::Suspended, credentials_from: right_after(now), ..agent.clone() })
}

impl Handle<AgentRegister> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentRegister) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AgentRegister) -> Result<Outcome<api::Agent>, Refusal> {
        check_owner(admitted, input.owner).await?;
        let agent = Agent {
            id: AgentId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: admitted.target.owner.tenant(),
            name: input.name.to_string(),
            purpose: input.purpose.into_string(),
            owner: input.owner,
            state: store::AgentState::Draft,
            expires_at: admitted.now.plus(Duration::from_secs(u64::from(input.ttl_secs))),
            credentials_from: admitted.now,
        };
        let mut changes = Changes::new();
        changes.create(&agent);
        let stored = Stored { value: agent, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored)?, changes))
    }
}

impl Handle<AgentGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentGet) -> Result<Target, Refusal> {
        agent_target(look, input.agent).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AgentGet) -> Result<Outcome<api::Agent>, Refusal> {
        Ok(Outcome::answer(wire(admitted.one("agent", &input.agent.to_string()).await?)?))
    }
}

impl Handle<AgentList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AgentList) -> Result<Outcome<Page<api::Agent>>, Refusal> {
        let owner = Some(admitted.target.owner);
        Ok(Outcome::answer(admitted.page(owner, None, input.limit, input.cursor.as_ref(), wire).await?))
    }
}

impl Handle<AgentUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentUpdate) -> Result<Target, Refusal> {
        agent_target(look, input.agent).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AgentUpdate) -> Result<Outcome<api::Agent>, Refusal> {
        let before: Stored<Agent> = admitted.one("agent", &input.agent.to_string()).await?;
        admitted.check_version(input.if_match, before.version)?;
        not_retired(&before.value)?;
        let mut agent = before.value.clone();
        if let Some(purpose) = input.purpose {
            agent.purpose = purpose.into_string();
        }
        if let Some(owner) = input.owner {
            check_owner(admitted, owner).await?;
            agent.owner = owner;
        }
        if let Some(ttl_secs) = input.ttl_secs {
            agent.expires_at = admitted.now.plus(Duration::from_secs(u64::from(ttl_secs)));
        }
        replace(&before, agent, admitted.now)
    }
}

impl Handle<AgentActivate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentActivate) -> Result<Target, Refusal> {
        agent_target(look, input.agent).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AgentActivate) -> Result<Outcome<api::Agent>, Refusal> {
        let before: Stored<Agent> = admitted.one("agent", &input.agent.to_string()).await?;
        not_retired(&before.value)?;
        if before.value.expires_at <= admitted.now {
            return Err(Refusal::conflict(
                "the agent's time has ended; look at it again and give it a new `ttl_secs` first",
            ));
        }
        check_owner(admitted, before.value.owner).await?;
        let agent = Agent { state: store::AgentState::Active, ..before.value.clone() };
        replace(&before, agent, admitted.now)
    }
}

impl Handle<AgentSuspend> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentSuspend) -> Result<Target, Refusal> {
        agent_target(look, input.agent).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AgentSuspend) -> Result<Outcome<api::Agent>, Refusal> {
        let before: Stored<Agent> = admitted.one("agent", &input.agent.to_string()).await?;
        let agent = suspended(&before.value, self.now())?;
        replace(&before, agent, admitted.now)
    }
}

impl Handle<AgentRetire> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentRetire) -> Result<Target, Refusal> {
        agent_target(look, input.agent).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AgentRetire) -> Result<Outcome<api::Agent>, Refusal> {
        let before: Stored<Agent> = admitted.one("agent", &input.agent.to_string()).await?;
        let agent = Agent {
            state: store::AgentState::Retired,
            credentials_from: right_after(self.now()),
            ..before.value.clone()
        };
        replace(&before, agent, admitted.now)
    }
}

impl Handle<AgentIssueRunCredential> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentIssueRunCredential) -> Result<Target, Refusal> {
        let stored: Stored<Agent> = look.one("agent", &input.agent.to_string()).await?;
        look.tenant(input.tenant).await?;
        // The right is needed where the run will act, so the tenant decides, not the agent's own place.
        let target = Target::new("Agent", input.agent.to_string(), Owner::Tenant(input.tenant));
        Ok(target.named(stored.value.name).answered_by(Principal::User(stored.value.owner)))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: AgentIssueRunCredential,
    ) -> Result<Outcome<RunCredential>, Refusal> {
        let agent = admitted.reach.read::<Agent>(&input.agent.to_string()).await?;
        let agent = agent.ok_or_else(|| Refusal::not_found("agent"))?;
        let home = Owner::from(agent.value.tenant);
        if agent.value.state != store::AgentState::Active || agent.value.expires_at <= admitted.now {
            return Err(Refusal::conflict("the agent is not active; activate it first"));
        }
        if home != Owner::Provider && home != admitted.target.owner {
            return Err(Refusal::fault("/tenant", "is not the agent's own; an agent of one tenant runs there only"));
        }
        admitted.check_case(input.case).await?;
        let ttl = Duration::from_secs(u64::from(input.ttl_secs));
        let principal = Principal::Agent(input.agent);
        let (mut credential, shown) =
            self.new_credential(CredentialKind::Run, principal, home, &agent.value.name, admitted.now, ttl)?;
        let run = RunId::generate(self.clock.as_ref(), self.entropy.as_ref());
        credential.run = Some(run);
        credential.reach = Some(input.tenant);
        credential.case = input.case;
        credential.on_behalf_of = std::iter::once(admitted.identity.principal.clone())
            .chain(admitted.identity.on_behalf_of.iter().cloned())
            .take(16)
            .collect();
        let mut changes = Changes::new();
        changes.create(&credential).expect::<Agent>(&input.agent.to_string(), agent.version);
        Ok(Outcome::changed(RunCredential { run, credential: shown }, changes))
    }
}

impl Handle<AgentRevokeCredentials> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentRevokeCredentials) -> Result<Target, Refusal> {
        agent_target(look, input.agent).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: AgentRevokeCredentials,
    ) -> Result<Outcome<api::Agent>, Refusal> {
        let before: Stored<Agent> = admitted.one("agent", &input.agent.to_string()).await?;
        let agent = Agent { credentials_from: right_after(self.now()), ..before.value.clone() };
        replace(&before, agent, admitted.now)
    }
}
