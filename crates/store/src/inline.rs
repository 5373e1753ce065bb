//! A connection to `SQLite` on the caller's own thread: no statement is a way to another thread and back. For the writer,
//! which has a thread of its own and would wait for each statement anyway; each way costs two wakes, and a batch has half a
//! dozen statements. It must never be used on a thread that others need: every call blocks until the disk has answered.

use crate::engine::{Fault, Value};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// A connection that blocks.
pub(crate) struct Inline {
    connection: Connection,
}

impl Inline {
    /// Open the file, which is made where it is missing, for reading and writing; `settings` are `PRAGMA` statements.
    pub(crate) fn open(file: &Path, busy: Duration, statements: usize, settings: &str) -> Result<Self, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(busy)?;
        connection.set_prepared_statement_cache_capacity(statements);
        connection.execute_batch(settings)?;
        Ok(Self { connection })
    }

    /// Run a statement to its end; the number of rows it changed.
    pub(crate) fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let mut statement = self.bound(sql, values)?;
        let mut rows = statement.raw_query();
        while rows.next()?.is_some() {}
        Ok(self.connection.changes())
    }

    /// Run a statement and take all rows of its answer.
    pub(crate) fn rows(&self, sql: &str, values: &[Value]) -> Result<Vec<Vec<Value>>, Fault> {
        let mut statement = self.bound(sql, values)?;
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        let mut answer = Vec::new();
        while let Some(row) = rows.next()? {
            let row: Result<Vec<Value>, Fault> = (0..columns).map(|column| value(row.get_ref(column)?)).collect();
            answer.push(row?);
        }
        Ok(answer)
    }

    /// Run a text of several statements without values.
    pub(crate) fn script(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.connection.execute_batch(sql)?)
    }

    /// Prepare a statement without running it.
    #[cfg(test)]
    pub(crate) fn prepare(&self, sql: &str) -> Result<(), Fault> {
        Ok(self.connection.prepare(sql).map(drop)?)
    }

    /// A place is `?`, the next value, or `$n`, the value of that number from 1.
    fn bound(&self, sql: &str, values: &[Value]) -> Result<CachedStatement<'_>, Fault> {
        let mut statement = self.connection.prepare_cached(sql)?;
        for place in 1..=statement.parameter_count() {
            let named =
                statement.parameter_name(place).map(|name| name.trim_start_matches(['$', '?']).parse::<usize>());
            let number = named.transpose().map_err(Fault::decode)?.unwrap_or(place);
            let value = number.checked_sub(1).and_then(|at| values.get(at));
            match value.ok_or_else(|| Fault::decode(format!("no value for place {number} of a statement")))? {
                Value::Int(value) => statement.raw_bind_parameter(place, value)?,
                Value::Text(value) => statement.raw_bind_parameter(place, value)?,
                Value::Blob(value) => statement.raw_bind_parameter(place, value)?,
                Value::NoInt | Value::NoText => statement.raw_bind_parameter(place, rusqlite::types::Null)?,
            }
        }
        Ok(statement)
    }
}

fn value(stored: ValueRef<'_>) -> Result<Value, Fault> {
    Ok(match stored {
        ValueRef::Null => Value::NoInt,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Text(text) => Value::Text(std::str::from_utf8(text).map_err(Fault::decode)?.to_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Real(_) => return Err(Fault::decode("a stored number that is not whole")),
    })
}
