//! Which files to merge. Pure: a state and the present in, work out.
//!
//! Flushes of an hour become one file per class and day; when a day is over they become day files sorted by tenant, in
//! which a large tenant stands alone. What a merge costs is bounded, and planning again after it plans nothing.

use crate::{Day, File, FileId, LEVEL_DAY, LEVEL_FLUSH, LEVEL_HOUR, State};
use ids::{TenantId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// When and how far files are merged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CompactionOptions {
    /// A flush is merged once its newest event came in that long ago.
    pub hour_after: Duration,
    /// A day is merged once it is over and nothing came in for that long.
    pub day_after: Duration,
    /// A tenant with more bytes than this in a day gets files of its own.
    pub tenant_bytes: u64,
    /// About how large a day file of several tenants becomes.
    pub file_bytes: u64,
    /// The most bytes that one merge reads; at least two files are merged all the same.
    pub input_bytes_max: u64,
}

impl Default for CompactionOptions {
    /// An hour, six hours, 64 MiB, 256 MiB, 1 GiB.
    fn default() -> Self {
        Self {
            hour_after: Duration::from_secs(3600),
            day_after: Duration::from_secs(6 * 3600),
            tenant_bytes: 64 << 20,
            file_bytes: 256 << 20,
            input_bytes_max: 1 << 30,
        }
    }
}

/// Late files are merged into a day file once they are this part of it: a few late rows must not rewrite a large day.
const LATE_PART: u64 = 8;

/// Files to merge, and into what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Compaction {
    /// [`LEVEL_HOUR`] or [`LEVEL_DAY`]: the level of the files that come out.
    pub level: u8,
    /// The class of all inputs.
    pub class_uid: u32,
    /// The day of all inputs.
    pub day: Day,
    /// What is merged.
    pub inputs: Vec<FileId>,
    /// The files that come out, each with all rows of these tenants. Every tenant of the inputs is in exactly one.
    pub outputs: Vec<BTreeSet<TenantId>>,
}

/// What to merge now, days first. No file is in two compactions.
#[must_use]
pub fn plan_compaction(state: &State, now: Timestamp, options: &CompactionOptions) -> Vec<Compaction> {
    let mut days: BTreeMap<(Day, u32), Vec<&File>> = BTreeMap::new();
    for file in state.files.values() {
        days.entry((file.day, file.class_uid)).or_default().push(file);
    }
    let plan = |((day, _), files): (&(Day, u32), &Vec<&File>)| {
        if is_over(*day, files, now, options) { plan_day(files, options) } else { plan_hour(files, now, options) }
    };
    let mut plans: Vec<Compaction> = days.iter().filter_map(plan).collect();
    plans.sort_by_key(|plan| (std::cmp::Reverse(plan.level), plan.day, plan.class_uid));
    plans
}

/// What to merge so that these files become day files in which each tenant stands once for a class and day, whether that is
/// due or not.
#[must_use]
pub fn plan_everything(files: &[&File], options: &CompactionOptions) -> Vec<Compaction> {
    let mut days: BTreeMap<(Day, u32), Vec<&File>> = BTreeMap::new();
    for file in files {
        days.entry((file.day, file.class_uid)).or_default().push(file);
    }
    let twice = |files: &[&File]| {
        let mut seen = BTreeSet::new();
        !files.iter().flat_map(|file| file.tenants()).all(|tenant| seen.insert(tenant))
    };
    let worth = |files: &Vec<&File>| files.iter().any(|file| file.level < LEVEL_DAY) || twice(files);
    let plan = |files: Vec<&File>| compaction(LEVEL_DAY, &files, split(&files, options));
    days.into_values().filter(worth).filter_map(plan).collect()
}

/// Whether a day has ended and nothing came in for long enough; late rows start the wait again.
fn is_over(day: Day, files: &[&File], now: Timestamp, options: &CompactionOptions) -> bool {
    let settled = now.minus(options.day_after);
    day.end() < settled && files.iter().filter(|file| file.level < LEVEL_DAY).all(|file| file.received_max < settled)
}

fn plan_hour(files: &[&File], now: Timestamp, options: &CompactionOptions) -> Option<Compaction> {
    let settled = now.minus(options.hour_after);
    let ready = files.iter().filter(|file| file.level == LEVEL_FLUSH && file.received_max < settled).copied();
    let inputs = bounded(ready.collect(), options);
    if inputs.len() < 2 {
        return None;
    }
    let tenants = inputs.iter().flat_map(|file| file.tenants()).collect();
    compaction(LEVEL_HOUR, &inputs, vec![tenants])
}

fn plan_day(files: &[&File], options: &CompactionOptions) -> Option<Compaction> {
    let (mut inputs, days): (Vec<&File>, Vec<&File>) = files.iter().copied().partition(|file| file.level < LEVEL_DAY);
    if inputs.is_empty() {
        return None;
    }
    let late: u64 = sum(inputs.iter().map(|file| file.bytes));
    let late_tenants: BTreeSet<TenantId> = inputs.iter().flat_map(|file| file.tenants()).collect();
    // A day file that shares no tenant with the late ones has nothing to win.
    let grown =
        |file: &&File| late.saturating_mul(LATE_PART) >= file.bytes && !file.tenants().is_disjoint(&late_tenants);
    inputs.extend(days.into_iter().filter(grown));
    let inputs = bounded(inputs, options);
    compaction(LEVEL_DAY, &inputs, split(&inputs, options))
}

/// The first files, by when they came in, that fit into one merge.
fn bounded<'f>(mut files: Vec<&'f File>, options: &CompactionOptions) -> Vec<&'f File> {
    files.sort_by_key(|file| (file.level == LEVEL_DAY, file.received_min, file.id));
    let mut bytes = 0_u64;
    let fits = |(place, file): &(usize, &File)| {
        bytes = bytes.saturating_add(file.bytes);
        *place < 2 || bytes <= options.input_bytes_max
    };
    files.into_iter().enumerate().take_while(fits).map(|(_, file)| file).collect()
}

/// Tenants of the inputs by output: the large ones alone, the others together up to a file's size, in their order.
fn split(inputs: &[&File], options: &CompactionOptions) -> Vec<BTreeSet<TenantId>> {
    let mut bytes: BTreeMap<TenantId, u64> = BTreeMap::new();
    for group in inputs.iter().flat_map(|file| &file.row_groups) {
        let sum = bytes.entry(group.tenant).or_default();
        *sum = sum.saturating_add(group.bytes);
    }
    let (mut outputs, mut shared, mut shared_bytes) = (Vec::new(), BTreeSet::new(), 0_u64);
    for (tenant, size) in bytes {
        if size > options.tenant_bytes {
            outputs.push(BTreeSet::from([tenant]));
            continue;
        }
        if shared_bytes.saturating_add(size) > options.file_bytes && !shared.is_empty() {
            outputs.push(std::mem::take(&mut shared));
            shared_bytes = 0;
        }
        shared.insert(tenant);
        shared_bytes = shared_bytes.saturating_add(size);
    }
    if !shared.is_empty() {
        outputs.push(shared);
    }
    outputs
}

fn compaction(level: u8, inputs: &[&File], outputs: Vec<BTreeSet<TenantId>>) -> Option<Compaction> {
    let first = inputs.first()?;
    let ids = inputs.iter().map(|file| file.id).collect();
    Some(Compaction { level, class_uid: first.class_uid, day: first.day, inputs: ids, outputs })
}

fn sum(bytes: impl Iterator<Item = u64>) -> u64 {
    bytes.fold(0, u64::saturating_add)
}
