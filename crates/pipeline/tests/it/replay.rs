//! Power cuts at every stage of the whole way, on a disk that forgets what was not synced: what was acknowledged is in
//! the lake once, whatever was lost, and nothing is there twice.

use crate::bed::{Bed, ask, caught_up, deliver, ndjson};
use pipeline::Pace;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Seeds in a test run; the long form takes more from the environment.
fn seeds() -> u64 {
    std::env::var("POSSE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(12)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_once_after_any_power_cut() {
    for seed in 0..seeds() {
        let bed = Bed::new(seed);
        let mut acknowledged = BTreeSet::new();
        let mut sent = 0_u64;
        for life in 0..4_u64 {
            // Some lives write files often, some never.
            let often = (seed + life) % 3;
            let pace = Pace {
                workers: 2,
                flush_rows: if often == 0 { 1 } else { 1_000_000 },
                flush_after: Duration::from_secs(if often == 2 { 0 } else { 3600 }),
                ..Pace::default()
            };
            let plane = bed.open(pace).await;
            for _ in 0..3 + (seed + life) % 5 {
                let records: Vec<String> = (0..5)
                    .map(|_| {
                        sent += 1;
                        format!("{{\"n\":{sent}}}")
                    })
                    .collect();
                let first = sent - 4;
                if deliver(&plane, ndjson(records.join("\n"))).await.status == 200 {
                    acknowledged.extend(first..=sent);
                }
            }
            if (seed + life) % 2 == 0 {
                caught_up(&plane).await;
            }
            // The process dies: its disk keeps what was synced and some of the rest; rows in memory are gone.
            bed.disk.power_cut();
            bed.catalog.die(true);
            plane.stop().await;
            drop(plane);
            bed.disk.restart();
            bed.catalog.die(false);
        }
        let plane = bed.open(crate::bed::lazy()).await;
        caught_up(&plane).await;
        let rows = ask(&plane, "SELECT raw, count(*) FROM events GROUP BY raw LIMIT 10000").await;
        assert!(rows.iter().all(|row| row[1] == json!(1)), "seed {seed}: {rows:?}");
        let found: BTreeSet<String> = rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect();
        for number in acknowledged {
            assert!(
                found.contains(&format!("{{\"n\":{number}}}")),
                "seed {seed}: {number} was acknowledged and is gone"
            );
        }
        plane.stop().await;
    }
}
