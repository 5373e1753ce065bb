//! Rows that are not in files yet: Arrow builders per class and day, sealed into batches that queries see.
//!
//! A column exists in a batch only where a row has a value for it. Must never hold a lock: one owner fills a [`Chunk`],
//! what is sealed does not change any more.

use crate::entity::Sightings;
use crate::regular::{marks_of_row, marks_of_run};
use crate::row::Row;
use crate::schema::{at, logical, time_type};
use crate::{HEAD, observable};
use datafusion::arrow::array::{
    Array, ArrayRef, Int16Array, Int32Array, Int64Array, Int64Builder, StringViewBuilder, TimestampMicrosecondArray,
    new_null_array,
};
use datafusion::arrow::datatypes::DataType;
use event::mapping::{COLUMNS, ColumnValue, ObservableKind};
use ids::{EventId, TenantId};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// The kinds of the columns whose values stand in the filters, by their place in `COLUMNS`.
static COLUMN_KINDS: LazyLock<Vec<Option<ObservableKind>>> =
    LazyLock::new(|| COLUMNS.iter().map(|column| observable::kind_of_column(column.name)).collect());

/// Sealed rows of one class and day.
#[derive(Debug)]
pub(crate) struct HotBatch {
    pub(crate) class_uid: u32,
    pub(crate) day: i32,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
    /// Whose each row is.
    pub(crate) tenants: Vec<TenantId>,
    /// When each happened, microseconds.
    pub(crate) times: Vec<i64>,
    /// By place in the logical table; none where no row has a value. `class_uid` is none: it is the batch's.
    columns: Vec<Option<ArrayRef>>,
    /// The hashes of each row's observables, row after row.
    hashes: Vec<u32>,
    /// Where each row's hashes end.
    ends: Vec<usize>,
    /// All of them, sorted, each once.
    sorted: Vec<u32>,
    pub(crate) time_min: i64,
    pub(crate) time_max: i64,
}

impl HotBatch {
    /// The column at a place of the logical table; none where no row has a value.
    pub(crate) fn column(&self, place: usize) -> Option<ArrayRef> {
        if place == at::CLASS_UID {
            let class = i32::try_from(self.class_uid).unwrap_or(i32::MAX);
            return Some(Arc::new(Int32Array::from(vec![class; self.rows])));
        }
        self.columns.get(place).cloned().flatten()
    }

    /// The column, of nulls where no row has a value.
    pub(crate) fn column_or_null(&self, place: usize) -> ArrayRef {
        self.column(place).unwrap_or_else(|| {
            let kind = logical().fields().get(place).map_or(DataType::Null, |field| field.data_type().clone());
            new_null_array(&kind, self.rows)
        })
    }

    /// Whether any row has a value there.
    pub(crate) fn has(&self, place: usize) -> bool {
        place == at::CLASS_UID || self.columns.get(place).is_some_and(Option::is_some)
    }

    /// Whether some row has this observable.
    pub(crate) fn contains(&self, hash: u32) -> bool {
        self.sorted.binary_search(&hash).is_ok()
    }

    /// The hashes of one row.
    pub(crate) fn hashes_of(&self, row: usize) -> &[u32] {
        let end = self.ends.get(row).copied().unwrap_or(0);
        let start = row.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.hashes.get(start..end).unwrap_or(&[])
    }
}

enum Cells {
    Text(StringViewBuilder),
    Int(Int64Builder),
}

impl Cells {
    fn len(&self) -> usize {
        use datafusion::arrow::array::ArrayBuilder;
        match self {
            Self::Text(cells) => cells.len(),
            Self::Int(cells) => cells.len(),
        }
    }

    fn pad(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.len());
        match self {
            Self::Text(cells) => (0..missing).for_each(|_| cells.append_null()),
            Self::Int(cells) => cells.append_nulls(missing),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(cells) => Arc::new(cells.finish()),
            Self::Int(cells) => Arc::new(cells.finish()),
        }
    }
}

/// Rows of one class and day in the making.
#[derive(Default)]
struct Growing {
    tenants: Vec<TenantId>,
    tenant: StringViewBuilder,
    source: StringViewBuilder,
    times: Vec<i64>,
    received: Vec<i64>,
    activity: Vec<i32>,
    severity: Vec<i32>,
    cells: Vec<Option<Cells>>,
    raw: StringViewBuilder,
    segment: Vec<i64>,
    offset: Vec<i64>,
    index: Vec<i32>,
    part: Vec<i16>,
    hashes: Vec<u32>,
    ends: Vec<usize>,
    bytes: usize,
}

/// Rows in the making, of any class and day. Each parsing thread may fill its own.
#[derive(Default)]
pub struct Chunk {
    growing: BTreeMap<(u32, i32), Growing>,
    pub(crate) sightings: Sightings,
    rows: usize,
    bytes: usize,
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk").field("rows", &self.rows).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Chunk {
    /// One without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rows it holds.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// About how much memory they take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Add a row; its name.
    pub fn append(&mut self, row: &Row<'_>) -> EventId {
        let id = row.id();
        let growing = self.growing.entry((id.class_uid, id.day)).or_default();
        let before = growing.bytes;
        growing.append(row);
        self.bytes += growing.bytes - before;
        self.rows += 1;
        self.sightings.add(row);
        id
    }

    /// What stands in it, sealed; the chunk is empty afterwards, what was sighted stays.
    pub(crate) fn seal(&mut self) -> Vec<Arc<HotBatch>> {
        self.rows = 0;
        self.bytes = 0;
        std::mem::take(&mut self.growing).into_iter().map(|(key, rows)| Arc::new(rows.seal(key))).collect()
    }
}

impl Growing {
    fn append(&mut self, row: &Row<'_>) {
        use std::fmt::Write as _;
        let place = self.times.len();
        self.tenants.push(row.tenant);
        let mut tenant = String::with_capacity(33);
        // Writing to a string cannot fail.
        let _ = write!(tenant, "{}", row.tenant);
        self.tenant.append_value(&tenant);
        self.source.append_value(row.source);
        self.times.push(row.event.time.as_micros());
        self.received.push(row.received.as_micros());
        self.activity.push(small(row.event.activity_id));
        self.severity.push(small(row.event.severity_id));
        self.segment.push(i64::try_from(row.segment).unwrap_or(i64::MAX));
        self.offset.push(i64::try_from(row.offset).unwrap_or(i64::MAX));
        self.index.push(i32::try_from(row.index).unwrap_or(i32::MAX));
        self.part.push(i16::try_from(row.part).unwrap_or(i16::MAX));
        self.bytes += 160 + row.raw.len() + row.source.len();
        for (column, value) in &row.event.columns {
            self.cell(*column, value, place);
        }
        for observable in &row.event.observables {
            self.hashes.push(observable::hash(observable.kind, &observable.value));
        }
        self.hashes.extend(marks_of_row(row.event.odd));
        self.ends.push(self.hashes.len());
        self.raw.append_value(row.raw);
    }

    fn cell(&mut self, column: usize, value: &ColumnValue, place: usize) {
        if column >= COLUMNS.len() {
            return;
        }
        if self.cells.len() <= column {
            self.cells.resize_with(COLUMNS.len(), || None);
        }
        let Some(slot) = self.cells.get_mut(column) else { return };
        let cells = slot.get_or_insert_with(|| match value {
            ColumnValue::Text(_) => Cells::Text(StringViewBuilder::new()),
            ColumnValue::Int(_) => Cells::Int(Int64Builder::new()),
        });
        if cells.len() > place {
            return;
        }
        cells.pad(place);
        match (cells, value) {
            (Cells::Text(cells), ColumnValue::Text(text)) => {
                cells.append_value(text);
                self.bytes += 16 + text.len();
                if let Some(kind) = COLUMN_KINDS.get(column).copied().flatten() {
                    self.hashes.push(observable::hash(kind, text));
                }
            }
            (Cells::Int(cells), ColumnValue::Int(number)) => {
                cells.append_value(*number);
                self.bytes += 8;
            }
            // A value of another type than its column's: the raw text has it.
            _ => {}
        }
    }

    fn seal(mut self, (class_uid, day): (u32, i32)) -> HotBatch {
        let rows = self.times.len();
        let (time_min, time_max) =
            (self.times.iter().copied().min().unwrap_or(0), self.times.iter().copied().max().unwrap_or(0));
        let time = |values: Vec<i64>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(values).with_data_type(time_type()))
        };
        let mut columns: Vec<Option<ArrayRef>> = vec![
            Some(Arc::new(self.tenant.finish())),
            Some(Arc::new(self.source.finish())),
            Some(time(self.times.clone())),
            Some(time(self.received)),
            None,
            Some(Arc::new(Int32Array::from(self.activity))),
            Some(Arc::new(Int32Array::from(self.severity))),
        ];
        self.cells.resize_with(COLUMNS.len(), || None);
        columns.extend(self.cells.into_iter().map(|cells| {
            let mut cells = cells?;
            cells.pad(rows);
            Some(cells.finish()).filter(|column| column.null_count() < rows)
        }));
        debug_assert_eq!(columns.len(), HEAD + COLUMNS.len());
        columns.push(Some(Arc::new(self.raw.finish())));
        columns.push(Some(Arc::new(Int64Array::from(self.segment))));
        columns.push(Some(Arc::new(Int64Array::from(self.offset))));
        columns.push(Some(Arc::new(Int32Array::from(self.index))));
        columns.push(Some(Arc::new(Int16Array::from(self.part))));
        let mut sorted = self.hashes.clone();
        sorted.extend(marks_of_run());
        sorted.sort_unstable();
        sorted.dedup();
        HotBatch {
            class_uid,
            day,
            rows,
            bytes: self.bytes,
            tenants: self.tenants,
            times: self.times,
            columns,
            hashes: self.hashes,
            ends: self.ends,
            sorted,
            time_min,
            time_max,
        }
    }
}

/// A small number, at the end of the range where it is none.
fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}
