//! Cases opened by hand, listed, looked at.

use super::desk::Desk;
use super::{Note, TOLD_MAX, belongings, case_target, entry, same, told};
use crate::admission::{Admitted, Look};
use crate::asking::range;
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{CaseDetections, CaseFile, CaseGet, CaseList, CaseOpen, DetectionGet, Page};
use case::{Detection, Entity, EntryKind, Islands};
use ids::{CaseId, Owner, Scope, Severity, TenantId, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use store::{
    Case, CaseComment, CaseDetection, CaseEntity, CaseEvidence, CaseTask, Changes, EntityVerdict, Order, Snapshot,
    Stored,
};

/// Heads that one page of a list looks at, at most: a rare filter goes on by cursor.
const LOOKED_AT_MAX: usize = 20_000;
/// Entities of one case that are united before the most frequent are told.
const ENTITIES_MAX: usize = 10_000;

/// A detection of the lake as the rules of cases know it; one in shadow too, where a person asks for it.
fn detection(mut found: api::Detection) -> Result<Detection, Refusal> {
    let mut ocsf = found.ocsf.take().unwrap_or_default();
    if let Some(shadow) = ocsf.pointer_mut("/unmapped/shadow") {
        *shadow = Value::Bool(false);
    }
    super::finding::of_ocsf(found.tenant, None, &ocsf)
        .ok_or_else(|| Refusal::bug("a detection of the lake cannot be read", &found.id))
}

impl Handle<CaseOpen> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseOpen) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        Ok(Target::place(Owner::Tenant(input.tenant)))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseOpen) -> Result<Outcome<api::Case>, Refusal> {
        let tenant = input.tenant;
        let mut found = Vec::new();
        if !input.detections.is_empty() {
            let (bounds, plane, _turn) =
                (admitted.bounds_of("detection.get").await?, self.plane()?, admitted.turn().await?);
            for id in input.detections.iter() {
                let ask = DetectionGet { tenant: Some(tenant), detection: *id };
                found.push(detection(plane.detection(&Scope::Tenant(tenant), &ask, &bounds).await?)?);
            }
        }
        let mut desk = Desk::new(admitted, tenant, &self.cases.linking);
        let told = found.len();
        let found = desk.unknown(found).await?;
        if found.len() < told {
            return Err(Refusal::conflict("a detection is in a case already, or stands twice; see `detection.list`"));
        }
        let gravest = found.iter().map(|one| one.severity).max().unwrap_or(Severity::Unknown);
        let id = CaseId::generate(self.clock.as_ref(), self.entropy.as_ref());
        desk.open(id, &input.title, input.severity.unwrap_or(gravest), Vec::new())?;
        for detection in found {
            desk.put(id, detection);
        }
        let tags = input.tags.iter().map(|tag| tag.as_str().to_owned()).collect();
        let note = format!("opened: {}", input.title.as_str());
        let (case, mut changes) =
            self.opened_by_hand(admitted, desk, id, Chosen { weighed: input.severity.is_some(), tags, note }).await?;
        self.name_entities(admitted, &case, &input.entities, &mut changes)?;
        let stored = Stored { value: case, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(told::case(&stored)?, changes))
    }
}

/// What was chosen for a case that no detection opened by itself.
struct Chosen {
    weighed: bool,
    tags: BTreeSet<String>,
    note: String,
}

/// A case without detections that another operation opens to tell of itself.
pub(crate) struct Opening {
    /// Its title.
    pub(crate) title: String,
    /// How grave it is.
    pub(crate) severity: Severity,
    /// Its tags.
    pub(crate) tags: BTreeSet<String>,
    /// The first entry of its timeline.
    pub(crate) note: String,
}

impl Control {
    /// Open a case in the same commit as what it tells of.
    pub(crate) async fn open_case(
        &self,
        admitted: &Admitted<'_>,
        tenant: TenantId,
        opening: Opening,
    ) -> Result<(CaseId, Changes), Refusal> {
        let mut desk = Desk::new(admitted, tenant, &self.cases.linking);
        let id = CaseId::generate(self.clock.as_ref(), self.entropy.as_ref());
        desk.open(id, &opening.title, opening.severity, Vec::new())?;
        let chosen = Chosen { weighed: true, tags: opening.tags, note: opening.note };
        let (_, changes) = self.opened_by_hand(admitted, desk, id, chosen).await?;
        Ok((id, changes))
    }

    async fn opened_by_hand(
        &self,
        admitted: &Admitted<'_>,
        mut desk: Desk<'_>,
        id: CaseId,
        chosen: Chosen,
    ) -> Result<(Case, Changes), Refusal> {
        let case = desk.case_mut(id).ok_or_else(|| Refusal::bug("a case that was opened is not there", &id))?;
        case.titled = true;
        case.weighed = chosen.weighed;
        case.tags = chosen.tags;
        case.clocks.saw(case.first.unwrap_or(admitted.now), admitted.now);
        super::desk::worked(admitted, case, None);
        let case = case.clone();
        let (mut changes, moved) = desk.changes(0).await?;
        self.wake_for_cases(admitted, case.tenant, &moved.stirred, &mut changes).await?;
        changes.create(&entry(admitted, &case, 0, EntryKind::Decided, Note::of(chosen.note)));
        Ok((case, changes))
    }

    /// Entities that a person named: they tie later detections to the case. Those of its detections are there already.
    fn name_entities(
        &self,
        admitted: &Admitted<'_>,
        case: &Case,
        names: &[api::EntityName],
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let mut named = BTreeSet::new();
        for (number, name) in names.iter().enumerate() {
            named.insert(told::entity(name, &format!("/entities/{number}"))?);
        }
        if case.detections > 0 && !named.is_empty() {
            return Err(Refusal::fault("/entities", "stands beside `detections`, which bring their own; leave it out"));
        }
        for entity in named {
            let mut islands = Islands::default();
            islands.add(admitted.now, std::time::Duration::ZERO);
            let links = self.cases.linking.rule(entity.kind()).is_some() && !self.cases.linking.stopped(&entity);
            let ties = if links { islands.clone() } else { Islands::default() };
            let hosts = BTreeSet::new();
            changes.create(&CaseEntity { case: case.id, tenant: case.tenant, entity, islands, ties, hosts, count: 0 });
        }
        Ok(())
    }
}

/// The tenants of a scope.
pub(crate) fn tenants_of(scope: &Scope) -> Vec<TenantId> {
    match scope {
        Scope::Provider => Vec::new(),
        Scope::Tenant(tenant) => vec![*tenant],
        Scope::Tenants(tenants) => tenants.iter().copied().collect(),
    }
}

/// Where an entity was seen, in these tenants; at most 1000 sightings in each, and whether these are all.
pub(crate) async fn sightings(
    snapshot: &Snapshot,
    tenants: &[TenantId],
    entity: &Entity,
) -> Result<(Vec<CaseEntity>, bool), Refusal> {
    let (mut found, mut complete) = (Vec::new(), true);
    for tenant in tenants {
        let from = CaseEntity::seen(*tenant, entity, Timestamp::default());
        let end = CaseEntity::seen(*tenant, entity, Timestamp::from_micros(i64::MAX));
        let some: Vec<Stored<CaseEntity>> = snapshot.range("seen", &from, &end, 1000).await?;
        complete &= some.len() < 1000;
        found.extend(some.into_iter().map(|one| one.value));
    }
    Ok((found, complete))
}

/// What a list asks for.
struct Filter<'a> {
    input: &'a CaseList,
    status: Option<case::Status>,
    verdict: Option<case::Verdict>,
    /// The cases that speak of the entity.
    speaking: Option<BTreeSet<CaseId>>,
}

impl Filter<'_> {
    fn fits(&self, case: &Case) -> bool {
        let input = self.input;
        let verdict = case.conclusion.as_ref().map(|conclusion| conclusion.verdict);
        let time = case.first.unwrap_or(case.opened.at);
        case.merged_into.is_none()
            && self.status.is_none_or(|status| case.status == status)
            && input.open.is_none_or(|open| case.status.open() == open)
            && input.severity.is_none_or(|severity| case.severity >= severity)
            && self.verdict.is_none_or(|wanted| verdict == Some(wanted))
            && input.assignee.as_ref().is_none_or(|assignee| case.assignee.as_ref() == Some(assignee))
            && self.speaking.as_ref().is_none_or(|speaking| speaking.contains(&case.id))
            && input.since.is_none_or(|since| case.last.unwrap_or(time) >= since)
            && input.until.is_none_or(|until| time < until)
    }

    /// The key by which the fewest heads are looked at.
    fn key(&self) -> Option<(&'static str, String)> {
        let assignee = self.input.assignee.as_ref().map(|assignee| ("assignee", assignee.to_string()));
        assignee.or_else(|| self.status.map(|status| ("status", status.as_str().to_owned())))
    }
}

impl Handle<CaseList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseList) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseList) -> Result<Outcome<Page<api::Case>>, Refusal> {
        range(input.since, input.until)?;
        let scope = admitted.scope();
        let snapshot = self.store.snapshot(scope.clone());
        let speaking = match &input.entity {
            None => None,
            Some(name) => {
                let entity = told::entity(name, "/entity")?;
                let (found, _) = sightings(&snapshot, &tenants_of(&scope), &entity).await?;
                let mut cases = BTreeSet::new();
                for case in found.iter().map(|one| one.case).collect::<BTreeSet<_>>() {
                    cases.insert(super::root(&snapshot, case).await?.value.id);
                }
                Some(cases)
            }
        };
        let (status, verdict) =
            (input.status.as_ref().map(same).transpose()?, input.verdict.as_ref().map(same).transpose()?);
        let filter = Filter { input: &input, status, verdict, speaking };
        let wanted = usize::try_from(admitted.rows(input.limit)).unwrap_or(usize::MAX);
        let mut after = admitted.after(input.cursor.as_ref())?;
        let (mut items, mut looked_at) = (Vec::new(), 0);
        loop {
            let page = store::Page {
                after,
                limit: 500,
                key: filter.key(),
                order: Order::Descending,
                ..store::Page::default()
            };
            let heads: Vec<Stored<Case>> = snapshot.list(&page).await?;
            let whole = heads.len() >= 500;
            looked_at += heads.len();
            after = heads.last().map(|last| last.value.id.to_string());
            for head in heads.iter().filter(|head| filter.fits(&head.value)) {
                if items.len() == wanted {
                    let last: Option<&api::Case> = items.last();
                    let next_cursor = last.map(|last| admitted.cursor(&last.id.to_string()));
                    return Ok(Outcome::answer(Page { items, next_cursor }));
                }
                items.push(told::case(head)?);
            }
            if !whole || looked_at >= LOOKED_AT_MAX {
                let next_cursor = after.filter(|_| whole).map(|after| admitted.cursor(&after));
                return Ok(Outcome::answer(Page { items, next_cursor }));
            }
        }
    }
}

/// The entities of a case and of its parts, those in most detections first.
async fn entities(snapshot: &Snapshot, case: &Case) -> Result<(Vec<api::CaseEntity>, bool), Refusal> {
    let (found, complete): (Vec<Stored<CaseEntity>>, bool) = belongings(snapshot, case, ENTITIES_MAX).await?;
    let mut united: BTreeMap<Entity, api::CaseEntity> = BTreeMap::new();
    for one in found.into_iter().map(|stored| stored.value) {
        let Some(span) = one.islands.span() else { continue };
        let told = united.entry(one.entity).or_insert_with_key(|entity| api::CaseEntity {
            entity: entity.to_string(),
            count: 0,
            first: span.first,
            last: span.last,
            links: false,
            verdict: None,
        });
        told.count = told.count.saturating_add(one.count);
        told.first = told.first.min(span.first);
        told.last = told.last.max(span.last);
        told.links |= !one.ties.is_empty();
    }
    let mut all: Vec<(Entity, api::CaseEntity)> = united.into_iter().collect();
    all.sort_by(|(_, one), (_, other)| other.count.cmp(&one.count).then_with(|| one.entity.cmp(&other.entity)));
    let complete = complete && all.len() <= TOLD_MAX;
    let mut entities = Vec::new();
    for (entity, mut told) in all.into_iter().take(TOLD_MAX) {
        let said: Option<Stored<EntityVerdict>> = snapshot.read(&EntityVerdict::key(case.tenant, &entity)).await?;
        told.verdict = said.map(|said| told::judgement(&said.value)).transpose()?;
        entities.push(told);
    }
    Ok((entities, complete))
}

impl Handle<CaseGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseGet) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseGet) -> Result<Outcome<CaseFile>, Refusal> {
        let head: Stored<Case> = admitted.one("case", &input.case.to_string()).await?;
        let snapshot = &admitted.snapshot;
        let (entities, entities_all) = entities(snapshot, &head.value).await?;
        let (evidence, evidence_all) = belongings::<CaseEvidence>(snapshot, &head.value, TOLD_MAX).await?;
        let (tasks, tasks_all) = belongings::<CaseTask>(snapshot, &head.value, TOLD_MAX).await?;
        let (comments, comments_all) = belongings::<CaseComment>(snapshot, &head.value, TOLD_MAX).await?;
        Ok(Outcome::answer(CaseFile {
            case: told::case(&head)?,
            entities,
            evidence: evidence.iter().map(|one| told::evidence(&one.value, false)).collect::<Result<_, _>>()?,
            tasks: tasks.iter().map(|one| told::task(&one.value)).collect::<Result<_, _>>()?,
            comments: comments.iter().map(|one| told::comment(&one.value)).collect(),
            complete: entities_all && evidence_all && tasks_all && comments_all,
        }))
    }
}

impl Handle<CaseDetections> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseDetections) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: CaseDetections,
    ) -> Result<Outcome<Page<api::CaseDetection>>, Refusal> {
        let head: Stored<Case> = admitted.one("case", &input.case.to_string()).await?;
        let (found, _) = belongings::<CaseDetection>(&admitted.snapshot, &head.value, usize::MAX).await?;
        let mut all: Vec<(String, api::CaseDetection)> = found
            .into_iter()
            .map(|one| {
                (
                    format!("{}/{}", store::sortable(one.value.detection.time), one.value.detection.id),
                    told::detection(&one.value.detection),
                )
            })
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Outcome::answer(admitted.page_of(all, input.limit, input.cursor.as_ref())?))
    }
}
