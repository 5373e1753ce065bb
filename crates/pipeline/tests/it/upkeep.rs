//! What the plane does without a record that says so: sources that fall silent or send what cannot be read are found, windows
//! end, files are merged, a tenant is erased from files, memory and log.

use crate::bed::{Bed, ask, caught_up, deliver, lazy, ndjson, tenant};
use api::{DataPlane as _, RuleSet, RuleText, SourceSetup, TenantSetup};
use ids::{Clock as _, Scope, TenantId, Text};
use journal::{Item, Position, Reader};
use pipeline::{Pace, Plane};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Wait until so many findings of this rule were told; what they are called.
async fn found(bed: &Bed, rule: &str, count: usize) -> Vec<String> {
    let told = || -> Vec<String> {
        let told = bed.told.0.lock().unwrap();
        told.iter().filter(|finding| finding.rule_uid == rule).map(|finding| finding.id.to_string()).collect()
    };
    let waited = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while told().len() < count {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waited).await.expect("the finding comes");
    told()
}

fn watched(secs: u32) -> TenantSetup {
    let source = SourceSetup {
        name: Text::new("web").unwrap(),
        mapping: None,
        mapping_text: None,
        silent_after_secs: Some(secs),
    };
    TenantSetup {
        tenant: tenant(),
        sources: vec![source],
        keep: api::Keep::default(),
        externals: Vec::new(),
        quota: None,
    }
}

async fn health(plane: &Plane) -> api::SourceHealth {
    let health = plane.sources(&Scope::Tenant(tenant())).await.unwrap();
    health.into_iter().find(|(_, one)| one.source == "web").unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_falls_silent_is_found_once_for_each_silence() {
    let bed = Bed::new(11);
    let plane = bed.open(lazy()).await;
    plane.set_up(watched(60)).unwrap();
    deliver(&plane, ndjson("{\"a\":1}")).await;
    caught_up(&plane).await;
    bed.clock.pass(Duration::from_secs(90));
    let first = found(&bed, "posse.source.silent", 1).await;
    assert_eq!(health(&plane).await.state, "silent");
    caught_up(&plane).await;
    let rows = ask(&plane, "SELECT message, severity_id FROM detections WHERE rule_uid = 'posse.source.silent'").await;
    assert_eq!(rows, [[json!("Source `web` is silent"), json!(3)]]);
    // It comes back, and goes again: that is another silence. In between the process was another one.
    deliver(&plane, ndjson("{\"a\":2}")).await;
    caught_up(&plane).await;
    plane.stop().await;
    drop(plane);
    let plane = bed.open(lazy()).await;
    plane.set_up(watched(60)).unwrap();
    assert!(health(&plane).await.last_seen.is_some(), "the silence counts from what came before the restart");
    bed.clock.pass(Duration::from_secs(90));
    let both = found(&bed, "posse.source.silent", 2).await;
    assert!(both.len() == 2 && both[0] == first[0] && both[1] != first[0], "{both:?}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_found() {
    let bed = Bed::new(12);
    let plane = bed.open(lazy()).await;
    let few = (0..40).map(|number| format!("{{\"n\":{number}}}\n")).collect::<String>();
    deliver(&plane, ndjson(format!("{few}not json"))).await;
    caught_up(&plane).await;
    deliver(&plane, ndjson("nonsense\n".repeat(30))).await;
    found(&bed, "posse.source.dead_letters", 1).await;
    let told = bed.told.0.lock().unwrap()[0].ocsf.clone();
    assert!(told.contains("31 of the last 71 records are dead letters"), "{told}");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_ends_though_nothing_comes() {
    let bed = Bed::new(13);
    let plane = bed.open(lazy()).await;
    let rule = |name: &str, text: &str| RuleText {
        id: None,
        name: name.to_owned(),
        digest: format!("digest-{name}"),
        text: text.to_owned(),
        shadow: false,
    };
    let beat = "title: A beat\nid: beat\nlevel: low\nlogsource: {product: aws, service: cloudtrail}\n\
                detection: {selection: {eventName: Beat}, condition: selection}\n";
    let quiet = "title: No beat\nid: quiet\nlevel: high\ncorrelation:\n  type: silence\n  rules: [beat]\n  \
                 group-by: [userIdentity.userName]\n  timespan: 1m\n  baseline: {learn: 1m, half-life: 1h, times: 2}\n";
    let set = RuleSet {
        digest: "one".to_owned(),
        rules: vec![rule("beat", beat), rule("quiet", quiet)],
        ..RuleSet::default()
    };
    assert_eq!(plane.set_rules(tenant(), set.clone()).unwrap().running, 2);
    for _ in 0..8 {
        let at = bed.clock.now();
        let record = json!({
            "eventVersion": "1.08", "eventSource": "x.amazonaws.com", "eventName": "Beat", "eventTime": at.to_string(),
            "userIdentity": { "userName": "clock" },
        });
        deliver(&plane, ndjson(record.to_string())).await;
        caught_up(&plane).await;
        bed.clock.pass(Duration::from_secs(10));
    }
    // Only the looks at the clock are left to say that time passes, and another process looks.
    plane.stop().await;
    drop(plane);
    let plane = bed.open(lazy()).await;
    plane.set_rules(tenant(), set).unwrap();
    bed.clock.pass(Duration::from_secs(900));
    found(&bed, "quiet", 1).await;
    let rows = ask(&plane, "SELECT source, finding_title FROM detections WHERE rule_uid = 'quiet'").await;
    assert_eq!(rows, [[json!("web"), json!("No beat")]]);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_tenant_is_in_no_file_no_memory_and_no_log() {
    let bed = Bed::new(14);
    let plane = bed.open(lazy()).await;
    let other = TenantId::derive(&[b"other"]);
    let of_other = |body: &str| api::Delivery { tenant: other, ..ndjson(body) };
    deliver(&plane, ndjson("{\"secret\":1}")).await;
    deliver(&plane, of_other("{\"stays\":1}")).await;
    plane.stop().await;
    drop(plane);
    let plane = bed.open(Pace { flush_after: Duration::from_secs(3600), ..lazy() }).await;
    deliver(&plane, ndjson("{\"secret\":2}")).await;
    deliver(&plane, of_other("{\"stays\":2}")).await;
    let done = plane.erase(tenant(), &|_, _| true).await.unwrap();
    assert_eq!((done.rows_removed, done.rows_held), (2, 0));
    assert_eq!(ask(&plane, "SELECT count(*) FROM events").await, [[json!(0)]]);
    assert!(plane.sources(&Scope::Tenant(tenant())).await.unwrap().is_empty());
    let status = plane.status(&Scope::Tenant(other)).await.unwrap();
    assert_eq!(status.items.iter().map(|table| table.rows + table.hot_rows).sum::<u64>(), 2);
    let mut log = Reader::offline(Arc::new(bed.disk.clone()), Position::START).unwrap();
    while let Some(item) = log.next().unwrap() {
        let Item::Frame(frame) = item else { panic!("{item:?}") };
        assert!(!String::from_utf8_lossy(&frame.payload).contains("secret"), "it is still in the log");
    }
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_merged_when_it_is_time() {
    let bed = Bed::new(15);
    for number in 0..4 {
        let plane = bed.open(lazy()).await;
        deliver(&plane, ndjson(format!("{{\"n\":{number}}}"))).await;
        plane.stop().await;
    }
    let plane = bed.open(lazy()).await;
    plane.set_up(watched(60)).unwrap();
    assert!(!plane.upkeep_due().await.unwrap(), "they are fresh");
    bed.clock.pass(Duration::from_secs(2 * 3600));
    assert!(plane.upkeep_due().await.unwrap());
    let done = plane.compact(&Scope::Provider, true, &|_, _| true).await.unwrap();
    assert_eq!((done.files_before, done.files_after, done.rows_removed), (4, 1, 0));
    assert!(!plane.upkeep_due().await.unwrap());
    assert_eq!(ask(&plane, "SELECT count(*) FROM events").await, [[json!(4)]]);
    // What is past its time goes by itself, too.
    let keep = api::Keep { days: Some(1), ..api::Keep::default() };
    plane.set_up(TenantSetup { keep, ..watched(60) }).unwrap();
    bed.clock.pass(Duration::from_secs(4 * 24 * 3600));
    assert!(plane.upkeep_due().await.unwrap());
    let done = plane.compact(&Scope::Provider, true, &|_, _| true).await.unwrap();
    assert_eq!((done.files_after, done.rows_removed), (0, 4));
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_an_hour_loses_nothing_and_keeps_the_order() {
    let bed = Bed::new(16);
    let plane = bed.open(lazy()).await;
    plane.set_up(watched(60)).unwrap();
    let numbers = async |plane: &Plane| -> Vec<String> {
        let sql = "SELECT json_text(raw, 'n') AS n FROM events ORDER BY log_segment, log_offset, log_index";
        ask(plane, sql).await.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
    };
    for round in 0..3 {
        for number in 0..5 {
            deliver(&plane, ndjson(format!("{{\"n\":\"{round}-{number}\"}}"))).await;
        }
        caught_up(&plane).await;
        bed.clock.set_back(Duration::from_secs(3600));
    }
    let wanted: Vec<String> = (0..15).map(|at| format!("{}-{}", at / 5, at % 5)).collect();
    assert_eq!(numbers(&plane).await, wanted);
    assert_eq!(health(&plane).await.state, "ok");
    plane.stop().await;
    drop(plane);
    let plane = bed.open(lazy()).await;
    deliver(&plane, ndjson("{\"n\":\"last\"}")).await;
    caught_up(&plane).await;
    assert_eq!(numbers(&plane).await, wanted.iter().cloned().chain(["last".to_owned()]).collect::<Vec<_>>());
    plane.stop().await;
}
