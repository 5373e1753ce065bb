//! Old snapshots and the files that only they show.

use super::statement;
use crate::engine::{Connection, Fault, Value, values};
use crate::lake_catalog::ducklake::Head;
use ids::Timestamp;

/// The most snapshots of one call.
const SNAPSHOTS_MAX: i64 = 500;
/// The most files of one question.
const FILES_MAX: i64 = 500;

/// Forget snapshots made before an instant, in the running transaction; how many.
pub(super) async fn expire(connection: &mut Connection, before: Timestamp, now: Timestamp) -> Result<u64, Fault> {
    let Some(head) = Head::read(connection).await? else { return Ok(0) };
    // Time may have been set back: all up to the first one that is kept.
    let kept = connection.rows(statement::SNAPSHOT_KEPT, values![before.as_micros(), head.snapshot]).await?;
    let mut first = kept.first().map_or(Ok(head.snapshot), |row| row.int(0))?.min(head.snapshot);
    if let Some(row) = connection.rows(statement::SNAPSHOT_STEP, values![SNAPSHOTS_MAX]).await?.first() {
        first = first.min(row.int(0)?);
    }
    connection.execute(statement::PRESENT, values![now.as_micros()]).await?;
    let gone = connection.execute(statement::SNAPSHOT_EXPIRE, values![first]).await?;
    connection.execute(statement::SNAPSHOT_CHANGES_EXPIRE, values![first]).await?;
    connection.execute(statement::SNAPSHOT_AGE_EXPIRE, values![first]).await?;
    schedule(connection, first, now).await?;
    Ok(gone)
}

/// Files that ended with the first kept snapshot or before are shown by none.
async fn schedule(connection: &mut Connection, first: i64, now: Timestamp) -> Result<(), Fault> {
    loop {
        let ended = connection.rows(statement::FILE_ENDED, values![first, FILES_MAX]).await?;
        if ended.is_empty() {
            return Ok(());
        }
        let (mut ids, mut rows): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for row in &ended {
            let id = row.int(0)?;
            ids.push(Value::Int(id));
            rows.extend(values![id, row.text(1)?, now.as_micros()]);
        }
        statement::SCHEDULE.execute(connection, ids.clone()).await?;
        statement::SCHEDULED_WRITE.execute(connection, rows).await?;
        for table in [
            &statement::FILES_DELETE,
            &statement::STATS_DELETE,
            &statement::PARTITION_VALUES_DELETE,
            &statement::FILES_SIDE_DELETE,
            &statement::GROUPS_DELETE,
            &statement::FILTERS_DELETE,
        ] {
            table.execute(connection, ids.clone()).await?;
        }
    }
}

/// These files are gone from the disk.
pub(super) async fn unlinked(connection: &mut Connection, files: Vec<Value>) -> Result<(), Fault> {
    statement::SCHEDULED_DELETE.execute(connection, files.clone()).await?;
    statement::SCHEDULED_DUCKLAKE_DELETE.execute(connection, files).await?;
    Ok(())
}
