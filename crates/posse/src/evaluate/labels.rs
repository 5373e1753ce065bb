//! What cases are by labels that were given, and how well verdicts agree with them: a confusion matrix, and beside it three
//! dummies that look at next to nothing. A verdict that leaves it open counts as wrong for either label.

use super::chunk::name;
use super::outcome::{CaseOutcome, RecordingOutcome};
use anyhow::Context as _;
use ids::{Severity, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// What a window of a recording is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Label {
    Attack,
    Benign,
}

impl Label {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Benign => "benign",
        }
    }
}

/// A line of a labels file: what a window of a recording is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// The file's name, without folders.
    file: String,
    /// From when; from the beginning where nothing is said.
    from: Option<Timestamp>,
    /// To when, included; to the end where nothing is said.
    to: Option<Timestamp>,
    /// On which hosts; on all where nothing is said.
    #[serde(default)]
    hosts: Vec<String>,
    label: Label,
    /// By which rule of labelling; for people.
    #[serde(default, rename = "why")]
    _why: String,
}

/// Labels of recordings.
pub(super) struct Labels(Vec<Line>);

impl Labels {
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let read = |(number, line): (usize, &str)| {
            serde_json::from_str(line).with_context(|| format!("`{}`, line {}", file.display(), number + 1))
        };
        lines.map(read).collect::<anyhow::Result<_>>().map(Self)
    }

    /// Say what each case of a recording is. An attack where one of its findings lies in an attack's window; benign where
    /// none does, one lies in a window that is, and a rule of at least medium level found something.
    pub(super) fn label(&self, outcome: &mut RecordingOutcome) {
        let file = name(Path::new(&outcome.file));
        let lines: Vec<&Line> = self.0.iter().filter(|line| line.file == file).collect();
        for case in &mut outcome.cases {
            let within = |label: Label| lines.iter().any(|line| line.label == label && line.covers(case));
            let grave = case.rules.iter().any(|rule| rule.severity >= Severity::Medium);
            let found = if within(Label::Attack) {
                Some(Label::Attack)
            } else {
                (grave && within(Label::Benign)).then_some(Label::Benign)
            };
            case.label = found.map(|label| label.as_str().to_owned());
        }
    }
}

impl Line {
    fn covers(&self, case: &CaseOutcome) -> bool {
        let same = |host: &String| {
            let short = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
            case.hosts.iter().any(|own| short(own) == short(host))
        };
        let here = self.hosts.is_empty() || case.hosts.is_empty() || self.hosts.iter().any(same);
        let in_time =
            |time: &Timestamp| self.from.is_none_or(|from| from <= *time) && self.to.is_none_or(|to| *time <= to);
        here && case.rules.iter().flat_map(|rule| &rule.times).any(in_time)
    }
}

/// Cases of one label, by what became of them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Row {
    true_positive: u32,
    suspicious: u32,
    cleared: u32,
    undecided: u32,
}

impl Row {
    fn count(&mut self, verdict: Option<&str>) {
        let cell = match verdict {
            Some("true_positive") => &mut self.true_positive,
            Some("suspicious" | "security_risk") => &mut self.suspicious,
            Some("benign" | "false_positive" | "disregard" | "test") => &mut self.cleared,
            _ => &mut self.undecided,
        };
        *cell = cell.saturating_add(1);
    }

    fn all(self) -> u32 {
        self.true_positive.saturating_add(self.suspicious).saturating_add(self.cleared).saturating_add(self.undecided)
    }
}

/// What became of all labelled cases.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    recordings: u32,
    failed: u32,
    cases: u32,
    failed_cases: u32,
    citations: u32,
    unborne: u32,
    attack: Row,
    benign: Row,
    /// Level and number of findings of each labelled case, and whether it is an attack.
    seen: Vec<(Severity, u64, bool)>,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: &RecordingOutcome) {
        let one =
            |number: &mut u32, more: usize| *number = number.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        one(&mut self.recordings, 1);
        one(&mut self.failed, usize::from(outcome.error.is_some()));
        one(&mut self.cases, outcome.cases.len());
        for case in &outcome.cases {
            one(&mut self.failed_cases, usize::from(case.error.is_some()));
            one(&mut self.citations, case.evidence.len());
            one(&mut self.unborne, case.evidence.iter().filter(|evidence| !evidence.holds).count());
            let Some(label) = &case.label else { continue };
            let attack = label == Label::Attack.as_str();
            let row = if attack { &mut self.attack } else { &mut self.benign };
            row.count(case.verdict.as_deref());
            self.seen.push((case.severity, case.detections, attack));
        }
    }

    /// Whether everything was judged.
    pub(super) fn whole(&self) -> bool {
        self.failed == 0 && self.failed_cases == 0
    }

    /// All figures.
    pub(super) fn summary(&self) -> Value {
        let mut told = json!({
            "recordings": self.recordings, "failed": self.failed, "cases": self.cases, "failed_cases": self.failed_cases,
            "citations": self.citations, "citations_that_do_not_hold": self.unborne,
        });
        let (attack, benign) = (self.attack.all(), self.benign.all());
        if attack == 0 && benign == 0 {
            return told;
        }
        let found = share(self.attack.true_positive, attack);
        let cleared = share(self.benign.cleared, benign);
        let levels = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        let level = levels.iter().map(|from| (json!(from), self.dummy(|(level, ..)| level >= from)));
        let mut counts: Vec<u64> = self.seen.iter().map(|(_, count, _)| *count).collect();
        counts.sort_unstable();
        counts.dedup();
        let count = counts.iter().map(|from| (json!(from), self.dummy(|(_, count, _)| count >= from)));
        let more = json!({
            "matrix": { "attack": self.attack, "benign": self.benign },
            "true_positive_share": found, "cleared_share": cleared, "balanced_accuracy": mean(found, cleared),
            "dummies": {
                "always_malicious": if benign == 0 || attack == 0 { Value::Null } else { json!(0.5) },
                "rule_level": best(level), "hit_count": best(count),
            },
        });
        if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
            told.extend(more);
        }
        told
    }

    /// The balanced accuracy of calling an attack what fits.
    fn dummy(&self, calls: impl Fn(&(Severity, u64, bool)) -> bool) -> Option<f64> {
        let of = |attack: bool| {
            let own = || self.seen.iter().filter(move |seen| seen.2 == attack);
            share(own().filter(|seen| calls(seen) == attack).count(), own().count())
        };
        mean(of(true), of(false))
    }
}

fn share<N: TryInto<u32>>(part: N, whole: N) -> Option<f64> {
    let (part, whole) = (part.try_into().ok()?, whole.try_into().ok()?);
    (whole > 0).then(|| (f64::from(part) / f64::from(whole) * 1e4).round() / 1e4)
}

fn mean(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    Some((f64::midpoint(one?, other?) * 1e4).round() / 1e4)
}

/// The best of a dummy's thresholds, chosen in hindsight: the strictest comparison.
fn best(all: impl Iterator<Item = (Value, Option<f64>)>) -> Value {
    let scored = all.filter_map(|(from, accuracy)| Some((from, accuracy?)));
    let best = scored.max_by(|one, other| one.1.total_cmp(&other.1));
    best.map_or(Value::Null, |(from, accuracy)| json!({ "from": from, "balanced_accuracy": accuracy }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::outcome::RuleCount;

    fn case(verdict: &str, severity: Severity, count: u64, secs: i64) -> CaseOutcome {
        let time = Timestamp::from_micros(secs * 1_000_000);
        let rule = RuleCount { rule: "r".into(), title: "R".into(), severity, count, times: vec![time] };
        CaseOutcome {
            verdict: Some(verdict.to_owned()),
            severity,
            score: None,
            evidence: Vec::new(),
            techniques: Vec::new(),
            seconds: 0.0,
            hosts: vec!["WS01.corp.example".to_owned()],
            first: Some(time),
            last: Some(time),
            detections: count,
            rules: vec![rule],
            reasons: Value::Null,
            label: None,
            error: None,
        }
    }

    #[test]
    fn cases_are_labelled_by_window_host_and_level_and_counted() {
        let line = |from: i64, to: i64, hosts: &[&str], label: Label| Line {
            file: "a.zip".to_owned(),
            from: Some(Timestamp::from_micros(from * 1_000_000)),
            to: Some(Timestamp::from_micros(to * 1_000_000)),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            label,
            _why: String::new(),
        };
        let labels = Labels(vec![line(100, 200, &["ws01"], Label::Attack), line(0, 999, &[], Label::Benign)]);
        let mut outcome = RecordingOutcome { file: "x/a.zip".to_owned(), ..RecordingOutcome::default() };
        outcome.cases = vec![
            case("true_positive", Severity::Low, 1, 150),
            case("benign", Severity::High, 9, 50),
            case("benign", Severity::Low, 9, 50),
            case("suspicious", Severity::Medium, 1, 250),
        ];
        labels.label(&mut outcome);
        let found: Vec<Option<&str>> = outcome.cases.iter().map(|case| case.label.as_deref()).collect();
        assert_eq!(found, [Some("attack"), Some("benign"), None, Some("benign")]);
        let mut tally = Tally::default();
        tally.add(&outcome);
        let told = tally.summary();
        assert_eq!(told["true_positive_share"], json!(1.0));
        assert_eq!(told["cleared_share"], json!(0.5));
        assert_eq!(told["balanced_accuracy"], json!(0.75));
        assert_eq!(told["matrix"]["benign"]["suspicious"], json!(1));
        assert_eq!(told["dummies"]["hit_count"]["balanced_accuracy"], json!(0.5), "{told}");
        assert_eq!(told["dummies"]["rule_level"]["balanced_accuracy"], json!(0.5));
    }
}
