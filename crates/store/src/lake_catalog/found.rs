//! The first snapshots of a catalog, and a further one where the table has grown columns.

use super::ducklake::{Head, write_snapshot};
use super::statement;
use crate::engine::{Connection, Fault, values};
use catalog::{Column, ColumnKind, Table};
use ids::Timestamp;

/// Which part of a day each key of the partitioning holds. `DuckLake`'s `day` is that of the month.
const PARTITION: [(&str, &str); 4] = [("class_uid", "identity"), ("time", "year"), ("time", "month"), ("time", "day")];

/// The columns that the catalog holds.
pub(super) async fn stored(connection: &mut Connection) -> Result<Table, Fault> {
    let mut columns = Vec::new();
    for row in connection.rows(statement::COLUMN_LIST, Vec::new()).await? {
        let id = u32::try_from(row.int(0)?).map_err(Fault::decode)?;
        let (name, text) = (row.text(1)?, row.text(2)?);
        let kind = ColumnKind::from_ducklake(&text).ok_or_else(|| {
            Fault::decode(format!("column `{name}` has the type `{text}`, which this program has not"))
        })?;
        columns.push(Column { id, name, kind });
    }
    Ok(Table::stored(columns))
}

/// Bring the catalog to this table, in the running transaction.
pub(super) async fn bring_up(
    connection: &mut Connection,
    table: &Table,
    data_path: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    connection.execute(statement::PRESENT, values![now.as_micros()]).await?;
    let known = stored(connection).await?;
    let fresh = Head::read(connection).await?.is_none();
    if fresh {
        for (key, value) in
            [("version", "1.0"), ("created_by", "Posse"), ("data_path", data_path), ("encrypted", "false")]
        {
            connection.execute(statement::METADATA_WRITE, values![key, value]).await?;
        }
        connection.execute(statement::TABLE_STATS_MAKE, Vec::new()).await?;
        let head = Head { snapshot: 0, schema_version: 0, next_catalog: 1, next_file: 0 };
        write_snapshot(connection, &head, "created_schema:\"main\"", None, now).await?;
    } else {
        // The folder may have been moved.
        connection.execute(statement::DATA_PATH, values![data_path]).await?;
    }
    let grown: Vec<&Column> = table.columns().iter().filter(|column| known.column(&column.name).is_none()).collect();
    if grown.is_empty() {
        return Ok(());
    }
    let Some(mut head) = Head::read(connection).await? else { return Err(Fault::decode("there is no snapshot")) };
    head.snapshot += 1;
    head.schema_version += 1;
    for column in grown {
        let (id, kind) = (i64::from(column.id), column.kind.ducklake());
        let row = values![id, head.snapshot, column.name.as_str(), kind];
        connection.execute(statement::COLUMN_WRITE, row).await?;
        connection.execute(statement::COLUMN_STATS_MAKE, values![id]).await?;
    }
    let changes = if fresh {
        head.next_catalog = 3;
        connection.execute(statement::PARTITION_WRITE, values![head.snapshot]).await?;
        for (index, (name, transform)) in (0_i64..).zip(PARTITION) {
            let column = table.column(name).map_or(0, |column| i64::from(column.id));
            connection.execute(statement::PARTITION_COLUMN_WRITE, values![index, column, transform]).await?;
        }
        "created_table:\"main\".\"events\""
    } else {
        "altered_table:1"
    };
    connection.execute(statement::SCHEMA_VERSION_WRITE, values![head.snapshot, head.schema_version]).await?;
    write_snapshot(connection, &head, changes, None, now).await
}
