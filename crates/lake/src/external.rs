//! Folders of Parquet that a tenant already has, read in place as tables of that tenant's own sessions.
//!
//! Must never write there, follow a link out of the folder, or show a table to another tenant.

use crate::LakeError;
use crate::provider::{STORE, View, outside};
use crate::reader::{OnDisk, Readers};
use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::{TableSchema, TableSchemaBuilder};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use ids::{Scope, TenantId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

const FILES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 8;

/// One file of an external table.
#[derive(Clone, Debug)]
struct Part {
    path: PathBuf,
    bytes: u64,
    /// Values of the partition columns, in their order.
    values: Vec<String>,
}

/// A registered folder.
#[derive(Debug)]
struct Registered {
    parts: Vec<Part>,
    schema: TableSchema,
}

/// External tables by tenant and name.
#[derive(Debug, Default)]
pub(crate) struct Externals {
    tables: RwLock<BTreeMap<(TenantId, String), Arc<Registered>>>,
}

impl Externals {
    /// Register or replace a table: reads the folder's names and one footer.
    pub(crate) fn register(&self, tenant: TenantId, name: &str, folder: &Path) -> std::result::Result<u64, LakeError> {
        let root = folder.canonicalize().map_err(|source| LakeError::io("find", folder, source))?;
        let mut parts = Vec::new();
        let mut keys: Option<Vec<String>> = None;
        collect(&root, &root, 0, &mut Vec::new(), &mut keys, &mut parts)?;
        parts.sort_by(|left, right| left.path.cmp(&right.path));
        let schema = match parts.first() {
            Some(part) => {
                let file =
                    std::fs::File::open(&part.path).map_err(|source| LakeError::io("open", &part.path, source))?;
                ParquetRecordBatchReaderBuilder::try_new(file)?.schema().clone()
            }
            None => Arc::new(Schema::empty()),
        };
        let keys = keys.unwrap_or_default();
        let fields = schema.fields().iter().filter(|field| !keys.contains(field.name())).map(viewed);
        let columns = keys.iter().map(|key| Arc::new(Field::new(key, DataType::Utf8View, false))).collect::<Vec<_>>();
        let schema = TableSchemaBuilder::new(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
            .with_table_partition_cols(columns)
            .build();
        let files = crate::write::count(parts.len());
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.insert((tenant, name.to_owned()), Arc::new(Registered { parts, schema }));
        Ok(files)
    }

    /// Forget a table; whether there was one.
    pub(crate) fn forget(&self, tenant: TenantId, name: &str) -> bool {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.remove(&(tenant, name.to_owned())).is_some()
    }

    /// The table of this name, for a session of its own tenant only.
    pub(crate) fn table(&self, view: &Arc<View>, name: &str) -> Option<Arc<dyn TableProvider>> {
        let tenant = crate::session::tenant_of(&view.scope)?;
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let registered = Arc::clone(tables.get(&(tenant, name.to_owned()))?);
        Some(Arc::new(External { view: Arc::clone(view), registered }))
    }

    pub(crate) fn names(&self, scope: &Scope) -> Vec<String> {
        let Some(tenant) = crate::session::tenant_of(scope) else { return Vec::new() };
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.keys().filter(|(owner, _)| *owner == tenant).map(|(_, name)| name.clone()).collect()
    }
}

/// Text as views, as our own tables have it.
fn viewed(field: &Arc<Field>) -> Field {
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => Field::clone(field).with_data_type(DataType::Utf8View),
        DataType::Binary | DataType::LargeBinary => Field::clone(field).with_data_type(DataType::BinaryView),
        _ => Field::clone(field),
    }
}

fn collect(
    root: &Path,
    folder: &Path,
    depth: usize,
    values: &mut Vec<(String, String)>,
    keys: &mut Option<Vec<String>>,
    parts: &mut Vec<Part>,
) -> std::result::Result<(), LakeError> {
    let failed = |source| LakeError::io("list", folder, source);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // A link may lead anywhere; only what truly lies in the folder counts.
        let Ok(real) = path.canonicalize() else { continue };
        if !real.starts_with(root) || parts.len() >= FILES_MAX {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned();
        if real.is_dir() && depth < DEPTH_MAX {
            let pair = name.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
            let pushed = pair.is_some();
            values.extend(pair);
            collect(root, &real, depth + 1, values, keys, parts)?;
            if pushed {
                values.pop();
            }
        } else if real.extension().is_some_and(|end| end == "parquet") {
            let own: Vec<String> = values.iter().map(|(key, _)| key.clone()).collect();
            // Files that lie at another depth than the first do not belong to its table.
            if *keys.get_or_insert_with(|| own.clone()) != own {
                continue;
            }
            let bytes = std::fs::metadata(&real).map_err(|source| LakeError::io("look at", &real, source))?.len();
            parts.push(Part { path: real, bytes, values: values.iter().map(|(_, value)| value.clone()).collect() });
        }
    }
    Ok(())
}

struct External {
    view: Arc<View>,
    registered: Arc<Registered>,
}

impl std::fmt::Debug for External {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("External")
    }
}

#[async_trait]
impl TableProvider for External {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.registered.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut groups = [Vec::new(), Vec::new()];
        for (number, part) in self.registered.parts.iter().enumerate() {
            let file = PartitionedFile::new(format!("external/{number}.parquet"), part.bytes)
                .with_extension(OnDisk { path: part.path.clone(), own: false })
                .with_partition_values(
                    part.values.iter().map(|value| ScalarValue::Utf8View(Some(value.clone()))).collect(),
                );
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
        let source = ParquetSource::new(self.registered.schema.clone())
            .with_parquet_file_reader_factory(Arc::new(readers))
            .with_pushdown_filters(true);
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE).map_err(outside)?, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

impl crate::Lake {
    /// Show a folder of Parquet (`key=value` folders become columns) as a table of this tenant; how many files it has.
    /// Registering again looks at the folder again.
    ///
    /// # Errors
    /// The folder or its first file cannot be read.
    pub fn register_external(
        &self,
        tenant: TenantId,
        name: &ids::Text<64>,
        folder: &Path,
    ) -> std::result::Result<u64, LakeError> {
        self.inner.externals.register(tenant, name.as_str(), folder)
    }

    /// Show it no more; whether it was shown.
    #[must_use]
    pub fn forget_external(&self, tenant: TenantId, name: &str) -> bool {
        self.inner.externals.forget(tenant, name)
    }
}
