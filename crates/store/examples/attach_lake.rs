//! Commits Parquet files that others wrote to a lake's catalog: `attach_lake TARGET FOLDER`, one JSON object on standard
//! input, the outcome on standard output. For `script/duckdb-attach`.
//!
//! TARGET is a folder or `postgres://...`. The object may have `add` (files), `drop` (paths) and `column` (one more).
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for a test script")]

use catalog::{
    Catalog as _, Change, ColumnKind, ColumnStats, Day, FileId, Intent, NewFile, RowGroup, Table, time_text,
};
use ids::{Clock, TenantId, Timestamp};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use store::{LakeCatalog, LakeConfig, Target};

struct WallClock;
impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }
}

fn number(file: &Value, key: &str) -> u64 {
    file.get(key).and_then(Value::as_u64).unwrap()
}

fn text<'f>(file: &'f Value, key: &str) -> &'f str {
    file.get(key).and_then(Value::as_str).unwrap()
}

/// A file of `spec/lake/attach.py`: an event each ten seconds from the day's first microsecond on.
fn new_file(file: &Value) -> NewFile {
    let day = Day::of(format!("{}T00:00:00Z", text(file, "day")).parse().unwrap());
    let (rows, nulls) = (number(file, "rows"), number(file, "nulls"));
    let class_uid = u32::try_from(number(file, "class_uid")).unwrap();
    let first = day.start().plus(Duration::from_micros(1));
    let last = first.plus(Duration::from_secs(10) * u32::try_from(rows - 1).unwrap());
    let stats = |column: &str, nulls, min: Option<String>, max: Option<String>| ColumnStats {
        column: column.to_owned(),
        nulls,
        values: rows - nulls,
        bytes: 100,
        min,
        max,
    };
    let both = |value: String| (Some(value.clone()), Some(value));
    let (class_min, class_max) = both(class_uid.to_string());
    NewFile {
        path: text(file, "path").to_owned(),
        class_uid,
        day,
        rows,
        bytes: number(file, "bytes"),
        footer_bytes: number(file, "footer"),
        columns: vec![
            stats("tenant", 0, Some("tenant_a".to_owned()), Some("tenant_b".to_owned())),
            stats("time", 0, Some(time_text(first)), Some(time_text(last))),
            stats("class_uid", 0, class_min, class_max),
            stats("raw", nulls, None, None),
        ],
        row_groups: vec![RowGroup {
            tenant: TenantId::derive(&[b"attach"]),
            rows,
            bytes: number(file, "bytes"),
            time_min: first,
            time_max: last,
            filter: None,
        }],
        level: 0,
        received_min: first,
        received_max: last,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, target, folder] = arguments.as_slice() else { unreachable!("usage: attach_lake TARGET FOLDER") };
    let steps: Value = serde_json::from_reader(std::io::stdin()).unwrap();
    let mut columns = vec![
        ("tenant", ColumnKind::Text),
        ("time", ColumnKind::Time),
        ("class_uid", ColumnKind::Int32),
        ("raw", ColumnKind::Text),
    ];
    columns.extend(steps.get("column").and_then(Value::as_str).map(|name| (name, ColumnKind::Int64)));
    let target = if target.starts_with("postgres:") {
        Target::Postgres { url: target.clone() }
    } else {
        Target::Sqlite { dir: target.into() }
    };
    let config = LakeConfig { target, folder: folder.into(), table: Table::new(columns).unwrap(), readers: 1 };
    let lake = LakeCatalog::open(config, Arc::new(WallClock)).await.unwrap();
    let list = |key: &str| steps.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let before = lake.load().await.unwrap();
    let gone = |path: &str| before.files.values().find(|file| file.path == path).map(|file| file.id).unwrap();
    let remove: Vec<FileId> = list("drop").iter().map(|path| gone(path.as_str().unwrap())).collect();
    let intent = if remove.is_empty() { Intent::Append } else { Intent::Drop };
    let add = list("add").iter().map(new_file).collect();
    let done = lake.commit(Change { intent, add, remove, ..Change::default() }).await.unwrap();
    let files = lake.load().await.unwrap().files.len();
    println!("{}", serde_json::json!({ "snapshot": done.snapshot, "files": files }));
    lake.close().await;
}
