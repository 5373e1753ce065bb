//! The installation: what it is, and its limits.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{JsonLimits, Limit, Limits, SystemFacts, SystemInfo, SystemLimits};

impl Handle<SystemInfo> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &SystemInfo) -> Result<Target, Refusal> {
        Ok(Target { owner: look.identity.place(), ..Target::provider() })
    }

    async fn handle(&self, _: &Admitted<'_>, _: SystemInfo) -> Result<Outcome<SystemFacts>, Refusal> {
        Ok(Outcome::answer(SystemFacts {
            product: "posse".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: self.settings.engine.to_owned(),
            operations: u32::try_from(self.registry.specs().len()).unwrap_or(u32::MAX),
            policy_version: self.policies.load().version.to_string(),
            started_at: self.started_at,
            self_approval: self.settings.self_approval,
        }))
    }
}

impl Handle<SystemLimits> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &SystemLimits) -> Result<Target, Refusal> {
        Ok(Target { owner: look.identity.place(), ..Target::provider() })
    }

    async fn handle(&self, _: &Admitted<'_>, _: SystemLimits) -> Result<Outcome<Limits>, Refusal> {
        let secs = |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
        Ok(Outcome::answer(Limits {
            body_bytes_max: self.settings.body_bytes_max,
            json_depth_max: u32::try_from(JsonLimits::default().depth_max).unwrap_or(u32::MAX),
            calls_per_second: self.settings.rate.per_second,
            calls_burst: self.settings.rate.burst,
            idempotency_ttl_secs: secs(self.settings.idempotency_ttl),
            approval_ttl_secs: secs(self.settings.approval_ttl),
            page_items_max: Limit::MAX,
        }))
    }
}
