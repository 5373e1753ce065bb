//! Recertification: agents and service keys are looked at again, with what they may do beside what they did, and a person says whether
//! they still need it. Nothing is taken by itself, and nothing is given at all: the roles that are proposed are made and given by the
//! operations for roles.

mod holder;
mod narrower;
mod usage;

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::identity::Identity;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    HolderState, KeptAssignment, NarrowerGrant, NarrowerRole, OperationUse, Page, Problem, ProblemKind,
    RecertificationCertify, RecertificationList, RecertificationReport, RecertificationReportGet,
    RecertificationRevoke,
};
use holder::{Holder, assignments};
use ids::{Owner, Principal, Scope, Text, Timestamp};
use narrower::{Place, Proposed, Question, Rights};
use policy::Selector;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::{Agent, Assignment, Changes, Recertification, Role, ServiceKey, Snapshot, Stored, Tenant};
use usage::Usage;

/// Places whose records and rights one report looks at.
const PLACES_MAX: usize = 20;
/// Agents and keys of one page.
const ROWS_MAX: u32 = 500;
/// Letters of a name that a proposed role's name begins with.
const STEM_MAX: usize = 48;
/// Names that are tried for a proposed role.
const NAMES_MAX: usize = 100;

impl Handle<RecertificationList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RecertificationList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: RecertificationList,
    ) -> Result<Outcome<Page<api::Recertification>>, Refusal> {
        let rows = admitted.rows(input.limit).min(ROWS_MAX);
        let wanted = usize::try_from(rows).unwrap_or(usize::MAX);
        let after = admitted.after(input.cursor.as_ref())?;
        let (owner, limit) = (Some(admitted.target.owner), rows.saturating_add(1));
        let keys_begun = after.as_ref().is_some_and(|after| matches!(after.parse(), Ok(Principal::Service(_))));
        let mut found: Vec<Holder> = Vec::new();
        if !keys_begun {
            let page = store::Page { owner, after: after.clone(), limit, ..store::Page::default() };
            let agents: Vec<Stored<Agent>> = admitted.snapshot.list(&page).await?;
            found.extend(agents.into_iter().map(Holder::Agent));
        }
        if found.len() <= wanted {
            let page = store::Page { owner, after: after.filter(|_| keys_begun), limit, ..store::Page::default() };
            let keys: Vec<Stored<ServiceKey>> = admitted.snapshot.list(&page).await?;
            found.extend(keys.into_iter().map(Holder::Key));
        }
        let more = found.len() > wanted;
        found.truncate(wanted);
        let next_cursor = found.last().filter(|_| more).map(|last| admitted.cursor(&last.principal().to_string()));
        let mut items = Vec::new();
        for holder in &found {
            let told = self.told_of(&admitted.snapshot, holder, None, admitted.now).await?;
            if told.overdue || !input.overdue {
                items.push(told);
            }
        }
        Ok(Outcome::answer(Page { items, next_cursor }))
    }
}

async fn target(look: &Look<'_>, principal: &Principal) -> Result<Target, Refusal> {
    Ok(Holder::read(look.snapshot, principal).await?.target(look.identity))
}

impl Handle<RecertificationReportGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RecertificationReportGet) -> Result<Target, Refusal> {
        target(look, &input.principal).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: RecertificationReportGet,
    ) -> Result<Outcome<RecertificationReport>, Refusal> {
        let (snapshot, now) = (&admitted.snapshot, admitted.now);
        let holder = Holder::read(snapshot, &input.principal).await?;
        let identity = holder.identity(snapshot, now).await?;
        let since = now.minus(Duration::from_secs(u64::from(input.days) * 86_400));
        let (owners, everywhere) = places_of(snapshot, &identity).await?;
        let usage = Usage::read(snapshot, &input.principal, &owners, since).await?;
        let mut coverage = coverage(&holder, since, everywhere, &usage);
        let held: Vec<Assignment> =
            assignments(snapshot, &input.principal).await?.into_iter().map(|stored| stored.value).collect();
        let names = self.free_names(&holder, held.len()).await?;
        let mut places = Vec::new();
        for owner in owners {
            let mut questions = Vec::new();
            for spec in self.registry.specs() {
                let (at, request) = self.cell_question(&identity, spec, owner, admitted.face).await?;
                questions.push(Question { at, request });
            }
            places.push(Place { owner, questions });
        }
        let whole = usage.complete && everywhere;
        let (control, bound) = (self.clone(), self.policies.load_full());
        let work = tokio::task::spawn_blocking(move || {
            let rights = Rights::weigh(control, identity, places, bound);
            let proposed = match (whole, held.is_empty()) {
                (false, _) => Err("not all of the record was read, so what seems unused may have been used".to_owned()),
                (true, true) => Err("it holds no role".to_owned()),
                (true, false) => rights.propose(&held, &usage, &names),
            };
            (rights, usage, proposed)
        });
        let (rights, usage, proposed) =
            work.await.map_err(|error| Refusal::bug("weighing what roles give ended", &error))?;
        let operations = self.operations_of(&rights, &usage);
        let given: Vec<_> = operations.iter().filter(|one| one.by_role).collect();
        let granted = u32::try_from(given.len()).unwrap_or(u32::MAX);
        let unused = given.iter().filter(|one| one.calls == 0 && one.asked == 0).count();
        let proposal = match proposed {
            Ok(proposed) => Some(grant_of(&rights, proposed, &holder, input.days, now)?),
            Err(why) => {
                coverage.push(format!("no narrower grant is proposed: {why}"));
                None
            }
        };
        Ok(Outcome::answer(RecertificationReport {
            holder: self.told_of(snapshot, &holder, None, now).await?,
            since,
            until: now,
            complete: whole,
            coverage,
            last_seen_at: usage.last_seen,
            operations,
            granted,
            unused: u32::try_from(unused).unwrap_or(u32::MAX),
            proposal,
        }))
    }
}

/// Where somebody's roles count, and whether these are all.
async fn places_of(snapshot: &Snapshot, identity: &Identity) -> Result<(Vec<Owner>, bool), Refusal> {
    let mut places = BTreeSet::from([identity.home]);
    if identity.home == Owner::Provider {
        places.extend(identity.roles.iter().map(|held| held.place));
        let at_provider = || identity.roles.iter().filter(|held| held.place == Owner::Provider);
        if at_provider().next().is_some() {
            let fits = |tags: &BTreeSet<String>| {
                let in_it = |selector: &Selector| selector.fits(tags);
                at_provider().any(|held| held.selector.as_ref().is_none_or(|(_, selector)| in_it(selector)))
            };
            for tenant in crate::decide::all::<Tenant>(snapshot).await? {
                if fits(&tenant.value.tags.iter().cloned().collect()) {
                    places.insert(Owner::Tenant(tenant.value.id));
                }
            }
        }
    }
    let everywhere = places.len() <= PLACES_MAX;
    Ok((places.into_iter().take(PLACES_MAX).collect(), everywhere))
}

fn coverage(holder: &Holder, since: Timestamp, everywhere: bool, usage: &Usage) -> Vec<String> {
    let mut coverage = vec![
        "use is what policy let through or made wait; what it refused, and calls that met no decision, are none"
            .to_owned(),
        "rights are shown for a target with nothing special about it".to_owned(),
    ];
    if holder.created_at() > since {
        coverage.push(format!("it was made within this time, on {}", holder.created_at()));
    }
    if !everywhere {
        coverage.push(format!("its roles count in more than {PLACES_MAX} places; only so many were looked at"));
    }
    if !usage.complete {
        coverage.push(format!(
            "the record of this time is longer than the {} records that one report reads",
            usage::RECORDS_MAX
        ));
    }
    coverage
}

/// A proposal as it is told.
fn grant_of(
    rights: &Rights,
    proposed: Proposed,
    holder: &Holder,
    days: u32,
    now: Timestamp,
) -> Result<NarrowerGrant, Refusal> {
    let mut roles = Vec::new();
    for one in proposed.candidates {
        let create = json!({
            "tenant": one.role.tenant,
            "name": one.role.name,
            "description": format!("what {} used in the {days} days before {now}", holder.name()),
            "operations": one.role.operations,
            "principals": one.role.principals,
        });
        let create = serde_json::from_value(create)
            .map_err(|error| Refusal::bug("a proposed role is no input of role.create", &error))?;
        let selector = one.selector.map(|text| Text::truncated(&text));
        roles.push(NarrowerRole { create, tenant: one.place.tenant(), selector });
    }
    let kept = |(one, because): (Assignment, BTreeSet<usize>)| KeptAssignment {
        assignment: one.id,
        role: one.role,
        operations: rights.names(&because),
    };
    Ok(NarrowerGrant {
        roles,
        end: proposed.end.into_iter().map(|one| one.id).collect(),
        keep: proposed.keep.into_iter().map(kept).collect(),
        takes: proposed.takes,
        compared: proposed.compared,
    })
}

impl Control {
    /// Every operation that is given by a role or was used, by id.
    fn operations_of(&self, rights: &Rights, usage: &Usage) -> Vec<OperationUse> {
        let told = rights.told(usage);
        let mut wanted: BTreeMap<&str, (api::Authority, bool)> =
            told.iter().filter(|(_, (_, by_role))| *by_role).map(|(id, told)| (*id, *told)).collect();
        for used in usage.operations() {
            wanted.entry(used).or_insert(told.get(used).copied().unwrap_or((api::Authority::Denied, false)));
        }
        let row = |(id, (authority, by_role)): (&str, (api::Authority, bool))| {
            // What the platform no longer has is on the record still; it has no effect any more.
            let spec = self.registry.spec(id)?;
            let used = usage.of(id);
            Some(OperationUse {
                operation: id.to_owned(),
                effect: spec.meta.effect,
                authority,
                by_role,
                calls: used.as_ref().map_or(0, |used| used.calls),
                asked: used.as_ref().map_or(0, |used| used.asked),
                last_used_at: used.map(|used| used.last),
            })
        };
        wanted.into_iter().filter_map(row).collect()
    }

    /// Names that no role of the holder's place has.
    async fn free_names(&self, holder: &Holder, count: usize) -> Result<Vec<String>, Refusal> {
        let stem: String = holder.name().chars().take(STEM_MAX).collect();
        let (stem, home) = (format!("{}-narrow", stem.trim_end_matches('-')), holder.home());
        let snapshot = self.store.snapshot(Scope::from(home));
        let mut free = Vec::new();
        for number in 1..=NAMES_MAX.saturating_add(count) {
            if free.len() >= count {
                break;
            }
            let name = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
            if snapshot.find_one::<Role>("name", &format!("{home}/{name}")).await?.is_none() {
                free.push(name);
            }
        }
        Ok(free)
    }

    /// What is stored of a statement, and told of its subject.
    async fn said(
        &self,
        admitted: &Admitted<'_>,
        holder: &Holder,
        until: Option<Timestamp>,
        reason: String,
        changes: &mut Changes,
    ) -> Result<api::Recertification, Refusal> {
        let principal = holder.principal();
        let held = assignments(&admitted.snapshot, &principal).await?;
        let said = Recertification {
            until,
            by: admitted.identity.principal.clone(),
            at: admitted.now,
            reason,
            assignments: held.iter().map(|one| one.value.id).collect(),
            tenant: holder.home().tenant(),
            principal,
        };
        let before: Option<Stored<Recertification>> = admitted.snapshot.read(&said.principal.to_string()).await?;
        match before {
            None => changes.create(&said),
            Some(before) => changes.replace(&said, before.version),
        };
        self.told_of(&admitted.snapshot, holder, Some(&said), admitted.now).await
    }
}

impl Handle<RecertificationCertify> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RecertificationCertify) -> Result<Target, Refusal> {
        let target = target(look, &input.principal).await?;
        let held = assignments(look.snapshot, &input.principal).await?;
        let ids: Vec<String> = held.iter().map(|one| one.value.id.to_string()).collect();
        // Whoever approves this approves what is held now: with another role it is another call.
        let digest = seal::Digest::of(ids.join(",").as_bytes());
        let [first, second, third, fourth, ..] = *digest.as_bytes();
        Ok(target.at_revision(u64::from(u32::from_be_bytes([first, second, third, fourth]))))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: RecertificationCertify,
    ) -> Result<Outcome<api::Recertification>, Refusal> {
        if !matches!(admitted.identity.principal, Principal::User(_)) {
            return Err(Problem::new(ProblemKind::Denied, "only a person says what is still needed").into());
        }
        let holder = Holder::read(&admitted.snapshot, &input.principal).await?;
        if !matches!(holder.state(admitted.now), HolderState::Active | HolderState::Draft | HolderState::Suspended) {
            return Err(Refusal::conflict("it cannot act any more, so there is nothing that it needs"));
        }
        let period = self.settings.recertification_period;
        let last = admitted.now.plus(period);
        let until = input.until.unwrap_or(last);
        if until <= admitted.now || until > last {
            let days = period.as_secs() / 86_400;
            return Err(Refusal::fault("/until", format!("is not within the {days} days from now that this may hold")));
        }
        let mut changes = Changes::new();
        match &holder {
            Holder::Agent(agent) => changes.expect::<Agent>(&agent.value.id.to_string(), agent.version),
            Holder::Key(key) => changes.expect::<ServiceKey>(&key.value.id.to_string(), key.version),
        };
        let told = self.said(admitted, &holder, Some(until), input.reason.into_string(), &mut changes).await?;
        Ok(Outcome::changed(told, changes))
    }
}

impl Handle<RecertificationRevoke> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RecertificationRevoke) -> Result<Target, Refusal> {
        target(look, &input.principal).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: RecertificationRevoke,
    ) -> Result<Outcome<api::Recertification>, Refusal> {
        let mut changes = Changes::new();
        let holder = match Holder::read(&admitted.snapshot, &input.principal).await? {
            Holder::Agent(agent) => {
                let value = crate::agent::suspended(&agent.value, self.now())?;
                changes.replace(&value, agent.version);
                Holder::Agent(Stored { value, ..agent })
            }
            Holder::Key(key) => {
                let value = crate::service_key::revoked(&key.value);
                changes.replace(&value, key.version);
                Holder::Key(Stored { value, ..key })
            }
        };
        let told = self.said(admitted, &holder, None, input.reason.into_string(), &mut changes).await?;
        Ok(Outcome::changed(told, changes).touching(&input.principal))
    }
}
