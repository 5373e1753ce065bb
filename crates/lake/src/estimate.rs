//! What a SELECT would read, before it is asked: it is planned like a question and then not run. Must never open a file of the
//! lake.

use crate::Estimate;
use crate::ask::{AskError, planned};
use crate::external::External;
use crate::lake::Lake;
use crate::provider::{Events, Tally, View};
use crate::reader::Spent;
use crate::write::count;
use crate::{guard, session};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result as Planned};
use datafusion::datasource::source_as_provider;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use ids::Scope;
use std::any::Any;
use std::sync::Arc;

impl Lake {
    /// What a SELECT would read: the files and runs of each of its tables that the catalog's statistics and the conditions
    /// leave over, and the files of external tables that the names of their folders do.
    ///
    /// # Errors
    /// What is wrong with it, as [`Lake::ask`] would say.
    pub async fn estimate_sql(&self, scope: Scope, sql: String) -> Result<Estimate, AskError> {
        let inner = Arc::clone(&self.inner);
        let turn = inner.workers.turn(&scope, inner.limits.wait_max).await?;
        let view = Arc::new(View {
            snapshot: inner.current.get(),
            inner: Arc::clone(&inner),
            scope,
            spent: Arc::new(Spent::new(inner.limits.read_bytes_max)),
            tally: Tally::default(),
        });
        let mut task = inner.workers.spawn(async move {
            let told = told(&view, &sql).await;
            drop(turn);
            told
        });
        let most = inner.limits.time_max;
        tokio::time::timeout(most, task.wait()).await.map_err(|_| AskError::Time { most })??
    }
}

async fn told(view: &Arc<View>, sql: &str) -> Result<Estimate, AskError> {
    let state = session::for_view(&view.inner.workers.template, Arc::clone(view));
    let statement = guard::checked(sql)?;
    let plan = state.statement_to_plan(Statement::Statement(Box::new(statement))).await;
    let plan = plan.and_then(|plan| state.optimize(&plan)).map_err(|error| planned(&error))?;
    let mut all = Estimate::default();
    let scanned = plan.apply_with_subqueries(|node| {
        all = all.and(&scan(&state, node)?);
        Ok(TreeNodeRecursion::Continue)
    });
    scanned.map_err(|error: DataFusionError| planned(&error))?;
    Ok(all)
}

/// What one node reads by itself.
fn scan(state: &SessionState, node: &LogicalPlan) -> Planned<Estimate> {
    let LogicalPlan::TableScan(scan) = node else { return Ok(Estimate::default()) };
    // A table that the catalog of the platform does not hold, as SQL's information schema, reads nothing.
    let Ok(provider) = source_as_provider(&scan.source) else { return Ok(Estimate::default()) };
    let provider: &dyn Any = provider.as_ref();
    if let Some(events) = provider.downcast_ref::<Events>() {
        return Ok(events.estimate(&scan.filters));
    }
    let Some(external) = provider.downcast_ref::<External>() else { return Ok(Estimate::default()) };
    let wanted = external.wanted(state, &scan.filters)?;
    Ok(Estimate {
        files: count(wanted.len()),
        files_skipped: count(external.files().saturating_sub(wanted.len())),
        bytes_max: wanted.iter().map(|part| part.bytes).sum(),
        ..Estimate::default()
    })
}
