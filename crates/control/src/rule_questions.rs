//! Questions to rules that change nothing: lint, test, explain, coverage.

use crate::admission::{Admitted, Look};
use crate::context::Control;
use crate::outcome::Outcome;
use crate::refusal::Refusal;
use crate::registry::Handle;
use crate::rule::{rule_target, tests_of, version_of};
use crate::rule_live::RuleStock;
use crate::rule_text::{RuleText, remarks};
use crate::target::Target;
use api::{
    Coverage, DataPresence, LogSourceCoverage, LogSourceName, RuleCoverage, RuleExplain, RuleExplanations, RuleLint,
    RuleRemarks, RuleTest, RuleTestReport, TechniqueCoverage,
};
use detection::sigma::LogSource;
use ids::Scope;
use std::collections::{BTreeMap, BTreeSet};
use store::{Rule, Stored};

impl Handle<RuleLint> for Control {
    async fn resolve(&self, look: &Look<'_>, _: &RuleLint) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(None).await?))
    }

    async fn handle(&self, _: &Admitted<'_>, input: RuleLint) -> Result<Outcome<RuleRemarks>, Refusal> {
        let (loads, items) = remarks(&input.text);
        Ok(Outcome::answer(RuleRemarks { loads, items }))
    }
}

impl Handle<RuleTest> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleTest) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleTest) -> Result<Outcome<RuleTestReport>, Refusal> {
        let head: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        let version = version_of(&admitted.snapshot, input.rule, head.value.newest).await?;
        let tests = if input.tests.is_empty() { tests_of(&version)? } else { input.tests.into_vec() };
        Ok(Outcome::answer(RuleText::stored(&version.text)?.test(&tests)))
    }
}

impl Handle<RuleExplain> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleExplain) -> Result<Target, Refusal> {
        rule_target(look, input.rule).await
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleExplain) -> Result<Outcome<RuleExplanations>, Refusal> {
        let head: Stored<Rule> = admitted.one("rule", &input.rule.to_string()).await?;
        let number = input.version.unwrap_or(head.value.newest);
        let version = version_of(&admitted.snapshot, input.rule, number).await?;
        let items = RuleText::stored(&version.text)?.explain(input.event, input.format.as_deref())?;
        Ok(Outcome::answer(RuleExplanations { items }))
    }
}

impl Handle<RuleCoverage> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleCoverage) -> Result<Target, Refusal> {
        look.tenant(input.tenant).await?;
        Ok(Target::tenant(input.tenant))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleCoverage) -> Result<Outcome<Coverage>, Refusal> {
        // Packs and the provider's rules run here too, and are outside the tenant's own scope: only their tags are told.
        let stock = RuleStock::read(&self.store.snapshot(Scope::Provider)).await?;
        let set = stock.set_of(input.tenant, admitted.now);
        let mut table = CoverageTable::default();
        for text in set.packs.iter().flat_map(|pack| pack.rules.iter().filter(|rule| !set.off.contains(&rule.name))) {
            table.add(&text.text);
        }
        set.rules.iter().for_each(|text| table.add(&text.text));
        let asked: Vec<LogSourceName> = table.sources.iter().cloned().collect();
        let present = match &self.plane {
            Some(plane) => {
                let (bounds, _turn) = (admitted.bounds(1, None)?, admitted.turn().await?);
                plane.log_sources(input.tenant, &asked, &bounds).await?
            }
            None => Vec::new(),
        };
        let present: BTreeMap<LogSourceName, DataPresence> = asked.into_iter().zip(present).collect();
        Ok(Outcome::answer(table.finish(&present)))
    }
}

/// Techniques as they are gathered from rules.
#[derive(Default)]
struct CoverageTable {
    rules: u32,
    untagged: u32,
    /// By technique, for each rule the log sources that it needs.
    techniques: BTreeMap<String, Vec<BTreeSet<LogSourceName>>>,
    /// All log sources, and those of each rule.
    sources: BTreeSet<LogSourceName>,
    needs: Vec<BTreeSet<LogSourceName>>,
}

impl CoverageTable {
    fn add(&mut self, text: &str) {
        // What does not load does not run, and is told by the rule's status.
        let Ok(text) = RuleText::read("text", text) else { return };
        self.rules = self.rules.saturating_add(1);
        let rules = &text.collection.rules;
        let tags = rules.iter().flat_map(|rule| &rule.tags);
        let tags = tags.chain(text.collection.correlations.iter().flat_map(|correlation| &correlation.tags));
        let techniques: BTreeSet<String> = tags.filter_map(|tag| technique(tag)).collect();
        if techniques.is_empty() {
            self.untagged = self.untagged.saturating_add(1);
        }
        let sources: BTreeSet<LogSourceName> = rules.iter().map(|rule| source_of(&rule.logsource)).collect();
        self.sources.extend(sources.iter().cloned());
        for technique in techniques {
            self.techniques.entry(technique).or_default().push(sources.clone());
        }
        self.needs.push(sources);
    }

    fn finish(self, present: &BTreeMap<LogSourceName, DataPresence>) -> Coverage {
        let data = |source: &LogSourceName| present.get(source).copied().unwrap_or(DataPresence::Unknown);
        let has = |sources: &BTreeSet<LogSourceName>| sources.iter().all(|one| data(one) == DataPresence::Present);
        let lacks = |sources: &BTreeSet<LogSourceName>| sources.iter().any(|one| data(one) == DataPresence::Absent);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let told = |source: &LogSourceName| LogSourceCoverage { logsource: logsource_name(source), data: data(source) };
        let techniques = self.techniques.into_iter().map(|(technique, rules)| {
            let sources: BTreeSet<&LogSourceName> = rules.iter().flatten().collect();
            TechniqueCoverage {
                technique,
                rules: number(rules.len()),
                rules_with_data: number(rules.iter().filter(|sources| has(sources)).count()),
                rules_without_data: number(rules.iter().filter(|sources| lacks(sources)).count()),
                logsources: sources.into_iter().map(told).collect(),
            }
        });
        Coverage {
            rules: self.rules,
            rules_with_data: number(self.needs.iter().filter(|sources| has(sources)).count()),
            rules_without_data: number(self.needs.iter().filter(|sources| lacks(sources)).count()),
            untagged: self.untagged,
            techniques: techniques.collect(),
            logsources: self.sources.iter().map(told).collect(),
        }
    }
}

/// `attack.t1059.001` as `T1059.001`; tactics and other tags are none.
fn technique(tag: &str) -> Option<String> {
    let rest = tag.to_ascii_lowercase();
    let number = rest.strip_prefix("attack.t")?;
    number.starts_with(|first: char| first.is_ascii_digit()).then(|| format!("T{number}"))
}

fn source_of(source: &LogSource) -> LogSourceName {
    let (product, category, service) = (source.product.clone(), source.category.clone(), source.service.clone());
    LogSourceName { product, category, service }
}

fn logsource_name(source: &LogSourceName) -> String {
    let parts = [&source.product, &source.category, &source.service];
    parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("/")
}
