//! Evidence: events of the lake, and answers frozen with their digest. It is read as this caller may read it: securing
//! shows nothing that asking would not.

use super::work::room;
use super::{Note, case_target, entry, made_of, root, told};
use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{CaseAddEvidence, CaseExhibits, CaseGetEvidence, DataPlane, Event, EventGet, EventQuery, ProblemKind};
use case::EntryKind;
use ids::{EventId, EvidenceId, Scope, TenantId, Text};
use seal::{Digest, canonical_json};
use serde_json::{Value, json};
use store::{CaseEvidence, Changes, Exhibit, Stored};

/// Rows and bytes that one frozen answer holds at most.
const ROWS_MAX: u32 = 1000;
const BYTES_MAX: u64 = 512 << 10;

/// A value in canonical JSON. Whole numbers beyond 2^53, which RFC 8785 does not know, stand as text.
pub(crate) fn canonical(mut value: Value) -> Result<Vec<u8>, Refusal> {
    fn tame(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(tame),
            Value::Object(fields) => fields.values_mut().for_each(tame),
            Value::Number(number) => {
                let whole = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
                if whole.is_some_and(|whole| whole > seal::INTEGER_MAX) {
                    *value = Value::String(number.to_string());
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
    tame(&mut value);
    canonical_json(&value).map_err(|error| Refusal::fault("", format!("what was read has no canonical form: {error}")))
}

/// An event of a tenant; none where there is no such event.
pub(crate) async fn event(
    plane: &dyn DataPlane,
    tenant: TenantId,
    event: EventId,
    bounds: &api::Bounds,
) -> Result<Option<Event>, Refusal> {
    let ask = EventGet { tenant: Some(tenant), event: Text::truncated(&event.to_string()) };
    match plane.event(&Scope::Tenant(tenant), &ask, bounds).await {
        Ok(event) => Ok(Some(event)),
        Err(problem) if problem.problem_kind() == ProblemKind::NotFound => Ok(None),
        Err(problem) => Err(problem.into()),
    }
}

impl Control {
    /// Read events that are to be secured; each must be there.
    async fn secure_events(
        &self,
        admitted: &Admitted<'_>,
        tenant: TenantId,
        events: &[EventId],
    ) -> Result<Vec<(Exhibit, Digest)>, Refusal> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let (bounds, plane, _turn) = (admitted.bounds_of("event.get").await?, self.plane()?, admitted.turn().await?);
        let (mut secured, mut faults) = (Vec::new(), Vec::new());
        for (number, id) in events.iter().enumerate() {
            match event(plane, tenant, *id, &bounds).await? {
                Some(event) => {
                    let content = json!({ "id": event.id, "ocsf": event.ocsf, "raw": event.raw });
                    secured.push((Exhibit::Event(*id), Digest::of(&canonical(content)?)));
                }
                None => faults.push(api::Fault {
                    pointer: format!("/events/{number}"),
                    detail: "is no event of this tenant; give the `id` of an event of an answer".to_owned(),
                }),
            }
        }
        if faults.is_empty() { Ok(secured) } else { Err(api::Problem::invalid(faults).into()) }
    }

    /// Ask a question and freeze the answer.
    async fn secure_answer(
        &self,
        admitted: &Admitted<'_>,
        tenant: TenantId,
        sql: Text<32768>,
    ) -> Result<(Exhibit, Digest), Refusal> {
        let mut bounds = admitted.bounds_of("event.query").await?;
        bounds.rows_max = bounds.rows_max.min(ROWS_MAX);
        bounds.bytes_max = bounds.bytes_max.min(BYTES_MAX);
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        let ask =
            EventQuery { tenant: Some(tenant), tenants: None, sql, limit: api::RowLimit::default(), cursor: None };
        let answer = plane.query(&Scope::Tenant(tenant), &ask, &bounds).await?;
        let row_count = u64::try_from(answer.items.len()).unwrap_or(u64::MAX);
        let rows = canonical(Value::Array(answer.items.into_iter().map(Value::Object).collect()))?;
        let digest = Digest::of(&rows);
        let rows = String::from_utf8(rows).map_err(|error| Refusal::bug("canonical JSON is text", &error))?;
        Ok((Exhibit::Query { sql: ask.sql.into_string(), rows, row_count, complete: answer.complete }, digest))
    }
}

impl Handle<CaseAddEvidence> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseAddEvidence) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: CaseAddEvidence) -> Result<Outcome<CaseExhibits>, Refusal> {
        if input.events.is_empty() && input.sql.is_none() {
            return Err(Refusal::fault("", "secures nothing; give `events` or `sql`"));
        }
        let case = root(&admitted.snapshot, input.case).await?.value;
        room::<CaseEvidence>(admitted, &case, "pieces of evidence").await?;
        let mut secured = self.secure_events(admitted, case.tenant, &input.events).await?;
        if let Some(sql) = input.sql {
            secured.push(self.secure_answer(admitted, case.tenant, sql).await?);
        }
        let (mut changes, mut items, mut ids) = (Changes::new(), Vec::new(), Vec::new());
        for (exhibit, digest) in secured {
            let evidence = CaseEvidence {
                id: EvidenceId::generate(self.clock.as_ref(), self.entropy.as_ref()),
                case: case.id,
                tenant: case.tenant,
                note: input.note.as_str().to_owned(),
                exhibit,
                made: made_of(admitted, &digest),
            };
            changes.create(&evidence);
            ids.push(evidence.id);
            items.push(told::evidence(&evidence, false)?);
        }
        let text = if input.note.is_empty() { "secured evidence".to_owned() } else { input.note.into_string() };
        let note = Note { events: input.events.into_vec(), evidence: ids, ..Note::of(text) };
        changes.create(&entry(admitted, &case, 0, EntryKind::Queried, note));
        Ok(Outcome::changed(CaseExhibits { items }, changes))
    }
}

impl Handle<CaseGetEvidence> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &CaseGetEvidence) -> Result<Target, Refusal> {
        case_target(look, input.case).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: CaseGetEvidence,
    ) -> Result<Outcome<api::CaseEvidence>, Refusal> {
        let case = root(&admitted.snapshot, input.case).await?.value;
        let found: Stored<CaseEvidence> = admitted.one("evidence", &input.evidence.to_string()).await?;
        if found.value.case != case.id && !case.merged.contains(&found.value.case) {
            return Err(Refusal::not_found("evidence"));
        }
        Ok(Outcome::answer(told::evidence(&found.value, true)?))
    }
}
