//! The plane as the gate holds it: [`api::DataPlane`] over the receiver, the lake and what is known of tenants.

use super::{Plane, deliver, mapping_trial, notice, stream};
use crate::{Pressure, Source};
use api::{
    Acted, Backtest, BacktestAsk, Bounds, Compacted, DataPlane, DataPresence, Delivered, Delivery, Detection,
    DetectionGet, DetectionList, Detections, EntityPrevalence, Erased, Estimate, Event, EventEstimate, EventExport,
    EventFields, EventFiles, EventGet, EventHistogram, EventProcessTree, EventQuery, EventRows, EventSearch, EventTail,
    EventValues, ExceptionHits, ExternalContents, ExternalSetup, Fields, Future, Histogram, LakeStatus, LogSourceName,
    MappingTest, Prevalences, Problem, ProblemKind, ProcessTree, Protocol, RetroHunted, RuleReport, RuleSet,
    SourceHealth, SyslogStream, TenantSetup, Told, TurnedAway, Values,
};
use ids::{EventId, Scope, TenantId, Text, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Plane {
    /// Write an entry of the platform's own; done once it is durable.
    fn write(&self, entry: journal::Entry) -> Future<'_, Result<(), Problem>> {
        let appended = self.0.journal.append(entry);
        Box::pin(async move {
            let durable = match appended {
                Ok(ticket) => ticket.await.map(drop),
                Err(error) => Err(error),
            };
            durable.map_err(|error| {
                tracing::warn!(%error, "what the platform tells by itself cannot be written");
                Problem::new(ProblemKind::Unavailable, "the log takes nothing now; try again")
            })
        })
    }
}

impl DataPlane for Plane {
    fn deliver(&self, delivery: Delivery) -> Future<'_, Delivered> {
        Box::pin(async move {
            if self.behind_bytes() > self.0.behind_bytes_max {
                let why = TurnedAway::Busy { retry_after_secs: 5 };
                let source = Source { tenant: delivery.tenant, name: delivery.source };
                self.0.receiver.count_refused(&source, "behind");
                return deliver::turn_away(delivery.protocol, &why);
            }
            self.keep_pace().await;
            self.0.intake.deliver(delivery).await
        })
    }

    fn turn_away(&self, protocol: Protocol, why: &TurnedAway) -> Delivered {
        deliver::turn_away(protocol, why)
    }

    fn hec_health(&self) -> Delivered {
        deliver::hec_health(&self.0.receiver.pressure())
    }

    fn syslog(&self, tenant: TenantId, source: Text<64>, datagrams: bool) -> Box<dyn SyslogStream> {
        let (receiver, clock) = (Arc::clone(&self.0.receiver), Arc::clone(&self.0.clock));
        Box::new(stream::Stream::new(receiver, clock, Source { tenant, name: source }, datagrams))
    }

    fn with_findings(&self) -> BTreeSet<TenantId> {
        self.0.lake.tenants_of(lake::DETECTION_CLASS)
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventQuery,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventRows, Problem>> {
        Box::pin(self.ask_query(scope, input, bounds))
    }

    fn search<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventSearch,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventRows, Problem>> {
        Box::pin(self.ask_search(scope, input, bounds))
    }

    fn tail<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventTail,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventRows, Problem>> {
        Box::pin(self.ask_tail(scope, input, bounds))
    }

    fn histogram<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventHistogram,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Histogram, Problem>> {
        Box::pin(self.ask_histogram(scope, input, bounds))
    }

    fn fields<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventFields,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Fields, Problem>> {
        Box::pin(self.ask_fields(scope, input, bounds))
    }

    fn values<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventValues,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Values, Problem>> {
        Box::pin(self.ask_values(scope, input, bounds))
    }

    fn event<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventGet,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Event, Problem>> {
        Box::pin(self.ask_event(scope, input, bounds))
    }

    fn events<'a>(
        &'a self,
        scope: &'a Scope,
        ids: &'a [EventId],
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Vec<Event>, Problem>> {
        Box::pin(self.ask_events(scope, ids, bounds))
    }

    fn process_tree<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventProcessTree,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<ProcessTree, Problem>> {
        Box::pin(self.ask_process_tree(scope, input, bounds))
    }

    fn estimate<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventEstimate,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Estimate, Problem>> {
        Box::pin(self.ask_estimate(scope, input, bounds))
    }

    fn export<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventExport,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventFiles, Problem>> {
        Box::pin(self.ask_export(scope, input, bounds))
    }

    fn detections<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a DetectionList,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Detections, Problem>> {
        Box::pin(self.ask_detections(scope, input, bounds))
    }

    fn detection<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a DetectionGet,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Detection, Problem>> {
        Box::pin(self.ask_detection(scope, input, bounds))
    }

    fn prevalence<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EntityPrevalence,
    ) -> Future<'a, Result<Prevalences, Problem>> {
        Box::pin(self.ask_prevalence(scope, input))
    }

    fn tell(&self, told: Told) -> Future<'_, Result<(), Problem>> {
        self.write(notice::told(told))
    }

    fn acted(&self, acted: Acted) -> Future<'_, Result<(), Problem>> {
        match notice::acted(acted) {
            Ok(entry) => self.write(entry),
            Err(problem) => Box::pin(std::future::ready(Err(problem))),
        }
    }

    fn sources<'a>(&'a self, scope: &'a Scope) -> Future<'a, Result<Vec<(TenantId, SourceHealth)>, Problem>> {
        Box::pin(std::future::ready(Ok(self.health(scope))))
    }

    fn status<'a>(&'a self, scope: &'a Scope) -> Future<'a, Result<LakeStatus, Problem>> {
        Box::pin(self.ask_status(scope))
    }

    fn test_mapping(
        &self,
        mapping: Option<&str>,
        mapping_text: Option<&str>,
        samples: &[String],
    ) -> Result<MappingTest, Problem> {
        mapping_trial::run(mapping, mapping_text, samples, self.0.clock.now())
    }

    fn look_at_external<'a>(
        &'a self,
        tenant: TenantId,
        table: &'a ExternalSetup,
    ) -> Future<'a, Result<ExternalContents, Problem>> {
        Box::pin(self.see_external(tenant, table))
    }

    fn set_up(&self, setup: TenantSetup) -> Result<(), Problem> {
        self.take_setup(setup)
    }

    fn set_rules(&self, tenant: TenantId, rules: RuleSet) -> Result<RuleReport, Problem> {
        let (detectors, report) = self.0.packs.compile(&rules);
        self.0.shared.tenants.set_detectors(tenant, detectors);
        Ok(report)
    }

    fn begin(&self) {
        self.0.shared.begin();
    }

    fn recovered(&self) -> Future<'_, ()> {
        Box::pin(self.0.shared.reach(self.0.opened_at))
    }

    fn exception_hits(&self, tenant: TenantId) -> Vec<ExceptionHits> {
        let told = |(exception, hits, last_hit_at)| ExceptionHits { exception, hits, last_hit_at };
        self.0.shared.spared().of(tenant).map(told).collect()
    }

    fn backtest<'a>(
        &'a self,
        scope: &'a Scope,
        ask: &'a BacktestAsk,
        bounds: &'a Bounds,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<Backtest, Problem>> {
        Box::pin(self.run_backtest(scope, ask, bounds, told))
    }

    fn log_sources<'a>(
        &'a self,
        tenant: TenantId,
        asked: &'a [LogSourceName],
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Vec<DataPresence>, Problem>> {
        Box::pin(self.look_for_sources(tenant, asked, bounds))
    }

    fn backtest_estimate(&self, scope: &Scope, ask: &BacktestAsk) -> Result<Estimate, Problem> {
        self.estimate_backtest(scope, ask)
    }

    fn retro_hunt<'a>(
        &'a self,
        tenant: TenantId,
        ask: &'a BacktestAsk,
        hunt: &'a str,
        time_max: std::time::Duration,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<RetroHunted, Problem>> {
        Box::pin(self.run_retro_hunt(tenant, ask, hunt, time_max, told))
    }

    fn compact<'a>(
        &'a self,
        scope: &'a Scope,
        due_only: bool,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<Compacted, Problem>> {
        Box::pin(self.run_compaction(scope, due_only, told))
    }

    fn upkeep_due(&self) -> Future<'_, Result<bool, Problem>> {
        Box::pin(self.tidy())
    }

    fn erase<'a>(
        &'a self,
        tenant: TenantId,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<Erased, Problem>> {
        Box::pin(self.run_erasure(tenant, told))
    }

    fn grace(&self) -> std::time::Duration {
        super::upkeep::FORGOTTEN
    }

    fn scrub(&self, until: Timestamp) -> Future<'_, Result<bool, Problem>> {
        Box::pin(self.run_scrub(until))
    }

    fn ready(&self) -> Result<(), String> {
        if let Pressure::Stopped { cause } = self.0.receiver.pressure() {
            return Err(format!("the log has stopped: {cause}"));
        }
        let trouble = self.0.shared.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        trouble.map_or(Ok(()), Err)
    }

    fn metrics(&self) -> String {
        self.metrics_text()
    }
}
