//! Rows become a state.

use super::ducklake::Head;
use super::statement;
use super::tenants::Tenants;
use super::turn::failed;
use crate::engine::{Connection, Fault, Pool, Row, values};
use catalog::{CatalogError, Day, File, FileId, RowGroup, State};
use ids::Timestamp;
use std::collections::BTreeMap;

/// Everything live, as the running transaction sees it.
pub(super) async fn state(connection: &mut Connection, tenants: &Tenants) -> Result<State, CatalogError> {
    let head = Head::read(connection).await.map_err(failed)?;
    let files = connection.rows(statement::FILE_LIST, Vec::new()).await.map_err(failed)?;
    let groups = connection.rows(statement::GROUP_LIST, Vec::new()).await.map_err(failed)?;
    let mut rest = groups.as_slice();
    let mut state = State { snapshot: head.map_or(0, |head| unsigned(head.snapshot)), ..State::default() };
    for row in &files {
        let id = row.int(0).map_err(failed)?;
        // Both lists are sorted by file.
        let count = rest.iter().take_while(|group| group.int(0).is_ok_and(|of| of == id)).count();
        let (own, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        rest = others;
        let file = file(row, own, tenants)?;
        state.files.insert(file.id, file);
    }
    for row in connection.rows(statement::CURSOR_LIST, Vec::new()).await.map_err(failed)? {
        state.cursors.insert(row.text(0).map_err(failed)?, row.blob(1).map_err(failed)?);
    }
    Ok(state)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A file from its row and those of its row groups.
pub(super) fn file(row: &Row, groups: &[Row], tenants: &Tenants) -> Result<File, CatalogError> {
    let mut row_groups = Vec::with_capacity(groups.len());
    for group in groups {
        row_groups.push(row_group(group, tenants)?);
    }
    bare(row, row_groups).map_err(failed)
}

fn bare(row: &Row, row_groups: Vec<RowGroup>) -> Result<File, Fault> {
    Ok(File {
        id: FileId::new(row.count(0)?),
        path: row.text(1)?,
        rows: row.count(2)?,
        bytes: row.count(3)?,
        footer_bytes: row.count(4)?,
        class_uid: u32::try_from(row.int(5)?).map_err(Fault::decode)?,
        day: Day::new(i32::try_from(row.int(6)?).map_err(Fault::decode)?),
        level: u8::try_from(row.int(7)?).map_err(Fault::decode)?,
        received_min: Timestamp::from_micros(row.int(8)?),
        received_max: Timestamp::from_micros(row.int(9)?),
        row_groups,
    })
}

fn row_group(row: &Row, tenants: &Tenants) -> Result<RowGroup, CatalogError> {
    Ok(RowGroup {
        tenant: tenants.id(row.int(1).map_err(failed)?)?,
        rows: row.count(2).map_err(failed)?,
        bytes: row.count(3).map_err(failed)?,
        time_min: Timestamp::from_micros(row.int(4).map_err(failed)?),
        time_max: Timestamp::from_micros(row.int(5).map_err(failed)?),
        filter: None,
    })
}

/// The filters of a file's row groups in their order.
pub(super) async fn filters(readers: &Pool, file: i64) -> Result<Vec<Option<Vec<u8>>>, Fault> {
    let places = readers.rows(statement::FILTER_PLACES, values![file]).await?;
    let mut found = BTreeMap::new();
    for row in readers.rows(statement::FILTER_LIST, values![file]).await? {
        found.insert(row.int(0)?, row.blob(1)?);
    }
    places.iter().map(|row| Ok(found.remove(&row.int(0)?))).collect()
}
