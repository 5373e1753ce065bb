//! A data plane that keeps what it is given and holds no events: for tests of the gate, which judge what reaches it,
//! never what it answers.

use api::{
    Acted, Backtest, BacktestAsk, Bounds, Compacted, DataPlane, DataPresence, Delivered, Delivery, Detection,
    DetectionGet, DetectionList, Detections, EntityPrevalence, Erased, Estimate, Event, EventEstimate, EventExport,
    EventFields, EventFiles, EventGet, EventHistogram, EventProcessTree, EventQuery, EventRows, EventSearch, EventTail,
    EventValues, ExceptionHits, ExternalContents, ExternalSetup, Fields, Future, Histogram, LakeStatus, LogSourceName,
    MappingTest, Prevalences, Problem, ProcessTree, Protocol, Provenance, Pushback, RetroHunted, RuleReport, RuleSet,
    SourceHealth, SyslogStream, TenantSetup, Told, TurnedAway, Values,
};
use ids::{Owner, Scope, TenantId, Text, Timestamp};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What reached the plane.
#[derive(Clone, Debug)]
pub enum Reached {
    /// An event of the platform's own deeds.
    Acted(Acted),
    /// A batch.
    Delivery(Delivery),
    /// A question: the method's name, whose tenants, and what it may take.
    Question(&'static str, Scope, Bounds),
    /// A tenant's erasure.
    Erase(TenantId),
    /// The removal of what was erased from the disk.
    Scrub,
    /// A tenant's setup.
    SetUp(TenantSetup),
    /// A finding of the platform itself.
    Told(Told),
    /// Bytes of a syslog stream.
    Syslog(TenantId, Text<64>, Vec<u8>),
}

/// Events that a test put there, by tenant and id.
type Held = std::collections::BTreeMap<(TenantId, String), (serde_json::Value, String)>;

/// The plane that remembers.
#[derive(Default)]
pub struct Recorder {
    reached: Arc<Mutex<Vec<Reached>>>,
    held: Mutex<Held>,
    rows: Mutex<Vec<serde_json::Map<String, serde_json::Value>>>,
    cannot_erase: AtomicBool,
}

impl Recorder {
    fn seen(&self) -> MutexGuard<'_, Vec<Reached>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What reached it since the last time.
    pub fn take(&self) -> Vec<Reached> {
        std::mem::take(&mut *self.seen())
    }

    /// Hold an event: from now on there are those that are held, and no others.
    pub fn hold(&self, tenant: TenantId, event: &str, ocsf: serde_json::Value, raw: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert((tenant, event.to_owned()), (ocsf, raw.to_owned()));
    }

    /// Answer every query with these rows.
    pub fn answer(&self, rows: Vec<serde_json::Map<String, serde_json::Value>>) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }

    /// From now on no erasure succeeds.
    pub fn fail_erasures(&self) {
        self.cannot_erase.store(true, Ordering::Release);
    }

    fn note(&self, what: &'static str, scope: &Scope, bounds: &Bounds) {
        self.seen().push(Reached::Question(what, scope.clone(), bounds.clone()));
    }
}

fn now<'a, T: Send + 'a>(value: T) -> Future<'a, T> {
    Box::pin(async move { value })
}

fn no_rows() -> EventRows {
    EventRows { complete: true, ..EventRows::default() }
}

struct Stream(Arc<Mutex<Vec<Reached>>>, TenantId, Text<64>);

impl SyslogStream for Stream {
    fn push<'a>(&'a mut self, _: Option<IpAddr>, bytes: &'a [u8]) -> Future<'a, Result<(), Pushback>> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(Reached::Syslog(self.1, self.2.clone(), bytes.to_vec()));
        now(Ok(()))
    }

    fn flush(&mut self) -> Future<'_, Result<(), Pushback>> {
        now(Ok(()))
    }

    fn finish(self: Box<Self>) -> Future<'static, ()> {
        now(())
    }
}

impl DataPlane for Recorder {
    fn deliver(&self, delivery: Delivery) -> Future<'_, Delivered> {
        let records = u64::try_from(delivery.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count());
        self.seen().push(Reached::Delivery(delivery));
        now(Delivered { status: 200, records: records.unwrap_or(u64::MAX), ..Delivered::default() })
    }

    fn turn_away(&self, _: Protocol, why: &TurnedAway) -> Delivered {
        let status = match why {
            TurnedAway::Busy { .. } => 503,
            TurnedAway::Forbidden => 403,
            TurnedAway::OverQuota { .. } => 429,
            TurnedAway::TooLarge { .. } => 413,
            TurnedAway::Unauthenticated => 401,
        };
        Delivered { status, ..Delivered::default() }
    }

    fn hec_health(&self) -> Delivered {
        Delivered { status: 200, ..Delivered::default() }
    }

    fn syslog(&self, tenant: TenantId, source: Text<64>, _: bool) -> Box<dyn SyslogStream> {
        Box::new(Stream(self.reached.clone(), tenant, source))
    }

    fn with_findings(&self) -> BTreeSet<TenantId> {
        BTreeSet::new()
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a EventQuery,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventRows, Problem>> {
        self.note("query", scope, bounds);
        let items = self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        now(Ok(EventRows { items, next_cursor: Some("here".to_owned()), ..no_rows() }))
    }

    fn search<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a EventSearch,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventRows, Problem>> {
        self.note("search", scope, bounds);
        now(Ok(no_rows()))
    }

    fn tail<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a EventTail,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventRows, Problem>> {
        self.note("tail", scope, bounds);
        let mut rows = no_rows();
        // Two events, then nothing more.
        if bounds.position.is_none() {
            for number in [1, 2] {
                rows.items.extend(serde_json::json!({ "event_id": number }).as_object().cloned());
            }
        }
        now(Ok(EventRows { next_cursor: Some("end".to_owned()), ..rows }))
    }

    fn histogram<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a EventHistogram,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Histogram, Problem>> {
        self.note("histogram", scope, bounds);
        now(Ok(Histogram {
            items: Vec::new(),
            step_secs: 1,
            total: 0,
            complete: true,
            cut: None,
            provenance: Provenance::default(),
        }))
    }

    fn fields<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a EventFields,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Fields, Problem>> {
        self.note("fields", scope, bounds);
        now(Ok(Fields { items: Vec::new(), complete: true }))
    }

    fn values<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a EventValues,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Values, Problem>> {
        self.note("values", scope, bounds);
        now(Ok(Values { items: Vec::new(), complete: true, cut: None, provenance: Provenance::default() }))
    }

    fn event<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventGet,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Event, Problem>> {
        self.note("event", scope, bounds);
        let tenant = match scope {
            Scope::Tenant(tenant) => *tenant,
            Scope::Provider | Scope::Tenants(_) => TenantId::derive(&[b"any"]),
        };
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (ocsf, raw) = match held.get(&(tenant, input.event.to_string())) {
            Some(found) => found.clone(),
            None if held.is_empty() => (serde_json::json!({}), String::new()),
            None => return now(Err(Problem::not_found("event"))),
        };
        now(Ok(Event {
            id: input.event.to_string(),
            tenant,
            source: "recorder".to_owned(),
            time: Timestamp::default(),
            ocsf,
            raw,
            raw_cut: false,
        }))
    }

    fn process_tree<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a EventProcessTree,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<ProcessTree, Problem>> {
        self.note("process_tree", scope, bounds);
        now(Ok(ProcessTree { items: Vec::new(), focus: String::new(), host: None, complete: true }))
    }

    fn estimate<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a EventEstimate,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Estimate, Problem>> {
        self.note("estimate", scope, bounds);
        now(Ok(Estimate { files: 0, files_skipped: 0, rows: 0, bytes: 0, fits: true }))
    }

    fn export<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a EventExport,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventFiles, Problem>> {
        self.note("export", scope, bounds);
        now(Ok(EventFiles { items: Vec::new(), rows: 0, next_cursor: None, complete: true, cut: None }))
    }

    fn tell(&self, told: Told) -> Future<'_, Result<(), Problem>> {
        self.seen().push(Reached::Told(told));
        now(Ok(()))
    }

    fn acted(&self, acted: Acted) -> Future<'_, Result<(), Problem>> {
        self.seen().push(Reached::Acted(acted));
        now(Ok(()))
    }

    fn prevalence<'a>(&'a self, _: &'a Scope, input: &'a EntityPrevalence) -> Future<'a, Result<Prevalences, Problem>> {
        now(Ok(Prevalences { items: Vec::new(), normalised: input.value.to_string() }))
    }

    fn detections<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a DetectionList,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Detections, Problem>> {
        self.note("detections", scope, bounds);
        now(Ok(Detections {
            items: Vec::new(),
            next_cursor: None,
            complete: true,
            cut: None,
            provenance: Provenance::default(),
        }))
    }

    fn detection<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a DetectionGet,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Detection, Problem>> {
        self.note("detection", scope, bounds);
        let tenant = match scope {
            Scope::Tenant(tenant) => *tenant,
            Scope::Provider | Scope::Tenants(_) => TenantId::derive(&[b"any"]),
        };
        now(Ok(Detection {
            id: input.detection,
            tenant,
            rule: None,
            rule_name: "recorder".to_owned(),
            rule_digest: String::new(),
            title: String::new(),
            severity: ids::Severity::Low,
            shadow: true,
            time: Timestamp::default(),
            found_at: Timestamp::default(),
            events: Vec::new(),
            event_count: 0,
            entities: Vec::new(),
            techniques: Vec::new(),
            retro_hunt: None,
            ocsf: None,
        }))
    }

    fn sources<'a>(&'a self, scope: &'a Scope) -> Future<'a, Result<Vec<(TenantId, SourceHealth)>, Problem>> {
        let mut fares = Vec::new();
        for reached in &*self.seen() {
            if let Reached::Delivery(one) = reached
                && scope.covers(Owner::Tenant(one.tenant))
            {
                let health = SourceHealth {
                    source: one.source.to_string(),
                    state: "ok".to_owned(),
                    records: 1,
                    ..SourceHealth::default()
                };
                fares.push((one.tenant, health));
            }
        }
        now(Ok(fares))
    }

    fn status<'a>(&'a self, _: &'a Scope) -> Future<'a, Result<LakeStatus, Problem>> {
        now(Ok(LakeStatus { pressure: "open".to_owned(), ..LakeStatus::default() }))
    }

    fn test_mapping(&self, _: Option<&str>, mapping_text: Option<&str>, _: &[String]) -> Result<MappingTest, Problem> {
        match mapping_text {
            Some("broken") => Err(Problem::fault("/mapping_text", "is broken")),
            _ => Ok(MappingTest::default()),
        }
    }

    fn look_at_external<'a>(
        &'a self,
        _: TenantId,
        table: &'a ExternalSetup,
    ) -> Future<'a, Result<ExternalContents, Problem>> {
        now(match table.folder.as_str() {
            "/outside" => Err(Problem::fault("/folder", "is outside")),
            _ => Ok(ExternalContents::default()),
        })
    }

    fn set_up(&self, setup: TenantSetup) -> Result<(), Problem> {
        self.seen().push(Reached::SetUp(setup));
        Ok(())
    }

    fn set_rules(&self, _: TenantId, rules: RuleSet) -> Result<RuleReport, Problem> {
        let running = rules.rules.len() + rules.packs.iter().map(|pack| pack.rules.len()).sum::<usize>();
        Ok(RuleReport { running: u32::try_from(running).unwrap_or(u32::MAX), faults: Vec::new() })
    }

    fn begin(&self) {}

    fn recovered(&self) -> Future<'_, ()> {
        now(())
    }

    fn exception_hits(&self, _tenant: TenantId) -> Vec<ExceptionHits> {
        Vec::new()
    }

    fn backtest<'a>(
        &'a self,
        scope: &'a Scope,
        _: &'a BacktestAsk,
        bounds: &'a Bounds,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<Backtest, Problem>> {
        self.note("backtest", scope, bounds);
        told(1000, "nothing to do");
        now(Ok(Backtest { complete: true, ..Backtest::default() }))
    }

    fn log_sources<'a>(
        &'a self,
        tenant: TenantId,
        asked: &'a [LogSourceName],
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Vec<DataPresence>, Problem>> {
        self.note("log_sources", &Scope::Tenant(tenant), bounds);
        now(Ok(asked.iter().map(|_| DataPresence::Unknown).collect()))
    }

    fn backtest_estimate(&self, _: &Scope, _: &BacktestAsk) -> Result<Estimate, Problem> {
        Ok(Estimate { files: 0, files_skipped: 0, rows: 0, bytes: 0, fits: true })
    }

    fn retro_hunt<'a>(
        &'a self,
        _: TenantId,
        _: &'a BacktestAsk,
        _: &'a str,
        _: Duration,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<RetroHunted, Problem>> {
        told(1000, "nothing to do");
        now(Ok(RetroHunted { complete: true, ..RetroHunted::default() }))
    }

    fn compact<'a>(
        &'a self,
        _: &'a Scope,
        _: bool,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<Compacted, Problem>> {
        told(1000, "nothing to do");
        now(Ok(Compacted::default()))
    }

    fn upkeep_due(&self) -> Future<'_, Result<bool, Problem>> {
        now(Ok(false))
    }

    fn erase<'a>(
        &'a self,
        tenant: TenantId,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<Erased, Problem>> {
        told(1000, "nothing to do");
        self.seen().push(Reached::Erase(tenant));
        let failed = self.cannot_erase.load(Ordering::Acquire).then(Problem::internal);
        now(failed.map_or_else(|| Ok(Erased::default()), Err))
    }

    fn grace(&self) -> Duration {
        Duration::ZERO
    }

    fn scrub(&self, _: Timestamp) -> Future<'_, Result<bool, Problem>> {
        self.seen().push(Reached::Scrub);
        now(Ok(true))
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn metrics(&self) -> String {
        String::new()
    }
}
