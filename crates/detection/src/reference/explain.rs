//! Why a rule holds of a record, or by how little it does not: every test with its outcome and the values it saw.

use super::{find, holds, test_holds};
use crate::profile::{Gate, Profile};
use crate::sigma::{Expr, Matcher, Rule, Test};
use serde_json::Value;

/// At most this many values are shown for a test, each cut to as many characters as [`SHOWN_CHARS_MAX`].
const SHOWN_VALUES_MAX: usize = 8;
/// See [`SHOWN_VALUES_MAX`].
const SHOWN_CHARS_MAX: usize = 256;

/// What happened when one rule was asked about one record.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Explanation {
    /// The rule holds.
    pub matched: bool,
    /// The record is of the rule's log source; where not, why.
    pub logsource: Result<(), String>,
    /// Each named detection and whether it holds.
    pub detections: Vec<(String, bool)>,
    /// The tests that decided: for a match those that hold, else the fewest that would have had to differ.
    pub decided_by: Vec<Step>,
}

/// One test with its outcome.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Step {
    /// The field, or `any value`.
    pub field: String,
    /// What it should be, in words of the rule.
    pub wanted: String,
    /// It holds.
    pub held: bool,
    /// What the record holds there, shortened.
    pub values: Vec<String>,
}

/// Explain one rule on one record.
#[must_use]
pub fn explain(rule: &Rule, record: &Value, profile: &Profile) -> Explanation {
    let logsource = match profile.gate(&rule.logsource) {
        Gate::Closed(reason) => Err(reason.to_owned()),
        Gate::Open(gate) if !holds(&gate, record, profile) => Err("the record is of another log source".to_owned()),
        Gate::Open(_) => Ok(()),
    };
    let (held, decided) = decide(&rule.expr, record, profile);
    Explanation {
        matched: held && logsource.is_ok(),
        logsource,
        detections: rule.detections.iter().map(|(name, expr)| (name.clone(), holds(expr, record, profile))).collect(),
        decided_by: decided.into_iter().map(|test| step(test, record, profile)).collect(),
    }
}

/// The outcome and the tests that make it: all that hold under `and`, the smallest set that would turn an `or`.
fn decide<'a>(expr: &'a Expr, record: &Value, profile: &Profile) -> (bool, Vec<&'a Test>) {
    let (all, items) = match expr {
        Expr::Test(test) => return (test_holds(test, record, profile), vec![test]),
        Expr::Not(inner) => {
            let (held, tests) = decide(inner, record, profile);
            return (!held, tests);
        }
        Expr::And(items) => (true, items),
        Expr::Or(items) => (false, items),
    };
    let outcomes: Vec<_> = items.iter().map(|item| decide(item, record, profile)).collect();
    let held = if all { outcomes.iter().all(|(h, _)| *h) } else { outcomes.iter().any(|(h, _)| *h) };
    // `and` is decided by every item of its outcome; `or` by the one that needs the fewest tests: where it holds the
    // simplest reason, where it does not the nearest miss.
    let relevant = outcomes.into_iter().filter(|(h, _)| *h == held).map(|(_, tests)| tests);
    let tests = if all { relevant.flatten().collect() } else { relevant.min_by_key(Vec::len).unwrap_or_default() };
    (held, tests)
}

fn step(test: &Test, record: &Value, profile: &Profile) -> Step {
    let values = test.field.as_deref().map(|field| find(record, field, profile)).map_or_else(Vec::new, |found| {
        found
            .leaves
            .iter()
            .take(SHOWN_VALUES_MAX)
            .map(|leaf| {
                let mut text = String::new();
                if leaf.write_text(&mut text) {
                    text.chars().take(SHOWN_CHARS_MAX).collect()
                } else {
                    "null".to_owned()
                }
            })
            .collect()
    });
    Step {
        field: test.field.as_deref().unwrap_or("any value").to_owned(),
        wanted: wanted(&test.matcher),
        held: test_holds(test, record, profile),
        values,
    }
}

/// The matcher in words.
pub(crate) fn wanted(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exists => "is present".to_owned(),
        Matcher::Null => "is null or absent".to_owned(),
        Matcher::Text(pattern) => format!("fits `{pattern}`"),
        Matcher::Number(number) => format!("equals {number}"),
        Matcher::Compare(comparison, number) => format!("compares as {comparison:?} to {number}"),
        Matcher::Cidr(cidr) => format!("lies in {}/{}", cidr.network, cidr.bits),
        Matcher::Regexp(regexp) => format!("matches {regexp:?}"),
        Matcher::FieldRef { other, .. } => format!("compares with field `{other}`"),
        Matcher::Time(part, value) => format!("has {part:?} {value}"),
        Matcher::Unresolved(name) => format!("never: `%{name}%` has no values"),
    }
}
