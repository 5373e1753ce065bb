//! The rules of each tenant in the form in which they run: packs compiled once for all tenants, found by digest; a
//! matcher for each kind of record, compiled when the first such record comes. Swapped whole, never changed.

use super::finding::{self, Finding, Seen, Sighted};
use super::transform::Portion;
use api::{RuleFault, RuleReport, RuleSet, RuleText};
use detection::correlate::Correlator;
use detection::live::{Live, LiveHit, LiveMatcher, LiveScratch, Pack};
use detection::profile::{Format, Profile};
use detection::sigma::{Collection, Correlation, Rule};
use event::View;
use ids::{RuleExceptionId, RuleId, Severity};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

/// Findings of one event; beyond them a record is no lead but noise, and the rest is counted.
const FINDINGS_MAX: u16 = 1_000;

/// What is known of a rule beyond its text.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub(crate) id: Option<RuleId>,
    pub(crate) name: String,
    pub(crate) digest: String,
    pub(crate) shadow: bool,
}

/// A pack with what is known of its rules, by the name of their file.
struct Shared {
    pack: Arc<Pack>,
    metas: HashMap<String, Meta>,
}

/// All that is live in one tenant.
pub(crate) struct Detectors {
    live: Arc<Live>,
    shared: Vec<Arc<Shared>>,
    own: HashMap<String, Meta>,
    /// By mapping, the matcher of its records; none where no rule speaks of such.
    matchers: RwLock<HashMap<String, Option<Arc<LiveMatcher>>>>,
    collection: Collection,
    /// Rules that a correlation counts; those of `silent` make no finding of their own.
    counted: HashSet<String>,
    silent: HashSet<String>,
    digest: String,
}

/// Packs in use, by digest.
#[derive(Default)]
pub(crate) struct Packs {
    all: Mutex<HashMap<String, Weak<Shared>>>,
    /// Whole sets without rules of the tenant's own, by digest: tenants with the same packs run the same matchers.
    sets: Mutex<HashMap<String, (Weak<Detectors>, RuleReport)>>,
}

/// What stands before the names of a tenant's own documents.
const OWN: &str = "own/";

fn load(prefix: &str, rules: &[RuleText]) -> (Pack, HashMap<String, Meta>) {
    let files: Vec<String> = rules.iter().map(|rule| format!("{prefix}{}", rule.name)).collect();
    let texts = files.iter().map(String::as_str).zip(rules.iter().map(|rule| rule.text.as_str()));
    let pack = if prefix == OWN { Pack::load_own(texts) } else { Pack::load(texts) };
    let meta = |rule: &RuleText| Meta {
        id: rule.id,
        name: rule.name.clone(),
        digest: rule.digest.clone(),
        shadow: rule.shadow,
    };
    let metas = files.iter().cloned().zip(rules.iter().map(meta)).collect();
    (pack, metas)
}

impl Packs {
    /// Compile a tenant's rules. What does not load is told in the report; the others run.
    pub(crate) fn compile(&self, rules: &RuleSet) -> (Option<Arc<Detectors>>, RuleReport) {
        if !rules.rules.is_empty() {
            return self.compile_alone(rules);
        }
        {
            let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, report)) = sets.get(&rules.digest)
                && let Some(known) = known.upgrade()
            {
                return (Some(known), report.clone());
            }
        }
        let (detectors, report) = self.compile_alone(rules);
        if let Some(detectors) = &detectors {
            let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
            sets.retain(|_, (known, _)| known.strong_count() > 0);
            sets.insert(rules.digest.clone(), (Arc::downgrade(detectors), report.clone()));
        }
        (detectors, report)
    }

    fn compile_alone(&self, rules: &RuleSet) -> (Option<Arc<Detectors>>, RuleReport) {
        let shared: Vec<Arc<Shared>> = rules.packs.iter().map(|pack| self.shared(pack)).collect();
        let (own_pack, own) = load(OWN, &rules.rules);
        let packs = shared.iter().map(|shared| Arc::clone(&shared.pack)).collect();
        let live = Live::new(packs, own_pack, &rules.off);
        let collection = live.collection();
        let mut report = RuleReport {
            running: u32::try_from(collection.rules.len().saturating_add(collection.correlations.len()))
                .unwrap_or(u32::MAX),
            faults: Vec::new(),
        };
        for pack in live.packs() {
            report.faults.extend(pack.collection().rejections.iter().map(|rejection| RuleFault {
                name: rejection.file.rsplit_once('/').map_or(rejection.file.as_str(), |(_, name)| name).to_owned(),
                reason: rejection.to_string(),
                fatal: true,
            }));
        }
        if collection.rules.is_empty() {
            return (None, report);
        }
        let correlator = Correlator::new(&collection, super::correlate::LIMITS);
        let counted = collection.rules.iter().map(|rule| rule.id.clone());
        let counted = counted.filter(|id| correlator.counts(id)).collect();
        let (silent, digest) = (silent(&collection), rules.digest.clone());
        let detectors =
            Detectors { live, shared, own, matchers: RwLock::default(), collection, counted, silent, digest };
        (Some(Arc::new(detectors)), report)
    }

    fn shared(&self, pack: &api::RulePack) -> Arc<Shared> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&pack.digest).and_then(Weak::upgrade) {
            return known;
        }
        let prefix: String = pack.digest.chars().take(16).chain(['/']).collect();
        let (loaded, metas) = load(&prefix, &pack.rules);
        let shared = Arc::new(Shared { pack: Arc::new(loaded), metas });
        all.retain(|_, known| known.strong_count() > 0);
        all.insert(pack.digest.clone(), Arc::downgrade(&shared));
        shared
    }
}

impl Detectors {
    /// The set's digest.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// All rules and correlations in one collection.
    pub(crate) fn collection(&self) -> &Collection {
        &self.collection
    }

    fn matcher(&self, mapping: &str) -> Option<Arc<LiveMatcher>> {
        let known = self.matchers.read().unwrap_or_else(PoisonError::into_inner).get(mapping).cloned();
        known.unwrap_or_else(|| {
            let mut matchers = self.matchers.write().unwrap_or_else(PoisonError::into_inner);
            let fresh = || format_of(mapping).map(|format| Arc::new(self.live.matcher(&Profile::new(format))));
            matchers.entry(mapping.to_owned()).or_insert_with(fresh).clone()
        })
    }

    fn meta(&self, file: &str) -> Option<&Meta> {
        self.own.get(file).or_else(|| self.shared.iter().find_map(|shared| shared.metas.get(file)))
    }

    /// The exception that a filter of the tenant is.
    fn exception(&self, place: usize) -> Option<RuleExceptionId> {
        self.live.filter(place)?.source.file.strip_prefix(OWN)?.parse().ok()
    }

    /// A correlation by its id, with what is known of it.
    pub(crate) fn correlation(&self, id: &str) -> Option<(&Correlation, Option<&Meta>)> {
        let found = self.collection.correlations.iter().find(|correlation| correlation.id == id)?;
        Some((found, self.meta(&found.source.file)))
    }
}

/// The records of a mapping in the words of rules; none where rules speak of no such records.
pub(crate) fn format_of(mapping: &str) -> Option<Format> {
    let named = match mapping {
        "windows-evtx" => return Some(Format::WindowsEvtx),
        "windows-flat" => return Some(Format::WindowsFlat),
        "auditd" => "linux-auditd",
        "syslog" | "syslog-oms" => "linux",
        "gcp" => "gcp-audit",
        "kubernetes" => "kubernetes-audit",
        "entra" => "azure-signin",
        other => other,
    };
    named.parse().ok().filter(|format| *format != Format::Generic)
}

/// The ids of rules that are there to be counted only: every correlation that names them says no `generate`.
fn silent(collection: &Collection) -> HashSet<String> {
    let named = |rule: &Rule, correlation: &Correlation| {
        correlation.rules.iter().any(|name| *name == rule.id || Some(name) == rule.name.as_ref())
    };
    let is_silent = |rule: &&Rule| {
        let mut naming = collection.correlations.iter().filter(|correlation| named(rule, correlation)).peekable();
        naming.peek().is_some() && naming.all(|correlation| !correlation.generate)
    };
    collection.rules.iter().filter(is_silent).map(|rule| rule.id.clone()).collect()
}

/// The buffers with which one worker matches.
#[derive(Default)]
pub(crate) struct Matcher {
    scratch: LiveScratch,
    hits: Vec<LiveHit>,
}

impl Matcher {
    /// Ask a tenant's rules about one record; findings go to `out` as rows.
    pub(crate) fn matches(
        &mut self,
        detectors: &Arc<Detectors>,
        mapping: &str,
        view: &View<'_>,
        seen: &Seen<'_>,
        out: &mut Portion,
    ) {
        let Some(matcher) = detectors.matcher(mapping) else { return };
        matcher.matches(view, &mut self.scratch, &mut self.hits);
        for exception in self.scratch.spared().iter().filter_map(|place| detectors.exception(*place)) {
            out.spared.count((seen.source.tenant, exception), 1, seen.received);
        }
        if self.hits.is_empty() {
            return;
        }
        let mut findings = self.findings(detectors, &matcher, view, seen, &mut out.sighted);
        for (finding, part) in findings.iter_mut().zip(1..FINDINGS_MAX) {
            finding.append(seen, part, &mut out.chunk);
        }
        out.findings.append(&mut findings);
    }

    /// Ask the rules about one record; the matcher that asked, where any held.
    pub(crate) fn holds(
        &mut self,
        detectors: &Arc<Detectors>,
        mapping: &str,
        view: &View<'_>,
    ) -> Option<Arc<LiveMatcher>> {
        let matcher = detectors.matcher(mapping)?;
        matcher.matches(view, &mut self.scratch, &mut self.hits);
        (!self.hits.is_empty()).then_some(matcher)
    }

    /// The rules that held of the record last asked about.
    pub(crate) fn held<'d>(&self, detectors: &'d Detectors) -> impl Iterator<Item = &'d Rule> {
        self.hits.iter().filter_map(|hit| detectors.live.rule(*hit))
    }

    /// The findings of the rules that held of the record last asked about, and what correlations count of it.
    pub(crate) fn findings(
        &self,
        detectors: &Detectors,
        matcher: &LiveMatcher,
        view: &View<'_>,
        seen: &Seen<'_>,
        sighted: &mut Vec<Sighted>,
    ) -> Vec<Finding> {
        let Ok(record) = serde_json::from_slice::<serde_json::Value>(view.raw()) else { return Vec::new() };
        let record = Arc::new(record);
        let mut findings = Vec::new();
        for hit in self.hits.iter().take(usize::from(FINDINGS_MAX)) {
            let Some(rule) = detectors.live.rule(*hit) else { continue };
            if detectors.counted.contains(&rule.id) {
                sighted.push(Sighted::new(rule, seen, Arc::clone(&record), matcher.profile().clone()));
            }
            if !detectors.silent.contains(&rule.id) {
                let meta = detectors.meta(&rule.source.file);
                findings.push(finding::of_rule(rule, meta, &record, matcher.profile(), seen));
            }
        }
        findings
    }
}

/// The severity of a rule for findings: a rule without a level asks for a look.
pub(crate) fn severity(rule: &Rule) -> Severity {
    if rule.level == Severity::Unknown { Severity::Informational } else { rule.level }
}
