//! Answers: rows as JSON, whether they are all, and where they come from.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, TimeUnit,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use ids::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Whole numbers beyond this are written as text: JSON readers would round them (RFC 8785).
const EXACT_MAX: u64 = 1 << 53;

/// One column of an answer.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct AnswerColumn {
    /// Its name.
    pub name: String,
    /// `text`, `integer`, `number`, `boolean`, `time` or `other` (as text).
    pub kind: &'static str,
}

/// What cut an answer short.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// The bound on bytes read.
    Bytes,
    /// The bound on rows.
    Rows,
    /// The bound on time.
    Time,
}

/// Where an answer comes from.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Provenance {
    /// The catalog's snapshot.
    pub snapshot: u64,
    /// Files that were planned to be read.
    pub files: u64,
    /// Runs of rows of one tenant that were planned to be read.
    pub row_groups: u64,
    /// Runs in those files and others that could be left out.
    pub row_groups_skipped: u64,
    /// Rows in what was planned to be read.
    pub rows: u64,
    /// Rows that were looked at in memory.
    pub hot_rows: u64,
    /// Bytes that were read from files.
    pub bytes: u64,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    /// Its columns.
    pub columns: Vec<AnswerColumn>,
    /// Its rows, a value for each column.
    pub rows: Vec<Vec<Value>>,
    /// Whether these are all rows.
    pub complete: bool,
    /// What cut them, where they are not.
    pub cut: Option<Cut>,
    /// The offset at which to go on, where rows were cut.
    pub next_offset: Option<u64>,
    /// Where they come from.
    pub provenance: Provenance,
}

pub(crate) fn columns_of_schema(schema: &Schema) -> Vec<AnswerColumn> {
    let kind = |kind: &DataType| match kind {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text",
        DataType::Boolean => "boolean",
        kind if kind.is_integer() => "integer",
        kind if kind.is_floating() => "number",
        DataType::Timestamp(..) => "time",
        _ => "other",
    };
    let column = |field: &std::sync::Arc<datafusion::arrow::datatypes::Field>| AnswerColumn {
        name: field.name().clone(),
        kind: kind(field.data_type()),
    };
    schema.fields().iter().map(column).collect()
}

/// The rows of batches as JSON values.
#[must_use]
pub fn rows_of(batches: &[RecordBatch], rows_max: usize) -> Vec<Vec<Value>> {
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for batch in batches {
        let start = rows.len();
        let taken = batch.num_rows().min(rows_max.saturating_sub(start));
        rows.resize_with(start + taken, || Vec::with_capacity(batch.num_columns()));
        for column in batch.columns() {
            let cells = cells(column, taken);
            for (row, cell) in rows.iter_mut().skip(start).zip(cells) {
                row.push(cell);
            }
        }
    }
    rows
}

fn cells(column: &dyn Array, rows: usize) -> Vec<Value> {
    let present = |row: usize| !column.is_null(row);
    macro_rules! whole {
        ($kind:ty) => {{
            let values = column.as_primitive::<$kind>();
            (0..rows).map(|row| if present(row) { integer(values.value(row).into()) } else { Value::Null }).collect()
        }};
    }
    macro_rules! text {
        ($values:expr) => {{
            let values = $values;
            let cell = |row| if present(row) { Value::from(values.value(row)) } else { Value::Null };
            (0..rows).map(cell).collect()
        }};
    }
    match column.data_type() {
        DataType::Utf8View => text!(column.as_string_view()),
        DataType::Utf8 => text!(column.as_string::<i32>()),
        DataType::LargeUtf8 => text!(column.as_string::<i64>()),
        DataType::Boolean => text!(column.as_boolean()),
        DataType::Int8 => whole!(Int8Type),
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::Int64 => whole!(Int64Type),
        DataType::UInt8 => whole!(UInt8Type),
        DataType::UInt16 => whole!(UInt16Type),
        DataType::UInt32 => whole!(UInt32Type),
        DataType::UInt64 => whole!(UInt64Type),
        DataType::Float32 => text!(column.as_primitive::<Float32Type>()),
        DataType::Float64 => text!(column.as_primitive::<Float64Type>()),
        DataType::Timestamp(unit, _) => times(column, *unit, rows),
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>();
            let cell = |row| match present(row) {
                true => Value::from(catalog::Day::new(values.value(row)).to_string()),
                false => Value::Null,
            };
            (0..rows).map(cell).collect()
        }
        DataType::Null => vec![Value::Null; rows],
        _ => shown(column, rows),
    }
}

fn integer(number: i128) -> Value {
    if number.unsigned_abs() > EXACT_MAX.into() {
        return Value::from(number.to_string());
    }
    i64::try_from(number).map_or(Value::Null, Value::from)
}

fn times(column: &dyn Array, unit: TimeUnit, rows: usize) -> Vec<Value> {
    let wanted = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let zoned = match unit {
        TimeUnit::Microsecond => column.slice(0, rows),
        _ => match datafusion::arrow::compute::cast(&column.slice(0, rows), &wanted) {
            Ok(cast) => cast,
            Err(_) => return shown(column, rows),
        },
    };
    let values = zoned.as_primitive::<datafusion::arrow::datatypes::TimestampMicrosecondType>();
    values
        .iter()
        .map(|micros| micros.map_or(Value::Null, |micros| Timestamp::from_micros(micros).to_string().into()))
        .collect()
}

fn shown(column: &dyn Array, rows: usize) -> Vec<Value> {
    let options = FormatOptions::default();
    let Ok(formatter) = ArrayFormatter::try_new(column, &options) else { return vec![Value::Null; rows] };
    let cell = |row| match column.is_null(row) {
        true => Value::Null,
        false => Value::from(formatter.value(row).to_string()),
    };
    (0..rows).map(cell).collect()
}
