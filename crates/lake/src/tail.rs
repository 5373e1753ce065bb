//! Watching: rows as they are sealed, those that a search matches.
//!
//! Who is too slow misses rows and is told how many batches; the writer never waits.

use crate::answer::{AnswerColumn, columns_of_schema, rows_of};
use crate::ask::{AskError, planned};
use crate::find::condition;
use crate::hot::HotBatch;
use crate::lake::{Lake, Sealed};
use crate::provider::ID_OF;
use crate::schema::{WIDTH, logical};
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{and, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use ids::{Owner, Scope};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Rows that came in since the last look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arrived {
    /// Their columns: `id` and all of the table.
    pub columns: Vec<AnswerColumn>,
    /// The rows, as they came.
    pub rows: Vec<Vec<Value>>,
    /// Batches that were missed before these, because nobody looked for too long.
    pub missed: u64,
}

/// A watch over what comes in.
pub struct Tail {
    sealed: broadcast::Receiver<Sealed>,
    scope: Scope,
    condition: Option<Arc<dyn PhysicalExpr>>,
    missed: u64,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Lake {
    /// Watch what comes in from now on.
    ///
    /// # Errors
    /// What cannot be read in the search.
    pub fn tail(&self, scope: Scope, query: &str) -> Result<Tail, AskError> {
        let condition = condition(query, None, None)?;
        let physical = |condition| {
            let schema = Arc::new(DFSchema::try_from(logical().as_ref().clone())?);
            let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(&schema)).build());
            let condition = simplifier.coerce(condition, &schema)?;
            self.inner.workers.template.create_physical_expr(condition, &schema)
        };
        let condition = condition.map(physical).transpose().map_err(|error: DataFusionError| planned(&error))?;
        Ok(Tail { sealed: self.inner.sealed.subscribe(), scope, condition, missed: 0 })
    }
}

impl Tail {
    /// The next rows that match; none where the lake is closed. May be dropped and called again.
    ///
    /// # Errors
    /// The condition cannot be applied.
    pub async fn next(&mut self) -> Result<Option<Arrived>, AskError> {
        loop {
            let batches = match self.sealed.recv().await {
                Ok(batches) => batches,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
                Err(broadcast::error::RecvError::Lagged(batches)) => {
                    self.missed += batches;
                    continue;
                }
            };
            let mut rows = Vec::new();
            let mut columns = Vec::new();
            for batch in batches.iter() {
                let Some(matching) = self.matching(batch).map_err(|error| planned(&error))? else { continue };
                columns = columns_of_schema(&matching.schema());
                rows.extend(rows_of(&[matching], usize::MAX));
            }
            if !rows.is_empty() {
                return Ok(Some(Arrived { columns, rows, missed: std::mem::take(&mut self.missed) }));
            }
        }
    }

    fn matching(&self, batch: &HotBatch) -> Result<Option<RecordBatch>, DataFusionError> {
        let ours = batch.tenants.iter().map(|tenant| Some(self.scope.covers(Owner::Tenant(*tenant))));
        let mut mask: BooleanArray = ours.collect();
        if mask.true_count() == 0 {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> = (0..WIDTH).map(|place| batch.column_or_null(place)).collect();
        let rows = RecordBatch::try_new(Arc::clone(logical()), columns)?;
        if let Some(condition) = &self.condition {
            let hit = condition.evaluate(&rows)?.into_array(rows.num_rows())?;
            mask = and(&mask, &without_nulls(hit.as_boolean()))?;
        }
        if mask.true_count() == 0 {
            return Ok(None);
        }
        let rows = filter_record_batch(&with_id(&rows)?, &mask)?;
        Ok(Some(rows))
    }
}

fn without_nulls(mask: &BooleanArray) -> BooleanArray {
    mask.iter().map(|hit| Some(hit == Some(true))).collect()
}

fn with_id(rows: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
    let parts: Vec<ArrayRef> = ID_OF.iter().filter_map(|place| rows.columns().get(*place).cloned()).collect();
    let ids = crate::functions::event_ids(&parts, rows.num_rows());
    let shown = rows.schema();
    let fields =
        [Arc::new(Field::new("id", DataType::Utf8View, true))].into_iter().chain(shown.fields().iter().cloned());
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = std::iter::once(ids).chain(rows.columns().iter().cloned()).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}
