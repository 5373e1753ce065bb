//! Regular expressions of rules, and texts to look in: what compiles answers in bounded time, the engine as the plain
//! evaluator does. The first line is the expression, the rest the text.
#![no_main]

use detection::engine::{Engine, Scratch};
use detection::profile::{Format, Profile};
use detection::reference;
use detection::sigma::Collection;

libfuzzer_sys::fuzz_target!(|input: &str| {
    let (expression, text) = input.split_once('\n').unwrap_or((input, ""));
    // JSON's strings are YAML's too.
    let quoted = serde_json::Value::from(expression).to_string();
    let rule = format!("title: F\nid: f\nlogsource: {{product: windows}}\ndetection: {{s: {{A|re: {quoted}}}, condition: s}}\n");
    let collection = Collection::load([("fuzz.yml", rule.as_str())], &|_| None);
    let [rule] = collection.rules.as_slice() else { return };
    let profile = Profile::new(Format::Generic);
    let record = serde_json::json!({ "A": text });
    let bytes = record.to_string();
    let (mut parser, mut found) = (event::Parser::new(), Vec::new());
    let Ok(view) = parser.parse(bytes.as_bytes()) else { return };
    Engine::compile(&collection.rules, &profile).matches(&view, &mut Scratch::default(), &mut found);
    assert_eq!(!found.is_empty(), reference::matches(rule, &record, &profile), "{expression:?} in {text:?}");
});
