//! The lake's one writer: rows in, sealed batches out to queries, files and cursors into the catalog.
//!
//! What is sealed is visible; what is flushed is in files; a row is always in exactly one of the two places a query looks
//! at. Must never acknowledge anything: the durable log does that, the cursor says from where to replay it.

use crate::entity::Sightings;
use crate::fence;
use crate::filter::ObservableSet;
use crate::hot::{Chunk, HotBatch};
use crate::lake::Inner;
use crate::regular::marks_of_run;
use crate::schema::places_of;
use crate::write::{FileWriter, RUN_ROWS_MAX, Shape, count, rarely_repeats};
use crate::{LakeError, Row};
use catalog::{CatalogError, Change, Committed, Day, File, FileId, Intent, LEVEL_FLUSH, NewFile, State};
use datafusion::arrow::array::{ArrayRef, UInt32Array};
use datafusion::arrow::compute::{concat, take};
use ids::{EventId, TenantId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// zstd's level for files that a compaction will soon replace.
const ZSTD_FLUSH: i32 = 3;

/// Rows that are in memory only.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HotSize {
    /// How many.
    pub rows: usize,
    /// About how much memory they take.
    pub bytes: usize,
}

/// The one who writes. Not shared: `&mut self`, no lock on the way of a row.
#[derive(Debug)]
pub struct Writer {
    inner: Arc<Inner>,
    cursors: BTreeMap<String, Vec<u8>>,
    chunk: Chunk,
    /// Sealed and not taken by a flush.
    sealed: Vec<Arc<HotBatch>>,
    sightings: Sightings,
    /// What a flush that failed gave back.
    returned: Arc<Mutex<Vec<Taken>>>,
    fence: Arc<AtomicU64>,
    flushing: Arc<AtomicBool>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Taken {
    batches: Vec<Arc<HotBatch>>,
    sightings: Sightings,
    /// Files of an attempt of which nobody knows whether the catalog has it.
    doubt: Option<Vec<NewFile>>,
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taken").field("batches", &self.batches.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Sightings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sightings").finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(inner: Arc<Inner>, cursors: BTreeMap<String, Vec<u8>>) -> Self {
        let fence = Arc::new(fence::number(cursors.get(fence::CURSOR)).into());
        Self {
            fence,
            inner,
            cursors,
            chunk: Chunk::new(),
            sealed: Vec::new(),
            sightings: Sightings::default(),
            returned: Arc::default(),
            flushing: Arc::default(),
        }
    }

    /// The cursor of this name as the catalog had it when the lake was opened: what comes after it is to be replayed.
    #[must_use]
    pub fn cursor(&self, name: &str) -> Option<&[u8]> {
        self.cursors.get(name).map(Vec::as_slice)
    }

    /// Add a row; queries see it after [`Writer::seal`].
    pub fn append(&mut self, row: &Row<'_>) -> EventId {
        self.chunk.append(row)
    }

    /// Make what was appended visible; how many rows. Cheap; call it every 200 ms or 8,192 rows.
    pub fn seal(&mut self) -> usize {
        let chunk = std::mem::take(&mut self.chunk);
        self.add(chunk)
    }

    /// Make a chunk that was filled elsewhere visible; how many rows.
    pub fn add(&mut self, mut chunk: Chunk) -> usize {
        let rows = chunk.rows();
        if rows == 0 {
            return 0;
        }
        let batches = chunk.seal();
        self.sightings.merge(chunk.sightings);
        self.inner.current.add_hot(&batches);
        self.sealed.extend(batches.iter().cloned());
        // Nobody watching is no fault.
        let _ = self.inner.sealed.send(Arc::new(batches));
        rows
    }

    /// What no file holds yet and no flush has taken.
    #[must_use]
    pub fn hot(&self) -> HotSize {
        let sealed = self.sealed.iter();
        let (rows, bytes) = sealed.fold((0, 0), |(rows, bytes), batch| (rows + batch.rows, bytes + batch.bytes));
        HotSize { rows: rows + self.chunk.rows(), bytes: bytes + self.chunk.bytes() }
    }

    /// Take what is hot for writing; `cursors` say from where to replay once it is written. Appending goes on meanwhile.
    ///
    /// # Errors
    /// Another flush is not done yet.
    pub fn start_flush(&mut self, cursors: Vec<(String, Vec<u8>)>) -> Result<Flush, LakeError> {
        if self.flushing.swap(true, Ordering::AcqRel) {
            return Err(LakeError::Busy);
        }
        self.seal();
        let mut taken = std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner));
        taken.push(Taken {
            batches: std::mem::take(&mut self.sealed),
            sightings: std::mem::take(&mut self.sightings),
            doubt: None,
        });
        Ok(Flush {
            inner: Arc::clone(&self.inner),
            taken,
            cursors,
            fence: Arc::clone(&self.fence),
            returned: Arc::clone(&self.returned),
            flushing: Arc::clone(&self.flushing),
        })
    }
}

/// What a flush did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flushed {
    /// The catalog's snapshot that shows it.
    pub snapshot: u64,
    /// Files written.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Hot rows on their way into files. Where it fails or is dropped, they stay hot and the next flush takes them.
#[derive(Debug)]
pub struct Flush {
    inner: Arc<Inner>,
    taken: Vec<Taken>,
    cursors: Vec<(String, Vec<u8>)>,
    returned: Arc<Mutex<Vec<Taken>>>,
    fence: Arc<AtomicU64>,
    flushing: Arc<AtomicBool>,
}

impl Drop for Flush {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).extend(taken);
        self.flushing.store(false, Ordering::Release);
    }
}

impl Flush {
    /// Write, sync, commit with the cursors, swap the snapshot. Where an earlier attempt ended without anybody knowing how,
    /// that is found out first, so that no row is written twice.
    ///
    /// # Errors
    /// The disk or the catalog failed. Nothing was committed, except where the catalog itself cannot say: the next flush,
    /// or the next opening, finds out.
    pub async fn run(mut self) -> Result<Flushed, LakeError> {
        let inner = Arc::clone(&self.inner);
        self.settle().await?;
        self.unite();
        let batches: Vec<Arc<HotBatch>> = self.taken.iter().flat_map(|taken| &taken.batches).cloned().collect();
        let entities = self.taken.iter().flat_map(|taken| taken.sightings.counts()).collect();
        let (writing, stamp) = (Arc::clone(&inner), inner.clock.now().as_micros());
        let own = batches.clone();
        let staged = tokio::task::spawn_blocking(move || {
            let files = write_all(&writing, &own, stamp)?;
            writing.folder.stage(files, stamp)
        });
        let staged = staged.await.map_err(|error| LakeError::Worker(error.to_string()))??;
        let number = self.fence.load(Ordering::Acquire);
        let (was, fenced) = fence::raise(number);
        let mut cursors = self.cursors.clone();
        cursors.push(fenced);
        let change = Change {
            intent: Intent::Append,
            add: staged.files.clone(),
            cursors,
            was: vec![was],
            entities,
            note: "flush".to_owned(),
            ..Change::default()
        };
        let one = inner.changing.lock().await;
        let committed = match commit(&inner, &change).await {
            Ok(committed) => committed,
            Err(Uncommitted::Unknown(error)) => {
                self.taken.iter_mut().for_each(|taken| taken.doubt = Some(change.add.clone()));
                staged.leave();
                return Err(error.into());
            }
            Err(Uncommitted::No(error)) => return Err(error.into()),
        };
        self.fence.store(number + 1, Ordering::Release);
        show(&inner, &committed, &change.add, &batches);
        drop(one);
        let done = Flushed {
            snapshot: committed.snapshot,
            files: count(change.add.len()),
            rows: change.add.iter().map(|file| file.rows).sum(),
            bytes: change.add.iter().map(|file| file.bytes).sum(),
        };
        staged.keep();
        self.taken.clear();
        Ok(done)
    }

    /// Make one piece of all that was taken: it is in files or not as a whole.
    fn unite(&mut self) {
        let mut whole = self.taken.pop().unwrap_or_default();
        for taken in std::mem::take(&mut self.taken) {
            whole.batches.extend(taken.batches);
            whole.sightings.merge(taken.sightings);
        }
        self.taken.push(whole);
    }

    /// Find out how an attempt ended of which nobody knows: a commit that moves the fence makes sure that it cannot happen
    /// any more, or is refused because it has happened.
    async fn settle(&mut self) -> Result<(), LakeError> {
        let inner = Arc::clone(&self.inner);
        if self.taken.iter().all(|taken| taken.doubt.is_none()) {
            return Ok(());
        }
        let number = self.fence.load(Ordering::Acquire);
        let (was, fenced) = fence::raise(number);
        let change = Change { was: vec![was], cursors: vec![fenced], ..Change::default() };
        let one = inner.changing.lock().await;
        match inner.catalog.commit(change).await {
            Ok(_) => self.fence.store(number + 1, Ordering::Release),
            Err(CatalogError::Moved(_)) => {
                let state = inner.catalog.load().await?;
                self.fence.store(fence::number(state.cursors.get(fence::CURSOR)), Ordering::Release);
                self.taken.retain(|taken| {
                    let Some(files) = &taken.doubt else { return true };
                    let Some(ids) = ids_of(&state, files) else { return true };
                    show(&inner, &Committed { snapshot: state.snapshot, ids }, files, &taken.batches);
                    false
                });
            }
            Err(error) => return Err(error.into()),
        }
        drop(one);
        for taken in &mut self.taken {
            for file in taken.doubt.take().iter().flatten() {
                inner.folder.remove(&file.path)?;
            }
        }
        Ok(())
    }
}

/// Put committed files in the place of the rows that they hold.
fn show(inner: &Inner, committed: &Committed, added: &[NewFile], batches: &[Arc<HotBatch>]) {
    let files: Vec<File> = committed.ids.iter().zip(added).map(|(id, new)| File::of(*id, new)).collect();
    inner.filters.remember(&committed.ids, added);
    inner.current.publish(committed.snapshot, files, &[], batches);
}

/// The numbers of files by their paths; none where one is not part of the table.
fn ids_of(state: &State, files: &[NewFile]) -> Option<Vec<FileId>> {
    let by_path: BTreeMap<&str, FileId> = state.files.values().map(|file| (file.path.as_str(), file.id)).collect();
    files.iter().map(|file| by_path.get(file.path.as_str()).copied()).collect()
}

/// A commit that is not known to have happened.
pub(crate) enum Uncommitted {
    /// It did not happen.
    No(CatalogError),
    /// The catalog is away: nobody knows.
    Unknown(CatalogError),
}

/// Commit; where the catalog does not know how it ended, look.
pub(crate) async fn commit(inner: &Inner, change: &Change) -> Result<Committed, Uncommitted> {
    let error = match inner.catalog.commit(change.clone()).await {
        Ok(committed) => return Ok(committed),
        Err(error @ CatalogError::Unavailable(_)) => error,
        Err(error) => return Err(Uncommitted::No(error)),
    };
    let Ok(state) = inner.catalog.load().await else { return Err(Uncommitted::Unknown(error)) };
    let ids = ids_of(&state, &change.add);
    let gone = change.remove.iter().all(|id| !state.files.contains_key(id));
    let set = change.cursors.iter().all(|(name, bytes)| state.cursors.get(name) == Some(bytes));
    match ids {
        Some(ids) if gone && set => Ok(Committed { snapshot: state.snapshot, ids }),
        // It may still arrive: a connection that broke says nothing of what was sent over it.
        _ => Err(Uncommitted::Unknown(error)),
    }
}

/// One file for each class and day.
fn write_all(inner: &Inner, batches: &[Arc<HotBatch>], stamp: i64) -> Result<Vec<NewFile>, LakeError> {
    let mut keyed: BTreeMap<(u32, i32), Vec<&HotBatch>> = BTreeMap::new();
    for batch in batches {
        keyed.entry((batch.class_uid, batch.day)).or_default().push(batch);
    }
    let mut written: Vec<NewFile> = Vec::with_capacity(keyed.len());
    for ((class_uid, day), batches) in keyed {
        let name = inner.folder.name(class_uid, Day::new(day), stamp);
        let path = inner.folder.unfinished(&name)?;
        match write_one(inner, class_uid, day, &batches, name, &path) {
            Ok(file) => written.push(file),
            Err(error) => {
                // What a full disk left half-written must not keep it full.
                let _ = std::fs::remove_file(&path);
                for file in &written {
                    let _ = inner.folder.unfinished(&file.path).map(std::fs::remove_file);
                }
                return Err(error);
            }
        }
    }
    Ok(written)
}

fn write_one(
    inner: &Inner,
    class_uid: u32,
    day: i32,
    batches: &[&HotBatch],
    name: String,
    path: &std::path::Path,
) -> Result<NewFile, LakeError> {
    let mut places = places_of(class_uid);
    places.retain(|place| batches.iter().any(|batch| batch.has(*place)));
    let order = Order::of(batches);
    let columns = sorted_columns(batches, &places, &order)?;
    let plain = places.iter().zip(&columns).filter(|(_, column)| rarely_repeats(column)).map(|(place, _)| *place);
    let plain = plain.collect();
    let shape = Shape { class_uid, day: Day::new(day), level: LEVEL_FLUSH, zstd: ZSTD_FLUSH, places, plain };
    let mut writer = FileWriter::create(path, shape, inner.catalog.table())?;
    let mut start = 0;
    for run in order.runs() {
        let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, run.rows.len())).collect();
        let mut hashes: Vec<u32> = marks_of_run().to_vec();
        for (batch, row) in run.rows {
            hashes.extend(batches.get(*batch).map_or(&[][..], |batch| batch.hashes_of(*row)));
        }
        writer.push(run.tenant, columns, Some(ObservableSet::new(&mut hashes)))?;
        start += run.rows.len();
    }
    writer.finish(name, path)
}

/// Rows of several batches by tenant, then time, then as they came.
struct Order {
    keys: Vec<(TenantId, i64)>,
    rows: Vec<(usize, usize)>,
}

struct Run<'a> {
    tenant: TenantId,
    rows: &'a [(usize, usize)],
}

impl Order {
    fn of(batches: &[&HotBatch]) -> Self {
        let mut all: Vec<(TenantId, i64, usize, usize)> = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            let rows = batch.tenants.iter().zip(&batch.times).enumerate();
            all.extend(rows.map(|(row, (tenant, time))| (*tenant, *time, number, row)));
        }
        all.sort_unstable();
        Self {
            keys: all.iter().map(|(tenant, time, ..)| (*tenant, *time)).collect(),
            rows: all.iter().map(|(_, _, batch, row)| (*batch, *row)).collect(),
        }
    }

    /// Runs of one tenant, at most [`RUN_ROWS_MAX`] rows each.
    fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let (tenant, _) = *self.keys.get(start)?;
            let own = self.keys.iter().skip(start).take(RUN_ROWS_MAX).take_while(|(other, _)| *other == tenant);
            let end = start + own.count();
            let rows = self.rows.get(start..end)?;
            start = end;
            Some(Run { tenant, rows })
        })
    }
}

fn sorted_columns(batches: &[&HotBatch], places: &[usize], order: &Order) -> Result<Vec<ArrayRef>, LakeError> {
    let mut starts = Vec::with_capacity(batches.len());
    let mut total = 0_usize;
    for batch in batches {
        starts.push(total);
        total += batch.rows;
    }
    let place = |(batch, row): &(usize, usize)| {
        u32::try_from(starts.get(*batch).copied().unwrap_or(0) + row).unwrap_or(u32::MAX)
    };
    let indices = UInt32Array::from_iter_values(order.rows.iter().map(place));
    let one = |column: &usize| {
        let parts: Vec<ArrayRef> = batches.iter().map(|batch| batch.column_or_null(*column)).collect();
        let parts: Vec<&dyn datafusion::arrow::array::Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(take(&concat(&parts)?, &indices, None)?)
    };
    places.iter().map(one).collect()
}
