//! The table `events` (and its views by class) for one query: one snapshot, one scope, one list of files and rows.
//!
//! The scope is in the plan twice: only runs of its tenants are read, and a filter on the tenant's column stands above
//! scans of files that hold anything else. Neither comes from the query's text. Must never open a file while planning.

use crate::lake::Inner;
use crate::prune::{FileFacts, Prune, RunFacts};
use crate::reader::{OnDisk, Readers, Spent};
use crate::schema::{WIDTH, at, logical, places_of};
use crate::snapshot::Snapshot;
use async_trait::async_trait;
use catalog::File;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, DataFusionError, Result, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExecBuilder;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::prelude::{col, lit};
use ids::{Owner, Scope, TenantId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// The place of the column `id`, which no file holds.
pub(crate) const ID: usize = WIDTH;
/// Where DataFusion believes our files to be; its own readers find nothing there.
pub(crate) const STORE: &str = "lake://files";
/// Scans are split in so many parts.
const PARTS: usize = 2;

/// What scanning costs, for the answer's provenance.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) files: AtomicU64,
    pub(crate) runs: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) hot_rows: AtomicU64,
    pub(crate) file_bytes: AtomicU64,
    pub(crate) runs_skipped: AtomicU64,
}

/// What all tables of one query share.
pub(crate) struct View {
    pub(crate) inner: Arc<Inner>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) scope: Scope,
    pub(crate) spent: Arc<Spent>,
    pub(crate) tally: Tally,
}

/// The table, of all classes or of some.
pub(crate) struct Events {
    view: Arc<View>,
    class: Option<u32>,
    /// Places of the logical table, `id` included, in the order of the columns shown.
    places: Arc<Vec<usize>>,
    schema: SchemaRef,
    /// What is asked of runs beside the query's filters.
    also: Prune,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("class", &self.class).finish_non_exhaustive()
    }
}

fn field(place: usize) -> Field {
    match logical().fields().get(place) {
        Some(field) => Field::clone(field),
        None => Field::new("id", DataType::Utf8View, true),
    }
}

static ALL: LazyLock<(Arc<Vec<usize>>, SchemaRef)> = LazyLock::new(|| shown((0..=ID).collect()));

fn shown(places: Vec<usize>) -> (Arc<Vec<usize>>, SchemaRef) {
    let schema = Arc::new(Schema::new(places.iter().map(|place| field(*place)).collect::<Vec<_>>()));
    (Arc::new(places), schema)
}

impl Events {
    /// The whole table.
    pub(crate) fn all(view: Arc<View>) -> Self {
        let (places, schema) = ALL.clone();
        Self { view, class: None, places, schema, also: Prune::Keep }
    }

    /// The runs of the whole table of which this holds.
    pub(crate) fn some(view: Arc<View>, also: Prune) -> Self {
        Self { also, ..Self::all(view) }
    }

    /// One class, with its columns only.
    pub(crate) fn class(view: Arc<View>, class_uid: u32) -> Self {
        let (places, schema) = shown(places_of(class_uid).into_iter().chain([ID]).collect());
        Self { view, class: Some(class_uid), places, schema, also: Prune::Keep }
    }

    /// The files to read and which of their rows.
    async fn select(&self, prune: &Prune) -> Result<Vec<(Arc<File>, Option<RowSelection>, u64)>> {
        let view = &self.view;
        let mut names: BTreeMap<TenantId, String> = BTreeMap::new();
        let mut selected = Vec::new();
        let mut columns: BTreeMap<u32, Vec<bool>> = BTreeMap::new();
        for file in view.snapshot.files.values() {
            if self.class.is_some_and(|class| class != file.class_uid) {
                continue;
            }
            let columns = columns.entry(file.class_uid).or_insert_with(|| has_columns(file.class_uid));
            if !prune.may(&FileFacts { file, columns }) {
                continue;
            }
            let sets = match prune.asks_observables() {
                true => Some(view.inner.filters.of(&*view.inner.catalog, file.id).await.map_err(outside)?),
                false => None,
            };
            let mut picked: Vec<(bool, usize)> = Vec::new();
            let mut rows = 0_u64;
            for (number, run) in file.row_groups.iter().enumerate() {
                let tenant = names.entry(run.tenant).or_insert_with(|| run.tenant.to_string());
                let set = sets.as_ref().and_then(|sets| sets.get(number)).and_then(Option::as_ref);
                let facts = RunFacts { file, run, tenant, set, columns, else_regular: false };
                let wanted = view.scope.covers(Owner::Tenant(run.tenant)) && prune.may(&facts);
                let length = usize::try_from(run.rows).map_err(outside)?;
                match picked.last_mut() {
                    Some((last, total)) if *last == wanted => *total += length,
                    _ => picked.push((wanted, length)),
                }
                if wanted {
                    rows += run.rows;
                    view.tally.runs.fetch_add(1, Ordering::Relaxed);
                } else if self.also.may(&facts) {
                    view.tally.runs_skipped.fetch_add(1, Ordering::Relaxed);
                }
            }
            if rows == 0 {
                continue;
            }
            let whole = picked.iter().all(|(wanted, _)| *wanted);
            let selector = |(wanted, rows): (bool, usize)| match wanted {
                true => RowSelector::select(rows),
                false => RowSelector::skip(rows),
            };
            let selection = (!whole).then(|| picked.into_iter().map(selector).collect::<Vec<_>>().into());
            selected.push((Arc::clone(file), selection, rows));
        }
        Ok(selected)
    }

    /// The scan of the selected files, with these columns (places without `id`).
    fn files(
        &self,
        selected: Vec<(Arc<File>, Option<RowSelection>, u64)>,
        places: &[usize],
        pushdown: bool,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let view = &self.view;
        let schema: SchemaRef = Arc::new(Schema::new(places.iter().map(|place| field(*place)).collect::<Vec<_>>()));
        let rows: u64 = selected.iter().map(|(.., rows)| rows).sum();
        let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); PARTS.min(selected.len())];
        for (file, selection, rows) in selected {
            view.tally.files.fetch_add(1, Ordering::Relaxed);
            view.tally.rows.fetch_add(rows, Ordering::Relaxed);
            view.tally.file_bytes.fetch_add(file.bytes, Ordering::Relaxed);
            let disk = OnDisk { path: view.inner.folder.root().join(&file.path), own: true };
            let mut part = PartitionedFile::new(file.path.clone(), file.bytes).with_extension(disk);
            if let Some(selection) = selection {
                part = part.with_extension(ParquetRowSelection::new(selection));
            }
            if let Some((load, group)) = groups.iter_mut().min_by_key(|(load, _)| *load) {
                *load += rows;
                group.push(part);
            }
        }
        let readers = Readers { footers: Arc::clone(&view.inner.workers.footers), spent: Arc::clone(&view.spent) };
        let source = ParquetSource::new(Arc::clone(&schema))
            .with_parquet_file_reader_factory(Arc::new(readers))
            .with_pushdown_filters(pushdown)
            .with_enable_page_index(true)
            .with_bloom_filter_on_read(false);
        let statistics = Statistics {
            num_rows: Precision::Inexact(usize::try_from(rows).map_err(outside)?),
            ..Statistics::new_unknown(&schema)
        };
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE)?, Arc::new(source))
            .with_file_groups(groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect())
            .with_statistics(statistics)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn hot(&self, prune: &Prune, places: &[usize]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let view = &self.view;
        let schema: SchemaRef = Arc::new(Schema::new(places.iter().map(|place| field(*place)).collect::<Vec<_>>()));
        let mut batches = Vec::new();
        for batch in view.snapshot.hot.iter() {
            let ours = batch.tenants.iter().any(|tenant| view.scope.covers(Owner::Tenant(*tenant)));
            if !ours || self.class.is_some_and(|class| class != batch.class_uid) || !prune.may(&**batch) {
                continue;
            }
            let columns = places.iter().map(|place| batch.column_or_null(*place)).collect();
            let options = datafusion::arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.rows));
            batches.push(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?);
            view.tally.hot_rows.fetch_add(crate::write::count(batch.rows), Ordering::Relaxed);
        }
        if batches.is_empty() {
            return Ok(None);
        }
        let plan: Arc<dyn ExecutionPlan> = MemorySourceConfig::try_new_exec(&[batches], schema, None)?;
        Ok(Some(plan))
    }

    /// Whether to filter while reading: worth it unless the filter reads raw, which is nearly all there is to read.
    fn pushdown(filters: &[Expr]) -> bool {
        let heavy = |filter: &Expr| filter.column_refs().iter().any(|column| column.name() == "raw");
        let light = |filter: &Expr| {
            !heavy(filter)
                && filter.column_refs().iter().any(|column| !matches!(column.name(), "time" | "class_uid" | "tenant"))
        };
        !filters.iter().any(heavy) || filters.iter().any(light)
    }
}

pub(crate) fn outside(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Which places a class has.
fn has_columns(class_uid: u32) -> Vec<bool> {
    let mut has = vec![false; WIDTH];
    for place in places_of(class_uid) {
        if let Some(slot) = has.get_mut(place) {
            *slot = true;
        }
    }
    has
}

/// The columns from which an id is made.
pub(crate) const ID_OF: [usize; 6] =
    [at::CLASS_UID, at::TIME, at::LOG_SEGMENT, at::LOG_OFFSET, at::LOG_INDEX, at::LOG_PART];

#[async_trait]
impl TableProvider for Events {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = match projection {
            Some(columns) => columns.iter().filter_map(|column| self.places.get(*column)).copied().collect(),
            None => self.places.to_vec(),
        };
        let prune = Prune::of(filters).and(self.also.clone());
        let selected = self.select(&prune).await?;
        // Where nothing in the files is a stranger's, the guard would find nothing to do.
        let foreign = selected.iter().any(|(file, ..)| self.foreign(file));
        let scoped = self.view.scope != Scope::Provider && (foreign || !self.view.snapshot.hot.is_empty());
        let mut places: Vec<usize> = wanted.iter().copied().filter(|place| *place != ID).collect();
        let extra = if wanted.contains(&ID) { &ID_OF[..] } else { &[] };
        for place in extra.iter().chain(if scoped { &[at::TENANT][..] } else { &[] }) {
            if !places.contains(place) {
                places.push(*place);
            }
        }
        let mut parts = Vec::new();
        if !selected.is_empty() {
            let plan = self.files(selected, &places, Self::pushdown(filters))?;
            parts.push(if foreign { self.guarded(state, plan)? } else { plan });
        }
        if let Some(plan) = self.hot(&prune, &places)? {
            parts.push(if scoped { self.guarded(state, plan)? } else { plan });
        }
        let plan: Arc<dyn ExecutionPlan> = match (parts.pop(), parts.is_empty()) {
            (None, _) => {
                let fields: Vec<Field> = wanted.iter().map(|place| field(*place)).collect();
                return Ok(Arc::new(EmptyExec::new(Arc::new(Schema::new(fields)))));
            }
            (Some(only), true) => only,
            (Some(last), false) => {
                parts.push(last);
                UnionExec::try_new(parts)?
            }
        };
        if places == wanted { Ok(plan) } else { self.shaped(state, plan, &wanted, &places) }
    }
}

impl Events {
    /// What it would read where these conditions hold.
    pub(crate) fn estimate(&self, filters: &[Expr]) -> crate::Estimate {
        self.view.inner.estimate(&self.view.scope, self.class, &Prune::of(filters).and(self.also.clone()))
    }

    /// Whether a file holds rows that the scope does not cover.
    fn foreign(&self, file: &File) -> bool {
        file.row_groups.iter().any(|run| !self.view.scope.covers(Owner::Tenant(run.tenant)))
    }

    /// Only rows of the scope's tenants pass.
    fn guarded(&self, state: &dyn Session, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let tenants: Vec<Expr> = match &self.view.scope {
            Scope::Provider => return Ok(plan),
            Scope::Tenant(tenant) => vec![lit(tenant.to_string())],
            Scope::Tenants(tenants) => tenants.iter().map(|tenant| lit(tenant.to_string())).collect(),
        };
        let guard = match <[Expr; 1]>::try_from(tenants) {
            Ok([only]) => col("tenant").eq(only),
            Err(tenants) if tenants.is_empty() => lit(false),
            Err(tenants) => col("tenant").in_list(tenants, false),
        };
        let schema = DFSchema::try_from(plan.schema())?;
        let guard = datafusion::optimizer::simplify_expressions::ExprSimplifier::new(
            datafusion::logical_expr::simplify::SimplifyContext::builder()
                .with_schema(Arc::new(schema.clone()))
                .build(),
        )
        .coerce(guard, &schema)?;
        let guard = state.create_physical_expr(guard, &schema)?;
        Ok(Arc::new(FilterExecBuilder::new(guard, plan).build()?))
    }

    /// The columns that were asked for, `id` made of its parts.
    fn shaped(
        &self,
        state: &dyn Session,
        plan: Arc<dyn ExecutionPlan>,
        wanted: &[usize],
        places: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = DFSchema::try_from(plan.schema())?;
        let mut columns = Vec::with_capacity(wanted.len());
        for place in wanted {
            let name = field(*place).name().clone();
            let made = if *place == ID {
                let function = crate::functions::named("event_id")
                    .ok_or_else(|| DataFusionError::Internal("`event_id` is not there".to_owned()))?;
                function.call(ID_OF.iter().map(|place| col(field(*place).name())).collect())
            } else {
                debug_assert!(places.contains(place));
                col(&name)
            };
            columns.push((state.create_physical_expr(made, &schema)?, name));
        }
        Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
    }
}
