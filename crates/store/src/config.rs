//! Where state lives and how a store is opened.

use std::path::PathBuf;
use thiserror::Error;

/// Which engine holds the state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// `PostgreSQL` 15 or later; the schema is the connection's `search_path`.
    Postgres {
        /// `postgres://user@host/database`; may carry credentials, so it is never logged.
        url: String,
    },
    /// Embedded: `state.db` and `lock` in this directory, which is made (mode 0700) if it is missing.
    Sqlite {
        /// The data directory.
        dir: PathBuf,
    },
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which engine, and where.
    pub target: Target,
    /// Connections for reading, 1 to 64.
    pub readers: u32,
    /// Commits that may wait for the writer; past it a commit is refused as overloaded. At least 1.
    pub queue_max: usize,
}

impl Config {
    /// Embedded state in `dir`.
    #[must_use]
    pub fn sqlite(dir: impl Into<PathBuf>) -> Self {
        Self::new(Target::Sqlite { dir: dir.into() })
    }

    /// State in a `PostgreSQL` database.
    #[must_use]
    pub fn postgres(url: impl Into<String>) -> Self {
        Self::new(Target::Postgres { url: url.into() })
    }

    /// The defaults: 4 readers, 4096 waiting commits.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target, readers: 4, queue_max: 4096 }
    }
}

/// Why a store did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The schema was changed by hand or by another program.
    #[error("migration {version} of the state differs from the one that was applied; restore the state from a backup")]
    Altered {
        /// Which migration.
        version: i64,
    },
    /// The directory or the lock file cannot be made or read.
    #[error("cannot use the data directory")]
    Directory(#[source] std::io::Error),
    /// The engine refused.
    #[error("the state database cannot be opened")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another process has it open.
    #[error("the state is in use by another process; stop it first, one process serves one data directory")]
    Locked,
    /// The state was written by a later version of this program.
    #[error("the state is at version {found}, this program knows up to {known}; use a newer program")]
    Newer {
        /// The version that is stored.
        found: i64,
        /// The version that this program knows.
        known: i64,
    },
    /// The writer's thread cannot be started.
    #[error("the writer's thread cannot be started; the machine is out of threads or files")]
    Thread(#[source] std::io::Error),
    /// A setting of the engine would lose acknowledged writes.
    #[error("`{setting}` is `{value}`; it must be `{wanted}`, or acknowledged writes could be lost")]
    Unsafe {
        /// Its name.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The address of the database cannot be read.
    #[error("the address of the state database is not understood; write `postgres://user@host/database`")]
    Url(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl OpenError {
    pub(crate) fn engine(fault: crate::engine::Fault) -> Self {
        Self::Engine(Box::new(fault))
    }
}
