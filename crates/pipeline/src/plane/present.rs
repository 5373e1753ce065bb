//! Which log sources of rules a tenant's data has: records of the last days are asked the way rules ask them, whether they
//! are of the log source. What no class of the catalog can hold is absent without a look; what was not met in a sample is
//! unknown, and never called absent.

use super::Plane;
use super::ask::problem;
use super::narrow::needed;
use super::rules::{Detectors, Matcher};
use super::transform::{choose, inside, line};
use api::{Bounds, DataPresence, LogSourceName, Problem, RuleSet, RuleText};
use event::Parser;
use ids::{Scope, TenantId, Text, Timestamp};
use lake::{Needed, Scan};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// How far back data counts as coming in.
const DAYS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Records of one class that are looked at.
const SAMPLE: usize = 200_000;

/// A rule that holds of every record of the log source.
fn rule(number: usize, source: &LogSourceName) -> RuleText {
    let parts = [("product", &source.product), ("category", &source.category), ("service", &source.service)];
    let named: serde_json::Map<String, serde_json::Value> =
        parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part.clone()?.into()))).collect();
    let logsource = serde_json::Value::Object(named);
    let text = format!(
        "title: present\nid: '{number}'\nlogsource: {logsource}\ndetection: {{s: {{no_such_field|exists: true}}, condition: not s}}\nlevel: low\n"
    );
    RuleText { id: None, name: number.to_string(), digest: String::new(), text, shadow: true }
}

/// What is looked for, and what was met.
struct Looking {
    detectors: Arc<Detectors>,
    matcher: Matcher,
    met: HashSet<usize>,
}

impl Plane {
    /// `DataPlane::log_sources`.
    pub(super) async fn look_for_sources(
        &self,
        tenant: TenantId,
        asked: &[LogSourceName],
        bounds: &Bounds,
    ) -> Result<Vec<DataPresence>, Problem> {
        let rules = asked.iter().enumerate().map(|(number, source)| rule(number, source)).collect();
        let set = RuleSet { digest: "log-sources".to_owned(), rules, ..RuleSet::default() };
        let Some(detectors) = self.0.packs.compile(&set).0 else { return Ok(Vec::new()) };
        let (scope, until) = (Scope::Tenant(tenant), self.0.clock.now().plus(Duration::from_secs(3600)));
        let since = until.minus(DAYS);
        let there: BTreeSet<u32> = self.0.lake.classes(&scope, since, until).into_keys().collect();
        let own = self.0.shared.tenants.now().get(&tenant).cloned().unwrap_or_default();
        let built_in = own.reads_as_told();
        // Under mappings that somebody chose any class may hold anything.
        let classes: Vec<BTreeSet<u32>> = (0..asked.len())
            .map(|number| {
                let rules = detectors.collection().rules.iter().filter(|rule| rule.id == number.to_string());
                let wanted = needed(rules.map(|rule| (&rule.logsource, &rule.expr)));
                let all = !built_in || wanted == Needed::All(Vec::new());
                if all { there.clone() } else { there.intersection(&named(&wanted)).copied().collect() }
            })
            .collect();
        let mut looking = Looking { detectors, matcher: Matcher::default(), met: HashSet::new() };
        let mut partly: BTreeSet<u32> = BTreeSet::new();
        let deadline = tokio::time::Instant::now() + bounds.time_max.mul_f32(0.8);
        for class in &there {
            let open = (0..asked.len()).any(|number| {
                !looking.met.contains(&number) && classes.get(number).is_some_and(|own| own.contains(class))
            });
            if open && !self.sample(&scope, tenant, *class, (since, until), deadline, &mut looking).await? {
                partly.insert(*class);
            }
        }
        let told = (0..asked.len()).map(|number| {
            let own = classes.get(number);
            if looking.met.contains(&number) {
                DataPresence::Present
            } else if own.is_some_and(|own| own.is_disjoint(&partly)) {
                DataPresence::Absent
            } else {
                DataPresence::Unknown
            }
        });
        Ok(told.collect())
    }

    /// Look at records of one class; whether it was all of them.
    async fn sample(
        &self,
        scope: &Scope,
        tenant: TenantId,
        class: u32,
        (from, to): (Timestamp, Timestamp),
        deadline: tokio::time::Instant,
        looking: &mut Looking,
    ) -> Result<bool, Problem> {
        let scan = Scan { scope: scope.clone(), needed: Needed::Class(class), from, to };
        let mut scanning = self.0.lake.scan(scan).await.map_err(|error| problem(error, "/tenant"))?;
        let tenants = self.0.shared.tenants.now();
        let known = tenants.get(&tenant).cloned().unwrap_or_default();
        let (mut parser, mut inner, mut seen) = (Parser::new(), Parser::new(), 0_usize);
        while let Some(records) = scanning.next().await {
            let records = records.map_err(|error| problem(error, "/tenant"))?;
            seen = seen.saturating_add(records.len());
            records.each(|record| {
                let made;
                let json = if record.raw.trim_ascii_start().starts_with('{') {
                    record.raw.as_bytes()
                } else {
                    made = line(record.raw, record.received);
                    &made
                };
                let Ok(view) = parser.parse(json) else { return };
                let reading = known.reading(&Text::new(record.source).unwrap_or_default());
                let Some(mapping) = choose(&reading, &view) else { return };
                let parsed = inside(view.raw()).and_then(|bytes| inner.parse(bytes).ok());
                looking.ask(mapping.name(), parsed.as_ref().unwrap_or(&view));
            });
            if seen >= SAMPLE || tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            // The records are looked at on a thread of requests: others have their turn in between.
            tokio::task::yield_now().await;
        }
        Ok(true)
    }
}

impl Looking {
    fn ask(&mut self, mapping: &str, view: &event::View<'_>) {
        if self.matcher.holds(&self.detectors, mapping, view).is_some() {
            self.met.extend(self.matcher.held(&self.detectors).filter_map(|rule| rule.id.parse::<usize>().ok()));
        }
    }
}

/// The classes that are named.
fn named(needed: &Needed) -> BTreeSet<u32> {
    match needed {
        Needed::All(parts) | Needed::Any(parts) => parts.iter().flat_map(named).collect(),
        Needed::Class(class) => BTreeSet::from([*class]),
        Needed::Contains(..) | Needed::Equals(..) => BTreeSet::new(),
    }
}
