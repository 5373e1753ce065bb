//! Searching: newest first, page by page, within a time range; one event by its name; the newest as they come.

use crate::answer::Answer;
use crate::ask::{AskError, Batches, answer, planned};
use crate::lake::Lake;
use crate::search::{instant, lower, parse};
use datafusion::common::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, Expr, SessionContext, col, lit};
use ids::{EventId, Scope, Timestamp};

/// What a search shows where nothing else is asked for; columns without any value are left out.
const SHOWN: [&str; 24] = [
    "id",
    "time",
    "tenant",
    "source",
    "class_uid",
    "activity_id",
    "severity_id",
    "message",
    "device_hostname",
    "actor_user_name",
    "user_name",
    "parent_path",
    "process_path",
    "process_cmd_line",
    "file_path",
    "src_ip",
    "dst_ip",
    "dst_port",
    "query_hostname",
    "url",
    "api_operation",
    "resource_uid",
    "status_id",
    "finding_title",
];

/// A search.
#[derive(Clone, Debug)]
pub struct Search {
    /// What it may see; decided by the platform.
    pub scope: Scope,
    /// The grammar of `spec/lake/search`; empty for everything.
    pub query: String,
    /// Events at or after this instant.
    pub from: Option<Timestamp>,
    /// Events before this instant.
    pub to: Option<Timestamp>,
    /// The columns to show; empty for those that say most.
    pub columns: Vec<String>,
    /// Rows of the answer, at most [`crate::Limits::rows_max`].
    pub rows_max: usize,
    /// Where to go on: `next` of the page before.
    pub after: Option<String>,
}

/// A page of a search.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Page {
    /// The rows, newest first.
    #[serde(flatten)]
    pub answer: Answer,
    /// Where to go on, where there is more.
    pub next: Option<String>,
}

/// The order of a search: newest first, and among those of one instant the last in the log.
const ORDER: [&str; 5] = ["time", "log_segment", "log_offset", "log_index", "log_part"];

/// The table `events` of a session.
pub(crate) async fn events(state: SessionState) -> Result<DataFrame, AskError> {
    SessionContext::new_with_state(state).table("events").await.map_err(|error| planned(&error))
}

/// The condition of a search and a time range.
pub(crate) fn condition(query: &str, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Option<Expr>, AskError> {
    let parts = [
        parse(query)?.map(|node| lower(&node)).transpose()?,
        from.map(|from| col("time").gt_eq(instant(from))),
        to.map(|to| col("time").lt(instant(to))),
    ];
    Ok(parts.into_iter().flatten().reduce(Expr::and))
}

pub(crate) fn filtered(frame: DataFrame, condition: Option<Expr>) -> Result<DataFrame, AskError> {
    match condition {
        Some(condition) => frame.filter(condition).map_err(|error| planned(&error)),
        None => Ok(frame),
    }
}

pub(crate) fn plan_of(frame: Result<DataFrame, DataFusionError>) -> Result<LogicalPlan, AskError> {
    frame.map(DataFrame::into_unoptimized_plan).map_err(|error| planned(&error))
}

impl Lake {
    /// Search, newest first.
    ///
    /// # Errors
    /// What cannot be read in it and where, or which bound it met.
    pub async fn search(&self, search: Search) -> Result<Page, AskError> {
        let rows_max = search.rows_max.clamp(1, self.inner.limits.rows_max);
        let found = self.search_batches(&search, rows_max).await?;
        let mut answer = answer(&found, rows_max, 0);
        answer.next_offset = None;
        let next = match answer.complete {
            true => None,
            false => place_of_last(&answer),
        };
        trim(&mut answer, search.columns.is_empty());
        Ok(Page { answer, next })
    }

    async fn search_batches(&self, search: &Search, rows_max: usize) -> Result<Batches, AskError> {
        let condition = condition(&search.query, search.from, search.to)?;
        let after = search.after.as_deref().map(after).transpose()?;
        let condition = condition.into_iter().chain(after).reduce(Expr::and);
        let mut columns = search.columns.clone();
        if columns.is_empty() {
            columns = SHOWN.map(str::to_owned).to_vec();
        }
        // What the next page starts from; `trim` takes it out again.
        for name in ["time", "id"] {
            if !columns.iter().any(|column| column == name) {
                columns.push(name.to_owned());
            }
        }
        let planner = Box::new(move |state| -> futures::future::BoxFuture<'static, _> {
            Box::pin(async move {
                let frame = filtered(events(state).await?, condition)?;
                let order = ORDER.map(|name| col(name).sort(false, false)).to_vec();
                let frame = frame.sort(order).and_then(|frame| frame.limit(0, Some(rows_max + 1)));
                plan_of(frame.and_then(|frame| frame.select(columns.iter().map(col).collect::<Vec<_>>())))
            })
        });
        self.run(search.scope.clone(), planner, rows_max, 0).await
    }

    /// One event with all its columns and its raw text; none where the scope does not see it or it is not there.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub async fn get(&self, scope: Scope, id: EventId) -> Result<Option<Answer>, AskError> {
        let answer = self.get_all(scope, &[id], &[]).await?;
        Ok(Some(answer).filter(|answer| !answer.rows.is_empty()))
    }

    /// Several events in one question, in no order: those that the scope sees. All their columns and the raw text where no
    /// column is named; `id` tells which is which.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub async fn get_all(&self, scope: Scope, ids: &[EventId], columns: &[&str]) -> Result<Answer, AskError> {
        let most = ids.len().clamp(1, 1_000);
        let condition = ids.iter().take(most).filter_map(named).reduce(Expr::or);
        let Some(condition) = condition else { return Ok(Answer::default()) };
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let sparse = columns.is_empty();
        let planner = Box::new(move |state| -> futures::future::BoxFuture<'static, _> {
            Box::pin(async move {
                let frame = filtered(events(state).await?, Some(condition))?;
                let frame = match columns.as_slice() {
                    [] => Ok(frame),
                    columns => frame.select(columns.iter().map(col).collect::<Vec<_>>()),
                };
                plan_of(frame.and_then(|frame| frame.limit(0, Some(most))))
            })
        });
        let found = self.run(scope, planner, most, 0).await?;
        let mut answer = answer(&found, most, 0);
        trim(&mut answer, sparse);
        Ok(answer)
    }
}

/// The condition that an event is this one.
fn named(id: &EventId) -> Option<Expr> {
    let whole = |number: u64| lit(i64::try_from(number).unwrap_or(i64::MAX));
    let day = catalog::Day::new(id.day);
    [
        col("class_uid").eq(lit(i32::try_from(id.class_uid).unwrap_or(i32::MAX))),
        col("time").gt_eq(instant(day.start())),
        col("time").lt_eq(instant(day.end())),
        col("log_offset").eq(whole(id.offset)),
        col("log_segment").eq(whole(id.segment)),
        col("log_index").eq(lit(i32::try_from(id.index).unwrap_or(i32::MAX))),
        col("log_part").eq(lit(i16::try_from(id.part).unwrap_or(i16::MAX))),
    ]
    .into_iter()
    .reduce(Expr::and)
}

/// Leave out columns that have no value in any row.
fn trim(answer: &mut Answer, sparse: bool) {
    if !sparse || answer.rows.is_empty() {
        return;
    }
    let empty = |place: usize| answer.rows.iter().all(|row| row.get(place).is_none_or(serde_json::Value::is_null));
    let keep: Vec<bool> = (0..answer.columns.len()).map(|place| !empty(place)).collect();
    let kept = |place: &usize| keep.get(*place).copied().unwrap_or(true);
    let mut place = 0;
    answer.columns.retain(|_| {
        place += 1;
        kept(&(place - 1))
    });
    for row in &mut answer.rows {
        let mut place = 0;
        row.retain(|_| {
            place += 1;
            kept(&(place - 1))
        });
    }
}

/// `TIME~ID` of the last row.
fn place_of_last(answer: &Answer) -> Option<String> {
    let row = answer.rows.last()?;
    let value = |name: &str| {
        let place = answer.columns.iter().position(|column| column.name == name)?;
        row.get(place)?.as_str()
    };
    Some(format!("{}~{}", value("time")?, value("id")?))
}

/// What comes after a place in the order of a search.
fn after(place: &str) -> Result<Expr, AskError> {
    let malformed = || AskError::Search {
        at: 1,
        what: "`after` is not a place in a search".to_owned(),
        hint: "give `next` of the page before".to_owned(),
    };
    let (time, id) = place.split_once('~').ok_or_else(malformed)?;
    let time: Timestamp = time.parse().map_err(|_| malformed())?;
    let id: EventId = id.parse().map_err(|_| malformed())?;
    let whole = |number: u64| lit(i64::try_from(number).unwrap_or(i64::MAX));
    let values = [
        instant(time),
        whole(id.segment),
        whole(id.offset),
        lit(i32::try_from(id.index).unwrap_or(i32::MAX)),
        lit(i16::try_from(id.part).unwrap_or(i16::MAX)),
    ];
    let mut condition = lit(false);
    for (name, value) in ORDER.iter().zip(values).rev() {
        condition = col(*name).lt(value.clone()).or(col(*name).eq(value).and(condition));
    }
    // So that whole files and runs can be left out.
    Ok(col("time").lt_eq(instant(time)).and(condition))
}
