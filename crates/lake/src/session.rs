//! The session of one query: its only catalog holds our tables for one scope, its memory is bounded, it has no way to a
//! file, to a setting or to a second statement.

use crate::ask::Limits;
use crate::functions;
use crate::provider::{Events, STORE, View};
use crate::schema::{DETECTION_CLASS, REMEDIATION_CLASSES};
use async_trait::async_trait;
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::datasource::provider_as_source;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::{SessionConfig, col, lit};
use event::ocsf::Schema;
use ids::{Owner, Scope};
use object_store::memory::InMemory;
use std::collections::BTreeSet;
use std::sync::Arc;

const CATALOG: &str = "lake";
const SCHEMA: &str = "public";
/// The table of what rules found.
const DETECTIONS: &str = "detections";
/// The table of what the platform did.
const ACTIONS: &str = "actions";

/// Functions that make much out of little, which no memory bound sees.
const WITHHELD: [&str; 14] = [
    "array_repeat",
    "array_resize",
    "gen_series",
    "generate_series",
    "list_repeat",
    "list_resize",
    "lpad",
    "range",
    "repeat",
    "rpad",
    "space",
    "version",
    "arrow_metadata",
    "with_metadata",
];

/// What every query's session is copied from: functions and optimiser, no table.
pub(crate) fn template(limits: &Limits) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(true)
        .with_target_partitions(2)
        .with_repartition_file_scans(false)
        .with_collect_statistics(false);
    let options: &mut ConfigOptions = config.options_mut();
    options.execution.enable_recursive_ctes = false;
    options.execution.parquet.pushdown_filters = false;
    options.execution.parquet.schema_force_view_types = true;
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime(limits.memory_bytes_max)?)
        .with_default_features()
        .with_table_functions(std::collections::HashMap::new())
        .with_table_factories(std::collections::HashMap::new())
        .build();
    withhold(&mut state)?;
    for function in functions::all() {
        datafusion::execution::FunctionRegistry::register_udf(&mut state, function)?;
    }
    Ok(state)
}

fn withhold(state: &mut SessionState) -> Result<()> {
    use datafusion::execution::FunctionRegistry;
    for name in WITHHELD {
        state.deregister_udf(name)?;
    }
    Ok(())
}

/// Memory for one query. No disk to spill to: what does not fit is refused.
fn runtime(memory_bytes_max: usize) -> Result<Arc<RuntimeEnv>> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes_max)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()?;
    // Our own readers find files by their true path; to DataFusion's there is nothing.
    runtime.register_object_store(ObjectStoreUrl::parse(STORE)?.as_ref(), Arc::new(InMemory::new()));
    let files = ObjectStoreUrl::parse("file://")?;
    let _ = runtime.deregister_object_store(files.as_ref());
    Ok(runtime)
}

/// A session that sees what the view sees.
pub(crate) fn for_view(template: &SessionState, view: Arc<View>) -> SessionState {
    // A copy shares its functions and rules; making one from a builder would register hundreds of them anew.
    let mut state = template.clone();
    state.register_catalog_list(Arc::new(Tables(view)));
    state
}

/// What a query of this view runs with: memory of its own.
pub(crate) fn context(state: &SessionState, view: &View) -> Result<Arc<TaskContext>> {
    let runtime = runtime(view.inner.limits.memory_bytes_max)?;
    Ok(Arc::new(TaskContext::from(state).with_runtime(runtime)))
}

/// The one catalog with the one schema, all of it read-only.
pub(crate) struct Tables(Arc<View>);

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tables")
    }
}

impl CatalogProviderList for Tables {
    fn register_catalog(&self, _name: String, _one: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::new(Self(Arc::clone(&self.0))) as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for Tables {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| Arc::new(Self(Arc::clone(&self.0))) as Arc<dyn SchemaProvider>)
    }
}

/// What rules of ours found: the platform writes it beside a record, whose own row is part 0. What a source sends in the
/// shape of a finding is in the table of its class and not in this one.
fn detections(view: Arc<View>) -> Result<Arc<dyn TableProvider>> {
    let all = provider_as_source(Arc::new(Events::class(view, DETECTION_CLASS)));
    let plan = LogicalPlanBuilder::scan(DETECTIONS, all, None)?.filter(col("log_part").gt(lit(0_i16)))?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// What the platform did and what came of it: written by itself, and so told from what a source says of its own deeds by
/// the same mark as the findings of ours.
fn actions(view: Arc<View>) -> Result<Arc<dyn TableProvider>> {
    let all = provider_as_source(Arc::new(Events::all(view)));
    let classes = REMEDIATION_CLASSES.iter().filter_map(|class| i32::try_from(*class).ok());
    let ours = col("class_uid").in_list(classes.map(lit).collect(), false).and(col("log_part").gt(lit(0_i16)));
    Ok(Arc::new(ViewTable::new(LogicalPlanBuilder::scan(ACTIONS, all, None)?.filter(ours)?.build()?, None)))
}

impl Tables {
    /// The class behind a table's name; none for `events`.
    fn class(name: &str) -> Option<Option<u32>> {
        match name {
            "events" => Some(None),
            name => Schema::built_in().class_named(name).map(|class| Some(class.uid)),
        }
    }

    /// Whether a name is one of ours, so that no external table may have it.
    pub(crate) fn reserved(name: &str) -> bool {
        [ACTIONS, DETECTIONS, "information_schema"].contains(&name) || Self::class(name).is_some()
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        let view = &self.0;
        let ours = |tenant| view.scope.covers(Owner::Tenant(tenant));
        let mut classes = BTreeSet::new();
        for file in view.snapshot.files.values() {
            if file.row_groups.iter().any(|run| ours(run.tenant)) {
                classes.insert(file.class_uid);
            }
        }
        for batch in view.snapshot.hot.iter().filter(|batch| batch.tenants.iter().any(|tenant| ours(*tenant))) {
            classes.insert(batch.class_uid);
        }
        let schema = Schema::built_in();
        let mut names = vec!["events".to_owned(), DETECTIONS.to_owned(), ACTIONS.to_owned()];
        names.extend(classes.into_iter().filter_map(|class| Some(schema.class(class)?.entry.name.to_owned())));
        names.extend(view.inner.externals.names(&view.scope));
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let view = Arc::clone(&self.0);
        if name == DETECTIONS {
            return Ok(Some(detections(view)?));
        }
        if name == ACTIONS {
            return Ok(Some(actions(view)?));
        }
        Ok(match Self::class(name) {
            Some(None) => Some(Arc::new(Events::all(view))),
            Some(Some(class)) => Some(Arc::new(Events::class(view, class))),
            None => self.0.inner.externals.table(&self.0, name)?,
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        matches!(name, ACTIONS | DETECTIONS)
            || Self::class(name).is_some()
            || self.0.inner.externals.has(&self.0.scope, name)
    }
}

/// Whether a scope is one tenant's.
pub(crate) fn tenant_of(scope: &Scope) -> Option<ids::TenantId> {
    match scope {
        Scope::Tenant(tenant) => Some(*tenant),
        Scope::Provider | Scope::Tenants(_) => None,
    }
}
