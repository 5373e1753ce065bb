//! Holds as rows.

use super::statement;
use super::turn::failed;
use crate::engine::{Connection, Fault, Row, Value, values};
use catalog::{CatalogError, Day, Hold};

/// Every hold, as the running transaction sees it.
pub(super) async fn list(connection: &mut Connection) -> Result<Vec<Hold>, CatalogError> {
    let rows = connection.rows(statement::HOLD_LIST, Vec::new()).await.map_err(failed)?;
    rows.iter().map(read).collect()
}

/// A hold from its row.
pub(super) fn read(row: &Row) -> Result<Hold, CatalogError> {
    let tenant = row.text(1).map_err(failed)?;
    let class_uid = row.maybe_int(2).map_err(failed)?.map(u32::try_from).transpose();
    Ok(Hold {
        id: row.text(0).map_err(failed)?,
        tenant: tenant.parse().map_err(|_| CatalogError::Corrupt(format!("`{tenant}` is no tenant")))?,
        class_uid: class_uid.map_err(Fault::decode).map_err(failed)?,
        from: day(row, 3).map_err(failed)?,
        to: day(row, 4).map_err(failed)?,
    })
}

fn day(row: &Row, column: usize) -> Result<Option<Day>, Fault> {
    let days = row.maybe_int(column)?.map(i32::try_from).transpose().map_err(Fault::decode)?;
    Ok(days.map(Day::new))
}

/// The row of a hold.
pub(super) fn row(hold: &Hold) -> Vec<Value> {
    let day = |day: Option<Day>| day.map(|day| i64::from(day.get()));
    values![&hold.id, hold.tenant.to_string(), hold.class_uid.map(i64::from), day(hold.from), day(hold.to)]
}
