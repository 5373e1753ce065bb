//! Getting to know the data: counts over time, fields with their share, values with their counts, and what a question
//! would cost before it is asked.

use crate::answer::{Answer, Provenance};
use crate::ask::{AskError, answer, near};
use crate::find::{condition, events, filtered, plan_of};
use crate::lake::{Inner, Lake};
use crate::prune::{FileFacts, Prune, RunFacts};
use crate::schema::{at, logical, places_of};
use crate::write::{count, text_type};
use datafusion::arrow::datatypes::IntervalMonthDayNano;
use datafusion::common::ScalarValue;
use datafusion::functions::datetime::expr_fn::date_bin;
use datafusion::functions_aggregate::expr_fn as aggregate;
use datafusion::prelude::{Expr, col, lit};
use ids::{Owner, Scope, Timestamp};
use serde::Serialize;
use std::time::Duration;

/// The part of the data that is looked at.
#[derive(Clone, Debug)]
pub struct Part {
    /// What may be seen; decided by the platform.
    pub scope: Scope,
    /// A search; empty for everything.
    pub query: String,
    /// Events at or after this instant.
    pub from: Option<Timestamp>,
    /// Events before this instant.
    pub to: Option<Timestamp>,
}

/// A field of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldSeen {
    /// Its name in SQL and search.
    pub name: String,
    /// `text`, `integer` or `time`.
    pub kind: &'static str,
    /// The OCSF path; none for the platform's own.
    pub path: Option<&'static str>,
    /// The kind of observable under which its values are indexed.
    pub observable: Option<&'static str>,
    /// Rows with a value, of those that were looked at.
    pub rows: u64,
}

/// The fields, and how many rows were looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fields {
    /// Fields with a value in some row, by their place in the table.
    pub fields: Vec<FieldSeen>,
    /// Rows that were looked at: the newest.
    pub sample: u64,
    /// Where they come from.
    pub provenance: Provenance,
}

/// What a question would read, from the catalog's statistics alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Estimate {
    /// Files that would be opened.
    pub files: u64,
    /// Files that need not be, though they hold rows that may be seen.
    pub files_skipped: u64,
    /// Runs of rows that would be read.
    pub row_groups: u64,
    /// Rows in them.
    pub rows: u64,
    /// At most so many bytes: the runs' share of their files.
    pub bytes_max: u64,
    /// Rows in memory that would be looked at.
    pub hot_rows: u64,
}

impl Estimate {
    /// Both together.
    #[must_use]
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            files: self.files.saturating_add(other.files),
            files_skipped: self.files_skipped.saturating_add(other.files_skipped),
            row_groups: self.row_groups.saturating_add(other.row_groups),
            rows: self.rows.saturating_add(other.rows),
            bytes_max: self.bytes_max.saturating_add(other.bytes_max),
            hot_rows: self.hot_rows.saturating_add(other.hot_rows),
        }
    }
}

const SAMPLE_ROWS: usize = 20_000;

impl Lake {
    /// Events per bucket of time and, where a column is named, per value of it.
    ///
    /// # Errors
    /// As [`Lake::search`]; a bucket of no length or a column that does not exist.
    pub async fn histogram(&self, part: Part, bucket: Duration, by: Option<String>) -> Result<Answer, AskError> {
        let nanos = i64::try_from(bucket.as_nanos()).ok().filter(|nanos| *nanos >= 1_000_000);
        let nanos = nanos.ok_or_else(|| AskError::Plan("a bucket is between 1 ms and 292 years".to_owned()))?;
        let by = by.map(|name| known(&name)).transpose()?;
        let condition = condition(&part.query, part.from, part.to)?;
        let planner = Box::new(move |state| -> futures::future::BoxFuture<'static, _> {
            Box::pin(async move {
                let stride = ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, nanos)));
                let origin = ScalarValue::TimestampMicrosecond(Some(0), Some("UTC".into()));
                let bucket = date_bin(lit(stride), col("time"), lit(origin)).alias("bucket");
                let groups: Vec<Expr> = [bucket].into_iter().chain(by.map(col)).collect();
                let frame = filtered(events(state).await?, condition)?;
                let rows = aggregate::count(lit(1_i64)).alias("count");
                let frame = frame.aggregate(groups, vec![rows]);
                plan_of(frame.and_then(|frame| frame.sort(vec![col("bucket").sort(true, false)])))
            })
        });
        let rows_max = self.inner.limits.rows_max;
        let found = self.run(part.scope, planner, rows_max, 0).await?;
        Ok(answer(&found, rows_max, 0))
    }

    /// The most frequent values of a column with their counts.
    ///
    /// # Errors
    /// As [`Lake::search`]; a column that does not exist.
    pub async fn values(&self, part: Part, field: &str, top: usize) -> Result<Answer, AskError> {
        let name = known(field)?;
        let top = top.clamp(1, self.inner.limits.rows_max);
        let condition = condition(&part.query, part.from, part.to)?;
        let planner = Box::new(move |state| -> futures::future::BoxFuture<'static, _> {
            Box::pin(async move {
                let condition = condition.into_iter().chain([col(&name).is_not_null()]).reduce(Expr::and);
                let frame = filtered(events(state).await?, condition)?;
                let rows = aggregate::count(lit(1_i64)).alias("count");
                let frame = frame.aggregate(vec![col(&name)], vec![rows]);
                let order = vec![col("count").sort(false, false), col(&name).sort(true, false)];
                let frame = frame.and_then(|frame| frame.sort(order));
                plan_of(frame.and_then(|frame| frame.limit(0, Some(top))))
            })
        });
        let found = self.run(part.scope, planner, top, 0).await?;
        Ok(answer(&found, top, 0))
    }

    /// The fields that have values, from the newest rows.
    ///
    /// # Errors
    /// As [`Lake::search`].
    pub async fn fields(&self, part: Part) -> Result<Fields, AskError> {
        let condition = condition(&part.query, part.from, part.to)?;
        let planner = Box::new(move |state| -> futures::future::BoxFuture<'static, _> {
            Box::pin(async move {
                let frame = filtered(events(state).await?, condition)?;
                let names = logical().fields().iter().map(|field| field.name().as_str());
                let counts = names.clone().map(|name| aggregate::count(col(name)).alias(name)).collect();
                let frame = frame.limit(0, Some(SAMPLE_ROWS));
                plan_of(frame.and_then(|frame| frame.aggregate(vec![], counts)))
            })
        });
        let found = self.run(part.scope, planner, 1, 0).await?;
        let counted = answer(&found, 1, 0);
        let values = counted.rows.first().map(Vec::as_slice).unwrap_or_default();
        let rows = |place: usize| values.get(place).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let fields = logical().fields().iter().enumerate().filter(|(place, _)| rows(*place) > 0);
        let seen = |(place, field): (usize, &std::sync::Arc<datafusion::arrow::datatypes::Field>)| {
            let name = field.name();
            let column = event::mapping::COLUMNS.iter().find(|column| column.name == name);
            let kind = crate::observable::kind_of_column(name);
            let kind = kind.and_then(|kind| crate::KINDS.iter().find(|(_, own)| *own == kind));
            FieldSeen {
                name: name.clone(),
                kind: match field.data_type() {
                    kind if text_type(kind) => "text",
                    kind if kind.is_integer() => "integer",
                    _ => "time",
                },
                path: column.map(|column| column.path),
                observable: kind.map(|(name, _)| *name),
                rows: rows(place),
            }
        };
        Ok(Fields { fields: fields.map(seen).collect(), sample: rows(at::TIME), provenance: found.provenance })
    }

    /// What a search would read. Opens nothing, reads no filter that is not in memory.
    ///
    /// # Errors
    /// What cannot be read in the search.
    pub fn estimate(&self, part: &Part) -> Result<Estimate, AskError> {
        let condition = condition(&part.query, part.from, part.to)?;
        Ok(self.estimate_of(&part.scope, &Prune::of(&condition.into_iter().collect::<Vec<_>>())))
    }

    /// What would be read of a scope where so much is known of the rows that are wanted.
    pub(crate) fn estimate_of(&self, scope: &Scope, prune: &Prune) -> Estimate {
        self.inner.estimate(scope, None, prune)
    }
}

impl Inner {
    /// The same, of one class or of all.
    pub(crate) fn estimate(&self, scope: &Scope, class: Option<u32>, prune: &Prune) -> Estimate {
        let snapshot = self.current.get();
        let mut estimate = Estimate::default();
        for file in snapshot.files.values() {
            if !file.row_groups.iter().any(|run| scope.covers(Owner::Tenant(run.tenant))) {
                continue;
            }
            let mut columns = vec![false; crate::schema::WIDTH];
            for place in places_of(file.class_uid) {
                if let Some(slot) = columns.get_mut(place) {
                    *slot = true;
                }
            }
            let wanted = class.is_none_or(|class| class == file.class_uid);
            if !wanted || !prune.may(&FileFacts { file, columns: &columns }) {
                estimate.files_skipped += 1;
                continue;
            }
            let sets = self.filters.cached(file.id);
            let before = estimate.row_groups;
            for (number, run) in file.row_groups.iter().enumerate() {
                let tenant = run.tenant.to_string();
                let set = sets.as_ref().and_then(|sets| sets.get(number)).and_then(Option::as_ref);
                let else_regular = sets.is_none();
                let facts = RunFacts { file, run, tenant: &tenant, set, columns: &columns, else_regular };
                if scope.covers(Owner::Tenant(run.tenant)) && prune.may(&facts) {
                    estimate.row_groups += 1;
                    estimate.rows += run.rows;
                    estimate.bytes_max += run.bytes;
                }
            }
            let opened = estimate.row_groups > before;
            estimate.files += u64::from(opened);
            estimate.files_skipped += u64::from(!opened);
        }
        let hot = snapshot.hot.iter().filter(|batch| class.is_none_or(|class| class == batch.class_uid));
        for batch in hot.filter(|batch| prune.may(&***batch)) {
            let ours = batch.tenants.iter().filter(|tenant| scope.covers(Owner::Tenant(**tenant)));
            estimate.hot_rows += count(ours.count());
        }
        estimate
    }
}

/// A column by its name or OCSF path.
fn known(name: &str) -> Result<String, AskError> {
    let by_path = event::mapping::COLUMNS.iter().find(|column| column.path == name).map(|column| column.name);
    let wanted = by_path.unwrap_or(name);
    let names = || logical().fields().iter().map(|field| field.name().as_str());
    match names().find(|own| *own == wanted) {
        Some(own) => Ok(own.to_owned()),
        None => Err(AskError::UnknownColumn { name: name.to_owned(), near: near(wanted, names()) }),
    }
}
