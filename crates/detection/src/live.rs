//! What is live in one tenant: packs that tenants share, its own documents, and what it has switched off or excepted.
//!
//! A pack is parsed once and compiled once for each record format, however many tenants it serves; a tenant's own rules
//! and filters are a pack of their own. Filters of the tenant narrow its own rules and those of shared packs without
//! touching them: they are asked only of events that such a rule matched, so that it is known what they hold back. Agrees with one collection of all documents, or a test fails.

use crate::engine::{Engine, Scratch};
use crate::profile::{Format, Profile};
use crate::reference;
use crate::sigma::{Collection, Filter, FilterTarget, Rule};
use event::View;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// Documents that are compiled together.
#[derive(Debug, Default)]
pub struct Pack {
    collection: Collection,
    engines: RwLock<HashMap<Format, Arc<Engine>>>,
}

impl Pack {
    /// Read texts, each with a name: a rule's `source.file` gives it back.
    pub fn load<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { collection: Collection::load(texts, &|_| None), engines: RwLock::default() }
    }

    /// As [`Pack::load`], for a tenant's own: its filters are left to [`Live`].
    pub fn load_own<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { collection: Collection::load_apart(texts), engines: RwLock::default() }
    }

    /// What was loaded and what was not.
    #[must_use]
    pub const fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The rules for records of a format, compiled when they are first asked for.
    pub fn engine(&self, profile: &Profile) -> Arc<Engine> {
        let known = self.engines.read().unwrap_or_else(PoisonError::into_inner).get(profile.format()).cloned();
        known.unwrap_or_else(|| {
            let mut engines = self.engines.write().unwrap_or_else(PoisonError::into_inner);
            let fresh = || Arc::new(Engine::compile(&self.collection.rules, profile));
            engines.entry(profile.format().clone()).or_insert_with(fresh).clone()
        })
    }
}

/// All that is live in one tenant.
#[derive(Debug)]
pub struct Live {
    /// Shared packs, then the tenant's own.
    packs: Vec<Arc<Pack>>,
    /// For each pack, what does not hold as it was written there.
    changes: Vec<Changes>,
}

/// How a tenant departs from a pack.
#[derive(Debug, Default)]
struct Changes {
    /// Positions of rules that are switched off.
    off: BTreeSet<u32>,
    /// By position of a rule, filters that must hold besides; positions among the tenant's own filters.
    filters: HashMap<u32, Vec<usize>>,
}

/// A rule that held of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LiveHit {
    pack: usize,
    rule: u32,
}

/// The rules of one tenant for the records of one format. Share it between threads, one [`LiveScratch`] each.
#[derive(Debug)]
pub struct LiveMatcher {
    live: Arc<Live>,
    profile: Profile,
    engines: Vec<Arc<Engine>>,
}

/// The buffers of one thread.
#[derive(Debug, Default)]
pub struct LiveScratch {
    engines: Vec<Scratch>,
    rules: Vec<u32>,
    spared: Vec<usize>,
}

impl LiveScratch {
    /// The tenant's filters that kept rules from holding of the record last asked about: one place for each rule.
    /// [`Live::filter`] knows them.
    #[must_use]
    pub fn spared(&self) -> &[usize] {
        &self.spared
    }
}

impl Live {
    /// Shared packs, the tenant's own documents as [`Pack::load_own`] reads them, and rules of the packs that are off here, by id or name.
    #[must_use]
    pub fn new(shared: Vec<Arc<Pack>>, own: Pack, off: &BTreeSet<String>) -> Arc<Self> {
        let filters = &own.collection.filters;
        let mut changes: Vec<Changes> = shared.iter().map(|pack| Changes::of(pack, filters, off)).collect();
        // What is off is so in packs; a tenant's own rules are taken away instead.
        changes.push(Changes::of(&own, filters, &BTreeSet::new()));
        let mut packs = shared;
        packs.push(Arc::new(own));
        Arc::new(Self { packs, changes })
    }

    /// The matcher for records of a format. Compiles what no tenant has asked for yet.
    #[must_use]
    pub fn matcher(self: &Arc<Self>, profile: &Profile) -> LiveMatcher {
        let engines = self.packs.iter().map(|pack| pack.engine(profile)).collect();
        LiveMatcher { live: self.clone(), profile: profile.clone(), engines }
    }

    /// The rule of a hit.
    #[must_use]
    pub fn rule(&self, hit: LiveHit) -> Option<&Rule> {
        self.packs.get(hit.pack)?.collection.rules.get(hit.rule as usize)
    }

    /// The packs, the tenant's own last.
    #[must_use]
    pub fn packs(&self) -> &[Arc<Pack>] {
        &self.packs
    }

    /// Every rule, correlation and filter in one collection, for the correlator; rules that are off are left out.
    #[must_use]
    pub fn collection(&self) -> Collection {
        let mut all = Collection::default();
        for (pack, changes) in self.packs.iter().zip(&self.changes) {
            let on = pack.collection.rules.iter().zip(0_u32..).filter(|(_, place)| !changes.off.contains(place));
            all.rules.extend(on.map(|(rule, _)| rule.clone()));
            all.correlations.extend(pack.collection.correlations.iter().cloned());
        }
        // Filters are not put in again: the correlator counts matches, which they have narrowed.
        all.finish();
        all
    }

    /// A filter of the tenant by its place.
    #[must_use]
    pub fn filter(&self, place: usize) -> Option<&Filter> {
        self.own_filters().get(place)
    }

    fn own_filters(&self) -> &[Filter] {
        self.packs.last().map_or(&[], |own| own.collection.filters.as_slice())
    }
}

impl Changes {
    fn of(pack: &Pack, filters: &[Filter], off: &BTreeSet<String>) -> Self {
        let mut changes = Self::default();
        for (rule, place) in pack.collection.rules.iter().zip(0_u32..) {
            if off.contains(&rule.id) || rule.name.as_ref().is_some_and(|name| off.contains(name)) {
                changes.off.insert(place);
                continue;
            }
            let fitting = filters.iter().enumerate().filter(|(_, filter)| filter.narrows(rule));
            let fitting: Vec<usize> = fitting.map(|(number, _)| number).collect();
            if !fitting.is_empty() {
                changes.filters.insert(place, fitting);
            }
        }
        changes
    }
}

impl Filter {
    /// The filter is meant for this rule.
    #[must_use]
    pub fn narrows(&self, rule: &Rule) -> bool {
        let named = match &self.target {
            FilterTarget::Any => true,
            FilterTarget::Rules(names) => names.iter().any(|name| *name == rule.id || Some(name) == rule.name.as_ref()),
        };
        named && self.logsource.covers(&rule.logsource)
    }
}

impl LiveMatcher {
    /// What it was made of.
    #[must_use]
    pub const fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The profile of its records.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The rules that hold of a record, those of the first pack first.
    pub fn matches(&self, view: &View<'_>, scratch: &mut LiveScratch, out: &mut Vec<LiveHit>) {
        out.clear();
        if scratch.engines.len() < self.engines.len() {
            scratch.engines.resize_with(self.engines.len(), Scratch::default);
        }
        let LiveScratch { engines, rules, spared } = scratch;
        spared.clear();
        let parts = self.engines.iter().zip(&self.live.changes).zip(engines);
        for (pack, ((engine, changes), buffers)) in parts.enumerate() {
            if engine.rules_asked() == 0 {
                continue;
            }
            engine.matches(view, buffers, rules);
            let kept = rules.iter().filter(|rule| !changes.off.contains(rule));
            let kept = kept.filter(|rule| self.filters_hold(changes, **rule, view, spared));
            out.extend(kept.map(|rule| LiveHit { pack, rule: *rule }));
        }
    }

    fn filters_hold(&self, changes: &Changes, rule: u32, view: &View<'_>, spared: &mut Vec<usize>) -> bool {
        let Some(filters) = changes.filters.get(&rule) else { return true };
        // Only for events that a rule with an exception matched: these are few, the plain evaluator will do.
        let Ok(record) = serde_json::from_slice::<serde_json::Value>(view.raw()) else { return true };
        let own = self.live.own_filters();
        let before = spared.len();
        let failing = |number: &&usize| {
            own.get(**number).is_some_and(|filter| !reference::holds(&filter.expr, &record, &self.profile))
        };
        spared.extend(filters.iter().filter(failing));
        spared.len() == before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = "title: Shell\nid: shell\nlogsource: {product: windows, category: process_creation}\n\
        detection: {selection: {Image|endswith: '\\cmd.exe'}, condition: selection}\nlevel: low\n";
    const OTHER: &str = "title: Who\nid: who\nlogsource: {product: windows, category: process_creation}\n\
        detection: {selection: {CommandLine|contains: whoami}, condition: selection}\nlevel: low\n";
    const OWN: &str = "title: Own\nid: own\nlogsource: {product: windows, category: process_creation}\n\
        detection: {selection: {User: eve}, condition: selection}\nlevel: low\n";
    const FILTER: &str = "title: Build hosts\nid: except\nlogsource: {product: windows, category: process_creation}\n\
        filter: {rules: [shell, own], selection: {Computer|startswith: build-}, condition: not selection}\n";

    fn found(live: &Arc<Live>, record: &str) -> Vec<String> {
        let matcher = live.matcher(&Profile::new(Format::WindowsFlat));
        let (mut parser, mut scratch, mut hits) = (event::Parser::new(), LiveScratch::default(), Vec::new());
        matcher.matches(&parser.parse(record.as_bytes()).unwrap(), &mut scratch, &mut hits);
        hits.into_iter().filter_map(|hit| live.rule(hit)).map(|rule| rule.id.clone()).collect()
    }

    fn record(rest: &str) -> String {
        format!(
            r#"{{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"Image":"C:\\cmd.exe","CommandLine":"whoami","User":"eve",{rest}}}"#
        )
    }

    #[test]
    fn packs_are_shared_and_tenants_differ() {
        let shared = Arc::new(Pack::load([("a", SHARED), ("b", OTHER)]));
        let plain = Live::new(vec![shared.clone()], Pack::default(), &BTreeSet::new());
        let own =
            Live::new(vec![shared.clone()], Pack::load_own([("c", OWN), ("d", FILTER)]), &["who".to_owned()].into());
        assert!(own.packs().iter().all(|pack| pack.collection().rejections.is_empty()), "{own:?}");
        let desk = record(r#""Computer":"desk-1""#);
        assert_eq!(found(&plain, &desk), ["shell", "who"]);
        assert_eq!(found(&own, &desk), ["shell", "own"]);
        let build = record(r#""Computer":"build-7""#);
        assert_eq!(found(&plain, &build), ["shell", "who"]);
        assert_eq!(found(&own, &build), [""; 0]);
        let matcher = own.matcher(&Profile::new(Format::WindowsFlat));
        let (mut parser, mut scratch, mut hits) = (event::Parser::new(), LiveScratch::default(), Vec::new());
        for (text, held_back) in [(&build, 2), (&desk, 0)] {
            matcher.matches(&parser.parse(text.as_bytes()).unwrap(), &mut scratch, &mut hits);
            let files = scratch.spared().iter().filter_map(|place| own.filter(*place));
            assert_eq!(files.filter(|filter| filter.source.file == "d").count(), held_back);
        }
        // The pack's, the matcher's, and the one that is asked: there is one engine.
        assert_eq!(Arc::strong_count(&shared.engine(&Profile::new(Format::WindowsFlat))), 3);
        drop(matcher);
        assert_eq!(Arc::strong_count(&shared.engine(&Profile::new(Format::WindowsFlat))), 2);
        assert_eq!(own.collection().rules.len(), 2);
    }
}
