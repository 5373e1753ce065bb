//! The engine and the plain evaluator agree: on generated rules and records, and on public recordings.

use detection::engine::{Engine, Scratch};
use detection::profile::{Format, Profile};
use detection::reference;
use detection::sigma::Collection;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The engine's matches as positions.
fn fast(engine: &Engine, scratch: &mut Scratch, record: &[u8]) -> Vec<u32> {
    let mut parser = event::Parser::new();
    let mut found = Vec::new();
    let view = parser.parse(record).unwrap();
    engine.matches(&view, scratch, &mut found);
    found
}

fn slow(collection: &Collection, record: &Value, profile: &Profile) -> Vec<u32> {
    (0..).zip(&collection.rules).filter(|(_, r)| reference::matches(r, record, profile)).map(|(n, _)| n).collect()
}

/// Texts that share pieces, so that patterns sometimes match, with every kind of trap.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "cmd",
        "CMD.exe",
        "\\cmd.exe",
        "powershell",
        " -enc ",
        " /enc ",
        " –enc",
        "-f",
        "/f",
        "Straße",
        "ÄÖ",
        "äö",
        "\u{212a}",
        "k",
        "ſ",
        "s",
        "I",
        "ı",
        "İ",
        "\n",
        "a.b",
        "4688",
        "5",
        "5.0",
        "-1",
        "true",
        "%x%",
        "10.1.2.3",
        "::1",
        "",
        " ",
        "\"",
        "aGVsbG8h",
        "é",
        "日本",
        "2024-01-01T03:04:05Z",
        "lsass",
        "mimikatz",
        "\u{0}",
        "ab",
        "abc",
        "abcd",
        "abcdefghijkl",
    ]);
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn pattern() -> impl Strategy<Value = String> {
    let joint = prop::sample::select(vec!["", "", "", "*", "?", "\\*", "\\?", "\\\\", "**", "\\"]);
    (joint.clone(), text(), joint.clone(), text(), joint).prop_map(|(a, b, c, d, e)| format!("{a}{b}{c}{d}{e}"))
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => text().prop_map(Value::from),
        1 => prop::sample::select(vec![json!(null), json!(true), json!(5), json!(5.0), json!(4688), json!(-1), json!(1e20),
            json!(18_446_744_073_709_551_615_u64), json!(0.5), json!(3.0e-7)]),
    ]
}

fn record_value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((field_part(), inner), 0..3)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn field_part() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["A", "B", "a", "b", "a.b", "CallTrace", "EventID", "Channel"]).prop_map(str::to_owned)
}

fn record() -> impl Strategy<Value = Value> {
    prop::collection::vec((field_part(), record_value()), 0..6)
        .prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
}

/// One item of a detection: a field with modifiers, and values that fit them more often than not.
fn item() -> impl Strategy<Value = (String, Value)> {
    let field = prop::sample::select(vec!["A", "B", "a.b", "a.b.A", "CallTrace", "EventID", "Channel", ""]);
    let texts = prop::collection::vec(pattern(), 1..5).prop_map(Value::from);
    let any = prop::collection::vec(
        prop_oneof![3 => pattern().prop_map(Value::from), 1 => prop::sample::select(vec![json!(null), json!(5), json!(4688), json!(true), json!(5.5)])],
        1..4,
    )
    .prop_map(Value::from);
    let modified = prop_oneof![
        4 => (prop::sample::select(vec!["|contains", "|startswith", "|endswith", "|contains|all", "|windash|contains", "|cased",
            "|contains|cased", "|endswith|windash", "|neq", "|all", "|base64offset|contains", "|wide|base64offset|contains",
            "|expand", "|contains|neq"]), texts),
        3 => (Just(""), any),
        1 => (prop::sample::select(vec!["|re", "|re|i", "|re|s"]),
            prop::sample::select(vec!["cmd|powershell", "^5", "(?i)LSASS.*z", "a.b", "[cC]md\\.exe$", "foo(?!bar)|k", "x*", "str(aß|äö)e"])
                .prop_map(Value::from)),
        1 => (prop::sample::select(vec!["|lt", "|gte"]), prop::sample::select(vec![json!(5), json!(4688.5), json!(-1)])),
        1 => (Just("|cidr"), prop::sample::select(vec![json!("10.0.0.0/8"), json!("::/64")])),
        1 => (Just("|exists"), any_bool()),
        1 => (prop::sample::select(vec!["|fieldref", "|fieldref|startswith", "|fieldref|contains", "|fieldref|endswith|cased"]),
            prop::sample::select(vec![json!("A"), json!("B"), json!("a.b")])),
        1 => (prop::sample::select(vec!["|hour", "|year", "|week"]), prop::sample::select(vec![json!(3), json!(2024), json!(1)])),
    ];
    (field, modified).prop_map(|(field, (modifiers, value))| (format!("{field}{modifiers}"), value))
}

fn any_bool() -> impl Strategy<Value = Value> {
    any::<bool>().prop_map(Value::from)
}

fn rule() -> impl Strategy<Value = String> {
    let detection = prop_oneof![
        4 => prop::collection::vec(item(), 1..4).prop_map(|items| Value::Object(items.into_iter().collect())),
        1 => prop::collection::vec(prop::collection::vec(item(), 1..3).prop_map(|items| Value::Object(items.into_iter().collect())), 1..3)
            .prop_map(Value::from),
        1 => prop::collection::vec(pattern(), 1..3).prop_map(Value::from),
    ];
    let condition = prop::sample::select(vec![
        "s1",
        "s1 and s2",
        "s1 or s2",
        "s1 and not s2",
        "not s1",
        "1 of s*",
        "all of them",
        "not 1 of s*",
        "s3 and (s1 or not s2)",
        "not (s1 and not s2)",
        "s1 and s2 and s3",
    ]);
    (detection.clone(), detection.clone(), detection, condition).prop_map(|(s1, s2, s3, condition)| {
        // JSON is YAML, so the generated rule passes the real parser.
        json!({"title": "t", "id": "ID", "logsource": {"category": "test"},
            "detection": {"s1": s1, "s2": s2, "s3": s3, "condition": condition}})
        .to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn generated_rules_and_records(
        rules in prop::collection::vec(rule(), 1..40),
        records in prop::collection::vec(record(), 1..20),
    ) {
        let profile = Profile::new(Format::Generic);
        let mut collection = Collection::default();
        for (index, text) in rules.iter().enumerate() {
            collection.add("generated", &text.replacen("\"ID\"", &format!("\"r{index}\""), 1), &|_| None);
        }
        collection.finish();
        let engine = Engine::compile(&collection.rules, &profile);
        let mut scratch = Scratch::default();
        for record in &records {
            let bytes = serde_json::to_vec(record).unwrap();
            let (fast, slow) = (fast(&engine, &mut scratch, &bytes), slow(&collection, record, &profile));
            if fast != slow {
                let differ = fast.iter().chain(&slow).find(|n| fast.contains(n) != slow.contains(n)).unwrap();
                let rule = &collection.rules[*differ as usize];
                panic!("record {record}\nrule {} {:#?}\nengine {fast:?} plain {slow:?}", rule.id, rule.expr);
            }
        }
    }
}

#[test]
fn doubled_keys_keep_the_last() {
    let rule = r#"{"title": "t", "id": "r", "logsource": {"category": "test"}, "detection": {"s": {"A": "x"}, "condition": "s"}}"#;
    let collection = Collection::load([("f", rule)], &|_| None);
    let engine = Engine::compile(&collection.rules, &Profile::new(Format::Generic));
    let mut scratch = Scratch::default();
    assert_eq!(fast(&engine, &mut scratch, br#"{"A":"x","A":"y"}"#), [] as [u32; 0]);
    assert_eq!(fast(&engine, &mut scratch, br#"{"A":"y","A":"x"}"#), [0]);
    assert_eq!(fast(&engine, &mut scratch, br#"{"A":["y",["x"]]}"#), [0]);
}

#[test]
fn blanks_in_event_data_keys() {
    let rule = r#"{"title": "t", "id": "r", "logsource": {"product": "windows"}, "detection": {"s": {"ThreatName": "x"}, "condition": "s"}}"#;
    let collection = Collection::load([("f", rule)], &|_| None);
    let profile = Profile::new(Format::WindowsEvtx);
    let engine = Engine::compile(&collection.rules, &profile);
    for (record, wanted) in [
        (r#"{"Event":{"EventData":{"Threat Name":"x"}}}"#, 1),
        (r#"{"Event":{"EventData":{"Threat Name":"y","ThreatName":"x"}}}"#, 1),
        (r#"{"Event":{"System":{"Threat Name":"x"}}}"#, 0),
    ] {
        assert_eq!(fast(&engine, &mut Scratch::default(), record.as_bytes()).len(), wanted, "{record}");
        let value = serde_json::from_str(record).unwrap();
        assert_eq!(slow(&collection, &value, &profile).len(), wanted, "{record}");
    }
}

#[test]
fn recordings() {
    let Some(data) = crate::test_data() else {
        eprintln!("skipped: POSSE_TEST_DATA is not set or absent");
        return;
    };
    let collection = crate::sigmahq::load(&data.join("sigma/rules"));
    let mut files = Vec::new();
    crate::sigmahq::files_with(&data.join("sigma/regression"), "evtx", &mut files);
    let profile = Profile::new(Format::WindowsEvtx);
    let engine = Engine::compile(&collection.rules, &profile);
    let (mut scratch, mut detected, mut samples) = (Scratch::default(), 0, 0);
    let mut silent = Vec::new();
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let id = file.file_stem().unwrap().to_string_lossy().into_owned();
        let mut own = 0;
        event::read::each_record(&bytes, 1 << 30, |index, record| {
            if let Ok(record) = record {
                let found = fast(&engine, &mut scratch, record);
                // The plain evaluator is slow on four thousand rules: the first records of every eighth sample do.
                if index < 2 && samples % 8 == 0 {
                    let value: Value = serde_json::from_slice(record).unwrap();
                    assert_eq!(found, slow(&collection, &value, &profile), "{}", file.display());
                }
                own += found.iter().filter(|n| collection.rules[**n as usize].id == id).count();
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        samples += 1;
        detected += usize::from(own > 0);
        if own == 0 {
            silent.push(id);
        }
    }
    assert!(samples >= 100, "{samples} samples");
    assert_eq!(detected, samples, "silent: {silent:?}");
}
