//! The same questions have the same answers while rows are hot, in files, and in compacted files.

use crate::bed::{Bed, given, scope, tenant};
use ids::Scope;
use lake::{Ask, Search};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[tokio::test]
async fn a_row_is_seen_once_before_and_after_each_step() {
    let mut bed = Bed::empty().await;
    let events = given();
    bed.append(&events[..9]);
    assert_eq!(bed.count(Scope::Provider).await, 0);
    bed.writer.seal();
    assert_eq!(bed.count(Scope::Provider).await, 9);
    bed.flush().await;
    assert_eq!((bed.count(Scope::Provider).await, bed.lake.size().hot_rows), (9, 0));
    bed.append(&events[9..]);
    bed.writer.seal();
    let all = u64::try_from(events.len()).unwrap();
    assert_eq!(bed.count(Scope::Provider).await, all);
    bed.flush().await;
    assert_eq!(bed.count(Scope::Provider).await, all);
    let before = bed.lake.size();
    bed.compact().await;
    let after = bed.lake.size();
    assert_eq!((after.file_rows, bed.count(Scope::Provider).await), (before.file_rows, all));
    assert!(after.files < before.files);
    for name in ["a", "b", "c"] {
        let own = events.iter().filter(|event| event.tenant == name).count();
        assert_eq!(bed.count(scope(name)).await, u64::try_from(own).unwrap());
    }
    let both = Scope::Tenants([tenant("a"), tenant("c")].into());
    assert_eq!(bed.count(both).await, 11);
    assert_eq!(bed.count(Scope::Tenants(BTreeSet::new())).await, 0);
}

#[tokio::test]
async fn every_column_survives_files_and_compaction() {
    let mut bed = Bed::hot().await;
    let all = |bed: &Bed| {
        let sql = "SELECT * FROM events ORDER BY id".to_owned();
        let lake = bed.lake.clone();
        async move { lake.ask(Ask { scope: Scope::Provider, sql, rows_max: 100, offset: 0 }).await }
    };
    let hot = all(&bed).await.unwrap();
    assert!(hot.complete && hot.rows.len() == given().len());
    bed.flush().await;
    assert_eq!(all(&bed).await.unwrap().rows, hot.rows);
    bed.compact().await;
    assert_eq!(all(&bed).await.unwrap().rows, hot.rows);
}

#[tokio::test]
async fn an_absent_indicator_opens_no_file() {
    let mut bed = Bed::hot().await;
    bed.flush().await;
    for sql in [
        "SELECT raw FROM events WHERE src_ip = '198.51.100.99' OR dst_ip = '198.51.100.99'",
        "SELECT raw FROM events WHERE has_observable('hash', 'ffffffffffffffff')",
    ] {
        let ask = Ask { scope: Scope::Provider, sql: sql.to_owned(), rows_max: 10, offset: 0 };
        let answer = bed.lake.ask(ask).await.unwrap();
        let provenance = &answer.provenance;
        assert_eq!((provenance.files, provenance.bytes, answer.rows.len()), (0, 0, 0), "{sql}");
    }
}

#[tokio::test]
async fn erasing_takes_one_tenants_rows_and_no_others() {
    let mut bed = Bed::hot().await;
    bed.flush().await;
    let done = bed.lake.erase(tenant("b")).await.unwrap();
    assert_eq!(done.dropped, 6);
    assert_eq!((bed.count(scope("b")).await, bed.count(scope("a")).await), (0, 8));
    let before = ids::Timestamp::from_micros(i64::MAX);
    assert!(bed.lake.unlink_forgotten(before).await.unwrap() > 0);
    assert_eq!(bed.count(Scope::Provider).await, 11);
}

#[tokio::test]
async fn what_the_catalog_plans_is_done() {
    let mut bed = Bed::empty().await;
    for half in given().chunks(9) {
        bed.append(half);
        bed.flush().await;
    }
    let now = "2027-01-01T00:00:00Z".parse().unwrap();
    let done = bed.lake.compact_due(now, &catalog::CompactionOptions::default()).await.unwrap();
    assert!(done.removed > done.added && done.dropped == 0);
    assert_eq!(bed.count(Scope::Provider).await, 17);
    let state = bed.catalog.load().await.unwrap();
    let removal = catalog::plan_erase(&state, tenant("c"), &[]);
    assert_eq!(bed.lake.remove(&removal).await.unwrap().dropped, 3);
    assert_eq!((bed.count(scope("c")).await, bed.count(Scope::Provider).await), (0, 14));
}

#[tokio::test]
async fn pages_of_a_search_join_to_the_whole() {
    let mut bed = Bed::hot().await;
    bed.flush().await;
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = bed.lake.search(Search {
            scope: scope("a"),
            query: String::new(),
            from: None,
            to: None,
            columns: vec!["raw".to_owned()],
            rows_max: 3,
            after,
        });
        let page = page.await.unwrap();
        names.extend(page.answer.rows.iter().map(|row| row[0].as_str().unwrap().to_owned()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names.len(), 8);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Whatever order rows come in and wherever flushes and compactions fall, each row is there once.
    #[test]
    fn nothing_is_lost_or_doubled(steps in prop::collection::vec(0_u8..4, 1..12), seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bed = Bed::empty().await;
            let events = given();
            let mut ids = BTreeSet::new();
            for (step, choice) in steps.iter().enumerate() {
                match choice {
                    0 | 1 => {
                        let first = usize::try_from(seed % 7).unwrap() + step % 5;
                        for (place, given) in events.iter().enumerate().skip(first).take(4) {
                            let event = given.normalised();
                            let row = lake::Row { segment: u64::try_from(step).unwrap(), ..crate::bed::row(given, &event, place) };
                            ids.insert(bed.writer.append(&row).to_string());
                        }
                        bed.writer.seal();
                    }
                    2 => bed.flush().await,
                    _ => bed.compact().await,
                }
            }
            let ask = Ask { scope: Scope::Provider, sql: "SELECT id FROM events".to_owned(), rows_max: 1000, offset: 0 };
            let found = bed.lake.ask(ask).await.unwrap();
            let mut found: Vec<String> = found.rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect();
            found.sort();
            prop_assert_eq!(found, ids.into_iter().collect::<Vec<_>>());
            Ok(())
        })?;
    }
}

/// Tenants of all sizes in the same files: runs with row groups of their own beside runs that share one.
#[tokio::test]
async fn small_and_large_tenants_share_files_and_nothing_else() {
    let mut bed = Bed::empty().await;
    let template = &given()[2];
    let mut event = template.normalised();
    let sizes = [("a", 10_000_i64), ("b", 700), ("c", 3)];
    let start = event.time.as_micros();
    let mut place = 0;
    for flush in 0..2 {
        for (name, rows) in sizes {
            for row in 0..rows {
                // Times of both flushes lie among one another, not in order.
                let shuffled = (row * 7_919 + flush * 13) % rows;
                event.time = ids::Timestamp::from_micros(start + shuffled * 1_000_000 + flush);
                let port = event::mapping::COLUMNS.iter().position(|column| column.name == "src_port").unwrap();
                event.columns.retain(|(column, _)| *column != port);
                event.columns.push((port, event::mapping::ColumnValue::Int(shuffled)));
                let raw = format!("{{\"n\":{shuffled},\"of\":\"{name}\"}}");
                let row = crate::bed::row(template, &event, place);
                bed.writer.append(&lake::Row { tenant: tenant(name), raw: &raw, ..row });
                place += 1;
            }
            bed.writer.seal();
        }
        bed.flush().await;
    }
    for stage in ["flushed", "compacted"] {
        for (name, rows) in sizes {
            let sql = "SELECT count(*), count(DISTINCT src_port), sum(src_port), count(DISTINCT raw), min(time), max(tenant) FROM events";
            let ask =
                |sql: &str| bed.lake.ask(Ask { scope: scope(name), sql: sql.to_owned(), rows_max: 10, offset: 0 });
            let row = ask(sql).await.unwrap().rows.remove(0);
            let expected = serde_json::json!([
                2 * rows,
                rows,
                rows * (rows - 1),
                rows,
                ids::Timestamp::from_micros(start).to_string(),
                tenant(name).to_string()
            ]);
            assert_eq!(serde_json::Value::from(row), expected, "{stage}: {name}");
            let sql =
                "SELECT src_port, json_text(raw, 'of') FROM network_activity WHERE src_port = 2 AND raw LIKE '%2%'";
            assert_eq!(
                ask(sql).await.unwrap().rows,
                vec![vec![serde_json::json!(2), name.into()]; 2],
                "{stage}: {name}"
            );
        }
        bed.compact().await;
    }
    assert_eq!(bed.lake.size().files, 1);
}
