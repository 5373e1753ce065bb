//! Definitions of agents: checked, pinned, and reviewed again before the agent acts.

use super::content;
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::right_after;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use agent::Definition;
use api::{AgentCharter, AgentCharterGet, AgentDefine};
use ids::{AgentId, Owner, Principal, Scope, TenantId};
use std::collections::BTreeMap;
use store::{Agent, AgentDefinition, Changes, Stored};

async fn target(look: &Look<'_>, agent: AgentId) -> Result<Target, Refusal> {
    let stored: Stored<Agent> = look.one("agent", &agent.to_string()).await?;
    let owner = Owner::from(stored.value.tenant);
    let answerable = Principal::User(stored.value.owner);
    Ok(Target::new("Agent", agent.to_string(), owner).named(stored.value.name).answered_by(answerable))
}

fn wire(stored: AgentDefinition, operations: Vec<String>) -> AgentCharter {
    AgentCharter { agent: stored.agent, digest: stored.charter, skills: stored.skills, operations, text: stored.text }
}

impl Handle<AgentDefine> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentDefine) -> Result<Target, Refusal> {
        target(look, input.agent).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AgentDefine) -> Result<Outcome<AgentCharter>, Refusal> {
        let id = input.agent.to_string();
        let agent: Stored<Agent> = admitted.one("agent", &id).await?;
        if agent.value.state == store::AgentState::Retired {
            return Err(Refusal::conflict("the agent is retired for good; register another"));
        }
        let text = match input.text {
            Some(text) => text.into_string(),
            None => content::definition(&agent.value.name).map(str::to_owned).ok_or_else(|| {
                let detail = format!("no definition ships under the name `{}`; give one", agent.value.name);
                Refusal::fault("/text", detail)
            })?,
        };
        let definition = Definition::parse(&text).map_err(|faults| super::faulty(&faults))?;
        let mut skills = BTreeMap::new();
        for name in &definition.skills {
            let skill = self.newest_skill(agent.value.tenant, name).await?;
            skills.extend(skill.map(|skill| (name.clone(), skill)));
        }
        let pins = skills.iter().map(|(name, skill)| (name.clone(), skill.digest.to_hex())).collect();
        let prepared = self.prepare(&text, skills)?;
        let operations = prepared.definition.operations.entries().to_vec();
        let charter = prepared.charter.to_hex();
        let stored = AgentDefinition { agent: input.agent, tenant: agent.value.tenant, text, charter, skills: pins };
        let mut changes = Changes::new();
        let before: Option<Stored<AgentDefinition>> = admitted.snapshot.read(&id).await?;
        match before {
            None => changes.create(&stored),
            Some(before) => changes.replace(&stored, before.version),
        };
        // Whoever looked at the charter before looked at another one.
        let state = match agent.value.state {
            store::AgentState::Active => store::AgentState::Draft,
            other => other,
        };
        let draft = Agent { state, credentials_from: right_after(self.now()), ..agent.value.clone() };
        changes.replace(&draft, agent.version);
        Ok(Outcome::changed(wire(stored, operations), changes).touching(&input.agent))
    }
}

impl Handle<AgentCharterGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &AgentCharterGet) -> Result<Target, Refusal> {
        target(look, input.agent).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: AgentCharterGet) -> Result<Outcome<AgentCharter>, Refusal> {
        let stored: Stored<AgentDefinition> = admitted.one("charter of this agent", &input.agent.to_string()).await?;
        let prepared = self.prepared(&stored.value).await?;
        let operations = prepared.definition.operations.entries().to_vec();
        Ok(Outcome::answer(wire(stored.value, operations)))
    }
}

impl Control {
    /// The newest skill of a name that an agent of this place can bring: its own place's, the provider's, what ships.
    async fn newest_skill(&self, place: Option<TenantId>, name: &str) -> Result<Option<agent::Skill>, Refusal> {
        let snapshot = self.store.snapshot(Scope::Provider);
        for owner in [place, None] {
            let owner = Some(Owner::from(owner));
            let key = Some(("name", name.to_owned()));
            let page = store::Page { owner, key, limit: 1000, ..store::Page::default() };
            let found: Vec<Stored<store::Skill>> = snapshot.list(&page).await?;
            if let Some(newest) = found.into_iter().max_by_key(|one| one.value.imported_at) {
                return super::read_stored(&newest.value).map(Some);
            }
        }
        Ok(content::skills().iter().find(|skill| skill.name == name).cloned())
    }
}
