//! Entities across cases: where one was seen, and what was said that it is.

use super::open::{sightings, tenants_of};
use super::{Note, case_target, entry, made, root, same, told};
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{EntityCases, EntityJudgement, EntitySetVerdict, EntitySighting, EntitySightings};
use case::{EntryKind, Verdict};
use ids::{CaseId, Owner, Text};
use serde_json::json;
use std::collections::BTreeMap;
use store::{Changes, EntityVerdict, Stored};

impl Handle<EntitySetVerdict> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EntitySetVerdict) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        let owner = Owner::Tenant(input.tenant);
        if let Some(case) = input.case
            && case_target(look, case).await?.owner != owner
        {
            return Err(Refusal::not_found("case"));
        }
        Ok(Target::place(owner))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: EntitySetVerdict,
    ) -> Result<Outcome<EntityJudgement>, Refusal> {
        let entity = told::entity(&input.entity, "/entity")?;
        let verdict: Verdict = same(&input.verdict)?;
        let content = json!({ "entity": entity, "verdict": verdict, "reason": input.reason });
        let (tenant, key) = (input.tenant, EntityVerdict::key(input.tenant, &entity));
        let said = EntityVerdict {
            tenant,
            entity,
            verdict,
            reason: input.reason.into_string(),
            made: made(admitted, &content)?,
        };
        let before: Option<Stored<EntityVerdict>> = admitted.snapshot.read(&key).await?;
        let mut changes = Changes::new();
        match before {
            None => changes.create(&said),
            Some(before) => changes.replace(&said, before.version),
        };
        if let Some(case) = input.case {
            let case = root(&admitted.snapshot, case).await?.value;
            let note = Note::of(format!("{} is {verdict}: {}", said.entity, said.reason));
            changes.create(&entry(admitted, &case, 0, EntryKind::Concluded, note));
        }
        Ok(Outcome::changed(told::judgement(&said)?, changes))
    }
}

impl Handle<EntityCases> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EntityCases) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EntityCases) -> Result<Outcome<EntitySightings>, Refusal> {
        let entity = told::entity(&input.entity, "/entity")?;
        let scope = admitted.scope();
        let (snapshot, tenants) = (self.store.snapshot(scope.clone()), tenants_of(&scope));
        let (found, mut complete) = sightings(&snapshot, &tenants, &entity).await?;
        let mut items: BTreeMap<CaseId, EntitySighting> = BTreeMap::new();
        for one in found {
            let Some(span) = one.islands.span() else { continue };
            let case = root(&snapshot, one.case).await?.value;
            let verdict = case.conclusion.as_ref().map(|conclusion| same(&conclusion.verdict)).transpose()?;
            let status = same(&case.status)?;
            let item = items.entry(case.id).or_insert_with(|| EntitySighting {
                case: case.id,
                tenant: case.tenant,
                title: Text::truncated(&case.title),
                status,
                severity: case.severity,
                verdict,
                count: 0,
                first: span.first,
                last: span.last,
            });
            item.count = item.count.saturating_add(one.count);
            item.first = item.first.min(span.first);
            item.last = item.last.max(span.last);
        }
        let mut items: Vec<EntitySighting> = items.into_values().collect();
        items.sort_by(|one, other| other.last.cmp(&one.last).then_with(|| one.case.cmp(&other.case)));
        let wanted = usize::try_from(admitted.rows(input.limit)).unwrap_or(usize::MAX);
        complete &= items.len() <= wanted;
        items.truncate(wanted);
        let mut verdicts = Vec::new();
        for tenant in tenants {
            let said: Option<Stored<EntityVerdict>> = snapshot.read(&EntityVerdict::key(tenant, &entity)).await?;
            verdicts.extend(said.map(|said| told::judgement(&said.value)).transpose()?);
        }
        Ok(Outcome::answer(EntitySightings { entity: entity.to_string(), items, verdicts, complete }))
    }
}
