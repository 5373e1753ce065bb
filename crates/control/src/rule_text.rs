//! What a rule's text says: read, checked, tested, explained, compared. Pure: no store, no clock.

use crate::refusal::Refusal;
use api::{
    Fault, Problem, RemarkSeverity, RuleDifference, RuleExplanation, RuleGap, RulePredicate, RuleRejection, RuleRemark,
    RuleSelection, RuleTestCase, RuleTestReport, RuleTestResult,
};
use detection::correlate::Limits;
use detection::engine::Engine;
use detection::lint::{LintFinding, LintSeverity, lint};
use detection::offline;
use detection::profile::{Format, Gate, Profile};
use detection::sigma::{Collection, Rejection, Rule};
use ids::{Severity, Text};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The longest id of a rule's text, in bytes: it is part of a stored key.
const SIGMA_ID_BYTES_MAX: usize = 128;
/// Most cells of a comparison's table; longer texts are told apart as a whole.
const DIFF_CELLS_MAX: usize = 4_000_000;

/// One rule, or one correlation with the rules that it counts.
pub(crate) struct RuleText {
    pub(crate) sigma_id: String,
    pub(crate) title: String,
    pub(crate) level: Severity,
    pub(crate) collection: Collection,
}

impl RuleText {
    /// Read a text.
    ///
    /// # Errors
    /// Every document that does not load, with its place; also a text that is more or less than one rule.
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, Vec<Rejection>> {
        let collection = Collection::load([(file, text)], &|_| None);
        if !collection.rejections.is_empty() {
            return Err(collection.rejections);
        }
        let wrong = |message: &str, hint: &str| {
            Err(vec![Rejection {
                file: file.to_owned(),
                line: 1,
                code: detection::sigma::RejectCode::Identity,
                path: "document".to_owned(),
                message: message.to_owned(),
                hint: hint.to_owned(),
            }])
        };
        if !collection.filters.is_empty() {
            return wrong("a filter is no rule", "make it an exception with `rule_exception.create`");
        }
        let counted = |id: &str| collection.correlations.iter().any(|other| other.rules.iter().any(|rule| rule == id));
        let top = collection
            .correlations
            .iter()
            .find(|correlation| !counted(&correlation.id) && !correlation.name.as_deref().is_some_and(counted));
        let (sigma_id, title, level) = match (top, collection.rules.as_slice()) {
            (Some(top), _) => (top.id.clone(), top.title.clone(), top.level),
            (None, [rule]) => (rule.id.clone(), rule.title.clone(), rule.level),
            (None, []) => return wrong("the text holds no rule", "write title, id, logsource, detection and level"),
            (None, _) => return wrong("the text holds several rules", "give each its own, or use `rule.import`"),
        };
        if sigma_id.len() > SIGMA_ID_BYTES_MAX {
            return wrong("the id is longer than 128 bytes", "use a UUID");
        }
        Ok(Self { sigma_id, title, level, collection })
    }

    /// The same, as faults of the input's field.
    pub(crate) fn of_input(text: &str, pointer: &str) -> Result<Self, Refusal> {
        Self::read("text", text).map_err(|rejections| {
            let fault = |one: Rejection| Fault {
                pointer: pointer.to_owned(),
                detail: format!("line {}: `{}`: {}; {}", one.line, one.path, one.message, one.hint),
            };
            Problem::invalid(rejections.into_iter().map(fault).collect()).into()
        })
    }

    /// A text that is stored, and so was read before.
    pub(crate) fn stored(text: &str) -> Result<Self, Refusal> {
        Self::read("text", text).map_err(|rejections| {
            let first = rejections.first().map(ToString::to_string).unwrap_or_default();
            // A later version of the language may be stricter: that is the rule's fault to mend, not a bug.
            Refusal::conflict(format!("the stored text does not load any more: {first}"))
        })
    }

    /// Run tests.
    pub(crate) fn test(&self, tests: &[RuleTestCase]) -> RuleTestReport {
        let results: Vec<RuleTestResult> = tests.iter().map(|test| self.test_one(test)).collect();
        RuleTestReport { passed: results.iter().all(|result| result.passed), results }
    }

    fn test_one(&self, test: &RuleTestCase) -> RuleTestResult {
        let expected: BTreeSet<u32> = test.matches.iter().copied().collect();
        let result = |matched: BTreeSet<u32>, fault: Option<String>| RuleTestResult {
            name: test.name.clone(),
            passed: fault.is_none() && matched == expected,
            matched: matched.into_iter().collect(),
            expected: expected.iter().copied().collect(),
            fault,
        };
        let records: Vec<Vec<u8>> = test.events.iter().filter_map(|event| serde_json::to_vec(event).ok()).collect();
        let slices = || records.iter().map(Vec::as_slice);
        let beyond =
            expected.iter().find(|index| usize::try_from(**index).map_or(true, |index| index >= records.len()));
        if let Some(index) = beyond {
            return result(BTreeSet::new(), Some(format!("there is no event {index}; the first is 0")));
        }
        match format(test.format.as_deref(), test.events.first()) {
            Ok(format) => {
                let found = self.found(&Profile::new(format), &slices);
                result(found.into_iter().filter_map(|index| u32::try_from(index).ok()).collect(), None)
            }
            Err(fault) => result(BTreeSet::new(), Some(fault)),
        }
    }

    /// The events at which the text makes a detection.
    fn found<'r, R: Iterator<Item = &'r [u8]>>(&self, profile: &Profile, records: &dyn Fn() -> R) -> BTreeSet<u64> {
        let engine = Engine::compile(&self.collection.rules, profile);
        let speaks = |rule: &str, name: Option<&str>| {
            let counts = |known: &String| known == rule || Some(known.as_str()) == name;
            self.collection.correlations.iter().all(|one| one.generate || !one.rules.iter().any(counts))
        };
        let loud: Vec<bool> = self.collection.rules.iter().map(|rule| speaks(&rule.id, rule.name.as_deref())).collect();
        let plain = offline::match_records(&engine, 0, records()).into_iter();
        let mut found: BTreeSet<u64> =
            plain.filter(|one| loud.get(one.rule as usize).copied().unwrap_or(false)).map(|one| one.index).collect();
        if !self.collection.correlations.is_empty() {
            let matches = offline::correlate(&self.collection, profile, Limits::default(), records());
            let loud = |id: &str| {
                let one = self.collection.correlations.iter().find(|one| one.id == id);
                one.is_some_and(|one| speaks(&one.id, one.name.as_deref()))
            };
            found.extend(matches.iter().filter(|one| loud(&one.correlation)).map(|one| one.event));
        }
        found
    }

    /// Why each rule of the text does or does not hold of an event.
    pub(crate) fn explain(
        &self,
        event: Map<String, Value>,
        form: Option<&str>,
    ) -> Result<Vec<RuleExplanation>, Refusal> {
        let profile = Profile::new(format(form, Some(&event)).map_err(|fault| Refusal::fault("/format", fault))?);
        let event = Value::Object(event);
        let explained = self.collection.rules.iter().map(|rule| {
            let explanation = detection::reference::explain(rule, &event, &profile);
            let selection = |(name, held): (String, bool)| RuleSelection { name, held };
            RuleExplanation {
                sigma_id: Text::truncated(&rule.id),
                matched: explanation.matched,
                other_source: explanation.logsource.err(),
                selections: explanation.detections.into_iter().map(selection).collect(),
                decided_by: explanation
                    .decided_by
                    .into_iter()
                    .map(|step| RulePredicate {
                        field: step.field,
                        wanted: step.wanted,
                        held: step.held,
                        values: step.values,
                    })
                    .collect(),
            }
        });
        Ok(explained.collect())
    }
}

fn format(named: Option<&str>, first: Option<&Map<String, Value>>) -> Result<Format, String> {
    let first = first.and_then(|event| serde_json::to_vec(event).ok()).unwrap_or_default();
    offline::format_named(named.unwrap_or("auto"), [first.as_slice()]).map_err(|error| error.to_string())
}

/// What is wrong or weak in a text, and whether it loads.
pub(crate) fn remarks(text: &str) -> (bool, Vec<RuleRemark>) {
    let collection = Collection::load([("text", text)], &|_| None);
    let remarks = lint(&collection, &|_| None).into_iter().map(remark).collect();
    (collection.rejections.is_empty(), remarks)
}

fn remark(finding: LintFinding) -> RuleRemark {
    RuleRemark {
        file: if finding.file == "text" { String::new() } else { finding.file },
        line: u32::try_from(finding.line).unwrap_or(u32::MAX),
        code: finding.code.to_owned(),
        severity: match finding.severity {
            LintSeverity::Info => RemarkSeverity::Info,
            LintSeverity::Warning => RemarkSeverity::Warning,
            LintSeverity::Error => RemarkSeverity::Error,
        },
        path: finding.path,
        message: finding.message,
        hint: finding.hint,
    }
}

/// A rejection as it is told.
pub(crate) fn rejection(one: &Rejection) -> RuleRejection {
    let code = serde_json::to_value(one.code).ok().and_then(|code| code.as_str().map(str::to_owned));
    RuleRejection {
        file: one.file.clone(),
        line: u32::try_from(one.line).unwrap_or(u32::MAX),
        code: code.unwrap_or_default(),
        reason: format!("{}: {}; {}", one.path, one.message, one.hint),
    }
}

/// Rules of a text that no record format of this platform can be of.
pub(crate) fn gaps(text: &RuleText) -> Vec<RuleGap> {
    let formats = Format::all();
    let gap = |rule: &Rule| {
        let gate = |format| Profile::new(format).gate(&rule.logsource);
        let open = formats.iter().any(|format| !matches!(gate(format.clone()), Gate::Closed(_)));
        let source = &rule.logsource;
        let named: Vec<&str> =
            [&source.product, &source.category, &source.service].into_iter().flatten().map(String::as_str).collect();
        (!open).then(|| RuleGap {
            sigma_id: Text::truncated(&rule.id),
            reason: format!("no source has events of `{}`", named.join("/")),
        })
    };
    text.collection.rules.iter().filter_map(gap).collect()
}

/// The rules of a file: one for each document, or the whole where a correlation ties them together.
pub(crate) fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in text.lines() {
        let mark = line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r']));
        if mark {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut().filter(|_| !mark) {
            part.push_str(line);
            part.push('\n');
        }
    }
    let tied = |part: &String| part.lines().any(|line| line.starts_with("correlation:"));
    if parts.iter().any(tied) {
        return vec![text.to_owned()];
    }
    let written = |part: &String| part.lines().any(|line| !line.trim().is_empty() && !line.trim().starts_with('#'));
    parts.retain(written);
    parts
}

/// What differs, line by line: the longest common part stays.
pub(crate) fn difference(from: (u32, &str), to: (u32, &str)) -> RuleDifference {
    let (old, new): (Vec<&str>, Vec<&str>) = (from.1.lines().collect(), to.1.lines().collect());
    let head = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(one, other)| one == other).count();
    let middle = |lines: &[&str]| {
        lines.iter().take(lines.len().saturating_sub(tail)).copied().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut lines: Vec<String> = old.iter().take(head).map(|line| format!(" {line}")).collect();
    lines.extend(middle_difference(&middle(old_rest), &middle(new_rest)));
    lines.extend(old_rest.iter().skip(old_rest.len().saturating_sub(tail)).map(|line| format!(" {line}")));
    RuleDifference { from: from.0, to: to.0, lines }
}

fn middle_difference(old: &[String], new: &[String]) -> Vec<String> {
    let width = new.len().saturating_add(1);
    let cells = old.len().saturating_add(1).saturating_mul(width);
    if cells > DIFF_CELLS_MAX {
        let gone = old.iter().map(|line| format!("-{line}"));
        return gone.chain(new.iter().map(|line| format!("+{line}"))).collect();
    }
    // By place in both texts, the length of the longest common rest.
    let mut common = vec![0_u32; cells];
    let at = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let longest = if one == other {
                at(&common, i + 1, j + 1).saturating_add(1)
            } else {
                at(&common, i + 1, j).max(at(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = longest;
            }
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(one), Some(other)) if one == other => {
                lines.push(format!(" {one}"));
                (i, j) = (i + 1, j + 1);
            }
            (Some(one), other) if other.is_none() || at(&common, i + 1, j) >= at(&common, i, j + 1) => {
                lines.push(format!("-{one}"));
                i += 1;
            }
            (_, Some(other)) => {
                lines.push(format!("+{other}"));
                j += 1;
            }
            (_, None) => return lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str =
        "title: A\nid: a\nlogsource: {product: windows}\ndetection: {s: {EventID: 1}, condition: s}\nlevel: low\n";
    const COUNT: &str = "title: Many\nid: many\ncorrelation: {type: event_count, rules: [a], timespan: 1m, condition: {gte: 2}}\nlevel: high\n";

    #[test]
    fn a_text_is_one_rule() {
        assert_eq!(RuleText::read("f", RULE).ok().map(|text| text.sigma_id).as_deref(), Some("a"));
        let both = format!("{RULE}---\n{COUNT}");
        assert_eq!(RuleText::read("f", &both).ok().map(|text| text.sigma_id).as_deref(), Some("many"));
        let two = format!("{RULE}---\n{}", RULE.replace("id: a", "id: b"));
        assert!(RuleText::read("f", &two).is_err());
        assert_eq!(parts(&two).len(), 2);
        assert_eq!(parts(&both).len(), 1);
        assert!(RuleText::read("f", "title: [").is_err());
    }

    #[test]
    fn tests_say_where_a_rule_matches() {
        let both = RuleText::read("f", &format!("{RULE}---\n{COUNT}")).ok();
        let case = |matches: &[u32]| -> RuleTestCase {
            serde_json::from_value(
                serde_json::json!({ "name": "n", "matches": matches, "format": "windows-flat", "events": [
                { "Channel": "x", "EventID": 1, "UtcTime": "2026-01-01 00:00:00.000" },
                { "Channel": "x", "EventID": 2, "UtcTime": "2026-01-01 00:00:01.000" },
                { "Channel": "x", "EventID": 1, "UtcTime": "2026-01-01 00:00:02.000" },
                { "Channel": "x", "EventID": 1, "UtcTime": "2026-01-01 00:05:00.000" },
            ] }),
            )
            .unwrap()
        };
        let report = both.unwrap().test(&[case(&[2]), case(&[0]), case(&[9])]);
        assert!(!report.passed);
        let passed: Vec<bool> = report.results.iter().map(|result| result.passed).collect();
        assert_eq!(passed, [true, false, false], "{report:?}");
        let alone = RuleText::read("f", RULE).ok().unwrap().test(&[case(&[0, 2, 3])]);
        assert!(alone.passed, "{alone:?}");
    }

    #[test]
    fn a_difference_gives_both_texts_back() {
        let (old, new) = ("a\nb\nc\nd\ne", "a\nx\nc\ne\nf");
        let lines = difference((1, old), (2, new)).lines;
        let side = |mark: char| -> Vec<&str> {
            lines.iter().filter(|line| line.starts_with([' ', mark])).filter_map(|line| line.get(1..)).collect()
        };
        assert_eq!(side('-').join("\n"), old);
        assert_eq!(side('+').join("\n"), new);
        assert_eq!(lines.iter().filter(|line| line.starts_with(' ')).count(), 3);
    }
}
