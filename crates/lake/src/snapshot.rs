//! What a query sees: the files and the hot batches of one instant, replaced as a whole.

use crate::hot::HotBatch;
use catalog::{File, FileId, State};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// One instant of the lake. Never changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The catalog's snapshot that shows the files.
    pub(crate) number: u64,
    pub(crate) files: Arc<BTreeMap<FileId, Arc<File>>>,
    pub(crate) hot: Arc<Vec<Arc<HotBatch>>>,
}

impl Snapshot {
    pub(crate) fn of(state: State) -> Self {
        let files = state.files.into_iter().map(|(id, file)| (id, Arc::new(file))).collect();
        Self { number: state.snapshot, files: Arc::new(files), hot: Arc::default() }
    }
}

/// Where the current snapshot stands.
#[derive(Debug, Default)]
pub(crate) struct Current {
    snapshot: RwLock<Arc<Snapshot>>,
}

impl Current {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: RwLock::new(Arc::new(snapshot)) }
    }

    pub(crate) fn get(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replace the snapshot by what `change` makes of it; readers see the old or the new one.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut held = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&held);
        change(&mut next);
        *held = Arc::new(next);
    }

    /// Make batches visible.
    pub(crate) fn add_hot(&self, batches: &[Arc<HotBatch>]) {
        self.change(|snapshot| Arc::make_mut(&mut snapshot.hot).extend(batches.iter().cloned()));
    }

    /// Put files in the place of hot batches and of other files, in one step.
    pub(crate) fn publish(&self, number: u64, add: Vec<File>, remove: &[FileId], flushed: &[Arc<HotBatch>]) {
        self.change(|snapshot| {
            snapshot.number = snapshot.number.max(number);
            let files = Arc::make_mut(&mut snapshot.files);
            for id in remove {
                files.remove(id);
            }
            files.extend(add.into_iter().map(|file| (file.id, Arc::new(file))));
            if !flushed.is_empty() {
                let gone: std::collections::HashSet<_> = flushed.iter().map(Arc::as_ptr).collect();
                Arc::make_mut(&mut snapshot.hot).retain(|batch| !gone.contains(&Arc::as_ptr(batch)));
            }
        });
    }
}
