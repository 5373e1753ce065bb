//! The way from the log to the lake: one thread reads batches, workers turn them into rows, one thread puts these in
//! the log's order and lets the lake write them with the log's position. Queues between them are bounded: where the
//! lake is slow the log grows, and where that grows too far senders are told to wait.

use super::correlate::Correlations;
use super::fare::Fares;
use super::finding::Finding;
use super::notice::{KIND_NOTICE, Notice, Watch};
use super::retro::{Afterwards, KIND_FOUND};
use super::setup::Tenants;
use super::spared::Spared;
use super::transform::{Portion, Transform};
use crate::{KIND_BATCH, Stored};
use ids::{Clock, TenantId};
use journal::{Frame, Item, Journal, Position, ReadError, Reader};
use lake::{Chunk, HotSize, Writer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The name of the log's cursor in the catalog.
pub(crate) const CURSOR: &str = "journal";
/// The name under which the catalog keeps when each source was last heard.
pub(crate) const FARES: &str = "fares";
/// The cursor with what exceptions held back.
pub(crate) const SPARED: &str = "exceptions";
const CURSOR_VERSION: u8 = 1;
/// Records and bytes of one piece of work; a batch is never split.
const WORK_RECORDS: usize = 4_096;
/// See [`WORK_RECORDS`].
const WORK_BYTES: usize = 1 << 20;
/// After a small piece of work the reader waits so long, that pieces do not get smaller than they need to be.
const GATHER: Duration = Duration::from_millis(50);
/// How long the reader sleeps where nothing comes and nobody wakes it.
const IDLE: Duration = Duration::from_millis(250);
/// How often it is looked at what has not happened: sources that fell silent, windows that end without an event.
const LOOK: Duration = Duration::from_secs(1);
/// After a failed flush or read.
const RETRY: Duration = Duration::from_secs(2);

/// Bounds of the way from the log to the lake.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Threads that parse, map and match. Default: the machine's, at most 8.
    pub workers: usize,
    /// Rows in memory after which a file is written. Default 200,000: what is counted of their entities takes as much
    /// memory again.
    pub flush_rows: usize,
    /// Bytes in memory after which a file is written. Default 128 MiB.
    pub flush_bytes: usize,
    /// How old rows in memory get. Default 60 s.
    pub flush_after: Duration,
    /// Bytes in memory beside those that are being written at which reading stops. Default 192 MiB.
    pub hot_bytes_max: usize,
}

impl Default for Pace {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8);
        Self {
            workers,
            flush_rows: 200_000,
            flush_bytes: 128 << 20,
            flush_after: Duration::from_secs(60),
            hot_bytes_max: 192 << 20,
        }
    }
}

/// Who wants to know of findings as they are made. Called in the log's order, after the finding can be found in the
/// lake; reading the log again after a crash tells the same findings again, with the same ids.
pub trait FindingSink: Send + Sync {
    /// A finding. Must not block for long: the pipeline waits.
    fn found(&self, finding: Finding);
}

/// What the threads share with the plane.
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tenants: Tenants,
    pub(crate) fares: Mutex<Fares>,
    /// What exceptions held back.
    pub(crate) spared: Mutex<Spared>,
    pub(crate) sink: Option<Arc<dyn FindingSink>>,
    pub(crate) pace: Pace,
    /// Whether reading the log may begin; and who waits for it.
    pub(crate) begun: Mutex<bool>,
    pub(crate) begins: Condvar,
    pub(crate) stop: AtomicBool,
    /// Batches whose rows can be found, and findings made.
    pub(crate) batches: AtomicU64,
    pub(crate) findings: AtomicU64,
    /// Places of the log that could not be read.
    pub(crate) damaged: AtomicU64,
    /// Up to where the log's rows can be found.
    pub(crate) position: watch::Sender<Position>,
    /// Up to where they are in files.
    pub(crate) in_files: Mutex<Position>,
    /// Somebody wants what is in memory in files now.
    pub(crate) flush_asked: AtomicBool,
    /// Tenants of whom nothing is to be remembered.
    pub(crate) forgotten: Mutex<Vec<TenantId>>,
    /// What is wrong for good, or now.
    pub(crate) trouble: Mutex<Option<String>>,
    pub(crate) flushes: AtomicU64,
}

impl Shared {
    pub(crate) fn spared(&self) -> std::sync::MutexGuard<'_, Spared> {
        self.spared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fares(&self) -> std::sync::MutexGuard<'_, Fares> {
        self.fares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn trouble(&self, what: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    pub(crate) fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// Wait until the log's rows up to a place can be found.
    pub(crate) async fn reach(&self, place: Position) {
        // The sender is this very value: it is not gone while somebody waits.
        let _ = self.position.subscribe().wait_for(|reached| *reached >= place).await;
    }

    pub(crate) fn in_files(&self) -> Position {
        *self.in_files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Let the log be read.
    pub(crate) fn begin(&self) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.begins.notify_all();
    }

    /// Let reading end where the log ends, or at once where it has not begun.
    pub(crate) fn end(&self) {
        // Under the lock, so that a reader between its look and its wait does not miss it.
        let _begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.store(true, Ordering::Release);
        self.begins.notify_all();
    }

    /// Wait until the log may be read; whether it may.
    fn begins(&self) -> bool {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |begun: &mut bool| !*begun && !self.stopping();
        *self.begins.wait_while(begun, waits).unwrap_or_else(PoisonError::into_inner)
    }
}

struct Work {
    number: u64,
    frames: Vec<Frame>,
    next: Position,
}

struct Done {
    number: u64,
    next: Position,
    batches: u64,
    portion: Portion,
}

/// The running threads.
pub(crate) struct Threads {
    all: Vec<JoinHandle<()>>,
}

/// A position as the catalog keeps it.
pub(crate) fn encode(position: Position) -> Vec<u8> {
    let mut bytes = vec![CURSOR_VERSION];
    bytes.extend_from_slice(&position.segment.to_be_bytes());
    bytes.extend_from_slice(&position.offset.to_be_bytes());
    bytes
}

/// Read what [`encode`] wrote.
pub(crate) fn decode(bytes: &[u8]) -> Option<Position> {
    let (version, rest) = bytes.split_first()?;
    let (segment, offset) = rest.split_first_chunk::<8>()?;
    let offset = offset.first_chunk::<8>().filter(|_| offset.len() == 8 && *version == CURSOR_VERSION)?;
    Some(Position { segment: u64::from_be_bytes(*segment), offset: u64::from_be_bytes(*offset) })
}

/// Start reading at `from`.
pub(crate) fn start(
    shared: &Arc<Shared>,
    journal: &Journal,
    writer: Writer,
    from: Position,
    runtime: tokio::runtime::Handle,
) -> std::io::Result<Threads> {
    let workers = shared.pace.workers.max(1);
    let (to_workers, work) = sync_channel::<Work>(workers);
    let (to_writer, done) = sync_channel::<Done>(workers);
    let work = Arc::new(Mutex::new(work));
    let mut all = Vec::new();
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(format!("posse-{name}")).spawn(body)
    };
    let (own, log) = (Arc::clone(shared), journal.clone());
    all.push(spawn("log-reader", Box::new(move || read(&own, &log, from, &to_workers)))?);
    for number in 0..workers {
        let (own, work, to_writer) = (Arc::clone(shared), Arc::clone(&work), to_writer.clone());
        all.push(spawn(&format!("transform-{number}"), Box::new(move || transform(&own, &work, &to_writer)))?);
    }
    drop(to_writer);
    let mut writing = Writing {
        shared: Arc::clone(shared),
        journal: journal.clone(),
        writer,
        runtime,
        correlations: Correlations::default(),
        watch: Watch::new(shared.clock.now()),
        look_at: Instant::now() + LOOK,
        next: from,
        flushed: from,
        since: Instant::now(),
        flight: None,
        wait_until: None,
    };
    all.push(spawn("lake-writer", Box::new(move || writing.run(&done)))?);
    Ok(Threads { all })
}

impl Threads {
    /// Wait until everything that the log holds is in files. The caller has closed the log.
    pub(crate) fn join(self) {
        for thread in self.all {
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

/// Read the log to its end, then wait for more; ends when it is told to and nothing is left.
fn read(shared: &Shared, journal: &Journal, from: Position, out: &SyncSender<Work>) {
    if !shared.begins() {
        return;
    }
    let mut reader = journal.reader(from);
    let mut sent = from;
    for number in 0.. {
        let work = loop {
            let durable = journal.durable();
            match gather(shared, &mut reader) {
                Ok(Some((frames, next))) => break Work { number, frames, next },
                // The log may end in a segment without entries: that is read, too.
                Ok(None) if durable > sent => break Work { number, frames: Vec::new(), next: durable },
                Ok(None) if shared.stopping() => return,
                Ok(None) => {
                    // That the log stopped is told by whoever appends to it.
                    if journal.tail(reader.position()).wait(IDLE).is_err() {
                        std::thread::sleep(GATHER);
                    }
                }
                Err(ReadError::Gone { oldest, .. }) => {
                    tracing::error!(%oldest, "the log begins after the place up to which the lake has it");
                    shared.damaged.fetch_add(1, Ordering::Relaxed);
                    reader = journal.reader(Position { segment: oldest, offset: 0 });
                }
                Err(error) => {
                    tracing::warn!(%error, "the log cannot be read; trying again");
                    if shared.stopping() {
                        return;
                    }
                    std::thread::sleep(RETRY);
                    reader = journal.reader(reader.position());
                }
            }
        };
        sent = work.next;
        let small = work.frames.len() < 64;
        if out.send(work).is_err() {
            return;
        }
        if small && !shared.stopping() {
            std::thread::sleep(GATHER);
        }
    }
}

/// The batches that are there, up to the bounds of one piece of work.
fn gather(shared: &Shared, reader: &mut Reader) -> Result<Option<(Vec<Frame>, Position)>, ReadError> {
    let (mut frames, mut bytes) = (Vec::new(), 0_usize);
    while frames.len() < WORK_RECORDS && bytes < WORK_BYTES {
        match reader.next()? {
            None => break,
            Some(Item::Damaged(damage)) => {
                tracing::error!(?damage, "a part of the log cannot be read");
                shared.damaged.fetch_add(1, Ordering::Relaxed);
            }
            Some(Item::Frame(frame)) => {
                bytes = bytes.saturating_add(frame.payload.len());
                frames.push(frame);
            }
        }
    }
    let next = frames.last().map(|frame: &Frame| frame.next);
    Ok(next.map(|next| (frames, next)))
}

/// Turn batches into rows until there are no more.
fn transform(shared: &Shared, work: &Mutex<Receiver<Work>>, out: &SyncSender<Done>) {
    let mut transform = Transform::new();
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Work { number, frames, next }) = next else { return };
        let tenants = shared.tenants.now();
        let mut portion = Portion::default();
        let mut batches = 0;
        for frame in frames.iter().filter(|frame| frame.kind == KIND_NOTICE) {
            match Notice::decode(&frame.payload) {
                Some(notice) => notice.append(frame.position, &mut portion),
                None => {
                    tracing::error!(position = %frame.position, "a notice in the log cannot be read");
                    shared.damaged.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        for frame in frames.iter().filter(|frame| frame.kind == KIND_FOUND) {
            match Afterwards::decode(&frame.payload) {
                Some(found) => found.append(frame.position, &mut portion),
                None => {
                    tracing::error!(position = %frame.position, "findings in the log cannot be read");
                    shared.damaged.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        for frame in frames.iter().filter(|frame| frame.kind == KIND_BATCH) {
            match Stored::decode(&frame.payload) {
                Ok(stored) => {
                    let sampled = shared.fares().sampled(&stored.source);
                    transform.batch(frame, &stored, &tenants, sampled, &mut portion);
                    batches += 1;
                }
                Err(error) => {
                    tracing::error!(%error, position = %frame.position, "a batch in the log cannot be read");
                    shared.damaged.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if out.send(Done { number, next, batches, portion }).is_err() {
            return;
        }
    }
}

/// Where a flush ends, and what its cursor was.
type Flight = (Receiver<Result<(), String>>, Position);

struct Writing {
    shared: Arc<Shared>,
    journal: Journal,
    writer: Writer,
    runtime: tokio::runtime::Handle,
    correlations: Correlations,
    watch: Watch,
    /// When it is looked next at what has not happened.
    look_at: Instant,
    /// Up to where the lake has the log, in memory or in files.
    next: Position,
    /// Up to where it is in files.
    flushed: Position,
    /// When the oldest row in memory came, or the last flush was begun.
    since: Instant,
    flight: Option<Flight>,
    wait_until: Option<Instant>,
}

impl Writing {
    fn run(&mut self, done: &Receiver<Done>) {
        let mut early: BTreeMap<u64, Done> = BTreeMap::new();
        let mut expected = 0_u64;
        loop {
            match done.recv_timeout(Duration::from_millis(100)) {
                Ok(one) => {
                    early.insert(one.number, one);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Some(one) = early.remove(&expected) {
                expected += 1;
                self.take(one);
            }
            if early.is_empty() && Instant::now() >= self.look_at {
                self.look();
            }
            self.flush_where_due();
            while self.writer.hot().bytes > self.shared.pace.hot_bytes_max && !self.shared.stopping() {
                self.flush_where_due();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.finish();
    }

    /// Look at what has not happened. Only where the log is read to its end: what is still to come may have it.
    fn look(&mut self) {
        self.look_at = Instant::now() + LOOK;
        let forgotten = std::mem::take(&mut *self.shared.forgotten.lock().unwrap_or_else(PoisonError::into_inner));
        forgotten.into_iter().for_each(|tenant| self.correlations.forget(tenant));
        if self.next < self.journal.durable() || self.shared.stopping() {
            return;
        }
        let (now, tenants) = (self.shared.clock.now(), self.shared.tenants.now());
        self.watch.look(&tenants, &self.shared.fares(), &self.journal, now);
        let (mut chunk, mut findings) = (Chunk::new(), Vec::new());
        let writer = &self.writer;
        let stored = |name: &str| writer.cursor(name).map(<[u8]>::to_vec);
        self.correlations.advance(&tenants, now, &stored, &mut chunk, &mut findings);
        if chunk.rows() > 0 {
            self.writer.add(chunk);
        }
        self.tell(findings);
    }

    fn tell(&self, findings: Vec<Finding>) {
        self.shared.findings.fetch_add(u64::try_from(findings.len()).unwrap_or(0), Ordering::Relaxed);
        if let Some(sink) = &self.shared.sink {
            findings.into_iter().for_each(|finding| sink.found(finding));
        }
    }

    fn take(&mut self, one: Done) {
        let Done { next, batches, portion, .. } = one;
        let Portion { chunk, shares, sighted, mut findings, notices, spared } = portion;
        if self.writer.hot().rows == 0 {
            self.since = Instant::now();
        }
        self.writer.add(chunk);
        if !sighted.is_empty() {
            let mut more = Chunk::new();
            let writer = &self.writer;
            let stored = |name: &str| writer.cursor(name).map(<[u8]>::to_vec);
            let tenants = self.shared.tenants.now();
            self.correlations.observe(&tenants, &sighted, &stored, &mut more, &mut findings);
            self.writer.add(more);
        }
        self.next = next;
        self.shared.position.send_replace(next);
        let now = self.shared.clock.now();
        let mut fares = self.shared.fares();
        for (source, share) in shares {
            fares.add(&source, share, now);
        }
        notices.iter().for_each(|notice| fares.told(notice));
        drop(fares);
        self.shared.spared().add(spared);
        self.shared.batches.fetch_add(batches, Ordering::Relaxed);
        self.tell(findings);
    }

    fn flush_where_due(&mut self) {
        self.land();
        if self.flight.is_some() || self.wait_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let HotSize { rows, bytes } = self.writer.hot();
        let pace = &self.shared.pace;
        let asked = self.shared.flush_asked.load(Ordering::Acquire);
        let due = rows >= pace.flush_rows || bytes >= pace.flush_bytes || self.since.elapsed() >= pace.flush_after;
        if (due && self.next > self.flushed) || (asked && (rows > 0 || self.next > self.flushed)) {
            self.take_off();
        }
        if asked {
            // Whoever asked looks at where it has got to, and asks again.
            self.shared.flush_asked.store(false, Ordering::Release);
        }
    }

    fn take_off(&mut self) {
        let mut cursors = vec![(CURSOR.to_owned(), encode(self.next))];
        cursors.extend(self.correlations.cursors());
        cursors.push((FARES.to_owned(), self.shared.fares().stored(&self.shared.tenants.now())));
        cursors.push((SPARED.to_owned(), self.shared.spared().stored()));
        let Ok(flush) = self.writer.start_flush(cursors) else { return };
        let (tell, landed) = sync_channel(1);
        self.runtime.spawn(async move {
            let outcome = flush.run().await.map(|_| ()).map_err(|error| error_text(&error));
            // Nobody waits where the threads have ended.
            let _ = tell.send(outcome);
        });
        self.flight = Some((landed, self.next));
        self.since = Instant::now();
    }

    /// Look whether the flush has ended.
    fn land(&mut self) {
        let Some((landed, position)) = &self.flight else { return };
        let position = *position;
        match landed.try_recv() {
            Ok(outcome) => self.landed(outcome, position),
            Err(std::sync::mpsc::TryRecvError::Empty) => {}
            Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                self.landed(Err("the flush was cut off".to_owned()), position);
            }
        }
    }

    fn landed(&mut self, outcome: Result<(), String>, position: Position) {
        self.flight = None;
        match outcome {
            Ok(()) => {
                self.flushed = position;
                *self.shared.in_files.lock().unwrap_or_else(PoisonError::into_inner) = position;
                self.wait_until = None;
                self.shared.trouble(None);
                self.shared.flushes.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = self.journal.retain_from(position) {
                    tracing::warn!(%error, "old parts of the log cannot be removed");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the lake cannot write; trying again");
                self.shared.trouble(Some(format!("the lake cannot write: {error}")));
                self.wait_until = Some(Instant::now() + RETRY);
            }
        }
    }

    /// The log has ended: write what is in memory.
    fn finish(&mut self) {
        for _ in 0..3 {
            while let Some((landed, position)) = self.flight.take() {
                let outcome = landed.recv().unwrap_or_else(|_| Err("the flush was cut off".to_owned()));
                self.landed(outcome, position);
            }
            if self.next <= self.flushed {
                return;
            }
            self.take_off();
        }
        if let Some((landed, position)) = self.flight.take() {
            let outcome = landed.recv().unwrap_or_else(|_| Err("the flush was cut off".to_owned()));
            self.landed(outcome, position);
        }
    }
}

/// An error with what caused it.
pub(crate) fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_others_do_not() {
        let position = Position { segment: 7, offset: 4_096 };
        assert_eq!(decode(&encode(position)), Some(position));
        assert_eq!(decode(b""), None);
        assert_eq!(decode(&[1; 16]), None);
        assert_eq!(decode(&[2; 17]), None);
    }
}
