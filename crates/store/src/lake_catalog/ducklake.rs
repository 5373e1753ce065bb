//! `DuckLake`'s own tables: the head of its history, and what stands in them for a file.

use super::statement;
use crate::engine::{Connection, Fault, Value, values};
use catalog::{ColumnKind, ColumnStats, NewFile, Table};
use ids::Timestamp;
use std::collections::BTreeMap;

/// The newest snapshot.
pub(super) struct Head {
    pub(super) snapshot: i64,
    pub(super) schema_version: i64,
    pub(super) next_catalog: i64,
    pub(super) next_file: i64,
}

impl Head {
    pub(super) async fn read(connection: &mut Connection) -> Result<Option<Self>, Fault> {
        let rows = connection.rows(statement::SNAPSHOT_LAST, Vec::new()).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(Self {
            snapshot: row.int(0)?,
            schema_version: row.int(1)?,
            next_catalog: row.int(2)?,
            next_file: row.int(3)?,
        }))
    }
}

/// Write a snapshot and what it changed. The time of the transaction is set before.
pub(super) async fn write_snapshot(
    connection: &mut Connection,
    head: &Head,
    changes: &str,
    note: Option<String>,
    now: Timestamp,
) -> Result<(), Fault> {
    let row = values![head.snapshot, head.schema_version, head.next_catalog, head.next_file];
    connection.execute(statement::SNAPSHOT_WRITE, row).await?;
    connection.execute(statement::SNAPSHOT_AGE_WRITE, values![head.snapshot, now.as_micros()]).await?;
    connection.execute(statement::CHANGES_WRITE, values![head.snapshot, changes, note]).await?;
    Ok(())
}

/// Rows, row numbers and bytes of the whole table.
pub(super) struct Totals {
    pub(super) rows: i64,
    pub(super) next_row: i64,
    pub(super) bytes: i64,
}

impl Totals {
    pub(super) async fn read(connection: &mut Connection) -> Result<Self, Fault> {
        let rows = connection.rows(statement::TABLE_STATS, Vec::new()).await?;
        let Some(row) = rows.first() else { return Err(Fault::decode("the table has no statistics")) };
        Ok(Self { rows: row.int(0)?, next_row: row.int(1)?, bytes: row.int(2)? })
    }

    pub(super) async fn write(&self, connection: &mut Connection) -> Result<(), Fault> {
        let row = values![self.rows, self.next_row, self.bytes];
        connection.execute(statement::TABLE_STATS_WRITE, row).await.map(drop)
    }
}

/// A number that the engine stores; past 2^63 there is no file.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Write a file into `DuckLake`'s tables.
pub(super) async fn write_file(
    connection: &mut Connection,
    table: &Table,
    (id, snapshot, row_id): (i64, i64, i64),
    file: &NewFile,
) -> Result<(), Fault> {
    let (rows, bytes, footer) = (number(file.rows), number(file.bytes), number(file.footer_bytes));
    let row = values![id, snapshot, file.path.as_str(), rows, bytes, footer, row_id];
    connection.execute(statement::FILE_WRITE, row).await?;
    let (year, month, day) = file.day.civil();
    let keys = [file.class_uid.to_string(), year.to_string(), month.to_string(), day.to_string()];
    let keys = (0_i64..).zip(keys).flat_map(|(index, value)| values![id, 1, index, value]);
    statement::PARTITION_VALUES_WRITE.execute(connection, keys.collect()).await?;
    let mut stats: Vec<Value> = Vec::with_capacity(file.columns.len() * 8);
    for column in &file.columns {
        let Some(known) = table.column(&column.column) else { continue };
        let counts = [column.bytes, column.values, column.nulls].map(number);
        stats.extend(values![id, 1, i64::from(known.id)]);
        stats.extend(counts.map(Value::Int));
        stats.extend(values![column.min.clone(), column.max.clone()]);
    }
    statement::STATS_WRITE.execute(connection, stats).await?;
    Ok(())
}

/// What is known of a column in the whole table.
struct Bounds {
    kind: ColumnKind,
    nulls: bool,
    min: Option<String>,
    max: Option<String>,
    changed: bool,
}

/// Widen the bounds of the table's columns by those of new files.
///
/// Bounds are kept for numbers and times only: a long text has none in some files, and then the table's would be wrong.
pub(super) async fn widen(connection: &mut Connection, table: &Table, files: &[NewFile]) -> Result<(), Fault> {
    let mut all = BTreeMap::new();
    for row in connection.rows(statement::COLUMN_STATS_LIST, Vec::new()).await? {
        let kind = ColumnKind::from_ducklake(&row.text(1)?).unwrap_or(ColumnKind::Text);
        let (nulls, min, max) = (row.int(2)? > 0, row.maybe_text(3)?, row.maybe_text(4)?);
        all.insert(row.int(0)?, Bounds { kind, nulls, min, max, changed: false });
    }
    for column in files.iter().flat_map(|file| &file.columns) {
        let id = table.column(&column.column).map_or(0, |column| i64::from(column.id));
        if let Some(bounds) = all.get_mut(&id) {
            bounds.take(column);
        }
    }
    for (id, bounds) in all.into_iter().filter(|(_, bounds)| bounds.changed) {
        let row = values![id, i64::from(bounds.nulls), bounds.min, bounds.max];
        connection.execute(statement::COLUMN_STATS_WRITE, row).await?;
    }
    Ok(())
}

impl Bounds {
    fn take(&mut self, column: &ColumnStats) {
        // A first look sets the flag also where there is no null, else it would stay unknown.
        let first = self.min.is_none() && !self.nulls;
        let nulls = self.nulls || column.nulls > 0;
        self.changed |= first || nulls != self.nulls;
        self.nulls = nulls;
        if self.kind == ColumnKind::Text {
            return;
        }
        let kind = self.kind;
        if let Some(min) = &column.min
            && self.min.as_ref().is_none_or(|old| less(kind, min, old))
        {
            self.min = Some(min.clone());
            self.changed = true;
        }
        if let Some(max) = &column.max
            && self.max.as_ref().is_none_or(|old| less(kind, old, max))
        {
            self.max = Some(max.clone());
            self.changed = true;
        }
    }
}

/// The order of values in their text; a time's text sorts as the time does, between the years 0 and 9999.
fn less(kind: ColumnKind, left: &str, right: &str) -> bool {
    match kind {
        ColumnKind::Int16 | ColumnKind::Int32 | ColumnKind::Int64 => {
            left.parse::<i64>().ok() < right.parse::<i64>().ok()
        }
        ColumnKind::Text | ColumnKind::Time => left < right,
    }
}
