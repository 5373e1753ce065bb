//! Folders of Parquet that a tenant already has, read in place as tables of that tenant's own sessions, under the names that
//! its mapping gives to columns. What is there is looked at anew for each question. Must never write there, and never show a
//! table to another tenant.

use crate::LakeError;
use crate::answer::{AnswerColumn, columns_of_schema};
use crate::external_files::{self, ExternalFault, ExternalFolder, FILES_MAX, Listing, Part};
use crate::lake::Inner;
use crate::provider::{STORE, View, outside};
use crate::reader::{OnDisk, Readers};
use crate::session::Tables;
use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::provider_as_source;
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::{TableSchema, TableSchemaBuilder};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, cast};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use ids::{Scope, TenantId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

/// Files whose columns are looked at, spread over all of them; the first that has a column says its type.
const LOOKED_AT: usize = 8;

/// What a column is read as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExternalKind {
    /// True or false.
    Boolean,
    /// A number.
    Float,
    /// A whole number.
    Integer,
    /// Text.
    Text,
    /// An instant: a timestamp, a date or text in RFC 3339.
    Time,
    /// An instant as microseconds since 1970.
    TimeMicros,
    /// An instant as milliseconds since 1970.
    TimeMillis,
    /// An instant as nanoseconds since 1970.
    TimeNanos,
    /// An instant as seconds since 1970.
    TimeSecs,
}

/// A column under another name, or as another type.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalColumn {
    /// What the files call it.
    pub from: String,
    /// What questions call it.
    pub name: String,
    /// What it is read as; none leaves it as it is.
    pub kind: Option<ExternalKind>,
}

/// A folder as a table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalTable {
    /// What questions call it.
    pub name: String,
    /// Where it lies.
    pub folder: PathBuf,
    /// Columns that are renamed or cast; the others stay as they are.
    pub columns: Vec<ExternalColumn>,
}

/// What is in a folder now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalSeen {
    /// The table's columns.
    pub columns: Vec<AnswerColumn>,
    /// Those that are made of folders' names.
    pub partitions: Vec<String>,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// External tables by tenant and name.
#[derive(Debug, Default)]
pub(crate) struct Externals {
    allowed: RwLock<Arc<Vec<ExternalFolder>>>,
    tables: RwLock<BTreeMap<TenantId, BTreeMap<String, Arc<ExternalTable>>>>,
}

impl Externals {
    fn set(&self, tenant: TenantId, all: Vec<ExternalTable>) {
        let all: BTreeMap<_, _> = all.into_iter().map(|one| (one.name.clone(), Arc::new(one))).collect();
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            tables.remove(&tenant);
        } else {
            tables.insert(tenant, all);
        }
    }

    fn find(&self, tenant: TenantId, name: &str) -> Option<Arc<ExternalTable>> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(&tenant)?.get(name).cloned()
    }

    fn list(&self, tenant: TenantId, table: &ExternalTable) -> std::result::Result<Listing, ExternalFault> {
        let allowed = Arc::clone(&self.allowed.read().unwrap_or_else(PoisonError::into_inner));
        external_files::list(&allowed, tenant, &table.folder)
    }

    /// Whether a session of this scope has a table of this name: only one of its tenant alone.
    pub(crate) fn has(&self, scope: &Scope, name: &str) -> bool {
        crate::session::tenant_of(scope).is_some_and(|tenant| self.find(tenant, name).is_some())
    }

    /// The table of this name, for a session of its own tenant only.
    pub(crate) fn table(&self, view: &Arc<View>, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(tenant) = crate::session::tenant_of(&view.scope) else { return Ok(None) };
        let Some(table) = self.find(tenant, name) else { return Ok(None) };
        let told = |fault: ExternalFault| DataFusionError::Plan(format!("the external table `{name}` {fault}"));
        let listing = self.list(tenant, &table).map_err(told)?;
        let schema = schema(&listing).map_err(told)?;
        let shown = columns(&schema, &table).map_err(told)?;
        let external = External { view: Arc::clone(view), listing, schema };
        let plan = LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(external)), None)?;
        Ok(Some(Arc::new(ViewTable::new(plan.project(shown)?.build()?, None))))
    }

    pub(crate) fn names(&self, scope: &Scope) -> Vec<String> {
        let Some(tenant) = crate::session::tenant_of(scope) else { return Vec::new() };
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.get(&tenant).map(|own| own.keys().cloned().collect()).unwrap_or_default()
    }
}

/// Text as views, as our own tables have it.
fn viewed(field: &Field) -> Field {
    let field = field.clone().with_nullable(true);
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => field.with_data_type(DataType::Utf8View),
        DataType::Binary | DataType::LargeBinary => field.with_data_type(DataType::BinaryView),
        _ => field,
    }
}

/// The columns of the files, and behind them those of folders' names.
fn schema(listing: &Listing) -> std::result::Result<TableSchema, ExternalFault> {
    let mut fields: Vec<Field> = Vec::new();
    let step = listing.parts.len().div_ceil(LOOKED_AT).max(1);
    for part in listing.parts.iter().step_by(step) {
        for field in footer(part)?.fields() {
            if !listing.keys.contains(field.name()) && !fields.iter().any(|own| own.name() == field.name()) {
                fields.push(viewed(field));
            }
        }
    }
    let keys = listing.keys.iter().map(|key| Arc::new(Field::new(key, DataType::Utf8View, true)));
    Ok(TableSchemaBuilder::new(Arc::new(Schema::new(fields)))
        .with_table_partition_cols(keys.collect::<Vec<_>>())
        .build())
}

fn footer(part: &Part) -> std::result::Result<SchemaRef, ExternalFault> {
    let name = || external_files::shown(&part.path, &part.path);
    let file =
        external_files::open(&part.path).map_err(|error| ExternalFault::Unreadable(name(), error.to_string()))?;
    let read = ParquetRecordBatchReaderBuilder::try_new(file);
    let bounded = |text: String| text.lines().next().unwrap_or_default().chars().take(200).collect::<String>();
    Ok(read.map_err(|error| ExternalFault::File(name(), bounded(error.to_string())))?.schema().clone())
}

/// The columns under the names and as the types of the mapping.
fn columns(schema: &TableSchema, table: &ExternalTable) -> std::result::Result<Vec<Expr>, ExternalFault> {
    let own = || schema.table_schema().fields().iter().map(|field| field.name().as_str());
    if let Some(missing) = table.columns.iter().find(|column| !own().any(|name| name == column.from)) {
        return Err(ExternalFault::NoColumn {
            name: missing.from.clone(),
            near: crate::ask::near(&missing.from, own()),
        });
    }
    let mut shown = Vec::new();
    for name in own() {
        let column = || Expr::Column(Column::from_name(name));
        let mapped: Vec<&ExternalColumn> = table.columns.iter().filter(|column| column.from == name).collect();
        if mapped.is_empty() {
            shown.push((name, column()));
        }
        for one in mapped {
            shown.push((one.name.as_str(), one.kind.map_or_else(column, |kind| read_as(column(), kind))));
        }
    }
    let mut names = BTreeSet::new();
    if let Some((twice, _)) = shown.iter().find(|(name, _)| !names.insert(*name)) {
        return Err(ExternalFault::ColumnTwice((*twice).to_owned()));
    }
    Ok(shown.into_iter().map(|(name, column)| column.alias(name)).collect())
}

fn read_as(column: Expr, kind: ExternalKind) -> Expr {
    let instant = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let counted =
        |unit| cast(cast(cast(column.clone(), DataType::Int64), instant(unit)), instant(TimeUnit::Microsecond));
    match kind {
        ExternalKind::Boolean => cast(column, DataType::Boolean),
        ExternalKind::Float => cast(column, DataType::Float64),
        ExternalKind::Integer => cast(column, DataType::Int64),
        ExternalKind::Text => cast(column, DataType::Utf8View),
        ExternalKind::Time => cast(column, instant(TimeUnit::Microsecond)),
        ExternalKind::TimeMicros => counted(TimeUnit::Microsecond),
        ExternalKind::TimeMillis => counted(TimeUnit::Millisecond),
        ExternalKind::TimeNanos => counted(TimeUnit::Nanosecond),
        ExternalKind::TimeSecs => counted(TimeUnit::Second),
    }
}

/// One folder for one question.
pub(crate) struct External {
    view: Arc<View>,
    listing: Listing,
    schema: TableSchema,
}

impl std::fmt::Debug for External {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("External")
    }
}

impl External {
    /// The files whose folders' names may hold what the filters ask for.
    pub(crate) fn wanted(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&Part>> {
        let parts = &self.listing.parts;
        let ours = |filter: &&Expr| {
            let columns = filter.column_refs();
            !columns.is_empty() && columns.iter().all(|column| self.listing.keys.contains(&column.name))
        };
        let filters: Vec<&Expr> = filters.iter().filter(ours).collect();
        if filters.is_empty() {
            return Ok(parts.iter().collect());
        }
        let fields = self.schema.table_partition_cols().iter().map(|field| field.as_ref().clone());
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let column = |place: usize| {
            let value = |part: &Part| part.values.get(place).cloned().flatten();
            Arc::new(parts.iter().map(value).collect::<StringViewArray>()) as ArrayRef
        };
        let columns = (0..self.listing.keys.len()).map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(parts.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
        let schema = DFSchema::try_from(schema)?;
        let mut keep = vec![true; parts.len()];
        for filter in filters {
            let bare = |expr: Expr| match expr {
                Expr::Column(column) => {
                    Ok(datafusion::common::tree_node::Transformed::yes(Expr::Column(Column::from_name(column.name))))
                }
                other => Ok(datafusion::common::tree_node::Transformed::no(other)),
            };
            let filter = datafusion::common::tree_node::TreeNode::transform(filter.clone(), bare)?.data;
            let judged = state.create_physical_expr(filter, &schema)?.evaluate(&batch)?.into_array(parts.len())?;
            let Some(judged) = judged.as_boolean_opt() else { continue };
            for (slot, holds) in keep.iter_mut().zip(judged.iter()) {
                *slot &= holds.unwrap_or(false);
            }
        }
        Ok(parts.iter().zip(keep).filter(|(_, keep)| *keep).map(|(part, _)| part).collect())
    }

    /// How many files it has.
    pub(crate) fn files(&self) -> usize {
        self.listing.parts.len()
    }
}

#[async_trait]
impl TableProvider for External {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
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
        let mut groups = [Vec::new(), Vec::new()];
        for (number, part) in self.wanted(state, filters)?.into_iter().enumerate() {
            let file = PartitionedFile::new(format!("external/{number}.parquet"), part.bytes)
                .with_extension(OnDisk { path: part.path.clone(), own: false })
                .with_partition_values(part.values.iter().map(|value| ScalarValue::Utf8View(value.clone())).collect());
            if let Some(group) = groups.get_mut(number % 2) {
                group.push(file);
            }
            self.view.tally.files.fetch_add(1, Ordering::Relaxed);
        }
        let groups: Vec<FileGroup> = groups.into_iter().filter(|group| !group.is_empty()).map(FileGroup::new).collect();
        if groups.is_empty() {
            let schema = self.schema();
            let schema = projection.map_or(Ok(Arc::clone(&schema)), |columns| schema.project(columns).map(Arc::new))?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let readers =
            Readers { footers: Arc::clone(&self.view.inner.workers.footers), spent: Arc::clone(&self.view.spent) };
        let source = ParquetSource::new(self.schema.clone())
            .with_parquet_file_reader_factory(Arc::new(readers))
            .with_pushdown_filters(true);
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE).map_err(outside)?, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

impl Inner {
    fn look(&self, tenant: TenantId, table: &ExternalTable) -> std::result::Result<ExternalSeen, ExternalFault> {
        if Tables::reserved(&table.name) {
            return Err(ExternalFault::Reserved(table.name.clone()));
        }
        let listing = self.externals.list(tenant, table)?;
        let schema = schema(&listing)?;
        let shown = columns(&schema, table)?;
        let typed = DFSchema::try_from(Arc::clone(schema.table_schema()));
        let field = |column: &Expr| {
            use datafusion::logical_expr::ExprSchemable as _;
            let kind = typed.as_ref().ok().and_then(|typed| column.get_type(typed).ok()).unwrap_or(DataType::Null);
            Field::new(column.schema_name().to_string(), kind, true)
        };
        let bytes = listing.parts.iter().map(|part| part.bytes).sum();
        Ok(ExternalSeen {
            columns: columns_of_schema(&Schema::new(shown.iter().map(field).collect::<Vec<_>>())),
            files: crate::write::count(listing.parts.len().min(FILES_MAX)),
            partitions: listing.keys,
            bytes,
        })
    }
}

impl crate::Lake {
    /// Below which folders tenants may have tables. Without this there are none.
    pub fn allow_external_folders(&self, folders: Vec<ExternalFolder>) {
        let mut allowed = self.inner.externals.allowed.write().unwrap_or_else(PoisonError::into_inner);
        *allowed = Arc::new(folders);
    }

    /// All external tables of a tenant, in place of those before. Nothing is read: a table whose folder is not there answers
    /// so when it is asked.
    pub fn set_external_tables(&self, tenant: TenantId, tables: Vec<ExternalTable>) {
        self.inner.externals.set(tenant, tables);
    }

    /// What a folder holds now, read as this table: its names and some footers.
    ///
    /// # Errors
    /// [`LakeError::External`] where it cannot be read as one; [`LakeError::Worker`] where nobody looked.
    pub async fn look_at_external(
        &self,
        tenant: TenantId,
        table: ExternalTable,
    ) -> std::result::Result<ExternalSeen, LakeError> {
        let inner = Arc::clone(&self.inner);
        let mut task = self.inner.workers.spawn(async move { inner.look(tenant, &table) });
        Ok(task.wait().await.map_err(|error| LakeError::Worker(error.to_string()))??)
    }

    /// The external table of this name.
    #[must_use]
    pub fn external_table(&self, tenant: TenantId, name: &str) -> Option<ExternalTable> {
        self.inner.externals.find(tenant, name).map(|table| ExternalTable::clone(&table))
    }
}
