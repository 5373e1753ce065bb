//! The running data plane: requests and streams into the durable log, the log into the lake, questions to the lake.
//! Implements [`api::DataPlane`]. Must never acknowledge what is not durable, never lose what was acknowledged, and
//! never hold more than its stated bounds.

mod ask;
mod correlate;
mod deliver;
mod explore;
mod external;
mod face;
mod fare;
mod finding;
mod found;
mod mapping_trial;
mod narrow;
mod notice;
mod present;
mod retro;
mod rules;
mod runner;
mod setup;
mod spared;
mod stream;
mod transform;
mod trial;
mod upkeep;

pub use finding::Finding;
pub use runner::{FindingSink, Pace};

use crate::{Limits, Pressure, Quota, Receiver, Source};
use api::{Problem, ReasonCount, SourceHealth, TenantSetup};
use ids::{Clock, Entropy, Owner, Scope, TenantId, Timestamp};
use journal::{Journal, OpenError, Position};
use lake::{Lake, Writer};
use runner::{Shared, Threads};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// Bytes that wait for the disk at which connections are held.
const BUSY_BYTES: usize = 16 << 20;
/// Bytes of the log that cannot be found yet at which senders are held, so that what they are told was taken can be found
/// within a second.
const PACE_BYTES: u64 = 4 << 20;
/// How long one request is held at most; records are taken all the same then, because durable is more than fresh.
const PACE_MAX: Duration = Duration::from_secs(1);
/// How often a stopped log is looked at.
const HEAL: Duration = Duration::from_secs(2);

/// What a plane is opened with.
pub struct Options {
    /// The log's folder.
    pub journal: PathBuf,
    /// The log's bounds.
    pub log: journal::Options,
    /// The lake, for questions.
    pub lake: Lake,
    /// The lake's one writer.
    pub writer: Writer,
    /// The present.
    pub clock: Arc<dyn Clock>,
    /// Randomness: the log's salt.
    pub entropy: Arc<dyn Entropy>,
    /// Bounds of requests.
    pub limits: Limits,
    /// Bounds of the way into the lake.
    pub pace: Pace,
    /// Bytes of the log that are not in the lake yet at which senders are told to wait.
    pub behind_bytes_max: u64,
    /// A stable name of this installation, told to clients that ask.
    pub installation: String,
    /// Who wants to know of findings.
    pub findings: Option<Arc<dyn FindingSink>>,
}

impl Options {
    /// Default bounds.
    #[must_use]
    pub fn new(
        journal: PathBuf,
        (lake, writer): (Lake, Writer),
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            journal,
            log: journal::Options::default(),
            lake,
            writer,
            clock,
            entropy,
            limits: Limits::default(),
            pace: Pace::default(),
            behind_bytes_max: 2 << 30,
            installation: "posse".to_owned(),
            findings: None,
        }
    }
}

/// Why a plane does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlaneError {
    /// The cursor in the catalog is not one that this release wrote.
    #[error("the catalog's cursor of the log cannot be read; was the folder used by a newer release?")]
    Cursor,
    /// The log cannot be opened.
    #[error("the log cannot be opened")]
    Journal(#[from] OpenError),
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// The running data plane. Cheap to clone.
#[derive(Clone)]
pub struct Plane(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    receiver: Arc<Receiver>,
    intake: deliver::Intake,
    packs: rules::Packs,
    lake: Lake,
    journal: Journal,
    /// Where the log ended when it was opened.
    opened_at: Position,
    clock: Arc<dyn Clock>,
    behind_bytes_max: u64,
    segment_bytes: u64,
    threads: Mutex<Option<Threads>>,
}

impl std::fmt::Debug for Plane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plane").field("journal", &self.0.journal).finish_non_exhaustive()
    }
}

impl Plane {
    /// Open the log and start the threads, which go on where the lake's cursor says once [`api::DataPlane::begin`] was
    /// called. Call it within a tokio runtime, in which files are written.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn open(options: Options) -> Result<Self, PlaneError> {
        let mut log = options.log;
        let mut salt = [0_u8; 8];
        options.entropy.fill(&mut salt);
        log.salt = u64::from_le_bytes(salt);
        let (journal, recovery) = Journal::open(&options.journal, log)?;
        if let Some(torn) = &recovery.torn {
            tracing::info!(?torn, "the log ended in the middle of a batch that nobody was told about; cut off");
        }
        Self::on(options, journal)
    }

    /// As [`Plane::open`], on a log that is open already; `options.journal` is not looked at.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub fn on(options: Options, journal: Journal) -> Result<Self, PlaneError> {
        let from = match options.writer.cursor(runner::CURSOR) {
            None => Position::START,
            Some(bytes) => runner::decode(bytes).ok_or(PlaneError::Cursor)?,
        };
        let shared = Arc::new(Shared {
            clock: Arc::clone(&options.clock),
            tenants: setup::Tenants::default(),
            fares: Mutex::new(options.writer.cursor(runner::FARES).map(fare::Fares::restored).unwrap_or_default()),
            spared: Mutex::new(options.writer.cursor(runner::SPARED).map(spared::Spared::restored).unwrap_or_default()),
            sink: options.findings,
            pace: options.pace,
            begun: Mutex::new(false),
            begins: Condvar::new(),
            stop: false.into(),
            batches: 0.into(),
            findings: 0.into(),
            damaged: 0.into(),
            position: tokio::sync::watch::Sender::new(from),
            in_files: Mutex::new(from),
            flush_asked: false.into(),
            forgotten: Mutex::default(),
            trouble: Mutex::default(),
            flushes: 0.into(),
        });
        let receiver = Arc::new(Receiver::new(journal.clone(), Arc::clone(&options.clock), BUSY_BYTES));
        let runtime = tokio::runtime::Handle::current();
        let intake = deliver::Intake::new(
            Arc::clone(&receiver),
            Arc::clone(&options.clock),
            options.limits,
            options.installation,
        );
        let threads = runner::start(&shared, &journal, options.writer, from, runtime.clone());
        let threads = threads.map_err(PlaneError::Thread)?;
        let plane = Self(Arc::new(Inner {
            shared,
            receiver,
            intake,
            packs: rules::Packs::default(),
            lake: options.lake,
            opened_at: journal.durable(),
            journal,
            clock: options.clock,
            behind_bytes_max: options.behind_bytes_max,
            segment_bytes: options.log.segment_bytes,
            threads: Mutex::new(Some(threads)),
        }));
        plane.heal_by_itself(&runtime);
        Ok(plane)
    }

    /// Look after the log: where a write failed, read it back and go on.
    fn heal_by_itself(&self, runtime: &tokio::runtime::Handle) {
        let inner = Arc::downgrade(&self.0);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(HEAL).await;
                let Some(inner) = inner.upgrade() else { return };
                if matches!(inner.receiver.pressure(), Pressure::Stopped { .. }) {
                    let receiver = Arc::clone(&inner.receiver);
                    let healed = tokio::task::spawn_blocking(move || receiver.heal()).await;
                    match healed {
                        Ok(Ok(Some(_))) => tracing::info!("the log was read back and goes on"),
                        Ok(Ok(None)) => {}
                        Ok(Err(error)) => tracing::warn!(%error, "the log still cannot be written"),
                        Err(error) => tracing::error!(%error, "reading the log back failed"),
                    }
                }
            }
        });
    }

    /// Take nothing more, put everything that was taken into files, end the threads. Later calls do nothing. What was
    /// taken before reading began stays in the log.
    pub async fn stop(&self) {
        let threads = self.0.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(threads) = threads else { return };
        let (journal, shared) = (self.0.journal.clone(), Arc::clone(&self.0.shared));
        let ended = tokio::task::spawn_blocking(move || {
            journal.close();
            shared.end();
            threads.join();
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "the data plane did not end well");
        }
    }

    /// The lake, for questions.
    #[must_use]
    pub fn lake(&self) -> &Lake {
        &self.0.lake
    }

    /// Whether everything that is durable can be found.
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.0.shared.position() >= self.0.journal.durable()
    }

    /// The digest of the set of rules that runs in a tenant now; none where none does.
    #[must_use]
    pub fn rules_digest(&self, tenant: TenantId) -> Option<String> {
        Some(self.0.shared.tenants.now().get(&tenant)?.detectors.as_ref()?.digest().to_owned())
    }

    /// How many findings were made since the start.
    #[must_use]
    pub fn findings(&self) -> u64 {
        self.0.shared.findings.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Hold a sender while the lake is behind what is taken.
    async fn keep_pace(&self) {
        let mut place = self.0.shared.position.subscribe();
        let held = async { while self.behind_bytes() > PACE_BYTES && place.changed().await.is_ok() {} };
        // Over its time a request goes on all the same.
        let _ = tokio::time::timeout(PACE_MAX, held).await;
    }

    /// About how many bytes of the log cannot be found yet.
    #[must_use]
    pub fn behind_bytes(&self) -> u64 {
        let (done, durable) = (self.0.shared.position(), self.0.journal.durable());
        if durable.segment == done.segment {
            return durable.offset.saturating_sub(done.offset);
        }
        let segments = durable.segment.saturating_sub(done.segment).saturating_sub(1);
        let rest = self.0.segment_bytes.saturating_sub(done.offset);
        segments.saturating_mul(self.0.segment_bytes).saturating_add(rest).saturating_add(durable.offset)
    }

    /// How each source within the scope fares, also those that no setup names.
    fn health(&self, scope: &Scope) -> Vec<(TenantId, SourceHealth)> {
        let now = self.0.clock.now();
        let inner = &self.0;
        let tenants = inner.shared.tenants.now();
        let mut all: std::collections::BTreeMap<Source, SourceHealth> = std::collections::BTreeMap::new();
        for (tenant, name) in tenants.iter().flat_map(|(tenant, known)| {
            known.setup().into_iter().flat_map(|setup| &setup.sources).map(|source| (*tenant, source.name.clone()))
        }) {
            all.insert(Source { tenant, name }, SourceHealth { known: true, ..SourceHealth::default() });
        }
        for received in inner.receiver.health() {
            let health = all.entry(received.source).or_default();
            tell(&received.tally, health);
        }
        let fares = inner.shared.fares();
        for source in fares.sources() {
            all.entry(source.clone()).or_default();
        }
        let silent = |source: &Source| {
            let setup = tenants.get(&source.tenant)?.setup()?;
            setup.sources.iter().find(|own| own.name == source.name)?.silent_after_secs
        };
        all.retain(|source, _| scope.covers(Owner::Tenant(source.tenant)));
        let told = all.into_iter().map(|(source, mut health)| {
            fares.tell(&source, now, &mut health);
            health.source = source.name.to_string();
            health.state = state(&health, silent(&source), now).to_owned();
            (source.tenant, health)
        });
        told.collect()
    }

    /// Take over a tenant's sources and quota.
    fn take_setup(&self, setup: TenantSetup) -> Result<(), Problem> {
        let (tenant, quota) = (setup.tenant, setup.quota);
        let externals = setup.externals.iter().map(external::table).collect();
        let before = self.0.shared.tenants.now().get(&tenant).and_then(|known| known.setup()?.quota);
        self.0.shared.tenants.set_up(setup)?;
        self.0.lake.set_external_tables(tenant, externals);
        if before != quota {
            let quota = quota.map(|(bytes_per_second, burst_bytes)| Quota { bytes_per_second, burst_bytes });
            self.0.receiver.set_quota(tenant, quota);
        }
        Ok(())
    }

    /// Counts in OpenMetrics text.
    fn metrics_text(&self) -> String {
        use std::fmt::Write as _;
        use std::sync::atomic::Ordering::Relaxed;
        let (events, dead) = self.0.shared.fares().totals();
        let size = self.0.lake.size();
        let shared = &self.0.shared;
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("posse_ingest_events", "counter", "Events that can be found.", events),
            ("posse_ingest_dead_letters", "counter", "Records that could not be read.", dead),
            ("posse_ingest_batches", "counter", "Batches that can be found.", shared.batches.load(Relaxed)),
            (
                "posse_ingest_log_damaged",
                "counter",
                "Places of the log that could not be read.",
                shared.damaged.load(Relaxed),
            ),
            ("posse_findings", "counter", "Findings made.", shared.findings.load(Relaxed)),
            ("posse_lake_flushes", "counter", "Times that rows in memory were written.", shared.flushes.load(Relaxed)),
            ("posse_ingest_behind_bytes", "gauge", "Bytes of the log that cannot be found yet.", self.behind_bytes()),
            ("posse_lake_hot_rows", "gauge", "Rows in memory only.", size.hot_rows),
            ("posse_lake_hot_bytes", "gauge", "Memory that they take.", size.hot_bytes),
            ("posse_lake_files", "gauge", "Files of the lake.", size.files),
            ("posse_lake_rows", "gauge", "Rows in files.", size.file_rows),
            ("posse_lake_bytes", "gauge", "Bytes of files.", size.file_bytes),
        ] {
            let suffix = if kind == "counter" { "_total" } else { "" };
            // Writing into a String cannot fail.
            let _ = write!(text, "# TYPE {name} {kind}\n# HELP {name} {help}\n{name}{suffix} {value}\n");
        }
        text
    }
}

fn tell(tally: &crate::Tally, health: &mut SourceHealth) {
    let counts = |reason: &str, count: &u64| ReasonCount { reason: reason.to_owned(), count: *count };
    health.records = tally.accepted;
    health.bytes = tally.bytes;
    health.duplicates = tally.duplicates;
    health.rejected = tally.rejected.iter().map(|(why, count)| counts(why.as_str(), count)).collect();
    health.refused = tally.refused.iter().map(|(why, count)| counts(why, count)).collect();
    health.dropped = tally.dropped;
    health.last_seen = Some(tally.last_seen);
}

fn state(health: &SourceHealth, silent_after_secs: Option<u32>, now: Timestamp) -> &'static str {
    let Some(seen) = health.last_seen else { return "never_seen" };
    let silence = now.since(seen);
    if silent_after_secs.is_some_and(|secs| silence > Duration::from_secs(secs.into())) {
        return "silent";
    }
    if health.records == 0 && !health.refused.is_empty() { "refusing" } else { "ok" }
}
