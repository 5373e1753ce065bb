//! Break glass: a role that a person takes for a while. That it counts only while it lasts is judged at every decision
//! (`identity`); here it is opened, told to everybody by a case in the same commit, closed, ended and reviewed. Must never
//! leave a role that nobody was told of.

use crate::admission::{Admitted, Look};
use crate::cases::Opening;
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::role::check_grant;
use crate::target::Target;
use api::{
    BreakGlassClose, BreakGlassList, BreakGlassOpen, BreakGlassReview, BreakGlassState, Page, Problem, ProblemKind,
};
use ids::{BreakGlassId, Owner, Principal, Scope, Severity, Text, Timestamp, UserId};
use std::collections::BTreeSet;
use std::time::Duration;
use store::{BreakGlass, Changes, GlassReview, Snapshot, Stored, sortable};

/// How many grants that ran out one round writes down.
const ENDED_MAX: u32 = 64;

/// What a person holds by break glass now, as (role, place, end).
pub(crate) async fn held_by(snapshot: &Snapshot, person: UserId) -> Result<Vec<(String, Owner, Timestamp)>, Refusal> {
    let open = snapshot.find::<BreakGlass>("holder", &person.to_string()).await?;
    let held = |one: Stored<BreakGlass>| (one.value.role.clone(), Owner::Tenant(one.value.tenant), one.value.ends_at());
    Ok(open.into_iter().map(held).collect())
}

fn state(glass: &BreakGlass, now: Timestamp) -> BreakGlassState {
    if glass.review.is_some() {
        BreakGlassState::Reviewed
    } else if glass.ends_at() > now {
        BreakGlassState::Open
    } else {
        BreakGlassState::Unreviewed
    }
}

fn wire(value: BreakGlass, now: Timestamp) -> api::BreakGlass {
    let state = state(&value, now);
    api::BreakGlass {
        id: value.id,
        tenant: value.tenant,
        user: value.person,
        role: value.role,
        reason: Text::truncated(&value.reason),
        state,
        opened_at: value.opened_at,
        expires_at: value.expires_at,
        closed_at: value.closed_at,
        closed_by: value.closed_by,
        case: value.case,
        review: value.review.map(|review| api::GlassReview {
            by: review.by,
            at: review.at,
            justified: review.justified,
            comment: Text::truncated(&review.comment),
        }),
    }
}

async fn target(look: &Look<'_>, glass: BreakGlassId) -> Result<Target, Refusal> {
    let stored: Stored<BreakGlass> = look.one("break-glass grant", &glass.to_string()).await?;
    let BreakGlass { tenant, person, role, .. } = stored.value;
    let target = Target::new("BreakGlass", glass.to_string(), Owner::Tenant(tenant));
    Ok(target.named(role).made_by(Principal::User(person)).answered_by(Principal::User(person)))
}

impl Handle<BreakGlassOpen> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &BreakGlassOpen) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        Ok(Target::tenant(input.tenant).granting([input.role.to_string()]))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: BreakGlassOpen,
    ) -> Result<Outcome<api::BreakGlass>, Refusal> {
        let principal = admitted.identity.principal.clone();
        let Principal::User(person) = principal else {
            return Err(Problem::new(ProblemKind::Denied, "only a person breaks the glass").into());
        };
        let place = admitted.target.owner;
        check_grant(self, admitted, &principal, admitted.identity.home, &input.role, place, "/role").await?;
        let role = input.role.to_string();
        let open = admitted.snapshot.find::<BreakGlass>("holder", &person.to_string()).await?;
        let still = |one: &&Stored<BreakGlass>| one.value.role == role && one.value.ends_at() > admitted.now;
        if let Some(held) = open.iter().find(still) {
            let detail = format!("`{}` gives you this role already, until {}", held.value.id, held.value.ends_at());
            return Err(Refusal::conflict(detail));
        }
        let expires_at = admitted.now.plus(Duration::from_secs(u64::from(input.ttl_secs)));
        let title = format!("Break glass: {} took the role {role}", admitted.identity.name);
        let reason = input.reason.into_string();
        let opening = Opening {
            title: title.chars().take(200).collect(),
            severity: Severity::High,
            tags: BTreeSet::from(["break-glass".to_owned()]),
            note: format!("{title} until {expires_at}: {reason}"),
        };
        let (case, mut changes) = self.open_case(admitted, input.tenant, opening).await?;
        let glass = BreakGlass {
            id: BreakGlassId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: input.tenant,
            person,
            role,
            reason,
            opened_at: admitted.now,
            expires_at,
            closed_at: None,
            closed_by: None,
            case,
            review: None,
        };
        changes.create(&glass);
        tracing::warn!(break_glass = %glass.id, tenant = %glass.tenant, principal = %principal, role = glass.role, "the glass was broken");
        let data = serde_json::json!({
            "break_glass": glass.id, "tenant": glass.tenant, "person": principal, "role": glass.role,
            "case": glass.case, "expires_at": glass.expires_at,
        });
        let (told, records) = self.tell_webhooks(api::NoticeKind::BreakGlassOpened, place, None, &data).await?;
        changes.append(told);
        let mut outcome = Outcome::changed(wire(glass, admitted.now), changes).touching(&principal);
        outcome.leaves.extend(records);
        Ok(outcome)
    }
}

impl Handle<BreakGlassClose> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &BreakGlassClose) -> Result<Target, Refusal> {
        target(look, input.break_glass).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: BreakGlassClose,
    ) -> Result<Outcome<api::BreakGlass>, Refusal> {
        let before: Stored<BreakGlass> = admitted.one("break-glass grant", &input.break_glass.to_string()).await?;
        if before.value.ends_at() <= admitted.now {
            return Err(Refusal::conflict("it is over already"));
        }
        let closed = BreakGlass {
            closed_at: Some(admitted.now),
            closed_by: Some(admitted.identity.principal.clone()),
            ..before.value
        };
        let mut changes = Changes::new();
        changes.replace(&closed, before.version);
        let person = Principal::User(closed.person);
        Ok(Outcome::changed(wire(closed, admitted.now), changes).touching(&person))
    }
}

impl Handle<BreakGlassReview> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &BreakGlassReview) -> Result<Target, Refusal> {
        target(look, input.break_glass).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: BreakGlassReview,
    ) -> Result<Outcome<api::BreakGlass>, Refusal> {
        let before: Stored<BreakGlass> = admitted.one("break-glass grant", &input.break_glass.to_string()).await?;
        let Principal::User(by) = admitted.identity.principal else {
            return Err(Problem::new(ProblemKind::Denied, "only a person reviews what a person did").into());
        };
        match state(&before.value, admitted.now) {
            BreakGlassState::Open => return Err(Refusal::conflict("it is still open; close it first")),
            BreakGlassState::Reviewed => return Err(Refusal::conflict("it was reviewed already")),
            BreakGlassState::Unreviewed => {}
        }
        let review =
            GlassReview { by, at: admitted.now, justified: input.justified, comment: input.comment.into_string() };
        let reviewed = BreakGlass { review: Some(review), ..before.value };
        let mut changes = Changes::new();
        changes.replace(&reviewed, before.version);
        Ok(Outcome::changed(wire(reviewed, admitted.now), changes))
    }
}

impl Handle<BreakGlassList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &BreakGlassList) -> Result<Target, Refusal> {
        let owner = look.place(input.tenant).await?;
        Ok(Target::new("BreakGlass", "all", owner))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: BreakGlassList,
    ) -> Result<Outcome<Page<api::BreakGlass>>, Refusal> {
        let reviewed = input.state.map(|state| if state == BreakGlassState::Reviewed { "yes" } else { "no" });
        let key = reviewed.map(|reviewed| ("reviewed", reviewed.to_owned()));
        let owner = admitted.target.owner.tenant().map(Owner::Tenant);
        let now = admitted.now;
        let page = admitted
            .page(owner, key, input.limit, input.cursor.as_ref(), |stored: Stored<BreakGlass>| {
                Ok(wire(stored.value, now))
            })
            .await?;
        let fits = |one: &api::BreakGlass| input.state.is_none_or(|state| one.state == state);
        Ok(Outcome::answer(Page { items: page.items.into_iter().filter(fits).collect(), ..page }))
    }
}

impl Control {
    /// Write down what ran out: it counts no more already, and now its record says so.
    pub(crate) async fn end_break_glass(&self) -> Result<(), Refusal> {
        let now = self.now();
        let snapshot = self.store.snapshot(Scope::Provider);
        let due: Vec<Stored<BreakGlass>> =
            snapshot.range("ends", &sortable(Timestamp::default()), &sortable(now), ENDED_MAX).await?;
        for stored in due {
            let (owner, id) = (Owner::Tenant(stored.value.tenant), stored.value.id.to_string());
            let ended = BreakGlass { closed_at: Some(stored.value.expires_at), ..stored.value };
            let mut changes = Changes::new();
            changes.replace(&ended, stored.version);
            self.commit_as_system("break-glass-end", "break_glass.end", owner, id, changes).await?;
        }
        Ok(())
    }
}
