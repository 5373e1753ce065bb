//! The two engines behind one door: `SQLite` and `PostgreSQL`, same statement text, same values, same rows.
//!
//! Only 64-bit integers, text and bytes cross this door, so that both engines store the same thing. It must never
//! accept statement text that is not `'static`: no text from outside can become SQL.

use crate::inline::Inline;
use futures::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{Arguments as _, ConnectOptions as _, Connection as _, PgConnection, Row as _, SqliteConnection};

/// What a statement is given.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
    NoInt,
    NoText,
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}
impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}
impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(value)
    }
}
impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::NoInt, Self::Int)
    }
}
impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        value.map_or(Self::NoText, Self::Text)
    }
}

/// A list of [`Value`]s.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::engine::Value::from($value)),*] };
}
pub(crate) use values;

/// An engine refused or failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum Fault {
    Driver(#[from] sqlx::Error),
    Inline(#[from] rusqlite::Error),
}

impl Fault {
    /// Whether a uniqueness or reference rule of the schema was hit: the statement is at fault, not the engine.
    pub(crate) fn is_constraint(&self) -> bool {
        use rusqlite::ffi;
        const RULES: [i32; 5] = [
            ffi::SQLITE_CONSTRAINT_UNIQUE,
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY,
            ffi::SQLITE_CONSTRAINT_NOTNULL,
            ffi::SQLITE_CONSTRAINT_CHECK,
        ];
        match self {
            Self::Driver(error) => {
                error.as_database_error().is_some_and(|error| !matches!(error.kind(), sqlx::error::ErrorKind::Other))
            }
            Self::Inline(error) => error.sqlite_error().is_some_and(|error| RULES.contains(&error.extended_code)),
        }
    }

    /// A stored value that has not the type that its column promises.
    pub(crate) fn decode(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Driver(sqlx::Error::Decode(what.into()))
    }
}

/// One row of an answer; columns by position from 0.
pub(crate) enum Row {
    Inline(Vec<Value>),
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! column {
    ($($name:ident: $type:ty = $($value:pat => $read:expr),+;)*) => {$(
        pub(crate) fn $name(&self, column: usize) -> Result<$type, Fault> {
            Ok(match self {
                Self::Inline(row) => match row.get(column) {
                    $(Some($value) => $read,)+
                    _ => return Err(Fault::decode(format!("column {column} is missing or of another type"))),
                },
                Self::Sqlite(row) => row.try_get(column)?,
                Self::Postgres(row) => row.try_get(column)?,
            })
        }
    )*};
}

impl Row {
    column! {
        int: i64 = Value::Int(value) => *value;
        text: String = Value::Text(value) => value.clone();
        blob: Vec<u8> = Value::Blob(value) => value.clone();
        maybe_int: Option<i64> = Value::Int(value) => Some(*value), Value::NoInt | Value::NoText => None;
        maybe_text: Option<String> = Value::Text(value) => Some(value.clone()), Value::NoInt | Value::NoText => None;
    }

    /// A count or position, which the schema never stores below zero.
    pub(crate) fn count(&self, column: usize) -> Result<u64, Fault> {
        u64::try_from(self.int(column)?).map_err(Fault::decode)
    }
}

fn sqlite_arguments(values: Vec<Value>) -> Result<SqliteArguments, Fault> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Blob(value) => arguments.add(value),
            Value::NoInt => arguments.add(None::<i64>),
            Value::NoText => arguments.add(None::<String>),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn postgres_arguments(values: Vec<Value>) -> Result<PgArguments, Fault> {
    let mut arguments = PgArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Blob(value) => arguments.add(value),
            Value::NoInt => arguments.add(None::<i64>),
            Value::NoText => arguments.add(None::<String>),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// The writer's own connection.
pub(crate) enum Connection {
    /// On the caller's thread, which waits.
    Inline(Inline),
    /// On a thread of the driver's.
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    /// Which of the two engines this is.
    pub(crate) const fn is_sqlite(&self) -> bool {
        !matches!(self, Self::Postgres(_))
    }

    pub(crate) async fn sqlite(options: &SqliteConnectOptions) -> Result<Self, Fault> {
        Ok(Self::Sqlite(options.connect().await?))
    }

    pub(crate) async fn postgres(options: &PgConnectOptions) -> Result<Self, Fault> {
        Ok(Self::Postgres(options.connect().await?))
    }

    /// Run a statement; the number of rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, Fault> {
        Ok(match self {
            Self::Inline(connection) => connection.execute(sql, &values)?,
            Self::Sqlite(connection) => {
                sqlx::query_with(sql, sqlite_arguments(values)?).execute(connection).await?.rows_affected()
            }
            Self::Postgres(connection) => {
                sqlx::query_with(sql, postgres_arguments(values)?).execute(connection).await?.rows_affected()
            }
        })
    }

    /// Run a statement and take all rows of its answer.
    pub(crate) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, Fault> {
        Ok(match self {
            Self::Inline(connection) => connection.rows(sql, &values)?.into_iter().map(Row::Inline).collect(),
            Self::Sqlite(connection) => {
                sqlx::query_with(sql, sqlite_arguments(values)?)
                    .fetch(connection)
                    .map_ok(Row::Sqlite)
                    .try_collect()
                    .await?
            }
            Self::Postgres(connection) => {
                let query = sqlx::query_with(sql, postgres_arguments(values)?);
                query.fetch(connection).map_ok(Row::Postgres).try_collect().await?
            }
        })
    }

    /// Run a text of several statements without values: migrations and settings.
    pub(crate) async fn script(&mut self, sql: &'static str) -> Result<(), Fault> {
        match self {
            Self::Inline(connection) => connection.script(sql)?,
            Self::Sqlite(connection) => sqlx::raw_sql(sql).execute(connection).await.map(|_| ())?,
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(connection).await.map(|_| ())?,
        }
        Ok(())
    }

    /// Start a transaction that may write.
    pub(crate) async fn begin(&mut self) -> Result<(), Fault> {
        // SQLite takes the write lock at once: a later upgrade could fail half-way through a batch.
        let sql = if self.is_sqlite() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.execute(sql, Vec::new()).await.map(drop)
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Fault> {
        self.execute("COMMIT", Vec::new()).await.map(drop)
    }

    pub(crate) async fn rollback(&mut self) -> Result<(), Fault> {
        self.execute("ROLLBACK", Vec::new()).await.map(drop)
    }

    pub(crate) async fn savepoint(&mut self) -> Result<(), Fault> {
        self.execute("SAVEPOINT errand", Vec::new()).await.map(drop)
    }

    pub(crate) async fn undo_savepoint(&mut self) -> Result<(), Fault> {
        self.execute("ROLLBACK TO SAVEPOINT errand", Vec::new()).await.map(drop)
    }

    pub(crate) async fn release_savepoint(&mut self) -> Result<(), Fault> {
        self.execute("RELEASE SAVEPOINT errand", Vec::new()).await.map(drop)
    }

    pub(crate) async fn close(self) {
        // An error while saying goodbye changes nothing: what was answered is durable already.
        match self {
            Self::Inline(connection) => drop(connection),
            Self::Sqlite(connection) => drop(connection.close().await),
            Self::Postgres(connection) => drop(connection.close().await),
        }
    }

    /// Prepare a statement without running it.
    #[cfg(test)]
    pub(crate) async fn prepare(&mut self, sql: &'static str) -> Result<(), Fault> {
        use sqlx::{Executor as _, SqlSafeStr as _};
        match self {
            Self::Inline(connection) => connection.prepare(sql)?,
            Self::Sqlite(connection) => drop(connection.prepare(sql.into_sql_str()).await?),
            Self::Postgres(connection) => drop(connection.prepare(sql.into_sql_str()).await?),
        }
        Ok(())
    }
}

/// The readers' connections.
#[derive(Clone)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    /// Connections that cannot write: the engine refuses it.
    pub(crate) fn sqlite(options: SqliteConnectOptions, readers: u32) -> Self {
        let pool = SqlitePoolOptions::new().max_connections(readers).test_before_acquire(false);
        Self::Sqlite(pool.idle_timeout(None).max_lifetime(None).connect_lazy_with(options))
    }

    pub(crate) fn postgres(options: PgConnectOptions, readers: u32) -> Self {
        Self::Postgres(PgPoolOptions::new().max_connections(readers).connect_lazy_with(options))
    }

    /// Run a reading statement and take all rows of its answer.
    pub(crate) async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, Fault> {
        Ok(match self {
            Self::Sqlite(pool) => {
                sqlx::query_with(sql, sqlite_arguments(values)?).fetch(pool).map_ok(Row::Sqlite).try_collect().await?
            }
            Self::Postgres(pool) => {
                sqlx::query_with(sql, postgres_arguments(values)?)
                    .fetch(pool)
                    .map_ok(Row::Postgres)
                    .try_collect()
                    .await?
            }
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}
