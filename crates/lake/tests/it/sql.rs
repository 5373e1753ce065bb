//! `spec/lake/sql`: questions and their rows, hot, flushed and compacted.

use crate::bed::{Bed, read, scope, spec};
use lake::Ask;
use serde_json::Value;

struct Case {
    sql: String,
    fails: bool,
    expected: Vec<String>,
}

fn cases(text: &str) -> Vec<Case> {
    let block = |block: &str| {
        let (head, expected) = block.split_once("\n----\n").or_else(|| block.split_once("\n----"))?;
        let (kind, sql) = head.trim_start().split_once('\n')?;
        let expected = expected.lines().map(str::to_owned).collect();
        Some(Case { sql: sql.to_owned(), fails: kind == "error", expected })
    };
    text.split("\n\n").filter_map(block).collect()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

async fn check(bed: &Bed, stage: &str) {
    let mut asked = 0;
    for file in std::fs::read_dir(spec("sql")).unwrap() {
        let name = file.unwrap().file_name();
        for case in cases(&read(&format!("sql/{}", name.to_str().unwrap()))) {
            asked += 1;
            let ask = Ask { scope: scope("a"), sql: case.sql.clone(), rows_max: 100, offset: 0 };
            match bed.lake.ask(ask).await {
                Ok(answer) if !case.fails => {
                    let rows = answer.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("|"));
                    assert_eq!(rows.collect::<Vec<_>>(), case.expected, "{stage}: {}", case.sql);
                }
                Err(error) if case.fails => {
                    assert!(error.to_string().contains(&case.expected.join("\n")), "{stage}: {}: {error}", case.sql);
                }
                other => panic!("{stage}: {}: {other:?}", case.sql),
            }
        }
    }
    assert!(asked >= 15);
}

#[tokio::test]
async fn questions_have_their_rows_at_every_stage() {
    let mut bed = Bed::hot().await;
    check(&bed, "hot").await;
    bed.flush().await;
    check(&bed, "flushed").await;
    bed.compact().await;
    check(&bed, "compacted").await;
}
