//! A catalog in memory: the same rules and answers as the one in the database, without a disk. For tests of what stands
//! above, and for queries over files that no catalog holds.

use crate::{
    Answer, Catalog, CatalogError, Change, Committed, Day, EntityCount, EntityKind, File, FileId, Hold, Prevalence,
    Pruned, Scheduled, State, Table,
};
use ids::{Clock, Owner, Scope, TenantId, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// How often, first and last.
type Seen = (u64, Timestamp, Timestamp);
type Summary = BTreeMap<(TenantId, EntityKind, String), BTreeMap<Day, Seen>>;

#[derive(Default)]
struct Inner {
    state: State,
    filters: BTreeMap<FileId, Vec<Option<Vec<u8>>>>,
    /// Removed files by the snapshot that first did not show them.
    removed: Vec<(u64, FileId, String)>,
    snapshots: BTreeMap<u64, Timestamp>,
    scheduled: BTreeMap<FileId, Scheduled>,
    entities: Summary,
    holds: BTreeMap<String, Hold>,
    next_file: u64,
}

/// A catalog in memory.
pub struct Memory {
    table: Table,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Memory {
    /// An empty catalog.
    #[must_use]
    pub fn new(table: Table, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner { snapshots: BTreeMap::from([(0, clock.now())]), ..Inner::default() };
        Self { table, clock, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is checked before the first of it is applied: what a panicking thread left is whole.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn apply(&self, change: &Change) -> Result<Committed, CatalogError> {
        let inner = &mut *self.inner();
        for id in change.remove.iter().chain(&change.expect) {
            if !inner.state.files.contains_key(id) {
                return Err(CatalogError::Conflict(*id));
            }
        }
        for (name, was) in &change.was {
            if inner.state.cursors.get(name) != was.as_ref() {
                return Err(CatalogError::Moved(name.clone()));
            }
        }
        let removed: Vec<&File> = change.remove.iter().filter_map(|id| inner.state.files.get(id)).collect();
        let holds: Vec<Hold> = inner.holds.values().cloned().collect();
        change.check(&self.table, removed.iter().copied(), &holds)?;
        let snapshot = inner.state.snapshot + u64::from(change.changes_files());
        inner.removed.extend(removed.into_iter().map(|file| (snapshot, file.id, file.path.clone())));
        let mut ids = Vec::with_capacity(change.add.len());
        for new in &change.add {
            let id = FileId::new(inner.next_file);
            inner.next_file += 1;
            inner.filters.insert(id, new.row_groups.iter().map(|group| group.filter.clone()).collect());
            ids.push(id);
        }
        for count in &change.entities {
            inner.add(count);
        }
        inner.snapshots.insert(snapshot, self.clock.now());
        let committed = Committed { snapshot, ids };
        inner.state.apply(change, &committed);
        Ok(committed)
    }
}

impl Inner {
    fn add(&mut self, new: &EntityCount) {
        let days = self.entities.entry((new.tenant, new.kind, new.value.clone())).or_default();
        let (count, first, last) = days.entry(new.day).or_insert((0, new.first, new.last));
        *count = count.saturating_add(new.count);
        *first = (*first).min(new.first);
        *last = (*last).max(new.last);
    }

    fn expire(&mut self, before: Timestamp, now: Timestamp) -> u64 {
        let newest = self.state.snapshot;
        let count = self.snapshots.len();
        self.snapshots.retain(|number, made| *number == newest || *made >= before);
        let oldest = self.snapshots.keys().next().copied().unwrap_or(newest);
        let (gone, shown) = std::mem::take(&mut self.removed).into_iter().partition(|(end, ..)| *end <= oldest);
        self.removed = shown;
        for (_, id, path) in Vec::from_iter::<Vec<_>>(gone) {
            self.filters.remove(&id);
            self.scheduled.insert(id, Scheduled { id, path, since: now });
        }
        u64::try_from(count - self.snapshots.len()).unwrap_or(u64::MAX)
    }

    fn prune(&mut self, what: Pruned) -> u64 {
        let rows = |entities: &Summary| entities.values().map(BTreeMap::len).sum::<usize>();
        let before = rows(&self.entities);
        match what {
            Pruned::Tenant(tenant) => self.entities.retain(|(owner, ..), _| *owner != tenant),
            Pruned::Before(first) => self.entities.retain(|_, days| {
                days.retain(|day, _| *day >= first);
                !days.is_empty()
            }),
        }
        u64::try_from(before - rows(&self.entities)).unwrap_or(u64::MAX)
    }

    fn prevalence(&self, scope: &Scope, kind: EntityKind, value: &str) -> Vec<Prevalence> {
        let seen = self
            .entities
            .iter()
            .filter(|((tenant, own, text), _)| *own == kind && text == value && scope.covers(Owner::Tenant(*tenant)));
        let one = |((tenant, ..), days): (&(TenantId, EntityKind, String), &BTreeMap<Day, Seen>)| {
            let count = days.values().fold(0_u64, |sum, (count, ..)| sum.saturating_add(*count));
            let first = days.values().map(|(_, first, _)| *first).min()?;
            let last = days.values().map(|(.., last)| *last).max()?;
            Some(Prevalence { tenant: *tenant, count, days: u64::try_from(days.len()).ok()?, first, last })
        };
        seen.filter_map(one).collect()
    }
}

fn ready<'a, T: Send + 'a>(answer: Result<T, CatalogError>) -> Answer<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Catalog for Memory {
    fn table(&self) -> &Table {
        &self.table
    }

    fn load(&self) -> Answer<'_, State> {
        ready(Ok(self.inner().state.clone()))
    }

    fn commit(&self, change: Change) -> Answer<'_, Committed> {
        ready(self.apply(&change))
    }

    fn filters(&self, file: FileId) -> Answer<'_, Vec<Option<Vec<u8>>>> {
        ready(Ok(self.inner().filters.get(&file).cloned().unwrap_or_default()))
    }

    fn prevalence<'a>(&'a self, scope: &'a Scope, kind: EntityKind, value: &'a str) -> Answer<'a, Vec<Prevalence>> {
        ready(Ok(self.inner().prevalence(scope, kind, value)))
    }

    fn prune(&self, what: Pruned) -> Answer<'_, u64> {
        ready(Ok(self.inner().prune(what)))
    }

    fn holds(&self) -> Answer<'_, Vec<Hold>> {
        ready(Ok(self.inner().holds.values().cloned().collect()))
    }

    fn hold(&self, hold: Hold) -> Answer<'_, ()> {
        ready(hold.check().map_err(CatalogError::from).map(|()| {
            self.inner().holds.insert(hold.id.clone(), hold);
        }))
    }

    fn release<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        ready(Ok(self.inner().holds.remove(id).is_some()))
    }

    fn expire(&self, before: Timestamp) -> Answer<'_, u64> {
        let now = self.clock.now();
        ready(Ok(self.inner().expire(before, now)))
    }

    fn scheduled(&self, before: Timestamp) -> Answer<'_, Vec<Scheduled>> {
        let mut files: Vec<Scheduled> =
            self.inner().scheduled.values().filter(|file| file.since < before).cloned().collect();
        files.sort_by_key(|file| (file.since, file.id));
        files.truncate(1000);
        ready(Ok(files))
    }

    fn unlinked(&self, files: Vec<FileId>) -> Answer<'_, ()> {
        let mut inner = self.inner();
        for id in files {
            inner.scheduled.remove(&id);
        }
        drop(inner);
        ready(Ok(()))
    }

    fn scrub(&self) -> Answer<'_, ()> {
        // There are no files.
        ready(Ok(()))
    }
}
