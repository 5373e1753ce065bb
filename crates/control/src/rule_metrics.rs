//! How rules fare: the detections in a tenant's cases by rule, with what the verdicts of those cases say of the rule. A case
//! with detections of several rules speaks of each of them; a verdict that says nothing of who was right counts for none.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::target::Target;
use api::{RuleFigures, RuleMetrics, RulesFigures};
use case::Verdict;
use ids::{CaseId, RuleId, Timestamp};
use std::collections::{BTreeSet, HashMap};
use store::{Case, CaseDetection, Snapshot, Stored};

/// Detections that are counted.
const DETECTIONS_MAX: usize = 100_000;
/// Rules that are told.
const RULES_MAX: usize = 200;
const DAY_SECS: f64 = 86_400.0;

/// What a verdict says of a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Word {
    Right,
    Harmless,
    Wrong,
}

const fn word(verdict: Verdict) -> Option<Word> {
    match verdict {
        Verdict::TruePositive | Verdict::Suspicious | Verdict::SecurityRisk => Some(Word::Right),
        Verdict::Benign | Verdict::Test => Some(Word::Harmless),
        Verdict::FalsePositive => Some(Word::Wrong),
        _ => None,
    }
}

/// What is gathered of one rule.
#[derive(Default)]
struct Gathered {
    rule: Option<RuleId>,
    title: String,
    detections: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    cases: BTreeSet<CaseId>,
}

impl Gathered {
    fn add(&mut self, found: &CaseDetection) {
        let detection = &found.detection;
        self.rule = self.rule.or(detection.rule);
        if self.last.is_none_or(|last| detection.time >= last) {
            self.title.clone_from(&detection.title);
        }
        self.detections = self.detections.saturating_add(1);
        self.first = Some(self.first.map_or(detection.time, |first| first.min(detection.time)));
        self.last = Some(self.last.map_or(detection.time, |last| last.max(detection.time)));
        self.cases.insert(found.case);
    }

    fn told(self, sigma_id: String, words: &HashMap<CaseId, (CaseId, Option<Word>)>) -> RuleFigures {
        // Cases that became one count once.
        let cases: HashMap<CaseId, Option<Word>> =
            self.cases.iter().filter_map(|case| words.get(case)).copied().collect();
        let count = |wanted: Word| cases.values().filter(|word| **word == Some(wanted)).count();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let (right, harmless, wrong) = (count(Word::Right), count(Word::Harmless), count(Word::Wrong));
        let judged = right.saturating_add(harmless).saturating_add(wrong);
        let share = |part: usize| (judged > 0).then(|| ratio(part, judged));
        let days = match (self.first, self.last) {
            (Some(first), Some(last)) => (last.since(first).as_secs_f64() / DAY_SECS).max(1.0),
            _ => 1.0,
        };
        RuleFigures {
            sigma_id,
            rule: self.rule,
            title: self.title,
            detections: self.detections,
            detections_per_day: f64::from(u32::try_from(self.detections).unwrap_or(u32::MAX)) / days,
            cases: number(cases.len()),
            judged: number(judged),
            right: number(right.saturating_add(harmless)),
            harmless: number(harmless),
            wrong: number(wrong),
            precision: share(right.saturating_add(harmless)),
            noise: share(harmless.saturating_add(wrong)),
        }
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    number(part) / number(whole)
}

/// How the rules of one tenant fare; the snapshot is the tenant's.
pub(crate) async fn figures_of(
    snapshot: &Snapshot,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    sigma_id: Option<&str>,
) -> Result<RulesFigures, Refusal> {
    let mut rules: HashMap<String, Gathered> = HashMap::new();
    let (mut after, mut seen, mut complete) = (None, 0_usize, true);
    loop {
        let page = store::Page { after, limit: 1000, ..store::Page::default() };
        let found: Vec<Stored<CaseDetection>> = snapshot.list(&page).await?;
        let whole = found.len() >= 1000;
        after = found.last().map(|last| store::Resource::id(&last.value));
        seen = seen.saturating_add(found.len());
        for one in found.into_iter().map(|stored| stored.value) {
            let (time, uid) = (one.detection.time, &one.detection.rule_uid);
            let wanted = since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until);
            if wanted && sigma_id.is_none_or(|wanted| wanted == uid) {
                rules.entry(uid.clone()).or_default().add(&one);
            }
        }
        if !whole {
            break;
        }
        if seen >= DETECTIONS_MAX {
            complete = false;
            break;
        }
    }
    let mut words: HashMap<CaseId, (CaseId, Option<Word>)> = HashMap::new();
    for case in rules.values().flat_map(|rule| &rule.cases).copied().collect::<BTreeSet<_>>() {
        let mut read: Option<Stored<Case>> = snapshot.read(&case.to_string()).await?;
        if let Some(into) = read.as_ref().and_then(|read| read.value.merged_into) {
            read = snapshot.read(&into.to_string()).await?;
        }
        if let Some(read) = read {
            let said = read.value.conclusion.as_ref().and_then(|conclusion| word(conclusion.verdict));
            words.insert(case, (read.value.id, said));
        }
    }
    let count = u64::try_from(rules.len()).unwrap_or(u64::MAX);
    let mut items: Vec<RuleFigures> = rules.into_iter().map(|(uid, rule)| rule.told(uid, &words)).collect();
    items.sort_by(|one, other| other.detections.cmp(&one.detections).then_with(|| one.sigma_id.cmp(&other.sigma_id)));
    items.truncate(RULES_MAX);
    Ok(RulesFigures { items, rules: count, complete })
}

impl Handle<RuleMetrics> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleMetrics) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        Ok(Target::tenant(input.tenant))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleMetrics) -> Result<Outcome<RulesFigures>, Refusal> {
        crate::asking::range(input.since, input.until)?;
        let sigma_id = input.sigma_id.as_ref().map(|id| id.as_str());
        Ok(Outcome::answer(figures_of(&admitted.snapshot, input.since, input.until, sigma_id).await?))
    }
}
