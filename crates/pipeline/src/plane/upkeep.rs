//! Upkeep: small files merged, rows past their time removed, a tenant erased.

use super::Plane;
use api::{Compacted, Erased, Keep, Problem, ProblemKind};
use catalog::{CatalogError, CompactionOptions, File, Pruned, RowGroup, plan_compaction, plan_everything};
use ids::{Scope, TenantId, Timestamp};
use lake::LakeError;
use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Files that no snapshot shows are unlinked after so long, when no question reads them any more.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(600);
/// How long emptying the log may take, and how often it is looked.
const EMPTY_MAX: Duration = Duration::from_secs(120);
/// See [`EMPTY_MAX`].
const EMPTY_LOOK: Duration = Duration::from_millis(50);

fn failed(what: &'static str) -> impl Fn(LakeError) -> Problem {
    move |error| {
        tracing::error!(error = %super::runner::error_text(&error), "{what}");
        Problem::new(ProblemKind::Unavailable, what)
    }
}

fn unavailable(error: CatalogError) -> Problem {
    tracing::error!(error = %super::runner::error_text(&error), "the catalog cannot be read");
    Problem::new(ProblemKind::Unavailable, "the lake's catalog cannot be reached now")
}

impl Plane {
    pub(super) async fn run_compaction(
        &self,
        scope: &Scope,
        due_only: bool,
        told: &(dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Result<Compacted, Problem> {
        let state = self.0.lake.catalog().load().await.map_err(unavailable)?;
        let ours = |file: &&File| file.row_groups.iter().any(|run| scope.covers(ids::Owner::Tenant(run.tenant)));
        let before: Vec<&File> = state.files.values().filter(ours).collect();
        let mut done = Compacted {
            files_before: u64::try_from(before.len()).unwrap_or(u64::MAX),
            bytes_before: before.iter().map(|file| file.bytes).sum(),
            ..Compacted::default()
        };
        let work = if due_only {
            plan_compaction(&state, self.0.clock.now(), &CompactionOptions::default())
        } else {
            plan_everything(&before, &CompactionOptions::default())
        };
        let steps = u32::try_from(work.len()).unwrap_or(u32::MAX).max(1);
        for (number, plan) in (0_u32..).zip(&work) {
            if !told(number.saturating_mul(900).checked_div(steps).unwrap_or(0), "files are merged") {
                break;
            }
            match self.0.lake.compact_planned(plan).await {
                // Another change took one of its files; what is left of it is planned again.
                Ok(_) | Err(LakeError::Catalog(CatalogError::Conflict(_))) => {}
                Err(error) => return Err(failed("files could not be merged")(error)),
            }
        }
        if told(900, "what is past its time is removed") {
            let (keeps, now, scope) = (self.keeps(), self.0.clock.now(), scope.clone());
            let keep = move |file: &File, run: &RowGroup| {
                !scope.covers(ids::Owner::Tenant(run.tenant)) || within_time(&keeps, file, run, now)
            };
            let dropped = self.0.lake.drop_runs(keep).await.map_err(failed("rows could not be removed"))?;
            done.rows_removed = dropped.dropped;
            let before = now.minus(FORGOTTEN);
            self.0.lake.unlink_forgotten(before).await.map_err(failed("old files could not be removed"))?;
        }
        let state = self.0.lake.catalog().load().await.map_err(unavailable)?;
        let after: Vec<&File> = state.files.values().filter(ours).collect();
        done.files_after = u64::try_from(after.len()).unwrap_or(u64::MAX);
        done.bytes_after = after.iter().map(|file| file.bytes).sum();
        Ok(done)
    }

    fn keeps(&self) -> HashMap<TenantId, Keep> {
        let tenants = self.0.shared.tenants.now();
        tenants.iter().filter_map(|(id, tenant)| Some((*id, tenant.setup()?.keep.clone()))).collect()
    }

    /// Unlink what nobody reads any more; whether there is something to merge or past its time.
    pub(super) async fn tidy(&self) -> Result<bool, Problem> {
        let now = self.0.clock.now();
        let unlinked = self.0.lake.unlink_forgotten(now.minus(FORGOTTEN)).await;
        unlinked.map_err(failed("old files could not be removed"))?;
        let state = self.0.lake.catalog().load().await.map_err(unavailable)?;
        let keeps = self.keeps();
        let stays = |file: &File| file.row_groups.iter().all(|run| within_time(&keeps, file, run, now));
        let merges = !plan_compaction(&state, now, &CompactionOptions::default()).is_empty();
        Ok(merges || !state.files.values().all(stays))
    }

    /// Take everything out that the lake, its memory and its log hold of a tenant. What a hold covers stays.
    pub(super) async fn run_erasure(
        &self,
        tenant: TenantId,
        told: &(dyn Fn(u32, &str) -> bool + Send + Sync),
    ) -> Result<Erased, Problem> {
        told(0, "what is in memory is written");
        self.empty_log().await?;
        told(200, "rows are removed");
        let keeps = self.keeps();
        let holds = keeps.get(&tenant).map(|keep| keep.holds.clone()).unwrap_or_default();
        let held = holds.clone();
        let keep = move |_: &File, run: &RowGroup| run.tenant != tenant || is_held(&held, run);
        let dropped = self.0.lake.drop_runs(keep).await.map_err(failed("the tenant's rows could not be removed"))?;
        told(900, "what is remembered of it is removed");
        let state = self.0.lake.catalog().load().await.map_err(unavailable)?;
        let runs = state.files.values().flat_map(|file| &file.row_groups).filter(|run| run.tenant == tenant);
        let rows_held = runs.filter(|run| is_held(&holds, run)).map(|run| run.rows).sum();
        self.0.lake.catalog().prune(Pruned::Tenant(tenant)).await.map_err(unavailable)?;
        self.0.shared.fares().forget(tenant);
        self.0.shared.spared().forget(tenant);
        self.0.receiver.forget(tenant);
        self.0.shared.forgotten.lock().unwrap_or_else(PoisonError::into_inner).push(tenant);
        Ok(Erased { rows_removed: dropped.dropped, rows_held })
    }

    /// Unlink files that were taken out of the lake long enough ago, and leave nothing of them in the catalog's own files.
    /// False where one that was to go by `until` is still kept for a question.
    pub(super) async fn run_scrub(&self, until: Timestamp) -> Result<bool, Problem> {
        let before = self.0.clock.now().minus(FORGOTTEN);
        self.0.lake.unlink_forgotten(before).await.map_err(failed("old files could not be removed"))?;
        let left = self.0.lake.catalog().scheduled(until.plus(Duration::from_micros(1))).await.map_err(unavailable)?;
        if before <= until || !left.is_empty() {
            return Ok(false);
        }
        self.0.lake.catalog().scrub().await.map_err(unavailable)?;
        Ok(true)
    }

    /// Put all that the log holds into files, and begin a new segment, so that the old ones are removed.
    async fn empty_log(&self) -> Result<(), Problem> {
        let until = tokio::time::Instant::now() + EMPTY_MAX;
        let before = self.0.journal.durable();
        self.0.journal.roll_over();
        for round in 0_u32.. {
            let reached = self.0.shared.in_files();
            let covers = reached.segment > before.segment || (before.starts_segment() && reached >= before);
            // What time alone has completed lies in memory without a place in the log to wait for.
            if covers && (round > 1 || self.0.lake.size().hot_rows == 0) {
                return Ok(());
            }
            if tokio::time::Instant::now() >= until {
                let text = "the log could not be put into files; see whether the disk is full, and try again";
                return Err(Problem::new(ProblemKind::Unavailable, text));
            }
            self.0.shared.flush_asked.store(true, Ordering::Release);
            tokio::time::sleep(EMPTY_LOOK).await;
        }
        Ok(())
    }
}

/// Whether a hold covers a part of a run.
fn is_held(holds: &[(String, Timestamp, Timestamp)], run: &RowGroup) -> bool {
    holds.iter().any(|(_, from, to)| run.time_max >= *from && run.time_min < *to)
}

/// Whether a run stays; what nothing is known of stays.
fn within_time(keeps: &HashMap<TenantId, Keep>, file: &File, run: &RowGroup, now: Timestamp) -> bool {
    keeps.get(&run.tenant).is_none_or(|keep| stays(keep, file, run, now))
}

/// Whether a run of rows is still within its time, or held.
fn stays(keep: &Keep, file: &File, run: &RowGroup, now: Timestamp) -> bool {
    let own = keep.by_class.iter().find(|(class, _)| *class == file.class_uid).map(|(_, days)| *days);
    let Some(days) = own.or(keep.days) else { return true };
    let newest = run.time_max.max(file.received_max);
    is_held(&keep.holds, run) || now.since(newest) <= DAY.saturating_mul(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_from_the_later_of_event_and_receipt_and_holds_keep() {
        let day = |number: i64| Timestamp::from_micros(number * 86_400_000_000);
        let run = RowGroup {
            tenant: TenantId::derive(&[b"a"]),
            rows: 1,
            bytes: 1,
            time_min: day(10),
            time_max: day(10),
            filter: None,
        };
        let file = |received| File {
            id: catalog::FileId::new(1),
            path: "x".to_owned(),
            class_uid: 4001,
            day: catalog::Day::of(day(10)),
            rows: 1,
            bytes: 1,
            footer_bytes: 1,
            row_groups: vec![run.clone()],
            level: catalog::LEVEL_DAY,
            received_min: received,
            received_max: received,
        };
        let keep = Keep { days: Some(30), by_class: vec![(4001, 5)], holds: Vec::new() };
        assert!(stays(&keep, &file(day(10)), &run, day(15)));
        assert!(!stays(&keep, &file(day(10)), &run, day(16)));
        assert!(stays(&keep, &file(day(12)), &run, day(16)), "it came later than it happened");
        let held = Keep { holds: vec![("m".to_owned(), day(9), day(11))], ..keep.clone() };
        assert!(stays(&held, &file(day(10)), &run, day(99)));
        assert!(stays(&Keep::default(), &file(day(10)), &run, day(99)), "nothing said keeps for ever");
    }
}
