//! A plane on a folder that goes away, with a catalog in memory that outlives it as a database would.

use api::{DataPlane as _, Delivered, Delivery, Protocol};
use catalog::{
    Answer, Catalog, CatalogError, Change, Committed, EntityKind, FileId, Hold, Memory, Prevalence, Pruned, Scheduled,
    State, Table,
};
use ids::{Clock, Entropy, Scope, TenantId, Text, Timestamp};
use journal::Journal;
use journal::sim::SimDisk;
use lake::{Ask, Lake, Limits};
use pipeline::{Finding, FindingSink, Options, Pace, Plane};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Today, whenever the test runs: each look at it is a millisecond later.
pub(crate) struct Ticking(std::sync::atomic::AtomicI64);

impl Ticking {
    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(i64::try_from(time.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

impl Ticking {
    /// Somebody sets the clock back.
    pub(crate) fn set_back(&self, time: Duration) {
        self.0.fetch_sub(i64::try_from(time.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1_000, Ordering::Relaxed))
    }
}

pub(crate) struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}

/// Findings as they are told.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<Finding>>);

impl FindingSink for Told {
    fn found(&self, finding: Finding) {
        self.0.lock().unwrap().push(finding);
    }
}

/// A catalog that is a database of its own: a process that died cannot reach it any more.
pub(crate) struct Mortal {
    inner: Memory,
    dead: AtomicBool,
}

impl Mortal {
    pub(crate) fn die(&self, dead: bool) {
        self.dead.store(dead, Ordering::SeqCst);
    }

    /// An answer of a call that was made already: a dead process does not hear it.
    fn alive<'a, T: Send + 'a>(&'a self, answer: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            let answered = answer.await;
            match self.dead.load(Ordering::SeqCst) {
                true => Err(CatalogError::Unavailable("the process is dead".into())),
                false => answered,
            }
        })
    }
}

impl Catalog for Mortal {
    fn table(&self) -> &Table {
        self.inner.table()
    }
    fn load(&self) -> Answer<'_, State> {
        self.alive(self.inner.load())
    }
    fn commit(&self, change: Change) -> Answer<'_, Committed> {
        self.alive(self.inner.commit(change))
    }
    fn filters(&self, file: FileId) -> Answer<'_, Vec<Option<Vec<u8>>>> {
        self.alive(self.inner.filters(file))
    }
    fn prevalence<'a>(&'a self, scope: &'a Scope, kind: EntityKind, value: &'a str) -> Answer<'a, Vec<Prevalence>> {
        self.alive(self.inner.prevalence(scope, kind, value))
    }
    fn prune(&self, what: Pruned) -> Answer<'_, u64> {
        self.alive(self.inner.prune(what))
    }
    fn holds(&self) -> Answer<'_, Vec<Hold>> {
        self.alive(self.inner.holds())
    }
    fn hold(&self, hold: Hold) -> Answer<'_, ()> {
        self.alive(self.inner.hold(hold))
    }
    fn release<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        self.alive(self.inner.release(id))
    }
    fn expire(&self, before: Timestamp) -> Answer<'_, u64> {
        self.alive(self.inner.expire(before))
    }
    fn scheduled(&self, before: Timestamp) -> Answer<'_, Vec<Scheduled>> {
        self.alive(self.inner.scheduled(before))
    }
    fn unlinked(&self, files: Vec<FileId>) -> Answer<'_, ()> {
        self.alive(self.inner.unlinked(files))
    }
    fn scrub(&self) -> Answer<'_, ()> {
        self.alive(self.inner.scrub())
    }
}

pub(crate) struct Bed {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) disk: SimDisk,
    pub(crate) catalog: Arc<Mortal>,
    pub(crate) clock: Arc<Ticking>,
    pub(crate) told: Arc<Told>,
}

pub(crate) fn tenant() -> TenantId {
    TenantId::derive(&[b"acme"])
}

pub(crate) fn ndjson(body: impl Into<Vec<u8>>) -> Delivery {
    Delivery {
        tenant: tenant(),
        source: Text::new("web").unwrap(),
        key: "key".to_owned(),
        protocol: Protocol::Ndjson,
        method: "POST".to_owned(),
        path: String::new(),
        query: Vec::new(),
        headers: Vec::new(),
        peer: None,
        body: body.into(),
    }
}

impl Bed {
    pub(crate) fn new(seed: u64) -> Self {
        let clock = Arc::new(Ticking(1_795_400_000_000_000.into()));
        let inner = Memory::new(lake::table().unwrap(), Arc::clone(&clock) as Arc<dyn Clock>);
        let catalog = Mortal { inner, dead: AtomicBool::new(false) };
        let folder = tempfile::tempdir().unwrap();
        Self { folder, disk: SimDisk::new(seed), catalog: Arc::new(catalog), clock, told: Arc::default() }
    }

    pub(crate) async fn open(&self, pace: Pace) -> Plane {
        let plane = self.open_waiting(pace).await;
        plane.begin();
        plane
    }

    /// A plane that does not read its log yet.
    pub(crate) async fn open_waiting(&self, pace: Pace) -> Plane {
        let limits = Limits { threads: 1, time_max: Duration::from_secs(60), ..Limits::default() };
        let options = lake::Options {
            folder: self.folder.path().to_owned(),
            sync: Arc::new(|_: &Path| Ok(())),
            catalog: Arc::clone(&self.catalog) as Arc<dyn Catalog>,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            limits,
        };
        let opened = Lake::open(options).await.unwrap();
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let mut options = Options::new("unused".into(), opened, clock, Arc::new(Zeros));
        options.pace = pace;
        options.findings = Some(Arc::clone(&self.told) as Arc<dyn FindingSink>);
        let log = journal::Options { reserve_bytes: 0, segment_bytes: 1 << 16, ..journal::Options::default() };
        let (journal, _) = Journal::open_on(Arc::new(self.disk.clone()), log).unwrap();
        Plane::on(options, journal).unwrap()
    }
}

/// Two workers, and no file before the plane is stopped.
pub(crate) fn lazy() -> Pace {
    Pace { workers: 2, flush_after: Duration::from_secs(3600), ..Pace::default() }
}

pub(crate) async fn deliver(plane: &Plane, delivery: Delivery) -> Delivered {
    plane.deliver(delivery).await
}

pub(crate) async fn caught_up(plane: &Plane) {
    let waited = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while !plane.caught_up() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("the plane catches up");
}

pub(crate) async fn ask(plane: &Plane, sql: &str) -> Vec<Vec<Value>> {
    let ask = Ask { scope: Scope::Tenant(tenant()), sql: sql.to_owned(), rows_max: 10_000, offset: 0 };
    plane.lake().ask(ask).await.unwrap_or_else(|error| panic!("{sql}: {error}")).rows
}
