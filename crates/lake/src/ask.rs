//! Asking: bounds, errors that say what would be right, and one query from its text to its answer.

use crate::answer::{Answer, Cut, Provenance, columns_of_schema, rows_of};
use crate::lake::{Inner, Lake};
use crate::provider::{Tally, View};
use crate::reader::Spent;
use crate::{guard, session};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use ids::Scope;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// Bounds of queries.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Wall-clock time of one query.
    pub time_max: Duration,
    /// Memory of one query's joins, sorts and groups; scan buffers come on top.
    pub memory_bytes_max: usize,
    /// Rows of one answer.
    pub rows_max: usize,
    /// Bytes of files that one query may read.
    pub read_bytes_max: u64,
    /// Queries at once.
    pub queries_max: usize,
    /// Queries at once of one tenant; the provider counts as one.
    pub queries_per_tenant_max: usize,
    /// How long a query waits for its turn.
    pub wait_max: Duration,
    /// Threads for queries.
    pub threads: usize,
    /// Memory for row-group filters.
    pub filter_bytes_max: usize,
    /// Memory for parsed footers.
    pub footer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time_max: Duration::from_secs(30),
            memory_bytes_max: 256 << 20,
            rows_max: 10_000,
            read_bytes_max: 64 << 30,
            queries_max: 8,
            queries_per_tenant_max: 4,
            wait_max: Duration::from_secs(5),
            threads: 2,
            filter_bytes_max: 96 << 20,
            footer_bytes_max: 96 << 20,
        }
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, Error)]
pub enum AskError {
    /// Too many questions of the same asker at once.
    #[error("{most} queries are running already; wait for one of them")]
    Busy {
        /// How many may run at once.
        most: usize,
    },
    /// It wanted to read more than one query may.
    #[error("the query would read more than {most} bytes; narrow `time`, the class or the columns")]
    Bytes {
        /// The bound.
        most: u64,
    },
    /// It failed while it ran, through what it asked for.
    #[error("the query failed: {0}")]
    Execution(String),
    /// SQL that may not be asked.
    #[error("{what} is not possible here; {hint}")]
    Forbidden {
        /// What.
        what: String,
        /// What would be right.
        hint: &'static str,
    },
    /// A fault of ours.
    #[error("internal fault of the lake: {0}")]
    Internal(String),
    /// It needed more memory than one query may take.
    #[error("the query needs more memory than it may take; group or join fewer rows, or narrow `time`")]
    Memory,
    /// A search that cannot be read.
    #[error("at character {at}: {what}; {hint}")]
    Search {
        /// Where, counted from 1.
        at: usize,
        /// What is wrong.
        what: String,
        /// What would be right.
        hint: String,
    },
    /// SQL that cannot be read.
    #[error("{0}")]
    Syntax(String),
    /// SQL that does not fit the tables.
    #[error("{0}")]
    Plan(String),
    /// It took too long.
    #[error("the query took longer than {most:?}; narrow `time`, the class or the columns")]
    Time {
        /// The bound.
        most: Duration,
    },
    /// More than one question may be.
    #[error("{found} {what}, at most {most}; {hint}")]
    TooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        most: usize,
        /// What would be right.
        hint: &'static str,
    },
    /// A column that no table of the query has.
    #[error("there is no column `{name}`{}", hint(.near))]
    UnknownColumn {
        /// The column.
        name: String,
        /// Columns with like names.
        near: Vec<String>,
    },
}

pub(crate) fn hint(near: &[String]) -> String {
    match near {
        [] => "; ask `fields` for those that exist".to_owned(),
        near => format!("; perhaps {}", near.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// A question in SQL.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What it may see; decided by the platform.
    pub scope: Scope,
    /// One SELECT.
    pub sql: String,
    /// Rows of the answer, at most [`Limits::rows_max`].
    pub rows_max: usize,
    /// Rows to leave out first: `next_offset` of the answer before. Only of use where the SELECT has an order.
    pub offset: u64,
}

/// Rows as Arrow, with what is known of how they came about.
#[derive(Clone, Debug)]
pub struct Batches {
    /// Their columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// What cut them, if anything did.
    pub cut: Option<Cut>,
    /// Where they come from.
    pub provenance: Provenance,
}

/// How a plan comes about: from SQL, or from expressions.
pub(crate) type Planner =
    Box<dyn FnOnce(SessionState) -> futures::future::BoxFuture<'static, Result<LogicalPlan, AskError>> + Send>;

impl Lake {
    /// Answer a SELECT.
    ///
    /// # Errors
    /// What is wrong with it, or which bound it met before its first row.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, AskError> {
        let rows_max = ask.rows_max.min(self.inner.limits.rows_max);
        let batches = self.ask_batches(ask.scope, ask.sql, rows_max, ask.offset).await?;
        Ok(answer(&batches, rows_max, ask.offset))
    }

    /// Answer a SELECT with Arrow batches.
    ///
    /// # Errors
    /// As [`Lake::ask`].
    pub async fn ask_batches(
        &self,
        scope: Scope,
        sql: String,
        rows_max: usize,
        offset: u64,
    ) -> Result<Batches, AskError> {
        let planner: Planner = Box::new(move |state| {
            Box::pin(async move {
                let statement = guard::checked(&sql)?;
                let plan = state.statement_to_plan(Statement::Statement(Box::new(statement))).await;
                plan.map_err(|error| planned(&error))
            })
        });
        self.run(scope, planner, rows_max, offset).await
    }

    /// Plan and run on the lake's threads, within every bound.
    pub(crate) async fn run(
        &self,
        scope: Scope,
        planner: Planner,
        rows_max: usize,
        offset: u64,
    ) -> Result<Batches, AskError> {
        let inner = Arc::clone(&self.inner);
        let turn = inner.workers.turn(&scope, inner.limits.wait_max).await?;
        let spent = Arc::new(Spent::new(inner.limits.read_bytes_max));
        let view = Arc::new(View {
            snapshot: inner.current.get(),
            inner: Arc::clone(&inner),
            scope,
            spent,
            tally: Tally::default(),
        });
        let found: Found = Arc::default();
        let work = work(Arc::clone(&view), planner, rows_max, offset, Arc::clone(&found));
        let mut task = inner.workers.spawn(async move {
            let done = work.await;
            // The turn lasts as long as the work, even where nobody waits for it any more.
            drop(turn);
            done
        });
        let most = inner.limits.time_max;
        let cut = match tokio::time::timeout(most, task.wait()).await {
            Ok(done) => match done? {
                Ok(cut) => cut,
                Err(error) if view.spent.over() => {
                    partial(&found, Cut::Bytes).ok_or_else(|| after(error, &view, &inner))?
                }
                Err(error) => return Err(error),
            },
            Err(_) => partial(&found, Cut::Time).ok_or(AskError::Time { most })?,
        };
        drop(task);
        let (schema, batches) = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner))
            .unwrap_or_else(|| (Arc::new(datafusion::arrow::datatypes::Schema::empty()), Vec::new()));
        Ok(Batches { schema, batches, cut, provenance: provenance(&view) })
    }
}

fn after(error: AskError, view: &View, inner: &Inner) -> AskError {
    if view.spent.over() { AskError::Bytes { most: inner.limits.read_bytes_max } } else { error }
}

/// Rows as they come.
type Found = Arc<Mutex<Option<(SchemaRef, Vec<RecordBatch>)>>>;

/// What was found is worth something only where there are rows.
fn partial(found: &Found, cut: Cut) -> Option<Option<Cut>> {
    let found = found.lock().unwrap_or_else(PoisonError::into_inner);
    found.as_ref().filter(|(_, batches)| batches.iter().any(|batch| batch.num_rows() > 0)).map(|_| Some(cut))
}

async fn work(
    view: Arc<View>,
    planner: Planner,
    rows_max: usize,
    offset: u64,
    found: Found,
) -> Result<Option<Cut>, AskError> {
    let template = &view.inner.workers.template;
    let state = session::for_view(template, Arc::clone(&view));
    let context = session::context(&state, &view).map_err(|error| run_error(&error))?;
    let plan = planner(state.clone()).await?;
    if !matches!(plan, LogicalPlan::Dml(_) | LogicalPlan::Ddl(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_)) {
        let plan = state.create_physical_plan(&plan).await.map_err(|error| planned(&error))?;
        let schema = plan.schema();
        *found.lock().unwrap_or_else(PoisonError::into_inner) = Some((schema, Vec::new()));
        let stream = execute_stream(plan, context).map_err(|error| run_error(&error))?;
        return gather(stream, rows_max, offset, &found).await;
    }
    Err(AskError::Forbidden { what: "a statement that writes".to_owned(), hint: "only SELECT is possible" })
}

async fn gather(
    mut stream: datafusion::execution::SendableRecordBatchStream,
    rows_max: usize,
    offset: u64,
    found: &Found,
) -> Result<Option<Cut>, AskError> {
    let mut skip = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut room = rows_max;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| run_error(&error))?;
        let skipped = skip.min(batch.num_rows());
        skip -= skipped;
        let left = batch.num_rows() - skipped;
        let taken = left.min(room);
        room -= taken;
        if taken > 0
            && let Some((_, batches)) = found.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            batches.push(batch.slice(skipped, taken));
        }
        if left > taken {
            return Ok(Some(Cut::Rows));
        }
    }
    Ok(None)
}

pub(crate) fn answer(found: &Batches, rows_max: usize, offset: u64) -> Answer {
    let rows = rows_of(&found.batches, rows_max);
    let next = offset.saturating_add(crate::write::count(rows.len()));
    Answer {
        columns: columns_of_schema(&found.schema),
        next_offset: (found.cut == Some(Cut::Rows)).then_some(next),
        rows,
        complete: found.cut.is_none(),
        cut: found.cut,
        provenance: found.provenance.clone(),
    }
}

pub(crate) fn provenance(view: &View) -> Provenance {
    let read = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    Provenance {
        snapshot: view.snapshot.number,
        files: read(&view.tally.files),
        row_groups: read(&view.tally.runs),
        row_groups_skipped: read(&view.tally.runs_skipped),
        rows: read(&view.tally.rows),
        hot_rows: read(&view.tally.hot_rows),
        bytes: view.spent.bytes(),
    }
}

/// What planning says.
pub(crate) fn planned(error: &DataFusionError) -> AskError {
    match error.find_root() {
        DataFusionError::SchemaError(schema, _) => match &**schema {
            SchemaError::FieldNotFound { field, valid_fields } => AskError::UnknownColumn {
                name: field.flat_name(),
                near: near(&field.name, valid_fields.iter().map(|column| column.name.as_str())),
            },
            other => AskError::Plan(bounded(&other.to_string())),
        },
        DataFusionError::ResourcesExhausted(_) => AskError::Memory,
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) => AskError::Plan(bounded(text)),
        DataFusionError::Internal(text) => AskError::Internal(bounded(text)),
        other => AskError::Plan(bounded(&other.strip_backtrace())),
    }
}

/// What running says.
pub(crate) fn run_error(error: &DataFusionError) -> AskError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => AskError::Memory,
        DataFusionError::Internal(text) => AskError::Internal(bounded(text)),
        other => AskError::Execution(bounded(&other.strip_backtrace())),
    }
}

fn bounded(text: &str) -> String {
    let head: String = text.lines().next().unwrap_or("").chars().take(300).collect();
    head.replace("lake.public.", "")
}

/// The names that look most like one, at most three.
pub(crate) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(usize, &str)> = names.map(|other| (distance(name, other), other)).collect();
    scored.sort_unstable();
    scored.dedup();
    let bound = name.len() / 3 + 1;
    scored.into_iter().filter(|(score, _)| *score <= bound).take(3).map(|(_, other)| other.to_owned()).collect()
}

/// Levenshtein's distance, of texts up to 64 bytes; a name that holds the other is near.
fn distance(left: &str, right: &str) -> usize {
    if right.contains(left) || left.contains(right) {
        return 1;
    }
    let left: Vec<u8> = left.bytes().take(64).collect();
    let mut row: Vec<usize> = (0..=left.len()).collect();
    for (line, byte) in right.bytes().take(64).enumerate() {
        let mut before = line;
        let mut last = line + 1;
        for (place, own) in left.iter().enumerate() {
            let above = row.get(place + 1).copied().unwrap_or(usize::MAX);
            let best = (before + usize::from(*own != byte)).min(above + 1).min(last + 1);
            before = above;
            if let Some(slot) = row.get_mut(place) {
                *slot = last;
            }
            last = best;
        }
        if let Some(slot) = row.last_mut() {
            *slot = last;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_names_are_near() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 1);
        assert_eq!(near("scr_ip", ["src_ip", "dst_ip", "raw"].into_iter()).first().map(String::as_str), Some("src_ip"));
        assert!(near("zzzzzz", ["src_ip"].into_iter()).is_empty());
    }
}
