//! Engaging and releasing the kill switch.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{KillSwitchEngage, KillSwitchRelease, KillSwitchStatus, Page, SentEffect};
use ids::{KillSwitchId, Owner, Principal, Text};
use std::time::Duration;
use store::{Agent, Changes, KillSwitch, KillTarget, Message, MessagePage, MessageState, Stored};

/// How far back effects that were sent are listed.
const SENT_WITHIN: Duration = Duration::from_secs(3600);

fn wire(value: KillSwitch) -> api::KillSwitch {
    api::KillSwitch {
        id: value.id,
        target: wire_target(&value.target),
        reason: Text::truncated(&value.reason),
        engaged_by: value.engaged_by,
        engaged_at: value.engaged_at,
        released_by: value.released_by,
        released_at: value.released_at,
        already_sent: value.already_sent.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect(),
    }
}

fn wire_target(target: &KillTarget) -> api::KillTarget {
    match target {
        KillTarget::Agent { agent } => api::KillTarget::Agent { agent: *agent },
        KillTarget::TenantAgents { tenant } => api::KillTarget::TenantAgents { tenant: *tenant },
        KillTarget::OperationClass { effect, tenant } => api::KillTarget::OperationClass {
            effect: match effect.as_str() {
                "govern" => api::Effect::Govern,
                "read" => api::Effect::Read,
                "respond" => api::Effect::Respond,
                _ => api::Effect::Write,
            },
            tenant: *tenant,
        },
        KillTarget::AllAgents => api::KillTarget::AllAgents,
    }
}

fn stored_target(target: &api::KillTarget) -> KillTarget {
    match target {
        api::KillTarget::Agent { agent } => KillTarget::Agent { agent: *agent },
        api::KillTarget::TenantAgents { tenant } => KillTarget::TenantAgents { tenant: *tenant },
        api::KillTarget::OperationClass { effect, tenant } => {
            KillTarget::OperationClass { effect: effect.as_str().to_owned(), tenant: *tenant }
        }
        api::KillTarget::AllAgents => KillTarget::AllAgents,
    }
}

/// Whether a message was caused by one of the stopped principals.
fn concerned(target: &KillTarget, message: &Message) -> bool {
    let agent = matches!(message.principal.parse(), Ok(Principal::Agent(_)));
    match target {
        KillTarget::Agent { agent } => message.principal == agent.to_string(),
        KillTarget::AllAgents => agent,
        KillTarget::TenantAgents { tenant } => agent && message.owner == Owner::Tenant(*tenant),
        KillTarget::OperationClass { tenant, .. } => tenant.is_none_or(|tenant| message.owner == Owner::Tenant(tenant)),
    }
}

impl Handle<KillSwitchEngage> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &KillSwitchEngage) -> Result<Target, Refusal> {
        let owner = match &input.target {
            api::KillTarget::Agent { agent } => {
                let stored: Stored<Agent> = look.one("agent", &agent.to_string()).await?;
                stored.value.tenant.into()
            }
            api::KillTarget::TenantAgents { tenant } | api::KillTarget::OperationClass { tenant: Some(tenant), .. } => {
                look.place(Some(*tenant)).await?
            }
            api::KillTarget::OperationClass { tenant: None, .. } | api::KillTarget::AllAgents => Owner::Provider,
        };
        Ok(Target::new("KillSwitch", "new", owner))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: KillSwitchEngage,
    ) -> Result<Outcome<api::KillSwitch>, Refusal> {
        let target = stored_target(&input.target);
        let already_sent = self.sent_by(admitted, &target).await?;
        let engaged = KillSwitch {
            id: KillSwitchId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: admitted.target.owner.tenant(),
            target,
            reason: input.reason.into_string(),
            engaged_by: admitted.identity.principal.clone(),
            engaged_at: admitted.now,
            released_by: None,
            released_at: None,
            already_sent: already_sent.iter().filter_map(|one| serde_json::to_value(one).ok()).collect(),
        };
        let mut changes = Changes::new();
        changes.create(&engaged);
        Ok(Outcome::changed(wire(engaged), changes).then(After::KillSwitch))
    }
}

impl Control {
    async fn sent_by(&self, admitted: &Admitted<'_>, target: &KillTarget) -> Result<Vec<SentEffect>, Refusal> {
        let since = admitted.now.minus(SENT_WITHIN);
        let mut sent = Vec::new();
        for state in [MessageState::Sending, MessageState::Sent, MessageState::Uncertain] {
            let owner = admitted.target.owner.tenant().map(Owner::Tenant);
            let page = MessagePage { owner, state: Some(state), limit: 1000, ..MessagePage::default() };
            let messages = admitted.snapshot.messages(&page).await?;
            sent.extend(messages.into_iter().filter(|one| one.updated_at >= since && concerned(target, one)).map(
                |one| SentEffect {
                    call: one.call,
                    principal: one.principal,
                    channel: one.channel,
                    state: format!("{state:?}").to_lowercase(),
                    at: one.updated_at,
                },
            ));
        }
        Ok(sent)
    }
}

impl Handle<KillSwitchRelease> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &KillSwitchRelease) -> Result<Target, Refusal> {
        let stored: Stored<KillSwitch> = look.one("kill switch", &input.kill_switch.to_string()).await?;
        let engaged_by = stored.value.engaged_by;
        Ok(Target::new("KillSwitch", input.kill_switch.to_string(), stored.value.tenant.into()).made_by(engaged_by))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: KillSwitchRelease,
    ) -> Result<Outcome<api::KillSwitch>, Refusal> {
        let before: Stored<KillSwitch> = admitted.one("kill switch", &input.kill_switch.to_string()).await?;
        if before.value.released_at.is_some() {
            return Err(Refusal::conflict("this engagement was released already"));
        }
        let released = KillSwitch {
            released_by: Some(admitted.identity.principal.clone()),
            released_at: Some(admitted.now),
            reason: format!("{} / released: {}", before.value.reason, input.reason.as_str()),
            ..before.value.clone()
        };
        let mut changes = Changes::new();
        changes.replace(&released, before.version);
        Ok(Outcome::changed(wire(released), changes).then(After::KillSwitch))
    }
}

impl Handle<KillSwitchStatus> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &KillSwitchStatus) -> Result<Target, Refusal> {
        let owner = look.place(input.tenant).await?;
        Ok(Target::new("KillSwitch", "all", owner))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: KillSwitchStatus,
    ) -> Result<Outcome<Page<api::KillSwitch>>, Refusal> {
        let key = (!input.released).then(|| ("holds", "yes".to_owned()));
        let owner = admitted.target.owner.tenant().map(Owner::Tenant);
        let page = admitted
            .page(owner, key, input.limit, input.cursor.as_ref(), |stored: Stored<KillSwitch>| Ok(wire(stored.value)));
        Ok(Outcome::answer(page.await?))
    }
}
