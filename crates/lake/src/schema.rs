//! The one logical table `events`: its columns, their types in Arrow, in the catalog and in Parquet.
//!
//! Where each column stands is fixed here and nowhere else; the catalog gives the field ids. Must never depend on data.

use catalog::{ColumnKind, Table, TableError};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use event::mapping::{COLUMNS, ColumnType, columns_of};
use std::sync::{Arc, LazyLock};

/// How many columns stand before those of `event::mapping::COLUMNS`.
pub(crate) const HEAD: usize = 7;
/// How many stand after them: raw and the place in the log.
pub(crate) const TAIL: usize = 5;
/// How many columns the logical table has.
pub(crate) const WIDTH: usize = HEAD + COLUMNS.len() + TAIL;

/// Places of the fixed columns in the logical table.
pub(crate) mod at {
    use super::HEAD;
    use event::mapping::COLUMNS;

    pub(crate) const TENANT: usize = 0;
    pub(crate) const TIME: usize = 2;
    pub(crate) const RECEIVED: usize = 3;
    pub(crate) const CLASS_UID: usize = 4;
    pub(crate) const RAW: usize = HEAD + COLUMNS.len();
    pub(crate) const LOG_SEGMENT: usize = RAW + 1;
    pub(crate) const LOG_OFFSET: usize = RAW + 2;
    pub(crate) const LOG_INDEX: usize = RAW + 3;
    pub(crate) const LOG_PART: usize = RAW + 4;
}

/// The class of detections (OCSF Detection Finding).
pub const DETECTION_CLASS: u32 = 2004;
/// The classes of response actions (OCSF Remediation Activity: any, of files, of processes, of networks).
pub(crate) const REMEDIATION_CLASSES: [u32; 4] = [7001, 7002, 7003, 7004];

static LOGICAL: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mut fields = vec![
        Field::new("tenant", DataType::Utf8View, false),
        Field::new("source", DataType::Utf8View, false),
        Field::new("time", time_type(), false),
        Field::new("received", time_type(), false),
        Field::new("class_uid", DataType::Int32, false),
        Field::new("activity_id", DataType::Int32, false),
        Field::new("severity_id", DataType::Int32, false),
    ];
    fields.extend(COLUMNS.iter().map(|column| {
        let kind = match column.kind {
            ColumnType::Text => DataType::Utf8View,
            ColumnType::Int => DataType::Int64,
        };
        Field::new(column.name, kind, true)
    }));
    fields.extend([
        Field::new("raw", DataType::Utf8View, false),
        Field::new("log_segment", DataType::Int64, false),
        Field::new("log_offset", DataType::Int64, false),
        Field::new("log_index", DataType::Int32, false),
        Field::new("log_part", DataType::Int16, false),
    ]);
    Arc::new(Schema::new(fields))
});

/// The Arrow type of `time` and `received`: microseconds since 1970 in UTC.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The logical table's schema, all columns.
pub(crate) fn logical() -> &'static SchemaRef {
    &LOGICAL
}

/// The place of a column in the logical table.
pub(crate) fn place(name: &str) -> Option<usize> {
    LOGICAL.index_of(name).ok()
}

/// The places of a class's columns in the logical table, in order.
pub(crate) fn places_of(class_uid: u32) -> Vec<usize> {
    let mut places: Vec<usize> = (0..HEAD).collect();
    places.extend(columns_of(class_uid).filter_map(|column| place(column.name)));
    places.extend(at::RAW..WIDTH);
    places
}

/// The table as the catalog wants to know it.
///
/// # Errors
/// Never with the columns of this build; the type is the catalog's.
pub fn table() -> Result<Table, TableError> {
    Table::new(LOGICAL.fields().iter().map(|field| (field.name().clone(), kind_of(field.data_type()))))
}

fn kind_of(kind: &DataType) -> ColumnKind {
    match kind {
        DataType::Int16 => ColumnKind::Int16,
        DataType::Int32 => ColumnKind::Int32,
        DataType::Int64 => ColumnKind::Int64,
        DataType::Timestamp(..) => ColumnKind::Time,
        _ => ColumnKind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_places_are_where_their_names_are() {
        for (at, name) in [
            (at::TENANT, "tenant"),
            (at::TIME, "time"),
            (at::RECEIVED, "received"),
            (at::CLASS_UID, "class_uid"),
            (at::RAW, "raw"),
            (at::LOG_SEGMENT, "log_segment"),
            (at::LOG_OFFSET, "log_offset"),
            (at::LOG_INDEX, "log_index"),
            (at::LOG_PART, "log_part"),
        ] {
            assert_eq!(place(name), Some(at));
        }
        assert_eq!(logical().fields().len(), WIDTH);
        assert_eq!(table().unwrap().columns().len(), WIDTH);
    }
}
