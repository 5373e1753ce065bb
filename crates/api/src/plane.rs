//! The data plane as the gate sees it: [`DataPlane`], implemented by `pipeline`, held by `control`.
//!
//! Everything that comes through here was authenticated and decided by `control`; the plane judges no credential and
//! asks no policy. It must keep what it is told: never a row outside the scope, never more than the bounds, never a
//! masked field, and no acknowledgement before the record is durable. All methods may be called at once from many
//! tasks.

use crate::{
    Backtest, Compacted, DataPresence, Detection, DetectionGet, DetectionList, Detections, EntityPrevalence, Erased,
    Estimate, Event, EventEstimate, EventExport, EventFields, EventFiles, EventGet, EventHistogram, EventProcessTree,
    EventQuery, EventRows, EventSearch, EventTail, EventValues, ExternalColumn, ExternalContents, Fields, Future,
    Histogram, LakeStatus, MappingTest, Prevalences, Problem, ProblemKind, ProcessTree, RetroHunted, SourceHealth,
    Values,
};
use ids::{EventId, RuleExceptionId, RuleId, Scope, TenantId, Text, Timestamp};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How a shipper speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum Protocol {
    /// Elasticsearch: `_bulk` and the requests that its clients make before.
    Bulk,
    /// Splunk HEC: acknowledgement queries.
    HecAcks,
    /// Splunk HEC: events.
    HecEvents,
    /// Splunk HEC: raw lines.
    HecRaw,
    /// One JSON document a line.
    Ndjson,
    /// OTLP/HTTP logs, protobuf or JSON by content type.
    OtlpLogs,
}

impl Protocol {
    /// The word in counts and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::HecAcks => "hec_acks",
            Self::HecEvents => "hec_events",
            Self::HecRaw => "hec_raw",
            Self::Ndjson => "ndjson",
            Self::OtlpLogs => "otlp_logs",
        }
    }
}

/// One request of a shipper whose key was judged good.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Whose.
    pub tenant: TenantId,
    /// The source that the key is bound to.
    pub source: Text<64>,
    /// Id of the ingest key: scopes HEC channels.
    pub key: String,
    /// How it speaks.
    pub protocol: Protocol,
    /// The HTTP method, upper case.
    pub method: String,
    /// The path after what names the source: `/_bulk`, `/my-index/_bulk`, `/`; empty for NDJSON.
    pub path: String,
    /// The query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers that protocols read, names in lower case: `content-type`, `content-encoding`, `accept`,
    /// `idempotency-key`, `x-splunk-request-channel`.
    pub headers: Vec<(&'static str, String)>,
    /// The peer.
    pub peer: Option<IpAddr>,
    /// The body as it came, still encoded.
    pub body: Vec<u8>,
}

impl Delivery {
    /// The header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }

    /// The query's first value of this name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// An answer to a shipper in its protocol's shape.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// HTTP status.
    pub status: u16,
    /// Further headers, for example `retry-after`; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// `content-type`; empty where there is no body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// Records that are durable now.
    pub records: u64,
    /// Records that were not taken.
    pub rejected: u64,
    /// Why the whole was refused, as a word for counts; none where it was taken.
    pub refused: Option<&'static str>,
}

/// Why the gate turns a shipper away, before the plane sees anything of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TurnedAway {
    /// Too many requests wait; come back later.
    Busy {
        /// When.
        retry_after_secs: u32,
    },
    /// The key is good for something else than this source, or the source is switched off.
    Forbidden,
    /// The tenant's quota of requests is used up.
    OverQuota {
        /// When to come back.
        retry_after_secs: u32,
    },
    /// The body is over the limit.
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The key is missing, unknown, revoked or expired.
    Unauthenticated,
}

impl TurnedAway {
    /// The word in counts and records.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "busy",
            Self::Forbidden => "forbidden",
            Self::OverQuota { .. } => "over_quota",
            Self::TooLarge { .. } => "too_large",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}

/// Why a stream of syslog was not taken further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pushback {
    /// The stream broke the framing, or the plane ends: close the connection.
    Close,
    /// The datagram was dropped, and counted.
    Dropped,
}

/// One syslog connection, or all datagrams of one listener.
pub trait SyslogStream: Send {
    /// Take bytes: for a connection any piece of the stream, for datagrams exactly one. Where the log is pressed, a
    /// connection waits here (so that TCP holds the sender) and a datagram is dropped. `peer` is the sender.
    fn push<'a>(&'a mut self, peer: Option<IpAddr>, bytes: &'a [u8]) -> Future<'a, Result<(), Pushback>>;

    /// Make durable what was taken so far. The listener calls it where the sender pauses.
    fn flush(&mut self) -> Future<'_, Result<(), Pushback>>;

    /// The sender is done: take what is left.
    fn finish(self: Box<Self>) -> Future<'static, ()>;
}

/// How much one question may take and what it may not show. Made by `control` from settings and policy's obligations.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Rows in the answer.
    pub rows_max: u32,
    /// Bytes of the answer's rows as JSON.
    pub bytes_max: u64,
    /// Time; what is ready by then is answered with [`crate::Cut::Time`], or a `query-limit` problem where nothing is.
    pub time_max: Duration,
    /// Bytes decoded from storage.
    pub decoded_bytes_max: u64,
    /// Memory of the query.
    pub memory_bytes_max: u64,
    /// Columns and paths whose values must not be seen, not even through an expression, a filter or a join: they read
    /// as null, also inside `raw` and the OCSF form (where any is masked below them, they are masked whole).
    pub masked: BTreeSet<String>,
    /// Where to go on: what the plane itself gave as `next_cursor`. `control` has authenticated it.
    pub position: Option<String>,
}

/// How long rows are kept. A class that is not named follows `days`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Keep {
    /// Days, counted from the later of event and ingest; none keeps for ever.
    pub days: Option<u32>,
    /// Days by OCSF class, where they differ.
    pub by_class: Vec<(u32, u32)>,
    /// Legal holds: (name, from, to) in event time; nothing in them is removed.
    pub holds: Vec<(String, Timestamp, Timestamp)>,
}

/// What the platform itself has to tell, as a finding of a tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Told {
    /// Whose.
    pub tenant: TenantId,
    /// Which kind of finding, for example `posse.action.unverified`.
    pub uid: Text<100>,
    /// In one line.
    pub title: Text<300>,
    /// In full.
    pub detail: Text<2000>,
    /// What it is about, for example `action/action_...`.
    pub about: Text<200>,
    /// What makes it this finding and no other: told again, it is the same.
    pub key: Text<300>,
    /// When.
    pub at: Timestamp,
}

/// What came of something that the platform did itself, as an event of a tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Acted {
    /// Whose.
    pub tenant: TenantId,
    /// What makes it this event and no other: told again, it is the same.
    pub key: Text<300>,
    /// When.
    pub at: Timestamp,
    /// The OCSF event, JSON of at most [`Acted::BYTES_MAX`].
    pub ocsf: String,
}

impl Acted {
    /// Bytes of an event.
    pub const BYTES_MAX: usize = 64 << 10;
}

/// One source as the plane needs to know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceSetup {
    /// Its name.
    pub name: Text<64>,
    /// A built-in mapping by name; none lets the plane tell from the records.
    pub mapping: Option<Text<64>>,
    /// A mapping file of its own, in place of a built-in one.
    pub mapping_text: Option<Text<65536>>,
    /// Silence of this many seconds raises a finding; none never does.
    pub silent_after_secs: Option<u32>,
}

/// An external table as the plane needs to know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalSetup {
    /// Its name in SQL.
    pub name: Text<64>,
    /// Where it lies.
    pub folder: Text<1024>,
    /// Columns that are renamed or cast.
    pub columns: Vec<ExternalColumn>,
}

/// All that the plane needs to know of one tenant. Given whole at each change and once for each tenant at start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TenantSetup {
    /// Which tenant.
    pub tenant: TenantId,
    /// Its sources; a source that is not named here is told from its records.
    pub sources: Vec<SourceSetup>,
    /// How long its rows are kept.
    pub keep: Keep,
    /// Its external tables.
    pub externals: Vec<ExternalSetup>,
    /// Raw bytes a second in the long run, and at once; none is unbounded.
    pub quota: Option<(u64, u64)>,
}

/// One Sigma document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleText {
    /// The rule; none for one of a pack that ships.
    pub id: Option<RuleId>,
    /// Its name, for findings.
    pub name: String,
    /// Digest of this version's text, hexadecimal.
    pub digest: String,
    /// The YAML text.
    pub text: String,
    /// Findings are recorded and nothing follows from them.
    pub shadow: bool,
}

/// Rules that many tenants share: compiled once, found by digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RulePack {
    /// Digest of the whole pack, hexadecimal.
    pub digest: String,
    /// Its rules.
    pub rules: Vec<RuleText>,
}

/// All rules that are live in one tenant. Given whole at each change and once for each tenant at start.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RuleSet {
    /// Digest of the whole set: the same digest changes nothing.
    pub digest: String,
    /// The tenant's own rules.
    pub rules: Vec<RuleText>,
    /// Shared packs.
    pub packs: Vec<Arc<RulePack>>,
    /// Names of rules in packs that are switched off here.
    pub off: BTreeSet<String>,
}

/// A rule that does not run, or not as its author thinks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleFault {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
    /// True where it does not run at all.
    pub fatal: bool,
}

/// What became of a rule set.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RuleReport {
    /// Rules that run.
    pub running: u32,
    /// Rules that do not, or with a flaw.
    pub faults: Vec<RuleFault>,
}

/// A backtest: a rule over what the lake holds.
#[derive(Clone, Debug)]
pub struct BacktestAsk {
    /// The rule.
    pub rule: RuleText,
    /// What is loaded with it: exceptions of the tenant.
    pub beside: Vec<RuleText>,
    /// Events at or after this instant.
    pub since: Timestamp,
    /// Events before this instant.
    pub until: Timestamp,
    /// Every record is read, also where columns and filters say that it cannot match.
    pub exhaustive: bool,
}

/// What an exception held back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExceptionHits {
    /// Which exception.
    pub exception: RuleExceptionId,
    /// Detections, since it was made.
    pub hits: u64,
    /// When the last record came that would have made one.
    pub last_hit_at: Timestamp,
}

/// A log source as rules name one.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct LogSourceName {
    /// Such as `windows`.
    pub product: Option<String>,
    /// Such as `process_creation`.
    pub category: Option<String>,
    /// Such as `security`.
    pub service: Option<String>,
}

/// The data plane. See the module's head.
pub trait DataPlane: Send + Sync {
    /// Take one request of a shipper. Answers in the protocol's shape, and 2xx only when everything that it says was
    /// taken is durable.
    fn deliver(&self, delivery: Delivery) -> Future<'_, Delivered>;

    /// The answer, in the protocol's shape, to a shipper whom the gate turns away.
    fn turn_away(&self, protocol: Protocol, why: &TurnedAway) -> Delivered;

    /// The answer to `GET /services/collector/health`.
    fn hec_health(&self) -> Delivered;

    /// A syslog connection, or the datagrams of one listener.
    fn syslog(&self, tenant: TenantId, source: Text<64>, datagrams: bool) -> Box<dyn SyslogStream>;

    /// The tenants that have findings in the lake. Told from the catalog: no record is read.
    fn with_findings(&self) -> BTreeSet<TenantId>;

    /// `event.query`.
    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventQuery,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventRows, Problem>>;

    /// `event.search`.
    fn search<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventSearch,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventRows, Problem>>;

    /// `event.tail`: waits at most `input.wait_secs`; always gives a position to go on from.
    fn tail<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventTail,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventRows, Problem>>;

    /// `event.histogram`.
    fn histogram<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventHistogram,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Histogram, Problem>>;

    /// `event.fields`.
    fn fields<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventFields,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Fields, Problem>>;

    /// `event.values`.
    fn values<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventValues,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Values, Problem>>;

    /// `event.get`; not found is [`Problem::not_found`].
    fn event<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventGet,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Event, Problem>>;

    /// Several events as `event.get` tells them, those that are there, in no order.
    fn events<'a>(
        &'a self,
        scope: &'a Scope,
        ids: &'a [EventId],
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Vec<Event>, Problem>> {
        Box::pin(async move {
            let tenant = if let Scope::Tenant(tenant) = scope { Some(*tenant) } else { None };
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let ask = EventGet { tenant, event: Text::truncated(&id.to_string()) };
                match self.event(scope, &ask, bounds).await {
                    Ok(event) => found.push(event),
                    Err(problem) if problem.problem_kind() == ProblemKind::NotFound => {}
                    Err(problem) => return Err(problem),
                }
            }
            Ok(found)
        })
    }

    /// `event.process_tree`.
    fn process_tree<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventProcessTree,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<ProcessTree, Problem>>;

    /// `event.estimate`: reads the catalog only.
    fn estimate<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventEstimate,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Estimate, Problem>>;

    /// `event.export`: one part; `bounds.bytes_max` bounds the file.
    fn export<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EventExport,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<EventFiles, Problem>>;

    /// `entity.prevalence`: one entry for each tenant of the scope.
    fn prevalence<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a EntityPrevalence,
    ) -> Future<'a, Result<Prevalences, Problem>>;

    /// `detection.list`, newest first.
    fn detections<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a DetectionList,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Detections, Problem>>;

    /// `detection.get`; not found is [`Problem::not_found`].
    fn detection<'a>(
        &'a self,
        scope: &'a Scope,
        input: &'a DetectionGet,
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Detection, Problem>>;

    /// Raise a finding of the platform itself; done once it is durable.
    fn tell(&self, told: Told) -> Future<'_, Result<(), Problem>>;

    /// Write an event of the platform's own deeds beside the findings of ours, out of the reach of every source; done once it
    /// is durable.
    fn acted(&self, acted: Acted) -> Future<'_, Result<(), Problem>>;

    /// How the sources within the scope fare; also sources that are in no setup.
    fn sources<'a>(&'a self, scope: &'a Scope) -> Future<'a, Result<Vec<(TenantId, SourceHealth)>, Problem>>;

    /// What the tables within the scope hold.
    fn status<'a>(&'a self, scope: &'a Scope) -> Future<'a, Result<LakeStatus, Problem>>;

    /// Try a mapping on samples; a mapping that does not compile is a fault at `/mapping_text`.
    ///
    /// # Errors
    /// A problem where the mapping's name is unknown or its text does not compile.
    fn test_mapping(
        &self,
        mapping: Option<&str>,
        mapping_text: Option<&str>,
        samples: &[String],
    ) -> Result<MappingTest, Problem>;

    /// What the folder of an external table holds now. Only below folders that the server's configuration names for the
    /// tenant.
    ///
    /// # Errors
    /// A fault at `/folder`, `/name` or `/columns` where it cannot be read as that table.
    fn look_at_external<'a>(
        &'a self,
        tenant: TenantId,
        table: &'a ExternalSetup,
    ) -> Future<'a, Result<ExternalContents, Problem>>;

    /// Take over all that is known of a tenant. The same setup again changes nothing.
    ///
    /// # Errors
    /// A problem where a mapping's text does not compile; nothing has changed then.
    fn set_up(&self, setup: TenantSetup) -> Result<(), Problem>;

    /// Take over the rules of a tenant. The same digest again changes nothing. Rules that cannot run are told in the
    /// report; the others run.
    ///
    /// # Errors
    /// A problem where nothing was taken over.
    fn set_rules(&self, tenant: TenantId, rules: RuleSet) -> Result<RuleReport, Problem>;

    /// Every tenant's setup and rules were told: what the log holds may be read with them. Before this, records are
    /// taken and made durable, and nothing is read, so that no record misses rules that were there before it.
    fn begin(&self);

    /// Resolves once everything that was durable when it was opened can be found. Until then questions wait, so that
    /// nobody takes what a restart has not read again yet for what never was.
    fn recovered(&self) -> Future<'_, ()>;

    /// What the exceptions of a tenant held back where rules ran live; those that held back nothing are left out.
    fn exception_hits(&self, tenant: TenantId) -> Vec<ExceptionHits>;

    /// Run a rule over what the lake holds; nothing is stored. `told` is as for [`DataPlane::compact`].
    fn backtest<'a>(
        &'a self,
        scope: &'a Scope,
        ask: &'a BacktestAsk,
        bounds: &'a Bounds,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<Backtest, Problem>>;

    /// Whether a tenant's data of the last days has these log sources; one answer for each, in their order.
    fn log_sources<'a>(
        &'a self,
        tenant: TenantId,
        asked: &'a [LogSourceName],
        bounds: &'a Bounds,
    ) -> Future<'a, Result<Vec<DataPresence>, Problem>>;

    /// What that would read. Reads the catalog only.
    fn backtest_estimate(&self, scope: &Scope, ask: &BacktestAsk) -> Result<Estimate, Problem>;

    /// Run a rule over what the lake holds of a tenant, and store what it finds as detections of `hunt`, but for what is
    /// stored already. Their number is bounded. May be called again after a crash: nothing is stored twice.
    fn retro_hunt<'a>(
        &'a self,
        tenant: TenantId,
        ask: &'a BacktestAsk,
        hunt: &'a str,
        time_max: Duration,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<RetroHunted, Problem>>;

    /// Merge small files (all of the scope's, or those for which it is time), remove what is past its time and on no hold.
    /// Called by a job; `told` is called now and then with how far it is (0 to 1000) and answers false where it should stop.
    fn compact<'a>(
        &'a self,
        scope: &'a Scope,
        due_only: bool,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<Compacted, Problem>>;

    /// Unlink files that nobody reads any more; whether there is something to merge, or past its time.
    fn upkeep_due(&self) -> Future<'_, Result<bool, Problem>>;

    /// Remove everything that the lake, its memory and its log hold of a tenant and that is on no hold. Called by a job;
    /// `told` as in [`DataPlane::compact`].
    fn erase<'a>(
        &'a self,
        tenant: TenantId,
        told: &'a (dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Future<'a, Result<Erased, Problem>>;

    /// How long a file that was taken out of the lake stays for questions that may still read it.
    fn grace(&self) -> Duration;

    /// Remove what was erased from the disk as well: files that were taken out of the lake until then, by `until`, and what the
    /// catalog's own files keep of what it forgot. False where one of those files is still kept for a question: again later.
    fn scrub(&self, until: Timestamp) -> Future<'_, Result<bool, Problem>>;

    /// Whether it takes records and answers questions; the text says what is missing.
    ///
    /// # Errors
    /// What is missing.
    fn ready(&self) -> Result<(), String>;

    /// Its metrics in OpenMetrics text, without the final `# EOF`.
    fn metrics(&self) -> String;
}
