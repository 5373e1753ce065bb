//! The lake's handle: opening, the current snapshot, what queries share.

use crate::LakeError;
use crate::ask::Limits;
use crate::external::Externals;
use crate::filters::Filters;
use crate::folder::{Folder, SyncPath};
use crate::hot::HotBatch;
use crate::runtime::Workers;
use crate::snapshot::{Current, Snapshot};
use crate::writer::Writer;
use catalog::Catalog;
use ids::Clock;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::broadcast;

/// What a lake is opened with.
#[derive(Clone)]
pub struct Options {
    /// The folder of the table's files.
    pub folder: PathBuf,
    /// Makes a file or a folder durable (`journal` owns the call).
    pub sync: SyncPath,
    /// Which files are part of the table.
    pub catalog: Arc<dyn Catalog>,
    /// The present: file names, never data.
    pub clock: Arc<dyn Clock>,
    /// Bounds of queries.
    pub limits: Limits,
}

/// Sealed batches on their way to those who watch.
pub(crate) type Sealed = Arc<Vec<Arc<HotBatch>>>;

pub(crate) struct Inner {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) folder: Folder,
    pub(crate) current: Current,
    pub(crate) filters: Filters,
    pub(crate) limits: Limits,
    pub(crate) workers: Workers,
    pub(crate) externals: Externals,
    pub(crate) sealed: broadcast::Sender<Sealed>,
    /// One change of files at a time: plans are made on what is true when they are committed.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

/// The lake, for those who ask. Cheap to clone.
#[derive(Clone)]
pub struct Lake {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lake").field("folder", &self.inner.folder).finish_non_exhaustive()
    }
}

/// What a lake holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Size {
    /// The catalog's snapshot.
    pub snapshot: u64,
    /// Files of the table.
    pub files: u64,
    /// Rows in them.
    pub file_rows: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Rows in memory only.
    pub hot_rows: u64,
    /// About how much memory they take.
    pub hot_bytes: u64,
}

impl Lake {
    /// Open the lake: load what the catalog knows, remove what a crash left, start the query threads.
    ///
    /// # Errors
    /// The catalog or the folder cannot be read, or the catalog's table lacks a column of [`crate::table`].
    pub async fn open(options: Options) -> Result<(Self, Writer), LakeError> {
        let known = options.catalog.table();
        if let Some(field) = crate::schema::logical().fields().iter().find(|field| known.column(field.name()).is_none())
        {
            return Err(LakeError::Column(field.name().clone()));
        }
        let folder = Folder::open(&options.folder, options.sync)?;
        let state = options.catalog.load().await?;
        let cursors = state.cursors.clone();
        let snapshot = Snapshot::of(state);
        folder.clean(&snapshot.files)?;
        let (sealed, _) = broadcast::channel(256);
        let inner = Arc::new(Inner {
            workers: Workers::start(&options.limits)?,
            catalog: options.catalog,
            clock: options.clock,
            folder,
            current: Current::new(snapshot),
            filters: Filters::new(options.limits.filter_bytes_max),
            limits: options.limits,
            externals: Externals::default(),
            sealed,
            changing: tokio::sync::Mutex::new(()),
        });
        let writer = Writer::new(Arc::clone(&inner), cursors);
        Ok((Self { inner }, writer))
    }

    /// What the lake holds now.
    #[must_use]
    pub fn size(&self) -> Size {
        let snapshot = self.inner.current.get();
        let hot = |of: fn(&HotBatch) -> usize| snapshot.hot.iter().map(|batch| crate::write::count(of(batch))).sum();
        Size {
            snapshot: snapshot.number,
            files: crate::write::count(snapshot.files.len()),
            file_rows: snapshot.files.values().map(|file| file.rows).sum(),
            file_bytes: snapshot.files.values().map(|file| file.bytes).sum(),
            hot_rows: hot(|batch| batch.rows),
            hot_bytes: hot(|batch| batch.bytes),
        }
    }

    /// The catalog, for what needs only it: prevalence, holds.
    #[must_use]
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.inner.catalog
    }
}
