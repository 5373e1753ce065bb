//! What a flush costs the lake's catalog: `cargo run -p store --example catalog_flush [-- FLUSHES [DIR]]`.
//!
//! Each flush adds ten files with eight row groups each and 100,000 sightings of entities, half of them seen before, and
//! moves a cursor. Meanwhile another task asks for prevalences. Prints one line of JSON, times in milliseconds.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

use catalog::{
    Catalog, Change, ColumnKind, ColumnStats, Day, EntityCount, EntityKind, NewFile, RowGroup, Table, time_text,
};
use ids::{Clock, Scope, TenantId, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use store::{LakeCatalog, LakeConfig, Target};

const ENTITIES: u64 = 100_000;
const TENANTS: u64 = 200;
const COLUMNS: usize = 60;
const DAY: Day = Day::new(20_779);

struct WallClock;
impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }
}

fn mixed(number: u64) -> u64 {
    let step = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (step ^ (step >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 7
}

fn tenant(number: u64) -> TenantId {
    TenantId::derive(&[&(number % TENANTS).to_be_bytes()])
}

fn columns() -> Vec<(String, ColumnKind)> {
    let mut columns = vec![("time".to_owned(), ColumnKind::Time), ("class_uid".to_owned(), ColumnKind::Int32)];
    columns.extend((0..COLUMNS).map(|number| (format!("column_{number}"), ColumnKind::Text)));
    columns
}

fn file(flush: u64, number: u64) -> NewFile {
    let group = |part: u64| RowGroup {
        tenant: tenant(mixed(flush * 100 + number * 10 + part)),
        rows: 500,
        bytes: 50_000,
        time_min: DAY.start(),
        time_max: DAY.end(),
        filter: Some(vec![7; 600]),
    };
    let stats = |(column, kind): (String, ColumnKind)| {
        let (min, max) = match kind {
            ColumnKind::Time => (Some(time_text(DAY.start())), Some(time_text(DAY.end()))),
            ColumnKind::Int32 => (Some("1001".to_owned()), Some("1001".to_owned())),
            _ => (Some("a value".to_owned()), Some("some value".to_owned())),
        };
        ColumnStats { column, nulls: 0, values: 4000, bytes: 1000, min, max }
    };
    NewFile {
        path: format!("class={number}/{flush}.parquet"),
        class_uid: 1001,
        day: DAY,
        rows: 4000,
        bytes: 400_000,
        footer_bytes: 9000,
        columns: columns().into_iter().map(stats).collect(),
        row_groups: (0..8).map(group).collect(),
        level: 0,
        received_min: DAY.start(),
        received_max: DAY.end(),
    }
}

fn value(number: u64) -> String {
    format!("{:016x}.host-{}.example", mixed(number), number % 977)
}

fn change(flush: u64) -> Change {
    let entity = |index: u64| {
        // Odd ones come again in every flush.
        let number = if index % 2 == 1 { index } else { flush * ENTITIES + index };
        EntityCount {
            tenant: tenant(mixed(number)),
            kind: EntityKind::Domain,
            value: value(number),
            day: DAY,
            count: 3,
            first: DAY.start(),
            last: DAY.end(),
        }
    };
    Change {
        add: (0..10).map(|number| file(flush, number)).collect(),
        entities: (0..ENTITIES).map(entity).collect(),
        cursors: vec![("log".to_owned(), flush.to_be_bytes().to_vec())],
        ..Change::default()
    }
}

fn at(times: &mut [Duration], permille: usize) -> f64 {
    times.sort();
    let place = (times.len() * permille / 1000).min(times.len().saturating_sub(1));
    times.get(place).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

/// Ask for one tenant's and for all tenants' prevalence until told to stop.
async fn ask(lake: Arc<LakeCatalog>, stop: Arc<AtomicBool>) -> [Vec<Duration>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    let mut number = 1;
    while !stop.load(Ordering::Relaxed) {
        number = (number + 2) % ENTITIES;
        for (scope, times) in [Scope::Tenant(tenant(mixed(number))), Scope::Provider].iter().zip(&mut times) {
            let start = Instant::now();
            lake.prevalence(scope, EntityKind::Domain, &value(number)).await.unwrap();
            times.push(start.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    times
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let flushes: u64 = arguments.next().map_or(20, |text| text.parse().unwrap());
    let own = tempfile::tempdir().unwrap();
    let dir = arguments.next().map_or_else(|| own.path().to_owned(), Into::into);
    let table = Table::new(columns()).unwrap();
    let config =
        LakeConfig { target: Target::Sqlite { dir: dir.clone() }, folder: dir.join("lake"), table, readers: 2 };
    let lake = Arc::new(LakeCatalog::open(config, Arc::new(WallClock)).await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(ask(Arc::clone(&lake), Arc::clone(&stop)));
    let mut times = Vec::new();
    for flush in 0..flushes {
        let change = change(flush);
        let start = Instant::now();
        lake.commit(change).await.unwrap();
        times.push(start.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    let [mut one, mut all] = asking.await.unwrap();
    let start = Instant::now();
    let files = lake.load().await.unwrap().files.len();
    let load = start.elapsed().as_secs_f64() * 1000.0;
    let size = std::fs::metadata(dir.join("lake.db")).unwrap().len();
    println!(
        "{{\"flushes\":{flushes},\"flush_p50_ms\":{:.1},\"flush_max_ms\":{:.1},\"prevalence_p50_ms\":{:.2},\
         \"prevalence_p99_ms\":{:.2},\"prevalence_all_tenants_p99_ms\":{:.2},\"load_ms\":{load:.1},\"files\":{files},\
         \"bytes\":{size}}}",
        at(&mut times, 500),
        at(&mut times, 1000),
        at(&mut one, 500),
        at(&mut one, 990),
        at(&mut all, 990),
    );
}
