//! Statements that would take the server's time, memory or stack: refused or cut with a typed fault, others still served.

use crate::bed::{Bed, clock, given, no_sync, scope};
use catalog::Memory;
use ids::Clock;
use lake::{Ask, AskError, Lake, Limits, Options};
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn ask(lake: &Lake, sql: &str) -> Result<lake::Answer, AskError> {
    lake.ask(Ask { scope: scope("a"), sql: sql.to_owned(), rows_max: 100, offset: 0 }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_too_much_is_refused_or_cut() {
    let clock = clock();
    let catalog = Arc::new(Memory::new(lake::table().unwrap(), Arc::clone(&clock) as Arc<dyn Clock>));
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { time_max: Duration::from_secs(3), memory_bytes_max: 32 << 20, ..Limits::default() };
    let options = Options {
        folder: folder.path().to_owned(),
        sync: no_sync(),
        catalog,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        limits,
    };
    let (lake, mut writer) = Lake::open(options).await.unwrap();
    for place in 0..400 {
        for given in given().iter().filter(|given| given.tenant == "a") {
            writer.append(&crate::bed::row(given, &given.normalised(), place));
        }
    }
    writer.seal();
    let chain = |link: &str, times: usize| format!("SELECT 1 {}", link.repeat(times));
    let joins = "SELECT count(*) FROM events a, events b, events c, events d WHERE a.raw < b.raw AND c.raw < d.raw";
    let attacks = [
        chain("+ 1 ", 250),
        chain("+ 1 ", 5_000),
        format!("SELECT * FROM events WHERE {} false", "class_uid = 0 OR ".repeat(10_000)),
        format!("SELECT * FROM events WHERE {} false", "(raw LIKE '%x%' AND class_uid <> 1) OR ".repeat(300)),
        format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500)),
        format!("SELECT {}1", "-".repeat(20_000)),
        format!("SELECT {} true", "NOT ".repeat(5_000)),
        chain("UNION ALL SELECT 1 ", 500),
        joins.to_owned(),
        "SELECT array_agg(a.raw || b.raw || c.raw) FROM events a, events b, events c".to_owned(),
        "SELECT a.raw, b.raw, c.raw FROM events a, events b, events c ORDER BY 1, 2, 3".to_owned(),
        "SELECT repeat('x', 2000000000)".to_owned(),
        "SELECT * FROM events WHERE regexp_like(raw, '(a{1000}){1000}')".to_owned(),
        format!("SELECT * FROM events WHERE raw LIKE '{}'", "%a".repeat(70_000)),
    ];
    for attack in &attacks {
        let started = Instant::now();
        let answer = ask(&lake, attack).await;
        let head: String = attack.chars().take(70).collect();
        let cut = answer.as_ref().map_or(true, |answer| !answer.complete);
        assert!(cut, "{head}: {:?}", answer.map(|answer| answer.rows.len()));
        assert!(started.elapsed() < Duration::from_secs(10), "{head}: {:?}", started.elapsed());
        assert_eq!(ask(&lake, "SELECT 1").await.unwrap().rows.len(), 1, "after {head}");
    }
    // A long IN list is the way that is meant.
    let list: Vec<String> = (0..3_000).map(|number| format!("'10.1.{}.{}'", number / 250, number % 250)).collect();
    let answer =
        ask(&lake, &format!("SELECT count(*) FROM events WHERE src_ip IN ({})", list.join(","))).await.unwrap();
    assert_eq!(answer.rows[0][0], 0);
}

#[tokio::test]
async fn rows_are_cut_and_said_to_be() {
    let bed = Bed::hot().await;
    let sql = "SELECT id FROM events ORDER BY id".to_owned();
    let page = |offset| bed.lake.ask(Ask { scope: scope("a"), sql: sql.clone(), rows_max: 5, offset });
    let first = page(0).await.unwrap();
    assert_eq!((first.rows.len(), first.complete, first.next_offset), (5, false, Some(5)));
    let second = page(5).await.unwrap();
    assert_eq!((second.rows.len(), second.complete, second.next_offset), (3, true, None));
}
