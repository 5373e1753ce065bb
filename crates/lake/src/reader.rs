//! How a query reads Parquet: plain positioned reads on its own thread, footers from a bounded cache, every byte counted
//! against the query's budget. Must never open a file that the plan did not name, nor one of another owner through a link.

use crate::cache::Bounded;
use crate::external_files;
use crate::sums::{self, Sums};
use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::DataFusionError;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a query has read, and how much it may.
#[derive(Debug)]
pub(crate) struct Spent {
    bytes: AtomicU64,
    bytes_max: u64,
    over: AtomicBool,
}

impl Spent {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes: AtomicU64::new(0), bytes_max, over: AtomicBool::new(false) }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the query wanted more than it may.
    pub(crate) fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) -> Result<(), ParquetError> {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.bytes_max {
            self.over.store(true, Ordering::Relaxed);
            return Err(ParquetError::General("the query's bytes are used up".to_owned()));
        }
        Ok(())
    }
}

/// Parsed footers by path.
pub(crate) type Footers = Bounded<PathBuf, Arc<ParquetMetaData>>;

/// The true path of a file, beside the name that the plan shows.
pub(crate) struct OnDisk {
    /// Where it stands.
    pub(crate) path: PathBuf,
    /// Written by the lake, and so held to its sums.
    pub(crate) own: bool,
}

/// Opens the files of one query.
#[derive(Clone)]
pub(crate) struct Readers {
    pub(crate) footers: Arc<Footers>,
    pub(crate) spent: Arc<Spent>,
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("spent", &self.spent).finish_non_exhaustive()
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>, DataFusionError> {
        let disk = file.extension::<OnDisk>().map(|disk| (disk.path.clone(), disk.own));
        let (path, own) =
            disk.ok_or_else(|| DataFusionError::Internal("a file without its place on disk".to_owned()))?;
        Ok(Box::new(Reader { path, own, file: None, sums: None, readers: self.clone() }))
    }
}

struct Reader {
    path: PathBuf,
    own: bool,
    file: Option<File>,
    /// Once the metadata were read.
    sums: Option<Arc<Sums>>,
    readers: Readers,
}

impl Reader {
    fn file(&mut self) -> Result<&File, ParquetError> {
        let file = match self.file.take() {
            Some(file) => file,
            None if self.own => File::open(&self.path)?,
            None => external_files::open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }

    fn read(&mut self, range: &Range<u64>) -> Result<Bytes, ParquetError> {
        let length = range.end.saturating_sub(range.start);
        self.readers.spent.add(length)?;
        if self.own && self.sums.is_none() {
            self.metadata()?;
        }
        let sums = self.sums.clone();
        let path = self.path.clone();
        sums::read(&path, self.file()?, sums.as_deref(), range)
    }

    fn metadata(&mut self) -> Result<Arc<ParquetMetaData>, ParquetError> {
        // Our own files never change; one of somebody else's is known by what it is now.
        let key = if self.own { self.path.clone() } else { external_files::version(&self.path.clone(), self.file()?)? };
        if let Some(footer) = self.readers.footers.get(&key) {
            if self.own && self.sums.is_none() {
                self.sums = sums::listed(&footer).map(Arc::new);
            }
            return Ok(footer);
        }
        let footers = Arc::clone(&self.readers.footers);
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        let footer = Arc::new(reader.parse_and_finish(self.file()?)?);
        if self.own {
            let path = self.path.clone();
            self.sums = sums::of(&path, self.file()?, &footer)?;
        }
        footers.put(key, Arc::clone(&footer), footer.memory_size());
        Ok(footer)
    }
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        std::future::ready(self.read(&range)).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        std::future::ready(ranges.iter().map(|range| self.read(range)).collect()).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        std::future::ready(self.metadata()).boxed()
    }
}
