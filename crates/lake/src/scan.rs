//! Reading every record of a time range as its source wrote it, batch by batch, for those who look at all of them: a rule
//! over what the lake holds. In the order of the files and not of time, because an order would have to hold all rows.
//! What the caller knows to be necessary leaves out files, runs and pages of regular runs; must never leave out what that
//! lets pass, nor anything of a run that is not known to be regular.

use crate::answer::Provenance;
use crate::ask::{AskError, planned, provenance, run_error};
use crate::explore::Estimate;
use crate::find::{filtered, plan_of};
use crate::functions::named;
use crate::lake::Lake;
use crate::provider::{Events, Tally, View};
use crate::prune::Prune;
use crate::reader::Spent;
use crate::regular::Regular;
use crate::runtime::Task;
use crate::search::instant;
use crate::session;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{Expr, SessionContext, col, lit};
use futures::StreamExt;
use ids::{EventId, Owner, Scope, TenantId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Batches that are decoded ahead.
const AHEAD: usize = 4;
/// What a scan reads, in this order.
const READ: [&str; 10] =
    ["tenant", "source", "time", "received", "class_uid", "raw", "log_segment", "log_offset", "log_index", "log_part"];

/// What a regular record needs to be worth a look. Texts are compared without regard to the case of ASCII letters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Needed {
    /// All of these; none asks for nothing.
    All(Vec<Needed>),
    /// One of these; none lets nothing pass.
    Any(Vec<Needed>),
    /// The event is of this class.
    Class(u32),
    /// A column of the table holds this text somewhere.
    Contains(&'static str, String),
    /// A column of the table is this text.
    Equals(&'static str, String),
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Scan {
    /// What it may see; decided by the platform.
    pub scope: Scope,
    /// What the records need.
    pub needed: Needed,
    /// Events at or after this instant.
    pub from: Timestamp,
    /// Events before this instant.
    pub to: Timestamp,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Scanned<'a> {
    /// Its name.
    pub id: EventId,
    /// Whose it is, as text.
    pub tenant: &'a str,
    /// The source that sent it.
    pub source: &'a str,
    /// When it happened.
    pub time: Timestamp,
    /// When it came.
    pub received: Timestamp,
    /// As its source wrote it.
    pub raw: &'a str,
}

/// Some records.
#[derive(Clone, Debug)]
pub struct Records(RecordBatch);

/// The records of a scan as they are read. Ends the reading where it is dropped.
pub struct Scanning {
    batches: mpsc::Receiver<Result<RecordBatch, AskError>>,
    view: Arc<View>,
    _task: Task<()>,
}

impl std::fmt::Debug for Scanning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanning").finish_non_exhaustive()
    }
}

/// A part of a time range with about as many records as were asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slice {
    /// Events at or after this instant.
    pub from: Timestamp,
    /// Events before this instant.
    pub to: Timestamp,
    /// About how many records there are.
    pub rows: u64,
}

impl Scan {
    fn conditions(&self) -> [Expr; 3] {
        [col("log_part").eq(lit(0_i16)), col("time").gt_eq(instant(self.from)), col("time").lt(instant(self.to))]
    }

    /// Regular runs with what their records need, and the others as they are: what is asked of runs and of rows.
    fn parts(&self) -> Vec<(Prune, Vec<Expr>)> {
        let all = self.conditions().to_vec();
        let Some(regular) = Regular::of(&self.needed).map(Arc::new) else { return vec![(Prune::Keep, all)] };
        let some = std::iter::once(condition(&self.needed)).chain(all.clone()).collect();
        vec![(Prune::Regular(Arc::clone(&regular)), some), (Prune::Odd(regular), all)]
    }
}

fn condition(needed: &Needed) -> Expr {
    match needed {
        Needed::All(parts) => joined(parts, true),
        Needed::Any(parts) => joined(parts, false),
        Needed::Class(uid) => col("class_uid").eq(lit(i32::try_from(*uid).unwrap_or(i32::MAX))),
        Needed::Contains(column, text) => call("contains_fold", column, text),
        Needed::Equals(column, text) => call("equals_fold", column, text),
    }
}

fn call(name: &str, column: &str, text: &str) -> Expr {
    // The functions are ours and registered.
    named(name).map_or(lit(true), |function| function.call(vec![col(column), lit(text)]))
}

/// A balanced tree: a chain of a hundred would be as deep as it is long.
fn joined(parts: &[Needed], all: bool) -> Expr {
    match parts {
        [] => lit(all),
        [only] => condition(only),
        parts => {
            let (left, right) = parts.split_at(parts.len() / 2);
            let (left, right) = (joined(left, all), joined(right, all));
            if all { left.and(right) } else { left.or(right) }
        }
    }
}

impl Lake {
    /// Read records. Waits for its turn among the scope's questions and keeps it while it reads.
    ///
    /// # Errors
    /// The turn did not come in time, or the scan cannot be planned.
    pub async fn scan(&self, scan: Scan) -> Result<Scanning, AskError> {
        let inner = Arc::clone(&self.inner);
        let turn = inner.workers.turn(&scan.scope, inner.limits.wait_max).await?;
        let view = Arc::new(View {
            snapshot: inner.current.get(),
            inner: Arc::clone(&inner),
            scope: scan.scope.clone(),
            spent: Arc::new(Spent::new(u64::MAX)),
            tally: Tally::default(),
        });
        let (out, batches) = mpsc::channel(AHEAD);
        let own = Arc::clone(&view);
        let task = inner.workers.spawn(async move {
            if let Err(error) = read(own, scan, &out).await {
                // Nobody waits where the scan was dropped.
                let _ = out.send(Err(error)).await;
            }
            drop(turn);
        });
        Ok(Scanning { batches, view, _task: task })
    }

    /// What a scan would read. Opens nothing, reads no filter that is not in memory.
    #[must_use]
    pub fn estimate_scan(&self, scan: &Scan) -> Estimate {
        let parts = scan.parts().into_iter().map(|(also, conditions)| Prune::of(&conditions).and(also));
        self.estimate_of(&scan.scope, &parts.reduce(Prune::or).unwrap_or(Prune::Keep))
    }

    /// The classes of which there are events in a time range, with about how many. Reads the catalog only.
    #[must_use]
    pub fn classes(&self, scope: &Scope, from: Timestamp, to: Timestamp) -> BTreeMap<u32, u64> {
        let snapshot = self.inner.current.get();
        let mut classes = BTreeMap::<u32, u64>::new();
        for file in snapshot.files.values() {
            let ours = file.row_groups.iter().filter(|run| scope.covers(Owner::Tenant(run.tenant)));
            let within = ours.filter(|run| run.time_max >= from && run.time_min < to);
            let rows: u64 = within.map(|run| run.rows).sum();
            if rows > 0 {
                *classes.entry(file.class_uid).or_default() += rows;
            }
        }
        for batch in snapshot.hot.iter() {
            let within = batch.time_max >= from.as_micros() && batch.time_min < to.as_micros();
            let rows = batch.tenants.iter().filter(|tenant| scope.covers(Owner::Tenant(**tenant))).count();
            if within && rows > 0 {
                *classes.entry(batch.class_uid).or_default() += crate::write::count(rows);
            }
        }
        classes
    }

    /// The tenants that have events of a class. Reads the catalog only.
    #[must_use]
    pub fn tenants_of(&self, class_uid: u32) -> BTreeSet<TenantId> {
        let snapshot = self.inner.current.get();
        let files = snapshot.files.values().filter(|file| file.class_uid == class_uid);
        let hot = snapshot.hot.iter().filter(|batch| batch.class_uid == class_uid);
        let kept = files.flat_map(|file| file.row_groups.iter().map(|run| run.tenant));
        kept.chain(hot.flat_map(|batch| batch.tenants.iter().copied())).collect()
    }

    /// Cut a time range into parts with records in them, newest first, each of about `rows_max` records or one hour.
    /// Reads the catalog only.
    #[must_use]
    pub fn slices(&self, scope: &Scope, from: Timestamp, to: Timestamp, rows_max: u64) -> Vec<Slice> {
        const HOUR_US: i64 = 3_600_000_000;
        let snapshot = self.inner.current.get();
        let mut days = BTreeMap::<i32, u64>::new();
        for file in snapshot.files.values() {
            let ours = file.row_groups.iter().filter(|run| scope.covers(Owner::Tenant(run.tenant)));
            let rows: u64 = ours.filter(|run| run.time_max >= from && run.time_min < to).map(|run| run.rows).sum();
            if rows > 0 {
                *days.entry(file.day.get()).or_default() += rows;
            }
        }
        for batch in snapshot.hot.iter() {
            let rows = batch.tenants.iter().filter(|tenant| scope.covers(Owner::Tenant(**tenant))).count();
            let within = batch.time_max >= from.as_micros() && batch.time_min < to.as_micros();
            if rows > 0 && within {
                *days.entry(batch.day).or_default() += crate::write::count(rows);
            }
        }
        let mut slices = Vec::new();
        for (day, rows) in days.into_iter().rev() {
            let (start, end) = (catalog::Day::new(day).start(), catalog::Day::new(day).end());
            let parts = i64::try_from(rows.div_ceil(rows_max.max(1)).clamp(1, 24)).unwrap_or(24);
            let step = 24 * HOUR_US / parts;
            for part in (0..parts).rev() {
                let first = start.as_micros().saturating_add(part * step);
                // The last one takes what the division leaves, and the day's very end.
                let last = if part == parts - 1 { end.as_micros().saturating_add(1) } else { first + step };
                let (first, last) = (first.max(from.as_micros()), last.min(to.as_micros()));
                if first < last {
                    let (from, to) = (Timestamp::from_micros(first), Timestamp::from_micros(last));
                    slices.push(Slice { from, to, rows: rows / u64::try_from(parts).unwrap_or(1) });
                }
            }
        }
        slices
    }
}

async fn read(view: Arc<View>, scan: Scan, out: &mpsc::Sender<Result<RecordBatch, AskError>>) -> Result<(), AskError> {
    for (also, conditions) in scan.parts() {
        let state = session::for_view(&view.inner.workers.template, Arc::clone(&view));
        let context = session::context(&state, &view).map_err(|error| run_error(&error))?;
        let events = Arc::new(Events::some(Arc::clone(&view), also));
        let frame =
            SessionContext::new_with_state(state.clone()).read_table(events).map_err(|error| planned(&error))?;
        let frame = filtered(frame, conditions.into_iter().reduce(Expr::and))?;
        let columns: Vec<Expr> = READ.iter().map(|name| col(*name)).collect();
        let plan = plan_of(frame.select(columns))?;
        let plan = state.create_physical_plan(&plan).await.map_err(|error| planned(&error))?;
        let mut stream = execute_stream(plan, context).map_err(|error| run_error(&error))?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| run_error(&error))?;
            if batch.num_rows() > 0 && out.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Scanning {
    /// The next records; none where all were read.
    ///
    /// # Errors
    /// The lake cannot be read.
    pub async fn next(&mut self) -> Option<Result<Records, AskError>> {
        self.batches.recv().await.map(|batch| batch.map(Records))
    }

    /// What was read so far.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        provenance(&self.view)
    }
}

impl Records {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.num_rows()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Call `each` for every record.
    pub fn each(&self, mut each: impl FnMut(Scanned<'_>)) {
        let [tenant, source, time, received, class, raw, segment, offset, index, part] = self.0.columns() else {
            return;
        };
        let (tenant, source, raw) = (tenant.as_string_view(), source.as_string_view(), raw.as_string_view());
        let (time, received) =
            (time.as_primitive::<TimestampMicrosecondType>(), received.as_primitive::<TimestampMicrosecondType>());
        let (class, index) = (class.as_primitive::<Int32Type>(), index.as_primitive::<Int32Type>());
        let (segment, offset) = (segment.as_primitive::<Int64Type>(), offset.as_primitive::<Int64Type>());
        let part = part.as_primitive::<Int16Type>();
        for row in 0..self.0.num_rows() {
            if raw.is_null(row) {
                continue;
            }
            let time = Timestamp::from_micros(time.value(row));
            each(Scanned {
                id: EventId {
                    class_uid: u32::try_from(class.value(row)).unwrap_or(0),
                    day: catalog::Day::of(time).get(),
                    segment: u64::try_from(segment.value(row)).unwrap_or(0),
                    offset: u64::try_from(offset.value(row)).unwrap_or(0),
                    index: u32::try_from(index.value(row)).unwrap_or(0),
                    part: u16::try_from(part.value(row)).unwrap_or(0),
                },
                tenant: tenant.value(row),
                source: source.value(row),
                time,
                received: Timestamp::from_micros(received.value(row)),
                raw: raw.value(row),
            });
        }
    }
}
