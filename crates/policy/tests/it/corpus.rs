//! The cases under `spec/policy`: facts and the decision that is expected of them. A case more needs no Rust.

use crate::inputs::{document, engine_with, folder, specs};
use policy::{PolicyTest, TestResult};
use std::collections::BTreeSet;

/// One file of cases; decided by the shipped documents and those that it names or holds.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    /// Optional shipped documents to add.
    #[serde(default)]
    optional: Vec<String>,
    /// Documents of its own to add, name and text.
    #[serde(default)]
    documents: Vec<policy::Document>,
    cases: Vec<PolicyTest>,
}

#[test]
fn every_case_comes_out_as_expected() {
    let mut files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "json") && !file.ends_with("operations.json"));
    files.sort();
    let (mut count, mut failures, mut names) = (0, String::new(), BTreeSet::new());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let corpus: Corpus = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut more = policy::shipped::optional_documents();
        more.retain(|document| corpus.optional.contains(&document.name));
        assert_eq!(more.len(), corpus.optional.len(), "{}: unknown optional document", file.display());
        more.extend(corpus.documents);
        let engine = engine_with(&more);
        for case in &corpus.cases {
            let essence = engine.essence(&case.request);
            let same = essence.is_none_or(|essence| engine.decide(&essence) == engine.decide(&case.request));
            assert!(same, "`{}`: what is left out of the question changes the decision", case.name);
        }
        for TestResult { name, differences } in engine.run_tests(&corpus.cases) {
            count += 1;
            assert!(names.insert(name.clone()), "case `{name}` comes twice");
            if !differences.is_empty() {
                failures += &format!("{}: {name}\n  {}\n", file.display(), differences.join("\n  "));
            }
        }
    }
    assert!(count >= 60, "only {count} cases");
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn a_test_that_a_policy_names_must_be_there() {
    let text = "@id(\"a\") @tests(\"shown\") permit(principal, action, resource);";
    let engine = policy::Engine::compile(&specs(), &[document("d", text)], &[]).unwrap();
    let results = engine.run_tests(&[]);
    assert_eq!(results.len(), 1);
    assert!(!results[0].passed());
}
