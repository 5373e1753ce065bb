//! Histograms, values, fields, estimates, single events, watching, process trees, exports, prevalence.

use crate::bed::{Bed, given, scope, tenant};
use catalog::EntityKind;
use ids::Scope;
use lake::{Format, Part, ProcessTree, export};
use serde_json::json;
use std::time::Duration;

fn part(query: &str) -> Part {
    Part { scope: scope("a"), query: query.to_owned(), from: None, to: None }
}

#[tokio::test]
async fn counts_over_time_values_and_fields_are_those_of_the_scope() {
    let mut bed = Bed::hot().await;
    bed.flush().await;
    let days = bed.lake.histogram(part(""), Duration::from_secs(86_400), None).await.unwrap();
    assert_eq!(days.rows, [[json!("2026-11-20T00:00:00Z"), json!(4)], [json!("2026-11-21T00:00:00Z"), json!(4)]]);
    let by = bed.lake.histogram(part("class:1007"), Duration::from_secs(86_400), Some("severity_id".to_owned()));
    assert_eq!(by.await.unwrap().rows.len(), 3);
    let values = bed.lake.values(part(""), "src_endpoint.ip", 2).await.unwrap();
    assert_eq!(values.rows, [[json!("10.0.0.6"), json!(2)], [json!("10.0.0.5"), json!(1)]]);
    assert!(bed.lake.values(part(""), "scr_ip", 2).await.unwrap_err().to_string().contains("`src_ip`"));
    let fields = bed.lake.fields(part("")).await.unwrap();
    assert_eq!(fields.sample, 8);
    let ip = fields.fields.iter().find(|field| field.name == "src_ip").unwrap();
    assert_eq!((ip.rows, ip.path, ip.observable), (4, Some("src_endpoint.ip"), Some("ip")));
    assert!(fields.fields.iter().all(|field| field.name != "url"));
}

#[tokio::test]
async fn an_estimate_knows_what_would_be_read() {
    let mut bed = Bed::hot().await;
    assert_eq!(bed.lake.estimate(&part("")).unwrap().hot_rows, 8);
    bed.flush().await;
    let all = bed.lake.estimate(&part("")).unwrap();
    assert_eq!((all.rows, all.hot_rows), (8, 0));
    let none = bed.lake.estimate(&part("ip:198.51.100.99")).unwrap();
    assert_eq!((none.files, none.rows), (0, 0));
    assert!(bed.lake.estimate(&part("class:dns_activity")).unwrap().rows == 2);
}

#[tokio::test]
async fn an_event_is_had_by_its_name_and_only_in_its_scope() {
    let mut bed = Bed::empty().await;
    let ids = bed.append(&given());
    bed.writer.seal();
    for stage in 0..2 {
        let found = bed.lake.get(scope("a"), ids[1]).await.unwrap().unwrap();
        let raw = found.columns.iter().position(|column| column.name == "raw").unwrap();
        assert!(found.rows[0][raw].as_str().unwrap().contains("alpha2"), "{stage}");
        assert_eq!(bed.lake.get(scope("b"), ids[1]).await.unwrap(), None, "{stage}");
        bed.flush().await;
    }
}

#[tokio::test]
async fn who_watches_sees_what_matches_as_it_is_sealed() {
    let mut bed = Bed::empty().await;
    let mut all = bed.lake.tail(scope("a"), "").unwrap();
    let mut some = bed.lake.tail(scope("a"), "process_cmd_line:*enc* OR ip:203.0.113.7").unwrap();
    bed.append(&given());
    bed.writer.seal();
    assert_eq!(all.next().await.unwrap().unwrap().rows.len(), 8);
    assert_eq!(some.next().await.unwrap().unwrap().rows.len(), 3);
    assert!(bed.lake.tail(scope("a"), "(").is_err());
}

#[tokio::test]
async fn a_process_has_its_ancestors_and_children() {
    let mut bed = Bed::hot().await;
    bed.flush().await;
    let ask = |around: Option<(&str, &str)>| ProcessTree {
        tenant: tenant("a"),
        process_uid: "p2".to_owned(),
        from: "2026-11-20T00:00:00Z".parse().unwrap(),
        to: "2026-11-22T00:00:00Z".parse().unwrap(),
        generations: 5,
        processes_max: 100,
        around: around.map(|(host, at)| (host.to_owned(), at.parse().unwrap())),
    };
    let (near, far) = ("2026-11-20T10:00:00Z", "2026-11-21T23:00:00Z");
    for around in [None, Some(("WS-01", near)), Some(("WS-01", far)), Some(("elsewhere", near))] {
        let forest = bed.lake.process_tree(ask(around)).await.unwrap();
        let uids: Vec<&str> = forest.processes.iter().map(|node| node.process_uid.as_str()).collect();
        assert_eq!(uids, ["p1", "p2", "p3"], "{around:?}");
        assert!(forest.complete, "{around:?}");
        assert!(forest.processes.iter().all(|node| !format!("{node:?}").contains("bravo")));
    }
}

#[tokio::test]
async fn several_events_are_had_at_once_and_only_in_their_scope() {
    let mut bed = Bed::empty().await;
    let ids = bed.append(&given());
    bed.writer.seal();
    for stage in 0..2 {
        let found = bed.lake.get_all(scope("a"), &ids, &["id", "raw"]).await.unwrap();
        let had: std::collections::BTreeSet<&str> = found.rows.iter().filter_map(|row| row[0].as_str()).collect();
        let named: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert!(had.len() == 8 && had.iter().all(|id| named.iter().any(|name| name == id)), "{stage}: {had:?}");
        assert!(found.rows.iter().all(|row| !row[1].as_str().unwrap().contains("bravo")));
        assert!(bed.lake.get_all(scope("a"), &[], &[]).await.unwrap().rows.is_empty());
        bed.flush().await;
    }
}

#[tokio::test]
async fn exports_hold_the_rows_in_each_form() {
    let bed = Bed::hot().await;
    let sql = "SELECT process_cmd_line, process_pid, time FROM process_activity WHERE process_pid > 0 ORDER BY time";
    let found = bed.lake.ask_batches(scope("a"), sql.to_owned(), 100, 0).await.unwrap();
    let text = |format| String::from_utf8(export(&found, format).unwrap()).unwrap();
    let lines = text(Format::Ndjson);
    assert_eq!(lines.lines().count(), 2);
    assert!(
        lines
            .starts_with(r#"{"process_cmd_line":"cmd.exe /c whoami","process_pid":100,"time":"2026-11-20T10:00:00Z"}"#)
    );
    assert!(text(Format::Csv).starts_with("process_cmd_line,process_pid,time\r\ncmd.exe /c whoami,100,2026"));
    assert!(export(&found, Format::Parquet).unwrap().starts_with(b"PAR1"));
    assert!(export(&found, Format::Arrow).unwrap().starts_with(&[255, 255, 255, 255]));
}

#[tokio::test]
async fn the_entity_summary_is_fed_with_the_files() {
    let mut bed = Bed::hot().await;
    bed.flush().await;
    let seen = |kind, value: &'static str| {
        let catalog = bed.catalog.clone();
        async move { catalog.prevalence(&Scope::Provider, kind, value).await.unwrap() }
    };
    let address = seen(EntityKind::Address, "203.0.113.7").await;
    let mut counts: Vec<u64> = address.iter().map(|seen| seen.count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [2, 6]);
    assert_eq!(seen(EntityKind::Hash, "aabbccdd00112233").await.len(), 1);
    assert_eq!(seen(EntityKind::ParentChild, "explorer.exe > cmd.exe").await.len(), 1);
    assert_eq!(seen(EntityKind::Command, "cmd.exe /c whoami").await[0].count, 1);
}
