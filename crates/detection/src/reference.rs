//! The plain evaluator: slow, short, obviously right. Oracle of the engine's tests, and behind `explain`.
//!
//! Works on a parsed JSON value, looks every field up anew, and matches patterns by definition.

mod explain;
mod glob;

pub use explain::{Explanation, Step as ExplainStep, explain};

use crate::fold::fold;
use crate::profile::{Gate, Profile, Step};
use crate::sigma::{Expr, Matcher, Rule, Test};
use crate::value::{Leaf, order};
use serde_json::Value;

/// What a field of a record holds.
#[derive(Debug, Default)]
pub struct Found<'a> {
    /// The key is there, whatever its value.
    pub present: bool,
    /// Its leaf values; lists are looked into, maps are not.
    pub leaves: Vec<Leaf<'a>>,
}

/// The rule holds of the record, and its log source is the record's.
#[must_use]
pub fn matches(rule: &Rule, record: &Value, profile: &Profile) -> bool {
    match profile.gate(&rule.logsource) {
        Gate::Closed(_) => false,
        Gate::Open(gate) => holds(&gate, record, profile) && holds(&rule.expr, record, profile),
    }
}

/// The expression holds of the record.
#[must_use]
pub fn holds(expr: &Expr, record: &Value, profile: &Profile) -> bool {
    match expr {
        Expr::And(items) => items.iter().all(|item| holds(item, record, profile)),
        Expr::Or(items) => items.iter().any(|item| holds(item, record, profile)),
        Expr::Not(inner) => !holds(inner, record, profile),
        Expr::Test(test) => test_holds(test, record, profile),
    }
}

/// One test holds of the record.
#[must_use]
pub fn test_holds(test: &Test, record: &Value, profile: &Profile) -> bool {
    let found = match &test.field {
        Some(field) => find(record, field, profile),
        None => {
            let mut found = Found { present: true, leaves: Vec::new() };
            every_leaf(record, &mut found.leaves);
            found
        }
    };
    match &test.matcher {
        Matcher::Exists => found.present,
        Matcher::Null => !found.present || found.leaves.contains(&Leaf::Null),
        Matcher::FieldRef { other, open_start, open_end, cased } => {
            let others = find(record, other, profile);
            let texts =
                |found: &Found<'_>| -> Vec<String> { found.leaves.iter().filter_map(|l| view(*l, *cased)).collect() };
            let theirs = texts(&others);
            texts(&found).iter().any(|mine| {
                theirs.iter().any(|their| match (open_start, open_end) {
                    (false, false) => mine == their,
                    (false, true) => mine.starts_with(their.as_str()),
                    (true, false) => mine.ends_with(their.as_str()),
                    (true, true) => mine.contains(their.as_str()),
                })
            })
        }
        matcher => found.leaves.iter().any(|leaf| leaf_holds(matcher, *leaf)),
    }
}

fn view(leaf: Leaf<'_>, cased: bool) -> Option<String> {
    let mut text = String::new();
    leaf.write_text(&mut text).then(|| if cased { text } else { fold(&text) })
}

fn leaf_holds(matcher: &Matcher, leaf: Leaf<'_>) -> bool {
    match matcher {
        Matcher::Text(pattern) => view(leaf, true).is_some_and(|text| glob::matches(pattern, &text)),
        Matcher::Number(number) => leaf.equals(*number),
        Matcher::Compare(comparison, number) => {
            leaf.number().and_then(|mine| order(mine, *number)).is_some_and(|order| comparison.admits(order))
        }
        Matcher::Cidr(cidr) => match leaf {
            Leaf::Text(text) => text.parse().is_ok_and(|address| cidr.contains(address)),
            _ => false,
        },
        Matcher::Regexp(regexp) => view(leaf, true).is_some_and(|text| regexp.found_in(&text)),
        Matcher::Time(part, value) => leaf.time_part(*part) == Some(*value),
        Matcher::Unresolved(_) | Matcher::Exists | Matcher::Null | Matcher::FieldRef { .. } => false,
    }
}

/// Look a field up under all its paths.
#[must_use]
pub fn find<'a>(record: &'a Value, field: &str, profile: &Profile) -> Found<'a> {
    let mut found = Found::default();
    for path in profile.paths(field) {
        walk(record, &path, &mut found);
    }
    found
}

fn walk<'a>(value: &'a Value, path: &[Step], found: &mut Found<'a>) {
    let Some((step, rest)) = path.split_first() else {
        found.present = true;
        leaves(value, &mut found.leaves);
        return;
    };
    match value {
        Value::Object(map) => match step {
            Step::Key(key) => {
                if let Some(inner) = map.get(&**key) {
                    walk(inner, rest, found);
                }
            }
            Step::Blank(key) => {
                let fitting = map.iter().filter(|(other, _)| other.replace(' ', "") == **key);
                fitting.for_each(|(_, inner)| walk(inner, rest, found));
            }
            Step::AnyKey => map.values().for_each(|inner| walk(inner, rest, found)),
        },
        Value::Array(items) => items.iter().for_each(|item| walk(item, path, found)),
        _ => {}
    }
}

/// A leaf itself, and the leaves of a list however nested.
fn leaves<'a>(value: &'a Value, out: &mut Vec<Leaf<'a>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
        other => out.extend(Leaf::of(other)),
    }
}

fn every_leaf<'a>(value: &'a Value, out: &mut Vec<Leaf<'a>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| every_leaf(item, out)),
        Value::Object(map) => map.values().for_each(|item| every_leaf(item, out)),
        other => out.extend(Leaf::of(other)),
    }
}
