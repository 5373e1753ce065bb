//! The lake's catalog: it answers as the one in memory does, keeps what it acknowledged, and loses nothing half-way.

use crate::fixture::{HandClock, each_target};
use catalog::{
    Catalog, CatalogError, Change, ColumnKind, ColumnStats, Committed, Day, EntityCount, EntityKind, FileId, Hold,
    Intent, LEVEL_DAY, Memory, NewFile, Pruned, Refused, RowGroup, Table, time_text,
};
use ids::{Clock as _, Scope, TenantId, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::{LakeCatalog, LakeConfig, LakeOpenError, Target};

const TODAY: i32 = 20_779;

pub(crate) fn table() -> Table {
    let columns = [("tenant", ColumnKind::Text), ("time", ColumnKind::Time), ("class_uid", ColumnKind::Int32)];
    Table::new(columns).unwrap()
}

pub(crate) fn tenant(number: u8) -> TenantId {
    TenantId::derive(&[&[number]])
}

/// A file with a row group for each of these tenants.
pub(crate) fn file(name: &str, day: i32, groups: &[(u8, u64)]) -> NewFile {
    let day = Day::new(day);
    let rows = groups.iter().map(|(_, rows)| rows).sum();
    let stats = |column: &str, min: Option<String>, max: Option<String>| ColumnStats {
        column: column.to_owned(),
        nulls: 0,
        values: rows,
        bytes: 10,
        min,
        max,
    };
    let group = |(owner, rows): &(u8, u64)| RowGroup {
        tenant: tenant(*owner),
        rows: *rows,
        bytes: 100,
        time_min: day.start(),
        time_max: day.end(),
        filter: owner.is_multiple_of(2).then(|| vec![*owner; 3]),
    };
    NewFile {
        path: format!("day={day}/{name}.parquet"),
        class_uid: 1001,
        day,
        rows,
        bytes: 1000,
        footer_bytes: 100,
        columns: vec![
            stats("tenant", None, None),
            stats("time", Some(time_text(day.start())), Some(time_text(day.end()))),
            stats("class_uid", Some("1001".to_owned()), Some("1001".to_owned())),
        ],
        row_groups: groups.iter().map(group).collect(),
        level: 0,
        received_min: day.start(),
        received_max: day.end(),
    }
}

fn count(owner: u8, value: &str, day: i32, count: u64, second: i64) -> EntityCount {
    let first = Timestamp::from_micros(Day::new(day).start().as_micros() + second * 1_000_000);
    let (kind, tenant) = (EntityKind::Domain, tenant(owner));
    EntityCount { tenant, kind, value: value.to_owned(), day: Day::new(day), count, first, last: first }
}

fn append(files: Vec<NewFile>) -> Change {
    Change { add: files, note: "flush".to_owned(), ..Change::default() }
}

pub(crate) async fn open(target: &Target, table: Table, clock: &Arc<HandClock>) -> Result<LakeCatalog, LakeOpenError> {
    let config = LakeConfig { target: target.clone(), folder: "/var/lib/posse/lake".into(), table, readers: 2 };
    LakeCatalog::open(config, Arc::clone(clock) as Arc<_>).await
}

/// A catalog on each engine and the one in memory beside it.
async fn each(test: impl AsyncFn(&LakeCatalog, &Memory, &HandClock)) {
    each_target(async |target| {
        let clock = HandClock::new();
        let lake = open(target, table(), &clock).await.unwrap();
        let memory = Memory::new(table(), Arc::clone(&clock) as Arc<_>);
        // The catalog's first snapshots are its schema's.
        test(&lake, &memory, &clock).await;
    })
    .await;
}

async fn both(lake: &LakeCatalog, memory: &Memory, change: Change) -> Result<Committed, CatalogError> {
    let (left, right) = (lake.commit(change.clone()).await, memory.commit(change).await);
    match (&left, &right) {
        (Ok(left), Ok(right)) => assert_eq!(left.ids, right.ids),
        (Err(left), Err(right)) => assert_eq!(left.to_string(), right.to_string()),
        other => unreachable!("{other:?}"),
    }
    left
}

async fn assert_same(lake: &LakeCatalog, memory: &Memory) {
    let (left, right) = (lake.load().await.unwrap(), memory.load().await.unwrap());
    assert_eq!((&left.files, &left.cursors), (&right.files, &right.cursors));
    for id in left.files.keys() {
        assert_eq!(lake.filters(*id).await.unwrap(), memory.filters(*id).await.unwrap());
    }
    let scopes =
        [Scope::Provider, Scope::Tenant(tenant(1)), Scope::Tenant(tenant(99)), Scope::Tenants([tenant(2)].into())];
    for scope in scopes {
        for value in ["a.example", "b.example", "nowhere"] {
            let [left, right] =
                [lake as &dyn Catalog, memory].map(|all| all.prevalence(&scope, EntityKind::Domain, value));
            assert_eq!(left.await.unwrap(), right.await.unwrap(), "{scope:?} {value}");
        }
    }
    let always = Timestamp::from_micros(i64::MAX);
    assert_eq!(lake.scheduled(always).await.unwrap(), memory.scheduled(always).await.unwrap());
    assert_eq!(lake.holds().await.unwrap(), memory.holds().await.unwrap());
}

#[tokio::test]
async fn it_answers_as_the_one_in_memory() {
    each(async |lake, memory, clock| {
        let first = Change {
            add: vec![file("a", TODAY, &[(1, 10), (2, 20)]), file("b", TODAY, &[(2, 5)])],
            cursors: vec![("log".to_owned(), vec![1, 0, 255])],
            entities: vec![
                count(1, "a.example", TODAY, 3, 50),
                count(1, "a.example", TODAY, 2, 10),
                count(2, "a.example", TODAY - 1, 7, 0),
                count(2, "b.example", TODAY, 1, 0),
            ],
            ..Change::default()
        };
        let made = both(lake, memory, first.clone()).await.unwrap();
        assert_eq!(made.ids, [FileId::new(0), FileId::new(1)]);
        assert_same(lake, memory).await;
        let seen = lake.prevalence(&Scope::Tenant(tenant(1)), EntityKind::Domain, "a.example").await.unwrap();
        let seen = seen.first().unwrap();
        assert_eq!((seen.count, seen.days, seen.last.since(seen.first)), (5, 1, Duration::from_secs(40)));

        // The state can be carried on without loading.
        let mut state = lake.load().await.unwrap();
        clock.advance(Duration::from_secs(10));
        let merged = Change {
            intent: Intent::Rewrite,
            add: vec![NewFile { level: LEVEL_DAY, ..file("ab", TODAY, &[(1, 10), (2, 25)]) }],
            remove: made.ids.clone(),
            entities: vec![count(1, "a.example", TODAY + 1, 1, 0)],
            ..Change::default()
        };
        let rewritten = both(lake, memory, merged.clone()).await.unwrap();
        state.apply(&merged, &rewritten);
        assert_eq!(state, lake.load().await.unwrap());
        assert_same(lake, memory).await;

        // A change that moves a cursor only makes no snapshot.
        let moved = Change { cursors: vec![("log".to_owned(), vec![2])], ..Change::default() };
        assert_eq!(both(lake, memory, moved).await.unwrap().snapshot, rewritten.snapshot);

        clock.advance(Duration::from_secs(10));
        assert!(lake.expire(clock.now()).await.unwrap() > 0);
        while memory.expire(clock.now()).await.unwrap() > 0 {}
        assert_same(lake, memory).await;
        let gone = lake.scheduled(clock.now().plus(Duration::from_secs(1))).await.unwrap();
        assert_eq!(gone.iter().map(|file| file.id).collect::<Vec<_>>(), made.ids);
        for all in [lake as &dyn Catalog, memory] {
            all.unlinked(made.ids.clone()).await.unwrap();
        }
        assert_same(lake, memory).await;
        for what in [Pruned::Before(Day::new(TODAY)), Pruned::Tenant(tenant(1))] {
            let (left, right) = (lake.prune(what).await.unwrap(), memory.prune(what).await.unwrap());
            assert_eq!((left, right > 0), (right, true), "{what:?}");
            assert_same(lake, memory).await;
        }
        assert_eq!(lake.expire(clock.now()).await.unwrap(), 0, "the newest snapshot stays");
    })
    .await;
}

#[tokio::test]
async fn what_breaks_a_rule_changes_nothing() {
    each(async |lake, memory, _| {
        let made = both(lake, memory, append(vec![file("a", TODAY, &[(1, 10), (2, 20)])])).await.unwrap();
        let hold = Hold { id: "case 7".to_owned(), tenant: tenant(2), class_uid: Some(1001), from: None, to: None };
        for all in [lake as &dyn Catalog, memory] {
            all.hold(hold.clone()).await.unwrap();
        }
        let before = lake.load().await.unwrap();
        let change = |intent: Intent, add: Vec<NewFile>, remove: &[FileId]| Change {
            intent,
            add,
            remove: remove.to_vec(),
            cursors: vec![("log".to_owned(), vec![9])],
            entities: vec![count(1, "a.example", TODAY, 1, 0)],
            ..Change::default()
        };
        let other_day = NewFile { day: Day::new(TODAY + 1), ..file("x", TODAY, &[(1, 1)]) };
        let outside = NewFile { path: "../x".to_owned(), ..file("x", TODAY, &[(1, 1)]) };
        let broken = [
            (change(Intent::Rewrite, vec![file("b", TODAY, &[(1, 10), (2, 19)])], &made.ids), "loses a row"),
            (change(Intent::Rewrite, vec![file("b", TODAY, &[(1, 20), (2, 10)])], &made.ids), "swaps tenants"),
            (change(Intent::Rewrite, vec![file("b", TODAY - 1, &[(1, 10), (2, 20)])], &made.ids), "moves a day"),
            (change(Intent::Drop, vec![], &made.ids), "drops what is held"),
            (change(Intent::Drop, vec![file("b", TODAY, &[(1, 11), (2, 20)])], &made.ids), "adds a row"),
            (change(Intent::Append, vec![], &made.ids), "removes without a reason"),
            (change(Intent::Append, vec![other_day], &[]), "lies on another day"),
            (change(Intent::Append, vec![outside], &[]), "lies outside"),
        ];
        for (change, why) in broken {
            let refused = both(lake, memory, change).await;
            assert!(matches!(refused, Err(CatalogError::Refused(_))), "{why}: {refused:?}");
        }
        let unknown = Change { expect: vec![FileId::new(77)], ..append(vec![file("c", TODAY, &[(1, 1)])]) };
        let refused = both(lake, memory, unknown).await;
        assert!(matches!(refused, Err(CatalogError::Conflict(id)) if id == FileId::new(77)), "{refused:?}");
        assert_eq!(lake.load().await.unwrap(), before);
        assert_same(lake, memory).await;

        // What the hold does not cover may go; released, all may.
        let erased = change(Intent::Drop, vec![file("b", TODAY, &[(2, 20)])], &made.ids);
        let left = both(lake, memory, erased).await.unwrap();
        for all in [lake as &dyn Catalog, memory] {
            assert!(all.release("case 7").await.unwrap());
            assert!(!all.release("case 7").await.unwrap());
        }
        let again = both(lake, memory, change(Intent::Drop, vec![], &left.ids)).await.unwrap();
        assert!(matches!(
            both(lake, memory, change(Intent::Drop, vec![], &left.ids)).await,
            Err(CatalogError::Conflict(_))
        ));
        assert!(again.snapshot > left.snapshot && lake.load().await.unwrap().files.is_empty());
        let nameless = Hold { id: String::new(), ..hold };
        assert!(matches!(lake.hold(nameless).await, Err(CatalogError::Refused(Refused::Name(_)))));
    })
    .await;
}

#[tokio::test]
async fn it_is_all_there_after_opening_again_and_grows_columns() {
    each_target(async |target| {
        let clock = HandClock::new();
        let lake = open(target, table(), &clock).await.unwrap();
        let locked = open(target, table(), &clock).await;
        assert!(matches!(locked, Err(LakeOpenError::Open(store::OpenError::Locked))), "{locked:?}");
        let change =
            Change { entities: vec![count(3, "a.example", TODAY, 1, 0)], ..append(vec![file("a", TODAY, &[(3, 1)])]) };
        lake.commit(change).await.unwrap();
        let before = lake.load().await.unwrap();
        lake.close().await;

        let more = [("time", ColumnKind::Time), ("class_uid", ColumnKind::Int32), ("raw", ColumnKind::Text)];
        let lake = open(target, Table::new(more).unwrap(), &clock).await.unwrap();
        let ids: Vec<_> = lake.table().columns().iter().map(|column| (column.id, column.name.as_str())).collect();
        assert_eq!(ids, [(1, "tenant"), (2, "time"), (3, "class_uid"), (4, "raw")]);
        let after = lake.load().await.unwrap();
        assert_eq!((after.snapshot, &after.files), (before.snapshot + 1, &before.files));
        assert_eq!(lake.prevalence(&Scope::Provider, EntityKind::Domain, "a.example").await.unwrap().len(), 1);
        lake.close().await;

        let clash =
            Table::new([("time", ColumnKind::Time), ("class_uid", ColumnKind::Int32), ("raw", ColumnKind::Int64)]);
        let refused = open(target, clash.unwrap(), &clock).await;
        assert!(matches!(refused, Err(LakeOpenError::Table(_))), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_commit_whose_caller_goes_away_is_whole_or_nothing() {
    each(async |lake, _, _| {
        let mut whole = BTreeSet::new();
        for tenths in 1..40_u32 {
            let before = lake.load().await.unwrap();
            let mut change = append(vec![file(&format!("f{tenths}"), TODAY, &[(1, 1)])]);
            change.cursors.push(("log".to_owned(), tenths.to_be_bytes().to_vec()));
            // Given up after a while: the commit has come to another statement each time.
            let _ = tokio::time::timeout(Duration::from_micros(100) * tenths, lake.commit(change)).await;
            let after = lake.load().await.unwrap();
            let added = after.files.len() - before.files.len();
            assert!(added <= 1);
            let moved = after.cursors != before.cursors;
            assert_eq!(moved, added == 1, "after {tenths}00 us");
            whole.insert(moved);
        }
        assert!(whole.contains(&false), "none was interrupted");
    })
    .await;
}
