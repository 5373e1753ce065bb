//! What each file must open with, how long it may be, what it may be called, and words that must not stay.

use super::Finding;
use std::path::Path;

/// Past this a file is looked at in review.
const LINES_WARN: usize = 600;
/// Past this it fails, unless it says that it was generated.
const LINES_MAX: usize = 1000;
/// A generated file says so in one of its first lines.
const GENERATED: &str = "@generated";

/// Names that say nothing about what a file holds.
const BANNED_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc", "base", "core"];

/// Who may call the system's sync: all durable bytes but the database's go through the journal, and the few small files
/// of a data folder are made before there is one.
const SYNC_OWNERS: &[&str] = &["crates/journal/", "crates/posse/src/data_dir.rs"];

/// Every finding about one file; `name` is its path from the root.
pub(crate) fn check(name: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(trailing_space(name, text));
    if name.ends_with(".rs") {
        found.extend(length(name, text));
        found.extend(banned_name(name));
        found.extend(module_doc(name, text));
        found.extend(words(name, text));
    }
    found
}

fn trailing_space(name: &str, text: &str) -> Vec<Finding> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.ends_with([' ', '\t']));
    let mut found: Vec<Finding> =
        lines.map(|(at, _)| Finding::fault(format!("{name}:{}", at + 1), "space at the end of the line")).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        found.push(Finding::fault(name, "the last line has no line end"));
    }
    found
}

fn length(name: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let generated = text.lines().take(5).any(|line| line.contains(GENERATED));
    if generated || lines <= LINES_WARN {
        None
    } else if lines <= LINES_MAX {
        Some(Finding::warning(name, format!("{lines} lines; past {LINES_WARN} think of splitting by what it holds")))
    } else {
        Some(Finding::fault(name, format!("{lines} lines; at most {LINES_MAX}: split it by what it holds")))
    }
}

fn banned_name(name: &str) -> Option<Finding> {
    let path = Path::new(name).with_extension("");
    let banned = path.iter().filter_map(|part| part.to_str()).find(|part| BANNED_NAMES.contains(part))?;
    Some(Finding::fault(name, format!("`{banned}` says nothing; name it for what it holds")))
}

fn module_doc(name: &str, text: &str) -> Option<Finding> {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"))?;
    (!first.starts_with("//!"))
        .then(|| Finding::fault(format!("{name}:1"), "open with `//!`: the job, and what it must never do"))
}

/// Words and calls that must not stand in a file. The needles are written in two parts, so that this file does not
/// find itself.
fn words(name: &str, text: &str) -> Vec<Finding> {
    let unfinished = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("todo", "!(")];
    let sleeps = [concat!("thread::", "sleep"), concat!("time::", "sleep")];
    let syncs = [concat!(".sync_", "all("), concat!(".sync_", "data("), concat!("fsync", "(")];
    let ignored = concat!("#[", "ignore");
    let mut in_tests = name.contains("/tests/");
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        in_tests |= line.trim_start().starts_with("#[cfg(test)]");
        let mut fault = |text: String| found.push(Finding::fault(format!("{name}:{}", at + 1), text));
        if let Some(word) = unfinished.iter().find(|word| line.contains(**word)) {
            fault(format!("`{word}` must not stay; finish it or open an issue"));
        }
        if line.contains(ignored) {
            fault("an ignored test tests nothing; make it run or delete it".to_owned());
        }
        if in_tests && sleeps.iter().any(|call| line.contains(call)) {
            fault("a test must not sleep; wait for the thing itself, or pass a clock in".to_owned());
        }
        if !in_tests
            && !SYNC_OWNERS.iter().any(|owner| name.starts_with(owner))
            && syncs.iter().any(|call| line.contains(call))
        {
            fault("only `journal` syncs files; ask it to".to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_can_fail() {
        let good = "//! What it holds.\n\nfn f() {}\n";
        assert_eq!(check("crates/x/src/a.rs", good), []);
        let long = format!("//! x\n{}", "fn f() {}\n".repeat(LINES_MAX));
        for (name, text) in [
            ("crates/x/src/a.rs", "fn f() {}\n".to_owned()),
            ("crates/x/src/a.rs", "//! x\nfn f() {} \n".to_owned()),
            ("crates/x/src/a.rs", "//! x\nfn f() {}".to_owned()),
            ("crates/x/src/utils.rs", good.to_owned()),
            ("crates/common/src/a.rs", good.to_owned()),
            ("crates/x/src/a.rs", long),
            ("crates/x/src/a.rs", format!("//! x\n// {}: later\n", concat!("TO", "DO"))),
            ("crates/x/src/a.rs", format!("//! x\n{}]\n", concat!("#[", "ignore"))),
            ("crates/x/tests/it/a.rs", format!("//! x\nstd::{}(d);\n", concat!("thread::", "sleep"))),
            ("crates/x/src/a.rs", format!("//! x\n#[cfg(test)]\nmod tests {{ {}(d) }}\n", concat!("time::", "sleep"))),
            ("crates/x/src/a.rs", format!("//! x\nfile{})?;\n", concat!(".sync_", "all("))),
        ] {
            let faults = check(name, &text).iter().filter(|finding| finding.fails).count();
            assert_eq!(faults, 1, "{name}: {}", text.chars().take(60).collect::<String>());
        }
    }

    #[test]
    fn what_is_generated_may_be_long() {
        let text = format!("//! @generated from a table\n{}", "fn f() {}\n".repeat(2 * LINES_MAX));
        assert_eq!(check("crates/x/src/table.rs", &text), []);
        let longish = format!("//! x\n{}", "fn f() {}\n".repeat(LINES_WARN));
        assert_eq!(
            check("crates/x/src/a.rs", &longish).iter().map(|finding| finding.fails).collect::<Vec<_>>(),
            [false]
        );
    }
}
