//! Open connections whose settings keep what is acknowledged, and hold the lock that keeps a second process out.

use crate::config::{OpenError, Target};
use crate::engine::{Connection, Fault, Pool};
use crate::inline::Inline;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

/// Statements that are kept prepared on each connection: all of ours, in all sizes.
const STATEMENTS_CACHED: usize = 512;

/// Rows that the engine's thread may be ahead of whom it reads for: as many as any page has, since each wait of one for
/// the other costs more than a row.
const ROWS_AHEAD: usize = 1024;

/// How long one connection waits for another to let go of the file.
const BUSY: Duration = Duration::from_secs(5);

/// `SQLite`: settings of a connection that writes, checked once they are made.
pub(crate) const WRITER: &str = "PRAGMA foreign_keys = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY";

/// `PostgreSQL`: one process for a schema. The lock dies with the session.
const LOCK: &str = "SELECT CASE WHEN pg_try_advisory_lock(hashtextextended('posse/' || current_schema(), 0)) \
    THEN 1::bigint ELSE 0::bigint END";

/// `PostgreSQL`: the lake's catalog stands in a schema of its own beside the state's.
const LAKE_SCHEMA_MAKE: &str =
    "DO $$ BEGIN EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I', current_schema() || '_lake'); END $$";
const LAKE_SCHEMA: &str = "SELECT quote_ident(current_schema() || '_lake')";

/// Opens the writer's connection, again after a fault.
pub(crate) enum Opener {
    Postgres(Box<PgConnectOptions>),
    /// How to connect, and the settings of a writer on a thread of its own.
    Sqlite(Box<SqliteConnectOptions>, &'static str),
}

/// Held as long as the store is open.
pub(crate) struct Lock {
    _file: Option<File>,
}

/// How connections to this target are opened, and the lock on it.
pub(crate) fn target(target: &Target) -> Result<(Opener, Lock), OpenError> {
    match target {
        Target::Sqlite { dir } => {
            let lock = lock(dir, "lock")?;
            Ok((sqlite(dir, "state.db")?, Lock { _file: Some(lock) }))
        }
        Target::Postgres { url } => {
            let options: PgConnectOptions = url.parse().map_err(|error| OpenError::Url(Box::new(error)))?;
            let options = options.statement_cache_capacity(STATEMENTS_CACHED).disable_statement_logging();
            Ok((Opener::Postgres(Box::new(options)), Lock { _file: None }))
        }
    }
}

/// How connections to the lake's catalog beside this target's state are opened, and the lock on it.
pub(crate) async fn lake_target(target: &Target) -> Result<(Opener, Lock), OpenError> {
    match target {
        Target::Sqlite { dir } => {
            let lock = lock(dir, "lake.lock")?;
            Ok((sqlite(dir, "lake.db")?, Lock { _file: Some(lock) }))
        }
        Target::Postgres { url } => {
            let options: PgConnectOptions = url.parse().map_err(|error| OpenError::Url(Box::new(error)))?;
            let options = options.statement_cache_capacity(STATEMENTS_CACHED).disable_statement_logging();
            let schema = lake_schema(&options).await.map_err(OpenError::engine)?;
            // The last of several settings of one name is what counts.
            Ok((Opener::Postgres(Box::new(options.options([("search_path", schema)]))), Lock { _file: None }))
        }
    }
}

/// Make the schema of the lake's catalog, named after the state's own; its name.
async fn lake_schema(options: &PgConnectOptions) -> Result<String, Fault> {
    let mut connection = Connection::postgres(options).await?;
    connection.script(LAKE_SCHEMA_MAKE).await?;
    let rows = connection.rows(LAKE_SCHEMA, Vec::new()).await?;
    let name = rows.first().map(|row| row.text(0)).transpose()?.unwrap_or_default();
    connection.close().await;
    Ok(name)
}

fn sqlite(dir: &Path, name: &str) -> Result<Opener, OpenError> {
    let file = dir.join(name);
    private_file(&file).map_err(OpenError::Directory)?;
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        .statement_cache_capacity(STATEMENTS_CACHED)
        .row_buffer_size(ROWS_AHEAD)
        .disable_statement_logging();
    Ok(Opener::Sqlite(Box::new(options), WRITER))
}

fn lock(dir: &Path, name: &str) -> Result<File, OpenError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(OpenError::Directory)?;
    let file = private_file(&dir.join(name)).map_err(OpenError::Directory)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked),
        Err(TryLockError::Error(error)) => Err(OpenError::Directory(error)),
    }
}

/// Made here, so that nobody else can read it: the engine itself would take the process's mask.
fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl Opener {
    /// The one connection that writes, its settings checked.
    pub(crate) async fn writer(&self) -> Result<Connection, OpenError> {
        match self {
            Self::Sqlite(options, _) => {
                let options = options
                    .as_ref()
                    .clone()
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .pragma("cache_size", "-16384")
                    .pragma("temp_store", "MEMORY");
                checked(Connection::sqlite(&options).await.map_err(OpenError::engine)?).await
            }
            Self::Postgres(options) => {
                let mut connection = Connection::postgres(options).await.map_err(OpenError::engine)?;
                let commit = "SELECT current_setting('synchronous_commit')";
                setting(&mut connection, "synchronous_commit", commit, &["on", "remote_apply", "local"]).await?;
                setting(&mut connection, "fsync", "SELECT current_setting('fsync')", &["on"]).await?;
                let full_pages = "SELECT current_setting('full_page_writes')";
                setting(&mut connection, "full_page_writes", full_pages, &["on"]).await?;
                let locked = async { connection.rows(LOCK, Vec::new()).await?.first().map_or(Ok(0), |row| row.int(0)) };
                if locked.await.map_err(OpenError::engine)? == 1 { Ok(connection) } else { Err(OpenError::Locked) }
            }
        }
    }

    /// The one connection that writes, for a thread that nobody else needs: `SQLite` runs on it.
    pub(crate) async fn own_writer(&self) -> Result<Connection, OpenError> {
        let Self::Sqlite(options, settings) = self else { return self.writer().await };
        let opened = Inline::open(options.get_filename(), BUSY, STATEMENTS_CACHED, settings);
        checked(Connection::Inline(opened.map_err(OpenError::engine)?)).await
    }

    /// Connections that read.
    pub(crate) fn readers(&self, readers: u32) -> Pool {
        let readers = readers.clamp(1, 64);
        match self {
            Self::Sqlite(options, _) => {
                let options = options.as_ref().clone().read_only(true).pragma("cache_size", "-4096");
                Pool::sqlite(options, readers)
            }
            Self::Postgres(options) => {
                let options = options.as_ref().clone().options([("default_transaction_read_only", "on")]);
                Pool::postgres(options, readers)
            }
        }
    }

    /// Write the files anew, so that nothing that was deleted is left in them. Outside of a transaction, by the writer.
    ///
    /// `SQLite` makes a copy of what is live in a temporary file, outside of the folder and gone with its descriptor; it may
    /// be larger than memory. Then its log is emptied. For `PostgreSQL` the statement names the tables.
    pub(crate) async fn scrub(&self, connection: &mut Connection, tables: &'static str) -> Result<(), Fault> {
        if matches!(self, Self::Postgres(_)) {
            return connection.execute(tables, Vec::new()).await.map(drop);
        }
        connection.execute("PRAGMA temp_store = FILE", Vec::new()).await?;
        let written = connection.execute("VACUUM", Vec::new()).await;
        connection.execute("PRAGMA temp_store = MEMORY", Vec::new()).await?;
        written?;
        self.verify(connection).await
    }

    /// After a failed commit: what the log holds must reach the database file and the disk, or nothing more is written.
    ///
    /// The kernel reports a failed sync once and forgets the pages; copying the whole log over and syncing again is
    /// the proof that no acknowledged commit hangs on pages that were never written. `PostgreSQL` does the same by
    /// itself: it stops and recovers from its log.
    pub(crate) async fn verify(&self, connection: &mut Connection) -> Result<(), Fault> {
        if matches!(self, Self::Postgres(_)) {
            return Ok(());
        }
        let rows = connection.rows("PRAGMA wal_checkpoint(TRUNCATE)", Vec::new()).await?;
        match rows.first().map(|row| row.int(0)).transpose()? {
            Some(0) => Ok(()),
            _ => Err(Fault::decode("the log could not be copied into the database yet: a reader is busy")),
        }
    }
}

/// A connection to `SQLite` whose settings keep what is acknowledged.
async fn checked(mut connection: Connection) -> Result<Connection, OpenError> {
    setting(&mut connection, "journal_mode", "SELECT journal_mode FROM pragma_journal_mode", &["wal"]).await?;
    // 2 is FULL: each commit is synced before it is acknowledged.
    let synchronous = "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous";
    setting(&mut connection, "synchronous", synchronous, &["2"]).await?;
    let foreign_keys = "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys";
    setting(&mut connection, "foreign_keys", foreign_keys, &["1"]).await?;
    Ok(connection)
}

async fn setting(
    connection: &mut Connection,
    setting: &'static str,
    question: &'static str,
    wanted: &[&'static str],
) -> Result<(), OpenError> {
    let rows = connection.rows(question, Vec::new()).await.map_err(OpenError::engine)?;
    let value = rows.first().map(|row| row.text(0)).transpose().map_err(OpenError::engine)?.unwrap_or_default();
    if wanted.contains(&value.as_str()) {
        Ok(())
    } else {
        Err(OpenError::Unsafe { setting, value, wanted: wanted.first().copied().unwrap_or_default() })
    }
}
