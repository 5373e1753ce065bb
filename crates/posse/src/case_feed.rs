//! From findings to cases: the data plane tells its findings here, a task puts them into cases. The queue is bounded; where
//! it is full the plane waits briefly, then what it finds is only counted, and looked up in the lake afterwards. The same
//! at the start, for what was found and not in a case when the process ended. So nothing is lost, and nothing in silence.

use control::Control;
use ids::{EventId, TenantId, Timestamp};
use pipeline::{Finding, FindingSink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Findings that wait at most.
const QUEUE_MAX: usize = 20_000;
/// Findings of one round.
const ROUND_MAX: usize = 500;
/// How long the data plane waits for room.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often it looks for room meanwhile.
const LOOK: Duration = Duration::from_millis(5);
/// When a round that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A finding on its way.
struct Told {
    tenant: TenantId,
    row: EventId,
    ocsf: String,
}

/// How the feed fares.
#[derive(Default)]
struct Fare {
    /// Findings that came in, and that are done with.
    told: AtomicU64,
    done: AtomicU64,
    /// Findings that found no room.
    overflowed: AtomicU64,
    /// The lake holds findings that are in no case, and nobody else will tell them.
    behind: AtomicBool,
    /// They are being looked up.
    looking: AtomicBool,
}

/// The feed: told by the data plane, read by a task.
pub(crate) struct CaseFeed {
    queue: Sender<Told>,
    waiting: Mutex<Option<Receiver<Told>>>,
    fare: Arc<Fare>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl CaseFeed {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_room(QUEUE_MAX)
    }

    fn with_room(room: usize) -> Arc<Self> {
        let (queue, waiting) = channel(room);
        let (stop, _) = watch::channel(false);
        let fare = Arc::new(Fare::default());
        // What a run before this one left behind is looked up first.
        fare.behind.store(true, Ordering::Release);
        Arc::new(Self { queue, waiting: Mutex::new(Some(waiting)), fare, stop, task: Mutex::new(None) })
    }

    /// Put what is told into cases from now on. A second call does nothing.
    pub(crate) fn start(&self, control: Control) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            let task = tokio::spawn(feed(control, waiting, Arc::clone(&self.fare), self.stop.subscribe()));
            *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
    }

    /// Put what waits into cases, then stop. What cannot be put there now is looked up at the next start.
    pub(crate) async fn stop(&self) {
        // Nobody listens where it was never started.
        let _ = self.stop.send(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the feed of cases ended badly");
        }
    }

    /// Whether so many findings were told, and all of them are in a case.
    pub(crate) fn settled(&self, findings: u64) -> bool {
        let waits = self.fare.behind.load(Ordering::Acquire) || self.fare.looking.load(Ordering::Acquire);
        let done = self.fare.done.load(Ordering::Acquire);
        let told = self.fare.told.load(Ordering::Acquire);
        !waits && told >= findings && done >= told
    }

    /// Measurements, in the text form of OpenMetrics without its end mark.
    pub(crate) fn metrics(&self) -> String {
        let (told, done) = (self.fare.told.load(Ordering::Relaxed), self.fare.done.load(Ordering::Relaxed));
        let (overflowed, behind) =
            (self.fare.overflowed.load(Ordering::Relaxed), u8::from(self.fare.behind.load(Ordering::Relaxed)));
        format!(
            "# HELP posse_case_findings Findings told to cases.\n# TYPE posse_case_findings counter\n\
             posse_case_findings_total {told}\n\
             # HELP posse_case_findings_waiting Findings that are not in a case yet.\n\
             # TYPE posse_case_findings_waiting gauge\nposse_case_findings_waiting {}\n\
             # HELP posse_case_findings_overflowed Findings that found the queue full and are looked up in the lake.\n\
             # TYPE posse_case_findings_overflowed counter\nposse_case_findings_overflowed_total {overflowed}\n\
             # HELP posse_case_findings_behind Whether findings are still to be looked up in the lake.\n\
             # TYPE posse_case_findings_behind gauge\nposse_case_findings_behind {behind}\n",
            told.saturating_sub(done)
        )
    }

    /// Queue a finding, waiting briefly for room. Once there was none the plane does not wait again until there is.
    fn queue(&self, mut told: Told) {
        self.fare.told.fetch_add(1, Ordering::Relaxed);
        let patience = if self.fare.behind.load(Ordering::Acquire) { Duration::ZERO } else { PATIENCE };
        let since = Instant::now();
        loop {
            told = match self.queue.try_send(told) {
                Ok(()) => return,
                Err(TrySendError::Full(told)) => told,
                // Looked up at the next start.
                Err(TrySendError::Closed(_)) => return,
            };
            if since.elapsed() >= patience {
                break;
            }
            std::thread::sleep(LOOK);
        }
        self.fare.done.fetch_add(1, Ordering::Relaxed);
        if self.fare.overflowed.fetch_add(1, Ordering::Relaxed) == 0 || !self.fare.behind.load(Ordering::Acquire) {
            tracing::error!("findings come faster than cases take them; the rest is looked up in the lake");
        }
        self.fare.behind.store(true, Ordering::Release);
    }
}

impl FindingSink for CaseFeed {
    fn found(&self, finding: Finding) {
        // Nothing follows from what a rule in shadow finds.
        if !finding.shadow {
            self.queue(Told { tenant: finding.tenant, row: finding.event, ocsf: finding.ocsf });
        }
    }
}

/// Put findings into cases until told to stop and none is left.
async fn feed(control: Control, mut waiting: Receiver<Told>, fare: Arc<Fare>, mut stop: watch::Receiver<bool>) {
    let mut round = Vec::new();
    loop {
        if fare.behind.load(Ordering::Acquire) && !*stop.borrow() {
            catch_up(&control, &fare, &mut stop).await;
        }
        tokio::select! {
            biased;
            _ = waiting.recv_many(&mut round, ROUND_MAX) => {}
            _ = stop.changed() => {}
            // Somebody told of findings that found no room.
            () = tokio::time::sleep(RETRY) => {}
        }
        if round.is_empty() && *stop.borrow() && waiting.is_empty() {
            return;
        }
        if !take(&control, &fare, &mut round, &mut stop).await {
            return;
        }
    }
}

/// Look up what nobody tells again.
async fn catch_up(control: &Control, fare: &Fare, stop: &mut watch::Receiver<bool>) {
    fare.looking.store(true, Ordering::Release);
    // Before looking: what finds no room from now on sets it anew.
    fare.behind.store(false, Ordering::Release);
    match control.recover_findings().await {
        Ok(observed) if observed.placed > 0 => {
            tracing::info!(
                placed = observed.placed,
                opened = observed.opened.len(),
                "findings of the lake are in cases"
            );
        }
        Ok(_) => {}
        Err(error) => {
            tracing::error!(%error, "findings of the lake cannot be put into cases; trying again");
            fare.behind.store(true, Ordering::Release);
            pause(stop).await;
        }
    }
    fare.looking.store(false, Ordering::Release);
}

/// Put one round into cases, again and again until it is there; false where the feed was told to stop meanwhile.
async fn take(control: &Control, fare: &Fare, round: &mut Vec<Told>, stop: &mut watch::Receiver<bool>) -> bool {
    let told = u64::try_from(round.len()).unwrap_or(0);
    let found: Vec<_> =
        round.drain(..).filter_map(|told| control::finding(told.tenant, Some(told.row), &told.ocsf)).collect();
    if found.is_empty() {
        fare.done.fetch_add(told, Ordering::Relaxed);
        return true;
    }
    // Where something found no room, not everything before this was told.
    let latest = found.iter().map(|detection| detection.found_at).max();
    loop {
        let until: Option<Timestamp> = latest.filter(|_| !fare.behind.load(Ordering::Acquire));
        match control.observe_findings(found.clone(), until).await {
            Ok(_) => {
                fare.done.fetch_add(told, Ordering::Relaxed);
                return true;
            }
            Err(error) if *stop.borrow() => {
                tracing::error!(%error, told, "findings are not in cases; they are looked up at the next start");
                return false;
            }
            Err(error) => {
                tracing::error!(%error, told, "findings cannot be put into cases; trying again");
                pause(stop).await;
            }
        }
    }
}

async fn pause(stop: &mut watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.changed() => {}
        () = tokio::time::sleep(RETRY) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(number: u8) -> Told {
        let row = EventId { class_uid: 2004, day: 0, segment: 0, offset: u64::from(number), index: 0, part: 1 };
        Told { tenant: TenantId::derive(&[b"own"]), row, ocsf: String::new() }
    }

    #[test]
    fn a_full_queue_counts_and_does_not_hold_the_plane_up() {
        let feed = CaseFeed::with_room(2);
        let since = Instant::now();
        for number in 0..10 {
            feed.queue(told(number));
        }
        assert!(since.elapsed() < PATIENCE * 2);
        assert_eq!(feed.fare.overflowed.load(Ordering::Relaxed), 8);
        assert!(feed.metrics().contains("posse_case_findings_waiting 2\n"), "{}", feed.metrics());
        assert!(feed.metrics().contains("posse_case_findings_behind 1\n"));
    }
}
