//! Sources, threads and the queue between them: observations in, records out. One thread for each source, one that makes
//! records. Stops when told to or when dropped.

use crate::enrich::{Enricher, Host};
use crate::lineage::Lineage;
use crate::observation::Observation;
use crate::proc;
use crate::record::Record;
use crate::source::{Ebpf, FileWatch, Meter, Mode, Outlet, ProcConnector, Source, SourceFault, WatchList};
use ids::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;

/// Observations that may wait to be made records.
const QUEUE: usize = 65_536;
/// How long an event of a file waits, so that the start of the process that caused it comes first.
const FILE_DELAY_MICROS: i64 = 60_000;
/// How often losses are looked at.
const UPKEEP_MICROS: i64 = 1_000_000;

/// How processes are to be seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// eBPF, else the proc connector.
    #[default]
    Auto,
    /// eBPF or nothing.
    Ebpf,
    /// The proc connector.
    ProcConnector,
}

/// What telemetry is taken.
#[derive(Clone, Debug)]
pub struct TelemetryOptions {
    /// How processes are seen.
    pub choice: Choice,
    /// Which files; none for no telemetry of files.
    pub files: Option<WatchList>,
    /// Programs larger than this are not hashed. Bytes.
    pub hash_bytes_max: u64,
    /// The host's name; none for the system's own.
    pub computer: Option<String>,
    /// Only what this process makes, itself included: for trials on a host that is also used otherwise. It must run when the
    /// sensor starts. None for the whole host.
    pub below: Option<u32>,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self {
            choice: Choice::Auto,
            files: Some(WatchList::default()),
            hash_bytes_max: 256 << 20,
            computer: None,
            below: None,
        }
    }
}

/// Why there is no telemetry.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// `/proc` is not there.
    #[error("the host cannot be read; mount /proc")]
    Host(#[source] std::io::Error),
    /// No way of seeing processes works.
    #[error("no telemetry of processes")]
    Source(#[source] SourceFault),
    /// No thread could be made.
    #[error("no thread can be started")]
    Thread(#[source] std::io::Error),
}

/// How one source fares.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SourceHealth {
    /// How it sees.
    pub mode: Mode,
    /// Observations since start.
    pub seen: u64,
    /// Observations lost since start.
    pub lost: u64,
    /// Why it does not see, or a better one is not used.
    pub fault: Option<String>,
}

type Faults = Arc<Mutex<Vec<(Mode, String)>>>;

/// Telemetry of this host, handed to a closure.
pub struct Local {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    meters: Vec<(Mode, Arc<Meter>)>,
    faults: Faults,
    lineage: Arc<Lineage>,
}

/// Starts sources one after the other.
struct Starter {
    stop: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
    queue: SyncSender<Observation>,
    faults: Faults,
    threads: Vec<JoinHandle<()>>,
    meters: Vec<(Mode, Arc<Meter>)>,
}

impl Starter {
    /// Start a source and wait until it sees.
    fn start(&mut self, source: Box<dyn Source>) -> Result<(), TelemetryError> {
        let mode = source.mode();
        let meter = Arc::new(Meter::default());
        let (ready, seeing) = channel();
        let (told, fault) = channel();
        let outlet = Outlet {
            queue: self.queue.clone(),
            stop: Arc::clone(&self.stop),
            meter: Arc::clone(&meter),
            ready,
            clock: Arc::clone(&self.clock),
        };
        let faults = Arc::clone(&self.faults);
        let run = move || {
            if let Err(error) = source.run(&outlet) {
                faults.lock().unwrap_or_else(PoisonError::into_inner).push((mode, error.to_string()));
                // Nobody listens where the source had been seeing before.
                drop(told.send(error));
            }
        };
        let thread = std::thread::Builder::new().name(format!("sensor-{mode:?}").to_lowercase());
        self.threads.push(thread.spawn(run).map_err(TelemetryError::Thread)?);
        // The sender goes with the thread: a source that ends before it sees wakes us too.
        if seeing.recv().is_err() {
            let ended = || SourceFault::new("seeing", "the source ended", "look at its log");
            return Err(TelemetryError::Source(fault.recv().unwrap_or_else(|_| ended())));
        }
        self.meters.push((mode, meter));
        Ok(())
    }

    fn processes(&mut self, choice: Choice) -> Result<Mode, TelemetryError> {
        if choice != Choice::ProcConnector {
            match self.start(Box::new(Ebpf)) {
                Ok(()) => return Ok(Mode::Ebpf),
                Err(error) if choice == Choice::Ebpf => return Err(error),
                Err(TelemetryError::Source(fault)) => tracing::warn!(%fault, "eBPF cannot be used, falling back"),
                Err(error) => return Err(error),
            }
        }
        self.start(Box::<ProcConnector>::default())?;
        Ok(Mode::ProcConnector)
    }
}

impl Local {
    /// See this host and hand each record to `sink`, which is called from one thread, in order.
    ///
    /// # Errors
    /// [`TelemetryError`] where processes cannot be seen; files that cannot be watched are said in the health.
    pub fn start(
        options: &TelemetryOptions,
        clock: Arc<dyn Clock>,
        sink: impl FnMut(Record) + Send + 'static,
    ) -> Result<Self, TelemetryError> {
        Self::assemble(options, clock, None, sink)
    }

    /// The same with a source of one's own instead of the host's processes: for tests.
    ///
    /// # Errors
    /// As [`Local::start`].
    pub fn start_with(
        options: &TelemetryOptions,
        clock: Arc<dyn Clock>,
        source: Box<dyn Source>,
        sink: impl FnMut(Record) + Send + 'static,
    ) -> Result<Self, TelemetryError> {
        Self::assemble(options, clock, Some(source), sink)
    }

    fn assemble(
        options: &TelemetryOptions,
        clock: Arc<dyn Clock>,
        source: Option<Box<dyn Source>>,
        sink: impl FnMut(Record) + Send + 'static,
    ) -> Result<Self, TelemetryError> {
        let boot = proc::boot_id().map_err(TelemetryError::Host)?;
        let named = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let computer = options.computer.clone().unwrap_or_else(named);
        let (queue, waiting) = sync_channel(QUEUE);
        let mut starter = Starter {
            stop: Arc::default(),
            clock: Arc::clone(&clock),
            queue,
            faults: Faults::default(),
            threads: Vec::new(),
            meters: Vec::new(),
        };
        // Whatever fails from here on, the threads so far end with this.
        let mut local = Self {
            stop: Arc::clone(&starter.stop),
            threads: Vec::new(),
            meters: Vec::new(),
            faults: Arc::clone(&starter.faults),
            lineage: Arc::default(),
        };
        let mode = match source {
            Some(source) => {
                let mode = source.mode();
                starter.start(source).map(|()| mode)
            }
            None => starter.processes(options.choice),
        };
        if mode.is_ok()
            && let Some(list) = options.files.clone()
            && let Err(error) = starter.start(Box::new(FileWatch::new(list)))
        {
            tracing::warn!(%error, "files cannot be watched");
        }
        local.threads.append(&mut starter.threads);
        local.meters = starter.meters.clone();
        let mode = mode?;
        let host = Host { computer: computer.into(), boot: boot.into() };
        let mut maker = Maker {
            enricher: Enricher::new(host, options, mode, Arc::clone(&local.lineage)),
            clock,
            sink,
            files: VecDeque::new(),
            told: local.meters.iter().map(|(mode, meter)| (*mode, Arc::clone(meter), 0)).collect(),
            upkeep_due: Timestamp::from_micros(0),
        };
        // The maker ends when the last source has let go of the queue: nothing that was seen stays behind.
        drop(starter);
        let thread = std::thread::Builder::new().name("sensor-records".to_owned());
        local.threads.push(thread.spawn(move || maker.run(&waiting)).map_err(TelemetryError::Thread)?);
        Ok(local)
    }

    /// How the sources fare.
    #[must_use]
    pub fn health(&self) -> Vec<SourceHealth> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |mode| faults.iter().find(|(faulty, _)| *faulty == mode).map(|(_, fault)| fault.clone());
        let mut all: Vec<SourceHealth> = self
            .meters
            .iter()
            .map(|(mode, meter)| SourceHealth {
                mode: *mode,
                seen: meter.seen.load(Ordering::Relaxed),
                lost: meter.lost.load(Ordering::Relaxed),
                fault: of(*mode),
            })
            .collect();
        let started = |mode| self.meters.iter().any(|(one, _)| *one == mode);
        let failed = faults.iter().filter(|(mode, _)| !started(*mode));
        all.extend(failed.map(|(mode, fault)| SourceHealth {
            mode: *mode,
            seen: 0,
            lost: 0,
            fault: Some(fault.clone()),
        }));
        all
    }

    /// Who made whom on this host, as far as was seen.
    #[must_use]
    pub fn lineage(&self) -> Arc<Lineage> {
        Arc::clone(&self.lineage)
    }

    /// Stop, and wait until what was seen so far went through the sink.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the sensor panicked");
            }
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("health", &self.health()).finish_non_exhaustive()
    }
}

/// The thread that makes records.
struct Maker<S> {
    enricher: Enricher,
    clock: Arc<dyn Clock>,
    sink: S,
    /// Events of files that wait.
    files: VecDeque<Observation>,
    /// Losses that records have told of already.
    told: Vec<(Mode, Arc<Meter>, u64)>,
    upkeep_due: Timestamp,
}

impl<S: FnMut(Record)> Maker<S> {
    fn run(&mut self, waiting: &Receiver<Observation>) {
        loop {
            match waiting.recv_timeout(Duration::from_millis(20)) {
                Ok(observation @ Observation::File(_)) => self.files.push_back(observation),
                Ok(observation) => self.make(observation),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = self.clock.now().as_micros();
            self.files_until(now.saturating_sub(FILE_DELAY_MICROS));
            if now >= self.upkeep_due.as_micros() {
                self.upkeep_due = Timestamp::from_micros(now.saturating_add(UPKEEP_MICROS));
                self.losses();
            }
        }
        self.files_until(i64::MAX);
        self.losses();
    }

    fn make(&mut self, observation: Observation) {
        if let Some(record) = self.enricher.record(observation) {
            (self.sink)(record);
        }
    }

    fn files_until(&mut self, micros: i64) {
        let due = |first: &Observation| matches!(first, Observation::File(change) if change.at.as_micros() <= micros);
        while self.files.front().is_some_and(due) {
            let Some(observation) = self.files.pop_front() else { break };
            self.make(observation);
        }
    }

    fn losses(&mut self) {
        let at = self.clock.now();
        for (mode, meter, told) in &mut self.told {
            let lost = meter.lost.load(Ordering::Relaxed);
            if lost > *told {
                let record = self.enricher.loss(at, *mode, lost.saturating_sub(*told));
                *told = lost;
                (self.sink)(record);
            }
        }
    }
}
