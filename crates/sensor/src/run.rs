//! The sensor as a service: telemetry into the spool, the spool to the platform, tasks from the platform, heartbeats, and
//! the keeper of the isolation. Each is a task of its own, so that none waits for another; the platform being away
//! stops none of them.

use crate::platform::{Backoff, Platform, PlatformError};
use crate::source::Source;
use crate::spool::{Spool, SpoolError};
use crate::state::{Identity, State, StateError, host_facts};
use crate::task::isolate::{Firewall, Isolation};
use crate::task::{Hands, Ledger, Verdict, believe, chunk, forget};
use crate::telemetry::{Local, TelemetryError, TelemetryOptions};
use crate::uplink::Uplink;
use crate::wire::{
    Base64, Enrol, Health, Heartbeat, Outcome, SignedResult, SignedTask, Task, TaskResult, UplinkHealth, WIRE_VERSION,
    Work,
};
use egress::{Destination, Failure};
use http::StatusCode;
use ids::{Clock, Entropy, SensorId, SensorTaskId, Timestamp};
use seal::SigningKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Lines that may wait for the spool.
const LINES_WAITING: usize = 16_384;
/// Bytes of lines after which a batch is closed.
const BATCH_BYTES: usize = 512 << 10;
/// How long a batch waits for more lines: what is added to every detection.
const LINGER: Duration = Duration::from_millis(100);
/// How often it is looked whether the isolation is as it should be.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// The longest pause of our own choice between attempts to fetch tasks.
const TASKS_PAUSE_MAX: Duration = Duration::from_secs(30);
/// The least pause between two fetches, should the platform not keep the question open.
const TASKS_PAUSE: Duration = Duration::from_millis(250);
const STATUS: &str = "status.json";

/// How a sensor is to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of its identity, spool and state; only its owner may enter it.
    pub state: PathBuf,
    /// What it sees.
    pub telemetry: TelemetryOptions,
    /// Bytes that the spool may have on disk, at least 4 MiB.
    pub spool_bytes_max: u64,
    /// How often it says how it is.
    pub heartbeat_every: Duration,
    /// What sets the firewall.
    pub firewall: Firewall,
}

impl Config {
    /// A configuration with everything but the state folder as usual: 1 GiB of spool, a heartbeat each 30 s.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            telemetry: TelemetryOptions::default(),
            spool_bytes_max: 1 << 30,
            heartbeat_every: Duration::from_secs(30),
            firewall: Firewall::default(),
        }
    }
}

/// Why a sensor does not run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The platform's address.
    #[error("the platform's address cannot be used")]
    Address(#[source] Failure),
    /// The platform does not enrol it.
    #[error("the platform does not enrol this host")]
    Enrol(#[source] PlatformError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// A part of it ended unexpectedly.
    #[error("a part of the sensor ended: {0}")]
    Stopped(String),
    /// It sees nothing.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// Enrol this host with a one-time token; keeps who it is in the state folder.
///
/// # Errors
/// [`RunError::State`] where it is enrolled already; [`RunError::Enrol`] where the platform refuses.
pub async fn enrol(state: &Path, platform: &str, token: &str, entropy: &dyn Entropy) -> Result<SensorId, RunError> {
    let state = State::open(state)?;
    state.not_enrolled_yet()?;
    let key = SigningKey::generate(entropy);
    let public_key = Base64(key.verifying_key().to_bytes());
    let enrol = Enrol { version: WIRE_VERSION, public_key, host: host_facts() };
    let client = Platform::new(platform, Vec::new()).map_err(RunError::Address)?;
    let enrolled = client.enrol(token, &enrol).await.map_err(RunError::Enrol)?;
    let sensor = enrolled.sensor;
    state.enrolled(platform, &key, enrolled)?;
    Ok(sensor)
}

/// What a state folder says about its sensor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Who it is.
    pub sensor: SensorId,
    /// Its platform.
    pub platform: String,
    /// When it last wrote how it is.
    pub at: Option<Timestamp>,
    /// How it was then.
    pub health: Option<Health>,
}

/// What a state folder says about its sensor, running or not.
///
/// # Errors
/// [`RunError::State`].
pub fn status(state: &Path) -> Result<Status, RunError> {
    let state = State::open(state)?;
    let identity = state.identity()?;
    let last: Option<(Timestamp, Health)> = state.read(STATUS)?;
    let (at, health) = last.unzip();
    Ok(Status { sensor: identity.enrolled.sensor, platform: identity.platform, at, health })
}

/// Run until `stop` resolves. What was seen by then is on disk when this returns.
///
/// # Errors
/// [`RunError`] where it cannot start, or a part of it ended.
pub async fn run(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    run_with(config, None, clock, entropy, stop).await
}

/// The same with a source of one's own instead of the host's processes: for tests.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    config: Config,
    source: Option<Box<dyn Source>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    let state = State::open(&config.state)?;
    let identity = Arc::new(state.identity()?);
    let ledger = Ledger::open(state.clone())?;
    let isolation = Arc::new(Isolation::new(state.clone(), config.firewall.clone()));
    // First of all: a host that should be cut off is not open while the rest starts.
    keep(&isolation, &*clock).await;
    let platform = Platform::new(&identity.platform, isolation.remembered()).map_err(RunError::Address)?;
    resolve(&identity.platform, &isolation).await;
    let (spool, cursor) = Spool::open(&config.state.join("spool"), config.spool_bytes_max.max(4 << 20), &*entropy)?;
    let spool = Arc::new(spool);
    let (lines, waiting) = mpsc::channel(LINES_WAITING);
    let sink = move |record: crate::Record| {
        // The channel is closed only after this thread ended.
        drop(lines.blocking_send(record.line()));
    };
    let options = config.telemetry.clone();
    let telemetry_clock = Arc::clone(&clock);
    let start = move || match source {
        Some(source) => Local::start_with(&options, telemetry_clock, source, sink),
        None => Local::start(&options, telemetry_clock, sink),
    };
    let local = tokio::task::spawn_blocking(start).await.map_err(|error| RunError::Stopped(error.to_string()))??;
    let local = Arc::new(local);
    let batches = tokio::spawn(batch(waiting, Arc::clone(&spool)));
    let started_at = clock.now();
    let health = Arc::new(Mutex::new(UplinkHealth::default()));
    let service = Service {
        config,
        state: state.clone(),
        platform,
        identity,
        spool: Arc::clone(&spool),
        isolation,
        clock,
        entropy,
        local: Arc::clone(&local),
        uplink: health,
        started_at,
    };
    let ended = tokio::select! {
        () = stop => Ok(()),
        error = service.uplink(cursor) => Err(error),
        error = service.tasks(ledger) => Err(error),
        () = service.heartbeats() => Ok(()),
        () = service.keeper() => Ok(()),
    };
    service.note();
    drop(service);
    // Sources stop, what they saw goes through the batches onto the disk, then the spool is closed.
    let stopped = tokio::task::spawn_blocking(move || drop(local)).await;
    let batched = batches.await;
    spool.close();
    stopped.and(batched).map_err(|error| RunError::Stopped(error.to_string()))?;
    ended
}

/// Lines into batches into the spool, until the channel ends.
async fn batch(mut waiting: mpsc::Receiver<Vec<u8>>, spool: Arc<Spool>) {
    while let Some(first) = waiting.recv().await {
        let (mut bytes, mut records) = (first, 1_u64);
        let due = Instant::now() + LINGER;
        while bytes.len() < BATCH_BYTES {
            let Ok(Some(line)) = timeout_at(due, waiting.recv()).await else { break };
            bytes.extend_from_slice(&line);
            records = records.saturating_add(1);
        }
        if !spool.append(&bytes, records).await {
            tracing::warn!(records, "records found no place in the spool");
        }
    }
}

async fn keep(isolation: &Arc<Isolation>, clock: &dyn Clock) {
    let (isolation, now) = (Arc::clone(isolation), clock.now());
    match tokio::task::spawn_blocking(move || isolation.keep(now)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::error!(%error, "the isolation is not as it should be"),
        Err(error) => tracing::error!(%error, "the isolation could not be looked at"),
    }
}

/// Learn where the platform is, for the day the host is cut off.
async fn resolve(platform: &str, isolation: &Isolation) {
    let Ok(place) = Destination::of(platform) else { return };
    let host = place.host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let found: BTreeSet<_> = match host.parse::<IpAddr>() {
        Ok(address) => BTreeSet::from([(address, place.port).into()]),
        Err(_) => tokio::net::lookup_host((host, place.port)).await.into_iter().flatten().collect(),
    };
    isolation.platform_at(found);
}

struct Service {
    config: Config,
    state: State,
    platform: Platform,
    identity: Arc<Identity>,
    spool: Arc<Spool>,
    isolation: Arc<Isolation>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    local: Arc<Local>,
    uplink: Arc<Mutex<UplinkHealth>>,
    started_at: Timestamp,
}

impl Service {
    async fn uplink(&self, from: journal::Position) -> RunError {
        let uplink = Uplink {
            platform: self.platform.clone(),
            identity: Arc::clone(&self.identity),
            spool: Arc::clone(&self.spool),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            health: Arc::clone(&self.uplink),
        };
        match uplink.run(from).await {
            Ok(()) => RunError::Stopped("uplink".to_owned()),
            Err(error) => error.into(),
        }
    }

    fn health(&self) -> Health {
        Health {
            started_at: self.started_at,
            sources: self.local.health(),
            spool: self.spool.health(),
            uplink: self.uplink.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            isolated_until: self.isolation.until(),
        }
    }

    /// Write how the sensor is into its folder.
    fn note(&self) {
        if let Err(error) = self.state.write(STATUS, &Some((self.clock.now(), self.health()))) {
            tracing::warn!(%error, "the status cannot be written");
        }
    }

    async fn heartbeats(&self) {
        loop {
            self.note();
            let heartbeat =
                Heartbeat { version: WIRE_VERSION, at: self.clock.now(), health: self.health(), host: host_facts() };
            if let Err(error) = self.platform.heartbeat(&self.identity, &heartbeat).await {
                tracing::debug!(%error, "a heartbeat was not taken");
            }
            tokio::time::sleep(self.config.heartbeat_every).await;
            if self.isolation.until().is_none() {
                resolve(&self.identity.platform, &self.isolation).await;
            }
        }
    }

    async fn keeper(&self) {
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            keep(&self.isolation, &*self.clock).await;
        }
    }

    async fn tasks(&self, mut ledger: Ledger) -> RunError {
        let mut backoff = Backoff::new(TASKS_PAUSE_MAX);
        loop {
            let pause = match self.platform.tasks(&self.identity).await {
                Ok(tasks) => {
                    backoff.reset();
                    for signed in &tasks.tasks {
                        if let Err(error) = self.task(&mut ledger, signed).await {
                            return error;
                        }
                    }
                    TASKS_PAUSE
                }
                Err(error) => {
                    tracing::debug!(%error, "tasks cannot be fetched");
                    backoff.pause(&error, &*self.entropy)
                }
            };
            for (id, result) in ledger.untold() {
                if self.tell(id, &result).await
                    && let Err(error) = ledger.told(id)
                {
                    return error.into();
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Do a task, unless it is not believed or was done.
    async fn task(&self, ledger: &mut Ledger, signed: &SignedTask) -> Result<(), RunError> {
        let sensor = self.identity.enrolled.sensor;
        let started_at = self.clock.now();
        let task = match believe(signed, &self.identity.task_key, sensor, started_at) {
            Ok(task) => task,
            Err(disbelief) => {
                tracing::error!(%disbelief, "a task is not believed");
                return Ok(());
            }
        };
        let outcome = match ledger.begin(&task, started_at)? {
            Verdict::Tell(result) => {
                if self.tell(task.id, &result).await {
                    ledger.told(task.id)?;
                }
                return Ok(());
            }
            Verdict::Full => {
                tracing::error!(task = %task.id, "too many tasks are remembered");
                return Ok(());
            }
            Verdict::Begin => self.work(&task, started_at).await,
        };
        let finished_at = self.clock.now();
        let result = TaskResult { version: WIRE_VERSION, task: task.id, sensor, started_at, finished_at, outcome };
        match SignedResult::sign(&result, &self.identity.key) {
            Ok(signed) => Ok(ledger.done(task.id, signed)?),
            Err(fault) => Err(RunError::Stopped(fault.to_string())),
        }
    }

    async fn work(&self, task: &Task, now: Timestamp) -> Outcome {
        if matches!(task.work, Work::HostIsolate { .. }) {
            resolve(&self.identity.platform, &self.isolation).await;
        }
        let hands =
            Hands { state: self.state.clone(), isolation: Arc::clone(&self.isolation), lineage: self.local.lineage() };
        let work = task.clone();
        let done = tokio::task::spawn_blocking(move || hands.work(&work, now)).await;
        done.unwrap_or_else(|error| Outcome::Failed {
            reason: format!("the task came to no end: {error}"),
            details: serde_json::Value::Null,
        })
    }

    /// Tell a result, and before it the parts of a collected file. True once the platform has it or does not want it.
    async fn tell(&self, id: SensorTaskId, result: &SignedResult) -> bool {
        let told = match self.chunks(id).await {
            Ok(()) => self.platform.result(&self.identity, id, result).await,
            Err(error) => Err(error),
        };
        let over = match told {
            Ok(()) => true,
            Err(PlatformError::Refused { status, .. }) => {
                matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE)
            }
            Err(error) => {
                tracing::debug!(%error, task = %id, "a result was not taken");
                false
            }
        };
        if over {
            forget(&self.state, id);
        }
        over
    }

    async fn chunks(&self, id: SensorTaskId) -> Result<(), PlatformError> {
        let mut index = 0;
        // Without a collected file there is nothing to open.
        while let Ok(Some(bytes)) = chunk(&self.state, id, index) {
            self.platform.chunk(&self.identity, id, index, bytes).await?;
            index += 1;
        }
        Ok(())
    }
}
