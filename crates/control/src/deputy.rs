//! Deputies: whose roles count when somebody judges a proposal in the stead of a person who is away. Must never let one person
//! count as two, nor let somebody say yes to what they proposed through a deputy.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    ApprovalDelegate, ApprovalEndDelegation, ApprovalListDelegations, Delegation, Gone, Page, Problem, ProblemKind,
};
use ids::{Owner, Principal, Text, UserId};
use std::collections::BTreeSet;
use std::time::Duration;
use store::{Approval, Changes, Deputy, Snapshot, Stored, User, UserState, Vote};

/// The longest time that somebody is away.
const AWAY_MAX: Duration = Duration::from_secs(90 * 24 * 3600);

fn wire(deputy: Deputy) -> Delegation {
    Delegation {
        user: deputy.person,
        to: deputy.to,
        since: deputy.since,
        until: deputy.until,
        reason: Text::truncated(&deputy.reason),
    }
}

fn own(look: &Look<'_>) -> Target {
    Target::new("Self", look.identity.principal.to_string(), look.identity.home)
}

fn person(admitted: &Admitted<'_>) -> Result<UserId, Refusal> {
    match admitted.identity.principal {
        Principal::User(person) => Ok(person),
        _ => Err(Problem::new(ProblemKind::Denied, "only people judge proposals, so only they have a deputy").into()),
    }
}

/// Whether this person stands behind a proposal: proposed it, or is one in whose name or under whose answer it was proposed.
pub(crate) fn stands_behind(approval: &Approval, person: UserId) -> bool {
    let (caller, principal) = (&approval.caller, Principal::User(person));
    caller.principal == principal
        || caller.on_behalf_of.contains(&principal)
        || caller.owner == Some(person)
        || caller.holders.contains(&person)
}

impl Control {
    /// The roles that a vote counts with besides the voter's own: those of the people in whose stead it was given.
    pub(crate) async fn roles_in_stead(
        &self,
        snapshot: &Snapshot,
        approval: &Approval,
        vote: &Vote,
        (owner, tags): (Owner, &BTreeSet<String>),
    ) -> Result<BTreeSet<String>, Refusal> {
        let mut roles = BTreeSet::new();
        for stored in snapshot.find::<Deputy>("to", &vote.by.to_string()).await? {
            let deputy = stored.value;
            let away = deputy.since <= vote.at && vote.at < deputy.until;
            let voted = approval.votes.iter().any(|one| one.by == deputy.person);
            let behind = stands_behind(approval, deputy.person) && !self.settings.self_approval;
            if !away || voted || behind {
                continue;
            }
            if let Some(identity) = self.identity_for(snapshot, &Principal::User(deputy.person)).await? {
                roles.extend(identity.roles_at(owner, tags, None));
            }
        }
        Ok(roles)
    }
}

impl Handle<ApprovalDelegate> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &ApprovalDelegate) -> Result<Target, Refusal> {
        Ok(own(look))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: ApprovalDelegate) -> Result<Outcome<Delegation>, Refusal> {
        let own = person(admitted)?;
        let since = input.since.unwrap_or(admitted.now);
        if input.until <= since.max(admitted.now) {
            return Err(Refusal::fault("/until", "is over before it begins; name a later instant"));
        }
        if input.until > admitted.now.plus(AWAY_MAX) {
            return Err(Refusal::fault("/until", "is more than 90 days away; name an earlier instant"));
        }
        if input.to == own {
            return Err(Refusal::fault("/to", "is yourself; name somebody else"));
        }
        // Somebody of the same place: who belongs elsewhere may not even know of it.
        let to: Option<Stored<User>> = admitted.reach.read(&input.to.to_string()).await?;
        let fits = |user: &Stored<User>| {
            Owner::from(user.value.tenant) == admitted.identity.home && user.value.state == UserState::Active
        };
        if !to.as_ref().is_some_and(fits) {
            return Err(Refusal::fault("/to", "is no active person of your own place; see `user.list`"));
        }
        let deputy = Deputy {
            person: own,
            tenant: admitted.identity.home.tenant(),
            to: input.to,
            since,
            until: input.until,
            reason: input.reason.into_string(),
        };
        let before: Option<Stored<Deputy>> = admitted.snapshot.read(&own.to_string()).await?;
        let mut changes = Changes::new();
        match before {
            Some(before) => changes.replace(&deputy, before.version),
            None => changes.create(&deputy),
        };
        Ok(Outcome::changed(wire(deputy), changes))
    }
}

impl Handle<ApprovalEndDelegation> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &ApprovalEndDelegation) -> Result<Target, Refusal> {
        Ok(own(look))
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: ApprovalEndDelegation) -> Result<Outcome<Gone>, Refusal> {
        let own = person(admitted)?;
        let before: Option<Stored<Deputy>> = admitted.snapshot.read(&own.to_string()).await?;
        let Some(before) = before.filter(|one| one.value.until > admitted.now) else {
            return Err(Refusal::conflict("nobody judges in your stead"));
        };
        // Kept, so that votes that were given meanwhile still count as they did.
        let ended = Deputy { until: admitted.now, ..before.value };
        let mut changes = Changes::new();
        changes.replace(&ended, before.version);
        Ok(Outcome::changed(Gone { id: own.to_string() }, changes))
    }
}

impl Handle<ApprovalListDelegations> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &ApprovalListDelegations) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: ApprovalListDelegations,
    ) -> Result<Outcome<Page<Delegation>>, Refusal> {
        let owner = Some(admitted.target.owner);
        let page = admitted
            .page(owner, None, input.limit, input.cursor.as_ref(), |stored: Stored<Deputy>| Ok(wire(stored.value)))
            .await?;
        let items = page.items.into_iter().filter(|one| one.until > admitted.now).collect();
        Ok(Outcome::answer(Page { items, next_cursor: page.next_cursor }))
    }
}
