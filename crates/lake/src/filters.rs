//! The filters of files' runs, read from the catalog when a question needs them and kept in memory within a bound.

use crate::cache::Bounded;
use crate::filter::ObservableSet;
use catalog::{Catalog, CatalogError, FileId, NewFile};
use std::sync::Arc;

/// The sets of one file's runs; none for a run without.
pub(crate) type Sets = Arc<Vec<Option<ObservableSet>>>;

/// Filters by file.
pub(crate) struct Filters {
    cache: Bounded<FileId, Sets>,
}

impl Filters {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { cache: Bounded::new(bytes_max) }
    }

    /// The filters of a file.
    pub(crate) async fn of(&self, catalog: &dyn Catalog, file: FileId) -> Result<Sets, CatalogError> {
        if let Some(sets) = self.cache.get(&file) {
            return Ok(sets);
        }
        let stored = catalog.filters(file).await?;
        // A filter that cannot be read excludes nothing.
        let sets: Sets = Arc::new(stored.into_iter().map(|bytes| ObservableSet::read(bytes?)).collect());
        self.put(file, Arc::clone(&sets));
        Ok(sets)
    }

    /// The filters of a file, where they are in memory.
    pub(crate) fn cached(&self, file: FileId) -> Option<Sets> {
        self.cache.get(&file)
    }

    /// Keep the filters of files that were just committed.
    pub(crate) fn remember(&self, ids: &[FileId], files: &[NewFile]) {
        for (id, file) in ids.iter().zip(files) {
            let sets = file.row_groups.iter().map(|run| ObservableSet::read(run.filter.clone()?)).collect();
            self.put(*id, Arc::new(sets));
        }
    }

    /// Forget the filters of files that are gone.
    pub(crate) fn forget(&self, ids: &[FileId]) {
        ids.iter().for_each(|id| self.cache.remove(id));
    }

    fn put(&self, file: FileId, sets: Sets) {
        let bytes = sets.iter().flatten().map(ObservableSet::memory_bytes).sum::<usize>() + 64;
        self.cache.put(file, sets, bytes);
    }
}
