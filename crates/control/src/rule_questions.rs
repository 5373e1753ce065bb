//! Questions to rules that change nothing: lint, test, explain, coverage, export.

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
    Coverage, DataPresence, LogSourceCoverage, Page, RuleCoverage, RuleExplain, RuleExplanations, RuleExport,
    RuleExported, RuleFile, RuleLint, RuleRemarks, RuleTest, RuleTestReport, TechniqueCoverage,
};
use detection::sigma::LogSource;
use ids::{Scope, Text};
use std::collections::{BTreeMap, BTreeSet};
use store::{Rule, Stored};

/// Bytes of one page of an export: under what one answer may weigh.
const EXPORT_BYTES_MAX: usize = 768 << 10;

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

impl Handle<RuleExport> for Control {
    async fn resolve(&self, look: &Look<'_>, input: &RuleExport) -> Result<Target, Refusal> {
        Ok(Target::place(look.place(input.tenant).await?))
    }

    async fn handle(&self, admitted: &Admitted<'_>, input: RuleExport) -> Result<Outcome<RuleExported>, Refusal> {
        let owner = Some(admitted.target.owner);
        let heads: Page<Stored<Rule>> = admitted.page(owner, None, input.limit, input.cursor.as_ref(), Ok).await?;
        let (mut files, mut bytes, mut cut) = (Vec::new(), 0_usize, None);
        let mut last: Option<String> = None;
        for head in &heads.items {
            let version = version_of(&admitted.snapshot, head.value.id, head.value.newest).await?;
            bytes = bytes.saturating_add(version.text.len());
            if bytes > EXPORT_BYTES_MAX && last.is_some() {
                cut = last.as_deref().map(|last| admitted.cursor(last));
                break;
            }
            last = Some(head.value.id.to_string());
            let name = Text::truncated(&format!("{}.yml", head.value.sigma_id.replace(['/', '\\'], "_")));
            files.push(RuleFile { name, text: Text::truncated(&version.text) });
        }
        Ok(Outcome::answer(RuleExported { files, next_cursor: cut.or(heads.next_cursor) }))
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
        Ok(Outcome::answer(table.finish()))
    }
}

/// Techniques as they are gathered from rules.
#[derive(Default)]
struct CoverageTable {
    rules: u32,
    untagged: u32,
    techniques: BTreeMap<String, (u32, BTreeSet<String>)>,
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
        let sources: BTreeSet<String> = rules.iter().map(|rule| logsource_name(&rule.logsource)).collect();
        for technique in techniques {
            let (count, known) = self.techniques.entry(technique).or_default();
            *count = count.saturating_add(1);
            known.extend(sources.iter().cloned());
        }
    }

    fn finish(self) -> Coverage {
        let techniques = self.techniques.into_iter().map(|(technique, (rules, sources))| {
            let logsources: Vec<LogSourceCoverage> = sources
                .into_iter()
                .map(|logsource| LogSourceCoverage { logsource, data: DataPresence::Unknown })
                .collect();
            TechniqueCoverage { technique, rules, rules_with_data: 0, logsources }
        });
        Coverage { rules: self.rules, untagged: self.untagged, techniques: techniques.collect() }
    }
}

/// `attack.t1059.001` as `T1059.001`; tactics and other tags are none.
fn technique(tag: &str) -> Option<String> {
    let rest = tag.to_ascii_lowercase();
    let number = rest.strip_prefix("attack.t")?;
    number.starts_with(|first: char| first.is_ascii_digit()).then(|| format!("T{number}"))
}

fn logsource_name(source: &LogSource) -> String {
    let parts = [&source.product, &source.category, &source.service];
    parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("/")
}
