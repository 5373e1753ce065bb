//! `spec/lake/search`: searches and what they find, hot, flushed and compacted.

use crate::bed::{Bed, given, read, scope};
use lake::Search;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    search: String,
    finds: Option<Vec<String>>,
    fault: Option<String>,
}

async fn check(bed: &Bed, stage: &str) {
    let names: Vec<String> = given().into_iter().map(|event| event.name).collect();
    for line in read("search/grammar.jsonl").lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let search = Search {
            scope: scope("a"),
            query: case.search.clone(),
            from: None,
            to: None,
            columns: vec!["raw".to_owned()],
            rows_max: 100,
            after: None,
        };
        match (bed.lake.search(search).await, case.finds, case.fault) {
            (Ok(page), Some(finds), _) => {
                let name = |row: &Vec<serde_json::Value>| {
                    let raw = row[0].as_str().unwrap().to_owned();
                    names.iter().find(|name| raw.contains(&format!("\"{name}\""))).cloned().unwrap()
                };
                let found: Vec<String> = page.answer.rows.iter().map(name).collect();
                assert_eq!(found, finds, "{stage}: {}", case.search);
            }
            (Err(error), _, Some(fault)) => {
                assert!(error.to_string().contains(&fault), "{stage}: {}: {error}", case.search);
            }
            (other, ..) => panic!("{stage}: {}: {other:?}", case.search),
        }
    }
}

#[tokio::test]
async fn searches_find_the_same_at_every_stage() {
    let mut bed = Bed::hot().await;
    check(&bed, "hot").await;
    bed.flush().await;
    check(&bed, "flushed").await;
    bed.compact().await;
    check(&bed, "compacted").await;
}
