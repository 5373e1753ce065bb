//! `posse policy check`: good files, faults with their places, tests that fail.

use crate::{Line, Ran};
use cli::Exit;
use serde_json::{Value, json};

fn check(files: &[(&str, &str)], more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let mut words = vec!["policy".to_owned(), "check".to_owned()];
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        if name.ends_with(".json") {
            words.push("--tests".to_owned());
        }
        words.push(path.to_str().unwrap().to_owned());
    }
    words.extend(more.iter().map(|word| (*word).to_owned()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    Line::default().terminal().run(&words)
}

const GOOD: &str = "@id(\"no-delete\")\nforbid (principal, action == Posse::Action::\"tenant.delete\", resource);\n";

#[test]
fn a_good_file_passes() {
    let ran = check(&[("night.cedar", GOOD)], &[]);
    assert_eq!(ran.exit, Exit::Done, "{}{}", ran.output, ran.errors);
    assert!(ran.output.contains("0 faults"), "{}", ran.output);
}

#[test]
fn a_fault_has_its_place() {
    for (text, line) in [("@id(\"a\")\npermit (principal, action, resource) when { 1 };\n", 2), ("permit(", 1)] {
        let ran = check(&[("bad.cedar", text)], &["--output", "json"]);
        assert_eq!(ran.exit, Exit::Failed, "{}{}", ran.output, ran.errors);
        let found: Value = serde_json::from_str(&ran.output).unwrap();
        let fault = &found["faults"][0];
        assert!(fault["file"].as_str().unwrap().ends_with("bad.cedar"), "{found}");
        assert_eq!(fault["line"], line, "{found}");
    }
}

#[test]
fn a_test_that_fails_fails_the_check() {
    let test = |outcome: &str| {
        json!([{ "name": "nobody deletes", "expect": { "outcome": outcome }, "request": {
            "principal": { "kind": "user", "id": "user_x", "roles": ["provider_admin"] }, "action": "tenant.delete",
            "resource": { "type": "Tenant", "id": "tenant_x", "tenant": "tenant_x" }, "context": { "tenant": "tenant_x" } } }])
        .to_string()
    };
    let ran = check(&[("night.cedar", GOOD), ("t.json", &test("deny"))], &[]);
    assert_eq!(ran.exit, Exit::Done, "{}{}", ran.output, ran.errors);
    let ran = check(&[("night.cedar", GOOD), ("t.json", &test("allow"))], &[]);
    assert_eq!(ran.exit, Exit::Failed, "{}{}", ran.output, ran.errors);
    assert!(ran.output.contains("test `nobody deletes` failed"), "{}", ran.output);
    assert_eq!(check(&[("night.cedar", GOOD), ("t.json", "{}")], &[]).exit, Exit::Usage);
}
