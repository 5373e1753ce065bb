//! What the server needs besides the gate: readiness, measurements, randomness for request ids.

use crate::case_feed::CaseFeed;
use api::{Call, Credential, DataPlane as _, Door as _, Future, Origin, Problem, Reply};
use control::Control;
use ids::{Clock, Entropy};
use pipeline::Plane;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use server::{Hooks, Observed};
use std::sync::Arc;
use store::Health;

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Labels {
    operation: String,
    status: u16,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct OperationLabel {
    operation: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct AnchorLabel {
    anchor: String,
}

/// What is measured of the anchors of the log.
struct AnchorGauges {
    failing: Family<AnchorLabel, Gauge>,
    failures: Family<AnchorLabel, Gauge>,
    anchored_at: Family<AnchorLabel, Gauge>,
}

/// The server's view of the rest.
pub(crate) struct PlatformHooks {
    control: Control,
    plane: Plane,
    feed: Arc<CaseFeed>,
    registry: Registry,
    calls: Family<Labels, Counter>,
    durations: Family<OperationLabel, Histogram, fn() -> Histogram>,
    batches: Gauge,
    committed: Gauge,
    anchors: AnchorGauges,
}

impl PlatformHooks {
    pub(crate) fn new(control: Control, plane: Plane, feed: Arc<CaseFeed>) -> Self {
        let mut registry = Registry::with_prefix("posse");
        let calls = Family::default();
        let durations: Family<OperationLabel, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS));
        let (batches, committed) = (Gauge::default(), Gauge::default());
        registry.register("calls", "Requests by operation and status", calls.clone());
        registry.register("call_duration_seconds", "Time from request to answer", durations.clone());
        registry.register("store_batches", "Batches committed since the start", batches.clone());
        registry.register("store_calls", "Calls committed since the start", committed.clone());
        let anchors = AnchorGauges::new(&mut registry);
        Self { control, plane, feed, registry, calls, durations, batches, committed, anchors }
    }
}

impl AnchorGauges {
    fn new(registry: &mut Registry) -> Self {
        let gauges = Self { failing: Family::default(), failures: Family::default(), anchored_at: Family::default() };
        registry.register(
            "audit_anchor_failing",
            "1 where checkpoints do not get to the anchor",
            gauges.failing.clone(),
        );
        let help = "Attempts that failed since the last that did not";
        registry.register("audit_anchor_failures", help, gauges.failures.clone());
        let help = "When checkpoints last got there, in seconds since 1970; 0 since the start";
        registry.register("audit_anchor_anchored_seconds", help, gauges.anchored_at.clone());
        gauges
    }

    fn set(&self, anchors: &[api::AuditAnchor]) {
        for one in anchors {
            let label = AnchorLabel { anchor: one.name.clone() };
            self.failing.get_or_create(&label).set(i64::from(one.failing));
            self.failures.get_or_create(&label).set(i64::from(one.failures));
            let at = one.anchored_at.map_or(0, |at| at.as_micros().div_euclid(1_000_000));
            self.anchored_at.get_or_create(&label).set(at);
        }
    }
}

impl Hooks for PlatformHooks {
    fn clock(&self) -> &dyn Clock {
        self.control.clock()
    }

    fn entropy(&self) -> &dyn Entropy {
        self.control.entropy()
    }

    fn ready(&self) -> Future<'_, Result<(), String>> {
        Box::pin(async move {
            match self.control.store().health() {
                Health::Ready => self.plane.ready(),
                Health::ReadOnly { reason } => Err(reason.to_string()),
                Health::Closed => Err("the store is closed".to_owned()),
            }
        })
    }

    fn metrics<'a>(
        &'a self,
        credential: Option<&'a Credential>,
        origin: &'a Origin,
    ) -> Future<'a, Result<String, Problem>> {
        Box::pin(async move {
            // Whoever may see what this installation is may see its measurements: one operation judges both.
            let call = Call {
                operation: "system.info".to_owned(),
                input: api::parse_json(b"{}", api::JsonLimits::default())?,
                credential: credential.cloned(),
                idempotency_key: None,
                origin: origin.clone(),
            };
            if let Reply::Refused(problem) = self.control.call(call).await {
                return Err(problem);
            }
            let stats = self.control.store().stats();
            self.batches.set(i64::try_from(stats.batches).unwrap_or(i64::MAX));
            self.committed.set(i64::try_from(stats.calls).unwrap_or(i64::MAX));
            self.anchors.set(&self.control.anchor_states());
            let mut text = String::new();
            encode(&mut text, &self.registry).map_err(|error| {
                tracing::error!(%error, "measurements cannot be written");
                Problem::internal()
            })?;
            // The encoder's end mark stands once, after all.
            let end = "# EOF\n";
            let own = text.strip_suffix(end).unwrap_or(&text).len();
            text.truncate(own);
            text.push_str(&self.plane.metrics());
            text.push_str(&self.feed.metrics());
            text.push_str(end);
            Ok(text)
        })
    }

    fn observed(&self, seen: &Observed<'_>) {
        let operation = seen.operation.to_owned();
        self.calls.get_or_create(&Labels { operation: operation.clone(), status: seen.status }).inc();
        self.durations.get_or_create(&OperationLabel { operation }).observe(seen.duration.as_secs_f64());
    }
}
