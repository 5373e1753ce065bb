//! The one-rule, one-event cases of the public test data: both evaluators must agree with every expectation.

use detection::engine::{Engine, Scratch};
use detection::profile::{Format, Profile};
use detection::reference;
use detection::sigma::Collection;

#[test]
fn micro_cases_agree() {
    let Some(data) = crate::test_data() else {
        eprintln!("skipped: POSSE_TEST_DATA is not set or absent");
        return;
    };
    let text = std::fs::read_to_string(data.join("sigma/micro-cases.jsonl")).unwrap();
    let profile = Profile::new(Format::Generic);
    let mut wrong = Vec::new();
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let collection = Collection::load([(name, case["rule"].as_str().unwrap())], &|_| None);
        let expected = case["expected"].as_bool().unwrap();
        match collection.rules.as_slice() {
            [rule] => {
                if reference::matches(rule, &case["event"], &profile) != expected {
                    wrong.push(format!("{name}: expected {expected}"));
                }
                let bytes = serde_json::to_vec(&case["event"]).unwrap();
                let mut found = Vec::new();
                let engine = Engine::compile(&collection.rules, &profile);
                engine.matches(&event::Parser::new().parse(&bytes).unwrap(), &mut Scratch::default(), &mut found);
                if found.is_empty() == expected {
                    wrong.push(format!("{name}: engine, expected {expected}"));
                }
            }
            _ => wrong.push(format!("{name}: {:?}", collection.rejections)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(text.lines().count() >= 72);
}
