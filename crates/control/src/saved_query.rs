//! Saved queries: questions by name, and their answers as they were. What runs by itself runs as whoever last said what it
//! does; a frozen answer is shown to nobody who could not have asked for it.

use crate::admission::{Admitted, Look};
use crate::cases::canonical;
use crate::context::Control;
use crate::outcome::Outcome;
use crate::query_schedule::next_slot;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Column, Cut, Etag, EventEstimate, EventQuery, Face, Gone, Page, Problem, ProblemKind, SavedQueryCreate,
    SavedQueryDelete, SavedQueryGet, SavedQueryList, SavedQueryResult, SavedQueryResults, SavedQueryRun,
    SavedQueryUpdate, Slug,
};
use ids::{Owner, PrincipalKind, QueryResultId, Scope, TenantId, Text};
use seal::Digest;
use serde_json::Value;
use store::{Caller, Changes, QueryClock, QueryResult, QuerySchedule, Resource, SavedQuery, Stored};

/// Saved queries of one tenant at most.
const QUERIES_MAX: u32 = 200;
/// Answers of one query that are kept.
const RESULTS_MAX: usize = 20;
/// Bytes of one kept answer.
const BYTES_MAX: u64 = 256 << 10;

fn slug(text: &str) -> Result<Slug, Refusal> {
    text.parse().map_err(|error| Refusal::bug("a stored query is not well formed", &error))
}

fn row_limit(rows: u32) -> Result<api::RowLimit, Refusal> {
    serde_json::from_value(Value::from(rows)).map_err(|error| Refusal::bug("a stored limit is not one", &error))
}

fn wire(stored: Stored<SavedQuery>, clock: Option<QueryClock>) -> Result<api::SavedQuery, Refusal> {
    let Stored { value, version, created_at, .. } = stored;
    let run = |run: &store::QueryRun| api::QueryRun {
        due_at: run.due_at,
        result: run.result,
        row_count: run.row_count,
        problem: run.problem.clone(),
    };
    Ok(api::SavedQuery {
        tenant: value.tenant,
        name: slug(&value.name)?,
        description: Text::truncated(&value.description),
        sql: Text::truncated(&value.sql),
        limit: row_limit(value.rows_max)?,
        schedule: value.schedule.as_ref().map(|schedule| api::QuerySchedule {
            every_minutes: schedule.every_minutes,
            offset_minutes: schedule.offset_minutes,
            finding: schedule.finding.as_deref().map(Text::truncated),
        }),
        runs_as: value.schedule.map(|schedule| schedule.by.principal),
        next_run_at: clock.as_ref().map(|clock| clock.next_at),
        last_run: clock.as_ref().and_then(|clock| clock.last.as_ref().map(run)),
        missed_runs: clock.map(|clock| clock.missed),
        created_at,
        etag: Etag::of(version),
    })
}

fn wire_result(result: QueryResult, whole: bool) -> Result<api::QueryResult, Refusal> {
    let rows = match whole {
        true => {
            Some(serde_json::from_str(&result.rows).map_err(|error| Refusal::bug("frozen rows do not parse", &error))?)
        }
        false => None,
    };
    Ok(api::QueryResult {
        id: result.id,
        tenant: result.tenant,
        query: slug(&result.query)?,
        sql: Text::truncated(&result.sql),
        by: result.by,
        call: result.call,
        scheduled: result.scheduled,
        at: result.at,
        columns: result.columns.into_iter().map(|(name, kind)| Column { name, kind }).collect(),
        rows,
        row_count: result.row_count,
        complete: result.complete,
        cut: result.cut.and_then(|word| serde_json::from_value(Value::from(word)).ok()),
        snapshot: result.snapshot,
        digest: result.digest,
    })
}

fn word(cut: Cut) -> Option<String> {
    serde_json::to_value(cut).ok()?.as_str().map(str::to_owned)
}

async fn named(look: &Look<'_>, tenant: TenantId, query: &Slug) -> Result<Target, Refusal> {
    // The tenant first: whether it exists and whether its query exists are answered alike.
    let covered = look.identity.reach().covers(Owner::Tenant(tenant));
    let id = SavedQuery::key(tenant, query.as_str());
    let found: Option<Stored<SavedQuery>> = if covered { look.snapshot.read(&id).await? } else { None };
    let found = found.ok_or_else(|| Refusal::not_found("saved query"))?;
    Ok(Target::new("SavedQuery", id, Owner::Tenant(tenant)).named(found.value.name))
}

async fn stored(admitted: &Admitted<'_>) -> Result<Stored<SavedQuery>, Refusal> {
    admitted.one("saved query", &admitted.target.id).await
}

/// A schedule that runs as the caller. Only of principals that stand for themselves: an agent's runs have triggers of their
/// own, and what was lent ends with its loan.
fn schedule(admitted: &Admitted<'_>, asked: api::QuerySchedule) -> Result<QuerySchedule, Refusal> {
    let identity = admitted.identity;
    let own = identity.run.is_none() && identity.lent.is_none() && identity.on_behalf_of.is_empty();
    if !own || !matches!(identity.principal.kind(), PrincipalKind::Service | PrincipalKind::User) {
        let detail = "is for people and service keys; an agent can save the query, and a person schedule it";
        return Err(Refusal::fault("/schedule", detail));
    }
    if asked.offset_minutes >= asked.every_minutes {
        return Err(Refusal::fault("/schedule/offset_minutes", "is not less than `every_minutes`"));
    }
    Ok(QuerySchedule {
        every_minutes: asked.every_minutes,
        offset_minutes: asked.offset_minutes,
        finding: asked.finding.map(Text::into_string),
        by: Caller {
            principal: identity.principal.clone(),
            credential: identity.credential,
            credential_issued_at: identity.issued_at,
            reach: identity.bound,
            run: None,
            case: None,
            on_behalf_of: Vec::new(),
            owner: identity.owner,
            holders: identity.holders.clone(),
            face: Face::Schedule.as_str().to_owned(),
        },
    })
}

impl Control {
    /// That the caller could ask this now: it is planned, and not run.
    async fn check_query(&self, admitted: &Admitted<'_>, tenant: TenantId, sql: &str) -> Result<(), Refusal> {
        let bounds = admitted.bounds_of("event.query").await?;
        let ask = EventEstimate { tenant: Some(tenant), tenants: None, sql: Text::truncated(sql) };
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        plane.estimate(&Scope::Tenant(tenant), &ask, &bounds).await?;
        Ok(())
    }

    /// The clock that goes with a query: made, set anew or removed.
    async fn set_clock(
        &self,
        admitted: &Admitted<'_>,
        query: &SavedQuery,
        changes: &mut Changes,
    ) -> Result<Option<QueryClock>, Refusal> {
        let before: Option<Stored<QueryClock>> = admitted.snapshot.read(&query_id(query)).await?;
        let Some(schedule) = &query.schedule else {
            if let Some(before) = before {
                changes.delete::<QueryClock>(&query_id(query), admitted.target.owner, before.version);
            }
            return Ok(None);
        };
        let (next_at, _) = next_slot(admitted.now, schedule.every_minutes, schedule.offset_minutes);
        let (tenant, name) = (query.tenant, query.name.clone());
        let clock = match before {
            Some(before) => {
                let clock = QueryClock { next_at, ..before.value };
                changes.replace(&clock, before.version);
                clock
            }
            None => {
                let clock = QueryClock { tenant, name, next_at, missed: 0, asking: None, last: None };
                changes.create(&clock);
                clock
            }
        };
        Ok(Some(clock))
    }
}

fn query_id(query: &SavedQuery) -> String {
    SavedQuery::key(query.tenant, &query.name)
}

impl Handle<SavedQueryCreate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SavedQueryCreate) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(Some(input.tenant)).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: SavedQueryCreate,
    ) -> Result<Outcome<api::SavedQuery>, Refusal> {
        let query = SavedQuery {
            tenant: input.tenant,
            name: input.name.to_string(),
            description: input.description.into_string(),
            sql: input.sql.into_string(),
            rows_max: input.limit.count(),
            schedule: input.schedule.map(|asked| schedule(admitted, asked)).transpose()?,
        };
        if admitted.snapshot.read::<SavedQuery>(&query_id(&query)).await?.is_some() {
            let detail = "the tenant has a saved query of this name; choose another";
            return Err(Problem::new(ProblemKind::AlreadyExists, detail).into());
        }
        let page = store::Page { owner: Some(admitted.target.owner), limit: QUERIES_MAX, ..store::Page::default() };
        if admitted.snapshot.list::<SavedQuery>(&page).await?.len() >= usize::try_from(QUERIES_MAX).unwrap_or(200) {
            return Err(Refusal::conflict(format!("the tenant has {QUERIES_MAX} saved queries; delete one first")));
        }
        self.check_query(admitted, query.tenant, &query.sql).await?;
        let mut changes = Changes::new();
        changes.create(&query);
        let clock = self.set_clock(admitted, &query, &mut changes).await?;
        let stored = Stored { value: query, version: 1, created_at: admitted.now, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored, clock)?, changes))
    }
}

impl Handle<SavedQueryGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SavedQueryGet) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.query).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: SavedQueryGet) -> Result<Outcome<api::SavedQuery>, Refusal> {
        let clock: Option<Stored<QueryClock>> = admitted.snapshot.read(&admitted.target.id).await?;
        Ok(Outcome::answer(wire(stored(admitted).await?, clock.map(|clock| clock.value))?))
    }
}

impl Handle<SavedQueryList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SavedQueryList) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: SavedQueryList,
    ) -> Result<Outcome<Page<api::SavedQuery>>, Refusal> {
        let told = |stored| wire(stored, None);
        let mut page = admitted.page(None, None, input.limit, input.cursor.as_ref(), told).await?;
        for item in page.items.iter_mut().filter(|item| item.schedule.is_some()) {
            let id = SavedQuery::key(item.tenant, item.name.as_str());
            let clock: Option<Stored<QueryClock>> = admitted.snapshot.read(&id).await?;
            item.next_run_at = clock.map(|clock| clock.value.next_at);
        }
        Ok(Outcome::answer(page))
    }
}

impl Handle<SavedQueryUpdate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SavedQueryUpdate) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.query).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: SavedQueryUpdate,
    ) -> Result<Outcome<api::SavedQuery>, Refusal> {
        let before = stored(admitted).await?;
        admitted.check_version(input.if_match, before.version)?;
        if input.unschedule && input.schedule.is_some() {
            return Err(Refusal::fault("/unschedule", "stands beside `schedule`; give one of them"));
        }
        let mut query = before.value.clone();
        if let Some(text) = input.description {
            query.description = text.into_string();
        }
        let asks_anew = input.sql.is_some() || input.max_rows.is_some();
        if let Some(sql) = input.sql {
            query.sql = sql.into_string();
        }
        if let Some(rows) = input.max_rows {
            query.rows_max = rows.count();
        }
        // Nobody lets somebody else's rights ask what they wrote: who changes what is asked is the one as whom it runs.
        let same = query.schedule.take().filter(|_| !input.unschedule);
        query.schedule = match (input.schedule, same) {
            (Some(asked), _) => Some(schedule(admitted, asked)?),
            (None, Some(same)) if asks_anew => {
                let asked = api::QuerySchedule {
                    every_minutes: same.every_minutes,
                    offset_minutes: same.offset_minutes,
                    finding: same.finding.as_deref().map(Text::truncated),
                };
                Some(schedule(admitted, asked)?)
            }
            (None, same) => same,
        };
        self.check_query(admitted, query.tenant, &query.sql).await?;
        let mut changes = Changes::new();
        changes.replace(&query, before.version);
        let clock = self.set_clock(admitted, &query, &mut changes).await?;
        let version = before.version.saturating_add(1);
        let stored = Stored { value: query, version, created_at: before.created_at, updated_at: admitted.now };
        Ok(Outcome::changed(wire(stored, clock)?, changes))
    }
}

/// All answers of a query that are kept, oldest first.
async fn results(admitted: &Admitted<'_>) -> Result<Vec<Stored<QueryResult>>, Refusal> {
    let mut all: Vec<Stored<QueryResult>> = admitted.snapshot.find("query", &admitted.target.id).await?;
    all.sort_by_key(|stored| stored.value.id);
    Ok(all)
}

impl Handle<SavedQueryDelete> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SavedQueryDelete) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.query).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, _: SavedQueryDelete) -> Result<Outcome<Gone>, Refusal> {
        let (before, id, owner) = (stored(admitted).await?, admitted.target.id.clone(), admitted.target.owner);
        let mut changes = Changes::new();
        for result in results(admitted).await? {
            changes.delete::<QueryResult>(&result.value.id(), owner, result.version);
        }
        let query = SavedQuery { schedule: None, ..before.value };
        self.set_clock(admitted, &query, &mut changes).await?;
        changes.delete::<SavedQuery>(&id, owner, before.version);
        Ok(Outcome::changed(Gone { id }, changes))
    }
}

impl Handle<SavedQueryRun> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SavedQueryRun) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.query).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: SavedQueryRun,
    ) -> Result<Outcome<api::QueryResult>, Refusal> {
        let query = stored(admitted).await?;
        let mut bounds = admitted.bounds_of("event.query").await?;
        bounds.rows_max = bounds.rows_max.min(query.value.rows_max);
        bounds.bytes_max = bounds.bytes_max.min(BYTES_MAX);
        let ask = EventQuery {
            tenant: Some(input.tenant),
            tenants: None,
            sql: Text::truncated(&query.value.sql),
            limit: row_limit(query.value.rows_max)?,
            cursor: None,
        };
        let answer = {
            let (plane, _turn) = (self.plane()?, admitted.turn().await?);
            plane.query(&Scope::Tenant(input.tenant), &ask, &bounds).await?
        };
        let row_count = u64::try_from(answer.items.len()).unwrap_or(u64::MAX);
        let rows = canonical(Value::Array(answer.items.into_iter().map(Value::Object).collect()))?;
        let digest = Digest::of(&rows).to_hex();
        let rows = String::from_utf8(rows).map_err(|error| Refusal::bug("canonical JSON is text", &error))?;
        let result = QueryResult {
            id: QueryResultId::generate(self.clock.as_ref(), self.entropy.as_ref()),
            tenant: input.tenant,
            query: query.value.name.clone(),
            sql: query.value.sql.clone(),
            by: admitted.identity.principal.clone(),
            call: admitted.call,
            scheduled: admitted.face == Face::Schedule,
            at: admitted.now,
            columns: answer.columns.into_iter().map(|column| (column.name, column.kind)).collect(),
            rows,
            row_count,
            complete: answer.complete,
            cut: answer.cut.and_then(word),
            snapshot: answer.provenance.snapshot,
            digest,
        };
        let mut changes = Changes::new();
        let kept = results(admitted).await?;
        for oldest in kept.iter().take((kept.len() + 1).saturating_sub(RESULTS_MAX)) {
            changes.delete::<QueryResult>(&oldest.value.id(), admitted.target.owner, oldest.version);
        }
        // A query that is changed or deleted meanwhile leaves no answer of what it was.
        changes.create(&result).expect::<SavedQuery>(&admitted.target.id, query.version);
        Ok(Outcome::changed(wire_result(result, true)?, changes))
    }
}

impl Handle<SavedQueryResults> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SavedQueryResults) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.query).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: SavedQueryResults,
    ) -> Result<Outcome<Page<api::QueryResult>>, Refusal> {
        let all = results(admitted).await?.into_iter();
        let told = all.map(|stored| Ok((stored.value.id(), wire_result(stored.value, false)?)));
        let told = told.collect::<Result<Vec<_>, Refusal>>()?;
        Ok(Outcome::answer(admitted.page_of(told, input.limit, input.cursor.as_ref())?))
    }
}

impl Handle<SavedQueryResult> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &SavedQueryResult) -> Result<Target, Refusal> {
        named(look, input.tenant, &input.query).await
    }

    async fn handle(
        &self,
        admitted: &Admitted<'_>,
        input: SavedQueryResult,
    ) -> Result<Outcome<api::QueryResult>, Refusal> {
        let found: Stored<QueryResult> = admitted.one("result", &input.result.to_string()).await?;
        if SavedQuery::key(found.value.tenant, &found.value.query) != admitted.target.id {
            return Err(Refusal::not_found("result"));
        }
        // Somebody else's rights made it: it is shown to whom they would not be wider.
        let bounds = admitted.bounds_of("event.query").await?;
        if !bounds.masked.is_empty() || found.value.row_count > u64::from(bounds.rows_max) {
            let detail = "policy shows you fewer fields or rows of these events than this answer holds; run the query";
            return Err(Problem::new(ProblemKind::Denied, detail).into());
        }
        Ok(Outcome::answer(wire_result(found.value, true)?))
    }
}
