//! The door to a catalog: what is asked and what is answered.

use crate::{Change, Committed, EntityKind, FileId, Hold, Prevalence, Refused, State, Table};
use ids::{Scope, TenantId, Timestamp};
use std::pin::Pin;
use thiserror::Error;

/// An answer in the making.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CatalogError>> + Send + 'a>>;

/// Why a catalog did not do what was asked.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// Somebody else removed the file first; nothing was applied. Load and plan again.
    #[error("file {0} is not part of the table any more")]
    Conflict(FileId),
    /// A cursor does not stand where the change expects it; nothing was applied. Load to see who moved it.
    #[error("the cursor `{0}` stands elsewhere")]
    Moved(String),
    /// The change breaks a rule; nothing was applied.
    #[error("the change is refused")]
    Refused(#[from] Refused),
    /// The catalog cannot be reached or cannot write: of a commit nobody knows, load to see.
    #[error("the catalog is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored is not what this program stores.
    #[error("the catalog holds something unreadable: {0}")]
    Corrupt(String),
}

/// A file that nobody needs any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scheduled {
    /// Its number.
    pub id: FileId,
    /// Its place below the table's folder.
    pub path: String,
    /// Since when no snapshot that is kept shows it.
    pub since: Timestamp,
}

/// Which part of the entity summary to forget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pruned {
    /// All days before this one, of all tenants.
    Before(crate::Day),
    /// All of a tenant.
    Tenant(TenantId),
}

/// Where the table's files are written down. Object-safe; shared by the data plane, queries and jobs of one process.
pub trait Catalog: Send + Sync {
    /// The columns and their field ids, as of opening.
    fn table(&self) -> &Table;

    /// Everything that is live, at one instant.
    fn load(&self) -> Answer<'_, State>;

    /// Apply a change: all of it, durably, or nothing.
    ///
    /// [`Change::applied`] on a state that was current gives the state after it.
    fn commit(&self, change: Change) -> Answer<'_, Committed>;

    /// The filters of a file's row groups, in the file's order; empty for a file that is unknown.
    fn filters(&self, file: FileId) -> Answer<'_, Vec<Option<Vec<u8>>>>;

    /// Who of the scope's tenants has seen this value, by tenant. A key look-up for each tenant, no scan.
    fn prevalence<'a>(&'a self, scope: &'a Scope, kind: EntityKind, value: &'a str) -> Answer<'a, Vec<Prevalence>>;

    /// Forget a part of the entity summary, in small transactions; how many rows.
    fn prune(&self, what: Pruned) -> Answer<'_, u64>;

    /// Every hold.
    fn holds(&self) -> Answer<'_, Vec<Hold>>;

    /// Place a hold, or replace the one of the same id. From then on no commit drops what it covers.
    fn hold(&self, hold: Hold) -> Answer<'_, ()>;

    /// Release a hold; whether there was one.
    fn release<'a>(&'a self, id: &'a str) -> Answer<'a, bool>;

    /// Forget snapshots made before this instant, never the newest, and schedule the files that only they show; how
    /// many snapshots. Bounded work: call again while it answers more than zero.
    fn expire(&self, before: Timestamp) -> Answer<'_, u64>;

    /// Files scheduled before this instant, at most 1000, oldest first: unlink them, then say so with `unlinked`.
    fn scheduled(&self, before: Timestamp) -> Answer<'_, Vec<Scheduled>>;

    /// These scheduled files are gone from the disk.
    fn unlinked(&self, files: Vec<FileId>) -> Answer<'_, ()>;

    /// Leave nothing of what was forgotten in the catalog's own files either.
    fn scrub(&self) -> Answer<'_, ()>;
}
