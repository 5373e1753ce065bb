//! A lake in a folder that goes away, and the events of `spec/lake/events.jsonl`.

use catalog::{Catalog, FileId, Memory};
use event::mapping::{COLUMNS, ColumnType, ColumnValue, Normalised, Observable};
use ids::{Clock, EventId, Scope, TenantId, Timestamp};
use lake::{Ask, Lake, Limits, Options, Row, SyncPath, Writer};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub(crate) struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1_000_000, Ordering::Relaxed))
    }
}

pub(crate) fn clock() -> Arc<Ticking> {
    Arc::new(Ticking(AtomicI64::new(1_795_400_000_000_000)))
}

pub(crate) fn spec(path: &str) -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/lake").join(path)
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(spec(path)).unwrap()
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) tenant: String,
    source: String,
    class_uid: u32,
    time: Timestamp,
    severity_id: i64,
    activity_id: i64,
    columns: BTreeMap<String, Value>,
    observables: Vec<(String, String)>,
    raw: String,
}

pub(crate) fn given() -> Vec<Given> {
    read("events.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::derive(&[name.as_bytes()])
}

pub(crate) fn scope(name: &str) -> Scope {
    Scope::Tenant(tenant(name))
}

impl Given {
    pub(crate) fn normalised(&self) -> Normalised {
        let column = |(name, value): (&String, &Value)| {
            let place = COLUMNS.iter().position(|column| column.name == name).unwrap();
            let value = match COLUMNS[place].kind {
                ColumnType::Text => ColumnValue::Text(value.as_str().unwrap().to_owned()),
                ColumnType::Int => ColumnValue::Int(value.as_i64().unwrap()),
            };
            (place, value)
        };
        let observable = |(kind, value): &(String, String)| Observable {
            kind: lake::kind_named(kind).unwrap(),
            type_id: 0,
            path: String::new(),
            value: value.clone(),
        };
        Normalised {
            class_uid: self.class_uid,
            activity_id: self.activity_id,
            severity_id: self.severity_id,
            time: self.time,
            time_from_source: true,
            columns: self.columns.iter().map(column).collect(),
            observables: self.observables.iter().map(observable).collect(),
            ..Normalised::default()
        }
    }
}

pub(crate) struct Bed {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) clock: Arc<Ticking>,
    pub(crate) lake: Lake,
    pub(crate) writer: Writer,
}

pub(crate) fn no_sync() -> SyncPath {
    Arc::new(|_| Ok(()))
}

pub(crate) async fn open(
    folder: &Path,
    catalog: Arc<dyn Catalog>,
    clock: Arc<Ticking>,
    sync: SyncPath,
) -> (Lake, Writer) {
    let limits = Limits { time_max: std::time::Duration::from_secs(20), ..Limits::default() };
    Lake::open(Options { folder: folder.to_owned(), sync, catalog, clock, limits }).await.unwrap()
}

impl Bed {
    pub(crate) async fn empty() -> Self {
        let clock = clock();
        let catalog = Arc::new(Memory::new(lake::table().unwrap(), Arc::clone(&clock) as Arc<dyn Clock>));
        Self::with(catalog, clock, no_sync()).await
    }

    pub(crate) async fn with(catalog: Arc<dyn Catalog>, clock: Arc<Ticking>, sync: SyncPath) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (lake, writer) = open(folder.path(), Arc::clone(&catalog), Arc::clone(&clock), sync).await;
        Self { folder, catalog, clock, lake, writer }
    }

    /// With the given events, hot.
    pub(crate) async fn hot() -> Self {
        let mut bed = Self::empty().await;
        let events = given();
        bed.append(&events);
        bed.writer.seal();
        bed
    }

    pub(crate) fn append(&mut self, events: &[Given]) -> Vec<EventId> {
        let ids = events.iter().enumerate().map(|(place, given)| {
            let event = given.normalised();
            self.writer.append(&row(given, &event, place))
        });
        ids.collect()
    }

    pub(crate) async fn flush(&mut self) {
        self.writer.start_flush(vec![("journal".to_owned(), b"1".to_vec())]).unwrap().run().await.unwrap();
    }

    /// All files of each class and day into one.
    pub(crate) async fn compact(&mut self) {
        let state = self.catalog.load().await.unwrap();
        let mut keyed: BTreeMap<(u32, i32), Vec<FileId>> = BTreeMap::new();
        for file in state.files.values() {
            keyed.entry((file.class_uid, file.day.get())).or_default().push(file.id);
        }
        for files in keyed.values() {
            self.lake.compact(files, catalog::LEVEL_DAY).await.unwrap();
        }
    }

    pub(crate) async fn count(&self, scope: Scope) -> u64 {
        let ask = Ask { scope, sql: "SELECT count(*) FROM events".to_owned(), rows_max: 1, offset: 0 };
        self.lake.ask(ask).await.unwrap().rows[0][0].as_u64().unwrap()
    }
}

pub(crate) fn row<'a>(given: &'a Given, event: &'a Normalised, place: usize) -> Row<'a> {
    Row {
        tenant: tenant(&given.tenant),
        source: &given.source,
        received: Timestamp::from_micros(given.time.as_micros() + 1_000_000),
        segment: 1,
        offset: 64 * u64::try_from(place).unwrap(),
        index: 0,
        // A finding of ours stands beside a record.
        part: u16::from(given.source == "posse"),
        event,
        raw: &given.raw,
    }
}
