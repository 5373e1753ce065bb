//! A change becomes rows, in one transaction.

use super::ducklake::{Head, Totals, number, widen, write_file, write_snapshot};
use super::load::file;
use super::tenants::Tenants;
use super::turn::failed;
use super::{entity, hold, statement};
use crate::engine::{Connection, Fault, Value, values};
use catalog::{CatalogError, Change, Committed, File, FileId, Intent, NewFile, Table};
use ids::{TenantId, Timestamp};

const NOTE_CHARS_MAX: usize = 200;

/// Apply a change in the running transaction; what became of it, and the tenants known after it.
pub(super) async fn apply(
    connection: &mut Connection,
    table: &Table,
    tenants: &Tenants,
    change: &Change,
    now: Timestamp,
) -> Result<(Committed, Tenants), CatalogError> {
    stand(connection, &change.was).await?;
    let removed = live(connection, tenants, &change.remove).await?;
    live(connection, tenants, &change.expect).await?;
    let holds = if change.remove.is_empty() { Vec::new() } else { hold::list(connection).await? };
    change.check(table, &removed, &holds)?;
    let tenants = tenants.enrol(connection, named(change)).await?;
    let committed = write(connection, table, &tenants, change, &removed, now).await.map_err(failed)?;
    entity::add(connection, &tenants, &change.entities).await?;
    for (name, cursor) in &change.cursors {
        let row = values![name, cursor.clone()];
        connection.execute(statement::CURSOR_WRITE, row).await.map_err(failed)?;
    }
    Ok((committed, tenants))
}

fn named(change: &Change) -> impl Iterator<Item = TenantId> {
    let groups = change.add.iter().flat_map(|file| &file.row_groups).map(|group| group.tenant);
    groups.chain(change.entities.iter().map(|count| count.tenant))
}

/// Whether cursors stand where the change expects them.
async fn stand(connection: &mut Connection, was: &[(String, Option<Vec<u8>>)]) -> Result<(), CatalogError> {
    for (name, was) in was {
        let rows = connection.rows(statement::CURSOR_READ, values![name]).await.map_err(failed)?;
        let stands = rows.first().map(|row| row.blob(0)).transpose().map_err(failed)?;
        if stands != *was {
            return Err(CatalogError::Moved(name.clone()));
        }
    }
    Ok(())
}

/// These files, all of which must be part of the table.
async fn live(connection: &mut Connection, tenants: &Tenants, wanted: &[FileId]) -> Result<Vec<File>, CatalogError> {
    let mut files = Vec::with_capacity(wanted.len());
    for id in wanted {
        let place = values![number(id.get())];
        let rows = connection.rows(statement::FILE_READ, place.clone()).await.map_err(failed)?;
        let Some(row) = rows.first() else { return Err(CatalogError::Conflict(*id)) };
        let groups = connection.rows(statement::GROUP_READ, place).await.map_err(failed)?;
        files.push(file(row, &groups, tenants)?);
    }
    Ok(files)
}

async fn write(
    connection: &mut Connection,
    table: &Table,
    tenants: &Tenants,
    change: &Change,
    removed: &[File],
    now: Timestamp,
) -> Result<Committed, Fault> {
    let Some(mut head) = Head::read(connection).await? else { return Err(Fault::decode("there is no snapshot")) };
    let mut ids = Vec::with_capacity(change.add.len());
    if change.changes_files() {
        connection.execute(statement::PRESENT, values![now.as_micros()]).await?;
        head.snapshot += 1;
        let mut totals = Totals::read(connection).await?;
        for file in removed {
            connection.execute(statement::FILE_END, values![number(file.id.get()), head.snapshot]).await?;
            totals.rows -= number(file.rows);
            totals.bytes -= number(file.bytes);
        }
        for file in &change.add {
            let id = head.next_file;
            head.next_file += 1;
            write_file(connection, table, (id, head.snapshot, totals.next_row), file).await?;
            write_side(connection, tenants, id, file).await?;
            totals.rows += number(file.rows);
            totals.next_row += number(file.rows);
            totals.bytes += number(file.bytes);
            ids.push(FileId::new(u64::try_from(id).map_err(Fault::decode)?));
        }
        totals.write(connection).await?;
        widen(connection, table, &change.add).await?;
        let note = Some(change.note.chars().filter(|c| *c != '\0').take(NOTE_CHARS_MAX).collect::<String>());
        let note = note.filter(|note| !note.is_empty());
        write_snapshot(connection, &head, made(change), note, now).await?;
    }
    Ok(Committed { snapshot: u64::try_from(head.snapshot).map_err(Fault::decode)?, ids })
}

/// What a change did in `DuckLake`'s words.
fn made(change: &Change) -> &'static str {
    match (change.intent, change.add.is_empty()) {
        (Intent::Append, _) => "inserted_into_table:1",
        (Intent::Rewrite, _) => "merge_adjacent:1",
        (Intent::Drop, true) => "deleted_from_table:1",
        (Intent::Drop, false) => "inserted_into_table:1,deleted_from_table:1",
    }
}

/// Row groups, filters and what else `DuckLake` has no column for.
async fn write_side(connection: &mut Connection, tenants: &Tenants, id: i64, file: &NewFile) -> Result<(), Fault> {
    let (received_min, received_max) = (file.received_min.as_micros(), file.received_max.as_micros());
    let row = values![id, i64::from(file.class_uid), i64::from(file.day.get()), i64::from(file.level)];
    let row = row.into_iter().chain(values![received_min, received_max]).collect();
    statement::FILES_WRITE.execute(connection, row).await?;
    let mut groups: Vec<Value> = Vec::with_capacity(file.row_groups.len() * 7);
    for (position, group) in (0_i64..).zip(&file.row_groups) {
        let tenant = tenants.number(group.tenant).ok_or_else(|| Fault::decode("a tenant has no number"))?;
        let (rows, bytes) = (number(group.rows), number(group.bytes));
        groups.extend(values![
            id,
            position,
            tenant,
            rows,
            bytes,
            group.time_min.as_micros(),
            group.time_max.as_micros()
        ]);
        if let Some(filter) = &group.filter {
            connection.execute(statement::FILTER_WRITE, values![id, position, filter.clone()]).await?;
        }
    }
    statement::GROUPS_WRITE.execute(connection, groups).await?;
    Ok(())
}
