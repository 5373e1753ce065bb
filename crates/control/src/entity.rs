//! Entities in telemetry.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{EntityPrevalence, Prevalences};

impl Handle<EntityPrevalence> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &EntityPrevalence) -> Result<Target, Refusal> {
        look.asked(input.tenant, input.tenants.as_ref()).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: EntityPrevalence) -> Result<Outcome<Prevalences>, Refusal> {
        Ok(Outcome::answer(self.plane()?.prevalence(&admitted.scope(), &input).await?))
    }
}
