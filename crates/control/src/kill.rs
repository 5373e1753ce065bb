//! The kill switch in memory: asked when a call comes in, right before its commit and right before an effect is sent.
//! Engagements are loaded at opening, so a restart does not lift one.

use api::Effect;
use arc_swap::ArcSwap;
use ids::{AgentId, KillSwitchId, Owner, Principal, Timestamp};
use store::{KillSwitch, KillTarget};

/// All engagements, also released ones: credentials that they killed stay dead.
pub(crate) struct KillBoard {
    engagements: ArcSwap<Vec<KillSwitch>>,
}

/// What the switch needs to know of a call.
#[derive(Clone, Debug)]
pub(crate) struct Exposure {
    /// The agents that act: the caller, and those on whose behalf it acts.
    pub(crate) agents: Vec<AgentId>,
    /// Whether the caller is a person of the provider, whom an operation class does not stop.
    pub(crate) provider_person: bool,
    /// Where the call acts.
    pub(crate) owner: Owner,
    /// The tenant that the caller belongs to or is bound to.
    pub(crate) home: Owner,
    /// What the call may do; none where only the credential is judged.
    pub(crate) effect: Option<Effect>,
    /// When the credential was made.
    pub(crate) issued_at: Timestamp,
}

impl Exposure {
    /// The agents among a caller and those behind it.
    pub(crate) fn agents_of(principal: &Principal, on_behalf_of: &[Principal]) -> Vec<AgentId> {
        std::iter::once(principal)
            .chain(on_behalf_of)
            .filter_map(|one| if let Principal::Agent(agent) = one { Some(*agent) } else { None })
            .collect()
    }
}

impl KillBoard {
    pub(crate) fn new(engagements: Vec<KillSwitch>) -> Self {
        Self { engagements: ArcSwap::from_pointee(engagements) }
    }

    pub(crate) fn replace(&self, engagements: Vec<KillSwitch>) {
        self.engagements.store(std::sync::Arc::new(engagements));
    }

    /// The engagement that stops this call or has killed its credential.
    pub(crate) fn halts(&self, exposure: &Exposure) -> Option<KillSwitchId> {
        let engagements = self.engagements.load();
        engagements.iter().find(|one| names(&one.target, exposure) && holds(one, exposure)).map(|one| one.id)
    }
}

/// It holds while it is not released; after that it still kills what was issued before its release, where it is
/// agents that were stopped. A class of operations kills no credential.
fn holds(engagement: &KillSwitch, exposure: &Exposure) -> bool {
    let of_agents = !matches!(engagement.target, KillTarget::OperationClass { .. });
    engagement.released_at.is_none_or(|released| of_agents && exposure.issued_at <= released)
}

fn names(target: &KillTarget, exposure: &Exposure) -> bool {
    match target {
        KillTarget::Agent { agent } => exposure.agents.contains(agent),
        KillTarget::AllAgents => !exposure.agents.is_empty(),
        KillTarget::TenantAgents { tenant } => {
            let tenant = Owner::Tenant(*tenant);
            !exposure.agents.is_empty() && (exposure.owner == tenant || exposure.home == tenant)
        }
        KillTarget::OperationClass { effect, tenant } => {
            !exposure.provider_person
                && exposure.effect.is_some_and(|own| own.as_str() == effect)
                && tenant.is_none_or(|tenant| exposure.owner == Owner::Tenant(tenant))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::{TenantId, UserId};

    fn engaged(target: KillTarget, released_at: Option<i64>) -> KillSwitch {
        KillSwitch {
            id: KillSwitchId::derive(&[b"k"]),
            tenant: None,
            target,
            reason: String::new(),
            engaged_by: Principal::User(UserId::derive(&[b"u"])),
            engaged_at: Timestamp::from_micros(100),
            released_by: None,
            released_at: released_at.map(Timestamp::from_micros),
            already_sent: Vec::new(),
        }
    }

    #[test]
    fn what_is_stopped_and_what_stays_dead() {
        let (agent, tenant) = (AgentId::derive(&[b"a"]), TenantId::derive(&[b"t"]));
        let call = |issued: i64| Exposure {
            agents: vec![agent],
            provider_person: false,
            owner: Owner::Tenant(tenant),
            home: Owner::Provider,
            effect: Some(Effect::Write),
            issued_at: Timestamp::from_micros(issued),
        };
        let write = || KillTarget::OperationClass { effect: "write".to_owned(), tenant: None };
        for (target, released, issued, halted) in [
            (KillTarget::Agent { agent }, None, 50, true),
            (KillTarget::Agent { agent }, None, 150, true),
            (KillTarget::Agent { agent: AgentId::derive(&[b"b"]) }, None, 50, false),
            (KillTarget::AllAgents, Some(200), 150, true),
            (KillTarget::AllAgents, Some(200), 250, false),
            (KillTarget::TenantAgents { tenant }, None, 50, true),
            (KillTarget::TenantAgents { tenant: TenantId::derive(&[b"o"]) }, None, 50, false),
            (write(), None, 50, true),
            (write(), Some(200), 50, false),
        ] {
            let board = KillBoard::new(vec![engaged(target.clone(), released)]);
            assert_eq!(board.halts(&call(issued)).is_some(), halted, "{target:?} {released:?} {issued}");
        }
        let person = Exposure { agents: Vec::new(), provider_person: true, ..call(50) };
        assert!(
            KillBoard::new(vec![engaged(write(), None), engaged(KillTarget::AllAgents, None)]).halts(&person).is_none()
        );
    }
}
