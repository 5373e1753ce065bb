//! One Parquet file: runs of rows of one tenant, sorted by time, with statistics, page index and filters.
//!
//! A run is what the catalog calls a row group: rows of one tenant and nobody else. Large runs are physical row groups of
//! their own; small ones share one, because a row group of 45 columns costs 5 KB before its first row, and readers take a
//! run by its rows, not by its row group. Must never rename or commit: the caller does, after a sync.

use crate::LakeError;
use crate::filter::ObservableSet;
use crate::schema::{at, logical};
use crate::sums::{self, Summing};
use catalog::{ColumnKind, ColumnStats, Day, NewFile, RowGroup, Table, time_text};
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use datafusion::parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use datafusion::parquet::basic::{Compression, Encoding, ZstdLevel};
use datafusion::parquet::file::metadata::{KeyValue, ParquetMetaData};
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use datafusion::parquet::file::statistics::Statistics;
use datafusion::parquet::schema::types::ColumnPath;
use ids::{TenantId, Timestamp};
use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of the files' format, in their metadata.
const FORMAT: &str = "1";
/// A run has at most so many rows.
pub(crate) const RUN_ROWS_MAX: usize = 65_536;
/// A run of so many rows is a row group of its own.
const OWN_GROUP_ROWS: usize = 8_192;
/// Rows of small runs in one row group.
const GROUP_ROWS: usize = 65_536;
/// Uncompressed bytes after which a row group is closed, so that writing one stays within memory.
const GROUP_BYTES: usize = 96 << 20;

/// What a file is made as.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) class_uid: u32,
    pub(crate) day: Day,
    pub(crate) level: u8,
    /// zstd, 1 to 19.
    pub(crate) zstd: i32,
    /// Places of the logical table that the file has, ascending.
    pub(crate) places: Vec<usize>,
    /// Text columns, by place, whose values rarely repeat: no dictionary.
    pub(crate) plain: HashSet<usize>,
}

impl Shape {
    /// The schema of the file's rows.
    pub(crate) fn schema(&self, table: &Table) -> Schema {
        let fields = self.places.iter().filter_map(|place| logical().fields().get(*place));
        Schema::new(
            fields
                .map(|field| {
                    let id = table.column(field.name()).map_or(0, |column| column.id);
                    let metadata = [("PARQUET:field_id".to_owned(), id.to_string())].into();
                    Field::clone(field).with_metadata(metadata)
                })
                .collect::<Vec<_>>(),
        )
    }

    fn properties(&self) -> Result<WriterProperties, LakeError> {
        let zstd = Compression::ZSTD(ZstdLevel::try_new(self.zstd)?);
        let mut builder = WriterProperties::builder()
            .set_compression(zstd)
            .set_created_by("posse".to_owned())
            .set_key_value_metadata(Some(vec![KeyValue::new("posse.format".to_owned(), FORMAT.to_owned())]))
            .set_max_row_group_row_count(None)
            .set_write_batch_size(512)
            .set_data_page_row_count_limit(8_192)
            .set_data_page_size_limit(128 << 10)
            .set_dictionary_page_size_limit(512 << 10)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_column_index_truncate_length(Some(32))
            .set_statistics_truncate_length(Some(64));
        for place in &self.places {
            let Some(field) = logical().fields().get(*place) else { continue };
            builder = column_properties(builder, *place, ColumnPath::from(field.name().as_str()), &self.plain);
        }
        Ok(builder.build())
    }
}

fn column_properties(
    builder: WriterPropertiesBuilder,
    place: usize,
    path: ColumnPath,
    plain: &HashSet<usize>,
) -> WriterPropertiesBuilder {
    match place {
        at::RAW => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path.clone(), Encoding::PLAIN)
            // Pages of raw are large for the sake of zstd; the smallest and largest JSON text say nothing.
            .set_column_data_page_size_limit(path.clone(), 512 << 10)
            .set_column_statistics_enabled(path, EnabledStatistics::None),
        at::TIME | at::RECEIVED | at::LOG_SEGMENT | at::LOG_OFFSET | at::LOG_INDEX => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
        _ if plain.contains(&place) => builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_LENGTH_BYTE_ARRAY),
        _ => builder,
    }
}

/// Whether a text column's values rarely repeat, from its first rows.
pub(crate) fn rarely_repeats(column: &ArrayRef) -> bool {
    let Some(texts) = column.as_string_view_opt() else { return false };
    let sample: Vec<&str> = texts.iter().flatten().take(2_048).collect();
    let distinct: HashSet<&&str> = sample.iter().collect();
    sample.len() >= 64 && distinct.len() * 10 > sample.len() * 6
}

/// A file in the making.
pub(crate) struct FileWriter<'a> {
    shape: Shape,
    schema: Arc<Schema>,
    table: &'a Table,
    writer: ArrowWriter<Summing>,
    runs: Vec<RowGroup>,
    last_own: bool,
    received: (i64, i64),
}

impl<'a> FileWriter<'a> {
    /// Open a file that does not exist yet.
    pub(crate) fn create(path: &Path, shape: Shape, table: &'a Table) -> Result<Self, LakeError> {
        let file = File::create_new(path).map_err(|source| LakeError::io("create", path, source))?;
        let schema = Arc::new(shape.schema(table));
        // The Arrow schema would cost 4 KB a file and says nothing that Parquet's own types do not.
        let options = ArrowWriterOptions::new().with_properties(shape.properties()?).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Summing::new(file), Arc::clone(&schema), options)?;
        Ok(Self { shape, schema, table, writer, runs: Vec::new(), last_own: false, received: (i64::MAX, i64::MIN) })
    }

    /// Add a run: columns by the shape's places, rows sorted by time, at most [`RUN_ROWS_MAX`].
    pub(crate) fn push(
        &mut self,
        tenant: TenantId,
        columns: Vec<ArrayRef>,
        set: Option<ObservableSet>,
    ) -> Result<(), LakeError> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let own = batch.num_rows() >= OWN_GROUP_ROWS;
        let full = self.writer.in_progress_rows() + batch.num_rows() > GROUP_ROWS
            || self.writer.in_progress_size() > GROUP_BYTES;
        if self.writer.in_progress_rows() > 0 && (own || self.last_own || full) {
            self.writer.flush()?;
        }
        self.last_own = own;
        let (time_min, time_max) = range(batch.column_by_name("time"));
        let (received_min, received_max) = range(batch.column_by_name("received"));
        self.received = (self.received.0.min(received_min), self.received.1.max(received_max));
        self.writer.write(&batch)?;
        self.runs.push(RowGroup {
            tenant,
            rows: count(batch.num_rows()),
            bytes: 0,
            time_min: Timestamp::from_micros(time_min),
            time_max: Timestamp::from_micros(time_max),
            filter: set.map(ObservableSet::into_bytes),
        });
        Ok(())
    }

    /// Finish the file; `path` is where it will stand below the table's folder, but for the sum that its name gets.
    pub(crate) fn finish(self, path: String, written: &Path) -> Result<NewFile, LakeError> {
        let mut writer = self.writer;
        // All data is written now, and nothing of what follows.
        writer.flush()?;
        writer.sync().map_err(|source| LakeError::io("write", written, source))?;
        let sums = writer.inner().sums();
        writer.append_key_value_metadata(sums.key_value());
        let metadata = writer.close()?;
        let (path, written) = &named(path, written, sums.end)?;
        let bytes = std::fs::metadata(written).map_err(|source| LakeError::io("look at", written, source))?.len();
        let rows = self.runs.iter().map(|run| run.rows).sum::<u64>();
        let mut runs = self.runs;
        for run in &mut runs {
            run.bytes = bytes.saturating_mul(run.rows) / rows.max(1);
        }
        Ok(NewFile {
            path: path.clone(),
            class_uid: self.shape.class_uid,
            day: self.shape.day,
            rows,
            bytes,
            footer_bytes: footer_bytes(written)?,
            columns: column_stats(&metadata, self.table),
            row_groups: runs,
            level: self.shape.level,
            received_min: Timestamp::from_micros(self.received.0),
            received_max: Timestamp::from_micros(self.received.1),
        })
    }
}

/// Give a written file the name that says its sum; both of its names.
fn named(path: String, written: &Path, data_end: u64) -> Result<(String, PathBuf), LakeError> {
    let io = |source| LakeError::io("read", written, source);
    let tail = File::open(written).and_then(|file| sums::tail(&file, data_end)).map_err(io)?;
    let path = sums::name(&path, tail);
    let name = Path::new(&path).file_name().unwrap_or_default();
    let extension = written.extension().unwrap_or_default();
    let renamed = written.with_file_name(name).with_extension(extension);
    std::fs::rename(written, &renamed).map_err(|source| LakeError::io("rename", written, source))?;
    Ok((path, renamed))
}

fn range(column: Option<&ArrayRef>) -> (i64, i64) {
    let values = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let values = values.map(|values| values.values().as_ref()).unwrap_or_default();
    (values.iter().copied().min().unwrap_or(0), values.iter().copied().max().unwrap_or(0))
}

pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The length of the footer: its own last eight bytes say so.
fn footer_bytes(path: &Path) -> Result<u64, LakeError> {
    use std::io::{Read, Seek, SeekFrom};
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-8))?;
        let mut length = [0_u8; 4];
        file.read_exact(&mut length)?;
        Ok(u64::from(u32::from_le_bytes(length)) + 8)
    };
    read().map_err(|source| LakeError::io("read", path, source))
}

fn column_stats(metadata: &ParquetMetaData, table: &Table) -> Vec<ColumnStats> {
    let leaves = metadata.file_metadata().schema_descr().columns();
    let one = |(place, leaf): (usize, &Arc<datafusion::parquet::schema::types::ColumnDescriptor>)| {
        let kind = table.column(leaf.name())?.kind;
        let mut stats =
            ColumnStats { column: leaf.name().to_owned(), nulls: 0, values: 0, bytes: 0, min: None, max: None };
        let mut known = true;
        let mut bounds: Option<(Bound, Bound)> = None;
        for group in metadata.row_groups() {
            let chunk = group.columns().get(place)?;
            stats.values += u64::try_from(chunk.num_values()).unwrap_or(0);
            stats.bytes += u64::try_from(chunk.compressed_size()).unwrap_or(0);
            let chunk_stats = chunk.statistics();
            let nulls = chunk_stats.and_then(Statistics::null_count_opt).unwrap_or(0);
            stats.nulls += nulls;
            // A catalog's values are those that are there.
            stats.values = stats.values.saturating_sub(nulls);
            match chunk_stats.and_then(bounds_of) {
                Some((min, max)) => {
                    bounds = Some(match bounds.take() {
                        Some((low, high)) => (low.min(min), high.max(max)),
                        None => (min, max),
                    });
                }
                // A group of nulls has no bounds and narrows nothing.
                None if chunk_stats.and_then(Statistics::null_count_opt) == u64::try_from(chunk.num_values()).ok() => {}
                None => known = false,
            }
        }
        if known && let Some((min, max)) = bounds {
            stats.min = min.text(kind);
            stats.max = max.text(kind);
        }
        Some(stats)
    };
    leaves.iter().enumerate().filter_map(one).collect()
}

#[derive(Eq, Ord, PartialEq, PartialOrd)]
enum Bound {
    Number(i64),
    Text(Vec<u8>),
}

impl Bound {
    fn text(self, kind: ColumnKind) -> Option<String> {
        match self {
            Self::Number(number) if kind == ColumnKind::Time => Some(time_text(Timestamp::from_micros(number))),
            Self::Number(number) => Some(number.to_string()),
            Self::Text(bytes) => String::from_utf8(bytes).ok(),
        }
    }
}

/// The exact bounds of a column chunk; none where they are cut or not kept.
fn bounds_of(stats: &Statistics) -> Option<(Bound, Bound)> {
    match stats {
        Statistics::Int32(values) => {
            Some((Bound::Number((*values.min_opt()?).into()), Bound::Number((*values.max_opt()?).into())))
        }
        Statistics::Int64(values) => Some((Bound::Number(*values.min_opt()?), Bound::Number(*values.max_opt()?))),
        Statistics::ByteArray(values) if stats.min_is_exact() && stats.max_is_exact() => {
            Some((Bound::Text(values.min_opt()?.data().to_vec()), Bound::Text(values.max_opt()?.data().to_vec())))
        }
        _ => None,
    }
}

/// Whether an array's type is text.
pub(crate) fn text_type(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8)
}
