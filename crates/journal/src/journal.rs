//! The threaded journal: many appenders, one writer. While one group is being synced the next one gathers, so the
//! number of syncs follows the disk and not the number of appenders. Spawns exactly one thread.

use crate::cause::{AppendError, Cause, OpenError, ReadError, Step};
use crate::disk::{Disk, Folder};
use crate::entry::{Entry, Options, Position};
use crate::reader::{Reader, Retained};
use crate::recover::Recovery;
use crate::segment;
use crate::ticket::{Promise, Ticket, pair};
use crate::writer::{Writer, check};
use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An open journal. Clones are the same journal; the last one dropped closes it.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held until the thread has ended.
    _lock: Lock,
}

struct Lock(#[expect(dead_code, reason = "held for its drop")] Box<dyn Send + Sync>);

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

struct Shared {
    disk: Arc<dyn Disk>,
    options: Options,
    state: Mutex<State>,
    /// Tells the writer of work, and blocked tails of progress.
    changed: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    queue: VecDeque<(Entry, Promise)>,
    queued_bytes: usize,
    /// Somebody wants the segment closed.
    roll: bool,
    phase: Phase,
    salt: u64,
    durable: Position,
    tails: Vec<Waker>,
    appended: u64,
    duplicates: u64,
    syncs: u64,
    batches: usize,
}

#[derive(Clone, Debug)]
enum Phase {
    Running,
    /// The writer drains the queue and ends.
    Closing,
    Closed,
    Poisoned(Cause),
}

impl Phase {
    fn refusal(&self) -> Option<AppendError> {
        match self {
            Self::Running => None,
            Self::Closing | Self::Closed => Some(AppendError::Closed),
            Self::Poisoned(cause) => Some(AppendError::Poisoned(cause.clone())),
        }
    }
}

/// How the journal fares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// The end of what is durable.
    pub durable: Position,
    /// Payload bytes that wait for the writer.
    pub queued_bytes: usize,
    /// Entries acknowledged since open, without duplicates.
    pub appended: u64,
    /// Entries acknowledged as duplicates since open.
    pub duplicates: u64,
    /// Groups synced since open or the last reopen.
    pub syncs: u64,
    /// Batch ids remembered.
    pub batches: usize,
    /// Why nothing is acknowledged any more.
    pub poisoned: Option<Cause>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, tails: Vec<Waker>) {
        self.changed.notify_all();
        tails.into_iter().for_each(Waker::wake);
    }

    /// Stop for good (until reopened): whoever waits is told.
    fn stop(&self, phase: Phase) {
        let error = phase.refusal().unwrap_or(AppendError::Closed);
        let (queue, tails) = {
            let mut state = self.state();
            state.phase = phase;
            state.queued_bytes = 0;
            (std::mem::take(&mut state.queue), std::mem::take(&mut state.tails))
        };
        for (_, promise) in queue {
            promise.resolve(Err(error.clone()));
        }
        self.notify(tails);
    }
}

impl Journal {
    /// Open the journal in a folder, creating it where there is none.
    ///
    /// # Errors
    /// [`OpenError::InUse`] where another handle has it; a failed file operation; a newer format.
    pub fn open(folder: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        let disk = Folder::open(folder).step(|| "opening of the journal's folder".to_owned())?;
        Self::open_on(Arc::new(disk), options)
    }

    /// Open the journal on a disk.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Recovery), OpenError> {
        let options = options.clamped();
        let lock = disk.lock().map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => OpenError::InUse,
            _ => OpenError::Io(Cause::new("locking of the journal", &error)),
        })?;
        let (writer, recovery) = Writer::open(Arc::clone(&disk), options)?;
        let state = State {
            queue: VecDeque::new(),
            queued_bytes: 0,
            roll: false,
            phase: Phase::Running,
            salt: writer.salt(),
            durable: writer.durable(),
            tails: Vec::new(),
            appended: 0,
            duplicates: 0,
            syncs: 0,
            batches: writer.batches(),
        };
        let shared = Arc::new(Shared { disk, options, state: Mutex::new(state), changed: Condvar::new() });
        let thread = spawn(Arc::clone(&shared), writer)?;
        Ok((Self(Arc::new(Handle { shared, thread: Mutex::new(Some(thread)), _lock: Lock(lock) })), recovery))
    }

    /// After the journal stopped at a failed write: read back what the disk holds and run again. Entries that
    /// were never acknowledged may turn out to be there; resent with their batch id they are not doubled.
    ///
    /// # Errors
    /// [`OpenError::Running`] where it did not stop; as [`Journal::open`], and then it stays stopped.
    pub fn reopen(&self) -> Result<Recovery, OpenError> {
        let mut thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &self.0.shared;
        if !matches!(shared.state().phase, Phase::Poisoned(_)) {
            return Err(OpenError::Running);
        }
        if let Some(ended) = thread.take() {
            // A panic in the writer has poisoned the journal already; there is nothing more to learn from it.
            drop(ended.join());
        }
        let (writer, recovery) = Writer::open(Arc::clone(&shared.disk), shared.options)?;
        {
            let mut state = shared.state();
            state.phase = Phase::Running;
            state.salt = writer.salt();
            state.durable = writer.durable();
            state.batches = writer.batches();
            state.syncs = 0;
        }
        match spawn(Arc::clone(shared), writer) {
            Ok(running) => *thread = Some(running),
            Err(error) => {
                shared.stop(Phase::Poisoned(error.clone()));
                return Err(error.into());
            }
        }
        Ok(recovery)
    }

    /// Queue an entry. The ticket resolves after a completed sync that covers it.
    ///
    /// # Errors
    /// Refused at once: too large, an own kind, too much queued ([`AppendError::Full`]), closed or poisoned.
    pub fn append(&self, entry: Entry) -> Result<Ticket, AppendError> {
        let shared = &self.0.shared;
        check(&entry, &shared.options)?;
        let (promise, ticket) = pair();
        {
            let mut state = shared.state();
            if let Some(refusal) = state.phase.refusal() {
                return Err(refusal);
            }
            let queued_bytes = state.queued_bytes;
            if queued_bytes > 0 && queued_bytes.saturating_add(entry.payload.len()) > shared.options.queue_bytes_max {
                return Err(AppendError::Full { queued_bytes });
            }
            state.queued_bytes = queued_bytes.saturating_add(entry.payload.len());
            state.queue.push_back((entry, promise));
        }
        shared.changed.notify_all();
        Ok(ticket)
    }

    /// The end of what is durable.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.0.shared.state().durable
    }

    /// How it fares.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.0.shared.state();
        let poisoned = match &state.phase {
            Phase::Poisoned(cause) => Some(cause.clone()),
            Phase::Running | Phase::Closing | Phase::Closed => None,
        };
        Status {
            durable: state.durable,
            queued_bytes: state.queued_bytes,
            appended: state.appended,
            duplicates: state.duplicates,
            syncs: state.syncs,
            batches: state.batches,
            poisoned,
        }
    }

    /// Read from a position (or [`Position::START`]) to what is durable, as far as it goes at each call.
    #[must_use]
    pub fn reader(&self, from: Position) -> Reader {
        let shared = Arc::clone(&self.0.shared);
        let salt = shared.state().salt;
        let disk = Arc::clone(&shared.disk);
        Reader::new(disk, from, Some(salt), Box::new(move || shared.state().durable))
    }

    /// Resolves when something is durable past `position`.
    pub fn tail(&self, position: Position) -> Tail {
        Tail { shared: Arc::clone(&self.0.shared), position }
    }

    /// Delete the segments that lie wholly before `position`, oldest first, each durably before the next; never
    /// the one that is being written. Batch ids stay remembered.
    ///
    /// # Errors
    /// A failed file operation; what was acknowledged is untouched.
    pub fn retain_from(&self, position: Position) -> Result<Retained, ReadError> {
        let shared = &self.0.shared;
        let mut retained = Retained::default();
        let active = shared.state().durable.segment;
        for number in segment::list(&*shared.disk)? {
            if number >= position.segment || number >= active {
                break;
            }
            let file = segment::open(&*shared.disk, number)?;
            let bytes = file.size().step(|| format!("look at the size of segment {number}"))?;
            segment::remove(&*shared.disk, number)?;
            retained.segments += 1;
            retained.bytes = retained.bytes.saturating_add(bytes);
        }
        Ok(retained)
    }

    /// Close the segment that is being written soon, so that [`Journal::retain_from`] can remove what stands in it.
    /// Returns at once; [`Journal::durable`] is in a later segment when it is done.
    pub fn roll_over(&self) {
        self.0.shared.state().roll = true;
        self.0.shared.changed.notify_all();
    }

    /// Take no more entries, sync what is queued, leave a mark, and end the writer. Other clones see `Closed`.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Handle {
    fn close(&self) {
        {
            let mut state = self.shared.state();
            if matches!(state.phase, Phase::Running) {
                state.phase = Phase::Closing;
            }
        }
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for progress. A future, or block with [`wait`](Tail::wait).
#[derive(Debug)]
pub struct Tail {
    shared: Arc<Shared>,
    position: Position,
}

impl Tail {
    fn answer(state: &State, position: Position) -> Option<Result<Position, AppendError>> {
        if state.durable > position {
            return Some(Ok(state.durable));
        }
        match &state.phase {
            Phase::Running | Phase::Closing => None,
            stopped => stopped.refusal().map(Err),
        }
    }

    /// Block until there is progress; none after `timeout` without any.
    ///
    /// # Errors
    /// The journal stopped or was closed.
    pub fn wait(self, timeout: Duration) -> Result<Option<Position>, AppendError> {
        let end = Instant::now().checked_add(timeout);
        let mut state = self.shared.state();
        loop {
            if let Some(answer) = Self::answer(&state, self.position) {
                return answer.map(Some);
            }
            let left = end.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            (state, _) = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Future for Tail {
    type Output = Result<Position, AppendError>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.state();
        if let Some(answer) = Self::answer(&state, self.position) {
            return Poll::Ready(answer);
        }
        if !state.tails.iter().any(|waker| waker.will_wake(context.waker())) {
            state.tails.push(context.waker().clone());
        }
        Poll::Pending
    }
}

fn spawn(shared: Arc<Shared>, writer: Writer) -> Result<JoinHandle<()>, Cause> {
    std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || run(&shared, writer))
        .step(|| "start of the writer's thread".to_owned())
}

/// Stops the journal also where the writer panics: nobody waits for it in vain.
struct Guard<'a>(&'a Shared, Phase);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.stop(std::mem::replace(&mut self.1, Phase::Closed));
    }
}

fn run(shared: &Shared, mut writer: Writer) {
    let panicked = Cause::new("run of the writer", &std::io::Error::other("it ended in a panic"));
    let mut guard = Guard(shared, Phase::Poisoned(panicked));
    while let Some((entries, promises)) = next_group(shared) {
        // Without entries it was woken to close the segment.
        match writer.commit(&entries) {
            Ok(receipts) => {
                publish(shared, &writer, &receipts);
                for (promise, receipt) in promises.into_iter().zip(receipts) {
                    promise.resolve(Ok(receipt));
                }
            }
            Err(error) => {
                if let AppendError::Poisoned(cause) = &error {
                    guard.1 = Phase::Poisoned(cause.clone());
                    // New appends are refused before this group hears of it.
                    shared.state().phase = guard.1.clone();
                }
                let poisoned = matches!(error, AppendError::Poisoned(_));
                promises.into_iter().for_each(|promise| promise.resolve(Err(error.clone())));
                if poisoned {
                    return;
                }
            }
        }
        let (idle, roll) = {
            let mut state = shared.state();
            (state.queue.is_empty(), std::mem::take(&mut state.roll))
        };
        if roll {
            match writer.roll_over() {
                Err(AppendError::Poisoned(cause)) => {
                    guard.1 = Phase::Poisoned(cause);
                    return;
                }
                // What was refused was not begun: the segment goes on.
                Ok(()) | Err(_) => publish(shared, &writer, &[]),
            }
        }
        if idle && let Err(AppendError::Poisoned(cause)) = writer.mark() {
            guard.1 = Phase::Poisoned(cause);
            return;
        }
    }
    guard.1 = match writer.close() {
        Err(AppendError::Poisoned(cause)) => Phase::Poisoned(cause),
        Ok(()) | Err(_) => Phase::Closed,
    };
}

/// Wait for work; none when the journal is closing and all is written.
fn next_group(shared: &Shared) -> Option<(Vec<Entry>, Vec<Promise>)> {
    let mut state = shared.state();
    while state.queue.is_empty() && !state.roll {
        if !matches!(state.phase, Phase::Running) {
            return None;
        }
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    let (mut entries, mut promises, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    while let Some((entry, _)) = state.queue.front() {
        let more = bytes.saturating_add(entry.payload.len());
        if more > shared.options.group_bytes_max && !entries.is_empty() {
            break;
        }
        bytes = more;
        if let Some((entry, promise)) = state.queue.pop_front() {
            entries.push(entry);
            promises.push(promise);
        }
    }
    state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
    Some((entries, promises))
}

/// Readers see a group before its appenders hear of it, so what is acknowledged can be read.
fn publish(shared: &Shared, writer: &Writer, receipts: &[crate::entry::Receipt]) {
    let tails = {
        let mut state = shared.state();
        let duplicates = receipts.iter().filter(|receipt| receipt.duplicate).count();
        state.duplicates = state.duplicates.saturating_add(u64::try_from(duplicates).unwrap_or(u64::MAX));
        let appended = u64::try_from(receipts.len() - duplicates).unwrap_or(u64::MAX);
        state.appended = state.appended.saturating_add(appended);
        state.durable = writer.durable();
        state.syncs = writer.syncs();
        state.batches = writer.batches();
        std::mem::take(&mut state.tails)
    };
    shared.notify(tails);
}
