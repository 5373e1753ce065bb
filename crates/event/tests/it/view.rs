//! The view: paths, bounds, doubled keys, and agreement with `serde_json` on generated records.

use event::{FieldPath, Leaves, ParseFault, Parser, Scalar};
use proptest::prelude::*;
use std::ops::ControlFlow;

/// Path, record, and the scalars that the path finds, as text.
const PATHS: &[(&str, &str, &[&str])] = &[
    ("a.b.c", r#"{"a":{"b":{"c":"v"}}}"#, &["v"]),
    ("a.b.c", r#"{"a.b.c":"v"}"#, &["v"]),
    ("a.b.c", r#"{"a.b":{"c":1},"a":{"b.c":2}}"#, &["1", "2"]),
    ("a.b", r#"{"a":[{"b":1},{"b":[2,3]},{"c":4}]}"#, &["1", "2", "3"]),
    ("a.1.b", r#"{"a":[{"b":1},{"b":2}]}"#, &["2"]),
    ("a", r#"{"a":null}"#, &["null"]),
    ("a", r#"{"A":1,"ab":2,"a.":3}"#, &[]),
    ("a", r#"{"a":1,"a":"x"}"#, &["1", "x"]),
    ("a", r#"{"a":18446744073709551615}"#, &["18446744073709551615"]),
    ("a", r#"{"a":-9223372036854775808}"#, &["-9223372036854775808"]),
    ("a", r#"{"a":{"b":1}}"#, &[]),
    ("p", r#"{"p":"C:\\Windows\\\u00e9\ud83d\ude00"}"#, &["C:\\Windows\\é😀"]),
];

#[test]
fn paths_find_flat_nested_and_array_values() {
    let mut parser = Parser::new();
    for (path, record, expected) in PATHS {
        let view = parser.parse(record.as_bytes()).unwrap();
        let mut found = Vec::new();
        view.each_scalar(&FieldPath::new(path).unwrap(), |scalar| {
            found.push(scalar.to_text().into_owned());
            ControlFlow::Continue(())
        });
        assert_eq!(&found, expected, "{path} in {record}");
        assert_eq!(view.raw(), record.as_bytes());
    }
}

#[test]
fn a_doubled_key_is_seen_twice_and_read_last() {
    let mut parser = Parser::new();
    let view = parser.parse(br#"{"a":1,"a":2}"#).unwrap();
    assert_eq!(view.scalar(&FieldPath::new("a").unwrap()), Some(Scalar::Int(2)));
    assert_eq!(view.root().members().count(), 2);
}

#[test]
fn bounds_and_faults_are_named() {
    let mut parser = Parser::new();
    let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(parser.parse(deep(128).as_bytes()).is_ok());
    assert_eq!(parser.parse(deep(129).as_bytes()).err(), Some(ParseFault::TooDeep));
    assert_eq!(parser.parse(b"  \n").err(), Some(ParseFault::Empty));
    assert_eq!(parser.parse(b"[1]").err(), Some(ParseFault::NotAnObject));
    for broken in ["{\"a\":1", "{\"a\":1} x", "{\"a\" 1}", "{\"a\":\"\u{1}\"}", "nope", "{\"a\":01}"] {
        let fault = parser.parse(broken.as_bytes()).err();
        assert!(matches!(fault, Some(ParseFault::NotJson { .. })), "{broken}: {fault:?}");
    }
    assert!(matches!(parser.parse(b"{\"a\":\"\xff\"}").err(), Some(ParseFault::NotJson { .. })));
    // After faults and a large record the parser still works.
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(3 << 20));
    assert!(parser.parse(large.as_bytes()).is_ok());
    assert!(parser.parse(b"{\"a\":1}").is_ok());
}

/// The leaves of a `serde_json` value, in document order of sorted keys.
fn reference(value: &serde_json::Value, path: &str, out: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                reference(value, &below, out);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| reference(item, path, out)),
        serde_json::Value::String(text) => out.push((path.to_owned(), text.clone())),
        other => out.push((path.to_owned(), other.to_string())),
    }
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let tree = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("[a-z\\\\\"\u{e9} ]{1,4}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[a-z]{1,4}", tree, 0..6)
        .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn leaves_agree_with_serde_json(value in json()) {
        let raw = value.to_string();
        let mut expected = Vec::new();
        reference(&value, "", &mut expected);
        let mut parser = Parser::new();
        let view = parser.parse(raw.as_bytes()).unwrap();
        let mut found = Vec::new();
        view.leaves(&mut Leaves::default(), |path, scalar| {
            found.push((path.to_owned(), scalar.to_text().into_owned()));
            ControlFlow::Continue(())
        });
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_bytes_give_a_view_or_a_fault(raw in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut parser = Parser::new();
        let _ = parser.parse(&raw).is_ok();
    }
}

#[test]
fn a_warm_parser_allocates_nothing() {
    let records: Vec<String> = (0..64)
        .map(|place| format!(r#"{{"a":{{"b":[{place},2,{{"c":"x\\y"}}]}},"long":"{}"}}"#, "z".repeat(place * 7)))
        .collect();
    let path = FieldPath::new("a.b.c").unwrap();
    let (mut parser, mut buffer) = (Parser::new(), Leaves::default());
    let mut pass = || {
        for record in &records {
            let view = parser.parse(record.as_bytes()).unwrap();
            assert_eq!(view.text(&path), Some("x\\y"));
            let mut count = 0;
            view.leaves(&mut buffer, |_, _| {
                count += 1;
                ControlFlow::Continue(())
            });
            assert_eq!(count, 4);
        }
    };
    pass();
    // Where tests share a process another one may allocate meanwhile: one quiet pass is the proof.
    let quiet = (0..100).any(|_| {
        let before = crate::ALLOCATIONS.stats();
        pass();
        let change = crate::ALLOCATIONS.stats() - before;
        (change.allocations, change.reallocations) == (0, 0)
    });
    assert!(quiet, "every one of 100 passes over warm buffers allocated");
}
