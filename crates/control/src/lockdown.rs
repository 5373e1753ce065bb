//! Lockdowns: engaged by one, lifted by a quorum that policy asks for, held in memory beside the kill switch. What a lockdown
//! covers is said here; that it is asked at every call is `kill`'s.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::{After, Outcome};
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{Effect, Fault, LockdownEngage, LockdownLift, LockdownStatus, Page, Problem};
use ids::{LockdownId, Owner, Text};
use store::{Changes, Lockdown, Stored};

/// Families that no effect of a lockdown covers: what it takes to look into it and to lift it.
const SPARED: [&str; 7] = ["approval", "audit", "kill_switch", "lockdown", "me", "operation", "system"];
/// Families that cannot be named either: without them nobody could lift it, or stop what goes on.
const NEVER: [&str; 4] = ["approval", "kill_switch", "lockdown", "me"];

/// Whether a lockdown that holds refuses an operation.
pub(crate) fn covers(lockdown: &Lockdown, operation: &str, effect: Effect) -> bool {
    let family = operation.split_once('.').map_or(operation, |(family, _)| family);
    let by_effect = || !SPARED.contains(&family) && lockdown.effects.iter().any(|word| word == effect.as_str());
    let by_name = || {
        let named = |pattern: &String| pattern == operation || pattern.strip_suffix(".*") == Some(family);
        !NEVER.contains(&family) && lockdown.operations.iter().any(named)
    };
    by_effect() || by_name()
}

fn effect_named(word: &str) -> Option<Effect> {
    [Effect::Govern, Effect::Read, Effect::Respond, Effect::Write].into_iter().find(|effect| effect.as_str() == word)
}

fn wire(value: Lockdown) -> Result<api::Lockdown, Refusal> {
    let read = |pattern: &String| serde_json::from_value(pattern.as_str().into());
    let operations = value.operations.iter().map(read).collect::<Result<_, _>>();
    Ok(api::Lockdown {
        id: value.id,
        tenant: value.tenant,
        effects: value.effects.iter().filter_map(|word| effect_named(word)).collect(),
        operations: operations.map_err(|error| Refusal::bug("a stored lockdown is not well formed", &error))?,
        reason: Text::truncated(&value.reason),
        engaged_by: value.engaged_by,
        engaged_at: value.engaged_at,
        lifted_by: value.lifted_by,
        lifted_at: value.lifted_at,
        lifted_reason: value.lifted_reason.map(|reason| Text::truncated(&reason)),
    })
}

impl Control {
    /// What is wrong with what a lockdown names.
    fn check_lockdown(&self, input: &LockdownEngage) -> Result<(), Problem> {
        if input.effects.is_empty() && input.operations.is_empty() {
            return Err(Problem::fault("/effects", "is empty, and `operations` too; name what is to be refused"));
        }
        let mut faults = Vec::new();
        for (number, pattern) in input.operations.iter().enumerate() {
            let pattern = pattern.as_str();
            let family = pattern.split_once('.').map_or(pattern, |(family, _)| family);
            let known = match pattern.strip_suffix(".*") {
                Some(family) => self.registry.specs().iter().any(|spec| spec.meta.family() == family),
                None => self.registry.spec(pattern).is_some(),
            };
            let why = if NEVER.contains(&family) {
                format!("names `{pattern}`, which lifting a lockdown or stopping what goes on takes; leave it out")
            } else if known {
                continue;
            } else {
                format!("names `{pattern}`, which is no operation; see `operation.list`")
            };
            faults.push(Fault { pointer: format!("/operations/{number}"), detail: why });
        }
        if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
    }
}

impl Handle<LockdownEngage> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LockdownEngage) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        Ok(Target::tenant(input.tenant))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: LockdownEngage) -> Result<Outcome<api::Lockdown>, Refusal> {
        self.check_lockdown(&input)?;
        let lockdown = Lockdown {
            id: LockdownId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: input.tenant,
            effects: input.effects.iter().map(|effect| effect.as_str().to_owned()).collect(),
            operations: input.operations.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            reason: input.reason.into_string(),
            engaged_by: admitted.identity.principal.clone(),
            engaged_at: admitted.now,
            lifted_by: None,
            lifted_at: None,
            lifted_reason: None,
        };
        let mut changes = Changes::new();
        changes.create(&lockdown);
        Ok(Outcome::changed(wire(lockdown)?, changes).then(After::KillSwitch))
    }
}

impl Handle<LockdownLift> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LockdownLift) -> Result<Target, Refusal> {
        let stored: Stored<Lockdown> = look.one("lockdown", &input.lockdown.to_string()).await?;
        let Lockdown { tenant, engaged_by, .. } = stored.value;
        Ok(Target::new("Lockdown", input.lockdown.to_string(), Owner::Tenant(tenant)).made_by(engaged_by))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: LockdownLift) -> Result<Outcome<api::Lockdown>, Refusal> {
        let before: Stored<Lockdown> = admitted.one("lockdown", &input.lockdown.to_string()).await?;
        if before.value.lifted_at.is_some() {
            return Err(Refusal::conflict("this lockdown was lifted already"));
        }
        let lifted = Lockdown {
            lifted_by: Some(admitted.identity.principal.clone()),
            lifted_at: Some(admitted.now),
            lifted_reason: Some(input.reason.into_string()),
            ..before.value
        };
        let mut changes = Changes::new();
        changes.replace(&lifted, before.version);
        Ok(Outcome::changed(wire(lifted)?, changes).then(After::KillSwitch))
    }
}

impl Handle<LockdownStatus> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &LockdownStatus) -> Result<Target, Refusal> {
        let owner = look.place(input.tenant).await?;
        Ok(Target::new("Lockdown", "all", owner))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: LockdownStatus,
    ) -> Result<Outcome<Page<api::Lockdown>>, Refusal> {
        let key = (!input.lifted).then(|| ("holds", "yes".to_owned()));
        let owner = admitted.target.owner.tenant().map(Owner::Tenant);
        let page = admitted
            .page(owner, key, input.limit, input.cursor.as_ref(), |stored: Stored<Lockdown>| wire(stored.value));
        Ok(Outcome::answer(page.await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::{Principal, TenantId, Timestamp, UserId};

    #[test]
    fn what_a_lockdown_covers_and_what_it_spares() {
        let lockdown = |effects: &[&str], operations: &[&str]| Lockdown {
            id: LockdownId::derive(&[b"l"]),
            tenant: TenantId::derive(&[b"t"]),
            effects: effects.iter().map(|word| (*word).to_owned()).collect(),
            operations: operations.iter().map(|word| (*word).to_owned()).collect(),
            reason: String::new(),
            engaged_by: Principal::User(UserId::derive(&[b"u"])),
            engaged_at: Timestamp::default(),
            lifted_by: None,
            lifted_at: None,
            lifted_reason: None,
        };
        for (effects, operations, operation, effect, covered) in [
            (&["respond"][..], &[][..], "action.isolate_host", Effect::Respond, true),
            (&["respond"], &[], "case.open", Effect::Write, false),
            (&["govern", "read", "write"], &[], "approval.approve", Effect::Govern, false),
            (&["govern", "read", "write"], &[], "lockdown.lift", Effect::Govern, false),
            (&["govern", "read", "write"], &[], "audit.list", Effect::Read, false),
            (&["govern"], &[], "role.assign", Effect::Govern, true),
            (&[], &["audit.export"], "audit.export", Effect::Read, true),
            (&[], &["rule.*"], "rule.enable", Effect::Write, true),
            (&[], &["rule.*"], "rule_exception.create", Effect::Write, false),
            (&[], &["approval.*", "lockdown.lift"], "lockdown.lift", Effect::Govern, false),
        ] {
            let lockdown = lockdown(effects, operations);
            assert_eq!(covers(&lockdown, operation, effect), covered, "{effects:?} {operations:?} {operation}");
        }
    }
}
