//! Every plan is carried out on a catalog in memory, whose commit refuses what loses a row or breaks a hold.

use catalog::{
    Catalog, Change, ColumnKind, Committed, CompactionOptions, Day, File, FileId, Hold, Intent, LEVEL_DAY, Memory,
    NewFile, Removal, Retention, RowGroup, State, Table, plan_compaction, plan_erase, plan_retention,
};
use ids::{Clock, TenantId, Timestamp};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const FIRST_DAY: i32 = 20_000;
const MIB: u64 = 1 << 20;
const CASES: u32 = 256;

struct Still;
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

fn tenant(number: u8) -> TenantId {
    TenantId::derive(&[&[number]])
}

/// An answer of the catalog in memory, which never waits.
fn now<T>(answer: catalog::Answer<'_, T>) -> Result<T, catalog::CatalogError> {
    let mut answer = answer;
    match answer.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => unreachable!("the catalog in memory never waits"),
    }
}

/// Bytes that a group of rows takes: so that plans see large and small tenants.
fn bytes(rows: u64) -> u64 {
    rows * MIB
}

fn file(
    name: String,
    class_uid: u32,
    day: Day,
    level: u8,
    received: [Timestamp; 2],
    rows: &BTreeMap<TenantId, u64>,
) -> NewFile {
    let group = |(tenant, rows): (&TenantId, &u64)| RowGroup {
        tenant: *tenant,
        rows: *rows,
        bytes: bytes(*rows),
        time_min: day.start(),
        time_max: day.end(),
        filter: None,
    };
    let all: u64 = rows.values().sum();
    NewFile {
        path: name,
        class_uid,
        day,
        rows: all,
        bytes: bytes(all),
        footer_bytes: 1,
        columns: Vec::new(),
        row_groups: rows.iter().map(group).collect(),
        level,
        received_min: received[0],
        received_max: received[1],
    }
}

/// Level, class, day, hours from the day's start to the first event's coming in, and rows by tenant.
type Sketch = (u8, u32, i32, u64, BTreeMap<u8, u64>);

prop_compose! {
    /// A file.
    fn any_file()(
        level in 0..=LEVEL_DAY,
        class in 1001..1003_u32,
        day in 0..3_i32,
        hours in 0..60_u64,
        rows in prop::collection::btree_map(0..6_u8, 1..90_u64, 1..5),
    ) -> Sketch {
        (level, class, day, hours, rows)
    }
}

fn filled(files: &[Sketch]) -> (Memory, State) {
    let columns = [("time", ColumnKind::Time), ("class_uid", ColumnKind::Int32)];
    let memory = Memory::new(Table::new(columns).unwrap(), Arc::new(Still));
    let add = files.iter().enumerate().map(|(number, (level, class, day, hours, rows))| {
        let day = Day::new(FIRST_DAY + day);
        let received = day.start().plus(Duration::from_hours(*hours));
        let rows = rows.iter().map(|(owner, rows)| (tenant(*owner), *rows)).collect();
        file(format!("f{number}"), *class, day, *level, [received, received.plus(Duration::from_mins(1))], &rows)
    });
    let change = Change { add: add.collect(), ..Change::default() };
    now(memory.commit(change)).unwrap();
    let state = now(memory.load()).unwrap();
    (memory, state)
}

/// Rows by tenant, class and day.
fn rows(state: &State) -> BTreeMap<(TenantId, u32, Day), u64> {
    let mut all = BTreeMap::new();
    for file in state.files.values() {
        for group in &file.row_groups {
            *all.entry((group.tenant, file.class_uid, file.day)).or_default() += group.rows;
        }
    }
    all
}

fn of_tenants(inputs: &[&File], keep: &BTreeSet<TenantId>) -> BTreeMap<TenantId, u64> {
    let mut sums = BTreeMap::new();
    for group in inputs.iter().flat_map(|file| &file.row_groups).filter(|group| keep.contains(&group.tenant)) {
        *sums.entry(group.tenant).or_default() += group.rows;
    }
    sums
}

/// Write a plan's output as `lake` would: the rows of these tenants of these files.
fn merged(name: String, level: u8, inputs: &[&File], keep: &BTreeSet<TenantId>) -> NewFile {
    let received = [
        inputs.iter().map(|file| file.received_min).min().unwrap(),
        inputs.iter().map(|file| file.received_max).max().unwrap(),
    ];
    let first = inputs.first().unwrap();
    file(name, first.class_uid, first.day, level, received, &of_tenants(inputs, keep))
}

fn carry_out(memory: &Memory, state: &State, removal: &Removal) -> Result<Committed, catalog::CatalogError> {
    let rewritten = removal.rewrite.iter().map(|rewrite| {
        let file = &state.files[&rewrite.file];
        merged(format!("rewritten {}", file.id), file.level, &[file], &rewrite.keep)
    });
    let remove = removal.whole.iter().copied().chain(removal.rewrite.iter().map(|rewrite| rewrite.file)).collect();
    let change = Change { intent: Intent::Drop, add: rewritten.collect(), remove, ..Change::default() };
    now(memory.commit(change))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compaction_loses_nothing_and_comes_to_rest(
        files in prop::collection::vec(any_file(), 1..24),
        hour in 0..120_u64,
        input_mib in 50..2000_u64,
    ) {
        let (memory, mut state) = filled(&files);
        let present = Day::new(FIRST_DAY).start().plus(Duration::from_hours(hour));
        let options = CompactionOptions { input_bytes_max: input_mib * MIB, ..CompactionOptions::default() };
        let before = rows(&state);
        for round in 0.. {
            let plans = plan_compaction(&state, present, &options);
            if plans.is_empty() {
                break;
            }
            prop_assert!(round < 64, "never comes to rest: {plans:?}");
            let mut touched = BTreeSet::new();
            for (number, plan) in plans.iter().enumerate() {
                let inputs: Vec<&File> = plan.inputs.iter().map(|id| &state.files[id]).collect();
                prop_assert!(plan.inputs.iter().all(|id| touched.insert(*id)), "a file is merged twice");
                let settled = inputs.iter().all(|file| file.level == LEVEL_DAY || file.received_max < present);
                prop_assert!(settled, "a file that may still grow is merged");
                let size: u64 = inputs.iter().map(|file| file.bytes).sum();
                prop_assert!(inputs.len() <= 2 || size <= options.input_bytes_max);
                let mut seen = BTreeSet::new();
                for output in &plan.outputs {
                    prop_assert!(output.iter().all(|tenant| seen.insert(*tenant)), "a tenant is written twice");
                    let sums = of_tenants(&inputs, output);
                    let large = sums.values().any(|rows| bytes(*rows) > options.tenant_bytes);
                    prop_assert!(plan.level < LEVEL_DAY || !large || output.len() == 1, "a large tenant is not alone");
                }
                let add = plan.outputs.iter().enumerate();
                let add = add.map(|(part, keep)| merged(format!("r{round} {number} {part}"), plan.level, &inputs, keep));
                let change = Change {
                    intent: Intent::Rewrite,
                    add: add.collect(),
                    remove: plan.inputs.clone(),
                    ..Change::default()
                };
                now(memory.commit(change)).unwrap();
            }
            state = now(memory.load()).unwrap();
        }
        prop_assert_eq!(rows(&state), before);
        let settled = present.minus(options.day_after);
        for file in state.files.values().filter(|file| file.level < LEVEL_DAY && file.day.end() < settled) {
            let waits = |other: &&File| {
                (other.day, other.class_uid) == (file.day, file.class_uid) && other.level < LEVEL_DAY && other.received_max >= settled
            };
            prop_assert!(state.files.values().find(waits).is_some(), "file {} is left over", file.id);
        }
    }

    #[test]
    fn retention_drops_what_is_past_its_time_and_nothing_else(
        files in prop::collection::vec(any_file(), 1..16),
        rules in prop::collection::vec((prop::option::of(0..6_u8), prop::option::of(1001..1003_u32), 0..5_u32), 0..4),
        held in prop::option::of((0..6_u8, prop::option::of(1001..1003_u32), 0..3_i32)),
        hour in 0..200_u64,
    ) {
        let (memory, state) = filled(&files);
        let rules: Vec<Retention> = rules
            .into_iter()
            .map(|(owner, class_uid, days)| Retention { tenant: owner.map(tenant), class_uid, days })
            .collect();
        let hold = held.map(|(owner, class_uid, from)| Hold {
            id: "hold".to_owned(),
            tenant: tenant(owner),
            class_uid,
            from: Some(Day::new(FIRST_DAY + from)),
            to: None,
        });
        if let Some(hold) = &hold {
            now(memory.hold(hold.clone())).unwrap();
        }
        let holds: Vec<Hold> = hold.into_iter().collect();
        let present = Day::new(FIRST_DAY).start().plus(Duration::from_hours(hour));
        let removal = plan_retention(&state, &rules, &holds, present);
        // The commit refuses what a hold covers.
        carry_out(&memory, &state, &removal).unwrap();
        let after = now(memory.load()).unwrap();
        prop_assert_eq!(plan_retention(&after, &rules, &holds, present).held, removal.held.clone());
        let again = plan_retention(&after, &rules, &holds, present);
        prop_assert!(again.whole.is_empty() && again.rewrite.is_empty(), "{again:?}");
        // Judged a second way: the longest that any fitting rule of the most exact sort allows.
        let expired = |file: &File, owner: TenantId| {
            for (of_tenant, of_class) in [(true, true), (true, false), (false, true), (false, false)] {
                let fits = |rule: &&Retention| {
                    rule.tenant == of_tenant.then_some(owner) && rule.class_uid == of_class.then_some(file.class_uid)
                };
                if let Some(days) = rules.iter().filter(fits).map(|rule| rule.days).max() {
                    let kept = Duration::from_hours(24) * days;
                    return file.day.end().plus(kept) < present && file.received_max.plus(kept) < present;
                }
            }
            false
        };
        for file in state.files.values() {
            let dropped: BTreeSet<TenantId> = if removal.whole.contains(&file.id) {
                file.tenants()
            } else {
                let rewrite = removal.rewrite.iter().find(|rewrite| rewrite.file == file.id);
                rewrite.map(|rewrite| &file.tenants() - &rewrite.keep).unwrap_or_default()
            };
            for owner in file.tenants() {
                let covered = holds.iter().any(|hold| hold.covers(owner, file.class_uid, file.day));
                prop_assert_eq!(dropped.contains(&owner), expired(file, owner) && !covered);
            }
        }
    }

    #[test]
    fn erasing_takes_one_tenant_only(files in prop::collection::vec(any_file(), 1..16), erased in 0..6_u8) {
        let (memory, state) = filled(&files);
        let removal = plan_erase(&state, tenant(erased), &[]);
        let mut expected = rows(&state);
        expected.retain(|(owner, ..), _| *owner != tenant(erased));
        if !removal.whole.is_empty() || !removal.rewrite.is_empty() {
            carry_out(&memory, &state, &removal).unwrap();
        }
        prop_assert_eq!(rows(&now(memory.load()).unwrap()), expected);
    }
}

#[test]
fn a_few_late_rows_do_not_rewrite_a_large_day() {
    let day = |level, hours, mib| (level, 1001, 0, hours, BTreeMap::from([(1_u8, mib)]));
    let present = Day::new(FIRST_DAY + 3).start();
    let inputs = |files: &[_]| {
        let plans = plan_compaction(&filled(files).1, present, &CompactionOptions::default());
        plans.iter().map(|plan| plan.inputs.iter().map(|id| FileId::get(*id)).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    assert_eq!(inputs(&[day(LEVEL_DAY, 1, 80), day(0, 30, 1)]), [[1]]);
    assert_eq!(inputs(&[day(LEVEL_DAY, 1, 80), day(0, 30, 20)]), [[1, 0]]);
    assert!(inputs(&[day(LEVEL_DAY, 1, 80)]).is_empty());
    assert!(inputs(&[day(LEVEL_DAY, 1, 80), day(0, 70, 20)]).is_empty(), "something came in two hours ago");
}
