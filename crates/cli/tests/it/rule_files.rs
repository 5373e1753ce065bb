//! `posse rule match` and `posse rule lint` on small files.

use crate::{Line, Ran};
use cli::Exit;
use std::fmt::Write as _;

const RULE: &str = "title: Whoami\nid: 11111111-1111-4111-8111-111111111111\nstatus: test\nlevel: low\ntags: [attack.t1033]\nlogsource:\n    category: process_creation\n    product: windows\ndetection:\n    selection:\n        Image|endswith: '\\whoami.exe'\n    condition: selection\n";

fn run(files: &[(&str, &str)], words: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let words: Vec<String> = words.iter().map(|word| word.replace("DIR", folder.path().to_str().unwrap())).collect();
    Line::default().run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn records(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, at| {
        let image = if at % 3 == 0 { "whoami" } else { "other" };
        writeln!(
            text,
            r#"{{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"Image":"C:\\Windows\\System32\\{image}.exe"}}"#
        )
        .unwrap();
        text
    })
}

#[test]
fn matches_come_in_file_order_whatever_the_threads() {
    let again = RULE.replace("11111111-1", "00000000-1");
    let text = records(40_000);
    let files = [("rules/a.yml", RULE), ("rules/sub/b.yml", again.as_str()), ("in.jsonl", text.as_str())];
    let wanted: String = (0..40_000)
        .step_by(3)
        .map(|at| format!("{at}\t00000000-1111-4111-8111-111111111111\n{at}\t11111111-1111-4111-8111-111111111111\n"))
        .collect();
    for threads in ["1", "3"] {
        let ran =
            run(&files, &["rule", "match", "--rules", "DIR/rules", "--input", "DIR/in.jsonl", "--threads", threads]);
        assert_eq!((ran.exit, ran.errors.as_str()), (Exit::Done, ""));
        assert!(ran.output == wanted, "{} lines", ran.output.lines().count());
    }
}

#[test]
fn a_rule_without_an_id_is_not_loaded_and_said() {
    let without = RULE.replace("id: 11111111-1111-4111-8111-111111111111\n", "");
    let text = records(3);
    let files = [("rules/a.yml", without.as_str()), ("in.jsonl", text.as_str())];
    let ran = run(&files, &["rule", "match", "--rules", "DIR/rules", "--input", "DIR/in.jsonl"]);
    assert_eq!((ran.exit, ran.output.as_str()), (Exit::Done, ""));
    assert!(ran.errors.contains("not loaded"), "{}", ran.errors);
    let ran = run(&files, &["rule", "lint", "DIR/rules", "--output", "jsonl"]);
    assert_eq!(ran.exit, Exit::Failed);
    let first = ran.output.lines().next().unwrap();
    let finding: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!(finding["severity"], "error");
}

#[test]
fn lint_names_what_is_weak() {
    let bare = RULE.replace("tags: [attack.t1033]\n", "");
    let codes = |rule: &str| -> Vec<String> {
        let ran = run(&[("rules/a.yml", rule)], &["rule", "lint", "DIR/rules", "--output", "jsonl"]);
        assert_eq!(ran.exit, Exit::Done, "{}", ran.output);
        let finding = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        ran.output.lines().map(|line| finding(line)["code"].as_str().unwrap().to_owned()).collect()
    };
    let (with, without) = (codes(RULE), codes(&bare));
    assert!(without.len() > with.len(), "{with:?} {without:?}");
}

#[test]
fn a_correlation_is_printed_with_its_time_and_group() {
    let correlation = "title: Many\nid: 22222222-2222-4222-8222-222222222222\nstatus: test\nlevel: high\ncorrelation:\n    type: event_count\n    rules: [11111111-1111-4111-8111-111111111111]\n    group-by: [Computer]\n    timespan: 5m\n    condition:\n        gte: 3\n";
    let text: String = (0..5)
        .map(|at| format!("{{\"Channel\":\"Microsoft-Windows-Sysmon/Operational\",\"EventID\":1,\"Computer\":\"web\",\"EventTime\":\"2026-11-22T10:00:0{at}Z\",\"Image\":\"C:\\\\whoami.exe\"}}\n"))
        .collect();
    let files = [("rules/a.yml", RULE), ("rules/b.yml", correlation), ("in.jsonl", text.as_str())];
    let ran = run(&files, &["rule", "correlate", "--rules", "DIR/rules", "--input", "DIR/in.jsonl"]);
    assert_eq!((ran.exit, ran.errors.as_str()), (Exit::Done, ""));
    let first: Vec<&str> = ran.output.lines().next().unwrap().split('\t').collect();
    assert_eq!(first[1..3], ["22222222-2222-4222-8222-222222222222", "Computer=web"], "{}", ran.output);
    assert!(first[0].starts_with("2026-11-22T10:00:02"), "{}", ran.output);
}

#[test]
fn what_cannot_be_read_is_said() {
    let files = [("rules/a.yml", RULE), ("in.jsonl", "{}\n")];
    for (words, exit) in [
        (&["rule", "match", "--rules", "DIR/none", "--input", "DIR/in.jsonl"][..], Exit::Failed),
        (&["rule", "match", "--rules", "DIR/rules", "--input", "DIR/none"], Exit::Failed),
        (&["rule", "match", "--rules", "DIR/rules", "--input", "DIR/in.jsonl", "--format", "nonsense"], Exit::Usage),
        (&["rule", "match", "--rules", "DIR/rules"], Exit::Usage),
    ] {
        assert_eq!(run(&files, words).exit, exit, "{words:?}");
    }
}
