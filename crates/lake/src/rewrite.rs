//! Files made anew from files: compaction (same rows, fewer files), retention and erasing (fewer rows).
//!
//! One class and day at a time, tenant by tenant, so that memory is bound by one tenant's window of time. The old files
//! stay on disk until the catalog says that nobody can see them. Must never change a value.

use crate::LakeError;
use crate::filter::ObservableSet;
use crate::filters::Sets;
use crate::lake::{Inner, Lake};
use crate::schema::{at, logical, place};
use crate::sums::{self, Checked, Sums};
use crate::write::{FileWriter, RUN_ROWS_MAX, Shape, count, rarely_repeats};
use crate::writer::{Uncommitted, commit};
use catalog::{
    CatalogError, Change, Compaction, CompactionOptions, File, FileId, Intent, LEVEL_DAY, NewFile, Removal, RowGroup,
    plan_compaction,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, new_null_array};
use datafusion::arrow::compute::{SortColumn, concat, lexsort_to_indices, take};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use ids::{TenantId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// zstd's level for files of a day: written once, read for months.
const ZSTD_DAY: i32 = 9;
const ZSTD_HOUR: i32 = 3;
/// A tenant with more compressed bytes than this has files of its own.
const OWN_FILE_BYTES: u64 = 64 << 20;
/// Rows that are sorted at once.
const WINDOW_ROWS: u64 = 131_072;

/// What a rewrite did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rewritten {
    /// Files taken away.
    pub removed: u64,
    /// Files put in their place.
    pub added: u64,
    /// Rows in those.
    pub rows: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Rows that are gone.
    pub dropped: u64,
}

impl Rewritten {
    fn add(&mut self, other: Self) {
        self.removed += other.removed;
        self.added += other.added;
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.dropped += other.dropped;
    }
}

/// Which runs stay.
type Keep = Arc<dyn Fn(&File, &RowGroup) -> bool + Send + Sync>;

impl Lake {
    /// Put one file (and one for each large tenant) in the place of several of the same class and day.
    ///
    /// # Errors
    /// One of them is not part of the table any more (plan again), or the disk or the catalog failed. Nothing changed.
    pub async fn compact(&self, files: &[FileId], level: u8) -> Result<Rewritten, LakeError> {
        self.rewrite(files, level, Intent::Rewrite, Arc::new(|_, _| true), None).await
    }

    /// Do what the catalog planned for one class and day.
    ///
    /// # Errors
    /// As [`Lake::compact`].
    pub async fn compact_planned(&self, plan: &Compaction) -> Result<Rewritten, LakeError> {
        let outputs = Some(plan.outputs.clone());
        self.rewrite(&plan.inputs, plan.level, Intent::Rewrite, Arc::new(|_, _| true), outputs).await
    }

    /// Do all compactions that are due, one after the other; those whose files changed meanwhile wait for the next call.
    ///
    /// # Errors
    /// As [`Lake::compact`]; what was done before stays done.
    pub async fn compact_due(&self, now: Timestamp, options: &CompactionOptions) -> Result<Rewritten, LakeError> {
        let state = self.inner.catalog.load().await?;
        let mut total = Rewritten::default();
        for plan in plan_compaction(&state, now, options) {
            match self.compact_planned(&plan).await {
                Ok(one) => total.add(one),
                Err(LakeError::Catalog(CatalogError::Conflict(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    /// Do a removal that the catalog planned (retention, erasing): holds were looked at by the plan, and are again.
    ///
    /// # Errors
    /// As [`Lake::drop_runs`].
    pub async fn remove(&self, removal: &Removal) -> Result<Rewritten, LakeError> {
        let mut total = Rewritten::default();
        for file in &removal.whole {
            total.add(self.rewrite(&[*file], 0, Intent::Drop, Arc::new(|_, _| false), None).await?);
        }
        let snapshot = self.inner.current.get();
        for part in &removal.rewrite {
            let level = snapshot.files.get(&part.file).map_or(0, |file| file.level);
            let stay = part.keep.clone();
            let keep: Keep = Arc::new(move |_, run| stay.contains(&run.tenant));
            total.add(self.rewrite(&[part.file], level, Intent::Drop, keep, None).await?);
        }
        Ok(total)
    }

    /// Take the rows that `keep` refuses out of the table: of whole runs (one tenant, one class, one day) only.
    ///
    /// Files of which nothing stays are not written anew. Rows in memory only are not touched: flush before.
    ///
    /// # Errors
    /// A hold covers rows that would go, or the disk or the catalog failed. What was done before stays done: repeat.
    pub async fn drop_runs(
        &self,
        keep: impl Fn(&File, &RowGroup) -> bool + Send + Sync + 'static,
    ) -> Result<Rewritten, LakeError> {
        let keep: Keep = Arc::new(keep);
        let snapshot = self.inner.current.get();
        let mut total = Rewritten::default();
        for file in snapshot.files.values() {
            if file.row_groups.iter().all(|run| keep(file, run)) {
                continue;
            }
            total.add(self.rewrite(&[file.id], file.level, Intent::Drop, Arc::clone(&keep), None).await?);
        }
        Ok(total)
    }

    /// Take all rows of a tenant out of the files.
    ///
    /// # Errors
    /// As [`Lake::drop_runs`].
    pub async fn erase(&self, tenant: TenantId) -> Result<Rewritten, LakeError> {
        self.drop_runs(move |_, run| run.tenant != tenant).await
    }

    /// Unlink files that the catalog shows to nobody since before this instant; how many.
    ///
    /// # Errors
    /// The catalog or the disk failed; repeat.
    pub async fn unlink_forgotten(&self, before: Timestamp) -> Result<u64, LakeError> {
        let mut gone = 0;
        while self.inner.catalog.expire(before).await? > 0 {}
        loop {
            let scheduled = self.inner.catalog.scheduled(before).await?;
            if scheduled.is_empty() {
                return Ok(gone);
            }
            for file in &scheduled {
                gone += self.inner.folder.remove(&file.path)?;
            }
            self.inner.catalog.unlinked(scheduled.into_iter().map(|file| file.id).collect()).await?;
        }
    }

    async fn rewrite(
        &self,
        ids: &[FileId],
        level: u8,
        intent: Intent,
        keep: Keep,
        outputs: Option<Vec<BTreeSet<TenantId>>>,
    ) -> Result<Rewritten, LakeError> {
        let inner = Arc::clone(&self.inner);
        let snapshot = inner.current.get();
        let mut sources = Vec::with_capacity(ids.len());
        for id in ids {
            let file = snapshot.files.get(id).ok_or(CatalogError::Conflict(*id))?;
            let sets = inner.filters.of(&*inner.catalog, *id).await?;
            sources.push(Source { file: Arc::clone(file), sets });
        }
        let rows_before: u64 = sources.iter().map(|source| source.file.rows).sum();
        let stamp = inner.clock.now().as_micros();
        let writing = Arc::clone(&inner);
        let staged = tokio::task::spawn_blocking(move || {
            let files = merge(&writing, &sources, level, &*keep, outputs, stamp)?;
            writing.folder.stage(files, stamp)
        });
        let staged = staged.await.map_err(|error| LakeError::Worker(error.to_string()))??;
        let note = if intent == Intent::Rewrite { "compaction" } else { "drop" };
        let change = Change {
            intent,
            add: staged.files.clone(),
            remove: ids.to_vec(),
            note: note.to_owned(),
            ..Change::default()
        };
        let one = inner.changing.lock().await;
        let committed = match commit(&inner, &change).await {
            Ok(committed) => committed,
            Err(Uncommitted::Unknown(error)) => {
                staged.leave();
                return Err(error.into());
            }
            Err(Uncommitted::No(error)) => return Err(error.into()),
        };
        let files: Vec<File> = committed.ids.iter().zip(&change.add).map(|(id, new)| File::of(*id, new)).collect();
        inner.filters.remember(&committed.ids, &change.add);
        inner.filters.forget(ids);
        inner.current.publish(committed.snapshot, files, ids, &[]);
        drop(one);
        staged.keep();
        let rows = change.add.iter().map(|file| file.rows).sum();
        Ok(Rewritten {
            removed: count(ids.len()),
            added: count(change.add.len()),
            rows,
            bytes: change.add.iter().map(|file| file.bytes).sum(),
            dropped: rows_before.saturating_sub(rows),
        })
    }
}

struct Source {
    file: Arc<File>,
    sets: Sets,
}

/// What a tenant has in the sources.
#[derive(Default)]
struct Share {
    rows: u64,
    bytes: u64,
    min: i64,
    max: i64,
}

fn merge(
    inner: &Inner,
    sources: &[Source],
    level: u8,
    keep: &(dyn Fn(&File, &RowGroup) -> bool + Send + Sync),
    outputs: Option<Vec<BTreeSet<TenantId>>>,
    stamp: i64,
) -> Result<Vec<NewFile>, LakeError> {
    let Some(first) = sources.first() else { return Ok(Vec::new()) };
    let mut tenants: BTreeMap<TenantId, Share> = BTreeMap::new();
    for source in sources {
        for run in source.file.row_groups.iter().filter(|run| keep(&source.file, run)) {
            let (from, to) = (run.time_min.as_micros(), run.time_max.as_micros());
            let share = tenants.entry(run.tenant).or_insert(Share { min: from, max: to, ..Share::default() });
            share.rows += run.rows;
            share.bytes += run.bytes;
            share.min = share.min.min(from);
            share.max = share.max.max(to);
        }
    }
    let readers = sources.iter().map(|source| Reader::open(inner, source)).collect::<Result<Vec<_>, _>>()?;
    let mut places: Vec<usize> = readers.iter().flat_map(|reader| reader.places.iter().copied()).collect();
    places.sort_unstable();
    places.dedup();
    let shape = |plain| Shape {
        class_uid: first.file.class_uid,
        day: first.file.day,
        level,
        zstd: if level >= LEVEL_DAY { ZSTD_DAY } else { ZSTD_HOUR },
        places: places.clone(),
        plain,
    };
    let mut done = Vec::new();
    let mut open: Option<(FileWriter<'_>, String, std::path::PathBuf)> = None;
    for portion in planned_or_own(&tenants, level, outputs) {
        if portion.starts
            && let Some((writer, name, path)) = open.take()
        {
            done.push(writer.finish(name, &path)?);
        }
        for window in &portion.windows {
            let rows = sorted_rows(&readers, &portion.tenants, *window, &places, keep)?;
            for (tenant, start, length) in runs(&rows, &places, &portion.tenants) {
                let columns: Vec<ArrayRef> = rows.iter().map(|column| column.slice(start, length)).collect();
                if open.is_none() {
                    let pairs = places.iter().zip(&rows);
                    let plain = pairs.filter(|(_, column)| rarely_repeats(column)).map(|(place, _)| *place).collect();
                    let name = inner.folder.name(first.file.class_uid, first.file.day, stamp);
                    let path = inner.folder.unfinished(&name)?;
                    open = Some((FileWriter::create(&path, shape(plain), inner.catalog.table())?, name, path));
                }
                if let Some((writer, ..)) = open.as_mut() {
                    let set = union(sources, tenant, &columns, &places, keep);
                    writer.push(tenant, columns, set)?;
                }
            }
        }
    }
    if let Some((writer, name, path)) = open.take() {
        done.push(writer.finish(name, &path)?);
    }
    Ok(done)
}

/// What is read, sorted and written at once: several small tenants, or one large one window by window.
struct Portion {
    tenants: BTreeSet<TenantId>,
    windows: Vec<(i64, i64)>,
    /// A new file starts with it.
    starts: bool,
}

/// The portions of the files that were planned, or of one file and one for each large tenant.
fn planned_or_own(
    tenants: &BTreeMap<TenantId, Share>,
    level: u8,
    outputs: Option<Vec<BTreeSet<TenantId>>>,
) -> Vec<Portion> {
    let large = |share: &Share| level >= LEVEL_DAY && share.bytes > OWN_FILE_BYTES;
    let outputs = outputs.unwrap_or_else(|| {
        let (own, shared): (Vec<_>, Vec<_>) = tenants.iter().partition(|(_, share)| large(share));
        let shared = shared.into_iter().map(|(tenant, _)| *tenant).collect();
        own.into_iter().map(|(tenant, _)| BTreeSet::from([*tenant])).chain([shared]).collect()
    });
    let mut all = Vec::new();
    for output in outputs {
        let own = tenants.iter().filter(|(tenant, _)| output.contains(tenant));
        let first = all.len();
        all.extend(portions(own));
        if let Some(portion) = all.get_mut(first) {
            portion.starts = true;
        }
    }
    all
}

/// Reading a file once for each of 200 tenants would decode its shared pages 200 times.
fn portions<'a>(tenants: impl Iterator<Item = (&'a TenantId, &'a Share)>) -> Vec<Portion> {
    let mut all = Vec::new();
    let mut held: (BTreeSet<TenantId>, u64) = (BTreeSet::new(), 0);
    let whole = |tenants| Portion { tenants, windows: vec![(i64::MIN, i64::MAX)], starts: false };
    for (tenant, share) in tenants {
        if held.1 + share.rows > WINDOW_ROWS {
            let (before, _) = std::mem::take(&mut held);
            all.extend((!before.is_empty()).then(|| whole(before)));
        }
        if share.rows > WINDOW_ROWS {
            all.push(Portion { tenants: BTreeSet::from([*tenant]), windows: windows(share), starts: false });
        } else {
            held.0.insert(*tenant);
            held.1 += share.rows;
        }
    }
    all.extend((!held.0.is_empty()).then(|| whole(held.0)));
    all
}

/// Where each tenant's rows start, in runs of at most [`RUN_ROWS_MAX`].
fn runs(rows: &[ArrayRef], places: &[usize], tenants: &BTreeSet<TenantId>) -> Vec<(TenantId, usize, usize)> {
    let names: BTreeMap<String, TenantId> = tenants.iter().map(|tenant| (tenant.to_string(), *tenant)).collect();
    let column = places.iter().position(|place| *place == at::TENANT).and_then(|column| rows.get(column));
    let Some(column) = column.and_then(|column| column.as_string_view_opt()) else { return Vec::new() };
    let mut found: Vec<(TenantId, usize, usize)> = Vec::new();
    let mut last = "";
    for (row, name) in column.iter().enumerate() {
        let name = name.unwrap_or("");
        match found.last_mut() {
            Some((_, _, length)) if name == last && *length < RUN_ROWS_MAX => *length += 1,
            // Only rows of these tenants were read.
            _ => found.extend(names.get(name).map(|tenant| (*tenant, row, 1))),
        }
        last = name;
    }
    found
}

/// Parts of a tenant's time, each of about so many rows as are sorted at once; both ends inclusive.
fn windows(share: &Share) -> Vec<(i64, i64)> {
    let parts = i64::try_from(share.rows / WINDOW_ROWS).unwrap_or(0).saturating_add(1);
    let step = (share.max - share.min) / parts + 1;
    let window = |part: i64| (share.min + part * step, share.min + (part + 1) * step - 1);
    (0..parts).map(window).filter(|(from, _)| *from <= share.max).collect()
}

/// The observables of the runs that may have given rows to this one.
fn union(
    sources: &[Source],
    tenant: TenantId,
    columns: &[ArrayRef],
    places: &[usize],
    keep: &(dyn Fn(&File, &RowGroup) -> bool + Send + Sync),
) -> Option<ObservableSet> {
    let time = places.iter().position(|place| *place == at::TIME).and_then(|column| columns.get(column))?;
    let times = time.as_primitive_opt::<TimestampMicrosecondType>()?.values();
    let (from, to) = (*times.first()?, *times.last()?);
    let mut hashes = Vec::new();
    for source in sources {
        for (number, run) in source.file.row_groups.iter().enumerate() {
            let overlaps = run.time_min.as_micros() <= to && from <= run.time_max.as_micros();
            if run.tenant == tenant && overlaps && keep(&source.file, run) {
                // One run without a filter leaves the whole without one.
                hashes.extend(source.sets.get(number)?.as_ref()?.iter());
            }
        }
    }
    Some(ObservableSet::new(&mut hashes))
}

/// Reads runs of one file.
struct Reader<'a> {
    source: &'a Source,
    path: std::path::PathBuf,
    sums: Option<Arc<Sums>>,
    metadata: ArrowReaderMetadata,
    /// Places of the logical table, in the file's order.
    places: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn open(inner: &Inner, source: &'a Source) -> Result<Self, LakeError> {
        let path = inner.folder.root().join(&source.file.path);
        let file = std::fs::File::open(&path).map_err(|source| LakeError::io("open", &path, source))?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
        let sums = sums::of(&path, &file, metadata.metadata())?;
        let viewed = |field: &Arc<Field>| match field.data_type() {
            DataType::Utf8 => Field::clone(field).with_data_type(DataType::Utf8View),
            _ => Field::clone(field),
        };
        let schema = Arc::new(Schema::new(metadata.schema().fields().iter().map(viewed).collect::<Vec<_>>()));
        let places = schema.fields().iter().filter_map(|field| place(field.name())).collect();
        let options = ArrowReaderOptions::new().with_schema(schema);
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
        Ok(Self { source, path, sums, metadata, places })
    }

    fn rows(
        &self,
        tenants: &BTreeSet<TenantId>,
        (from, to): (i64, i64),
        keep: &(dyn Fn(&File, &RowGroup) -> bool + Send + Sync),
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let mut selectors = Vec::new();
        let mut any = false;
        for run in &self.source.file.row_groups {
            let overlaps = run.time_min.as_micros() <= to && from <= run.time_max.as_micros();
            let wanted = tenants.contains(&run.tenant) && overlaps && keep(&self.source.file, run);
            any |= wanted;
            let rows = usize::try_from(run.rows).unwrap_or(usize::MAX);
            selectors.push(if wanted { RowSelector::select(rows) } else { RowSelector::skip(rows) });
        }
        if !any {
            return Ok(Vec::new());
        }
        let file = std::fs::File::open(&self.path).map_err(|source| LakeError::io("open", &self.path, source))?;
        let file = Checked { path: self.path.clone(), file: Arc::new(file), sums: self.sums.clone() };
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_selection(RowSelection::from(selectors))
            .with_batch_size(8_192)
            .build()?;
        let mut batches = Vec::new();
        for batch in reader {
            let batch = batch?;
            let inside = batch.column_by_name("time").and_then(|times| {
                let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
                Some(times.iter().map(|time| time.map(|time| from <= time && time <= to)).collect())
            });
            batches.push(match inside {
                Some(inside) => datafusion::arrow::compute::filter_record_batch(&batch, &inside)?,
                None => batch,
            });
        }
        Ok(batches)
    }
}

/// Rows of tenants in a window of time, by tenant and time, with the columns of all sources.
fn sorted_rows(
    readers: &[Reader<'_>],
    tenants: &BTreeSet<TenantId>,
    window: (i64, i64),
    places: &[usize],
    keep: &(dyn Fn(&File, &RowGroup) -> bool + Send + Sync),
) -> Result<Vec<ArrayRef>, LakeError> {
    let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); places.len()];
    for reader in readers {
        for batch in reader.rows(tenants, window, keep)? {
            for (place, part) in places.iter().zip(&mut parts) {
                let own = reader.places.iter().position(|own| own == place);
                let kind = logical().fields().get(*place).map_or(DataType::Null, |field| field.data_type().clone());
                part.push(match own.and_then(|own| batch.columns().get(own)) {
                    Some(column) => Arc::clone(column),
                    None => new_null_array(&kind, batch.num_rows()),
                });
            }
        }
    }
    let mut whole = Vec::with_capacity(parts.len());
    for part in &parts {
        let arrays: Vec<&dyn Array> = part.iter().map(AsRef::as_ref).collect();
        if arrays.is_empty() {
            return Ok(Vec::new());
        }
        whole.push(concat(&arrays)?);
    }
    let order = [at::TENANT, at::TIME, at::LOG_SEGMENT, at::LOG_OFFSET, at::LOG_INDEX, at::LOG_PART];
    let keys = order.iter().filter_map(|key| places.iter().position(|place| place == key));
    let keys: Vec<SortColumn> =
        keys.filter_map(|place| Some(SortColumn { values: Arc::clone(whole.get(place)?), options: None })).collect();
    let indices: UInt32Array = lexsort_to_indices(&keys, None)?;
    Ok(whole.iter().map(|column| take(column, &indices, None)).collect::<Result<_, _>>()?)
}
