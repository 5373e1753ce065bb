//! Events: every question goes to the data plane within what policy settled; answers come back with their cursor
//! bound to this caller and this question.

use crate::admission::{Admitted, Look};
use crate::asking::range;
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{
    Estimate, Event, EventEstimate, EventExport, EventFields, EventFiles, EventGet, EventHistogram, EventProcessTree,
    EventQuery, EventRows, EventSearch, EventTail, EventValues, Fields, Histogram, ProcessTree, Values,
};

/// Rows that one part of an export holds at most.
const EXPORT_ROWS_MAX: u32 = 1_000_000;

fn rows(admitted: &Admitted<'_>, mut rows: EventRows, rows_max: u32) -> Outcome<EventRows> {
    rows.items.truncate(usize::try_from(rows_max).unwrap_or(usize::MAX));
    rows.next_cursor = admitted.onward(rows.next_cursor);
    Outcome::answer(rows)
}

impl Handle<EventQuery> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventQuery) -> Result<Target, Refusal> {
        look.asked(input.tenant, input.tenants.as_ref()).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventQuery) -> Result<Outcome<EventRows>, Refusal> {
        let bounds = admitted.bounds(input.limit.count(), input.cursor.as_ref())?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        let answer = plane.query(&admitted.scope(), &input, &bounds).await?;
        Ok(rows(admitted, answer, bounds.rows_max))
    }
}

impl Handle<EventSearch> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventSearch) -> Result<Target, Refusal> {
        look.asked(input.tenant, input.tenants.as_ref()).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventSearch) -> Result<Outcome<EventRows>, Refusal> {
        range(input.since, input.until)?;
        let bounds = admitted.bounds(input.limit.count(), input.cursor.as_ref())?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        let answer = plane.search(&admitted.scope(), &input, &bounds).await?;
        Ok(rows(admitted, answer, bounds.rows_max))
    }
}

impl Handle<EventTail> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventTail) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventTail) -> Result<Outcome<EventRows>, Refusal> {
        let bounds = admitted.bounds(input.limit.count(), input.cursor.as_ref())?;
        let (plane, _turn) = (self.plane()?, admitted.tail_turn().await?);
        let answer = plane.tail(&admitted.scope(), &input, &bounds).await?;
        Ok(rows(admitted, answer, bounds.rows_max))
    }
}

impl Handle<EventHistogram> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventHistogram) -> Result<Target, Refusal> {
        look.asked(input.tenant, input.tenants.as_ref()).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventHistogram) -> Result<Outcome<Histogram>, Refusal> {
        range(input.since, input.until)?;
        let bounds = admitted.bounds(api::RowLimit::MAX, None)?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        Ok(Outcome::answer(plane.histogram(&admitted.scope(), &input, &bounds).await?))
    }
}

impl Handle<EventFields> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventFields) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventFields) -> Result<Outcome<Fields>, Refusal> {
        let bounds = admitted.bounds(input.limit.count(), None)?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        Ok(Outcome::answer(plane.fields(&admitted.scope(), &input, &bounds).await?))
    }
}

impl Handle<EventValues> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventValues) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventValues) -> Result<Outcome<Values>, Refusal> {
        range(input.since, input.until)?;
        let bounds = admitted.bounds(input.limit.count(), None)?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        Ok(Outcome::answer(plane.values(&admitted.scope(), &input, &bounds).await?))
    }
}

impl Handle<EventGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventGet) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventGet) -> Result<Outcome<Event>, Refusal> {
        let bounds = admitted.bounds(1, None)?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        Ok(Outcome::answer(plane.event(&admitted.scope(), &input, &bounds).await?))
    }
}

impl Handle<EventProcessTree> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventProcessTree) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventProcessTree) -> Result<Outcome<ProcessTree>, Refusal> {
        let bounds = admitted.bounds(1000, None)?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        Ok(Outcome::answer(plane.process_tree(&admitted.scope(), &input, &bounds).await?))
    }
}

impl Handle<EventEstimate> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventEstimate) -> Result<Target, Refusal> {
        look.asked(input.tenant, input.tenants.as_ref()).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventEstimate) -> Result<Outcome<Estimate>, Refusal> {
        let bounds = admitted.bounds(1, None)?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        Ok(Outcome::answer(plane.estimate(&admitted.scope(), &input, &bounds).await?))
    }
}

impl Handle<EventExport> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EventExport) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EventExport) -> Result<Outcome<EventFiles>, Refusal> {
        let bounds = admitted.bounds(EXPORT_ROWS_MAX, input.cursor.as_ref())?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        let mut part = plane.export(&admitted.scope(), &input, &bounds).await?;
        part.next_cursor = admitted.onward(part.next_cursor);
        Ok(Outcome::answer(part))
    }
}
