//! The literate corpus in `spec/detection`: each `##` section holds rules, events and what must come out.
//!
//! Fences: `yaml` rules (before the first section: rules of every section); `jsonl` events, with an optional format name;
//! `match` record index and rule id; `correlate` lines of time, correlation, group, value, with an optional
//! `lateness=SECS`; `reject` and `lint` code and path of findings. Both evaluators must give the `match` lines.

use detection::correlate::Limits;
use detection::engine::Engine;
use detection::lint;
use detection::offline;
use detection::profile::{Format, Profile};
use detection::reference;
use detection::sigma::Collection;
use std::path::Path;
use std::time::Duration;

#[derive(Default, Debug)]
struct Case {
    name: String,
    rules: String,
    events: Vec<String>,
    format: Option<String>,
    expected: Vec<(String, String, String)>,
}

fn cases(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).unwrap();
    let (mut prelude, mut cases) = (String::new(), Vec::<Case>::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("## ") {
            cases.push(Case { name: name.to_owned(), rules: prelude.clone(), ..Case::default() });
        } else if let Some(info) = line.strip_prefix("```") {
            let body: String = lines.by_ref().take_while(|l| *l != "```").map(|l| format!("{l}\n")).collect();
            let (kind, option) = info.split_once(' ').unwrap_or((info, ""));
            match (kind, cases.last_mut()) {
                ("yaml", None) => prelude.push_str(&format!("{body}---\n")),
                ("yaml", Some(case)) => case.rules.push_str(&format!("{body}---\n")),
                ("jsonl", Some(case)) => {
                    case.events = body.lines().map(str::to_owned).collect();
                    case.format = (!option.is_empty()).then(|| option.to_owned());
                }
                ("match" | "correlate" | "reject" | "lint", Some(case)) => {
                    case.expected.push((kind.to_owned(), option.to_owned(), body));
                }
                (other, _) => panic!("{}: unknown fence `{other}`", file.display()),
            }
        }
    }
    cases
}

fn words(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

fn run(case: &Case) -> Vec<String> {
    let placeholders = |name: &str| (name == "known_admins").then(|| vec!["ann".to_owned(), "b*b".to_owned()]);
    let collection = Collection::load([(case.name.as_str(), case.rules.as_str())], &placeholders);
    let format: Format = case.format.as_deref().unwrap_or("json").parse().unwrap();
    let profile = Profile::new(format);
    let records = || case.events.iter().map(String::as_bytes);
    let mut wrong = Vec::new();
    let rejects = case.expected.iter().any(|(kind, ..)| kind == "reject" || kind == "lint");
    if !rejects && !collection.rejections.is_empty() {
        wrong.push(format!("rejected: {:?}", collection.rejections));
    }
    for (kind, option, expected) in &case.expected {
        let given = match kind.as_str() {
            "match" => {
                let engine = Engine::compile(&collection.rules, &profile);
                let fast = offline::match_lines(&offline::match_records(&engine, 0, records()), &collection.rules);
                let mut slow = Vec::new();
                for (index, event) in case.events.iter().enumerate() {
                    let value = serde_json::from_str(event).unwrap();
                    for rule in &collection.rules {
                        if reference::matches(rule, &value, &profile) {
                            slow.push((index, rule.id.clone()));
                        }
                    }
                }
                slow.sort();
                let slow: String = slow.iter().map(|(index, id)| format!("{index}\t{id}\n")).collect();
                if slow != fast {
                    wrong.push(format!("plain evaluator:\n{slow}engine:\n{fast}"));
                }
                fast
            }
            "correlate" => {
                let lateness = option.strip_prefix("lateness=").map_or(60, |secs| secs.parse().unwrap());
                let limits = Limits { lateness: Duration::from_secs(lateness), ..Limits::default() };
                offline::correlate_lines(&offline::correlate(&collection, &profile, limits, records()))
            }
            "reject" => collection.rejections.iter().map(|r| format!("{:?} {}\n", r.code, r.path)).collect(),
            _ => {
                let fields = |_: &_| Some(vec!["Image".to_owned(), "CommandLine".to_owned()]);
                lint::lint(&collection, &fields).iter().map(|f| format!("{} {}\n", f.code, f.path)).collect()
            }
        };
        if words(&given) != words(expected) {
            wrong.push(format!("{kind}: expected\n{expected}given\n{given}"));
        }
    }
    if case.expected.is_empty() {
        wrong.push("nothing is expected".to_owned());
    }
    wrong
}

#[test]
fn literate_corpus() {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../spec/detection");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "md") && !path.ends_with("README.md"));
    files.sort();
    let (mut wrong, mut correlations, mut filters, mut all) = (Vec::new(), 0, 0, 0);
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for case in cases(file) {
            all += 1;
            correlations += usize::from(case.expected.iter().any(|(kind, ..)| kind == "correlate"));
            filters += usize::from(name.starts_with("filter"));
            wrong.extend(run(&case).into_iter().map(|w| format!("{name}, {}: {w}", case.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{all} cases, {correlations} with correlations, {filters} with filters");
    assert!(correlations >= 30 && filters >= 12, "{correlations} correlations, {filters} filters");
}
