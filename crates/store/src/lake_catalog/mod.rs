//! The lake's catalog in a database of its own: `lake.db` beside `state.db`, or a schema `<state's schema>_lake` in the
//! same `PostgreSQL`. The tables are `DuckLake` 1.0, so that `DuckDB` attaches to it; what `DuckLake` has no place for
//! stands in side tables named `posse_...`.
//!
//! One commit is one transaction. It must never hold a right, a secret or a document: handing this database to another
//! engine hands over telemetry's places and nothing else. Other engines read; only this program writes.

mod commit;
mod ducklake;
mod entity;
mod found;
mod hold;
mod load;
pub(crate) mod statement;
mod sweep;
mod tenants;
mod turn;

use crate::config::{OpenError, Target};
use crate::engine::{Pool, Value, values};
use crate::{migration, open};
use catalog::{
    Answer, Catalog, CatalogError, Change, Committed, EntityKind, FileId, Hold, Prevalence, Pruned, Scheduled, State,
    Table, TableError,
};
use ids::{Clock, Scope, Timestamp};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use tenants::Tenants;
use thiserror::Error;
use tokio::sync::Mutex;
use turn::{Turn, Writer, failed};

/// The most rows that one transaction forgets.
const PRUNE_ROWS_MAX: i64 = 5000;
/// `PostgreSQL`: the tables that hold values of telemetry, written anew.
const TABLES: &str = "VACUUM (FULL) posse_entity, posse_filter, posse_row_group, ducklake_file_column_stats";
/// The most files that one answer schedules.
const SCHEDULED_MAX: i64 = 1000;

/// How a lake's catalog is opened.
#[derive(Clone, Debug)]
pub struct LakeConfig {
    /// Where the state lives; the catalog stands beside it.
    pub target: Target,
    /// The folder below which the table's files lie, as other engines are to find it: an absolute path or a URL.
    pub folder: PathBuf,
    /// The table's columns. What the catalog lacks of them is added as a new schema version.
    pub table: Table,
    /// Connections for reading, 1 to 64.
    pub readers: u32,
}

/// Why a lake's catalog did not open.
#[derive(Debug, Error)]
pub enum LakeOpenError {
    /// The database did not open.
    #[error("the lake's catalog cannot be opened")]
    Open(#[from] OpenError),
    /// The catalog has files of another table.
    #[error("the lake's table does not fit the catalog")]
    Table(#[from] TableError),
    /// The folder cannot be written down.
    #[error("the lake's folder `{0}` must be text in UTF-8")]
    Folder(PathBuf),
    /// The catalog was read and is not understood.
    #[error("the lake's catalog is not understood")]
    Catalog(#[from] CatalogError),
}

/// The catalog of one install's lake.
pub struct LakeCatalog {
    table: Table,
    clock: Arc<dyn Clock>,
    readers: Pool,
    writer: Arc<Mutex<Writer>>,
    tenants: RwLock<Arc<Tenants>>,
    _lock: open::Lock,
}

impl std::fmt::Debug for LakeCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LakeCatalog").finish_non_exhaustive()
    }
}

impl LakeCatalog {
    /// Open the catalog, make it or bring it up to date. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`OpenError::Locked`] where another process has it open; a column that is stored with another type.
    pub async fn open(config: LakeConfig, clock: Arc<dyn Clock>) -> Result<Self, LakeOpenError> {
        let (opener, lock) = open::lake_target(&config.target).await?;
        let mut connection = opener.writer().await?;
        let now = clock.now();
        migration::migrate(&mut connection, migration::LAKE, now).await?;
        let mut folder = config.folder.to_str().ok_or_else(|| LakeOpenError::Folder(config.folder.clone()))?.to_owned();
        if !folder.ends_with('/') {
            folder.push('/');
        }
        let table = found::stored(&mut connection).await.map_err(OpenError::engine)?.merged(&config.table)?;
        connection.begin().await.map_err(OpenError::engine)?;
        found::bring_up(&mut connection, &table, &folder, now).await.map_err(OpenError::engine)?;
        connection.commit().await.map_err(OpenError::engine)?;
        let tenants = RwLock::new(Arc::new(Tenants::load(&mut connection).await?));
        let readers = opener.readers(config.readers);
        let writer = Writer::new(opener, connection);
        Ok(Self { table, clock, readers, writer, tenants, _lock: lock })
    }

    /// Close it, after the commit that is being written. Returns once the lock is free.
    pub async fn close(self) {
        self.readers.close().await;
        Writer::close(self.writer).await;
    }

    async fn turn(&self) -> Result<Turn, CatalogError> {
        let mut turn = Turn::begin(Arc::clone(&self.writer)).await?;
        if turn.renewed {
            let tenants = Tenants::load(turn.connection()?).await?;
            self.remember(tenants);
        }
        Ok(turn)
    }

    fn remember(&self, tenants: Tenants) {
        *self.tenants.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tenants);
    }

    fn tenants(&self) -> Arc<Tenants> {
        Arc::clone(&self.tenants.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn apply(&self, change: Change) -> Result<Committed, CatalogError> {
        let mut turn = self.turn().await?;
        // Under the writer's lock: nobody else gives out numbers now.
        let tenants = self.tenants();
        let now = self.clock.now();
        let applied = commit::apply(turn.connection()?, &self.table, &tenants, &change, now).await;
        let (committed, tenants) = turn.finish(applied).await?;
        self.remember(tenants);
        Ok(committed)
    }

    async fn write(&self, text: &'static str, row: Vec<Value>) -> Result<u64, CatalogError> {
        let mut turn = self.turn().await?;
        let changed = turn.connection()?.execute(text, row).await.map_err(failed);
        turn.finish(changed).await
    }

    async fn prune_tenant(&self, tenant: i64) -> Result<u64, CatalogError> {
        let mut all = 0;
        loop {
            match self.write(statement::ENTITY_FORGET, values![tenant, PRUNE_ROWS_MAX]).await? {
                0 => return Ok(all),
                gone => all += gone,
            }
        }
    }

    async fn prune_before(&self, tenant: i64, day: i64) -> Result<u64, CatalogError> {
        let (mut all, mut place) = (0, Some(entity::start()));
        while let Some(from) = place {
            let mut turn = self.turn().await?;
            let gone = entity::expire_stretch(turn.connection()?, tenant, &from, day, PRUNE_ROWS_MAX).await;
            let (gone, next) = turn.finish(gone.map_err(failed)).await?;
            (all, place) = (all + gone, next);
        }
        Ok(all)
    }
}

/// The numbers of files as values.
fn numbers(files: &[FileId]) -> Vec<Value> {
    files.iter().map(|file| Value::Int(ducklake::number(file.get()))).collect()
}

impl Catalog for LakeCatalog {
    fn table(&self) -> &Table {
        &self.table
    }

    fn load(&self) -> Answer<'_, State> {
        Box::pin(async {
            let mut turn = self.turn().await?;
            let tenants = self.tenants();
            let state = load::state(turn.connection()?, &tenants).await;
            turn.finish(state).await
        })
    }

    fn commit(&self, change: Change) -> Answer<'_, Committed> {
        Box::pin(self.apply(change))
    }

    fn filters(&self, file: FileId) -> Answer<'_, Vec<Option<Vec<u8>>>> {
        Box::pin(async move { load::filters(&self.readers, ducklake::number(file.get())).await.map_err(failed) })
    }

    fn prevalence<'a>(&'a self, scope: &'a Scope, kind: EntityKind, value: &'a str) -> Answer<'a, Vec<Prevalence>> {
        Box::pin(async move {
            let tenants = self.tenants();
            let numbers = tenants.within(scope);
            entity::prevalence(&self.readers, &tenants, &numbers, kind, value).await
        })
    }

    fn prune(&self, what: Pruned) -> Answer<'_, u64> {
        Box::pin(async move {
            let tenants = self.tenants();
            match what {
                Pruned::Tenant(tenant) => match tenants.number(tenant) {
                    Some(number) => self.prune_tenant(number).await,
                    None => Ok(0),
                },
                Pruned::Before(day) => {
                    let mut all = 0;
                    for number in tenants.all() {
                        all += self.prune_before(number, i64::from(day.get())).await?;
                    }
                    Ok(all)
                }
            }
        })
    }

    fn holds(&self) -> Answer<'_, Vec<Hold>> {
        Box::pin(async {
            let rows = self.readers.rows(statement::HOLD_LIST, Vec::new()).await.map_err(failed)?;
            rows.iter().map(hold::read).collect()
        })
    }

    fn hold(&self, hold: Hold) -> Answer<'_, ()> {
        Box::pin(async move {
            hold.check()?;
            self.write(statement::HOLD_WRITE, hold::row(&hold)).await.map(drop)
        })
    }

    fn release<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { Ok(self.write(statement::HOLD_DELETE, values![id]).await? > 0) })
    }

    fn expire(&self, before: Timestamp) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            let gone = sweep::expire(turn.connection()?, before, self.clock.now()).await.map_err(failed);
            turn.finish(gone).await
        })
    }

    fn scheduled(&self, before: Timestamp) -> Answer<'_, Vec<Scheduled>> {
        Box::pin(async move {
            let question = values![before.as_micros(), SCHEDULED_MAX];
            let rows = self.readers.rows(statement::SCHEDULED_LIST, question).await.map_err(failed)?;
            let one = |row: &crate::engine::Row| {
                let since = Timestamp::from_micros(row.int(2)?);
                Ok(Scheduled { id: FileId::new(row.count(0)?), path: row.text(1)?, since })
            };
            rows.iter().map(one).collect::<Result<_, _>>().map_err(failed)
        })
    }

    fn unlinked(&self, files: Vec<FileId>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut turn = self.turn().await?;
            let done = sweep::unlinked(turn.connection()?, numbers(&files)).await.map_err(failed);
            turn.finish(done).await
        })
    }

    fn scrub(&self) -> Answer<'_, ()> {
        // On a task of its own: the connection must come back also where the caller goes away half-way.
        let scrubbing = tokio::spawn(turn::scrub(Arc::clone(&self.writer), TABLES));
        Box::pin(async move { scrubbing.await.unwrap_or_else(|error| Err(CatalogError::Unavailable(Box::new(error)))) })
    }
}
