//! No statement sees another tenant's row: `spec/lake/hostile.sql`, and statements made of hostile parts.

use crate::bed::{Bed, given, read, scope};
use ids::Scope;
use lake::{Answer, Ask, AskError};
use proptest::prelude::*;

const TENANTS: [&str; 3] = ["a", "b", "c"];

/// Words that stand in rows of other tenants only: names of events, what they keep secret, the tenants' own ids.
fn foreign(asker: &str) -> Vec<String> {
    let mut marks: Vec<String> =
        given().into_iter().filter(|event| event.tenant != asker).map(|event| event.name).collect();
    for tenant in TENANTS.iter().filter(|tenant| **tenant != asker) {
        marks.push(crate::bed::tenant(tenant).to_string());
    }
    marks.extend(
        [("b", "bravos"), ("c", "charlies")]
            .iter()
            .filter(|(tenant, _)| *tenant != asker)
            .map(|(_, mark)| (*mark).to_owned()),
    );
    marks
}

fn leaks(asker: &str, answer: &Result<Answer, AskError>) -> Option<String> {
    let text = match answer {
        Ok(answer) => serde_json::to_string(&answer.rows).unwrap(),
        Err(error) => error.to_string(),
    };
    foreign(asker).into_iter().find(|mark| text.contains(mark.as_str()))
}

async fn ask(bed: &Bed, who: Scope, sql: &str) -> Result<Answer, AskError> {
    bed.lake.ask(Ask { scope: who, sql: sql.to_owned(), rows_max: 1_000, offset: 0 }).await
}

async fn try_all(bed: &Bed) {
    for statement in read("hostile.sql").split("\n;\n") {
        for tenant in TENANTS {
            let answer = ask(bed, scope(tenant), statement).await;
            assert_eq!(leaks(tenant, &answer), None, "as {tenant}: {statement}");
        }
    }
}

#[tokio::test]
async fn hostile_statements_see_nothing_of_others() {
    let mut bed = Bed::hot().await;
    try_all(&bed).await;
    bed.flush().await;
    try_all(&bed).await;
    bed.compact().await;
    try_all(&bed).await;
}

#[tokio::test]
async fn what_reaches_files_settings_or_writes_is_refused() {
    let bed = Bed::hot().await;
    for statement in read("hostile.sql").split("\n;\n") {
        let first = statement.split_whitespace().next().unwrap();
        if !["SELECT", "WITH", "VALUES", "TABLE"].contains(&first) {
            let answer = ask(&bed, Scope::Provider, statement).await;
            assert!(answer.is_err(), "{statement}: {answer:?}");
        }
    }
    for statement in
        ["SELECT * FROM '/etc/passwd'", "SELECT * FROM \"/etc/passwd\"", "SELECT * FROM datafusion.public.events"]
    {
        assert!(ask(&bed, Scope::Provider, statement).await.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn the_detector_of_leaks_detects() {
    let bed = Bed::hot().await;
    let answer = ask(&bed, Scope::Provider, "SELECT * FROM events").await;
    assert!(leaks("a", &answer).is_some());
}

fn source() -> impl Strategy<Value = String> {
    let table = prop_oneof![
        Just("events".to_owned()),
        Just("lake.public.events".to_owned()),
        Just("process_activity".to_owned()),
        Just("detections".to_owned()),
        Just("actions".to_owned()),
        Just("\"events\"".to_owned()),
        Just("public.network_activity".to_owned()),
    ];
    table.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|table| format!(
                "(SELECT tenant, raw, time, id FROM {table} x WHERE true OR x.tenant = 'z')"
            )),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| {
                format!(
                    "(SELECT tenant, raw, time, id FROM {left} l UNION ALL SELECT tenant, raw, time, id FROM {right} r)"
                )
            }),
            inner.prop_map(|table| format!(
                "(WITH events AS (SELECT tenant, raw, time, id FROM {table} y) SELECT * FROM events)"
            )),
        ]
    })
}

fn statement() -> impl Strategy<Value = String> {
    let shown = prop_oneof![
        Just("t.raw"),
        Just("*"),
        Just("array_agg(t.raw)"),
        Just("max(t.raw)"),
        Just("t.tenant, count(*)"),
        Just("first_value(t.raw) OVER (ORDER BY t.time)"),
        Just("(SELECT string_agg(raw, '') FROM events)"),
    ];
    let condition = prop_oneof![
        Just(""),
        Just("WHERE 1 = 1 OR t.tenant <> t.tenant"),
        Just("WHERE t.tenant IS NOT NULL"),
        Just("WHERE t.id IN (SELECT id FROM events)"),
        Just("WHERE EXISTS (SELECT 1 FROM events o WHERE o.tenant <> t.tenant)"),
        Just("WHERE t.raw LIKE '%secret%'"),
        Just("WHERE NOT (t.tenant = 'x' AND false)"),
    ];
    let tail = prop_oneof![
        Just(""),
        Just("GROUP BY t.tenant"),
        Just("ORDER BY 1"),
        Just("LIMIT 5"),
        Just("-- AND tenant = 'x'")
    ];
    (shown, source(), condition, tail)
        .prop_map(|(shown, source, condition, tail)| format!("SELECT {shown} FROM {source} t {condition} {tail}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn statements_of_hostile_parts_see_nothing_of_others(statements in prop::collection::vec(statement(), 4)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bed = Bed::hot().await;
            bed.flush().await;
            for statement in &statements {
                for tenant in TENANTS {
                    let answer = ask(&bed, scope(tenant), statement).await;
                    prop_assert_eq!(leaks(tenant, &answer), None, "as {}: {}", tenant, statement);
                }
            }
            Ok(())
        })?;
    }
}
