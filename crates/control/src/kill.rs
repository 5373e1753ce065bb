//! The kill switch and the lockdowns in memory: asked when a call comes in, right before its commit and right before an effect is sent.
//! Engagements are loaded at opening, so a restart does not lift one.

use api::Effect;
use arc_swap::ArcSwap;
use ids::{AgentId, KillSwitchId, LockdownId, Owner, Principal, Timestamp};
use std::fmt;
use store::{KillSwitch, KillTarget, Lockdown};

/// What is held, read as one: a call looks once.
struct Held {
    /// All engagements, also released ones: credentials that they killed stay dead.
    engagements: Vec<KillSwitch>,
    /// The lockdowns that hold.
    lockdowns: Vec<Lockdown>,
}

/// The switch and the lockdowns.
pub(crate) struct KillBoard {
    held: ArcSwap<Held>,
}

/// What holds a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Halt {
    Engagement(KillSwitchId),
    Lockdown(LockdownId),
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engagement(id) => write!(f, "engagement `{id}` of the kill switch"),
            Self::Lockdown(id) => write!(f, "lockdown `{id}` of the tenant"),
        }
    }
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
    /// What is called and what it may do; none where only the credential is judged.
    pub(crate) operation: Option<(&'static str, Effect)>,
    /// A sensor or the platform itself, whose work goes on in a lockdown.
    pub(crate) spared: bool,
    /// When the credential was made.
    pub(crate) issued_at: Timestamp,
}

impl Exposure {
    /// Whether a lockdown lets a principal go on: sensors tell what happens, and the platform keeps it.
    pub(crate) const fn spares(principal: &Principal) -> bool {
        matches!(principal, Principal::Sensor(_) | Principal::System(_))
    }

    /// The agents among a caller and those behind it.
    pub(crate) fn agents_of(principal: &Principal, on_behalf_of: &[Principal]) -> Vec<AgentId> {
        std::iter::once(principal)
            .chain(on_behalf_of)
            .filter_map(|one| if let Principal::Agent(agent) = one { Some(*agent) } else { None })
            .collect()
    }
}

impl KillBoard {
    pub(crate) fn new(engagements: Vec<KillSwitch>, lockdowns: Vec<Lockdown>) -> Self {
        Self { held: ArcSwap::from_pointee(Held { engagements, lockdowns }) }
    }

    pub(crate) fn replace(&self, engagements: Vec<KillSwitch>, lockdowns: Vec<Lockdown>) {
        self.held.store(std::sync::Arc::new(Held { engagements, lockdowns }));
    }

    /// What stops this call or has killed its credential.
    pub(crate) fn halts(&self, exposure: &Exposure) -> Option<Halt> {
        let held = self.held.load();
        let engaged = held.engagements.iter().find(|one| names(&one.target, exposure) && holds(one, exposure));
        let locked = || held.lockdowns.iter().find(|one| locks(one, exposure)).map(|one| Halt::Lockdown(one.id));
        engaged.map(|one| Halt::Engagement(one.id)).or_else(locked)
    }
}

/// A lockdown holds everybody's calls of its classes in its tenant, but for sensors and the platform itself.
fn locks(lockdown: &Lockdown, exposure: &Exposure) -> bool {
    let covered = |(operation, effect)| crate::lockdown::covers(lockdown, operation, effect);
    lockdown.lifted_at.is_none()
        && !exposure.spared
        && exposure.owner == Owner::Tenant(lockdown.tenant)
        && exposure.operation.is_some_and(covered)
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
                && exposure.operation.is_some_and(|(_, own)| own.as_str() == effect)
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
            operation: Some(("case.open", Effect::Write)),
            spared: false,
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
            let board = KillBoard::new(vec![engaged(target.clone(), released)], Vec::new());
            assert_eq!(board.halts(&call(issued)).is_some(), halted, "{target:?} {released:?} {issued}");
        }
        let person = Exposure { agents: Vec::new(), provider_person: true, ..call(50) };
        let engagements = vec![engaged(write(), None), engaged(KillTarget::AllAgents, None)];
        assert_eq!(KillBoard::new(engagements, Vec::new()).halts(&person), None);
    }

    #[test]
    fn a_lockdown_holds_everybody_in_its_tenant_but_sensors_and_the_platform() {
        let tenant = TenantId::derive(&[b"t"]);
        let lockdown = |lifted: Option<i64>| Lockdown {
            id: LockdownId::derive(&[b"l"]),
            tenant,
            effects: vec!["write".to_owned()],
            operations: Vec::new(),
            reason: String::new(),
            engaged_by: Principal::User(UserId::derive(&[b"u"])),
            engaged_at: Timestamp::from_micros(100),
            lifted_by: None,
            lifted_at: lifted.map(Timestamp::from_micros),
            lifted_reason: None,
        };
        let admin = Exposure {
            agents: Vec::new(),
            provider_person: true,
            owner: Owner::Tenant(tenant),
            home: Owner::Provider,
            operation: Some(("case.open", Effect::Write)),
            spared: false,
            issued_at: Timestamp::from_micros(50),
        };
        let read = Some(("case.get", Effect::Read));
        for (exposure, lifted, halted) in [
            (admin.clone(), None, true),
            (admin.clone(), Some(200), false),
            (Exposure { owner: Owner::Provider, ..admin.clone() }, None, false),
            (Exposure { operation: read, ..admin.clone() }, None, false),
            (Exposure { operation: None, ..admin.clone() }, None, false),
            (Exposure { spared: true, ..admin.clone() }, None, false),
        ] {
            let board = KillBoard::new(Vec::new(), vec![lockdown(lifted)]);
            assert_eq!(board.halts(&exposure).is_some(), halted, "{exposure:?} {lifted:?}");
        }
    }
}
