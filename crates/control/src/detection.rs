//! Detections: what rules found, as the lake holds it.

use crate::admission::{Admitted, Look};
use crate::asking::range;
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{Detection, DetectionGet, DetectionList, Detections};

impl Handle<DetectionList> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &DetectionList) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: DetectionList) -> Result<Outcome<Detections>, Refusal> {
        range(input.since, input.until)?;
        let bounds = admitted.bounds(input.limit.count(), input.cursor.as_ref())?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        let mut found = plane.detections(&admitted.scope(), &input, &bounds).await?;
        found.next_cursor = admitted.onward(found.next_cursor);
        Ok(Outcome::answer(found))
    }
}

impl Handle<DetectionGet> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &DetectionGet) -> Result<Target, Refusal> {
        look.asked(input.tenant, None).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: DetectionGet) -> Result<Outcome<Detection>, Refusal> {
        let bounds = admitted.bounds(1, None)?;
        let (plane, _turn) = (self.plane()?, admitted.turn().await?);
        Ok(Outcome::answer(plane.detection(&admitted.scope(), &input, &bounds).await?))
    }
}
